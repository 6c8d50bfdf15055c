"""Memory cards, own images, recipes and history in a real browser."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from memdriven.pipeline import own_image
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Recipe
from memdriven.ui import steering
from tests.pipeline.test_own_image import FakeNetwork
from tests.ui.conftest import Shoot, Visitor

CAPTION = "a small red bird with black wings"
CARDS = "[...document.querySelectorAll('#memory .md-card')].map(card => card.dataset.id)"

KNOBS = """[...document.querySelectorAll('#memory input[type=range]')].every(
    one => one.value === one.getAttribute('value'))"""
"""Each weight's knob stands at its number, whatever it was moved to before."""


def cards(visitor: Visitor) -> list[str]:
    return list(visitor.page.evaluate(CARDS))


def wait_cards(visitor: Visitor, ids: list[str]) -> None:
    visitor.page.wait_for_function(f"ids => {CARDS}.join() === ids.join()", arg=ids)


def ready(visitor: Visitor, k: int = 2) -> Visitor:
    """Return a visitor with k neighbours of the caption on screen."""
    visitor.begin(CAPTION, k=k)
    return visitor


def recipe_of(png: bytes) -> Recipe:
    return Recipe.from_png(base64.b64decode(png.split(b",")[1]))


def as_file(content: bytes, name: str = "x.png", kind: str = "image/png") -> dict[str, object]:
    return {"name": name, "mimeType": kind, "buffer": content}


def test_pin_mask_weight_only_and_alike(desk: Visitor, shoot: Shoot) -> None:
    visitor = ready(desk)
    page = visitor.page
    visitor.keep_seed("7")
    first, second = cards(visitor)
    before = visitor.generate()

    for pressed in ("true", "false"):
        page.click(f'#memory .md-card[data-id="{second}"] [data-act="pin"]')
        page.wait_for_selector(f'[data-act="pin"][data-id="{second}"][aria-pressed="{pressed}"]')
        assert cards(visitor) == [first, second], "what is in use stays in its place"

    spare = page.locator("#memory .md-spare").last.get_attribute("data-id")
    page.click(f'#memory .md-spare[data-id="{spare}"] [data-act="pin"]')
    wait_cards(visitor, [spare, first])
    page.focus(f'#memory .md-card[data-id="{spare}"] [data-act="pin"]')
    visitor.write("a green bird with brown wings")
    page.wait_for_function(f"([pin, old]) => {CARDS}[0] === pin && {CARDS}[1] !== old", arg=[spare, first])
    assert page.get_attribute(f'[data-act="pin"][data-id="{spare}"]', "aria-pressed") == "true"
    visitor.write(CAPTION)
    wait_cards(visitor, [spare, first])
    pinned = visitor.generate()
    assert pinned != before
    assert recipe_of(pinned).neighbours == (spare, first)

    slider = page.locator(f'#memory input[data-id="{first}"]')
    slider.focus()
    slider.press("Home")
    page.wait_for_function(
        "document.querySelector('#memory .md-card .md-share').innerText.startsWith('100 %')"
    )
    assert recipe_of(visitor.generate()).weights == (1.0, 0.0)
    page.wait_for_function(KNOBS)
    # The focus comes back to the slider that was moved, in a panel that is new.
    assert page.evaluate("document.activeElement.dataset.id ?? ''") in (first, "")
    shoot(page, "steering-1280.png")

    page.click(f'#memory .md-card[data-id="{first}"] [data-act="mask"]')
    wait_cards(visitor, [spare, second])
    page.click('#memory .md-undo[data-act="mask"]')
    wait_cards(visitor, [spare, first])
    page.click(f'#memory .md-card[data-id="{first}"] [data-act="only"]')
    wait_cards(visitor, [first])
    assert recipe_of(visitor.generate()).neighbours == (first,)
    page.click(f'#memory .md-card[data-id="{first}"] [data-act="like"]')
    page.wait_for_function(f"{CARDS}.length === 2")
    assert cards(visitor)[0] == first
    page.click('#memory [data-act="release"]')
    wait_cards(visitor, [first, second])
    page.wait_for_function(KNOBS)
    assert visitor.generate() == before


def test_forged_clicks_do_nothing_and_tabs_are_apart(desk: Visitor, guest: Visitor) -> None:
    visitor, other = ready(guest), ready(desk)
    before = cards(visitor)
    for act, item in (("pin", "nobody"), ("rm -rf", "bird-01")):
        visitor.page.evaluate(
            "([act, id]) => { const button = document.querySelector('#memory button[data-act]');"
            "Object.assign(button.dataset, {act, id}); button.click(); }",
            [act, item],
        )
        visitor.wait_text("#status", item if act == "pin" else act)
        visitor.wait_text("#status", "Choose again on a card that is shown")
    visitor.write(CAPTION + " ")
    visitor.wait_text("#status", "References in use")
    assert cards(visitor) == before
    visitor.page.click('#memory .md-spare [data-act="pin"]')
    visitor.page.wait_for_selector(".md-steered")
    with other.answered("show_references"):
        other.write(CAPTION + " ")
    assert cards(other) == before


