"""Any picture large, copied and enlarged; the tried; favourites; words completed; a batch of captions."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

from PIL import Image

from memdriven.pipeline.request import Recipe
from tests.ui.conftest import Visitor

CAPTION = "a small red bird with black wings"
FOCUSED = "document.activeElement.outerHTML.slice(0, 200)"


def recipe_of(png: bytes) -> Recipe:
    return Recipe.from_png(base64.b64decode(png.split(b",")[1]))


def test_another_of_the_tried_can_be_taken(desk: Visitor) -> None:
    visitor, page = desk, desk.page
    visitor.begin(CAPTION, tries=6, seed="11")
    kept = recipe_of(visitor.generate()).neighbours
    assert page.locator("#result [data-act=take]").count() == 6
    ringed = page.locator('#result [data-act=take][aria-pressed="true"]')
    assert (ringed.get_attribute("data-id"),) == kept
    other = page.locator('#result [data-act=take][aria-pressed="false"]').first
    wanted = other.get_attribute("data-id")
    other.click()
    page.wait_for_selector(f'#result [data-act=take][data-id="{wanted}"][aria-pressed="true"]')
    assert page.locator("#result [data-act=take]").count() == 6
    made = recipe_of(page.get_attribute("#result .md-result", "src").encode())
    assert (made.neighbours, made.seed) == ((wanted,), 11)

    with page.expect_download() as waiting:
        page.click("#result [data-export=zip]")
    with zipfile.ZipFile(waiting.value.path()) as pack:
        recipes = [Recipe.from_json(json.dumps(each)) for each in json.loads(pack.read("recipes.json"))]
    ids = [each.get_attribute("data-id") for each in page.locator("#result [data-act=take]").all()]
    assert [each.neighbours for each in recipes] == [(each,) for each in ids]
    assert {each.seed for each in recipes} == {11}
    assert recipe_of(page.get_attribute("#result .md-result", "src").encode()) in recipes

    assert visitor.text("#result .md-picture-words") == CAPTION
    visitor.write("a blue bird")
    page.wait_for_selector("#result.md-stale")
    visitor.write(CAPTION)
    page.wait_for_selector("#result:not(.md-stale)")

    tab = page.get_by_role("tab", name="Picture")
    tab.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#make-grid:visible")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#result:visible")


def test_any_picture_opens_large_with_keys_and_gives_the_focus_back(desk: Visitor) -> None:
    visitor, page = desk, desk.page
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.begin(CAPTION)
    visitor.generate()
    page.focus("#result [data-large]")
    page.keyboard.press("Enter")
    page.wait_for_selector("#lightbox[open]")
    words = page.inner_text("#lightbox figcaption")
    assert words.endswith(CAPTION)
    named = page.get_attribute("#lightbox", "aria-labelledby")
    assert page.get_attribute("#lightbox figcaption", "id") == named
    shown = {words}
    for _ in range(4):
        page.keyboard.press("ArrowRight")
        shown.add(page.get_attribute("#lightbox img", "alt"))
    assert len(shown) > 3
    page.click("#lightbox [data-copy-picture]")
    visitor.wait_text("#lightbox [data-copy-picture]", "Copied")
    assert page.evaluate("navigator.clipboard.read().then(all => all[0].types)") == ["image/png"]
    page.keyboard.press("Escape")
    page.wait_for_selector("#lightbox", state="hidden")
    assert "data-large" in page.evaluate(FOCUSED)

    # A click opens what means nothing else; in its corner what does.
    page.click("#memory .md-card img")
    page.wait_for_selector("#lightbox[open]")
    page.click("#lightbox [data-close]")
    page.get_by_role("tab", name="History", exact=True).click()
    page.hover("#history .md-history-picture")
    page.click("#enlarge")
    page.wait_for_selector("#lightbox[open]")
    assert page.inner_text("#lightbox figcaption").endswith(CAPTION)
    page.click("#lightbox [data-close]")


def test_a_picture_is_enlarged_smoothly_and_keeps_its_recipe(desk: Visitor) -> None:
    visitor, page = desk, desk.page
    visitor.begin(CAPTION, seed="7")
    visitor.generate()
    with page.expect_download() as plain:
        page.click("#result a[download]")
    with Image.open(plain.value.path()) as made, page.expect_download() as saved:
        page.click("#result [data-times='4']")
        wanted = made.resize((4 * made.width, 4 * made.height), Image.Resampling.LANCZOS)
        content = Path(saved.value.path()).read_bytes()
        assert saved.value.suggested_filename == "memdriven-7-x4.png"
        with Image.open(io.BytesIO(content)) as large:
            assert large.tobytes() == wanted.tobytes()
    assert Recipe.from_png(content) == Recipe.from_png(Path(plain.value.path()).read_bytes())


def open_list(page: Any) -> None:
    """Open the place for several captions, with nothing told in it yet."""
    page.get_by_role("tab", name="Picture", exact=True).click()
    if not page.is_visible("#batch textarea"):
        page.click("#batch summary")
    page.evaluate("document.querySelector('#batch [role=status]').textContent = ''")


def test_a_list_is_painted_and_its_favourites_are_chosen(desk: Visitor) -> None:
    visitor, page = desk, desk.page
    visitor.begin(CAPTION)
    visitor.forget()
    open_list(page)
    page.fill("#batch textarea", "a red bird\n\nzzz qqq\na blue bird\n")
    page.click("#batch-run")
    visitor.wait_text("#batch [role=status]", "Painted 2 of 3")
    visitor.wait_text("#batch [role=status]", "zzz qqq")
    stored = json.loads(page.evaluate("localStorage.getItem('memdriven.pictures.1')"))
    assert [json.loads(each["recipe"])["caption"] for each in stored] == ["a blue bird", "a red bird"]
    page.click("#result [data-star]")
    page.wait_for_selector("#result [data-star][aria-pressed=true]")
    page.get_by_role("tab", name="History", exact=True).click()
    page.wait_for_selector('#history .md-moment:nth-child(1) [data-edit="star"][aria-pressed="true"]')
    page.click('#history .md-moment:nth-child(1) [data-edit="star"]')
    page.wait_for_selector('#history .md-moment:nth-child(1) [data-edit="star"][aria-pressed="false"]')
    page.wait_for_selector("#result [data-star][aria-pressed=false]", state="attached")
    page.click('#history .md-moment:nth-child(2) [data-edit="star"]')
    page.wait_for_selector('#history .md-moment:nth-child(2) [data-edit="star"][aria-pressed="true"]')
    page.wait_for_selector('#history .md-moment:nth-child(1) [data-edit="star"][aria-pressed="false"]')
    page.click("#history [data-tick]")
    assert page.locator("#history input:checked").evaluate_all("all => all.map(one => one.ariaLabel)") == [
        "Choose: a red bird"
    ]
    page.click('#history .md-moment:nth-child(1) [data-edit="star"]')
    page.wait_for_selector("#result [data-star][aria-pressed=true]", state="attached")
    visitor.reload()
    page.wait_for_selector('#history .md-moment:nth-child(1) [data-edit="star"][aria-pressed="true"]')
    page.wait_for_selector("#result [data-star][aria-pressed=true]", state="attached")


def test_stop_ends_a_list(desk: Visitor) -> None:
    visitor, page = desk, desk.page
    open_list(page)
    page.fill("#batch textarea", "\n".join(f"a {hue} bird" for hue in ("red", "blue", "green") * 10))
    page.click("#batch-run")
    visitor.wait_text("#batch [role=status]", "Painting 2 of 30")
    page.click("#stop")
    visitor.wait_text("#batch [role=status]", "Painted")


def test_words_are_completed_by_keys_and_never_by_themselves(desk: Visitor) -> None:
    visitor, page = desk, desk.page
    page.set_viewport_size({"width": 390, "height": 844})
    visitor.write("a ")
    page.focus("#caption textarea")
    page.keyboard.press("End")
    page.keyboard.type("bl")
    offers = page.locator("#completion button")
    words = offers.all_inner_texts()
    assert words
    assert all(word.startswith("bl") for word in words)
    box = page.locator("#completion").bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 390
    page.keyboard.type("ue")
    assert page.input_value("#caption textarea") == "a blue", "typing is left alone"
    page.keyboard.press("Backspace")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.input_value("#caption textarea") == "a blue "
    page.keyboard.type("bi")
    page.keyboard.press("Escape")
    assert not page.is_visible("#completion")
    page.keyboard.type("rd")
    assert page.input_value("#caption textarea") == "a blue bird"
