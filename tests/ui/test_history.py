from __future__ import annotations

import base64
import html
import io
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape
from PIL import Image

from memdriven.errors import CheckpointError, ConfigError, DataError
from memdriven.explore import export
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Recipe, Variation
from memdriven.ui import diversity, history, picture, references, state
from memdriven.ui.query import Query, settings
from memdriven.ui.references import held
from memdriven.ui.state import ModelRegistry, find_checkpoints
from memdriven.ui.steering import Steering

CAPTION = "a small red bird with black wings"
QUERY = (CAPTION, "retrieved", "sentence-sentence", 1, "7", True)

pytestmark = pytest.mark.usefixtures("loaded")


@pytest.fixture
def items(pipe: MemoryDrivenPipeline) -> list[Recipe]:
    return list(pipe(CAPTION, k=2, seeds=[1, 2, 3]).recipes)


class Event:
    """What the page tells a handler."""

    def __init__(self, **told: Any) -> None:
        self.__dict__.update(told)


def arrive(**told: Any) -> dict[str, Any]:
    return history.arrive(Event(**told), Steering())  # type: ignore[arg-type]


def act(kind: str, chosen: Recipe) -> dict[str, Any]:
    return history.act(Event(act=kind, recipe=chosen.to_json()), Steering())  # type: ignore[arg-type]


def save(kind: str, *chosen: Recipe) -> dict[str, str]:
    recipes = [each.to_json() for each in chosen]
    *_, made = history.save(Event(kind=kind, recipes=recipes), Steering())  # type: ignore[arg-type]
    return made


def test_inspect_changes_no_setting(items: list[Recipe]) -> None:
    made = act("inspect", items[1])
    assert made.keys() == {"inspection"}
    assert CAPTION in made["inspection"]
    assert f'data-recipe="{escape(items[1].to_json())}"' in made["inspection"]
    assert made["inspection"].count("<img") == 2


def test_remix_takes_everything_but_the_noise(items: list[Recipe]) -> None:
    made = act("remix", items[1])
    wanted = {"caption": CAPTION, "source": "retrieved", "comparison": "sentence-sentence", "k": 2}
    wanted |= {"seed": "", "keep": False, "share": 1.0, "guidance": 0.0, "mirror": "", "window": ""}
    assert {name: made[name] for name in wanted} == wanted
    assert not made["steering"].active
    assert not made.keys() & {"result", "current"}, "the picture stays"


def test_restore_brings_the_same_pixels(pipe: MemoryDrivenPipeline, items: list[Recipe]) -> None:
    made = act("restore", items[2])
    assert (made["seed"], made["keep"]) == ("3", True)
    png = base64.b64encode(pipe(CAPTION, k=2, seed=3).png()).decode()
    assert png in made["result"]
    asked = ("retrieved", "sentence-sentence", 2, "3", True, made["steering"])
    assert made["memory"] == references.show_references(CAPTION, *asked)[0]
    assert act("restore", items[0])["seed"] == "1"


def test_the_guidance_comes_back(pipe: MemoryDrivenPipeline) -> None:
    out = pipe(CAPTION, seed=4, guidance=1.25)
    taken = settings(out.recipe, Steering(), noise=True)
    assert taken["guidance"] == 1.25
    query = Query(*(taken.get(name, 1) for name in Query._fields))
    assert pipe(references.read(*query)).images[0].tobytes() == out.images[0].tobytes()
    *_, last = picture.paint(*query)
    assert last["current"] == out.recipe
    assert "Caption strength" in history.inspection(out.recipe)
    assert "Caption strength" not in history.inspection(pipe(CAPTION).recipe)


