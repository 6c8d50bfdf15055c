"""The neighbours of an evaluation's captions, found once and kept on disk as they are found.

Several rows and measures ask for the same ones, and a run that was cut short goes on after the
last caption that it wrote.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from memdriven.checkpoint import Checkpoint
from memdriven.config import to_dict
from memdriven.evaluation.prompts import Prompt, prompts_hash
from memdriven.files import explain_disk_errors
from memdriven.memory.bank import MemoryBank
from memdriven.memory.retrieval import Match, Retriever

CACHED_CAPTIONS, CACHED_IMAGES = 60_000, 8_000
"""Word-level strategies compare each caption with 200 items, so an evaluation meets every item many
times: what it keeps of them covers a bank of some thousand images (0.7 and 0.3 GB at most)."""
FLUSH = 32
"""Captions between two writes."""


class Choice(NamedTuple):
    """Keeps some of a caption's neighbours."""

    of: int
    """From so many."""
    name: str
    """Of everything that the choice depends on beside them."""
    keep: Callable[[Prompt, Sequence[Match], int], list[Match]]
    """Of a caption, its neighbours and its picture's seed."""


class Neighbours:
    """Finds and keeps neighbours.

    Args:
        checkpoint: the encoders and the settings of retrieval.
        bank: where neighbours are looked for.
        folder: where they are kept; None keeps none.
        progress: show a bar.
    """

    def __init__(
        self, checkpoint: Checkpoint, bank: MemoryBank, folder: Path | None, *, progress: bool
    ) -> None:
        self.checkpoint, self.bank, self.folder = checkpoint, bank, folder
        self.progress = progress
        self.retriever = Retriever(
            bank,
            checkpoint.damsm,
            checkpoint.vocabulary,
            checkpoint.config.retrieval,
            cached_captions=CACHED_CAPTIONS,
            cached_images=CACHED_IMAGES,
        )
        self._held = set(bank.ids)

    def find(
        self, prompts: Sequence[Prompt], strategy: str, k: int, seed: int, choice: Choice | None = None
    ) -> list[list[Match]]:
        """Return each caption's k neighbours, best first; empty lists for `none` and `oracle`.

        The caption's own image is left out where the bank holds it.

        Args:
            prompts: the captions.
            strategy: how neighbours are found.
            k: how many; without meaning where there is a choice.
            seed: of the first picture, and of strategy `random`.
            choice: which of more neighbours to keep.
        """
        k = choice.of if choice else k
        if strategy in ("none", "oracle"):
            return [[] for _ in prompts]
        path = None
        if self.folder is not None:
            path = self.folder / f"{self._key(prompts, strategy, k, seed, choice)}.jsonl"
        found = _read(path, len(prompts))
        fresh: list[list[Match]] = []
        with tqdm(
            total=len(prompts),
            initial=len(found),
            desc=f"neighbours ({strategy})",
            unit="caption",
            disable=not self.progress,
        ) as bar:
            for i in range(len(found), len(prompts)):
                item_id = prompts[i].item.id
                matches = self.retriever.retrieve(
                    prompts[i].caption,
                    strategy,
                    k,
                    seed=seed + i,
                    exclude=(item_id,) if item_id in self._held else (),
                )
                fresh.append(choice.keep(prompts[i], matches, seed + i) if choice else matches)
                if len(fresh) == FLUSH or i + 1 == len(prompts):
                    _append(path, fresh)
                    found, fresh = found + fresh, []
                bar.update()
        return found

    def _key(self, prompts: Sequence[Prompt], strategy: str, k: int, seed: int, choice: Choice | None) -> str:
        """Name everything that the neighbours depend on."""
        facts: list[Any] = [
            prompts_hash(prompts),
            strategy,
            k,
            seed,
            self.checkpoint.damsm.hash(),
            self.bank.header["files"],
            to_dict(self.checkpoint.config.retrieval),
        ]
        if choice:
            facts.append(choice.name)
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]


def _append(path: Path | None, found: Sequence[Sequence[Match]]) -> None:
    if path is None:
        return
    lines = [
        json.dumps(
            [[m.index, m.id, m.score, m.percentile, m.rank, m.weight, m.caption_index] for m in matches]
        )
        for matches in found
    ]
    with explain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write("".join(line + "\n" for line in lines))


def _read(path: Path | None, limit: int) -> list[list[Match]]:
    """Return what is kept; a part that a crash damaged is dropped, with all after it."""
    if path is None or not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    found: list[list[Match]] = []
    kept = 0
    for line in whole.splitlines(keepends=True)[:limit]:
        try:
            found.append(
                [
                    Match(index, name, score, percentile, rank, weight, caption, None)
                    for index, name, score, percentile, rank, weight, caption in json.loads(line)
                ]
            )
        except (ValueError, TypeError):
            break
        kept += len(line)
    if kept < len(content):
        with path.open("r+b") as stream:
            stream.truncate(kept)
    return found
