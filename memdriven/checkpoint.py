"""Checkpoints: a folder of safetensors and JSON that is all the pipeline needs.

config.json            schema, settings, training facts, SHA-256 of each file below and of itself
vocabulary.json
damsm.safetensors      text encoder and image heads, float16
attributes.safetensors readers of what captions name and pictures show; not every model has them
generator.safetensors  moving average of G's first stage, float16
generator-128.safetensors, ... what each later stage adds, packed as int8; the first's file stays as it is
examples.json          captions that the page offers; not every model has them
discriminator.safetensors one stage's D, whose answers the page shows; not every model has one
rival.safetensors      a GAN without a memory, trained on the same pictures (`training.rival`), in some
map.safetensors        where the map of the memory shows each item (`explore.memory_map`); likewise
memory/                the memory bank
README.md              the model card
"""

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from memdriven.config import Config, GeneratorConfig, from_dict, to_dict
from memdriven.data.names import stand_in
from memdriven.data.vocabulary import EncodedCaption, Vocabulary, clean
from memdriven.encoders.damsm import OF_CHECKPOINT, Damsm, load_damsm, read_config
from memdriven.encoders.readers import FILE as ATTRIBUTES
from memdriven.encoders.readers import Attributes, reader_of, save_attributes
from memdriven.encoders.text import TextFeatures
from memdriven.encoders.weights import load_weights, read_weights, write_weights
from memdriven.errors import CheckpointError, explained, require
from memdriven.files import atomic_folder, atomic_write_json, read_json, sealed, sha256_of
from memdriven.memory.bank import MEMORY
from memdriven.models.early_fusion import BASE_SIZE
from memdriven.models.generator import Generator
from memdriven.models.rival import BASE, RivalGenerator
from memdriven.numbers import counted, parse_json, shown

SCHEMA = OF_CHECKPOINT
FILES = ("vocabulary.json", "damsm.safetensors")
MAP, CRITIC = "map.safetensors", "discriminator.safetensors"
RIVAL = "rival.safetensors"
BESIDE = ("examples.json", MAP, CRITIC, RIVAL)
"""Files beside the networks, hashed where they are present."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A loaded model, in evaluation mode."""

    path: Path
    config: Config
    vocabulary: Vocabulary
    damsm: Damsm
    generator: Generator
    facts: dict[str, Any]
    """What was trained: steps, images, minutes, device, data set."""
    hash: str
    """Short id of what decides the pixels: all weights, the networks' settings, retrieval's."""
    attributes: Attributes | None = None
    """Reads what captions name and pictures show, where the encoders were taught it."""

    def encode_captions(self, captions: Sequence[EncodedCaption]) -> TextFeatures:
        """Embed captions as the generator reads them."""
        text: TextFeatures = self.damsm.text(*Vocabulary.batch(captions))
        return reader_of(self.attributes).read(text) if self.config.generator.attribute_dim else text

    @property
    def name(self) -> str:
        """What it is called wherever it is shown or recorded."""
        return model_name(self.path)


def model_name(path: Path) -> str:
    """Return what a checkpoint is called: its folder, or the run's that left it as RUN/checkpoint.

    `memdriven own` leaves it a folder deeper, one for each of its phases, beside its plan.
    """
    folder = path.resolve()
    if folder.name == "checkpoint":
        run = folder.parent
        folder = run.parent if (run.parent / "own.json").is_file() else run
    return clean(folder.name) or "checkpoint"


def bank_folder(path: Path) -> Path:
    """Return the bank that a checkpoint opens with: its own or, without one, another's that it names."""
    named = read_json(path / "config.json", CheckpointError).get("memory", MEMORY)
    if (path / MEMORY).is_dir() or not isinstance(named, str):
        return path / MEMORY
    return path / named


def stage_files(config: GeneratorConfig) -> list[str]:
    """Return the names of G's weight files, one a stage."""
    later = (f"generator-{BASE_SIZE << stage}.safetensors" for stage in range(1, config.stages))
    return ["generator.safetensors", *later]


def save_checkpoint(
    path: Path,
    config: Config,
    vocabulary: Vocabulary,
    damsm: Damsm,
    generator: Generator,
    facts: Mapping[str, Any],
    attributes: Attributes | None = None,
) -> list[str]:
    """Write a checkpoint folder, whole or not at all; a memory bank is added by `build_memory`.

    What else lies in a folder that is replaced (memory bank, model card, examples) is kept as far as it
    fits the encoders; what was not kept, and why, is returned.
    """
    names = [*FILES, *stage_files(config.generator)]
    with atomic_folder(path) as folder:
        dropped = _carry_over(path, folder, damsm.hash()) if path.is_dir() else []
        atomic_write_json(folder / "vocabulary.json", vocabulary.to_json())
        write_weights(folder / "damsm.safetensors", damsm, {"schema": SCHEMA})
        for stage, name in enumerate(stage_files(generator.config)):
            parts = generator.stage_parts(stage)
            write_weights(folder / name, generator, {"schema": SCHEMA}, parts, packed=stage > 0)
        if attributes is not None:
            save_attributes(folder, attributes, damsm.hash())
            names.append(ATTRIBUTES)
        _write_config(folder, {"schema": SCHEMA, "config": to_dict(config), "facts": dict(facts)}, names)
    return dropped


def record_files(path: Path) -> None:
    """Record the hashes of a checkpoint's examples and map in its config.json, after one was written."""
    content = read_config(path, SCHEMA)
    _write_config(path, content, [name for name in content["files"] if name not in BESIDE])


def _write_config(folder: Path, content: Mapping[str, Any], names: Sequence[str]) -> None:
    present = [*names, *(name for name in BESIDE if (folder / name).is_file())]
    files = {name: sha256_of(folder / name) for name in present}
    atomic_write_json(folder / "config.json", sealed({**content, "files": files}))


