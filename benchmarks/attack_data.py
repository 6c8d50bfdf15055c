"""Hostile and clumsy folders, archives and images against every `prepare` reader.

    python -m benchmarks.attack_data [--seed 0] [--images 400]

Each case is prepared in this process; a case passes when it ends in a data set or in a
`MemDrivenError`, leaves nothing behind in the latter, and nothing of a secret file lies in the
result. Prints the counts and every case that did not pass; exits 1 if there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from memdriven.data.folder import prepare_folder
from memdriven.data.images import decode_image
from memdriven.data.photos import prepare_coco, prepare_cub, prepare_flowers
from memdriven.errors import MemDrivenError
from tests.data import layouts

SECRET = "the secret of the house"
LIMIT = 20
"""Seconds that a case may take."""
Case = tuple[str, Callable[[Path], Any]]


def _picture(form: str = "PNG", size: int = 24, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((size, size), 80).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def _folder(work: Path, files: dict[str, bytes]) -> Path:
    source = work / "src"
    for name, content in {"a.png": _picture(), "b.png": _picture(), **files}.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return source


def _prepared(work: Path, files: dict[str, bytes], **options: Any) -> Any:
    return prepare_folder(_folder(work, files), work / "out", image_size=16, **options)


STRANGE: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 10**400, "", " ", "\0", "\ud800", "é" * 300, "../x", "/etc/passwd", "a/" * 900),
    *(
        "x" * 10**5,
        [],
        [[]],
        {},
        {"a": 1},
        ["a", None],
        "C:\\a.png",
        "https://x/a.png",
        "\u202ea.png",
        "NaN",
        "1e999",
    ),
)


def tables() -> Iterator[Case]:
    """Every column with every strange value; broken files; separators; quotes."""
    for column in ("file_name", "text", "split", "class", "box"):
        for number, value in enumerate(STRANGE):
            row = {"file_name": "a.png", "text": "red", column: value}
            content = (json.dumps(row) + "\n" + json.dumps({"file_name": "b.png", "text": "x"})).encode()
            yield f"jsonl {column} {number}", lambda w, c=content: _prepared(w, {"metadata.jsonl": c})
    for sides in (
        ["NaN"] * 4,
        [1e308] * 4,
        [-1e308, 0, 1, 1],
        ["9" * 5000, 1, 1, 1],
        [1, 2, 3, 4, 5],
        [0, 0, -1, 5],
    ):
        text = ", ".join(str(side) for side in sides)
        content = f'{{"file_name": "a.png", "text": "x", "box": [{text}]}}'.encode()
        yield f"box {text[:20]}", lambda w, c=content: _prepared(w, {"metadata.jsonl": c})
    texts = {
        "empty": "",
        "header alone": "file_name,text\n",
        "deep JSON": "[" * 100_000,
        "long number": '{"file_name": "a.png", "text": "x", "class": ' + "9" * 5000 + "}",
        "two quotes": 'file_name,text\na.png,"""\nb.png,""\n',
        "open quotes": "file_name,text\n" + 'a.png,"x\n' * 300,
        "huge field": "file_name,text\na.png," + "y" * 200_000 + "\n",
        "many columns": "file_name,text" + ",z" * 5000 + "\na.png,x\n",
        "zeros": "file_name,text\n\0\0\0\n",
        "carriage returns": "file_name,text\ra.png,x\rb.png,y\r",
        "only separators": ";;;;\n" * 50,
        "sep line": "sep=\n",
        "same column twice": "text,text,file_name\nx,y,a.png\n",
    }
    for ending in ("csv", "tsv", "jsonl", "json"):
        for name, text in texts.items():
            content = text.encode()
            yield f"{ending} {name}", lambda w, e=ending, c=content: _prepared(w, {f"metadata.{e}": c})
    rng = random.Random(0)
    base = b'file_name,text,split,box\na.png,"red, small",train,1 2 3 4\nb.png,blue,test,\n'
    for number in range(60):
        content = bytearray(base)
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(len(content))] = rng.choice(b"\"\n,;\t\0\xff'x")
        yield f"csv mutated {number}", lambda w, c=bytes(content): _prepared(w, {"metadata.csv": c})


