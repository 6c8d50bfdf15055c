from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from memdriven.errors import EvaluationError
from memdriven.evaluation.context import Context
from memdriven.evaluation.results import Result, append_results, format_table, git_commit, read_results
from memdriven.memory.bank import HEADER
from memdriven.numbers import parse_json


def result(row: str = "model", metric: str = "fid_vgg", value: float = 1.5) -> Result:
    return Result(
        checkpoint="tiny",
        checkpoint_hash="abc",
        dataset="squares/test",
        row=row,
        metric=metric,
        protocol="as told",
        value=value,
        n=10,
        seed=0,
        device="cpu",
        details={"std": 0.1},
    )


def test_lines_come_back_as_they_went(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.jsonl"
    assert read_results(path) == []
    append_results(path, [result(), result("real")])
    append_results(path, [result(value=math.nan)])
    append_results(path, [])
    found = read_results(path)
    assert [r.row for r in found] == ["model", "real", "model"]
    assert math.isnan(found[2].value)
    assert found[0].time.endswith("Z")
    assert found[0].commit == git_commit()
    assert json.loads(path.read_text().splitlines()[2])["value"] is None


@pytest.mark.parametrize(
    "damage",
    [
        {"value": "1.5"},
        {"value": True},
        {"row": 5},
        {"row": None},
        {"n": 1.5},
        {"details": []},
        {"time": 0},
        {"more": 1},
    ],
)
def test_fields_of_other_types_are_refused(tmp_path: Path, damage: dict[str, object]) -> None:
    path = tmp_path / "results.jsonl"
    append_results(path, [result()])
    line = json.dumps(json.loads(path.read_text()) | damage)
    path.write_text(line)  # whole, though an editor took the end of it
    with pytest.raises(EvaluationError):
        read_results(path)
    path.write_text(line + "\n")
    with pytest.raises(EvaluationError, match="line 1"):
        read_results(path)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_value_that_is_no_number_is_refused(tmp_path: Path, number: str) -> None:
    path = tmp_path / "results.jsonl"
    append_results(path, [result(value=1.5)])
    path.write_text(path.read_text().replace('"value": 1.5', f'"value": {number}'))
    with pytest.raises(EvaluationError, match="line 1"):
        read_results(path)


def test_a_cut_last_line_is_passed_over_and_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append_results(path, [result(), result()])
    whole = path.read_text()
    path.write_text(whole[:-30])
    assert len(read_results(path)) == 1
    path.write_text("{}\n" + whole)
    with pytest.raises(EvaluationError, match="line 1"):
        read_results(path)


def test_what_an_editor_makes_of_a_file_is_read_or_told(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append_results(path, [result()])
    text = path.read_text()
    path.write_bytes(b"\xef\xbb\xbf" + f"{text}\n{text}".replace("\n", "\r\n").encode())
    assert len(read_results(path)) == 2
    path.write_text(text, encoding="utf-16")
    with pytest.raises(EvaluationError, match="UTF-8 text"):
        read_results(path)
    path.write_text(text.rstrip())
    append_results(path, [result("real")])
    assert [each.row for each in read_results(path)] == ["model", "real"]
    path.write_bytes(text.encode() + text.encode().partition(b"vgg")[0] + "é".encode()[:1])
    assert len(read_results(path)) == 1, "cut within a letter"


def test_a_line_after_a_cut_one_starts_afresh(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append_results(path, [result(), result()])
    path.write_text(path.read_text()[:-30])
    append_results(path, [result("real")])
    assert [r.row for r in read_results(path)] == ["model", "real"]


def test_a_line_that_another_process_appends_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.jsonl"
    append_results(path, [result()])
    line, plain = path.read_text(), parse_json

    def interrupted(text: str | bytes) -> object:
        with path.open("a") as other:
            other.write(line)
        return plain(text)

    monkeypatch.setattr("memdriven.evaluation.results.parse_json", interrupted)
    append_results(path, [result("real")])
    monkeypatch.undo()
    assert [each.row for each in read_results(path)] == ["model", "model", "real"]


def test_table_has_a_row_each_and_the_newest_number() -> None:
    results = [result(value=1), result("real", value=22), result(value=3), result(metric="kid")]
    table = format_table(results).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert cells[0] == ["", "fid_vgg", "kid"]
    assert cells[2:] == [["model", "3.0000", "1.5000"], ["real", "22.00", ""]]
    assert len({len(line) for line in table}) == 1, "in line as text, too"


def test_a_memory_is_the_same_whichever_line_endings_its_header_has(tmp_path: Path) -> None:
    named = []
    for name, text in (("a", b'{\n "n": 1\n}\n'), ("b", b'{\r\n "n": 1\r\n}\r\n')):
        (tmp_path / name).mkdir()
        (tmp_path / name / HEADER).write_bytes(text)
        settings = SimpleNamespace(retrieval=SimpleNamespace(k=1))
        asked = SimpleNamespace(
            prompts=[],
            checkpoint=SimpleNamespace(hash="x", config=settings),
            dataset=SimpleNamespace(name="d"),
            split="test",
            seed=0,
            bank=SimpleNamespace(path=tmp_path / name),
        )
        named.append(Context.identity.func(asked))  # type: ignore[arg-type]
    assert named[0] == named[1]
