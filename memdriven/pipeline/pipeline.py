"""From a caption to its pictures: the method end to end, in two steps.

    pipe = MemoryDrivenPipeline.from_pretrained("checkpoints/aviary")
    out = pipe("a small red bird with black wings", seed=7)
    out.images[0].save("bird.png")

`prepare` does what a picture shares with its twins of other seeds, `paint` what it does not. One image
at a time passes through the network, with noise from one CPU generator an image, so a recipe's pixels
never depend on what else was asked for beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from memdriven import __version__
from memdriven.checkpoint import Checkpoint, bank_folder, load_checkpoint
from memdriven.config import Index
from memdriven.devices import Turn, choose_device, repeatable
from memdriven.encoders.text import TextFeatures
from memdriven.errors import CheckpointError, ConfigError, RetrievalError, require
from memdriven.files import SEAL, sealed
from memdriven.memory.bank import HEADER, MEMORY, BorrowedBank, MemoryBank
from memdriven.memory.retrieval import Neighbour, Query, Retriever
from memdriven.memory.scores import scaled, top
from memdriven.models.generator import Stage
from memdriven.models.noise import Noise, View, apply_view, draw_noise
from memdriven.pipeline.claims import claims, named_by, score_pictures, told
from memdriven.pipeline.guidance import Guidance, TextCondition
from memdriven.pipeline.output import Clock, PipelineOutput, Prepared, Retrieval, Tried, to_picture
from memdriven.pipeline.request import (
    CONTROLS,
    MAX_REFERENCES,
    PRIVATE,
    Recipe,
    Request,
    UserImage,
    drawn_seed,
)

_PREPARED = 16
"""Requests whose preparation is remembered: at most half a megabyte of v each."""


class MemoryDrivenPipeline:
    """A loaded checkpoint with its memory bank, ready to turn captions into pictures."""

    def __init__(self, checkpoint: Checkpoint, bank: MemoryBank) -> None:
        self.checkpoint, self.bank = checkpoint, bank
        self.config, self.vocabulary = checkpoint.config, checkpoint.vocabulary
        self.device = next(checkpoint.generator.parameters()).device
        # The layout that convolutions prefer: a quarter faster on two CPU cores.
        checkpoint.generator.to(memory_format=torch.channels_last)
        self.retriever = Retriever(bank, checkpoint.damsm, self.vocabulary, self.config.retrieval)
        self.guidance = Guidance(checkpoint, bank)
        self.turn = Turn()
        """Held while anything is computed, never while a stream waits for its reader, so that
        several threads (visitors of a page) take turns instead of fighting for the cores."""
        self.bank_hash = sealed(bank.header)[SEAL][:12]
        self._remembered = lru_cache(maxsize=_PREPARED)(self._prepare)

    @classmethod
    def from_pretrained(
        cls,
        path: Path | str,
        device: str = "auto",
        *,
        memory: Path | str | None = None,
        index: Index | None = None,
    ) -> Self:
        """Load a checkpoint folder, such as `checkpoints/aviary`, and open its memory bank.

        `device` is a torch device, or `auto`: a CUDA device when there is one. `memory` is the folder of
        another model's bank, or that model's, which its own encoders search then (`BorrowedBank`); None is
        its own bank, or the one that its config.json names. `index` is how the memory is searched
        (`retrieval.index`) in place of the checkpoint's own way.

        Raises:
            CheckpointError: the folder is missing, damaged, or of another kind.
            BankError: its bank is missing, damaged, or was built with another encoder.
            ConfigError: there is no such device or index.
        """
        checkpoint = load_checkpoint(path, choose_device(device))
        if index is not None:
            retrieval = replace(checkpoint.config.retrieval, index=index)
            checkpoint = replace(checkpoint, config=replace(checkpoint.config, retrieval=retrieval))
        folder = bank_folder(checkpoint.path) if memory is None else Path(memory)
        if (folder / MEMORY / HEADER).is_file():
            folder = folder / MEMORY
        own, encoders = folder == checkpoint.path / MEMORY, checkpoint.damsm.hash()
        vgg = None if own else checkpoint.facts.get("vgg")
        bank = MemoryBank(folder, encoders if own else None, vgg)
        bank.verify()
        if bank.encoder != encoders:
            bank = BorrowedBank(bank, checkpoint.damsm, checkpoint.vocabulary)
        return cls(checkpoint, bank)

    @property
    def resolutions(self) -> list[int]:
        """Side in px of each stage's image."""
        return self.checkpoint.generator.resolutions

    def __call__(
        self,
        caption: Request | str,
        strategy: str | None = None,
        k: int | None = None,
        seed: int | None = None,
        **fields: Any,
    ) -> PipelineOutput:
        """Paint a request's pictures, one for each of its seeds.

        Where they are None, strategy and k are the checkpoint's own, and the seed is drawn. `fields` are any
        other of `Request`, and `neighbours` with `weights` in place of `references`.

        Raises:
            CaptionError: the caption is empty, too long, or holds no known word.
            RetrievalError: a strategy, k, id or weight that the bank cannot serve.
            ConfigError: another field is out of range.
        """
        *_, output = self.stream(Request.of(caption, strategy, k, seed, **fields))
        return output

    def stream(self, request: Request) -> Iterator[PipelineOutput]:
        """Yield when all is prepared, then after each stage of each picture; errors are `__call__`'s."""
        prepared = self.prepare(request)
        request, named, resolutions = prepared.request, prepared.retrieval.named, self.resolutions
        noises = [self.noise(request, each) for each in request.seeds]
        seen = request.memory and len(prepared.retrieval)
        output = PipelineOutput(
            prepared=prepared,
            all_stages=((),) * len(noises),
            recipes=tuple(self.recipe(prepared, each) for each in request.seeds),
            timings=prepared.timings,
            views=tuple(noise.view if seen else View() for noise in noises),
            complete=False,
        )
        yield output
        for place, noise in enumerate(noises):
            stages = self.paint(prepared, noise)
            for side in resolutions:
                made, checked, last = list(output.all_stages), output.claims, side == resolutions[-1]
                with self.turn:
                    clock = Clock(output.timings)  # what passes between two stages is the reader's time
                    image = next(stages).image
                    made[place] = (*made[place], to_picture(image))
                    clock.lap(f"stage {side}")
                    if last:
                        checked = (*checked, claims(self.checkpoint, named, prepared.asked, image))
                        if checked[-1]:
                            clock.lap("check")
                output = replace(
                    output,
                    all_stages=tuple(made),
                    claims=checked,
                    timings=clock.timings,
                    complete=last and place + 1 == len(noises),
                )
                yield output

    def prepare(self, request: Request) -> Prepared:
        """Encode the caption, find references, choose among them, mix their v, guide the text.

        The last few requests are remembered, so that a preview and its picture share one. Errors are those
        of `__call__`.
        """
        seeds, own = request.seeds or (drawn_seed(),), self.config.retrieval.strategy
        request = Request.of(request, request.strategy or own, seeds=seeds)
        # Noise takes part where references are painted with to choose among them, or drawn.
        free = request.references is None
        tries = request.best_of if free and request.strategy not in CONTROLS else 1
        if tries > 1 or (free and request.strategy == "random"):
            key = replace(request, best_of=tries, seeds=request.seeds[:1])
        else:
            key = replace(request, best_of=1, seeds=(), variations=(), mirror=None, window=None)
        with self.turn:
            return replace(self._remembered(key), request=request)

    @torch.inference_mode()
    def _prepare(self, request: Request) -> Prepared:
        # 1. Read the caption.  2. Find references, or take those given.
        clock = Clock()
        retrieval, asked = self._retrieve(request, clock, request.best_of)
        strength = self.config.generator.guidance if request.guidance is None else request.guidance
        prepared = Prepared(
            request=request,
            retrieval=retrieval,
            asked=asked,
            text=TextCondition.of(asked),
            v=torch.zeros(1, *self.bank.features.shape),
            guidance=strength,
        )

        # 3. Re-rank them by painting with each alone [ours].
        if request.references is None and len(retrieval) > retrieval.k:
            prepared = self._reranked(prepared)
            clock.lap("choose")
        most, count = f"at most {MAX_REFERENCES} references in one picture", len(prepared.retrieval)
        require(count <= MAX_REFERENCES, RetrievalError, most, count, "lower k")

        # 4. Mix their features.  5. Guide the text away from what their captions say.
        prepared = self._fused(prepared, prepared.retrieval)
        clock.lap("features")
        return replace(prepared, timings=clock.timings)

    def _reranked(self, prepared: Prepared) -> Prepared:
        """Keep the k references whose pictures, of the first stage that the encoders can read, fit best.

        Retrieval compares words with references, not with what G makes of them.
        """
        found, config = prepared.retrieval, self.config.damsm
        wanted = "encoders that read pictures (damsm.pixel_backbone compact), to try references"
        reads, fix = self.checkpoint.damsm.pixels is not None, "leave best_of at 1"
        require(reads, ConfigError, wanted, config.pixel_backbone, fix)
        stages = min(sum(side < config.pixel_size for side in self.resolutions) + 1, len(self.resolutions))
        alone = [self._fused(prepared, [replace(each, weight=1.0)]) for each in found]
        pictures = self.paint_many(alone, prepared.request.seeds[:1] * len(alone), stages)[-1]
        scores = score_pictures(self.checkpoint, prepared.retrieval.named, prepared.asked, pictures)
        places = top(scores, found.k).tolist()
        shares = scaled([found[place].weight for place in places])
        kept = tuple(replace(found[place], weight=share) for place, share in zip(places, shares, strict=True))
        tried = tuple(
            Tried(neighbour=each, score=score, picture=to_picture(picture[None]), kept=place in places)
            for place, (each, score, picture) in enumerate(zip(found, scores.tolist(), pictures, strict=True))
        )
        return replace(prepared, retrieval=replace(found, neighbours=kept, tried=len(tried)), tried=tried)

    def _fused(self, prepared: Prepared, references: Sequence[Neighbour]) -> Prepared:
        """Return what is painted with some references: v = sum_i w_i v_i, and the text beside them."""
        request, shares = prepared.request, [(each.id, each.weight) for each in references]
        own = {image.id: image.v() for image in request.images if image.id in dict(shares)}
        v = self.retriever.mix(shares, own) * request.memory
        text = self.guidance.guide(prepared.asked, shares, prepared.guidance * request.memory)
        return replace(prepared, text=text, v=v.to(self.device, memory_format=torch.channels_last))

    def noise(self, request: Request, seed: int) -> Noise:
        """Return what a seed draws for a request: z, epsilon, and how the memory is seen."""
        steps = [(each.seed, each.strength) for each in request.variations]
        return draw_noise(seed, self.checkpoint.generator, steps, request.mirror, request.window)

    def paint(self, prepared: Prepared, seed: int | Noise) -> Iterator[Stage]:
        """Yield a picture's stages as soon as they are there: images (1, 3, s, s) in [-1, 1], gates.

        Any part of `prepared` may be replaced; `seed` is of the noise, or the noise itself.
        """
        noise = seed if isinstance(seed, Noise) else self.noise(prepared.request, seed)
        generator = self.checkpoint.generator
        with self.turn, torch.inference_mode():
            c, _, _ = generator.augment(prepared.text.sentence, noise.epsilon)
            condition = self._condition(prepared, noise)
            stages = generator.stages(noise.z, c, condition, apply_view(prepared.v, noise.view))
        for _ in self.resolutions:
            with self.turn, torch.inference_mode(), repeatable():
                stage = next(stages)
            yield stage

    def _condition(self, prepared: Prepared, noise: Noise) -> Tensor:
        """Return what G is told of a picture beside its sentence: the caption's, then z's [ours]."""
        condition, named = prepared.text.condition, prepared.asked.attributes
        if not self.config.generator.z_asks or named is None:
            return condition
        known = [self.bank.index_of(name) for name in prepared.retrieval.ids[:1] if name in self.bank]
        record = self.bank.items[known[0]].attributes if known else {}
        return self.guidance.with_asks(condition, named, noise.z, record)

    def paint_many(
        self, prepared: Prepared | Sequence[Prepared], seeds: Sequence[int], stages: int | None = None
    ) -> list[Tensor]:
        """Return the first stages' images (b, 3, s, s) in [-1, 1] of b pictures painted at once.

        `prepared` is one for each of b seeds, or one for all. In a batch the arithmetic may differ from
        `paint`'s in the last bits.
        """
        of = [prepared] * len(seeds) if isinstance(prepared, Prepared) else prepared
        noises = [self.noise(each.request, seed) for each, seed in zip(of, seeds, strict=True)]
        with self.turn, torch.inference_mode(), repeatable():
            images: list[Tensor] = self.checkpoint.generator(
                torch.cat([noise.z for noise in noises]),
                torch.cat([each.text.sentence for each in of]),
                torch.cat([*map(self._condition, of, noises)]),
                torch.cat([apply_view(each.v, noise.view) for noise, each in zip(noises, of, strict=True)]),
                torch.cat([noise.epsilon for noise in noises]),
                stages,
            ).images
        return images

    def retrieve(
        self, caption: Request | str, strategy: str | None = None, k: int | None = None, **fields: Any
    ) -> Retrieval:
        """Return a caption's references alone, however many; arguments and errors are those of `__call__`."""
        with self.turn, torch.inference_mode():
            return self._retrieve(Request.of(caption, strategy, k, **fields), Clock())[0]

    @torch.inference_mode()
    def alike(
        self, item: str, count: int, exclude: Sequence[str] = (), images: Sequence[UserImage] = ()
    ) -> tuple[Neighbour, ...]:
        """Return the bank's images nearest to an image of it, or of the caller's own, itself first."""
        own = {image.id: image for image in images}
        image = own[item].v() if item in own else self._row(item)
        hidden = [each for each in exclude if each not in own]
        return tuple(self.retriever.alike(image, count, hidden))

    def recipe(self, prepared: Prepared, seed: int) -> Recipe:
        """Return what makes one picture again: the request with all that was left open filled in."""
        kept = ("caption", "variations", "memory", "mirror", "window")
        return Recipe(
            strategy=prepared.retrieval.strategy,
            k=prepared.retrieval.k,
            seeds=(seed,),
            references=prepared.retrieval.shares or None,
            guidance=prepared.guidance,
            checkpoint=self.checkpoint.name,
            checkpoint_hash=self.checkpoint.hash,
            bank_hash=self.bank_hash,
            version=__version__,
            **{name: getattr(prepared.request, name) for name in kept},
        )

    def from_recipe(self, recipe: Recipe, images: Sequence[UserImage] = ()) -> PipelineOutput:
        """Make a recipe's picture again, pixel for pixel; what has no references gets them by retrieval.

        A CheckpointError says that it names another checkpoint or bank, a RetrievalError that it names items
        that the bank lacks, or a private image that is not among the caller's own.
        """
        self.check_recipe(recipe)
        return self(recipe, images=images)

    def check_recipe(self, recipe: Recipe) -> None:
        """Refuse a recipe that was made with another checkpoint or bank (CheckpointError)."""
        for name, found in (("checkpoint", self.checkpoint.hash), ("bank", self.bank_hash)):
            wanted = getattr(recipe, f"{name}_hash")
            fix = "load that checkpoint, or clear the recipe's hashes for a similar picture"
            good, wanted = wanted in ("", found), f"the {name} {wanted} of the recipe"
            require(good, CheckpointError, wanted, f"{name} {found}", fix)

    def _retrieve(self, request: Request, clock: Clock, tries: int = 1) -> tuple[Retrieval, TextFeatures]:
        """Return a caption's references, at least `tries` if there are so many, and its embeddings."""
        encoded = self.vocabulary.encode(request.caption, self.config.text.max_words)
        asked = self.checkpoint.encode_captions([encoded])
        clock.lap("encode")
        strategy = request.strategy or self.config.retrieval.strategy
        if request.references is None:
            k = self.config.retrieval.k if request.k is None else request.k
            query = Query(asked, request.caption, tuple(encoded.words))
            count = max(k, min(tries, self.bank.n - len(request.exclude)))
            seed = request.seeds[0] if request.seeds else drawn_seed()
            found = tuple(self.retriever.retrieve(query, strategy, count, request.exclude, seed))
        else:
            k = max(1, len(request.references)) if request.k is None else request.k
            found = tuple(self._given(request))
        clock.lap("retrieve")
        values = self.checkpoint.attributes.values if self.checkpoint.attributes else {}
        named = named_by(request.caption, values, encoded.unknown)
        retrieval = Retrieval(
            caption=request.caption,
            named=named,
            strategy=strategy,
            k=k,
            neighbours=found,
            words=tuple(encoded.words),
            unknown_words=encoded.unknown,
            truncated=encoded.truncated,
        )
        return retrieval, told(asked, named, values)

    def _given(self, request: Request) -> Iterator[Neighbour]:
        """Yield the references that the caller chose, best first as given."""
        own = {image.id: image for image in request.images}
        for rank, (each, weight) in enumerate(request.references or (), start=1):
            if each in own:
                image, caption = own[each].image, own[each].caption
                yield Neighbour(id=each, image=image, caption=caption, rank=rank, weight=weight)
            else:
                yield self.retriever.neighbour(self._row(each), rank=rank, weight=weight)

    def _row(self, item: str) -> int:
        wanted = "an image of the memory, or an own image of this tab"
        fix = "add that image as your own again: the same file gets the same name"
        private = item.startswith(PRIVATE) and item not in self.bank
        require(not private, RetrievalError, wanted, "a private image that is not here", fix)
        return self.bank.index_of(item)
