"""A grid of networks on screen while they train together, and answers at points of the user's choice."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from llm_workings.core.dataset import Dataset
from llm_workings.core.errors import BadInput
from llm_workings.core.progress import SILENT, Progress
from llm_workings.playground.config import Config
from llm_workings.playground.kernel import Reader
from llm_workings.playground.losses import decide
from llm_workings.playground.run import Run
from llm_workings.playground.sweep import Sweep

from .network_frames import narrow
from .network_parts import Predictions, SweepGrid

EVERY = 0.25  # seconds between two grids that are sent


class Sweeping:
    """A sweep on its way.

    Args:
        steps: updates that each network is to make.
        rows, columns: the setting that differs along each axis, and its values; no name, no columns.

    Raises what `Sweep` raises.
    """

    def __init__(
        self,
        config: Config,
        data: Dataset,
        rows: tuple[str, Sequence[float]],
        columns: tuple[str, Sequence[float]],
        steps: int,
        clock: Callable[[], float] = time.perf_counter,
    ):
        if bool(columns[0]) != bool(len(columns[1])):
            raise BadInput(
                f"The columns' setting is {columns[0]!r}, with {len(columns[1])} values.",
                hint="Give both the setting and its values, or neither.",
                given={"columns": columns[0], "column_values": list(columns[1])},
            )
        self.sweep = Sweep(config, data, rows, columns if columns[0] else None)
        self.steps, self._clock = steps, clock
        self._rate = 500.0  # steps a second, as last measured
        self._sent = float("-inf")
        self._due = True

    @property
    def working(self) -> bool:
        """Whether there are updates left to make."""
        return self.sweep.step < self.steps

    def work(self, seconds: float, progress: Progress = SILENT) -> None:
        """Train for about so long."""
        n = min(max(1, int(self._rate * seconds)), self.steps - self.sweep.step)
        start = self._clock()
        self.sweep.advance(n, progress)
        rate = n / max(self._clock() - start, 1e-6)
        self._rate = min(max(rate, self._rate / 2), self._rate * 4)
        self._due = True

    def stop(self) -> None:
        """Make no more updates."""
        self.steps, self._due = self.sweep.step, True

    def grid(self) -> SweepGrid | None:
        """The grid as it stands, if it has changed and the last was not sent a moment ago."""
        now = self._clock()
        if not self._due or (self.working and now - self._sent < EVERY):
            return None
        self._due, self._sent = False, now
        return grid_of(self.sweep, self.steps)


def grid_of(sweep: Sweep, steps: int) -> SweepGrid:
    """A sweep as it stands, on its way to `steps`."""
    measured, (curve_steps, curves) = sweep.measure(), sweep.curves()
    surfaces = sweep.surfaces()
    size = float(np.abs(surfaces[np.isfinite(surfaces)]).max(initial=0.0))
    with np.errstate(all="ignore"):
        shades = np.nan_to_num(np.rint(surfaces / (size or 1.0) * 127), nan=0.0, posinf=127, neginf=-127)
    return SweepGrid(
        rows=sweep.rows,
        row_values=[float(value) for value in sweep.row_values],
        columns=sweep.columns,
        column_values=[float(value) for value in sweep.column_values],
        step=sweep.step,
        steps=steps,
        train=narrow(measured.train),
        test=narrow(measured.test),
        train_accuracy=measured.train_accuracy,
        test_accuracy=measured.test_accuracy,
        surfaces=shades.astype(np.int8),
        surface_scale=size,
        curve_steps=curve_steps,
        curves=narrow(curves),
    )


def predictions_of(run: Run, points: Sequence[Sequence[float]]) -> Predictions:
    """The network's answers where it stands, at points given as the data's own are.

    Raises `BadInput` for points of another number of coordinates.
    """
    names = run.data.coordinates
    for at, point in enumerate(points):
        if len(point) != len(names):
            raise BadInput(
                f"Point {at} has {len(point)} coordinates; {run.data.name} has {len(names)} "
                f"({', '.join(names[:4])}{' …' * (len(names) > 4)}).",
                given={"point": at, "coordinates": len(point)},
            )
    given = np.array(points, float)
    outputs = Reader(run.config, run.data.expand(given)).read(run.state.parameters)[-1]
    classes = run.data.task == "classes"
    winners = [run.data.classes[index] for index in decide(run.config, outputs)] if classes else []
    return Predictions(
        branch=run.branch,
        step=run.step_now,
        points=given,
        outputs=np.ascontiguousarray(outputs.T),
        winners=winners,
    )
