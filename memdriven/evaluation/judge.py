"""The attribute judge: a small CNN that reads attributes (colour of the wing, ...) off a picture [ours].

It is trained on renders alone, never on a generator's output, and the generator never sees it, so it is a
fair witness of whether a picture holds what was asked for: an attribute that a caption names counts as found
when the judge's most likely value is the named one. Report that beside the rate of real renders, which is
the judge's own ceiling. Training pictures are disturbed on purpose (shift, blur, noise, a little light), so
that a slightly soft or noisy picture is judged for what it shows and not for how it was made.
"""

import math
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from memdriven.aviary.species import COLOURS
from memdriven.data.images import to_unit
from memdriven.data.prepared import PreparedDataset, load_images
from memdriven.data.vocabulary import IGNORED, attribute_values, label_ids, visible_record
from memdriven.devices import choose_device
from memdriven.encoders.image import resized
from memdriven.encoders.readers import AttributeHead, attribute_loss
from memdriven.encoders.weights import load_weights, read_weights, write_weights
from memdriven.errors import EvaluationError, explained, require
from memdriven.files import atomic_write_json, read_json, sha256_file
from memdriven.numbers import check_number, check_whole, counted
from memdriven.training.augment import disturb
from memdriven.training.captions import mixed_seed, permuted_rows
from memdriven.training.distributed import Chance
from memdriven.training.loop import Descent, Loop, warm_cosine
from memdriven.training.run_directory import RunDirectory

SCHEMA = "memdriven.judge/2"
HEADER, WEIGHTS = "judge.json", "judge.safetensors"
WIDTHS = (16, 40, 80, 144)
"""Channels at 1, 1/2, 1/4 and 1/8 of the input's side: about 34 million MACs at 64 px."""


