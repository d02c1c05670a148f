"""Draws that can be had again, and the device and precision that were asked for."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from llm_workings.core.devices import PRECISIONS, choose_device, choose_precision, free_memory
from llm_workings.core.errors import BadInput, NotSupported, UnknownName
from llm_workings.core.seeds import LARGEST, fresh_seed, generator, seeded


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(()))


def test_a_seed_repeats_all_three_generators_and_leaves_them_as_they_were() -> None:
    with seeded(1):
        first = draw()
    with seeded(2):
        outside = draw()
        with seeded(1):
            assert draw() == first
        after = draw()
    with seeded(2):
        assert draw() == outside
        assert draw() == after
    assert len({*first, *outside, *after}) == 9


def test_the_generators_come_back_even_after_an_error() -> None:
    with seeded(3):
        draw()
        expected = draw()
    with seeded(3):
        draw()
        with pytest.raises(BadInput), seeded(4):
            raise BadInput(f"after {draw()}")
        assert draw() == expected


def test_a_generator_of_its_own_hears_nobody_else() -> None:
    own = generator(5)
    first = torch.rand(3, generator=own)
    torch.rand(7)
    second = torch.rand(3, generator=own)
    again = generator(5)
    assert torch.equal(first, torch.rand(3, generator=again))
    assert torch.equal(second, torch.rand(3, generator=again))


@pytest.mark.parametrize("seed", [-1, LARGEST + 1])
def test_a_seed_out_of_range_is_named(seed: int) -> None:
    with pytest.raises(BadInput, match=str(seed)):
        generator(seed)
    with pytest.raises(BadInput, match=str(seed)), seeded(seed):
        pass


def test_fresh_seeds_can_be_used_and_differ() -> None:
    seeds = {fresh_seed() for _ in range(20)}
    assert len(seeds) > 15
    assert all(0 <= seed <= LARGEST for seed in seeds)


def test_devices_by_name() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(UnknownName, match="Did you mean 'cuda'"):
        choose_device("cude")
    with pytest.raises(BadInput, match="cuda:x"):
        choose_device("cuda:x")
    with pytest.raises(NotSupported, match="is not there"):
        choose_device("cuda:99")


def test_precisions_by_name() -> None:
    cpu = torch.device("cpu")
    for name, full in PRECISIONS.items():
        assert str(choose_precision(name, cpu)) == f"torch.{full}"
    with pytest.raises(UnknownName, match="Did you mean 'float32'"):
        choose_precision("flaot32", cpu)


def test_free_memory_is_no_more_than_the_machine_has() -> None:
    import psutil

    assert 2**20 < free_memory(torch.device("cpu")) <= psutil.virtual_memory().total
