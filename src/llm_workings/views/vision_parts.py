"""What pictures of vision models are asked with, and the pieces their payloads share: a net, a picture."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from llm_workings.core.errors import BadInput, Refused, unknown
from llm_workings.core.wire import Payload, Tensor
from llm_workings.data.images import CAT, Image, read_image
from llm_workings.data.own_pictures import own_picture
from llm_workings.data.pictures import PICTURES, Pictures, make_pictures
from llm_workings.models.vision_nets import VISION_NETS

if TYPE_CHECKING:
    from llm_workings.models.vision_wrap import VisionModel

DEFAULT_NET = "shapes-cnn"
IN_A_SET = 200  # pictures; higher numbers begin again
_NUMBERED = re.compile(r"([a-z-]+):(\d{1,3})")

Net = Annotated[
    str,
    Field(title="Network", min_length=1, max_length=200, description="shapes-cnn, efficientnet-lite0 ..."),
]
PictureName = Annotated[
    str,
    Field(
        title="Picture",
        max_length=4096,
        description="shapes:12 (a set and a number), cat, own:... (a picture you gave), or a file; "
        "empty for the network's own first.",
    ),
]
Pixels = Annotated[np.ndarray, Tensor("uint8", "row column channel")]
Place = Annotated[np.ndarray, Tensor("uint8", "row column")]


class NetCard(Payload):
    """What a page says about a vision model."""

    name: str
    title: str
    classes: list[str]
    layers: list[str]
    """In the order in which they run."""
    size: list[int]
    """Height and width of what it reads, in pixels."""
    parameters: int
    origin: str


class Picture(Payload):
    """A picture as the network is given it: its size, its channels (grey is shown as three)."""

    name: str
    title: str
    pixels: Pixels
    label: int | None
    """The true class, where it is known and the network has it."""
    mask: Place | None
    """1 where the thing is that the label names; None where it is not known."""
    mark: Place | None
    """1 where the planted shortcut is; None where there is none."""


class ClassScore(Payload):
    """One class as the network answers: its logit, its probability, its rank (0 is the best)."""

    index: int
    name: str
    logit: float
    probability: float
    rank: int


@dataclass(frozen=True)
class Opened:
    """A picture at hand.

    Attributes:
        name: the name it can be asked for by again.
        image: `[3 or 1, h, w]` from 0 to 1, as it came.
        label: its true class as an index of the set's classes; None where it is not known.
        classes: of its set; empty where it is of none.
        mask, mark: `[h, w]` bool, or None.
    """

    name: str
    title: str
    image: Image
    label: int | None = None
    classes: tuple[str, ...] = ()
    mask: np.ndarray | None = None
    mark: np.ndarray | None = None


def open_picture(name: str, *, net: str, files: bool) -> Opened:
    """The picture called `name`.

    Args:
        net: whose first picture an empty name means.
        files: whether a name may be that of a file on this machine.

    Raises:
        UnknownName, BadInput, Refused: there is no such picture, or it is a file and may not be read.
        BadFile, TooLarge: as `read_image`.
    """
    if not name:
        name = f"{VISION_NETS[net].data}:2" if net in VISION_NETS else "cat"
    if name == "cat":
        return Opened("cat", "A cat (Stéfan van der Walt, CC0)", read_image(CAT))
    if name.startswith("own:"):
        return Opened(name, "Your picture", own_picture(name))
    if numbered := _NUMBERED.fullmatch(name):
        kind, number = numbered[1], int(numbered[2])
        if kind not in PICTURES:
            raise unknown("set of pictures", kind, PICTURES)
        pictures = pictures_of(kind)
        at = number % len(pictures)
        marked = pictures.marks[at]
        return Opened(
            f"{kind}:{at}",
            f"{PICTURES[pictures.name].title}, number {at}",
            pictures.images[at],
            int(pictures.labels[at]),
            pictures.classes,
            pictures.masks[at],
            marked if marked.any() else None,
        )
    if not files:
        known = ", ".join(f"{kind}:0" for kind in PICTURES)
        if "/" in name or "\\" in name or "." in name:
            raise Refused(
                f"The lab's page does not read the file {name[:80]!r} by its path.",
                hint="Drop the picture on the page.",
                given={"picture": name[:80]},
            )
        raise BadInput(f"There is no picture {name[:80]!r}.", hint=f"There are {known}, and cat.")
    return Opened(name, name, read_image(name))


def net_card(model: VisionModel) -> NetCard:
    """What a page says about the model."""
    title = VISION_NETS[model.name].title if model.name in VISION_NETS else model.name
    return NetCard(
        name=model.name,
        title="EfficientNet-Lite0" if model.name == "efficientnet-lite0" else title,
        classes=list(model.classes),
        layers=list(model.layers),
        size=list(model.size),
        parameters=model.parameters,
        origin=model.origin,
    )


def picture_of(opened: Opened, model: VisionModel) -> Picture:
    """The picture as the model is given it. Masks are there where it has the model's size already."""
    pixels = model.pixels(model.prepare(opened.image))[0].cpu().numpy()
    if len(pixels) == 1:
        pixels = np.repeat(pixels, 3, axis=0)
    whole = opened.image.shape[1:] == tuple(model.size)
    told = opened.label is not None and opened.classes == tuple(model.classes)
    return Picture(
        name=opened.name,
        title=opened.title,
        pixels=(pixels.transpose(1, 2, 0) * 255).round().astype(np.uint8),
        label=opened.label if told else None,
        mask=opened.mask.astype(np.uint8) if whole and opened.mask is not None else None,
        mark=opened.mark.astype(np.uint8) if whole and opened.mark is not None else None,
    )


def scores_of(
    logits: np.ndarray, classes: list[str], most: int = 5, also: tuple[int, ...] = ()
) -> list[ClassScore]:
    """The best classes of `[class]` logits, best first, and those of `also`."""
    order = np.argsort(-logits, kind="stable")
    ranks = np.empty(len(order), int)
    ranks[order] = np.arange(len(order))
    shifted = np.exp(logits.astype(np.float64) - float(logits.max()))
    shares = shifted / shifted.sum()
    wanted = sorted({*order[:most].tolist(), *also}, key=lambda index: ranks[index])
    return [
        ClassScore(
            index=index,
            name=classes[index],
            logit=float(logits[index]),
            probability=float(shares[index]),
            rank=int(ranks[index]),
        )
        for index in wanted
    ]


@lru_cache(maxsize=4)
def pictures_of(kind: str) -> Pictures:
    """The pictures of a set that have numbers on a page: its first test pictures."""
    return make_pictures(kind, IN_A_SET, seed=0, part="test")
