"""The card of one unit of a vision net: how it spreads, what sets it off, what it reads and writes."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from llm_workings.core.wire import Payload, Tensor

from .contract import view
from .feature_visualization import LayerName, UnitIndex
from .lab import Lab
from .vision_parts import (
    DEFAULT_NET,
    IN_A_SET,
    ClassScore,
    Net,
    NetCard,
    Picture,
    PictureName,
    net_card,
    picture_of,
    scores_of,
)
from .vision_set import Examples, real_set

SetSize = Annotated[
    int,
    Field(
        title="Pictures",
        ge=20,
        le=IN_A_SET,
        description="How many pictures of the net's set the unit is measured on.",
    ),
]
ByClass = Annotated[np.ndarray, Tensor("float32", "class")]
TOP_WORDS = 3  # classes that a reading names


class Excited(Payload):
    """Pictures with where in each of them the unit is strong."""

    examples: Examples
    maps: Annotated[np.ndarray, Tensor("uint8", "example row column")]
    """The unit by place, 255 its largest over all the card's pictures; below 0 is 0."""


class Kernels(Payload):
    """What the unit is joined with most, the strongest first."""

    of: str
    """The layer on the other side, or what it is."""
    names: list[str]
    units: list[int]
    """Their numbers in that layer."""
    kernels: Annotated[np.ndarray, Tensor("float32", "unit row column")]
    """The weights, the batch norm's factor in them; one by one where it is a linear layer."""
    lengths: Annotated[np.ndarray, Tensor("float32", "unit")]
    """Each kernel's length, by which they are sorted; a class's weight itself."""
    out_of: int
    """How many there are."""


class UnitAlike(Payload):
    """Another unit of the layer, and the correlation of the two over the set."""

    unit: int
    correlation: float


class UnitWithout(Payload):
    """The net when the unit is held at one value at every place of every picture."""

    how: str
    """`zero`, or `mean`: its mean over the set."""
    value: float
    accuracy: float | None
    """On the set; None where no classes are known."""
    changed: int
    """How many pictures get another answer."""
    by_class: ByClass
    """The mean change of each class's logit over the pictures of that class (without a set: over all)."""
    scores: list[ClassScore]
    """The answer to the page's picture, and the class that was best with the unit."""


class Unit(Payload):
    """One unit, a channel of a layer, over a set of pictures and on one of them."""

    net: NetCard
    layer: str
    unit: int
    units: int
    """How many the layer has."""
    n: int
    about_set: str
    whole: bool
    """Whether there is a set; without one there are no statistics."""
    counts: Annotated[np.ndarray, Tensor("int32", "bin")]
    edges: Annotated[np.ndarray, Tensor("float32", "edge")]
    mean: float
    std: float
    firing: float
    """The share of pictures for which its mean over places is above 0."""
    picture: Picture
    value: float
    """Its mean over the places of the page's picture."""
    below: float
    """The share of the set that excites it less."""
    map: Annotated[np.ndarray, Tensor("float32", "row column")]
    """The unit at each place of that picture."""
    scores: list[ClassScore]
    """The net's answer to it."""
    top: Excited
    drawn: Excited
    bottom: Excited
    by_class: ByClass
    """Its mean over the pictures of each class; NaN where there are none."""
    favourite: int | None
    selectivity: float | None
    in_effect: float | None
    flags: list[str]
    reads: Kernels | None
    """The channels it convolves; None where it comes out of no convolution of the layer."""
    writes: Kernels | None
    """The units of the next layer that read it, or the classes."""
    alike: list[UnitAlike]
    accuracy: float | None
    """Of the whole net on the set."""
    without: list[UnitWithout]
    """Zero, then mean."""
    summary: str
    """The card in a sentence."""

    def subject(self) -> str:
        """What it is about, for a title."""
        return f"unit {self.unit} of {self.layer}, {self.net.title}"

    def reading(self) -> str:
        """The card in a few sentences, for a terminal or a screen reader."""
        said = f"{self.summary} On {self.picture.name} it is {self.value:.3g}"
        said += f", more than for {self.below:.0%} of {self.n}." if self.whole else "."
        if self.flags:
            said += f" Flags: {'; '.join(self.flags)}."
        if self.alike:
            said += f" Most alike: unit {self.alike[0].unit} (correlation {self.alike[0].correlation:.2f})."
        return said


