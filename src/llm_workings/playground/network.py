"""The door for a person with a Python prompt: `Network([2, 4, 1]).train(data)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_workings.core.dataset import Dataset
from llm_workings.core.errors import BadInput, NotReady
from llm_workings.core.progress import SILENT, Progress

from .config import Config
from .kernel import Reader
from .losses import decide
from .record import Array, Parameters, StepRecord
from .run import Run

if TYPE_CHECKING:
    from .algebra import Document


class Network:
    """A dense network and the tree of its training.

        network = Network([2, 4, 1], activations="tanh", learning_rate=0.3)
        network.train(data, steps=500)
        network.explain(sample=0)

    Args:
        layers: units a layer, inputs first.
        activations: one for all hidden layers (tanh by default), or one a layer of weights with the
            output's last.
        parameters: the first weights and biases; by default drawn as `init` and `seed` say.
        **settings: any other field of `Config`: loss, optimizer, learning_rate, batch_size, l2, seed ...

    Raises `BadInput` and `TooLarge` as `Config.of`.
    """

    def __init__(
        self,
        layers: Sequence[int] = (2, 4, 1),
        activations: str | Sequence[str] = (),
        *,
        parameters: Parameters | None = None,
        **settings: Any,
    ):
        self._first = Config.of(layers=list(layers), activations=activations, **settings)
        self._parameters = parameters
        self._run: Run | None = None

    @property
    def run(self) -> Run:
        """The tree of its training: go back, change a setting, fork. Raises `NotReady` before any data."""
        if self._run is None:
            raise NotReady("The network has seen no data yet.", hint="Call train(data) first.")
        return self._run

    @property
    def config(self) -> Config:
        """What holds now."""
        return self._first if self._run is None else self._run.config

    @property
    def parameters(self) -> Parameters:
        """The weights and biases now."""
        return self.run.parameters

    def train(self, data: Dataset | None = None, steps: int = 1000, progress: Progress = SILENT) -> Network:
        """Make `steps` updates on `data` (at the first call; later calls go on with the same); itself.

        Training stops before numbers that are not finite; `measure()` and `run.branches` then tell.
        Raises `BadInput` where network and data do not go together, or other data is given later.
        """
        self._take(data)
        self.run.step(steps, progress)
        return self

    def step(self, data: Dataset | None = None) -> StepRecord:
        """Make one update; the record of it."""
        self._take(data)
        record = self.run.record()
        self.run.step(1)
        return record

    def explain(self, sample: int = 0, places: Sequence[str] | None = None) -> Document:
        """The algebra of the update that leads on from here, every number in it.

        Args:
            sample: whose pass is written out, counted within the batch.
            places: units or parameters to restrict it to, such as `["u1.2"]`; all by default.
        """
        from .algebra import explain

        return explain(self.run.record(), sample, places)

    def predict(self, points: Any) -> Array:
        """The outputs `[point, output]` at points `[point, coordinate]`, as the data's own are given.

        Raises `BadInput` for another number of coordinates.
        """
        data = self.run.data
        given = np.atleast_2d(np.asarray(points, float))
        if given.ndim != 2 or given.shape[1] != data.points.shape[1]:
            raise BadInput(
                f"The points have the shape {given.shape}; {data.name} has the coordinates "
                f"{', '.join(data.coordinates[:6])}.",
                hint=f"Give an array [point, {data.points.shape[1]}].",
            )
        read = Reader(self.config, data.expand(given)).read(self.run.state.parameters)
        return np.ascontiguousarray(read[-1].T)

    def decide(self, points: Any) -> list[str]:
        """The names of the classes decided for at points `[point, coordinate]`; errors as `predict`."""
        outputs, data = self.predict(points), self.run.data
        if data.task != "classes":
            raise BadInput(f"{data.name} asks for values, not classes.", hint="Use predict().")
        return [data.classes[index] for index in decide(self.config, outputs.T)]

    def measure(self) -> dict[str, float]:
        """Loss and accuracy on the training and the test set, and the penalties, now."""
        return self.run.measure()

    def _take(self, data: Dataset | None) -> None:
        if self._run is None:
            if data is None:
                raise BadInput("There is nothing to learn from.", hint="Give train() a data set.")
            self._run = Run(self._first, data, self._parameters)
        elif data is not None and data is not self._run.data:
            raise BadInput(
                f"This network is learning from {self._run.data.name}.",
                hint="Make a new Network for other data; give it parameters= to go on from these.",
            )

    def __repr__(self) -> str:
        spelled = "-".join(map(str, self.config.layers))
        if self._run is None:
            return f"Network({spelled}, untrained)"
        found = self.measure()
        accuracy = found["train_accuracy"]
        said = f", accuracy {accuracy:.3g}" if np.isfinite(accuracy) else ""
        return f"Network({spelled}, step {self.run.step_now}, loss {found['train']:.4g}{said})"
