"""Images spread over two worker processes, one of which is killed."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("distributed", reason="needs the extra `cluster`")

import dask
from distributed import Client

from pipeline.cli.addresses import Address
from pipeline.cli.jobs import Job
from tests.cluster.small_cluster import Cluster
from tests.small import picture

IMAGES = 200


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("elsewhere"))  # not the folder of the images
    cluster.add("one")
    yield cluster
    cluster.close()


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for number in range(IMAGES):
        Image.fromarray(picture(number, 8 + number % 5, 9)).save(tmp_path / f"in/{number:03}.png")
    return tmp_path


def test_all_images_are_there_though_a_worker_is_killed(cluster, photos, binsr, network, engine, monkeypatch):
    from pipeline.cli import upscale

    cluster.add("two")
    (photos / "in/bad.png").write_text("no image")
    seen = []

    track = upscale.Progress.track

    def tracked(progress, records, total, description):
        for record in track(progress, records, total, description=description):
            seen.append(record)
            if len(seen) == 20:
                cluster.workers["two"].kill()
            yield record

    monkeypatch.setattr(upscale.Progress, "track", tracked)
    command = ("upscale", "in", "-o", "out", "--model", network, "--scheduler", cluster.address, "--json")
    done = binsr(*command)
    result = json.loads(done.out)
    assert done.code == 2 and done.err.count("error: ") == 1 and "in/bad.png: cannot be read" in done.err, done.err
    assert (result["upscaled"] + result["skipped"], result["failed"]) == (IMAGES, 1)
    assert result["skipped"] <= 8  # written by the killed worker, which had not said so
    for number in range(IMAGES):
        made = np.asarray(Image.open(photos / f"out/{number:03}.png"))
        assert np.array_equal(made, engine.upscale(picture(number, 8 + number % 5, 9))), number
    (photos / "in/bad.png").unlink()
    again = json.loads(binsr(*command).out)
    assert (again["upscaled"], again["skipped"]) == (0, IMAGES)


def test_what_a_worker_did_and_took_with_it_is_done_again(tmp_path_factory):
    from pipeline.cli.spread import _record

    cluster = Cluster(tmp_path_factory.mktemp("gone"))
    try:
        cluster.add("gone")
        with Client(cluster.address, set_as_default=False) as client:
            future = client.submit(dict, status="upscaled", pure=False)
            future.result()
            cluster.workers["gone"].kill()
            while future.status != "lost":
                time.sleep(0.01)
            cluster.add("other")
            assert _record(future, Job(Path("a.png"), Path("b.png"))) == {"status": "upscaled"}
    finally:
        cluster.close()


def test_addresses_on_a_cluster(cluster, binsr, network, tmp_path, engine):
    Image.fromarray(picture(0, 8, 9)).save(tmp_path / "a.png")
    out = f"file://{tmp_path}/out/b.png"
    done = binsr("upscale", tmp_path / "a.png", "-o", out, "--model", network, "--scheduler", cluster.address)
    assert done.code == 0, done.err
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out/b.png")), engine.upscale(picture(0, 8, 9)))


def test_threads_of_a_worker_that_write_to_one_bucket_lose_nothing(s3, binsr, network, photos, tmp_path_factory):
    threads = Cluster(tmp_path_factory.mktemp("threads"))
    try:
        threads.add("one", threads=4)
        out = f"{s3}/{photos.name}"
        done = binsr("upscale", "in", "-o", out, "--model", network, "--scheduler", threads.address, "--threads", "1")
        assert done.code == 0, done.err
        assert len(Address(out).below()) == IMAGES
    finally:
        threads.close()


def test_no_scheduler(binsr, network, photos):
    done = binsr("upscale", "in", "-o", "out", "--model", network, "--scheduler", "tcp://127.0.0.1:1")
    assert done.code == 2 and "--scheduler: tcp://127.0.0.1:1: cannot be reached" in done.err
    assert not (photos / "out").exists()


def test_a_scheduler_that_is_lost_and_a_second_call_that_goes_on(tmp_path_factory, photos, binsr, network, monkeypatch):
    from pipeline.cli import upscale

    lost, back = (Cluster(tmp_path_factory.mktemp(name)) for name in ("lost", "back"))
    try:
        lost.add("one")
        track = upscale.Progress.track

        def tracked(progress, records, total, description):
            for number, record in enumerate(track(progress, records, total, description=description)):
                if number == 10:
                    lost.close()
                yield record

        sooner = dask.config.set({"distributed.comm.timeouts.connect": "10s"})
        with sooner, monkeypatch.context() as patch:
            patch.setattr(upscale.Progress, "track", tracked)
            done = binsr("upscale", "in", "-o", "out", "--model", network, "--scheduler", lost.address)
        assert done.code == 2 and "cluster: the scheduler was lost" in done.err, done.err
        back.add("one")
        done = binsr("upscale", "in", "-o", "out", "--model", network, "--scheduler", back.address, "--json")
        result = json.loads(done.out)
        assert done.code == 0 and result["skipped"] >= 10 and result["upscaled"] + result["skipped"] == IMAGES
    finally:
        lost.close()
        back.close()
