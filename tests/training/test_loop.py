"""The loop, driven with a trainer of one weight: time, rates, logs, samples, saves, stops."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from memdriven.errors import CheckpointError, Interrupted, TrainingError
from memdriven.training import loop as loops
from memdriven.training.distributed import World
from memdriven.training.loop import Loop, SampleGrid, linear_decay, warm_cosine
from memdriven.training.run_directory import RunDirectory


class OneWeight:
    """Moves a weight towards each batch, which is a number."""

    def __init__(self) -> None:
        self.weight = nn.Linear(1, 1, bias=False)
        with torch.no_grad():
            self.weight.weight.zero_()
        self.modules = {"weight": self.weight}
        self.optimisers = {"weight": torch.optim.Adam(self.weight.parameters(), 0.5)}
        self.rates: list[float] = []

    def step(self, batch: float, step: int) -> dict[str, Tensor]:
        self.rates.append(self.optimisers["weight"].param_groups[0]["lr"])
        loss = (self.weight.weight - batch).square().sum()
        self.weight.zero_grad()
        loss.backward()
        self.optimisers["weight"].step()
        return {"loss": loss.detach(), "number": torch.tensor(float(step))}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Let every look at the clock take a second."""
    ticks = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    monkeypatch.setattr(loops, "time", clock)
    return clock


def train(
    out: Path, steps: int, *, resume: bool = False, settings: Any = None, trainer: Any = None, **options: Any
) -> Loop:
    """Train into a folder."""
    run = RunDirectory(out, settings or {"a": {"b": 1, "free": steps}}, resume=resume, free=("a.free",))
    options = {"log_every": 2, "draw": lambda step: float(step % 3), **options}
    loop = Loop(trainer=trainer or OneWeight(), steps=steps, run=run, **options)
    loop.train()
    return loop


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def weights(out: Path) -> dict[str, Tensor]:
    return load_file(out / "state.safetensors")


def same(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_losses_are_logged_as_means(tmp_path: Path) -> None:
    loop = train(tmp_path, 5, batch_images=4, report=lambda row: {"twice": 2 * row["step"]})
    assert loop.step == 5
    assert [(row["step"], row["number"], row["twice"]) for row in rows(tmp_path)] == [
        (2, 0.5, 4),
        (4, 2.5, 8),
        (5, 4.0, 10),
    ]
    assert [row["images"] for row in rows(tmp_path)] == [8, 16, 20]


def test_what_trains_alone_refuses_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="one process for train"):
        train(tmp_path / "run", 1)
    assert not (tmp_path / "run").exists()


def test_a_resumed_training_has_the_same_bits(tmp_path: Path) -> None:
    train(tmp_path / "whole", 7)
    train(tmp_path / "parts", 3)
    train(tmp_path / "parts", 7, resume=True)
    assert same(tmp_path / "whole", tmp_path / "parts")
    assert [row["step"] for row in rows(tmp_path / "parts")] == [2, 3, 4, 6, 7]


def test_rates_fall_over_the_budget_whether_of_steps_or_minutes(tmp_path: Path) -> None:
    trainer = OneWeight()
    train(tmp_path / "steps", 4, trainer=trainer, schedule=linear_decay(0.5))
    assert trainer.rates == [0.5, 0.5, 0.5, 0.25]
    whole, parts = OneWeight(), OneWeight()
    options: dict[str, Any] = {"minutes": 10.5 / 60, "schedule": linear_decay(0.0), "log_every": 10**6}
    train(tmp_path / "whole", 10**6, trainer=whole, **options)
    assert len(whole.rates) == 11
    stopping = {
        **options,
        "draw": lambda step: os.kill(os.getpid(), signal.SIGINT) or 0.0 if step == 4 else float(step % 3),
    }
    with pytest.raises(Interrupted):
        train(tmp_path / "parts", 10**6, trainer=parts, **stopping)
    assert len(parts.rates) == 5
    again = OneWeight()
    again.rates = parts.rates
    loop = train(tmp_path / "parts", 10**6, trainer=again, resume=True, **options)
    assert again.rates == whole.rates, "minutes are those of all starts"
    assert loop.step == 11
    train(tmp_path / "parts", 10**6, trainer=again, resume=True, **options)
    assert len(again.rates) == 11, "nothing is left of the budget"


