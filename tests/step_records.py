"""Random networks of every legal kind, and records of their steps, for the tests of the algebra."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from llm_workings.core.dataset import Dataset
from llm_workings.playground.config import Config
from llm_workings.playground.kernel import Kernel
from llm_workings.playground.record import StepRecord

EVERYTHING = 10**9
HIDDEN = ["linear", "relu", "leaky_relu", "tanh", "sigmoid", "softplus", "gelu", "silu", "sine"]
OUTPUTS = {
    "mse": [*HIDDEN, "softmax"],
    "mae": [*HIDDEN, "softmax"],
    "huber": [*HIDDEN, "softmax"],
    "binary_cross_entropy": ["sigmoid"],
    "cross_entropy": ["softmax"],
    "hinge": ["linear", "tanh"],
}


def points(config: Config, n: int, seed: int = 0, scale: float = 1.0) -> Dataset:
    """Random points with whatever targets the config's loss is for."""
    draw = np.random.default_rng(seed)
    inputs = scale * draw.normal(size=(n, config.layers[0]))
    classes = config.loss in ("binary_cross_entropy", "cross_entropy", "hinge")
    outputs = config.layers[-1]
    names = tuple(str(k) for k in range(max(2, outputs))) if classes else ()
    targets = draw.integers(0, len(names), n) if classes else draw.normal(size=(n, outputs))
    columns = tuple(f"x{k}" for k in range(config.layers[0]))
    return Dataset(
        name="random",
        points=inputs.copy(),
        inputs=inputs,
        targets=targets,
        task="classes" if classes else "regression",
        classes=names,
        train=np.arange(n),
        test=np.arange(0),
        coordinates=columns,
        features=columns,
        domain=None,
    )


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Every legal combination of activations, loss, penalties, optimizer, schedule and clipping."""
    loss = draw(st.sampled_from(list(OUTPUTS)))
    output = draw(st.sampled_from(OUTPUTS[loss]))
    hidden = draw(st.lists(st.tuples(st.integers(1, 5), st.sampled_from(HIDDEN)), max_size=2))
    width = draw(st.integers(2 if output == "softmax" else 1, 6))
    penalty = st.sampled_from([0.0, 0.0, 1e-3, 0.02])
    return Config.of(
        layers=(draw(st.integers(1, 6)), *(n for n, _ in hidden), width),
        activations=(*(name for _, name in hidden), output),
        loss=loss,
        init="uniform",
        init_scale=draw(st.sampled_from([0.0, 0.3, 1.0, 6.0])),
        bias_init=draw(st.sampled_from([0.0, 0.1])),
        optimizer=draw(st.sampled_from(["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"])),
        learning_rate=draw(st.sampled_from([1e-3, 0.03, 0.3])),
        schedule=draw(st.sampled_from(["constant", "step", "exponential", "cosine"])),
        schedule_every=draw(st.integers(1, 5)),
        warmup=draw(st.sampled_from([0, 3])),
        batch_size=draw(st.integers(1, 7)),
        l1=draw(penalty),
        l2=draw(penalty),
        penalize_bias=draw(st.booleans()),
        confidence_penalty=draw(penalty) if output in ("sigmoid", "softmax") else 0.0,
        huber_delta=draw(st.sampled_from([0.5, 1.0])),
        leaky_slope=draw(st.sampled_from([0.01, 0.2])),
        clip=draw(st.sampled_from([None, 0.05, 100.0])),
        seed=draw(st.integers(0, 1000)),
    )


@st.composite
def records(draw: st.DrawFn) -> StepRecord:
    config = draw(configs())
    scale = draw(st.sampled_from([1.0, 1.0, 30.0]))
    kernel = Kernel(config, points(config, draw(st.integers(1, 9)), config.seed, scale))
    kernel.advance(draw(st.integers(0, 6)))
    return kernel.record()


def record_of(steps: int = 3, n: int = 4, scale: float = 1.0, **settings: object) -> StepRecord:
    config = Config.of(**settings)
    kernel = Kernel(config, points(config, n, scale=scale))
    kernel.advance(steps)
    return kernel.record()


def last_place(result: str) -> float:
    """Half a unit of the last digit shown."""
    mantissa, _, exponent = result.partition("e")
    return 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
