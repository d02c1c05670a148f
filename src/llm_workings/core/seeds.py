"""Random numbers that can be had again."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .errors import BadInput

if TYPE_CHECKING:
    import torch

LARGEST = 2**31 - 1  # fits every generator, a JSON number and SQLite


def fresh_seed() -> int:
    """A seed that nobody asked for, to be shown so that the run can be repeated."""
    return secrets.randbelow(LARGEST + 1)


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for `seed`: nobody else's draws change what it yields."""
    import torch

    return torch.Generator(device).manual_seed(_checked(seed))


def python_generator(seed: int) -> random.Random:
    """Python's own generator for `seed`, for what is chosen and shuffled rather than computed with."""
    return random.Random(_checked(seed))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Everything drawn inside from Python's, NumPy's and PyTorch's shared generators follows `seed`.

    On leaving, the three go on as if nothing had been drawn.
    """
    import numpy as np
    import torch

    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            random.seed(_checked(seed))
            np.random.seed(seed)
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _checked(seed: int) -> int:
    if not 0 <= seed <= LARGEST:
        raise BadInput(f"The seed {seed} is outside 0..{LARGEST}.", hint="Take a number in that range.")
    return seed
