"""The run store: what it remembers, what it prunes, and what a killed process leaves behind."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from llm_workings.core import paths
from llm_workings.core.errors import BadFile, BadInput, LabError, NotSupported, UnknownName
from llm_workings.core.store import SCHEMA, Store


def begin(store: Store, name: str = "attention", **more: object) -> int:
    return store.begin("view", name, model="toy", request={"prompt": "a b"}, **more)  # type: ignore[arg-type]


def done(store: Store, payload: bytes = b"x" * 100) -> int:
    number = begin(store)
    store.finish(number, payload, seconds=0.5)
    return number


def files(store: Store) -> set[str]:
    return {file.name for file in store.payloads.iterdir()}


def test_a_run_is_remembered_with_all_that_was_asked(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        number = begin(store, seed=7)
        assert store.get(number).state == "queued"
        store.start(number)
        store.finish(number, b"payload", seconds=0.25)
    with Store(tmp_path) as again:
        run = again.get(number)
        assert run.as_dict() == {
            "id": number,
            "created": run.created,
            "kind": "view",
            "name": "attention",
            "model": "toy",
            "request": {"prompt": "a b"},
            "seed": 7,
            "state": "done",
            "seconds": 0.25,
            "error": None,
            "note": "",
            "kept": False,
            "bytes": 7,
            "has_payload": True,
        }
        assert run.created.endswith("Z")
        assert again.payload(number) == b"payload"


def test_a_failure_is_remembered_with_its_error(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        number = begin(store)
        store.stop(number, "failed", seconds=1.0, error=BadInput("No prompt.").as_dict())
        run = store.get(number)
        assert (run.state, run.error and run.error["message"]) == ("failed", "No prompt.")
        with pytest.raises(UnknownName, match="no payload: it failed"):
            store.payload(number)


def test_the_newest_come_first_and_can_be_paged_and_filtered(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        numbers = [begin(store, name) for name in ("attention", "logit_lens", "attention", "attention")]
        assert [run.id for run in store.newest()] == numbers[::-1]
        page = store.newest(limit=2)
        assert [run.id for run in store.newest(limit=2, before=page[-1].id)] == numbers[1::-1]
        assert [run.id for run in store.newest(name="logit_lens")] == [numbers[1]]
        store.annotate(numbers[2], kept=True)
        assert [run.id for run in store.newest(kept=True)] == [numbers[2]]
        assert list(store.newest(model="other")) == []


def test_notes_survive_and_an_unknown_run_is_named(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        with pytest.raises(UnknownName, match="no run 1"):
            store.get(1)
        number = done(store)
        store.annotate(number, note="the induction head — L5H1 ✓")
        store.annotate(number, kept=True)
        run = store.get(number)
        assert (run.note, run.kept) == ("the induction head — L5H1 ✓", True)
        with pytest.raises(UnknownName, match=f"no run 99.*last is run {number}"):
            store.annotate(99, note="?")


@pytest.mark.parametrize("number", [0, -1, 2**63, -(2**63) - 1, 10**30])
def test_numbers_that_no_run_can_have(tmp_path: Path, number: int) -> None:
    """SQLite's numbers end at 64 bits; what a page's address holds does not."""
    with Store(tmp_path) as store:
        first = done(store)
        for ask in (store.get, store.payload, store.delete, lambda wanted: store.annotate(wanted, note="?")):
            with pytest.raises(UnknownName, match=f"no run {number}"):
                ask(number)
        assert [run.id for run in store.newest(before=number)] == ([first] if number > 0 else [])


def test_deleting_removes_the_row_and_the_file(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        first, second = done(store), done(store)
        store.delete(first)
        assert files(store) == {store.get(second).payload}
        with pytest.raises(UnknownName):
            store.get(first)


def test_old_payloads_that_are_not_kept_are_pruned_to_the_bound(tmp_path: Path) -> None:
    with Store(tmp_path, payload_limit=250) as store:
        kept = done(store)
        store.annotate(kept, kept=True)
        loose = [done(store) for _ in range(4)]
        assert [store.get(n).payload is not None for n in (kept, *loose)] == [True, False, False, True, True]
        assert files(store) == {store.get(n).payload for n in (kept, *loose[2:])}
        with pytest.raises(UnknownName, match="pruned"):
            store.payload(loose[0])
        assert store.get(loose[0]).request == {"prompt": "a b"}  # what was asked is still known


def test_one_payload_above_the_bound_stays_until_the_next(tmp_path: Path) -> None:
    with Store(tmp_path, payload_limit=10) as store:
        first = done(store)
        assert store.payload(first) == b"x" * 100
        second = done(store)
        assert files(store) == {store.get(second).payload}


def test_old_runs_without_a_note_are_forgotten_beyond_the_bound(tmp_path: Path) -> None:
    with Store(tmp_path, run_limit=2) as store:
        noted = done(store)
        store.annotate(noted, note="remember me")
        working = begin(store)
        store.start(working)
        loose = [done(store) for _ in range(4)]
        assert [run.id for run in store.newest()] == [loose[3], loose[2], working, noted]
        assert len(files(store)) == 3


def test_a_failed_write_leaves_nothing_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(tmp_path) as store:
        number = begin(store)

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("llm_workings.core.store.os.fsync", full)
        with pytest.raises(LabError, match=r"could not be written.*No space left"):
            store.finish(number, b"payload", seconds=0.1)
        assert files(store) == set()
        assert store.get(number).state == "queued"


KILLED = """
import os, sys, signal
from pathlib import Path
from llm_workings.core.store import Store
store = Store(Path(sys.argv[1]))
number = store.begin("view", "attention", request={})
store.start(number)
def die(descriptor):
    print(number, flush=True)
    signal.pause()
