"""What a run will compute, decided before it starts: which sites are held, which positions meet the
unembedding, where it stops; and whether everything asked for lies on the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from llm_workings.core.errors import BadInput, EditNeverFired, LabError
from llm_workings.models.sites import Site, select, site, sites_of, stream_of
from llm_workings.models.spec import NoHead, Spec

from . import budget
from .apply import FINAL, Frame
from .edits import AnyEdit
from .prompt import Batch
from .run import Start

Names = str | Site | Iterable[str | Site]
Scored = bool | Literal["last"] | Sequence[int]
LOGITS = site("logits")


@dataclass(frozen=True)
class Plan:
    """A run that can be made.

    `keep` is what the user named, `held` that and what resuming needs; `stop` is the first layer
    not run (None: all are, and the head).
    """

    spec: Spec
    batch: Batch
    frame: Frame
    keep: tuple[Site, ...]
    held: frozenset[Site]
    edits: tuple[AnyEdit, ...]
    stop: int | None
    resume: Start | None
    resumable: bool
    graph: bool

    @property
    def layers(self) -> range:
        return range(
            self.resume.layer if self.resume else 0, self.spec.n_layers if self.stop is None else self.stop
        )

    def forecast(self, item: int) -> budget.Forecast:
        """The bytes it will take, of numbers of `item` bytes."""
        headless = isinstance(self.spec.head, NoHead) or self.stop is not None
        return budget.predict(
            self.spec,
            batch=self.batch.size,
            positions=len(self.frame.computed),
            total=self.batch.width,
            scored=0 if headless else len(self.frame.scored),
            keep=self.held,
            layers=self.layers,
            opened=[edit.place for edit in self.edits],
            item=item,
            cached=self.resumable,
            graph=self.graph,
        )


def make_plan(
    spec: Spec,
    batch: Batch,
    keep: Names,
    edits: Sequence[AnyEdit],
    *,
    logits: Scored,
    stop: int | None,
    resume: Start | None,
    resumable: bool,
    graph: bool,
) -> Plan:
    """The plan of what was asked for.

    Raises:
        UnknownName, BadInput: a site that the model does not have, or that this run does not reach.
        EditNeverFired: an edit there.
    """
    kept = select(spec, keep)
    held = frozenset((*kept, *(stream_of(spec) if resumable else ())))
    if stop is not None and not 0 <= stop <= spec.n_layers:
        raise BadInput(f"There is no layer {stop} to stop before: layers are 0 to {spec.n_layers - 1}.")
    if LOGITS in kept and logits is False:
        logits = True
    if stop is None and logits is False and not any(place.kind in FINAL for place in held):
        stop = max((place.layer + 1 for place in held if place.layer is not None), default=0)
    computed = range(resume.position if resume else 0, batch.width)
    scored = _scored(logits, batch, computed) if stop is None else ()
    _check_reach(spec, kept, edits, resume, stop)
    frame = Frame(batch.lengths, computed, scored)
    return Plan(spec, batch, frame, kept, held, tuple(edits), stop, resume, resumable, graph)


def _scored(logits: Scored, batch: Batch, computed: range) -> Sequence[int]:
    if isinstance(logits, bool):
        return computed
    if isinstance(logits, str):
        if logits != "last":
            raise BadInput(
                f"logits={logits!r} is not understood.", hint='Say True, False, "last" or positions.'
            )
        return sorted({max(length - 1, computed.start) for length in batch.lengths})
    found = {int(p) + batch.width if int(p) < 0 else int(p) for p in logits}
    if outside := [p for p in found if p not in computed]:
        raise BadInput(
            f"logits={list(logits)} asks for position {outside[0]}: "
            f"this run computes positions {computed.start} to {computed.stop - 1}."
        )
    if not found:
        raise BadInput("logits=[] asks for no position.", hint="Say logits=False for none.")
    return sorted(found)


def _check_reach(
    spec: Spec, keep: Iterable[Site], edits: Iterable[AnyEdit], resume: Start | None, stop: int | None
) -> None:
    order = sites_of(spec)
    begin = 0 if resume is None else resume.layer
    end = spec.n_layers if stop is None else stop

    def reached(place: Site) -> bool:
        if place.layer is not None:
            return begin <= place.layer < end
        return stop is None if place.kind in FINAL else resume is None

    span = f"layers {begin} to {end - 1}" if end > begin else "no layer"
    for place in keep:
        if not reached(place):
            raise BadInput(
                f"This run cannot keep {str(place)!r}: it runs {span}.",
                hint="Stop later, resume earlier, or leave it out.",
                given={"site": str(place)},
            )
    for edit in edits:
        if edit.place not in order:
            try:
                select(spec, str(edit.place))
            except LabError as error:
                raise EditNeverFired(
                    f"The edit {str(edit)!r} never fires: {error.message}", hint=error.hint, given=error.given
                ) from error
        if not reached(edit.place):
            raise EditNeverFired(
                f"The edit {str(edit)!r} never fires: this run runs {span}"
                + (" and no head." if stop is not None else "."),
                hint='Keep something above it, or ask for logits (logits=True or "last").'
                if stop is not None
                else "Resume at or below its layer.",
                given={"edit": str(edit), "site": str(edit.place)},
            )
