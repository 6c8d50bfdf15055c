"""Aviary's checkpoint from nothing, in one resumable chain that needs only torch and friends.

    python -m benchmarks.train_aviary --work runs/aviary --device cuda --gan-minutes 15 \
        --vgg vgg16_features.safetensors --squeezenet squeezenet1_1.safetensors

renders the birds, and the recoloured ones, extracts features, trains DAMSM, then its pixel network
and text encoder by themselves (where the preset has the compact one) and the attribute judge,
shapes G without adversaries, trains it with them, builds the memory and measures. A finished stage
is skipped and a stopped one gone on with, so that the same command, repeated, spends one budget
over several calls; `--until` ends a call after a stage.
Imports neither annoy, gradio nor tyro, for machines that lack them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path

from memdriven.aviary.prepare import prepare_aviary
from memdriven.aviary.recolour import prepare_recoloured
from memdriven.config import Config
from memdriven.data.prepared import PreparedDataset
from memdriven.encoders.damsm import load_damsm
from memdriven.encoders.vgg import Vgg16Features
from memdriven.evaluation.context import Resources
from memdriven.evaluation.judge import train_attribute_judge
from memdriven.evaluation.run import evaluate
from memdriven.files import atomic_write_json
from memdriven.memory.build import build_memory, extract_features
from memdriven.models.generator import BASE_SIZE
from memdriven.presets import PRESETS, preset
from memdriven.training.damsm import train_damsm
from memdriven.training.damsm_further import train_pixels, train_text
from memdriven.training.gan import train_gan
from memdriven.training.run_directory import STATE

METRICS = ("attributes", "r_precision", "r_precision_judge", "fid_vgg", "kid_vgg", "diversity", "copy_check")
ROUNDING = 0.02
"""Minutes that a log's rounding may hide."""


