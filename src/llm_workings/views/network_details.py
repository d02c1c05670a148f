"""What the panels beside a network show of one moment: gradients, dead units, findings, algebra, paths."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from llm_workings.core.errors import BadInput
from llm_workings.playground import algebra, diagnosis
from llm_workings.playground.algebra import MOST, explain
from llm_workings.playground.paths import strongest_paths
from llm_workings.playground.record import StepRecord
from llm_workings.playground.run import Run

from .network_parts import Algebra, Check, Details, Equation, Finding, PathStrength, Series

What = Literal["weight", "gradient", "activation"]


@dataclass(frozen=True)
class Watched:
    """What a frame and its details are to hold.

    Attributes:
        sample: whose pass, as an index of the data set; None for none.
        place: the unit or parameter that the algebra is restricted to; None for all of it.
        algebra: whether it is written at all.
        history: a place, and what of it: weight, gradient or activation.
        paths: whether the strongest paths are looked for.
    """

    sample: int | None = 0
    place: str | None = None
    algebra: bool = False
    history: tuple[str, What] | None = None
    paths: bool = False


def check(run: Run, watched: Watched) -> None:
    """Raises `BadInput` for a sample or a place that the run does not have."""
    n = len(run.data.points)
    if watched.sample is not None and not 0 <= watched.sample < n:
        raise BadInput(
            f"{run.data.name} has the samples 0 to {n - 1}; {watched.sample} is not among them.",
            given={"sample": watched.sample, "samples": n},
        )
    if watched.place is not None and not is_unit(run, watched.place):
        run.index_of(watched.place)
    if watched.history is not None:
        place, what = watched.history
        if what != "activation":
            run.index_of(place)
        elif not is_unit(run, place):
            layers = "-".join(map(str, run.config.layers))
            raise BadInput(
                f"{place!r} is no unit of the network {layers}.",
                hint="A unit is u1.2 (unit 2 of layer 1); all count from 0, and layer 0 is the inputs.",
                given={"place": place},
            )


def is_unit(run: Run, place: str) -> bool:
    """Whether the network has such a unit."""
    found, layers = re.fullmatch(r"u(\d{1,3})\.(\d{1,3})", place), run.config.layers
    return found is not None and int(found[1]) < len(layers) and int(found[2]) < layers[int(found[1])]


def still_there(run: Run, watched: Watched) -> Watched:
    """What of this can be watched in another run as well."""
    kept = Watched(algebra=watched.algebra, paths=watched.paths)
    for name in ("sample", "place", "history"):
        wanted = replace(kept, **{name: getattr(watched, name)})
        try:
            check(run, wanted)
        except BadInput:
            continue
        kept = wanted
    return kept


def details_of(run: Run, watched: Watched, *, most: int = MOST) -> Details:
    """The details of the moment at which the run stands.

    Args:
        most: equations of the algebra, at the most.
    """
    record = run.record()
    units = diagnosis.units_here(run)
    return Details(
        branch=run.branch,
        step=run.step_now,
        gradients=[g + p for g, p in zip(record.gradient.weights, record.penalty.weights, strict=True)],
        bias_gradients=[g + p for g, p in zip(record.gradient.biases, record.penalty.biases, strict=True)],
        norm=record.norm,
        clipped=record.clipped,
        dead=[flags.astype(np.uint8) for flags in units.dead],
        saturated=[flags.astype(np.uint8) for flags in units.saturated],
        findings=findings_of(run),
        paths=_paths(record) if watched.paths else [],
        algebra=_algebra(run, record, watched, most) if watched.algebra else None,
        history=None if watched.history is None else _series(run, *watched.history, watched.sample),
    )


def findings_of(run: Run) -> list[Finding]:
    """What is to be said of the run where it stands, the most important first."""
    return [
        Finding(kind=found.kind, text=found.text, advice=found.advice, places=list(found.places))
        for found in diagnosis.diagnose(run)
    ]


def _paths(record: StepRecord) -> list[PathStrength]:
    with np.errstate(over="ignore"):
        found = strongest_paths(record.before)
    return [PathStrength(units=list(path.units), strength=path.strength) for path in found]


def _algebra(run: Run, record: StepRecord, watched: Watched, most: int) -> Algebra:
    """The step written out, for the watched sample where the batch has it, else for the batch's first."""
    samples = [int(index) for index in run.data.train[record.samples]]
    at = samples.index(watched.sample) if watched.sample in samples else 0
    places = None if watched.place is None else [watched.place]
    document = explain(record, at, places, most=most)
    return Algebra(
        step=document.step,
        samples=samples,
        sample=at,
        equations=[_line(equation) for equation in document.equations],
        left_out=document.left_out,
    )


def _line(line: algebra.Equation) -> Equation:
    check = line.check and Check(measured=line.check.measured, difference=line.check.difference)
    fields = {name: getattr(line, name) for name in Equation.model_fields}
    return Equation(**{**fields, "places": list(line.places), "check": check})


def _series(run: Run, place: str, what: What, sample: int | None) -> Series:
    steps, values = run.history(place, what, sample or 0)
    return Series(place=place, what=what, steps=steps, values=values)
