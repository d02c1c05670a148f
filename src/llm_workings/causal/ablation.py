"""Ablation: take parts of a model out and see what is missed.

    base = Base(model, text)
    ablate(base, every(model.spec, "head"), metrics.loss(base), MeanOf(model, texts)).strongest()

Parts are heads, neurons, a layer's attention or MLP, whole layers (`Part`), or sets of them; what stands in
their place is a `Replacement`. A part without which the metric stays may still do much (others make up
for it: McGrath et al. 2023, "The Hydra Effect"), and one without which it falls may only have been
needed for the others to work as they do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput
from llm_workings.core.progress import SILENT, Progress
from llm_workings.core.seeds import python_generator
from llm_workings.models.sites import Site
from llm_workings.trace.edits import Edit, Replace, Where, Zero

from .base import Base
from .metrics import Metric
from .parts import Part, every, read_parts, sites_of_part
from .replacements import ZERO, MeanOf, Replacement, Resample
from .sweep import measure_base, sweep

Parts = Part | str | Iterable[Part | str]


@dataclass(frozen=True)
class Ablation:
    """What came of taking parts out, one entry at a time.

    Attributes:
        entries: the parts taken out together, of each entry.
        metric, unit: its name, what it is counted in.
        replacement: what stood in their place.
        values: the metric of each ablated run, `[entry]`, float64; NaN where it was not computed (yet).
        base: the metric of the run itself.
        errors: the standard error of each effect, where several texts were averaged over.
    """

    entries: tuple[tuple[Part, ...], ...]
    metric: str
    unit: str
    replacement: str
    values: Tensor
    base: float
    errors: Tensor | None = None

    @property
    def effects(self) -> Tensor:
        """How much the metric changed, `[entry]`."""
        return self.values - self.base

    @property
    def grid(self) -> Tensor:
        """The effects as `[layer, head or neuron]`, or `[layer]`; NaN where nothing was ablated.

        Raises `BadInput` for entries that are no single parts of one kind.
        """
        kinds = {part.kind for entry in self.entries for part in entry}
        if len(kinds) != 1 or any(len(entry) != 1 for entry in self.entries):
            raise BadInput("Only single parts of one kind make a grid.", given={"kinds": sorted(kinds)})
        return grid_of([entry[0] for entry in self.entries], self.effects)

    def strongest(self, count: int = 5) -> list[tuple[tuple[Part, ...], float]]:
        """The entries whose ablation changes the metric most, with their effects."""
        order = self.effects.abs().nan_to_num(-1.0).argsort(descending=True)[:count]
        return [(self.entries[i], float(self.effects[i])) for i in order.tolist()]

    def __repr__(self) -> str:
        best = ", ".join(f"{'+'.join(map(str, entry))} {effect:+.3g}" for entry, effect in self.strongest(3))
        return (
            f"{self.replacement} ablation of {len(self.entries)} entries; {self.metric} {self.base:.4g}; "
            f"strongest {best}"
        )


def grid_of(parts: Sequence[Part], values: Tensor) -> Tensor:
    """One number a part of one kind, as `[layer, index]` or `[layer]`; NaN where there is no part."""
    layers = max((part.layer for part in parts), default=-1) + 1
    counted = any(part.index is not None for part in parts)
    indices = max((part.index or 0 for part in parts), default=-1) + 1
    grid = torch.full((layers, indices) if counted else (layers,), torch.nan, dtype=torch.float64)
    for part, value in zip(parts, values.tolist(), strict=True):
        grid[(part.layer, part.index) if part.index is not None else part.layer] = value
    return grid


def edits_of(
    base: Base,
    parts: Parts,
    replacement: Replacement = ZERO,
    positions: Sequence[int] | None = None,
) -> list[Edit]:
    """The edits that take some parts out together, those of one site in one edit.

    They are plain edits: a run, a generation and a sweep can make them too.
    """
    spec = base.spec
    by_site: dict[Site, list[Part]] = {}
    for part in read_parts(spec, parts):
        for place in sites_of_part(spec, part):
            by_site.setdefault(place, []).append(part)
    edits = []
    for place, members in sorted(by_site.items(), key=lambda item: item[0].layer or 0):
        indices = sorted({part.index for part in members if part.index is not None})
        value = replacement.value(place, base.n)
        heads, units = (indices or None if place.kind == kind else None for kind in ("z", "mlp_post"))
        where = Where(positions=positions, heads=heads, units=units)
        if value is None:
            edits.append(Edit(place, where, Zero()))
            continue
        if positions is not None and len(value) > 1:
            value = value[list(positions)]
        if heads is not None:
            value = value[:, indices]
        elif units is not None:
            value = value[..., indices]
        edits.append(Edit(place, where, Replace(value[None])))
    return edits


def ablate(
    base: Base,
    parts: Iterable[Parts],
    metric: Metric,
    replacement: Replacement = ZERO,
    *,
    positions: Sequence[int] | None = None,
    budget: int | str = "1GiB",
    progress: Progress = SILENT,
    partial: Callable[[Ablation], None] | None = None,
) -> Ablation:
    """Take out each entry's parts, one run an entry.

    Args:
        base: the text, run once.
        parts: the entries: each a part, its name (`head.3.5`), or several taken out together.
            `every(spec, "head")` is each head in turn.
        metric: `metrics.loss(base)` is the loss on the text itself.
        replacement: `ZERO`, `MeanOf(...)`, `Resample(...)`.
        positions: of the text at which to take them out; by default all.
        partial: called as the values fill.

    Raises:
        BadInput, UnknownName: a part that is not there, a data set that does not fit.
        TooLarge, NotFinite, Cancelled: as `sweep`.
    """
    entries = tuple(read_parts(base.spec, entry) for entry in _as_entries(parts))
    base.hold(
        [*dict.fromkeys(s for entry in entries for part in entry for s in sites_of_part(base.spec, part))]
    )
    edits = [edits_of(base, entry, replacement, positions) for entry in entries]
    plain = measure_base(base, metric)

    def so_far(values: Tensor) -> Ablation:
        return Ablation(entries, metric.name, metric.unit, replacement.name, values, plain)

    found = sweep(
        base,
        edits,
        metric,
        budget=budget,
        progress=progress,
        partial=None if partial is None else lambda values: partial(so_far(values)),
    )
    return so_far(found)


def ablate_over(
    cases: Sequence[tuple[Base, Metric]],
    parts: Iterable[Parts],
    replacement: Replacement = ZERO,
    *,
    budget: int | str = "1GiB",
    progress: Progress = SILENT,
) -> Ablation:
    """The same ablations in several texts, each with its metric: means, with the effects' standard errors.

    Raises `BadInput` for no texts, and what `ablate` raises.
    """
    if not cases:
        raise BadInput("There is no text to ablate in.")
    entries = [*_as_entries(parts)]
    found = []
    for number, (base, metric) in enumerate(cases):
        within = _within(progress, "ablating, text by text", number, len(cases))
        found.append(ablate(base, entries, metric, replacement, budget=budget, progress=within))
    values = torch.stack([each.values for each in found])
    effects = torch.stack([each.effects for each in found])
    errors = effects.std(0) / len(cases) ** 0.5 if len(cases) > 1 else torch.full_like(effects[0], torch.nan)
    plain = sum(each.base for each in found) / len(cases)
    first = found[0]
    return Ablation(first.entries, first.metric, first.unit, first.replacement, values.mean(0), plain, errors)


def _within(progress: Progress, what: str, done: int, total: int) -> Progress:
    """For the sweep within one step of longer work: it can be stopped there; what is told is the step."""
    progress.report(what, done, total)
    return Progress(lambda *_: progress.report(what, done, total))


def _as_entries(parts: Iterable[Parts]) -> list[Parts]:
    if isinstance(parts, str | Part):
        parts = [parts]
    return [entry if isinstance(entry, str | Part) else tuple(entry) for entry in parts]


# --- knock-out curves ------------------------------------------------------------------------------
@dataclass(frozen=True)
class KnockOut:
    """A metric as more and more parts are taken out.

    Attributes:
        order: the parts, first taken out first.
        counts: how many are out at each point.
        metric, replacement: their names.
        values: the metric at each point, in the order given.
        random: the same in orders drawn at random, `[order, point]`.
        seed: of those draws.
    """

    order: tuple[Part, ...]
    counts: tuple[int, ...]
    metric: str
    replacement: str
    values: Tensor
    random: Tensor
    seed: int

    def band(self, share: float = 0.9) -> tuple[Tensor, Tensor]:
        """Between which values that share of the random orders lies, at each point."""
        tails = torch.tensor([(1 - share) / 2, (1 + share) / 2], dtype=torch.float64)
        low, high = self.random.quantile(tails, dim=0)
        return low, high

    @property
    def below(self) -> float:
        """The share of points with some but not all out at which the curve lies below every random order."""
        inner = [i for i, count in enumerate(self.counts) if 0 < count < len(self.order)]
        if not inner or not len(self.random):
            return torch.nan
        return float((self.values[inner] < self.random[:, inner].min(0).values).double().mean())

    def __repr__(self) -> str:
        middle = len(self.counts) // 2
        said = (
            f"random orders {float(self.random[:, middle].mean()):.4g}" if len(self.random) else "no others"
        )
        return (
            f"{self.replacement} knock-out of {len(self.order)} parts; {self.metric} "
            f"{float(self.values[0]):.4g} with none out, {float(self.values[middle]):.4g} with "
            f"{self.counts[middle]} ({said}), {float(self.values[-1]):.4g} with {self.counts[-1]}"
        )


def knock_out(
    base: Base,
    order: Iterable[Part | str],
    metric: Metric,
    replacement: Replacement = ZERO,
    *,
    counts: Sequence[int] | None = None,
    random_orders: int = 10,
    seed: int = 0,
    budget: int | str = "1GiB",
    progress: Progress = SILENT,
    partial: Callable[[KnockOut], None] | None = None,
) -> KnockOut:
    """Take parts out one after the other, in the order of a ranking and in random orders of the same parts.

    Args:
        order: the parts, that of the highest rank first.
        counts: how many are out at each point; by default all numbers up to 24 parts, else 24 points
            that stand denser at the start.
        random_orders: how many orders to draw; the ranking says something where its curve leaves theirs.
        partial: called after each order.

    Raises `BadInput` for no parts or a count that is not there, and what `ablate` raises.
    """
    parts = read_parts(base.spec, order)
    if not parts:
        raise BadInput("There is no part to knock out.")
    points = _points(len(parts)) if counts is None else tuple(counts)
    for count in points:
        if not 0 <= count <= len(parts):
            raise BadInput(f"{count} parts cannot be out: there are {len(parts)}.", given={"count": count})
    if not points or random_orders < 0:
        raise BadInput("A curve needs at least one point, and no fewer than 0 random orders.")
    draw = python_generator(seed)
    orders = [parts, *(tuple(draw.sample(parts, len(parts))) for _ in range(random_orders))]
    known: dict[frozenset[Part], float] = {}
    curves: list[list[float]] = []
    for number, each in enumerate(orders):
        within = _within(progress, "knocking out, order by order", number, len(orders))
        sets = [frozenset(each[:count]) for count in points]
        new = [chosen for chosen in dict.fromkeys(sets) if chosen not in known]
        entries = [sorted(chosen) for chosen in new]
        found = ablate(base, entries, metric, replacement, budget=budget, progress=within)
        known.update(zip(new, found.values.tolist(), strict=True))
        curves.append([known[chosen] for chosen in sets])
        if partial is not None:
            partial(_curve(parts, points, metric, replacement, curves, seed))
    return _curve(parts, points, metric, replacement, curves, seed)


def _curve(
    parts: tuple[Part, ...],
    points: tuple[int, ...],
    metric: Metric,
    replacement: Replacement,
    curves: list[list[float]],
    seed: int,
) -> KnockOut:
    table = torch.tensor(curves, dtype=torch.float64)
    return KnockOut(parts, points, metric.name, replacement.name, table[0], table[1:], seed)


def _points(n: int) -> tuple[int, ...]:
    if n <= 24:
        return tuple(range(n + 1))
    return tuple(dict.fromkeys(round(n * (i / 23) ** 2) for i in range(24)))


__all__ = [
    "ZERO",
    "Ablation",
    "KnockOut",
    "MeanOf",
    "Part",
    "Replacement",
    "Resample",
    "ablate",
    "ablate_over",
    "edits_of",
    "every",
    "grid_of",
    "knock_out",
]
