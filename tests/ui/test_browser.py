"""The page in a real browser; each visit also fails on console errors and outside requests."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from memdriven.models import noise
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Recipe
from memdriven.ui.references import MEMORY_EMPTY
from tests.ui.conftest import Outside, Shoot, Visitor

Visit = Callable[..., Visitor]
CAPTION = "a small red bird with black wings"


def test_caption_to_cards_to_picture_and_back(
    desk: Visitor, pipe: MemoryDrivenPipeline, shoot: Shoot
) -> None:
    visitor, page = desk, desk.page
    visitor.unfold()
    visitor.write("")
    visitor.wait_text("#memory", MEMORY_EMPTY)
    shoot(page, "empty-1280.png")

    visitor.write("a smal crimson bird with black wings zzz")
    page.wait_for_selector('#memory .md-card[data-id="bird-00"]')
    assert page.locator("#memory mark").first.inner_text() == "red"
    assert page.locator("#memory .md-spare").count() == 5
    unknown = " ".join(visitor.text("#unknown").split())
    assert unknown == "smal read as small crimson taken as red zzz not in the vocabulary (ignored)"
    page.click('[data-unknown="crimson"]')
    assert page.input_value("#caption textarea") == "a smal red bird with black wings zzz"
    page.wait_for_selector('[data-unknown="crimson"]', state="detached")

    visitor.keep_seed("7")
    first = visitor.generate()
    assert page.locator(".md-strip img").count() == 2
    assert visitor.text(".md-legend").count("ms") == 5
    visitor.wait_text("#status", "with seed 7")
    assert page.get_attribute("#status", "aria-live") == "polite"
    assert visitor.generate() == first
    png = base64.b64decode(first.split(b",")[1])
    assert png == pipe("a smal red bird with black wings zzz", seed=7).png()
    shoot(page, "picture-1280.png")

    page.fill("#seed input", "")
    page.wait_for_selector("#keep input:not(:checked)")
    assert visitor.generate() != first
    assert page.input_value("#seed input") != "7"
    page.click("#dice")
    page.wait_for_selector("#keep input:checked")
    drawn = page.input_value("#seed input")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(f'.md-result[data-complete="true"][data-seed="{drawn}"]')


def test_generate_is_always_in_sight_and_nothing_lies_over_it(desk: Visitor) -> None:
    page = desk.page
    desk.unfold()
    for width, height in ((390, 700), (1280, 720)):
        page.set_viewport_size({"width": width, "height": height})
        for part in ("#generate", "#status"):
            box = page.locator(part).bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= height
    over = """() => {
        const foot = document.querySelector('#foot'), edge = foot.getBoundingClientRect();
        return [...document.querySelectorAll('#page [data-testid="block-info"]')].filter(label => {
            const box = label.getBoundingClientRect(), y = (box.top + box.bottom) / 2;
            if (!box.height || y < edge.top + 2 || y > edge.bottom - 2) return false;
            return label.contains(document.elementFromPoint(box.left + 2, y));
        }).map(label => label.innerText);
    }"""
    for scrolled in range(0, 800, 8):
        page.evaluate(f"scrollTo(0, {scrolled})")
        assert page.evaluate(over) == []
    page.evaluate("scrollTo(0, 0)")
    for setting in page.locator("#folds [data-testid=block-info]:visible").all():
        setting.scroll_into_view_if_needed()
        box, foot = setting.bounding_box(), page.locator("#foot").bounding_box()
        assert box["y"] > foot["y"] + foot["height"], "nor does it lie over a setting"


def test_every_source_of_the_reference(desk: Visitor) -> None:
    visitor, page = desk, desk.page
    visitor.unfold()
    page.evaluate("document.querySelector('.md-result')?.remove()")
    page.click(f'[data-caption="{CAPTION}"]')  # paints at once, and shows its references at the end
    page.wait_for_selector('.md-result[data-complete="true"]')
    page.wait_for_selector('.md-card[data-id="bird-00"]')
    page.click("#source label:has-text('None')")
    visitor.wait_text("#memory", "The memory is switched off: this picture comes from words and noise alone.")
    assert page.is_disabled("#comparison input")
    without = visitor.generate()
    page.click("#source label:has-text('Random')")
    page.wait_for_selector("#memory .md-card")
    page.click("#source label:has-text('Oracle')")
    page.wait_for_selector('#memory .md-card[data-id="bird-00"]')
    assert page.locator("#memory .md-spare").count() == 0
    visitor.write("a red bird")
    visitor.wait_text("#status .md-error", "Wanted:")
    page.click("#source label:has-text('Retrieved')")
    page.wait_for_selector("#memory .md-card")
    assert page.is_enabled("#comparison input")
    page.click("#comparison input")
    page.click("[role=option]:has-text('words vs. image regions')")
    page.wait_for_selector('#memory .md-score[title*="words-image"]')
    page.fill("#k input[type=number]", "3")
    page.wait_for_function("document.querySelectorAll('#memory .md-card').length === 3")
    assert visitor.text("#memory").count("of the mix") == 3
    assert visitor.generate() != without
    page.fill("#k input[type=number]", "1")
    page.fill("#tries input[type=number]", "6")
    visitor.generate()
    assert "Best of 6 references: its picture fits your words best." in visitor.text("#memory")
    assert page.locator("#memory .md-card").count() == 1
    visitor.keep_seed("40")
    unguided = visitor.generate()
    page.fill("#guidance input[type=number]", "2")
    page.wait_for_function("document.querySelector('#guidance input[type=range]').value === '2'")
    assert visitor.generate() != unguided


def test_nine_z_with_their_number_and_the_view_held(desk: Visitor, shoot: Shoot) -> None:
    visitor, page = desk, desk.page
    visitor.unfold()
    visitor.write(CAPTION)
    visitor.keep_seed("40")
    own = visitor.generate()
    page.get_by_role("tab", name="Diversity").click()
    page.click("#make-grid")
    page.wait_for_function("document.querySelectorAll('#grid button.md-tile').length === 9")
    visitor.wait_text("#status", "Nine pictures")
    assert page.locator("#grid-memory .md-card").count() == 1
    assert re.search(r"z alone: [\d.]+ %", visitor.text("#grid .md-by-noise"))
    assert re.search(r"another reference: [\d.]+ %", visitor.text("#grid .md-by-memory"))
    shoot(page, "diversity-1280.png")
    page.click("#grid li:nth-child(3) button.md-tile")
    visitor.wait_text("#steps", "step 1 away")
    kept = page.get_attribute("#result .md-result", "src").encode()
    recipe = Recipe.from_png(base64.b64decode(kept.split(b",")[1]))
    assert (recipe.seed, [each.strength for each in recipe.variations]) == (40, [1.0])
    assert visitor.generate() == kept
    page.click('#steps [data-act="steady"]')
    page.wait_for_selector("#steps p", state="detached")
    assert visitor.generate() == own

    # Mirror and window are controls of their own, and can be held for other seeds.
    page.click('#result [data-act="hold"]')
    page.wait_for_function("document.querySelector('#window input').value !== 'from the seed'")
    assert page.locator("#mirror label:has(input:checked)").inner_text() in ("on", "off")
    page.click("#mirror label:has-text('on')")
    page.fill("#window input", "0.2 0.1 0.5")
    page.keyboard.press("Tab")
    recipe = Recipe.from_png(base64.b64decode(visitor.generate().split(b",")[1]))
    assert (recipe.mirror, recipe.window) == (True, (0.2, 0.1, 0.5))


def test_what_one_tab_told_is_not_shown_on_another(desk: Visitor) -> None:
    page = desk.page
    page.get_by_role("tab", name="Picture").click()
    desk.generate()
    desk.wait_text("#status", "Done in")
    page.get_by_role("tab", name="Diversity").click()
    page.wait_for_selector("#status p", state="hidden")
    page.get_by_role("tab", name="Picture").click()
    page.wait_for_selector("#status p", state="visible")
    assert "Done in" in desk.text("#status")
    for _ in range(2):  # what is told again is drawn, and read aloud, again
        before = page.get_attribute("#status p", "data-said")
        page.click('#result [data-act="hold"]')
        page.wait_for_selector(f'#status p:not([data-said="{before}"])')
        assert "The view is held" in desk.text("#status")


@pytest.mark.usefixtures("slow", "in_motion")
def test_stop_ends_grid_and_picture_and_their_frames_rest(desk: Visitor, gate: threading.Event) -> None:
    page = desk.page
    moving = """() => document.getAnimations().filter(one => one.playState === "running"
        && one.effect.target.matches(".md-busy")).length"""
    desk.write(CAPTION)
    page.get_by_role("tab", name="Diversity").click()
    page.evaluate("document.querySelectorAll('#grid .md-tile').forEach(tile => tile.remove())")
    page.click("#make-grid")
    page.wait_for_selector("#grid button.md-tile")
    page.click("#stop")
    desk.wait_text("#status", "Stopped.")
    assert page.locator("#grid button.md-tile").count() < 9
    page.get_by_role("tab", name="Picture").click()
    gate.clear()
    page.click("#generate")
    page.wait_for_selector('.md-result[data-complete="false"]')
    page.wait_for_function(moving)
    page.click("#stop")
    desk.wait_text("#status", "Stopped.")
    gate.set()
    desk.rest()
    assert page.locator("#grid button.md-tile").count() < 9
    assert page.locator('.md-result[data-complete="true"]').count() == 0
    assert page.locator("#result .md-busy").count() > 0
    assert page.evaluate(moving) == 0
    assert "Stopped." in desk.text("#status")

    page.emulate_media(reduced_motion="reduce")
    gate.clear()
    page.click("#generate")
    page.wait_for_selector('.md-result[data-complete="false"]')
    assert page.locator("#result .md-busy").count() > 0
    still = """() => document.getAnimations().filter(one =>
        [...(one.effect.target?.classList ?? [])].some(name => name.startsWith("md-"))).length"""
    assert page.evaluate(still) == 0, "nothing moves for whoever wants it still"
    gate.set()
    page.wait_for_selector('.md-result[data-complete="true"]')


def test_hostile_words_stay_words_and_visitors_stay_apart(desk: Visitor, visit: Visit) -> None:
    hostile = (
        "red <img src=x onerror=window.hacked=1> ${window.hacked=2} {{value}} `${hacked=3}`"
        " <script>window.hacked=4</script> \"'> </textarea>"
    )
    visitor, other = visit(), desk
    visitor.write(hostile)
    visitor.page.click("#unknown summary")  # many ignored words are folded
    visitor.page.wait_for_selector("#unknown del")
    content = visitor.generate()
    assert Recipe.from_png(base64.b64decode(content.split(b",")[1])).caption == hostile
    visitor.page.click(".md-recipe summary")
    assert "<script>window.hacked=4</script>" in visitor.text(".md-recipe pre")
    assert visitor.page.evaluate("window.hacked") is None
    assert visitor.page.locator("#unknown img, #result script").count() == 0

    assert "hacked" not in other.page.input_value("#caption textarea")
    assert "hacked" not in other.page.inner_html("#result")
    other.write("bird " * 2_000)
    other.wait_text("#status", "10,000 characters")
    other.write("qqq")
    other.wait_text("#status", "No known word yet.")
    other.wait_text("#unknown", "qqq")
    assert other.page.locator("#status [role=alert]").count() == 0
    other.write("a red bird")
    other.keep_seed("seven")
    other.page.click("#generate")
    other.wait_text("#status", "Write digits only, or draw a random seed")


def test_narrow_page_is_one_column(desk: Visitor, shoot: Shoot) -> None:
    page = desk.page
    desk.write(CAPTION)
    desk.keep_seed("7")
    page.wait_for_selector("#memory .md-card")
    desk.generate()
    page.set_viewport_size({"width": 390, "height": 844})
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        columns = ("#words", "#picture-column", "#memory-column")
        tops = [page.locator(column).bounding_box() for column in columns]
        assert all(box and box["width"] > 340 for box in tops)
        assert tops == sorted(tops, key=lambda box: box["y"] if box else 0)
        shoot(page, f"picture-390-{scheme}.png")
    images = page.locator("img:visible").evaluate_all("all => all.map(image => image.alt)")
    assert images
    assert all(images)


def test_server_sends_its_policy_and_no_files(address: str, outside: Outside) -> None:
    from urllib.error import HTTPError
    from urllib.request import urlopen

    with urlopen(address) as answer:
        assert "connect-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "no-referrer"
    for path in ("/etc/passwd", str(Path(noise.__file__))):
        with pytest.raises(HTTPError) as refused:
            urlopen(f"{address}gradio_api/file={path}")
        assert refused.value.code in (403, 404)
        refused.value.close()
    assert outside.asked == []
