"""A network on screen, without a socket: exactness, back-pressure, what is said of it, sweeps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from network_page import CLOUDS, SMALL, Clock, Page, plain, same, set_up

import llm_workings as lw
from llm_workings.core.errors import Cancelled
from llm_workings.core.progress import Progress
from llm_workings.data.dataset import spec_of
from llm_workings.data.points import make
from llm_workings.playground.config import Config
from llm_workings.playground.run import Run
from llm_workings.playground.sweep import Sweep
from llm_workings.views import network_frames, network_live
from llm_workings.views.network_parts import Details, Frame, Predictions, Setting, SweepGrid, Tree


@pytest.fixture
def page() -> Page:
    return set_up()


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


def test_another_network_is_begun_carefully(page: Page) -> None:
    """A slice is as many steps as the last ones were fast; a larger network's first would take minutes."""
    page.send(do="play")
    page.work(10)
    assert page.session._slice() > 20
    page.send(do="change", config={"batch_size": 45})
    assert page.session._slice() <= 20
    page.work(10)
    page.send(do="setup", config={"layers": [2, 256, 256, 1]}, data=CLOUDS)
    assert page.session._slice() <= 20


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


def test_many_branches_have_thinner_curves_and_an_end(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    page.send(do="step", n=500)
    assert len(page.of(Tree).branches[0].steps) == 501
    monkeypatch.setattr(network_frames, "POINTS", 300)
    monkeypatch.setattr(network_live, "MOST_BRANCHES", 3)
    for step in (100, 200):
        page.send(do="goto", branch=0, step=step)
        page.send(do="change", config={"learning_rate": 0.1 + step})
        page.send(do="step", n=2)
    root = page.of(Tree).branches[0]
    assert len(root.steps) == 100
    assert (root.steps[0], root.steps[-1]) == (0, 500)
    curve = page.run.branches[0].curve
    np.testing.assert_allclose(root.train, [curve[step][0] for step in root.steps], rtol=1e-6)
    page.send(do="goto", branch=0, step=7)
    page.send(do="edit", place="b1.0", value=1.0)
    assert page.error["kind"] == "TooLarge"
    assert "3 branches" in page.error["message"]
    assert len(page.run.branches) == 3


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


def test_work_that_nobody_waits_for_any_more_is_stopped() -> None:
    closed = False
    page = Page(progress=Progress(cancelled=lambda: closed))
    page.send(do="setup", config=SMALL, data=CLOUDS)
    page.send(do="play")
    page.work()
    closed = True
    with pytest.raises(Cancelled):
        page.work(100)
