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
