"""The one training loop: time, learning rates, logs, samples, saves, and stops that lose nothing.

The GAN, the encoders, their readers, the judge and the rival each bring a trainer, which knows nothing of
files or time, and a function that returns the batch of a step.
"""

import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from memdriven.errors import Interrupted, TrainingError, require, signals_handled
from memdriven.training.distributed import World, parallel
from memdriven.training.run_directory import RunDirectory, first_broken, load_state, save_state

FIRST_SAMPLE, NEXT_SAMPLE = 30.0, 300.0
"""Seconds to the first sample, for something to look at within a minute, and to each after it."""
SAMPLES, NOISES = 8, 3
"""Captions of a sample grid at most, and the noises with which each is drawn."""
ROWS = "training images above, below each what is painted for its caption, a noise a row"
SHOWN = 4
"""Losses that the progress bar shows at most."""
BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
"""What is left is told in time, whether steps or minutes end the budget."""


class Trainer:
    """What the loop drives: networks, and optimisers of those that learn.

    Args:
        modules: what a state holds, by name: weights that are trained, and their averages.
        optimisers: likewise; their learning rates at the beginning are the peak of the schedule.
    """

    def __init__(
        self, modules: Mapping[str, nn.Module], optimisers: Mapping[str, torch.optim.Optimizer]
    ) -> None:
        self.modules, self.optimisers = dict(modules), dict(optimisers)

    def step(self, batch: Any, step: int) -> dict[str, Tensor]:
        """Update the weights once; return scalar losses, detached."""
        raise NotImplementedError

    def update(self, name: str, loss: Tensor, clipped: tuple[nn.Module, float] | None = None) -> None:
        """Move down a loss what the optimiser of that name holds; clip a module's gradient to a norm."""
        self.optimisers[name].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if clipped is not None:
            nn.utils.clip_grad_norm_(clipped[0].parameters(), clipped[1])
        self.optimisers[name].step()


def adam(module: nn.Module, rate: float, **settings: Any) -> torch.optim.Adam:
    """Return an Adam of what learns in a module."""
    return torch.optim.Adam([p for p in module.parameters() if p.requires_grad], rate, **settings)


