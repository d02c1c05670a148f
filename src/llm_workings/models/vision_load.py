"""`load_vision(name)`: from a name to a `VisionModel`.

A name is a packaged net (`shapes-cnn`), the real network (`efficientnet-lite0`), or an architecture of
torchvision or timm where they are installed (`torchvision:resnet18`). An architecture comes with random
weights and says so, unless a file of weights is given: nothing is downloaded behind anybody's back.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from llm_workings.core.errors import BadFile, BadInput, NotSupported, UnknownName, unknown
from llm_workings.core.progress import SILENT, Progress
from llm_workings.core.seeds import seeded

from . import efficientnet, vision
from .folder import read_header, refuse_pickle
from .vision_nets import VISION_NETS, VISION_WHEELS
from .vision_wrap import VisionModel, wrap

# How the photographs were scaled that nearly every published classifier learned from.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LIBRARIES = ("torchvision", "timm")


def load_vision(
    name: str, *, weights: str | Path | None = None, seed: int = 0, progress: Progress = SILENT
) -> VisionModel:
    """The vision model called `name`, float32, on the CPU.

    Args:
        name: a packaged net, `efficientnet-lite0` (fetched if it is not here), or
            `torchvision:resnet18`, `timm:resnet18`: an architecture of a library that is installed.
        weights: for an architecture, a safetensors file of its state dict.
        seed: for an architecture without `weights`, of its random numbers.

    Raises:
        UnknownName: nothing is called so; suggests the nearest.
        NotSupported: the library is not installed or cannot be imported, or it is no classifier.
        CannotFetch, BadFile: the real network cannot be brought; a file does not hold what it should.
    """
    library, sign, architecture = name.partition(":")
    if sign and library in LIBRARIES:
        return _architecture(library, architecture, weights, seed)
    if weights is not None:
        raise BadInput(
            f"{name} comes with its own weights.",
            hint="Weights are for an architecture: load_vision('torchvision:resnet18', weights=...).",
        )
    if name in VISION_NETS:
        net = VISION_NETS[name]
        return wrap(
            vision.load_net(name),
            classes=net.classes,
            mean=vision.MEAN,
            std=vision.STD,
            size=net.spec.size,
            name=name,
            origin=f"packaged with llm-workings; trained by `{net.command}`",
        )
    if name in VISION_WHEELS:
        model = VISION_WHEELS[name]
        return wrap(
            efficientnet.load_efficientnet(progress),
            classes=efficientnet.imagenet_classes(),
            mean=efficientnet.MEAN,
            std=efficientnet.STD,
            size=efficientnet.SIZE,
            name=name,
            origin=f"{model.source}, from the wheel {model.wheel}",
        )
    raise _unknown(name)


def fetch_vision(name: str, progress: Progress = SILENT) -> Path:
    """Have the vision model called `name` on this machine; where it lies. Errors as `load_vision`."""
    if name in VISION_NETS:
        return VISION_NETS[name].path
    if name in VISION_WHEELS:
        return efficientnet.fetch_efficientnet(progress)
    raise _unknown(name)


def load_state(module: nn.Module, path: str | Path) -> nn.Module:
    """`module` with the weights of a safetensors file of its state dict; the same module.

    Raises:
        BadInput: there is no such file.
        BadFile: it is a pickle (with the way to convert it), damaged, or holds other weights.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise BadInput(f"There is no file {path}.", given={"path": str(path)})
    try:
        refuse_pickle(path)
    except BadFile as error:
        raise BadFile(
            error.message,
            hint="If you trust where it comes from, convert it once to safetensors:\n"
            "    import torch\n"
            "    from safetensors.torch import save_file\n"
            f"    save_file(torch.load({path.name!r}, weights_only=True), 'weights.safetensors')",
            given=error.given,
        ) from error
    read_header(path)  # says how a file is cut short
    try:
        module.load_state_dict(load_file(path))
    except RuntimeError as error:
        lines = str(error).splitlines()
        told = " ".join(line.strip() for line in lines[1:3]) or lines[0]
        raise BadFile(
            f"{path.name} does not hold the weights of {type(module).__name__}. {told[:300]}",
            hint="The file must be the state dict of this very architecture.",
        ) from error
    return module


def _unknown(name: str) -> UnknownName:
    error = unknown("vision model", name, [*VISION_NETS, *VISION_WHEELS])
    if ":" not in name:
        return error
    named = " and ".join(f"{library}:NAME" for library in LIBRARIES)
    return UnknownName(error.message, hint=f"Architectures are named {named}.", given=error.given)


# --- architectures of other libraries ----------------------------------------------------------------
def _architecture(library: str, architecture: str, weights: str | Path | None, seed: int) -> VisionModel:
    make, known = _torchvision() if library == "torchvision" else _timm()
    if architecture not in known:
        close = get_close_matches(architecture, known, n=3, cutoff=0.5)
        raise UnknownName(
            f"{library} has no classifier {architecture!r}.",
            hint=f"Did you mean {' or '.join(f'{library}:{one}' for one in close)}?" if close else "",
            given={"name": f"{library}:{architecture}"},
        )
    with seeded(seed):
        module = make(architecture)
    if weights is None:
        origin = f"{library}'s architecture with random weights (seed {seed}): it has learned nothing"
    else:
        load_state(module, weights)
        origin = f"{library}'s architecture with the weights of {weights}"
    made = wrap(module, mean=IMAGENET_MEAN, std=IMAGENET_STD, name=f"{library}:{architecture}", origin=origin)
    if len(made.classes) == efficientnet.CLASSES:
        made.classes = efficientnet.imagenet_classes()
    return made


def _torchvision() -> tuple[Callable[[str], nn.Module], list[str]]:
    try:
        from torchvision import models
    except Exception as error:  # a build for another torch raises RuntimeError
        raise _not_there("torchvision", error) from error
    return lambda name: models.get_model(name, weights=None), models.list_models(module=models)


def _timm() -> tuple[Callable[[str], nn.Module], list[str]]:
    try:
        import timm
    except Exception as error:
        raise _not_there("timm", error) from error
    return lambda name: timm.create_model(name, pretrained=False), timm.list_models()


def _not_there(library: str, error: Any) -> NotSupported:
    if isinstance(error, ModuleNotFoundError) and error.name == library:
        return NotSupported(f"{library} is not installed.", hint=f"pip install {library}, or wrap(module).")
    return NotSupported(
        f"{library} is installed and cannot be imported: {error}.",
        hint="It was probably built for another version of torch.",
    )
