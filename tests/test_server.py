"""The server's routes: jobs from asking to payload, the run store, the page, and errors in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from lab_server import Letters, SmallLab, ended, make_app, running, submit, until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from llm_workings.core.store import Store
from llm_workings.core.wire import unpack
from llm_workings.server.guards import Limits


@pytest.fixture
def lab() -> SmallLab:
    return SmallLab()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "runs") as store:
        yield store


@pytest.fixture
def client(lab: SmallLab, store: Store) -> Iterator[httpx.Client]:
    app = make_app(store, lab, limits=Limits(queue=3, text=1000))
    with running(app) as address, httpx.Client(base_url=address) as client:
        yield client


def events(client: httpx.Client, job: str) -> list[dict[str, Any]]:
    address = str(client.base_url).replace("http", "ws").rstrip("/")
    with connect(f"{address}/api/jobs/{job}/events") as socket:
        return [json.loads(frame) for frame in socket]


# ---- a job from asking to payload -------------------------------------------------------------------


def test_a_view_is_asked_watched_and_answered(client: httpx.Client, store: Store, lab: SmallLab) -> None:
    lab.gate.clear()
    job = submit(client, prompt="banana", seed=5)
    address = str(client.base_url).replace("http", "ws").rstrip("/")
    with connect(f"{address}/api/jobs/{job}/events") as socket:
        first = json.loads(socket.recv())
        assert first["state"] in ("queued", "working")
        assert client.get(f"/api/jobs/{job}/payload").status_code == 409
        lab.gate.set()
        frames = [first, *(json.loads(frame) for frame in socket)]
    assert [frame["state"] for frame in frames[-2:]] == ["working", "done"]
    last = frames[-1]
    assert (last["what"], last["done"], last["total"]) == ("counting", 6, 6)
    assert last["seconds"] > 0
    answer = client.get(f"/api/jobs/{job}/payload")
    payload = unpack(answer.content, Letters)
    assert payload.letters == ["a", "b", "n"]
    assert payload.counts.tolist() == [3, 1, 2]
    run = store.get(last["run"])
    assert (run.kind, run.name, run.model, run.seed, run.state) == (
        "view",
        "letters",
        "smollm2-135m",
        5,
        "done",
    )
    assert run.request == {"prompt": "banana", "model": "smollm2-135m", "seed": 5}
    assert run.seconds is not None
    assert run.bytes == len(answer.content)
    assert client.get(f"/api/runs/{run.id}/payload").content == answer.content


def test_a_job_that_is_not_to_be_recorded_is_answered_all_the_same(
    client: httpx.Client, store: Store
) -> None:
    ask = {"kind": "view", "name": "letters", "request": {"prompt": "aa"}, "record": False}
    job = client.post("/api/jobs", json=ask).json()
    assert ended(client, job["id"])["run"] is None
    assert unpack(client.get(f"/api/jobs/{job['id']}/payload").content, Letters).counts.tolist() == [2]
    assert list(store.newest()) == []


def test_events_of_an_ended_job_are_its_last_state(client: httpx.Client) -> None:
    job = submit(client, prompt="ab")
    ended(client, job)
    frames = events(client, job)
    assert [frame["state"] for frame in frames] == ["done"]


def test_jobs_run_one_at_a_time_in_the_order_asked(client: httpx.Client, lab: SmallLab) -> None:
    lab.gate.clear()
    names = [submit(client, prompt=text) for text in ("first", "second", "third")]
    until(lab.at_gate.is_set)
    seen = [client.get(f"/api/jobs/{name}").json() for name in names]
    assert [job["state"] for job in seen] == ["working", "queued", "queued"]
    assert [job["ahead"] for job in seen] == [0, 1, 2]
    assert [job["id"] for job in client.get("/api/jobs").json()["jobs"]] == names
    lab.gate.set()
    assert ended(client, names[2])["state"] == "done"
    assert lab.order == ["first", "second", "third"]
    assert client.get("/api/jobs").json()["jobs"] == []


def test_the_queue_is_bounded(client: httpx.Client, lab: SmallLab, store: Store) -> None:
    lab.gate.clear()
    names = [submit(client, prompt="working")]
    until(lab.at_gate.is_set)
    names += [submit(client, prompt=f"waiting {number}") for number in range(3)]
    answer = client.post("/api/jobs", json={"kind": "view", "name": "letters", "request": {"prompt": "x"}})
    assert answer.status_code == 429
    assert answer.json()["kind"] == "Busy"
    assert len(store.newest()) == 4  # the refused one left no record
    lab.gate.set()
    assert [ended(client, name)["state"] for name in names] == ["done"] * 4


def test_a_waiting_job_is_cancelled_at_once(client: httpx.Client, lab: SmallLab, store: Store) -> None:
    lab.gate.clear()
    working, waiting = submit(client, prompt="a"), submit(client, prompt="never")
    until(lab.at_gate.is_set)
    answer = client.delete(f"/api/jobs/{waiting}").json()
    assert answer["state"] == "cancelled"
    lab.gate.set()
    assert ended(client, working)["state"] == "done"
    assert lab.order == ["a"]
    run = store.get(answer["run"])
    assert (run.state, run.seconds) == ("cancelled", None)
    assert client.get(f"/api/jobs/{waiting}/payload").json()["kind"] == "Cancelled"


def test_a_working_job_is_cancelled_at_its_next_report(
    client: httpx.Client, lab: SmallLab, store: Store
) -> None:
    lab.gate.clear()
    job = submit(client, prompt="a")
    until(lab.at_gate.is_set)
    assert client.delete(f"/api/jobs/{job}").status_code == 200
    last = ended(client, job)
    assert last["state"] == "cancelled"
    assert last["error"]["message"] == "Stopped while waiting at the gate."
    assert store.get(last["run"]).state == "cancelled"
    lab.gate.set()
    assert ended(client, submit(client, prompt="next"))["state"] == "done"


def test_a_job_that_is_watched_shows_what_it_has_so_far(client: httpx.Client, lab: SmallLab) -> None:
    lab.gate.clear()
    job = submit(client, prompt="banana")
    until(lab.at_gate.is_set)
    assert client.get(f"/api/jobs/{job}/partial").status_code == 204  # nobody watches, so none was made
    address = str(client.base_url).replace("http", "ws").rstrip("/")
    with connect(f"{address}/api/jobs/{job}/events") as socket:
        frame = json.loads(socket.recv())
        while not frame["partials"]:
            frame = json.loads(socket.recv())
        assert frame["state"] == "working"
        shown = unpack(client.get(f"/api/jobs/{job}/partial").content, Letters)
        assert (shown.letters, shown.counts.tolist()) == (["?"], [6])
        assert client.get(f"/api/jobs/{job}/payload").status_code == 409
        lab.gate.set()
        assert [json.loads(last) for last in socket][-1]["state"] == "done"
    assert client.get(f"/api/jobs/{job}/partial").status_code == 204  # the whole one has taken its place
    assert unpack(client.get(f"/api/jobs/{job}/payload").content, Letters).letters == ["a", "b", "n"]


def test_what_a_stopped_job_had_so_far_can_still_be_seen(client: httpx.Client, lab: SmallLab) -> None:
    lab.gate.clear()
    job = submit(client, prompt="ab")
    address = str(client.base_url).replace("http", "ws").rstrip("/")
    with connect(f"{address}/api/jobs/{job}/events") as socket:
        while not json.loads(socket.recv())["partials"]:
            pass
        client.delete(f"/api/jobs/{job}")
        assert [json.loads(frame) for frame in socket][-1]["state"] == "cancelled"
    assert unpack(client.get(f"/api/jobs/{job}/partial").content, Letters).counts.tolist() == [2]


def test_cancelling_what_has_ended_changes_nothing(client: httpx.Client) -> None:
    job = submit(client, prompt="a")
    assert ended(client, job)["state"] == "done"
    assert client.delete(f"/api/jobs/{job}").json()["state"] == "done"
    assert client.get(f"/api/jobs/{job}/payload").status_code == 200


def test_a_watcher_that_leaves_does_not_stop_the_job(client: httpx.Client, lab: SmallLab) -> None:
    lab.gate.clear()
    job = submit(client, prompt="a")
    until(lab.at_gate.is_set)
    address = str(client.base_url).replace("http", "ws").rstrip("/")
    with connect(f"{address}/api/jobs/{job}/events") as socket:
        socket.recv()
    lab.gate.set()
    assert ended(client, job)["state"] == "done"


def test_a_waiting_view_that_nobody_watches_any_more_is_dropped(client: httpx.Client, lab: SmallLab) -> None:
    lab.gate.clear()
    submit(client, prompt="working")
    watched, unwatched = submit(client, prompt="watched"), submit(client, prompt="unwatched")
    until(lab.at_gate.is_set)
    address = f"{str(client.base_url).replace('http', 'ws').rstrip('/')}/api/jobs/{watched}/events"
    with connect(address) as one:
        one.recv()
        with connect(address) as another:
            another.recv()
        assert client.get(f"/api/jobs/{watched}").json()["state"] == "queued"
    assert ended(client, watched)["state"] == "cancelled"
    lab.gate.set()
    assert ended(client, unwatched)["state"] == "done"  # asked by a program that polls
    assert lab.order == ["working", "unwatched"]


def test_ended_jobs_are_remembered_to_a_bound(store: Store, lab: SmallLab) -> None:
    app = make_app(store, lab, limits=Limits(finished=2))
    with running(app) as address, httpx.Client(base_url=address) as client:
        jobs = []
        for text in "abc":
            jobs.append(submit(client, prompt=text))
            ended(client, jobs[-1])
        assert [client.get(f"/api/jobs/{job}").status_code for job in jobs] == [404, 200, 200]
        assert "look among the runs" in client.get(f"/api/jobs/{jobs[0]}").json()["hint"]
        assert len(store.newest()) == 3


def test_the_server_stops_with_a_job_working_and_one_watched(tmp_path: Path, lab: SmallLab) -> None:
    lab.gate.clear()
    with Store(tmp_path / "runs") as store, ExitStack() as after:
        with running(make_app(store, lab)) as address, httpx.Client(base_url=address) as client:
            submit(client, prompt="working")
            job = submit(client, prompt="waiting")
            until(lab.at_gate.is_set)
            socket = after.enter_context(connect(f"{address.replace('http', 'ws')}/api/jobs/{job}/events"))
            assert json.loads(socket.recv())["ahead"] == 1
        assert [run.state for run in store.newest()] == ["cancelled", "cancelled"]
        with pytest.raises(ConnectionClosed):
            [socket.recv(timeout=5) for _ in range(10)]


# ---- errors in words ---------------------------------------------------------------------------------


def test_a_user_s_error_travels_whole(client: httpx.Client, store: Store) -> None:
    job = submit(client, "failing", how="user")
    last = events(client, job)[-1]
    told = {
        "kind": "BadInput",
        "message": "The layer 99 is not there.",
        "hint": "Layers go from 0 to 29.",
        "given": {"layer": 99},
    }
    assert (last["state"], last["error"]) == ("failed", told)
    answer = client.get(f"/api/jobs/{job}/payload")
    assert (answer.status_code, answer.json()) == (400, told)
    assert store.get(last["run"]).error == told


def test_a_bug_is_told_without_its_traceback_and_logged(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    job = submit(client, "failing", how="bug")
    last = ended(client, job)
    assert last["state"] == "failed"
    assert last["error"]["kind"] == "InternalError"
    assert "ZeroDivisionError" in last["error"]["message"]
    answer = client.get(f"/api/jobs/{job}/payload")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "a bug with a secret in it" in caplog.text
    assert ended(client, submit(client, prompt="the worker lives"))["state"] == "done"


def test_running_out_of_memory_is_told_with_advice(client: httpx.Client) -> None:
    last = ended(client, submit(client, "failing", how="memory"))
    assert last["error"]["kind"] == "TooLarge"
    assert "shorter text" in last["error"]["hint"]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"kind": "view", "name": "leters", "request": {}}, 404, "Did you mean 'letters'?"),
        ({"kind": "view", "name": "letters", "request": {}}, 400, "needs 'prompt'"),
        ({"kind": "view", "name": "letters", "request": {"prompt": ""}}, 400, "empty"),
        ({"kind": "view", "name": "letters", "request": {"prompt": "a", "promt": ""}}, 400, "'prompt'?"),
        ({"kind": "view", "name": "letters", "request": {"prompt": 5}}, 400, "prompt"),
        ({"kind": "veiw", "name": "letters"}, 400, "Known: view, fetch, load"),
        ({"kind": "view"}, 400, "name: Field required"),
        ({"kind": "view", "name": "letters", "shell": "rm"}, 400, "shell"),
        ({"kind": "view", "name": "letters", "request": {"prompt": "a" * 1001}}, 413, "1001 characters"),
        ({"kind": "view", "name": "letters", "request": {"prompt": "\ud800"}}, 400, "half of one"),
        ({"kind": "view", "name": "letters", "request": {"\ud800": "a"}}, 400, "half of one"),
        ({"kind": "view", "name": "\udfff"}, 400, "unicode"),
        ({"kind": "view", "name": "letters", "\ud800": 1}, 400, "cannot be read"),
        ([1, 2], 400, "the body"),
    ],
)
def test_what_cannot_be_asked_is_named(client: httpx.Client, body: Any, status: int, says: str) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post("/api/jobs", content=json.dumps(body), headers=headers)
    assert answer.status_code == status
    error = answer.json()
    assert says in error["message"] + " " + error["hint"]
    assert error.keys() == {"kind", "message", "hint", "given"}
    assert client.get("/api/runs").json()["runs"] == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"kind": NaN', b"[" * 100_000])
def test_malformed_json_is_named(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/api/jobs", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["kind"] == "BadInput"


def test_what_is_not_there_is_named(client: httpx.Client) -> None:
    for path, says in (
        ("/api/jobs/none", "no job 'none'"),
        ("/api/jobs/none/payload", "no job 'none'"),
        ("/api/runs/7", "no run 7"),
        ("/api/runs/7/payload", "no run 7"),
        ("/api/nothing", "no route /api/nothing"),
        ("/nothing", "no page /nothing"),
    ):
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert says in answer.json()["message"]
    assert client.get("/api/runs/seven").status_code == 400
    assert client.put("/api/jobs").status_code == 405
    assert client.put("/api/jobs").json()["kind"] == "LabError"
    frame = events(client, "none")[-1]
    assert (frame["state"], frame["error"]["kind"]) == ("failed", "UnknownName")


# ---- runs and views ------------------------------------------------------------------------------------


def test_runs_are_listed_noted_kept_and_deleted(client: httpx.Client) -> None:
    for text in "abc":
        ended(client, submit(client, prompt=text))
    page = client.get("/api/runs", params={"limit": 2}).json()
    assert ([run["request"]["prompt"] for run in page["runs"]], page["more"]) == (["c", "b"], True)
    rest = client.get("/api/runs", params={"before": page["runs"][-1]["id"]}).json()
    assert ([run["request"]["prompt"] for run in rest["runs"]], rest["more"]) == (["a"], False)
    number = rest["runs"][0]["id"]
    changed = client.patch(f"/api/runs/{number}", json={"note": "first", "kept": True}).json()
    assert (changed["note"], changed["kept"]) == ("first", True)
    assert client.patch(f"/api/runs/{number}", json={"state": "done"}).status_code == 400
    assert client.patch("/api/runs/99", json={"note": "x"}).status_code == 404
    assert [run["id"] for run in client.get("/api/runs", params={"kept": True}).json()["runs"]] == [number]
    assert client.delete(f"/api/runs/{number}").status_code == 204
    assert client.get(f"/api/runs/{number}").status_code == 404
    assert client.get("/api/runs", params={"limit": 0}).status_code == 400


def test_views_are_described_with_their_requests(client: httpx.Client) -> None:
    views = {view["name"]: view for view in client.get("/api/views").json()["views"]}
    assert views["letters"]["title"] == "Letters of a text"
    assert views["letters"]["about"] == "Counts them."
    assert views["letters"]["request"]["properties"]["seed"]["default"] == 0


# ---- the page --------------------------------------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>the page</title>")
    (folder / "assets" / "lab-1a2b.js").write_text("export {}")
    (folder / "icon.svg").write_text("<svg/>")
    (tmp_path / "secret.txt").write_text("secret")
    return folder


@pytest.fixture
def pages(store: Store, lab: SmallLab, bundle: Path) -> Iterator[httpx.Client]:
    with running(make_app(store, lab, bundle=bundle)) as address, httpx.Client(base_url=address) as client:
        yield client


def test_page_paths_answer_with_the_page_and_assets_are_kept(pages: httpx.Client) -> None:
    for path in ("/", "/models", "/runs", "/letters", "/letters/", "/?prompt=a"):
        answer = pages.get(path)
        assert (answer.status_code, "the page" in answer.text) == (200, True), path
        assert answer.headers["cache-control"] == "no-cache"
    asset = pages.get("/assets/lab-1a2b.js")
    assert asset.headers["content-type"].startswith("text/javascript")
    assert "immutable" in asset.headers["cache-control"]
    assert pages.get("/icon.svg").text == "<svg/>"
    assert pages.get("/assets/none.js").status_code == 404
    lost = pages.get("/nowhere", headers={"accept": "text/html"})  # a browser gets the page, to say so
    assert (lost.status_code, "the page" in lost.text) == (404, True)


def test_a_bundle_that_is_not_built_is_said_so(store: Store, lab: SmallLab, tmp_path: Path) -> None:
    app = make_app(store, lab, bundle=tmp_path / "nowhere")
    with running(app) as address, httpx.Client(base_url=address) as client:
        answer = client.get("/")
        assert answer.status_code == 503
        assert "make lab" in answer.text
        assert client.get("/assets/x.js").status_code == 404
        assert client.get("/api/views").status_code == 200
