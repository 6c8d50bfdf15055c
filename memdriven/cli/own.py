"""`own` and `own-memory`: your own pictures in one command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from memdriven.cli.options import PathOption, choose_device

Folder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
DEFAULT = Path("checkpoints/aviary")


@dataclass(kw_only=True)
class Own:
    """Train a model of your own captioned pictures and open the app with it.

    Begins with the shipped generator. Stopped, the same command goes on where it was.
    """

    folder: Folder
    """Pictures with captions, as `prepare folder` reads them; or described by their files' names."""
    out: PathOption = None
    """Where everything goes; runs/ and the folder's name when left out."""
    minutes: float = 30.0
    """For the trainings together; features and the memory come on top."""
    start_from: Path = DEFAULT
    """Checkpoint whose generator it begins with."""
    fit: Literal["pad", "crop"] = "pad"
    """Wide pictures are kept whole between bars, or cropped to their middle."""
    vgg: PathOption = None
    """VGG-16 weight file; else $MEMDRIVEN_VGG16 or torchvision's download."""
    squeezenet: PathOption = None
    """SqueezeNet 1.1 weight file; else a download."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    open: bool = True
    """Open the app at the end."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.training.own import train_own

        made = train_own(
            self.folder,
            out=self.out,
            minutes=self.minutes,
            start_from=self.start_from,
            fit=self.fit,
            vgg=self.vgg,
            squeezenet=self.squeezenet,
            device=choose_device(self.device),
        )
        _open(made, self.open)


@dataclass(kw_only=True)
class OwnMemory:
    """Give a model a memory of your own pictures, without training.

    Opens the app with it. Captions are optional: what has none is found by how it looks.
    """

    folder: Folder
    """Pictures, with captions or without."""
    out: PathOption = None
    """Where the copy of the checkpoint goes; runs/ and the folder's name when left out."""
    checkpoint: Path = DEFAULT
    """The model; it stays as it is."""
    fit: Literal["pad", "crop"] = "pad"
    """Wide pictures are kept whole between bars, or cropped to their middle."""
    vgg: PathOption = None
    """VGG-16 weight file; else $MEMDRIVEN_VGG16 or torchvision's download."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    open: bool = True
    """Open the app at the end."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.explore.memory_map import renew_map
        from memdriven.training.own import memorise_own

        made = memorise_own(
            self.folder,
            out=self.out,
            checkpoint=self.checkpoint,
            fit=self.fit,
            vgg=self.vgg,
            device=choose_device(self.device),
        )
        renew_map(made)
        _open(made, self.open)


def _open(checkpoint: Path, wanted: bool) -> None:
    """Serve the page with a checkpoint, as `python app.py --checkpoint CHECKPOINT` does."""
    app = Path(__file__).parents[2] / "app.py"
    if wanted and app.is_file():
        import subprocess
        import sys

        subprocess.run([sys.executable, str(app), "--checkpoint", str(checkpoint)], check=False)
    else:
        print(f"python app.py --checkpoint {checkpoint}")
