"""The network view: a dense network learns, and every number on the way is there to see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from llm_workings.data.spec import DataSpec
from llm_workings.playground.config import Config
from llm_workings.playground.run import Run

from .contract import view
from .lab import Lab
from .network_details import Watched, check
from .network_parts import Recording
from .network_recording import record

MOST_STEPS = 1_000_000


def _config(value: Any) -> Any:
    """A network as a page or a program has it, in words where it cannot be."""
    return Config.of(value) if isinstance(value, Mapping) else value


def _data(value: Any) -> Any:
    return DataSpec.of(value) if isinstance(value, Mapping) else value


NetworkConfig = Annotated[
    Config,
    BeforeValidator(_config),
    Field(title="Network", description="Layers, activations, loss, optimizer and all else that learns."),
]
Data = Annotated[
    DataSpec, BeforeValidator(_data), Field(title="Data", description="What the network learns from.")
]
Steps = Annotated[
    int, Field(title="Steps", ge=0, le=MOST_STEPS, description="Updates to make; recorded are some of them.")
]
Frames = Annotated[
    int,
    Field(title="Frames", ge=1, le=500, description="Moments to record, closer together at the beginning."),
]
Sample = Annotated[
    int | None,
    Field(title="Sample", ge=0, description="The sample that is followed, an index of the data set, from 0."),
]
Place = Annotated[
    str | None,
    Field(
        title="Place",
        max_length=40,
        description="The unit (u1.2: unit 2 of layer 1, the inputs being layer 0), weight (w1.0.2) or bias "
        "(b1.2) whose equations are written out. Left out, those of all.",
    ),
]
FIRST, POINTS = Config(), DataSpec()


@view
def network(
    lab: Lab,
    config: NetworkConfig = FIRST,
    data: Data = POINTS,
    steps: Steps = 1000,
    frames: Frames = 40,
    sample: Sample = 0,
    place: Place = None,
) -> Recording:
    """The network visualizer.

    A dense network while it learns. Each unit takes z = Σ w a + b of the layer before it and answers
    f(z); the loss L says what the last layer's answers cost; backwards, dL/dw = Σ dL/dz · a over the
    batch, and the optimizer turns it into a new w. The ground behind the points is what the network
    would answer there, each unit's small picture what that unit answers. Weights, activations
    and gradients are the run's own 64-bit numbers (the ground's are rounded), and the equations beside
    the picture evaluate to what they say.

    What this cannot tell you: what a network of millions of weights does. Here a unit's picture can
    be read because it depends on two inputs; that a unit looks like one feature does not mean that
    the network uses it as one, and a low loss on these points says nothing of points elsewhere.
    """
    from llm_workings.data.points import make

    run = Run(config, make(data))
    watched = Watched(sample, place, algebra=True, paths=True)
    check(run, watched)
    run.step(steps, lab.progress)
    return record(run, data, watched, frames=frames, progress=lab.progress)
