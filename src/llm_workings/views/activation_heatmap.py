"""Units by pictures: what every unit of a layer answers to every picture of a set, sorted or clustered."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from llm_workings.core.errors import unknown
from llm_workings.core.wire import Payload, Tensor

from .contract import view
from .lab import Lab
from .picture_sets import PictureCount, Thumbnails, over_set, set_of, stages, thumbnails
from .vision_parts import DEFAULT_NET, Net, NetCard, net_card

StageName = Annotated[
    str,
    Field(title="Layer", max_length=200, description="blocks.5, say; empty for the last but one."),
]
Order = Annotated[
    Literal["class", "cluster", "none"],
    Field(
        title="Order",
        description="By class, by what goes together (both ways), or as they are numbered.",
    ),
]


class HeatmapUnit(Payload):
    """What is said of one row."""

    unit: int
    favourite: int | None
    """The class of the highest mean."""
    selectivity: float | None
    """(its mean for that class - for the others) / their sum (Morcos et al. 2018)."""
    firing: float
    """The share of pictures above 0."""
    largest: float
    flags: list[str]
    """dead, doubled, mixed: each with its number."""


class ActivationHeatmap(Payload):
    """Every unit of a layer for every picture."""

    net: NetCard
    set: str
    n: int
    layer: str
    layers: list[str]
    order: Literal["class", "cluster", "none"]
    values: Annotated[np.ndarray, Tensor("float32", "unit picture")]
    """Each channel's mean over its places, by the numbers of units and pictures."""
    units: list[HeatmapUnit]
    """By their number."""
    unit_order: Annotated[np.ndarray, Tensor("uint16", "row")]
    """Which unit each row shows."""
    picture_order: Annotated[np.ndarray, Tensor("uint16", "column")]
    labels: Annotated[np.ndarray, Tensor("uint8", "picture")]
    answers: Annotated[np.ndarray, Tensor("uint8", "picture")]
    thumbnails: Thumbnails

    def flagged(self, kind: str) -> list[int]:
        """The units with a flag of that kind."""
        return [one.unit for one in self.units if any(flag.startswith(kind) for flag in one.flags)]

    def reading(self) -> str:
        """What came out, in a few sentences."""
        dead, doubled, mixed = (len(self.flagged(kind)) for kind in ("dead", "doubled", "mixed"))
        best = max(self.units, key=lambda one: one.selectivity or 0.0)
        said = (
            f"{len(self.units)} units of {self.layer} for {self.n} pictures of {self.set}: {dead} dead, "
            f"{doubled} doubled, {mixed} mixed."
        )
        if best.favourite is None:
            return said
        return (
            f"{said} The most selective is unit {best.unit}, for {self.net.classes[best.favourite]} "
            f"({best.selectivity:.2f})."
        )


@view
def activation_heatmap(
    lab: Lab,
    net: Net = DEFAULT_NET,
    layer: StageName = "",
    n: PictureCount = 120,
    order: Order = "class",
) -> ActivationHeatmap:
    """Units by pictures.

    A row is a unit of the layer, a column a picture, a cell the unit's mean over its places. By class,
    pictures stand with their class and units with the class they answer to most; by cluster, rows and columns
    that go up and down together stand together (average linkage of 1 − correlation, leaves ordered so that
    neighbours are alike).

    Flags, each with its number. Dead: the same for every picture. Doubled: another unit goes with it, at a
    correlation of at least 0.95. Mixed: what excites it most is of at least two classes, in effect
    (exp of the entropy of the classes of the top twentieth).

    What this cannot tell you: what a unit looks for. A class is a coarse test: a unit for round things is
    mixed by it and knows one thing. The mean over places cannot tell a strong answer in one place from a weak
    one everywhere, and a unit that is dead here may wake for other pictures.
    """
    from llm_workings.activations.units import describe

    model, kind, over = lab.vision(net), set_of(net), over_set(lab, net, n)
    names = stages(model)
    at = layer or names[max(0, len(names) - 2)]
    if at not in names:
        raise unknown("layer", at, names)
    found = over.found
    values = found.at(at)

    def units() -> list[HeatmapUnit]:
        rows = []
        for unit in range(values.shape[1]):
            lab.progress.report("describing units", unit, values.shape[1])
            one = describe(found, at, unit)
            rows.append(
                HeatmapUnit(
                    unit=unit,
                    favourite=one.favourite,
                    selectivity=one.selectivity,
                    firing=one.firing,
                    largest=one.largest,
                    flags=list(one.flags),
                )
            )
        return rows

    described = lab.found(net, ("units", n, at), units)
    rows, columns = _orders(values, found.labels, described, order)
    return ActivationHeatmap(
        net=net_card(model),
        set=kind,
        n=len(found),
        layer=at,
        layers=names,
        order=order,
        values=values.T,
        units=described,
        unit_order=rows.astype(np.uint16),
        picture_order=columns.astype(np.uint16),
        labels=found.labels.astype(np.uint8),
        answers=found.answers.astype(np.uint8),
        thumbnails=thumbnails(over.images),
    )


def _orders(
    values: NDArray[np.floating], labels: NDArray[np.integer], units: list[HeatmapUnit], order: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which unit each row shows, and which picture each column."""
    from llm_workings.activations.rows import together

    if order == "none":
        return np.arange(values.shape[1]), np.arange(len(values))
    columns = together(values)
    if order == "cluster":
        return together(values.T), columns
    place = np.empty(len(values), np.int64)
    place[columns] = np.arange(len(values))
    pictures = np.lexsort((place, labels))
    key = [(one.favourite if one.favourite is not None else -1, -(one.selectivity or 0.0)) for one in units]
    return np.array(sorted(range(len(units)), key=lambda unit: key[unit])), pictures
