"""Timing published networks on an image."""

import torch

from pipeline.benchmark.backends import UnavailableError
from pipeline.zoo import speed
from tests.engine.random_networks import save_random
from tests.small import picture


def test_pytorch_has_as_many_threads_as_the_engine(tmp_path, monkeypatch):
    before, seen = torch.get_num_threads(), set()
    paths = [tmp_path / f"{weights}.safetensors" for weights in ("float", "binary")]
    for path in paths:
        save_random(path, "srresnet", 2, path.stem, blocks=1, channels=8)

    def alternate(runs, repeats, budget):
        runs["torch_channels_last"]()
        return {"torch_channels_last": [1.0] * 3}

    def unavailable(*arguments):
        raise UnavailableError("left out")

    monkeypatch.setattr(speed, "modes_here", lambda: ())
    monkeypatch.setattr(speed, "quantize", unavailable)
    monkeypatch.setattr(speed, "alternate", alternate)
    monkeypatch.setattr(speed, "upscale", lambda *_: seen.add(torch.get_num_threads()))
    torch.set_num_threads(2)
    try:
        speed.times(*paths, picture(0, 8, 8), threads=1, repeats=3, budget=1.0)
    finally:
        torch.set_num_threads(before)
    assert seen == {1}
