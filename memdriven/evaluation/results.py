"""Results: one JSON line per number, with all that says where it came from.

Tables are made from this file and from nothing else. A line names the checkpoint's hash, the code's git
commit, the protocol, n, the seed and the device.
"""

import contextlib
import functools
import json
import math
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from memdriven.errors import EvaluationError, explained
from memdriven.files import explain_disk_errors
from memdriven.numbers import parse_json, shown

SCHEMA = "memdriven.result/1"


@dataclass(frozen=True)
class Measurement:
    """One number of one row, as a measure returns it."""

    metric: str
    """Short name of the number, e.g. `fid_vgg`."""
    value: float
    n: int
    """Images that entered the number."""
    protocol: str
    """How it was measured, in words, with whatever makes it comparable or not."""
    details: dict[str, Any] = field(default_factory=dict)
    """Counts and parts behind the number."""


@dataclass(frozen=True, kw_only=True)
class Result(Measurement):
    """One measured number of one row of a table, with all that says where it came from."""

    checkpoint: str
    """The checkpoint folder's name."""
    checkpoint_hash: str
    dataset: str
    row: str
    """`model` or a control: `retrieved`, `real`, `random`, `none`, `oracle`, ..."""
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
    commit: str = ""
    time: str = ""

    @property
    def label(self) -> str:
        """What its line of a table is called: an ablation's variant, or the row."""
        return self.variant if self.variant and self.row == "model" else self.row


@functools.cache
def git_commit() -> str:
    """Return the running code's commit when first asked, with `+` when files differ; "" outside git."""
    describe = ["git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+"]
    try:
        found = subprocess.run(
            describe, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()


def append_results(path: Path | str, results: Iterable[Result]) -> None:
    """Append results to a JSONL file, stamped with the time (UTC) and the code's commit.

    A value that is not finite is stored as null.
    """
    path, now = Path(path), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    lines = []
    for each in results:
        value = each.value if math.isfinite(each.value) else None
        stamp = {"time": each.time or now, "commit": each.commit or git_commit(), "value": value}
        record = {"schema": SCHEMA, **asdict(each), **stamp}
        lines.append(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
    if lines:
        with explain_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a+b") as stream:
                stream.seek(0)
                content = stream.read()
                end = content.rfind(b"\n") + 1
                # A last line without an end was cut by a crash, and goes; or an editor took its end.
                with contextlib.suppress(ValueError):
                    parse_json(content[end:])
                    end, lines = len(content), ["\n", *lines]
                if end < len(content):  # else another process may have written meanwhile
                    stream.truncate(end)
                stream.write("".join(lines).encode())


_KINDS: dict[Any, Any] = {str: (str,), int: (int,), float: (int, float), dict[str, Any]: (dict,)}


def read_results(path: Path | str) -> list[Result]:
    """Return the results of a JSONL file, oldest first; a missing file holds none.

    A last line that a crash cut short is passed over; an EvaluationError says that another is no result.
    """
    path = Path(path)
    if not path.exists():
        return []
    whole, _, rest = path.read_bytes().rpartition(b"\n")  # the rest may be cut within a letter
    with explained(EvaluationError, f"UTF-8 text in {path}", "save it so", UnicodeDecodeError):
        lines: list[str | bytes] = [*whole.decode("utf-8-sig").split("\n")]
    results = []
    for number, line in enumerate([*lines, rest], 1):
        if not line.strip():
            continue
        record: Any = None
        try:
            record = parse_json(line)
            if record.pop("schema") != SCHEMA:
                raise ValueError("another schema")
            if record["value"] is None:
                record["value"] = math.nan
            result = Result(**record)
            for each in fields(result):
                value = getattr(result, each.name)
                if type(value) not in _KINDS[each.type]:
                    raise TypeError(f"{each.name} is {shown(value)}")
            results.append(result)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if number > len(lines) and record is None:
                break
            wanted = f"a result of schema {SCHEMA} in line {number} of {path}"
            found = f"{type(error).__name__}: {error}"[:120]
            raise EvaluationError(wanted, found, "remove that line, or give another file") from error
    return results


def format_table(results: Iterable[Result], show: Callable[[str], str] = str) -> str:
    """Return a table of results: a line a row, a column a metric.

    The newest of several measurements of one cell is shown; an empty cell was not measured. `show` makes text
    of names that nobody has checked.
    """
    cells: dict[str, dict[str, str]] = {}
    for result in results:
        digits = 2 if abs(result.value) >= 10 else 4
        number = f"{result.value:.{digits}f}" if math.isfinite(result.value) else ""
        cells.setdefault(result.label, {})[result.metric] = number
    metrics = list(dict.fromkeys(metric for row in cells.values() for metric in row))
    lines = [[show(label), *(row.get(metric, "") for metric in metrics)] for label, row in cells.items()]
    return markdown([["", *map(show, metrics)], *lines])


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells, the heading first, as a Markdown table that is aligned as text, too."""
    first, *widths = (max(3, *map(len, column)) for column in zip(*lines, strict=True))
    rule = ["-" * first, *("-" * (width - 1) + ":" for width in widths)]
    rows = [[head.ljust(first), *map(str.rjust, cells, widths)] for head, *cells in lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], rule, *rows[1:]])
