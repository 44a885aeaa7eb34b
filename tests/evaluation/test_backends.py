"""The backends of a packed network."""

import torch

from pipeline.evaluation.backends import upscalers
from tests.engine.random_networks import save_random


def test_float32_is_float32_on_a_gpu_too(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # PyTorch's default
    save_random(tmp_path / "network.safetensors", "vdsr", 2, layers=3, channels=8)
    upscalers(tmp_path / "network.safetensors", ())
    assert not torch.backends.cudnn.allow_tf32
