"""What a measure gives: named numbers with the protocol behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from memdriven.evaluation.rows import Row
from memdriven.evaluation.workbench import Workbench


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number of one row."""

    metric: str
    value: float
    n: int
    protocol: str
    details: dict[str, Any] = field(default_factory=dict)


Measure = Callable[[Workbench, Row], list[Measurement]]
ModelMeasure = Callable[[Workbench], list[Measurement]]
