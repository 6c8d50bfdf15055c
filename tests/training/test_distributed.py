"""Two processes give what one gives with the same global batch; one start of them for all of it."""

from __future__ import annotations

import atexit
import importlib
import json
import os
import socket
import subprocess
import sys
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from memdriven.data.vocabulary import IGNORED
from memdriven.encoders.damsm import load_damsm
from memdriven.encoders.imagenet import SqueezeNet
from memdriven.encoders.readers import attribute_loss
from memdriven.errors import TrainingError
from memdriven.training import gan
from memdriven.training.aux_losses import Teachers
from memdriven.training.damsm import train_damsm
from memdriven.training.distributed import GlobalBatchNorm, World, joined_world, synchronise
from memdriven.training.gan import train_gan
from memdriven.training.step import GanTrainer
from tests.training.small_gan import CONFIG, data, train_settings

STEPS = 2
"""Few and small, as training makes much of a rounding."""
RATE, EPOCHS = 1e-4, 3
"""Of the encoders; an epoch is a step."""


def flat(state: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([state[name].float().flatten() for name in sorted(state) if name.endswith("weight")])


def trained(
    root: Path, world: World, steps: int = STEPS
) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    """Train a few steps with every term that joins samples; return the weights and the losses."""
    config = replace(
        train_settings(augment="color,translation,cutout", p_swap=0.5, p_fade=0.25, learning_rate=1e-4),
        discriminator=replace(CONFIG.discriminator, projected=True),
        loss=replace(CONFIG.loss, reconstruction_weight=1.0, perceptual_weight=1.0),
    )
    torch.manual_seed(3)
    network = SqueezeNet()
    trainer = GanTrainer(config, Teachers(load_damsm(root / "damsm").damsm, squeezenet=network), world)
    # Behind a normalisation some gradients are rounding alone, which Adam would make steps of.
    for optimiser in trainer.optimisers.values():
        optimiser.param_groups[0]["eps"] = 1e-3
    source, losses = data(root, config), []
    for step in range(steps):
        found = trainer.step(source.batch(step, world), step)
        losses.append({name: value.item() for name, value in found.items()})
    state = {**trainer.ema.state_dict(), **trainer.discriminators.state_dict()}
    state |= {f"now.{name}": value for name, value in trainer.generator.state_dict().items()}
    return {name: value.contiguous().clone() for name, value in state.items()}, losses


def main(root: Path, out: Path) -> None:
    """Become two processes: importing torch twice would take longer than the training."""
    for name in ("torch._dynamo", "torchvision"):  # as the training does later
        importlib.import_module(name)
    other = os.fork()
    rank = int(other == 0)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    # Registered first, so that it runs last: after all that torch does at the end.
    atexit.register(tell_threads, out / f"threads{rank}.json")
    train(root, out)
    if other:
        _, status = os.waitpid(other, 0)
        assert status == 0


def train(root: Path, out: Path) -> None:
    """What each of the two processes does."""
    with joined_world(torch.device("cpu")) as world:
        state, losses = trained(root, world)
        save_file(state, out / f"{world.rank}.safetensors")
        (out / f"{world.rank}.json").write_text(json.dumps(losses))

        # BatchNorm alone: values, running statistics and gradients.
        x = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 2 + 50
        norm = nn.Sequential(nn.BatchNorm2d(3))
        synchronise(norm)
        mine = world.mine(x).requires_grad_()
        y = norm(mine)
        (y * y.detach().roll(1, 3)).sum().backward()
        save_file(
            {"y": y.detach(), "slope": mine.grad, **norm.state_dict()},  # type: ignore[dict-item]
            out / f"norm{world.rank}.safetensors",
        )
        encoders(root, out / "encoders")  # closes the group


def encoders(root: Path, out: Path) -> dict[str, torch.Tensor]:
    """Train encoders with a pixel network for a few steps; return the trained state."""
    config = replace(CONFIG, damsm=replace(CONFIG.damsm, batch_size=8, epochs=EPOCHS, learning_rate=RATE))
    train_damsm(root / "data", root / "features", out, config)
    return load_file(out / "state.safetensors")


def tell_threads(file: Path) -> None:
    """Write the names of this process's threads."""
    tasks, names = Path("/proc/self/task"), []
    for task in tasks.iterdir() if tasks.exists() else ():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread may end while the others are read
            names.append((task / "comm").read_text().strip())
    file.write_text(json.dumps(names))


@pytest.fixture(scope="module")
def made(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    # What torchrun sets, without its own process.
    here = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    run = subprocess.run(
        [sys.executable, "-m", "tests.training.test_distributed", str(world), str(out)],
        env={**here, "WORLD_SIZE": "2"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        timeout=500,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("encoders in") == 1, "one process speaks for all"
    return out


@pytest.mark.timeout(600)
def test_two_processes_give_what_one_gives(world: Path, made: Path) -> None:
    alone, losses = trained(world, World())
    first, second = (load_file(made / f"{rank}.safetensors") for rank in range(2))
    assert first.keys() == alone.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    begun, _ = trained(world, World(), steps=0)
    moved, apart = (flat(begun) - flat(alone)).norm(), (flat(first) - flat(alone)).norm()
    assert apart < 0.1 * moved  # with BatchNorm of each process alone 1.1
    assert json.loads((made / "0.json").read_text())[0] == pytest.approx(losses[0], rel=1e-5)
    for together, single in zip(json.loads((made / "1.json").read_text()), losses, strict=True):
        assert together == pytest.approx(single, rel=5e-3, abs=5e-3)


@pytest.mark.timeout(600)
def test_two_processes_train_the_encoders_that_one_trains(world: Path, made: Path, tmp_path: Path) -> None:
    alone = encoders(world, tmp_path / "alone")
    together = load_file(made / "encoders" / "state.safetensors")
    assert together.keys() == alone.keys()
    first, other = (
        json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
        for folder in (tmp_path / "alone", made / "encoders")
    )
    losses = [name for name in first if name.startswith(("loss", "heads_", "pixels_"))]
    assert len(losses) >= 5
    assert {n: other[n] for n in losses} == pytest.approx({n: first[n] for n in losses}, rel=1e-3)
    # Adam moves each weight by about its rate a step, wherever the gradient is more than rounding.
    weights = [name for name in alone if name.startswith("module/") and name.endswith("weight")]
    apart = torch.cat([(together[name] - alone[name]).flatten() for name in weights]).abs().mean()
    assert apart < 0.1 * RATE * EPOCHS


@pytest.mark.timeout(600)
def test_batchnorm_sees_the_samples_of_all_processes(made: Path) -> None:
    x = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 2 + 50
    norm = nn.BatchNorm2d(3)
    x.requires_grad_()
    y = norm(x)
    (y * y.detach().roll(1, 3)).sum().backward()
    assert x.grad is not None
    first, second = (load_file(made / f"norm{rank}.safetensors") for rank in range(2))
    torch.testing.assert_close(torch.cat([first["y"], second["y"]]), y.detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.cat([first["slope"], second["slope"]]), x.grad, rtol=1e-3, atol=1e-4)
    for name, value in norm.state_dict().items():
        torch.testing.assert_close(first[f"0.{name}"], value, rtol=1e-4, atol=1e-4)


@pytest.mark.timeout(600)
def test_gloos_threads_end_before_the_process(made: Path) -> None:
    for rank in range(2):
        assert not [name for name in json.loads((made / f"threads{rank}.json").read_text()) if "gloo" in name]


def test_synchronising_keeps_weights_names_and_what_is_frozen() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4)))
    net[1].requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    synchronise(net)
    assert isinstance(net[1][0], GlobalBatchNorm)
    assert not any(p.requires_grad for p in net[1].parameters())
    assert before.keys() == net.state_dict().keys()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    x = torch.randn(2, 3, 4, 4)
    assert torch.isfinite(net.eval()(x)).all()  # without a group: nothing to wait for


def test_a_batch_that_processes_cannot_share_is_refused(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gan, "joined_world", lambda device: nullcontext(World(rank=1, size=3)))
    with pytest.raises(TrainingError, match="3 processes can share evenly"):
        train_gan(world / "data", world / "features", world / "damsm", tmp_path / "run", train_settings())
    assert not (tmp_path / "run").exists()


def test_labels_that_all_are_ignored_cost_nothing() -> None:
    logits = torch.randn(2, 3, 4, requires_grad=True)
    loss = attribute_loss(logits, torch.full((2, 3), IGNORED))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
