"""`train-damsm` and `train`: every field of the configuration is an option."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from memdriven.cli.options import FloatOption, PathOption, choose_device
from memdriven.config import Config, from_dict
from memdriven.errors import ConfigError
from memdriven.files import read_json
from memdriven.presets import preset

AllSettings = Annotated[Config, tyro.conf.arg(name="")]
"""The configuration, its sections directly on the command line: `--generator.width 16`."""


def begun_anew(out: Path, resume: bool) -> str:
    """Return what the last line adds where there was nothing to resume, as of a mistyped folder."""
    from memdriven.training.run_directory import STATE

    return (
        " (begun anew: --resume found nothing to go on with)" if resume and not (out / STATE).exists() else ""
    )


@dataclass(kw_only=True)
class TrainDamsm:
    """Train the text encoder and image heads (DAMSM) on cached features.

    Start from a preset and change any setting: `--preset tiny --damsm.epochs 4`.
    """

    dataset: Path
    """Folder of a prepared data set."""
    features: Path
    """Folder of its features (extract-features)."""
    out: Path
    """Folder for the encoders; new, unless --resume."""
    minutes: float = 0.0
    """Stop after this many minutes; 0 trains damsm.epochs epochs."""
    resume: bool = False
    """Go on with the training in --out."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    config: AllSettings = field(default_factory=Config)

    def run(self) -> None:
        """Call the library."""
        from memdriven.training.damsm import train_damsm

        anew = begun_anew(self.out, self.resume)
        train_damsm(
            self.dataset,
            self.features,
            self.out,
            self.config,
            minutes=self.minutes,
            device=choose_device(self.device),
            resume=self.resume,
            progress=True,
        )
        print(f"encoders in {self.out}{anew}")


@dataclass(kw_only=True)
class TrainPixels:
    """Train DAMSM's pixel network further, on pictures that need no features.

    Text encoder and retrieval keys stay as they are. Small renders do: `prepare aviary
    --image-size 64 --seed 2`.
    """

    datasets: list[Path]
    """Folders of prepared data sets; the first one's test split measures."""
    damsm: Path
    """Folder of trained encoders with the compact pixel network."""
    out: Path
    """Folder for the encoders; new, unless --resume."""
    minutes: float = 15.0
    """Budget."""
    batch: int = 64
    """Captions that compete."""
    learning_rate: float = 2e-3
    """Its peak."""
    seed: int = 0
    """Of order, captions and disturbances."""
    resume: bool = False
    """Go on with the training in --out."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.training.damsm_further import train_pixels

        anew = begun_anew(self.out, self.resume)
        train_pixels(
            self.datasets,
            self.damsm,
            self.out,
            minutes=self.minutes,
            batch=self.batch,
            learning_rate=self.learning_rate,
            seed=self.seed,
            device=choose_device(self.device),
            resume=self.resume,
        )
        print(f"encoders in {self.out}{anew}")


@dataclass(kw_only=True)
class TrainText:
    """Train DAMSM's text encoder further, on what its pixel network sees.

    Run it after `train-pixels`. Keys change: build memories anew, and let generators go on with
    `train --start-from`.
    """

    datasets: list[Path]
    """Folders of prepared data sets; the first one's test split measures."""
    features: Path
    """Folder of the first one's features (extract-features)."""
    damsm: Path
    """Folder of trained encoders with the compact pixel network."""
    out: Path
    """Folder for the encoders; new, unless --resume."""
    minutes: float = 10.0
    """Budget, after the maps are computed."""
    batch: int = 64
    """Captions that compete."""
    learning_rate: float = 1e-3
    """Its peak."""
    views: int = 2
    """Disturbed views kept of each picture."""
    seed: int = 0
    """Of order, captions and disturbances."""
    resume: bool = False
    """Go on with the training in --out."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.training.damsm_further import train_text

        anew = begun_anew(self.out, self.resume)
        train_text(
            self.datasets,
            self.features,
            self.damsm,
            self.out,
            minutes=self.minutes,
            batch=self.batch,
            learning_rate=self.learning_rate,
            views=self.views,
            seed=self.seed,
            resume=self.resume,
            device=choose_device(self.device),
        )
        print(f"encoders in {self.out}{anew}; next: build-memory, and train --start-from")


@dataclass(kw_only=True)
class Train:
    """Train the generator against its discriminators.

    Start from a preset and change any setting: `--preset tiny --generator.width 24`.

    On several GPUs: `torchrun --nproc-per-node 4 -m memdriven train ...`.
    """

    dataset: Path
    """Folder of a prepared data set."""
    features: Path
    """Folder of its features (extract-features)."""
    damsm: Path
    """Folder of trained encoders (train-damsm), or a checkpoint, for its encoders."""
    out: Path
    """Run directory: config, metrics, samples, state and checkpoint; new, unless --resume."""
    max_minutes: FloatOption = None
    """Stop cleanly after this many minutes (short for --train.max-minutes)."""
    resume: bool = False
    """Go on with the run in --out."""
    extra: list[Path] = field(default_factory=list)
    """More data sets of the same classes, without features of their own: they are painted from the
    memories they name (prepare recoloured), or else from neighbours of their captions."""
    start_from: PathOption = None
    """Run directory whose networks this new run begins with, e.g. with other encoders or losses;
    or a checkpoint, such as checkpoints/aviary, for its generator alone."""
    later_from: PathOption = None
    """Checkpoint whose later stages it begins with, where --start-from has only a first one."""
    dry_run: bool = False
    """Print shapes, parameters, memory and a time estimate; write nothing."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    vgg: PathOption = None
    """VGG-16 weight file, where damsm.pixel_backbone is vgg16; else a download."""
    squeezenet: PathOption = None
    """SqueezeNet 1.1 weight file, where discriminator.projected is on; else a download."""
    config: AllSettings = field(default_factory=Config)

    def run(self) -> None:
        """Call the library."""
        from memdriven.training.gan import train_gan

        config = self.config
        if self.max_minutes is not None:
            loop = dataclasses.replace(config.train, max_minutes=self.max_minutes)
            config = dataclasses.replace(config, train=loop)
        anew = begun_anew(self.out, self.resume)
        train_gan(
            self.dataset,
            self.features,
            self.damsm,
            self.out,
            config,
            device=choose_device(self.device),
            resume=self.resume,
            start_from=self.start_from,
            later_from=self.later_from,
            extra=self.extra,
            dry_run=self.dry_run,
            vgg_weights=self.vgg,
            squeezenet_weights=self.squeezenet,
            progress=True,
        )
        if not self.dry_run:
            print(f"run in {self.out}{anew}; next: build-memory --checkpoint {self.out / 'checkpoint'}")


