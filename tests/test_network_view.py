"""The network view: its frames beside the same numbers worked out another way, its bounds, its script."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llm_workings as lw
from llm_workings.core.errors import BadInput, LabError, TooLarge
from llm_workings.core.progress import Progress
from llm_workings.core.wire import pack, unpack
from llm_workings.data.dataset import spec_of
from llm_workings.data.points import make
from llm_workings.export.record import export_recording, export_view
from llm_workings.playground.config import Config
from llm_workings.playground.kernel import initial, split
from llm_workings.playground.run import Run
from llm_workings.views import REGISTRY
from llm_workings.views.lab import Lab
from llm_workings.views.network_details import Watched, details_of
from llm_workings.views.network_frames import Painter
from llm_workings.views.network_parts import Frame, Recording
from llm_workings.views.network_recording import record, spread
from llm_workings.views.network_script import script_of

SMALL = {"layers": [2, 5, 3, 1], "activations": ["tanh", "relu", "sigmoid"], "batch_size": 7, "seed": 3}
CLOUDS = {"name": "xor", "n": 60, "noise": 0.1, "test": 0.25}


def ask(**request: Any) -> Recording:
    recording = REGISTRY["network"].run(Lab(), request)
    assert isinstance(recording, Recording)
    return recording


@pytest.fixture(scope="module")
def small() -> Recording:
    return ask(config=SMALL, data=CLOUDS, steps=200, frames=12, sample=4)


def by_hand(frame: Frame, inputs: np.ndarray) -> list[np.ndarray]:
    """The activations of `SMALL`, written without the kernel."""
    a, found = inputs, [inputs]
    for f, w, b in zip(
        (np.tanh, lambda z: np.maximum(z, 0), lambda z: 1 / (1 + np.exp(-z))),
        frame.weights,
        frame.biases,
        strict=True,
    ):
        a = f(a @ w + b)
        found.append(a)
    return found


# ---- frames -----------------------------------------------------------------------------------------


def test_a_frame_holds_the_runs_own_parameters_bit_for_bit(small: Recording) -> None:
    run = Run(Config.of(SMALL), make(spec_of(**CLOUDS)))
    run.step(200)
    assert [frame.step for frame in small.frames][::11] == [0, 200]
    for frame in small.frames:
        run.goto(frame.step)
        parameters = run.parameters
        for mine, theirs in zip(frame.weights, parameters.weights, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        for mine, theirs in zip(frame.biases, parameters.biases, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    first = split(run.config, initial(run.config).parameters)
    np.testing.assert_array_equal(small.frames[0].weights[0], first.weights[0])


def test_the_ground_and_the_outputs_are_the_networks_answers(small: Recording) -> None:
    frame, low, high = small.frames[-1], *small.setting.domain
    rows, columns = frame.surface.shape
    assert (rows, columns) == (100, 100)
    y, x = np.meshgrid(np.linspace(low, high, rows), np.linspace(low, high, columns), indexing="ij")
    wanted = by_hand(frame, np.stack([x.ravel(), y.ravel()], axis=1))
    np.testing.assert_allclose(frame.surface, wanted[-1].reshape(100, 100), rtol=1e-5)
    np.testing.assert_array_equal(frame.winner, frame.surface > 0.5)
    every = [layer.T.reshape(-1, 100, 100) for layer in wanted]
    maps = frame.maps / 127 * frame.map_scale[:, None, None]
    stride = 100 // maps.shape[1]
    np.testing.assert_allclose(
        maps, np.concatenate(every)[:, ::stride, ::stride], atol=0.51 / 127 * frame.map_scale.max()
    )
    outputs = by_hand(frame, small.setting.points.astype(float))[-1]
    np.testing.assert_allclose(frame.outputs, outputs, rtol=1e-4)
    target = small.setting.targets[:, 0]
    np.testing.assert_array_equal(frame.wrong, (outputs[:, 0] > 0.5) != target)
    train = small.setting.held_back == 0
    cost = -np.log(np.where(target == 1, outputs[:, 0], 1 - outputs[:, 0]))
    assert frame.losses.train == pytest.approx(cost[train].mean(), rel=1e-4)
    assert frame.losses.test == pytest.approx(cost[~train].mean(), rel=1e-4)
    assert frame.losses.test_accuracy == pytest.approx(1 - frame.wrong[~train].mean())
    assert frame.losses.total == frame.losses.train


def test_the_followed_sample_is_written_out_forwards_and_backwards(small: Recording) -> None:
    frame = small.frames[-1]
    assert frame.sample is not None
    assert frame.sample.index == 4
    inputs = make(spec_of(**CLOUDS)).inputs[4:5]
    for mine, wanted in zip(frame.sample.activations, by_hand(frame, inputs), strict=True):
        np.testing.assert_allclose(mine, wanted[0], rtol=1e-12)
    out = frame.sample.activations[-1] - frame.sample.target  # sigmoid with cross-entropy
    np.testing.assert_allclose(frame.sample.delta[-1], out, rtol=1e-12)
    slope = (frame.sample.pre[1] > 0).astype(float)
    np.testing.assert_allclose(frame.sample.delta[1], (frame.weights[2] @ out) * slope, rtol=1e-12)


def test_the_details_are_of_the_step_about_to_be_taken(small: Recording) -> None:
    for frame, beside in zip(small.frames, small.details, strict=True):
        assert (frame.branch, frame.step) == (beside.branch, beside.step)
    before, beside = small.frames[0], small.details[0]
    after = small.frames[1]
    assert after.step == 2
    second = small.details[1]
    run = Run(Config.of(SMALL), make(spec_of(**CLOUDS)))
    moved = before.weights[0] - 0.3 * beside.gradients[0]
    run.step(1)
    np.testing.assert_allclose(run.parameters.weights[0], moved, rtol=1e-12)
    assert second.algebra is not None
    assert beside.algebra is not None
    index = beside.algebra.samples[beside.algebra.sample]
    assert set(beside.algebra.samples) <= set(np.flatnonzero(small.setting.held_back == 0))
    if 4 in beside.algebra.samples:
        assert index == 4
    gradient = next(line for line in beside.algebra.equations if line.id.startswith("gradient.w1.0.2"))
    assert gradient.value == pytest.approx(beside.gradients[0][0, 2], rel=1e-9)
    assert gradient.check is not None
    assert gradient.check.difference < 1e-6


def test_several_classes_values_a_line_and_pictures(tmp_path: Path) -> None:
    blobs = ask(
        config={"layers": [2, 6, 4], "loss": "cross_entropy"}, data={"name": "blobs", "classes": 4}, frames=2
    )
    frame = blobs.frames[-1]
    assert frame.outputs.shape == (200, 4)
    assert set(np.unique(frame.winner)) == {0, 1, 2, 3}
    np.testing.assert_allclose(frame.outputs.sum(axis=1), 1, rtol=1e-5)
    assert frame.surface.min() >= 0.25  # the winner's probability
    curve = ask(config={"layers": [1, 6, 1], "loss": "mse"}, data={"name": "curve"}, steps=5, frames=2)
    assert curve.setting.dimensions == 1
    assert curve.frames[-1].surface.shape[0] == 1
    assert curve.frames[-1].winner.size == 0
    assert curve.frames[-1].wrong.sum() == 0
    assert np.isnan(curve.frames[-1].losses.train_accuracy)
    digits = ask(
        config={"layers": [64, 8, 10], "loss": "cross_entropy"},
        data={"name": "digits"},
        steps=1,
        place="u1.0",
    )
    assert (digits.setting.image_side, digits.setting.dimensions) == (8, 0)
    assert digits.frames[-1].surface.size == digits.frames[-1].maps.size == 0


# ---- what is recorded -------------------------------------------------------------------------------


def test_moments_are_closer_together_at_the_beginning_and_few_are_all_there() -> None:
    steps = spread(10_000, 50)
    assert (steps[0], steps[-1]) == (0, 10_000)
    assert len(set(steps)) == 50
    gaps = np.diff(steps)
    assert gaps[:5].max() < gaps[-1] / 5
    assert spread(5, 40) == [0, 1, 2, 3, 4, 5]
    assert spread(100, 1) == [100]
    assert spread(0, 7) == [0]


def test_a_recording_is_bounded_and_says_what_it_leaves_out() -> None:
    run = Run(Config.of(layers=[2, 8, 8, 1], batch_size=10), make(spec_of("spiral", n=80)))
    run.step(300)
    run.goto(120)
    whole = record(run, spec_of("spiral", n=80), Watched(algebra=True), frames=30)
    assert run.here == (0, 120)  # it stands where it stood
    bounded = record(run, spec_of("spiral", n=80), Watched(algebra=True), frames=30, bound=700_000)
    beside = len(pack(bounded)) - len(pack(bounded.setting)) - len(pack(bounded.tree))
    assert beside < 750_000 < len(pack(whole))
    assert len(bounded.frames) < len(whole.frames) == 30
    assert re.search(r"[45] of the 301 moments from step 0 to 300 are here; more", bounded.left_out[0])
    assert any("equations of each step" in said for said in bounded.left_out)
    assert len(bounded.details[0].algebra.equations) < len(whole.details[0].algebra.equations)  # type: ignore[union-attr]


def test_a_large_network_is_recorded_in_few_frames() -> None:
    recording = ask(config={"layers": [2, 256, 256, 1]}, data={"name": "moons", "n": 40}, steps=3)
    assert len(pack(recording)) < 8_000_000
    assert len(recording.frames) < 4
    assert any("over 6 MB" in said for said in recording.left_out)


def test_a_recording_survives_the_wire_and_reads_as_sentences(small: Recording) -> None:
    back = unpack(pack(small), Recording)
    assert pack(back) == pack(small)
    assert back.setting.config == Config.of(SMALL)
    reading = back.reading()
    assert "A network 2-5-3-1 (tanh, relu, sigmoid) learns xor with sgd at 0.3: after 200 steps" in reading
    assert f"{small.frames[-1].losses.test:.4g}" in reading
    assert reading.endswith(".")


def test_a_training_that_is_stopped_stops() -> None:
    stopping = Lab(progress=Progress(cancelled=lambda: True))
    with pytest.raises(LabError, match="Stopped while training"):
        REGISTRY["network"].run(stopping, {"steps": 1000})


# ---- bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "kind", "said"),
    [
        ({"config": {"layers": [2, 0, 1]}}, BadInput, "2-0-1 have one of 0 units"),
        ({"config": {"layers": [2, 10_000, 1]}}, TooLarge, "10,000 units; the limit is 256"),
        (
            {"config": {"learning_rat": 1}},
            BadInput,
            "no setting 'learning_rat'.*Did you mean 'learning_rate'",
        ),
        ({"config": {"learning_rate": -1}}, BadInput, "learning_rate = -1"),
        ({"config": {"layers": [3, 4, 1]}}, BadInput, "reads 3 inputs; xor_points gives 2"),
        (
            {"config": {"layers": [2, 2], "activations": ["softmax"]}},
            BadInput,
            "meant .*softmax with cross_entropy",
        ),
        ({"config": 7}, BadInput, "config = 7"),
        ({"data": {"name": "spirl"}}, BadInput, "Did you mean 'spiral'"),
        ({"data": {"name": "csv", "csv": "a,b\n1,2\nx"}}, BadInput, "[Ll]ine 3"),
        ({"steps": -1}, BadInput, "steps = -1"),
        ({"steps": 10**9}, BadInput, "steps = 1000000000"),
        ({"sample": 4}, BadInput, "the samples 0 to 3; 4 is not"),
        ({"place": "u1.9"}, BadInput, "'u1.9' is no parameter"),
        ({"prompt": "x"}, BadInput, "takes no 'prompt'"),
    ],
)
def test_what_cannot_be_is_said(request_: dict[str, Any], kind: type[LabError], said: str) -> None:
    with pytest.raises(kind, match=said):
        ask(**request_)


def test_numbers_that_run_away_are_shown_up_to_where_they_do() -> None:
    recording = ask(
        config={"layers": [2, 4, 1], "loss": "mse", "activations": ["relu", "linear"], "learning_rate": 1e6}
    )
    last = recording.frames[-1]
    assert 0 < last.step < 1000
    assert all(np.isfinite(w).all() for w in last.weights)
    assert recording.tree.branches[0].tip == last.step
    finding = recording.details[-1].findings[0]
    assert finding.kind == "diverged"
    assert "learning rate" in finding.advice
    back = unpack(pack(recording), Recording)
    np.testing.assert_array_equal(back.frames[1].weights[0], recording.frames[1].weights[0])


# ---- the script -------------------------------------------------------------------------------------


def forked() -> tuple[Run, Any]:
    """A run with every kind of fork: settings, weights by hand, an optimizer left and taken up again."""
    spec = spec_of("xor", n=50, noise=0.1, test=0.2, features="x, y, x*y")
    run = Run(Config.of(layers=[3, 5, 3, 1], optimizer="momentum", batch_size=7), make(spec))
    run.edit("w1.0.2", 0.1 + 0.2)
    run.step(30)
    run.back(10)
    run.change(learning_rate=0.1)
    run.edit("b2.1", -0.25)
    run.step(40)
    run.goto(15, 0)
    run.change(optimizer="adam", learning_rate=0.01)
    run.step(5)
    run.goto(25, 1)
    run.change(optimizer="sgd")
    run.change(optimizer="momentum")
    run.step(9)
    run.goto(12, 0)
    run.change(l2=0.1)
    run.change(l2=0.0)
    run.step(3)
    run.goto(28, 3)
    return run, spec


def test_the_script_makes_the_same_tree_bit_for_bit() -> None:
    run, spec = forked()
    script = script_of(run, spec)
    assert script.startswith("import llm_workings as lw\n")
    names: dict[str, Any] = {"print": lambda *_: None}
    exec(compile(script, "script", "exec"), names)
    again: Run = names["network"].run
    assert again.here == run.here == (3, 28)
    assert again.branches.keys() == run.branches.keys() == {0, 1, 2, 3, 4}
    for branch in run.branches.values():
        other = again.branches[branch.id]
        assert (other.parent, other.start, other.tip) == (branch.parent, branch.start, branch.tip)
        assert other.config == branch.config
        for step in (branch.start, branch.tip):
            mine, theirs = run.state_at(step, branch.id), again.state_at(step, branch.id)
            np.testing.assert_array_equal(theirs.parameters, mine.parameters)
            assert theirs.slots.keys() == mine.slots.keys()
            for name, slot in mine.slots.items():
                np.testing.assert_array_equal(theirs.slots[name], slot)


def test_the_script_of_given_parameters_has_them_in_full() -> None:
    config = Config.of(layers=[2, 16, 1], seed=9)
    given = split(config, initial(config).parameters * 1.1)
    data = lw.dataset("moons", n=40)
    network = lw.Network([2, 16, 1], parameters=given).train(data, steps=7)
    script = script_of(network.run, data.spec)
    names: dict[str, Any] = {"print": lambda *_: None}
    exec(compile(script, "script", "exec"), names)
    np.testing.assert_array_equal(names["network"].run.state.parameters, network.run.state.parameters)


def test_a_table_and_painted_points_are_in_the_script() -> None:
    table = 'height,"weight, kg",kind\n' + "".join(f"{i},{i * i % 7},{'ab'[i % 2]}\n" for i in range(12))
    painted = ((0.0, 1.0, 0), (1.5, -1.0, 1), (2.0, 2.0, 0))
    for spec in (spec_of("csv", csv=table), spec_of("painted", painted=painted)):
        run = Run(Config(), make(spec))
        run.step(3)
        names: dict[str, Any] = {"print": lambda *_: None}
        exec(compile(script_of(run, spec), "script", "exec"), names)
        np.testing.assert_array_equal(names["run"].state.parameters, run.state.parameters)
        assert names["data"].spec == spec


# ---- other hosts ------------------------------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "standalone.js").write_text("draw()", "utf-8")
    return tmp_path


def test_the_file_is_called_after_the_network(small: Recording, bundle: Path) -> None:
    page = export_view(Lab(), "network", {"steps": 3}, {"step": "2"}, bundle=bundle)
    assert "<title>The network visualizer: 2-4-1 on xor_points</title>" in page
    island = re.search(r'id="llm-workings-data">(.*?)</script>', page, re.DOTALL)
    assert island is not None
    data = json.loads(island[1])
    assert data["view"] == "network"
    assert data["state"] == {"step": "2"}
    assert data["left_out"] == ["The equations of other samples than the one followed."]
    assert "A network 2-4-1 (tanh, sigmoid) learns xor_points" in html.unescape(page)
    recorded = export_recording(small, bundle=bundle)
    assert "<title>The network visualizer: 2-5-3-1 on xor</title>" in recorded


def test_a_trained_network_is_shown_with_its_forks() -> None:
    network = lw.Network([2, 4, 1], seed=1).train(lw.dataset("xor_points"), steps=30)
    network.run.goto(10)
    network.run.change(learning_rate=1.0)
    network.run.step(5)
    widget = lw.show(network, frames=9)
    payload = widget.payload
    assert isinstance(payload, Recording)
    assert [branch.label for branch in payload.tree.branches] == ["", "learning_rate 0.3 → 1"]
    np.testing.assert_array_equal(payload.frames[-1].weights[0], network.parameters.weights[0])
    assert widget.state == {}
    assert "run.change(learning_rate=1.0)" in payload.script
    assert repr(widget).startswith("A network 2-4-1")
    again = lw.show("network", config={"layers": [2, 3, 1]}, steps=4)
    assert repr(again).startswith("A network 2-3-1")


def test_data_of_ones_own_are_shown_without_a_script() -> None:
    network = lw.Network([2, 3, 1]).train(make(spec_of("moons", n=30)), steps=5)
    payload = lw.show(network).payload
    assert isinstance(payload, Recording)
    assert payload.script == ""
    assert "The Python that makes this run: its data came from elsewhere." in payload.left_out


def test_a_frame_of_another_architecture_on_the_way_is_drawn_anew() -> None:
    """A leak, or a loss, changed on the way changes the picture of the same parameters."""
    config = Config.of(layers=[2, 4, 1], activations=["leaky_relu", "tanh"], loss="mse")
    run = Run(config, make(spec_of("xor_points")))
    painter = Painter(run)
    run.step(3)
    before = painter.frame()
    run.change(leaky_slope=0.9)
    after = painter.frame()
    np.testing.assert_array_equal(before.weights[0], after.weights[0])
    assert np.abs(before.surface - after.surface).max() > 1e-3
    assert details_of(run, Watched()).step == 3
