"""Fetching from a local HTTP server that misbehaves as asked, with archives shaped like DIV2K's."""

import errno
import hashlib
import io
import os
import stat
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data import archive, download
from pipeline.data.download import fetch
from pipeline.data.registry import Dataset, RemoteFile, dataset
from pipeline.errors import InputError
from pipeline.files import MACHINE


class Server(ThreadingHTTPServer):
    """Serves `files` (path -> bytes) with ranges; a path in `cut` is cut, once, after so many bytes."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cut: dict[str, list[int]] = {}
        self.status: dict[str, int] = {}
        self.trickle: set[str] = set()  # paths sent byte by byte
        self.ranges = True
        self.length: dict[str, int] = {}  # that it claims, if it is not the right one
        self.shift = 0  # how far its ranges are off
        self.asked: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        content = self.server.files.get(self.path)
        if self.server.status.get(self.path) == 302:
            self.send_response(302)
            self.send_header("Location", self.path)
            return self.end_headers()
        if content is None or self.path in self.server.status:
            return self.send_error(self.server.status.get(self.path, 404))
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.ranges else 0
        if start >= len(content):
            return self.send_error(416)
        start += self.server.shift if start else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(self.server.length.get(self.path, len(content) - start)))
        self.end_headers()
        if self.path in self.server.trickle:
            with suppress(OSError):  # the other side has given up
                for i in range(start, len(content)):
                    self.wfile.write(content[i : i + 1])
                    threading.Event().wait(0.002)
            return None
        cuts = self.server.cut.get(self.path)
        self.wfile.write(content[start:][: cuts.pop(0) if cuts else None])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("SR_MIRROR", raising=False)
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def png(seed: int) -> bytes:
    data = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data, "png")
    return data.getvalue()


def zipped(members: dict[str | zipfile.ZipInfo, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return data.getvalue()


PHOTOS = {f"{i:04}.png": png(i) for i in range(1, 4)}
DIV2K = zipped({"DIV2K_train_HR/": b""} | {f"DIV2K_train_HR/{name}": data for name, data in PHOTOS.items()})
ZIP = "/a/DIV2K_train_HR.zip"


def remote(name: str, content: bytes) -> RemoteFile:
    return RemoteFile(name, len(content), hashlib.sha256(content).hexdigest())


def div2k(server: Server, content: bytes = DIV2K, images: int = 3) -> Dataset:
    addresses = (server.url + "/a/{file}", server.url + "/b/{file}")
    return Dataset("DIV2K-train", "DIV2K", addresses, images, None, (remote("DIV2K_train_HR.zip", content),))


def photos(server: Server) -> Dataset:
    files = tuple(remote(f"train/{name}", content) for name, content in PHOTOS.items())
    return Dataset("Photos", "Photos", (server.url + "/photos/{file}",), 3, None, files)


def contents(folder: Path) -> dict[str, bytes]:
    files = (
        path for path in folder.rglob("*") if path.is_file() and path.name != archive.MEMBERS and path.suffix != ".lock"
    )
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def destination(tmp_path):
    return tmp_path / "data" / "raw" / "DIV2K-train"


def test_an_archive_is_fetched_unpacked_and_deleted(server, destination):
    server.files[ZIP] = DIV2K
    fetch(div2k(server), destination)
    assert contents(destination.parents[1]) == {f"raw/DIV2K-train/{k}": v for k, v in PHOTOS.items()}
    fetch(div2k(server), destination)
    assert server.asked == [(ZIP, None)]
    name = min(PHOTOS)
    (destination / name).write_bytes(PHOTOS[name][:-1] + b"x")  # damaged
    fetch(div2k(server), destination)
    assert (destination / name).read_bytes() == PHOTOS[name] and len(server.asked) == 2


def test_files_are_moved_to_another_disk(server, tmp_path, monkeypatch):
    server.files = {f"/photos/train/{name}": content for name, content in PHOTOS.items()}
    replace = os.replace

    def across(source, target):
        if "downloads" in str(source) and "raw" in str(target):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr(os, "replace", across)
    fetch(photos(server), tmp_path / "data/raw/Photos")
    assert contents(tmp_path / "data/raw/Photos") == {f"train/{name}": content for name, content in PHOTOS.items()}


def test_a_mirror_of_an_unknown_user_is_no_mirror(server, tmp_path, monkeypatch):
    server.files = {f"/photos/train/{name}": content for name, content in PHOTOS.items()}
    monkeypatch.setenv("SR_MIRROR", "~nosuchuser/mirror")
    fetch(photos(server), tmp_path / "data/raw/Photos")
    assert len(contents(tmp_path / "data/raw/Photos")) == len(PHOTOS)


def test_a_cut_transfer_asks_for_the_rest_only(server, destination):
    server.files[ZIP] = DIV2K
    server.cut[ZIP] = [500, 300]
    fetch(div2k(server), destination)
    assert server.asked == [(ZIP, None), (ZIP, "bytes=500-"), (ZIP, "bytes=800-")]
    assert contents(destination) == PHOTOS


def test_a_later_run_resumes_what_an_earlier_one_left(server, destination):
    server.files[ZIP] = DIV2K
    part = destination.parents[1] / "downloads" / "DIV2K-train" / "DIV2K_train_HR.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(DIV2K[:700])
    fetch(div2k(server), destination)
    assert server.asked == [(ZIP, "bytes=700-")]
    assert contents(destination) == PHOTOS


def test_every_byte_before_a_cut_is_kept(server, destination):
    server.files[ZIP] = DIV2K
    server.cut[ZIP] = [7] * len(DIV2K)
    fetch(div2k(server), destination)
    assert server.asked == [(ZIP, None), *((ZIP, f"bytes={start}-") for start in range(7, len(DIV2K), 7))]
    assert contents(destination) == PHOTOS


def test_an_address_that_trickles_is_given_up_and_the_next_one_goes_on(server, destination, monkeypatch):
    monkeypatch.setattr(download, "PACE_SECONDS", 0.2)
    server.files[ZIP] = server.files["/b/DIV2K_train_HR.zip"] = DIV2K
    server.trickle.add(ZIP)
    fetch(div2k(server), destination)
    (first, _), (second, start) = server.asked
    assert (first, second) == (ZIP, "/b/DIV2K_train_HR.zip") and int(start.removeprefix("bytes=")[:-1]) > 10
    assert contents(destination) == PHOTOS
    server.trickle.add("/b/DIV2K_train_HR.zip")
    with pytest.raises(InputError, match="sends less than 1024 bytes per second"):
        fetch(div2k(server), destination.with_name("again"))


def test_a_circle_of_redirections_is_left(server, destination):
    server.status[ZIP] = 302
    server.files["/b/DIV2K_train_HR.zip"] = DIV2K
    fetch(div2k(server), destination)
    assert contents(destination) == PHOTOS


@pytest.mark.parametrize("claimed", [len(DIV2K) // 2, 2 * len(DIV2K)])
def test_a_wrong_length_is_no_reason_to_take_half_a_file(server, destination, claimed):
    server.files[ZIP] = DIV2K
    server.length[ZIP] = claimed
    server.files["/b/DIV2K_train_HR.zip"] = DIV2K
    fetch(div2k(server), destination)
    assert contents(destination) == PHOTOS


def test_the_part_survives_a_run_that_fails(server, destination):
    server.files[ZIP] = DIV2K
    server.cut[ZIP] = [500, 0, 0]
    with pytest.raises(InputError, match="cut"):
        fetch(div2k(server), destination)
    server.asked.clear()
    fetch(div2k(server), destination)
    assert server.asked == [(ZIP, "bytes=500-")]


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("part", [b"x" * 10, DIV2K + b"more", b"x" * len(DIV2K)], ids=["wrong", "long", "full"])
def test_an_unusable_part_costs_a_second_transfer_at_most(server, destination, part, ranges):
    server.ranges = ranges
    server.files[ZIP] = DIV2K
    path = destination.parents[1] / "downloads" / "DIV2K-train" / "DIV2K_train_HR.zip.part"
    path.parent.mkdir(parents=True)
    path.write_bytes(part)
    fetch(div2k(server), destination)
    assert contents(destination) == PHOTOS
    assert len(server.asked) <= 2


def test_a_416_starts_from_zero(server, destination):
    source = div2k(server)
    server.files[ZIP] = DIV2K[:400]  # shorter than the part: the server refuses the range
    path = destination.parents[1] / "downloads" / "DIV2K-train" / "DIV2K_train_HR.zip.part"
    path.parent.mkdir(parents=True)
    path.write_bytes(DIV2K[:600])
    server.files["/b/DIV2K_train_HR.zip"] = DIV2K
    fetch(source, destination)
    assert server.asked[:2] == [(ZIP, "bytes=600-"), (ZIP, None)]
    assert contents(destination) == PHOTOS


def test_another_range_than_asked_for_starts_from_zero(server, destination):
    server.files[ZIP] = DIV2K
    server.cut[ZIP] = [500]
    server.shift = 7
    fetch(div2k(server), destination)
    assert server.asked == [(ZIP, None), (ZIP, "bytes=500-"), (ZIP, None)]
    assert contents(destination) == PHOTOS


def test_a_wrong_hash_is_tried_twice_then_the_next_address(server, destination):
    server.files[ZIP] = DIV2K[:-1] + b"\xff"
    server.files["/b/DIV2K_train_HR.zip"] = DIV2K
    fetch(div2k(server), destination)
    assert server.asked == [(ZIP, None), (ZIP, None), ("/b/DIV2K_train_HR.zip", None)]
    assert contents(destination) == PHOTOS


def test_a_404_goes_to_the_next_address_at_once(server, destination):
    server.files["/b/DIV2K_train_HR.zip"] = DIV2K
    fetch(div2k(server), destination)
    assert [path for path, _ in server.asked] == [ZIP, "/b/DIV2K_train_HR.zip"]


def test_when_all_fail_one_line_names_file_reasons_and_remedy(server, destination):
    server.files[ZIP] = b"longer than it should be" + DIV2K
    server.status["/b/DIV2K_train_HR.zip"] = 503
    server.files["/b/DIV2K_train_HR.zip"] = DIV2K
    with pytest.raises(InputError) as raised:
        fetch(div2k(server), destination, "http://127.0.0.1:1/mirror")
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith("DIV2K-train: DIV2K_train_HR.zip: cannot be fetched")
    assert "http://127.0.0.1:1/mirror/DIV2K/DIV2K_train_HR.zip: no connection" in message
    assert f"{server.url}{ZIP}: sends more than {len(DIV2K)} bytes" in message
    assert f"{server.url}/b/DIV2K_train_HR.zip: 503" in message
    assert "SR_MIRROR" in message
    place = destination.parents[1] / "downloads" / "DIV2K-train" / "DIV2K_train_HR.zip"
    assert str(place) in message
    assert not destination.exists()
    place.write_bytes(DIV2K)  # the remedy
    fetch(div2k(server), destination)
    assert contents(destination) == PHOTOS


def test_a_mirror_folder_is_tried_first_and_the_environment_wins(server, destination, tmp_path, monkeypatch):
    (tmp_path / "mirror" / "DIV2K").mkdir(parents=True)
    (tmp_path / "mirror" / "DIV2K" / "DIV2K_train_HR.zip").write_bytes(DIV2K)
    monkeypatch.setenv("SR_MIRROR", str(tmp_path / "mirror"))
    fetch(div2k(server), destination, server.url + "/mirror")
    assert contents(destination) == PHOTOS
    assert server.asked == []


def test_files_copied_from_a_mirror_have_ordinary_permissions(server, tmp_path):
    for name, content in PHOTOS.items():
        path = tmp_path / "mirror" / "Photos" / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    destination = tmp_path / "data" / "raw" / "Photos"
    fetch(photos(server), destination, str(tmp_path / "mirror"))
    modes = {path.stat().st_mode for path in tmp_path.rglob("*.png")}
    assert len(modes) == 1


def test_a_mirror_address_is_tried_first(server, destination):
    server.files["/mirror/DIV2K/DIV2K_train_HR.zip"] = DIV2K
    fetch(div2k(server), destination, server.url + "/mirror/")
    assert server.asked == [("/mirror/DIV2K/DIV2K_train_HR.zip", None)]


def test_only_missing_and_wrong_files_of_a_set_are_fetched(server, tmp_path):
    destination = tmp_path / "data" / "raw" / "Photos"
    server.files = {f"/photos/train/{name}": content for name, content in PHOTOS.items()}
    fetch(photos(server), destination)
    expected = {f"train/{name}": content for name, content in PHOTOS.items()}
    assert contents(destination) == expected
    assert len(server.asked) == 3
    (destination / "train" / "0001.png").unlink()
    (destination / "train" / "0003.png").write_bytes(b"damaged")
    server.asked.clear()
    fetch(photos(server), destination)
    assert [path for path, _ in server.asked] == ["/photos/train/0001.png", "/photos/train/0003.png"]
    assert contents(destination) == expected
    assert not (tmp_path / "data" / "downloads" / "Photos").exists()


def test_what_an_interrupted_run_fetched_is_kept(server, tmp_path):
    destination = tmp_path / "data" / "raw" / "Photos"
    server.files = {f"/photos/train/{name}": PHOTOS[name] for name in ("0001.png", "0002.png")}
    with pytest.raises(InputError, match=r"train/0003\.png"):
        fetch(photos(server), destination)
    server.files["/photos/train/0003.png"] = PHOTOS["0003.png"]
    server.asked.clear()
    fetch(photos(server), destination)
    assert server.asked == [("/photos/train/0003.png", None)]


def test_an_image_that_is_not_of_the_set_is_named(server, tmp_path):
    destination = tmp_path / "data" / "raw" / "Photos"
    server.files = {f"/photos/train/{name}": content for name, content in PHOTOS.items()}
    fetch(photos(server), destination)
    (destination / "mine.png").touch()
    with pytest.raises(InputError, match=r"mine\.png: is not an image of Photos; remove it"):
        fetch(photos(server), destination)


@pytest.mark.parametrize("make", [div2k, photos])
def test_a_set_that_several_miss_at_once_is_fetched_once(server, tmp_path, make):
    source = make(server)
    destination = tmp_path / "data" / "raw" / source.name
    server.files = {ZIP: DIV2K} | {f"/photos/train/{name}": content for name, content in PHOTOS.items()}
    with ThreadPoolExecutor(4) as pool:
        for each in [pool.submit(fetch, source, destination) for _ in range(4)]:
            each.result()
    assert len(server.asked) == len(source.files) and len(contents(destination)) == source.images


def test_a_destination_that_is_no_folder_is_named(server, tmp_path):
    destination = tmp_path / "data" / "raw" / "Photos"
    server.files = {f"/photos/train/{name}": content for name, content in PHOTOS.items()}
    destination.parent.mkdir(parents=True)
    destination.touch()
    with pytest.raises(InputError, match=r"Photos/train/0001\.png: "):
        fetch(photos(server), destination)
    destination.unlink()
    fetch(photos(server), destination)  # goes on with what was downloaded
    assert contents(destination) == {f"train/{name}": content for name, content in PHOTOS.items()}


def test_embedded_sets_need_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("SR_MIRROR", "http://127.0.0.1:1")
    fetch(dataset("embedded-test"), tmp_path / "raw" / "embedded-test")
    assert sorted(contents(tmp_path / "raw" / "embedded-test")) == ["astronaut.png", "camera.png", "chelsea.png"]


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("DIV2K_train_HR/0003.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("../0003.png", "points outside"),
        ("DIV2K_train_HR/../../0003.png", "points outside"),
        ("/etc/0003.png", "points outside"),
        ("..\\0003.png", "points outside"),
        ("C:0003.png", "names a drive"),
        ("DIV2K_train_HR/run.sh", "is not an image"),
        ("other/0001.PNG", "the same file name as another member"),
        (link(), "is a symbolic link"),
    ],
)
def test_a_bad_member_is_named_and_nothing_is_left(server, destination, member, message):
    members = {f"DIV2K_train_HR/{name}": PHOTOS[name] for name in ("0001.png", "0002.png")}
    server.files[ZIP] = content = zipped(members | {member: b"payload"})
    with pytest.raises(InputError, match=rf"DIV2K_train_HR\.zip: member .* {message}"):
        fetch(div2k(server, content), destination)
    assert list(contents(destination.parents[1])) == ["downloads/DIV2K-train/DIV2K_train_HR.zip"]


def test_an_archive_with_another_number_of_images(server, destination):
    server.files[ZIP] = DIV2K
    with pytest.raises(InputError, match="has 3 images instead of 4"):
        fetch(div2k(server, images=4), destination)
    assert not destination.exists()


@pytest.mark.parametrize(
    "content",
    [b"not a zip", DIV2K[:-30], DIV2K[100:], DIV2K.replace(PHOTOS["0002.png"], PHOTOS["0002.png"][::-1])],
    ids=["text", "truncated", "shifted", "damaged"],
)
def test_a_broken_archive(server, destination, content):
    server.files[ZIP] = content
    with pytest.raises(InputError, match="cannot be unpacked"):
        fetch(div2k(server, content), destination)
    assert not destination.exists()


def test_an_interrupted_unpacking_is_finished_by_a_rerun(server, destination, monkeypatch):
    server.files[ZIP] = DIV2K
    copied = []

    def interrupted(source, target):
        if copied:
            raise KeyboardInterrupt
        copied.append(target.write(source.read()))

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(archive.shutil, "copyfileobj", interrupted)
        fetch(div2k(server), destination)
    assert copied
    assert not destination.exists()
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    # As after a kill, which removes nothing.
    leftover = destination.with_name(f".DIV2K-train.{MACHINE}.{ended.stdout.strip()}.tmp")
    leftover.mkdir()
    (leftover / "0009.png").touch()
    fetch(div2k(server), destination)
    assert contents(destination.parent) == {f"DIV2K-train/{name}": data for name, data in PHOTOS.items()}
    assert server.asked == [(ZIP, None)]
