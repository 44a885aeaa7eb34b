"""Small things to time."""

import pytest
import torch

from pipeline.benchmark import workloads

BINARIZATION = {"scale_rule": "learnable", "scope": "blocks"}
SMALL = {
    "srresnet": {"blocks": 1, "channels": 8},
    "edsr": {"blocks": 1, "channels": 8, "residual_scale": 0.5},
    "vdsr": {"layers": 4, "channels": 8},
}


def small_network(model: str, scale: int = 2) -> workloads.Workload:
    torch.manual_seed(0)
    return workloads.network(model, scale, SMALL[model], BINARIZATION)


@pytest.fixture(scope="session")
def edsr() -> workloads.Workload:
    return small_network("edsr")
