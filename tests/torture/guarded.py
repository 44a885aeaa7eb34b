"""The tests of the kernels, and whole networks, with guard pages around every array (`tests.guard_pages`)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pipeline.benchmark.instruction_sets import InstructionSet, has, held_environment, narrower
from tests.conftest import ROOT

ENDS = ("after", "before")
SETS: tuple[InstructionSet, ...] = ("avx2", "avx512")
TESTS = ("tests/engine/kernels", *(f"tests/engine/test_{name}.py" for name in ("networks", "engine", "steps")))


def instruction_sets() -> list[dict[str, str]]:
    """What makes a process use the instruction sets that are tried: this processor's, narrower ones, any x86-64's."""
    smaller = [held_environment(isa) for isa in SETS if has(isa) and narrower(isa)]
    return [{}, {"NUMBA_CPU_NAME": "generic"}, *smaller]


def attempt(seed: int, folder: Path) -> str:
    sets = instruction_sets()
    held, end = sets[seed % len(sets)], ENDS[seed // len(sets) % len(ENDS)]
    environment = os.environ | held | {"GUARD_PAGES": end, "SEEDED": ""}
    command = [sys.executable, "-m", "pytest", "-p", "tests.guard_pages", "-p", "no:cacheprovider", "-x", *TESTS]
    command.append(f"--hypothesis-seed={seed}")
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{held} {end}: {done.stdout[-300:]} {done.stderr[:300]}"
    return "all tests passed, and nothing outside an array was read or written"
