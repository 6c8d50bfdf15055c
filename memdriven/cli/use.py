"""`generate`, `retrieve` and `info`: using a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from memdriven.cli.options import Caption, CheckpointFolder, IntOption, PathOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memdriven.data.vocabulary import UnknownWord
    from memdriven.pipeline.output import Neighbour

DEFAULT_CHECKPOINT = Path("checkpoints/aviary")
IdsOption = Annotated[tuple[str, ...], tyro.conf.arg(metavar="ID ...", help_behavior_hint="")]
StrategyOption = Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")]


@dataclass(kw_only=True)
class Generate:
    """Draw pictures for a caption; each PNG holds the recipe that makes it again."""

    caption: Caption
    """A sentence, e.g. "a small red bird with black wings"."""
    checkpoint: Path = DEFAULT_CHECKPOINT
    """Folder of a checkpoint with its memory bank."""
    out: Path = Path("bird.png")
    """PNG file; with --count, -0, -1, ... are added to its name."""
    strategy: StrategyOption = None
    """sentence-sentence, words-words, sentence-image, words-image, sentence-both, words-both, all,
    random, oracle or none; the checkpoint's default when left out."""
    k: IntOption = None
    """How many neighbours are mixed; the checkpoint's default when left out."""
    seed: IntOption = None
    """Of the noise; drawn at random when left out."""
    count: int = 1
    """Pictures, with seeds seed, seed + 1, ..., at the same neighbours."""
    neighbours: IdsOption = ()
    """Ids of memory items that replace retrieval."""
    weights: Annotated[tuple[float, ...], tyro.conf.arg(help_behavior_hint="")] = ()
    """Shares of --neighbours; equal when left out."""
    memory: float = 1.0
    """How much of the memory is used, 0 (words alone) to 1; for models trained with p_fade."""
    best_of: int = 1
    """Paint with so many nearest neighbours, and keep the k whose pictures fit the words best."""
    guidance: Annotated[float | None, tyro.conf.arg(help_behavior_hint="")] = None
    """How far the words are moved away from what the neighbours' own captions say, 0 to 4; the
    checkpoint's default when left out."""
    stages: bool = False
    """Also write every stage's picture, as NAME-64px.png, ..."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    def run(self) -> None:
        """Call the library."""
        import secrets

        from memdriven.files import atomic_write_bytes
        from memdriven.pipeline.pipeline import MemoryDrivenPipeline
        from memdriven.pipeline.request import MAX_SEED

        pipe = MemoryDrivenPipeline.from_pretrained(self.checkpoint, device=self.device)
        first = secrets.randbelow(MAX_SEED // 2) if self.seed is None else self.seed
        output = pipe(
            self.caption,
            self.strategy,
            self.k,
            neighbours=self.neighbours or None,
            weights=self.weights or None,
            seeds=range(first, first + max(self.count, 1)),
            memory=self.memory,
            best_of=self.best_of,
            guidance=self.guidance,
        )
        _tell_unread(output.unknown_words, output.retrieval.truncated)
        _list_neighbours(output.neighbours)
        for i, images in enumerate(output.all_stages):
            path = self.out if self.count <= 1 else _beside(self.out, str(i))
            output.save(path, i)
            print(f"{path}  seed {output.recipes[i].seed}")
            for image in images if self.stages else ():
                side = _beside(path, f"{image.width}px")
                atomic_write_bytes(side, output.recipes[i].to_png(image))
                print(side)


@dataclass(kw_only=True)
class Retrieve:
    """Show the memory's nearest images for a caption."""

    caption: Caption
    """A sentence."""
    checkpoint: Path = DEFAULT_CHECKPOINT
    """Folder of a checkpoint with its memory bank."""
    strategy: StrategyOption = None
    """sentence-sentence, words-words, sentence-image, words-image, sentence-both, words-both, all,
    random, oracle or none; the checkpoint's default when left out."""
    k: int = 5
    """How many neighbours."""
    exclude: IdsOption = ()
    """Ids that must not be returned."""
    seed: int = 0
    """Of strategy `random`."""
    out: PathOption = None
    """Folder into which the neighbours' thumbnails are written as PNG."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    def run(self) -> None:
        """Call the library."""
        import io

        from memdriven.files import atomic_write_bytes
        from memdriven.pipeline.pipeline import MemoryDrivenPipeline

        pipe = MemoryDrivenPipeline.from_pretrained(self.checkpoint, device=self.device)
        found = pipe.retrieve(self.caption, self.strategy, self.k, exclude=self.exclude, seed=self.seed)
        _tell_unread(found.unknown_words, found.truncated)
        _list_neighbours(found.neighbours)
        for neighbour in found.neighbours if self.out else ():
            content = io.BytesIO()
            neighbour.image.save(content, "PNG")
            path = Path(self.out or ".") / f"{neighbour.rank:02d}.png"
            atomic_write_bytes(path, content.getvalue())
            print(path)


@dataclass(kw_only=True)
class Info:
    """Print what a checkpoint is and holds; verify every hash."""

    checkpoint: CheckpointFolder = DEFAULT_CHECKPOINT
    """Folder of a checkpoint."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.checkpoint import bank_folder, load_checkpoint
        from memdriven.memory.bank import MemoryBank

        loaded = load_checkpoint(self.checkpoint)
        config = loaded.config
        rows: list[tuple[str, object]] = [
            ("checkpoint", f"{loaded.name} ({loaded.path})"),
            ("hash", f"{loaded.hash}, weights verified"),
            ("preset", config.preset),
            ("pictures", " -> ".join(f"{side} px" for side in loaded.generator.resolutions)),
            ("generator", f"{_parameters(loaded.generator)}, width {config.generator.width}"),
            ("encoders", f"{_parameters(loaded.damsm)}, {config.damsm.pixel_backbone} for pixels"),
            ("vocabulary", f"{len(loaded.vocabulary) - 1:,} words"),
            ("retrieval", f"{config.retrieval.strategy}, k = {config.retrieval.k}"),
        ]
        facts = dict(loaded.facts)
        earlier = facts.pop("earlier_runs", [])
        rows += [(f"training: {name}", value) for name, value in facts.items()]
        minutes = sum(float(part.get("minutes", 0)) for part in earlier)
        rows.append(("training: parts before", f"{len(earlier)}, {minutes:.0f} minutes"))
        folder = bank_folder(loaded.path)
        own = folder == loaded.bank_path
        if folder.exists():
            bank = MemoryBank.open(folder, loaded.damsm.hash() if own else None)
            bank.verify()
            whose = "" if own else f", another model's ({folder.resolve()})"
            rows += [
                ("memory", f"{bank.n:,} images, {len(bank.caption_item):,} captions, verified{whose}"),
                ("memory size", _megabytes(folder)),
            ]
        else:
            rows.append(("memory", "none yet: python -m memdriven build-memory"))
        rows.append(("size on disk", _megabytes(loaded.path)))
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            print(f"{name:<{width}}  {value}")


def _beside(path: Path, mark: str) -> Path:
    """Return NAME-mark.png for NAME.png."""
    return path.with_name(f"{path.stem}-{mark}{path.suffix or '.png'}")


def _tell_unread(words: Sequence[UnknownWord], truncated: int) -> None:
    if truncated:
        print(f"the last {truncated} words are beyond the model's limit and were left out")
    for word in words:
        stands = f"read as {word.replacement!r}" if word.replacement else "left out"
        print(f"unknown word {word.word!r}: {stands} ({word.reason})")


def _list_neighbours(neighbours: Sequence[Neighbour]) -> None:
    for one in neighbours:
        score = "given" if one.score is None else f"score {one.score:.3f}"
        print(f"{one.rank:>3}. {one.id}  {score}  weight {one.weight:.2f}  {one.caption}")


def _parameters(network: object) -> str:
    from torch import nn

    assert isinstance(network, nn.Module)
    return f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} M parameters"


def _megabytes(folder: Path) -> str:
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{total / 1e6:.1f} MB"
