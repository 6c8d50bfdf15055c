"""Pictures for an evaluation: many captions through the generator, in batches, resumable.

Noise is the pipeline's: image i of a row is drawn from seed + i, so any picture of a table can
be made again alone. In a batch the arithmetic may differ in the last bits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from memdriven.checkpoint import Checkpoint
from memdriven.data.images import centre_square, to_tensor
from memdriven.data.prepared import PreparedDataset
from memdriven.encoders.text import TextFeatures
from memdriven.encoders.vgg import Vgg16Features
from memdriven.errors import EvaluationError
from memdriven.evaluation.neighbours import Choice, Neighbours
from memdriven.evaluation.prompts import Prompt
from memdriven.files import atomic_write_json, explain_disk_errors, read_json
from memdriven.memory.retrieval import Match
from memdriven.pipeline.claims import named_in, wishes
from memdriven.pipeline.guidance import Guidance, TextCondition
from memdriven.pipeline.noise import apply_view, draw_noise
from memdriven.pipeline.rerank import best, scaled, score_pictures

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
