"""`extract-features` and `build-memory`: from a prepared data set to a memory bank."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from memdriven.cli.options import IntOption, PathOption, choose_device
from memdriven.errors import ConfigError


@dataclass(kw_only=True)
class ExtractFeatures:
    """Run VGG-16 over a data set once and keep relu5_3 (v) of every image.

    Goes on where it was stopped.
    """

    dataset: Path
    """Folder of a prepared data set."""
    out: Path
    """Folder for the feature store."""
    splits: tuple[str, ...] = ("train", "test")
    """Splits whose images are used, of those that the data set has."""
    vgg: PathOption = None
    """VGG-16 weight file; else $MEMDRIVEN_VGG16 or torchvision's download."""
    batch: int = 8
    """Images a forward pass."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.data.prepared import PreparedDataset
        from memdriven.encoders.vgg import Vgg16Features
        from memdriven.memory.build import extract_features

        data = PreparedDataset.open(self.dataset)
        items = [item for item in data.items if item.split in self.splits]
        vgg = Vgg16Features.load(self.vgg, choose_device(self.device))
        store = extract_features(data, items, vgg, self.out, batch=self.batch, progress=True)
        print(f"features of {len(store)} images in {self.out}")


@dataclass(kw_only=True)
class BuildMemory:
    """Build the memory bank of a checkpoint, or of trained encoders.

    Features, captions, search keys and thumbnails of one split. Goes on where it was stopped.
    """

    dataset: Path
    """Folder of a prepared data set."""
    features: Path
    """Folder of its features (extract-features)."""
    checkpoint: PathOption = None
    """Checkpoint whose encoders are used; its bank goes into CHECKPOINT/memory."""
    damsm: PathOption = None
    """Or: folder of trained encoders (train-damsm), together with --out."""
    out: PathOption = None
    """Folder for the bank."""
    split: str = "train"
    """Whose images become the memory."""
    limit: IntOption = None
    """At most this many images, evenly spread over the split."""
    replace: bool = False
    """Replace an older memory there even if it is larger or of another data set."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    def run(self) -> None:
        """Call the library."""
        from memdriven.checkpoint import MAP, MEMORY, load_checkpoint
        from memdriven.encoders.damsm import load_damsm
        from memdriven.explore.memory_map import renew_map
        from memdriven.memory.build import build_memory

        device = choose_device(self.device)
        if self.checkpoint is not None and self.damsm is None:
            loaded = load_checkpoint(self.checkpoint, device)
            damsm, vocabulary, config = loaded.damsm, loaded.vocabulary, loaded.config
            out = self.out or self.checkpoint / MEMORY
        elif self.damsm is not None and self.checkpoint is None and self.out is not None:
            trained = load_damsm(self.damsm, device)
            damsm, vocabulary, config = trained.damsm, trained.vocabulary, trained.config
            out = self.out
        else:
            raise ConfigError(
                wanted="either --checkpoint, or --damsm with --out",
                found="both" if self.checkpoint else "neither, or no --out",
                fix="say whose encoders to use",
            )
        bank = build_memory(
            self.dataset,
            self.features,
            damsm,
            vocabulary,
            out,
            split=self.split,
            limit=self.limit,
            max_words=config.text.max_words,
            replace=self.replace,
            progress=True,
        )
        if (
            self.checkpoint is not None
            and out == self.checkpoint / MEMORY
            and (self.checkpoint / MAP).is_file()
        ):
            renew_map(self.checkpoint)
        print(f"memory bank of {bank.n} images in {out}")
