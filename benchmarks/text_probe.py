"""What a text encoder's embeddings say of what captions name, read by linear layers and a reader.

    python -m benchmarks.text_probe --damsm runs/damsm --dataset data/aviary

Layers are trained on captions of the training split and read those of the test split. What no
layer finds, no generator can paint. The layers must name a value; with "not named" as one more, as
the encoders' own reader has it (`train-pixels`), a last row each says how much of what is named is
found.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import trange

from memdriven.data.attributes import IGNORED, attribute_values
from memdriven.data.prepared import PreparedDataset
from memdriven.encoders.damsm import load_damsm
from memdriven.encoders.readers import attribute_loss, load_attributes
from memdriven.training.captions import TrainingCaptions

STEPS, BATCH = 1200, 512


def main() -> None:
    """Read the command line, train the layers, and print what they find."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--damsm", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, required=True)
    arguments = parser.parse_args()
    damsm, vocabulary, config, facts = load_damsm(arguments.damsm)
    data = PreparedDataset.open(arguments.dataset)
    attributes = attribute_values([item.attributes for item in data.split("train")])
    train, test = (
        TrainingCaptions(data.split(split), damsm, vocabulary, config.text.max_words, attributes)
        for split in ("train", "test")
    )
    shape = (len(attributes), max(map(len, attributes.values())))
    kinds = {"sentence": (train.sentences, test.sentences), "both": (both(train), both(test))}
    for name, (seen, unseen) in kinds.items():
        torch.manual_seed(0)
        found = probe(seen.float(), train.labels, unseen.float(), shape)
        right, named = found == test.labels, test.labels != IGNORED
        share = (right & named).sum(0) / named.sum(0)
        print(f"{name}: all {float((right & named).sum() / named.sum()):.1%}")
        print("  " + ", ".join(f"{a} {v:.0%}" for a, v in zip(attributes, share, strict=True)))
    known = load_attributes(arguments.damsm, facts["hash"])
    if known is None or known.reader is None:
        return
    train, test = (
        TrainingCaptions(data.split(split), damsm, vocabulary, config.text.max_words, known.values)
        for split in ("train", "test")
    )
    named, unnamed = test.labels != IGNORED, max(map(len, known.values.values()))
    shape = (len(known.values), unnamed + 1)
    torch.manual_seed(0)
    silent = torch.where(train.labels == IGNORED, unnamed, train.labels)
    found = probe(both(train), silent, both(test), shape)
    print(f"both, or not named: {float((found == test.labels)[named].float().mean()):.1%}")
    rows = torch.split(torch.arange(len(test.labels)), BATCH)
    with torch.no_grad():
        found = torch.cat([known.reader(test.text(r)).argmax(2) for r in rows])
    right = found == test.labels
    print(f"the encoders' reader: {float(right[named].float().mean()):.1%}")
    print(f"  of what it names, right: {float(right[found != unnamed].float().mean()):.1%}")


def both(captions: TrainingCaptions) -> Tensor:
    """Return sentence embeddings beside the means of the words' (m, 2 d)."""
    words = captions.words.float().sum(1) / captions.mask.sum(1, keepdim=True)
    return torch.cat([captions.sentences.float(), words], dim=1)


def probe(seen: Tensor, labels: Tensor, unseen: Tensor, shape: tuple[int, int]) -> Tensor:
    """Train one linear layer on embeddings (m, d); return its labels of others (n, attributes)."""
    layer = nn.Linear(seen.shape[1], shape[0] * shape[1])
    optimiser = torch.optim.Adam(layer.parameters(), 3e-3)
    for _ in trange(STEPS, desc="probe"):
        rows = torch.randint(len(seen), (BATCH,))
        loss = attribute_loss(layer(seen[rows]).view(-1, *shape), labels[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return Tensor(layer(unseen)).view(-1, *shape).argmax(2)


if __name__ == "__main__":
    main()
