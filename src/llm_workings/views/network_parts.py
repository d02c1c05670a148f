"""What travels of a network that learns: its setting, a frame of its training, its tree of branches.

Units are numbered layer by layer from the inputs; `weights[l]` leads from units l to units l + 1. A place
in the picture is written `u1.2` (unit 2 of layer 1, the inputs being layer 0), `w1.0.2` (the weight of
layer 1 from unit 0 to unit 2; weights of layer 1 lead into units of layer 1), `b1.2` (a bias).
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from llm_workings.core.wire import Payload, Tensor
from llm_workings.data.spec import DataSpec
from llm_workings.playground.config import Config

Matrix = Annotated[np.ndarray, Tensor("float64", "from to")]
Vector = Annotated[np.ndarray, Tensor("float64", "to")]
UnitValues = Annotated[np.ndarray, Tensor("float64", "unit")]
UnitFlags = Annotated[np.ndarray, Tensor("uint8", "unit")]
Points = Annotated[np.ndarray, Tensor("float32", "point")]


class Setting(Payload):
    """What the picture is of: changes with the data and the architecture only."""

    config: Config
    data: DataSpec
    n_parameters: int
    task: Literal["classes", "regression"]
    classes: list[str]
    coordinates: list[str]
    features: list[str]
    """Names of the inputs."""
    dimensions: int
    """Of the ground the function is drawn on: 2 a plane, 1 a line, 0 none."""
    domain: list[float]
    """Lowest and highest coordinate shown; empty without a ground."""
    image_side: int
    """Pixels of a side where a sample is a square picture (digits: 8), else 0."""
    points: Annotated[np.ndarray, Tensor("float32", "sample coordinate")]
    targets: Annotated[np.ndarray, Tensor("float32", "sample output")]
    """The class, or the values."""
    held_back: Annotated[np.ndarray, Tensor("uint8", "sample")]
    """1 for a test sample."""
    steps_an_epoch: int


class Losses(Payload):
    """On the whole training and test set, at one step. NaN where there is no test set, or no accuracy."""

    train: float
    test: float
    train_accuracy: float
    test_accuracy: float
    confidence: float
    l1: float
    l2: float
    total: float
    """train + confidence + l1 + l2."""


class SamplePass(Payload):
    """One sample through the network, forwards and backwards, with the frame's parameters."""

    index: int
    """Of the data set."""
    activations: list[UnitValues]
    """A layer of units each, the inputs first."""
    pre: list[UnitValues]
    """A layer of weights each: what the activation is taken of."""
    delta: list[UnitValues]
    """dL/dz of this sample's loss, a layer of weights each."""
    target: UnitValues
    loss: float


class Finding(Payload):
    """What a diagnosis says, in words."""

    kind: Literal["diverged", "growing", "dead", "saturated", "plateau", "overfitting", "solved"]
    text: str
    advice: str
    places: list[str]


class Frame(Payload):
    """One moment of the training, as drawn."""

    branch: int
    step: int
    epoch: float
    learning_rate: float
    weights: list[Matrix]
    biases: list[Vector]
    surface: Annotated[np.ndarray, Tensor("float32", "row column")]
    """The first output over the ground, lowest y in the first row; of several classes the winner's
    probability or value. One row on a line; empty without a ground."""
    winner: Annotated[np.ndarray, Tensor("uint8", "row column")]
    """The class decided for; empty for values."""
    maps: Annotated[np.ndarray, Tensor("int8", "unit row column")]
    """Each unit's activation over the ground, all layers in order: value = maps / 127 * map_scale."""
    map_scale: Annotated[np.ndarray, Tensor("float32", "unit")]
    outputs: Annotated[np.ndarray, Tensor("float32", "sample output")]
    wrong: Annotated[np.ndarray, Tensor("uint8", "sample")]
    """1 where the class decided for is not the sample's; all 0 for values."""
    losses: Losses
    sample: SamplePass | None


class Branch(Payload):
    """One line of the tree of training: from where it left its parent to its tip."""

    id: int
    parent: int | None
    start: int
    tip: int
    label: str
    """What was changed where it began, such as "learning_rate 0.3 → 0.1"; empty for the first."""
    config: Config
    steps: Annotated[np.ndarray, Tensor("int32", "point")]
    """Where the curves have a point; thinned as the branch grows."""
    train: Points
    test: Points
    train_accuracy: Points
    test_accuracy: Points
    confidence: Points
    l1: Points
    l2: Points


class Tree(Payload):
    """All branches, and where the picture stands."""

    branches: list[Branch]
    branch: int
    step: int


class Check(Payload):
    """A derivative, measured by moving its parameter both ways a little."""

    measured: float
    difference: float
    """|measured - derived| / max(1, |derived|)."""


