"""Whether G follows the words where they contradict its memory: recoloured birds, a judge.

    python -m memdriven prepare recoloured --dataset data/aviary --out W --per-image 1 --seed 9
    python -m benchmarks.wishes --checkpoints checkpoints/aviary --dataset data/aviary --wishes W

Another seed than that of training's targets gives captions that no training saw. Printed for the
targets (the most that can be had), the memories' own images (the least) and each checkpoint:

    asked       share of the asked colours that the judge finds
    differing   the same, of those that the memory does not have: what the words alone can say
    changed     mean |picture - target|, in [-1, 1], where the target differs from the memory
    kept        the same elsewhere
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from memdriven.checkpoint import Checkpoint, load_checkpoint
from memdriven.data.prepared import Item, PreparedDataset, load_images
from memdriven.encoders.readers import reader_of
from memdriven.evaluation.judge import AttributeJudge, attribute_accuracy, load_judge
from memdriven.memory.features import FeatureStore
from memdriven.models.generator import BASE_SIZE
from memdriven.training.captions import TrainingCaptions
from memdriven.training.data import changed

BATCH = 50


def main() -> None:
    """Read the command line, paint, and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--wishes", type=Path, required=True)
    parser.add_argument("--judge", type=Path, default=Path("benchmarks/judge"))
    parser.add_argument("--features", type=Path, help="default: those of the first checkpoint")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--guidance", type=float, nargs="+", help="default: each checkpoint's own")
    arguments = parser.parse_args()
    base = PreparedDataset.open(arguments.dataset)
    wishes = PreparedDataset.open(arguments.wishes)
    items = wishes.split("train")
    items = items[:: max(1, len(items) // arguments.count)][: arguments.count]
    named = {item.id: item for item in base.split("train")}
    memories = [named[item.memory] for item in items]
    judge = load_judge(arguments.judge)
    target = load_images(wishes, items, BASE_SIZE, progress=False)
    memory = load_images(base, memories, BASE_SIZE, progress=False)
    row("targets", target, target, memory, items, memories, judge)
    row("memories", memory, target, memory, items, memories, judge)
    store = FeatureStore.open(arguments.features or arguments.checkpoints[0] / "memory" / "features")
    for folder in arguments.checkpoints:
        checkpoint = load_checkpoint(folder)
        for guidance in arguments.guidance or [checkpoint.config.generator.guidance]:
            pictures = painted(checkpoint, items, memories, store, guidance)
            name = f"{folder}, guidance {guidance:g}"
            row(name, pictures, target, memory, items, memories, judge)


def row(
    name: str,
    pictures: Tensor,
    target: Tensor,
    memory: Tensor,
    items: list[Item],
    memories: list[Item],
    judge: AttributeJudge,
) -> None:
    """Print one line; pictures, target and memory are uint8 (n, 3, s, s)."""
    asked = [item.caption_attributes[0] for item in items]
    differing = [
        {key: value for key, value in names.items() if own.attributes[key] != value}
        for names, own in zip(asked, memories, strict=True)
    ]
    rates = [attribute_accuracy(judge, pictures, what).asked_colours for what in (asked, differing)]
    picture, wanted, before = (x.float() / 127.5 - 1 for x in (pictures, target, memory))
    apart, places = (picture - wanted).abs().mean(1, keepdim=True), changed(before, wanted)
    inside = (apart * places).sum() / places.sum()
    outside = (apart * (1 - places)).sum() / (1 - places).sum()
    print(
        f"{name}: asked {rates[0].rate:.1%} of {rates[0].count}, differing {rates[1].rate:.1%} "
        f"of {rates[1].count}, changed {inside:.3f}, kept {outside:.3f}",
        flush=True,
    )


@torch.inference_mode()
def painted(
    checkpoint: Checkpoint, items: list[Item], memories: list[Item], store: FeatureStore, guidance: float
) -> Tensor:
    """Return the first stage's pictures, uint8, each from its own caption and the named memory."""
    generator, config = checkpoint.generator.eval(), checkpoint.config
    encoders = (checkpoint.damsm, checkpoint.vocabulary, config.text.max_words)
    reader = reader_of(checkpoint.attributes) if config.generator.attribute_dim else None
    captions = TrainingCaptions(items, *encoders, reader=reader)
    own = TrainingCaptions(memories, *encoders, reader=reader)
    made = []
    for start in range(0, len(items), BATCH):
        rows = torch.arange(start, min(start + BATCH, len(items)))
        text = captions.text(rows)
        v = torch.stack([torch.from_numpy(store[store.index_of(items[i].memory)]) for i in rows])
        noise = torch.Generator().manual_seed(start)
        z = torch.randn(len(rows), config.generator.z_dim, generator=noise)
        epsilon = torch.randn(len(rows), config.generator.condition_dim, generator=noise)
        said = [own.text(torch.tensor(own.of[i])) for i in rows]
        sentence, words = text.sentence, text.condition
        sentence = sentence + guidance * (sentence - torch.stack([s.sentence.mean(0) for s in said]))
        words = words + guidance * (words - torch.stack([s.condition.mean(0) for s in said]))
        image = generator(z, sentence, words, v, epsilon, stages=1).images[0]
        made.append(((image + 1) * 127.5).round().clamp(0, 255).byte())
    return torch.cat(made)


if __name__ == "__main__":
    main()