def test_schedules() -> None:
    fall = linear_decay(0.5)
    assert [fall(part, 0) for part in (0.0, 0.5, 0.75, 1.0, 1.1)] == [1.0, 1.0, 0.5, 0.0, 0.0]
    assert linear_decay(1.0)(1.0, 0) == linear_decay(1.0)(1.1, 0) == 1.0
    assert warm_cosine(0.0, 0) == 0.02
    assert warm_cosine(0.5, 0) == pytest.approx(0.5)
    assert warm_cosine(1.0, 0) == warm_cosine(1.2, 0) == pytest.approx(0)


def test_a_first_step_that_compiles_is_not_counted(
    tmp_path: Path, clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    class Compiled(OneWeight):
        def step(self, batch: float, step: int) -> dict[str, Tensor]:
            if step == 0:
                for _ in range(100):
                    clock.perf_counter()
            return super().step(batch, step)

    loop = train(tmp_path, 10**6, trainer=Compiled(), minutes=5.5 / 60, compiles=True)
    assert loop.step == 7
    assert loop.seconds == 6
    assert "compiled in 101 s" in capsys.readouterr().out


def test_what_is_left_is_told_in_minutes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, 10**6, minutes=20 / 60)
    told = capsys.readouterr().err
    assert "of 0.333333 min" in told
    assert "1000000" not in told


