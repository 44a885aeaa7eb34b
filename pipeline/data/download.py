"""Fetching data sets: from a mirror, or from their public addresses, resuming what was cut."""

from __future__ import annotations

import errno
import importlib.resources
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests
import urllib3
from filelock import FileLock
from tqdm import tqdm

from pipeline.data.archive import is_unpacked, unpack
from pipeline.data.images import image_files
from pipeline.data.registry import Dataset, RemoteFile
from pipeline.errors import DISK, InputError, unwritten, writing
from pipeline.files import atomic

TIMEOUT_SECONDS = (10, 60)  # to connect; between two packets
CHUNK_BYTES = 1 << 16  # received at once, at most
SLOWEST = 1 << 10  # bytes per second, on the average of each minute: a slower address is given up for the next
PACE_SECONDS = 60.0


def fetch(source: Dataset, destination: Path, mirror: str | None = None) -> None:
    """Make sure that the folder `destination` holds exactly the images of a data set.

    Files already there, with the right hash, are not fetched again. Downloads, also half ones, are kept in
    `downloads/<set>` beside the parent of `destination` until the set is complete, so that a rerun goes on
    where an interrupted one stopped. An archive is deleted once it is unpacked. An address that sends nothing for a
    minute, or less than 1 KiB per second, is given up for the next.

    Parameters
    ----------
    source : Dataset
        See `pipeline.data.registry.dataset`.
    destination : Path
        For example `data/raw/Set5`.
    mirror : str, optional
        A folder or an http(s) address that has `<folder of the set>/<file>`, tried before the public
        addresses. The environment variable SR_MIRROR has precedence.

    Raises
    ------
    InputError
        If no address gives a file of the right hash, an archive is not as it should be, or `destination` has
        images that are not of the set.
    """
    downloads = destination.parent.parent / "downloads" / source.name
    if source.is_archive and is_unpacked(destination, source.images):
        return
    if source.is_archive or _missing(source, destination):
        with writing(downloads):
            downloads.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(downloads.with_name(f".{source.name}.lock")).acquire()
        with lock:  # several processes may miss the set at once
            _complete(source, destination, downloads, os.environ.get("SR_MIRROR") or mirror)
    shutil.rmtree(downloads, ignore_errors=True)
    if not source.is_archive:
        strays = set(image_files(destination)) - {destination / file.name for file in source.files}
        if strays:
            raise InputError(f"{min(strays)}: is not an image of {source.name}; remove it")


def _complete(source: Dataset, destination: Path, downloads: Path, mirror: str | None) -> None:
    """Download what is missing of a data set, by way of the folder `downloads`."""
    if not source.is_archive:
        missing = _missing(source, destination)
        _download(source, missing, downloads, mirror)
        for file in missing:
            with writing(destination / file.name):
                (destination / file.name).parent.mkdir(parents=True, exist_ok=True)
                _move(downloads / file.name, destination / file.name)
    elif not is_unpacked(destination, source.images):
        _download(source, source.files, downloads, mirror)
        unpack(downloads / source.files[0].name, destination, source.images)


def _missing(source: Dataset, destination: Path) -> list[RemoteFile]:
    return [file for file in source.files if not _has_hash(destination / file.name, file.sha256)]


def _move(source: Path, target: Path) -> None:
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic(target) as temporary:  # on another disk
            shutil.copyfile(source, temporary)


def _has_hash(path: Path, sha256: str) -> bool:
    return path.is_file() and pooch.file_hash(str(path)) == sha256


def _download(source: Dataset, files: Iterable[RemoteFile], folder: Path, mirror: str | None) -> None:
    """Download files of a data set into `folder`, with one progress bar for all of them."""
    pooch.get_logger().setLevel(logging.WARNING)
    total = sum(file.bytes for file in files)
    with (
        requests.Session() as session,
        tqdm(total=total, desc=f"fetch {source.name}", unit="B", unit_scale=True, disable=None) as bar,
    ):
        done = 0
        for file in files:

            def show(received: int, done: int = done) -> None:
                bar.update(done + received - bar.n)

            _download_file(source, file, folder, mirror, session, show)
            done += file.bytes
            show(0, done)


