"""`train-judge` and `evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from memdriven.cli.options import CheckpointFolder, IntOption, PathOption, choose_device


@dataclass(kw_only=True)
class TrainJudge:
    """Train the judge of attributes on renders alone, for `evaluate`."""

    dataset: Path
    """Folder of a prepared data set with attribute records (prepare aviary)."""
    out: Path
    """Folder for the judge; new, unless --resume."""
    minutes: float = 5.0
    """Budget of the training loop; 0 means --steps alone."""
    steps: int = 20_000
    """At most this many steps."""
    batch: int = 64
    """Images a step."""
    size: int = 64
    """Side in px at which pictures are judged."""
    limit: IntOption = None
    """Use at most this many images of each split."""
    seed: int = 0
    resume: bool = False
    """Go on with the training in --out."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.errors import EvaluationError
        from memdriven.evaluation.judge import train_attribute_judge
        from memdriven.files import read_json

        train_attribute_judge(
            self.dataset,
            self.out,
            minutes=self.minutes,
            steps=self.steps,
            batch=self.batch,
            size=self.size,
            limit=self.limit,
            seed=self.seed,
            resume=self.resume,
            device=choose_device(self.device),
        )
        facts = read_json(self.out / "judge.json", EvaluationError)["facts"]
        print(f"judge in {self.out}; right on {facts['test_images']} unseen renders:")
        for name, tally in facts.get("test_accuracy", {}).items():
            print(f"  {name:<14} {tally['rate']:.1%} of {tally['count']}")


@dataclass(kw_only=True)
class Evaluate:
    """Measure a checkpoint beside its controls; print a table, append results.jsonl.

    Measures: attributes r_precision r_precision_judge fid_vgg kid_vgg fd_squeezenet kd_squeezenet
    fid_a fid_b fid_c kid_a inception_score copy_check soa part_colours retrieval; of the model alone
    diversity_seed diversity_z background_entropy. What lacks its weights is left out and said so.
    A run that was stopped goes on where it was.
    """

    checkpoint: CheckpointFolder
    """Folder of a checkpoint with its memory bank."""
    dataset: Path
    """Folder of a prepared data set with a test split."""
    out: Path = Path("runs/evaluation")
    """Folder for results.jsonl, generated images and cached features."""
    metrics: tuple[str, ...] = (
        "attributes",
        "r_precision",
        "r_precision_judge",
        "fid_vgg",
        "kid_vgg",
        "diversity_seed",
        "diversity_z",
        "copy_check",
        "retrieval",
    )
    """Which measures."""
    n: int = 1000
    """Captions, one image each (the paper: 30000)."""
    seed: int = 0
    """Noise of image i is drawn from seed + i."""
    controls: tuple[str, ...] = ("retrieved", "real", "random", "none", "oracle")
    """Rows beside the model's: the retrieved images themselves, real images (for distances: of the
    other split), random memory, no memory, each caption's own image as memory; also best-of-8, the
    model with the one of eight references whose picture fits the words best, and retrieved-best-of-8,
    of eight retrieved images the one that fits best by the same reader; and rival, a GAN without a
    memory, where one lies beside the checkpoint (train-rival)."""
    all_strategies: bool = False
    """Also measure the pictures of every retrieval strategy, each in a row of its own."""
    split: str = "test"
    """Whose captions are drawn."""
    memory: PathOption = None
    """A memory bank in place of the checkpoint's own."""
    judge: PathOption = None
    """Folder of the attribute judge (train-judge)."""
    vgg: PathOption = None
    """VGG-16 weight file; else $MEMDRIVEN_VGG16 or torchvision's download."""
    squeezenet: PathOption = None
    """SqueezeNet 1.1 weight file; else $MEMDRIVEN_SQUEEZENET or torchvision's download."""
    inception_a: PathOption = None
    """torch-fidelity's file of the 2015 Inception, for FID forms a and c and the Inception score;
    else its download."""
    inception_b: PathOption = None
    """torchvision's Inception-v3 weights, for FID form b; else its download."""
    detector: PathOption = None
    """torchvision's fasterrcnn_resnet50_fpn_v2 weights, for SOA; else its download."""
    batch: int = 16
    """Images a forward pass."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.evaluation.context import Resources
        from memdriven.evaluation.run import evaluate
        from memdriven.memory.retrieval import STRATEGIES

        resources = Resources(
            judge=self.judge,
            vgg=self.vgg,
            squeezenet=self.squeezenet,
            inception_a=self.inception_a,
            inception_b=self.inception_b,
            detector=self.detector,
        )
        found = evaluate(
            self.checkpoint,
            self.dataset,
            metrics=self.metrics,
            n=self.n,
            seed=self.seed,
            controls=self.controls,
            strategies=STRATEGIES if self.all_strategies else (),
            out=self.out,
            split=self.split,
            resources=resources,
            memory=self.memory,
            device=choose_device(self.device),
            batch=self.batch,
            progress=True,
        )
        print(f"{found.table()}\n\nresults in {self.out / 'results.jsonl'}")
