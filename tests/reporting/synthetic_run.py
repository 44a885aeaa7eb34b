"""A made-up run: every result file a report reads, with numbers chosen by the test."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from skimage import data

from pipeline.data.resize import imresize
from pipeline.params import Params, load_params
from pipeline.records import (
    Amdahl,
    CheckedTiming,
    Footprint,
    LayerChain,
    Layers,
    Measurement,
    Memories,
    Memory,
    NetworkBenchmark,
    PairTiming,
    PictureRecord,
    PublishedRun,
    SearchTrial,
    Timing,
    TrainingRecord,
)
from tests.conftest import ROOT

PHOTOGRAPHS = {"cat": data.chelsea, "cup": data.coffee, "portrait": data.astronaut}
BYTES = {"srresnet": 5_600_000, "edsr": 6_100_000, "vdsr": 2_670_000}
SEARCH = [  # optimizer, learning rate, weights, PSNR-Y
    ("muon", 0.001, "float", 26.7), ("muon", 0.001, "binary", 26.5), ("muon", 0.002, "float", 26.6),
    ("muon", 0.002, "binary", 26.55), ("adam", 0.001, "float", 26.1), ("adam", 0.001, "binary", 26.0),
]  # fmt: skip
MILLISECONDS = {"srresnet": 1012.4, "edsr": 884.0, "vdsr": 2210.0}


def make_params(models: list[str], scales: list[int], tests: list[str], profile: str = "quick") -> Params:
    """Return the committed parameters with another matrix and other test sets."""
    values = load_params(ROOT / "params.yaml").model_dump()
    values["profile"] = profile
    values["matrix"] = {"models": models, "scales": scales}
    values["data"] |= {"test": tests, "sets": list(dict.fromkeys(["embedded-train", "embedded-valid", *tests]))}
    values["data"] |= {"train": "embedded-train", "validation": "embedded-valid"}
    values["report"]["claims"] = {
        "accuracy_gap_db": {"replicated": 0.25, "partly": 0.6},
        "size_reduction": {"replicated": 0.8, "partly": 0.7},
        "speedup": {"replicated": 5.0, "partly": 2.0},
        "speedup_loss_db": 0.05,
    }
    return Params.model_validate(values)


def write_run(
    root: Path,
    params: Params,
    gap: float = 0.11,
    saved: float = 0.74,
    speedup: float = 2.5,
    training_set: str = "embedded-train",
    iterations: int = 800,
    parameters: int = 310_000,
    images: bool = True,
    more_images: int = 0,
) -> None:
    """Write all result files of a run below `root`, and its params.yaml.

    Every binary network is `gap` dB below its float twin, `saved` smaller, and `speedup` times faster in int8. Each
    test set has three photographs and `more_images`.
    """
    (root / "params.yaml").write_text(yaml.safe_dump(params.model_dump(), sort_keys=False), encoding="utf-8")
    for name in params.data.sets:
        index = {
            "format": 1,
            "set": name,
            "images": [{"name": "a"}],
            "sha256": {"hr.bin": "1f" * 32, "x4.bin": "e0" * 32},
        }
        _json(root / f"data/prepared/{name}/index.json", index)
    for model in params.matrix.models:
        for scale in params.matrix.scales:
            _write_network(
                root, params, model, scale, gap, saved, speedup, training_set, iterations, parameters, more_images
            )
    files = {path.stem: json.loads(path.read_text()) for path in sorted((root / "results/export").iterdir())}
    _json(root / "results/footprint.json", files)
    write_zoo(root, params.data.test)
    for stage, seconds in (("prepare@embedded-test", 2.0), ("evaluate@Set9-edsr-2-float", 99.0), ("footprint", 3.5)):
        _json(root / f"results/seconds/{stage}.json", {"seconds": seconds})
    for name in params.data.test:
        for scale in params.matrix.scales:
            _write_scores(root, name, f"bicubic-x{scale}", {"bicubic": 30 - scale}, more_images)
            _write_pictures(root / "results/images" / name / f"x{scale}", params.matrix.models, scale, images)
        _write_pictures(root / "results/images" / name / "zoo/x4", ["srresnet"], 4, images)


def write_zoo(
    root: Path,
    test_sets: list[str],
    gap: float = 0.18,
    iterations: int = 6000,
    variants: Mapping[str, float] | None = None,
    alike: bool = True,
) -> None:
    """Write a zoo with a pair of SRResNet ×4, the binary network `gap` dB below the float one, and this run's finds.

    `variants` are further binary networks, by how far they are below the float one; those that are seeds have a float
    network of their own. Where the pair is not trained `alike`, its binary network had other iterations.
    """
    levels = {"Set5": 30.5, "Set14": 27.4, "Urban100": 24.4}
    models, methods, images = [], {}, []
    further = [
        (weights, variant, loss if weights == "binary" else 0.0)
        for variant, loss in (variants or {}).items()
        for weights in ("float", "binary")
        if weights == "binary" or variant.startswith("seed")
    ]
    for weights, variant, loss in (("float", "", 0.0), ("binary", "", gap), *further):
        name = f"srresnet-x4-{weights}" + (f"-{variant}" if variant else "")
        short = iterations // 4 if variant else iterations
        made = short if alike or weights == "float" or variant else short - 1
        seed = int(variant.removeprefix("seed")) if variant.startswith("seed") else 0
        training = {
            "training_set": "BSDS500-train", "iterations": made, "batch": 8, "lr_patch": 24, "seed": seed,
            "seconds": 1212.0, "cpu_seconds": 2400.0, "precision": "float32", "scales": [4],
            "device": "Example CPU", "threads": 2, "images_per_second": 47.0, "variant": variant,
            "plan": {
                "profile": "cpu", "start": None, "seed": seed, "settings": {"iterations": made},
                "network": {"blocks": 16} | ({"scope": "blocks"} if weights == "binary" else {}),
            },
            "environment": {"commit": "c0ffee" * 6, "dirty": True},
        }  # fmt: skip
        models.append(
            {
                "name": name, "file": f"{name}.safetensors", "sha256": "cd" * 32, "model": "srresnet", "scale": 4,
                "bytes": 800_000 if weights == "binary" else 3_200_000, "weights": weights, "variant": variant,
                "training": training,
            }
        )  # fmt: skip
        backends = ("torch", "engine_float32", "engine_int8") if loss > 0 else ("torch", "engine_float32")
        methods[name] = {"sha256": "cd" * 32, "sets": _scores_on(levels, loss, backends)}
        images += [
            {
                "method": name, "set": test_set, "backend": "torch", "image": image, "psnr_y": level - loss * share,
                "psnr_rgb": level - 1.6, "ssim_y": 0.85,
            }
            for test_set, level in levels.items()
            for image, share in (("a", 0.5), ("b", 1.0), ("c", 1.5))
        ]  # fmt: skip
        curve = [{"iteration": i, "loss": 30 / i, "learning_rate": 1e-3, "psnr_y": 29 - 300 / i} for i in (500, 1000)]
        _csv(root / f"zoo/history/{name}.csv", curve)
    methods["bicubic-x4"] = {"sha256": None, "sets": _scores_on(levels, 1.2, ("bicubic",))}
    _json(root / "zoo/index.json", {"format": 1, "models": models})
    _json(root / "zoo/results.json", {"format": 1, "methods": methods})
    _csv(root / "zoo/results.csv", images)
    for optimizer, rate, weights, level in SEARCH:
        curve = [{"iteration": i, "loss": 0.1, "learning_rate": rate, "psnr_y": level - 20 / i} for i in (200, 400)]
        changes = {"optimizer": optimizer, "learning_rate": rate}
        trial = SearchTrial("edsr", 4, weights, changes, 400, level, 290.0, 0, "cpu", 1, curve, environment={})
        _json(root / f"zoo/search/{optimizer}-{rate}-{weights}.json", asdict(trial))
    timing = Timing(401.0, 405.0, 412.5, 420.0, 433.0, repeats=5)
    backends = {"torch_channels_last": timing, "engine_int8": replace(timing, median_ms=125.0)}
    times = PairTiming((96, 128), 2, backends, {"torch_channels_last": 1.0, "engine_int8": 3.3})
    for name in test_sets:
        here = {method: held["sets"]["Set5"] for method, held in methods.items()}
        run = PublishedRun(name, here, {"srresnet-x4-binary": times}, environment={})
        _json(root / f"results/zoo/{name}.json", asdict(run))


def _scores_on(levels: dict[str, float], loss: float, backends: tuple[str, ...]) -> dict[str, Any]:
    return {
        test_set: {
            backend: {"psnr_y": level - loss, "psnr_rgb": level - loss - 1.6, "ssim_y": 0.85} for backend in backends
        }
        for test_set, level in levels.items()
    }


def _write_network(
    root: Path,
    params: Params,
    model: str,
    scale: int,
    gap: float,
    saved: float,
    speedup: float,
    training_set: str,
    iterations: int,
    parameters: int,
    more_images: int,
) -> None:
    rng = np.random.default_rng(scale)
    for weights in ("float", "binary"):
        name = f"{model}-x{scale}-{weights}"
        loss = gap if weights == "binary" else 0.0
        level = 31.2 - scale - loss
        training = TrainingRecord(
            iterations=iterations, planned_iterations=800, stopped="finished", loss=0.0213, psnr_y=level, seconds=58.4,
            cpu_seconds=110.0, images_per_second=219.0, batch=16, lr_patch=24, scales=[scale], precision="float32",
            start=None, distillation=0.0, seed=0, training_set=training_set, validation_set="embedded-valid",
            device="cpu", processes=1, threads=2,
        )  # fmt: skip
        _json(root / f"results/train/{name}.json", asdict(training))
        steps = np.linspace(50, iterations, 16).astype(int)
        curve = [
            {
                "iteration": int(step),
                "loss": 0.02 + 0.08 * np.exp(-step / 120) + 0.001 * rng.random(),
                "learning_rate": 0.001,
                "psnr_y": level - 3 * np.exp(-step / 150) + 0.05 * rng.random(),
            }
            for step in steps
        ]
        _csv(root / f"history/{name}.csv", curve)
        size = round(BYTES[model] * (1 - saved if weights == "binary" else 1))
        packed = round(size * 0.18) if weights == "binary" else 0
        layers = {"binary": packed, "float": size - packed - 30_000, "other": 22_000}
        inside = packed if weights == "binary" else round(size * 0.6)
        parts = {"blocks": inside + 20_000, "head": 3_000, "upsample": size - inside - 33_000, "tail": 2_000}
        footprint = Footprint(size, 8_000, layers, parts, parameters, packed * 8)
        _json(root / f"results/export/{name}.json", asdict(footprint))
        backends = {"torch": level, "engine_float32": level}
        if weights == "binary":
            backends["engine_int8"] = level - 0.004
        for test_set in params.data.test:
            _write_scores(root, test_set, name, backends, more_images)
    _write_benchmark(root, model, scale, speedup, parameters)


def _write_benchmark(root: Path, model: str, scale: int, speedup: float, parameters: int) -> None:
    median = MILLISECONDS[model]
    whole = _measurement(median, speedup)
    benchmark = NetworkBenchmark(
        **vars(whole),
        model=model,
        scale=scale,
        network={},
        parameters=parameters,
        repeats=7,
        body=_measurement(0.7 * median, speedup),
        amdahl=Amdahl([], median, 0.7 * median, 8_000_000, 2_000_000, 3.3333),
        engine_layers={
            name: {"binary": 0.15 * median, "float": 0.3 * median, "other": 0.01 * median}
            for name in ("engine_float32", "engine_int8")
        },
        sizes=[_measurement(median * side**2 / 128**2, speedup * side / 128, side) for side in (64, 128, 256)],
        thread_counts=[_measurement(median * 2 / threads, speedup, threads=threads) for threads in (1, 2)],
        memory=Memories(
            (128, 128), dict.fromkeys(whole.backends, Memory(120.5, 180.75, 60.25)), {"torch_compile": "not measured"}
        ),
        environment={"cpu": "Example CPU at 3 GHz", "cores": 2, "python": "3.11", "packages": {"torch": "2.13.0"}},
    )
    path = root / f"results/benchmark/{model}-x{scale}.json"
    _json(path, asdict(benchmark))
    _csv(path.with_suffix(".csv"), [{"model": model, "median_ms": median}])
    timed = vars(_measurement(median / 10, speedup))
    chains = {
        name: LayerChain(**timed, channels=channels, layers=count)
        for name, channels, count in (("layer", 64, 8), ("wide_layer", 256, 4))
    }
    layers = Layers(chains, machine_limit={}, repeats=7, environment={})
    _json(root / "results/benchmark/layers.json", asdict(layers))
    _csv(root / "results/benchmark/layers.csv", [{"model": "", "median_ms": median / 10}])


def _measurement(median: float, speedup: float, side: int = 128, threads: int = 2) -> Measurement:
    """Times of all backends but one, the engine's int8 `speedup` times as fast as PyTorch compiled, the best."""
    times = {"torch": 2.6 * median, "torch_channels_last": 1.1 * median, "torch_compile": median}
    times |= {"onnxruntime_float32": 1.2 * median, "onnxruntime_int8": 0.6 * median, "openvino_int8": 0.3 * median}
    times |= {"engine_float32": 1.6 * median / speedup, "engine_int8": median / speedup}
    ratios = {
        base: {name: times[base] / ms for name, ms in times.items()}
        for base in ("torch_channels_last", "torch_compile", "openvino_int8")
    }
    return Measurement(
        lr_size=(side, side),
        threads=threads,
        backends={
            name: CheckedTiming(
                *(share * ms for share in (0.93, 0.97, 1, 1.04, 1.1)),
                repeats=7,
                snr_db=40.0,
                precision="uint8" if name.endswith("int8") else "float32",
            )
            for name, ms in times.items()
        },
        missing={"openvino_float32": "openvino is not installed: pip install 'binsr[peers]'"},
        speedup=ratios,
        speedup_of_fastest=ratios,
    )


