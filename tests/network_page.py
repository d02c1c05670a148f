"""A page before a network's session, for the tests: it sends commands, draws frames, keeps what came."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from llm_workings.core.wire import read_header, unpack
from llm_workings.data.dataset import spec_of
from llm_workings.data.points import make
from llm_workings.playground.config import Config
from llm_workings.playground.run import Run
from llm_workings.views.network_live import Session
from llm_workings.views.network_parts import Details, Frame, Predictions, Setting, SweepGrid, Tree

SMALL = {"layers": [2, 5, 3, 1], "batch_size": 7, "optimizer": "adam", "learning_rate": 0.02, "seed": 3}
CLOUDS = {"name": "xor", "n": 60, "noise": 0.1, "test": 0.25}
KINDS: dict[str, Any] = {
    kind.__name__: kind for kind in (Details, Frame, Predictions, Setting, SweepGrid, Tree)
}


class Clock:
    """Seconds that go on when they are told to; training then takes none, or a fixed time a look."""

    def __init__(self, tick: float = 0.0):
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


class Page:
    """A session and the page before it, which draws at once unless it is told not to."""

    def __init__(self, *, draws: bool = True, **options: Any):
        self.session, self.draws = Session(**options), draws
        self.got: list[Any] = []
        self.texts: list[dict[str, Any]] = []

    def send(self, settle: bool = True, **command: Any) -> list[Any]:
        """Send a command, and by default wait until all its steps are made; the payloads that came. What was
        said is in `texts`."""
        self.session.receive(json.dumps(command))
        while settle and self.session._goal is not None:
            self.session.work()
        return self.take()

    def take(self) -> list[Any]:
        self.got, self.texts = [], []
        for message in self.session.take():
            if isinstance(message, str):
                self.texts.append(json.loads(message, parse_constant=_no_constant))
            elif (kind := read_header(message)["kind"]) in KINDS:
                self.got.append(unpack(message, KINDS[kind]))
            else:
                self.got.append(message)
        if self.draws and any(isinstance(payload, Frame) for payload in self.got):
            self.session.receive('{"do": "ready"}')
        return self.got

    def of(self, kind: type[Any]) -> Any:
        found = [payload for payload in self.got if isinstance(payload, kind)]
        assert len(found) == 1, f"{len(found)} of {kind.__name__}"
        return found[0]

    @property
    def error(self) -> dict[str, Any]:
        return next(text["error"] for text in self.texts if text["say"] == "error")

    @property
    def status(self) -> dict[str, Any]:
        return next(text for text in reversed(self.texts) if text["say"] == "status")

    def work(self, times: int = 1) -> None:
        for _ in range(times):
            self.session.work()

    @property
    def run(self) -> Run:
        return self.session.run


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def set_up() -> Page:
    """A page with a small network on noisy clouds."""
    page = Page()
    page.send(do="setup", config=SMALL, data=CLOUDS)
    return page


def plain() -> Run:
    return Run(Config.of(SMALL), make(spec_of(**CLOUDS)))


def same(run: Run, other: Run) -> None:
    """Both stand at the same numbers, bit for bit, and would go on alike."""
    np.testing.assert_array_equal(run.state.parameters, other.state.parameters)
    assert run.state.slots.keys() == other.state.slots.keys()
    for name, slot in run.state.slots.items():
        np.testing.assert_array_equal(slot, other.state.slots[name])
    assert run.state.age == other.state.age


def forked(page: Page) -> Page:
    page.send(do="step", n=40)
    page.send(do="goto", step=22)
    page.send(do="change", config={"learning_rate": 0.1})
    page.send(do="step", n=10)
    return page


def saved_by(page: Page) -> bytes:
    return next(message for message in page.send(do="save") if isinstance(message, bytes))
