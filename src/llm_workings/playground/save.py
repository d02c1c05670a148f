"""A run as one file: every branch, its kept states and curves, the data, and where it stands.

The file is a message of the wire (safetensors; nothing in it can be executed). What training goes on from is
in it to the last bit, so that a run saved, loaded and continued is the run that was never interrupted. What
is read is checked as if a stranger had written it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from llm_workings.core.dataset import Dataset, Task
from llm_workings.core.errors import BadFile, LabError
from llm_workings.core.files import write_whole
from llm_workings.core.wire import Payload, Tensor, pack, read_header, unpack

from .config import FIXED, Config
from .kernel import Kernel, State, split
from .optimizers import SLOTS
from .run import MEASURES, MOST_STEPS, Branch, Run

FORMAT = 1
BRANCHES = 1000  # more are refused
DENSE = 8  # states that are left where every other one was let go

States = Annotated[np.ndarray, Tensor("float64", "state parameter")]
Indices = Annotated[np.ndarray, Tensor("int64", "index")]


class SavedData(Payload):
    """A `Dataset`, in full: a run does not depend on who could make its data again."""

    name: str
    points: Annotated[np.ndarray, Tensor("float64", "sample coordinate")]
    inputs: Annotated[np.ndarray, Tensor("float64", "sample feature")]
    task: Task
    labels: Indices
    """The class of each sample; empty for values."""
    values: Annotated[np.ndarray, Tensor("float64", "sample output")]
    """The values of each sample; empty for classes."""
    classes: list[str]
    train: Indices
    test: Indices
    coordinates: list[str]
    features: list[str]
    domain: list[float]
    """Empty where there is none."""
    formulas: list[str]
    center: list[float]
    scale: list[float]
    outputs: list[str]


class SavedBranch(Payload):
    """A `Branch`. What was edited by hand where it began is in its first state."""

    id: int
    parent: int | None
    start: int
    tip: int
    label: str
    config: Config
    diverged: bool
    state_stride: int
    steps: Indices
    """Of the kept states."""
    parameters: States
    slots: dict[str, States]
    ages: Indices
    curve_stride: int
    curve_steps: Indices
    curve: Annotated[np.ndarray, Tensor("float64", "point measure")]


class SavedRun(Payload):
    """A run, whole."""

    format: int
    spec: dict[str, Any]
    """How the data was asked for, for whoever knows; JSON."""
    data: SavedData
    branches: list[SavedBranch]
    branch: int
    step: int


# --- writing -------------------------------------------------------------------------------------
def pack_run(run: Run, spec: dict[str, Any] | None = None) -> bytes:
    """The run as bytes. `spec` is JSON that says how its data was asked for, kept as it is."""
    branches = [_saved_branch(branch) for branch in run.branches.values()]
    branch, step = run.here
    data = _saved_data(run.data)
    return pack(
        SavedRun(format=FORMAT, spec=spec or {}, data=data, branches=branches, branch=branch, step=step)
    )


def _saved_data(data: Dataset) -> SavedData:
    of_classes = data.task == "classes"
    return SavedData(
        name=data.name,
        points=data.points,
        inputs=data.inputs,
        task=data.task,
        labels=data.targets if of_classes else np.empty(0),
        values=np.empty((0, 0)) if of_classes else data.targets,
        classes=list(data.classes),
        train=data.train,
        test=data.test,
        coordinates=list(data.coordinates),
        features=list(data.features),
        domain=[] if data.domain is None else list(data.domain),
        formulas=list(data.formulas),
        center=list(data.center),
        scale=list(data.scale),
        outputs=list(data.outputs),
    )


def _saved_branch(branch: Branch) -> SavedBranch:
    states = [branch.states[step] for step in branch.steps]
    curve_steps, curves = branch.curves()
    return SavedBranch(
        id=branch.id,
        parent=branch.parent,
        start=branch.start,
        tip=branch.tip,
        label=branch.label,
        config=branch.config,
        diverged=branch.diverged,
        state_stride=branch.state_stride,
        steps=np.array(branch.steps),
        parameters=np.stack([state.parameters for state in states]),
        slots={
            name: np.stack([state.slots[name] for state in states]) for name in SLOTS[branch.config.optimizer]
        },
        ages=np.array([state.age for state in states]),
        curve_stride=branch.curve_stride,
        curve_steps=curve_steps,
        curve=np.stack([curves[name] for name in MEASURES], axis=1),
    )


def save_run(run: Run, path: Path | str, spec: dict[str, Any] | None = None) -> Path:
    """Write the run to a file, whole or not at all; the path. Raises `BadInput` for a folder not there."""
    return write_whole(path, pack_run(run, spec), example="run.safetensors")


# --- reading -------------------------------------------------------------------------------------
def load_run(path: Path | str) -> tuple[Run, dict[str, Any]]:
    """The run that a file holds, and its `spec`; errors as `unpack_run`."""
    path = Path(path)
    if not path.is_file():
        raise BadFile(f"There is no file {str(path)!r}.", given={"path": str(path)})
    return unpack_run(path.read_bytes())


def unpack_run(data: bytes) -> tuple[Run, dict[str, Any]]:
    """The run that these bytes hold, where it stood, and its `spec`.

    Raises `BadFile` for a file that is cut short, is something else or of a newer version, and for one whose
    parts contradict each other.
    """
    _check_kind(data)
    saved = unpack(data, SavedRun)
    try:
        dataset = _dataset(saved.data)
        return _run(saved, dataset), saved.spec
    except BadFile:
        raise
    except LabError as error:  # a network that does not go with the data
        raise BadFile(f"The run contradicts itself: {error.message}", hint=error.hint) from error


def _check_kind(data: bytes) -> None:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 9 or data[8:9] != b"{" or size > 2**31:
        raise BadFile(f"This is no saved run: its {len(data):,} bytes begin unlike one.")
    if len(data) < 8 + size:
        raise _cut_short(len(data), 8 + size)
    try:
        header = json.loads(data[8 : 8 + size])
        ends = [part["data_offsets"][1] for name, part in header.items() if name != "__metadata__"]
        wanted = 8 + size + max(map(int, ends), default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise BadFile("This is no saved run: it has no readable header.") from error
    kind = (header.get("__metadata__") or {}).get("kind")
    if kind != SavedRun.__name__:
        what = f"a {kind} message" if kind else "a safetensors file of something else"
        raise BadFile(f"This is no saved run, but {what}.", given={"kind": kind})
    if len(data) < wanted:
        raise _cut_short(len(data), wanted)
    try:
        version = json.loads(read_header(data)["json"])["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadFile("This saved run does not say its version.") from error
    if not isinstance(version, int) or version > FORMAT:
        raise BadFile(
            f"This run was saved in format {version!r}; this version of llm-workings reads up to {FORMAT}.",
            hint="It was probably written by a newer version: update llm-workings.",
            given={"format": version, "reads": FORMAT},
        )


def _cut_short(has: int, wanted: int) -> BadFile:
    return BadFile(
        f"This saved run is cut short: it has {has:,} of {wanted:,} bytes.",
        hint="Copy or download it again.",
        given={"bytes": has, "wanted": wanted},
    )


def _require(condition: Any, problem: str) -> None:
    if not condition:
        raise BadFile(f"The saved run contradicts itself: {problem}.")


def _dataset(saved: SavedData) -> Dataset:
    n = len(saved.points)
    targets = saved.labels if saved.task == "classes" else saved.values
    _require(
        n > 0 and len(saved.inputs) == n and len(targets) == n,
        f"{n} points, {len(saved.inputs)} inputs, {len(targets)} targets",
    )
    _require(len(saved.coordinates) == saved.points.shape[1], "its points have other coordinates than named")
    _require(len(saved.features) == saved.inputs.shape[1], "its inputs are others than the features named")
    split_of = np.sort(np.concatenate([saved.train, saved.test]))
    _require(
        len(saved.train) and np.array_equal(split_of, np.arange(n)),
        "training and test samples together are not every sample once",
    )
    for name, array in (("points", saved.points), ("inputs", saved.inputs), ("values", saved.values)):
        _require(np.isfinite(array).all(), f"its {name} are not all finite")
    if saved.task == "classes":
        _require(len(saved.classes) >= 2, "it has fewer than two classes")
        _require(
            ((targets >= 0) & (targets < len(saved.classes))).all(), "a sample's class is none of its classes"
        )
    else:
        _require(saved.values.shape[1] > 0, "its samples have no values")
    low_high = tuple(saved.domain)
    _require(
        not low_high or (len(low_high) == 2 and -np.inf < low_high[0] < low_high[1] < np.inf),
        f"its domain is {saved.domain}",
    )
    _require(not low_high or saved.points.shape[1] in (1, 2), "a ground of more than two coordinates")
    _require(
        len(saved.center) == len(saved.scale)
        and len(saved.center) in (0, saved.points.shape[1])
        and np.isfinite([*saved.center, *saved.scale]).all()
        and 0 not in saved.scale,
        "its points cannot be scaled by what it says",
    )
    _require(len(saved.formulas) in (0, saved.inputs.shape[1]), "it has other inputs than formulas")
    dataset = Dataset(
        name=saved.name,
        points=saved.points,
        inputs=saved.inputs,
        targets=targets,
        task=saved.task,
        classes=tuple(saved.classes),
        train=saved.train,
        test=saved.test,
        coordinates=tuple(saved.coordinates),
        features=tuple(saved.features),
        domain=(low_high[0], low_high[1]) if low_high else None,
        formulas=tuple(saved.formulas),
        center=tuple(saved.center),
        scale=tuple(saved.scale),
        outputs=tuple(saved.outputs),
    )
    read = dataset.expand(dataset.points[:1]).shape[1]
    _require(
        read == dataset.inputs.shape[1], f"{read} inputs can be made of its points, not as many as it has"
    )
    return dataset


def _run(saved: SavedRun, data: Dataset) -> Run:
    _require(0 < len(saved.branches) <= BRANCHES, f"{len(saved.branches)} branches")
    branches: dict[int, Branch] = {}
    for each in saved.branches:
        _check_branch(each, branches)
        branches[each.id] = _branch(each)
        Kernel(each.config, data)  # says what does not go together
    root = branches[0]
    run = Run(root.config, data, split(root.config, root.states[0].parameters))
    run.branches = branches
    _require(saved.branch in branches, f"it stands on a branch {saved.branch} that it does not have")
    tip = branches[saved.branch].tip
    _require(0 <= saved.step <= tip, f"it stands at step {saved.step} of a branch that ends at {tip}")
    run.goto(saved.step, saved.branch)
    return run


def _check_branch(saved: SavedBranch, before: dict[int, Branch]) -> None:
    """What holds of every branch that a run makes; `before` are those that were made earlier."""
    name, config, steps = f"branch {saved.id}", saved.config, saved.steps
    if not before:
        _require(saved.id == 0 and saved.parent is None and saved.start == 0, "its first branch is none")
    else:
        _require(saved.id > max(before), f"{name} comes after branch {max(before)}")
        parent = before.get(-1 if saved.parent is None else saved.parent)
        _require(parent is not None, f"{name} left branch {saved.parent}, which is not there")
        if parent is not None:
            _require(parent.start <= saved.start <= parent.tip, f"{name} left its parent where that is not")
            _require(
                not set(FIXED) & parent.config.difference(config).keys(), f"{name} is of another network"
            )
    _require(saved.start <= saved.tip <= MOST_STEPS, f"{name} goes from {saved.start} to {saved.tip}")
    stride = saved.state_stride
    _require(stride >= 1 and saved.curve_stride >= 1, f"{name} keeps every 0th state")
    first = saved.start // stride + 1
    wanted = np.array([saved.start, *(np.arange(first, first + len(steps) - 1) * stride)])
    _require(
        np.array_equal(steps, wanted)
        and steps[-1] <= saved.tip < (first + len(steps) - 1) * stride
        and (stride == 1 or len(steps) >= DENSE),
        f"{name} does not have the states of every {stride}th step",
    )
    shape = (len(steps), config.n_parameters)
    _require(
        saved.parameters.shape == shape,
        f"{name} has parameters of the shape {saved.parameters.shape} where {shape} are needed",
    )
    _require(np.isfinite(saved.parameters).all(), f"{name} has parameters that are not finite")
    _require(
        saved.slots.keys() == set(SLOTS[config.optimizer]),
        f"{name} has the memory {sorted(saved.slots)}, which is not that of {config.optimizer}",
    )
    for slot, array in saved.slots.items():
        _require(array.shape == shape, f"{name} has {slot} of the shape {array.shape}, not {shape}")
        _require(slot not in ("v", "mean_square") or not (array < 0).any(), f"{name} has negative squares")
    _require(
        saved.ages.shape == steps.shape and ((saved.ages >= 0) & (saved.ages <= steps)).all(),
        f"{name} has an optimizer older than the run",
    )
    points = saved.curve_steps
    _require(saved.curve.shape == (len(points), len(MEASURES)), f"{name} has curves of another length")
    _require(
        len(points) and points[0] == saved.start and (np.diff(points) > 0).all() and points[-1] <= saved.tip,
        f"{name} has a curve that is not along it",
    )


def _branch(saved: SavedBranch) -> Branch:
    steps = [int(step) for step in saved.steps]
    states = {
        step: State(
            step,
            saved.parameters[i].copy(),
            {name: slot[i].copy() for name, slot in saved.slots.items()},
            int(saved.ages[i]),
        )
        for i, step in enumerate(steps)
    }
    points = [int(step) for step in saved.curve_steps]
    return Branch(
        id=saved.id,
        parent=saved.parent,
        start=saved.start,
        config=saved.config,
        label=saved.label,
        tip=saved.tip,
        states=states,
        state_stride=saved.state_stride,
        curve={step: tuple(map(float, row)) for step, row in zip(points, saved.curve, strict=True)},
        curve_stride=saved.curve_stride,
        diverged=saved.diverged,
        steps=steps,
    )
