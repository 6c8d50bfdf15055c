"""Memory of the app over many pictures: the page is served, and programs ask it for them.

    python -m benchmarks.app_memory --checkpoint checkpoints/aviary --count 500

Sixteen visitors ask in turn, each time with another caption of the memory and another seed. The
first pictures, which fill caches, come before the first figure. A further visitor costs what
Gradio keeps of a session, told apart at the end.
"""

from __future__ import annotations

import argparse
import gc
import json
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import torch
from tqdm import tqdm

from memdriven.ui import app, state

VISITORS, WARM, FURTHER = 16, 32, 20


def main() -> None:
    """Read the command line, serve the page, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/aviary"))
    parser.add_argument("--count", type=int, default=500)
    arguments = parser.parse_args()
    folder = arguments.checkpoint.resolve()
    offered = state.Shelf([state.Entry(folder.name, folder)])
    items = offered.get(folder.name).bank.items
    page = app.build(offered)
    address = app.launch(page)
    figures = []
    for number in tqdm(range(-WARM, arguments.count), "pictures"):
        if number % 100 == 0:
            figures.append((number, *held(), tensors()))
        caption = items[number * 37 % len(items)].captions[0]
        ask(address, caption, number + WARM, f"visitor-{number % VISITORS}")
    figures.append((arguments.count, *held(), tensors()))
    for number, own, mapped, alive in figures:
        print(
            f"{number:>5} pictures  {own + mapped:7.1f} MB resident, {mapped:.1f} of it mapped "
            f"from files  {alive:,} tensors"
        )
    print(
        f"grown by {figures[-1][1] - figures[0][1]:.1f} MB, and "
        f"{figures[-1][2] - figures[0][2]:.1f} mapped from files"
    )
    for number in range(FURTHER):
        ask(address, items[0].captions[0], number, f"further-{number}")
    print(f"{(held()[0] - figures[-1][1]) / FURTHER:.2f} MB a further visitor")
    page.close(verbose=False)


def ask(address: str, caption: str, seed: int, visitor: str) -> dict[str, Any]:
    """Return what a program gets that asks for one picture."""
    url = f"{address}gradio_api/call/generate"
    data = [caption, "sentence-sentence", 1, seed, None, None, 1.0, 1]
    body = json.dumps({"data": data, "session_hash": visitor}).encode()
    with urlopen(Request(url, body, {"Content-Type": "application/json"})) as answer:
        event = json.load(answer)["event_id"]
    with urlopen(f"{url}/{event}") as stream:
        *_, kind, made = stream.read().decode().split("\n\n")[-2].split("\n")
    if kind != "event: complete":
        raise SystemExit(f"no picture for {caption!r}: {made}")
    return dict(json.loads(made.removeprefix("data: "))[0])


def held() -> tuple[float, float]:
    """Return the megabytes of memory that are this process's own, and of files (Linux)."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    kilobytes = {
        name: value.split()[0]
        for name, value in (line.split(":") for line in lines if line.startswith("Rss"))
    }
    own, mapped = (int(kilobytes[name]) * 1024 / 1e6 for name in ("RssAnon", "RssFile"))
    return own, mapped


def tensors() -> int:
    """Return how many tensors are alive."""
    gc.collect()
    return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())


if __name__ == "__main__":
    main()
