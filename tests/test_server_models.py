"""The server's models: real views of a tiny real model in a folder, listed, loaded, tokenized, exported."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from lab_server import ended, running, submit, tiny_folder, until

from llm_workings.core.progress import Progress
from llm_workings.core.store import Store
from llm_workings.core.wire import unpack
from llm_workings.server.app import create_app
from llm_workings.server.names import AllowedModels
from llm_workings.server.served import Served
from llm_workings.trace.model import load
from llm_workings.views import REGISTRY
from llm_workings.views.attention import Attention
from llm_workings.views.bundle import BUNDLE
from llm_workings.views.lab import Lab

TEXT = "the cat sat on the mat"


class Doorkeeper:
    """Loads models when the gate is open, so that a test can hold the models' thread."""

    def __init__(self) -> None:
        self.gate, self.waiting = threading.Event(), threading.Event()
        self.gate.set()
        self.loaded: list[str] = []

    def load(self, name: str, progress: Progress) -> Any:
        self.waiting.set()
        while not self.gate.wait(0.01):
            progress.report("waiting to load")
        self.loaded.append(name)
        return load(name, progress=progress)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_folder(folder / "tiny")
    tiny_folder(folder / "other")
    (folder / "broken").mkdir()
    (folder / "broken" / "config.json").write_text('{"model_type": "llama"')
    return folder


@pytest.fixture
def door() -> Doorkeeper:
    return Doorkeeper()


