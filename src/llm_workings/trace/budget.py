"""How many bytes a run will need, said before it runs, and refused with advice past the budget."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llm_workings.core.devices import free_memory
from llm_workings.core.errors import BadInput, TooLarge
from llm_workings.models.sites import Site, site, stream_of
from llm_workings.models.spec import GatedMLP, NoMLP, PostNorm, Spec

from .run import summary_of_names

if TYPE_CHECKING:
    import torch

VARIABLE = "LLM_WORKINGS_MEMORY"
_UNITS = {
    "": 1,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "KI": 2**10,
    "MI": 2**20,
    "GI": 2**30,
    "TI": 2**40,
}


@dataclass(frozen=True)
class Forecast:
    """Bytes, beyond the weights that are already there.

    Args:
        kept: by site; one tensor that is two sites (what a block leaves, the next enters) counts once.
        logits: of the scored positions.
        cache: keys and values held for resuming.
        working: the largest set of values alive at once while a layer or the head is computed.
        gradient: values that a backward pass needs, and the gradients themselves.
    """

    kept: dict[Site, int] = field(default_factory=dict)
    logits: int = 0
    cache: int = 0
    working: int = 0
    gradient: int = 0

    @property
    def total(self) -> int:
        return sum(self.kept.values()) + self.logits + self.cache + self.working + self.gradient

    def __str__(self) -> str:
        parts = {
            "kept": sum(self.kept.values()),
            "logits": self.logits,
            "keys and values": self.cache,
            "working set": self.working,
            "gradient": self.gradient,
        }
        named = ", ".join(f"{name} {spell(size)}" for name, size in parts.items() if size)
        return f"{spell(self.total)} ({named})"


def predict(
    spec: Spec,
    *,
    batch: int,
    positions: int,
    total: int,
    scored: int,
    keep: Collection[Site],
    layers: range,
    opened: Collection[Site] = (),
    item: int = 4,
    cached: bool = False,
    graph: bool = False,
) -> Forecast:
    """What a run of this shape will take.

    Args:
        positions: computed for each row; `total` with those before them in a cache.
        scored: positions that meet the unembedding (0: none does).
        layers: the layers that are run.
        opened: sites that take attention out of the fused kernel (edits of scores or pattern).
        item: bytes of one number.
        graph: whether a gradient is taken.
    """
    a, d = spec.attention, spec.d_model
    row = batch * positions * item
    pair = batch * a.n_heads * positions * total * item
    logits = batch * scored * spec.vocab_size * item

    # The stream leaving a block is the very tensor that enters the next: held once.
    leaving = {site("resid_pre", layer): stream_of(spec)[layer] for layer in range(1, spec.n_layers)}
    kept = {
        place: _numbers(spec, place, batch, positions, total, scored) * item
        for place in keep
        if leaving.get(place) not in keep and place.kind != "logits"
    }
    keys = 2 * batch * total * a.n_key_value_heads * a.d_head * item
    hidden = (
        0 if isinstance(spec.mlp, NoMLP) else spec.mlp.width * (3 if isinstance(spec.mlp, GatedMLP) else 2)
    )
    inner = (2 * a.n_heads + 2 * a.n_key_value_heads) * a.d_head

    asked = {*keep, *opened}

    def open_pairs(layer: int) -> int:
        """How many [query, key] squares a layer forms: none when attention is fused."""
        return 3 if site("scores", layer) in asked or site("pattern", layer) in asked else 0

    working = max(
        (row * (3 * d + max(inner, hidden)) + open_pairs(layer) * pair for layer in layers), default=row * d
    )
    gradient = 0
    if graph:
        first = min((place.layer or 0 for place in keep if place.layer is not None), default=0)
        blocks = [layer for layer in layers if layer >= first]
        stream = 6 if isinstance(spec.block, PostNorm) else 4
        gradient = sum(kept.values()) + 3 * logits
        for layer in blocks:
            gradient += row * (stream * d + inner + hidden)
            if open_pairs(layer) and site("pattern", layer) not in keep:
                gradient += pair  # an open softmax holds its output, which is the pattern
    return Forecast(
        kept,
        logits,
        keys * len(layers) if cached else 0,
        max(working, row * d + logits // 4 if scored else 0),
        gradient,
    )


def _numbers(spec: Spec, place: Site, batch: int, positions: int, total: int, scored: int) -> int:
    a = spec.attention
    final = place.kind in ("ln_final", "ln_final_scale", "logits")
    sizes = {
        "batch": batch,
        "position": scored if final else positions,
        "query": positions,
        "key": total,
        "head": a.n_heads,
        "key_value_head": a.n_key_value_heads,
        "d_head": a.d_head,
        "d_model": spec.d_model,
        "neuron": 0 if isinstance(spec.mlp, NoMLP) else spec.mlp.width,
        "vocabulary": spec.vocab_size,
        "one": 1,
    }
    return math.prod(sizes[axis] for axis in place.axes)


def check(forecast: Forecast, device: torch.device, budget: int | str | None = None) -> None:
    """Refuse, with advice, a run that would not fit.

    The budget is `budget` (bytes, or text such as "12GB"), else the environment variable
    LLM_WORKINGS_MEMORY, else nine tenths of what is free on the device.

    Raises `TooLarge`, saying what costs most and what would make it less.
    """
    given = budget if budget is not None else os.environ.get(VARIABLE) or None
    limit = free_memory(device) * 9 // 10 if given is None else read_size(given)
    if forecast.total <= limit:
        return
    advice = []
    by_kind: dict[str, list[Site]] = {}
    for place in forecast.kept:
        by_kind.setdefault(place.kind, []).append(place)
    if by_kind:
        cost = {kind: sum(forecast.kept[place] for place in places) for kind, places in by_kind.items()}
        dearest = max(cost, key=lambda kind: cost[kind])
        if cost[dearest] * 4 > forecast.total:
            names = ", ".join(summary_of_names(by_kind[dearest]))
            advice.append(f"keep fewer layers of {names} ({spell(cost[dearest])})")
    if forecast.logits * 4 > forecast.total:
        advice.append(
            f'take the logits of the last position only, logits="last" ({spell(forecast.logits)} now)'
        )
    advice += ["use fewer positions or rows", "or half precision"]
    where = "the budget" if given is not None else f"the memory free on {device}"
    raise TooLarge(
        f"This run would take {forecast}, past {where} of {spell(limit)}.",
        hint=f"To make it fit: {', '.join(advice)}.",
        given={"needed": forecast.total, "budget": limit},
    )


def read_size(text: int | str) -> int:
    """Bytes that "12GB", "800 MB", "1.5GiB" or a number mean. Raises `BadInput` for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", str(text).upper())
    if match is None or match[2] not in _UNITS or isinstance(text, bool):
        raise BadInput(f"{text!r} is no amount of memory.", hint="Write for example 12GB, 800MB or 1.5GiB.")
    return int(float(match[1]) * _UNITS[match[2]])


def spell(size: float) -> str:
    """Bytes as people say them: "1.3 GB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
