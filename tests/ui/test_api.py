"""The programming interface: its description, its answers, and what it refuses."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from memdriven.errors import MemDrivenError
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Recipe
from memdriven.ui import api, app
from tests.ui.asking import CAPTION
from tests.ui.conftest import Outside, serve

SNAPSHOT = Path(__file__).with_name("api.json")


@pytest.fixture(scope="module")
def served(pipe: MemoryDrivenPipeline, outside: Outside) -> Iterator[str]:
    """Serve the page and return its address."""
    page, address = serve(pipe)
    yield address
    page.close(verbose=False)


pytestmark = pytest.mark.usefixtures("loaded")


@pytest.fixture(autouse=True)
def nothing_asked(outside: Outside) -> None:
    """Forget what tests before asked for: some try to reach a host, and are refused."""
    outside.asked.clear()


def test_description_is_as_it_was(served: str, outside: Outside) -> None:
    """Set MEMDRIVEN_WRITE_API=1 to accept a change of the interface."""
    with urlopen(f"{served}gradio_api/info") as answer:
        # The examples in it name the server's address, whose port differs from run to run.
        found = json.loads(answer.read().decode().replace(served.rstrip("/"), "http://127.0.0.1:7860"))
    if os.environ.get("MEMDRIVEN_WRITE_API") == "1":
        SNAPSHOT.write_text(json.dumps(found) + "\n", "utf-8")
    assert sorted(found["named_endpoints"]) == ["/generate", "/grid", "/retrieve"]
    assert found["unnamed_endpoints"] == {}
    assert outside.asked == []
    assert found == json.loads(SNAPSHOT.read_text("utf-8"))


def test_retrieve_tells_what_the_pipeline_finds(pipe: MemoryDrivenPipeline) -> None:
    found = api.retrieve(CAPTION, "words-image", 3)
    wanted = pipe.retrieve(CAPTION, "words-image", 3)
    assert [each["id"] for each in found] == list(wanted.ids)
    assert found[0]["percentile"] == wanted[0].percentile
    json.dumps(found, allow_nan=False)


def test_generate_gives_the_png_with_its_recipe(pipe: MemoryDrivenPipeline) -> None:
    made = api.generate(CAPTION, k=2, seed=7)
    content = base64.b64decode(made["png"])
    assert content == pipe(CAPTION, k=2, seed=7).png()
    assert Recipe.from_png(content).to_dict() == made["recipe"]
    given = api.generate(CAPTION, seed=7, neighbours=["bird-03", "bird-01"], weights=[1.0, 3.0])
    assert [each["weight"] for each in given["neighbours"]] == [0.25, 0.75]
    assert api.generate(CAPTION)["recipe"]["seed"] != api.generate(CAPTION)["recipe"]["seed"]


def test_generate_uses_a_part_of_the_memory(pipe: MemoryDrivenPipeline) -> None:
    made = api.generate(CAPTION, seed=7, memory=0.25)
    assert made["recipe"]["memory"] == 0.25
    assert base64.b64decode(made["png"]) == pipe(CAPTION, k=1, seed=7, memory=0.25).png()


def test_grid_gives_a_picture_a_seed(pipe: MemoryDrivenPipeline) -> None:
    made = api.grid(CAPTION, [3, 4])
    assert [each["seed"] for each in made["pictures"]] == [3, 4]
    second = base64.b64decode(made["pictures"][1]["png"])
    assert Recipe.from_png(second).seed == 4
    assert second == pipe(CAPTION, k=1, seed=4).png()


@pytest.mark.parametrize(
    "wrong",
    [
        {"caption": ""},
        {"seed": -2},
        {"seed": 2**53},
        {"strategy": "sql"},
        {"weights": [1.0]},
        {"neighbours": ["nobody"]},
        {"neighbours": ["bird-01"] * 2},
        {"neighbours": ["a"] * 99},
        {"neighbours": ["bird-01"], "weights": [float("nan")]},
        {"seed": True},
        {"memory": -0.5},
        {"memory": 2},
        {"memory": None},
        {"memory": float("nan")},
        {"k": 10**400},
        {"k": float("nan")},
        {"k": 0},
        {"neighbours": [1]},
        {"neighbours": [["a"]]},
        {"neighbours": ["bird-01"], "weights": 5},
        {"neighbours": ["bird-01"], "weights": ["a"]},
        {"neighbours": ["bird-01", "bird-02"], "weights": [1e308, 1e308]},
    ],
)
def test_nonsense_is_refused_with_a_reason(wrong: dict[str, Any]) -> None:
    with pytest.raises(MemDrivenError):
        api.generate(**({"caption": CAPTION} | wrong))


def test_grids_have_a_size_and_retrieval_a_caption() -> None:
    for seeds in ([], list(range(10)), "123", [-1]):
        with pytest.raises(MemDrivenError):
            api.grid(CAPTION, seeds)  # type: ignore[arg-type]
    with pytest.raises(MemDrivenError):
        api.retrieve("qqq")


def over_http(served: str, endpoint: str, data: list[Any]) -> Any:
    """Return what an endpoint answers to a caller of its own."""
    url = f"{served}gradio_api/call/{endpoint}"
    body = json.dumps({"data": data}).encode()
    with urlopen(Request(url, body, {"Content-Type": "application/json"})) as answer:
        event = json.load(answer)["event_id"]
    with urlopen(f"{url}/{event}") as stream:
        lines = stream.read().decode().splitlines()
    assert lines[0] == "event: complete"
    (found,) = json.loads(lines[1].removeprefix("data: "))
    return found


def test_endpoints_answer_over_http_as_docs_say(served: str, outside: Outside) -> None:
    found = over_http(served, "retrieve", [CAPTION, "sentence-sentence", 2])
    assert found[0]["id"] == "bird-00"
    assert len(found) == 2
    # What is left out at the end has its default.
    assert over_http(served, "retrieve", [CAPTION]) == api.retrieve(CAPTION)
    made = over_http(served, "generate", [CAPTION, None, None, 7])
    assert made["png"] == api.generate(CAPTION, seed=7)["png"]
    assert len(over_http(served, "grid", [CAPTION, [3, 4]])["pictures"]) == 2
    assert outside.asked == []


def test_a_refusal_is_told_over_http(served: str) -> None:
    url = f"{served}gradio_api/call/generate"
    body = json.dumps({"data": [CAPTION, None, 99]}).encode()
    with urlopen(Request(url, body, {"Content-Type": "application/json"})) as answer:
        event = json.load(answer)["event_id"]
    with urlopen(f"{url}/{event}") as stream:
        said = stream.read().decode()
    assert said.startswith("event: error")
    assert "wanted: k: a whole number in 1..8; found: 99; what to do: ask for another" in said


def test_no_neighbours_are_no_memory(pipe: MemoryDrivenPipeline) -> None:
    made = api.generate(CAPTION, seed=7, neighbours=[])
    assert made["neighbours"] == []
    assert base64.b64decode(made["png"]) == pipe(CAPTION, "none", seed=7).png()


def test_what_is_left_out_is_as_the_page_begins(
    served: str, pipe: MemoryDrivenPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with urlopen(f"{served}config") as answer:
        parts = [each["props"] for each in json.load(answer)["components"]]
    begun = {each.get("elem_id"): each.get("value") for each in parts}
    recipe = api.generate(CAPTION, seed=7)["recipe"]
    assert recipe["strategy"] == begun["comparison"]
    assert len(recipe["neighbours"]) == begun["k"]
    assert recipe.get("guidance", pipe.config.generator.guidance) == begun["guidance"]
    assert begun["tries"] == api.read_tries(pipe)
    monkeypatch.setattr(api, "read_tries", lambda pipe: 3)
    assert base64.b64decode(api.generate(CAPTION, seed=7)["png"]) == pipe(CAPTION, seed=7, best_of=3).png()
    grid = api.grid(CAPTION, [7, 8])
    assert grid["neighbours"][0]["id"] == pipe(CAPTION, seed=7, best_of=3).neighbours[0].id


def test_callers_long_gone_are_forgotten(
    pipe: MemoryDrivenPipeline, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "SESSIONS", 2)
    page, address = serve(pipe)
    try:
        for k in range(1, 6):
            assert len(over_http(address, "retrieve", [CAPTION, "sentence-sentence", k])) == k
        assert len(page.state_holder.session_data) == 2
    finally:
        page.close(verbose=False)
    assert outside.asked == []


def test_the_documented_client_program_runs(
    served: str, outside: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[2] / "docs/api.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(lines.replace("http://127.0.0.1:7860", served.rstrip("/")), names)  # noqa: S102
    names["client"].close()
    recipe = Recipe.from_png(Path("bird.png").read_bytes())
    assert (recipe.seed, recipe.neighbours) == (7, (names["found"][1]["id"],))
    assert outside.asked == []
