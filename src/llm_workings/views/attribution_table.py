"""Which method is right? All of them on pictures whose truth is known, measured in one table."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from llm_workings.core.errors import BadInput
from llm_workings.core.wire import Payload
from llm_workings.data.pictures import PICTURES, make_pictures
from llm_workings.models.vision_nets import VISION_NETS

from .attribution_methods import (
    KINDS,
    MAPS,
    DrawnSeed,
    Family,
    MapLayer,
    MethodNames,
    Posed,
    method_of,
    named,
    pose,
    shown_layers,
)
from .contract import view
from .lab import Lab
from .vision_parts import DEFAULT_NET, Net, NetCard, net_card

if TYPE_CHECKING:
    from torch import Tensor, nn

    from llm_workings.attribution.gallery import Method

HowMany = Annotated[
    int, Field(title="Pictures", ge=2, le=200, description="How many pictures, from the set's first.")
]
SetName = Annotated[
    str,
    Field(
        title="Set of pictures",
        max_length=40,
        description="One whose true masks are known, such as shapes; empty for the network's own.",
    ),
]
BATCH = 10
TAKEN = 12  # how many times pixels go, of deletion and insertion
RANDOM = 10  # pictures whose maps are made with random weights as well


class TableRow(Payload):
    """One method over the set, means over the pictures."""

    name: str
    family: Family
    pointing: float
    """How often the strongest place lies in the true mask, or next to it."""
    mass: float
    """The true mask's share of all that is positive."""
    on_mark: float | None
    """The planted mark's share of all that is positive."""
    pointing_mark: float | None
    """How often the strongest place lies in the mark, or next to it."""
    deletion: float
    insertion: float
    """Areas under the curves of the class's probability."""
    random: float
    random_absolute: float
    """Rank correlation of the map with one of random weights, and of their absolute values."""
    error: float | None
    """|sum - what it should be| over that, the median, where a sum is promised."""
    seconds: float
    """A picture."""


class AttributionTable(Payload):
    """Every method over a set of pictures whose truth is known."""

    net: NetCard
    set: str
    set_title: str
    n: int
    seed: int
    layer: str | None
    area: float
    """The true masks' mean share of the picture: the mass that chance gives."""
    mark_area: float | None
    by_chance: list[float]
    """Areas under deletion and insertion in a random order."""
    right: float
    """How many of the pictures the network answers rightly."""
    rows: list[TableRow]
    waiting: list[str]

    def reading(self) -> str:
        """The table in a few sentences, for a terminal or a screen reader."""
        said = [
            f"{self.net.title} on {self.n} pictures of {self.set_title} ({self.right:.0%} answered rightly)."
        ]
        by = "on the mark" if self.mark_area else "on the figure"
        for row in sorted(self.rows, key=lambda one: -_first(one))[:3]:
            share = row.mass if row.on_mark is None else row.on_mark
            said.append(
                f"{row.name} points {by} {_first(row):.0%} of the time, with {share:.0%} of its relevance."
            )
        return " ".join(said)


def _first(row: TableRow) -> float:
    return row.pointing if row.pointing_mark is None else row.pointing_mark


@dataclass(frozen=True)
class Truth:
    """The pictures as the net reads them, their classes, and where the figure and the mark are."""

    x: Tensor
    labels: Tensor
    masks: Tensor
    marks: Tensor | None


