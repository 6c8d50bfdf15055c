from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from memdriven.data.folder import prepare_folder
from memdriven.data.prepared import PreparedDataset, write_prepared
from memdriven.encoders.damsm import load_damsm, save_damsm
from memdriven.errors import ConfigError, DataError, EvaluationError
from memdriven.evaluation import diversity
from memdriven.evaluation.context import Protocol, choose_prompts
from memdriven.evaluation.results import read_results
from memdriven.evaluation.run import Evaluation, evaluate
from memdriven.files import sealed
from memdriven.memory.build import build_memory
from memdriven.pipeline.pipeline import MemoryDrivenPipeline

N = 12


@pytest.fixture
def files(judge_folder: Path, squeezenet_file: Path) -> Protocol:
    return Protocol(judge=judge_folder, squeezenet=squeezenet_file)


def run(checkpoint: Path, dataset: Path, out: Path, files: Protocol, **options: object) -> Evaluation:
    asked = {name: options.pop(name) for name in vars(files) if name in options}
    protocol = replace(files, **{"n": N, **asked})  # type: ignore[arg-type]
    return evaluate(checkpoint, dataset, protocol, out=out, **options)  # type: ignore[arg-type]


def values(found: Evaluation, metric: str) -> dict[str, float]:
    return {r.row: r.value for r in found.results if r.metric == metric}