def _write_scores(root: Path, test_set: str, method: str, levels: dict[str, float], more_images: int) -> None:
    folder = root / "results/evaluate" / test_set
    shifts = dict(zip(PHOTOGRAPHS, (-1.0, 0.0, 1.0), strict=True))
    shifts |= {f"more_{number:04}": number / more_images - 0.5 for number in range(more_images)}
    rows = [
        {"backend": backend, "image": name, "psnr_y": level + shift, "psnr_rgb": level + shift - 1.4, "ssim_y": 0.85}
        for backend, level in levels.items()
        for name, shift in shifts.items()
    ]
    _csv(folder / f"{method}.csv", rows)
    means = {k: {"psnr_y": v, "psnr_rgb": v - 1.4, "ssim_y": 0.85} for k, v in levels.items()}
    _json(folder / f"{method}.json", means)


def _write_pictures(folder: Path, models: list[Any], scale: int, images: bool) -> None:
    """Write what is kept of two photographs, or of none: each model nearer to HR than the one before."""
    chosen = {"largest": "cat", "smallest": "cup"} if images else {}
    gaps = {model: 0.3 + index / 10 for index, model in enumerate(models)}
    records = [PictureRecord(choice, name, gaps) for choice, name in chosen.items()]
    _json(folder / "pictures.json", [asdict(record) for record in records])
    for choice, name in chosen.items():
        hr = PHOTOGRAPHS[name]()[20 : 20 + 252, 100 : 100 + 348]
        bicubic = imresize(imresize(hr, 1 / scale), scale)
        pictures = {"hr": hr, "bicubic": bicubic}
        for index, model in enumerate(models):
            for kind, share in (("float", 0.5), ("binary", 0.42), ("int8", 0.41)):
                mixed = bicubic + (share + index / 10) * (hr.astype(float) - bicubic)
                pictures[f"{model}-{kind}"] = mixed.round().astype(np.uint8)
        for source, pixels in pictures.items():
            path = folder / choice / f"{source}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def _csv(path: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.getvalue(), encoding="utf-8")
