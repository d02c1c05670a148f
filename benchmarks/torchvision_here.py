"""torchvision beside the CPU build of torch: several peers import it, and none of what is measured calls it.

PyPI's torchvision is built for the torch with CUDA; its library is not loaded beside another, and its import
fails at two operators. They are declared here, for the benchmarks and the tests.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec

import torch

_OPERATORS = torch.library.Library("torchvision", "FRAGMENT")


def declare_operators() -> None:
    """Let torchvision be imported; where it imports as it is, or is not installed, nothing is declared."""
    if find_spec("torchvision") is None:
        return
    with suppress(RuntimeError):
        import torchvision  # noqa: F401

        return
    for name in ("nms", "qnms"):
        with suppress(RuntimeError):  # declared already
            _OPERATORS.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
