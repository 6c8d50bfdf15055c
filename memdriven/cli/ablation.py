"""`ablate`: the same model many times, one thing changed each time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from memdriven.cli.options import PathOption, choose_device
from memdriven.cli.training import AllSettings
from memdriven.config import Config


@dataclass(kw_only=True)
class Ablate:
    """Train one base and its variants with the same seed and budget; measure each.

    Rows: content features by max, by average or none; no v; v_global only; p_swap, spectral norm
    and mismatched pairs switched over; the paper's own equations at the base's sizes. A run that
    was stopped goes on where it was. `report OUT` makes the table.
    """

    dataset: Path
    """Folder of a prepared data set."""
    features: Path
    """Folder of its features (extract-features)."""
    damsm: Path
    """Folder of trained encoders (train-damsm), which all rows share."""
    out: Path
    """Folder for the rows' runs and the results."""
    steps: int = 0
    """Steps a row; 0 means --minutes alone. The same steps are the same images for each row."""
    minutes: float = 0.0
    """Minutes a row; 0 means --steps alone."""
    rows: tuple[str, ...] = ()
    """Rows beside the base, e.g. no-v content-max; all by default."""
    metrics: tuple[str, ...] = ("attributes", "r_precision_judge", "fid_vgg", "kid_vgg", "diversity_seed")
    """Measures of evaluate; on a slow CPU fd_squeezenet and kd_squeezenet for those by VGG."""
    n: int = 500
    """Captions of the evaluation."""
    controls: tuple[str, ...] = ("retrieved", "real", "random", "none", "oracle")
    """Rows beside the base's in the evaluation."""
    extra: tuple[Path, ...] = ()
    """Further training data, as train takes it; the row paper does without."""
    memory: PathOption = None
    """A memory bank of these encoders; built in OUT when left out."""
    judge: PathOption = None
    """Folder of the attribute judge (train-judge)."""
    vgg: PathOption = None
    """VGG-16 weight file; else $MEMDRIVEN_VGG16 or torchvision's download."""
    squeezenet: PathOption = None
    """SqueezeNet 1.1 weight file; else $MEMDRIVEN_SQUEEZENET or torchvision's download."""
    batch: int = 16
    """Images a forward pass of the evaluation."""
    dry_run: bool = False
    """Show the rows and what two steps of the base cost; train nothing."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    config: AllSettings = field(default_factory=Config)

    def run(self) -> None:
        """Call the library."""
        from memdriven.evaluation.ablation import Plan, ablate, plan_text
        from memdriven.evaluation.context import Resources
        from memdriven.training.gan import train_gan

        plan = Plan(
            dataset=self.dataset,
            features=self.features,
            damsm=self.damsm,
            out=self.out,
            base=self.config,
            steps=self.steps,
            minutes=self.minutes,
            rows=self.rows,
            metrics=self.metrics,
            n=self.n,
            controls=self.controls,
            extra=self.extra,
            memory=self.memory,
            resources=Resources(judge=self.judge, vgg=self.vgg, squeezenet=self.squeezenet),
            device=choose_device(self.device),
            batch=self.batch,
        )
        print(plan_text(plan))
        if self.dry_run:
            train_gan(
                self.dataset,
                self.features,
                self.damsm,
                self.out / "base",
                self.config,
                device=plan.device,
                extra=self.extra,
                dry_run=True,
                vgg_weights=self.vgg,
                squeezenet_weights=self.squeezenet,
            )
            return
        failed = ablate(plan)
        print(f"results in {self.out / 'evaluation' / 'results.jsonl'}; next: report {self.out}")
        for name, why in failed.items():
            print(f"no results of {name}: {why}")