def test_how_much_of_the_memory_was_used_comes_back(
    pipe: MemoryDrivenPipeline, fading: MemoryDrivenPipeline
) -> None:
    for loaded, share, shown in ((fading, 0.35, True), (pipe, 1.0, False)):
        state.use(loaded)
        out = loaded(CAPTION, seed=4, memory=0.35)
        for kind in ("restore", "remix"):
            made = act(kind, out.recipe)
            assert made["share"] == share
            assert made["fade"].visible is shown
            if kind == "restore" and shown:
                assert base64.b64encode(out.png()).decode() in made["result"]
    assert "35 %" in history.inspection(out.recipe)
    assert "Memory used" not in history.inspection(pipe(CAPTION, seed=4).recipe)


def test_what_was_forgotten_stays_so_when_the_page_is_loaded_again(items: list[Recipe]) -> None:
    link = items[0].to_url()
    assert "data-fresh" in arrive(link=link)["result"], "a link's picture is new here"
    assert "data-fresh" not in arrive(link=link, values={})["result"]


@pytest.mark.parametrize("recipe", ["9", "{}", "x", None, {"a": 1}, '{"caption": 3}', ""])
def test_forged_recipes_are_refused(recipe: Any) -> None:
    with pytest.raises(ConfigError):
        history.act(Event(act="restore", recipe=recipe), Steering())  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        list(history.save(Event(kind="zip", recipes=[recipe]), Steering()))  # type: ignore[arg-type]


def test_recipes_are_read_from_json_link_and_address(pipe: MemoryDrivenPipeline) -> None:
    recipe = pipe(CAPTION, seed=1).recipe
    for written in (
        recipe.to_json(indent=1),
        recipe.to_url(),
        f" http://127.0.0.1:7860/?mode=paper&r={recipe.to_url()} ",
    ):
        assert history.read(written) == recipe
        assert CAPTION in history.paste(written)["inspection"]
    for wrong in ("", None, "{", "http://x/?a=1", "http://[/?r=1", "{}" * 9, "A" * 300_000):
        with pytest.raises(ConfigError):
            history.read(wrong)


def test_arriving_with_a_link(pipe: MemoryDrivenPipeline) -> None:
    recipe = pipe(CAPTION, "random", 2, 9).recipe
    made = arrive(link=recipe.to_url())
    names = ("caption", "source", "k", "seed", "keep")
    assert tuple(made[name] for name in names) == (CAPTION, "random", 2, "9", True)
    assert "comparison" not in made
    assert [*arrive(link="AAAA")] == ["status"]


def test_what_a_page_showed_comes_back_over_its_pictures_settings(pipe: MemoryDrivenPipeline) -> None:
    link, values = pipe(CAPTION, seed=9).recipe.to_url(), {"caption": "a blue bird", "k": 999, "seed": "9"}
    made = arrive(link=link, values={**values, "keep": False, "nobody": 1})
    assert (made["caption"], made["k"], made["seed"], made["keep"]) == (
        "a blue bird",
        state.MAX_K,
        "9",
        False,
    )
    assert made["steering"] == Steering()
    assert made["current"].caption == CAPTION
    assert "nobody" not in made
    assert "own image" in arrive(values=values, lost=True)["status"]


def test_dropped_png(pipe: MemoryDrivenPipeline) -> None:
    out = pipe(CAPTION, neighbours=["bird-03", "bird-04"], weights=[3, 1], seed=5)
    content = base64.b64encode(out.png()).decode()
    made = history.drop(Event(content=content), Steering())  # type: ignore[arg-type]
    assert made["steering"].pins == ()
    begun = held(made["steering"], CAPTION, out.recipe.strategy, 2)
    assert [each.id for each in begun] == ["bird-03", "bird-04"]
    assert content in made["result"]
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    for wrong in (base64.b64encode(buffer.getvalue()).decode(), "%%", None, "A" * 12_000_000):
        with pytest.raises(DataError):
            history.drop(Event(content=wrong), Steering())  # type: ignore[arg-type]


