"""`WS /api/network` in a real server: pages that play, are slow, are closed, are many, or talk nonsense."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from lab_server import SmallLab, make_app, running, until
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.uri import parse_uri

from llm_workings.core.store import Store
from llm_workings.core.wire import read_header, unpack
from llm_workings.data.points import make
from llm_workings.data.spec import DataSpec
from llm_workings.playground.config import Config
from llm_workings.playground.run import Run
from llm_workings.server import network
from llm_workings.server.network import Turns
from llm_workings.views.network_live import Session
from llm_workings.views.network_parts import Details, Frame, Predictions, Setting, Tree

KINDS: dict[str, Any] = {kind.__name__: kind for kind in (Details, Frame, Predictions, Setting, Tree)}
SETUP = {"do": "setup", "config": {"layers": [2, 4, 1]}, "data": {"name": "xor_points"}}


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with Store(tmp_path / "runs") as store, running(make_app(store, SmallLab())) as address:
        yield address


class Page:
    """A page of the lab, as far as its network's socket goes."""

    def __init__(self, socket: ClientConnection):
        self.socket = socket

    def send(self, **command: Any) -> None:
        self.socket.send(json.dumps(command))

    def hear(self, seconds: float = 20.0) -> Any:
        """The next message: a payload, or what was said."""
        message = self.socket.recv(seconds)
        if isinstance(message, str):
            return json.loads(message)
        kind = read_header(message)["kind"]
        return unpack(message, KINDS[kind]) if kind in KINDS else message

    def until(self, wanted: Any) -> Any:
        """Hear on until a message of this type, or a dict with these entries. Frames are drawn at once."""
        while True:
            heard = self.hear()
            if isinstance(heard, Frame):
                self.send(do="ready")
            if isinstance(wanted, dict):
                if isinstance(heard, dict) and wanted.items() <= heard.items():
                    return heard
            elif isinstance(heard, wanted):
                return heard

    def error(self) -> dict[str, Any]:
        return self.until({"say": "error"})["error"]


@contextmanager
def page(address: str, **options: Any) -> Iterator[Page]:
    where = address.replace("http", "ws") + "/api/network"
    with connect(where, max_size=None, compression=None, **options) as socket:
        yield Page(socket)


def players() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "network"]


# ---- one page ---------------------------------------------------------------------------------------


def test_a_page_sets_up_plays_goes_back_and_forks(address: str) -> None:
    with page(address) as mine:
        mine.send(**SETUP)
        assert mine.until(Setting).n_parameters == 17
        assert mine.until(Tree).branches[0].tip == 0
        assert mine.until(Frame).step == 0
        assert mine.until(Details).step == 0
        mine.send(do="play", speed=0)
        steps = [mine.until(Frame).step for _ in range(5)]
        assert steps == sorted(set(steps))
        mine.send(do="pause")
        mine.until({"say": "status", "playing": False})
        mine.send(do="goto", step=3)
        mine.send(do="change", config={"learning_rate": 0.1})
        mine.send(do="step", n=4)
        while (tree := mine.until(Tree)).step != 7:
            pass
        assert [branch.label for branch in tree.branches] == ["", "learning_rate 0.3 → 0.1"]
        frame = mine.until(Frame)
    run = Run(Config.of(layers=[2, 4, 1]), make(DataSpec(name="xor_points")))
    run.step(3)
    run.change(learning_rate=0.1)
    run.step(1)
    run.back(1)
    run.step(4)
    np.testing.assert_array_equal(frame.weights[0], run.parameters.weights[0])


def test_a_saved_run_goes_out_and_comes_in(address: str) -> None:
    with page(address) as mine:
        mine.send(**SETUP)
        mine.send(do="step", n=5)
        mine.send(do="save")
        data = mine.until(bytes)
        assert read_header(data)["kind"] == "SavedRun"
        mine.socket.send(data[:200])
        assert "cut short" in mine.error()["message"]
    with page(address) as other:
        other.socket.send(data)
        other.until(Setting)
        assert other.until(Frame).step == 5


def test_a_page_that_never_draws_holds_up_no_training(address: str) -> None:
    with page(address) as mine:
        mine.send(**SETUP)
        mine.send(do="play")
        steps, frames = [], 0
        for _ in range(3):
            time.sleep(0.1)
            mine.send(do="predict", points=[[0, 1]])
            while not isinstance(heard := mine.hear(), Predictions):
                frames += isinstance(heard, Frame)
            steps.append(heard.step)
        assert steps[0] < steps[1] < steps[2]
        assert frames <= 1


