"""What networks must be able to learn: XOR by nearly every seed, every data set, the digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llm_workings.data.points import make
from llm_workings.data.spec import DataSpec
from llm_workings.playground.network import Network

ADAM = {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 10}
SLOW = {"learning_rate": 0.1, "batch_size": 10}
VALUES = {**ADAM, "loss": "mse"}


def test_2_4_1_solves_xor_for_at_least_95_of_100_seeds() -> None:
    """The configuration that the page opens with: all its defaults, 2000 updates."""
    data = make(DataSpec(name="xor_points"))
    solved = [
        Network([2, 4, 1], seed=seed).train(data, 2000).measure()["train_accuracy"] == 1.0
        for seed in range(100)
    ]
    assert sum(solved) >= 95


# The first four are TensorFlow Playground's sets of classes, plane and bump its two of values.
@pytest.mark.parametrize(
    ("name", "layers", "steps", "settings", "accuracy"),
    [
        ("circles", [2, 4, 1], 3000, SLOW, 0.98),
        ("xor", [2, 4, 1], 3000, SLOW, 0.98),
        ("gaussians", [2, 2, 1], 1000, SLOW, 0.98),
        ("spiral", [2, 16, 16, 1], 20000, ADAM, 0.99),  # x and y alone are read
        ("moons", [2, 8, 1], 3000, SLOW, 0.98),
        ("blobs", [2, 6, 3], 2000, {**SLOW, "loss": "cross_entropy"}, 0.98),
        ("checkerboard", [2, 16, 16, 1], 20000, {**ADAM, "batch_size": 20}, 0.97),
    ],
)
def test_every_set_of_classes_can_be_fitted(
    name: str, layers: list[int], steps: int, settings: dict[str, Any], accuracy: float
) -> None:
    data = make(DataSpec(name=name, n=300, test=0.3))  # type: ignore[arg-type]
    assert data.features == ("x", "y")
    found = Network(layers, **settings).train(data, steps).measure()
    assert found["train_accuracy"] >= accuracy
    assert found["test_accuracy"] >= accuracy - 0.12


@pytest.mark.parametrize(
    ("name", "layers", "steps", "settings"),
    [
        ("plane", [2, 4, 1], 2000, {**SLOW, "loss": "mse"}),
        ("bump", [2, 16, 16, 1], 10000, VALUES),
        ("wave", [2, 16, 16, 1], 10000, VALUES),
        ("curve", [1, 8, 8, 1], 6000, VALUES),
    ],
)
def test_every_set_of_values_can_be_fitted(
    name: str, layers: list[int], steps: int, settings: dict[str, Any]
) -> None:
    data = make(DataSpec(name=name, n=300, test=0.3))  # type: ignore[arg-type]
    found = Network(layers, **settings).train(data, steps).measure()
    spread = data.targets[data.train].var()
    assert found["train"] < 0.1 * spread
    assert found["test"] < 0.2 * spread
    assert np.isnan(found["train_accuracy"])


def test_ten_digits_are_told_apart() -> None:
    data = make(DataSpec(name="digits", test=0.3))
    network = Network(
        [64, 32, 10],
        activations="relu",
        loss="cross_entropy",
        optimizer="adam",
        learning_rate=0.003,
        batch_size=32,
    ).train(data, 2000)
    assert network.measure()["test_accuracy"] >= 0.95
    decided = network.decide(data.points[data.test])
    right = np.mean(
        [int(name) == label for name, label in zip(decided, data.targets[data.test], strict=True)]
    )
    assert right == network.measure()["test_accuracy"]
