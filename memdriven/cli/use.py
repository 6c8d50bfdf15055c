"""Commands that use a checkpoint: its pictures, its references, and what it is."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memdriven.checkpoint import bank_folder, load_checkpoint
from memdriven.memory.bank import MEMORY, MemoryBank
from memdriven.numbers import check_whole, counted
from memdriven.pipeline.output import Retrieval
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_SEED

SHIPPED = Path("checkpoints/aviary")


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
        device: auto, cpu, cuda, cuda:1, ...
    """
    check_whole("count", count, 1, MAX_SEED)
    pipe = MemoryDrivenPipeline.from_pretrained(checkpoint, device=device)
    first = secrets.randbelow(MAX_SEED // 2) if seed is None else seed
    seeds = range(first, first + count)
    given: dict[str, Any] = {"neighbours": neighbours or None, "weights": weights or None, "seeds": seeds}
    output = pipe(caption, strategy, k, memory=memory, best_of=best_of, guidance=guidance, **given)
    _tell_what_was_found(output.retrieval)
    for i, recipe in enumerate(output.recipes):
        path = out if count == 1 else out.with_name(f"{out.stem}-{i}{out.suffix}")
        output.save(path, i)
        print(f"{path}  seed {recipe.seed}")


def retrieve(
    caption: str,
    *,
    checkpoint: Path = SHIPPED,
    strategy: str | None = None,
    k: int = 5,
    exclude: Sequence[str] = (),
    device: str = "auto",
) -> None:
    """Show the memory's nearest images for a caption.

    Args:
        caption: a sentence.
        checkpoint: folder of a checkpoint with its memory bank.
        strategy: one of generate's; the checkpoint's default when left out.
        k: how many neighbours.
        exclude: ids that must not be returned.
        device: auto, cpu, cuda, cuda:1, ...
    """
    pipe = MemoryDrivenPipeline.from_pretrained(checkpoint, device=device)
    _tell_what_was_found(pipe.retrieve(caption, strategy, k, exclude=exclude))


def info(checkpoint: Path = SHIPPED) -> str:
    """Say what a checkpoint is and holds; verify every hash.

    Args:
        checkpoint: folder of a checkpoint.
    """
    model = load_checkpoint(checkpoint)
    config, facts, folder = model.config, dict(model.facts), bank_folder(model.path)
    earlier = facts.pop("earlier_runs", [])
    minutes = sum(float(part.get("minutes", 0)) for part in earlier)
    memory = "none yet: python -m memdriven build-memory"
    if folder.exists():
        own = folder == model.path / MEMORY
        bank = MemoryBank(folder, model.damsm.hash() if own else None)
        bank.verify()
        memory = f"{counted(bank.n, 'image')}, {counted(len(bank.caption_item), 'caption')}, verified"
        memory += "" if own else f", another model's ({folder.resolve()})"
    size = sum(path.stat().st_size for path in model.path.rglob("*") if path.is_file())
    rows = {
        "checkpoint": f"{model.name} ({model.path})",
        "hash": f"{model.hash}, weights verified",
        "preset": config.preset,
        "pictures": " -> ".join(f"{side} px" for side in model.generator.resolutions),
        "weights": f"{sum(p.numel() for p in model.generator.parameters()) / 1e6:.2f} M in the generator",
        "pixels": f"scored by {config.damsm.pixel_backbone}",
        "vocabulary": counted(len(model.vocabulary) - 1, "word"),
        "retrieval": f"{config.retrieval.strategy}, k = {config.retrieval.k}",
        **{f"training: {name}": value for name, value in facts.items()},
        "training: parts before": f"{len(earlier)}, {counted(minutes, 'minute', '.0f')}",
        "memory": memory,
        "size on disk": f"{size / 1e6:.1f} MB",
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def _tell_what_was_found(found: Retrieval) -> None:
    """Print the words that were not read, and the references."""
    if found.truncated:
        print(f"beyond the model's limit and left out: the last {counted(found.truncated, 'word')}")
    for word in found.unknown_words:
        stands = f"read as {word.replacement!r}" if word.replacement else "left out"
        print(f"unknown word {word.word!r}: {stands} ({word.reason})")
    for one in found.neighbours:
        score = "given" if one.score is None else f"score {one.score:.3f}"
        print(f"{one.rank:>3}. {one.id}  {score}  weight {one.weight:.2f}  {one.caption}")
