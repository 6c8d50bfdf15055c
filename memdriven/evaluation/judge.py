"""The attribute judge: a small CNN that reads attributes (colour of the wing, ...) off a picture.

It is trained on renders alone (`judge_training`), never on a generator's output, and the
generator never sees it, so it is a fair witness of whether a picture holds what was asked for.

The design is ours: a few convolutions and an `AttributeHead`. Saved as `judge.safetensors`
(float16) beside `judge.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memdriven.data.attributes import label_ids
from memdriven.encoders.attribute_head import AttributeHead
from memdriven.errors import EvaluationError
from memdriven.files import atomic_write_bytes, atomic_write_json, read_json, sha256_file

SCHEMA = "memdriven.judge/2"
WIDTHS = (16, 40, 80, 144)
"""Channels at 1, 1/2, 1/4 and 1/8 of the input's side: about 34 million MACs at 64 px."""


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class AttributeJudge(nn.Module):
    """One softmax per attribute over its values.

    Args:
        attributes: name -> its values, in label order.
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
        if not attributes or any(len(values) < 2 for values in attributes.values()):
            raise EvaluationError(
                wanted="attributes with two or more values each",
                found=str(dict(attributes))[:80],
                fix="judge a data set whose items record varied attributes",
            )
        self.attributes = {name: tuple(values) for name, values in attributes.items()}
        self.priors = {
            name: tuple(priors[name]) if priors else (1 / len(values),) * len(values)
            for name, values in self.attributes.items()
        }
        self.size = size
        first, second, third, last = WIDTHS
        self.trunk = nn.Sequential(
            _block(3, first, 1),
            _block(first, second, 2),
            _block(second, third, 2),
            _block(third, last, 2),
            _block(last, last, 1),
        )
        self.head = AttributeHead(last, self.attributes)

    @property
    def names(self) -> list[str]:
        """The attributes in the order of the logits' second axis."""
        return list(self.attributes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (b, attributes, most values) of images (b, 3, h, w) in [0, 1].

        An attribute's unused values hold -inf.
        """
        if images.shape[-2:] != (self.size, self.size):
            side = (self.size, self.size)
            images = F.interpolate(images, side, mode="bilinear", antialias=True, align_corners=False)
        features = self.trunk((images - 0.5) * 4.0)  # (b, c, h, w)
        logits: Tensor = self.head(features)
        return logits

    def labels(self, records: Sequence[Mapping[str, Any]]) -> Tensor:
        """Return label ids (n, attributes) of attribute records; `IGNORED` where one is absent."""
        return label_ids(records, self.attributes)

    @torch.no_grad()
    def log_probabilities(self, images: Tensor, batch: int = 128) -> Tensor:
        """Return log p (n, attributes, most values), on the CPU, of uint8 images (n, 3, h, w)."""
        self.eval()
        device = self.head.bias.device
        parts = [
            self(chunk.to(device).float() / 255).log_softmax(dim=2).cpu()
            for chunk in torch.split(images, batch)
        ]
        return torch.cat(parts) if parts else torch.zeros(0, *self.head.bias.shape)

    def save(self, folder: Path | str, facts: Mapping[str, Any] | None = None) -> None:
        """Write `judge.safetensors` (float16) and then `judge.json` that names its hash."""
        from safetensors.torch import save

        folder = Path(folder)
        state = {
            name: value.detach().cpu().half().contiguous() if value.is_floating_point() else value
            for name, value in self.state_dict().items()
        }
        atomic_write_bytes(folder / "judge.safetensors", save(state))
        atomic_write_json(
            folder / "judge.json",
            {
                "schema": SCHEMA,
                "attributes": {name: list(values) for name, values in self.attributes.items()},
                "priors": {name: list(values) for name, values in self.priors.items()},
                "size": self.size,
                "sha256": sha256_file(folder / "judge.safetensors"),
                "facts": dict(facts or {}),
            },
        )


def load_judge(folder: Path | str, device: str | torch.device = "cpu") -> AttributeJudge:
    """Read a judge that `AttributeJudge.save` wrote.

    Raises:
        EvaluationError: the folder holds no judge, or its weights are damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    folder = Path(folder)
    header = read_json(folder / "judge.json", EvaluationError)
    again = "train a judge again: python -m memdriven train-judge"
    if header.get("schema") != SCHEMA:
        raise EvaluationError(
            wanted=f"a judge of schema {SCHEMA} in {folder}", found=str(header.get("schema")), fix=again
        )
    path = folder / "judge.safetensors"
    try:
        content = path.read_bytes()
        if sha256_file(path) != header["sha256"]:
            raise EvaluationError(
                wanted=f"{path} with the hash that judge.json names",
                found="another hash: a damaged or foreign file",
                fix=again,
            )
        judge = AttributeJudge(header["attributes"], int(header["size"]), header["priors"])
        judge.load_state_dict(
            {k: v.float() if v.is_floating_point() else v for k, v in load(content).items()}
        )
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise EvaluationError(
            wanted=f"a whole attribute judge in {folder}",
            found=f"{type(error).__name__}: {error}"[:160],
            fix=again,
        ) from error
    return judge.to(device).eval()
