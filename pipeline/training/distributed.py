"""The processes of a run under `torchrun`; a plain run is one process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

from pipeline.errors import InputError
from pipeline.provenance import cpu_model


@dataclass(frozen=True)
class Process:
    """This process: its rank among `count`, and the device it trains on."""

    rank: int
    count: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and shows the progress."""
        return self.rank == 0

    @property
    def device_name(self) -> str:
        """The product name of the device."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else cpu_model()

    def part(self, batch: int) -> slice:
        """Return this process's share of a global batch."""
        if batch % self.count:
            raise InputError(
                f"params.yaml: train: batch: {batch} does not divide among {self.count} processes; choose a multiple"
            )
        share = batch // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean of `values` over all processes."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values / self.count

    def any(self, flag: bool) -> bool:
        """Return whether `flag` holds in any process, so that all decide alike."""
        if self.count == 1:
            return flag
        value = torch.tensor(float(flag), device=self.device)
        distributed.all_reduce(value, op=distributed.ReduceOp.MAX)
        return bool(value.item())


@contextmanager
def this_process() -> Iterator[Process]:
    """Join the processes that `torchrun` started, if any: NCCL where each has a GPU, else the CPU and gloo for all."""
    count, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    local, here = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    device = torch.device("cuda", local) if torch.cuda.device_count() >= here else torch.device("cpu")
    if count > 1:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Process(rank, count, device)
    finally:
        if count > 1:
            distributed.destroy_process_group()