def test_own_image_is_pinned_for_this_tab_alone(
    desk: Visitor, guest: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_image, "feature_network", FakeNetwork)
    visitor, other = ready(guest), desk
    page = visitor.page
    refused = as_file(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "x.svg", "image/svg+xml")
    page.set_input_files("#own input[type=file]", refused)
    visitor.wait_text("#status", "an SVG drawing")
    buffer = io.BytesIO()
    Image.effect_noise((320, 200), 70).convert("RGB").save(buffer, "JPEG")
    page.set_input_files("#own input[type=file]", as_file(buffer.getvalue(), "x.jpg", "image/jpeg"))
    page.wait_for_selector('#memory .md-card[data-id^="own:"]')
    made = visitor.generate()
    assert recipe_of(made).private
    assert ("Made with your own image: only this tab, while it is open, can make it again.") in visitor.text(
        "#result"
    )
    assert page.locator("#result [data-link]").count() == 0
    home = other.page.url.split("?")[0]
    other.go(f"{home}?r={recipe_of(made).to_url()}")
    other.wait_text("#status", "private image")
    assert other.page.locator("#own img").count() == 0
    page.click('#own [data-act="dismiss"]')
    page.wait_for_selector('#memory .md-card[data-id^="own:"]', state="detached")
    visitor.reload()
    page.wait_for_selector("#own")
    assert page.locator("#own img").count() == 0