os.fsync = die  # stop in the middle of writing the payload
store.finish(number, b"half of it", seconds=1.0)
"""


def test_a_process_killed_while_writing_leaves_an_interrupted_run_and_no_file(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    try:
        number = int(child.stdout.readline())
        with Store(tmp_path) as beside:  # while it lives, its run is its own
            assert beside.get(number).state == "working"
            assert len(files(beside)) == 1
            os.kill(child.pid, signal.SIGKILL)
            child.wait(10)
    finally:
        child.kill()
        child.stdout.close()
    with Store(tmp_path) as after:
        assert after.get(number).state == "interrupted"
        assert files(after) == set()
        with pytest.raises(UnknownName, match="interrupted"):
            after.payload(number)
        assert done(after) == number + 1
    assert list((tmp_path / "locks").iterdir()) == []


def test_two_stores_on_one_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    with Store(tmp_path) as one:
        mine = begin(one)
        one.start(mine)
        with Store(tmp_path) as two:
            assert two.get(mine).state == "working"
            theirs = done(two)
        one.finish(mine, b"mine", seconds=0.1)
        assert one.payload(mine) == b"mine"
        assert one.payload(theirs) == b"x" * 100


def test_threads_share_a_store(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        threads = [threading.Thread(target=lambda: [done(store) for _ in range(5)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        runs = store.newest()
        assert len(runs) == 20
        assert {run.state for run in runs} == {"done"}
        assert len(files(store)) == 20


def test_a_store_of_a_newer_schema_is_refused_untouched(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        done(store)
    with sqlite3.connect(tmp_path / "runs.sqlite") as database:
        database.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    database.close()
    before = (tmp_path / "runs.sqlite").read_bytes()
    with pytest.raises(NotSupported, match=f"newer llm-workings .schema {SCHEMA + 1}.*Upgrade"):
        Store(tmp_path)
    assert (tmp_path / "runs.sqlite").read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"not a database, only text" * 100, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_damaged_database_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "runs.sqlite").write_bytes(content)
    with pytest.raises(BadFile, match=r"not a readable run store.*Move it away"):
        Store(tmp_path)
    assert (tmp_path / "runs.sqlite").read_bytes() == content


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LabError, match=r"cannot be made.*LLM_WORKINGS_HOME"):
        Store(tmp_path / "file" / "runs")


def test_folders_follow_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_WORKINGS_HOME", str(tmp_path / "home"))
    assert paths.data_folder() == tmp_path / "home" / "data"
    assert paths.cache_folder() == tmp_path / "home" / "cache"
    assert not (tmp_path / "home").exists()  # looking makes nothing
    monkeypatch.delenv("LLM_WORKINGS_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # invalid by the specification: ignored
    assert paths.data_folder() == tmp_path / "data" / "llm-workings"
    if sys.platform == "linux":
        assert paths.cache_folder() == Path.home() / ".cache" / "llm-workings"
