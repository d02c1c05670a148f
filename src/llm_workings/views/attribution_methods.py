"""What pictures of attribution share: the methods in words, what is asked for, and one way to run one."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from llm_workings.core.errors import BadInput, unknown
from llm_workings.core.progress import Progress
from llm_workings.data.pictures import PICTURES, make_pictures
from llm_workings.models.vision_nets import VISION_NETS

from .vision_parts import DEFAULT_NET, Opened

if TYPE_CHECKING:
    from torch import Tensor

    from llm_workings.attribution.gallery import Method
    from llm_workings.attribution.result import Attribution
    from llm_workings.attribution.targets import Target
    from llm_workings.models.vision_wrap import VisionModel

    from .lab import Lab

Family = Literal["slope", "share", "covering", "class activation map", "relevance"]


@dataclass(frozen=True)
class Kind:
    """A method as a page tells of it.

    Attributes:
        family: what sort of method it is.
        what: what it is, in a line.
        of_gallery: what `attribution.gallery` calls it; by default the same.
        caveat: what must stand beside its picture.
    """

    name: str
    family: Family
    what: str
    of_gallery: str = ""
    caveat: str = ""


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("saliency", "slope", "The gradient, with its sign."),
        Kind("saliency, absolute", "slope", "The gradient's largest channel, without its sign.", "saliency"),
        Kind("input x gradient", "share", "Each input times its gradient: a first-order share."),
        Kind("SmoothGrad", "slope", "The mean gradient of 25 noisy copies."),
        Kind(
            "integrated gradients", "share", "The gradient gathered on the way from grey, times the change."
        ),
        Kind(
            "expected gradients",
            "share",
            "The same from other pictures instead of grey, 100 of them, each once.",
        ),
        Kind("DeepLift", "share", "Differences from grey, carried back operation by operation."),
        Kind("occlusion", "covering", "What the score loses when a window is covered."),
        Kind("Grad-CAM", "class activation map", "Channels weighted by their mean gradient."),
        Kind("Grad-CAM++", "class activation map", "Channels weighted by rising gradients, place by place."),
        Kind("HiResCAM", "class activation map", "Gradient times activation at each place."),
        Kind("LayerCAM", "class activation map", "Rising gradient times activation at each place."),
        Kind("XGradCAM", "class activation map", "Channels weighted by gradient times activation."),
        Kind("Score-CAM", "class activation map", "Channels weighted by what they leave of the score."),
        Kind(
            "guided backprop",
            "slope",
            "The gradient without what is negative at a ReLU.",
            caveat="Shows edges, whatever the weights are: not an explanation.",
        ),
        Kind("LRP EpsilonPlus", "relevance", "Relevance carried back along what speaks for it."),
        Kind("LRP EpsilonPlusFlat", "relevance", "The same, spread evenly in the first layer."),
        Kind(
            "LRP EpsilonAlpha2Beta1",
            "relevance",
            "Twice what speaks for it, less what speaks against.",
        ),
        Kind(
            "LRP EpsilonAlpha2Beta1Flat",
            "relevance",
            "The same, spread evenly in the first layer.",
        ),
        Kind(
            "LRP EpsilonGammaBox",
            "relevance",
            "A lean towards what speaks for it; bounded by pixels.",
        ),
    )
}
DRAWN = 100  # pictures that expected gradients start from
MAPS = tuple(kind.name for kind in KINDS.values() if kind.family == "class activation map")
OF_ONE_PASS = MAPS[:-1]  # Score-CAM runs the network once a channel

ClassIndex = Annotated[
    int | None,
    Field(title="Class", ge=0, description="The class to explain, by number; empty for the best guess."),
]
Against = Annotated[
    int | None,
    Field(
        title="Against",
        ge=0,
        description="A class whose logit is taken away: why the one rather than the other? Empty for none.",
    ),
]
MapLayer = Annotated[
    str | None,
    Field(
        title="Layer",
        max_length=200,
        description="Where class activation maps are taken; empty for the last that has places.",
    ),
]
MethodName = Annotated[
    str, Field(title="Method", max_length=60, description="saliency, Grad-CAM, LRP EpsilonPlus ...")
]
MethodNames = Annotated[
    list[str], Field(title="Methods", max_length=40, description="Which methods; empty for all.")
]
DrawnSeed = Annotated[
    int, Field(title="Seed", ge=0, le=2**31 - 1, description="Of SmoothGrad's noise and of random weights.")
]


@dataclass(frozen=True)
class Posed:
    """A question about a picture, ready to be answered by any method.

    Attributes:
        x: the picture as the net reads it, `[1, channel, height, width]`.
        logits: `[class]`.
        target: the class that is explained; contrast: the one whose logit is taken away, or None.
        score: the logit, or the difference of the two.
        maps: every layer that has a class activation map, in the order in which they run.
    """

    model: VisionModel
    opened: Opened
    x: Tensor
    logits: np.ndarray
    target: int
    contrast: int | None
    score: Target
    maps: list[str]


def pose(lab: Lab, net: str, picture: str, target: int | None, contrast: int | None) -> Posed:
    """The question: a net, a picture, and what of the answer is to be explained.

    Raises what `lab.vision` and `lab.picture` raise, `BadInput` for a class that there is not.
    """
    from llm_workings.attribution.cams import map_layers
    from llm_workings.attribution.targets import difference, logit

    model = lab.vision(net or DEFAULT_NET)
    opened = lab.picture(picture, model.name)
    lab.progress.report("running the network")
    x = model.prepare(opened.image)
    logits = model.run(x).logits[0].cpu().numpy()
    asked = int(logits.argmax()) if target is None else model.class_of(target)
    if contrast is not None and model.class_of(contrast) == asked:
        raise BadInput(
            f"The class {model.classes[asked]!r} cannot be explained against itself.",
            hint="Choose another class to compare with.",
            given={"target": asked, "contrast": contrast},
        )
    score = logit(asked) if contrast is None else difference(asked, contrast)
    return Posed(model, opened, x, logits, asked, contrast, score, map_layers(model.module, x))


def shown_layers(posed: Posed, layer: str | None) -> tuple[list[str], str | None]:
    """The layers whose maps are shown, and the one that is meant.

    They are the outermost of the net's own layers, and the one that was asked for. `(), None` of a net
    without places. Raises `UnknownName`, suggesting the nearest, for a layer that has no map.
    """
    if layer is not None and layer not in posed.maps:
        posed.model.find(layer)  # says what is wrong with a layer that there is, or names the nearest
        raise unknown("layer with places", layer, posed.maps)
    listed = set(posed.model.layers)
    outer = [
        name
        for name in posed.maps
        if name == layer or (name in listed and not any(part in listed for part in _around(name)))
    ]
    chosen = outer or posed.maps[-1:]
    return chosen, layer or (chosen[-1] if chosen else None)


def _around(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def named(methods: Sequence[str]) -> list[str]:
    """Those methods, or all of them. Raises `UnknownName` for one that is not there, with the nearest."""
    for name in methods:
        if name not in KINDS:
            raise unknown("attribution method", name, KINDS)
    return [name for name in KINDS if not methods or name in methods]


def method_of(posed: Posed, name: str, layer: str | None, seed: int, progress: Progress) -> Method:
    """A method, ready to be called as `method(module, x, target)`; it reports to `progress`.

    Class activation maps need a `layer`: of a net without places, ask for none.
    """
    from llm_workings.attribution.gallery import EXPECTED, gallery
    from llm_workings.attribution.gradients import saliency

    def report(what: str, done: int, total: int) -> None:
        progress.report(f"{name}: {what}", done, total)

    if name == "saliency":
        return saliency
    model = posed.model
    low = ((0 - model.mean) / model.std).min()
    high = ((1 - model.mean) / model.std).max()
    asked = KINDS[name].of_gallery or name
    from_set = baselines_of(posed) if asked == EXPECTED else None
    bounds = (float(low), float(high))
    methods = gallery(
        model.module, posed.x, layer=layer or "", bounds=bounds, baselines=from_set, only=[asked]
    )
    method = methods[asked]
    takes = inspect.signature(method).parameters
    more: dict[str, Any] = {"progress": Progress(report)} if "progress" in takes else {}
    if "seed" in takes:
        more["seed"] = seed
    if asked == EXPECTED:
        more["samples"] = DRAWN
    return partial(method, **more)


def set_of(posed: Posed) -> str:
    """The set that other pictures like this one come from: its own, or the network's; "" if there is none."""
    of_picture = posed.opened.name.partition(":")[0]
    of_net = VISION_NETS.get(posed.model.name)
    return of_picture if of_picture in PICTURES else "" if of_net is None else of_net.data


def baselines_of(posed: Posed) -> Tensor:
    """Other pictures as the network reads them, `[DRAWN, channel, height, width]`, of its training part.

    Raises `BadInput` where there is no set to take them from.
    """
    import torch

    if not set_of(posed):
        raise BadInput(
            f"Expected gradients start from other pictures like {posed.opened.name!r}, and no set "
            f"that is here has such, nor what {posed.model.name} was trained on.",
            hint="Try integrated gradients, which start from grey.",
            given={"net": posed.model.name, "picture": posed.opened.name},
        )
    made = make_pictures(set_of(posed), DRAWN, part="train")
    return torch.cat([posed.model.prepare(image) for image in made.images])


def picture_map(name: str, result: Attribution) -> Tensor:
    """What a page shows of a method, `[row, height, width]`: the channels' sum, or their largest size."""
    if name == "saliency, absolute":
        return result.values.abs().amax(1)
    return result.map


def channels_of(posed: Posed, layer: str) -> int:
    """How many channels a layer has."""
    return int(posed.model.shapes[layer][0])
