"""How long a visitor waits, in a real browser: from a key to the cards, from a press to pictures.

    python -m benchmarks.app_latency --checkpoint checkpoints/aviary --repeats 20

The page's own clock starts at the event and stops at the frame after the page has changed. Needs
Chromium and playwright (requirements-dev.txt).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from pathlib import Path
from typing import Any

from tqdm import trange

from memdriven.ui import app, state
from tests.ui.conftest import BROWSERS, Visitor

WATCH = """() => {
  const html = selector => document.querySelector(selector + ' .html-container')?.innerHTML ?? '';
  const shown = selector => () => document.querySelector(selector) !== null;
  const panels = {key: '#memory', frame: '#result', first: '#result', last: '#result',
                  grid: '#status'};
  const ready = {key: () => true, frame: () => true, first: shown('.md-result'),
                 last: shown('.md-result[data-complete="true"]'),
                 grid: () => html('#status').includes('GRID')};
  window.waits = {};
  const start = (...names) => {
    performance.clearResourceTimings();
    for (const name of names)
      window.waits[name] = {start: performance.now(), end: null, before: html(panels[name])};
  };
  const look = () => {
    for (const [name, wait] of Object.entries(window.waits))
      wait.changed ||= html(panels[name]) !== wait.before;
    requestAnimationFrame(() => {
      for (const [name, wait] of Object.entries(window.waits))
        if (wait.end === null && wait.changed && ready[name]())
          wait.end = performance.now() - wait.start;
    });
  };
  for (const selector of new Set(Object.values(panels)))
    new MutationObserver(look).observe(document.querySelector(selector),
        {childList: true, subtree: true, characterData: true, attributes: true});
  document.querySelector('#caption textarea').addEventListener('input', event => {
    if (event.isTrusted) start('key');
  }, true);
  document.addEventListener('click', event => {
    if (event.target.closest('#make-grid')) start('grid');
    if (!event.target.closest('#generate')) return;
    document.querySelector('.md-result')?.remove();
    start('frame', 'first', 'last');
  }, true);
}""".replace("GRID", "Nine pictures in ")
SERVER = """() => performance.getEntriesByType('resource').filter(each =>
    each.name.includes('/run/predict')).map(each => each.duration).at(-1) ?? null"""


def main() -> None:
    """Read the command line, serve the page, visit it, and print a table."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/aviary"))
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    folder = arguments.checkpoint.resolve()
    offered = state.ModelRegistry([folder])
    items = offered.get(folder.name).bank.items
    captions = [items[n * 37 % len(items)].captions[0] for n in range(arguments.repeats)]
    page = app.build(offered)
    address = app.launch(page)
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as driver:
        browser: Any = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        waits = openings(browser, address, arguments.repeats)
        visitor = Visitor(browser, address)
        visitor.open(viewport={"width": 1280, "height": 860})
        waits |= visit(visitor, captions)
        browser.close()
    page.close(verbose=False)
    print("| wait | median ms | 90 % within ms | n |\n|---|---|---|---|")
    for name, some in waits.items():
        late = statistics.quantiles(some, n=10)[-1]
        print(f"| {name} | {statistics.median(some):.0f} | {late:.0f} | {len(some)} |")
    if visitor.faults:
        raise SystemExit("\n".join(visitor.faults))


def openings(browser: Any, address: str, repeats: int) -> dict[str, list[float]]:
    """Return the waits, by the browser's clock, for the first picture and for the page to be in use."""
    waits: dict[str, list[float]] = {"opening to the first picture": [], "opening to the page in use": []}
    for _ in trange(repeats, desc="openings"):
        context = browser.new_context(viewport={"width": 1280, "height": 860})
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("#generate")
        page.wait_for_function("!document.querySelector('#md-still')")
        used = page.evaluate("performance.now()")
        # All that the HTML holds is painted in one frame.
        painted = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        for some, value in zip(waits.values(), (page.evaluate(painted), used), strict=True):
            some.append(float(value))
        context.close()
    return waits


def visit(visitor: Visitor, captions: list[str]) -> dict[str, list[float]]:
    """Return the waits by name: keys, the request within, first and last stage, and the grid."""
    page = visitor.page
    page.evaluate(WATCH)
    waits: dict[str, list[float]] = {
        "key to cards": [],
        "of it, the request": [],
        "Generate to the empty frame": [],
        "Generate to the first stage": [],
        "Generate to the last stage": [],
        "nine variations": [],
    }
    for number in trange(-2, len(captions), desc="captions"):  # two to warm up
        caption = captions[number]
        visitor.write(caption[:-2])
        page.wait_for_timeout(700)
        page.locator("#caption textarea").press_sequentially(caption[-2])
        page.wait_for_timeout(700)
        key, request = ended(visitor, "key"), page.evaluate(SERVER)
        page.click("#generate")
        page.wait_for_function("window.waits.last.end !== null")
        painted = [ended(visitor, name) for name in ("frame", "first", "last")]
        if number >= 0:
            for name, value in zip(waits, (key, request, *painted), strict=False):
                if value is not None:  # no change of the cards is no wait
                    waits[name].append(value)
    page.get_by_role("tab", name="Diversity").click()
    for number in range(max(3, len(captions) // 4)):
        visitor.keep_seed(str(number))
        page.wait_for_timeout(500)
        page.click("#make-grid")
        page.wait_for_function("window.waits.grid.end !== null")
        waits["nine variations"].append(ended(visitor, "grid") or 0.0)
    return waits


def ended(visitor: Visitor, name: str) -> float | None:
    """Return how long a wait was, in ms; None for one that has not ended."""
    found = visitor.page.evaluate("name => window.waits[name]?.end ?? null", name)
    return None if found is None else float(found)


if __name__ == "__main__":
    main()