def test_a_page_that_asks_and_never_reads_is_not_answered_for_ever(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = Session.receive
    monkeypatch.setattr(Session, "receive", lambda self, m: (asked.append(1), real(self, m))[1])
    deaf = ClientProtocol(parse_uri(address.replace("http", "ws") + "/api/network"))
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as wire:
        deaf.send_request(deaf.connect())
        wire.sendall(b"".join(deaf.data_to_send()))
        deaf.receive_data(wire.recv(65536))  # that it may come in; after that it reads nothing any more
        setup = {"do": "setup", "config": {"layers": [2, 256, 256, 1]}, "data": {"name": "xor_points"}}
        thread = threading.Thread(target=_flood, args=(wire, deaf, json.dumps(setup)))
        thread.start()
        until(lambda: len(asked) > 10 and _still(asked, 0.5), 30)
        assert len(asked) < 200
        with page(address) as other:  # and another page does not notice
            other.send(**SETUP)
            other.send(do="play")
            assert other.until(Frame).step < other.until(Frame).step
        wire.shutdown(socket.SHUT_RDWR)
    until(lambda: not players())
    thread.join(10)
    assert not thread.is_alive()


def _flood(wire: socket.socket, deaf: ClientProtocol, setup: str) -> None:
    """Ask for half a megabyte a thousand times."""
    with suppress(OSError):
        for text in (setup, *['{"do": "save"}'] * 1000):
            deaf.send_text(text.encode())
            wire.sendall(b"".join(deaf.data_to_send()))


def _still(made: list[int], seconds: float) -> bool:
    before = len(made)
    time.sleep(seconds)
    return len(made) == before


def test_nonsense_is_answered_and_the_session_lives_on(address: str) -> None:
    with page(address) as mine:
        mine.send(**SETUP)
        for sent, said in (
            ("{", "is no JSON"),
            ('{"do": "dance"}', "no command 'dance'"),
            ('{"do": "step", "n": "two"}', "n = 'two'"),
            (b"\xff\xfe\x00", "no saved run"),
            ('{"do": "' + "y" * 9_000_000 + '"}', "9,000,010 characters"),
            ('{"do": "setup", "config": {"layers": [2, 10000, 1]}}', "the limit is 256"),
            ('{"do": "setup", "config": {"layers": [2, 0, 1]}}', "0 units"),
            ('{"do": "setup", "data": {"name": "csv", "csv": "a,b\\n1,2\\n3\\n"}}', "ine 3"),
        ):
            mine.socket.send(sent)
            assert said in mine.error()["message"]
        mine.send(do="step", n=2)
        while mine.until(Frame).step != 2:
            pass


def test_a_learning_rate_of_a_million_stops_by_itself_and_says_why(address: str) -> None:
    with page(address) as mine:
        config = {
            "layers": [2, 4, 1],
            "activations": ["relu", "linear"],
            "loss": "mse",
            "learning_rate": 1e6,
        }
        mine.send(do="setup", config=config, data={"name": "xor_points"})
        mine.send(do="play")
        mine.until({"say": "status", "playing": True})
        stopped = mine.until({"say": "status", "playing": False})
        assert stopped["findings"][0]["kind"] == "diverged"
        assert "Try" in stopped["findings"][0]["advice"] or "try" in stopped["findings"][0]["advice"]
        mine.send(do="goto", step=1)
        while (frame := mine.until(Frame)).step != 1:
            pass
        assert np.isfinite(frame.weights[0]).all()


# ---- pages that go ----------------------------------------------------------------------------------


def test_a_page_closed_while_it_plays_leaves_no_thread(address: str) -> None:
    with page(address) as mine:
        mine.send(**SETUP)
        mine.send(do="play")
        mine.until(Frame)
        assert len(players()) == 1
    until(lambda: not players())
    with page(address) as mine:
        mine.send(**SETUP)
        mine.send(do="sweep", rows="seed", row_values=list(range(9)), steps=1_000_000)
        mine.send(do="step", n=50_000_000)
        mine.until(Frame)
        mine.socket.socket.close()  # without a word
    until(lambda: not players())


def test_a_server_that_stops_ends_every_training(tmp_path: Path) -> None:
    with ExitStack() as stack, Store(tmp_path / "runs") as store:
        with running(make_app(store, SmallLab())) as address:
            for _ in range(3):
                mine = stack.enter_context(page(address))
                mine.send(**SETUP)
                mine.send(do="play")
                mine.until(Frame)
            assert len(players()) == 3
        until(lambda: not players())


def test_a_fault_of_ours_is_said_in_general_and_ends_the_session(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Session, seconds: float) -> None:
        raise ZeroDivisionError("a secret")

    with page(address) as mine, caplog.at_level(logging.ERROR, "llm_workings.server"):
        mine.send(**SETUP)
        mine.until(Details)
        monkeypatch.setattr(Session, "work", broken)
        mine.send(do="play")
        error = mine.error()
        assert error["kind"] == "InternalError"
        assert "secret" not in json.dumps(error)
        with pytest.raises(ConnectionClosed):
            mine.hear()
    assert "a secret" in caplog.text
    until(lambda: not players())


# ---- many pages -------------------------------------------------------------------------------------


def test_twenty_pages_at_once_all_stay_alive(address: str) -> None:
    with ExitStack() as stack:
        pages = [stack.enter_context(page(address)) for _ in range(20)]
        for each in pages:
            each.send(**SETUP)
            each.send(do="play")
        first = [each.until(Frame).step for each in pages]
        later = [(each.until(Frame).step, each.until(Frame).step)[1] for each in pages]
        assert all(after > before for before, after in zip(first, later, strict=True))
        assert len(players()) == 20
        for number, each in enumerate(pages):
            each.send(do="predict", points=[[number, 0.0]])
        for number, each in enumerate(pages):
            assert each.until(Predictions).points[0, 0] == number
        assert httpx.get(address + "/api/views", timeout=10).status_code == 200
    until(lambda: not players())


def test_one_page_too_many_is_told_so(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "MOST_SESSIONS", 2)
    with page(address) as first, page(address) as second:
        for each in (first, second):
            each.send(**SETUP)
            each.until(Frame)
        with page(address) as third:
            error = third.error()
            assert error["kind"] == "Busy"
            assert "2 pages" in error["message"]
            with pytest.raises(ConnectionClosed):
                third.hear()
        first.send(do="step")
        assert first.until(Frame).step == 1
    until(lambda: not players())
    with page(address) as again:
        again.send(**SETUP)
        again.until(Frame)


def test_turns_are_taken_in_the_order_of_coming() -> None:
    turns, order, seconds = Turns(), list[int](), list[float]()
    gate = threading.Event()

    def take(number: int) -> None:
        with turns.turn() as given:
            order.append(number)
            seconds.append(given)
            if number == 0:
                gate.wait(10)

    threads = []
    for number in range(6):
        threads.append(threading.Thread(target=take, args=(number,)))
        threads[-1].start()
        until(lambda waiting=number: len(turns._queue) == waiting + 1)
    gate.set()
    for thread in threads:
        thread.join(10)
    assert order == list(range(6))
    assert seconds[0] == network.SLICE
    assert seconds[1] == network.SHORTEST  # five waited
    assert seconds[-1] == network.SLICE


def test_a_turn_that_fails_lets_the_next_one_come() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.turn():
        raise ZeroDivisionError
    with turns.turn():
        pass


# ---- who may come in --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_page_of_another_site_gets_no_network(address: str, headers: dict[str, str]) -> None:
    where = address.replace("http", "ws") + "/api/network"
    with pytest.raises(InvalidStatus) as refused, connect(where, additional_headers=headers):
        pass
    assert refused.value.response.status_code == 403
    assert players() == []


def test_a_token_is_asked_for_where_there_is_one(tmp_path: Path) -> None:
    with Store(tmp_path / "runs") as store, running(make_app(store, SmallLab(), token="abc")) as address:
        where = address.replace("http", "ws") + "/api/network"
        with pytest.raises(InvalidStatus), connect(where):
            pass
        with connect(where, additional_headers={"Authorization": "Bearer abc"}) as socket:
            socket.send('{"do": "script"}')
            assert "no network yet" in json.loads(socket.recv(10))["error"]["message"]


def test_the_route_is_documented() -> None:
    table = (Path(__file__).parent.parent / "docs" / "architecture.md").read_text("utf-8")
    assert "`WS /api/network`" in table