class Equation(Payload):
    """One line of the algebra. `text` re-evaluates to `result` at the digits shown."""

    id: str
    section: Literal["forward", "loss", "backward", "gradient", "penalty", "clip", "optimizer", "update"]
    layer: int
    unit: int
    sample: int | None
    """Of the batch; None for what belongs to the whole batch."""
    title: str
    symbolic: str
    """LaTeX, in symbols."""
    numeric: str
    """LaTeX, the same with the numbers in, up to and including the result."""
    text: str
    """The numbers as plain arithmetic, without the result."""
    result: str
    value: float
    """Exact."""
    places: list[str]
    """What in the picture it is about; the first is where it stands."""
    check: Check | None


class Algebra(Payload):
    """The whole computation of one step, or the part of it that was asked for."""

    step: int
    samples: list[int]
    """The batch, as indices of the data set."""
    sample: int
    """Whose forward and backward pass is written out: an index into `samples`."""
    equations: list[Equation]
    left_out: int
    """Equations of other units than those asked for."""


class PathStrength(Payload):
    """A way from an input to an output, and the product of the weights on it."""

    units: list[int]
    strength: float


class Series(Payload):
    """The history of one number."""

    place: str
    what: Literal["weight", "gradient", "activation"]
    steps: Annotated[np.ndarray, Tensor("int32", "point")]
    values: Annotated[np.ndarray, Tensor("float64", "point")]


class Details(Payload):
    """What the panels beside the picture show of one moment: slower to make than a frame."""

    branch: int
    step: int
    gradients: list[Matrix]
    """Of the step about to be taken, penalties included."""
    bias_gradients: list[Vector]
    norm: float
    clipped: float
    dead: list[UnitFlags]
    """A layer of weights each: 1 where a unit answers the same to every training sample."""
    saturated: list[UnitFlags]
    """1 where its slope is next to nothing on nearly all training samples."""
    findings: list[Finding]
    paths: list[PathStrength]
    algebra: Algebra | None
    history: Series | None


class Recording(Payload):
    """A training that was recorded: its frames in order, and the details of some."""

    setting: Setting
    tree: Tree
    frames: list[Frame]
    details: list[Details]
    """One a frame, or none."""
    script: str
    """Python that makes the same run."""
    left_out: list[str]

    def subject(self) -> str:
        """What it is a picture of, in a few words."""
        return f"{'-'.join(map(str, self.setting.config.layers))} on {self.setting.data.name}"

    def reading(self) -> str:
        """The picture in a few sentences, for a terminal or a screen reader."""
        setting, first, last = self.setting, self.frames[0].losses, self.frames[-1].losses
        config = self.tree.branches[-1].config
        said = (
            f"A network {'-'.join(map(str, config.layers))} ({', '.join(config.activations)}) learns "
            f"{setting.data.name} with {config.optimizer} at {config.learning_rate:g}: after "
            f"{self.frames[-1].step:,} steps the {config.loss} loss is {last.train:.4g}, at first "
            f"{first.train:.4g}"
        )
        if np.isfinite(last.train_accuracy):
            said += f", the accuracy {last.train_accuracy:.1%}"
        if np.isfinite(last.test):
            said += f"; on the test set {last.test:.4g}"
            said += f" and {last.test_accuracy:.1%}" if np.isfinite(last.test_accuracy) else ""
        said += "."
        branches = len(self.tree.branches)
        if branches > 1:
            said += f" The training has {branches} branches."
        found = [finding.text for finding in self.details[-1].findings] if self.details else []
        return " ".join([said, *found])


class SweepGrid(Payload):
    """Many networks trained together: one a cell, so far."""

    rows: str
    """The setting that differs from row to row, such as learning_rate; "seed" compares seeds."""
    row_values: list[float]
    columns: str
    """Empty where only the rows differ."""
    column_values: list[float]
    step: int
    """Updates each has made."""
    steps: int
    """Updates each is to make."""
    train: Annotated[np.ndarray, Tensor("float32", "row column")]
    """Loss on the training set, NaN where a network diverged."""
    test: Annotated[np.ndarray, Tensor("float32", "row column")]
    train_accuracy: Annotated[np.ndarray, Tensor("float32", "row column")]
    test_accuracy: Annotated[np.ndarray, Tensor("float32", "row column")]
    surfaces: Annotated[np.ndarray, Tensor("int8", "row column y x")]
    """Each network's first output over the ground, as in a frame's maps; empty without a ground."""
    surface_scale: float
    curve_steps: Annotated[np.ndarray, Tensor("int32", "point")]
    curves: Annotated[np.ndarray, Tensor("float32", "row column point")]
    """Training loss of each."""


class Predictions(Payload):
    """What the network answers at points of the user's choice."""

    branch: int
    step: int
    points: Annotated[np.ndarray, Tensor("float64", "point coordinate")]
    outputs: Annotated[np.ndarray, Tensor("float64", "point output")]
    winners: list[str]
    """The class decided for; empty for values."""
