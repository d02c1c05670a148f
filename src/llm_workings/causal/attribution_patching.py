"""Attribution patching: what every patch would do, estimated from gradients, all sites at once.

Patching the value y of one run for the value x of another changes the metric m by about (y - x) . dm/dx:
one pass forward and back instead of one run a patch (Nanda 2023, "Attribution Patching: Activation
Patching At Industrial Scale"; Kramár et al. 2024, AtP*). The slope is that of a straight line through x.
Where a softmax or a norm is saturated there, it says little of what lies further off: attention that is
sure of itself has no slope, and an estimate of nothing.

The integrated form takes the mean slope along the way from x to y (integrated gradients, Sundararajan et
al. 2017): with the inputs moved from the one text's embeddings to the other's (EAP-IG, Hanna et al. 2024,
section 3), or with the values of the layer's site itself moved. An estimate it stays. So every result
carries its agreement with the exact sweep, on all entries or on a sample of stated size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput, unknown
from llm_workings.core.progress import SILENT, Progress
from llm_workings.core.seeds import generator
from llm_workings.models.sites import Site, select, site
from llm_workings.trace.budget import read_size
from llm_workings.trace.edits import Edit, Replace
from llm_workings.trace.run import Run

from .agreement import Agreement, agreement
from .base import Base
from .metrics import Metric
from .patching import Axis, Direction, Pair, axes_of, layered_site, patch_of, sizes_of
from .sweep import measure_base, sweep

Path = Literal["inputs", "site"]
_NAMES: dict[str, Axis] = {
    "position": "position",
    "query": "position",
    "head": "head",
    "key_value_head": "head",
    "neuron": "neuron",
}


@dataclass(frozen=True)
class Attribution:
    """What attribution patching estimates of one kind of site.

    Attributes:
        kind: of site: `z`, `resid_pre` ...
        axes: names of the dimensions of `effects`, `layer` first.
        layers: those looked at.
        metric: its name.
        direction: which run is patched into which.
        form: "linear", or "integrated" with its steps and path.
        effects: by how much each patch changes the metric, estimated; float64.
        exact: the same from the exact sweep; NaN where that was not made.
        agreement: of the two.
        clean, corrupted: the metric of the two runs themselves.
        pieces: the clean text's tokens.
        differs: the positions at which the two texts have different tokens.
    """

    kind: str
    axes: tuple[Axis, ...]
    layers: tuple[int, ...]
    metric: str
    direction: Direction
    form: str
    effects: Tensor
    exact: Tensor
    agreement: Agreement
    clean: float
    corrupted: float
    pieces: list[str]
    differs: list[int] = field(default_factory=list)

    @property
    def values(self) -> Tensor:
        """The metric of each patched run, estimated: what `patch` computes."""
        return self.effects + (self.corrupted if self.direction == "denoising" else self.clean)

    def strongest(self, count: int = 5) -> list[tuple[tuple[int, ...], float]]:
        """The places of the largest estimated effects, layer first, with the effect."""
        order = self.effects.abs().flatten().argsort(descending=True)[:count]
        found = []
        for flat in order.tolist():
            place = [int(i) for i in torch.unravel_index(torch.tensor(flat), self.effects.shape)]
            found.append(((self.layers[place[0]], *place[1:]), float(self.effects[tuple(place)])))
        return found

    def __repr__(self) -> str:
        best = ", ".join(f"{'.'.join(map(str, place))} {effect:+.3g}" for place, effect in self.strongest(3))
        return (
            f"{self.form} attribution of {self.direction} {self.kind} by {' and '.join(self.axes)}; "
            f"{self.metric} clean {self.clean:.4g}, corrupted {self.corrupted:.4g}; strongest {best}; "
            f"{self.agreement}"
        )


def attribute(
    pair: Pair,
    kind: str,
    metric: Metric,
    *,
    by: Sequence[Axis] | None = None,
    layers: Sequence[int] | None = None,
    direction: Direction = "denoising",
    steps: int = 0,
    along: Path = "inputs",
    check: int = 300,
    seed: int = 0,
    budget: int | str = "1GiB",
    progress: Progress = SILENT,
) -> Attribution:
    """Estimate what each patch of one kind of site does, as `patch` would compute it.

    Args:
        kind: `z` (a head's output), `resid_pre` ..., `attn_out`, `mlp_out`, `mlp_post` (neurons), `q`, `k`,
            `v`, `pattern`: any layered site.
        by: `layer` and, of position, head and neuron, those to tell apart; by default as `patch` does.
        steps: 0 for the plain gradient; otherwise how many points of the way are averaged over (their
            middles: the midpoint rule).
        along: of the integrated form: the way of the inputs, one pass forward and back a step for all
            sites; or that of the site, a pass a step and layer, from there upwards. Over all parts of a
            layer's site the latter adds up to the effect of patching it whole.
        check: so many entries are computed exactly and compared; if there are more, as many are drawn.
        seed: of that draw.

    Raises:
        UnknownName, BadInput: a site or axis that is not there, a metric without slope (rank), a number
            of steps or of entries to check that cannot be.
        TooLarge, NotFinite, Cancelled: as `model.run` and `sweep`.
    """
    return attribute_all(
        pair,
        [kind],
        metric,
        by={} if by is None else {kind: by},
        layers=layers,
        direction=direction,
        steps=steps,
        along=along,
        check=check,
        seed=seed,
        budget=budget,
        progress=progress,
    )[kind]


def attribute_all(
    pair: Pair,
    kinds: Iterable[str],
    metric: Metric,
    *,
    by: Mapping[str, Sequence[Axis]] | None = None,
    layers: Sequence[int] | None = None,
    direction: Direction = "denoising",
    steps: int = 0,
    along: Path = "inputs",
    check: int = 300,
    seed: int = 0,
    budget: int | str = "1GiB",
    progress: Progress = SILENT,
) -> dict[str, Attribution]:
    """Several kinds of site from the same gradients; `by` may say the axes of each. See `attribute`."""
    spec = pair.model.spec
    if direction not in ("denoising", "noising"):
        raise unknown("direction", str(direction), ("denoising", "noising"))
    if along not in ("inputs", "site"):
        raise unknown("path", str(along), ("inputs", "site"))
    if steps < 0 or check < 2:
        raise BadInput(
            f"{steps} steps and {check} entries to check cannot be.",
            hint="Steps: 0 (linear) or more. Entries to check: 2 or more.",
        )
    into, source = (pair.corrupted, pair.clean) if direction == "denoising" else (pair.clean, pair.corrupted)
    chosen = tuple(range(spec.n_layers)) if layers is None else tuple(layers)
    axes: dict[str, tuple[Axis, ...]] = {}
    for kind in kinds:
        axes[kind] = axes_of(layered_site(pair.model, kind), (by or {}).get(kind))
        select(spec, [f"{kind}.{layer}" for layer in chosen])
    places = [site(kind, layer) for kind in axes for layer in chosen]
    into.hold(places)
    source.hold(places)
    slopes = _slopes(into, source, places, metric, steps, along, budget, progress)
    clean, corrupted = measure_base(pair.clean, metric), measure_base(pair.corrupted, metric)
    plain = corrupted if direction == "denoising" else clean
    form = f"integrated ({steps} steps along the {along})" if steps else "linear"
    found = {}
    for kind, names in axes.items():
        parts = []
        for layer in chosen:
            place = site(kind, layer)
            moved = (source.value(place) - into.value(place))[0].cpu().double()
            parts.append(_summed(moved * slopes[place], place.axes[1:], names[1:]))
        effects = torch.stack(parts)
        exact = _exact(into, source, kind, chosen, names, metric, plain, check, seed, budget, progress)
        found[kind] = Attribution(
            kind, names, chosen, metric.name, direction, form, effects, exact, agreement(effects, exact),
            clean, corrupted, pair.clean.run.pieces(), pair.differs,
        )  # fmt: skip
    return found


def _summed(product: Tensor, has: Sequence[str], wanted: Sequence[Axis]) -> Tensor:
    """A site's values summed over all axes but those wanted, which come out in their order."""
    names = [_NAMES.get(axis) for axis in has]
    kept = [i for i, name in enumerate(names) if name in wanted]
    gone = [i for i in range(len(names)) if i not in kept]
    total = product.sum(gone) if gone else product
    order = [names[i] for i in kept]
    return total.permute([order.index(axis) for axis in wanted])


# --- slopes ----------------------------------------------------------------------------------------
def _slopes(
    into: Base,
    source: Base,
    places: list[Site],
    metric: Metric,
    steps: int,
    along: Path,
    budget: int | str,
    progress: Progress,
) -> dict[Site, Tensor]:
    """The metric's slope at each site of the run patched into, without the batch, float64: at that run, or
    its mean along the way to the other."""
    scored = metric.positions(into.n)

    def target(run: Run) -> Tensor:
        logits = run.logits if metric.tokens is None else run.logits[..., list(metric.tokens)]
        value = metric.value(logits)
        if not value.requires_grad:
            raise BadInput(
                f"The metric {metric.name!r} has no slope to follow.",
                hint="Take a smooth one, such as the logit difference, or the exact sweep.",
            )
        return value.sum()

    model = into.model
    if not steps:
        progress.report("taking gradients", 0, 1)
        run = model.run(into.run.tokens, keep=places, grad=target, logits=scored, budget=budget)
        return {place: run.grad[place][0].cpu().double() for place in places}
    shares = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    groups: list[tuple[Site, list[Site]]] = [(site("embed"), places)]
    if along == "site":
        groups = [(place, [place]) for place in places]
    sums = {place: torch.zeros(into.value(place).shape[1:], dtype=torch.float64) for place in places}
    for number, (moving, wanted) in enumerate(groups):
        here, there = into.value(moving), source.value(moving)
        done = 0
        while done < steps:
            progress.report("taking gradients", number * steps + done, len(groups) * steps)
            rows = _rows_that_fit(into, moving, wanted, steps - done, scored, budget)
            share = shares[done : done + rows].to(here).view(-1, *[1] * (here.ndim - 1))
            edit = Edit(moving, how=Replace(here + share * (there - here)))
            if moving.layer is None:
                run = model.run(
                    into.run.tokens.repeat(rows, 1),
                    keep=wanted, edits=edit, grad=target, logits=scored, budget=budget,
                )  # fmt: skip
            else:
                start = into.run.at(moving.layer).repeat(rows)
                run = model.run(
                    keep=wanted, edits=edit, grad=target, logits=scored, resume=start, budget=budget
                )
            for place in wanted:
                sums[place] += run.grad[place].cpu().double().sum(0)
            done += rows
    return {place: total / steps for place, total in sums.items()}


def _rows_that_fit(
    into: Base, moving: Site, wanted: list[Site], most: int, scored: list[int], budget: int | str
) -> int:
    """How many points of the way can be run together; 1 at the least, which `run` then may refuse."""
    limit = read_size(budget)
    for rows in range(most, 1, -1):
        if moving.layer is None:
            asked = into.model.forecast(
                into.run.tokens.repeat(rows, 1), keep=wanted, grad="loss", logits=scored
            )
        else:
            start = into.run.at(moving.layer).repeat(rows)
            asked = into.model.forecast(keep=wanted, grad="loss", logits=scored, resume=start)
        if asked.total <= limit:
            return rows
    return 1


# --- the exact numbers -----------------------------------------------------------------------------
def _exact(
    into: Base,
    source: Base,
    kind: str,
    layers: tuple[int, ...],
    axes: tuple[Axis, ...],
    metric: Metric,
    plain: float,
    check: int,
    seed: int,
    budget: int | str,
    progress: Progress,
) -> Tensor:
    """The effects of the exact sweep, of all entries or of some drawn at random; NaN elsewhere."""
    sizes = {"position": into.n, **sizes_of(into.model, kind)}
    shape = (len(layers), *(sizes[axis] for axis in axes[1:]))
    total = 1
    for size in shape:
        total *= size
    picked = torch.arange(total)
    if total > check:
        picked = torch.randperm(total, generator=generator(seed))[:check].sort().values
    entries = []
    for flat in picked.tolist():
        layer, *rest = (int(i) for i in torch.unravel_index(torch.tensor(flat), shape))
        chosen = dict(zip(axes[1:], rest, strict=True))
        entries.append(patch_of(source, site(kind, layers[layer]), chosen))
    values = torch.full((total,), torch.nan, dtype=torch.float64)
    values[picked] = sweep(into, entries, metric, budget=budget, progress=progress) - plain
    return values.reshape(shape)
