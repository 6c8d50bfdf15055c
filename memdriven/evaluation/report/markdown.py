"""A report as Markdown: the tables, with everything that a run named escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from memdriven.evaluation.report.tables import Table

_SPECIAL = re.compile(r"([\\`*_\[\]#|~])")


def escape(value: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return html.escape(_SPECIAL.sub(r"\\\1", " ".join(value.split())), quote=False)


def table(content: Table) -> str:
    """Return one table with its title, lead and protocols."""
    has_record = any(row.record for row in content.rows)
    heads = ["", *map(escape, content.columns.values()), *(["record"] if has_record else [])]
    lines = [f"## {escape(content.title)}", "", escape(content.lead), ""]
    lines += [_line(heads), _line(["---", *["---:"] * len(content.columns), *["---"] * has_record])]
    for row in content.rows:
        cells = []
        for key in content.columns:
            cell = row.cells.get(key)
            text = escape(cell.text) if cell else ""
            if cell and cell.best and text:
                text = f"**{text}**"
            if cell and cell.change:
                text += f" ({escape(cell.change)})"
            cells.append(text or "–")
        label = escape(row.label) + (" *(published)*" if row.kind == "published" else "")
        label = f"*{escape(row.label)}*" if row.kind == "control" else label
        lines.append(_line([label, *cells, *([escape(row.record)] if has_record else [])]))
    lines += ["", *(f"- {escape(note)}" for note in content.notes)]
    return "\n".join(lines).rstrip() + "\n"


def document(title: str, lead: str, tables: Sequence[Table]) -> str:
    """Return the whole file."""
    parts = [f"# {escape(title)}\n", escape(lead) + "\n", *(table(each) for each in tables)]
    return "\n".join(parts)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
