"""Layers left out, exchanged, repeated: the same blocks in another order (Lad et al. 2024, section 3).

That a stream survives this says that the layers work on a common space in small steps; it says nothing
of what a layer does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.sites import stream_of
from llm_workings.models.transformer import UNTAPPED
from llm_workings.trace.edits import Edit, Replace

from .base import Base
from .metrics import Metric
from .sweep import Entry, measure_base, sweep


@dataclass(frozen=True)
class LayerOrders:
    """What came of running the layers in other orders.

    Attributes:
        names: of each order: "without 3", "3 and 4 exchanged".
        orders: the layers as they were run.
        metric: its name.
        values: the metric of each, `[order]`, float64.
        base: the metric of the model's own order.
    """

    names: tuple[str, ...]
    orders: tuple[tuple[int, ...], ...]
    metric: str
    values: Tensor
    base: float

    @property
    def effects(self) -> Tensor:
        """How much the metric changed, `[order]`."""
        return self.values - self.base

    def __repr__(self) -> str:
        order = self.effects.abs().argsort(descending=True)[:3].tolist()
        best = ", ".join(f"{self.names[i]} {float(self.effects[i]):+.3g}" for i in order)
        return f"{len(self.names)} orders of layers; {self.metric} {self.base:.4g}; strongest {best}"


def reorder(
    base: Base,
    orders: Iterable[Sequence[int]],
    metric: Metric,
    *,
    names: Sequence[str] | None = None,
    budget: int | str = "1GiB",
    progress: Progress = SILENT,
) -> LayerOrders:
    """Run the layers in other orders; each is a list of layers, any of them left out or repeated.

    Only what differs from the model's own order at its beginning is run; what follows unchanged to the
    top is swept. Raises `BadInput` for a layer that is not there, and what `sweep` raises.
    """
    n_layers = base.spec.n_layers
    chosen = tuple(tuple(order) for order in orders)
    entries: list[Entry] = []
    for number, order in enumerate(chosen):
        progress.report("exchanging layers", number, len(chosen))
        for layer in order:
            if not 0 <= layer < n_layers:
                raise BadInput(
                    f"There is no layer {layer} to run: layers are 0 to {n_layers - 1}.",
                    given={"order": list(order)},
                )
        own = tuple(range(n_layers))
        first = next((i for i, (a, b) in enumerate(zip(order, own, strict=False)) if a != b), len(order))
        first = min(first, n_layers)
        after = 0  # layers at the top that stand as they do in the model
        while after < min(len(order) - first, n_layers) and order[-1 - after] == n_layers - 1 - after:
            after += 1
        entries.append(_replaced(base, first, order[first : len(order) - after], n_layers - after))
    found = sweep(base, entries, metric, budget=budget, progress=progress)
    called = tuple(names or (", ".join(map(str, order)) or "no layer" for order in chosen))
    return LayerOrders(called, chosen, metric.name, found, measure_base(base, metric))


def skip_layers(
    base: Base,
    metric: Metric,
    layers: Iterable[int | Sequence[int]] | None = None,
    **how: Progress | int | str,
) -> LayerOrders:
    """Leave layers out, each in turn (or each group of them): the stream goes past them untouched.

    In a pre-norm model that is the zero ablation of the whole layer; in a post-norm one (BERT) the
    layer's norms are left out with it.
    """
    n_layers = base.spec.n_layers
    chosen = range(n_layers) if layers is None else layers
    groups = [(each,) if isinstance(each, int) else tuple(each) for each in chosen]
    for layer in (layer for group in groups for layer in group):
        if not 0 <= layer < n_layers:
            raise BadInput(f"There is no layer {layer} to skip: layers are 0 to {n_layers - 1}.")
    orders = [[layer for layer in range(n_layers) if layer not in group] for group in groups]
    names = [f"without {', '.join(map(str, group))}" for group in groups]
    return reorder(base, orders, metric, names=names, **how)  # type: ignore[arg-type]


def swap_layers(
    base: Base,
    metric: Metric,
    pairs: Iterable[tuple[int, int]] | None = None,
    **how: Progress | int | str,
) -> LayerOrders:
    """Exchange two layers, by default each with the next. Raises `BadInput` for a layer that is not there."""
    n_layers = base.spec.n_layers
    chosen = [(i, i + 1) for i in range(n_layers - 1)] if pairs is None else list(pairs)
    orders = []
    for a, b in chosen:
        order = list(range(n_layers))
        if not (0 <= a < n_layers and 0 <= b < n_layers):
            raise BadInput(f"There are no layers {a} and {b} to exchange: layers are 0 to {n_layers - 1}.")
        order[a], order[b] = b, a
        orders.append(order)
    names = [f"{a} and {b} exchanged" for a, b in chosen]
    return reorder(base, orders, metric, names=names, **how)  # type: ignore[arg-type]


def _replaced(base: Base, first: int, layers: Sequence[int], resumed: int) -> list[Edit]:
    """From the stream entering `first`, through `layers`, to the stream entering the layer `resumed`."""
    if not layers and first == resumed:
        return []
    stream = base.stream[first][None]
    with torch.no_grad():
        for layer in layers:
            stream = base.block(layer)(stream, UNTAPPED, base.rotation, None, None)
    place = stream_of(base.spec)[resumed]
    return [Edit(place, how=Replace(stream))]


__all__ = ["LayerOrders", "reorder", "skip_layers", "swap_layers"]
