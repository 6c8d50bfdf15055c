"""What the left column asks for, read once for every tab."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from memdriven.errors import CaptionError
from memdriven.explore.painting import Inputs, gather
from memdriven.pipeline import MemoryDrivenPipeline
from memdriven.trace import PipelineOutput, Retrieval
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
    options: dict[str, Any] = field(default_factory=dict)
    """What was steered by hand: neighbours and weights, own images, steps away from the noise."""

    @property
    def arguments(self) -> tuple[str, str, int, int]:
        """Caption, strategy, k and seed: the order in which the pipeline takes them."""
        return self.caption, self.strategy, self.k, self.seed

    def gather(self, pipe: MemoryDrivenPipeline) -> tuple[Inputs, Retrieval]:
        """Return the picture's inputs and neighbours."""
        return gather(pipe, *self.arguments, memory=self.memory, **self.options)

    def paint(self, pipe: MemoryDrivenPipeline) -> PipelineOutput:
        """Return the picture, the same as the Picture tab's."""
        return pipe(*self.arguments, memory=self.memory, **self.options)


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
        raise CaptionError(wanted=strings.NO_WORDS_WANTED, found=strings.NO_WORDS_FOUND,
                           fix=strings.NO_WORDS_FIX)  # fmt: skip
    number = state.read_seed(seed if isinstance(seed, str) else "", keep=True)
    strategy = state.read_strategy(str(source), str(comparison))
    share = state.read_memory(query[7]) if len(query) > 7 else 1.0
    wanted = Asked(caption, strategy, state.read_k(k), number, share)
    return _steered(wanted, bool(keep), query[6:])


def _steered(wanted: Asked, keep: bool, rest: Sequence[object]) -> Asked:
    """Add what the visitor steered by hand, if the column knows of it."""
    steering = next((each for each in rest if isinstance(each, Steering)), None)
    if steering is None:
        return wanted
    options: dict[str, Any] = {"variations": steering.steps_from(wanted.seed, keep)}
    found = lineup.line_up(*wanted.arguments, steering)
    if found.steered:
        options |= {
            "neighbours": found.retrieval.ids, "weights": found.retrieval.weights,
            "guests": steering.guests,
        }  # fmt: skip
    count = max(1, len(found.retrieval)) if found.steered else wanted.k
    return replace(wanted, k=count, options=options)
