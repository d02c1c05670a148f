"""Activation patching: put one run's value into another, place by place, and see what moves the answer.

Denoising patches the clean run's values into the corrupted one (what suffices to restore the answer),
noising the corrupted run's into the clean one (what is needed for it); Heimersheim and Nanda 2024 say when
the two differ. Values are raw, and normalized so that 0 is the corrupted run and 1 the clean one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput, unknown
from llm_workings.core.progress import SILENT, Progress
from llm_workings.data.families.alignment import check_token_alignment
from llm_workings.models.sites import KINDS, Site, select, site, sites_of
from llm_workings.trace.edits import Edit, Replace, Where

from .base import Base
from .metrics import Metric
from .sweep import measure_base, sweep

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel

Direction = Literal["denoising", "noising"]
Axis = Literal["layer", "position", "head", "neuron"]
Partial = Callable[["Patching"], None]
MOST = 100_000  # patches of one sweep

# What is usually asked of each site; TransformerLens's `patching` functions use the same axes.
USUAL: dict[str, tuple[Axis, ...]] = {
    **dict.fromkeys(("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"), ("layer", "position")),
    **dict.fromkeys(("z", "q", "k", "v", "pattern"), ("layer", "head")),
    "mlp_post": ("layer", "neuron"),
}


@dataclass(frozen=True)
class Patching:
    """What came of patching one kind of site.

    Attributes:
        kind: of site: `resid_pre`, `z` ...
        axes: names of the dimensions of `values`, `layer` first.
        layers: the layers swept.
        metric: its name.
        direction: which run was patched into which.
        values: the metric of each patched run, float64; NaN where it was not computed (yet).
        clean, corrupted: the metric of the two runs themselves.
        pieces: the clean text's tokens.
    """

    kind: str
    axes: tuple[Axis, ...]
    layers: tuple[int, ...]
    metric: str
    direction: Direction
    values: Tensor
    clean: float
    corrupted: float
    pieces: list[str]
    differs: list[int] = field(default_factory=list)
    """The positions at which the two texts have different tokens."""

    @property
    def normalized(self) -> Tensor:
        """0 where the answer is the corrupted run's, 1 where it is the clean one's.

        Raises `BadInput` where the two runs score the same, so that there is nothing to normalize by.
        """
        span = self.clean - self.corrupted
        if abs(span) <= 1e-12 * max(abs(self.clean), abs(self.corrupted), 1.0):
            raise BadInput(
                f"Both runs score {self.clean:.6g} in {self.metric}: no scale from 0 to 1 lies between them.",
                hint="Take a pair whose answers differ, or read the raw values.",
            )
        return (self.values - self.corrupted) / span

    def strongest(self, count: int = 5) -> list[tuple[tuple[int, ...], float]]:
        """The patches that move the metric furthest from the run that they are made in, best first."""
        unpatched = self.corrupted if self.direction == "denoising" else self.clean
        moved = (self.values - unpatched).abs().nan_to_num(-1.0)
        order = moved.flatten().argsort(descending=True)[:count]
        found = []
        for flat in order.tolist():
            place = [int(i) for i in torch.unravel_index(torch.tensor(flat), moved.shape)]
            found.append(((self.layers[place[0]], *place[1:]), float(self.values[tuple(place)])))
        return found

    def __repr__(self) -> str:
        done = int((~self.values.isnan()).sum())
        best = ", ".join(f"{'.'.join(map(str, place))} {value:.3g}" for place, value in self.strongest(3))
        return (
            f"{self.direction} {self.kind} by {' and '.join(self.axes)}: {done} of {self.values.numel()} "
            f"patches; {self.metric} clean {self.clean:.4g}, corrupted {self.corrupted:.4g}; strongest {best}"
        )


class Pair:
    """A clean and a corrupted text of the same length, each run once.

    Raises `BadInput` where they do not align, saying at which token, and where they are the same.
    """

    def __init__(self, model: LanguageModel, clean: Any, corrupted: Any, progress: Progress = SILENT):
        self.model = model
        self.clean, self.corrupted = Base(model, clean, progress), Base(model, corrupted, progress)
        tokenizer = model.tokenizer
        self.differs = list(check_token_alignment(tokenizer, self.clean.tokens, self.corrupted.tokens))
        if not self.differs:
            raise BadInput(
                "The clean and the corrupted text are the same: every patch would change nothing.",
                given={"text": "".join(self.clean.run.pieces())},
            )


def patch(
    pair: Pair,
    kind: str,
    metric: Metric,
    *,
    by: Sequence[Axis] | None = None,
    layers: Sequence[int] | None = None,
    direction: Direction = "denoising",
    budget: int | str = "1GiB",
    progress: Progress = SILENT,
    partial: Partial | None = None,
) -> Patching:
    """Patch one kind of site, one run for each combination of `by`.

    Args:
        kind: `resid_pre`, `resid_mid`, `resid_post`, `attn_out`, `mlp_out`, `z` (a head's output), `q`, `k`,
            `v`, `pattern`, `mlp_post` ...: any layered site.
        by: `layer` and, of position, head and neuron, those to tell apart; what is left out is patched
            whole. By default as usual for the site (`USUAL`).
        layers: by default all.
        direction: denoising (clean into corrupted) or noising.
        partial: called as the picture fills.

    Raises:
        UnknownName, BadInput: a site or axis that is not there, or too many patches.
        TooLarge, NotFinite, Cancelled: as `sweep`.
    """
    spec = pair.model.spec
    place = layered_site(pair.model, kind)
    axes = axes_of(place, by)
    chosen = tuple(range(spec.n_layers)) if layers is None else tuple(layers)
    for layer in chosen:
        select(spec, f"{kind}.{layer}")
    into, source = (pair.corrupted, pair.clean) if direction == "denoising" else (pair.clean, pair.corrupted)
    if direction not in ("denoising", "noising"):
        raise unknown("direction", str(direction), ("denoising", "noising"))
    sizes = {"position": into.n, **sizes_of(pair.model, kind)}
    shape = (len(chosen), *(sizes[axis] for axis in axes[1:]))
    count = int(torch.tensor(shape).prod())
    if count > MOST:
        raise BadInput(
            f"Patching {kind} by {', '.join(axes)} is {count:,} runs; the most is {MOST:,}.",
            hint="Take fewer layers, or leave out an axis; attribution patching looks at all at once.",
            given={"patches": count, "limit": MOST},
        )
    values = torch.full(shape, torch.nan, dtype=torch.float64)
    clean, corrupted = measure_base(pair.clean, metric), measure_base(pair.corrupted, metric)

    def so_far(flat: Tensor) -> Patching:
        return Patching(
            kind, axes, chosen, metric.name, direction, flat.reshape(shape), clean, corrupted,
            pair.clean.run.pieces(), pair.differs,
        )  # fmt: skip

    entries = [edit for layer in chosen for edit in _edits(source, site(kind, layer), axes, sizes)]
    found = sweep(
        into,
        entries,
        metric,
        budget=budget,
        progress=progress,
        partial=None if partial is None else lambda flat: partial(so_far(flat)),
    )
    return so_far(found if count else values)


def layered_site(model: LanguageModel, kind: str) -> Site:
    """A site of that kind; `UnknownName` or `BadInput`, with what there is, where no layer has one."""
    present = {s.kind: s for s in sites_of(model.spec) if s.layer is not None}
    if kind in KINDS and kind not in present:
        raise BadInput(f"{model.name} has no layered site {kind!r}.", hint=f"It has {', '.join(present)}.")
    if kind not in present:
        raise unknown("site", kind, present)
    return present[kind]


def axes_of(place: Site, by: Sequence[Axis] | None) -> tuple[Axis, ...]:
    """The axes to tell apart at a site, in order; `BadInput` for one that the site does not have."""
    has = {
        "layer": True,
        "position": "position" in place.axes or "query" in place.axes,
        "head": "head" in place.axes or "key_value_head" in place.axes,
        "neuron": "neuron" in place.axes,
    }
    usual = USUAL.get(place.kind, ("layer", "position"))
    asked = tuple(dict.fromkeys(("layer", *(usual if by is None else by))))
    for axis in asked:
        if axis not in has:
            raise unknown("axis", str(axis), has)
        if not has[axis]:
            raise BadInput(
                f"{place.kind} cannot be patched by {axis}: its axes are {', '.join(place.axes)}.",
                hint=f"Leave {axis} out.",
                given={"kind": place.kind, "axis": axis},
            )
    order: tuple[Axis, ...] = ("layer", "head", "neuron", "position")
    return tuple(axis for axis in order if axis in asked)


def sizes_of(model: LanguageModel, kind: str) -> dict[str, int]:
    """How many heads (key-value heads, of keys and values) and neurons a site has."""
    spec = model.spec
    shared = "key_value_head" in KINDS[kind].axes
    heads = spec.attention.n_key_value_heads if shared else spec.attention.n_heads
    return {"head": heads, "neuron": getattr(spec.mlp, "width", 0)}


def _edits(source: Base, place: Site, axes: tuple[Axis, ...], sizes: dict[str, int]) -> list[Edit]:
    """The patches of one site: its value in the other run, whole or part by part."""
    ranges = [range(sizes[axis]) for axis in axes[1:]]
    return [patch_of(source, place, dict(zip(axes[1:], picked, strict=True))) for picked in product(*ranges)]


def patch_of(source: Base, place: Site, picked: Mapping[Axis, int]) -> Edit:
    """The edit that puts one part of a site's value in `source` into another run.

    `picked` says which position, head or neuron; what it does not name is patched whole.
    """
    part = source.value(place)[0]
    position, head, neuron = picked.get("position"), picked.get("head"), picked.get("neuron")
    if "query" in place.axes:  # [head, query, key], where all else is [position, ...]
        part = part if head is None else part[head : head + 1]
        part = part if position is None else part[:, position : position + 1]
    else:
        part = part if position is None else part[position : position + 1]
        part = part if head is None else part[:, head : head + 1]
        part = part if neuron is None else part[..., neuron : neuron + 1]
    return Edit(place, Where(positions=position, heads=head, units=neuron), Replace(part[None]))