class Chain:
    """The stages in order; each leaves its mark in `work`/stages.json when it is done."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.of, self.work = options, options.work
        self.data, self.renders = self.work / "data", self.work / "judge-data"
        self.pictures, self.features = self.work / "pixel-data", self.work / "features"
        parts = ("damsm", "damsm-pixels", "damsm-text")
        self.first, self.seeing, self.reading = (self.work / part for part in parts)
        self.recoloured, self.extra = self.work / "recoloured", self.work / "extra"
        self.shaped, self.run = self.work / "gan-shape", self.work / "gan"
        self.judge = self.work / "judge"
        self.checkpoint = self.run / "checkpoint"

    @property
    def apart(self) -> bool:
        """Whether DAMSM has a pixel network that can be trained by itself."""
        return self.config.damsm.pixel_backbone == "compact"

    @property
    def damsm(self) -> Path:
        """The encoders that G is trained with."""
        return self.reading if self.apart else self.first

    @property
    def config(self) -> Config:
        """The preset, with the asked seed and batch size."""
        return self._as_asked(preset(self.of.preset))

    def _as_asked(self, config: Config) -> Config:
        changes = {"seed": self.of.seed}
        if self.of.batch_size:
            changes["batch_size"] = self.of.batch_size
        return dataclasses.replace(config, train=dataclasses.replace(config.train, **changes))

    def render(self) -> None:
        """The data set, and smaller renders of other birds: for pixels alone, for the judge."""
        of = self.of
        prepare_aviary(
            self.data,
            train_per_species=of.train_per_species,
            test_per_species=of.test_per_species,
            workers=of.workers,
        )
        prepare_aviary(
            self.renders,
            train_per_species=of.judge_per_species,
            test_per_species=4,
            image_size=64,
            seed=1,
            workers=of.workers,
        )
        side = max(128, BASE_SIZE << (self.config.generator.stages - 1))
        prepare_recoloured(
            self.data, self.recoloured, per_image=of.recoloured, image_size=side, workers=of.workers
        )
        prepare_aviary(
            self.extra,
            train_per_species=of.train_per_species,
            test_per_species=0,
            image_size=side,
            seed=4,
            workers=of.workers,
        )
        if self.apart:
            prepare_aviary(
                self.pictures,
                train_per_species=of.pixels_per_species,
                test_per_species=1,
                image_size=self.config.damsm.pixel_size,
                seed=2,
                workers=of.workers,
            )

    def extract(self) -> None:
        """Features of the training pictures, and of every fourth test picture for recall."""
        data = PreparedDataset.open(self.data)
        items = data.split("train") + data.split("test")[::4]
        extract_features(data, items, Vgg16Features.load(self.of.vgg, self.of.device), self.features)

    def encoders(self) -> None:
        """DAMSM."""
        train_damsm(
            self.data,
            self.features,
            self.first,
            self.config,
            minutes=self.of.damsm_minutes,
            device=self.of.device,
            resume=(self.first / STATE).exists(),
        )

    def pixels(self) -> None:
        """DAMSM's pixel network and the head that names attributes, on more pictures."""
        if self.apart:
            train_pixels(
                [self.data, self.pictures],
                self.first,
                self.seeing,
                minutes=self.of.pixels_minutes,
                device=self.of.device,
                resume=(self.seeing / STATE).exists(),
            )

    def text(self) -> None:
        """DAMSM's text encoder, on what the pixel network sees."""
        if self.apart:
            train_text(
                [self.data, self.pictures],
                self.features,
                self.seeing,
                self.reading,
                minutes=self.of.text_minutes,
                device=self.of.device,
                resume=(self.reading / STATE).exists(),
            )

    def witness(self) -> None:
        """The attribute judge, on renders of birds that the generator never meets."""
        train_attribute_judge(
            self.renders,
            self.judge,
            minutes=self.of.judge_minutes,
            device=self.of.device,
            resume=(self.judge / STATE).exists(),
        )

    def shape(self) -> bool:
        """G alone, on targets: shapes and colours, before anything judges the picture."""
        config = self._as_asked(preset(f"{self.of.preset}-shape"))
        return self._train(self.shaped, config, self.of.shape_minutes, [self.recoloured], None)

    def generator(self) -> bool:
        """G and the D's."""
        extra = [self.recoloured, self.extra]
        return self._train(self.run, self.config, self.of.gan_minutes, extra, self.shaped / "checkpoint")

    def _train(
        self, run: Path, config: Config, minutes: float, extra: list[Path], start: Path | None
    ) -> bool:
        """Train; false while minutes of the budget are left for another call."""
        train = dataclasses.replace(config.train, max_minutes=minutes)
        train_gan(
            self.data,
            self.features,
            self.damsm,
            run,
            dataclasses.replace(config, train=train),
            device=self.of.device,
            vgg=self.of.vgg,
            squeezenet=self.of.squeezenet,
            resume=(run / "config.json").exists(),
            call_minutes=self.of.call_minutes or 0.0,
            extra=extra,
            start_from=start,
        )
        log = run / "metrics.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        spent = float(json.loads(lines[-1])["minutes"]) if lines else 0.0
        return minutes - spent < ROUNDING

    def memory(self) -> None:
        """The bank, beside the weights."""
        encoders, vocabulary, *_ = load_damsm(self.damsm)
        build_memory(self.data, self.features, encoders, vocabulary, self.checkpoint / "memory")

    def measure(self) -> None:
        """Every measure of the model card, with its controls."""
        weights = Resources(vgg=self.of.vgg, squeezenet=self.of.squeezenet, judge=self.judge)
        evaluate(
            self.checkpoint,
            self.data,
            metrics=METRICS,
            n=self.of.n,
            out=self.work / "results",
            resources=weights,
            device=self.of.device,
        )

    @property
    def stages(self) -> dict[str, Callable[[], bool | None]]:
        """Name -> what to do, in order."""
        return {
            "render": self.render,
            "extract": self.extract,
            "encoders": self.encoders,
            "pixels": self.pixels,
            "text": self.text,
            "witness": self.witness,
            "shape": self.shape,
            "generator": self.generator,
            "memory": self.memory,
            "measure": self.measure,
        }

    def start(self) -> None:
        """Run what is not done yet, and record how long each stage took."""
        self.work.mkdir(parents=True, exist_ok=True)
        marks = self.work / "stages.json"
        done = json.loads(marks.read_text()) if marks.exists() else {}
        for name, act in self.stages.items():
            if name not in done:
                began = time.perf_counter()
                if act() is False:
                    return
                done[name] = round(time.perf_counter() - began, 1)
                atomic_write_json(marks, done)
                print(f"{name}: {done[name]} s", flush=True)
            if name == self.of.until:
                return


def existing(text: str) -> Path:
    """A file that must be there before hours are spent on what comes before it."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"no file {path}")
    return path


def main() -> None:
    """Read the command line and run the chain."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of everything made")
    phased = [name for name in PRESETS if f"{name}-shape" in PRESETS]
    parser.add_argument("--preset", choices=phased, default="aviary")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--vgg", type=existing, help="VGG-16 weight file; else a download")
    parser.add_argument("--squeezenet", type=existing, help="SqueezeNet weights; else a download")
    parser.add_argument("--train-per-species", type=int, default=27)
    parser.add_argument("--test-per-species", type=int, default=10)
    parser.add_argument("--judge-per-species", type=int, default=80)
    parser.add_argument("--damsm-minutes", type=float, default=3.0)
    parser.add_argument("--pixels-per-species", type=int, default=54)
    parser.add_argument("--pixels-minutes", type=float, default=2.0)
    parser.add_argument("--text-minutes", type=float, default=1.5)
    parser.add_argument("--judge-minutes", type=float, default=2.0)
    parser.add_argument("--recoloured", type=int, default=5, help="targets a training picture")
    parser.add_argument("--shape-minutes", type=float, default=6.0)
    parser.add_argument("--gan-minutes", type=float, default=20.0)
    parser.add_argument(
        "--call-minutes", type=float, default=0.0, help="train G at most this long in one call; 0 is no limit"
    )
    parser.add_argument("--batch-size", type=int, default=0, help="of G; 0 keeps the preset's")
    parser.add_argument("--n", type=int, default=2000, help="captions to measure")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, help="render processes; all cores by default")
    parser.add_argument("--until", help="end this call after the stage of this name")
    Chain(parser.parse_args()).start()


if __name__ == "__main__":
    main()
