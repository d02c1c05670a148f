"""A network on screen, without a socket: exactness, back-pressure, files, and what cannot be done."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import llm_workings as lw
from llm_workings.core.errors import BadInput, Cancelled
from llm_workings.core.progress import Progress
from llm_workings.core.wire import read_header, unpack
from llm_workings.data.dataset import spec_of
from llm_workings.data.points import make
from llm_workings.playground.config import Config
from llm_workings.playground.run import Run
from llm_workings.playground.save import pack_run
from llm_workings.playground.sweep import Sweep
from llm_workings.views import network_live
from llm_workings.views.network_live import Session
from llm_workings.views.network_parts import (
    Details,
    Frame,
    Predictions,
    Recording,
    Setting,
    SweepGrid,
    Tree,
)

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


@pytest.fixture
def page() -> Page:
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


# ---- beginning --------------------------------------------------------------------------------------


def test_a_setup_is_answered_by_all_there_is_to_draw(page: Page) -> None:
    page.send(do="setup", config=SMALL, data=CLOUDS)
    assert [type(payload) for payload in page.got] == [Setting, Tree, Frame, Details]
    setting = page.of(Setting)
    assert setting.config == Config.of(SMALL)
    assert setting.data == spec_of(**CLOUDS)
    assert setting.steps_an_epoch == 7  # 45 samples, 7 a batch
    assert page.status == {"say": "status", "playing": False, "speed": 0.0, "findings": []}
    assert (page.of(Frame).branch, page.of(Frame).step) == (0, 0)
    assert page.of(Frame).sample.index == 0
    assert page.of(Details).algebra is None


@pytest.mark.parametrize("command", ["play", "pause", "step", "script", "save", "parameters", "export"])
def test_nothing_can_be_done_before_there_is_a_network(command: str) -> None:
    page = Page()
    page.send(do=command)
    assert page.error["kind"] == "NotReady"
    assert "setup" in page.error["hint"]
    assert page.session.work() is None


def test_another_setup_keeps_what_can_still_be_watched(page: Page) -> None:
    history = {"place": "w1.0.2", "what": "weight"}
    page.send(do="watch", sample=40, place="u1.4", algebra=True, paths=True, history=history)
    page.send(do="setup", config={"layers": [2, 3, 1]}, data={"name": "xor_points"})
    frame, details = page.of(Frame), page.of(Details)
    assert frame.sample.index == 0  # there are four samples, and no unit u1.4
    assert details.algebra is not None
    assert len({line.unit for line in details.algebra.equations}) > 1
    assert details.history.place == "w1.0.2"
    assert details.paths


# ---- playing ----------------------------------------------------------------------------------------


def test_playing_by_slices_is_training_bit_for_bit(page: Page) -> None:
    page.send(do="play", speed=0)
    assert page.status["playing"]
    page.work(20)
    page.send(do="pause")
    assert not page.status["playing"]
    step = page.run.step_now
    assert step > 20
    other = plain()
    other.step(step)
    same(page.run, other)
    assert page.of(Frame).step == page.of(Details).step == page.of(Tree).step == step
    np.testing.assert_array_equal(page.of(Frame).weights[1], other.parameters.weights[1])


def test_a_page_that_never_says_ready_gets_no_second_frame_and_training_goes_on() -> None:
    page = Page(draws=False)
    page.send(do="setup", config=SMALL, data=CLOUDS)
    page.send(do="play")
    steps = []
    for _ in range(10):
        page.work()
        steps.append(page.run.step_now)
        assert page.take() == []
    assert all(later > earlier for earlier, later in pairwise(steps))
    page.send(do="ready")
    assert page.of(Frame).step == steps[-1]  # the newest, and nothing of what came between
    page.work()
    assert page.take() == []


def test_details_are_made_five_times_a_second_while_it_plays_and_at_once_when_it_stops() -> None:
    clock = Clock()
    page = Page(clock=clock)
    page.send(do="setup", config=SMALL, data=CLOUDS)
    page.send(do="play", speed=100)
    kinds = []
    for _ in range(100):
        clock.now += 0.01
        page.work()
        kinds += [type(payload).__name__ for payload in page.take()]
    assert kinds.count("Frame") == 100
    assert 4 <= kinds.count("Details") <= 5
    assert kinds.count("Tree") == kinds.count("Details")
    page.send(do="pause")
    assert page.of(Details).step == page.run.step_now == 100


def test_a_speed_is_kept_and_what_is_late_is_not_made_up_for() -> None:
    clock = Clock()
    page = Page(clock=clock)
    page.send(do="setup", config=SMALL, data=CLOUDS)
    page.send(do="play", speed=50)
    assert page.session.work() == pytest.approx(0.02)
    clock.now += 0.02
    assert page.session.work() == 0
    assert page.run.step_now == 1
    clock.now += 0.01
    assert page.session.work() == pytest.approx(0.01)
    page.session._rate = 300.0  # three steps a slice: it cannot keep up with the second that follows
    clock.now += 1.0
    page.work()
    slice_made = page.run.step_now - 1
    assert slice_made < 10
    clock.now += 0.02
    page.work()
    assert page.run.step_now - 1 - slice_made <= 2


def test_many_steps_go_by_slices_and_can_be_stopped(page: Page) -> None:
    page.send(do="step", n=10_000_000, settle=False)
    assert page.status["playing"]
    page.work(3)
    page.send(do="pause")
    assert page.session.work() is None
    assert 0 < page.run.step_now < 10_000_000
    before = page.run.step_now
    page.send(do="step", n=300, unit="batch")
    assert page.run.step_now == before + 300
    assert not page.session.playing
    other = plain()
    other.step(before + 300)
    same(page.run, other)


# ---- going, forking ---------------------------------------------------------------------------------


def test_back_forth_and_fork_are_those_of_a_run(page: Page) -> None:
    other = plain()
    page.send(do="step", n=40)
    other.step(40)
    page.send(do="step", n=-25)
    other.back(25)
    same(page.run, other)
    page.send(do="change", config={"learning_rate": 0.1})
    assert page.of(Tree).branches[1].label == "learning_rate 0.02 → 0.1"
    assert page.of(Frame).learning_rate == 0.1
    other.change(learning_rate=0.1)
    page.send(do="step", n=2, unit="epoch")
    other.step(14)
    same(page.run, other)
    assert page.of(Frame).epoch == pytest.approx(29 / 7)
    page.send(do="edit", place="w2.1.0", value=0.75)
    other.edit("w2.1.0", 0.75)
    page.send(do="step")
    other.step()
    same(page.run, other)
    page.send(do="goto", branch=0, step=33)
    other.goto(33, 0)
    same(page.run, other)
    tree = page.of(Tree)
    assert (tree.branch, tree.step) == (0, 33)
    assert [branch.parent for branch in tree.branches] == [None, 0, 1]
    page.send(do="goto", step=0)
    np.testing.assert_array_equal(page.run.state.parameters, plain().state.parameters)
    page.send(do="step", n=-5)
    assert page.run.step_now == 0


def test_samples_are_stepped_through_within_the_batch_and_over_its_end(page: Page) -> None:
    page.send(do="step", n=5)
    run = page.run
    batches = [run.data.train[run.record(step).samples].tolist() for step in (4, 5)]
    page.send(do="step", n=1, unit="sample")
    batch = run.data.train[run.record().samples].tolist()
    assert (page.of(Frame).step, page.of(Frame).sample.index) == (5, batch[0])
    page.send(do="watch", sample=batch[0], algebra=True)
    seen = []
    for _ in range(len(batch) - 1):
        page.send(do="step", n=1, unit="sample")
        seen.append(page.of(Frame).sample.index)
        algebra = page.of(Details).algebra
        assert algebra.samples == batch
        assert algebra.samples[algebra.sample] == seen[-1]
    assert seen == batch[1:] == batches[1][1:]
    page.send(do="step", n=1, unit="sample")
    assert page.of(Frame).step == 6
    page.send(do="step", n=-1, unit="sample")
    assert (page.of(Frame).step, page.of(Frame).sample.index) == (5, batch[-1])
    page.send(do="step", n=-len(batch), unit="sample")
    assert (page.of(Frame).step, page.of(Frame).sample.index) == (4, batches[0][-1])
    page.send(do="goto", step=0)
    page.send(do="step", n=-100, unit="sample")
    assert page.of(Frame).step == 0


def test_what_is_watched_is_in_the_details(page: Page) -> None:
    page.send(do="step", n=30)
    history = {"place": "w1.0.2", "what": "gradient"}
    page.send(do="watch", sample=9, place="w1.0.2", algebra=True, paths=True, history=history)
    assert page.of(Frame).sample.index == 9
    details = page.of(Details)
    assert {"w1.0.2"} <= set(details.algebra.equations[0].places)
    assert details.algebra.left_out > 0
    assert details.history.steps[-1] == 30
    record = page.run.record()
    wanted = record.gradient.weights[0][0, 2] + record.penalty.weights[0][0, 2]
    assert details.history.values[-1] == wanted == details.gradients[0][0, 2]
    assert details.paths[0].strength == max((path.strength for path in details.paths), key=abs)
    page.send(do="watch")
    assert page.of(Frame).sample is None
    assert page.of(Details).algebra is None
    unit = {"place": "u2.1", "what": "activation"}
    page.send(do="watch", sample=3, history=unit)
    assert page.of(Details).history.values[-1] == pytest.approx(page.of(Frame).sample.activations[2][1])


# ---- what is said of it -----------------------------------------------------------------------------


def test_numbers_that_run_away_stop_it_and_the_history_is_intact() -> None:
    page = Page()
    runaway = {"layers": [2, 4, 1], "activations": ["relu", "linear"], "loss": "mse"}
    page.send(do="setup", config=runaway, data={"name": "xor_points"})
    page.send(do="step", n=5)
    page.send(do="change", config={"learning_rate": 1e6})
    page.send(do="play")
    for _ in range(50):
        page.work()
    page.take()
    assert not page.session.playing
    status = page.status
    assert status["playing"] is False
    assert [finding["kind"] for finding in status["findings"]] == ["diverged"]
    assert "not finite" in status["findings"][0]["text"]
    assert "learning rate" in status["findings"][0]["advice"]
    assert page.of(Details).findings[0].kind == "diverged"
    assert page.run.step_now == page.run.tip > 5
    other = Run(Config.of(runaway), make(spec_of("xor_points")))
    for step in (0, 3, 5):
        page.send(do="goto", branch=0, step=step)
        np.testing.assert_array_equal(page.of(Frame).weights[0], other.parameters.weights[0])
        other.step(2 if step == 3 else 3)
    page.send(do="goto", branch=0, step=5)
    page.send(do="change", config={"learning_rate": 0.1})
    page.send(do="step", n=10)
    assert page.run.step_now == 15
    assert page.of(Details).findings == [] or page.of(Details).findings[0].kind != "diverged"


def test_a_solved_problem_is_said_while_it_plays() -> None:
    page = Page()
    page.send(do="setup")
    page.send(do="play")
    said: list[str] = []
    for _ in range(200):
        page.work()
        page.take()
        said += [finding["kind"] for text in page.texts for finding in text.get("findings", [])]
        if said:
            break
    assert said == ["solved"]
    assert page.session.playing


# ---- sweeps, predictions ----------------------------------------------------------------------------


def test_a_sweep_trains_beside_the_run_and_is_sent_now_and_then(page: Page) -> None:
    rates, penalties = [0.001, 0.01, 0.1], [0.0, 0.01]
    grids = [
        payload
        for payload in page.send(
            do="sweep",
            rows="learning_rate",
            row_values=rates,
            columns="l2",
            column_values=penalties,
            steps=120,
        )
        if isinstance(payload, SweepGrid)
    ]
    assert (grids[0].step, grids[0].steps) == (0, 120)
    page.send(do="play")
    while page.session._sweeping is not None and page.session._sweeping.working:
        page.work()
        grids += [payload for payload in page.take() if isinstance(payload, SweepGrid)]
    page.send(do="pause")
    grids += [payload for payload in page.got if isinstance(payload, SweepGrid)]
    assert page.run.step_now > 0
    last = grids[-1]
    assert (last.step, last.row_values, last.column_values) == (120, rates, penalties)
    wanted = Sweep(page.run.config, page.run.data, ("learning_rate", rates), ("l2", penalties))
    wanted.advance(120)
    np.testing.assert_allclose(last.train, wanted.measure().train, rtol=1e-5)
    shades = wanted.surfaces()
    np.testing.assert_allclose(
        last.surfaces / 127 * last.surface_scale, shades, atol=0.51 / 127 * last.surface_scale
    )
    alone = plain()
    alone.step(120)
    middle = Run(alone.config.changed(learning_rate=0.01), alone.data)
    middle.step(120)
    assert last.train[1, 0] == pytest.approx(middle.measure()["train"], rel=1e-4)


def test_grids_wait_for_their_time_and_a_sweep_can_be_stopped() -> None:
    clock = Clock(tick=0.02)  # a look; so a slice is a step
    page = Page(clock=clock)
    page.send(do="setup", config=SMALL, data=CLOUDS)
    page.send(do="sweep", rows="seed", row_values=[0, 1, 2], steps=1_000_000)
    assert page.of(SweepGrid).columns == ""
    start, counted = clock.now, 0
    for _ in range(60):
        assert page.session.work() == 0
        counted += sum(isinstance(payload, SweepGrid) for payload in page.take())
    assert 8 <= counted <= (clock.now - start) / 0.25 + 1 < 30
    page.send(do="stop_sweep")
    grid = page.of(SweepGrid)
    assert grid.step == grid.steps > 0
    assert page.session.work() is None
    page.send(do="stop_sweep")
    assert page.texts == []


def test_predictions_are_the_networks_answers(page: Page) -> None:
    page.send(do="step", n=25)
    points = [[0.5, -2.0], [3.0, 3.0], [-4.0, 1.0]]
    page.send(do="predict", points=points)
    found = page.of(Predictions)
    network = lw.Network([2, 5, 3, 1], **{key: SMALL[key] for key in SMALL if key != "layers"})
    network.train(make(spec_of(**CLOUDS)), steps=25)
    np.testing.assert_array_equal(found.outputs, network.predict(points))
    assert found.winners == network.decide(points)
    assert (found.branch, found.step) == (0, 25)


# ---- files ------------------------------------------------------------------------------------------


def forked(page: Page) -> Page:
    page.send(do="step", n=40)
    page.send(do="goto", step=22)
    page.send(do="change", config={"learning_rate": 0.1})
    page.send(do="step", n=10)
    return page


def saved_by(page: Page) -> bytes:
    return next(message for message in page.send(do="save") if isinstance(message, bytes))


def test_saved_loaded_and_continued_is_not_interrupted(page: Page) -> None:
    data = saved_by(forked(page))
    later = Page()
    later.session.receive(data)
    later.take()
    assert later.of(Setting).data == spec_of(**CLOUDS)
    assert later.run.here == (1, 32)
    assert later.of(Tree).branches[1].label == page.run.branches[1].label
    same(later.run, page.run)
    for either in (page, later):
        either.send(do="step", n=30)
    same(later.run, page.run)
    for either in (page, later):
        either.send(do="goto", branch=0, step=17)
    same(later.run, page.run)
    assert saved_by(later) == saved_by(page)


def test_a_table_is_read_after_loading_as_before() -> None:
    page = Page()
    table = "height,weight,kind\n" + "".join(f"{i},{1000 * i * i % 7},{'ab'[i % 2]}\n" for i in range(20))
    page.send(do="setup", data={"name": "csv", "csv": table})
    page.send(do="step", n=9)
    later = Page()
    later.session.receive(saved_by(page))
    later.take()
    frames = [later.of(Frame)]
    page.send(do="goto", step=9)
    frames.append(page.of(Frame))
    np.testing.assert_array_equal(frames[0].surface, frames[1].surface)
    for either in (page, later):
        either.send(do="predict", points=[[3.0, 1000.0]])
    np.testing.assert_array_equal(later.of(Predictions).outputs, page.of(Predictions).outputs)


def test_a_file_that_is_none_leaves_all_as_it_was(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved_by(forked(page))
    here = page.run.here
    newer = data.replace(b'\\"format\\": 1,', b'\\"format\\": 7,')
    assert newer != data
    for broken, said in (
        (b"", "no saved run"),
        (b"\x00" * 64, "no saved run"),
        (data[: len(data) // 2], "cut short"),
        (data[:-1], "cut short"),
        (newer, "format 7; this version of llm-workings reads up to 1"),
    ):
        page.session.receive(broken)
        page.take()
        assert said in page.error["message"]
        assert page.run.here == here
    monkeypatch.setattr(network_live, "LARGEST_FILE", len(data) - 1)
    page.session.receive(data)
    page.take()
    assert page.error["kind"] == "TooLarge"
    assert f"{len(data) - 1:,}" in page.error["message"]


def test_a_file_that_does_not_say_what_its_data_was_has_no_script(page: Page) -> None:
    page.session.receive(pack_run(plain()))
    page.take()
    assert page.of(Setting).data.name == "csv"
    page.send(do="script")
    assert page.error["kind"] == "NotSupported"
    lying = spec_of("moons", n=60).model_dump(mode="json")
    page.session.receive(pack_run(plain(), lying))
    page.take()
    assert page.of(Setting).data.name == "csv"
    assert len(page.of(Setting).points) == 60


def test_the_script_of_a_session_reproduces_it(page: Page) -> None:
    forked(page).send(do="script")
    text = page.texts[0]
    assert text["say"] == "script"
    names: dict[str, Any] = {"print": lambda *_: None}
    exec(compile(text["text"], "script", "exec"), names)
    same(names["network"].run, page.run)


def test_parameters_go_out_as_json_and_come_back(page: Page) -> None:
    forked(page).send(do="parameters")
    given = page.texts[0]["parameters"]
    assert given["layers"] == [2, 5, 3, 1]
    np.testing.assert_array_equal(given["weights"][1], page.run.parameters.weights[1])
    wanted = page.run.state.parameters
    page.send(do="load_parameters", parameters=given)
    assert page.run.here == (0, 0)
    np.testing.assert_array_equal(page.run.state.parameters, wanted)
    smaller = {"weights": [[[1.0], [2.0]]], "biases": [[0.5]]}
    page.send(do="load_parameters", parameters=smaller)
    assert page.error["kind"] == "BadInput"  # one layer, whose only activation would be the hidden one's
    page.send(do="load_parameters", parameters={**smaller, "activations": ["sigmoid"]})
    assert page.of(Setting).config.layers == (2, 1)
    for wrong, said in (
        ({"weights": [[[1.0, 2.0], [3.0]]], "biases": [[0.0, 0.0]]}, "weights"),
        ({}, "weights"),
        ({"weights": [[[1.0]]], "biases": [[0.0]], "activations": ["sigmoid"]}, "reads 1 inputs"),
    ):
        page.send(do="load_parameters", parameters=wrong)
        assert said in page.error["message"]
        assert page.run.config.layers == (2, 1)


def test_the_exported_page_holds_the_run_with_its_forks() -> None:
    taken: list[Recording] = []

    def make_page(recording: Recording) -> str:
        taken.append(recording)
        return "<html>"

    page = Page(page=make_page)
    page.send(do="setup", config=SMALL, data=CLOUDS)
    forked(page).send(do="export")
    assert page.texts == [{"say": "export", "html": "<html>"}]
    assert len(taken[0].tree.branches) == 2
    assert taken[0].frames[-1].step == 32
    assert taken[0].details[0].algebra is not None
    assert page.run.here == (1, 32)
    without = Page()
    without.send(do="setup")
    without.send(do="export")
    assert without.error["kind"] == "NotSupported"


# ---- bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "kind", "said"),
    [
        ({"do": "stp"}, "UnknownName", "Did you mean 'step'"),
        ({"do": 3}, "BadInput", "is no command"),
        ({}, "BadInput", "is no command"),
        ({"do": "step", "n": "many"}, "BadInput", "n = 'many'"),
        ({"do": "step", "n": 1.5}, "BadInput", "n = 1.5"),
        ({"do": "step", "n": 10**12}, "BadInput", "n = 1000000000000"),
        ({"do": "step", "unit": "batches"}, "BadInput", "unit = 'batches'"),
        ({"do": "step", "m": 1}, "BadInput", "takes no 'm'"),
        ({"do": "goto"}, "BadInput", "needs 'step'"),
        ({"do": "goto", "step": 99}, "BadInput", "steps 0 to 20; 99 is not"),
        ({"do": "goto", "step": 3, "branch": 7}, "UnknownName", "no branch '7'"),
        ({"do": "play", "speed": -1}, "BadInput", "speed = -1"),
        ({"do": "change", "config": {"layers": [2, 3, 1]}}, "BadInput", "belongs to the beginning"),
        ({"do": "change", "config": {"learning_rte": 1}}, "BadInput", "Did you mean 'learning_rate'"),
        ({"do": "change", "config": {"loss": "cross_entropy"}}, "BadInput", "does not go with"),
        ({"do": "change", "config": 5}, "BadInput", "config = 5"),
        ({"do": "edit", "place": "w9.0.0", "value": 1}, "BadInput", "'w9.0.0' is no parameter"),
        ({"do": "edit", "place": "w1.0.0", "value": "x"}, "BadInput", "value = 'x'"),
        ({"do": "watch", "sample": 60}, "BadInput", "samples 0 to 59; 60"),
        ({"do": "watch", "sample": -1}, "BadInput", "samples 0 to 59; -1"),
        ({"do": "watch", "place": "u1"}, "BadInput", "'u1' is no parameter"),
        ({"do": "watch", "history": {"place": "w1.0.0", "what": "activation"}}, "BadInput", "no unit"),
        ({"do": "watch", "history": {"place": "u1.0", "what": "gradient"}}, "BadInput", "no parameter"),
        ({"do": "predict", "points": [[1, 2, 3]]}, "BadInput", "Point 0 has 3 coordinates"),
        ({"do": "predict", "points": []}, "BadInput", "points"),
        ({"do": "sweep", "rows": "layers", "row_values": [1]}, "BadInput", "layers"),
        ({"do": "sweep", "rows": "l2", "row_values": [0], "columns": "l1"}, "BadInput", "with 0 values"),
        ({"do": "sweep", "rows": "l2", "row_values": [-1]}, "BadInput", "l2 = -1"),
        ({"do": "setup", "config": {"layers": [2, 0, 1]}}, "BadInput", "0 units"),
        ({"do": "setup", "config": {"layers": [2, 10_000, 1]}}, "TooLarge", "the limit is 256"),
        ({"do": "setup", "data": {"name": "csv", "csv": "a,b\n1\n"}}, "BadInput", "[Ll]ine 2"),
        ({"do": "setup", "data": {"name": "csv", "csv": ""}}, "BadInput", "CSV"),
        ({"do": "setup", "data": {"name": "painted", "painted": [[0, 0, 0]]}}, "BadInput", "two classes"),
        ({"do": "setup", "config": {"layers": [5, 2, 1]}}, "BadInput", "reads 5 inputs"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_has_changed(
    page: Page, command: dict[str, Any], kind: str, said: str
) -> None:
    page.send(do="step", n=20)
    state, branches = page.run.state, dict(page.run.branches)
    page.send(**command)
    assert page.error["kind"] == kind
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(f"{page.error['message']} {page.error['hint']}")
    assert page.got == []
    assert page.run.state is state
    assert page.run.branches == branches
    page.send(do="step")
    assert page.of(Frame).step == 21


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON"),
        ("", "is no JSON"),
        ("[1, 2]", "is no command"),
        ("null", "is no command"),
        ('{"do": "edit", "place": "w1.0.0", "value": NaN}', "value"),
        ('{"do": "setup", "config": {"learning_rate": Infinity}}', "learning_rate"),
        ('{"do": "\\ud800"}', "surrogates"),
        ("[" * 100_000, "is no JSON"),
        ('{"do": "' + "x" * 9_000_000 + '"}', "9,000,010 characters"),
    ],
)
def test_a_text_that_is_no_command_is_answered_as_one(page: Page, text: str, said: str) -> None:
    page.session.receive(text)
    page.take()
    assert said in page.error["message"]
    assert len(page.error["message"]) < 500


def test_work_that_nobody_waits_for_any_more_is_stopped() -> None:
    closed = False
    page = Page(progress=Progress(cancelled=lambda: closed))
    page.send(do="setup", config=SMALL, data=CLOUDS)
    page.send(do="play")
    page.work()
    closed = True
    with pytest.raises(Cancelled):
        page.work(100)


def test_commands_can_be_given_without_json(page: Page) -> None:
    page.session.do({"do": "step", "n": 3})
    assert page.run.step_now == 3
    with pytest.raises(BadInput, match="is no command"):
        page.session.do(["step"])
