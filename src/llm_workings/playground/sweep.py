"""A grid of networks that differ in one setting or two, trained together: learning rate by L2, or seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_workings.core.dataset import Dataset
from llm_workings.core.errors import BadInput, TooLarge, nearest
from llm_workings.core.progress import SILENT, Progress

from . import losses
from .config import Config
from .kernel import CHECKED, State, split
from .many import Many
from .record import Parameters

Array = np.ndarray
Axis = tuple[str, Sequence[float]]

MOST = 256  # networks
MOST_NUMBERS = 2_000_000  # parameters of all networks together
CURVE = 200  # points of the curves before every other one is dropped
SIDE = 24  # points of a picture's side
LINE = 100  # points of a picture's line

SWEPT: dict[str, tuple[str, tuple[str, ...]]] = {
    "learning_rate": ("", ()),
    "l1": ("", ()),
    "l2": ("", ()),
    "seed": ("", ()),
    "momentum": ("optimizer", ("momentum", "nesterov")),
    "decay": ("optimizer", ("rmsprop",)),
    "beta1": ("optimizer", ("adam", "adamw")),
    "epsilon": ("optimizer", ("rmsprop", "adam", "adamw")),
    "weight_decay": ("optimizer", ("adamw",)),
    "warmup": ("", ()),
    "schedule_every": ("schedule", ("step", "exponential", "cosine")),
    "schedule_factor": ("schedule", ("step", "exponential")),
    "clip": ("", ()),
    "confidence_penalty": ("", ()),
    "init_scale": ("init", ("uniform", "constant")),
    "bias_init": ("", ()),
    "huber_delta": ("loss", ("huber",)),
    "leaky_slope": ("activations", ("leaky_relu",)),
}
"""What may differ from network to network, and where it means something: (setting, its values there)."""


@dataclass(frozen=True)
class Measured:
    """The networks on the whole training and test set, `[row, column]` each. NaN where a network diverged,
    where there is no test set, and for an accuracy where values are asked for."""

    train: Array
    test: Array
    train_accuracy: Array
    test_accuracy: Array


class Sweep:
    """Networks of one architecture, one a cell of a grid, all at the same step.

    Each learns exactly as a `Run` of its config would (to rounding): its own settings, first weights and
    order of the samples. Networks whose seed is the same begin alike and read the same batches.

    Args:
        config: what the networks have in common.
        data: what they learn from.
        rows, columns: the setting that differs along each axis, and its values; without `columns` there
            is one column.

    Raises:
        BadInput: a setting that cannot be swept, or that means nothing here; one that is swept twice;
            no values; a value that the setting cannot have; network and data that do not go together.
        TooLarge: more than `MOST` networks, or `MOST_NUMBERS` parameters in all of them.
    """

    def __init__(self, config: Config, data: Dataset, rows: Axis, columns: Axis | None = None):
        axes = [rows] if columns is None else [rows, columns]
        _check(config, axes)
        values = [list(given) for _, given in axes]
        self.rows, self.row_values = axes[0][0], values[0]
        self.columns, self.column_values = (axes[1][0], values[1]) if columns else ("", list[float]())
        self.shape = len(self.row_values), max(1, len(self.column_values))
        names = [name for name, _ in axes]
        self.configs = [
            [config.changed(**dict(zip(names, (row, *column), strict=True))) for column in self._of_columns()]
            for row in self.row_values
        ]
        self.data = data
        self._many = Many([each for row in self.configs for each in row], names, data)
        self._train = self._many.inputs[:, data.train]
        self._curve: dict[int, Array] = {}
        batches = -(-len(data.train) // config.batch_size)
        self._stride = max(20, 5 * batches)  # measuring then takes about a tenth of the time
        self._measure_curve()

    def _of_columns(self) -> list[tuple[float, ...]]:
        return [(value,) for value in self.column_values] if self.columns else [()]

    @property
    def step(self) -> int:
        """Updates that each network made, those that diverged apart."""
        return self._many.step

    @property
    def diverged(self) -> Array:
        """`[row, column]` the updates that a network made before its numbers were no longer finite; -1
        where they are."""
        return self._many.diverged.reshape(self.shape)

    def advance(self, n: int, progress: Progress = SILENT) -> None:
        """Make `n` updates of every network.

        A network that diverges is NaN from there on, and `diverged` says where; the others go on. Where the
        user stops it (`Cancelled`), all stand at the same step, and `advance` may be called again.
        """
        if n < 0:
            raise BadInput(f"{n} steps cannot be made.", hint="Make a new sweep.", given={"n": n})
        first, target = self.step, self.step + n
        while self.step < target:
            progress.report(f"training {self._many.blocks.networks} networks", self.step - first, n)
            to_point = self._stride - self.step % self._stride
            self._many.advance(min(target - self.step, to_point, CHECKED))
            if self.step % self._stride == 0:
                self._measure_curve()

    # --- looking -------------------------------------------------------------------------------
    def _measure_curve(self) -> None:
        self._curve[self.step] = self._losses(self._train, self._many.targets[:, self.data.train])
        while len(self._curve) > CURVE:
            self._stride *= 2
            self._curve = {step: row for step, row in self._curve.items() if step % self._stride == 0}

    def _losses(self, inputs: Array, targets: Array) -> Array:
        """Each network's loss, `[network]`."""
        z, a = self._many.outputs(inputs)
        with np.errstate(all="ignore"):
            return np.asarray(
                losses.losses(self._many.by_sample, z, a, targets[:, None]).mean(axis=0).mean(axis=1)
            )

    def curves(self) -> tuple[Array, Array]:
        """Steps `[point]`, and the training loss of each network there, `[row, column, point]`."""
        steps = np.array(list(self._curve))
        return steps, np.stack(list(self._curve.values()), axis=1).reshape(*self.shape, len(steps))

    def measure(self) -> Measured:
        """Losses and accuracies now."""
        many, data, config = self._many, self.data, self._many.by_sample
        z, a = many.outputs(many.inputs)
        with np.errstate(all="ignore"):
            each = losses.losses(config, z, a, many.targets[:, None]).mean(axis=0)
            found = [each[:, part].mean(axis=1) if len(part) else None for part in (data.train, data.test)]
            if data.task == "classes":
                right = (losses.decide(config, a) == data.targets).astype(float)
                right[many.diverged >= 0] = np.nan
                parts = (data.train, data.test)
                found += [right[:, part].mean(axis=1) if len(part) else None for part in parts]
        nothing = np.full(many.blocks.networks, np.nan)
        found += [None] * (4 - len(found))
        return Measured(*((nothing if part is None else part).reshape(self.shape) for part in found))

    def surfaces(self, side: int = SIDE) -> Array:
        """The first output over the ground, `[row, column, y, x]`, lowest y first; one y on a line, and
        `[row, column, 0, 0]` where the data has no ground."""
        data = self.data
        if data.dimensions == 0 or data.domain is None:
            return np.empty((*self.shape, 0, 0))
        low, high = data.domain
        if data.dimensions == 1:
            shape, points = (1, LINE), np.linspace(low, high, LINE)[:, None]
        else:
            along = np.linspace(low, high, side)
            y, x = np.meshgrid(along, along, indexing="ij")
            shape, points = (side, side), np.stack([x.ravel(), y.ravel()], axis=1)
        inputs = np.vstack([data.expand(points).T, np.ones(len(points))])
        return self._many.outputs(inputs)[1][0].reshape(*self.shape, *shape)

    def state(self, row: int, column: int = 0) -> State:
        """The state of one cell's network, to start a `Kernel` of its config from; NaN if it diverged."""
        return self._many.state(row * self.shape[1] + column)

    def parameters(self, row: int, column: int = 0) -> Parameters:
        """The weights and biases of one cell's network; NaN if it diverged."""
        return split(self.configs[row][column], self.state(row, column).parameters)


