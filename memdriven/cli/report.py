"""`report`: recorded results as one page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(kw_only=True)
class Report:
    """Write results as one Markdown page with figures.

    From recorded runs alone: Table 1 with the published rows, each model beside its controls, the
    retrieval strategies, ablations, example pictures and learning curves.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUNS")]
    """Folders of evaluate, ablate or train, or results.jsonl files."""
    out: Path = Path("runs/report.md")
    """The page; its figures lie in the folder NAME-figures beside it."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.evaluation.report import write_report

        print(write_report(self.runs, self.out))
