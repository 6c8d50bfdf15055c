"""What the left column asks for, read once for every tab."""

from __future__ import annotations

from dataclasses import dataclass

from memdriven.errors import CaptionError
from memdriven.pipeline.output import PipelineOutput
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request, Variation
from memdriven.ui import lineup, state, strings
from memdriven.ui.steering import Steering


@dataclass(frozen=True)
class Asked:
    """One picture's question, with the references that the Picture tab shows for it."""

    request: Request

    @property
    def caption(self) -> str:
        """The words."""
        return self.request.caption

    @property
    def seed(self) -> int:
        """Of its noise."""
        return self.request.seeds[0]

    @property
    def variations(self) -> tuple[Variation, ...]:
        """Steps away from the seed's noise."""
        return self.request.variations

    def paint(self, pipe: MemoryDrivenPipeline) -> PipelineOutput:
        """Return the picture, the same as the Picture tab's."""
        return pipe(self.request)


def read(*query: object) -> Asked:
    """Return what is asked, from the values of `Compose.whole_query`.

    A seed in the box is used whether it is kept or not: it is that of the picture on screen.

    Raises:
        CaptionError: there are no words yet.
        RetrievalError: what was steered by hand cannot be served.
        ConfigError: the seed is no whole number in range, or there is no such window.
    """
    wanted, steering = question(*query, kept=True)
    return Asked(lineup.line_up(wanted, steering).request)


def question(*query: object, kept: bool = False) -> tuple[Request, Steering]:
    """Return the column's own request, and what was steered by hand; `read` puts both together.

    Args:
        query: the values of `Compose.whole_query`, or the first of them.
        kept: the seed in the box counts as kept.

    Raises:
        CaptionError, ConfigError: as `read`.
    """
    caption, source, comparison, k, seed, keep = query[:6]
    if not isinstance(caption, str) or not caption.strip():
        raise CaptionError(
            wanted=strings.NO_WORDS_WANTED, found=strings.NO_WORDS_FOUND, fix=strings.NO_WORDS_FIX
        )
    given = query[6] if len(query) > 6 else None
    steering = given if isinstance(given, Steering) else Steering()
    memory, guidance, mirror, window, tries = (*query[7:], *(None,) * 5)[:5]
    number = state.read_seed(seed if isinstance(seed, str) else "", kept or bool(keep))
    request = Request(
        caption=caption,
        seeds=(number,),
        strategy=state.read_strategy(str(source), str(comparison)),
        k=state.read_k(k),
        variations=steering.steps_from(number, bool(keep)),
        memory=state.read_memory(memory),
        guidance=state.read_guidance(guidance),
        best_of=state.read_tries(tries),
        mirror=state.read_mirror(mirror),
        window=state.read_window(window),
    )
    return request, steering
