"""Blocking parameters: defaults, a machine's own, and none of it in the results; and the machine's limits."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from pipeline.benchmark import limits
from pipeline.benchmark.limits import load_rate
from pipeline.commands import tune
from pipeline.engine import Engine
from pipeline.engine.kernels.channel import blocking as channel_blocking
from pipeline.engine.kernels.channel import compiled as channel_kernels
from pipeline.engine.kernels.channel.blocking import DEFAULTS, Blocking
from pipeline.engine.runner import most_threads
from tests.conftest import ROOT
from tests.engine.random_networks import save_random

needs_permutations = pytest.mark.skipif(
    not channel_kernels.supported(), reason="a processor without AVX-512 VBMI and VNNI"
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BINSR_CACHE", str(tmp_path))
    channel_blocking._tuned.cache_clear()
    yield channel_blocking.path()
    channel_blocking._tuned.cache_clear()


def test_defaults_without_a_file(cache):
    assert {kind: channel_blocking.blocking(kind) for kind in DEFAULTS} == DEFAULTS


def test_what_was_kept_is_used_and_other_kinds_as_they_were(cache):
    channel_blocking.keep({"table_int8": Blocking(16, 24)})
    assert channel_blocking.blocking("table_int8") == Blocking(16, 24)
    assert channel_blocking.blocking("few") == DEFAULTS["few"]
    described = channel_blocking.described()
    assert described["table_int8"] == "16 sums in strips of 24 (tuned)" and described["few"] == "24 sums"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"few": 3}',
        '{"few": {"sums": 99, "strip": 0}}',
        '{"few": {"sums": 8}}',
        '{"few": {"sums": 0, "strip": 0}}',
    ],
)
def test_a_file_that_is_none_of_ours_is_as_if_it_were_not_there(cache, text):
    cache.write_text(text)
    assert channel_blocking.blocking("few") == DEFAULTS["few"]


def test_a_home_folder_that_nobody_knows_is_as_if_there_were_no_file(cache, monkeypatch):
    monkeypatch.setenv("BINSR_CACHE", "~nobody-of-this-name/cache")
    channel_blocking._tuned.cache_clear()
    assert channel_blocking.blocking("few") == DEFAULTS["few"]


def test_a_strip_has_a_column_at_least(cache):
    cache.write_text('{"table_int8": {"sums": 8, "strip": 0}, "bits": {"sums": 8, "strip": 16}}')
    assert channel_blocking.blocking("table_int8") == DEFAULTS["table_int8"]
    assert channel_blocking.blocking("bits") == Blocking(8, 16)


@needs_permutations
@pytest.mark.parametrize("kind", DEFAULTS)
def test_what_is_timed_has_the_parameters_that_are_tried(cache, kind):
    convolution = tune.layer(kind, Blocking(8, 16), np.random.default_rng(0))
    assert len(convolution.filters.pixels) == Blocking(8, 16).pixels(tune.vectors(kind))
    assert len(convolution.filters.pixels) != DEFAULTS[kind].pixels(tune.vectors(kind))
    assert getattr(convolution.filters, "strip", 16) == 16
    assert channel_blocking.blocking(kind) == DEFAULTS[kind]


@needs_permutations
def test_results_do_not_depend_on_the_blocking(cache, tmp_path):
    save_random(tmp_path / "network.safetensors", "srresnet", 2, blocks=1, channels=40)
    x = np.random.default_rng(0).random((3, 13, 50), np.float32)
    expected = Engine.load(tmp_path / "network.safetensors").forward(x)
    channel_blocking.keep({kind: Blocking(8, 16) for kind in DEFAULTS})
    channel_blocking._tuned.cache_clear()
    np.testing.assert_array_equal(Engine.load(tmp_path / "network.safetensors").forward(x), expected)


@needs_permutations
def test_tuning_writes_parameters_for_every_kind(tmp_path):
    program = (
        "from pipeline.commands import tune;"
        "tune.SUMS, tune.STRIPS, tune.SIZE, tune.ROUNDS = (24, 25), (16, 32), 20, 1; tune.main()"
    )
    environment = {**os.environ, "BINSR_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    (file,) = tmp_path.iterdir()
    assert str(file) in done.stdout
    found = json.loads(file.read_text())
    assert found.keys() == DEFAULTS.keys()
    assert all(value["sums"] in (24, 25) for value in found.values())  # for most, kernels that are compiled already
    assert {value["strip"] for kind, value in found.items() if kind != "few"} <= {16, 32}


def test_tuning_elsewhere_says_that_there_is_nothing_to_tune(tmp_path):
    environment = {**os.environ, "NUMBA_CPU_NAME": "generic", "BINSR_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.engine.tune"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "need no tuning" in done.stderr


def test_limits_are_of_no_more_threads_than_numba_has(monkeypatch):
    monkeypatch.setattr(limits, "_best", lambda run: 1.0)
    assert load_rate(most_threads() + 1) == load_rate(most_threads())