class Descent(Trainer):
    """Networks that go down a sum of losses together.

    The first of the modules names the optimiser; `losses` returns those of a batch at a step, by name; of
    `clipped` the gradient is clipped, to a norm.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        optimiser: torch.optim.Optimizer,
        losses: Callable[[Any, int], dict[str, Tensor]],
        clipped: tuple[nn.Module, float] | None = None,
        world: World | None = None,
    ) -> None:
        self.name, self.clipped = next(iter(modules)), clipped
        super().__init__(modules, {self.name: optimiser})
        self._losses = parallel(_Losses(modules, losses), world or World())

    def step(self, batch: Any, step: int) -> dict[str, Tensor]:
        """Make one step down; return the losses, and their sum first."""
        terms: dict[str, Tensor] = self._losses(batch, step)
        total = torch.stack(list(terms.values())).sum()
        self.update(self.name, total, self.clipped)
        return {name: value.detach() for name, value in {"loss": total, **terms}.items()}


class _Losses(nn.Module):
    """The losses of modules as one forward pass, which is what DistributedDataParallel watches."""

    def __init__(
        self, modules: Mapping[str, nn.Module], losses: Callable[[Any, int], dict[str, Tensor]]
    ) -> None:
        super().__init__()
        self.parts, self.losses = nn.ModuleList(modules.values()), losses

    def forward(self, batch: Any, step: int) -> dict[str, Tensor]:
        return self.losses(batch, step)


class SampleGrid(NamedTuple):
    """Pictures that show progress: training images, and below each what is painted, a noise a row."""

    images: Tensor  # (n, 3, s, s) in [-1, 1]
    paint: Callable[[Tensor], Tensor]  # noise (n, z_dim) -> pictures (n, 3, s, s)
    z_dim: int

    @torch.no_grad()
    def draw(self) -> tuple[Tensor, int]:
        """Return all rows, one behind the other, on the CPU, and how many pictures a row has."""
        chance = torch.Generator().manual_seed(0)
        noises = torch.randn(NOISES, len(self.images), self.z_dim, generator=chance).to(self.images.device)
        pictures = torch.cat([self.images, *map(self.paint, noises)])
        return pictures.float().cpu(), len(self.images)


@dataclass(kw_only=True)
class Loop:
    """Steps until the budget of steps or minutes is spent, or a signal comes.

    Args:
        trainer: makes a step.
        draw: returns the batch of a step, a function of its number alone.
        steps, minutes: the budget, all starts together; 0 minutes for steps alone.
        schedule: the factor on the learning rates, of the spent part of the budget and of the step.
        run: where metrics, samples and states go; None keeps nothing.
        facts: saved with the state, as JSON, and updated from it.
        log_every: steps from one row of metrics to the next.
        save_every, save_minutes: from one state to the next, whichever comes first; 0 steps: by minutes.
        samples: draws samples.
        report: is given each row of metrics; what it returns joins the row.
        finish: writes what the training is for; called at the end, and when it is interrupted.
        batch_images: images a step, over all processes.
        compiles: whether the first step of a start is spent compiling, and is not counted.
        world: the processes that train together.
        name: of the progress bar.
    """

    trainer: Trainer
    draw: Callable[[int], Any]
    steps: float = math.inf
    minutes: float = 0.0
    schedule: Callable[[float, int], float] = lambda part, step: 1.0
    run: RunDirectory | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    log_every: int = 50
    save_every: int = 0
    save_minutes: float = 5.0
    samples: SampleGrid | None = None
    report: Callable[[dict[str, Any]], Mapping[str, Any]] | None = None
    finish: Callable[["Loop"], None] | None = None
    batch_images: int = 1
    compiles: bool = False
    world: World = field(default_factory=World)
    name: str = "train"

    step: int = field(default=0, init=False)
    """Steps done."""
    seconds: float = field(default=0.0, init=False)
    """Time spent training, all starts together."""

    def __post_init__(self) -> None:
        """Take the learning rates as they are as the peak of the schedule."""
        self._peaks = [group["lr"] for group in self._groups]
        self._saved: int | None = None
        self._losses: dict[str, tuple[Tensor | float, int]] = {}

    @property
    def _groups(self) -> list[dict[str, Any]]:  # a loaded state puts others in their place
        return [group for each in self.trainer.optimisers.values() for group in each.param_groups]

    @property
    def part(self) -> float:
        """The part of the budget that is spent; a little above 1 when the clock ran past it."""
        of_time = self.seconds / (60 * self.minutes) if self.minutes > 0 else 0.0
        return max(self.step / self.steps if self.steps else 1.0, of_time)

    def train(self) -> None:
        """Train to the end of the budget, from the run's saved state if it has one.

        Raises:
            CheckpointError: the state is damaged.
            Interrupted: Ctrl-C or SIGTERM came; the state is saved.
            TrainingError: a loss or a weight is not finite (the last good state is kept), or the state
                is of other data or encoders than `facts["identity"]` says.
        """
        processes = int(os.environ.get("WORLD_SIZE", "1"))  # as torchrun says
        together = self.run is None or self.world.size > 1 or processes == 1
        found, fix = f"{processes}, each of which would train the whole", "start it without torchrun"
        require(together, TrainingError, f"one process for {self.name}", found, fix)
        self._resume()
        run, number = self.run if self.world.is_main else None, 0
        bar = tqdm(total=1, initial=min(self.part, 1), desc=self.name, bar_format=BAR)
        with _noted_signals(self.run is not None, self.world.is_main) as signals, bar:
            if run is not None:
                if run.asked and not run.resumes:
                    tqdm.write(f"nothing to go on with in {run.path}: begun anew")
                run.begin(self.step)
                if self._saved is None:
                    self._save(run)  # so that whatever happens, there is a state to go on from
            before, last, compiles, stop = self.seconds, self.step, self.compiles, self.part >= 1
            began = logged = saved = time.perf_counter()
            due = FIRST_SAMPLE
            if compiles and not stop:
                tqdm.write("compiling, a minute or two, before the budget begins")
            while not stop:
                # One step, at the learning rates of its place in the budget.
                factor = self.schedule(self.part, self.step)
                for group, peak in zip(self._groups, self._peaks, strict=True):
                    group["lr"] = peak * factor
                for name, loss in self.trainer.step(self.draw(self.step), self.step).items():
                    total, count = self._losses.get(name, (0.0, 0))
                    self._losses[name] = (total + loss, count + 1)
                self.step += 1

                # Time, as all processes see it; a first step that compiles is not counted.
                now = time.perf_counter()
                if compiles:
                    tqdm.write(f"compiled in {now - began:.0f} s, which the budget does not count")
                    began, logged, compiles = now, now, False
                spent, due_to_save = before + now - began, now - saved >= 60 * self.save_minutes
                self.seconds, signalled, save = self.world.maximum(spent, sum(signals), due_to_save)
                number = int(signalled)
                stop = self.part >= 1 or bool(number)

                # Logs, samples, states.
                if self.step % self.log_every == 0 or stop:
                    pace = (self.step - last) * self.batch_images / max(now - logged, 1e-9)
                    self._log(run, pace, bar, whole=not number)
                    logged, last = now, self.step
                wanted = now - began >= due or (stop and not number)
                if self.samples is not None and run is not None and wanted:
                    path = run.save_grid(self.step, *self.samples.draw())
                    if due == FIRST_SAMPLE:
                        tqdm.write(f"samples: {path}, {ROWS}")
                    due = now - began + NEXT_SAMPLE
                if save or stop or (self.save_every and self.step % self.save_every == 0):
                    broken = first_broken(self.trainer.modules)
                    self._require_finite([broken] if broken else [], "weights")
                    if run is not None:
                        self._save(run)
                    saved = now
                bar.n = min(self.part, 1.0)
                bar.update(0)
            if self.finish is not None and self.world.is_main:
                self.finish(self)
        if number:
            assert self.run is not None
            state = f"the state is in {self.run.state}, --resume goes on from it"
            raise Interrupted(number, f"stopped at step {self.step}; {state}")

    def _resume(self) -> None:
        """Go on from the run's saved state, where there is one."""
        if self.run is None or not self.run.resumes:
            return
        facts = load_state(self.run.state, self.trainer.modules, self.trainer.optimisers)
        now, then = self.facts.get("identity", {}), facts.get("identity", {})
        changed = [name for name in now if now[name] != then.get(name)]
        wanted = f"the {', '.join(changed)} with which the run in {self.run.path} was begun"
        found = ", ".join(f"{name} {now[name]}, not {then.get(name)}" for name in changed)
        fix = "resume with the same data and encoders, or start a new run"
        require(not changed, TrainingError, wanted, found, fix)
        self.facts.update(facts)
        self.step, self.seconds = int(facts["step"]), float(facts["seconds"])
        self._saved = self.step

    def _save(self, run: RunDirectory) -> None:
        facts = {**self.facts, "step": self.step, "seconds": self.seconds}
        save_state(run.state, self.trainer.modules, self.trainer.optimisers, facts)
        self._saved = self.step

    def _log(self, run: RunDirectory | None, pace: float, bar: Any, *, whole: bool) -> None:
        """Write the means since the last row; stop all processes if one of them is not finite."""
        means = {name: float(total) / count for name, (total, count) in self._losses.items()}
        self._losses = {}
        self._require_finite([name for name, value in means.items() if not math.isfinite(value)], "losses")
        row: dict[str, Any] = {
            "step": self.step,
            "images": self.step * self.batch_images,
            "minutes": round(self.seconds / 60, 2),
            "images_per_second": round(pace, 1),
            **{name: round(value, 5) for name, value in means.items()},
        }
        if self.world.is_main and self.report is not None and whole:
            row |= self.report(row)
        if run is not None:
            run.log(row)
        budget = f" of {self.minutes:g}" if self.minutes else ""
        shown = [f"step {self.step}", f"{self.seconds / 60:.1f}{budget} min", f"{pace:.0f} img/s"]
        shown += [f"{name} {value:.2f}" for name, value in list(means.items())[:SHOWN]]
        bar.set_postfix_str(", ".join(shown), refresh=False)

    def _require_finite(self, broken: list[str], what: str) -> None:
        """Stop every process where any has met NaN or infinity."""
        if not self.world.maximum(bool(broken))[0]:
            return
        kept = "no state has been saved yet"
        if self.run is not None and self._saved is not None:
            kept = f"the last good state, of step {self._saved}, is in {self.run.state}"
        found = f"NaN or infinity in {', '.join(broken) or 'another process'} at step {self.step}"
        raise TrainingError(f"finite {what}", found, f"lower the learning rate; {kept}")


@contextmanager
def _noted_signals(active: bool, tells: bool) -> Iterator[list[int]]:
    """Note Ctrl-C or SIGTERM, so that a step is ended and saved; a second one stops at once."""
    noted: list[int] = []

    def note(number: int, frame: object) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)
        if tells:
            os.write(2, b"\nstopping after this step, to save; once more stops at once\n")

    with signals_handled(note, *((signal.SIGINT, signal.SIGTERM) if active else ())):
        yield noted


def linear_decay(start: float) -> Callable[[float, int], float]:
    """Return the schedule that is constant up to a part of the budget and falls to zero over the rest."""

    def factor(part: float, step: int) -> float:
        part = min(part, 1.0)  # the clock may run past the budget
        return 1.0 if part <= start else (1 - part) / (1 - start)

    return factor


def warm_cosine(part: float, step: int) -> float:
    """Rise over the first twentieth of the budget, then fall along a cosine to zero."""
    part = min(part, 1.0)
    return min(1.0, part / 0.05 + 0.02) * 0.5 * (1 + math.cos(math.pi * part))