def test_recipes_that_cannot_be_made_here_say_so(pipe: MemoryDrivenPipeline) -> None:
    recipe = pipe(CAPTION, seed=1).recipe
    private = replace(recipe, references=(("own:0123456789ab", 1.0),))
    assert "Needs a private image, which only the tab that had it can use." in history.inspection(private)
    assert "private image" in str(arrive(link=private.to_url()))
    foreign = replace(recipe, bank_hash="abc", checkpoint="elsewhere")
    assert "Made with a model or memory that this page does not have now." in history.inspection(foreign)
    assert 'role="alert"' in str(arrive(link=foreign.to_url()))


def test_a_recipe_of_an_older_model_can_still_be_used(pipe: MemoryDrivenPipeline) -> None:
    out = pipe(CAPTION, neighbours=["bird-05", "bird-02"], weights=[3, 1], seed=11)
    lost = replace(
        out.recipe, references=(("bird-05", 0.75), ("bird-99", 0.25)), checkpoint_hash="abc", bank_hash="def"
    )
    shown = history.inspection(lost)
    assert [f'data-act="{act}"' in shown for act in ("remix", "restore", "similar")] == [True, False, True]
    assert "Made with a model or memory that this page does not have now." in shown
    for kind, seed, said in (
        ("remix", "", "Settings taken, noise left free. Generate paints anew."),
        ("similar", "11", ("Painted from that recipe with another model or memory: alike, not the same.")),
    ):
        made = act(kind, lost)
        assert (made["caption"], made["seed"]) == (CAPTION, seed)
        taken = made["steering"]
        assert taken.pins == ()
        assert [each.id for each in held(taken, CAPTION, lost.strategy, 1)] == ["bird-05"]
        assert said in made["status"]
    alone = pipe(CAPTION, out.recipe.strategy, 1, 11, neighbours=["bird-05"], weights=[1])
    picture = made["current"]
    assert picture.neighbours == ("bird-05",)
    assert picture.checkpoint_hash == pipe.checkpoint.hash
    assert alone.images[0] == pipe.from_recipe(picture).images[0]


def test_a_recipe_of_which_no_memory_is_left_is_retrieved_anew(pipe: MemoryDrivenPipeline) -> None:
    recipe = replace(pipe(CAPTION, k=2, seed=3).recipe, references=(("x", 0.5), ("y", 0.5)), k=9_999)
    taken = history.adapted(recipe, Steering())
    assert (taken.neighbours, taken.weights, taken.k) == ((), (), pipe.bank.n)
    whole = pipe(CAPTION, k=2, seed=3).recipe
    kept = history.adapted(replace(whole, bank_hash="abc"), Steering())
    assert kept == replace(whole, bank_hash="", checkpoint_hash="")


def test_links_and_files_of_an_older_model_are_shown(pipe: MemoryDrivenPipeline) -> None:
    old = replace(pipe(CAPTION, seed=3).recipe, checkpoint_hash="abc")
    made = arrive(link=old.to_url())
    assert 'role="alert"' in made["status"]
    assert made["tabs"].selected == "history"
    assert 'data-act="similar"' in made["inspection"]
    assert f'data-recipe="{escape(old.to_json())}"' in made["inspection"]
    assert 'data-act="similar"' not in history.inspection(pipe(CAPTION, seed=3).recipe)
    made = act("restore", old)
    assert 'data-act="similar"' in made["inspection"]
    assert 'role="alert"' in made["status"]


def test_hostile_words_of_a_recipe_stay_words(pipe: MemoryDrivenPipeline) -> None:
    recipe = replace(pipe(CAPTION, seed=1).recipe, caption="<img src=x onerror=1> red bird")
    assert "<img src=x" not in history.inspection(recipe)


