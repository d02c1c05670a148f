"""Parts of a model: what an ablation takes out and a path leads from.

A part is a head, a neuron, a layer's attention or its MLP, or a whole layer. It prints as `head.3.5` (layer
3, head 5), `neuron.3.120`, `attention.3`, `mlp.3`, `layer.3`, and reads back from that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from llm_workings.core.errors import BadInput, unknown
from llm_workings.models.sites import Site, site, sites_of
from llm_workings.models.spec import NoMLP, Spec
from llm_workings.trace.edits import Where

PartKind = Literal["head", "neuron", "attention", "mlp", "layer"]
KINDS: tuple[PartKind, ...] = get_args(PartKind)
COUNTED = ("head", "neuron")  # of which a layer has several


@dataclass(frozen=True, order=True)
class Part:
    """A part of a model.

    Attributes:
        kind: head, neuron, attention (all heads of a layer and the output's bias), mlp or layer (both).
        layer: where it is.
        index: which head or neuron; None for the others.
    """

    kind: PartKind
    layer: int
    index: int | None = None

    def __str__(self) -> str:
        return f"{self.kind}.{self.layer}" + ("" if self.index is None else f".{self.index}")

    @staticmethod
    def parse(text: str) -> Part:
        """The part that `text` names, such as `head.3.5` or `mlp.4`.

        Raises `UnknownName` for another kind, `BadInput` where numbers are missing or too many.
        """
        name, *numbers = text.strip().split(".")
        if name not in KINDS:
            raise unknown("kind of part", name, KINDS)
        wanted = 2 if name in COUNTED else 1
        if len(numbers) != wanted or not all(number.isdecimal() for number in numbers):
            raise BadInput(
                f"{text!r} is no part of a model.", hint=f"For example {name}.3{'.5' * (wanted - 1)}."
            )
        layer, *index = map(int, numbers)
        return Part(name, layer, *index)

    @property
    def sites(self) -> tuple[Site, ...]:
        """Where what the part writes stands, before it is added to the stream."""
        names = {
            "head": ("z",),
            "neuron": ("mlp_post",),
            "attention": ("attn_out",),
            "mlp": ("mlp_out",),
            "layer": ("attn_out", "mlp_out"),
        }[self.kind]
        return tuple(site(name, self.layer) for name in names)

    @property
    def where(self) -> Where:
        """Which of those sites' values is the part's own."""
        return Where(
            heads=self.index if self.kind == "head" else None,
            units=self.index if self.kind == "neuron" else None,
        )


def read_parts(spec: Spec, parts: Part | str | Iterable[Part | str]) -> tuple[Part, ...]:
    """Parts, or their names, as parts that this model has, each once.

    Raises `BadInput` for one that it has not, with what it has.
    """
    if isinstance(parts, str | Part):
        parts = [parts]
    found = [Part.parse(part) if isinstance(part, str) else part for part in parts]
    for part in found:
        if part.kind not in KINDS:
            raise unknown("kind of part", part.kind, KINDS)
        most = _count(spec, part.kind)
        if not 0 <= part.layer < spec.n_layers:
            raise BadInput(
                f"There is no {part}: the model has layers 0 to {spec.n_layers - 1}.",
                given={"part": str(part)},
            )
        if not most:
            raise BadInput(f"There is no {part}: the model has attention only.", given={"part": str(part)})
        if (part.index is None) != (part.kind not in COUNTED) or not 0 <= (part.index or 0) < most:
            known = f"{part.kind}s 0 to {most - 1}" if part.kind in COUNTED else f"one {part.kind}"
            raise BadInput(f"There is no {part}: a layer has {known}.", given={"part": str(part)})
    return tuple(dict.fromkeys(found))


def every(spec: Spec, kind: PartKind, layers: Iterable[int] | None = None) -> tuple[Part, ...]:
    """All parts of a kind, layer by layer.

    Raises `UnknownName` for another kind, `BadInput` for a layer that is not there or a model without any.
    """
    if kind not in KINDS:
        raise unknown("kind of part", str(kind), KINDS)
    chosen = range(spec.n_layers) if layers is None else layers
    indices: list[int | None] = list(range(_count(spec, kind))) if kind in COUNTED else [None]
    return read_parts(spec, [Part(kind, layer, index) for layer in chosen for index in indices or [0]])


def sites_of_part(spec: Spec, part: Part) -> tuple[Site, ...]:
    """The part's sites that this model has (an attention-only layer has no MLP to take out)."""
    present = sites_of(spec)
    return tuple(place for place in part.sites if place in present)


def _count(spec: Spec, kind: PartKind) -> int:
    """How many of a kind a layer has."""
    if kind in ("neuron", "mlp") and isinstance(spec.mlp, NoMLP):
        return 0
    if kind == "neuron":
        return spec.mlp.width  # type: ignore[union-attr]
    return spec.attention.n_heads if kind == "head" else 1