def _carry_over(old: Path, new: Path, encoders: str) -> list[str]:
    """Give what a checkpoint's folder holds beside its networks to the one that replaces it."""
    bank = old / MEMORY / "bank.json"
    other = bank.is_file() and read_json(bank, CheckpointError).get("damsm") != encoders
    theirs = [name for name in (MEMORY, MAP, CRITIC, RIVAL) if other and (old / name).exists()]
    left = shutil.ignore_patterns("generator*", "config.json", ATTRIBUTES, ".*", *theirs)
    shutil.copytree(old, new, symlinks=True, ignore=left, copy_function=_link, dirs_exist_ok=True)
    return [f"{name}, which was made with other encoders" for name in theirs]


def _link(old: str, new: str) -> None:
    """Give a file a second name, or copy it where the disk has no such names."""
    try:
        os.link(old, new)
    except OSError:
        shutil.copy2(old, new)


def load_facts(path: Path) -> dict[str, Any]:
    """Return what a checkpoint records of its training."""
    return dict(read_config(path, SCHEMA).get("facts", {}))


def load_checkpoint(path: Path | str, device: torch.device | str = "cpu") -> Checkpoint:
    """Load a checkpoint's networks onto a device; its bank is opened by the pipeline.

    A CheckpointError says that a file is missing, truncated, of another schema, or not as recorded.
    """
    path = Path(path)
    there = "no such folder", "check the path; checkpoints/aviary comes with the repository"
    if path.is_file():
        there = "a file", "give the folder of config.json, vocabulary.json and the weights"
    require(path.is_dir(), CheckpointError, f"a checkpoint folder at {path}", *there)
    content = read_config(path, SCHEMA)
    config = from_dict(Config, content.setdefault("config", {}))
    stages = stage_files(config.generator)
    files = _verified(path, content.get("files"), {*FILES, *stages})

    # Encoders, and the readers that they were taught with
    damsm, vocabulary, _, _, attributes = load_damsm(path, device)
    attributes = attributes if ATTRIBUTES in files else None
    if width := config.generator.attribute_dim:
        wanted = f"a reader of captions of generator.attribute_dim {width} in {path}"
        found, fix = reader_of(attributes).width, "restore the files of one and the same training"
        require(found == width, CheckpointError, wanted, f"one of {found}", fix)

    # The generator, a file a stage
    with torch.random.fork_rng(devices=[]):
        generator = Generator(config.generator, trained=True)
    weights = {key: value for name in stages for key, value in read_weights(path / name).items()}
    load_weights(generator, weights, str(path))
    return Checkpoint(
        path,
        config,
        vocabulary,
        damsm,
        generator.to(device).eval().requires_grad_(False),
        content.get("facts", {}),
        _short_hash(files, content["config"]),
        attributes,
    )


def load_rival(checkpoint: Checkpoint) -> RivalGenerator | None:
    """Return the rival without a memory that lies beside a checkpoint; None where there is none."""
    path = checkpoint.path / RIVAL
    if not path.is_file():
        return None
    weights, fix = read_weights(path), "write it with train-rival"
    with explained(CheckpointError, f"weights of a RivalGenerator in {path}", fix, LookupError):
        z_dim, width = weights["linear.weight"].shape[1], weights["to_rgb.weight"].shape[1]
        blocks = {name.split(".")[1] for name in weights if name.startswith("blocks.")}
    rival = RivalGenerator(width, BASE << len(blocks), z_dim=z_dim, text_dim=checkpoint.config.text.dim)
    load_weights(rival, weights, str(path), "train it with the checkpoint's own encoders")
    return rival.to(checkpoint.damsm.device).eval().requires_grad_(False)


def rival_budget(checkpoint: Checkpoint) -> str:
    """Return on how many pictures, how long and by what a rival beside a checkpoint was trained; or ""."""
    try:
        with safe_open(checkpoint.path / RIVAL, "pt") as file:
            facts = parse_json((file.metadata() or {}).get("memdriven", "{}"))
        where = f", {facts['device']}" if "device" in facts else ""
        return f"{counted(facts['images'], 'picture')} in {counted(round(facts['minutes']), 'minute')}{where}"
    except (OSError, SafetensorError, ValueError, TypeError, LookupError):
        return ""


def _verified(path: Path, files: Any, names: set[str]) -> dict[str, str]:
    """Return the recorded hashes of a checkpoint's files, once each file has been held against its own."""
    wanted, fix = "the hashes of " + ", ".join(sorted(names)), "restore config.json from its source"
    given = isinstance(files, dict) and set(files) - {ATTRIBUTES, *BESIDE} == names
    require(given, CheckpointError, wanted, shown(files, 200), fix)
    for name, expected in files.items():
        there, fix = (path / name).is_file(), "it is damaged or was exchanged: restore it from its source"
        if name in BESIDE:
            if not there:
                continue
            fix += ", or record it by memdriven.checkpoint.record_files"
        found = sha256_of(path / name) if there else "no such file"
        wanted = f"the file {path / name} with SHA-256 {str(expected)[:12]}"
        require(found == expected, CheckpointError, wanted, *stand_in(path / name, found[:12], fix))
    return dict(files)


def _short_hash(files: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    # As the file has them: a default that a later version adds must not rename a checkpoint.
    sections = [settings.get(name) for name in ("text", "damsm", "generator", "retrieval")]
    networks = {name: value for name, value in files.items() if name not in BESIDE}
    return hashlib.sha256(json.dumps([networks, *sections], sort_keys=True).encode()).hexdigest()[:12]
