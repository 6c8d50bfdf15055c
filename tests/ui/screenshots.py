"""Pictures of every tab for the README, taken on the walk that the tests take.

python -m tests.ui.screenshots --checkpoint checkpoints/aviary --out assets
"""

from __future__ import annotations

import argparse
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from tests.ui.conftest import BROWSERS, Visitor
from tests.ui.walk import walk

VIEW = {"width": 1280, "height": 860}


def take(visitor: Visitor, path: Path) -> None:
    """Write the top of the page as it is on screen, with nothing under the pointer.

    Without the status, which mostly says how long this machine took.
    """
    page = visitor.page
    page.mouse.move(0, 0)
    page.evaluate("() => { document.activeElement?.blur(); scrollTo(0, 0); }")
    page.wait_for_timeout(400)  # until what has just come has faded in
    shown = Image.open(BytesIO(page.screenshot(style="#status { visibility: hidden }"))).convert("RGB")
    shown.save(path, quality=70, method=6)


def main() -> None:
    """Serve a checkpoint, walk through its tabs, and write a picture of each."""
    from playwright.sync_api import sync_playwright

    from memdriven.ui import app, state

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/aviary"))
    parser.add_argument("--out", type=Path, default=Path("assets"))
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    # Only this checkpoint is on the shelf, so that what lies beside it leaves no trace.
    folder = chosen.checkpoint.resolve()
    page = app.build(state.ModelRegistry([folder]), alone=True)
    address = app.launch(page)
    with sync_playwright() as driver:
        browser: Any = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        visitor = Visitor(browser, address)
        visitor.open(viewport=VIEW)
        for name in walk(visitor):
            path = chosen.out / f"{name}.webp"
            if name == "app":  # so that noise is in the picture, too
                visitor.page.click("#memory-fold > :first-child button")
            take(visitor, path)
            print(path, flush=True)
        browser.close()
    page.close(verbose=False)
    if visitor.faults:
        raise SystemExit("\n".join(visitor.faults))


if __name__ == "__main__":
    main()
