"""`binsr models` says what the index and the results say."""

import json

from pipeline.zoo.catalogue import FOR_USE, write_index
from tests.conftest import ROOT
from tests.engine.random_networks import save_random


def test_the_committed_zoo(binsr):
    index = json.loads((ROOT / "zoo/index.json").read_text())["models"]
    methods = json.loads((ROOT / "zoo/results.json").read_text())["methods"]
    told = {model["name"]: model for model in json.loads(binsr("models", "--json").out)["models"]}
    assert list(told) == [model["name"] for model in index]
    for model in index:
        record = told[model["name"]]
        assert {key: record[key] for key in ("scale", "weights", "bytes")} == {
            key: model[key] for key in ("scale", "weights", "bytes")
        }
        assert record["iterations"] == model["training"].get("iterations")  # None: imported
        start = model["training"]["plan"]["start"]
        assert record["start"] == (start and start["name"])
        backend = "engine_int8" if model["weights"] == "binary" and model["variant"] in FOR_USE else "torch"
        scores = methods.get(model["name"], {"sha256": None, "sets": {}})
        if scores["sha256"] == model["sha256"]:
            sets = scores["sets"].items()
            assert record["psnr_y"] == {name: backends[backend]["psnr_y"] for name, backends in sets}
        else:
            assert record["psnr_y"] == {}


def test_the_table(zoo, binsr):
    done = binsr("models")
    lines = [line.split() for line in done.out.splitlines()]
    size = f"{(zoo / 'srresnet-x2-float.safetensors').stat().st_size:,}"
    assert ["srresnet-x2-float", "×2", "float", size, "600,000", "33.12"] in lines
    small = f"{(zoo / 'srresnet-x2-binary.safetensors').stat().st_size:,}"
    assert ["srresnet-x2-binary", "×2", "binary", small, "99", "*", "32.25"] in lines
    assert any(line[:3] == ["srresnet-x4-binary", "×4", "binary"] and line[-1] == "–" for line in lines)
    assert "short run" in done.out and done.err == ""


def test_networks_that_others_trained_and_that_started_from_them_are_marked(zoo, binsr):
    assert "+ From the weights" not in binsr("models").out  # so far, there is none
    plan = {"profile": "imported", "start": None}
    origin = {"file": "a.mat", "sha256": "0" * 64, "address": "https://example.org/a.mat", "licence": "MIT"}
    real = zoo / "vdsr-x2-float-imported.safetensors"
    training = {"variant": "imported", "imported": origin, "plan": plan}
    save_random(real, "vdsr", 2, "float", {"training": training}, layers=3, channels=8)
    plan = {"profile": "cpu", "start": {"name": real.stem, "sha256": "0" * 64}}
    training = {"variant": "imported", "iterations": 24_000, "start": real.stem, "plan": plan}
    save_random(zoo / "vdsr-x2-binary-imported.safetensors", "vdsr", 2, "binary", {"training": training}, layers=3)
    write_index(zoo)
    done = binsr("models")
    rows = {line.split()[0]: line.split() for line in done.out.splitlines() if line}
    assert rows["vdsr-x2-float-imported"][4:] == ["imported", "–"]
    assert rows["vdsr-x2-binary-imported"][4:] == ["+", "24,000", "*", "–"]
    assert "+" not in rows["srresnet-x2-binary"] and done.code == 0
    assert "+ Started from the weights of a float network, which `binsr info` names." in done.out
    told = {model["name"]: model for model in json.loads(binsr("models", "--json").out)["models"]}
    assert told["vdsr-x2-binary-imported"]["start"] == real.stem
    assert told[real.stem]["iterations"] is None and told[real.stem]["start"] is None and not told[real.stem]["short"]
    said = binsr("info", "vdsr-x2-binary-imported").out
    assert real.stem in said and "24000" in said
    assert binsr("info", real.stem).code == 0 and binsr("info", real.stem).err == ""


def test_results_of_another_file_are_not_shown(zoo, binsr):
    results = json.loads((zoo / "results.json").read_text())
    results["methods"]["srresnet-x2-float"]["sha256"] = "0" * 64
    (zoo / "results.json").write_text(json.dumps(results))
    told = {model["name"]: model["psnr_y"] for model in json.loads(binsr("models", "--json").out)["models"]}
    assert told["srresnet-x2-float"] == {} and told["srresnet-x2-binary"] == {"Set5": 32.25}


def test_a_broken_index(zoo, binsr):
    (zoo / "index.json").write_text("{")
    done = binsr("models")
    assert done.code == 2 and str(zoo / "index.json") in done.err and done.err.count("\n") == 1
