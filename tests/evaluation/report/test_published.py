from __future__ import annotations

import pytest

from memdriven.evaluation.report.published import PUBLISHED


def test_rows_as_printed() -> None:
    cub = {row.method: row for row in PUBLISHED["CUB"]}
    coco = {row.method: row for row in PUBLISHED["COCO"]}
    assert (len(cub), len(coco)) == (8, 14)
    assert cub["The paper"].values == {"inception_score": "5.91", "fid": "10.49", "r_precision": "73.87"}
    assert list(coco["The paper"].values.values()) == ["29.36", "19.47", "90.32", "47.46", "65.83"]
    assert coco["DF-GAN"].values == {"fid": "21.42"}
    assert coco["XMC-GAN"].values["soa_i"] == "71.33"
    assert "r_precision" not in coco["XMC-GAN"].values
    assert cub["AttnGAN"].form == "b"
    assert coco["GLIDE"].form == "?"
    assert cub["Real images"].form == ""


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_number_is_one(name: str) -> None:
    for row in PUBLISHED[name]:
        assert row.values
        for text in row.values.values():
            assert float(text.removeprefix("~")) > 0