def test_zip_and_sheet_hold_the_chosen_pictures(pipe: MemoryDrivenPipeline, items: list[Recipe]) -> None:
    made = save("zip", items[0], items[2])
    assert "2 pictures" in made["status"]
    content = base64.b64decode(made["saved"].split("base64,")[1].split('"')[0])
    with zipfile.ZipFile(io.BytesIO(content)) as pack:
        names = pack.namelist()
        assert [Recipe.from_png(pack.read(name)).seed for name in names[:2]] == [1, 3]
        assert [each["seed"] for each in json.loads(pack.read("recipes.json"))] == [1, 3]
        with Image.open(io.BytesIO(pack.read("contact-sheet.png"))) as sheet:
            assert sheet.width > 2 * export.CELL
    assert "image/png" in save("sheet", *items)["saved"]
    with pytest.raises(ConfigError, match="a recipe to use"):
        save("zip")


def test_what_cannot_be_made_again_is_left_out_and_named(items: list[Recipe]) -> None:
    old = replace(items[1], checkpoint_hash="abc")
    made = save("zip", items[0], old, items[2])
    with zipfile.ZipFile(
        io.BytesIO(base64.b64decode(made["saved"].split("base64,")[1].split('"')[0]))
    ) as pack:
        assert [each["seed"] for each in json.loads(pack.read("recipes.json"))] == [1, 3]
    assert f"This page cannot make these again: {CAPTION} (seed 2)." in made["status"]
    saving = history.save(Event(kind="zip", recipes=[old.to_json()]), Steering())  # type: ignore[arg-type]
    assert next(saving) == {"saved": ""}
    with pytest.raises(CheckpointError, match="abc"):
        list(saving)


def test_only_taking_a_recipe_changes_the_model_in_use(
    pipe: MemoryDrivenPipeline,
    fading: MemoryDrivenPipeline,
    tiny_checkpoint: Path,
    fading_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state.use(ModelRegistry(find_checkpoints([tiny_checkpoint, fading_checkpoint]), "cpu"))
    monkeypatch.setattr(state, "session", lambda: "ann")
    other, own = fading(CAPTION, seed=1).recipe, pipe(CAPTION, seed=1).recipe
    assert "2 pictures" in save("sheet", own, other)["status"]
    assert state.chosen() == "tiny"
    private = replace(fading(CAPTION, seed=1).recipe, references=(("own:0123456789ab", 1.0),))
    assert "private image" in str(arrive(link=private.to_url()))
    assert state.chosen() == "tiny"
    for kind in ("restore", "remix"):
        for wanted, name in ((other, "fading"), (own, "tiny")):
            made = act(kind, wanted)
            assert made["checkpoint"] == state.chosen() == name


def tile(grid: str, number: int) -> Recipe:
    """Return the recipe of a tile by the number that it bears."""
    found = re.findall(r'data-recipe="([^"]*)"', grid)
    return Recipe.from_json(html.unescape(found[diversity.NUMBERS.index(number)]))


def test_near_pictures_step_from_the_current_one(pipe: MemoryDrivenPipeline) -> None:
    out = pipe(CAPTION, seed=4)
    steps = list(diversity.vary_near(out.recipe, 0.3, Steering()))
    assert len(steps) == 10
    assert "Nine pictures" in steps[-1][2]
    assert 'class="md-score"' in str(steps[-1][0])
    kept = act("adopt", tile(steps[-1][1], 5))
    step = Variation(seed=5_004, strength=0.3)  # of this picture: another seed has other eight
    assert (kept["seed"], kept["steering"].variations) == ("4", (step,))
    wanted = pipe(CAPTION, seed=4, variations=[step])
    assert base64.b64encode(wanted.png()).decode() in kept["result"]
    assert "1 away" in kept["steps"]
    assert 'data-id="bird-00"' in kept["memory"]
    assert kept["current"] == wanted.recipe
    further = list(diversity.vary_near(kept["current"], "far", Steering()))[-1][1]
    assert tile(further, 0).variations == (step,)
    with pytest.raises(ConfigError, match="a picture to vary"):
        next(diversity.vary_near(None, 0.3, Steering()))
