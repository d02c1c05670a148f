"""The theatre of feature visualization: pictures made to excite a unit, as they come, beside real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from llm_workings.core.wire import Payload, Tensor

from .contract import view
from .lab import Lab
from .vision_parts import DEFAULT_NET, Net, NetCard, PictureName, net_card
from .vision_set import Examples, RealSet, bytes_of, examples_of, real_set

if TYPE_CHECKING:
    from llm_workings.attribution.visualize.climb import Visualization
    from llm_workings.models.vision_wrap import VisionModel

    from .feature_goals import Goal

Kind = Literal["channel", "neuron", "logit", "direction", "pair"]
KindOf = Annotated[
    Kind,
    Field(
        title="What is climbed",
        description="channel (its mean over places), neuron (the channel at the middle place), logit (of a "
        "class), direction (in which a class stands apart in the layer), pair (two channels together).",
    ),
]
LayerName = Annotated[
    str,
    Field(title="Layer", max_length=200, description="By its name in the net; empty for one two thirds up."),
]
UnitIndex = Annotated[
    int | None,
    Field(title="Unit", ge=0, description="A channel of the layer, or a class; empty for a telling one."),
]
OtherIndex = Annotated[
    int | None, Field(title="Other unit", ge=0, description="The second channel of a pair.")
]
Seeds = Annotated[
    int | None, Field(title="Seeds", ge=1, le=9, description="How many pictures; empty: 4, of a large net 2.")
]
Steps = Annotated[
    int | None,
    Field(title="Steps", ge=1, le=2000, description="Of the ascent; empty: 160, of a large net 48."),
]
Diversity = Annotated[
    float, Field(title="Diversity", ge=0, le=20, description="How much the pictures are pushed to differ.")
]
WithWaves = Annotated[
    bool, Field(title="Waves", description="Climb in waves; without, pixel by pixel, which makes noise.")
]
Robust = Annotated[
    bool, Field(title="Moved", description="Turn, zoom and shift the pictures a little at each step.")
]
Seed = Annotated[int, Field(title="Seed", ge=0, le=10**6, description="Of the first picture's noise.")]

LARGE = 128  # pixels a side from which a net counts as large
TOP, DRAWN = 10, 6  # real pictures


class FeatureVisualization(Payload):
    """What was asked, the defaults filled in; the pictures and the way there; the real pictures."""

    net: NetCard
    kind: Kind
    layer: str
    unit: int
    other: int | None
    subject_name: str
    """What is climbed, in words."""
    units: int
    """How many channels the layer has, or classes the net."""
    waves: bool
    robust: bool
    diversity: float
    seeds: list[int]
    steps: int
    complete: bool
    """Whether the last step is done."""
    frames: Annotated[np.ndarray, Tensor("uint8", "frame seed row column channel")]
    """The way, the grey noise of the beginning first; of a large net every second pixel."""
    frame_steps: Annotated[np.ndarray, Tensor("int32", "frame")]
    frame_values: Annotated[np.ndarray, Tensor("float32", "frame seed")]
    """The objective of each of these pictures as it is, not turned or shifted."""
    about_real: str
    n_real: int
    best: Examples
    """The real pictures that it is highest for, best first."""
    drawn: Examples
    """Some drawn at random: what "highest" is to be compared with."""
    here: Examples
    """The picture that the page is about."""
    real_median: float
    compared: str
    """The made pictures against the real ones, in words."""

    def subject(self) -> str:
        """What it is about, for a title."""
        return f"{self.subject_name}, {self.net.title}"

    def reading(self) -> str:
        """The picture in a few sentences, for a terminal or a screen reader."""
        last = self.frame_values[-1]
        said = (
            f"Made to excite {self.subject()}, from {len(self.seeds)} seeds: after "
            f"{int(self.frame_steps[-1])} of {self.steps} steps the values are "
            f"{', '.join(f'{value:.3g}' for value in last)}. {self.compared}"
        )
        named = [name for name in self.best.labels if name]
        if named:
            said += f" The {len(named)} real ones that excite it most: {', '.join(named)}."
        return said


@view
def feature_visualization(
    lab: Lab,
    net: Net = DEFAULT_NET,
    kind: KindOf = "channel",
    layer: LayerName = "",
    unit: UnitIndex = None,
    other: OtherIndex = None,
    picture: PictureName = "",
    seeds: Seeds = None,
    steps: Steps = None,
    diversity: Diversity = 0.0,
    waves: WithWaves = True,
    robust: Robust = True,
    seed: Seed = 0,
) -> FeatureVisualization:
    """Feature visualization.

    A picture x is changed, from grey noise on, so that a unit answers more and more: x ← x + η ∂a(x)/∂x,
    with Adam's steps. a is a channel's mean over places, one neuron of it, a class's logit, a direction
    a · v, or two channels' sum. The ascent is made in waves whose strength falls with their frequency and
    in decorrelated colours, and each step turns, zooms and shifts the picture a little (Olah et al. 2017).
    Several seeds begin at different noises. Beside them stand the real pictures of the net's set that a is
    highest for, and some drawn at random.

    What this cannot tell you: all that excites the unit; each picture is one maximum of many. Nor that the
    unit does so for what you see in it. People see much in noise, and a made picture is often stronger than
    any real one because it is like none. Compare it with the real ones, then ablate the unit.
    """
    from llm_workings.attribution.visualize.climb import FRAMES, visualize

    from .feature_goals import goal_of

    model = lab.vision(net)
    large = max(model.size) > LARGE
    many, long = seeds or (2 if large else 4), steps or (48 if large else 160)
    real = real_set(lab, model, picture)
    goal = goal_of(lab, model, real, kind, layer, unit, other, picture)
    lab.progress.report("real pictures")
    opened = lab.picture(picture, net)
    shown = _real(lab, model, real, opened.name, goal)
    card, which = net_card(model), tuple(seed + at for at in range(many))
    if diversity and many < 2:
        diversity = 0.0

    values: list[np.ndarray] = []

    def payload(found: Visualization) -> FeatureVisualization:
        frames = found.frames[..., ::2, ::2] if large else found.frames
        steps_done = found.steps[: len(values)]
        return FeatureVisualization(
            net=card,
            kind=kind,
            layer=goal.layer,
            unit=goal.unit,
            other=goal.other,
            subject_name=goal.name,
            units=goal.units,
            waves=waves,
            robust=robust,
            diversity=diversity,
            seeds=list(which),
            steps=long,
            complete=steps_done[-1] == long,
            frames=bytes_of(frames.numpy()),
            frame_steps=np.array(steps_done),
            frame_values=np.stack(values),
            about_real=real.about,
            n_real=len(real),
            compared=compare(values[-1], shown.median, shown.best, real),
            best=shown.best,
            drawn=shown.drawn,
            here=shown.here,
            real_median=shown.median,
        )

    def watch(found: Visualization) -> None:
        values.append(found.values.numpy())
        lab.progress.publish(lambda: payload(found))

    def climb() -> tuple[Visualization, list[np.ndarray]]:
        found = visualize(
            model,
            goal.objective,
            seeds=which,
            steps=long,
            diversity=diversity,
            waves=waves,
            robust=robust,
            frames=FRAMES // 2 + 1 if large else FRAMES,
            progress=lab.progress,
            partial=watch,
        )
        return found, values

    asked = ("climb", kind, goal.layer, goal.unit, goal.other, which, long, diversity, waves, robust)
    found, values = lab.found(net, asked, climb)
    return payload(found)


class _Shown:
    """What of the real pictures is shown."""

    def __init__(self, best: Examples, drawn: Examples, here: Examples, median: float):
        self.best, self.drawn, self.here, self.median = best, drawn, here, median


def _real(lab: Lab, model: VisionModel, real: RealSet, picture: str, goal: Goal) -> _Shown:
    from .feature_goals import values_of

    values, peaks = values_of(model, goal, real.images)
    order = np.argsort(-values, kind="stable")
    drawn = np.random.default_rng([0, goal.unit]).permutation(len(real))
    classes = model.classes
    if picture in real.names:
        here = examples_of(real, [real.names.index(picture)], values, peaks, classes)
    else:
        from .vision_set import fitted

        opened = lab.picture(picture, model.name)
        known = opened.label is not None and opened.classes == tuple(classes)
        label = opened.label if known and opened.label is not None else -1
        alone = RealSet((opened.name,), fitted(model, opened), np.array([label]), "", False)
        here = examples_of(alone, [0], *values_of(model, goal, alone.images), classes)
    few = DRAWN if real.whole else 0
    return _Shown(
        examples_of(real, order[:TOP].tolist(), values, peaks, classes),
        examples_of(real, drawn[:few].tolist(), values, peaks, classes),
        here,
        float(np.median(values)),
    )


def compare(made: np.ndarray, median: float, best: Examples, real: RealSet) -> str:
    """The made pictures against the real ones, in words.

    Args:
        made: `[seed]`, their values.
        median: of the real ones.
    """
    top, most = float(best.values[0]), float(made.max())
    name = best.names[0]
    at_hand = "the cat" if name == "cat" else "your picture" if name.startswith("own:") else name
    which = "the best real picture" if real.whole else at_hand
    if top <= 0 < most and median == 0:
        return f"No real picture of {len(real)} excites it; the best made one does, by {most:.3g}."
    if top > 0 and most > 0:
        times = most / top
        said = f"{times:.1f} times as much as" if times >= 1.05 else "as much as"
        if times < 0.95:
            said = f"{times:.2f} times as much as"
        return f"The best made picture excites it {said} {which} ({most:.3g} against {top:.3g})."
    more = "more" if most > top else "less"
    return f"The best made picture gives {most:.3g}, {abs(most - top):.3g} {more} than {which} ({top:.3g})."
