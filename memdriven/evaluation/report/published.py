"""Table 1 of the paper, transcribed: numbers that others published, none of them measured here.

The paper's own code is not public and it does not name its form of FID. A form stands where the
method's public code shows it, or where one number is known in both forms (AttnGAN on CUB is 23.98
in form b and 14.01 in form a); "?" is not known.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SOURCE = "Li, Torr, Lukasiewicz: Memory-Driven Text-to-Image Generation, BMVC 2022, Table 1"
COLUMNS = ("inception_score", "fid", "r_precision", "soa_c", "soa_i")


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One method's numbers on one data set, as printed; what is not printed is absent."""

    method: str
    form: str = "?"
    """Of its FID: a, b, c or ?."""
    values: dict[str, str] = field(default_factory=dict)


def _table(lines: str, forms: dict[str, str]) -> tuple[PublishedRow, ...]:
    rows = []
    for line in lines.strip().splitlines():
        method, *printed = (part.strip() for part in line.split("|"))
        values = {name: text for name, text in zip(COLUMNS, printed) if text != "-"}
        form = forms.get(method, "?") if "fid" in values else ""
        rows.append(PublishedRow(method=method, form=form, values=values))
    return tuple(rows)


_FORMS = {"AttnGAN": "b", "DM-GAN": "b", "DF-GAN": "b"}

PUBLISHED: dict[str, tuple[PublishedRow, ...]] = {
    "CUB": _table(
        """
        Real images | 25.34 | -     | 89.17
        AttnGAN     | 4.36  | 23.98 | 67.82
        ControlGAN  | 4.58  | 13.92 | 69.33
        MirrorGAN   | 4.56  | -     | 57.67
        DM-GAN      | 4.75  | 16.09 | 72.31
        DF-GAN      | 5.10  | 14.81 | -
        LAFITE      | 5.97  | 10.48 | -
        The paper   | 5.91  | 10.49 | 73.87
        """,
        _FORMS,
    ),
    "COCO": _table(
        """
        Real images | 34.88 | -     | 92.71 | 74.97 | 80.84
        AttnGAN     | 25.89 | 32.32 | 85.47 | 25.88 | 39.01
        ControlGAN  | 24.06 | 33.58 | 72.43 | -     | -
        MirrorGAN   | 26.47 | -     | 74.52 | -     | -
        DM-GAN      | 32.32 | 32.64 | 88.56 | 33.44 | 48.03
        DF-GAN      | -     | 21.42 | -     | -     | -
        XMC-GAN     | 30.45 | 9.33  | -     | 50.94 | 71.33
        LAFITE      | 32.34 | 8.12  | -     | 61.09 | 74.78
        DALL-E      | -     | ~20   | -     | -     | -
        GLIDE       | -     | 12.89 | -     | -     | -
        CP-GAN      | 52.73 | 55.82 | 93.59 | 77.02 | 84.55
        Obj-GAN     | 30.29 | 36.52 | 87.84 | 27.14 | 41.24
        OP-GAN      | 27.88 | 24.70 | 89.01 | 35.85 | 50.47
        The paper   | 29.36 | 19.47 | 90.32 | 47.46 | 65.83
        """,
        _FORMS,
    ),
}
"""Data set -> rows in the paper's order. CP-GAN, Obj-GAN and OP-GAN also use bounding boxes."""
