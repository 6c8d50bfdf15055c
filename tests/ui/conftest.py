"""A served page, and a browser that notices errors and requests that leave the machine."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from memdriven.models.generator import Stage
from memdriven.pipeline.output import PipelineOutput
from memdriven.pipeline.pipeline import MemoryDrivenPipeline

if TYPE_CHECKING:
    from memdriven.ui import gr
    from memdriven.ui.queue import FairQueue
    from memdriven.ui.state import ModelRegistry

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REQUIRED = "MEMDRIVEN_REQUIRE_BROWSER"
"""Set to 1, this variable turns a missing browser from a skipped test into a failed one."""
DESK = {"width": 1280, "height": 900}
HOME = ("127.0.0.1", "localhost", "::1", "0.0.0.0", "::", None)


class Outside:
    """Every address beyond this machine that Python code asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def refuse(self, host: object) -> None:
        if isinstance(host, bytes):
            host = host.decode()
        if host not in HOME and host != socket.gethostname():
            self.asked.append(str(host))
            raise OSError(f"the tests do not go to {host}")


@pytest.fixture(scope="session")
def outside() -> Iterator[Outside]:
    """Refuse and record connections and name look-ups that leave the machine."""
    watch = Outside()
    look_up = socket.getaddrinfo
    originals = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex")}

    def guarded(original: Callable[..., Any]) -> Callable[..., Any]:
        def connect(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                watch.refuse(address[0])
            return original(self, address)

        return connect

    def guarded_look_up(host: Any, *rest: Any, **named: Any) -> Any:
        watch.refuse(host)
        return look_up(host, *rest, **named)

    patch = pytest.MonkeyPatch()
    for name, original in originals.items():
        patch.setattr(socket.socket, name, guarded(original))
    patch.setattr(socket, "getaddrinfo", guarded_look_up)
    yield watch
    patch.undo()


@pytest.fixture(scope="session")
def chromium(outside: Outside) -> Iterator[Any]:
    """Return the system's Chromium, driven by playwright."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        explain = "browser tests need Chromium (apt-get install chromium) and playwright"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(explain)
        pytest.skip(explain)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def loaded(pipe: MemoryDrivenPipeline) -> None:
    """Let the page's functions answer with the miniature checkpoint."""
    from memdriven.ui import state

    state.use(pipe)


@pytest.fixture(scope="session")
def offered(
    pipe: MemoryDrivenPipeline,
    tiny_checkpoint: Path,
    fading_checkpoint: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> ModelRegistry:
    """Return a shelf of the miniature checkpoint, another, a fading one, and one without memory."""
    from memdriven.ui import state

    beside = tmp_path_factory.mktemp("shelf")
    for name in ("other", "unbuilt"):
        shutil.copytree(tiny_checkpoint, beside / name)
    shutil.copytree(fading_checkpoint, beside / "fading")
    shutil.rmtree(beside / "unbuilt" / "memory")
    (beside / "other/examples.json").write_text('{"captions": ["a blue bird"]}')
    offered = state.ModelRegistry(state.find_checkpoints([tiny_checkpoint, beside / "other"]), "cpu")
    offered.put(pipe)
    return offered


def serve(offered: MemoryDrivenPipeline | ModelRegistry) -> tuple[gr.Blocks, str]:
    """Serve the page, with or without a browser, and return it with its address.

    Outside of a running event loop Gradio would make several and close none. The loop has a thread
    of its own, as the main one's may be the browser's.
    """
    from memdriven.ui import app
    from memdriven.ui.queue import FairQueue

    async def launch() -> tuple[gr.Blocks, str]:
        page = app.build(offered, alone=True)
        return page, app.launch(page)

    with ThreadPoolExecutor(1) as thread:
        page, address = thread.submit(lambda: asyncio.run(launch())).result()
    for line in FairQueue.pages:
        line.sleep_when_free = 0.01  # Gradio looks for events a thousand times a second, as long as it lives
    return page, address


@pytest.fixture(scope="session")
def address(offered: ModelRegistry, outside: Outside) -> Iterator[str]:
    """Serve the page over the shelf; return its address."""
    page, address = serve(offered)
    yield address
    page.close(verbose=False)


def wait_closely(wait: Callable[..., Any], selector: str, **options: Any) -> Any:
    """Wait for a selector as playwright does; for the first seconds it asks ten times a second.

    In waits that may be longer it soon asks only twice a second.
    """
    from playwright.sync_api import TimeoutError as TooLate

    with suppress(TooLate):
        return wait(selector, timeout=2_400, **options)
    return wait(selector, **options)


class Visitor:
    """One browser context with the page open, and what went wrong in it.

    When it has left, another may come in its place: a browser that has read the scripts before opens the page
    in a third of the time.
    """

    def __init__(self, browser: Any, address: str) -> None:
        self.address = address
        # Whoever wants it still: a page in motion is drawn sixty times a second (`in_motion` is for that).
        self.context = browser.new_context(locale="en-GB", reduced_motion="reduce")
        self.context.set_default_timeout(60_000)
        self.page = self.context.new_page()
        # Of its own playwright would have every frame drawn to ask a function, and a selector twice a second.
        self.page.wait_for_function = partial(self.page.wait_for_function, polling=100)
        self.page.wait_for_selector = partial(wait_closely, self.page.wait_for_selector)
        self.faults: list[str] = []
        self._leaving = False
        self.expected = ""
        """Words of a fault that a test brings about."""
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("request", lambda request: self._request(request.url, address))

    def open(
        self,
        query: str = "",
        folded: bool = False,
        *,
        viewport: dict[str, int] | None = None,
        permissions: Sequence[str] = (),
    ) -> None:
        """Open the page, and unless `folded` the settings that are folded at first."""
        self.page.set_viewport_size(viewport or {"width": 1280, "height": 720})
        if permissions:
            self.context.grant_permissions(permissions)
        self.page.goto(self.address + query)
        self.page.wait_for_selector("#generate", state="attached" if query else "visible")
        self.page.wait_for_selector("#md-still", state="detached")
        if not folded:
            self.unfold()

    def leave(self) -> list[str]:
        """Leave nothing behind in the browser, and return what went wrong."""
        faults, self.faults = self.faults, []
        for other in self.context.pages[1:]:
            other.close()
        self.page.unroute_all(behavior="ignoreErrors")
        self.page.emulate_media(color_scheme="light", reduced_motion="reduce")
        self.context.clear_permissions()
        self.page.goto(f"{self.address}favicon.ico")  # of the same origin, and without a script
        self.page.evaluate("localStorage.clear(); sessionStorage.clear()")
        self.faults, self.expected = [], ""
        return faults

    def unfold(self) -> None:
        """Open the settings that are folded at first."""
        # A title may be there before the script that listens to it: each is pressed until it opens.
        self.page.wait_for_function("""() => {
            const folds = [...document.querySelectorAll('#folds .md-fold')];
            const closed = folds.filter((fold) => !fold.classList.contains('md-open'));
            closed.forEach((fold) => fold.querySelector('.md-fold-title button')?.click());
            return folds.length === 3 && !closed.length;
        }""")

    def go(self, url: str) -> None:
        """Leave for another address; the streams that this cuts off are no fault."""
        self._leave(lambda: self.page.goto(url))
        self.unfold()

    def back(self) -> None:
        """Press the browser's back button, to a page that was left."""
        self._leave(self.page.go_back)

    def _leave(self, act: Callable[[], Any]) -> None:
        self._leaving = True
        act()
        self.page.wait_for_selector("#generate", state="attached")
        self._leaving = False

    def _console(self, message: Any) -> None:
        cut_off = self._leaving and re.search("AbortError|Connection errored", message.text)
        expected = self.expected and self.expected in message.text
        if message.type in ("error", "warning") and not (cut_off or expected):
            self.faults.append(f"console: {message.text}")

    def _request(self, url: str, address: str) -> None:
        if not url.startswith((address, "data:", "blob:")):
            self.faults.append(f"request: {url}")

    def write(self, caption: str) -> None:
        self.page.fill("#caption textarea", caption)

    def begin(self, caption: str, *, seed: str = "", k: int = 1, tries: int = 1) -> None:
        """Set what a picture is asked for with, whatever the test before has left, on the first tab."""
        page = self.page
        self.open_tab("Picture")
        self.unfold()
        if page.locator('#memory [data-act="release"]').count():
            page.click('#memory [data-act="release"]')
            page.wait_for_selector('#memory [data-act="release"]', state="detached")
        page.click("#source label:has-text('Retrieved')")
        for selector, value in (("#k", str(k)), ("#tries", str(tries))):
            if page.input_value(f"{selector} input[type=number]") != value:
                page.fill(f"{selector} input[type=number]", value)
        self.write(caption)
        page.wait_for_function("k => document.querySelectorAll('#memory .md-card').length === k", arg=k)
        if seed:
            self.keep_seed(seed)
        elif page.is_checked("#keep input"):
            page.fill("#seed input", "")
            page.wait_for_selector("#keep input:not(:checked)")
        self.put_away("#status p")

    def forget(self) -> None:
        """Let the browser keep no picture from before, and the History tab show none."""
        self.rest()  # or one that is yet to come is kept
        self.page.evaluate("localStorage.clear(); dispatchEvent(new Event('storage'))")

    def put_away(self, selector: str) -> None:
        """Take what is shown off the page, so that what is waited for is not what was there before.

        A panel that is then given just what it had is not drawn again.
        """
        self.page.evaluate("all => document.querySelectorAll(all).forEach(one => one.remove())", selector)

    def open_tab(self, name: str) -> None:
        """Open a tab by its whole label."""
        self.page.get_by_role("tab", name=name, exact=True).click()

    def generate(self) -> bytes:
        """Press Generate and return the finished picture's address (a data URI)."""
        self.put_away(".md-result")
        self.page.click("#generate")
        done = self.page.wait_for_selector('.md-result[data-complete="true"]')
        return str(done.get_attribute("src")).encode()

    def keep_seed(self, written: str) -> None:
        """Write a seed; the page then keeps it."""
        self.page.fill("#seed input", written)
        self.page.wait_for_selector("#keep input:checked")

    def use_model(self, name: str) -> None:
        """Switch to another checkpoint and wait until it is in use."""
        self.page.click("#checkpoint input")
        self.page.click(f"[role=option]:has-text('{name}')")
        self.wait_text("#facts", f"{name}: ")

    def rest(self) -> None:
        """Wait until the server paints nothing, for nobody."""
        while self._works():
            self.page.wait_for_timeout(20)

    def wait_for_work(self) -> None:
        """Wait until the server paints for somebody."""
        while not self._works():
            self.page.wait_for_timeout(20)

    def _works(self) -> bool:
        return any(self.line.active_jobs)

    @property
    def line(self) -> FairQueue:
        """The queue of this page: others of this process, which other tests have built, may live on."""
        from memdriven.ui.queue import FairQueue

        return next(
            each for each in FairQueue.pages if getattr(each.blocks, "local_url", None) == self.address
        )

    def answered(self, name: str = "typed") -> Any:
        """Return a context that ends when a handler beside the queue, asked in it, has answered."""
        handlers = self.line.blocks.fns

        def by_name(answer: Any) -> bool:
            if "/gradio_api/run/" not in answer.url:
                return False
            return bool(handlers[answer.request.post_data_json["fn_index"]].name == name)

        return self.page.expect_response(by_name)

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def reload(self) -> None:
        """Load the page again; the streams that this cuts off are no fault."""
        self._leave(self.page.reload)

    def wait_text(self, selector: str, words: str) -> None:
        self.page.wait_for_function(
            "([s, w]) => document.querySelector(s)?.innerText.includes(w)", arg=[selector, words]
        )


@pytest.fixture(scope="session")
def idle() -> list[Visitor]:
    """Return the visitors who have left."""
    return []


@pytest.fixture
def visit(
    chromium: Any, address: str, idle: list[Visitor], offered: ModelRegistry, outside: Outside
) -> Iterator[Callable[..., Visitor]]:
    """Return a function that opens the page; at the end nothing must have gone wrong in any."""
    from memdriven.ui import state

    state.use(offered)  # tests of handlers leave others behind in this process
    outside.asked.clear()  # what these asked for was refused as they expect
    visitors: list[Visitor] = []

    def open_page(*given: Any, **options: Any) -> Visitor:
        visitors.append(idle.pop() if idle else Visitor(chromium, address))
        visitors[-1].open(*given, **options)
        return visitors[-1]

    yield open_page
    faults = [fault for visitor in visitors for fault in visitor.leave()]
    idle.extend(visitors)
    assert faults == []
    assert outside.asked == []


@pytest.fixture
def unopened(chromium: Any, address: str, idle: list[Visitor]) -> Iterator[Any]:
    """Return a page of a browser that has read the scripts before; nothing is opened in it, and it moves."""
    visitor = idle.pop() if idle else Visitor(chromium, address)
    page = visitor.context.new_page()
    page.emulate_media(reduced_motion="no-preference")
    yield page
    visitor.leave()
    idle.append(visitor)


@pytest.fixture(scope="module")
def opened(chromium: Any, address: str, idle: list[Visitor], offered: ModelRegistry) -> Iterator[Visitor]:
    """Open the page once for a module: opening takes longer than most that is tried on it."""
    with opened_once(chromium, address, idle, offered) as visitor:
        yield visitor


@pytest.fixture(scope="module")
def opened_beside(
    chromium: Any, address: str, idle: list[Visitor], offered: ModelRegistry
) -> Iterator[Visitor]:
    """Open a page of another visitor once for a module."""
    with opened_once(chromium, address, idle, offered) as visitor:
        yield visitor


@contextmanager
def opened_once(browser: Any, address: str, idle: list[Visitor], offered: ModelRegistry) -> Iterator[Visitor]:
    """Open the page as it is at first, settings folded, with its picture; leave it at the end."""
    from memdriven.ui import state

    state.use(offered)
    visitor = idle.pop() if idle else Visitor(browser, address)
    visitor.open(folded=True, viewport=DESK)
    visitor.page.wait_for_selector('.md-result[data-complete="true"]')
    yield visitor
    visitor.leave()
    idle.append(visitor)


@pytest.fixture
def desk(opened: Visitor, offered: ModelRegistry, outside: Outside) -> Iterator[Visitor]:
    """Return the module's page as the test before left it, at 1280 px; nothing must go wrong on it."""
    with watched(opened, offered, outside):
        yield opened


@pytest.fixture
def in_motion(desk: Visitor) -> Iterator[None]:
    """Let the module's page move: what is on its way pulses, what comes is scrolled to smoothly."""
    desk.page.emulate_media(reduced_motion="no-preference")
    yield
    desk.page.emulate_media(reduced_motion="reduce")


@pytest.fixture
def guest(opened_beside: Visitor, offered: ModelRegistry, outside: Outside) -> Iterator[Visitor]:
    """Return the module's page of another visitor, like `desk`."""
    with watched(opened_beside, offered, outside):
        yield opened_beside


@contextmanager
def watched(visitor: Visitor, offered: ModelRegistry, outside: Outside) -> Iterator[None]:
    """Offer the shelf to a page that stays open; at the end nothing must have gone wrong on it."""
    from memdriven.ui import state

    if state.registry() is not offered:  # tests of handlers leave others behind in this process
        state.use(offered)
    visitor.page.set_viewport_size(DESK)
    outside.asked.clear()
    yield
    faults, visitor.faults, visitor.expected = visitor.faults, [], ""
    assert faults == []
    assert outside.asked == []


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every stage time to be stopped in."""
    original = MemoryDrivenPipeline.paint

    def slowly(*given: Any) -> Iterator[Stage]:
        for stage in original(*given):
            time.sleep(0.3)
            yield stage

    monkeypatch.setattr(MemoryDrivenPipeline, "paint", slowly)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Return what lets pictures be painted beyond their first stage; at first it is open."""
    original, opened = MemoryDrivenPipeline.stream, threading.Event()

    def held(*given: Any, **named: Any) -> Iterator[PipelineOutput]:
        for output in original(*given, **named):
            yield output
            if output.stages:
                opened.wait(120)

    monkeypatch.setattr(MemoryDrivenPipeline, "stream", held)
    opened.set()
    yield opened
    opened.set()


@pytest.fixture
def presses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list in which each handler's name stands that the page asks the queue for."""
    from memdriven.ui.queue import FairQueue

    names, push = list[str](), FairQueue.push

    async def noticed(self: FairQueue, body: Any, *rest: Any, **named: Any) -> Any:
        names.append(self.blocks.fns[body.fn_index].name)
        return await push(self, body, *rest, **named)

    monkeypatch.setattr(FairQueue, "push", noticed)
    return names


Shoot = Callable[[Any, str], None]


@pytest.fixture(scope="session")
def shoot() -> Shoot:
    """Return a function that writes a picture of a whole page to the folder $MEMDRIVEN_SHOTS, if set."""
    folder = os.environ.get("MEMDRIVEN_SHOTS")

    def shoot(page: Any, name: str) -> None:
        if folder:
            page.screenshot(path=Path(folder) / name, full_page=True)  # which makes the folder

    return shoot


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list in which each noise or seed that a picture is painted with will stand."""
    seen: list[Any] = []
    original = MemoryDrivenPipeline.paint

    def watch(self: MemoryDrivenPipeline, prepared: Any, noise: Any) -> Any:
        seen.append(noise)
        return original(self, prepared, noise)

    monkeypatch.setattr(MemoryDrivenPipeline, "paint", watch)
    return seen
