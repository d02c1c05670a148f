"""Two servers on this machine: one of plain files, as a package index or mirror serves them, and one
that answers as the Hugging Face hub does. Both are real HTTP; both remember what they were asked.
And how the tests ask a model that came from them."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import torch

TEXT = "the cat sat on the mat"


@dataclass
class Files:
    """What a server of files serves, and how it misbehaves."""

    at: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    ranges: bool = True  # whether it heeds Range
    stop_after: int | None = None  # bytes of a body after which it hangs up
    stops: int = 10**9  # how many times it does so
    slow: float = 0.0  # seconds between pieces of a body
    status: dict[str, int] = field(default_factory=dict)  # paths it only answers with a status
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, Range
    url: str = ""

    def gets(self, path: str) -> list[str | None]:
        """The Range of each GET of a path."""
        return [wanted for method, asked, wanted in self.asked if (method, asked) == ("GET", path)]


class _FileHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: Files

    def do_GET(self) -> None:
        path, wanted = unquote(urlsplit(self.path).path), self.headers.get("Range")
        self.files.asked.append((self.command, path, wanted))
        if path in self.files.status:
            return self._empty(self.files.status[path])
        body = self.files.at.get(path)
        if body is None:
            return self._empty(404)
        start, status = 0, 200
        if wanted and self.files.ranges and (found := re.fullmatch(r"bytes=(\d+)-", wanted)):
            start, status = int(found[1]), 206
            if start >= len(body):
                return self._empty(416)
        self.send_response(status)
        self.send_header("Content-Type", self.files.types.get(path, "application/octet-stream"))
        self.send_header("Content-Length", str(len(body) - start))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        if self.command != "HEAD":
            self._send(body[start:])

    do_HEAD = do_GET

    def _send(self, body: bytes) -> None:
        limit = None
        if self.files.stop_after is not None and self.files.stops > 0:
            self.files.stops -= 1
            limit = self.files.stop_after
        step = 1 << 16
        for at in range(0, len(body) if limit is None else min(limit, len(body)), step):
            end = at + step if limit is None else min(at + step, limit)
            try:
                self.wfile.write(body[at:end])
            except (BrokenPipeError, ConnectionResetError):
                return
            if self.files.slow:
                threading.Event().wait(self.files.slow)
        if limit is not None:
            self.close_connection = True
            self.connection.close()

    def _empty(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def file_server(files: Files) -> Iterator[Files]:
    """Serve `files` on a free port of 127.0.0.1 for as long as the block lasts."""
    with _serving(type("Handler", (_FileHandler,), {"files": files})) as url:
        files.url = url
        yield files


def package_index(files: Files, wheel: Path, package: str, metadata: bytes) -> None:
    """Add to `files` a package index (PEP 503, with the metadata of PEP 658) that has one wheel."""
    data = wheel.read_bytes()
    files.at[f"/files/{wheel.name}"] = data
    files.at[f"/files/{wheel.name}.metadata"] = metadata
    mark = f"sha256={hashlib.sha256(metadata).hexdigest()}"
    marks = f'data-core-metadata="{mark}" data-dist-info-metadata="{mark}"'
    link = f'<a href="/files/{wheel.name}" {marks}>{wheel.name}</a>'
    files.at[f"/simple/{package}/"] = f"<!DOCTYPE html><html><body>{link}</body></html>".encode()
    files.types[f"/simple/{package}/"] = "text/html"


# --- the hub ---------------------------------------------------------------------------------------
@dataclass
class Hub:
    """Repositories by name, each with its revisions, each with its files."""

    repositories: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    slow: float = 0.0
    url: str = ""

    def add(self, name: str, folder: Path, revision: str = "main") -> None:
        files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
        self.repositories.setdefault(name, {})[revision] = files

    def commit(self, name: str, revision: str) -> str:
        return hashlib.sha1(f"{name}@{revision}".encode()).hexdigest()

    def files(self, name: str, revision: str) -> dict[str, bytes] | None:
        """The files of a branch, a tag or a commit."""
        for known, files in self.repositories.get(name, {}).items():
            if revision in (known, self.commit(name, known)):
                return files
        return None


class _HubHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    API = re.compile(r"/api/models/(?P<name>[^/]+(?:/[^/]+)?)/(?P<what>revision|tree)/(?P<revision>[^/]+)/?")
    FILE = re.compile(r"/(?P<name>[^/]+(?:/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        found = self.API.fullmatch(path) or self.FILE.fullmatch(path)
        if found is None:
            return self._answer(404, b"", {})
        name, revision = found["name"], found["revision"]
        if name not in self.hub.repositories:  # the hub does not tell strangers what exists
            return self._error(401, "RepoNotFound", "Repository not found")
        if name in self.hub.gated:
            return self._error(403, "GatedRepo", "Access to this model is restricted")
        files = self.hub.files(name, revision)
        if files is None:
            return self._error(404, "RevisionNotFound", "Invalid rev id")
        commit = next(
            c for r in self.hub.repositories[name] if revision in (r, c := self.hub.commit(name, r))
        )
        if "file" in found.groupdict():
            return self._file(files, found["file"], commit)
        if found["what"] == "revision":
            siblings = [{"rfilename": file, "size": len(data)} for file, data in files.items()]
            return self._json({"id": name, "sha": commit, "siblings": siblings, "private": False})
        self._json(
            [
                {"type": "file", "path": file, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for file, data in files.items()
            ]
        )

    do_HEAD = do_GET

    def _file(self, files: dict[str, bytes], name: str, commit: str) -> None:
        if name not in files:
            return self._error(404, "EntryNotFound", "Entry not found")
        data, status = files[name], 200
        headers = {"ETag": f'"{hashlib.sha1(files[name]).hexdigest()}"', "X-Repo-Commit": commit}
        if found := re.fullmatch(r"bytes=(\d+)-\d*", self.headers.get("Range", "")):
            headers["Content-Range"] = f"bytes {found[1]}-{len(data) - 1}/{len(data)}"
            data, status = data[int(found[1]) :], 206
        self._answer(status, data, headers)

    def _json(self, value: object) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str, message: str) -> None:
        self._answer(status, b"", {"X-Error-Code": code, "X-Error-Message": message})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        for at in range(0, len(body), 1 << 14):
            try:
                self.wfile.write(body[at : at + (1 << 14)])
            except (BrokenPipeError, ConnectionResetError):
                return
            if self.hub.slow:
                threading.Event().wait(self.hub.slow)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def hub_server(hub: Hub) -> Iterator[Hub]:
    """Answer as the hub, on a free port of 127.0.0.1, for as long as the block lasts."""
    with _serving(type("Handler", (_HubHandler,), {"hub": hub})) as url:
        hub.url = url
        yield hub


def use_hub(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    """What HF_ENDPOINT and HF_HOME set when the library is first imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def logits_of(name: str | Path) -> torch.Tensor:
    """The logits `[1, n, vocabulary]` for `TEXT` of the model of that name."""
    from llm_workings.models.load import load_model

    model = load_model(str(name), device="cpu")
    tokens = torch.tensor([model.need_tokenizer().encode(TEXT)])
    with torch.no_grad():
        found = model.transformer(tokens)
    assert found is not None
    return found


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
