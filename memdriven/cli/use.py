"""Commands of several calls: features and memories of data sets, pictures and facts of a checkpoint."""

from __future__ import annotations

import io
import secrets
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from memdriven.checkpoint import MAP, MEMORY, bank_folder, load_checkpoint
from memdriven.data.prepared import PreparedDataset
from memdriven.data.vocabulary import UnknownWord
from memdriven.devices import choose_device
from memdriven.encoders.damsm import load_damsm
from memdriven.encoders.vgg import Vgg16Features
from memdriven.errors import ConfigError
from memdriven.explore.memory_map import renew_map
from memdriven.files import atomic_write_bytes
from memdriven.memory import build
from memdriven.memory.bank import MemoryBank
from memdriven.numbers import counted
from memdriven.pipeline.output import Neighbour
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_SEED

SHIPPED = Path("checkpoints/aviary")


def extract_features(
    dataset: Path,
    out: Path,
    *,
    splits: Sequence[str] = ("train", "test"),
    vgg: Path | None = None,
    batch: int = 8,
    device: str = "auto",
) -> str:
    """Run VGG-16 over a data set once and keep relu5_3 (v) of every image.

    Goes on where it was stopped.

    Args:
        dataset: folder of a prepared data set.
        out: folder for the feature store.
        splits: whose images are used, of those that the data set has.
        vgg: VGG-16 weight file; else $MEMDRIVEN_VGG16 or torchvision's download.
        batch: images a forward pass.
        device: auto, cpu, cuda, cuda:1, ...
    """
    data = PreparedDataset.open(dataset)
    items = [item for item in data.items if item.split in splits]
    if not items:
        data.split(" or ".join(splits))  # says which there are
    network = Vgg16Features.load(vgg, choose_device(device))
    store = build.extract_features(data, items, network, out, batch=batch)
    return f"features of {counted(len(store), 'image')} in {out}"


def build_memory(
    dataset: Path,
    features: Path,
    *,
    checkpoint: Path | None = None,
    damsm: Path | None = None,
    out: Path | None = None,
    split: str = "train",
    limit: int | None = None,
    replace: bool = False,
    device: str = "auto",
) -> str:
    """Build the memory bank of a checkpoint, or of trained encoders.

    Features, captions, search keys and thumbnails of one split. Goes on where it was stopped.

    Args:
        dataset: folder of a prepared data set.
        features: folder of its features (extract-features).
        checkpoint: checkpoint whose encoders are used; its bank goes into CHECKPOINT/memory.
        damsm: or: folder of trained encoders (train-damsm), together with --out.
        out: folder for the bank.
        split: whose images become the memory.
        limit: at most this many images, evenly spread over the split.
        replace: replace an older memory there even if it is larger or of another data set.
        device: auto, cpu, cuda, cuda:1, ...

    Raises:
        ConfigError: it is not clear whose encoders to use.
    """
    if (checkpoint is None) == (damsm is None) or (checkpoint is None and out is None):
        raise ConfigError(
            "either --checkpoint, or --damsm with --out",
            "both" if checkpoint else "neither, or no --out",
            "say whose encoders to use",
        )
    where = choose_device(device)
    encoders = load_checkpoint(checkpoint, where) if checkpoint else load_damsm(damsm or "", where)
    bank = build.build_memory(
        dataset,
        features,
        encoders.damsm,
        encoders.vocabulary,
        out or Path(checkpoint or "") / MEMORY,
        split=split,
        limit=limit,
        max_words=encoders.config.text.max_words,
        replace=replace,
    )
    if checkpoint and bank.path == checkpoint / MEMORY and (checkpoint / MAP).is_file():
        renew_map(checkpoint)
    return f"memory bank of {counted(bank.n, 'image')} in {bank.path}"


