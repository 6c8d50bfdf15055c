from __future__ import annotations

from memdriven.evaluation.report.contents import tables_of
from memdriven.evaluation.report.markdown import document, escape, table
from tests.evaluation.report.conftest import HOSTILE, results


def test_text_keeps_no_meaning() -> None:
    assert escape("a | b") == "a \\| b"
    assert escape("*x*\n# y") == "\\*x\\* \\# y"
    assert escape("<b> `c` [d](e) &amp;") == "&lt;b&gt; \\`c\\` \\[d\\](e) &amp;amp;"


def test_every_line_of_a_table_has_its_columns() -> None:
    for content in tables_of(results()):
        lines = [line for line in table(content).splitlines() if line.startswith("| ")]
        assert len(lines) == len(content.rows) + 2
        widths = {line.replace("\\|", "").count("|") for line in lines}
        assert len(widths) == 1
    shown = document("t", "lead", tables_of(results()))
    assert "AttnGAN *(published)*" in shown
    assert "*real*" in shown
    assert "(+15.0)" in shown
    assert "<script" not in shown
    assert HOSTILE not in shown
    assert "commit c0ffee" in shown
