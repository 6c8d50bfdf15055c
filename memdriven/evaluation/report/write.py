"""`report`: from run folders to report.html and report.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memdriven.evaluation.report import markdown, page
from memdriven.evaluation.report.contents import tables_of
from memdriven.evaluation.report.gather import gather
from memdriven.files import atomic_write_bytes

TITLE = "Memory-driven text-to-image generation: results"


def write_report(runs: Sequence[Path], out: Path, title: str = TITLE) -> tuple[Path, Path]:
    """Write a self-contained HTML file, and a Markdown file of its tables.

    Args:
        runs: folders of `evaluate`, `ablate` or `train`, or results files.
        out: the HTML file; the Markdown file has the same name with `.md`.
        title: of both.

    Returns:
        The two files.

    Raises:
        EvaluationError: a run holds no records, or damaged ones.
        DataError: the files cannot be written.
    """
    found = gather(runs)
    tables = tables_of(found.results)
    lead = (
        f"Made from {len(found.results)} recorded numbers, {len(found.figures)} sets of pictures "
        f"and {len(found.curves)} training logs in " + ", ".join(str(run) for run in runs) + ". "
        "Every row of ours names its checkpoint, commit, n, seed and device; ↑ higher is better, "
        "↓ lower is better."
    )
    html = page.document(title, lead, tables, found.figures, found.curves)
    text = markdown.document(title, lead, tables)
    written = out.with_suffix(".html"), out.with_suffix(".md")
    atomic_write_bytes(written[0], html.encode("utf-8", "replace"))
    atomic_write_bytes(written[1], text.encode("utf-8", "replace"))
    return written
