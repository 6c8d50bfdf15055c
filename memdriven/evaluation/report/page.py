"""A report as one HTML file that asks for nothing from outside and runs no script."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from memdriven.evaluation.ablation import place
from memdriven.evaluation.report.curves import COLOURS, panels
from memdriven.evaluation.report.gather import Curve, Figures
from memdriven.evaluation.report.markup import element, picture, text
from memdriven.evaluation.report.tables import Cell, Table, TableRow

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(
    title: str, lead: str, tables: Sequence[Table], figures: Sequence[Figures], curves: Sequence[Curve]
) -> str:
    """Return the whole page."""
    style = files("memdriven.evaluation.report").joinpath("report.css").read_text("utf-8")
    sections = [_table(each) for each in tables]
    sections += [_figures(each) for each in figures if not each.content.get("variant")]
    rows = [each for each in figures if each.content.get("variant")]
    rows.sort(key=lambda each: place(str(each.content["variant"])))
    sections += [_ablation_figures(rows)] if rows else []
    sections += [_curves(curves)] if curves else []
    links = "".join(
        element("li", element("a", text(name), href=f"#s{i}")) for i, (name, _) in enumerate(sections)
    )
    body = element("header", element("h1", text(title)) + element("p", text(lead), class_="lead")) + element(
        "nav", element("ol", links), aria_label="Contents"
    )
    for i, (name, content) in enumerate(sections):
        body += element("section", element("h2", text(name)) + content, id=f"s{i}")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{text(title)}</title><style>{style}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _table(table: Table) -> tuple[str, str]:
    heads = element("th", "", scope="col") + "".join(
        element("th", text(heading), scope="col") for heading in table.columns.values()
    )
    rows = "".join(_row(row, table.columns) for row in table.rows)
    grid = element("table", element("thead", element("tr", heads)) + element("tbody", rows))
    content = element("p", text(table.lead), class_="about")
    content += element("div", grid, class_="scroll", tabindex="0", role="region", aria_label=table.title)
    details = ""
    if table.notes:
        notes = "".join(element("li", text(note)) for note in table.notes)
        details += element("h3", "How each number was measured") + element("ul", notes)
    records = [row for row in table.rows if row.record]
    if records:
        lines = "".join(
            element("li", element("b", text(row.label)) + " " + element("code", text(row.record)))
            for row in records
        )
        details += element("h3", "Where each row comes from") + element("ul", lines)
    if details:
        content += element("details", element("summary", "Protocols and records") + details)
    return table.title, content


def _row(row: TableRow, columns: dict[str, str]) -> str:
    label = text(row.label)
    if row.kind == "published":
        label += " " + element("span", "published", class_="mark")
    if row.kind == "control":
        label += " " + element("span", "control", class_="mark")
    if row.hint:
        label += element("small", text(row.hint))
    if row.record:
        label += element("small", text(row.record), class_="record")
    cells = element("th", label, scope="row")
    cells += "".join(_cell(row.cells.get(key)) for key in columns)
    return element("tr", cells, class_=row.kind)


def _cell(cell: Cell | None) -> str:
    if cell is None or not cell.text:
        return element("td", "–", class_="empty")
    content = element("b", text(cell.text)) if cell.best else text(cell.text)
    if cell.change:
        content += element("small", text(cell.change))
    return element("td", content, title=cell.note)


def _figures(figures: Figures) -> tuple[str, str]:
    facts, folder = figures.content, figures.folder
    name = f"Pictures: {facts.get('checkpoint')} on {facts.get('dataset')}"
    about = (
        f"The first captions of the evaluation, not chosen by anyone; strategy "
        f"{facts.get('strategy')}, k = {facts.get('k')}, seed {facts.get('seed')}, checkpoint "
        f"{facts.get('checkpoint_hash')}, commit {facts.get('commit') or '?'}."
    )
    cards = []
    for pair in facts.get("pairs", ()):
        shown = ""
        if pair.get("retrieved"):
            shown += _framed(picture(folder / _plain(pair["retrieved"]), "retrieved"), "retrieved")
        shown += _framed(picture(folder / _plain(pair["picture"]), pair["caption"]), "picture")
        words = element("p", text(pair["caption"]), class_="caption")
        if pair.get("matched"):
            matched = f"matched {pair['neighbour']}: {pair['matched']}"
            words += element("p", text(matched), class_="matched")
        cards.append(element("figure", element("div", shown, class_="pair") + words))
    content = element("p", text(about), class_="about")
    content += element("h3", "Pictures beside the image that their features came from (Fig. 3)")
    content += element("div", "".join(cards), class_="pairs")
    rows = []
    for group in facts.get("diversity", ()):
        shown = ""
        if group.get("retrieved"):
            shown += _framed(picture(folder / _plain(group["retrieved"]), "retrieved"), "retrieved")
        shown += "".join(
            _framed(picture(folder / _plain(draw), f"draw {i + 1}"), "")
            for i, draw in enumerate(group.get("draws", ()))
        )
        words = element("p", text(group["caption"]), class_="caption")
        rows.append(element("figure", words + element("div", shown, class_="draws")))
    if rows:
        content += element("h3", "One caption, one memory, several noises (Fig. 5)") + "".join(rows)
    return name, content


def _ablation_figures(figures: Sequence[Figures]) -> tuple[str, str]:
    """The same captions, neighbours and noise through each row's model, a line a row."""
    lines, first = "", figures[0]
    shown = [pair for pair in first.content.get("pairs", ()) if pair.get("retrieved")]
    if shown:
        images = [(first.folder / _plain(pair["retrieved"]), pair["caption"]) for pair in shown]
        lines += _strip("retrieved", images, "retrieved")
    for each in figures:
        images = [
            (each.folder / _plain(pair["picture"]), pair["caption"]) for pair in each.content.get("pairs", ())
        ]
        lines += _strip(str(each.content["variant"]), images, "")
    about = "The evaluation's first captions with the same neighbours and noise in every row."
    return "Ablation: pictures", element("p", text(about), class_="about") + lines


def _strip(label: str, images: Sequence[tuple[Path, str]], kind: str) -> str:
    shown = "".join(_framed(picture(path, caption), kind) for path, caption in images)
    return element("figure", element("figcaption", text(label)) + element("div", shown), class_="strip")


def _framed(image: str, kind: str) -> str:
    return element("span", image, class_=f"frame {kind}".strip())


def _plain(name: object) -> str:
    """Return a file's name without any folder, so that a record cannot point elsewhere."""
    return str(name).replace("\\", "/").rsplit("/", 1)[-1]


def _curves(curves: Sequence[Curve]) -> tuple[str, str]:
    keys = "".join(
        element("li", element("i", "", style=f"background: var(--line-{i % COLOURS})") + text(curve.name))
        for i, curve in enumerate(curves)
    )
    drawn = "".join(element("div", svg, class_="panel") for svg in panels(curves))
    legend = element("ul", keys, class_="legend")
    return "Learning curves", legend + element("div", drawn, class_="panels")
