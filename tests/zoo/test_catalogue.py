"""Which networks of a zoo are a pair, on made-up records."""

import copy
import json
import random
from dataclasses import asdict

import pytest

from pipeline.errors import InputError
from pipeline.zoo.catalogue import (
    PublishedNetwork,
    chosen_networks,
    measured_pairs,
    pairs,
    read_training,
    seed_pairs,
    twin_of,
)
from tests.engine.random_networks import save_random

SIZES = {"blocks": 16, "channels": 64}


def network(model, scale, weights, variant="", **plan):
    """A published network, trained as its plan says; what is not said is as for all."""
    name = f"{model}-x{scale}-{weights}" + (f"-{variant}" if variant else "")
    binarized = {"scale_rule": "learnable", "scope": "blocks"} if weights == "binary" else {}
    whole = {
        "profile": "cpu",
        "network": SIZES | binarized,
        "scales": [scale],
        "settings": {"iterations": 100, "learning_rate": 0.001, "schedule": {"kind": "cosine"}},
        "seed": 0,
        "training_set": "BSDS500-train",
        "start": None,
        "distillation": 0.0,
    }
    training = {"variant": variant, "plan": whole | plan, "iterations": 100}
    return PublishedNetwork(name, f"{name}.safetensors", f"hash of {name}", 1, model, scale, weights, variant, training)


def pair(model="edsr", scale=4, variant="", **plan):
    return network(model, scale, "float", variant, **plan), network(model, scale, "binary", variant, **plan)


def imported(scale, start=None):
    real = network("vdsr", scale, "float", "imported", profile="imported")
    real = PublishedNetwork(
        **{**vars(real), "training": {"variant": "imported", "plan": real.training["plan"], "imported": {}}}
    )
    real.training["imported"]["file"] = "VDSR_Adam.mat"
    named = {"name": real.name, "sha256": real.sha256 if start is None else start}
    return real, network("vdsr", scale, "binary", "imported", scales=[2, 3, 4], start=named)


def shuffled(models):
    return random.Random(0).sample(models, len(models))


def test_equal_terms_make_a_twin():
    real, binary = pair()
    others = [*pair(scale=2), *pair("srresnet"), *pair(variant="seed0")]
    for models in ([real, binary, *others], shuffled([real, binary, *others])):
        assert twin_of(binary, models) is real
        assert twin_of(real, models) is None
    assert twin_of(binary, [binary, *others]) is None


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"iterations": 100, "learning_rate": 0.002, "schedule": {"kind": "cosine"}}},
        {"settings": {"iterations": 100, "learning_rate": 0.001, "schedule": {"kind": "linear"}}},
        {"settings": {"iterations": 25, "learning_rate": 0.001, "schedule": {"kind": "cosine"}}},
        {"seed": 1},
        {"profile": "bsd"},
        {"training_set": "DIV2K-train"},
        {"scales": [2, 4]},
        {"start": {"name": "edsr-x4-float", "sha256": "hash of edsr-x4-float"}},
        {"distillation": 0.5},
        {"network": {"blocks": 8, "channels": 64, "scale_rule": "learnable", "scope": "blocks"}},
    ],
)
def test_any_other_term_makes_none(change):
    real, binary = pair()
    other = network("edsr", 4, "binary", **change)
    assert twin_of(binary, [real, binary]) is real
    assert twin_of(other, [real, other]) is None and pairs([real, other]) == []


@pytest.mark.parametrize(
    "rule", [{"scale_rule": "analytic", "scope": "blocks"}, {"scale_rule": "none", "scope": "all"}]
)
def test_how_filters_are_binarized_is_no_term(rule):
    real, _ = pair()
    binary = network("edsr", 4, "binary", network=SIZES | rule)
    assert twin_of(binary, [real, binary]) is real


def test_an_imported_network_is_the_twin_of_what_started_from_its_very_file():
    real, binary = imported(2)
    assert real.imported and real.iterations is None and not real.short
    assert twin_of(binary, [real, binary]) is real
    _, replaced = imported(2, start="of another file")
    assert twin_of(replaced, [real, replaced]) is None
    fresh = network("vdsr", 2, "binary", "imported")
    assert twin_of(fresh, [real, fresh]) is None
    plain = network("vdsr", 2, "binary")  # trained from fresh weights: no twin of the imported one
    assert twin_of(plain, [real, plain]) is None


