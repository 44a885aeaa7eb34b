"""The command line in this process, and tiny networks for it."""

from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from pipeline.cli import bench, models, networks
from pipeline.cli.app import main
from pipeline.engine import Engine
from pipeline.files import write_json
from pipeline.packed import read
from pipeline.records import Quality
from pipeline.zoo.catalogue import PublishedScores, write_index
from tests.engine.random_networks import save_random

TINY = {"blocks": 1, "channels": 8}
CHANNELS = {"head": 3, "conv": 8, "upsample.0.conv": 8, "tail": 8}
FLOAT_LAYERS = {name: {"low": [-2.0] * count, "high": [2.0] * count} for name, count in CHANNELS.items()}
RANGES = {"int8": {f"blocks.0.conv{i}": [-2.0, 2.0] for i in (1, 2)}}


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def binsr(capsys):
    """Run `binsr` with arguments; none of what it prints may be a traceback."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return Done(stopped.value.code or 0, printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def network(tmp_path_factory) -> Path:
    """A packed binary network for scale 2."""
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    save_random(path, "srresnet", 2, "binary", {"activations": RANGES | {"float_layers": FLOAT_LAYERS}}, **TINY)
    return path


@pytest.fixture(scope="session")
def engine(network) -> Engine:
    """What `binsr upscale --model network` runs."""
    return Engine.load(network)


@pytest.fixture
def zoo(tmp_path, monkeypatch) -> Path:
    """A zoo of tiny networks in place of the committed one: a pair for scale 2, one of scale 4 that has no scores."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    for scale, weights, iterations in ((2, "float", 600_000), (2, "binary", 99), (4, "binary", 600_000)):
        training = {"variant": "", "iterations": iterations, "seed": 7, "training_set": "BSDS500-train"}
        training["plan"] = {"profile": "bsd", "start": None}
        metadata = {"training": training, "activations": RANGES if weights == "binary" else {}}
        save_random(folder / f"srresnet-x{scale}-{weights}.safetensors", "srresnet", scale, weights, metadata, **TINY)
    sha256 = {model.name: model.sha256 for model in write_index(folder)}
    methods = {
        "srresnet-x2-float": {"torch": 33.125, "engine_float32": 33.5},
        "srresnet-x2-binary": {"torch": 32.5, "engine_int8": 32.25},
    }
    scores = {
        name: PublishedScores(sha256[name], {"Set5": {by: Quality(psnr_y, None, 0.9) for by, psnr_y in of.items()}})
        for name, of in methods.items()
    }
    write_json(folder / "results.json", {"methods": {name: asdict(each) for name, each in scores.items()}})
    for module in (networks, models, bench):
        monkeypatch.setattr(module, "zoo_folder", lambda: folder)
    assert read(folder / "srresnet-x2-binary.safetensors").binary
    return folder


@pytest.fixture(scope="session")
def s3():
    """The address of a bucket in an S3 server on this machine; variables of the environment lead to it."""
    pytest.importorskip("s3fs", reason="needs the extra `test`")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        from fsspec.core import url_to_fs

        files, _ = url_to_fs("s3://photos")
        files.mkdir("photos")
        yield "s3://photos"
    server.stop()