class AttributeJudge(nn.Module):
    """One softmax per attribute over its values.

    Args:
        attributes: name -> its values, in label order; the names in the order of the logits' second axis.
        size: side in px at which images are seen.
        priors: name -> each value's share among the training renders; uniform by default.
    """

    def __init__(
        self,
        attributes: Mapping[str, Sequence[str]],
        size: int = 64,
        priors: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        wanted, fix = "attributes with two or more values each", "judge a data set whose items record such"
        enough = attributes and all(len(values) > 1 for values in attributes.values())
        require(enough, EvaluationError, wanted, str(dict(attributes))[:80], fix)
        self.attributes = {name: tuple(values) for name, values in attributes.items()}
        self.priors = {
            name: tuple(priors[name]) if priors else (1 / len(values),) * len(values)
            for name, values in self.attributes.items()
        }
        self.size, self.hash = size, ""
        """`hash` names the weights of a judge that was loaded."""
        blocks, channels = [], 3
        for width, stride in zip((*WIDTHS, WIDTHS[-1]), (1, 2, 2, 2, 1), strict=True):
            convolution = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
            blocks.append(nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU()))
            channels = width
        self.trunk = nn.Sequential(*blocks)
        self.head = AttributeHead(channels, self.attributes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (b, attributes, most values), -inf where unused, of images (b, 3, h, w) in [0, 1]."""
        features = self.trunk((resized(images, self.size) - 0.5) * 4.0)  # (b, c, h, w)
        return self.head(features)  # type: ignore[no-any-return]

    def labels(self, records: Sequence[Mapping[str, Any]]) -> Tensor:
        """Return label ids (n, attributes) of attribute records; `IGNORED` where one is absent."""
        return label_ids(records, self.attributes)

    @torch.no_grad()
    def log_probabilities(self, images: Tensor, batch: int = 128) -> Tensor:
        """Return log p (n, attributes, most values), on the CPU, of uint8 images (n, 3, h, w)."""
        self.eval()
        chunks = (chunk.to(self.head.bias.device).float() / 255 for chunk in torch.split(images, batch))
        return torch.cat([self(chunk).log_softmax(dim=2).cpu() for chunk in chunks])

    def save(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write `judge.safetensors` (float16) and then `judge.json` that names its hash."""
        write_weights(folder / WEIGHTS, self, {})
        header = {"schema": SCHEMA, "attributes": self.attributes, "priors": self.priors, "size": self.size}
        header |= {"sha256": sha256_file(folder / WEIGHTS), "facts": facts}
        atomic_write_json(folder / HEADER, header)


def load_judge(folder: Path, device: str | torch.device = "cpu") -> AttributeJudge:
    """Read a judge that `AttributeJudge.save` wrote.

    An EvaluationError says that the folder holds none, or a damaged one, a CheckpointError that the weights
    are of another judge.
    """
    header, path = read_json(folder / HEADER, EvaluationError, SCHEMA), folder / WEIGHTS
    wanted, fix = f"a whole attribute judge in {folder}", "train it again (train-judge)"
    with explained(EvaluationError, wanted, fix, Exception):
        if sha256_file(path) != header["sha256"]:
            raise ValueError(f"another hash of {WEIGHTS} than {HEADER} names")
        judge = AttributeJudge(header["attributes"], int(header["size"]), header["priors"])
        weights = {name: value for name, value in read_weights(path).items() if value.is_floating_point()}
        load_weights(judge, weights, str(path))
        judge.hash = header["sha256"][:12]
    return judge.to(device).eval()


def is_colour(values: Sequence[str]) -> bool:
    """Whether an attribute with these values is the colour of a part (`none` counts as one)."""
    named = set(values) - {"none"}
    return bool(named) and named <= set(COLOURS)


def attribute_accuracy(
    judge: AttributeJudge, images: Tensor, named: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Return how much of what captions name the judge finds in the images, as rates by short name.

    `attributes` is over every named attribute of every image, `asked_colours` over the named colours of parts
    (the headline), `all_colours_right` and `most_colours_right` over images that name any; NaN where nothing
    was asked. Behind them, by attribute, what is right of how many. Images are uint8 (n, 3, h, w), `named` is
    what the caption of each names; what the judge does not know is left out of the counts.
    """
    labels = judge.labels(named)  # (n, a)
    asked = labels != IGNORED
    right = (judge.log_probabilities(images).argmax(dim=2) == labels) & asked
    colour = torch.tensor([is_colour(values) for values in judge.attributes.values()])
    colours, found = asked[:, colour].sum(dim=1), right[:, colour].sum(dim=1)  # (n,)
    naming = colours > 0
    rates = {
        "asked_colours": _rate(found, colours),
        "all_colours_right": _rate((found == colours) & naming, naming),
        "most_colours_right": _rate(2 * found > colours, naming),
        "attributes": _rate(right, asked),
    }
    counts = {}
    for name, hits, total in sorted(zip(judge.attributes, right.T, asked.T, strict=True), key=itemgetter(0)):
        if total.any():
            rate = round(_rate(hits, total), 4)
            counts[name] = {"right": int(hits.sum()), "count": int(total.sum()), "rate": rate}
    return rates, counts


def _rate(right: Tensor, count: Tensor) -> float:
    return int(right.sum()) / int(count.sum()) if count.any() else math.nan


def caption_log_odds(
    judge: AttributeJudge, images: Tensor, caption_attributes: Sequence[Mapping[str, Any]]
) -> tuple[Tensor, Tensor]:
    """Return factors (n, d) of images and (m, d) of captions, whose product says how these fit those [ours].

        sum over the caption's attributes of  log p(value | image) - log p(value)

    The prior keeps captions that name much, or name common things, comparable.
    """
    log_p = judge.log_probabilities(images)  # (n, a, v)
    prior = torch.zeros(log_p.shape[1:])
    for i, shares in enumerate(judge.priors.values()):
        prior[i, : len(shares)] = torch.tensor(shares)
    odds = (log_p - prior.clamp_min(1e-6).log()).masked_fill(prior == 0, 0.0)  # (n, a, v)
    labels = judge.labels(caption_attributes)[..., None]  # (m, a, 1)
    named = (labels == torch.arange(prior.shape[1])).float()  # (m, a, v); none is IGNORED
    return odds.flatten(1), named.flatten(1)


def train_attribute_judge(
    dataset: Path,
    out: Path,
    *,
    minutes: float = 5.0,
    size: int = 64,
    steps: int = 20_000,
    batch: int = 64,
    learning_rate: float = 2e-3,
    seed: int = 0,
    device: torch.device | str = "auto",
    resume: bool = False,
) -> AttributeJudge:
    """Train the judge of attributes on renders alone, for `evaluate`, and measure it on the test split.

    Stops at `minutes` or `steps`, whichever comes first; over it the learning rate rises for a twentieth,
    then falls along a cosine. About 300 images/s on two CPU cores.

    Args:
        dataset: a prepared data set whose items carry attribute records.
        out: folder for the judge, metrics and state; new, unless --resume.
        minutes: wall-clock budget of the training loop, earlier starts included; 0 means
            `steps` alone, which makes the judge a function of the seed.
        size: side in px at which pictures are judged.
        steps: upper bound on the optimiser's steps.
        batch: images per step.
        learning_rate: peak rate of AdamW.
        seed: of initialisation, order and augmentation.
        device: where to train.
        resume: go on from `out`.

    Raises:
        EvaluationError: the items carry no attributes with two or more values.
        TrainingError: `out` is taken, or a loss is not finite; the last good state is kept.
    """
    for name, number, most in (("size", size, 1024), ("steps", steps, 10**9), ("batch", batch, 4096)):
        check_whole(name, number, 1, most, EvaluationError)
    check_whole("seed", seed, 0, 2**53 - 1, EvaluationError)
    check_number("minutes", minutes, 0, 1e6, EvaluationError)
    check_number("learning rate", learning_rate, 1e-9, 1, EvaluationError)
    device = choose_device(device)
    settings = {"size": size, "batch": batch, "learning_rate": learning_rate, "seed": seed}
    run = RunDirectory(Path(out), settings, resume=resume)
    data = PreparedDataset.open(dataset)
    every = [item for item in data.items if item.attributes]
    items, tested = ([item for item in every if item.split == split] for split in ("train", "test"))
    wanted, found = f"attribute records on the items of {dataset}", f"{len(items)} of them"
    fix = "train the judge on a data set with attributes, e.g. `prepare aviary`"
    require(len(items) > 1, EvaluationError, wanted, found, fix)
    records = list(map(visible_record, items))
    attributes = attribute_values(records)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = AttributeJudge(attributes, size)
    labels = judge.labels(records)
    for (name, values), column in zip(attributes.items(), labels.T, strict=True):
        seen = torch.bincount(column[column != IGNORED], minlength=len(values)).double() + 1
        judge.priors[name] = tuple(round(float(share), 6) for share in seen / seen.sum())
    images = load_images(data, items, size)
    batch = min(batch, len(images))

    def draw(step: int) -> tuple[Tensor, Tensor]:
        """Return pictures (b, 3, s, s) in [0, 1] and labels (b, attributes)."""
        rows = permuted_rows(len(images), batch, seed, step)
        chance = torch.Generator().manual_seed(mixed_seed(seed, step, 3))
        return disturb(to_unit(images[rows]), Chance(chance)).to(device), labels[rows].to(device)

    def losses(batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        judge.train()
        return {"loss": attribute_loss(judge(batch[0]), batch[1])}

    judge.to(device).to(memory_format=torch.channels_last)
    adam = torch.optim.AdamW(judge.parameters(), lr=learning_rate, weight_decay=0.02)
    loop = Loop(
        trainer=Descent({"judge": judge}, adam, losses),
        draw=draw,
        steps=steps,
        minutes=minutes,
        schedule=warm_cosine,
        run=run,
        facts={"identity": {"dataset": data.name, "images": len(items)}},
        batch_images=batch,
        name="train-judge",
    )
    loop.train()
    facts: dict[str, Any] = {
        "dataset": data.name,
        "train_images": len(items),
        "steps": loop.step,
        "batch": batch,
        "seed": seed,
        "minutes": round(loop.seconds / 60, 2),
        "device": str(device),
    }
    if tested:
        shown, named = load_images(data, tested, size), list(map(visible_record, tested))
        facts["test_accuracy"] = attribute_accuracy(judge, shown, named)[1]
    judge.save(Path(out), facts)
    print(f"judge in {out}; right on {counted(len(tested), 'unseen render')}:")
    for name, count in facts.get("test_accuracy", {}).items():
        print(f"  {name:<14} {count['rate']:.1%} of {count['count']}")
    return judge.eval()
