"""Random legal networks, for hypothesis."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from llm_workings.playground.config import Activation, Config, Init, Optimizer

HIDDEN = [name for name in get_args(Activation) if name != "softmax"]
PAIRS = (
    [(loss, output) for loss in ("mse", "mae", "huber") for output in get_args(Activation)]
    + [("binary_cross_entropy", "sigmoid"), ("cross_entropy", "softmax")]
    + [("hinge", "linear"), ("hinge", "tanh")]
)


@st.composite
def configs(draw: st.DrawFn) -> tuple[Config, str]:
    """(config, task) that go together, every activation, loss, penalty and batch size among them."""
    loss, output = draw(st.sampled_from(PAIRS))
    hidden = draw(st.lists(st.integers(1, 6), max_size=3))
    width = draw(st.integers(2 if output == "softmax" else 1, 4))
    task = draw(st.sampled_from(["classes", "regression"])) if loss in ("mse", "mae", "huber") else "classes"
    strength = st.sampled_from([0.0, 0.0, 0.003, 0.3])
    return Config.of(
        layers=[draw(st.integers(1, 4)), *hidden, width],
        activations=[*(draw(st.sampled_from(HIDDEN)) for _ in hidden), output],
        loss=loss,
        init=draw(st.sampled_from(get_args(Init))),
        bias_init=draw(st.sampled_from([0.0, 0.1, -0.7])),
        batch_size=draw(st.integers(1, 24)),
        l1=draw(strength),
        l2=draw(strength),
        penalize_bias=draw(st.booleans()),
        confidence_penalty=draw(strength) if output in ("sigmoid", "softmax") else 0.0,
        huber_delta=draw(st.sampled_from([1.0, 0.3])),
        leaky_slope=draw(st.sampled_from([0.01, 0.2])),
        clip=draw(st.sampled_from([None, None, 0.1, 5.0])),
        learning_rate=draw(st.sampled_from([0.001, 0.1, 1.0])),
        optimizer=draw(st.sampled_from(get_args(Optimizer))),
        seed=draw(st.integers(0, 1000)),
    ), task