@view
def attribution_table(
    lab: Lab,
    net: Net = DEFAULT_NET,
    pictures: SetName = "",
    n: HowMany = 40,
    methods: MethodNames = [],  # noqa: B006 (pydantic copies it)
    layer: MapLayer = None,
    seed: DrawnSeed = 0,
) -> AttributionTable:
    """Which method is right.

    All methods on drawn pictures, whose figure is known pixel by pixel; the logit of the true class is
    explained. Pointing: how often the strongest place lies on the figure or next to it (Zhang et al.
    2018). Mass: the figure's share of all that is positive (Arras et al. 2022). Deletion and insertion:
    areas under the class's probability as the strongest pixels are covered, or alone are shown (Petsiuk
    et al. 2018). Random weights: the rank correlation of the map with that of a network which has learned
    nothing (Adebayo et al. 2018), and of the values' sizes. A network that was trained with a mark in the
    picture goes by the mark; there a method that is right points at the mark and not at the figure.

    What this cannot tell you: which method is right on other networks or photographs. That the figure is
    what the network uses is itself a supposition; an outline or the ground beside it may be enough for
    it. Each measure can be had cheaply: a blob on the figure points well, edges have mass there.
    """
    import torch

    name = net or DEFAULT_NET
    of_set = pictures or (VISION_NETS[name].data if name in VISION_NETS else "")
    model = lab.vision(name)
    if of_set not in PICTURES:
        known = ", ".join(PICTURES)
        raise BadInput(
            f"There is no set of pictures {of_set!r} with true masks."
            if of_set
            else f"No pictures with true masks go with {name}.",
            hint=f"Choose another network, such as shapes-cnn. Sets: {known}.",
            given={"net": name, "pictures": of_set},
        )
    made = make_pictures(of_set, n, seed=0, part="test")
    if tuple(made.classes) != tuple(model.classes):
        raise BadInput(
            f"{name} does not tell apart what is in {of_set}.",
            hint=f"Its classes are {', '.join(model.classes[:8])}.",
            given={"net": name, "pictures": of_set},
        )
    posed = pose(lab, name, f"{of_set}:0", None, None)
    _, at = shown_layers(posed, layer)
    truth = Truth(
        torch.cat([model.prepare(image) for image in made.images]),
        torch.from_numpy(made.labels),
        torch.from_numpy(made.masks),
        torch.from_numpy(made.marks) if made.marks.any() else None,
    )
    wanted = [one for one in named(methods) if one != "saliency" and (at is not None or one not in MAPS)]
    chance = _chance(model.module, truth, seed)
    right = float((model.run(truth.x).logits.argmax(1).cpu() == truth.labels).float().mean())
    rows: list[TableRow] = []

    def so_far() -> AttributionTable:
        here = {row.name for row in rows}
        return AttributionTable(
            net=net_card(model),
            set=of_set,
            set_title=PICTURES[made.name].title,
            n=n,
            seed=seed,
            layer=at,
            area=float(made.masks.mean()),
            mark_area=None if truth.marks is None else float(made.marks.mean()),
            by_chance=chance,
            right=right,
            rows=sorted(rows, key=lambda row: (-_first(row), -(row.on_mark or row.mass))),
            waiting=[one for one in wanted if one not in here],
        )

    for done, one in enumerate(wanted):
        lab.progress.publish(so_far)
        lab.progress.report(one, done, len(wanted))
        rows.append(_row(lab, posed, one, method_of(posed, one, at, seed, lab.progress), truth, seed))
    return so_far()


def _row(lab: Lab, posed: Posed, name: str, method: Method, truth: Truth, seed: int) -> TableRow:
    import torch

    from llm_workings.attribution.sanity import cascade, curves
    from llm_workings.attribution.targets import logit, probability
    from llm_workings.attribution.truth import mass, pointing, strength

    module, x, labels = posed.model.module, truth.x, truth.labels
    strong, areas, errors, seconds = [], [], [], 0.0
    for begin in range(0, len(x), BATCH):
        lab.progress.report(name, begin, len(x))
        at = slice(begin, begin + BATCH)
        started = time.perf_counter()
        result = method(module, x[at], logit(labels[at]))
        seconds += time.perf_counter() - started
        strong.append(strength(result, x[at]))
        drawn = curves(module, x[at], probability(labels[at]), strong[-1], steps=TAKEN)
        areas.append(torch.stack((drawn.deletion_area, drawn.insertion_area)))
        if result.error is not None and result.expected is not None:
            errors.append(result.error.abs() / result.expected.abs().clamp(min=1e-12))
    *_, random = cascade(module, x[:RANDOM], logit(labels[:RANDOM]), method, seed=seed, measured=1)
    whole, (deletion, insertion) = torch.cat(strong).cpu(), torch.cat(areas, 1).double().mean(1).tolist()
    marks = truth.marks
    return TableRow(
        name=name,
        family=KINDS[name].family,
        pointing=float(pointing(whole, truth.masks).double().mean()),
        mass=float(mass(whole, truth.masks).double().mean()),
        on_mark=None if marks is None else float(mass(whole, marks).double().mean()),
        pointing_mark=None if marks is None else float(pointing(whole, marks).double().mean()),
        deletion=deletion,
        insertion=insertion,
        random=random.likeness.spearman,
        random_absolute=random.likeness.spearman_absolute,
        error=float(torch.cat(errors).median()) if errors else None,
        seconds=seconds / len(x),
    )


def _chance(module: nn.Module, truth: Truth, seed: int) -> list[float]:
    """Areas under deletion and insertion in a random order."""
    import torch

    from llm_workings.attribution.sanity import curves
    from llm_workings.attribution.targets import probability

    draw = torch.Generator().manual_seed(seed)
    order = torch.rand((len(truth.x), *truth.x.shape[2:]), generator=draw).to(truth.x)
    drawn = curves(module, truth.x, probability(truth.labels), order, steps=TAKEN)
    return [float(drawn.deletion_area.mean()), float(drawn.insertion_area.mean())]
