"""Archives made in memory, a project in a temporary folder, and a web server with moods."""

import hashlib
import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml


@pytest.fixture
def make_tar() -> Callable[..., bytes]:
    """A tar of (name, content) pairs or of ready TarInfo objects."""

    def make(members: list[Any], *, mode: str = "w") -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=mode) as handle:  # type: ignore[call-overload]
            for member in members:
                if isinstance(member, tarfile.TarInfo):
                    handle.addfile(member, io.BytesIO(bytes(member.size)) if member.isreg() else None)
                    continue
                name, content = member
                info = tarfile.TarInfo(name)
                info.size = len(content)
                handle.addfile(info, io.BytesIO(content))
        return buffer.getvalue()

    return make


@pytest.fixture
def make_zip() -> Callable[..., bytes]:
    """A zip of (name or ZipInfo, content) pairs."""

    def make(members: list[Any], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", compression) as handle:
            for name, content in members:
                handle.writestr(name, content)
        return buffer.getvalue()

    return make


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The working directory is an empty project; calling the fixture writes a data set's file."""
    folder = tmp_path / "project"
    (folder / "config/datasets").mkdir(parents=True)
    (folder / "config/config.yaml").write_text("experiments: [none]\n")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("SEGTRACE_MIRROR", raising=False)
    monkeypatch.setattr(os, "sync", lambda: None)  # waits for whatever else this machine writes
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")

    def write(name: str = "toy", **values: Any) -> None:
        base = {
            "title": name,
            "dimensions": 2,
            "modality": "none",
            "licence": "CC BY-NC-SA 4.0",
            "labels": {1: "one"},
            "channels": ["grey"],
            "recipes": {},
            "protocols": {},
            "reader": "busi",
        }
        path = folder / f"config/datasets/{name}.yaml"
        path.write_text(yaml.safe_dump(base | values))

    return write


class _Handler(BaseHTTPRequestHandler):
    """Serves ``server.files``; a mood in ``server.moods`` is used up by one request."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.requests.append((self.path, dict(self.headers)))
        mood = server.moods.pop(0) if server.moods else "well"
        body = server.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        if mood == "busy":
            self.send_response(503)
            self.send_header("Retry-After", "7")
            self.end_headers()
            return
        if mood == "login":
            page = b"<!DOCTYPE html><html><title>Sign in</title></html>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)
            return
        etag = '"' + hashlib.sha256(body).hexdigest()[:8] + '"'
        start, wanted = 0, self.headers.get("Range")
        current = self.headers.get("If-Range") in (None, etag)
        if wanted and current and server.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if mood == "odd":
            self.send_header("Content-Encoding", "gzip")
        if server.ranges:
            self.send_header("ETag", etag)
        if not server.silent:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        rest = body[start:]
        self.wfile.write(rest[: len(rest) // 2] if mood == "cut" else rest)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def web() -> Iterator[SimpleNamespace]:
    """A server on this machine: ``files``, ``moods``, ``requests``, ``url(path)``."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.files, server.moods, server.requests = {}, [], []
    server.ranges, server.silent = True, False
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    server.url = lambda path: f"http://127.0.0.1:{server.server_address[1]}{path}"
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
