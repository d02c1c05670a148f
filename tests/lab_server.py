"""A real server for the server's tests: small views of our own, through the contract, in a real uvicorn."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import uvicorn
from small_models import SAYINGS, causal_spec, filled

from llm_workings.core.errors import BadInput
from llm_workings.core.progress import SILENT, Progress
from llm_workings.core.store import Store
from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.families import family_of
from llm_workings.models.load import Loaded
from llm_workings.models.save import save
from llm_workings.models.tokens import from_vocabulary
from llm_workings.server.app import create_app
from llm_workings.server.names import AllowedModels
from llm_workings.server.serve import bind, configure
from llm_workings.server.served import Served
from llm_workings.views.contract import ModelName, Prompt, View, view


class Letters(Payload):
    """How often each letter stands in a text."""

    model: str
    letters: list[str]
    counts: Annotated[np.ndarray, Tensor("int32", "letter")]


class SmallLab:
    """A lab for views that need no model; `steps` lets a test hold them at a step."""

    def __init__(self) -> None:
        self.progress = SILENT
        self.gate = threading.Event()
        self.gate.set()
        self.at_gate = threading.Event()
        self.order: list[str] = []

    def for_job(self, progress: Progress) -> SmallLab:
        job = object.__new__(SmallLab)
        job.__dict__ = self.__dict__ | {"progress": progress}
        return job


@view
def letters(lab: Any, prompt: Prompt, model: ModelName = "smollm2-135m", seed: int = 0) -> Letters:
    """Letters of a text.

    Counts them.
    """
    lab.order.append(prompt)
    while not lab.gate.is_set():
        lab.at_gate.set()
        lab.progress.report("waiting at the gate", 1, 4)
        lab.progress.publish(lambda: Letters(model=model, letters=["?"], counts=np.array([len(prompt)])))
        time.sleep(0.005)
    for index, _ in enumerate(prompt):
        lab.progress.report("counting", index + 1, len(prompt))
    found = sorted(set(prompt))
    return Letters(model=model, letters=found, counts=np.array([prompt.count(x) for x in found]))


@view
def failing(lab: Any, how: str = "user") -> Letters:
    """A view that fails.

    Either by the user's fault or by its own.
    """
    if how == "user":
        raise BadInput("The layer 99 is not there.", hint="Layers go from 0 to 29.", given={"layer": 99})
    if how == "memory":
        raise MemoryError
    raise ZeroDivisionError("a bug with a secret in it")


VIEWS: dict[str, View] = {"letters": letters, "failing": failing}


def make_app(store: Store, lab: SmallLab, *, folders: tuple[Path, ...] = (), **options: Any) -> Any:
    return create_app(Served(lab, VIEWS, AllowedModels(["smollm2-135m"], folders)), store, **options)  # type: ignore[arg-type]


@contextmanager
def running(app: Any, host: str = "127.0.0.1") -> Iterator[str]:
    """The app in a uvicorn of its own on a free port; the address without a slash at its end."""
    listening = bind(host, 0)
    port = listening.getsockname()[1]
    server = uvicorn.Server(configure(app, log_level="critical"))

    def serve() -> None:
        asyncio.run(server._serve(sockets=[listening]))  # without taking over the test's signals

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive(), "the server did not stop"


def tiny_folder(folder: Path) -> str:
    """A folder with a tiny Llama-like model of random weights that writes the words of `SAYINGS`."""
    family = family_of({"model_type": "llama"})
    model = Loaded(
        "tiny",
        filled(causal_spec(vocab_size=len(SAYINGS)), 0),
        from_vocabulary(SAYINGS, separator=" "),
        {"model_type": "llama"},
        family,
        "",
        "F32",
    )
    return str(save(model, folder))


def until(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.005)


def submit(client: httpx.Client, name: str = "letters", **request: Any) -> str:
    answer = client.post("/api/jobs", json={"kind": "view", "name": name, "request": request})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def ended(client: httpx.Client, job: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def over() -> bool:
        found.update(client.get(f"/api/jobs/{job}").json())
        return found["state"] in ("done", "failed", "cancelled")

    until(over)
    return found
