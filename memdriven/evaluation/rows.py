"""The rows of a table: the captions that an evaluation draws, their references and their pictures.

Noise is the pipeline's: picture i of a row is drawn from seed + i, so any picture of a table can be made
again alone. In a batch the arithmetic may differ in the last bits. References and pictures are kept on disk
as they are made: a run that was cut short goes on after the last that it wrote.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from memdriven.checkpoint import Checkpoint
from memdriven.config import to_dict
from memdriven.data.images import centre_square, to_tensor
from memdriven.data.prepared import Item, PreparedDataset
from memdriven.encoders.text import TextFeatures
from memdriven.encoders.vgg import Vgg16Features
from memdriven.errors import EvaluationError
from memdriven.files import atomic_write_json, explain_disk_errors, read_json
from memdriven.memory.bank import MemoryBank
from memdriven.memory.retrieval import Match, Retriever
from memdriven.models.generator import Generator
from memdriven.pipeline.claims import named_in, wishes
from memdriven.pipeline.guidance import Guidance, TextCondition
from memdriven.pipeline.noise import apply_view, draw_noise
from memdriven.pipeline.rerank import best, scaled, score_pictures


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One caption of one image."""

    item: Item
    caption: str
    named: Mapping[str, Any] = field(default_factory=dict)
    """Attributes that the caption names, where the data set knows."""


def prompts_hash(prompts: Sequence[Prompt]) -> str:
    """Return 12 hexadecimal digits that name a list of captions and their images' ids."""
    lines = "".join(f"{prompt.item.id}\0{prompt.caption}\n" for prompt in prompts)
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


def choose_prompts(dataset: PreparedDataset, split: str, n: int) -> list[Prompt]:
    """Return n captions of a split: every image's first caption, then every second one, ...

    Images come in the order of a hash of their ids, so that a small n sees all classes and a
    larger n holds the smaller one's captions. Fewer are returned when the split has fewer.

    Raises:
        DataError: there is no such split.
    """
    items = sorted(dataset.split(split), key=lambda item: hashlib.sha256(item.id.encode()).digest())
    prompts: list[Prompt] = []
    for turn in range(max(len(item.captions) for item in items)):
        for item in items:
            if turn < len(item.captions) and len(prompts) < n:
                records = item.caption_attributes
                named = records[turn] if turn < len(records) else {}
                prompts.append(Prompt(item=item, caption=item.captions[turn], named=named))
    return prompts


MODEL = "model"
CONTROLS = ("retrieved", "real", "random", "none", "oracle")
TRIED = 8
BEST = f"best-of-{TRIED}"
"""The model, with the one of so many neighbours whose picture fits the words best."""
ROWS = (*CONTROLS, BEST)
"""What can stand beside the model; the last costs a painting a neighbour."""
STRATEGY = "strategy "
"""Begins the name of a row whose neighbours another strategy found."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """The images of one line of the table, one a caption."""

    name: str
    images: Tensor
    """uint8 (n, 3, size, size)."""
    drew_on: Sequence[str | None] | None = None
    """Id of the first neighbour each image drew on."""
    seeds: range | None = None
    """Of each image's noise, where G painted it."""
    strategy: str = ""
    """By which the neighbours were found."""
    note: str = ""
    """What a reader must know of these images."""


IN_MEMORY = 1 << 30
"""Bytes; 30,000 images of 256 px are six times as many."""
CHUNK = 512


def gather(images: Tensor, rows: Tensor, path: Path, *, in_memory: int = IN_MEMORY) -> Tensor:
    """Return images[rows], uint8 (n, 3, h, w); beyond `in_memory` bytes it is mapped from a file.

    A file that already holds them is used as it is.

    Args:
        images: uint8 (m, 3, h, w), which may itself be mapped from a file.
        rows: (n,) whole numbers.
        path: the .npy file; a .json beside it says what it holds.
        in_memory: bytes up to which no file is written.
    """
    if len(rows) * images[0].numel() <= in_memory:
        return images[rows]
    mark, shape = path.with_suffix(".json"), (len(rows), *images.shape[1:])
    key = f"{shape} {hashlib.sha256(rows.numpy().tobytes()).hexdigest()} {_hash(images)}"
    if not _holds(path, mark, key):
        with explain_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            mark.unlink(missing_ok=True)
            target = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
            for start in range(0, len(rows), CHUNK):
                target[start : start + CHUNK] = images[rows[start : start + CHUNK]].numpy()
            target.flush()
        atomic_write_json(mark, {"key": key})
    return torch.from_numpy(np.lib.format.open_memmap(path, mode="r+"))


