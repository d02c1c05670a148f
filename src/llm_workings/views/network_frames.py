"""From a training to what travels of it: the setting, a frame, the tree, the details of one moment.

The live page, the recorded file and a notebook's picture are made of these. A frame is made some dozens of
times a second, so nothing here computes what a frame does not show.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from llm_workings.core.dataset import Dataset
from llm_workings.data.spec import DataSpec
from llm_workings.playground.config import Config
from llm_workings.playground.losses import decide
from llm_workings.playground.optimizers import learning_rate
from llm_workings.playground.run import Run
from llm_workings.playground.surface import Ground

from .network_parts import Branch, Frame, Losses, SamplePass, Setting, Tree

Array = np.ndarray
POINTS = 6000  # of all branches' curves together
LEAST_POINTS = 40  # of one


def setting_of(config: Config, data: Dataset, spec: DataSpec) -> Setting:
    """What does not change while a network learns; `config` is the one it began with."""
    n = len(data.points)
    held_back = np.zeros(n, np.uint8)
    held_back[data.test] = 1
    side = round(data.points.shape[1] ** 0.5)
    pixels = data.dimensions == 0 and side > 2 and side * side == data.points.shape[1]
    return Setting(
        config=config,
        data=spec,
        n_parameters=config.n_parameters,
        task=data.task,
        classes=list(data.classes),
        coordinates=list(data.coordinates),
        features=list(data.features),
        dimensions=data.dimensions,
        domain=[] if data.domain is None else list(data.domain),
        image_side=side if pixels and spec.name == "digits" else 0,
        points=data.points,
        targets=data.targets.reshape(n, -1),
        held_back=held_back,
        steps_an_epoch=-(-len(data.train) // min(config.batch_size, len(data.train))),
    )


@dataclass
class Painter:
    """Makes the frames of one run. The ground is laid once for each architecture.

    Args:
        side: points of the surface's side; by default as many as the network answers quickly.
    """

    run: Run
    side: int | None = None
    _grounds: dict[tuple[object, ...], Ground] = field(default_factory=dict)

    def frame(self, sample: int | None = None) -> Frame:
        """The moment at which the run stands, with this sample's pass."""
        run = self.run
        config, data, state = run.config, run.data, run.state
        kernel = run.kernel_at(run.step_now, run.branch)
        measured = kernel.measure()
        outputs = kernel.outputs()[1]
        wrong = np.zeros(len(data.points), np.uint8)
        if data.task == "classes":
            wrong = (decide(config, outputs) != data.targets).astype(np.uint8)
        outputs = narrow(outputs.T)
        drawn = self._ground(config).draw(state.parameters)
        parameters = kernel.split(state.parameters)
        total = measured["train"] + measured["confidence"] + measured["l1"] + measured["l2"]
        return Frame(
            branch=run.branch,
            step=run.step_now,
            epoch=run.step_now / run.steps_an_epoch,
            learning_rate=learning_rate(config, run.step_now),
            weights=list(parameters.weights),
            biases=list(parameters.biases),
            surface=narrow(drawn.value),
            winner=drawn.winner,
            maps=drawn.maps,
            map_scale=narrow(drawn.scale),
            outputs=outputs,
            wrong=wrong,
            losses=Losses(**measured, total=total),
            sample=None if sample is None else self.sample_pass(sample),
        )

    def sample_pass(self, index: int) -> SamplePass:
        """One sample of the data set through the network as it stands."""
        record = self.run.kernel_at(self.run.step_now, self.run.branch).sample(index)
        return SamplePass(
            index=index,
            activations=[layer[0] for layer in record.activations],
            pre=[layer[0] for layer in record.pre],
            delta=[layer[0] for layer in record.delta],
            target=record.targets[0],
            loss=float(record.losses.mean()),
        )

    def _ground(self, config: Config) -> Ground:
        """The ground for the config's architecture, which is all of it that a surface depends on."""
        # The class decided for depends on the loss, the leak on its slope: both may change on the way.
        key = (config.layers, config.activations, config.loss, config.leaky_slope)
        if key not in self._grounds:
            while len(self._grounds) > 3:
                del self._grounds[next(iter(self._grounds))]
            self._grounds[key] = Ground(config, self.run.data, self.side)
        return self._grounds[key]


def tree_of(run: Run) -> Tree:
    """All branches with their curves; of many branches each curve has fewer points."""
    branches, most = [], max(LEAST_POINTS, POINTS // len(run.branches))
    for branch in run.branches.values():
        steps, curves = run.curves(branch.id)
        thin = _thinned(len(steps), most)
        steps, curves = steps[thin], {name: values[thin] for name, values in curves.items()}
        branches.append(
            Branch(
                id=branch.id,
                parent=branch.parent,
                start=branch.start,
                tip=branch.tip,
                label=branch.label,
                config=branch.config,
                steps=steps,
                **{name: narrow(values) for name, values in curves.items()},
            )
        )
    return Tree(branches=branches, branch=run.branch, step=run.step_now)


def _thinned(n: int, most: int) -> Array:
    """`most` of the indices below `n`, evenly spaced, the first and last among them."""
    return np.arange(n) if n <= most else np.rint(np.linspace(0, n - 1, most)).astype(int)


def narrow(array: Array) -> Array:
    """As float32. What that cannot hold (a training about to diverge) is its largest number."""
    largest = np.finfo(np.float32).max
    with np.errstate(all="ignore"):
        narrow = array.astype(np.float32)
    if np.isinf(narrow).any():
        narrow = np.where(np.isinf(array), array, np.clip(array, -largest, largest)).astype(np.float32)
    return narrow
