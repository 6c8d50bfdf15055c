"""The rendered data set: its format, going on after damage, several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from torch import Tensor

from memdriven.aviary import prepare
from memdriven.aviary.prepare import Remake, Rendering, prepare_aviary, prepare_recoloured, prepare_resettings
from memdriven.aviary.render import render_birds
from memdriven.aviary.species import ATTRIBUTES, BirdSpec, all_species
from memdriven.aviary.wishes import NUMBERS
from memdriven.data.prepared import PreparedDataset
from memdriven.errors import DataError
from tests.small_world import write_world


def _make(out: Path, workers: int = 0) -> Path:
    return prepare_aviary(
        out,
        Rendering(image_size=32, workers=workers),
        train_per_species=2,
        test_per_species=1,
        validation_per_species=1,
        species_limit=1,
    )


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "progress" not in path.parts
    }


@pytest.fixture(scope="module")
def aviary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _make(tmp_path_factory.mktemp("aviary") / "birds")


def test_it_is_a_prepared_data_set(aviary: Path) -> None:
    data = PreparedDataset.open(aviary)
    assert (data.name, data.image_size, len(data)) == ("aviary", 32, 4)
    assert data.classes == [s.name for s in all_species()]
    assert [len(data.split(name)) for name in ("train", "test", "validation")] == [2, 1, 1]
    assert [item.class_id for item in data.items] == [0, 0, 150, 200]
    for item in data.items:
        assert data.load_image(item).size == (32, 32)
        assert item.class_id is not None
        assert item.class_name == data.classes[item.class_id]
        assert item.attributes.keys() == ATTRIBUTES.keys()
        assert all(item.attributes[name] in ATTRIBUTES[name] for name in ATTRIBUTES)
        assert len(item.captions) == len(item.caption_attributes) == 10
        for names in item.caption_attributes:
            assert names.keys() <= set(item.visible)
            assert names.items() <= dict(item.attributes).items()
    assert not list(aviary.rglob("*.tmp*"))


def test_a_damaged_data_set_is_completed(aviary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _contents(aviary)
    data = PreparedDataset.open(aviary)
    gone, cut = (data.image_path(item) for item in data.items[:2])
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:100])
    (aviary / "items.jsonl").unlink()
    log = next((aviary / "progress").rglob("*.jsonl"))
    log.write_text(log.read_text() + '{"index": 0, "cr')  # the line a killed run was writing
    rendered: list[tuple[int, int]] = []

    def counted(specs: list[BirdSpec], size: int) -> tuple[Tensor, Tensor]:
        rendered.extend((spec.species_id, spec.index) for spec in specs)
        return render_birds(specs, size)

    monkeypatch.setattr("memdriven.aviary.prepare.render_birds", counted)
    _make(aviary)
    assert rendered == [(0, 0), (0, 1)]
    assert _contents(aviary) == before
    rendered.clear()
    _make(aviary)
    assert rendered == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forks of processes with threads
def test_worker_processes_make_the_same_files(
    aviary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forking = multiprocessing.get_context("fork")  # which need not load everything anew
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: forking)
    assert _contents(_make(tmp_path / "again", workers=2)) == _contents(aviary)


def test_another_rendering_takes_the_header_away_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set that is cut short while it becomes another one is none, rather than a mixture."""
    out = tmp_path / "aviary"
    few = {"train_per_species": 1, "test_per_species": 1, "validation_per_species": 0, "species_limit": 1}
    first, second = (Rendering(image_size=16, workers=0, seed=seed) for seed in (0, 1))
    prepare_aviary(out, first, **few)
    assert len(PreparedDataset.open(out)) == 2
    monkeypatch.setattr(prepare, "_render", _stop)
    with pytest.raises(KeyboardInterrupt):
        prepare_aviary(out, first, **few)
    assert len(PreparedDataset.open(out)) == 2, "the same rendering only completes"
    with pytest.raises(KeyboardInterrupt):
        prepare_aviary(out, second, **few)
    with pytest.raises(DataError):
        PreparedDataset.open(out)
    monkeypatch.undo()
    prepare_aviary(out, second, **few)
    assert PreparedDataset.open(out).header["seed"] == 1


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("image_size", 7), ("image_size", 0), ("train_per_species", -1), ("species_limit", -1)),
        *(("seed", -1), ("workers", -2), ("per_image", -1)),
    ],
)
def test_numbers_that_cannot_be_are_told_before_anything_is_rendered(
    tmp_path: Path, name: str, value: int
) -> None:
    with pytest.raises(DataError, match=name.replace("_", " ")):
        if name in ("image_size", "seed", "workers"):
            Rendering(**{name: value})
        elif name == "per_image":
            Remake(per_image=value)
        else:
            prepare_aviary(tmp_path / "out", **{name: value})
    assert not (tmp_path / "out").exists()


