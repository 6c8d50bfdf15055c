from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from memdriven.errors import EvaluationError
from memdriven.evaluation.report.markup import element, picture, text
from memdriven.evaluation.report.write import write_report
from tests.evaluation.report.conftest import HOSTILE

VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Collects elements and checks that they close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)


@pytest.fixture
def page(runs: Path, tmp_path: Path) -> str:
    html, markdown = write_report([runs], tmp_path / "out" / "report.html")
    assert (html.name, markdown.name) == ("report.html", "report.md")
    return html.read_text()


def test_the_page_is_whole_and_asks_for_nothing(page: str) -> None:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    tags = {tag for tag, _ in reader.seen}
    assert not tags & {"script", "link", "iframe", "object", "form"}
    for _, attributes in reader.seen:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href"):
            value = attributes.get(name) or "#"
            assert value.startswith(("data:image/", "#")), value
    style = re.search("<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    policy = next(a for tag, a in reader.seen if a.get("http-equiv"))
    assert str(policy["content"]).startswith("default-src 'none'")


def test_hostile_names_are_text(page: str) -> None:
    reader = Reader()
    reader.feed(page)
    assert HOSTILE in reader.said, "shown as it was written"
    assert "<script" not in page
    assert "bad.example" not in "".join(str(a.get("src")) for _, a in reader.seen)
    assert "runs/gan $x^<b>" in reader.said


def test_every_part_is_there(page: str) -> None:
    headings = re.findall("<h2>(.*?)</h2>", page)
    assert [heading.split(":")[0].split(",")[0] for heading in headings] == [
        "Table 1",
        "Table 1",
        "bird on cub/test",
        "Retrieval strategies",
        "Ablation on aviary/test",
        "Pictures",
        "Ablation",
        "Learning curves",
    ]
    assert page.count('class="mark">published') == 22
    assert page.count("data:image/webp") == 2 + 3 + 2
    assert "bird abc123 · commit c0ffee" in page
    assert page.count("<svg") == 3


def test_the_same_runs_give_the_same_page(runs: Path, tmp_path: Path, page: str) -> None:
    again, _ = write_report([runs], tmp_path / "again.html")
    assert again.read_text() == page


def test_figures_cannot_point_outside_their_folder(runs: Path, tmp_path: Path) -> None:
    index = next((runs / "evaluation" / "model").rglob("figures.json"))
    index.write_text(index.read_text().replace('"b.webp"', '"../../secret.webp"'))
    (index.parents[2] / "secret.webp").write_bytes(b"RIFFsecret")
    with pytest.raises(EvaluationError, match=r"figures/secret\.webp"):
        write_report([runs], tmp_path / "report.html")


def test_small_pieces(tmp_path: Path) -> None:
    assert text('<a b="c">') == "&lt;a b=&quot;c&quot;&gt;"
    assert element("td", "x", class_="a b", title='"', scope=None) == (
        '<td class="a b" title="&quot;">x</td>'
    )
    (tmp_path / "a.webp").write_bytes(b"GIF89a")
    for name in ("a.webp", "b.webp", "c.svg"):
        with pytest.raises(EvaluationError, match="a picture in"):
            picture(tmp_path / name, "x")