def _holds(path: Path, mark: Path, key: str) -> bool:
    if not (path.exists() and mark.exists()):
        return False
    return read_json(mark, EvaluationError).get("key") == key


def _hash(images: Tensor) -> str:
    digest = hashlib.sha256()
    for chunk in torch.split(images, CHUNK):
        digest.update(chunk.contiguous().numpy().data)
    return digest.hexdigest()


def as_seen(generator: Generator, images: Tensor, rows: Tensor, seeds: Sequence[int]) -> Tensor:
    """Return the image of each picture's memory as its noise saw it, uint8 (n, 3, s, s).

    Args:
        generator: whose noise it is.
        images: of the training set, uint8 (m, 3, s, s).
        rows: which of them each picture drew on (n,); where negative, any image is returned.
        seeds: of each picture's noise.
    """
    parts = []
    for row, seed in zip(rows.clamp(min=0).tolist(), seeds, strict=True):
        noise = draw_noise(seed, generator)
        parts.append(apply_view(noise, images[row : row + 1].float()))
    return torch.cat(parts).round().clamp(0, 255).to(torch.uint8)


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


FEATURE_SIDE = 256
"""Side in px at which VGG sees an image to make v."""


class Painter:
    """Turns captions into pictures with one checkpoint.

    Args:
        checkpoint: the loaded model.
        finder: finds neighbours in the memory bank.
        vgg: loads what makes v of the captions' own images; asked only by `oracle`.
        dataset: where those images lie.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        finder: Neighbours,
        dataset: PreparedDataset,
        vgg: Callable[[], Vgg16Features],
        *,
        batch: int = 16,
        progress: bool = True,
    ) -> None:
        self.checkpoint, self.finder, self.dataset, self.vgg = checkpoint, finder, dataset, vgg
        self.batch, self.progress = batch, progress
        self.device = checkpoint.damsm.device
        self.size = checkpoint.generator.resolutions[-1]

    def neighbours(self, prompts: Sequence[Prompt], strategy: str, k: int, seed: int) -> list[list[Match]]:
        """Return each caption's neighbours, best first; empty lists for `none` and `oracle`."""
        return self.finder.find(prompts, strategy, k, seed)

    def features(self, prompt: Prompt, matches: Sequence[Match], strategy: str) -> Tensor:
        """Return v (1, 512, 16, 16) for one caption.

        Raises:
            CheckpointError: `oracle` needs VGG and its weights are not to be had.
        """
        if strategy == "oracle":
            image = to_tensor(centre_square(self.dataset.load_image(prompt.item), FEATURE_SIDE))
            with torch.no_grad():
                own: Tensor = self.vgg()(image[None].to(self.device))
            return own.float()
        return self.finder.retriever.mix(matches).to(self.device)

    def choice(self, best_of: int) -> Choice:
        """Return what keeps those of `best_of` neighbours whose pictures fit the words best."""
        checkpoint, k = self.checkpoint, self.checkpoint.config.retrieval.k

        def keep(prompt: Prompt, matches: Sequence[Match], seed: int) -> list[Match]:
            encoded = checkpoint.vocabulary.encode(prompt.caption, checkpoint.config.text.max_words)
            with torch.no_grad():
                text = checkpoint.encode_captions([encoded])
            v = torch.cat([self.finder.retriever.mix([match]) for match in matches])
            noise = draw_noise(seed, checkpoint.generator)
            read = [self.guided(text, [replace(match, weight=1.0)]) for match in matches]
            wanted = wishes(checkpoint, named_in(checkpoint, prompt.caption, encoded.unknown))
            chosen = best(score_pictures(checkpoint, text, read, v.to(self.device), noise, wanted)[0], k)
            weights = scaled([matches[place].weight for place in chosen])
            return [replace(matches[place], weight=weight) for place, weight in zip(chosen, weights)]

        return Choice(best_of, f"best of {best_of} by {checkpoint.hash}", keep)

    def guided(self, text: TextFeatures, matches: Sequence[Match]) -> TextCondition:
        """Return one caption as G reads it beside these neighbours; see `memdriven.pipeline.guidance`."""
        if not matches:
            return TextCondition.of(text)
        rows, shares = [m.index for m in matches], [m.weight for m in matches]
        return self._words.guide(text, rows, shares, self.checkpoint.config.generator.guidance)

    @cached_property
    def _words(self) -> Guidance:
        checkpoint = self.checkpoint
        return Guidance(
            self.finder.bank,
            checkpoint.encode_captions,
            checkpoint.vocabulary,
            checkpoint.config.text.max_words,
        )

    @torch.no_grad()
    def paint(
        self,
        prompts: Sequence[Prompt],
        features: Tensor,
        seeds: Sequence[int],
        matches: Sequence[Sequence[Match]],
    ) -> list[Tensor]:
        """Return every stage's images, uint8 (b, 3, s, s) on the CPU.

        Args:
            prompts: b captions.
            features: v (b, 512, 16, 16).
            seeds: of each image's noise.
            matches: the neighbours that the features are of; none for `none` and `oracle`.
        """
        config, generator = self.checkpoint.config, self.checkpoint.generator
        encoded = [self.checkpoint.vocabulary.encode(p.caption, config.text.max_words) for p in prompts]
        text = self.checkpoint.encode_captions(encoded)
        noise = [draw_noise(seed, generator) for seed in seeds]
        turned = torch.cat([apply_view(one, v[None]) for v, one in zip(features, noise, strict=True)])
        read = [self.guided(text.one(i), found) for i, found in enumerate(matches)]
        output = generator(
            torch.cat([one.z for one in noise]),
            torch.cat([one.sentence for one in read]),
            torch.cat([one.words for one in read]),
            turned,
            torch.cat([one.epsilon for one in noise]),
        )
        return [to_bytes(images) for images in output.images]

    def row(
        self,
        prompts: Sequence[Prompt],
        matches: Sequence[Sequence[Match]],
        strategy: str,
        seed: int,
        folder: Path,
        name: str,
    ) -> Tensor:
        """Return the row's images, uint8 (n, 3, size, size), mapped from a file in `folder`.

        A run that was cut short goes on after its last whole batch.
        """
        key = self._key(prompts, matches, strategy, seed)
        path, mark = folder / f"{name}.npy", folder / f"{name}.json"
        images, done = _open(path, mark, key, (len(prompts), 3, self.size, self.size))
        with tqdm(
            total=len(prompts), initial=done, desc=f"images ({name})", unit="img", disable=not self.progress
        ) as bar:
            for start in range(done, len(prompts), self.batch):
                chosen = range(start, min(start + self.batch, len(prompts)))
                v = torch.cat([self.features(prompts[i], matches[i], strategy) for i in chosen])
                stages = self.paint(
                    [prompts[i] for i in chosen], v, [seed + i for i in chosen], [matches[i] for i in chosen]
                )
                images[start : start + len(chosen)] = stages[-1].numpy()
                images.flush()
                atomic_write_json(mark, {"key": key, "done": start + len(chosen)})
                bar.update(len(chosen))
        return torch.from_numpy(images)

    def _key(
        self, prompts: Sequence[Prompt], matches: Sequence[Sequence[Match]], strategy: str, seed: int
    ) -> str:
        """Return a hash of everything that a row's pixels depend on."""
        asked = [
            (prompt.item.id, prompt.caption, [(m.id, round(float(m.weight), 6)) for m in found])
            for prompt, found in zip(prompts, matches, strict=True)
        ]
        facts = [self.checkpoint.hash, strategy, seed, self.size, self.dataset.name, asked]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def to_bytes(images: Tensor) -> Tensor:
    """Return images in [-1, 1] as uint8, on the CPU."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu()


def _open(path: Path, mark: Path, key: str, shape: tuple[int, ...]) -> tuple[Any, int]:
    """Map an image file for writing; return it and how many of its images are done."""
    with explain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and mark.exists():
            facts = read_json(mark, EvaluationError)
            if facts.get("key") == key:
                try:
                    images = np.lib.format.open_memmap(path, mode="r+")
                except (ValueError, OSError):
                    images = None
                if images is not None and images.shape == shape and images.dtype == np.uint8:
                    return images, int(facts.get("done", 0))
        mark.unlink(missing_ok=True)
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape), 0
