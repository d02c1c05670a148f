"""One method checked on one picture: with random weights, and with pixels taken away in its order."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Annotated

import numpy as np

from llm_workings.core.errors import BadInput
from llm_workings.core.wire import Payload, Tensor

from .attribution_methods import (
    MAPS,
    Against,
    ClassIndex,
    DrawnSeed,
    MapLayer,
    MethodName,
    Posed,
    method_of,
    named,
    picture_map,
    pose,
    shown_layers,
)
from .contract import view
from .lab import Lab
from .vision_parts import DEFAULT_NET, Net, PictureName

if TYPE_CHECKING:
    from llm_workings.attribution.result import Attribution

Steps = Annotated[np.ndarray, Tensor("float32", "step")]
Maps = Annotated[np.ndarray, Tensor("float32", "stop row column")]
MEASURED = 9  # how often weights are randomized further and the map is taken again
TAKEN = 24  # how many times pixels go
THUMB = 56  # pixels of a side, at most, of the maps that are sent


class AttributionChecks(Payload):
    """Whether a map is about the network, and whether what it marks matters to it."""

    method: str
    layer: str | None
    target: int
    contrast: int | None
    seed: int
    randomized: list[str]
    """Down to which layer, from the last, weights are random; the first is "": none is."""
    spearman: Steps
    """Rank correlation of the map then with the map of the trained network."""
    spearman_absolute: Steps
    """The same of the absolute values."""
    thumbnails: Maps
    """The map at each of these, small, each over its own largest absolute value: from -1 to 1."""
    measure: str
    """What the curves are of: a probability or a difference of logits."""
    share: Steps
    """Of the pixels that are taken, from 0 to 1."""
    deletion: Steps
    """With that share covered by grey, the strongest first."""
    insertion: Steps
    """With only that share in sight."""
    deletion_random: Steps
    """In a random order."""
    insertion_random: Steps
    areas: list[float]
    """Under deletion, insertion and the two in a random order."""
    complete: bool

    def reading(self) -> str:
        """The checks in a few sentences, for a terminal or a screen reader."""
        said = f"{self.method}{f' at {self.layer}' if self.layer else ''}: "
        if len(self.spearman) > 1:
            said += (
                f"with random weights down to {self.randomized[-1]} its map correlates "
                f"{self.spearman[-1]:.2f} with the trained network's "
                f"({self.spearman_absolute[-1]:.2f} in size). "
            )
        return said + (
            f"Area under deletion {self.areas[0]:.3g} (random order {self.areas[2]:.3g}), "
            f"under insertion {self.areas[1]:.3g} ({self.areas[3]:.3g})."
        )


@view
def attribution_checks(
    lab: Lab,
    net: Net = DEFAULT_NET,
    picture: PictureName = "",
    target: ClassIndex = None,
    contrast: Against = None,
    method: MethodName = "saliency",
    layer: MapLayer = None,
    seed: DrawnSeed = 0,
) -> AttributionChecks:
    """A map, checked.

    Is the map about what the network has learned? Its weights are randomized layer by layer, from the last
    down (Adebayo et al. 2018): a map that stays as it was is about the picture alone. Does what it marks
    matter? Pixels are covered, the strongest first, and the answer should fall at once (deletion); or they
    alone are shown, and it should rise at once (insertion; Petsiuk et al. 2018), faster than in a random
    order.

    What this cannot tell you: that a map which passes is right. A half-covered picture is like none the
    network was trained on, and its answer there may mean little; the curves compare orders on one network
    and one cover, nothing else. One draw of random weights is one draw.
    """
    import torch

    from llm_workings.attribution.sanity import cascade, curves
    from llm_workings.attribution.targets import probability
    from llm_workings.attribution.truth import strength

    (name,) = named([method])
    posed = pose(lab, net, picture, target, contrast)
    _, at = shown_layers(posed, layer)
    if name in MAPS and at is None:
        raise BadInput(
            f"{posed.model.name} has no layer with places, so there is no {name}.", hint="Try another method."
        )
    run = method_of(posed, name, at, seed, lab.progress)
    module, x = posed.model.module, posed.x
    stream = cascade(module, x, posed.score, run, seed=seed, measured=MEASURED, progress=lab.progress)
    trained = next(stream)
    asked = posed.score if contrast is not None else probability(posed.target)
    draw = torch.Generator().manual_seed(seed)
    strong = strength(trained.result, x)
    drawn = curves(module, x, asked, strong, steps=TAKEN, progress=lab.progress)
    random = torch.rand(strong.shape, generator=draw).to(strong)
    compared = curves(module, x, asked, random, steps=TAKEN, progress=lab.progress)
    names: list[str] = []
    likeness: list[tuple[float, float]] = []
    thumbs: list[np.ndarray] = []

    def so_far(complete: bool) -> AttributionChecks:
        both = np.array(likeness, np.float32).reshape(-1, 2)
        return AttributionChecks(
            method=name,
            layer=at if name in MAPS else None,
            target=posed.target,
            contrast=posed.contrast,
            seed=seed,
            randomized=list(names),
            spearman=both[:, 0],
            spearman_absolute=both[:, 1],
            thumbnails=np.stack(thumbs) if thumbs else np.zeros((0, 1, 1), np.float32),
            measure=_measure(posed),
            share=drawn.share.cpu().numpy(),
            deletion=drawn.deletion[0].cpu().numpy(),
            insertion=drawn.insertion[0].cpu().numpy(),
            deletion_random=compared.deletion[0].cpu().numpy(),
            insertion_random=compared.insertion[0].cpu().numpy(),
            areas=[
                float(area[0])
                for area in (
                    drawn.deletion_area,
                    drawn.insertion_area,
                    compared.deletion_area,
                    compared.insertion_area,
                )
            ],
            complete=complete,
        )

    lab.progress.publish(lambda: so_far(False))
    for found in chain([trained], stream):
        names.append(found.layer)
        likeness.append((found.likeness.spearman, found.likeness.spearman_absolute))
        thumbs.append(_thumbnail(name, found.result))
        lab.progress.publish(lambda: so_far(False))
    return so_far(True)


def _thumbnail(name: str, result: Attribution) -> np.ndarray:
    """The map, small, over its own largest absolute value."""
    import torch.nn.functional as F

    drawn = picture_map(name, result)[:1].cpu()
    if max(drawn.shape[1:]) > THUMB:
        high, wide = drawn.shape[1:]
        shrunk = THUMB / max(high, wide)
        drawn = F.interpolate(drawn[None], (round(high * shrunk), round(wide * shrunk)), mode="area")[0]
    largest = float(drawn.abs().max())
    return (drawn[0] / largest if largest > 0 else drawn[0]).double().numpy()


def _measure(posed: Posed) -> str:
    classes = posed.model.classes
    if posed.contrast is None:
        return f"probability of {classes[posed.target]}"
    return f"logit of {classes[posed.target]} less {classes[posed.contrast]}"
