"""How often a model's D is right on what *How it works* shows it: a reference's small copy, and the picture.

    python -m benchmarks.critic --checkpoint checkpoints/aviary --dataset data/aviary --n 120

Captions of the test split; each is painted from its first reference. The wrong caption is that of the memory
which is least like it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from memdriven.data.prepared import PreparedDataset
from memdriven.explore.critic import load_critic
from memdriven.explore.inside import look_inside
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request
from memdriven.ui.inside import critic

QUESTIONS = ("real", "fits its caption", "fits a wrong one")


def main() -> None:
    """Print D's mean answers, and in how many cases they are the right way round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/aviary"))
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--n", type=int, default=120)
    chosen = parser.parse_args()
    pipe = MemoryDrivenPipeline.from_pretrained(chosen.checkpoint)
    if load_critic(pipe.checkpoint) is None:
        raise SystemExit(f"{chosen.checkpoint} comes without a D; `copy-critic` lays one beside it")
    test, answers = PreparedDataset.open(chosen.dataset).split("test"), []
    for place in range(chosen.n):
        item = test[place * len(test) // chosen.n]
        caption = item.captions[place % len(item.captions)]
        seen = look_inside(pipe, Request(caption=caption, seeds=(place,), k=1, best_of=1))
        answers.append([list(each["answers"].values()) for each in critic(pipe, seen).of["judged"]])
    found = torch.tensor(answers)  # (n, 2 pictures, 3 questions)
    for name, values in zip(("small copies of real pictures", "made pictures"), found.unbind(1)):
        means = ", ".join(f"{question} {mean:.0%}" for question, mean in zip(QUESTIONS, values.mean(0)))
        print(f"{name}: {means}; the right caption fits better in {share(values[:, 1] > values[:, 2])}")
    real, made = found[:, 0, 0], found[:, 1, 0]
    print(f"the real one is more real in {share(real > made)}")
    print(f"called real: {share(real > 0.5)} of the real, {share(made > 0.5)} of the made")


def share(true: torch.Tensor) -> str:
    """Return how many of some answers are true, in per cent."""
    return f"{true.float().mean():.0%}"


if __name__ == "__main__":
    main()
