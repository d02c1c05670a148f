"""Small convolutional nets, read top to bottom: block, net, file, loading by name.

    pixels -> [ pool? -> conv 3x3 -> norm -> relu ] x n -> mean over places -> linear -> logits

The last two steps make a class's logit the mean, over places, of a weighted sum of the last block's
channels (Zhou et al. 2016, "Learning deep features for discriminative localization"), so what each
place adds to it can be read off exactly. Pooling takes the maximum of two by two places; with means
in its place, an edge two pixels wide is blurred away before a net has learned to see it, and training
did not begin within 400 steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from llm_workings.core.errors import BadFile
from llm_workings.core.files import write_whole
from llm_workings.core.wire import Payload, pack, unpack

from .vision_nets import ConvSpec, PackagedNet, find_net

MEAN, STD = 0.5, 0.5  # the packaged nets read pixels as (p - 0.5) / 0.5, from -1 to 1


# --- the net -----------------------------------------------------------------------------------
class Block(nn.Module):
    """[b, c_in, h, w] -> [b, c_out, h, w], or half of h and w where it pools first."""

    def __init__(self, c_in: int, c_out: int, pools: bool, spec: ConvSpec):
        super().__init__()
        self.pool = nn.MaxPool2d(2) if pools else nn.Identity()
        self.conv = nn.Conv2d(c_in, c_out, 3, padding=1, bias=spec.bias and not spec.norm)
        self.norm = nn.BatchNorm2d(c_out) if spec.norm else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.norm(self.conv(self.pool(x))))


class ConvNet(nn.Module):
    """Blocks, the mean over places, and one linear layer: [b, channels, size, size] -> [b, classes]."""

    def __init__(self, spec: ConvSpec):
        super().__init__()
        self.spec = spec
        inputs = (spec.channels, *spec.widths)
        self.blocks = nn.ModuleList(
            Block(inputs[at], width, at in spec.pooled, spec) for at, width in enumerate(spec.widths)
        )
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()
        self.head = nn.Linear(spec.widths[-1], spec.classes, bias=spec.bias)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(self.flat(self.mean(x)))


# --- their files -------------------------------------------------------------------------------
class Epoch(Payload):
    """How far a training was after an epoch. The loss in nats a picture, the mean over the epoch;
    accuracies between 0 and 1, on test pictures of each set by its name."""

    epoch: int
    loss: float
    accuracy: dict[str, float]


class VisionFile(Payload):
    """A packaged net on the wire: its weights by the module's own names, and how they came to be."""

    name: str
    spec: dict[str, Any]
    classes: list[str]
    command: str
    recipe: dict[str, Any]
    history: list[Epoch]
    weights: dict[str, np.ndarray]


def read_net(name: str, path: Path | None = None) -> VisionFile:
    """The file of a packaged net (the packaged one, unless `path` says another).

    Raises `UnknownName` for a net there is not, `BadFile` for a file that is missing or damaged.
    """
    net = find_net(name)
    path = path or net.path
    try:
        return unpack(path.read_bytes(), VisionFile)
    except FileNotFoundError as error:
        raise BadFile(f"The net {name!r} has no file {path}.", hint=f"Train it: {net.command}") from error


def load_net(name: str, path: Path | None = None) -> ConvNet:
    """The trained net, float32, on the CPU, in eval mode. Errors as `read_net`."""
    file = read_net(name, path)
    try:
        shape = {key: tuple(file.spec[key]) for key in ("widths", "pooled")}
        spec = ConvSpec(**{**file.spec, **shape})
        net = ConvNet(spec)
        net.load_state_dict({key: torch.from_numpy(array) for key, array in file.weights.items()})
    except (RuntimeError, TypeError, LookupError) as error:
        raise BadFile(f"The file of the net {name!r} does not hold that net: {error}") from error
    return net.eval()


def write_net(net: PackagedNet, module: ConvNet, history: list[Epoch], path: Path) -> None:
    """Write a trained net, whole or not at all."""
    file = VisionFile(
        name=net.name,
        spec=vars(net.spec),
        classes=list(net.classes),
        command=net.command,
        recipe=vars(net.recipe),
        history=history,
        weights={
            key: np.ascontiguousarray(value.detach().numpy()) for key, value in module.state_dict().items()
        },
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, pack(file), example=f"{net.name}.safetensors")
