"""Parameters as JSON and as PyTorch modules, there and back; a plain word for what cannot be."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_workings.core.dataset import Dataset
from llm_workings.core.errors import BadFile, BadInput, BadShape, NotSupported
from llm_workings.playground.config import Config
from llm_workings.playground.kernel import Reader, initial, split
from llm_workings.playground.parameters_file import parameters_json, read_parameters_json
from llm_workings.playground.record import Parameters
from llm_workings.playground.run import Run
from llm_workings.playground.torch_module import from_torch, to_torch


def corners() -> Dataset:
    points = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    return Dataset(
        name="corners",
        points=points,
        inputs=points.copy(),
        targets=np.array([0, 1, 1, 0]),
        task="classes",
        classes=("same", "different"),
        train=np.arange(4),
        test=np.arange(0),
        coordinates=("x", "y"),
        features=("x", "y"),
        domain=(0.0, 1.0),
    )


# --- parameters as JSON --------------------------------------------------------------------------
@settings(max_examples=50, deadline=None)
@given(layers=st.lists(st.integers(1, 5), min_size=2, max_size=4), seed=st.integers(0, 999))
def test_parameters_come_back_from_json_to_the_last_bit(layers: list[int], seed: int) -> None:
    config = Config.of(
        layers=layers, activations=["tanh"] * (len(layers) - 1), loss="mse", seed=seed, init="he"
    )
    parameters = split(config, initial(config).parameters)
    text = parameters_json(config, parameters)
    np.testing.assert_array_equal(read_parameters_json(text, config).flat(), parameters.flat())
    said = json.loads(text)
    assert said["layers"] == layers
    assert said["weights"][0][0] == parameters.weights[0][0].tolist()


def test_json_that_a_run_begins_from() -> None:
    config = Config.of(layers=(2, 2, 1))
    text = '{"weights": [[[1, 2], [3, 4]], [[5], [6]]], "biases": [[0, 0.5], [-1]]}'
    run = Run(config, corners(), read_parameters_json(text, config))
    assert run.state.parameters.tolist() == [1, 2, 3, 4, 0, 0.5, 5, 6, -1]


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("weights: 1", BadFile, "are no JSON"),
        ("[" * 100_000, BadFile, "are no JSON"),
        ("[1, 2]", BadFile, 'no JSON object with "weights" and "biases"'),
        ('{"weights": [[[1]]]}', BadFile, 'have no "biases"'),
        ('{"weights": [], "biases": []}', BadFile, 'have no "weights"'),
        ('{"weights": [[1, 2]], "biases": [[1]]}', BadFile, "weights[0] is no list of rows of numbers"),
        (
            '{"weights": [[[1, 2], [3]]], "biases": [[1, 2]]}',
            BadFile,
            "weights[0][1] has 1 numbers; weights[0][0]",
        ),
        ('{"weights": [[[1], ["a"]]], "biases": [[1]]}', BadFile, 'weights[0][1][0] is "a", and no finite'),
        ('{"weights": [[[1], [true]]], "biases": [[1]]}', BadFile, "weights[0][1][0] is true"),
        ('{"weights": [[[1], [NaN]]], "biases": [[1]]}', BadFile, "weights[0][1][0] is NaN"),
        ('{"weights": [[[1], [1e999]]], "biases": [[1]]}', BadFile, "weights[0][1][0] is Infinity"),
        ('{"weights": [[[1], [1' + "0" * 400 + ']]], "biases": [[1]]}', BadFile, "weights[0][1][0] is 1000"),
        ('{"weights": [[[1]]], "biases": [[1], [2]]}', BadShape, "weights of 1 layers and biases of 2"),
        ('{"weights": [[[1, 2]]], "biases": [[1]]}', BadShape, "leads into 2 units, which have 1 biases"),
        ('{"weights": [[[1, 2]], [[1]]], "biases": [[1, 2], [1]]}', BadShape, "into 2 units, and weights[1]"),
        ('{"weights": [[[1]]], "biases": [[1]]}', BadShape, "of a network 1-1; this one is 2-4-1"),
    ],
)
def test_json_that_is_no_parameters_is_said(text: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind) as error:
        read_parameters_json(text, Config.of())
    assert said in str(error.value)


# --- PyTorch -------------------------------------------------------------------------------------
HIDDEN = ("linear", "relu", "leaky_relu", "tanh", "sigmoid", "softplus", "gelu", "silu", "sine")


@settings(max_examples=40, deadline=None)
@given(
    hidden=st.lists(st.tuples(st.integers(1, 5), st.sampled_from(HIDDEN)), max_size=3),
    output=st.sampled_from((*HIDDEN, "softmax")),
    slope=st.sampled_from((0.01, 0.3)),
    seed=st.integers(0, 999),
)
def test_a_torch_module_answers_alike_and_leads_back(
    hidden: list[tuple[int, str]], output: str, slope: float, seed: int
) -> None:
    import torch

    config = Config.of(
        layers=[3, *(size for size, _ in hidden), 2],
        activations=[*(name for _, name in hidden), output],
        loss="mse",
        leaky_slope=slope,
        init="he",
        bias_init=0.3,
        seed=seed,
    )
    parameters = split(config, initial(config).parameters)
    module = to_torch(config, parameters)
    inputs = np.random.default_rng(seed).normal(size=(20, 3)) * 30  # far out, where softplus is torch's own
    wanted = Reader(config, inputs).read(parameters.flat())[-1].T
    with torch.no_grad():
        answered = module(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(answered, wanted, rtol=1e-12, atol=1e-12)
    again, read = from_torch(module, loss="mse", bias_init=0.3, init="he", seed=seed, leaky_slope=slope)
    assert again == config
    np.testing.assert_array_equal(read.flat(), parameters.flat())


def test_the_loss_follows_from_the_last_module_and_settings_go_along() -> None:
    from torch import nn

    config, read = from_torch(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1), nn.Sigmoid()))
    assert (config.layers, config.activations) == ((2, 3, 1), ("tanh", "sigmoid"))
    assert config.loss == "binary_cross_entropy"
    assert read.weights[0].shape == (2, 3)
    nested = nn.Sequential(
        nn.Sequential(nn.Linear(2, 3, bias=False), nn.LeakyReLU(0.2)),
        nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3)),
        nn.Softmax(dim=1),
    )
    config, read = from_torch(nested, learning_rate=0.5)
    assert config.activations == ("leaky_relu", "linear", "softmax")
    assert (config.loss, config.leaky_slope, config.learning_rate) == ("cross_entropy", 0.2, 0.5)
    assert read.biases[0].tolist() == [0, 0, 0]
    assert from_torch(nn.Sequential(nn.Linear(2, 1)))[0].loss == "mse"


def test_modules_that_a_network_cannot_have_are_named() -> None:
    from torch import nn

    first, last = nn.Linear(2, 3), nn.Linear(3, 1)
    for modules, said in (
        ((first, nn.Dropout(0.5), last), "Module 1 is Dropout(p=0.5"),
        ((nn.Conv2d(1, 1, 3),), "Module 0 is Conv2d"),
        ((first, nn.Sequential(nn.ReLU(), nn.BatchNorm1d(3))), "Module 1.1 is BatchNorm1d"),
        ((first, nn.ReLU(), nn.Tanh(), last), "Module 2 (Tanh) comes after another activation"),
        ((nn.ReLU(), first), "Module 0 (ReLU) comes before the first Linear"),
        (
            (first, nn.ReLU(), nn.Linear(4, 1)),
            "Module 2 (Linear) reads 4 inputs; what comes before it gives 3",
        ),
        ((first, nn.GELU(approximate="tanh")), "Only the exact GELU can be"),
        ((first, nn.Softplus(beta=2)), "Only a Softplus of beta 1"),
        ((first, nn.Softmax(dim=0)), "Only a Softmax over the units"),
        ((first, nn.LogSoftmax(dim=-1)), "Module 1 is LogSoftmax"),
        (
            (first, nn.LeakyReLU(0.1), last, nn.LeakyReLU(0.2)),
            "The slopes of LeakyReLU differ (0.1 at module 1, 0.2 at module 3)",
        ),
        ((), "has no Linear"),
    ):
        with pytest.raises(NotSupported) as error:
            from_torch(nn.Sequential(*modules))
        assert said in str(error.value)
    with pytest.raises(NotSupported, match=r"Linear is no nn\.Sequential"):
        from_torch(first)
    with pytest.raises(BadInput, match="softmax stands in a hidden layer"):
        from_torch(nn.Sequential(first, nn.Softmax(dim=-1), last))


def test_playground_does_not_import_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from llm_workings.playground import save, sweep, paths, diagnosis, parameters_file, torch_module\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_parameters_hold_what_they_held() -> None:
    """What is read is a copy: the module's own numbers stay its own."""
    import torch
    from torch import nn

    module = nn.Sequential(nn.Linear(2, 1))
    _, read = from_torch(module)
    before = read.flat()
    with torch.no_grad():
        module[0].weight.add_(1)
        module[0].bias.add_(1)
    np.testing.assert_array_equal(read.flat(), before)
    assert isinstance(read, Parameters)