def test_a_dropped_photograph_is_read_and_the_exact_weights_are_offered(
    desk: Visitor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = list[Path]()
    monkeypatch.setattr(steering.Vgg16Features, "at_hand", lambda: next(iter(here), None))
    monkeypatch.setattr(steering, "_FETCHED", type(steering._FETCHED)(most=1))
    monkeypatch.setattr(steering.Vgg16Features, "load", lambda: here.append(tmp_path) or FakeNetwork)
    monkeypatch.setattr(own_image, "feature_network", FakeNetwork)
    page = ready(desk).page
    page.click('#memory .md-card [data-act="pin"]')  # the panel is drawn anew
    page.wait_for_selector("#own [data-act=fetch]")
    page.get_by_role("tab", name="Compare").click()
    buffer = io.BytesIO()
    Image.effect_noise((320, 200), 60).convert("RGB").save(buffer, "JPEG")
    page.evaluate(
        """(letters) => {
        const bytes = Uint8Array.from(atob(letters), (letter) => letter.charCodeAt(0));
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([bytes], 'x.jpg', { type: 'image/jpeg' }));
        document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
    }""",
        base64.b64encode(buffer.getvalue()).decode(),
    )
    page.wait_for_selector("#own .md-mine-pin")
    assert desk.text("[role=tab][aria-selected=true]") == "Picture"
    page.click("#own [data-act=fetch]")
    desk.wait_text("#status", "VGG-16’s exact weights are here: they read the next image.")
    page.wait_for_selector("#own [data-act=fetch]", state="detached")
    page.click('#own [data-act="dismiss"]')
    page.wait_for_selector("#own img", state="detached")
    page.click('#memory [data-act="release"]')


def test_switching_checkpoints(desk: Visitor, visit: Callable[..., Visitor]) -> None:
    visitor, other = ready(visit()), ready(desk)
    page = visitor.page

    visitor.use_model("other")
    visitor.wait_text("#facts", "other: 12 pictures")
    page.wait_for_selector("#memory .md-card")
    page.wait_for_selector('[data-caption="a blue bird"]')
    assert page.locator("#examples [data-caption]").count() == 1
    assert recipe_of(visitor.generate()).checkpoint == "other"
    assert recipe_of(other.generate()).checkpoint == "tiny"


def test_history_inspect_remix_restore_and_zip(desk: Visitor, shoot: Shoot) -> None:
    visitor = ready(desk)
    visitor.forget()
    page = visitor.page
    visitor.keep_seed("7")
    first = visitor.generate()
    visitor.write("a green bird with brown wings")
    visitor.keep_seed("8")
    visitor.generate()
    page.get_by_role("tab", name="History").click()
    page.wait_for_function("document.querySelectorAll('#history .md-moment').length === 2")

    page.click('#history .md-moment:nth-child(2) [data-act="inspect"]:not(.md-history-picture)')
    visitor.wait_text("#inspection", CAPTION)
    assert page.input_value("#caption textarea").startswith("a green bird")
    shoot(page, "history-1280.png")
    page.click('#history .md-moment:nth-child(2) [data-act="remix"]')
    page.wait_for_function("w => document.querySelector('#caption textarea').value === w", arg=CAPTION)
    # Not the status line: neighbours of the new caption may have taken it before it is read.
    page.wait_for_function("document.querySelector('#seed input').value === ''")
    assert not page.is_checked("#keep input")

    page.get_by_role("tab", name="History").click()
    page.check("#history .md-moment >> nth=1 >> input")
    with page.expect_download() as saved:
        page.click('#history [data-export="zip"]')
    with zipfile.ZipFile(saved.value.path()) as pack:
        assert Recipe.from_png(pack.read(pack.namelist()[0])).seed == 7
        assert "memdriven-02" not in "".join(pack.namelist())

    page.click('#inspection [data-act="restore"]')
    page.wait_for_selector('#result .md-result[data-seed="7"]')
    assert page.get_attribute("#result .md-result", "src").encode() == first
    visitor.reload()
    page.wait_for_selector("#generate")
    page.get_by_role("tab", name="History").click()
    page.wait_for_function("document.querySelectorAll('#history .md-moment').length === 2")
    page.click('#history .md-moment:nth-child(1) [data-edit="forget"]')
    page.wait_for_function("document.querySelectorAll('#history .md-moment').length === 1")


def test_links_and_png_files_bring_a_picture_back(desk: Visitor, pipe: MemoryDrivenPipeline) -> None:
    out = pipe(CAPTION, neighbours=["bird-05", "bird-02"], weights=[2, 1], seed=11)
    wanted = "data:image/png;base64," + base64.b64encode(out.png()).decode()
    visitor, page, address = desk, desk.page, desk.address
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.go(f"{address}?r={out.recipe.to_url()}")
    page.wait_for_selector('.md-result[data-seed="11"]')
    assert page.get_attribute("#result .md-result", "src") == wanted
    wait_cards(visitor, ["bird-05", "bird-02"])
    assert page.input_value("#seed input") == "11"
    assert visitor.generate().decode() == wanted
    page.click("#result [data-link]")
    visitor.wait_text("#result [data-link]", "Copied")
    shared = page.evaluate("navigator.clipboard.readText()")
    assert Recipe.from_url(shared.split("?r=")[1]) == out.recipe

    visitor.go(f"{address}?r=nonsense")
    visitor.wait_text("#status .md-error", "Wanted:")
    page.get_by_role("tab", name="History").click()
    page.set_input_files("#recipe-drop input", as_file(b"\x89PNG no"))
    visitor.wait_text("#status", "PNG")
    page.set_input_files("#recipe-drop input", as_file(out.png()))
    page.wait_for_selector('#result .md-result[data-seed="11"]')
    assert page.get_attribute("#result .md-result", "src") == wanted
    page.get_by_role("tab", name="History").click()
    visitor.put_away("#status p")  # which speaks of a recipe, too
    page.fill("#recipe-text input, #recipe-text textarea", '{"schema": "<b>"}')
    page.click("#recipe-read")
    visitor.wait_text("#status .md-error", "recipe")
    page.fill("#recipe-text input, #recipe-text textarea", out.recipe.to_json())
    page.click("#recipe-read")
    visitor.wait_text("#inspection", "bird-05")


def test_without_a_clipboard_the_link_is_there_to_copy_by_hand(desk: Visitor) -> None:
    visitor = ready(desk, 1)
    page = visitor.page
    made = recipe_of(visitor.generate())
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.click("#result [data-link]")
    page.click("#result [data-link]")
    offered = page.locator("#result .md-by-hand input")
    assert offered.count() == 1
    assert Recipe.from_url(offered.input_value().split("?r=")[1]) == made
    assert page.evaluate("String(getSelection())") == offered.input_value()
    assert page.inner_text("#result [data-link]") == "Copy link"


DROP = """([selector, content, name, type]) => {
    const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name, {type}));
    return ["dragover", "drop"].map(kind => !document.querySelector(selector).dispatchEvent(
        new DragEvent(kind, {dataTransfer, bubbles: true, cancelable: true})));
}"""


def test_a_file_dropped_anywhere_does_not_leave_the_page(desk: Visitor, pipe: MemoryDrivenPipeline) -> None:
    out = pipe(CAPTION, seed=11)
    page = ready(desk, 1).page
    content = base64.b64encode(out.png()).decode()
    assert page.evaluate(DROP, ["#caption", content, "x.txt", "text/plain"]) == [True, True]
    assert page.locator("#recipe-drop:visible").count() == 0
    assert page.evaluate(DROP, ["#caption", content, "x.png", "image/png"]) == [True, True]
    page.wait_for_selector('#result .md-result[data-seed="11"]')
    assert recipe_of(page.get_attribute("#result .md-result", "src").encode()) == out.recipe


def test_near_by_pictures_are_kept_with_their_noise(desk: Visitor, shoot: Shoot) -> None:
    visitor = ready(desk, 1)
    page = visitor.page
    visitor.keep_seed("40")
    own = visitor.generate()
    page.click('#result [data-press="#make-near"]')
    page.wait_for_function("document.querySelectorAll('#grid button.md-tile').length === 9")
    visitor.wait_text("#grid", "z alone:")
    shoot(page, "nearby-1280.png")
    page.click('#grid button[title="Variation 3"]')
    visitor.wait_text("#steps", "step 1 away")
    near = page.get_attribute("#result .md-result", "src").encode()
    assert near != own
    (step,) = recipe_of(near).variations
    assert step.seed == 3_040, "the third z of this seed's own"
    assert visitor.generate() == near
    page.click('#steps [data-act="steady"]')
    page.wait_for_selector("#steps p", state="detached")
    assert visitor.generate() == own
