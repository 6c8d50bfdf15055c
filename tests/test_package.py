"""What `pip install .` takes along, and what the repository says of itself."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import memdriven

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone: what belongs is not known")
LISTED = subprocess.run(
    ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
).stdout
TRACKED = [Path(name) for name in LISTED.split("\0") if name]


def test_everything_beside_the_code_is_installed() -> None:
    package = ROOT / "memdriven"
    taken = {
        path
        for pattern in SETTINGS["tool"]["setuptools"]["package-data"]["memdriven"]
        for path in package.glob(pattern)
    }
    beside = {ROOT / path for path in TRACKED if path.parts[0] == "memdriven" and path.suffix != ".py"}
    assert beside
    assert beside - taken == set()


def test_one_version_everywhere() -> None:
    assert SETTINGS["project"]["version"] == memdriven.__version__
    (newest, *_) = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest == memdriven.__version__


def test_nothing_lies_in_the_tree_that_nothing_names() -> None:
    texts = [
        (ROOT / path).read_text(encoding="utf-8")
        for path in TRACKED
        if path.suffix in {".md", ".py", ".toml", ".yml"} and (ROOT / path).exists()
    ]
    pictures = [path for path in TRACKED if path.parts[0] == "assets" and (ROOT / path).exists()]
    assert pictures
    assert [path.name for path in pictures if not any(path.name in text for text in texts)] == []


def test_the_whole_checked_out_tree_stays_below_its_limit() -> None:
    size = sum((ROOT / path).stat().st_size for path in TRACKED if (ROOT / path).exists())
    assert size < 80e6


LARGE = 100
"""Lines from which a module has a test file of its own name."""
ELSEWHERE = {
    "aviary/plumage": "aviary/test_same_birds.py",
    "aviary/scene": "aviary/test_same_birds.py",
    "aviary/skeleton": "aviary/test_same_birds.py",
    "data/tables": "data/test_folder.py",
    "evaluation/context": "evaluation/test_run.py",
    "explore/paper": "ui/test_paper.py",
}
"""What is tested by what it is for: renders kept from before, tables of a folder, runs, the Paper tab."""


def test_tests_stand_where_their_module_does() -> None:
    """But for the page's, which are named by what a visitor does."""
    without = set()
    for path in TRACKED:
        if path.parts[0] != "memdriven" or path.suffix != ".py" or not (ROOT / path).exists():
            continue
        module, lines = Path(*path.parts[1:]).with_suffix(""), (ROOT / path).read_text("utf-8").count("\n")
        name = module.parent.name if module.name == "__init__" else module.name
        tested = (ROOT / "tests" / module.parent / f"test_{name}.py").exists()
        if lines > LARGE and module.parts[0] != "ui" and not tested:
            without.add(module.as_posix())
    assert without == ELSEWHERE.keys()
    assert [each for each in ELSEWHERE.values() if not (ROOT / "tests" / each).exists()] == []