def test_a_strategy_without_neighbours_has_no_retrieved_row(
    checkpoint: Path, squares: Path, files: Protocol, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(checkpoint, bare)
    content = json.loads((bare / "config.json").read_text())
    content["config"]["retrieval"]["strategy"] = "none"
    (bare / "config.json").write_text(json.dumps(sealed(content)))
    found = run(
        bare, squares, tmp_path / "out", files, metrics=["attributes"], controls=["retrieved", "real"]
    )
    assert list(values(found, "asked_colours")) == ["model", "real"]
    assert "which has none" in found.left_out["row retrieved"]


@pytest.mark.usefixtures("fake_vgg")
def test_all_measures_beside_their_controls(
    checkpoint: Path, squares: Path, files: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diversity, "CAPTIONS", 2)
    found = run(checkpoint, squares, tmp_path, files)
    assert found.left_out == {}
    assert list(values(found, "fid_vgg")) == ["model", "retrieved", "real", "random", "none", "oracle"]
    colours = values(found, "asked_colours")
    assert colours["real"] > 0.8, "the judge knows real images"
    assert colours["model"] < colours["real"], "an untrained generator does not draw colours"
    assert values(found, "r_precision_judge")["real"] > values(found, "r_precision_judge")["model"]
    assert values(found, "fid_vgg")["real"] < values(found, "fid_vgg")["model"]
    assert set(values(found, "diversity_seed")) == set(values(found, "diversity_z")) == {"model"}
    assert set(values(found, "copy_nearest_percentile")) == {"model", "random", "none", "oracle"}
    assert "strategy sentence-sentence" in values(found, "recall@1")
    assert values(found, "recall@10")["strategy words-words"] <= 1
    stages = next(r for r in found.results if r.metric == "diversity_z").details
    assert list(stages) == ["64 px", "128 px"]
    table = found.summary()
    assert "fid_vgg: Frechet distance, vgg16 relu5_3" in table
    assert "fewer than 512 features, so it is mostly their number's" in table
    assert "fid_vgg" in table.splitlines()[0]
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert len(lines) == len(found.results)
    assert {"checkpoint_hash", "commit", "protocol", "n", "seed", "device"} <= set(lines[0])


@pytest.mark.usefixtures("fake_vgg")
def test_a_second_run_measures_nothing_again(
    checkpoint: Path, squares: Path, files: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = ("fid_vgg", "kd_squeezenet", "fd_squeezenet", "attributes", "retrieval")
    first = run(checkpoint, squares, tmp_path, files, metrics=metrics, controls=("none",))
    written = (tmp_path / "results.jsonl").read_bytes()

    def refuse(*_: object) -> None:
        raise AssertionError("painted again")

    monkeypatch.setattr(MemoryDrivenPipeline, "paint_many", refuse)
    second = run(checkpoint, squares, tmp_path, files, metrics=metrics, controls=("none",))
    assert second.results == read_results(tmp_path / "results.jsonl")
    assert len(second.results) == len(first.results)
    assert (tmp_path / "results.jsonl").read_bytes() == written


def test_numbers_are_taken_over_by_pixels_and_said_to_be(
    checkpoint: Path, squares: Path, files: Protocol, tmp_path: Path
) -> None:
    """The same ids and captions with other pictures: what real images enter is measured again."""
    data = shutil.copytree(squares, tmp_path / "squares")
    options = {"metrics": ("fd_squeezenet", "attributes"), "controls": ("real",)}
    first = run(checkpoint, data, tmp_path / "out", files, **options)
    assert "taken over" not in first.summary()
    again = run(checkpoint, data, tmp_path / "out", files, **options)
    assert f"note: {len(first.results)} of these numbers are taken over" in again.summary()
    for path in sorted((data / "images" / "test").iterdir()):
        with Image.open(path) as image:
            ImageOps.invert(image.convert("RGB")).save(path, quality=90)
    other = run(checkpoint, data, tmp_path / "out", files, **options)
    fresh = run(checkpoint, data, tmp_path / "fresh", files, **options)
    assert [r.value for r in other.results] == [r.value for r in fresh.results]
    assert values(other, "fd_squeezenet") != values(first, "fd_squeezenet")
    assert values(other, "asked_colours")["real"] < values(first, "asked_colours")["real"]
    assert "taken over" in other.summary(), "the model's own pictures are the same"


def test_real_images_are_never_compared_with_themselves(
    checkpoint: Path, squares: Path, files: Protocol, tmp_path: Path
) -> None:
    options = {"metrics": ("fd_squeezenet",), "controls": ("real",), "split": "train"}
    found = run(checkpoint, squares, tmp_path / "out", files, **options)
    assert values(found, "fd_squeezenet")["real"] > 0
    assert "test images against" in found.results[1].protocol
    data = PreparedDataset.open(shutil.copytree(squares, tmp_path / "squares"))
    header = {key: value for key, value in data.header.items() if key not in ("schema", "counts")}
    write_prepared(data.path, data.split("train"), **header)
    found = run(checkpoint, data.path, tmp_path / "alone", files, **options)
    assert values(found, "fd_squeezenet").keys() == {"model"}


def test_what_is_told_of_a_data_set_is_told_of_its_numbers(
    checkpoint: Path, squares: Path, tmp_path: Path
) -> None:
    """Of sixteen test images two are training images again, saved a little worse, one of them mirrored."""
    rng = np.random.default_rng(0)
    source, pictures = tmp_path / "source", {}
    for item in PreparedDataset.open(squares).items:
        noise = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        pictures[item.id] = Image.fromarray(noise).resize((64, 64))
    pictures["test003"], pictures["test005"] = pictures["train003"], ImageOps.mirror(pictures["train005"])
    for name, picture in pictures.items():
        folder = source / name[:-3]
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{name}.jpg", quality=60 if folder.name == "test" else 95)
        (folder / f"{name}.txt").write_text("a red head")
    data = prepare_folder(source, tmp_path / "data", image_size=64)
    options = {"metrics": ("r_precision",), "controls": (), "n": 16}
    found = run(checkpoint, data.path, tmp_path, Protocol(), **options)
    (note,) = found.notes
    assert "2 of 16 test images all but repeat a training image, e.g. test-test003 repeats train" in note
    assert f"note: {note}" in found.summary()


def test_another_number_of_neighbours_is_measured_anew(
    checkpoint: Path, squares: Path, files: Protocol, tmp_path: Path
) -> None:
    options = {"metrics": ("attributes",), "controls": ()}
    one = run(checkpoint, squares, tmp_path / "out", files, **options)
    other = shutil.copytree(checkpoint, tmp_path / checkpoint.name)
    config = json.loads((other / "config.json").read_text())
    config["config"]["retrieval"]["k"] = 3
    (other / "config.json").write_text(json.dumps(sealed(config)))
    three = run(other, squares, tmp_path / "out", files, **options)
    assert {result.k for result in one.results} == {1}
    assert {result.k for result in three.results} == {3}


def test_rows_go_on_after_a_stop(
    checkpoint: Path, squares: Path, files: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"metrics": ("attributes",), "controls": (), "batch": 4}
    whole = run(checkpoint, squares, tmp_path / "whole", files, **options)
    paint, calls = MemoryDrivenPipeline.paint_many, []

    def stop_at_third(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return paint(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryDrivenPipeline, "paint_many", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint, squares, tmp_path / "cut", files, **options)
    again = run(checkpoint, squares, tmp_path / "cut", files, **options)
    assert len(calls) == 4, "two batches were kept, one was cut, one is drawn afterwards"
    assert [r.value for r in again.results] == [r.value for r in whole.results]
    kept = [next((tmp_path / name).rglob("model.npy")) for name in ("whole", "cut")]
    assert np.array_equal(np.load(kept[0]), np.load(kept[1]))


def test_missing_weights_leave_a_measure_out_and_say_so(
    checkpoint: Path, squares: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "absent.safetensors"
    found = run(
        checkpoint,
        squares,
        tmp_path,
        Protocol(vgg=bad, squeezenet=bad, inception_a=bad, inception_b=bad),
        metrics=(
            "fid_a",
            "fid_b",
            "fid_c",
            "inception_score",
            "fid_vgg",
            "attributes",
            "diversity_seed",
            "diversity_z",
            "background_entropy",
            "r_precision",
        ),
        controls=("oracle",),
    )
    assert set(found.left_out) == {
        "fid_a",
        "fid_b",
        "fid_c",
        "inception_score",
        "fid_vgg",
        "attributes",
        "diversity_seed",
        "diversity_z",
        "background_entropy",
        "row oracle",
    }
    assert {r.metric for r in found.results} == {"r_precision"}
    assert "left out: fid_b" in found.summary()
    assert "absent.safetensors" in found.left_out["fid_c"]


def test_rows_of_other_strategies_and_of_another_memory(
    checkpoint: Path, squares: Path, tmp_path: Path
) -> None:
    options = {"metrics": ("r_precision",), "controls": ("none",)}
    strategies = ("sentence-sentence", "sentence-image", "none")
    found = run(checkpoint, squares, tmp_path / "a", Protocol(), strategies=strategies, **options)
    assert {r.row: r.strategy for r in found.results} == {
        "model": "sentence-sentence",
        "none": "none",
        "strategy sentence-image": "sentence-image",
    }
    assert "strategy sentence-image" in found.summary()
    damsm, vocabulary, config, *_ = load_damsm(checkpoint)
    config = replace(config, text=replace(config.text, max_words=4))
    save_damsm(tmp_path / "encoders", damsm, vocabulary, config, {})
    memory, features = tmp_path / "memory", checkpoint.parent / "features"
    build_memory(tmp_path / "encoders", squares, features, out=memory, device="cpu")
    other = run(checkpoint, squares, tmp_path / "a", Protocol(), memory=memory, **options)
    assert {r.memory for r in other.results} & {r.memory for r in found.results} == set()
    assert len(other.results) == 2, "measured again, for the bank is another"


def test_names_of_a_runs_checkpoint(checkpoint: Path, squares: Path, tmp_path: Path) -> None:
    run_folder = tmp_path / "long-run" / "checkpoint"
    shutil.copytree(checkpoint, run_folder)
    found = run(run_folder, squares, tmp_path, Protocol(), metrics=("r_precision",), controls=())
    assert found.results[0].checkpoint == "long-run"


def test_fewer_captions_than_asked_for_are_told(checkpoint: Path, squares: Path, tmp_path: Path) -> None:
    found = run(checkpoint, squares, tmp_path, Protocol(), metrics=(), controls=(), n=100)
    assert "note: 100 captions were asked for, and split test has 32" in found.summary()


def test_settings_are_chosen_on_pictures_that_nobody_is_tested_on(
    checkpoint: Path, squares: Path, files: Protocol, tmp_path: Path
) -> None:
    """Half of the test pictures become validation pictures; each row of a setting is the pipeline's."""
    data = shutil.copytree(squares, tmp_path / "squares")
    with pytest.raises(DataError, match="splits train, test"):
        run(checkpoint, data, tmp_path, files, split="validation")
    whole = PreparedDataset.open(data)
    items = [
        replace(item, split="validation") if item.split == "test" and int(item.id[-1]) % 2 else item
        for item in whole.items
    ]
    write_prepared(data, name="squares", items=items, classes=whole.classes, image_size=64)
    rows = {"best-of-2": {"best_of": 2}, "guidance-1": {"guidance": 1.0}, "k-3": {"k": 3}}
    options = {"metrics": ("attributes",), "controls": (*rows, "real")}
    found = run(checkpoint, data, tmp_path / "out", files, split="validation", **options)
    assert {r.dataset for r in found.results} == {"squares/validation"}
    assert list(values(found, "asked_colours")) == ["model", *rows, "real"]
    pipe = MemoryDrivenPipeline.from_pretrained(checkpoint, device="cpu")
    prompts = choose_prompts(PreparedDataset.open(data), "validation", N)
    assert {prompt.item.split for prompt in prompts} == {"validation"}
    for row, fields in rows.items():
        painted = np.load(next(tmp_path.rglob(f"{row}.npy")))[1]
        picture = np.asarray(pipe(prompts[1].caption, seed=1, **{"k": 1, **fields}).images[0])
        assert np.abs(painted.astype(int) - picture.transpose(2, 0, 1).astype(int)).max() <= 1
    with pytest.raises(ConfigError, match="best_of"):
        run(checkpoint, data, tmp_path / "out", files, controls=("best-of-99",))


def test_unknown_names_are_refused(checkpoint: Path, squares: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="a metric among"):
        run(checkpoint, squares, tmp_path, Protocol(), metrics=("fid",))
    with pytest.raises(EvaluationError, match="a strategy among"):
        run(checkpoint, squares, tmp_path, Protocol(), strategies=("best",))
    with pytest.raises(EvaluationError, match="a control among"):
        run(checkpoint, squares, tmp_path, Protocol(), controls=("best",))
    for options in ({"n": 0}, {"n": 10**400}, {"n": 4, "batch": 0}, {"n": 4, "seed": -1}):
        with pytest.raises(EvaluationError, match="a whole number in"):
            run(checkpoint, squares, tmp_path, Protocol(), **options)


def test_a_judge_says_nothing_of_captions_that_name_nothing(
    checkpoint: Path, squares: Path, tmp_path: Path, files: Protocol
) -> None:
    data = shutil.copytree(squares, tmp_path / "squares")
    lines = [json.loads(line) for line in (data / "items.jsonl").read_text().splitlines()]
    for naming in (4, 0):
        for number, line in enumerate(one for one in lines if one["split"] == "test"):
            if number >= naming:
                line["caption_attributes"] = [{} for _ in line["captions"]]
        (data / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        metrics = ("attributes", "r_precision_judge")
        options = {"metrics": metrics, "controls": ("real", "real"), "strategies": ()}
        found = run(checkpoint, data, tmp_path / str(naming), files, n=32, **options)
        measured = [result for result in found.results if result.metric == "r_precision_judge"]
        if naming:
            assert [(one.row, one.n) for one in measured] == [("model", 8), ("real", 8)]
        else:
            assert not measured
            assert "none among 32" in found.left_out["attributes"]


def test_one_image_alone_equals_its_row(checkpoint: Path, squares: Path, tmp_path: Path) -> None:
    """Image i of a row is the pipeline's picture of its caption with seed + i."""

    run(checkpoint, squares, tmp_path, Protocol(), metrics=("r_precision",), controls=(), seed=5)
    row = np.load(next(tmp_path.rglob("model.npy")))
    prompts = choose_prompts(PreparedDataset.open(squares), "test", N)
    pipe = MemoryDrivenPipeline.from_pretrained(checkpoint, device="cpu")
    for i in (0, 7):
        picture = np.asarray(pipe(prompts[i].caption, seed=5 + i).images[0]).transpose(2, 0, 1)
        assert np.abs(row[i].astype(int) - picture.astype(int)).max() <= 1