def names() -> Iterator[Case]:
    """Links, loops, deep folders, litter, permissions, sidecars."""

    def linked(work: Path, target: str, name: str = "link.png") -> Any:
        source = _folder(work, {"metadata.jsonl": json.dumps({"file_name": name, "text": "x"}).encode()})
        (work / "secret.png").write_bytes(_picture())
        (work / "secret.txt").write_text(SECRET)
        (source / "link.png").symlink_to(target)
        return prepare_folder(source, work / "out", image_size=16)

    for target in (
        "../secret.png",
        "../secret.txt",
        "link.png",
        "/",
        "/dev/zero",
        ".",
        "nowhere",
        "a.png",
        "/proc/self/mem",
    ):
        yield f"link to {target}", lambda w, t=target: linked(w, t)
        yield f"folder through {target}", lambda w, t=target: linked(w, t, "link.png/a.png")

    def beside(work: Path) -> Any:
        source = _folder(work, {})
        (work / "secret.txt").write_text(SECRET)
        (source / "a.txt").symlink_to("../secret.txt")
        (source / "b.txt").write_text("red")
        return prepare_folder(source, work / "out", image_size=16)

    yield "linked sidecar", beside

    def deep(work: Path) -> Any:
        source = _folder(work, {"metadata.jsonl": b'{"file_name": "a.png", "text": "x"}'})
        here = os.open(source, os.O_RDONLY)
        for _ in range(1500):
            os.mkdir("deep", dir_fd=here)
            inner = os.open("deep", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        os.close(here)
        return prepare_folder(source, work / "out", image_size=16)

    yield "1,500 folders deep", deep

    def fifo(work: Path) -> Any:
        source = _folder(work, {"metadata.jsonl": b'{"file_name": "pipe.png", "text": "x"}'})
        os.mkfifo(source / "pipe.png")
        return prepare_folder(source, work / "out", image_size=16)

    yield "a pipe as picture", fifo
    row = b'{"file_name": "a.png", "text": "x"}'
    yield (
        "bytes that are no UTF-8 in a name",
        lambda w: _prepared(w, {"metadata.jsonl": row, "\udcff\udcfe.png": b"x"}),
    )
    for size in (0, -5, 1, 10**9):
        yield (
            f"image size {size}",
            lambda w, s=size: prepare_folder(_folder(w, {"metadata.jsonl": row}), w / "out", image_size=s),
        )
    for name in ("\ud800", "x" * 5000, "\0", ""):
        yield f"data set called {name[:5]!r}", lambda w, n=name: _prepared(w, {"metadata.jsonl": row}, name=n)
    for fraction in (float("nan"), float("inf"), -1.0, 1.0, 0.999):
        yield (
            f"test fraction {fraction}",
            lambda w, f=fraction: _prepared(w, {"metadata.jsonl": row}, test_fraction=f),
        )


def archives() -> Iterator[Case]:
    """Zips and tars, changed byte by byte and made to hurt."""
    table = b'{"file_name": "a.webp", "text": "x"}'
    rng, picture = random.Random(1), _picture("WEBP")

    def packed(work: Path, content: bytes, ending: str) -> Any:
        return _prepared(work, {"metadata.jsonl": table, f"i{ending}": content}, images=f"i{ending}")

    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as made:
            made.writestr("a.webp", picture)
        whole = buffer.getvalue()
        places = [*range(min(40, len(whole)))][::4] + [len(whole) - n for n in range(1, 80, 6)]
        for place in (*places, *rng.sample(range(len(whole)), 6)):
            changed = bytearray(whole)
            changed[place] ^= 255
            yield f"zip {method} byte {place}", lambda w, c=bytes(changed): packed(w, c, ".zip")
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=mode) as tar:
            info = tarfile.TarInfo("a.webp")
            info.size = len(picture)
            tar.addfile(info, io.BytesIO(picture))
        whole = buffer.getvalue()
        for place in rng.sample(range(min(len(whole), 700)), 12):
            changed = bytearray(whole)
            changed[place] ^= 255
            yield f"tar {mode} byte {place}", lambda w, c=bytes(changed): packed(w, c, ".tar")
    for name in (
        "../../secret.png",
        "/tmp/x.png",
        "d/" * 1200 + "a.png",
        "n" * 3000 + ".png",
        "a\0b.png",
        "\ud800.png",
    ):
        for kind in (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "../secret.txt"
            buffer = io.BytesIO()
            with contextlib.suppress(UnicodeEncodeError), tarfile.open(fileobj=buffer, mode="w") as tar:
                tar.addfile(info)
            yield f"tar {kind!r} {name[:12]!r}", partial(packed, content=buffer.getvalue(), ending=".tar")
    for mtime in ("1e30", "nan", "-1e30", "x"):
        info = tarfile.TarInfo("a.png")
        info.pax_headers = {"mtime": mtime, "path": "a.png"}
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            tar.addfile(info)
        yield f"tar mtime {mtime}", partial(packed, content=buffer.getvalue(), ending=".tar")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a.webp", bytes(300 << 20))
    yield "zip bomb", partial(packed, content=buffer.getvalue(), ending=".zip")
    lying = buffer.getvalue().replace(struct.pack("<I", 300 << 20), struct.pack("<I", 100))
    yield "zip that lies of its size", lambda w, c=lying: packed(w, c, ".zip")


def official() -> Iterator[Case]:
    """CUB, flowers and COCO with strange numbers and names."""

    def cub(work: Path, file: str, content: str) -> Any:
        layouts.write_cub(work / "cub")
        (work / "cub/CUB_200_2011" / file).write_text(content)
        return prepare_cub(work / "out", archive=[work / "cub"], image_size=16)

    sides = ("nan", "inf", "-inf", "-99", "999", "1e308", "0", "9" * 5000, "x", "")
    for place in range(4):
        for side in sides:
            box = ["5", "5", "20", "20"]
            box[place] = side
            text = f"1 {' '.join(box)}\n2 0 0 60 40\n"
            yield f"cub box {place} {side[:6]}", lambda w, t=text: cub(w, "bounding_boxes.txt", t)
    for number in ("0", "-1", "3", "9" * 5000, "nan", ""):
        yield f"cub class {number[:5]}", lambda w, n=number: cub(w, "image_class_labels.txt", f"1 {n}\n2 2\n")
    for name in ("a" * 300, "../" * 5 + "x", "\\", "é" * 120):
        yield f"cub name {name[:6]}", lambda w, n=name: cub(w, "images.txt", f"1 001.Auk/{n}.jpg\n")

    def flowers(work: Path, folder: str, lists: str) -> Any:
        layouts.write_flowers(work / "f")
        layouts.write_text(work / "f/cvpr2016_flowers/text_c10" / folder / "image_00002.txt", "x\n")
        layouts.write_text(work / "f/cvpr2016_flowers/testclasses.txt", lists)
        return prepare_flowers(work / "out", archive=[work / "f"], image_size=16)

    for number in ("00006", "0", "103", "9" * 200, "-5", "x"):
        for lists in ("class_00006\n", "9" * 5000, "", "\0"):
            yield (
                f"flowers {number[:5]} {lists[:5]!r}",
                lambda w, n=number, t=lists: flowers(w, f"class_{n}", t),
            )

    def coco(work: Path, image: str, caption: str) -> Any:
        layouts.write_coco(work / "coco")
        listing = work / "coco/annotations/captions_train2014.json"
        listing.write_text(
            f'{{"images": [{{"id": {image}, "file_name": "COCO_train2014_000000000009.jpg"}}], '
            f'"annotations": [{{"image_id": {image}, "caption": {caption}}}]}}'
        )
        return prepare_coco(work / "out", archive=[work / "coco"], image_size=16)

    for image in ("9", "-1", "1" + "0" * 300, "9" * 5000, "1e999", "NaN", "[]", '"9"', "null"):
        for caption in ('"x"', '"\\ud800 bird"', "[]", "null", '""', f'"{"y" * 5000}"'):
            yield f"coco {image[:6]} {caption[:8]}", lambda w, i=image, c=caption: coco(w, i, c)


def run(case: Case, seconds: int) -> str:
    """Run a case in its own folder; return how it ended."""

    def late(*_: object) -> None:
        raise TimeoutError

    prepare = case[1]
    work = Path(tempfile.mkdtemp(prefix="attack-"))
    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # its bar
            prepare(work)
        held = b"".join(path.read_bytes() for path in (work / "out").rglob("*.json*") if path.is_file())
        return "LEAK" if SECRET.encode() in held else "accepted"
    except MemDrivenError as error:
        str(error).encode()
        left = [
            path.name
            for path in work.iterdir()
            if path.name not in ("src", "cub", "f", "coco", "secret.png", "secret.txt")
        ]
        return f"LEFT BEHIND {left}" if left else "refused"
    except TimeoutError:
        return "TIMEOUT"
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        return f"TRACEBACK {type(error).__name__}: {str(error)[:80]} ({place})"
    finally:
        signal.alarm(0)
        subprocess.run(["rm", "-rf", work], check=False)  # rmtree is recursive, and some are deep


def mutated_images(count: int, seed: int) -> Counter[str]:
    """Decode pictures of many kinds with bytes changed, cut and inserted."""
    rng = random.Random(seed)
    kinds = [
        _picture(form, 40, mode)
        for form, mode in (
            *(
                ("PNG", "RGB"),
                ("PNG", "P"),
                ("PNG", "LA"),
                ("PNG", "I;16"),
                ("JPEG", "RGB"),
                ("JPEG", "CMYK"),
            ),
            *(
                ("WEBP", "RGBA"),
                ("GIF", "P"),
                ("TIFF", "F"),
                ("TIFF", "CMYK"),
                ("BMP", "RGB"),
                ("AVIF", "RGB"),
            ),
            *(
                ("JPEG2000", "RGB"),
                ("PPM", "L"),
                ("PCX", "RGB"),
                ("SGI", "RGB"),
                ("QOI", "RGB"),
                ("ICO", "RGBA"),
                ("TGA", "RGB"),
            ),
        )
    ]
    found: Counter[str] = Counter()
    for number in range(count):
        content = bytearray(kinds[number % len(kinds)])
        for _ in range(rng.choice((1, 1, 3, 20))):
            content[rng.randrange(min(len(content), rng.choice((40, 200, 10**6))))] = rng.randrange(256)
        if rng.random() < 0.2:
            del content[rng.randrange(len(content)) :]
        try:
            decode_image(bytes(content), rng.choice(("x.png", "x.tga")))
            found["read"] += 1
        except MemDrivenError:
            found["refused"] += 1
        except Exception as error:
            found[f"TRACEBACK {type(error).__name__}: {str(error)[:80]}"] += 1
    return found


def main() -> None:
    """Run all cases and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=400, help="mutated images to decode")
    given = parser.parse_args()
    np.random.seed(given.seed)
    ends: Counter[str] = Counter()
    bad = []
    for case in chain(tables(), names(), archives(), official()):
        end = run(case, LIMIT)
        ends[end.partition(" ")[0]] += 1
        if end not in ("accepted", "refused"):
            bad.append(f"{case[0]}: {end}")
    images = mutated_images(given.images, given.seed)
    bad += [f"image: {end}" for end in images if end not in ("read", "refused")]
    print(f"{sum(ends.values())} folders and archives:", dict(ends))
    print(f"{given.images} mutated images:", dict(images))
    print(*bad, sep="\n")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