@pytest.fixture
def client(
    door: Doorkeeper, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[httpx.Client]:
    monkeypatch.setenv("LLM_WORKINGS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    served = Served(Lab(door.load), REGISTRY, AllowedModels(["smollm2-135m"], [folder]))
    with (
        Store() as store,
        running(create_app(served, store)) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        yield client


def entry(client: httpx.Client, name: str) -> dict[str, Any]:
    return next(model for model in client.get("/api/models").json()["models"] if model["name"] == name)


def test_models_of_the_catalogue_and_of_allowed_folders_are_listed(
    client: httpx.Client, folder: Path
) -> None:
    listed = client.get("/api/models").json()
    names = [model["name"] for model in listed["models"]]
    assert {"smollm2-135m", "minilm-l6", "gpt2", str(folder / "tiny"), str(folder / "broken")} <= set(names)
    assert listed["default"] != "smollm2-135m"  # it is not here, and a page must open on something that is
    assert entry(client, listed["default"])["here"]
    tiny = entry(client, str(folder / "tiny"))
    assert (tiny["family"], tiny["kind"], tiny["here"], tiny["fetchable"], tiny["loaded"]) == (
        "llama",
        "local",
        True,
        False,
        False,
    )
    assert tiny["parameters"] > 1000
    assert tiny["bytes"] > 4 * tiny["parameters"]
    assert "cannot be loaded" in entry(client, str(folder / "broken"))["about"]


def test_a_loaded_model_is_listed_so_and_loaded_once(
    client: httpx.Client, folder: Path, door: Doorkeeper
) -> None:
    name = str(folder / "tiny")
    job = client.post("/api/jobs", json={"kind": "load", "name": name}).json()
    assert ended(client, job["id"])["state"] == "done"
    assert entry(client, name)["loaded"]
    payload = client.get(f"/api/jobs/{job['id']}/payload")
    assert (payload.status_code, "makes none" in payload.json()["message"]) == (404, True)
    assert ended(client, submit(client, "attention", prompt=TEXT, model=name))["state"] == "done"
    assert door.loaded == [name]
    assert [run["kind"] for run in client.get("/api/runs").json()["runs"]] == ["view"]


def test_a_view_of_a_real_model_comes_through(client: httpx.Client, folder: Path) -> None:
    last = ended(client, submit(client, "attention", prompt=TEXT, model=str(folder / "tiny")))
    assert last["state"] == "done", last
    atlas = unpack(client.get(f"/api/runs/{last['run']}/payload").content, Attention)
    assert [token.text for token in atlas.tokens] == TEXT.split()
    assert atlas.thumbnails.shape[:2] == (3, 4)


def test_a_view_s_own_refusals_come_through(client: httpx.Client, folder: Path) -> None:
    tiny = str(folder / "tiny")
    for request, says in (
        ({"prompt": "the " * 65}, "at most 64"),
        ({"prompt": "the cow"}, "cow"),
        ({"prompt": TEXT, "ablate": [{"layer": 9, "head": 0}]}, "9"),
    ):
        last = ended(client, submit(client, "attention", model=tiny, **request))
        assert last["state"] == "failed"
        assert says in last["error"]["message"]
        assert last["error"]["kind"] != "InternalError"


def test_a_broken_model_is_named(client: httpx.Client, folder: Path) -> None:
    last = ended(client, submit(client, "attention", prompt=TEXT, model=str(folder / "broken")))
    assert (last["state"], last["error"]["kind"]) == ("failed", "BadFile")
    assert "config.json" in last["error"]["message"]


def test_tokens_are_exact_and_an_empty_text_has_none(client: httpx.Client, folder: Path) -> None:
    ask = {"model": str(folder / "tiny"), "text": TEXT}
    answer = client.post("/api/tokens", json=ask).json()
    assert [token["text"] for token in answer["tokens"]] == TEXT.split()
    assert answer["n_ctx"] == 64
    assert client.post("/api/tokens", json=ask | {"text": ""}).json()["tokens"] == []
    long = client.post("/api/tokens", json=ask | {"text": "the " * 100}).json()
    assert len(long["tokens"]) == 100  # past the context, so that a page can say by how much


@pytest.mark.parametrize(
    ("ask", "status", "says"),
    [
        ({"model": "smollm2-135m", "text": "a"}, 409, "not on this machine"),
        ({"model": "gpt2", "text": "a"}, 409, "not on this machine"),
        ({"model": "/etc", "text": "a"}, 403, "--models"),
        ({"model": "{tiny}", "text": "the cow"}, 400, "cow"),
        ({"model": "{tiny}", "text": "the \ud800"}, 400, "half of one"),
        ({"model": "{tiny}", "text": "x" * 200_001}, 413, "200001"),
        ({"model": "{tiny}"}, 400, "text"),
    ],
)
def test_tokens_that_cannot_be_had(
    client: httpx.Client, folder: Path, ask: dict[str, str], status: int, says: str
) -> None:
    ask = ask | {"model": ask["model"].format(tiny=folder / "tiny")}
    answer = client.post("/api/tokens", content=json.dumps(ask), headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert says in answer.json()["message"] + answer.json()["hint"]


def test_typing_does_not_wait_for_a_long_job(client: httpx.Client, folder: Path, door: Doorkeeper) -> None:
    ask = {"model": str(folder / "tiny"), "text": TEXT}
    client.post("/api/tokens", json=ask)
    door.gate.clear()
    job = submit(client, "attention", prompt=TEXT, model=str(folder / "other"))
    until(lambda: client.get(f"/api/jobs/{job}").json()["what"] == "waiting to load")
    assert len(client.post("/api/tokens", json=ask).json()["tokens"]) == 6
    client.delete(f"/api/jobs/{job}")
    assert ended(client, job)["state"] == "cancelled"
    assert not entry(client, str(folder / "other"))["loaded"]


def test_who_asks_and_leaves_is_not_waited_for(client: httpx.Client, folder: Path, door: Doorkeeper) -> None:
    door.gate.clear()
    body = json.dumps({"model": str(folder / "tiny"), "text": TEXT}).encode()
    head = (
        f"POST /api/tokens HTTP/1.1\r\nHost: {client.base_url.host}:{client.base_url.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
        connection.sendall(head.encode() + body)
        until(door.waiting.is_set)
        assert [job["kind"] for job in client.get("/api/jobs").json()["jobs"]] == ["tokens"]
    until(lambda: client.get("/api/jobs").json()["jobs"] == [])
    assert door.loaded == []


def test_a_fetch_that_cannot_be_made_is_told(client: httpx.Client) -> None:
    job = client.post("/api/jobs", json={"kind": "fetch", "name": "nobody/nothing"}).json()
    last = ended(client, job["id"])
    assert last["state"] == "failed"
    assert "nobody/nothing" in last["error"]["message"]
    run = client.get(f"/api/runs/{last['run']}").json()
    assert (run["kind"], run["name"], run["state"]) == ("fetch", "nobody/nothing", "failed")


def test_a_view_is_exported_as_one_file(client: httpx.Client, folder: Path) -> None:
    ask = {"name": "logit_lens", "request": {"prompt": TEXT, "model": str(folder / "tiny")}, "state": {}}
    if not (BUNDLE / "standalone.js").is_file():
        answer = client.post("/api/export", json=ask)
        assert (answer.status_code, answer.json()["kind"]) == (409, "NotReady")
        return
    answer = client.post("/api/export", json=ask)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-disposition"] == 'attachment; filename="logit_lens.html"'
    assert TEXT in answer.text
    for name, status in (("lens", 404), ("head", 400)):
        assert client.post("/api/export", json=ask | {"name": name}).status_code == status