def test_other_content_is_not_rendered_over(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/a.txt").write_text("dear")
    with pytest.raises(DataError, match="something else"):
        prepare_aviary(tmp_path / "letters", species_limit=1)
    write_world(tmp_path / "squares", train=2, test=1)
    with pytest.raises(DataError, match="small-world"):
        prepare_aviary(tmp_path / "squares", species_limit=1)


def test_a_data_set_of_wishes_names_its_memories(base: Path, tmp_path: Path) -> None:
    how = Remake(per_image=3, image_size=64, workers=0)
    out = prepare_recoloured(base, tmp_path / "wishes", how)
    made, memories = PreparedDataset.open(out), PreparedDataset.open(base).split("train")
    assert 6 <= len(made) <= 12
    assert {item.memory for item in made.items} == {item.id for item in memories}
    for item in made.items:
        of = next(memory for memory in memories if memory.id == item.memory)
        assert (item.split, item.class_id, len(item.captions)) == ("train", of.class_id, 1)
        assert item.caption_attributes[0].keys() <= set(item.visible), "nothing hidden is asked"
        assert made.load_image(item).size == (64, 64)
    files = {path: path.read_bytes() for path in sorted(out.rglob("*.webp"))}
    (out / made.items[0].file).unlink()
    prepare_recoloured(base, out, how)
    assert {path: path.read_bytes() for path in sorted(out.rglob("*.webp"))} == files


def test_only_rendered_birds_can_be_recoloured(tmp_path: Path) -> None:
    write_world(tmp_path / "photos", train=2, test=1)
    with pytest.raises(DataError, match="rendered birds"):
        prepare_recoloured(tmp_path / "photos", tmp_path / "out")


def test_a_data_set_of_resettings_records_its_noise_and_memories(base: Path, tmp_path: Path) -> None:
    out, how = tmp_path / "settings", Remake(per_image=2, image_size=16, workers=0)
    prepare_resettings(base, out, how)
    made, memories = PreparedDataset.open(out), PreparedDataset.open(base).split("train")
    assert {item.memory for item in made.items} <= {item.id for item in memories}
    assert 5 <= len(made) <= 8
    for item in made.items:
        assert len(item.noise) == NUMBERS
        assert len(item.captions) == 1
        assert item.caption_attributes[0].items() <= item.attributes.items()
        assert item.caption_attributes[0].keys() <= set(item.visible)
        assert made.load_image(item).size == (16, 16)
    written = (out / "items.jsonl").read_bytes()
    prepare_resettings(base, out, how)
    assert (out / "items.jsonl").read_bytes() == written


def test_a_signal_stops_it_in_mid_species_and_it_goes_on(tmp_path: Path) -> None:
    out, counts = tmp_path / "birds", {"train_per_species": 5, "test_per_species": 0, "species_limit": 2}
    command = [sys.executable, "-m", "memdriven", "prepare", "aviary", "--out", str(out)]
    command += ["--validation-per-species", "0", "--image-size", "64", "--workers", "2"]
    command += [word for name, n in counts.items() for word in (f"--{name.replace('_', '-')}", str(n))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not logged(out) and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        told = process.stderr.read()
    assert process.returncode == 128 + signal.SIGTERM
    assert f"stopped: the same command goes on where it was, in {out}" in told
    assert "Traceback" not in told
    assert not list(out.rglob(".*"))
    before = {path: path.stat().st_mtime_ns for path in out.glob("images/*/*.webp")}
    written = logged(out)
    assert 0 < written <= len(before) <= 7, "of the ten of two species"
    prepare_aviary(out, Rendering(image_size=64, workers=0), validation_per_species=0, **counts)
    assert len(PreparedDataset.open(out)) == 10
    # One that was in place, but not yet logged, is rendered again.
    assert sum(path.stat().st_mtime_ns == at for path, at in before.items()) >= written


def logged(out: Path) -> int:
    """Return how many pictures the logs of a data set's making hold."""
    return sum(log.read_text().count("\n") for log in out.glob("progress/*/*.jsonl"))


def test_workers_end_with_a_killed_parent() -> None:
    ours, theirs = multiprocessing.Pipe(duplex=False)

    def parent() -> None:
        context = multiprocessing.get_context("fork")
        pool = ProcessPoolExecutor(1, mp_context=context, initializer=prepare._begin)
        theirs.send(pool.submit(os.getppid).result() == os.getpid())
        os.kill(os.getpid(), signal.SIGKILL)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forks of processes with threads
        process = multiprocessing.get_context("fork").Process(target=parent)
        process.start()
    theirs.close()
    assert ours.poll(60)
    assert ours.recv(), "the worker has been there"
    assert ours.poll(60)
    with pytest.raises(EOFError):  # the pipe ends with the last of the processes
        ours.recv()
    process.join()
    assert process.exitcode == -signal.SIGKILL
