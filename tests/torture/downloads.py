"""A server that misbehaves for a while: what is fetched in the end is right, and nothing wrong is ever taken."""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from pipeline.data import download
from pipeline.data.registry import Dataset, RemoteFile
from pipeline.errors import InputError

MOST_RUNS = 40


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, content: bytes, rng: np.random.Generator) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.rng, self.faults = content, rng, int(rng.integers(0, 12))


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        rng, content = self.server.rng, self.server.content
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=")[:-1]) if wanted else 0
        fault = "" if self.server.faults <= 0 else str(rng.choice(FAULTS))
        self.server.faults -= 1
        if fault == "status":
            return self.send_error(int(rng.choice([403, 404, 429, 500, 503])))
        if fault == "circle":
            self.send_response(302)
            self.send_header("Location", self.path)
            return self.end_headers()
        if fault == "no ranges":
            start = 0
        if fault == "wrong range":
            start = int(rng.integers(len(content)))
        body = content[start:]
        if fault == "wrong bytes" and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        if fault == "more":
            body += b"more"
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        length = len(body) + int(rng.integers(-50, 50)) if fault == "wrong length" else len(body)
        self.send_header("Content-Length", str(max(length, 0)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body[: rng.integers(len(body) + 1)] if fault == "cut" else body)

    def log_message(self, *_: Any) -> None:
        pass


FAULTS = ("cut", "cut", "status", "circle", "no ranges", "wrong range", "wrong bytes", "more", "wrong length")


def attempt(seed: int, folder: Path) -> str:
    rng = np.random.default_rng(seed)
    content = rng.bytes(int(rng.integers(1, 5000)))
    with _Server(content, rng) as server, patch("pooch.core.time.sleep", lambda seconds: None):
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{{file}}"
        file = RemoteFile("a.png", len(content), hashlib.sha256(content).hexdigest())
        source = Dataset("Photos", None, (address, address), 1, None, (file,))
        destination = folder / "raw/Photos"
        try:
            for run in range(1, MOST_RUNS):
                try:
                    download.fetch(source, destination)
                except InputError as error:
                    assert str(error).isprintable() and not (destination / "a.png").exists()
                    continue
                assert (destination / "a.png").read_bytes() == content
                return "right at the first call" if run == 1 else "right after further calls"
        finally:
            server.shutdown()
    raise AssertionError("never complete")