@view
def unit(
    lab: Lab,
    net: Net = DEFAULT_NET,
    layer: LayerName = "",
    unit: UnitIndex = None,
    picture: PictureName = "",
    n: SetSize = IN_A_SET,
) -> Unit:
    """One unit.

    A unit is a channel of a layer; its value for a picture, a, is its mean over places. The
    histogram is of a over the net's test pictures, with the page's own marked. Beneath: the pictures that
    excite it most and least and some at random, its mean by class, the kernels by which it reads the channels
    below and is read above (the batch norm's factor in them), the units that go up and down with it. Its
    selectivity is (a of the best class - a of the others) / their sum (Morcos et al. 2018). Without it: held
    at 0, or at its mean over the set, at every place, and the answers counted again.

    What this cannot tell you: what the unit is for. It may be strong for a class and the answer may not need
    it (others say the same), or weak and needed. A class is a coarse name: a unit that likes round things is
    called mixed by it. The net's set holds what it holds; other pictures may set the unit off more.
    """
    import torch

    from llm_workings.activations.units import describe

    from .feature_goals import collected, telling
    from .unit_passes import excited, held, joined_above, joined_below
    from .vision_set import check_unit, fitted, layer_of, units_of

    model = lab.vision(net)
    real = real_set(lab, model, picture, n)
    layer = layer_of(model, layer)
    if unit is None:
        unit = telling(lab, model, real, layer)[0]
    check_unit(model, layer, unit)
    opened = lab.picture(picture, net)
    image = fitted(model, opened)
    lab.progress.report("the picture")
    x = (torch.from_numpy(image).to(model.device, model.dtype) - model.mean) / model.std
    run = model.run(x, [layer])
    own = run[layer][0, unit].float().cpu().numpy()
    own = own.reshape(1, 1) if own.ndim != 2 else own
    logits = run.logits[0].float().cpu().numpy()

    found = collected(lab, model, real, layer)
    told = describe(found, layer, unit)
    values = found.at(layer)[:, unit]
    few = not real.whole
    known = opened.name in real.names  # then it is the very number of the set, which ranks by it
    value = float(values[real.names.index(opened.name)] if known else own.mean())
    groups = excited(lab, model, real, layer, unit, [told.top, told.drawn, told.bottom], values)
    best = int(logits.argmax())
    without = held(lab, model, real, layer, unit, image, {"zero": 0.0, "mean": told.mean})
    accuracy = None if few else float((found.answers == real.labels).mean())
    card = net_card(model)
    changes = [
        UnitWithout(
            how=each.how,
            value=each.value,
            accuracy=each.accuracy,
            changed=each.changed,
            by_class=each.by_class,
            scores=scores_of(each.logits, model.classes, 3, (best,)),
        )
        for each in without
    ]
    return Unit(
        net=card,
        layer=layer,
        unit=unit,
        units=units_of(model, layer),
        n=len(real),
        about_set=real.about,
        whole=real.whole,
        counts=told.counts,
        edges=told.edges,
        mean=told.mean,
        std=told.std,
        firing=told.firing,
        picture=picture_of(opened, model),
        value=value,
        below=float((values < value).mean()),
        map=own,
        scores=scores_of(logits, model.classes, 3),
        top=groups[0],
        drawn=groups[1],
        bottom=groups[2],
        by_class=told.by_class,
        favourite=told.favourite,
        selectivity=told.selectivity,
        in_effect=told.in_effect,
        flags=[] if few else list(told.flags),
        reads=joined_below(model, layer, unit),
        writes=joined_above(model, layer, unit),
        alike=[] if few else [UnitAlike(unit=i, correlation=r) for i, r in told.neighbours],
        accuracy=accuracy,
        without=changes,
        summary=_summary(
            f"Unit {unit} of {layer}", card.classes, told.by_class, told.favourite, accuracy, changes
        ),
    )


def _summary(
    name: str,
    classes: list[str],
    by_class: np.ndarray,
    favourite: int | None,
    accuracy: float | None,
    without: list[UnitWithout],
) -> str:
    if favourite is None or accuracy is None:
        changed = without[0].changed
        told = f"without it the answer to {changed or 'none'} of the pictures at hand changes"
        return f"{name}: there is no set of pictures to say what it likes; {told}."
    order = [int(at) for at in np.argsort(-np.nan_to_num(by_class, nan=-np.inf), kind="stable")]
    close = [at for at in order if by_class[at] >= 0.5 * by_class[order[0]]][:TOP_WORDS]
    if by_class[order[0]] <= 0:
        said = f"{name} is least silent for {classes[favourite]}"
    else:
        said = f"{name} is strongest for {_listed([classes[at] for at in close])}"
    lost = without[0].accuracy
    assert lost is not None
    if round(lost, 3) == round(accuracy, 3):
        return f"{said}; without it the net is right as often ({accuracy:.3f})."
    return f"{said}; without it the net is right in {lost:.3f} of the pictures instead of {accuracy:.3f}."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
