"""Which images are kept for the report, and as what."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.prepared import PreparedSet
from pipeline.data.resize import imresize
from pipeline.engine import Engine
from pipeline.errors import InputError
from pipeline.evaluation import pictures
from pipeline.evaluation.backends import upscalers
from pipeline.evaluation.gaps import image_gaps
from pipeline.evaluation.pictures import Pair, Upscaled, extremes, torch_scores, write_pictures
from pipeline.evaluation.protocol import evaluate
from pipeline.inference import upscale
from pipeline.packing import load


def pair(gaps, model="edsr", zoo=None):
    files = (zoo / f"{model}-x2-{weights}.safetensors" for weights in ("float", "binary")) if zoo else (None, None)
    return Pair(model, *files, gaps)


def test_the_extremes_are_of_the_mean_over_the_networks():
    first, second = pair({"a": 0.5, "b": 0.1, "c": 0.2}), pair({"a": -0.4, "b": 0.3, "c": 0.4}, "vdsr")
    assert extremes([first]) == {"largest": "a", "smallest": "b"}
    assert extremes([first, second]) == {"largest": "c", "smallest": "a"}
    assert extremes([pair({"a": 0.5})]) == {"largest": "a"}


def test_scores_are_read_by_method_and_of_pytorch_alone(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text(
        "method,backend,image,psnr_y,psnr_rgb,ssim_y\nm,torch,a,30.5,,0.8\nm,engine_int8,a,29,,0.8\nn,torch,a,31,,0.8\n"
    )
    real, binary = torch_scores(path, "n"), torch_scores(path, "m")
    assert (real["a"].psnr_y, binary["a"].psnr_y) == (31.0, 30.5)
    assert image_gaps(real, binary) == {"a": 0.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "missing; run `dvc repro`"),
        ("image,psnr_y\na,30\n", "0.backend: Field required; delete it and run `dvc repro`"),
        ("backend,image,psnr_y,psnr_rgb,ssim_y\ntorch,a,high,,0.8\n", "0.psnr_y: Input should be a valid number"),
        ("backend,image,psnr_y,psnr_rgb,ssim_y\nengine_int8,a,30,,0.8\n", "torch: no scores"),
    ],
)
def test_a_table_that_is_none_is_named(tmp_path, text, message):
    path = tmp_path / "scores.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=rf"scores.csv: .*{message}"):
        torch_scores(path)


def test_kept_images_are_what_every_network_makes(published, tmp_path):
    images = PreparedSet.open(published.folder / "data/prepared/embedded-test")
    zoo, names = published.folder / "zoo", images.names
    real, binary = (torch_scores(zoo / "results.csv", f"edsr-x2-{weights}") for weights in ("float", "binary"))
    (tmp_path / "x2").mkdir()
    (tmp_path / "x2/old.png").touch()
    write_pictures(tmp_path / "x2", Upscaled(images, 2), [pair(image_gaps(real, binary), zoo=zoo)])
    records = json.loads((tmp_path / "x2/pictures.json").read_text())
    assert [record["choice"] for record in records] == ["largest", "smallest"]
    lost = {name: real[name].psnr_y - binary[name].psnr_y for name in names}
    assert [record["image"] for record in records] == [max(lost, key=lost.get), min(lost, key=lost.get)]
    assert records[0]["gaps"] == {"edsr": lost[records[0]["image"]]}
    index = names.index(records[0]["image"])
    lr = images.lr(index, 2)
    expected = {
        "hr": images.hr(index, 2),
        "bicubic": imresize(lr, 2),
        "edsr-float": upscale(load(zoo / "edsr-x2-float.safetensors"), lr),
        "edsr-binary": upscale(load(zoo / "edsr-x2-binary.safetensors"), lr),
        "edsr-int8": Engine.load(zoo / "edsr-x2-binary.safetensors", activations="int8").upscale(lr),
    }
    kept = {path.stem: np.asarray(Image.open(path)) for path in (tmp_path / "x2/largest").iterdir()}
    assert set(kept) == set(expected)
    for name, image in expected.items():
        difference = np.abs(kept[name].astype(int) - image)
        assert difference.max() <= (1 if name in ("edsr-float", "edsr-binary") else 0), name
    assert not (tmp_path / "x2/old.png").exists()


def test_images_are_upscaled_once_as_long_as_there_is_space(published, monkeypatch):
    images = PreparedSet.open(published.folder / "data/prepared/embedded-test")
    made = []
    monkeypatch.setattr(pictures, "upscalers", lambda path, modes: {"torch": lambda lr: made.append(path) or lr})
    sizes = [images.lr(index, 2).nbytes for index in range(len(images))]
    upscaled = Upscaled(images, 2, most_bytes=sum(sizes[:2]))
    for _ in range(2):
        for index in range(3):
            assert np.array_equal(upscaled(Path("a"), "torch", index), images.lr(index, 2))
    assert len(made) == 2 + 2 * 1  # the third does not fit beside the first two
    upscaled(Path("b"), "torch", 0)
    assert made[-1] == Path("b")


def test_scores_are_those_of_the_protocol(published):
    images = PreparedSet.open(published.folder / "data/prepared/embedded-test")
    path = published.folder / "zoo/edsr-x2-binary.safetensors"
    expected = evaluate(upscalers(path, ())["torch"], images, 2)
    assert Upscaled(images, 2).scores(path, "torch") == expected


def test_scores_of_another_set_are_refused(published, tmp_path):
    images = PreparedSet.open(published.folder / "data/prepared/embedded-test")
    with pytest.raises(InputError, match="lacks the evaluated image butterfly"):
        write_pictures(tmp_path / "x2", Upscaled(images, 2), [pair({"butterfly": 0.1}, zoo=published.folder / "zoo")])
    assert not (tmp_path / "x2").exists()