def test_pairs_are_the_plain_ones_the_long_and_the_imported_ones():
    plain = [pair("vdsr", scale, scales=[2, 3, 4]) for scale in (2, 3)] + [pair("edsr", 4)]
    longer = pair("edsr", 4, "long", settings={"iterations": 600})
    others = [longer, imported(2), imported(4), pair("edsr", 4, "seed1", seed=1)]
    lone = [network("edsr", 4, "binary", variant) for variant in ("warm", "analytic")]
    models = [model for each in [*plain, *others] for model in each] + lone
    for order in (models, shuffled(models)):
        found = pairs(order)
        assert sorted(binary.name for _, binary in found) == sorted(binary.name for _, binary in [*plain, *others[:3]])
        assert all(real is twin_of(binary, order) for real, binary in found)
        assert [real.imported is not None for real, _ in found] == [False] * 4 + [True] * 2  # those come last


def test_seed_0_stands_in_only_while_the_plain_pair_is_not_there():
    real, binary = pair("edsr", 4)
    quarter = {"settings": real.training["plan"]["settings"] | {"iterations": 25}}
    seed0, seed1 = (pair("edsr", 4, f"seed{seed}", seed=seed, **quarter) for seed in (0, 1))
    other = pair("srresnet", 4)
    assert pairs([*seed0, *seed1]) == [seed0]
    assert pairs([real, *seed0, *seed1]) == [seed0] == pairs([binary, *seed0, *seed1])  # half a pair is none
    assert pairs([real, binary, *seed0, *seed1]) == [(real, binary)]
    assert pairs([*seed1]) == []
    assert pairs([*seed0, *other]) == [seed0, other]
    unequal = network("edsr", 4, "binary", seed=7)
    assert pairs([real, unequal, *seed0]) == [seed0]


def test_a_run_measures_one_pair_of_each_network():
    main, alone = pair("vdsr", 2), imported(3)
    longer = pair("vdsr", 2, "long", settings={"iterations": 600})
    models = [model for each in [imported(2), longer, main, alone, pair("edsr", 4, "seed1", seed=1)] for model in each]
    models += [network("srresnet", 4, "float")]
    assert measured_pairs(models) == [main, alone]


def test_seeds_are_listed_by_network():
    seeds = [pair("edsr", 4, f"seed{seed}", seed=seed) for seed in (0, 1, 2)]
    small = pair("edsr", 2, "seed0")
    lone = network("srresnet", 4, "binary", "seed0")
    models = [*pair("edsr", 4), *(model for each in [*seeds, small] for model in each), lone]
    assert seed_pairs(models) == {("edsr", 4): seeds, ("edsr", 2): [small]}
    assert seed_pairs(pair("edsr", 4)) == {}
    assert [binary.training["plan"]["seed"] for _, binary in seed_pairs(models)["edsr", 4]] == [0, 1, 2]


def test_by_default_a_binary_network_of_each_model_and_scale_is_chosen(tmp_path):
    models = [*imported(2), *pair("vdsr", 2), *imported(3), *pair("edsr", 4, "seed1", seed=1)]
    entries = [asdict(model) for model in models]
    (tmp_path / "index.json").write_text(json.dumps({"format": 1, "models": entries}))
    names = [model.name for model in chosen_networks(tmp_path, None)]
    assert names == ["edsr-x4-binary-seed1", "vdsr-x2-binary", "vdsr-x3-binary-imported"]
    assert [model.name for model in chosen_networks(tmp_path, names[:1])] == names[:1]
    with pytest.raises(InputError, match="--models: nothing is not published; see binsr models"):
        chosen_networks(tmp_path, [*names, "nothing"])


def test_a_file_without_a_training_record_is_named(tmp_path):
    for metadata in ({}, {"training": None}):
        save_random(tmp_path / "a.safetensors", "edsr", 2, "binary", metadata, blocks=1, channels=4)
        with pytest.raises(InputError, match=r"a\.safetensors: metadata\.training\.plan: missing"):
            read_training(tmp_path / "a.safetensors")


def test_the_records_stay_as_they_are():
    models = [*pair("edsr", 4), *imported(2)]
    before = copy.deepcopy(models)
    pairs(models), seed_pairs(models)
    assert models == before
