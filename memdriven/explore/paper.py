"""What the paper claims, and what was measured here: an answer a claim, worked out from rows of results.

Nothing is asserted: without a row of the loaded checkpoint a claim is unanswered. The bounds by which a
number counts as yes, partly or no stand beside each claim.
"""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
from PIL import Image

from memdriven.checkpoint import rival_budget
from memdriven.evaluation.distances import SUSPECT
from memdriven.evaluation.results import Result, read_results
from memdriven.models.rival import RivalGenerator
from memdriven.numbers import percent
from memdriven.pipeline.output import to_picture
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request

RESULTS, ABLATION = "results.jsonl", "ablation.jsonl"
MODELS = ("best-of-8", "model")
"""Rows of the model: as the page paints, with one of eight references kept, and with the nearest."""
OTHERS = ("real", "retrieved", "rival")
"""Rows that G paints nothing of: they hold for every checkpoint that met the same captions and memory."""
Holds = Literal["yes", "partly", "no"]
Answered = tuple[str, Holds | None]
"""The measured answer in words, and whether the claim holds; None where nothing was measured."""
Answer = Callable[[MemoryDrivenPipeline, "Rows"], Answered]


class Rows(dict[tuple[str, str], Result]):
    """A checkpoint's results by row and metric, the newest of each."""

    def value(self, metric: str, *rows: str) -> float:
        """Return the metric of the first of the rows that has it (LookupError: none has)."""
        found = [self[row, metric].value for row in rows if (row, metric) in self]
        return found[0]


def rows_of(pipe: MemoryDrivenPipeline) -> Rows:
    """Return what was measured of this very checkpoint, and of `OTHERS` beside it.

    An EvaluationError says that its file of results is damaged.
    """
    found = [each for each in read_results(pipe.checkpoint.path / RESULTS) if not each.variant]
    own = [each for each in found if each.checkpoint_hash == pipe.checkpoint.hash]
    met = {(each.dataset, each.prompts, each.memory) for each in own}
    beside = [
        each for each in found if each.row in OTHERS and (each.dataset, each.prompts, each.memory) in met
    ]
    return Rows({(each.row, each.metric): each for each in (*beside, *own)})


class Claim(NamedTuple):
    """One claim of the paper and how it is answered here."""

    words: str
    where: str
    """Section, figure or table of the paper."""
    see: str
    """The tab or figure that shows it: a tab's id, or `figure 3`; empty for none."""
    answer: Answer


CLAIMS: list[Claim] = []


def answers(pipe: MemoryDrivenPipeline) -> Mapping[Claim, Answered]:
    """Return every claim with its answer (EvaluationError: the checkpoint's file of results is damaged)."""
    rows, found = rows_of(pipe), dict[Claim, Answered]()
    for claim in CLAIMS:
        try:
            found[claim] = claim.answer(pipe, rows)
        except LookupError:
            found[claim] = "Not measured for this checkpoint.", None
    return found


@torch.inference_mode()
def paint_rival(pipe: MemoryDrivenPipeline, rival: RivalGenerator, request: Request) -> Image.Image:
    """Return what a GAN without a memory paints of a request's words at its first seed."""
    z = torch.randn(1, rival.z_dim, generator=torch.Generator().manual_seed(request.seeded().seeds[0]))
    sentence = pipe.retriever.query(request.caption).text.sentence
    return to_picture(rival(z.to(sentence.device), sentence[:1].float()))


# ---- The claims, in the paper's order ------------------------------------------------------------


def _claim(words: str, where: str, see: str) -> Callable[[Answer], Answer]:
    def kept(answer: Answer) -> Answer:
        CLAIMS.append(Claim(words, where, see, answer))
        return answer

    return kept


def _graded(partly: bool, wholly: bool) -> Holds:
    return "no" if not partly else "yes" if wholly else "partly"


@_claim("Realistic pictures, more so than purely parametric models", "Sec. 1, Fig. 1, Table 1", "figure 1")
def _realistic(pipe: MemoryDrivenPipeline, rows: Rows) -> Answered:
    made, none, real = (rows.value("fid_vgg", *names) for names in (MODELS, ("none",), ("real",)))
    rival = rows["rival", "fid_vgg"].value if ("rival", "fid_vgg") in rows else None
    budget = f" ({told})" if (told := rival_budget(pipe.checkpoint)) else ""
    beside = "" if rival is None else f"a rival that never had a memory{budget} {rival:,.0f}; "
    here = (
        f"Distance (fid_vgg) to real pictures {made:,.0f}; without its memory {none:,.0f}; {beside}"
        f"other real ones {real:,.0f}."
    )
    return here, _graded(made <= min(none, rival or none), made < 1.5 * real)


