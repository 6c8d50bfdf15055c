"""One training step of G and the D's: Eqs. 1-4, with one forward pass of G for both updates."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from memdriven import losses
from memdriven.config import Config
from memdriven.errors import ConfigError, require
from memdriven.models.discriminator import PROJECTED_DEPTHS, Discriminator, ProjectedDiscriminator
from memdriven.models.generator import Generator, GeneratorOutput
from memdriven.training.augment import augment
from memdriven.training.aux_losses import Teachers, perceptual_distance, text_losses
from memdriven.training.data import Batch
from memdriven.training.distributed import Chance, World, parallel, synchronise
from memdriven.training.loop import Trainer, adam

R1_EVERY = 16
"""R1 is computed every this many steps and scaled by it [ours]."""
BF16_SINCE = (8, 0)
"""cuDNN has no bf16 convolutions on devices of a lower compute capability."""


class GanTrainer(Trainer):
    """The networks, their optimisers and the step; knows nothing of files or time.

    Args:
        config: the run's settings.
        teachers: frozen networks that look at generated pictures.
        world: the processes that train together, and where the networks live.
    """

    def __init__(self, config: Config, teachers: Teachers, world: World) -> None:
        train = config.train
        self.config, self.teachers, self.world = config, teachers, world

        # G, whose first stages or parts may stay as they are.
        torch.manual_seed(train.seed)
        self.generator: Generator = self._place(Generator(config.generator))
        if world.size > 1:
            synchronise(self.generator)
        self.frozen = freeze(self.generator, train.frozen_stages, train.frozen_names)

        # One D a stage that is trained (Sec. 4.2), and perhaps one on a frozen network's maps [ours].
        sizes = self.generator.resolutions
        judged = [*sizes[:-1], round(sizes[-1] * min(train.crop, 1))]
        self.stages: list[int] = []
        """Which stage's images each D judges."""
        self.discriminators = nn.ModuleList()
        if config.loss.adversarial_weight:
            self.stages = list(range(train.frozen_stages, len(sizes)))
            for stage in self.stages:
                d = Discriminator(config.discriminator, judged[stage], config.text.dim)
                self.discriminators.append(self._place(d))
            if config.discriminator.projected:
                assert teachers.squeezenet is not None
                backbone = partial(teachers.squeezenet, depths=PROJECTED_DEPTHS)
                judge = ProjectedDiscriminator(backbone, judged[-1], config.text.dim, device=world.device)
                self.discriminators.append(self._place(judge))
                self.stages.append(len(sizes) - 1)

        # G's moving average, and the optimisers of what learns.
        self.average = AveragedModel(self.generator, use_buffers=True)
        self.average.multi_avg_fn = _moving_average(train.ema, self.average.n_averaged)
        self.ema = cast(Generator, self.average.module)
        """Makes the pictures."""
        _share(self.frozen, self.generator, self.ema)
        settings: dict[str, Any] = {"betas": train.betas, "fused": True}
        optimisers = {"generator": adam(self.generator, train.learning_rate, **settings)}
        if self.stages:
            optimisers["discriminators"] = adam(self.discriminators, train.d_learning_rate, **settings)
        judges = self.discriminators
        modules = {"generator": self.generator, "average": self.average, "discriminators": judges}
        super().__init__(modules, optimisers)

        # DistributedDataParallel awaits gradients of whatever has run through it, so that G's loss, which
        # passes through the D's without training them, takes them as they are.
        self._generate = self._compiled(parallel(self.generator, world))
        self._judges = [self._compiled(d) for d in self.discriminators]
        self._learning = self._judges
        if world.size > 1:
            self._learning = [self._compiled(parallel(d, world)) for d in self.discriminators]

    def _compiled(self, module: nn.Module) -> Callable[..., Any]:
        return torch.compile(module) if self.config.train.compile else module

    def _place(self, module: nn.Module) -> Any:
        return module.to(self.world.device).to(memory_format=torch.channels_last)

    def step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Update the D's, then G, then its average; return the losses, detached."""
        seed = self.config.train.seed * 1_000_003 + step
        chance = Chance(seed, self.world)
        learns = self.config.train.learning_rate > 0
        self.generator.train(learns)
        for part in self.frozen.values():
            part.eval()

        # One forward pass of G serves both updates; a G that stands still has none of its own.
        with torch.set_grad_enabled(learns), self._autocast():
            made: GeneratorOutput = self._generate(
                batch.z, batch.text.sentence, batch.text.condition, batch.v, batch.epsilon, crop=batch.crop
            )

        # Discriminators, Eqs. 3-4.
        record: dict[str, Tensor] = {}
        if self.stages:
            total, record = self.discriminator_losses(batch, made.images, step, chance)
            self.update("discriminators", total)

        # Generator, Eqs. 1-2, and the terms of ours; its moving average.
        if learns:
            with _held(self.discriminators):
                terms = self.generator_losses(batch, made, chance)
                total = torch.stack([weight * loss for weight, loss in terms.values()]).sum()
                self.update("generator", total)
            self.average.update_parameters(self.generator)
            record |= {name: loss for name, (_, loss) in terms.items()}
        values = self.world.mean(torch.stack([value.detach() for value in record.values()]))
        return dict(zip(record, values))

    def discriminator_losses(
        self, batch: Batch, fakes: Sequence[Tensor], step: int, chance: Chance
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return Eq. 3 summed over the D's, with R1 (Eq. 4) every `R1_EVERY` steps, and what to record."""
        loss, sentence = self.config.loss, batch.text.sentence
        wrong = None
        if loss.mismatched:
            wrong = self.world.mine(self.world.gather(sentence).roll(1, dims=0))
        total, targets = sentence.new_zeros(()), batch.targets
        accuracy: list[Tensor] = []
        for judge, stage in zip(self._learning, self.stages):
            with self._autocast():
                on_real = judge(self._augment(targets[stage], chance), sentence, wrong)
                on_fake = judge(self._augment(fakes[stage].detach(), chance), sentence)
            total = total + losses.discriminator_adversarial(on_real, on_fake)
            accuracy += [(on_real.conditional > 0).float().mean(), (on_fake.conditional < 0).float().mean()]
        record = {"d_adversarial": total, "d_accuracy": torch.stack(accuracy).mean()}
        if loss.r1_gamma > 0 and step % R1_EVERY == 0:
            own = zip(self.discriminators, self.stages)
            penalties = torch.stack(
                [losses.r1_penalty(d, targets[i], sentence) for d, i in own if isinstance(d, Discriminator)]
            )
            record["r1"] = penalties.mean()
            total = total + R1_EVERY * loss.r1_gamma / 2 * penalties.sum()
        return total, record

    def generator_losses(
        self, batch: Batch, made: GeneratorOutput, chance: Chance
    ) -> dict[str, tuple[float, Tensor]]:
        """Return G's terms with their weights: Eqs. 1-2, the family's KL, ours; none of weight 0."""
        loss, is_target = self.config.loss, batch.is_target
        first = self.config.train.frozen_stages  # of the stages that are trained
        images = [image.float() for image in made.images[first:]]
        terms: dict[str, tuple[float, Tensor]] = {}

        def likeness(distance: Callable[..., Tensor], *more: object) -> Tensor:
            """Return the mean over the stages of a distance to the real images."""
            pairs = zip(images, batch.targets[first:])
            mean = torch.stack([distance(*pair, is_target, *more) for pair in pairs]).mean()
            return mean * self.world.balance(is_target.sum())

        if loss.adversarial_weight:
            terms["g_adversarial"] = loss.adversarial_weight, self._adversarial(batch, made.images, chance)
        if loss.kl_weight:
            terms["kl"] = loss.kl_weight, losses.kl_divergence(made.mu.float(), made.logvar.float())
        if loss.reconstruction_weight:
            distance = likeness(losses.reconstruction, batch.pixel_weights)
            terms["reconstruction"] = loss.reconstruction_weight, distance
        if loss.perceptual_weight:
            assert self.teachers.squeezenet is not None
            perceived = likeness(partial(perceptual_distance, self.teachers.squeezenet), self.world)
            terms["perceptual"] = loss.perceptual_weight, perceived
        if loss.damsm_weight or loss.attribute_weight:  # both look at the pictures with one network
            with self._autocast():
                found = text_losses(self.config, self.teachers, batch, images, chance)
            weights = {"damsm": loss.damsm_weight, "attributes": loss.attribute_weight}
            terms |= {name: (weights[name], value) for name, value in found.items()}
        return terms

    def _adversarial(self, batch: Batch, images: Sequence[Tensor], chance: Chance) -> Tensor:
        """Eq. 1's adversarial terms, summed over the stages."""
        total = batch.z.new_zeros(())
        for judge, stage in zip(self._judges, self.stages):
            with self._autocast():
                logits = judge(self._augment(images[stage], chance), batch.text.sentence)
            total = total + losses.generator_adversarial(logits)
        return total

    def _augment(self, images: Tensor, chance: Chance) -> Tensor:
        return augment(images, self.config.train.augment, chance)

    def _autocast(self) -> AbstractContextManager[Any]:
        """bf16 where `train.amp` asks for it and the device has it; backward passes stay outside."""
        amp, device = self.config.train.amp, self.world.device
        amp = amp and device.type == "cuda" and torch.cuda.get_device_capability(device) >= BF16_SINCE
        context: AbstractContextManager[Any] = torch.autocast(device.type, torch.bfloat16, enabled=amp)
        return context


def freeze(generator: Generator, stages: int, parts: Sequence[str] = ()) -> dict[str, nn.Module]:
    """Let the first `stages` stages, and parts by their names, keep their weights; return them by name.

    They get no gradients; the caller keeps them in evaluation mode, for their batch statistics. A ConfigError
    names the parts that there are.
    """
    modules = dict(generator.named_modules())
    wanted = f"names of G's parts in train.frozen_parts: {', '.join(n for n in modules if n.count('.') == 1)}"
    for name in parts:
        require(name in modules, ConfigError, wanted, repr(name), "name one of these, or a part of it")
    frozen = {name: part for i in range(stages) for name, part in generator.stage_parts(i).items()}
    frozen |= {name: modules[name] for name in parts}
    for part in frozen.values():
        part.requires_grad_(False)
    return frozen


def _share(parts: dict[str, nn.Module], generator: nn.Module, average: nn.Module) -> None:
    """Let G's average use G's own frozen parts: they need no averaging, and keep their bits."""
    for name in parts:
        above, _, leaf = name.rpartition(".")
        setattr(average.get_submodule(above), leaf, generator.get_submodule(name))


@contextmanager
def _held(module: nn.Module) -> Iterator[None]:
    """Let no gradient reach a module's parameters: G's loss passes through D without training it."""
    learning = [p for p in module.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def _moving_average(decay: float, count: Tensor) -> Callable[..., None]:
    """Return the update avg <- avg * d + value * (1 - d), whose d grows with the step t [ours].

    d = min(decay, (1 + t) / (10 + t)), so that first pictures are not those of first weights. What the
    average shares with G is left alone. `count` is t, on the CPU; what torch hands on is a copy of it on the
    GPU, and to read that would be to wait for the whole step.
    """

    @torch.no_grad()
    def update(averages: list[Tensor], values: list[Tensor], _: Tensor | int) -> None:
        steps = float(count)
        d = min(decay, (1 + steps) / (10 + steps))
        pairs = [(a, v) for a, v in zip(averages, values) if a.data_ptr() != v.data_ptr()]
        if not pairs:
            return
        mine, theirs = [a for a, _ in pairs], [v for _, v in pairs]
        if mine[0].is_floating_point():
            torch._foreach_lerp_(mine, theirs, 1 - d)
        else:
            torch._foreach_copy_(mine, theirs)

    return update
