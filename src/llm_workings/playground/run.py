"""A training as a tree of steps: go to any step, change something there, and it forks.

A branch is a stretch of training under one config. Only some of its states are kept; the others are made
again from the nearest one before, which gives the same bits: the order of the samples is a function of the
step, and nothing else is drawn. So a million steps cost a few hundred copies.
"""

from __future__ import annotations

import re
from bisect import bisect_right, insort
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from llm_workings.core.dataset import Dataset
from llm_workings.core.errors import BadInput, unknown
from llm_workings.core.progress import SILENT, Progress

from .config import FIXED, Config
from .kernel import Kernel, State, initial, windows
from .record import Array, Parameters, StepRecord

CURVE = 600  # points of a branch's curves before every other one is dropped
KEPT = 256  # states of a branch, likewise; fewer where they are large
KEPT_BYTES = 32 * 2**20
REPORTED = 2048  # updates between two reports of progress
MOST_STEPS = 100_000_000
MEASURES = ("train", "test", "train_accuracy", "test_accuracy", "confidence", "l1", "l2")


@dataclass
class Branch:
    """One line of the tree.

    Attributes:
        parent: the branch it left, None for the first.
        start: the step at which it left.
        tip: the furthest step made.
        label: what was changed where it began.
        states: the kept states by step; always one at `start`.
        curve: a row of `MEASURES` by step, at multiples of `curve_stride` and at `start`.
        diverged: whether the update after `tip` gives numbers that are not finite.
    """

    id: int
    parent: int | None
    start: int
    config: Config
    label: str = ""
    tip: int = 0
    states: dict[int, State] = field(default_factory=dict)
    state_stride: int = 1
    curve: dict[int, tuple[float, ...]] = field(default_factory=dict)
    curve_stride: int = 1
    diverged: bool = False
    steps: list[int] = field(default_factory=list)  # of `states`, sorted
    at_tip: tuple[int, tuple[float, ...]] | None = None  # a step and its row, for the curves' end

    def keep(self, state: State) -> None:
        """Keep a state; where that is too many, every other one is let go."""
        if state.step not in self.states:
            insort(self.steps, state.step)
        self.states[state.step] = state
        most = max(16, min(KEPT, KEPT_BYTES // (8 * len(state.parameters) * (1 + len(state.slots)))))
        while len(self.steps) > most:
            self.state_stride *= 2
            self.steps = [s for s in self.steps if s == self.start or s % self.state_stride == 0]
            self.states = {step: self.states[step] for step in self.steps}

    def measure(self, step: int, row: dict[str, float]) -> None:
        """Put a point on the curves; where those are too many, every other one is let go."""
        self.curve[step] = tuple(row[name] for name in MEASURES)
        while len(self.curve) > CURVE:
            self.curve_stride *= 2
            kept = [s for s in self.curve if s == self.start or s % self.curve_stride == 0]
            self.curve = {step: self.curve[step] for step in kept}

    def curves(self) -> tuple[Array, dict[str, Array]]:
        """The steps `[point]`, and each measure `[point]`."""
        steps = sorted(self.curve)
        rows = np.array([self.curve[step] for step in steps]).reshape(-1, len(MEASURES))
        return np.array(steps), dict(zip(MEASURES, rows.T, strict=True))


class Run:
    """A training and all that was tried on the way.

    `here` is a branch and a step on the line from the first step to that branch's tip; the step may lie on
    a branch that this one came from.

    Raises `BadInput` where config and data do not go together.
    """

    def __init__(self, config: Config, data: Dataset, parameters: Parameters | None = None):
        self.data = data
        self._kernels: OrderedDict[tuple[Config, str], Kernel] = OrderedDict()
        start = initial(config)
        if parameters is not None:
            start = replace(start, parameters=self._fitting(config, parameters))
        root = Branch(0, None, 0, config)
        root.keep(start)
        self.branches: dict[int, Branch] = {0: root}
        self.branch, self.step_now = 0, 0
        self._state = start
        self._begin(root, start)

    # --- where it stands -----------------------------------------------------------------------
    @property
    def here(self) -> tuple[int, int]:
        """(branch, step)."""
        return self.branch, self.step_now

    @property
    def config(self) -> Config:
        """What holds for the update that leads on from here."""
        return self._owner(self.branch, self.step_now).config

    @property
    def state(self) -> State:
        """The state here."""
        return self._state

    @property
    def parameters(self) -> Parameters:
        """The weights and biases here."""
        return self._kernel(self.config).split(self._state.parameters)

    @property
    def tip(self) -> int:
        """The furthest step of the branch in view."""
        return self.branches[self.branch].tip

    @property
    def steps_an_epoch(self) -> int:
        return -(-len(self.data.train) // min(self.config.batch_size, len(self.data.train)))

    def lineage(self, branch: int) -> list[Branch]:
        """The branch's line, the first branch first."""
        line = [self._branch(branch)]
        while (parent := line[0].parent) is not None:
            line.insert(0, self.branches[parent])
        return line

    def _branch(self, branch: int) -> Branch:
        if branch not in self.branches:
            raise unknown("branch", str(branch), map(str, self.branches))
        return self.branches[branch]

    def _owner(self, branch: int, step: int) -> Branch:
        """The branch that the update after `step` belongs to, on the line of `branch`."""
        line = self.lineage(branch)
        return next((b for b in reversed(line) if b.start <= step), line[0])

    # --- going -----------------------------------------------------------------------------------
    def step(self, n: int = 1, progress: Progress = SILENT) -> int:
        """Make `n` updates from here, along what was made already where it was; how many were made.

        Fewer where the numbers would no longer be finite (`diverged`): it then stands at the last
        step whose numbers are.
        """
        if n < 0:
            raise BadInput(f"{n} steps cannot be made.", hint="Use back() to go back.", given={"n": n})
        if self.step_now + n > MOST_STEPS:
            raise BadInput(
                f"Step {self.step_now + n:,} is past the last that is counted, {MOST_STEPS:,}.",
                given={"n": n},
            )
        branch, first = self.branches[self.branch], self.step_now
        known = min(branch.tip, first + n)
        if known > first:
            self.goto(known)
        if first + n > known and not branch.diverged:
            self._extend(branch, first + n, progress, first)
        return self.step_now - first

    def back(self, n: int = 1) -> None:
        """Go `n` steps back, at most to the first."""
        self.goto(max(0, self.step_now - n))

    def goto(self, step: int, branch: int | None = None) -> None:
        """Go to a step that was made already; the state is the same, bit for bit, by whatever way.

        Raises `BadInput` for a step beyond the branch's tip, `UnknownName` for a branch that is not there.
        """
        branch = self.branch if branch is None else branch
        tip = self._branch(branch).tip
        if not 0 <= step <= tip:
            raise BadInput(
                f"Branch {branch} has the steps 0 to {tip}; {step} is not among them.",
                hint="Train further first." if step > tip else "",
                given={"branch": branch, "step": step},
            )
        self._state = self.state_at(step, branch)
        self.branch, self.step_now = branch, step

    def state_at(self, step: int, branch: int | None = None) -> State:
        """The state at a step that was made already."""
        branch = self.branch if branch is None else branch
        owner = self._owner(branch, step)
        nearest = owner.steps[bisect_right(owner.steps, step) - 1]
        begin = owner.states[nearest]
        same = self._owner(*self.here) is owner
        if same and nearest <= self._state.step <= step:
            begin = self._state
        if begin.step == step:
            return begin
        kernel = self._kernel(owner.config)
        kernel.start(begin)
        kernel.advance(step - begin.step)
        return kernel.state()

    def _extend(self, branch: Branch, target: int, progress: Progress, first: int) -> None:
        """Train on from the tip, where it stands."""
        kernel = self._kernel(branch.config)
        kernel.start(self._state)
        try:
            while kernel.step < target and not branch.diverged:
                at = kernel.step
                if at % REPORTED < branch.curve_stride:
                    progress.report("training", at - first, target - first)
                stop = min(target, at + REPORTED)
                for stride in (branch.curve_stride, branch.state_stride):
                    stop = min(stop, at - at % stride + stride)
                kernel.advance(stop - at)
                branch.diverged = kernel.diverged
                if kernel.step % branch.curve_stride == 0 or kernel.diverged:
                    branch.measure(kernel.step, kernel.measure())
                if kernel.step % branch.state_stride == 0:
                    branch.keep(kernel.state())
        finally:  # also where the user stopped it: what was made stays
            self._state = kernel.state()
            branch.tip = self.step_now = self._state.step

    # --- changing --------------------------------------------------------------------------------
    def change(self, **settings: Any) -> int:
        """From here on, train with these settings; the branch that does so.

        A branch on which nothing was made yet changes in place; otherwise a new one begins here.

        Raises `BadInput` for a setting that belongs to the network's beginning (layers, init, seed) or
        cannot be, and where the new config does not go with the data.
        """
        fixed = [name for name in settings if name in FIXED]
        if fixed:
            raise BadInput(
                f"{', '.join(fixed)} belongs to the beginning of a run and cannot change on its way.",
                hint="Start a new run with it.",
                given={name: settings[name] for name in fixed},
            )
        config = self.config.changed(**settings)
        if config == self.config:
            return self.branch
        return self._fork(config, self._state)

    def edit(self, place: str, value: float) -> int:
        """Set a weight `w1.0.2` (layer 1, from unit 0 to unit 2) or bias `b1.2` by hand; the branch.

        Raises `BadInput` for a place that is no parameter, or a value that is not finite.
        """
        if not np.isfinite(value):
            raise BadInput(
                f"{place} cannot be {value}.", hint="Give a finite number.", given={"place": place}
            )
        index = self.index_of(place)
        changed = self._state.parameters.copy()
        changed[index] = value
        return self._fork(self.config, replace(self._state, parameters=changed), f"{place} = {value:.6g}")

    def index_of(self, place: str) -> int:
        """Where a parameter stands in the flat array; errors as `edit`."""
        layers = self.config.layers
        numbers = [int(n) for n in re.findall(r"\d+", place)]
        table = np.arange(self.config.n_parameters)
        if re.fullmatch(r"w\d+\.\d+\.\d+", place):
            layer, into, out = numbers
            if 1 <= layer < len(layers) and into < layers[layer - 1] and out < layers[layer]:
                return int(windows(self.config, table)[layer - 1][into, out])
        elif re.fullmatch(r"b\d+\.\d+", place):
            layer, out = numbers
            if 1 <= layer < len(layers) and out < layers[layer]:
                return int(windows(self.config, table)[layer - 1][-1, out])
        raise BadInput(
            f"{place!r} is no parameter of the network {'-'.join(map(str, layers))}.",
            hint="A weight is w1.0.2 (layer 1, from unit 0 to unit 2), a bias b1.2; all count from 0, "
            "and layer 0 is the inputs.",
            given={"place": place},
        )

    def _fork(self, config: Config, state: State, edited: str = "") -> int:
        Kernel(config, self.data)  # says what does not go together before anything is changed
        branch = self.branches[self.branch]
        fresh = branch.start == branch.tip == self.step_now
        if fresh and not any(other.parent == branch.id for other in self.branches.values()):
            parent = None if branch.parent is None else self.branches[branch.parent]
            branch.states, branch.steps, branch.curve, branch.config = {}, [], {}, config
            edits = [part for part in branch.label.split("; ") if re.match(r"[wb]\d", part)]
        else:
            parent = self._owner(*self.here)
            branch = Branch(max(self.branches) + 1, parent.id, self.step_now, config, tip=self.step_now)
            edits = []
            self.branches[branch.id] = branch
        settings = [] if parent is None else list(parent.config.difference(config).items())
        said = [f"{name} {_short(old)} → {_short(new)}" for name, (old, new) in settings]
        branch.label = "; ".join([*said, *edits, *([edited] if edited else [])])
        kernel = self._kernel(config)
        kernel.start(state)  # which lets go of another optimizer's memory
        self._state = kernel.state()
        branch.diverged = False
        branch.keep(self._state)
        self.branch = branch.id
        self._begin(branch, self._state)
        return branch.id

    def _begin(self, branch: Branch, state: State) -> None:
        kernel = self._kernel(branch.config)
        kernel.start(state)
        branch.measure(state.step, kernel.measure())

    # --- looking ---------------------------------------------------------------------------------
    def record(self, step: int | None = None, branch: int | None = None) -> StepRecord:
        """The update that leads on from a step made already; by default from here."""
        branch = self.branch if branch is None else branch
        step = self.step_now if step is None else step
        return self.kernel_at(step, branch).record()

    def measure(self) -> dict[str, float]:
        """Losses and accuracies here (`Kernel.measure`)."""
        return self.kernel_at(*reversed(self.here)).measure()

    def curves(self, branch: int) -> tuple[Array, dict[str, Array]]:
        """A branch's curves as `Branch.curves`, with its tip measured too."""
        of = self._branch(branch)
        steps, curves = of.curves()
        if of.tip in of.curve:
            return steps, curves
        if of.at_tip is None or of.at_tip[0] != of.tip:
            row = self.kernel_at(of.tip, branch).measure()
            of.at_tip = (of.tip, tuple(row[name] for name in MEASURES))
        ends = dict(zip(MEASURES, of.at_tip[1], strict=True))
        return np.append(steps, of.tip), {name: np.append(curves[name], ends[name]) for name in MEASURES}

    def kernel_at(self, step: int, branch: int) -> Kernel:
        """A kernel that stands at a step made already, to look with; the next call may move it."""
        state = self._state if (branch, step) == self.here else self.state_at(step, branch)
        kernel = self._kernel(self._owner(branch, step).config, "look")
        kernel.start(state)
        return kernel

    def history(
        self, place: str, what: Literal["weight", "gradient", "activation"] = "weight", sample: int = 0
    ) -> tuple[Array, Array]:
        """One number along the line in view, at the kept states: steps `[point]`, values `[point]`.

        Args:
            place: a parameter (weight, gradient), or a unit `u1.2` (activation).
            sample: whose activation, an index of the data set.
        """
        unit = re.fullmatch(r"u(\d+)\.(\d+)", place)
        if what == "activation":
            layer, index = (int(unit[1]), int(unit[2])) if unit else (-1, -1)
            if not unit or layer >= len(self.config.layers) or index >= self.config.layers[layer]:
                raise BadInput(f"{place!r} is no unit of the network.", hint="A unit is u1.2.")
        else:
            index = self.index_of(place)
        steps, values = [], []
        line = self.lineage(self.branch)
        ends = [*(branch.start for branch in line[1:]), self.tip + 1]
        for branch, end in zip(line, ends, strict=True):
            kernel = self._kernel(branch.config, "look")
            for step in branch.steps:
                if step >= end:
                    break
                state = branch.states[step]
                steps.append(step)
                if what == "weight":
                    values.append(state.parameters[index])
                    continue
                kernel.start(state)
                if what == "gradient":
                    record = kernel.record()
                    values.append(record.gradient.flat()[index] + record.penalty.flat()[index])
                else:
                    values.append(kernel.sample(sample).activations[layer][0, index])
        return np.array(steps), np.array(values)

    # --- parts -----------------------------------------------------------------------------------
    def _kernel(self, config: Config, use: str = "go") -> Kernel:
        """A kernel for the config; a handful are kept."""
        key = (config, use)
        if key not in self._kernels:
            self._kernels[key] = Kernel(config, self.data)
        self._kernels.move_to_end(key)
        while len(self._kernels) > 8:
            self._kernels.popitem(last=False)
        return self._kernels[key]

    @staticmethod
    def _fitting(config: Config, parameters: Parameters) -> Array:
        wanted = [(*into, out) for *into, out in zip(config.layers, config.layers[1:], strict=False)]
        given = [weights.shape for weights in parameters.weights]
        biases = [bias.shape for bias in parameters.biases]
        if given != wanted or biases != [(out,) for _, out in wanted]:
            raise BadInput(
                f"The parameters have the shapes {given}; the network {'-'.join(map(str, config.layers))} "
                f"needs {wanted}.",
                given={"layers": list(config.layers)},
            )
        flat = parameters.flat()
        if not np.isfinite(flat).all():
            raise BadInput("The parameters given are not all finite numbers.")
        return flat


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
