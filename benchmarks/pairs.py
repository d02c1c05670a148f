"""Measuring two things against each other: interleaved pairs, so that both see the same machine.

A pair runs ours and theirs one right after the other (in turns first and second) and gives one ratio.
What else the machine is doing slows both; the median over the pairs is what is reported.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

Work = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One line of the table. Times are in seconds; a ratio is ours divided by theirs."""

    what: str
    against: str
    bar: float | None  # the ratio that is promised, at most; None: measured to compare with
    ours: tuple[float, ...] = ()
    theirs: tuple[float, ...] = ()
    skipped: str = ""  # why it was not measured

    @property
    def ratios(self) -> list[float]:
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def verdict(self) -> str:
        if self.skipped:
            return f"not measured: {self.skipped}"
        if self.bar is None:
            return "no bar"
        return "met" if self.ratio <= self.bar else "MISSED"

    def as_dict(self) -> dict[str, Any]:
        measured = {} if self.skipped else {"ratio": self.ratio, "verdict": self.verdict}
        return {**asdict(self), **measured}


def compare(
    what: str, ours: Work, against: str, theirs: Work, *, bar: float | None, pairs: int, warm_up: int = 2
) -> Row:
    """Run each `warm_up` times unmeasured, then `pairs` times measured."""
    for _ in range(warm_up):
        ours()
        theirs()
    times: dict[Work, list[float]] = {ours: [], theirs: []}
    gc.collect()
    gc.freeze()  # what lives now is not looked through again: that slows whoever runs next, by 2 ms here
    gc.disable()  # a collection would fall on whichever happens to run
    try:
        for pair in range(pairs):
            for work in (ours, theirs) if pair % 2 == 0 else (theirs, ours):
                times[work].append(_seconds(work))
            gc.collect()
    finally:
        gc.enable()
        gc.unfreeze()
    return Row(what, against, bar, tuple(times[ours]), tuple(times[theirs]))


def _seconds(work: Work) -> float:
    begin = time.perf_counter()
    result = work()
    taken = time.perf_counter() - begin
    del result  # freeing it is not part of the work
    return taken
