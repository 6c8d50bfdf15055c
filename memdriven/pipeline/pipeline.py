"""A caption becomes neighbours, their features, and pictures: the method end to end, with a trace.

    pipe = MemoryDrivenPipeline.from_pretrained("checkpoints/aviary")
    out = pipe("a small red bird with black wings", seed=7)
    out.images[0].save("bird.png")

One image at a time passes through the network, with noise from one CPU generator an image, so a
recipe's pixels never depend on what else was asked for beside it.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import torch

from memdriven import __version__
from memdriven.checkpoint import Checkpoint, load_checkpoint
from memdriven.devices import choose_device
from memdriven.errors import CheckpointError, ConfigError, RetrievalError
from memdriven.files import sha256_file
from memdriven.memory.bank import MemoryBank
from memdriven.pipeline.claims import claims
from memdriven.pipeline.lookup import Guest, Lookup
from memdriven.pipeline.output import Clock, PipelineOutput, Retrieval
from memdriven.pipeline.recipe import MAX_NEIGHBOURS, MAX_SEED, Recipe, Variation
from memdriven.pipeline.recipe_fields import is_whole
from memdriven.pipeline.rerank import choose
from memdriven.pipeline.stages import draw_noise, repeatable, staged_images, to_picture

RANDOM_SEEDS = 2**32
"""A seed drawn for the caller is below this: short enough to read out."""


class MemoryDrivenPipeline:
    """A loaded checkpoint with its memory bank, ready to turn captions into pictures."""

    def __init__(self, checkpoint: Checkpoint, bank: MemoryBank) -> None:
        self.checkpoint, self.bank = checkpoint, bank
        self.config = checkpoint.config
        self.device = next(checkpoint.generator.parameters()).device
        # The layout that convolutions prefer: a quarter faster on two CPU cores.
        checkpoint.generator.to(memory_format=torch.channels_last)
        self.lookup = Lookup(checkpoint, bank)
        self.turn = threading.RLock()
        """Held while anything is computed, never while a stream waits for its reader, so that
        several threads (visitors of a page) take turns instead of fighting for the cores."""
        self.bank_hash = sha256_file(checkpoint.bank_path / "bank.json")[:12]

    @classmethod
    def from_pretrained(cls, path: Path | str, device: str = "auto") -> Self:
        """Load a checkpoint folder and open its memory bank.

        Args:
            path: a folder such as `checkpoints/aviary`.
            device: `auto` (a CUDA device when there is one, else the CPU) or a torch device.

        Raises:
            CheckpointError: the folder is missing, damaged, or of another kind.
            BankError: its bank is missing, damaged, or was built with another encoder.
            ConfigError: there is no such device.
        """
        checkpoint = load_checkpoint(path, choose_device(device))
        bank = MemoryBank.open(checkpoint.bank_path, expect_encoder=checkpoint.damsm.hash())
        return cls(checkpoint, bank)

    @property
    def resolutions(self) -> list[int]:
        """Side in px of each stage's image."""
        return self.checkpoint.generator.resolutions

    def __call__(
        self,
        caption: str,
        strategy: str | None = None,
        k: int | None = None,
        seed: int | None = None,
        *,
        seeds: Sequence[int] | None = None,
        neighbours: Sequence[str] | None = None,
        weights: Sequence[float] | None = None,
        exclude: Sequence[str] = (),
        oracle_id: str | None = None,
        variations: Sequence[Variation] = (),
        memory: float = 1.0,
        best_of: int = 1,
        guests: Sequence[Guest] = (),
        guidance: float | None = None,
    ) -> PipelineOutput:
        """Generate one picture, or one for each of `seeds` at the same neighbours.

        Args:
            caption: a sentence of at most 2,000 characters.
            strategy: how neighbours are found; the checkpoint's default when None.
            k: how many neighbours are mixed; the checkpoint's default when None.
            seed: of the noise; None draws one, which the recipe records.
            seeds: several seeds instead of one.
            neighbours: ids of bank items that replace retrieval.
            weights: the shares of `neighbours` (scaled to sum to 1); equal when None.
            exclude: ids that retrieval must not return.
            oracle_id: the bank item that counts as the caption's own, for strategy `oracle`; by
                default the item that has this very caption.
            variations: steps away from each seed's noise.
            memory: how much of the memory is used: v is multiplied by it, 0 leaving the words
                alone. Of use with models trained so (`train.p_fade` above 0).
            best_of: paint with so many nearest neighbours, and keep the k whose pictures fit the
                words best (see `choose`).
            guests: the caller's own images, which `neighbours` may name beside the bank's.
            guidance: how far the words are moved away from what the neighbours' own captions say
                (see `memdriven.pipeline.guidance`); the checkpoint's default when None.

        Raises:
            CaptionError: the caption is empty, too long, or holds no known word.
            RetrievalError: a strategy, k, id or weight that the bank cannot serve.
            ConfigError: a seed is no whole number in 0..2^53 - 1, `memory` none in 0..1, `best_of`
                none in 1..16, or `guidance` none in 0..`recipe_fields.MAX_GUIDANCE`.
        """
        *_, output = self.stream(
            caption,
            strategy,
            k,
            seed,
            seeds=seeds,
            neighbours=neighbours,
            weights=weights,
            exclude=exclude,
            oracle_id=oracle_id,
            variations=variations,
            memory=memory,
            best_of=best_of,
            guests=guests,
            guidance=guidance,
        )
        return output

    def stream(
        self,
        caption: str,
        strategy: str | None = None,
        k: int | None = None,
        seed: int | None = None,
        *,
        seeds: Sequence[int] | None = None,
        neighbours: Sequence[str] | None = None,
        weights: Sequence[float] | None = None,
        exclude: Sequence[str] = (),
        oracle_id: str | None = None,
        variations: Sequence[Variation] = (),
        memory: float = 1.0,
        best_of: int = 1,
        guests: Sequence[Guest] = (),
        guidance: float | None = None,
    ) -> Iterator[PipelineOutput]:
        """Yield after retrieval, then after each stage of each image; as `__call__` otherwise."""
        wanted = _seeds(seed, seeds)
        with self.turn:
            if best_of != 1 and neighbours is None:
                retrieval, text = choose(
                    self.checkpoint,
                    self.lookup,
                    caption,
                    strategy,
                    k,
                    wanted[0],
                    best_of,
                    exclude,
                    oracle_id,
                    variations,
                    memory,
                    guidance,
                )
            else:
                retrieval, text = self.lookup.find(
                    caption, strategy, k, wanted[0], neighbours, weights, exclude, oracle_id, guests
                )
            asked, text = text, self.lookup.guided(text, retrieval, guidance, memory)
        if len(retrieval) > MAX_NEIGHBOURS:
            raise RetrievalError(
                wanted=f"at most {MAX_NEIGHBOURS} neighbours in one picture",
                found=str(len(retrieval)),
                fix="lower k",
            )
        recipe = Recipe(
            caption=caption,
            strategy=retrieval.strategy,
            k=retrieval.k,
            seed=wanted[0],
            neighbours=retrieval.ids,
            weights=retrieval.weights,
            checkpoint=self.checkpoint.name,
            checkpoint_hash=self.checkpoint.hash,
            bank_hash=self.bank_hash,
            version=__version__,
            variations=tuple(variations),
            memory=memory,
            guidance=self.config.generator.guidance if guidance is None else guidance,
        )
        generator = self.checkpoint.generator
        noises = [draw_noise(each, generator, variations) for each in wanted]
        output = PipelineOutput(
            retrieval=retrieval,
            all_stages=((),) * len(wanted),
            timings=retrieval.timings,
            recipes=tuple(replace(recipe, seed=each) for each in wanted),
            complete=False,
            mirrored=tuple(bool(noise.mirror and memory and len(retrieval)) for noise in noises),
            windows=tuple(noise.window for noise in noises),
        )
        yield output
        clock = Clock(retrieval.timings)
        with self.turn:
            v = self.lookup.features(retrieval, guests, memory)
            v = v.to(self.device, memory_format=torch.channels_last)
        clock.lap("features")
        for place, noise in enumerate(noises):
            images = staged_images(generator, noise, text, v)
            for side in self.resolutions:
                with self.turn, repeatable():
                    clock.resume()
                    image = next(images)
                    picture = to_picture(image)
                clock.lap(f"stage {side}")
                told = output.claims
                if side == self.resolutions[-1]:
                    with self.turn:
                        told = (*told, claims(self.checkpoint, asked, image))
                    if told[-1]:
                        clock.lap("check")
                stages = list(output.all_stages)
                stages[place] = (*stages[place], picture)
                complete = place + 1 == len(wanted) and side == self.resolutions[-1]
                output = replace(
                    output, all_stages=tuple(stages), timings=clock.timings, complete=complete, claims=told
                )
                yield output

    def retrieve(
        self,
        caption: str,
        strategy: str | None = None,
        k: int | None = None,
        *,
        exclude: Sequence[str] = (),
        seed: int | None = None,
        oracle_id: str | None = None,
    ) -> Retrieval:
        """Return a caption's neighbours alone; `seed` matters to strategy `random` only.

        Raises:
            CaptionError, RetrievalError, ConfigError: as `__call__`.
        """
        (wanted,) = _seeds(seed, None)
        with self.turn:
            return self.lookup.find(caption, strategy, k, wanted, None, None, exclude, oracle_id)[0]

    def choose(
        self,
        caption: str,
        strategy: str | None = None,
        k: int | None = None,
        seed: int | None = None,
        *,
        best_of: int,
        exclude: Sequence[str] = (),
        variations: Sequence[Variation] = (),
        memory: float = 1.0,
        guidance: float | None = None,
    ) -> Retrieval:
        """Return the k neighbours whose pictures fit the words best, of the `best_of` nearest.

        Each is painted with once, with this seed's noise; what decides is what the caption names
        and the picture shows, and DAMSM's word score (see `choosing`). Where there is nothing to
        choose from (`none`, `oracle`, k no less than `best_of`) retrieval decides alone.

        Raises:
            CaptionError, RetrievalError: as `__call__`.
            ConfigError: as `__call__`, or the encoders do not read pictures.
        """
        (wanted,) = _seeds(seed, None)
        with self.turn:
            return choose(
                self.checkpoint,
                self.lookup,
                caption,
                strategy,
                k,
                wanted,
                best_of,
                exclude,
                None,
                variations,
                memory,
                guidance,
            )[0]

    def from_recipe(self, recipe: Recipe, guests: Sequence[Guest] = ()) -> PipelineOutput:
        """Make a recipe's picture again, pixel for pixel.

        A recipe without neighbours (and a strategy that has some) gets them by retrieval.

        Raises:
            CheckpointError: the recipe names another checkpoint or bank.
            RetrievalError: it names items that the bank lacks, or a private image that is not
                among the guests.
        """
        self.check_recipe(recipe)
        return self(
            recipe.caption,
            recipe.strategy,
            recipe.k,
            recipe.seed,
            neighbours=recipe.neighbours or None,
            weights=recipe.weights or None,
            variations=recipe.variations,
            memory=recipe.memory,
            guests=guests,
            guidance=recipe.guidance,
        )

    def check_recipe(self, recipe: Recipe) -> None:
        """Refuse a recipe that was made with another checkpoint or bank.

        Raises:
            CheckpointError: its hashes are others.
        """
        for name, found in (("checkpoint", self.checkpoint.hash), ("bank", self.bank_hash)):
            wanted = getattr(recipe, f"{name}_hash")
            if wanted and wanted != found:
                raise CheckpointError(
                    wanted=f"the {name} {wanted} of the recipe",
                    found=f"{name} {found}",
                    fix="load that checkpoint, or clear the recipe's hashes for a similar picture",
                )


def _seeds(seed: int | None, seeds: Sequence[int] | None) -> tuple[int, ...]:
    if seed is not None and seeds is not None:
        raise ConfigError(wanted="seed or seeds", found="both", fix="pass one of them")
    if seeds is None:
        seeds = [secrets.randbelow(RANDOM_SEEDS) if seed is None else seed]
    wanted = tuple(seeds)
    if not wanted or not all(is_whole(each) and 0 <= each <= MAX_SEED for each in wanted):
        raise ConfigError(
            wanted=f"seeds: whole numbers in 0..{MAX_SEED}", found=repr(wanted)[:80], fix="use other seeds"
        )
    return wanted
