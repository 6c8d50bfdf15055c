from __future__ import annotations

import xml.etree.ElementTree as Tree
from pathlib import Path

from memdriven.evaluation.report.curves import panels
from memdriven.evaluation.report.gather import Curve, gather


def test_a_panel_a_number_in_the_pages_colours(runs: Path) -> None:
    drawn = panels(gather([runs]).curves)
    assert len(drawn) == 3, "d_accuracy, damsm and loss"
    for svg in drawn:
        Tree.fromstring(svg)
        assert "var(--quiet)" in svg
        assert "var(--line-" in svg
        assert "#0102" not in svg
        assert "metadata" not in svg
    assert "thousand images" in drawn[0]
    assert "var(--line-1)" in drawn[0], "a run has one colour in all panels"


def test_the_same_log_gives_the_same_bytes_and_single_points_nothing() -> None:
    curve = Curve(name="x", points={"damsm": [(1, 2), (2, 1)], "kl": [(1, 1)]}, x="step")
    assert panels([curve]) == panels([curve])
    assert len(panels([curve])) == 1
    assert ">step<" in panels([curve])[0]
    assert panels([]) == []