@_claim("The picture says what the text says", "Sec. 5.1, Table 1", "app")
def _aligned(pipe: MemoryDrivenPipeline, rows: Rows) -> Answered:
    made, none, real = (rows.value("r_precision_judge", *names) for names in (MODELS, ("none",), ("real",)))
    here = (
        f"R-precision by a separate judge: {made:.1f}; without memory {none:.1f}; real pictures {real:.1f}."
    )
    return here, _graded(made > none, made > 0.8 * real)


@_claim("G selects what the text requires from v, and adds the rest", "Sec. 4.1 (ACM)", "inside")
def _chosen(pipe: MemoryDrivenPipeline, rows: Rows) -> Answered:
    painted, shown = rows.value("asked_colours", "model", *MODELS), rows.value("asked_colours", "retrieved")
    ours = f"the pictures painted from one reference {percent(painted)}"
    here = f"References show {percent(shown)} of the colours named, {ours}."
    return here, _graded(painted > shown, painted > shown + 0.2)


@_claim("No significant copy-and-paste problem", "Sec. 5.1, Fig. 3", "figure 3")
def _no_copies(pipe: MemoryDrivenPipeline, rows: Rows) -> Answered:
    share = rows.value("copy_suspected", *MODELS)
    here = (
        f"{percent(share, 1)} of the pictures are suspected copies: closer to a picture of the memory than "
        f"{percent(1 - SUSPECT / 100)} of the memory\u2019s pictures are to the one that is nearest to them."
    )
    return here, _graded(share <= 0.05, share <= 0.01)


@_claim("Obviously different pictures by only changing z", "Sec. 5.1, Fig. 5", "figure 5")
def _diverse(pipe: MemoryDrivenPipeline, rows: Rows) -> Answered:
    z, seed = (rows.value(f"diversity_{name}", *MODELS) for name in ("z", "seed"))
    drawn = "with the mirror and the window that a seed draws here too"
    here = f"Pictures of z alone lie {z:.2f} apart; {drawn}, {seed:.2f} (LPIPS-like)."
    return here, _graded(z >= 0.3, z >= 1)


@_claim("Three stages, 256 \u00d7 256", "Sec. 4.3, 5", "inside")
def _stages(pipe: MemoryDrivenPipeline, rows: Rows) -> Answered:
    sides = pipe.resolutions
    here = f"This checkpoint has {len(sides)}: {', '.join(map(str, sides))} px."
    return here, _graded(True, len(sides) == 3 and sides[-1] == 256)


@_claim("No attention module in the whole architecture", "Sec. 5", "")
def _no_attention(pipe: MemoryDrivenPipeline, rows: Rows) -> Answered:
    reads = pipe.checkpoint.attributes is not None and pipe.checkpoint.attributes.reader is not None
    reader = "The reader of captions, which is ours, attends over words; " if reads else ""
    here = f"None in the generator. {reader}DAMSM attends in training, as in the paper."
    return here, _graded(True, not reads)


@_claim("Content information makes the discriminator more reliable", "Sec. 4.2, 5.2", "inside")
def _content(pipe: MemoryDrivenPipeline, rows: Rows) -> Answered:
    """Compare short trainings with and without content features, where the ablation's file is at hand."""
    runs = read_results(pipe.checkpoint.path.resolve().parent.parent / "docs" / ABLATION)
    gains: dict[str, float] = {}
    for metric in ("fd_squeezenet", "fid_vgg"):  # by the second, where both are known of a budget
        mine = (each for each in runs if each.metric == metric and each.row == "model")
        found = {(each.budget, each.variant): each.value for each in mine}
        for (budget, variant), value in found.items():
            if variant == "base" and (budget, "content-none") in found:
                gains[budget] = 1 - value / found[budget, "content-none"]
    if not gains:
        return "No ablation is at hand.", None
    better = sum(gain > 0 for gain in gains.values())
    here = (
        f"With content features the distance to real pictures was smaller in {better} of {len(gains)} "
        f"pairs of short trainings, by {percent(max(gains.values()))} at most."
    )
    return here, _graded(better == len(gains), False)


@_claim("FID 10.49 and R-precision 73.87 on CUB", "Table 1", "table 1")
def _elsewhere(pipe: MemoryDrivenPipeline, rows: Rows) -> Answered:
    here = (
        "Other pictures, another size and another form of FID: Table 1 below puts both in sight, not in rank."
    )
    return here, None
