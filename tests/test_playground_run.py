"""The tree of a training: any step by any way gives the same bits; what is changed forks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playground_configs import configs
from torch_network import points

from llm_workings.core.dataset import Dataset
from llm_workings.core.errors import BadInput, Cancelled, NotReady, UnknownName
from llm_workings.core.progress import Progress
from llm_workings.playground.config import Config
from llm_workings.playground.kernel import Kernel
from llm_workings.playground.network import Network
from llm_workings.playground.run import CURVE, KEPT, Run
from llm_workings.playground.surface import Ground

XOR = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


def xor() -> Dataset:
    names = ("x", "y")
    targets, nothing = np.array([0, 1, 1, 0]), np.arange(0)
    return Dataset(
        "XOR", XOR, XOR, targets, "classes", ("0", "1"), np.arange(4), nothing, names, names, (-0.5, 1.5)
    )


def random_points(n: int = 60, test: int = 20) -> Dataset:
    return points(n, 2, 1, "classes", seed=0, test=test)


def bits(run: Run) -> bytes:
    state = run.state
    return state.parameters.tobytes() + b"".join(slot.tobytes() for slot in state.slots.values())


# ---- going -----------------------------------------------------------------------------------------
@settings(max_examples=25, deadline=None)
@given(configs(), st.lists(st.integers(0, 400), min_size=1, max_size=6))
def test_a_step_is_the_same_by_any_way(drawn: tuple[Config, str], ways: list[int]) -> None:
    config, task = drawn
    data = points(24, config.layers[0], config.layers[-1], task, seed=1)
    run, straight = Run(config, data), Kernel(config, data)
    made = run.step(400)
    for step in ways:
        step = min(step, made)
        run.goto(step)
        straight.start(Run(config, data).state)
        straight.advance(step)
        assert run.here == (0, step)
        assert bits(run) == straight.parameters.tobytes() + b"".join(
            slot.tobytes() for slot in straight.slots.values()
        )


def test_few_states_are_kept_of_many_steps_and_each_is_found_again() -> None:
    run = Run(Config.of(optimizer="adam", learning_rate=0.01), xor())
    seen = {}
    for _ in range(40):
        run.step(5_000)
        seen[run.step_now] = bits(run)
    branch = run.branches[0]
    assert run.step_now == branch.tip == 200_000
    assert len(branch.states) <= KEPT
    assert len(branch.curve) <= CURVE
    assert set(branch.steps) == set(branch.states)
    for step in (5_000, 195_000, 60_000, 200_000, 10_000):
        run.goto(step)
        assert bits(run) == seen[step]
    run.goto(77_777)
    run.step(100_000 - 77_777)
    assert bits(run) == seen[100_000]


def test_back_stops_at_the_first_step_and_beyond_the_tip_is_refused() -> None:
    run = Run(Config.of(), xor())
    first = bits(run)
    run.step(10)
    run.back(3)
    assert run.here == (0, 7)
    run.back(100)
    assert run.here == (0, 0)
    assert bits(run) == first
    with pytest.raises(BadInput, match="has the steps 0 to 10; 11 is not"):
        run.goto(11)
    with pytest.raises(BadInput, match="-1 steps cannot be made"):
        run.step(-1)
    with pytest.raises(UnknownName, match="branch '7'"):
        run.goto(0, branch=7)
    assert run.here == (0, 0)


# ---- forking ---------------------------------------------------------------------------------------
def test_a_change_forks_and_leaves_what_was_made() -> None:
    run = Run(Config.of(learning_rate=0.3), xor())
    run.step(100)
    end = bits(run)
    run.goto(40)
    shared = bits(run)
    assert run.change(learning_rate=0.05) == 1
    assert run.here == (1, 40)
    assert run.branches[1].label == "learning_rate 0.3 → 0.05"
    assert (run.branches[1].parent, run.branches[1].start) == (0, 40)
    assert bits(run) == shared
    run.step(60)
    assert bits(run) != end
    run.goto(100, branch=0)
    assert bits(run) == end
    run.goto(20, branch=1)  # before the fork: the line it came from
    assert run.config.learning_rate == 0.3
    run.step(30)
    assert run.here == (1, 50)
    assert run.config.learning_rate == 0.05
    straight = Kernel(Config.of(learning_rate=0.3), xor())
    straight.advance(40)
    slow = Kernel(Config.of(learning_rate=0.05), xor())
    slow.start(straight.state())
    slow.advance(10)
    assert bits(run) == slow.parameters.tobytes()


def test_a_change_before_anything_is_made_changes_in_place() -> None:
    run = Run(Config.of(), xor())
    assert run.change(learning_rate=0.1) == 0
    assert run.change(l2=0.01) == 0
    assert (run.branches[0].label, run.branches[0].config.l2) == ("", 0.01)
    run.step(5)
    assert run.change(l2=0.0) == 1
    assert run.change(l2=0.5, batch_size=2) == 1
    assert run.branches[1].label == "batch_size 4 → 2; l2 0.01 → 0.5"
    assert run.change() == 1


def test_a_weight_set_by_hand_forks() -> None:
    run = Run(Config.of(), xor())
    run.step(10)
    before = run.parameters
    run.edit("w1.1.2", 3.5)
    assert run.here == (1, 10)
    after = run.parameters
    assert after.weights[0][1, 2] == 3.5
    assert (after.flat() != before.flat()).sum() == 1
    run.edit("b2.0", -1.0)
    assert run.branches[1].label == "w1.1.2 = 3.5; b2.0 = -1"
    assert run.parameters.biases[1][0] == -1.0
    assert run.parameters.weights[0][1, 2] == 3.5
    run.goto(10, branch=0)
    assert np.array_equal(run.parameters.flat(), before.flat())


@pytest.mark.parametrize("place", ["w1.2.0", "w3.0.0", "w0.0.0", "b1.4", "u1.0", "w1.0", "x", ""])
def test_a_place_that_is_no_parameter(place: str) -> None:
    run = Run(Config.of(), xor())
    with pytest.raises(BadInput, match="is no parameter of the network 2-4-1"):
        run.edit(place, 1.0)
    with pytest.raises(BadInput, match="cannot be nan"):
        run.edit("w1.0.0", float("nan"))


def test_what_belongs_to_the_beginning_cannot_change_on_the_way() -> None:
    run = Run(Config.of(), xor())
    run.step(3)
    with pytest.raises(BadInput, match="layers, seed belongs to the beginning"):
        run.change(layers=[2, 3, 1], seed=4)
    with pytest.raises(BadInput, match="does not go with the loss"):
        run.change(loss="cross_entropy")
    with pytest.raises(BadInput, match="Did you mean 'learning_rate'"):
        run.change(learning_rates=1)
    assert run.here == (0, 3)
    assert list(run.branches) == [0]


# ---- stopping --------------------------------------------------------------------------------------
def test_a_diverged_training_stops_with_its_history_whole() -> None:
    run = Run(Config.of(activations=["relu", "linear"], loss="mse", learning_rate=1e6), xor())
    made = run.step(10_000)
    assert 0 < made < 500
    assert run.branches[0].diverged
    assert run.here == (0, made)
    assert run.step(10) == 0
    assert np.isfinite(run.state.parameters).all()
    assert made in run.branches[0].curve
    run.goto(1)
    run.change(learning_rate=0.1)
    assert run.step(500) == 500


def test_cancelled_training_keeps_what_was_made() -> None:
    run = Run(Config.of(), xor())
    asked = iter([False] * 5 + [True] * 100)
    with pytest.raises(Cancelled):
        run.step(1_000_000, Progress(cancelled=lambda: next(asked)))
    assert 0 < run.step_now == run.tip < 1_000_000
    straight = Kernel(run.config, xor())
    straight.advance(run.step_now)
    assert bits(run) == straight.parameters.tobytes()


# ---- looking ---------------------------------------------------------------------------------------
def test_records_and_histories_agree_with_the_training() -> None:
    run = Run(Config.of(l2=0.01), xor())
    run.step(120)
    run.goto(60)
    run.change(l2=0.0)
    run.step(60)
    record = run.record(30)
    assert record.step == 30
    assert record.config.l2 == 0.01
    assert run.here == (1, 120)
    steps, weights = run.history("w1.0.3")
    assert steps[0] == 0
    assert steps[-1] == 120
    assert (np.diff(steps) > 0).all()
    assert weights[list(steps).index(30)] == record.before.weights[0][0, 3]
    steps, gradients = run.history("w1.0.3", "gradient")
    expected = record.gradient.weights[0][0, 3] + record.penalty.weights[0][0, 3]
    assert gradients[list(steps).index(30)] == pytest.approx(expected, rel=1e-12)
    steps, outputs = run.history("u2.0", "activation", sample=1)
    answer = Network([2, 4, 1], parameters=record.before).train(xor(), 0).predict(XOR[1])[0, 0]
    assert outputs[list(steps).index(30)] == pytest.approx(answer, rel=1e-12)
    with pytest.raises(BadInput, match="is no unit"):
        run.history("u3.0", "activation")


def test_curves_tell_train_and_test_apart() -> None:
    run = Run(Config.of(batch_size=10), random_points())
    run.step(200)
    steps, curves = run.branches[0].curves()
    kernel = Kernel(run.config, run.data)
    kernel.advance(int(steps[50]))
    assert curves["train"][50] == kernel.measure()["train"]
    assert curves["test"][50] == kernel.measure()["test"] != curves["train"][50]
    run.step(100_000)
    run.step(77)
    steps, curves = run.curves(0)  # also where few points are kept, the end is the tip's own
    assert run.branches[0].curve_stride > 77
    assert (steps[-1], run.branches[0].tip) == (100_277, 100_277)
    assert {name: values[-1] for name, values in curves.items() if values[-1] == values[-1]} == {
        name: value for name, value in run.measure().items() if value == value
    }
    end = curves["train"][-1]
    run.goto(1000)
    run.change(learning_rate=0.01)
    assert run.curves(0)[1]["train"][-1] == end
    _, a = kernel.outputs()
    right = (a[0] > 0.5) == run.data.targets
    assert kernel.measure()["test_accuracy"] == right[run.data.test].mean()


@pytest.mark.parametrize(("task", "outputs"), [("classes", 1), ("classes", 3), ("regression", 1)])
def test_the_surface_is_the_networks_own_answer(task: str, outputs: int) -> None:
    drawn = points(30, 2, outputs, task, seed=0)
    data = Dataset(
        **{**vars(drawn), "domain": (-2.0, 2.0), "features": ("x", "y"), "coordinates": ("x", "y")}
    )
    names = {"loss": "mse", "activations": ["tanh", "linear"]} if task == "regression" else {}
    if outputs > 1:
        names = {"loss": "cross_entropy", "activations": ["tanh", "softmax"]}
    network = Network([2, 5, outputs], **names).train(data, 50)
    ground = Ground(network.config, data)
    drawn_surface = ground.draw(network.run.state.parameters)
    along = np.linspace(-2, 2, 100)
    for row, column in ((0, 0), (99, 0), (13, 71)):
        answer = network.predict([along[column], along[row]])[0]
        assert drawn_surface.value[row, column] == pytest.approx(answer.max(), rel=1e-12)
        if task == "classes":
            decided = network.decide([along[column], along[row]])[0]
            assert data.classes[drawn_surface.winner[row, column]] == decided
    assert drawn_surface.maps.shape == (2 + 5 + outputs, 25, 25)
    x, y = (
        drawn_surface.maps[0] * drawn_surface.scale[0] / 127,
        drawn_surface.maps[1] * drawn_surface.scale[1] / 127,
    )
    np.testing.assert_allclose(x[0], along[::4], atol=0.01)
    np.testing.assert_allclose(y[:, 0], along[::4], atol=0.01)


# ---- the door --------------------------------------------------------------------------------------
def test_a_network_learns_xor_and_says_so() -> None:
    network = Network([2, 4, 1], seed=1)
    assert repr(network) == "Network(2-4-1, untrained)"
    with pytest.raises(NotReady, match="seen no data"):
        network.parameters  # noqa: B018
    with pytest.raises(BadInput, match="nothing to learn from"):
        network.train()
    network.train(xor(), steps=2000)
    assert network.decide(XOR) == ["0", "1", "1", "0"]
    assert "step 2000" in repr(network)
    assert "accuracy 1" in repr(network)
    record = network.step()
    assert (record.step, network.run.step_now) == (2000, 2001)
    assert np.array_equal(record.after.flat(), network.parameters.flat())
    with pytest.raises(BadInput, match="is learning from XOR"):
        network.train(random_points())
    with pytest.raises(BadInput, match=r"shape \(1, 3\)"):
        network.predict([1, 2, 3])


def test_given_parameters_begin_it_and_must_fit() -> None:
    first = Network([2, 4, 1], seed=5).train(xor(), 10).parameters
    again = Network([2, 4, 1], parameters=first).train(xor(), 0)
    assert np.array_equal(again.parameters.flat(), first.flat())
    with pytest.raises(BadInput, match=r"2-3-1 needs \[\(2, 3\), \(3, 1\)\]"):
        Network([2, 3, 1], parameters=first).train(xor())
