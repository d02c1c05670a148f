"""Does a picture light up what is known to matter? Against true masks, and all methods in one table."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llm_workings.core.errors import BadShape
from llm_workings.core.progress import SILENT, Progress

from .gallery import Method, gallery
from .gradients import Baseline
from .result import Attribution
from .running import check_input
from .sanity import curves, sized
from .targets import AnyTarget, Target, as_target, probability

UNSIGNED = ("saliency", "SmoothGrad", "guided backprop")  # a slope's sign says nothing of presence


def strength(result: Attribution, x: Tensor) -> Tensor:
    """How strongly each place counts for the score, `[row, height, width]`, nowhere negative.

    The positive part of the map, at the images' size; of a mere slope (saliency, SmoothGrad, guided backprop)
    the largest absolute value over the channels.
    """
    if result.method.startswith(UNSIGNED):
        return result.values.abs().amax(1)
    return sized(result, x).clamp(min=0)


def pointing(strong: Tensor, masks: Tensor, tolerance: int | None = None) -> Tensor:
    """The pointing game: does the strongest place lie in the mask, or next to it? `[row]` bool.

    Zhang et al. 2018 (arXiv 1608.00507), who allow 15 pixels of images about 500 wide. What gives a figure
    away is its outline, which lies on both sides of its edge. A picture of zeros points nowhere: False.

    Args:
        tolerance: pixels around the mask that count as in it; by default 3 in 100 of the width.
    """
    strong, masks = _fitting(strong, masks)
    near = round(0.03 * masks.shape[-1]) if tolerance is None else tolerance
    if near:
        masks = F.max_pool2d(masks[:, None].float(), 2 * near + 1, 1, near)[:, 0].bool()
    at = strong.flatten(1).argmax(1, keepdim=True)
    return masks.flatten(1).gather(1, at)[:, 0] & strong.flatten(1).any(1)


def mass(strong: Tensor, masks: Tensor) -> Tensor:
    """Relevance mass: the mask's share of all that is positive, `[row]` (Arras et al. 2022).

    arXiv 2003.07258. With nothing learned it is the mask's share of the area. 0 where nothing is positive.
    """
    strong, masks = _fitting(strong, masks)
    total = strong.flatten(1).sum(1)
    inside = (strong * masks).flatten(1).sum(1)
    return torch.where(total > 0, inside / torch.where(total > 0, total, 1), 0)


def area(masks: Tensor) -> Tensor:
    """The mask's share of the image, `[row]`: what chance gives."""
    return masks.flatten(1).double().mean(1)


@dataclass(frozen=True)
class Line:
    """One method over a data set, means over the images.

    Attributes:
        pointing: how often the strongest place lies in the mask, or next to it.
        mass: of the positive values, the share inside the mask.
        lift: mass over the mask's share of the area: 1 is chance.
        deletion, insertion: areas under the curves, of the class's probability.
        error: |sum − expected| over |expected|, where the method promises a sum, the median; else None.
        seconds: that the pictures took, an image.
    """

    method: str
    pointing: float
    mass: float
    lift: float
    deletion: float
    insertion: float
    error: float | None
    seconds: float


def compare(
    module: nn.Module,
    x: Tensor,
    target: AnyTarget,
    masks: Tensor,
    methods: Mapping[str, Method] | None = None,
    *,
    baseline: Baseline = None,
    steps: int = 16,
    batch: int = 16,
    progress: Progress = SILENT,
) -> list[Line]:
    """Every method on the same images, best at the pointing game first.

    Args:
        x: images as the network gets them; masks: `[row, height, width]`, True where what counts is.
        target: what is explained, such as `logit(labels)`.
        methods: by name, as `gallery` gives them; by default all of those.
        baseline: what covered pixels show in the curves.
        batch: images at once.
    """
    x, target = check_input(module, x), as_target(target)
    methods = gallery(module, x[:1]) if methods is None else methods
    masks = torch.as_tensor(masks, device=x.device).bool()
    lines = []
    for at, (name, method) in enumerate(methods.items()):
        parts, strong, orders, seconds = [], [], [], 0.0
        for begin in range(0, len(x), batch):
            progress.report(name, at * len(x) + begin, len(methods) * len(x))
            here, asked = x[begin : begin + batch], rows_of(target, begin, begin + batch)
            started = time.perf_counter()
            result = method(module, here, asked)
            seconds += time.perf_counter() - started
            parts.append(result)
            strong.append(strength(result, here))
            shares = (
                probability(asked.classes) if asked.kind == "logit" and asked.classes is not None else asked
            )
            drawn = curves(module, here, shares, strong[-1], baseline=baseline, steps=steps)
            orders.append(torch.stack((drawn.deletion_area, drawn.insertion_area)))
        lines.append(_line(name, torch.cat(strong), masks, torch.cat(orders, 1), parts, seconds))
    return sorted(lines, key=lambda line: (-line.pointing, -line.mass))


def _line(
    name: str, strong: Tensor, masks: Tensor, areas: Tensor, parts: list[Attribution], seconds: float
) -> Line:
    inside = mass(strong, masks).double()
    deletion, insertion = areas.double().mean(1).tolist()
    error = None
    if parts[0].expected is not None:
        missing = torch.cat([part.error for part in parts if part.error is not None]).abs()
        promised = torch.cat([part.expected for part in parts if part.expected is not None]).abs()
        error = float((missing / promised.clamp(min=1e-12)).median())
    return Line(
        name,
        float(pointing(strong, masks).double().mean()),
        float(inside.mean()),
        float((inside / area(masks)).mean()),
        deletion,
        insertion,
        error,
        seconds / len(strong),
    )


def rows_of(target: Target, begin: int, end: int) -> Target:
    """The target of some of the rows, where it names a class for each."""

    def cut(classes: Tensor | None) -> Tensor | None:
        return classes if classes is None or classes.dim() == 0 else classes[begin:end]

    return Target(target.kind, cut(target.classes), cut(target.others), target.function)


def _fitting(strong: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    masks = torch.as_tensor(masks, device=strong.device).bool()
    if masks.shape != strong.shape:
        raise BadShape(f"Masks of shape {list(masks.shape)} do not fit a picture of {list(strong.shape)}.")
    return strong, masks
