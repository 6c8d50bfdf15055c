"""The page's programming interface: three typed endpoints, and the same as MCP tools.

Everything else that the page does is private. How to call them is in docs/api.md.
"""

# Without annotations from the future: Gradio reads the return types as they stand.
import base64
from typing import Any, TypedDict

from memdriven.config import Strategy
from memdriven.errors import ConfigError, RetrievalError, require
from memdriven.numbers import check_whole, shown
from memdriven.pipeline.claims import Said
from memdriven.pipeline.output import PipelineOutput
from memdriven.ui import gr, state
from memdriven.ui.query import read_tries

MAX_TILES = 9


class Found(TypedDict):
    """One neighbour."""

    id: str
    caption: str
    class_name: str
    rank: int
    weight: float
    score: float | None
    percentile: float | None


class Unknown(TypedDict):
    """One word that the model does not know."""

    word: str
    replacement: str | None
    reason: str


class Claimed(TypedDict):
    """One thing that the caption says, and what the picture shows of it."""

    said: Said
    attribute: str
    wanted: str
    seen: str
    probability: float


class Picture(TypedDict):
    """One picture of a grid."""

    seed: int
    png: str


class Searched(TypedDict):
    """How a caption was read, what was found, and how long it took."""

    neighbours: list[Found]
    unknown_words: list[Unknown]
    truncated: int
    milliseconds: dict[str, float]


class Generated(Searched):
    """What `generate` gives."""

    png: str
    recipe: dict[str, Any]
    claims: list[Claimed]


class Grid(Searched):
    """What `grid` gives."""

    pictures: list[Picture]


def retrieve(caption: str, strategy: Strategy | None = None, k: int | None = None) -> list[Found]:
    """Find the pictures of the memory that fit a caption, best first.

    Args:
        caption: One English sentence, e.g. "a small red bird with black wings".
        strategy: How caption and memory are compared; left out, as the page begins.
        k: How many neighbours, 1 to 8; left out, as the page begins.

    Returns:
        A list of neighbours: id, caption, class_name, rank, weight (its share of the mix), score
        (of this strategy only) and percentile (share of the items searched with a lower score).
    """
    return [_only(Found, each) for each in state.pipeline().retrieve(caption, strategy, _k(k))]


def generate(
    caption: str,
    strategy: Strategy | None = None,
    k: int | None = None,
    seed: int = -1,
    neighbours: list[str] | None = None,
    weights: list[float] | None = None,
    memory: float = 1.0,
    best_of: int | None = None,
    guidance: float | None = None,
) -> Generated:
    """Generate one picture from a caption, memory pictures and noise; what is left out, as the page begins.

    Args:
        caption: One English sentence, e.g. "a small red bird with black wings".
        strategy: How neighbours are found; "none" switches the memory off.
        k: How many neighbours are mixed, 1 to 8.
        seed: Of the noise, 0 to 2^53 - 1; -1 draws one. The same inputs give the same picture.
        neighbours: Ids of memory pictures to use instead of retrieval.
        weights: Their shares, one each; equal when left out.
        memory: How much of the memory is used, 0 (words alone) to 1; for models trained so.
        best_of: Paint with so many neighbours, 1 to 16; keep the k whose pictures fit the words.
        guidance: How far the words are moved away from the neighbours' captions, 0 to 4.

    Returns:
        png (base64, with its recipe inside), recipe, neighbours, claims (what the caption says: named
        by its words, implied by its kind of bird, or denied; and what the model's readers see of it),
        unknown_words, truncated (words beyond the model's limit) and milliseconds.
    """
    pipe = state.pipeline()
    output = pipe(
        caption,
        strategy,
        _k(k),
        None if seed == -1 else seed,
        neighbours=neighbours,
        weights=weights,
        memory=memory,
        best_of=read_tries(pipe) if best_of is None else best_of,
        guidance=guidance,
    )
    claims: list[Claimed] = [_only(Claimed, each) for each in output.claims[0]]
    return {"png": _png(output, 0), "recipe": output.recipe.to_dict(), "claims": claims, **_searched(output)}


def grid(caption: str, seeds: list[int], strategy: Strategy | None = None, k: int | None = None) -> Grid:
    """Generate one picture a seed at the same caption and memory: what the noise alone changes.

    Args:
        caption: One English sentence, e.g. "a small red bird with black wings".
        seeds: One to nine seeds of the noise, each 0 to 2^53 - 1.
        strategy: How neighbours are found; "none" switches the memory off.
        k: How many neighbours are mixed, 1 to 8.

    Returns:
        pictures (a list of seed and png), neighbours, unknown_words, truncated (words
        beyond the model's limit) and milliseconds.
    """
    few = isinstance(seeds, list) and 1 <= len(seeds) <= MAX_TILES
    fix = "give a list of whole numbers, and ask for more of them in another call"
    require(few, ConfigError, f"a list of 1 to {MAX_TILES} seeds", shown(seeds), fix)
    pipe = state.pipeline()
    output = pipe(caption, strategy, _k(k), seeds=seeds, best_of=read_tries(pipe))
    pictures: list[Picture] = [
        {"seed": recipe.seed, "png": _png(output, place)} for place, recipe in enumerate(output.recipes)
    ]
    return {"pictures": pictures, **_searched(output)}


def _searched(output: PipelineOutput) -> Searched:
    return {
        "neighbours": [_only(Found, each) for each in output.retrieval],
        "unknown_words": [_only(Unknown, each) for each in output.unknown_words],
        "truncated": output.retrieval.truncated,
        "milliseconds": dict(output.timings),
    }


def _only(kind: Any, thing: object) -> Any:
    """Return those values of a thing that a kind of answer has."""
    return {name: getattr(thing, name) for name in kind.__annotations__}


def build() -> None:
    """Add the endpoints to the page that is being built."""
    for function in (retrieve, generate, grid):
        group = state.LONG if function is grid else state.CONCURRENCY_ID
        gr.api(  # type: ignore[attr-defined]  # made by a stub that gradio leaves out
            function,
            api_name=function.__name__,
            concurrency_id=group,
            concurrency_limit=1,
            api_visibility="public",
        )


def _k(k: object) -> int:
    if k is None:
        pipe = state.pipeline()
        return min(pipe.config.retrieval.k, state.MAX_K, pipe.bank.n)
    return check_whole("k", k, 1, state.MAX_K, RetrievalError, "ask for another number of neighbours")


def _png(output: PipelineOutput, place: int) -> str:
    return base64.b64encode(output.png(place)).decode("ascii")
