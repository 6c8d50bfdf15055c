"""The table and the plot of `benchmarks.scale`'s results.

python -m benchmarks.scale_report --rows runs/scale.jsonl --plot assets/scale.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

NAMES = {
    "exact": "exact",
    "annoy": "Annoy, 40 trees",
    "faiss": "faiss-cpu HNSW",
    "hnswlib": "hnswlib",
    "usearch": "usearch",
}
COLOURS = {
    "exact": "#222222",
    "annoy": "#1f7a5c",
    "faiss": "#b5542d",
    "hnswlib": "#7a5ea8",
    "usearch": "#2f78b7",
}
HEADER = (
    "keys",
    "index",
    "effort",
    "recall@10",
    "build, CPU s",
    "MB",
    "CPU ms a query: p50 / p99",
    "wall ms, 1 caller: p50 / p99",
    "2 callers: p50 / p99",
)


def main() -> None:
    """Read the command line, print the table, draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=Path, default=Path("runs/scale.jsonl"))
    parser.add_argument("--plot", type=Path, default=Path("assets/scale.png"))
    arguments = parser.parse_args()
    lines = arguments.rows.read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if "engine" in row]
    latest = {(row["n"], list(NAMES).index(row["engine"])): row for row in rows}
    rows = [latest[key] for key in sorted(latest)]
    print(table(rows))
    draw(rows, arguments.plot)


def table(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table, one line a measurement."""
    lines = ["| " + " | ".join(HEADER) + " |", "|---" * len(HEADER) + "|"]
    for row in rows:
        pairs = [
            f"{row[f'{kind}_p50_ms_{callers}']:.3g} / {row[f'{kind}_p99_ms_{callers}']:.3g}"
            for kind, callers in (("cpu", 1), ("wall", 1), ("wall", 2))
        ]
        cells = [
            f"{row['n']:,}",
            NAMES[row["engine"]],
            str(row["effort"] or ""),
            f"{row['recall_at_10']:.3f}",
            f"{row['build_cpu_s']:.3g}",
            f"{row['bytes'] / 1e6:,.0f}",
            *pairs,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw query time and building time against the number of keys."""
    mpl.use("Agg")
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    for engine, name in NAMES.items():
        own = [row for row in rows if row["engine"] == engine]
        if not own:
            continue
        n = [row["n"] for row in own]
        style = {"color": COLOURS[engine], "marker": "o", "markersize": 3.5, "linewidth": 1.5}
        left.plot(n, [row["cpu_p50_ms_1"] for row in own], label=name, **style)
        if engine != "exact":
            right.plot(n, [row["build_cpu_s"] for row in own], label=name, **style)
    left.set_title("A query, median CPU ms, at 97 % recall", loc="left")
    right.set_title("Building, CPU s", loc="left")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="caption keys of width 256")
        axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    left.legend(frameon=False, handlelength=1.2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
