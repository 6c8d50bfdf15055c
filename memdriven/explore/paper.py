"""What the paper claims, and what was measured here: an answer a claim, worked out from rows of results.

Nothing is asserted: without a row of the loaded checkpoint a claim is unanswered. The bounds by which a
number counts as yes, partly or no stand beside each claim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from PIL import Image

from memdriven.evaluation.results import Result, read_results
from memdriven.models.rival import RivalGenerator
from memdriven.pipeline.output import to_picture
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request

RESULTS, ABLATION = "results.jsonl", "ablation.jsonl"
MODELS = ("best-of-8", "model")
"""Rows of the model: as the page paints, with one of eight references kept, and with the nearest."""
Holds = Literal["yes", "partly", "no"]


@dataclass(frozen=True)
class Answer:
    """One claim of the paper and what is found here."""

    claim: str
    where: str
    """Section, figure or table of the paper."""
    here: str
    """The measured answer in words; why there is none."""
    holds: Holds | None
    """None where nothing was measured."""
    see: str
    """The tab or figure that shows it: a tab's id, or `figure 3`; empty for none."""


class Rows:
    """A checkpoint's results, by row and metric, the newest of each."""

    def __init__(self, results: Sequence[Result]) -> None:
        self.all: Mapping[tuple[str, str], Result] = {
            (each.row, each.metric): each for each in results if not each.variant
        }

    def value(self, metric: str, *rows: str) -> float | None:
        """Return the metric of the first of the rows that has it."""
        found = (self.all[row, metric].value for row in rows if (row, metric) in self.all)
        return next(found, None)


@torch.inference_mode()
def paint_rival(pipe: MemoryDrivenPipeline, rival: RivalGenerator, request: Request) -> Image.Image:
    """Return what a GAN without a memory paints of a request's words at its first seed.

    Raises:
        CaptionError: the caption cannot be encoded.
    """
    z = torch.randn(1, rival.z_dim, generator=torch.Generator().manual_seed(request.seeded().seeds[0]))
    sentence = pipe.retriever.query(request.caption).text.sentence
    return to_picture(rival(z.to(sentence.device), sentence[:1].float()))


def rows_of(pipe: MemoryDrivenPipeline) -> Rows:
    """Return what was measured of this very checkpoint; results of other weights are left out.

    Raises:
        EvaluationError: its file of results is damaged.
    """
    results = read_results(pipe.checkpoint.path / RESULTS)
    return Rows([each for each in results if each.checkpoint_hash == pipe.checkpoint.hash])


def answers(pipe: MemoryDrivenPipeline) -> list[Answer]:
    """Return every claim with its answer.

    Raises:
        EvaluationError: the checkpoint's file of results is damaged.
    """
    rows = rows_of(pipe)
    return [
        _realistic(rows),
        _aligned(rows),
        _chosen(rows),
        _no_copies(rows),
        _diverse(rows),
        _stages(pipe),
        _no_attention(pipe),
        _content(pipe),
        Answer(
            "FID 10.49 and R-precision 73.87 on CUB",
            "Table 1",
            "Other pictures, another size and another form of FID: Table 1 below puts both in sight, "
            "not in rank.",
            None,
            "table 1",
        ),
    ]


def _realistic(rows: Rows) -> Answer:
    made, none, real = (rows.value("fid_vgg", *names) for names in (MODELS, ("none",), ("real",)))
    holds: Holds | None = None
    here = "No distance was measured."
    if made is not None and none is not None and real is not None:
        rival = rows.value("fid_vgg", "rival")
        holds = "no" if made > min(none, rival or none) else "yes" if made < 1.5 * real else "partly"
        beside = f"a rival that never had a memory {rival:,.0f}; " if rival else ""
        here = (
            f"Distance (fid_vgg) to real pictures {made:,.0f}; without its memory {none:,.0f}; {beside}"
            f"other real ones {real:,.0f}."
        )
    claim = "Realistic pictures, more so than purely parametric models"
    return Answer(claim, "Sec. 1, Fig. 1, Table 1", here, holds, "figure 1")


