"""Results: one JSON line per number, with all that says where it came from.

Tables and plots are made from this file and from nothing else. A line names the checkpoint's
hash, the code's git commit, the protocol, n, the seed and the device.
"""

from __future__ import annotations

import functools
import json
import math
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from memdriven.errors import EvaluationError
from memdriven.files import explain_disk_errors
from memdriven.numbers import parse_json, shown

SCHEMA = "memdriven.result/1"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One measured number of one row of a table."""

    checkpoint: str
    """The checkpoint folder's name."""
    checkpoint_hash: str
    dataset: str
    row: str
    """`model` or a control: `retrieved`, `real`, `random`, `none`, `oracle`, ..."""
    metric: str
    """Short name of the number, e.g. `fid_vgg`."""
    protocol: str
    """How it was measured, in words, with whatever makes it comparable or not."""
    value: float
    n: int
    """Images that entered the number."""
    seed: int
    device: str
    measure: str = ""
    """The entry of `--metrics` that gave this number."""
    captions: int = 0
    """Captions of the evaluation, of which a measure may use fewer."""
    prompts: str = ""
    """Hash of these captions and of the images that they belong to."""
    judge: str = ""
    """Hash of the attribute judge, where one was used."""
    memory: str = ""
    """Hash of the memory bank's header."""
    pictures: str = ""
    """Hash of the row's pixels, and of the images that it was compared with; "" in older files."""
    strategy: str = ""
    """By which the row's neighbours were found."""
    k: int = 0
    """How many neighbours the model mixes by default; 0 in older files."""
    variant: str = ""
    """Name of an ablation's row: what of the model differs."""
    budget: str = ""
    """What an ablation's rows were all trained with."""
    details: dict[str, Any] = field(default_factory=dict)
    """Counts and parts behind the number."""
    commit: str = ""
    time: str = ""


_KINDS: dict[str, Any] = {"str": str, "int": int, "float": int | float, "dict[str, Any]": dict}
"""The fields' types by name, for what is read from a file."""


class Measurement(NamedTuple):
    """One number of one row, as a measure returns it; the fields are those of `Result`."""

    metric: str
    value: float
    n: int
    protocol: str
    details: dict[str, Any] = {}  # noqa: RUF012 (nobody changes it)


@functools.cache
def git_commit() -> str:
    """Return the running code's commit when first asked, with `+` when files differ; "" outside git."""
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
        return commit + ("+" if commit and git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.TimeoutExpired):
        return ""


def append_results(path: Path | str, results: Iterable[Result]) -> None:
    """Append results to a JSONL file, stamped with the time (UTC) and the code's commit.

    A value that is not finite is stored as null.
    """
    path = Path(path)
    now, commit = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), git_commit()
    lines = []
    for result in results:
        record = {"schema": SCHEMA, **asdict(result)}
        record["time"] = result.time or now
        record["commit"] = result.commit or commit
        record["value"] = result.value if math.isfinite(result.value) else None
        lines.append(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
    if lines:
        with explain_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a+b") as stream:
                stream.seek(0)
                # A crash may have left a line without an end: the next one starts afresh.
                stream.truncate(stream.read().rfind(b"\n") + 1)
                stream.write("".join(lines).encode())


def read_results(path: Path | str) -> list[Result]:
    """Return the results of a JSONL file, oldest first; a missing file holds none.

    A last line that a crash cut short is passed over.

    Raises:
        EvaluationError: another line is not a result.
    """
    path = Path(path)
    if not path.exists():
        return []
    content = path.read_text(encoding="utf-8")
    lines = content.removesuffix("\n").split("\n") if content else []
    results = []
    for number, line in enumerate(lines, 1):
        try:
            record = parse_json(line)
            if record.pop("schema") != SCHEMA:
                raise ValueError("another schema")
            if record["value"] is None:
                record["value"] = math.nan
            result = Result(**record)
            for each in fields(result):
                value, kind = getattr(result, each.name), _KINDS[str(each.type)]
                if isinstance(value, bool) or not isinstance(value, kind):
                    raise TypeError(f"{each.name} is {shown(value)}")
            results.append(result)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if number == len(lines) and not content.endswith("\n"):
                break
            raise EvaluationError(
                f"a result of schema {SCHEMA} in line {number} of {path}",
                f"{type(error).__name__}: {error}"[:120],
                "remove that line, or give another file",
            ) from error
    return results


def format_table(results: Iterable[Result]) -> str:
    """Return a plain-text table: a row per model or control, a column per metric.

    The newest of several measurements of one cell is shown; an empty cell was not measured.
    """
    cells: dict[str, dict[str, str]] = {}
    for result in results:
        digits = 2 if abs(result.value) >= 10 else 4
        text = f"{result.value:.{digits}f}" if math.isfinite(result.value) else ""
        cells.setdefault(result.row, {})[result.metric] = text
    columns = list(dict.fromkeys(name for row in cells.values() for name in row))
    body = [["", *columns]]
    body += [[row, *(texts.get(name, "") for name in columns)] for row, texts in cells.items()]
    first, *widths = (max(map(len, column)) for column in zip(*body, strict=True))
    lines = [
        "  ".join([line[0].ljust(first), *(cell.rjust(width) for cell, width in zip(line[1:], widths))])
        for line in body
    ]
    return "\n".join(line.rstrip() for line in [lines[0], "-" * len(lines[0]), *lines[1:]])
