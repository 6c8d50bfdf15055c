"""What the left column asks for, read once for every tab."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from memdriven.errors import CaptionError
from memdriven.pipeline.output import PipelineOutput
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request, Variation
from memdriven.ui import lineup, state, strings
from memdriven.ui.steering import Steering


@dataclass(frozen=True)
class Asked:
    """One picture's question, as the pipeline takes it."""

    caption: str
    strategy: str
    k: int
    seed: int
    memory: float = 1.0
    """How much of the memory is used."""
    guidance: float | None = None
    """How far the words are moved away from the memory's; the model's own default when None."""
    variations: tuple[Variation, ...] = ()
    """Steps away from the seed's noise."""
    mirror: bool | None = None
    window: Window | None = None
    masks: tuple[str, ...] = ()
    """Memories that are never used; `given` is without them already."""
    given: dict[str, Any] = field(default_factory=dict)
    """What takes the place of retrieval: neighbours and weights, and own images among them."""

    @property
    def arguments(self) -> tuple[str, str, int, int]:
        """Caption, strategy, k and seed: the order in which the pipeline takes them."""
        return self.caption, self.strategy, self.k, self.seed

    @property
    def options(self) -> dict[str, Any]:
        """Everything else that the pipeline takes."""
        return {
            "memory": self.memory,
            "guidance": self.guidance,
            "mirror": self.mirror,
            "window": self.window,
            "variations": self.variations,
            **self.given,
        }

    @property
    def request(self) -> Request:
        """The same, as the pipeline takes it."""
        return Request.of(*self.arguments, exclude=self.masks, **self.options)

    def paint(self, pipe: MemoryDrivenPipeline) -> PipelineOutput:
        """Return the picture, the same as the Picture tab's."""
        return pipe(self.request)


def read(*query: object) -> Asked:
    """Return what is asked, from the values of `Compose.whole_query`.

    A seed in the box is used whether it is kept or not: it is that of the picture on screen.

    Raises:
        CaptionError: there are no words yet.
        RetrievalError: what was steered by hand cannot be served.
        ConfigError: the seed is no whole number in range.
    """
    caption, source, comparison, k, seed, keep = query[:6]
    if not isinstance(caption, str) or not caption.strip():
        raise CaptionError(
            wanted=strings.NO_WORDS_WANTED, found=strings.NO_WORDS_FOUND, fix=strings.NO_WORDS_FIX
        )
    number = state.read_seed(seed if isinstance(seed, str) else "", keep=True)
    strategy = state.read_strategy(str(source), str(comparison))
    share = state.read_memory(query[7]) if len(query) > 7 else 1.0
    guidance = state.read_guidance(query[8] if len(query) > 8 else None)
    tries = state.read_tries(query[9]) if len(query) > 9 else 1
    wanted = Asked(caption, strategy, state.read_k(k), number, share, guidance)
    return _steered(wanted, bool(keep), query[6:], tries)


def _steered(wanted: Asked, keep: bool, rest: Sequence[object], tries: int) -> Asked:
    """Add what the visitor steered by hand, if the column knows of it, or what trying chose."""
    steering = next((each for each in rest if isinstance(each, Steering)), None)
    if steering is None:
        return wanted
    wanted = replace(
        wanted,
        variations=steering.steps_from(wanted.seed, keep),
        masks=lineup.masks(state.pipeline(), steering),
    )
    found = lineup.line_up(
        *wanted.arguments, steering, tries, wanted.variations, wanted.memory, wanted.guidance
    )
    if not found.given:
        return wanted
    given = {**found.given, "images": steering.guests}
    return replace(wanted, k=max(1, len(found.retrieval)), given=given)