def generate(
    caption: str,
    *,
    checkpoint: Path = SHIPPED,
    out: Path = Path("bird.png"),
    strategy: str | None = None,
    k: int | None = None,
    seed: int | None = None,
    count: int = 1,
    neighbours: Sequence[str] = (),
    weights: Sequence[float] = (),
    memory: float = 1.0,
    best_of: int = 1,
    guidance: float | None = None,
    stages: bool = False,
    device: str = "auto",
) -> None:
    """Draw pictures for a caption; each PNG holds the recipe that makes it again.

    Args:
        caption: a sentence, e.g. "a small red bird with black wings".
        checkpoint: folder of a checkpoint with its memory bank.
        out: PNG file; with --count, -0, -1, ... are added to its name.
        strategy: sentence-sentence, words-words, sentence-image, words-image, sentence-both, words-both,
            all, random, oracle or none; the checkpoint's default when left out.
        k: how many neighbours are mixed; the checkpoint's default when left out.
        seed: of the noise; drawn at random when left out.
        count: pictures, with seeds seed, seed + 1, ..., at the same neighbours.
        neighbours: ids of memory items that replace retrieval.
        weights: shares of --neighbours; equal when left out.
        memory: how much of the memory is used, 0 (words alone) to 1; for models trained with p_fade.
        best_of: paint with so many nearest neighbours, and keep the k whose pictures fit the words best.
        guidance: how far the words are moved away from what the neighbours' own captions say, 0 to 4; the
            checkpoint's default when left out.
        stages: also write every stage's picture, as NAME-64px.png, ...
        device: auto, cpu, cuda, cuda:1, ...
    """
    pipe = MemoryDrivenPipeline.from_pretrained(checkpoint, device=device)
    first = secrets.randbelow(MAX_SEED // 2) if seed is None else seed
    output = pipe(
        caption,
        strategy,
        k,
        neighbours=neighbours or None,
        weights=weights or None,
        seeds=range(first, first + max(count, 1)),
        memory=memory,
        best_of=best_of,
        guidance=guidance,
    )
    _tell_unread(output.unknown_words, output.retrieval.truncated)
    _list_neighbours(output.neighbours)
    for i, images in enumerate(output.all_stages):
        path = out if count <= 1 else _beside(out, str(i))
        output.save(path, i)
        print(f"{path}  seed {output.recipes[i].seed}")
        for image in images if stages else ():
            side = _beside(path, f"{image.width}px")
            atomic_write_bytes(side, output.recipes[i].to_png(image))
            print(side)


def retrieve(
    caption: str,
    *,
    checkpoint: Path = SHIPPED,
    strategy: str | None = None,
    k: int = 5,
    exclude: Sequence[str] = (),
    seed: int = 0,
    out: Path | None = None,
    device: str = "auto",
) -> None:
    """Show the memory's nearest images for a caption.

    Args:
        caption: a sentence.
        checkpoint: folder of a checkpoint with its memory bank.
        strategy: one of generate's; the checkpoint's default when left out.
        k: how many neighbours.
        exclude: ids that must not be returned.
        seed: of strategy `random`.
        out: folder into which the neighbours' thumbnails are written as PNG.
        device: auto, cpu, cuda, cuda:1, ...
    """
    pipe = MemoryDrivenPipeline.from_pretrained(checkpoint, device=device)
    found = pipe.retrieve(caption, strategy, k, exclude=exclude, seed=seed)
    _tell_unread(found.unknown_words, found.truncated)
    _list_neighbours(found.neighbours)
    for neighbour in found.neighbours if out else ():
        content = io.BytesIO()
        neighbour.image.save(content, "PNG")
        path = Path(out or ".") / f"{neighbour.rank:02d}.png"
        atomic_write_bytes(path, content.getvalue())
        print(path)


def info(checkpoint: Path = SHIPPED) -> str:
    """Say what a checkpoint is and holds; verify every hash.

    Args:
        checkpoint: folder of a checkpoint.
    """
    loaded = load_checkpoint(checkpoint)
    config = loaded.config
    rows: dict[str, object] = {
        "checkpoint": f"{loaded.name} ({loaded.path})",
        "hash": f"{loaded.hash}, weights verified",
        "preset": config.preset,
        "pictures": " -> ".join(f"{side} px" for side in loaded.generator.resolutions),
        "generator": f"{_parameters(loaded.generator)}, width {config.generator.width}",
        "encoders": f"{_parameters(loaded.damsm)}, {config.damsm.pixel_backbone} for pixels",
        "vocabulary": counted(len(loaded.vocabulary) - 1, "word"),
        "retrieval": f"{config.retrieval.strategy}, k = {config.retrieval.k}",
    }
    facts = dict(loaded.facts)
    earlier = facts.pop("earlier_runs", [])
    rows |= {f"training: {name}": value for name, value in facts.items()}
    minutes = sum(float(part.get("minutes", 0)) for part in earlier)
    rows["training: parts before"] = f"{len(earlier)}, {counted(minutes, 'minute', '.0f')}"
    folder = bank_folder(loaded.path)
    rows["memory"] = "none yet: python -m memdriven build-memory"
    if folder.exists():
        own = folder == loaded.bank_path
        bank = MemoryBank(folder, loaded.damsm.hash() if own else None)
        bank.verify()
        whose = "" if own else f", another model's ({folder.resolve()})"
        rows["memory"] = (
            f"{counted(bank.n, 'image')}, {counted(len(bank.caption_item), 'caption')}, verified{whose}"
        )
        rows["memory size"] = _megabytes(folder)
    rows["size on disk"] = _megabytes(loaded.path)
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def _beside(path: Path, mark: str) -> Path:
    """Return NAME-mark.png for NAME.png."""
    return path.with_name(f"{path.stem}-{mark}{path.suffix or '.png'}")


def _tell_unread(words: Sequence[UnknownWord], truncated: int) -> None:
    if truncated:
        print(f"beyond the model's limit and left out: the last {counted(truncated, 'word')}")
    for word in words:
        stands = f"read as {word.replacement!r}" if word.replacement else "left out"
        print(f"unknown word {word.word!r}: {stands} ({word.reason})")


def _list_neighbours(neighbours: Sequence[Neighbour]) -> None:
    for one in neighbours:
        score = "given" if one.score is None else f"score {one.score:.3f}"
        print(f"{one.rank:>3}. {one.id}  {score}  weight {one.weight:.2f}  {one.caption}")


def _parameters(network: nn.Module) -> str:
    return f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} M parameters"


def _megabytes(folder: Path) -> str:
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{total / 1e6:.1f} MB"
