"""Networks trained together against the kernel that trains one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_workings.core.dataset import Dataset
from llm_workings.core.errors import BadInput, Cancelled, TooLarge
from llm_workings.core.progress import Progress
from llm_workings.playground import many
from llm_workings.playground.config import Config
from llm_workings.playground.kernel import Kernel, State, initial
from llm_workings.playground.sweep import CURVE, SWEPT, Sweep

STEPS = 50
# Two values of each. No round ones: a bias moved by ±rate at a time would come to lie exactly on a target,
# where the sign of an absolute error is a matter of rounding.
VALUES = {
    "learning_rate": (0.01131, 0.04717),
    "l1": (0.0, 0.01),
    "l2": (0.02, 0.0),
    "seed": (3, 8),
    "momentum": (0.0, 0.8),
    "decay": (0.9, 0.99),
    "beta1": (0.8, 0.9),
    "epsilon": (1e-4, 1e-2),
    "weight_decay": (0.0, 0.1),
    "warmup": (0, 20),
    "schedule_every": (7, 30),
    "schedule_factor": (0.5, 0.9),
    "clip": (0.1, 10.0),
    "confidence_penalty": (0.0, 0.2),
    "init_scale": (0.3, 0.6),
    "bias_init": (0.01713, 0.1137),
    "huber_delta": (0.1, 1.0),
    "leaky_slope": (0.01, 0.2),
}
HIDDEN = ("linear", "relu", "leaky_relu", "tanh", "sigmoid", "softplus", "gelu", "silu", "sine")
ENDS = (
    ("mse", "linear"),
    ("mse", "softmax"),
    ("mse", "tanh"),
    ("mae", "linear"),
    ("huber", "sigmoid"),
    ("binary_cross_entropy", "sigmoid"),
    ("cross_entropy", "softmax"),
    ("hinge", "linear"),
    ("hinge", "tanh"),
)


def points(classes: int = 2, n: int = 23, held_back: int = 6, features: int = 2) -> Dataset:
    draw = np.random.default_rng(classes)
    inputs = draw.normal(size=(n, features))
    targets = draw.integers(0, classes, n)
    order = draw.permutation(n)
    names = tuple(f"x{i}" for i in range(features))
    return Dataset(
        name="points",
        points=inputs,
        inputs=inputs.copy(),
        targets=targets,
        task="classes",
        classes=tuple(f"class {i}" for i in range(classes)),
        train=order[held_back:],
        test=order[:held_back],
        coordinates=names,
        features=names,
        domain=(-3.0, 3.0) if features < 3 else None,
    )


def assert_each_is_its_kernel(sweep: Sweep, steps: int = STEPS) -> None:
    """Every network agrees with a kernel of its config to 1e-9 after `steps` updates.

    Where the training itself magnifies rounding by as much (a nudge of 1e-13 to the first weights grows past
    1e-9), it is only asked that each update agrees, made from the same state.
    """
    cells = [(r, c) for r in range(sweep.shape[0]) for c in range(sweep.shape[1])]
    kernels = {(r, c): Kernel(sweep.configs[r][c], sweep.data) for r, c in cells}
    chaotic = {cell: magnifies(kernel, steps) for cell, kernel in kernels.items()}
    for _ in range(steps if any(chaotic.values()) else 0):
        before = {cell: sweep.state(*cell) for cell in cells}
        sweep.advance(1)
        for cell, kernel in kernels.items():
            if chaotic[cell] and sweep.diverged[cell] < 0:
                kernel.start(before[cell])
                assert kernel.advance(1) == 1
                assert_same(sweep.state(*cell), kernel)
    sweep.advance(steps - sweep.step)
    measured = sweep.measure()
    for cell, kernel in kernels.items():
        if not chaotic[cell]:
            kernel.start(initial(kernel.config))
            made = kernel.advance(steps)
            assert sweep.diverged[cell] == (made if kernel.diverged else -1)
            if not kernel.diverged:
                assert_same(sweep.state(*cell), kernel)
                for name, value in kernel.measure().items():
                    if hasattr(measured, name):
                        assert getattr(measured, name)[cell] == pytest.approx(value, 1e-9, 1e-9, nan_ok=True)


def assert_same(state: State, kernel: Kernel) -> None:
    np.testing.assert_allclose(state.parameters, kernel.parameters, rtol=1e-9, atol=1e-9)
    assert state.slots.keys() == kernel.slots.keys()
    for name, slot in kernel.slots.items():
        np.testing.assert_allclose(state.slots[name], slot, rtol=1e-9, atol=1e-9)


def magnifies(kernel: Kernel, steps: int) -> bool:
    first, found = initial(kernel.config), []
    for nudge in (0.0, 1e-13):
        kernel.start(replace(first, parameters=first.parameters * (1 + nudge)))
        found.append((kernel.advance(steps), kernel.parameters.copy()))
    (made, one), (also_made, other) = found
    return made != also_made or not np.allclose(one, other, rtol=1e-9, atol=1e-9)


@st.composite
def sweeps(draw: st.DrawFn) -> tuple[Config, int, str, str]:
    loss, output = draw(st.sampled_from(ENDS))
    classes = draw(st.sampled_from((2, 3)))
    width = classes if output == "softmax" or classes == 3 else 1
    hidden = draw(st.lists(st.tuples(st.integers(1, 5), st.sampled_from(HIDDEN)), max_size=3))
    config = Config.of(
        layers=(2, *(size for size, _ in hidden), width),
        activations=[*(name for _, name in hidden), output],
        loss=loss,
        optimizer=draw(st.sampled_from(("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"))),
        schedule=draw(st.sampled_from(("constant", "step", "exponential", "cosine"))),
        schedule_every=60,
        warmup=draw(st.sampled_from((0, 10))),
        init=draw(st.sampled_from(("xavier", "he", "lecun", "uniform"))),
        learning_rate=0.02131,
        bias_init=0.01713,
        epsilon=1e-3,
        batch_size=draw(st.sampled_from((1, 4, 100))),
        l1=draw(st.sampled_from((0.0, 0.01))),
        l2=draw(st.sampled_from((0.0, 0.01))),
        penalize_bias=draw(st.booleans()),
        confidence_penalty=0.1 if output in ("sigmoid", "softmax") and draw(st.booleans()) else 0.0,
        clip=draw(st.sampled_from((None, 0.5))),
        seed=draw(st.integers(0, 99)),
    )
    can = [name for name, (setting, values) in SWEPT.items() if _means_something(config, setting, values)]
    if output not in ("sigmoid", "softmax"):
        can.remove("confidence_penalty")
    first, second = draw(st.lists(st.sampled_from(can), min_size=2, max_size=2, unique=True))
    return config, classes, first, second


def _means_something(config: Config, setting: str, values: tuple[str, ...]) -> bool:
    if not setting:
        return True
    has = getattr(config, setting)
    return bool(set(values) & ({has} if isinstance(has, str) else set(has)))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sweeps())
def test_each_network_learns_as_it_would_alone(drawn: tuple[Config, int, str, str]) -> None:
    config, classes, first, second = drawn
    assert_each_is_its_kernel(
        Sweep(config, points(classes), (first, VALUES[first]), (second, VALUES[second]))
    )


@pytest.mark.parametrize("name", SWEPT)
def test_every_setting_that_can_be_swept_makes_networks_that_differ(name: str) -> None:
    config = Config.of(
        layers=(2, 3, 2, 1),
        activations=["leaky_relu", "tanh", "sigmoid"],
        loss="huber" if name == "huber_delta" else "binary_cross_entropy",
        optimizer={"momentum": "nesterov", "decay": "rmsprop"}.get(name, "adamw"),
        schedule="step",
        schedule_every=20,
        init="uniform",
        learning_rate=0.02,
        epsilon=1e-3,
        batch_size=5,
    )
    sweep = Sweep(config, points(), (name, VALUES[name]))
    assert_each_is_its_kernel(sweep)
    assert not np.allclose(sweep.state(0).parameters, sweep.state(1).parameters, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("seeds", [(1,), (1, 2, 1)])
def test_many_features_and_a_hidden_layer_wider_than_one_piece(seeds: tuple[int, ...]) -> None:
    config = Config.of(
        layers=(40, 16, 3), activations="relu", loss="cross_entropy", learning_rate=0.01, batch_size=7
    )
    data = points(classes=3, n=61, features=40)
    assert_each_is_its_kernel(Sweep(config, data, ("seed", seeds), ("learning_rate", (0.01, 0.02))), 30)


def test_values_are_learnt_too() -> None:
    draw = np.random.default_rng(1)
    inputs = draw.uniform(-1, 1, (30, 1))
    data = Dataset(
        name="wave",
        points=inputs,
        inputs=inputs.copy(),
        targets=np.sin(3 * inputs),
        task="regression",
        classes=(),
        train=np.arange(30),
        test=np.arange(0),
        coordinates=("x",),
        features=("x",),
        domain=(-1.0, 1.0),
    )
    sweep = Sweep(Config.of(layers=(1, 5, 1), loss="mse"), data, ("learning_rate", (0.01, 0.1)))
    assert_each_is_its_kernel(sweep)
    measured = sweep.measure()
    assert np.isnan(measured.test).all()
    assert np.isnan(measured.train_accuracy).all()
    assert sweep.surfaces().shape == (2, 1, 1, 100)


def test_in_one_go_or_in_pieces_is_the_same_bit_for_bit() -> None:
    config = Config.of(batch_size=3, optimizer="adam", learning_rate=0.01)
    for axis in (("learning_rate", (0.01, 0.1)), ("seed", (0, 1))):
        whole, pieces = (Sweep(config, points(), axis) for _ in range(2))
        whole.advance(300)
        for n in (1, 7, 92, 200):
            pieces.advance(n)
        np.testing.assert_array_equal(whole.state(1).parameters, pieces.state(1).parameters)


@pytest.mark.parametrize("name", ["learning_rate", "seed"])
def test_a_network_that_diverges_is_nan_and_leaves_the_others_as_they_are(name: str) -> None:
    """The third of each row explodes; the others are what they are without it."""
    config = Config.of(layers=(2, 4, 1), activations="relu", loss="mse", batch_size=5, learning_rate=0.01)
    rates = (0.01, 0.02, 1e6)
    data = points()
    if name == "seed":
        sweep = Sweep(config, data, ("seed", (0, 1)), ("learning_rate", rates))
        calm = Sweep(config, data, ("seed", (0, 1)), ("learning_rate", rates[:2]))
    else:
        sweep = Sweep(config, data, ("l2", (0.0, 0.01)), ("learning_rate", rates))
        calm = Sweep(config, data, ("l2", (0.0, 0.01)), ("learning_rate", rates[:2]))
    sweep.advance(40)
    sweep.advance(300)
    calm.advance(340)
    for row in range(2):
        kernel = Kernel(sweep.configs[row][2], data)
        kernel.advance(340)
        assert kernel.diverged
        assert sweep.diverged[row].tolist() == [-1, -1, kernel.step]
        for column in range(2):
            np.testing.assert_allclose(
                sweep.state(row, column).parameters, calm.state(row, column).parameters, rtol=1e-12
            )
    measured = sweep.measure()
    for part in (measured.train, measured.test, measured.train_accuracy, measured.test_accuracy):
        assert np.isnan(part).tolist() == [[False, False, True]] * 2
    assert np.isnan(sweep.surfaces(5)[:, 2]).all()
    assert np.isfinite(sweep.surfaces(5)[:, :2]).all()
    _, curves = sweep.curves()
    assert np.isfinite(curves[:, :2]).all()
    assert np.isnan(curves[:, 2, -1]).all()


def test_the_surface_is_what_the_kernel_answers_there() -> None:
    sweep = Sweep(Config.of(layers=(2, 3, 1)), points(), ("seed", (4, 5)), ("l2", (0.0, 0.1, 0.2)))
    sweep.advance(10)
    picture = sweep.surfaces(7)
    assert picture.shape == (2, 3, 7, 7)
    w, b = sweep.parameters(1, 2).weights, sweep.parameters(1, 2).biases
    point = np.array([-3.0 + 6.0 * 2 / 6, -3.0 + 6.0 * 5 / 6])  # x of column 2, y of row 5
    z = np.tanh(point @ w[0] + b[0]) @ w[1] + b[1]
    assert picture[1, 2, 5, 2] == pytest.approx(1 / (1 + np.exp(-z[0])), abs=1e-12)


def test_curves_begin_with_the_first_weights_and_are_thinned() -> None:
    data = points(n=8, held_back=0)
    sweep = Sweep(Config.of(batch_size=8, learning_rate=0.01), data, ("seed", (0, 1)))
    sweep.advance(20 * CURVE * 3)
    steps, curves = sweep.curves()
    assert steps[0] == 0
    assert CURVE / 2 <= len(steps) <= CURVE
    assert len(set(np.diff(steps).tolist())) == 1
    assert steps[-1] > sweep.step - 2 * (steps[1] - steps[0])
    assert curves.shape == (2, 1, len(steps))
    kernel = Kernel(sweep.configs[1][0], data)
    kernel.advance(int(steps[5]))
    assert curves[1, 0, 5] == pytest.approx(kernel.measure()["train"], rel=1e-9)


def test_the_user_can_stop_it_and_go_on() -> None:
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 3

    config, axis = Config.of(batch_size=4), ("learning_rate", (0.01, 0.1))
    stopped, whole = (Sweep(config, points(), axis) for _ in range(2))
    with pytest.raises(Cancelled):
        stopped.advance(100_000, Progress(cancelled=cancelled))
    assert 0 < stopped.step < 100_000
    stopped.advance(7)
    whole.advance(stopped.step)
    np.testing.assert_array_equal(stopped.state(0).parameters, whole.state(0).parameters)


def test_an_interrupt_leaves_all_networks_at_a_whole_step(monkeypatch: pytest.MonkeyPatch) -> None:
    config, axis = Config.of(batch_size=4, optimizer="adam"), ("learning_rate", (0.01, 0.1))
    stopped, whole = (Sweep(config, points(), axis) for _ in range(2))
    stopped.advance(60)
    made: list[int] = []
    clean = many.learning_rate

    def interrupted(config: Config, step: int) -> float:
        made.append(step)
        if len(made) > 10:
            raise KeyboardInterrupt
        return clean(config, step)

    monkeypatch.setattr(many, "learning_rate", interrupted)
    monkeypatch.setattr(stopped._many._rates, "_constant", False)
    with pytest.raises(KeyboardInterrupt):
        stopped.advance(15)
    assert stopped.step == 60
    monkeypatch.undo()
    stopped.advance(15)
    whole.advance(75)
    np.testing.assert_array_equal(stopped.state(1).parameters, whole.state(1).parameters)


def test_progress_counts_up_to_the_end() -> None:
    heard: list[tuple[str, int, int]] = []
    sweep = Sweep(Config.of(), points(), ("l1", (0.0, 0.1)))
    sweep.advance(100, Progress(lambda *said: heard.append(said)))
    assert heard[0] == ("training 2 networks", 0, 100)
    assert [done for _, done, _ in heard] == sorted({done for _, done, _ in heard})


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ((("layers", (4, 8)),), "Networks that differ in layers cannot be trained together."),
        ((("optimizer", (1,)),), "These can be swept: learning_rate, l1, l2, seed"),
        ((("learning_rat", (1,)),), "Did you mean 'learning_rate'?"),
        (
            (("momentum", (0.5, 0.9)),),
            "means nothing with optimizer sgd. Set optimizer to momentum or nesterov",
        ),
        ((("leaky_slope", (0.5,)),), "means nothing with activations tanh, sigmoid"),
        ((("l2", ()),), "The sweep over l2 has no values."),
        ((("l2", (0.1,)), ("l2", (0.2,))), "Rows and columns both sweep l2."),
        ((("learning_rate", (0.1, -1.0)),), "learning_rate = -1.0"),
        ((("seed", (0.5,)),), "seed = 0.5"),
    ],
)
def test_what_cannot_be_swept_is_said(axes: tuple, said: str) -> None:
    with pytest.raises(BadInput) as error:
        Sweep(Config.of(), points(), *axes)
    assert said in str(error.value)


def test_too_many_networks_and_too_large_ones_are_refused_with_the_limit() -> None:
    with pytest.raises(TooLarge, match="17 x 16 networks are 272; the limit is 256"):
        Sweep(Config.of(), points(), ("seed", range(17)), ("l2", np.linspace(0, 1, 16)))
    with pytest.raises(TooLarge, match="Give at most 29 networks"):
        Sweep(Config.of(layers=(2, 256, 256, 1)), points(), ("seed", range(256)))