def test_samples_come_within_a_minute_and_then_every_few(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def paint(z: Tensor) -> Tensor:
        return z.mean(1)[:, None, None, None].sign().expand(2, 3, 8, 8)

    grid = SampleGrid(torch.zeros(2, 3, 8, 8), paint, 5)
    train(tmp_path, 640, samples=grid)
    drawn = sorted(path.name for path in (tmp_path / "samples").glob("*.png"))
    assert drawn == ["000030.png", "000330.png", "000630.png", "000640.png"]
    assert capsys.readouterr().out.count("samples: ") == 1, "what the rows are is told once"
    with Image.open(tmp_path / "samples/000030.png") as sheet:
        assert sheet.size == (2 * 10 + 2, 4 * 10 + 2)
        assert sheet.getpixel((0, 0)) == (255, 255, 255)
        assert sheet.getpixel((3, 3)) == (128, 128, 128)


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


def killed_at(step: int) -> Callable[[int], float]:
    def draw(now: int) -> float:
        if now == step:
            raise Killed
        return float(now % 3)

    return draw


@pytest.mark.parametrize(("often", "at"), [({}, 0), ({"save_every": 4}, 8), ({"save_minutes": 0.1}, 6)])
def test_a_killed_training_goes_on_from_its_last_state(
    tmp_path: Path, often: dict[str, Any], at: int
) -> None:
    train(tmp_path / "whole", 12)
    with pytest.raises(Killed):
        train(tmp_path / "run", 12, draw=killed_at(9), **often)
    with (tmp_path / "run/metrics.jsonl").open("ab") as log:
        log.write(b'{"step": 3, "los\xff')  # a line that was torn
    first = []

    def draw(step: int) -> float:
        first.append(step)
        return float(step % 3)

    train(tmp_path / "run", 12, resume=True, draw=draw)
    assert first[0] == at
    assert same(tmp_path / "whole", tmp_path / "run")
    assert [row["step"] for row in rows(tmp_path / "run")] == [2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_so(tmp_path: Path, number: int) -> None:
    before = signal.getsignal(number)
    finished = []

    def draw(step: int) -> float:
        if step == 3:
            os.kill(os.getpid(), number)
        return float(step % 3)

    train(tmp_path / "whole", 6)
    with pytest.raises(Interrupted, match=r"step 4; the state is in .*state\.safetensors") as stop:
        train(tmp_path / "run", 6, draw=draw, finish=lambda loop: finished.append(loop.step))
    assert stop.value.number == number
    assert finished == [4]
    assert signal.getsignal(number) is before
    train(tmp_path / "run", 6, resume=True)
    assert same(tmp_path / "whole", tmp_path / "run")


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    def draw(step: int) -> float:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return 0.0

    with pytest.raises(KeyboardInterrupt) as stop:
        train(tmp_path, 6, draw=draw)
    assert not isinstance(stop.value, Interrupted)


def test_a_loss_that_is_no_number_stops_and_names_the_state_there_is(tmp_path: Path) -> None:
    bad = {"draw": lambda step: float("nan") if step >= 4 else 0.0}
    with pytest.raises(TrainingError, match=r"loss at step 6; .*last good state, of step 0, is in"):
        train(tmp_path / "run", 20, **bad)
    train(tmp_path / "good", 4)
    good = (tmp_path / "good/state.safetensors").read_bytes()
    with pytest.raises(TrainingError, match=r"of step 4, is in"):
        train(tmp_path / "good", 20, resume=True, **bad)
    assert (tmp_path / "good/state.safetensors").read_bytes() == good
    with pytest.raises(TrainingError, match="no state has been saved"):
        Loop(trainer=OneWeight(), steps=9, log_every=2, **bad).train()


def test_weights_that_are_no_numbers_are_never_saved(tmp_path: Path) -> None:
    class Poisoned(OneWeight):
        def step(self, batch: float, step: int) -> dict[str, Tensor]:
            with torch.no_grad():
                self.weight.weight.fill_(float("nan") if step == 2 else 0.0)
            return {"loss": torch.zeros(())}

    with pytest.raises(TrainingError, match=r"finite weights.* weight\.weight at step 3"):
        train(tmp_path, 20, trainer=Poisoned(), save_every=1)
    assert all(bool(torch.isfinite(value).all()) for value in weights(tmp_path).values())


def test_what_one_process_sees_stops_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has met NaN, or was sent a signal."""
    real = World.maximum
    monkeypatch.setattr(World, "maximum", lambda self, *values: real(self, *values) if values[1:] else (1.0,))
    with pytest.raises(TrainingError, match="in another process at step 2"):
        train(tmp_path / "nan", 9)
    monkeypatch.setattr(World, "maximum", lambda self, *values: (values[0], 15.0, 0.0)[: len(values)])
    with pytest.raises(Interrupted, match="step 1"):
        train(tmp_path / "signal", 9)


def test_a_folder_that_holds_a_training_is_not_written_over(tmp_path: Path) -> None:
    train(tmp_path / "run", 2)
    with pytest.raises(TrainingError, match="one that holds a training"):
        train(tmp_path / "run", 2)
    with pytest.raises(TrainingError, match=r"found: a\.b = 2, not 1; what"):
        train(tmp_path / "run", 4, resume=True, settings={"a": {"b": 2, "free": 9, "new": 1}})
    (tmp_path / "run/state.safetensors").unlink()
    with pytest.raises(TrainingError, match=r"a state to resume.*but metrics\.jsonl"):
        train(tmp_path / "run", 4, resume=True)
    (tmp_path / "encoders").mkdir()
    (tmp_path / "encoders/damsm.safetensors").touch()
    for resume in (False, True):
        with pytest.raises(TrainingError, match=r"damsm\.safetensors"):
            train(tmp_path / "encoders", 2, resume=resume)


def test_resuming_nothing_begins_anew_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path / "rr", 2, resume=True)
    assert "nothing to go on with in" in capsys.readouterr().out
    assert rows(tmp_path / "rr")[-1]["step"] == 2


def test_other_data_and_damaged_states_are_refused(tmp_path: Path) -> None:
    train(tmp_path, 2, facts={"identity": {"items": "a", "damsm": "c"}})
    with pytest.raises(TrainingError, match="the items with which"):
        train(tmp_path, 4, resume=True, facts={"identity": {"items": "b", "damsm": "c"}})
    (tmp_path / "state.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError):
        train(tmp_path, 4, resume=True)


def test_metrics_of_an_earlier_version_hold_each_step_once(tmp_path: Path) -> None:
    train(tmp_path, 4)
    lines = ['{"step": 2, "loss": 1}', '{"step": 4}', '{"step": 2, "loss": 3}', "[]", '{"step": 9}']
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    train(tmp_path, 6, resume=True)
    assert [(row["step"], row.get("loss")) for row in rows(tmp_path)][:2] == [(2, 3), (4, None)]
    assert [row["step"] for row in rows(tmp_path)] == [2, 4, 6]
