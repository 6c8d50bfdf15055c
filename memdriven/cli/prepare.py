"""`prepare ...`: bring captioned images into the one format that everything else reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from memdriven.cli.options import IntOption, PathOption, TextOption, choose_device


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
        from memdriven.aviary.prepare import prepare_aviary

        prepare_aviary(
            self.out,
            train_per_species=self.train_per_species,
            test_per_species=self.test_per_species,
            image_size=self.image_size,
            seed=self.seed,
            workers=self.workers,
            device=choose_device(self.device),
            progress=True,
            species_limit=self.species_limit,
        )
        _done(self.out)


@dataclass(kw_only=True)
class PrepareRecoloured:
    """Render Aviary's birds in colours that captions ask for, for `train --extra`.

    G is shown what should come of a memory and words that disagree, which only a renderer knows.
    """

    dataset: Path
    """Folder of a prepared Aviary."""
    out: Path
    """Folder for the data set."""
    per_image: int = 4
    """Captions tried on each training image; those naming what is hidden are dropped."""
    image_size: int = 128
    """Side in px."""
    seed: int = 0
    """Another seed gives other captions and colours."""
    workers: IntOption = None
    """Processes on the CPU; its cores when left out."""
    device: str = "cpu"
    """cpu, auto, cuda, ..."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.aviary.recolour import prepare_recoloured

        prepare_recoloured(
            self.dataset,
            self.out,
            per_image=self.per_image,
            image_size=self.image_size,
            seed=self.seed,
            workers=self.workers,
            device=choose_device(self.device),
            progress=True,
        )
        _done(self.out)


@dataclass(kw_only=True)
class PrepareResettings:
    """Render Aviary's birds in the place, light and plumage that a noise z asks for.

    For `train --extra`: z gets something to say that neither words nor memory settle. Each item
    holds the first numbers of its z.
    """

    dataset: Path
    """Folder of a prepared Aviary."""
    out: Path
    """Folder for the data set."""
    per_image: int = 3
    """Pictures of each training image; those that hide what their caption names are dropped."""
    plumage: float = 0.25
    """Share of the parts that no word names which take a colour of z's."""
    wishes: float = 0.8
    """Share of captions about a bird of other colours; the rest describe the remembered one."""
    places: float = 0.4
    """Share of captions that name a background, any of those where the bird can be."""
    image_size: int = 128
    """Side in px."""
    seed: int = 0
    """Another seed gives other pictures."""
    workers: IntOption = None
    """Processes on the CPU; its cores when left out."""
    device: str = "cpu"
    """cpu, auto, cuda, ..."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.aviary.resettings import prepare_resettings

        prepare_resettings(
            self.dataset,
            self.out,
            per_image=self.per_image,
            plumage=self.plumage,
            wishes=self.wishes,
            places=self.places,
            image_size=self.image_size,
            seed=self.seed,
            workers=self.workers,
            device=choose_device(self.device),
            progress=True,
        )
        _done(self.out)


@dataclass(kw_only=True)
class PrepareFolder:
    """Read your own captioned images: a folder with metadata.jsonl or .csv.

    The Hugging Face imagefolder convention: columns file_name and text. `text` is a caption or a
    list of them, and a file may have several rows. Columns `split`, `class` and `box` are
    used where they are there, as are folders named train and test. Other tools' tables (any
    separator; image and prompt; a.txt beside a.png) are read, too. The images may lie in a zip.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """Folder with the table, and the images or a zip of them; or a zip of it all."""
    out: Path
    """Folder for the data set."""
    name: TextOption = None
    """Name of the data set; the source folder's when left out."""
    images: PathOption = None
    """Zip or tar with the images, relative to SOURCE; needed where several zips lie there."""
    split_column: str = "split"
    """Column that says train, validation or test."""
    image_size: int = 256
    """Side in px."""
    fit: Literal["crop", "pad"] = "crop"
    """What is not square is cropped to its middle, or kept whole between bars."""
    test_fraction: float = 0.1
    """Share of the images held out for testing where nothing says which."""
    captions_from_names: bool = False
    """Describe images without a caption by their file's name."""
    skip_faults: bool = False
    """Leave faulty rows and unreadable images out and tell them, instead of refusing the folder."""
    follow_links: bool = False
    """Follow links that lead out of the folder, as a download cache has them."""
    seed: int = 0
    """Of that choice."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.data.folder import prepare_folder

        prepare_folder(
            self.source,
            self.out,
            images=self.images,
            name=self.name,
            split_column=self.split_column,
            image_size=self.image_size,
            fit=self.fit,
            test_fraction=self.test_fraction,
            captions_from_names=self.captions_from_names,
            skip_faults=self.skip_faults,
            follow_links=self.follow_links,
            seed=self.seed,
        )
        _done(self.out)


@dataclass(kw_only=True)
class _ReedOptions:
    """What the two photo sets with Reed's captions are asked for."""

    out: Path
    """Folder for the data set."""
    archive: tuple[Path, ...] = ()
    """The photographs, a folder, .tgz or .zip, or a folder of all archives: nothing is loaded."""
    captions: tuple[Path, ...] = ()
    """Reed's captions as a folder or archive, where --archive does not hold them."""
    downloads: PathOption = None
    """Folder of downloaded archives; `archives` beside --out when left out."""
    image_size: int = 256
    """Side in px."""


@dataclass(kw_only=True)
class PrepareCub(_ReedOptions):
    """CUB-200-2011 birds with Reed's captions: downloaded, or from --archive.

    The photographs (1.2 GB) are downloaded; Reed's captions, cvpr2016_cub.tar.gz, lie where only
    browsers are served, and are given with --captions.
    """

    def run(self) -> None:
        """Call the library."""
        from memdriven.data.photos import prepare_cub

        prepare_cub(
            self.out,
            archives=self.archive,
            captions=self.captions,
            downloads=self.downloads,
            image_size=self.image_size,
        )
        _done(self.out)


@dataclass(kw_only=True)
class PrepareFlowers(_ReedOptions):
    """Oxford-102 flowers with Reed's captions: downloaded, or from --archive.

    The photographs (0.3 GB) are downloaded; Reed's captions, cvpr2016_flowers.tar.gz, lie where
    only browsers are served, and are given with --captions.
    """

    def run(self) -> None:
        """Call the library."""
        from memdriven.data.photos import prepare_flowers

        prepare_flowers(
            self.out,
            archives=self.archive,
            captions=self.captions,
            downloads=self.downloads,
            image_size=self.image_size,
        )
        _done(self.out)


@dataclass(kw_only=True)
class PrepareCoco:
    """COCO 2014 with its captions: downloaded (20 GB), or from --archive."""

    out: Path
    """Folder for the data set."""
    archive: tuple[Path, ...] = ()
    """The photos and annotations as folders or official zips, or a folder of these."""
    downloads: PathOption = None
    """Folder of downloaded archives; `archives` beside --out when left out."""
    image_size: int = 256
    """Side in px."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.data.photos import prepare_coco

        prepare_coco(self.out, archives=self.archive, downloads=self.downloads, image_size=self.image_size)
        _done(self.out)


def _done(out: Path) -> None:
    from memdriven.data.prepared import PreparedDataset

    data = PreparedDataset.open(out)
    counts = ", ".join(f"{n:,} {split}" for split, n in data.header["counts"].items())
    print(f"{data.name} in {out}: {counts} images at {data.image_size} px")
    for note in data.header.get("notes", ()):
        print(f"  {note}")
