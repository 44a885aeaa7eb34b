"""The table of training speeds: what it counts, and that every variant runs."""

import json

import pytest
import torch

from pipeline.commands import training_speed
from pipeline.commands.training_speed import measure, variants
from tests.small import prepared_pictures


def test_every_variant_runs_and_counts_its_arithmetic(tmp_path, monkeypatch):
    monkeypatch.setitem(training_speed.MATRIX, "cpu", 64)
    chosen = list(variants(2, 2, 6, compiled=False))
    assert chosen == [variant for variant in variants(2, 2, 6) if not variant.compiled]
    assert {variant.precision for variant in variants(2, 2, 6, bfloat16=False)} == {"float32"}
    rows = measure("vdsr", 2, prepared_pictures(tmp_path), chosen, torch.device("cpu"), repeats=3)
    assert [row["name"] for row in rows] == [variant.name for variant in chosen]
    # 20 layers of 3×3: forward, weights' gradients, and inputs' gradients but for the first layer; 2 operations each
    first, inner, last = 9 * 64, 9 * 64 * 64, 9 * 64
    per_pixel = 2 * (3 * (first + 18 * inner + last) - first)
    for row in rows:
        pixels = row["batch"] * (2 * row["patch"]) ** 2
        assert row["gflop"] == pytest.approx(pixels * per_pixel / 1e9, rel=0.01)
        second = row["median_ms"] / 1000
        assert row["images_per_second"] == pytest.approx(row["batch"] / second, rel=0.01)
        assert row["lr_pixels_per_second"] == pytest.approx(row["batch"] * row["patch"] ** 2 / second, rel=0.01)
        # the row's own figures are rounded too: half of the last of its digits, and a hundredth for theirs
        assert abs(row["gflops"] - row["gflop"] / second) <= 0.05 + 0.01 * row["gflops"]
    assert rows[0]["speedup"] == 1 and all(row["speedup"] > 0 for row in rows)
    json.dumps(rows)


@pytest.mark.parametrize("slow", ["mm", "convolution"])
def test_a_share_is_of_the_faster_of_two_equal_products(slow, monkeypatch):
    torch.manual_seed(0)
    products = training_speed._products(64, torch.float32, torch.device("cpu"))
    torch.testing.assert_close(products["convolution"]().transpose(0, 1).reshape(64, 64), products["mm"]())
    monkeypatch.setitem(training_speed.MATRIX, "cpu", 64)
    monkeypatch.setattr(
        training_speed, "alternate", lambda ways, *_, **__: {name: [0.2 if name == slow else 0.1] for name in ways}
    )
    rate = training_speed._matrix_rate(1, "float32", torch.device("cpu"), repeats=1)
    assert rate == pytest.approx(2 * 64**3 / 0.1 / 1e9)
