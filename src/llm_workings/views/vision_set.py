"""The real pictures that a vision model's units are looked at with, and how they travel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np

from llm_workings.core.errors import BadInput
from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.vision_nets import VISION_NETS

from .vision_parts import IN_A_SET, Opened, pictures_of

if TYPE_CHECKING:
    from llm_workings.models.vision_wrap import VisionModel

    from .lab import Lab


class Examples(Payload):
    """Some pictures, with what a unit makes of each."""

    names: list[str]
    """By which each can be asked for."""
    labels: list[str]
    """Their true classes; empty where they are not known."""
    pixels: Annotated[np.ndarray, Tensor("uint8", "example row column channel")]
    values: Annotated[np.ndarray, Tensor("float32", "example")]
    peaks: Annotated[np.ndarray, Tensor("float32", "example axis")]
    """Where it is strongest: shares of the height and the width; NaN where it has no places."""


@dataclass(frozen=True)
class RealSet:
    """Pictures of a model's size.

    Attributes:
        names: by which each can be opened.
        images: `[n, channel, h, w]` from 0 to 1.
        labels: `[n]` int64, -1 where the class is not known.
        about: what they are, in a sentence.
        whole: whether it is a set, and not a few pictures at hand.
    """

    names: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    about: str
    whole: bool

    def __len__(self) -> int:
        return len(self.names)


def real_set(lab: Lab, model: VisionModel, picture: str, n: int = IN_A_SET) -> RealSet:
    """The first `n` test pictures of the set that the model was made for; without one, the cat and `picture`.

    Errors as `Lab.picture`.
    """
    if model.name in VISION_NETS:
        made = pictures_of(VISION_NETS[model.name].data)
        n = min(n, len(made))
        return RealSet(
            tuple(f"{made.name}:{at}" for at in range(n)),
            made.images[:n],
            made.labels[:n],
            f"{n} pictures of the set that the net was made for, none of which it was trained on.",
            True,
        )
    opened = [lab.picture("cat", model.name)]
    if picture and picture != "cat":
        opened.append(lab.picture(picture, model.name))
    return RealSet(
        tuple(one.name for one in opened),
        np.concatenate([fitted(model, one) for one in opened]),
        np.full(len(opened), -1),
        "No set of pictures comes with this net: its real pictures are the cat"
        + (" and the one you chose." if len(opened) > 1 else ". Give one of your own beside it."),
        False,
    )


def fitted(model: VisionModel, opened: Opened) -> np.ndarray:
    """A picture `[1, channel, h, w]` from 0 to 1 as the model is given it."""
    return np.asarray(model.pixels(model.prepare(opened.image)).cpu().numpy())


def examples_of(
    real: RealSet,
    chosen: Sequence[int],
    values: np.ndarray,
    peaks: np.ndarray | None,
    classes: Sequence[str],
) -> Examples:
    """The chosen pictures of a set, with a unit's values `[n]` and peaks `[n, 2]` of all of them."""
    numbers = list(chosen)
    return Examples(
        names=[real.names[at] for at in numbers],
        labels=[classes[real.labels[at]] if real.labels[at] >= 0 else "" for at in numbers],
        pixels=bytes_of(real.images[numbers]),
        values=values[numbers],
        peaks=np.full((len(numbers), 2), np.nan) if peaks is None else peaks[numbers],
    )


def bytes_of(images: np.ndarray) -> np.ndarray:
    """`[..., channel, h, w]` from 0 to 1 as `[..., h, w, 3]` bytes; grey is repeated."""
    if images.shape[-3] == 1:
        images = np.repeat(images, 3, axis=-3)
    return (np.moveaxis(images, -3, -1) * 255).round().clip(0, 255).astype(np.uint8)


def peaks_of(maps: np.ndarray) -> np.ndarray:
    """`[n, 2]`: where each of the maps `[n, row, column]` is largest, as shares of height and width."""
    rows, columns = maps.shape[1:]
    at = maps.reshape(len(maps), -1).argmax(1)
    return np.stack(((at // columns + 0.5) / rows, (at % columns + 0.5) / columns), 1)


def layer_of(model: VisionModel, layer: str) -> str:
    """The layer that is meant; an empty name is the one two thirds up of those that answer after a ReLU.

    Errors as `VisionModel.find`.
    """
    if layer:
        if layer not in model.layers:
            model.find(layer)
        return layer
    blocks = [name for name in model.layers if not name.endswith("conv")] or model.layers
    return blocks[(2 * len(blocks)) // 3]


def units_of(model: VisionModel, layer: str) -> int:
    """How many channels the layer answers with."""
    return int(model.shapes[model.find(layer)[0]][0])


def check_unit(model: VisionModel, layer: str, unit: int) -> int:
    """The unit, if the layer has it; else `BadInput`."""
    units = units_of(model, layer)
    if not 0 <= unit < units:
        raise BadInput(
            f"The layer {layer!r} of {model.name} has no unit {unit}: it has {units}.",
            hint=f"Units go from 0 to {units - 1}.",
            given={"layer": layer, "unit": unit},
        )
    return unit
