"""`prepare ...`: bring captioned images into the one format that everything else reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from memdriven.cli.options import IntOption, PathOption, choose_device


@dataclass(kw_only=True)
class PrepareAviary:
    """Render Aviary: 200 invented bird species with captions, from this code alone."""

    out: Path
    """Folder for the data set."""
    train_per_species: int = 27
    """Images of each of the 150 training species."""
    test_per_species: int = 10
    """Images of each of the 50 test species."""
    species_limit: IntOption = None
    """Only the first so many species of each split."""
    image_size: int = 256
    """Side in px."""
    seed: int = 0
    """Another seed gives other pictures of the same species."""
    workers: IntOption = None
    """Processes on the CPU; its cores when left out."""
    device: str = "cpu"
    """cpu, auto, cuda, ..."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.data.aviary.prepare import prepare_aviary

        prepare_aviary(
            self.out, train_per_species=self.train_per_species,
            test_per_species=self.test_per_species, image_size=self.image_size, seed=self.seed,
            workers=self.workers, device=choose_device(self.device), progress=True,
            species_limit=self.species_limit,
        )  # fmt: skip
        _done(self.out)


@dataclass(kw_only=True)
class PrepareFolder:
    """Read your own captioned images: a folder with metadata.jsonl or .csv.

    The Hugging Face imagefolder convention: columns file_name and text. `text` is a caption or a
    list of them, and a file may have several rows. Columns `split` and `class` are
    used where they are there, as are folders named train and test.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """Folder with the images and the metadata file."""
    out: Path
    """Folder for the data set."""
    image_size: int = 256
    """Side in px."""
    test_fraction: float = 0.1
    """Share of the images held out for testing where nothing says which."""
    seed: int = 0
    """Of that choice."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.data.folder import prepare_folder

        prepare_folder(
            self.source, self.out, image_size=self.image_size, test_fraction=self.test_fraction,
            seed=self.seed,
        )  # fmt: skip
        _done(self.out)


@dataclass(kw_only=True)
class PrepareCub:
    """Read CUB-200-2011 with Reed's captions, from the official archives."""

    archive: Path
    """CUB_200_2011 as a folder, .tgz or .zip; or a folder with all the archives."""
    captions: PathOption = None
    """Reed's captions as a folder or archive, where --archive does not hold them."""
    out: Path
    """Folder for the data set."""
    image_size: int = 256
    """Side in px."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.data.cub import prepare_cub

        prepare_cub(self.archive, self.out, captions=self.captions, image_size=self.image_size)
        _done(self.out)


@dataclass(kw_only=True)
class PrepareCoco:
    """Read COCO 2014 with its captions, from the official archives."""

    archive: Path
    """Folder with the photos and annotations, unpacked or as the official zips."""
    out: Path
    """Folder for the data set."""
    image_size: int = 256
    """Side in px."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.data.coco import prepare_coco

        prepare_coco(self.archive, self.out, image_size=self.image_size)
        _done(self.out)


@dataclass(kw_only=True)
class PrepareFlowers:
    """Read Oxford-102 flowers with Reed's captions, from the official archives."""

    archive: Path
    """102flowers as a folder, .tgz or .zip; or a folder with all the archives."""
    captions: PathOption = None
    """Reed's captions as a folder or archive, where --archive does not hold them."""
    out: Path
    """Folder for the data set."""
    image_size: int = 256
    """Side in px."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.data.flowers import prepare_flowers

        prepare_flowers(self.archive, self.out, captions=self.captions, image_size=self.image_size)
        _done(self.out)


def _done(out: Path) -> None:
    from memdriven.data.prepared import PreparedDataset

    data = PreparedDataset.open(out)
    counts = ", ".join(f"{n:,} {split}" for split, n in data.header["counts"].items())
    print(f"{data.name} in {out}: {counts} images at {data.image_size} px")
