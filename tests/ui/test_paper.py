from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from memdriven.errors import CaptionError, EvaluationError
from memdriven.evaluation.results import Result
from memdriven.explore import paper as explore_paper
from memdriven.explore.inside import BLOCKS
from memdriven.explore.paper import answers
from memdriven.models.noise import Noise
from memdriven.models.rival import RivalGenerator
from memdriven.pipeline.output import to_picture
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_SEED
from memdriven.ui import copies, paper
from memdriven.ui.html import image_uri
from memdriven.ui.query import read_examples
from tests.ui.asking import CAPTION, EMPTY, HOSTILE, QUERY, asking

pytestmark = pytest.mark.usefixtures("loaded")


@pytest.mark.parametrize(("number", "images"), [("1", 12), ("3", 8), ("5", 12)])
def test_figures_are_drawn_live(number: str, images: int) -> None:
    steps = list(paper.draw(number, *QUERY))
    made, line = steps[-1]
    assert f'data-figure="{number}"' in made
    assert made.count("<img") == images
    assert "md-busy" not in made
    assert "seed 7" in line
    counts = [step[0].count("<img") for step in steps]
    assert counts == sorted(counts)
    assert counts[0] < images


def test_fig_2_is_walked_on_the_tab_itself(pipe: MemoryDrivenPipeline) -> None:
    *_, (made, _) = paper.draw("2", *QUERY)
    assert len(re.findall('role="tab" id="figure-', made)) == len(pipe.resolutions) + 5
    assert CAPTION in made
    walked = json.loads(html.unescape(re.findall('data-walk="([^"]*)"', made)[0]))
    assert len(walked["effects"]) == BLOCKS**2


def test_fig_1_has_the_rival_where_one_lies_beside_the_checkpoint(
    pipe: MemoryDrivenPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    rival = RivalGenerator(2, 16, text_dim=pipe.config.text.dim).eval()
    monkeypatch.setattr(paper, "load_rival", lambda checkpoint: rival)
    monkeypatch.setattr(paper, "rival_budget", lambda checkpoint: "96 pictures in 2 minutes")
    *_, (made, _) = paper.draw("1", *QUERY)
    assert made.count("<img") == 16
    assert "same pictures and captions (96 pictures in 2 minutes), which" in made
    assert paper.RIVAL_HEAD in made
    z = torch.randn(1, rival.z_dim, generator=torch.Generator().manual_seed(7))
    sentence = pipe.retriever.query(CAPTION).text.sentence
    with torch.inference_mode():
        assert image_uri(to_picture(rival(z, sentence))) in made


def test_fig_3_says_what_the_copy_check_finds(pipe: MemoryDrivenPipeline) -> None:
    *_, (made, _) = paper.draw("3", *QUERY)
    captions = {CAPTION, *read_examples(pipe)}
    assert made.count("data-level=") == len(list(captions)[: paper.ROWS])
    output = pipe(CAPTION, "sentence-sentence", 1, 7, guidance=0.0)
    level = copies.space(pipe).result().check(output).level
    assert re.findall('data-level="([a-z]+)"', made)[0] == level


def test_fig_5_moves_z_alone(pipe: MemoryDrivenPipeline, painted: list[Any]) -> None:
    *_, (made, _) = paper.draw("5", *QUERY)
    row = [each for each in painted if isinstance(each, Noise)][: paper.NOISES]
    assert len({tuple(each.z[0].tolist()) for each in row}) == paper.NOISES
    assert len({(tuple(each.epsilon[0].tolist()), each.view) for each in row}) == 1
    assert made.count("on average") == 2


def result(pipe: MemoryDrivenPipeline, row: str, metric: str, value: float, **fields: Any) -> Result:
    settings = {"checkpoint_hash": pipe.checkpoint.hash, "protocol": f"{metric}, form x"} | fields
    return Result(
        checkpoint="tiny",
        dataset="d",
        row=row,
        metric=metric,
        value=value,
        n=9,
        seed=0,
        device="cpu",
        **settings,
    )


def test_claims_are_answered_by_rows_of_this_checkpoint_alone(
    pipe: MemoryDrivenPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[Result] = []
    monkeypatch.setattr(explore_paper, "read_results", lambda path: rows)

    def holds() -> dict[str, str | None]:
        return {claim.where: holds for claim, (_, holds) in answers(pipe).items()}

    measured = ("Sec. 1, Fig. 1, Table 1", "Sec. 5.1, Table 1", "Sec. 5.1, Fig. 3", "Sec. 5.1, Fig. 5")
    assert [holds()[where] for where in measured] == [None] * 4
    rows += [result(pipe, "best-of-8", "fid_vgg", 140.0), result(pipe, "none", "fid_vgg", 900.0)]
    rows += [result(pipe, "real", "fid_vgg", 100.0), result(pipe, "best-of-8", "copy_suspected", 0.03)]
    rows += [result(pipe, "model", "diversity_z", 0.04), result(pipe, "model", "diversity_seed", 2.7)]
    assert [holds()[where] for where in measured] == ["yes", None, "partly", "no"]
    rows.append(result(pipe, "rival", "fid_vgg", 120.0))
    assert holds()[measured[0]] == "no", "a model without a memory does better"
    shown = paper.claims_html()
    assert "0.04" in shown
    assert 'data-holds="partly"' in shown
    *_, (made, _) = paper.draw("table 1", *QUERY)
    assert "10.49" in made
    assert "140" in made
    assert "fid_vgg, form x" in made
    rows.append(result(pipe, "none", "kid_vgg", 3_494_021.1))
    *_, (made, _) = paper.draw("table 1", *QUERY)
    assert "3,494.0" in made
    beside = ("real", "rival")  # of which the generator paints nothing
    rows[:] = [replace(each, checkpoint_hash="before") if each.row in beside else each for each in rows]
    assert holds()[measured[0]] == "no"
    rows[:] = [replace(each, prompts="others") if each.row in beside else each for each in rows]
    assert holds()[measured[0]] is None
    rows[:] = [replace(each, checkpoint_hash="another") for each in rows]
    assert [holds()[where] for where in measured] == [None] * 4


def test_a_damaged_file_of_results_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(path: Path) -> list[Result]:
        raise EvaluationError(wanted="results", found="line 3", fix="restore it")

    monkeypatch.setattr(explore_paper, "read_results", damaged)
    assert 'role="alert"' in paper.claims_html()


def test_own_words_come_first_and_are_escaped() -> None:
    *_, (made, _) = paper.draw("3", *asking(HOSTILE))
    assert "<img src=x" not in made
    assert made.index("&lt;img src=x") < made.index("md-paper-memory")
    *_, (made, _) = paper.draw("no such figure", *EMPTY)
    assert 'data-figure="1"' in made


def test_noises_after_the_largest_seed_go_on_from_zero() -> None:
    *_, (made, line) = paper.draw("5", *asking(seed=str(MAX_SEED)))
    assert made.count("<img") == 12
    assert str(MAX_SEED) in line
    *_, (made, _) = paper.draw(["5"], *asking())  # type: ignore[arg-type]
    assert 'data-figure="1"' in made


def test_an_unreadable_caption_is_explained() -> None:
    with pytest.raises(CaptionError):
        next(paper.draw("3", *asking("qqq")))
