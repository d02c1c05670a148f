"""The strongest paths against all of them, listed."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_workings.core.errors import BadInput
from llm_workings.playground.paths import strongest_paths
from llm_workings.playground.record import Parameters


def parameters(layers: tuple[int, ...], seed: int) -> Parameters:
    draw = np.random.default_rng(seed)
    weights = tuple(draw.normal(size=shape) for shape in pairwise(layers))
    return Parameters(weights, tuple(draw.normal(size=out) for out in layers[1:]))


def every_path(given: Parameters) -> dict[tuple[int, ...], float]:
    sizes = [given.weights[0].shape[0], *(matrix.shape[1] for matrix in given.weights)]
    return {
        units: float(np.prod([w[i, j] for w, (i, j) in zip(given.weights, pairwise(units), strict=True)]))
        for units in product(*(range(size) for size in sizes))
    }


@settings(max_examples=150, deadline=None)
@given(
    layers=st.lists(st.integers(1, 4), min_size=2, max_size=5).map(tuple),
    seed=st.integers(0, 10**6),
    most=st.integers(1, 300),
)
def test_they_are_the_largest_of_all_paths_in_order(layers: tuple[int, ...], seed: int, most: int) -> None:
    made = parameters(layers, seed)
    listed = every_path(made)
    found = strongest_paths(made, most)
    wanted = sorted(listed.values(), key=abs, reverse=True)[:most]
    np.testing.assert_allclose([path.strength for path in found], wanted, rtol=1e-12)
    assert len({path.units for path in found}) == len(found)
    for path in found:
        assert path.strength == pytest.approx(listed[path.units], rel=1e-12)


def test_a_network_made_by_hand() -> None:
    made = Parameters(
        (np.array([[1.0, -2.0], [0.5, 0.0]]), np.array([[3.0], [-4.0]])), (np.zeros(2), np.zeros(1))
    )
    found = [(path.units, path.strength) for path in strongest_paths(made)]
    assert found == [((0, 1, 0), 8.0), ((0, 0, 0), 3.0), ((1, 0, 0), 1.5)]  # the fourth is 0


def test_a_network_of_more_paths_than_could_be_listed() -> None:
    """64 to the 8th are 3e14 paths; one is made the strongest by hand."""
    layers = (64,) * 8
    made = parameters(layers, 0)
    units = (1, 60, 3, 50, 7, 0, 63, 20)
    weights = [matrix.copy() for matrix in made.weights]
    for matrix, (i, j) in zip(weights, pairwise(units), strict=True):
        matrix[i, j] = -50.0
    found = strongest_paths(Parameters(tuple(weights), made.biases), 5)
    assert found[0].units == units
    assert found[0].strength == pytest.approx((-50.0) ** 7)
    assert len(found) == 5


def test_no_paths_cannot_be_asked_for() -> None:
    with pytest.raises(BadInput, match="0 paths"):
        strongest_paths(parameters((2, 2), 0), 0)
