"""The tap that edits and records: what `run` hands to the transformer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from llm_workings.core.errors import EditNeverFired, LabError
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.sites import Site

from .apply import Frame, apply
from .edits import AnyEdit


class NotFinite(LabError):
    """A NaN or an infinity came out, with the first site at which it stands."""


class Tracer:
    """Makes the edits at a site in their order, then keeps the value if it was asked for.

    Args:
        keep: sites to keep.
        edits: changes to make; those at one site in the order given.
        frame: which tokens the values stand for; generation moves it on from step to step.
        graph: keep values within an autograd graph that begins at the lowest kept site.
        watch: look for the first value that is not finite (slow; the second run after a bad first).
    """

    def __init__(
        self,
        keep: Iterable[Site],
        edits: Sequence[AnyEdit],
        frame: Frame,
        graph: bool = False,
        watch: bool = False,
        progress: Progress = SILENT,
        n_layers: int = 0,
    ):
        self.keep, self.frame = frozenset(keep), frame
        self.graph, self.watch = graph, watch
        self.progress, self.n_layers = progress, n_layers
        self.edits: dict[Site, list[tuple[int, AnyEdit]]] = {}
        for number, edit in enumerate(edits):
            self.edits.setdefault(edit.place, []).append((number, edit))
        self.fired: set[int] = set()
        self.kept: dict[Site, Tensor] = {}
        self.last: Tensor | None = None
        self.culprit: Site | None = None

    def wants(self, where: Site) -> bool:
        return where in self.keep or where in self.edits

    def __call__(self, where: Site, value: Tensor) -> Tensor:
        if where.kind == "resid_pre":
            self.progress.report("running the model", where.layer or 0, self.n_layers)
        for number, edit in self.edits.get(where, ()):
            changed = apply(edit, value, self.frame)
            if changed is not None:
                self.fired.add(number)
                value = changed
        if where in self.keep:
            value = self._keep(where, value)
        if self.watch and self.culprit is None and not finite(value, scores=where.kind == "scores"):
            self.culprit = where
        self.last = value
        return value

    def _keep(self, where: Site, value: Tensor) -> Tensor:
        if self.graph:
            if not value.requires_grad:
                value = value.detach().requires_grad_()
            self.kept[where] = value
        else:
            self.kept[where] = own(value)
        return value

    def check_fired(self, edits: Sequence[AnyEdit]) -> None:
        for number, edit in enumerate(edits):
            if number not in self.fired:
                raise EditNeverFired(
                    f"The edit {str(edit)!r} never fired: nothing it picks at {edit.place} was computed.",
                    given={"edit": str(edit)},
                )


def own(value: Tensor) -> Tensor:
    """The value, out of any graph and in memory of its own if it is a slice of something larger."""
    value = value.detach()
    held = value.untyped_storage().nbytes()
    return value.clone() if held > value.numel() * value.element_size() else value


def finite(value: Tensor, *, scores: bool = False) -> bool:
    if scores:  # masked scores are -inf by design
        return not bool((value.isnan() | value.isposinf()).any())
    # Adding up is one pass without a mask; only where the sum overflows is each number looked at.
    return bool(value.sum(dtype=torch.float32 if value.element_size() < 4 else None).isfinite()) or bool(
        value.isfinite().all()
    )