def _download_file(
    source: Dataset,
    file: RemoteFile,
    folder: Path,
    mirror: str | None,
    session: requests.Session,
    show: Callable[[int], None],
) -> None:
    """Download one file from the first address that gives it whole and right."""
    addresses = [template.format(file=file.name) for template in source.addresses]
    if mirror and source.folder:
        addresses.insert(0, f"{mirror.rstrip('/')}/{source.folder}/{file.name}")
    downloader = _Downloader(session, folder / f"{file.name}.part", file.bytes, show)
    reasons = []
    for address in addresses:
        # Pooch checks the hash, tries a second time, and renames the file into its place.
        place = pooch.create(
            folder, "", registry={file.name: file.sha256}, urls={file.name: address}, retry_if_failed=1
        )
        try:
            place.fetch(file.name, downloader=downloader)
            return
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in DISK:  # no other address helps
                raise unwritten(folder / file.name, error) from error
            reasons.append(f"{address}: {_reason(error)}")
    raise InputError(
        f"{source.name}: {file.name}: cannot be fetched ({'; '.join(reasons)}); "
        f"set SR_MIRROR to a mirror's folder or address, or put the file at {folder / file.name}"
    )


def _reason(error: Exception) -> str:
    """Say in a few words why an address did not give the file."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.HTTPError | _UnavailableError):
        return str(error)
    if isinstance(error, requests.ConnectionError):
        return "no connection, or it was cut"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "the content has a wrong SHA-256"


class _UnavailableError(OSError):
    """An address does not have the file: there is no use in trying it again."""


@dataclass
class _Downloader:
    """What pooch calls to bring a file; an http(s) transfer resumes from `part`, kept between runs."""

    session: requests.Session
    part: Path
    bytes: int
    show: Callable[[int], None]

    def __call__(self, address: str, output: str, _pooch: object = None) -> None:
        if address.startswith(("http://", "https://")):
            self._receive_all(address)
        else:
            shutil.copyfile(_local_path(address), self.part)
        os.replace(self.part, output)

    def _received(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _receive_all(self, address: str) -> None:
        """Receive the file, reconnecting as long as each connection brings something."""
        if self._received() > self.bytes:
            self.part.unlink()
        pace = _Pace()
        while (before := self._received()) < self.bytes:
            failure: requests.RequestException = requests.ConnectionError("ended early")
            try:
                self._receive(address, before, pace)
            except requests.RequestException as error:
                failure = error
            if self._received() <= before:
                raise failure

    def _receive(self, address: str, start: int, pace: _Pace) -> None:
        """Receive the file from byte `start` on, or from its beginning if the server will not resume."""
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with self.session.get(address, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
            resumes = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            if start and (response.status_code == 416 or (response.status_code == 206 and not resumes)):
                self.part.unlink()
                return self._receive(address, 0, pace)
            if 400 <= response.status_code < 500:
                raise _UnavailableError(f"HTTP {response.status_code} {response.reason}")
            response.raise_for_status()
            with self.part.open("ab" if resumes else "wb") as target:
                for chunk in _as_it_comes(response):
                    target.write(chunk)
                    self.show(target.tell())
                    if target.tell() > self.bytes:
                        raise _UnavailableError(f"sends more than {self.bytes} bytes")
                    pace.check(len(chunk))


def _as_it_comes(response: requests.Response) -> Iterator[bytes]:
    """Yield what each packet brings, so that of a transfer that is cut nothing is lost."""
    try:
        while chunk := response.raw.read1(CHUNK_BYTES):
            yield chunk
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(error) from error


class _Pace:
    """The rate of a transfer, which must not go on for ever."""

    def __init__(self) -> None:
        self._since, self._bytes = time.monotonic(), 0

    def check(self, received: int) -> None:
        """Count bytes; raise if those of the last minute were too few."""
        self._bytes += received
        if (seconds := time.monotonic() - self._since) >= PACE_SECONDS:
            if self._bytes < SLOWEST * seconds:
                raise _UnavailableError(f"sends less than {SLOWEST} bytes per second")
            self._since, self._bytes = time.monotonic(), 0


def _local_path(address: str) -> Path:
    """Return the path of a file in a mirror's folder, or of `package://<package>/<path>`."""
    if not address.startswith("package://"):
        return Path(os.path.expanduser(address))  # as it is if the user is unknown
    package, _, path = address.removeprefix("package://").partition("/")
    return Path(str(importlib.resources.files(package))) / path
