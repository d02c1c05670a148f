"""A network over its own set of pictures: run once, kept in the lab, for the views that look inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from llm_workings.core.errors import NotSupported
from llm_workings.core.wire import Tensor
from llm_workings.data.pictures import make_pictures
from llm_workings.models.vision_nets import VISION_NETS

from .lab import Lab
from .vision_parts import IN_A_SET, pictures_of

if TYPE_CHECKING:
    from llm_workings.activations.collect import Collected
    from llm_workings.models.vision_wrap import VisionModel

REFERENCE = 200  # pictures that "known" means
SIDE = 32  # of a thumbnail, at most
MOST_STAGES = 20  # layers that a chart shows side by side

PictureCount = Annotated[
    int,
    Field(
        title="Pictures", ge=24, le=IN_A_SET, description="How many pictures of the network's set to look at."
    ),
]
PictureSeed = Annotated[
    int, Field(title="Seed", ge=0, le=2**31 - 1, description="Of whatever is drawn at random.")
]


@dataclass(frozen=True)
class Over:
    """What a network answered to pictures, and those pictures.

    Attributes:
        found: its units, layer by layer.
        images: `[n, channel, h, w]` from 0 to 1.
    """

    found: Collected
    images: NDArray[np.floating]


def set_of(net: str) -> str:
    """The set of pictures that a network was made for.

    Raises:
        NotSupported: there is none of which the true classes are known.
    """
    if net not in VISION_NETS:
        raise NotSupported(
            f"There is no set of pictures with known classes for {net!r}.",
            hint=f"Take {', '.join(VISION_NETS)}.",
            given={"net": net},
        )
    return VISION_NETS[net].data


def stages(model: VisionModel) -> list[str]:
    """The layers that stand for the way through a network: the outermost ones, at most twenty.

    A block is listed and the convolution inside it is not: `blocks.3`, without `blocks.3.conv`.
    """
    inner = {name for name in model.layers if any(name.startswith(f"{other}.") for other in model.layers)}
    outer = [name for name in model.layers if name not in inner]
    if len(outer) <= MOST_STAGES:
        return outer
    kept = np.linspace(0, len(outer) - 1, MOST_STAGES).round().astype(int)
    return [outer[at] for at in kept]


def over_set(lab: Lab, net: str, n: int) -> Over:
    """The network's stages over the first n pictures of its set: those called `shapes:0` and on; kept."""
    model, kind = lab.vision(net), set_of(net)

    def run() -> Over:
        from llm_workings.activations.collect import collect

        pictures = pictures_of(kind)
        images, labels = pictures.images[:n], pictures.labels[:n]
        return Over(collect(model, images, labels, stages(model), progress=lab.progress), images)

    return lab.found(net, ("set", n), run)


def reference_of(lab: Lab, net: str) -> Over:
    """The network's stages over clean pictures that are not of its set; kept.

    Drawn ones of a seed that the network was not trained with; of the digits some that it was.
    """
    model, kind = lab.vision(net), set_of(net)

    def run() -> Over:
        from llm_workings.activations.collect import collect

        seed = 0 if kind == "digits" else 1  # of the digits, "train" and "test" part only within a seed
        known = make_pictures(kind, REFERENCE, seed=seed, part="train").images
        return Over(collect(model, known, layers=stages(model), progress=lab.progress), known)

    return lab.found(net, "reference", run)


Thumbnails = Annotated[np.ndarray, Tensor("uint8", "picture row column channel")]


def thumbnails(images: NDArray[np.floating]) -> NDArray[np.uint8]:
    """`[n, row, column, 3]` of `[n, channel, h, w]` from 0 to 1: means over squares, 32 a side at most."""
    n, channels, high, wide = images.shape
    times = max(1, -(-max(high, wide) // SIDE))
    rows, columns = high // times, wide // times
    squares = images[:, :, : rows * times, : columns * times].reshape(
        n, channels, rows, times, columns, times
    )
    small = squares.mean((3, 5)).transpose(0, 2, 3, 1)
    small = np.repeat(small, 3, axis=3) if channels == 1 else small
    return np.asarray((small * 255).round(), np.uint8)
