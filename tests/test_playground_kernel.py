"""The network's arithmetic against PyTorch's: gradients, optimizers, records, extremes."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from playground_configs import configs
from torch_network import data_loss, forward, optimizer_of, penalty, points, tensors_of

from llm_workings.core.dataset import Dataset
from llm_workings.core.errors import BadInput, TooLarge
from llm_workings.playground.config import Config
from llm_workings.playground.kernel import Kernel, State, aligned
from llm_workings.playground.losses import encode
from llm_workings.playground.optimizers import learning_rate
from llm_workings.playground.order import Order

OPTIMIZERS = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw")


def data_for(config: Config, task: str, n: int = 24, test: int = 0) -> Dataset:
    return points(n, config.layers[0], config.layers[-1], task, seed=config.seed, test=test)


def batch_of(kernel: Kernel, samples: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    data = kernel.data
    index = data.train[samples]
    inputs, targets = data.inputs[index], encode(kernel.config, data)[index]
    return torch.tensor(inputs), torch.tensor(targets, dtype=torch.float64)


# ---- gradients -----------------------------------------------------------------------------------
@settings(max_examples=600, deadline=None)
@given(configs())
def test_gradients_are_autograds(drawn: tuple[Config, str]) -> None:
    config, task = drawn
    kernel = Kernel(config, data_for(config, task))
    record = kernel.record()
    inputs, targets = batch_of(kernel, record.samples)
    leaves = tensors_of(record.before)
    z, a = forward(config, leaves, inputs)
    loss, penalties = data_loss(config, z, a, targets), penalty(config, leaves)
    (loss + penalties).backward()
    theirs = np.concatenate([leaf.grad.numpy().ravel() for leaf in leaves])  # type: ignore[union-attr]
    ours = record.gradient.flat() + record.penalty.flat()
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)
    assert record.loss.data + record.loss.confidence == pytest.approx(loss.item(), rel=1e-10, abs=1e-12)
    assert record.loss.l1 + record.loss.l2 == pytest.approx(penalties.item(), rel=1e-10, abs=1e-12)
    assert record.losses.mean() == pytest.approx(record.loss.data, rel=1e-12, abs=1e-15)
    np.testing.assert_allclose(record.activations[-1], a.detach().numpy(), rtol=1e-11, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(configs())
def test_a_records_parts_make_its_gradient(drawn: tuple[Config, str]) -> None:
    """The mean over samples of a · delta, and delta by the chain rule: what the algebra shows."""
    config, task = drawn
    record = Kernel(config, data_for(config, task)).record()
    n = len(record.samples)
    for layer, delta in enumerate(record.delta):
        expected = record.activations[layer].T @ delta / n
        np.testing.assert_allclose(record.gradient.weights[layer], expected, rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(record.gradient.biases[layer], delta.mean(0), rtol=1e-9, atol=1e-13)
        if layer < len(record.delta) - 1:
            upstream = record.delta[layer + 1] @ record.before.weights[layer + 1].T
            np.testing.assert_allclose(record.upstream[layer], upstream, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(
        record.before.flat() + record.update.flat(), record.after.flat(), rtol=1e-12, atol=1e-12
    )


# ---- optimizers ----------------------------------------------------------------------------------
@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("penalize_bias", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_trajectories_are_torchs(optimizer: str, penalize_bias: bool, clip: float | None) -> None:
    config = Config.of(
        layers=[3, 5, 4, 2],
        activations=["tanh", "gelu", "softmax"],
        loss="cross_entropy",
        optimizer=optimizer,
        learning_rate=0.05,
        batch_size=7,
        l1=0.001,
        l2=0.01,
        penalize_bias=penalize_bias,
        clip=clip,
        seed=3,
    )
    kernel = Kernel(config, data_for(config, "classes", n=30))
    leaves = tensors_of(kernel.split(kernel.parameters))
    theirs = optimizer_of(config, leaves)
    for step in range(50):
        inputs, targets = batch_of(kernel, kernel.order.batch(step))
        theirs.zero_grad()
        (data_loss(config, *forward(config, leaves, inputs), targets) + penalty(config, leaves)).backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(leaves, clip)
        theirs.step()
        kernel.advance(1)
        flat = np.concatenate([leaf.detach().numpy().ravel() for leaf in leaves])
        np.testing.assert_allclose(kernel.parameters, flat, rtol=1e-10, atol=1e-10, err_msg=f"step {step}")
    assert not np.allclose(kernel.parameters, Kernel(config, kernel.data).parameters, atol=1e-3)


@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [
        ("step", lambda o: torch.optim.lr_scheduler.StepLR(o, 10, gamma=0.3)),
        ("exponential", lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.3 ** (1 / 10))),
        ("cosine", lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 10)),
    ],
)
def test_schedules_are_torchs(schedule: str, theirs: object) -> None:
    config = Config.of(schedule=schedule, schedule_every=10, schedule_factor=0.3, learning_rate=0.7)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.7)
    scheduler = theirs(optimizer)  # type: ignore[operator]
    for step in range(11 if schedule == "cosine" else 40):
        assert learning_rate(config, step) == pytest.approx(
            optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-12
        )
        optimizer.step()
        scheduler.step()


def test_a_warm_up_rises_in_equal_steps() -> None:
    config = Config.of(warmup=4, learning_rate=2.0)
    assert [learning_rate(config, step) for step in range(6)] == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]


# ---- records -------------------------------------------------------------------------------------
@settings(max_examples=80, deadline=None)
@given(configs(), st.integers(0, 9))
def test_a_record_is_the_step_that_is_made(drawn: tuple[Config, str], steps: int) -> None:
    config, task = drawn
    kernel = Kernel(config, data_for(config, task))
    kernel.advance(steps)
    before = kernel.state()
    record = kernel.record()
    assert np.array_equal(kernel.state().parameters, before.parameters)
    assert kernel.step == before.step == record.step
    kernel.advance(1)
    if not kernel.diverged:
        assert np.array_equal(record.after.flat(), kernel.parameters)
        for name, slot in kernel.slots.items():
            assert np.array_equal(record.slots_after[name].flat(), slot)
    with pytest.raises(ValueError, match="read-only"):
        record.before.weights[0][0, 0] = 1.0


def test_a_sample_alone_is_a_batch_of_one() -> None:
    config = Config.of(layers=[2, 4, 1], batch_size=1)
    kernel = Kernel(config, data_for(config, "classes", n=8))
    index = int(kernel.data.train[kernel.order.batch(0)[0]])
    for ours, theirs in zip(kernel.sample(index).delta, kernel.record().delta, strict=True):
        assert np.array_equal(ours, theirs)


# ---- the order of the samples --------------------------------------------------------------------
@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 5))
def test_every_epoch_takes_each_sample_once(n: int, batch_size: int, epoch: int) -> None:
    order = Order(n, batch_size, seed=1)
    first = epoch * order.an_epoch
    taken = np.concatenate([order.batch(step) for step in range(first, first + order.an_epoch)])
    assert sorted(taken) == list(range(n))
    again = Order(n, batch_size, seed=1)
    again.batch(9999)
    assert np.array_equal(again.batch(first), order.batch(first))


def test_epochs_and_seeds_shuffle_differently() -> None:
    order = Order(50, 10, seed=1)
    assert not np.array_equal(order.batch(0), order.batch(5))
    assert not np.array_equal(order.batch(0), Order(50, 10, seed=2).batch(0))


def test_batches_are_laid_where_sums_are_the_same() -> None:
    config = Config.of(layers=[3, 2, 1], batch_size=7)
    kernel = Kernel(config, data_for(config, "classes", n=30))
    batches, _ = kernel._block_of(0)
    assert {array.ctypes.data % 64 for pair in batches for array in pair} == {0}
    assert {pair[0].shape[1] for pair in batches} == {7, 2}
    assert aligned(3, 5).ctypes.data % 64 == 0


# ---- extremes ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("loss", "output", "width"), [("cross_entropy", "softmax", 3), ("binary_cross_entropy", "sigmoid", 1)]
)
def test_cross_entropies_stay_finite_at_logits_of_ten_thousand(loss: str, output: str, width: int) -> None:
    config = Config.of(layers=[2, width], activations=[output], loss=loss, confidence_penalty=0.1)
    kernel = Kernel(config, data_for(config, "classes"))
    kernel.start(replace(kernel.state(), parameters=kernel.parameters * 1e5))
    record = kernel.record()
    assert np.abs(record.pre[-1]).max() > 1e4
    assert np.isfinite([record.loss.data, record.loss.confidence]).all()
    assert np.isfinite(record.gradient.flat()).all()
    # Where it is sure and wrong, the loss is the logits' difference.
    z, y = record.pre[-1], record.targets
    if loss == "cross_entropy":
        np.testing.assert_allclose(record.losses[:, 0], z.max(1) - (z * y).sum(1), rtol=1e-12, atol=1e-8)
    else:
        np.testing.assert_allclose(record.losses, np.maximum(0, z * (1 - 2 * y)), rtol=1e-12, atol=1e-8)


def test_it_stops_before_numbers_that_are_not_finite() -> None:
    config = Config.of(layers=[2, 4, 1], activations=["relu", "linear"], loss="mse", learning_rate=1e6)
    kernel = Kernel(config, data_for(config, "classes"))
    made = kernel.advance(10_000)
    assert kernel.diverged
    assert 0 < made < 200
    assert kernel.step == made
    assert np.isfinite(kernel.parameters).all()
    assert not np.isfinite(kernel.record().after.flat()).all()
    assert kernel.advance(5) == 0
    step_by_step = Kernel(config, kernel.data)
    assert [step_by_step.advance(1) for _ in range(made + 1)] == [1] * made + [0]
    assert np.array_equal(step_by_step.parameters, kernel.parameters)


def test_an_interrupt_leaves_a_whole_step(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config.of(layers=[2, 3, 1], optimizer="adam")
    kernel = Kernel(config, data_for(config, "classes"))
    kernel.advance(300)
    whole, calls = kernel.state(), iter(range(10))

    def interrupted(rate: float, step: int) -> None:
        kernel.parameters += 1.0
        if next(calls) == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(kernel, "_update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kernel.advance(50)
    assert kernel.step == whole.step == 300
    assert np.array_equal(kernel.parameters, whole.parameters)
    assert np.array_equal(kernel.slots["m"], whole.slots["m"])


def test_without_a_hidden_layer_the_loss_chooses_the_output() -> None:
    assert Config.of(layers=[2, 1]).activations == ("sigmoid",)
    assert Config.of(layers=[2, 3], loss="cross_entropy").activations == ("softmax",)
    assert Config.of(layers=[2, 1], activations="tanh", loss="mse").activations == ("tanh",)
    assert Config.of(layers=[2, 5, 1], activations="relu", loss="mse").activations == ("relu", "linear")


def test_another_optimizers_memory_is_let_go() -> None:
    config = Config.of(layers=[2, 3, 1], optimizer="adam")
    kernel = Kernel(config, data_for(config, "classes"))
    kernel.advance(10)
    other = Kernel(config.changed(optimizer="momentum"), kernel.data)
    other.start(kernel.state())
    assert other.age == 0
    assert not other.slots["momentum"].any()
    same = Kernel(config.changed(learning_rate=0.9), kernel.data)
    same.start(kernel.state())
    assert same.age == 10
    assert same.slots["m"].any()


# ---- what cannot be ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"layers": [2, 0, 1]}, "one of 0 units"),
        ({"layers": [2]}, "at least an input and an output"),
        ({"layers": [2, 2, 2], "activations": "softmax"}, "softmax stands in a hidden layer"),
        ({"layers": [2, 2, 2], "activations": ["tanh", "softmax"]}, "meant softmax with cross_entropy"),
        ({"layers": [2, 2], "activations": ["tanh"], "loss": "cross_entropy"}, "meant softmax with cross"),
        ({"layers": [2, 1], "activations": ["tanh"], "loss": "cross_entropy"}, "meant sigmoid with binary"),
        ({"activations": ["tanh", "relu"], "loss": "hinge"}, "meant linear with hinge"),
        ({"activations": ["tanh", "tanh", "sigmoid"]}, "3 activations are given for 2 layers"),
        ({"activations": "tahn"}, "Did you mean 'tanh'"),
        ({"learning_rat": 1}, "Did you mean 'learning_rate'"),
        ({"learning_rate": 0}, "greater than 0"),
        ({"batch_size": 0}, "greater than or equal to 1"),
        ({"loss": "mse", "confidence_penalty": 1.0}, "linear is none"),
    ],
)
def test_what_cannot_be_is_refused_with_what_was_meant(settings: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Config.of(settings)


@pytest.mark.parametrize("layers", [[2, 10_000, 1], [2] * 14, [256] * 5])
def test_too_large_a_network_is_refused_with_the_limit(layers: list[int]) -> None:
    with pytest.raises(TooLarge, match="limit is"):
        Config.of(layers=layers)


@pytest.mark.parametrize(
    ("settings", "task", "outputs", "said"),
    [
        ({"layers": [3, 1], "activations": ["sigmoid"]}, "classes", 1, "reads 3 inputs; random gives 2"),
        ({"layers": [2, 1], "activations": ["sigmoid"]}, "classes", 4, "4 units, with softmax"),
        ({"layers": [2, 1], "activations": ["sigmoid"]}, "regression", 1, "loss .* is for classes"),
        ({"layers": [2, 2], "activations": ["linear"], "loss": "mse"}, "regression", 1, "have 1 unit"),
    ],
)
def test_network_and_data_that_do_not_fit(
    settings: dict[str, object], task: str, outputs: int, said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        Kernel(Config.of(settings), points(20, 2, outputs, task, seed=0))


def test_a_state_cannot_be_written() -> None:
    kernel = Kernel(Config.of(layers=[2, 1], activations=["sigmoid"]), points(8, 2, 1, "classes", seed=0))
    state: State = kernel.state()
    with pytest.raises(ValueError, match="read-only"):
        state.parameters[0] = 1.0
    kernel.advance(1)
    assert not np.array_equal(state.parameters, kernel.parameters)


def test_numbers_do_not_depend_on_where_they_lie() -> None:
    """Two kernels, made with other things in memory between, take the same steps to the last bit."""
    config = Config.of(layers=[3, 17, 5, 1], batch_size=13, optimizer="adam")
    data = data_for(config, "classes", n=101)
    first = Kernel(config, data)
    first.advance(300)
    for size in (1, 3, 7, 33):
        between = [np.empty(size + os.getpid() % 7) for _ in range(size)]
        again = Kernel(config, data)
        again.advance(300)
        assert np.array_equal(again.parameters, first.parameters)
        del between
