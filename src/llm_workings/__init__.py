"""llm-workings: a local laboratory for seeing how language models compute what they compute.

    import llm_workings as lw

    model = lw.load("smollm2-135m")
    run = model.run("When Mary and John went to the store, John gave a drink to", keep=["pattern.*"])
    run.top(5)

Importing this imports no torch; the first name taken from it does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .core.errors import LabError

if TYPE_CHECKING:
    from .data.dataset import dataset
    from .data.images import read_image
    from .models.sites import Site
    from .models.vision_load import load_vision
    from .models.vision_wrap import VisionModel, wrap
    from .notebook import show
    from .playground.network import Network
    from .trace.edits import (
        Add,
        Edit,
        FunctionEdit,
        Mean,
        Noise,
        ProjectOut,
        Replace,
        Rotate,
        Scale,
        Where,
        Zero,
        ablate_head,
    )
    from .trace.generate import Text
    from .trace.model import LanguageModel, load
    from .trace.run import Run

_EDITS = ("Add", "Edit", "FunctionEdit", "Mean", "Noise", "ProjectOut", "Replace", "Rotate", "Scale")
_HOME = {
    **dict.fromkeys((*_EDITS, "Where", "Zero", "ablate_head"), "trace.edits"),
    **dict.fromkeys(("LanguageModel", "load"), "trace.model"),
    "Network": "playground.network",
    "Run": "trace.run",
    "Site": "models.sites",
    "Text": "trace.generate",
    **dict.fromkeys(("VisionModel", "wrap"), "models.vision_wrap"),
    "load_vision": "models.vision_load",
    "read_image": "data.images",
    "dataset": "data.dataset",
    "show": "notebook",
}

__all__ = [
    "Add",
    "Edit",
    "FunctionEdit",
    "LabError",
    "LanguageModel",
    "Mean",
    "Network",
    "Noise",
    "ProjectOut",
    "Replace",
    "Rotate",
    "Run",
    "Scale",
    "Site",
    "Text",
    "VisionModel",
    "Where",
    "Zero",
    "ablate_head",
    "dataset",
    "load",
    "load_vision",
    "read_image",
    "show",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("llm-workings")
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
