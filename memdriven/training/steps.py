"""One training step of G and the D's: Eqs. 1-4, with one forward pass of G for both updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from memdriven import losses
from memdriven.config import Config
from memdriven.models.discriminator import Discriminator, Logits
from memdriven.models.generator import Generator
from memdriven.models.projected import Backbone, ProjectedDiscriminator
from memdriven.training.augment import augment
from memdriven.training.batches import Batch
from memdriven.training.distributed import World
from memdriven.training.muon import Muon, is_matrix
from memdriven.training.perceptual import Perceptual
from memdriven.training.text_loss import TextLoss


class GanTrainer:
    """The networks, their optimisers and the step; knows nothing of files or time.

    Args:
        config: the run's settings.
        text_loss: scores generated pictures against their captions, frozen.
        device: where the networks live.
        world: the processes that train together.
        backbone: frozen maps under the projected discriminator, where there is one.
        perceptual: judges likeness to a target, for `loss.perceptual_weight`.
    """

    def __init__(
        self,
        config: Config,
        text_loss: TextLoss,
        device: torch.device,
        world: World,
        backbone: Backbone | None = None,
        perceptual: Perceptual | None = None,
    ) -> None:
        train = config.train
        self.config, self.text_loss = config, text_loss
        self.perceptual = perceptual
        self.device, self.world = device, world
        torch.manual_seed(train.seed)
        self.generator = self._place(Generator(config.generator))
        self.generator.freeze(train.frozen_stages, train.frozen_names)
        sizes = self.generator.resolutions
        self.stages = list(range(train.frozen_stages, len(sizes)))
        """Which stage's images each D judges."""
        self.discriminators = nn.ModuleList(
            self._place(Discriminator(config.discriminator, sizes[stage], config.text.dim))
            for stage in self.stages
        )
        if backbone is not None:
            self.discriminators.append(
                self._place(ProjectedDiscriminator(backbone, sizes[-1], config.text.dim, device=device))
            )
            self.stages.append(len(sizes) - 1)
        for module in (self.generator, self.discriminators):
            world.broadcast(module.state_dict().values())
        self.average = AveragedModel(
            self.generator, multi_avg_fn=_moving_average(train.ema, warmup=train.ema_warmup), use_buffers=True
        )
        settings: dict[str, Any] = {"betas": train.betas, "fused": True}
        g_parameters = [p for p in self.generator.parameters() if p.requires_grad]
        by_muon = [p for p in g_parameters if train.optimiser == "muon" and is_matrix(p)]
        chosen = set(by_muon)
        g_parameters = [p for p in g_parameters if p not in chosen]
        self.g_optimiser = torch.optim.Adam(g_parameters, train.learning_rate, **settings)
        self.g_muon = Muon(by_muon, train.learning_rate, train.momentum) if by_muon else None
        self._d_parameters = [p for p in self.discriminators.parameters() if p.requires_grad]
        self.d_optimiser = torch.optim.Adam(self._d_parameters, train.d_learning_rate, **settings)
        self._chance = torch.Generator()
        """Of what D sees augmented: follows from seed, step and process, so that runs resume."""
        self._generate: Callable[..., Any] = self.generator
        self._judges: list[Callable[..., Any]] = list(self.discriminators)
        if train.compile:
            self._generate = torch.compile(self.generator)
            self._judges = [torch.compile(d) for d in self.discriminators]

    def _place(self, module: nn.Module) -> Any:
        layout = torch.channels_last if self.config.train.channels_last else None
        module = module.to(self.device)
        return module.to(memory_format=layout) if layout is not None else module

    @property
    def ema(self) -> Generator:
        """The moving average of G, which makes the pictures."""
        module = self.average.module
        assert isinstance(module, Generator)
        # Averaging adds zeros to zeros, which loses their sign: what is frozen keeps its bits.
        for part, own in zip(module.frozen, self.generator.frozen, strict=True):
            part.load_state_dict(own.state_dict())
        return module

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What a saved state holds."""
        return {"generator": self.generator, "average": self.average, "discriminators": self.discriminators}

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """What a saved state holds of the optimisers."""
        found: dict[str, torch.optim.Optimizer] = {
            "generator": self.g_optimiser,
            "discriminators": self.d_optimiser,
        }
        return found | ({"generator-muon": self.g_muon} if self.g_muon is not None else {})

    def step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Update the D's, then G, then its average; return the losses, detached."""
        self.generator.train()
        frozen = self.config.train.frozen_stages
        seed = self.config.train.seed * 1_000_003 + step
        self._chance.manual_seed(seed * 512 + self.world.rank)
        amp = self.config.train.amp and self.device.type == "cuda"
        weights = self.config.loss
        with torch.autocast(self.device.type, torch.bfloat16, enabled=amp):
            output = self._generate(batch.z, batch.text.sentence, batch.words, batch.v, batch.epsilon)
            record: dict[str, Tensor] = {}
            if weights.adversarial_weight:
                record = self._update_discriminators(batch, output.images, step)
                for parameter in self._d_parameters:
                    parameter.requires_grad_(False)
                record["g_adversarial"] = self._adversarial(batch, output.images)
            if weights.damsm_weight or weights.attribute_weight:
                record |= self.text_loss(batch, output.images[frozen:], step)
            record["kl"] = losses.kl_divergence(output.mu.float(), output.logvar.float())
        pairs = list(zip(output.images[frozen:], batch.images[frozen:]))
        if weights.reconstruction_weight > 0:
            record["reconstruction"] = torch.stack(
                [losses.reconstruction(fake.float(), real, batch.own, batch.places) for fake, real in pairs]
            ).mean()
        if self.perceptual is not None:
            record["perceptual"] = torch.stack(
                [self.perceptual(fake.float(), real, batch.own) for fake, real in pairs]
            ).mean()
        weighted = {
            "g_adversarial": weights.adversarial_weight,
            "damsm": weights.damsm_weight,
            "attributes": weights.attribute_weight,
            "kl": weights.kl_weight,
            "reconstruction": weights.reconstruction_weight,
            "perceptual": weights.perceptual_weight,
        }
        total = torch.stack([w * record[n] for n, w in weighted.items() if n in record]).sum()
        if weights.diversity_weight > 0 and step % weights.diversity_every == 0:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=amp):
                record["diversity"] = self._diversity(batch, output.images[-1])
            total = total + (weights.diversity_every * weights.diversity_weight * record["diversity"])
        self._descend(self.generator, total, self.g_optimiser, self.g_muon)
        for parameter in self._d_parameters:
            parameter.requires_grad_(True)
        self.average.update_parameters(self.generator)
        return {name: value.detach() for name, value in record.items()}

    def _adversarial(self, batch: Batch, images: list[Tensor]) -> Tensor:
        """Eq. 1's adversarial terms, summed over the stages."""
        total = images[0].new_zeros((), dtype=torch.float32)
        for judge, stage in zip(self._judges, self.stages):
            logits = _in_float(judge(self._augment(images[stage]), batch.text.sentence))
            total = total + losses.generator_adversarial(logits)
        return total

    def _augment(self, images: Tensor) -> Tensor:
        return augment(images, self.config.train.augment, self._chance)

    def _update_discriminators(self, batch: Batch, fakes: list[Tensor], step: int) -> dict[str, Tensor]:
        """Eq. 4: the adversarial losses of all stages, and R1 every `r1_every` steps."""
        config = self.config.loss
        sentence = batch.text.sentence
        total = sentence.new_zeros(())
        accuracy: list[Tensor] = []
        for module, judge, stage in zip(self.discriminators, self._judges, self.stages):
            assert isinstance(module, Discriminator | ProjectedDiscriminator)
            seen = self._augment(batch.images[stage])
            on_fake = _in_float(judge(self._augment(fakes[stage].detach()), sentence))
            if config.mismatched:
                features: Any = module.features(seen)
                on_real = _in_float(
                    Logits(module.unconditional(features).flatten(), module.judge(features, sentence))
                )
                wrong = module.judge(features, sentence.roll(1, dims=0)).float()
                total = total + losses.discriminator_adversarial(on_real, on_fake, wrong)
            else:
                on_real = _in_float(judge(seen, sentence))
                total = total + losses.discriminator_adversarial(on_real, on_fake)
            accuracy += [(on_real.conditional > 0).float().mean(), (on_fake.conditional < 0).float().mean()]
        record = {"d_adversarial": total, "d_accuracy": torch.stack(accuracy).mean()}
        if step % config.r1_every == 0 and config.r1_gamma > 0:
            penalties = [
                losses.r1_penalty(module, batch.images[stage], sentence)
                for module, stage in zip(self.discriminators, self.stages)
                if isinstance(module, Discriminator)
            ]
            record["r1"] = torch.stack(penalties).mean()
            total = total + config.r1_every * config.r1_gamma / 2 * torch.stack(penalties).sum()
        self._descend(self.discriminators, total, self.d_optimiser)
        return record

    def _diversity(self, batch: Batch, images: Tensor) -> Tensor:
        """How far another z moves the batch's last images (negative).

        The whole batch is painted again: of a part, G's normalisation would see other statistics,
        and the difference would be that.
        """
        other = batch.z.roll(1, dims=0)
        again = self._generate(other, batch.text.sentence, batch.words, batch.v, batch.epsilon).images[-1]
        limit = self.config.loss.diversity_limit
        return losses.diversity(images.float(), again.float(), batch.z, other, limit)

    def _descend(self, module: nn.Module, loss: Tensor, *optimisers: torch.optim.Optimizer | None) -> None:
        module.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.world.average_gradients(module)
        for optimiser in filter(None, optimisers):
            optimiser.step()


def _in_float(logits: Logits) -> Logits:
    """Decide in float32: softplus of a bf16 logit is too coarse."""
    return Logits(logits[0].float(), logits[1].float())


def _moving_average(decay: float, *, warmup: bool) -> Callable[..., None]:
    """Return the update avg <- avg * d + value * (1 - d), whose d grows with the step."""

    @torch.no_grad()
    def update(averages: list[Tensor], values: list[Tensor], count: Tensor | int) -> None:
        steps = float(count)
        d = min(decay, (1 + steps) / (10 + steps)) if warmup else decay
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, values, 1 - d)
        else:
            for average, value in zip(averages, values):
                average.copy_(value)

    return update