def _aligned(rows: Rows) -> Answer:
    made, none, real = (rows.value("r_precision_judge", *names) for names in (MODELS, ("none",), ("real",)))
    holds: Holds | None = None
    here = "R-precision was not measured."
    if made is not None and none is not None and real is not None:
        holds = "yes" if made > 0.8 * real else "partly" if made > none else "no"
        here = (
            f"R-precision by its own judge: {made:.1f}; without memory {none:.1f}; real pictures {real:.1f}."
        )
    return Answer("The picture says what the text says", "Sec. 5.1, Table 1", here, holds, "app")


def _chosen(rows: Rows) -> Answer:
    painted, shown = rows.value("asked_colours", "model", *MODELS), rows.value("asked_colours", "retrieved")
    holds: Holds | None = None
    here = "Named colours were not counted."
    if painted is not None and shown is not None:
        holds = "yes" if painted > shown + 0.2 else "partly" if painted > shown else "no"
        here = (
            f"References show {shown:.0%} of the colours named, the pictures painted from them {painted:.0%}."
        )
    claim = "G selects what the text requires from v, and adds the rest"
    return Answer(claim, "Sec. 4.1 (ACM)", here, holds, "inside")


def _no_copies(rows: Rows) -> Answer:
    share = rows.value("copy_suspected", *MODELS)
    holds: Holds | None = None
    here = "No copy check was run."
    if share is not None:
        holds = "yes" if share <= 0.01 else "partly" if share <= 0.05 else "no"
        here = f"{share:.1%} of the pictures are suspects, nearer to the memory than 99 % of its own are."
    return Answer("No significant copy-and-paste problem", "Sec. 5.1, Fig. 3", here, holds, "figure 3")


def _diverse(rows: Rows) -> Answer:
    z, seed = rows.value("diversity_z", *MODELS, "model"), rows.value("diversity_seed", *MODELS, "model")
    holds: Holds | None = None
    here = "z alone was not measured for this checkpoint; the figure does it now."
    if z is not None:
        holds = "yes" if z >= 1 else "partly" if z >= 0.3 else "no"
        beside = (
            f"; with the mirror and the window that a seed draws here too, {seed:.2f}"
            if seed is not None
            else ""
        )
        here = f"Pictures of z alone lie {z:.2f} apart{beside} (LPIPS-like)."
    claim = "Obviously different pictures by only changing z"
    return Answer(claim, "Sec. 5.1, Fig. 5", here, holds, "figure 5")


def _stages(pipe: MemoryDrivenPipeline) -> Answer:
    sides = pipe.resolutions
    holds: Holds = "yes" if len(sides) == 3 and sides[-1] == 256 else "partly"
    here = f"This checkpoint has {len(sides)}: {', '.join(map(str, sides))} px."
    return Answer("Three stages, 256 \u00d7 256", "Sec. 4.3, 5", here, holds, "inside")


def _content(pipe: MemoryDrivenPipeline) -> Answer:
    """Compare short trainings with and without content features, where the ablation's file is at hand."""
    gaps = []
    runs = read_results(pipe.checkpoint.path.resolve().parent.parent / "docs" / ABLATION)
    for metric in ("fid_vgg", "fd_squeezenet"):
        found = {
            (each.budget, each.variant): each.value
            for each in runs
            if each.metric == metric and each.row == "model"
        }
        bases = {budget: value for (budget, variant), value in found.items() if variant == "base"}
        gaps += [
            (budget, 1 - value / found[budget, "content-none"])
            for budget, value in bases.items()
            if (budget, "content-none") in found
        ]
    gained = list(dict(reversed(gaps)).values())
    holds: Holds | None = None
    here = "No ablation is at hand."
    if gained:
        better, most = sum(gain > 0 for gain in gained), max(gained)
        holds = "partly" if better == len(gained) else "no"
        here = (
            f"With content features the distance to real pictures was smaller in {better} of {len(gained)} "
            f"pairs of short trainings, by {most:.0%} at most."
        )
    claim = "Content information makes the discriminator more reliable"
    return Answer(claim, "Sec. 4.2, 5.2", here, holds, "inside")


def _no_attention(pipe: MemoryDrivenPipeline) -> Answer:
    reader = pipe.checkpoint.attributes is not None and pipe.checkpoint.attributes.reader is not None
    here = "None in the generator." + (
        " The reader of captions, which is ours, attends over words; DAMSM attends in training, as in "
        "the paper."
        if reader
        else " DAMSM attends in training, as in the paper."
    )
    return Answer(
        "No attention module in the whole architecture", "Sec. 5", here, "partly" if reader else "yes", ""
    )
