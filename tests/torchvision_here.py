"""torchvision's architectures, also where its compiled operators do not load.

PyPI's torchvision is built for the torch with CUDA; beside the CPU build its library is not loaded, and
the import fails at two operators that a classifier never calls. Declaring the two lets it through.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec

import pytest
import torch

_library = torch.library.Library("torchvision", "FRAGMENT")


def declare_operators() -> None:
    """Let torchvision be imported, by a test or by a library that looks for it, such as transformers.

    Where it imports as it is, nothing is declared: its own library brings the operators.
    """
    if find_spec("torchvision") is None:
        return
    with suppress(RuntimeError):
        import torchvision  # noqa: F401

        return
    for declared in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    ):
        with suppress(RuntimeError):  # declared already
            _library.define(declared)


def import_torchvision() -> None:
    """Have torchvision imported, or skip the test, saying why."""
    declare_operators()
    try:
        import torchvision  # noqa: F401
    except ImportError as error:
        pytest.skip(f"torchvision is not installed: {error}")