@dataclass(kw_only=True)
class TrainRival:
    """Train a GAN without a memory on the same pictures and captions: the rival.

    Laid beside a checkpoint as rival.safetensors (and recorded there) it is a row of `evaluate`: rival.
    """

    dataset: Path
    """Folder of a prepared data set."""
    damsm: Path
    """Folder of trained encoders (train-damsm), or a checkpoint, for its text encoder."""
    out: Path
    """Run directory; new, unless --resume."""
    extra: list[Path] = field(default_factory=list)
    """More prepared data sets, whose training images it learns from, too."""
    minutes: float = 60.0
    """Budget, all starts together."""
    width: int = 16
    """Channels of its finest map; 32 in DF-GAN's published model."""
    size: int = 64
    """Side of its pictures in px."""
    batch: int = 24
    """Images a step."""
    seed: int = 0
    resume: bool = False
    """Go on with the run in --out."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.training.rival import RivalSettings, train_rival

        settings = RivalSettings(
            width=self.width, size=self.size, batch_size=self.batch, minutes=self.minutes, seed=self.seed
        )
        written = train_rival(
            self.dataset,
            self.damsm,
            self.out,
            settings,
            extra=self.extra,
            device=choose_device(self.device),
            resume=self.resume,
        )
        print(f"rival in {written}")


def with_preset(kind: type[Any], arguments: Sequence[str]) -> Any:
    """Return the command with the settings of the `--preset` among its arguments as defaults.

    A run that is gone on with has its own. Fields without a default stay required.

    Raises:
        ConfigError: there is no such preset, or none was named.
    """
    reader = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    reader.add_argument("--preset")
    reader.add_argument("--out", type=Path, default=Path())
    reader.add_argument("--resume", action="store_true")
    given = reader.parse_known_args(list(arguments))[0]
    if given.preset is None and given.resume and (given.out / "config.json").is_file():
        config = from_dict(Config, read_json(given.out / "config.json", ConfigError))
    elif given.preset is None and {"-h", "--help"} & set(arguments):
        config = Config()
    else:
        config = preset(given.preset)
    required = {
        entry.name: tyro.MISSING
        for entry in dataclasses.fields(kind)
        if entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
    }
    return kind(**required, config=config)