def _check(config: Config, axes: Sequence[Axis]) -> None:
    names = [name for name, _ in axes]
    for name, values in axes:
        if name not in SWEPT:
            raise _not_swept(name)
        setting, wanted = SWEPT[name]
        has = getattr(config, setting) if setting else ""
        if setting and not ({has} if isinstance(has, str) else set(has)) & set(wanted):
            said = has if isinstance(has, str) else ", ".join(has)
            raise BadInput(
                f"A sweep over {name} would make networks that are all alike: it means nothing with "
                f"{setting} {said}.",
                hint=f"Set {setting} to {' or '.join(wanted)}, or sweep another setting.",
                given={"setting": name, setting: said},
            )
        if not len(values):
            raise BadInput(
                f"The sweep over {name} has no values.", hint="Give at least one.", given={"setting": name}
            )
    if len(set(names)) < len(names):
        raise BadInput(
            f"Rows and columns both sweep {names[0]}.",
            hint="Let the columns sweep another setting, or nothing.",
            given={"setting": names[0]},
        )
    count = int(np.prod([len(values) for _, values in axes]))
    if count > MOST:
        spelled = " x ".join(str(len(values)) for _, values in axes)
        raise TooLarge(
            f"{spelled} networks are {count}; the limit is {MOST}.",
            hint="Give fewer values.",
            given={"networks": count, "limit": MOST},
        )
    if count * config.n_parameters > MOST_NUMBERS:
        raise TooLarge(
            f"{count} networks of {config.n_parameters:,} parameters are "
            f"{count * config.n_parameters:,}; the limit is {MOST_NUMBERS:,}.",
            hint=f"Give at most {MOST_NUMBERS // config.n_parameters} networks, or fewer units.",
            given={"networks": count, "parameters": config.n_parameters, "limit": MOST_NUMBERS},
        )


def _not_swept(name: str) -> BadInput:
    can = ", ".join(SWEPT)
    if name in Config.model_fields:
        message = f"Networks that differ in {name} cannot be trained together."
        hint = f"These can be swept: {can}."
    else:
        close = nearest(name, SWEPT)
        message = f"A network has no setting {name!r} to sweep."
        hint = f"Did you mean {close[0]!r}?" if close else f"These can be swept: {can}."
    return BadInput(message, hint=hint, given={"setting": name})
