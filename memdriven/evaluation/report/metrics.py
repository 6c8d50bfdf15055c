"""How numbers are shown: a short title, a scale, and which direction is better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower", ""]


@dataclass(frozen=True)
class Metric:
    """One column."""

    title: str
    better: Better = ""
    percent: bool = False
    """Recorded as a share of 1, shown as a percentage."""

    def show(self, value: float | None) -> str:
        """Return a value as text; "" where there is none."""
        if value is None or not math.isfinite(value):
            return ""
        if self.percent:
            return f"{100 * value:.1f}"
        digits = 0 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
        return f"{value:.{digits}f}"


METRICS: dict[str, Metric] = {
    "inception_score": Metric("IS", "higher"),
    "fid_a": Metric("FID (a)", "lower"),
    "fid_b": Metric("FID (b)", "lower"),
    "fid_c": Metric("FID (c)", "lower"),
    "kid_a": Metric("KID ×10³", "lower"),
    "fid_vgg": Metric("fid_vgg", "lower"),
    "kid_vgg": Metric("kid_vgg ×10³", "lower"),
    "fd_squeezenet": Metric("fd_squeezenet", "lower"),
    "kd_squeezenet": Metric("kd_squeezenet ×10³", "lower"),
    "r_precision": Metric("R-precision, DAMSM", "higher"),
    "r_precision_judge": Metric("R-precision, judge", "higher"),
    "soa_c": Metric("SOA-C", "higher"),
    "soa_i": Metric("SOA-I", "higher"),
    "asked_colours": Metric("asked colours %", "higher", percent=True),
    "most_colours_right": Metric("most colours %", "higher", percent=True),
    "all_colours_right": Metric("all colours %", "higher", percent=True),
    "attributes": Metric("attributes %", "higher", percent=True),
    "diversity": Metric("diversity", "higher"),
    "diversity_seed": Metric("diversity, seed", "higher"),
    "diversity_z": Metric("diversity, z", "higher"),
    "background_entropy": Metric("background entropy, bits", "higher"),
    "background_of_z": Metric("background is z's %", "higher", percent=True),
    "background_entropy_named": Metric("… where named", "lower"),
    "background_obeyed_named": Metric("named background %", "higher", percent=True),
    "background_entropy_conflicting": Metric("… where memory disagrees", "lower"),
    "background_obeyed_conflicting": Metric("… where memory disagrees %", "higher", percent=True),
    "copy_nearest_percentile": Metric("copy nearest, pct."),
    "copy_neighbour_percentile": Metric("copy own, pct."),
    "copy_suspected": Metric("copies %", "lower", percent=True),
    "recall@1": Metric("Recall@1 %", "higher", percent=True),
    "recall@5": Metric("Recall@5 %", "higher", percent=True),
    "recall@10": Metric("Recall@10 %", "higher", percent=True),
    "attributes_of_first": Metric("attributes of first %", "higher", percent=True),
}
"""In the order of a table's columns."""


def metric(name: str) -> Metric:
    """Return how a metric is shown; one that is not known here goes by its own name."""
    return METRICS.get(name) or Metric(name)


def in_order(names: set[str]) -> list[str]:
    """Return metric names in the order of `METRICS`, others after them by name."""
    known = [name for name in METRICS if name in names]
    return known + sorted(names - set(known))
