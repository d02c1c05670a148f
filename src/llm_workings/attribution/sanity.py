"""Is a picture about the network at all? Randomized weights, and pixels taken away in its order."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llm_workings.core.errors import BadInput, BadShape
from llm_workings.core.progress import SILENT, Progress

from .gallery import Method
from .gradients import Baseline, baseline_of
from .result import Attribution
from .running import check_input, explaining, scores_of
from .targets import AnyTarget, as_target


# --- randomized weights ----------------------------------------------------------------------
@dataclass(frozen=True)
class Likeness:
    """How like two pictures are, the mean over rows: 1 the same, 0 unrelated, −1 opposite.

    Of the values as they are, and of their absolute values. The two can differ: where an input is large its
    product with any gradient is, so |input x gradient| looks insensitive to the weights when it is not.
    """

    spearman: float
    spearman_absolute: float
    pearson: float
    pearson_absolute: float


@dataclass(frozen=True)
class Randomized:
    """After all layers from the last down to `layer` were randomized.

    Attributes:
        layer: the lowest that was; "" where none was.
        likeness: of the picture then to the picture of the trained network.
        result: the picture then.
    """

    layer: str
    likeness: Likeness
    result: Attribution


def likeness(one: Tensor, other: Tensor) -> Likeness:
    """Correlations of two pictures `[row, ...]`, row by row; a constant picture is like nothing: 0.

    Raises `BadShape` where their shapes differ.
    """
    from scipy.stats import rankdata

    if one.shape != other.shape:
        raise BadShape(f"Pictures of shapes {list(one.shape)} and {list(other.shape)} cannot be compared.")
    a, b = (part.detach().flatten(1).double().cpu().numpy() for part in (one, other))

    def ranked(values: np.ndarray) -> np.ndarray:
        return rankdata(values, axis=1)

    return Likeness(
        _correlation(ranked(a), ranked(b)),
        _correlation(ranked(abs(a)), ranked(abs(b))),
        _correlation(a, b),
        _correlation(abs(a), abs(b)),
    )


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = (part - part.mean(1, keepdims=True) for part in (a, b))
    scale = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return float(np.where(scale > 0, (a * b).sum(1) / np.where(scale > 0, scale, 1), 0).mean())


def randomization(
    module: nn.Module,
    x: Tensor,
    target: AnyTarget,
    method: Method,
    *,
    seed: int = 0,
    measured: int | None = None,
    progress: Progress = SILENT,
) -> list[Randomized]:
    """The picture while the network's layers are randomized one after the other, from the last to the first.

    The cascading test of Adebayo et al. 2018 (arXiv 1810.03292): a picture that stays as it was is not about
    what the network has learned. A layer's new weights are drawn from a normal distribution of its old
    ones' mean and standard deviation, so activations keep their size; a batch norm's running statistics
    stay. The network itself is left alone: a copy is changed.

    Args:
        measured: after how many of the layers the picture is taken again, evenly spread, the last among
            them; by default after each.
    """
    return list(cascade(module, x, target, method, seed=seed, measured=measured, progress=progress))


def cascade(
    module: nn.Module,
    x: Tensor,
    target: AnyTarget,
    method: Method,
    *,
    seed: int = 0,
    measured: int | None = None,
    progress: Progress = SILENT,
) -> Iterator[Randomized]:
    """`randomization`, one measurement after the other."""
    x, target = check_input(module, x), as_target(target)
    changed = copy.deepcopy(module)
    layers = [
        name
        for name, part in changed.named_modules()
        if next(part.parameters(recurse=False), None) is not None
    ]
    if not layers:
        raise BadInput("The network has no weights to randomize.")
    draw = torch.Generator().manual_seed(seed)
    stops = len(layers) if measured is None else max(1, min(measured, len(layers)))
    wanted = {round(len(layers) * (stop + 1) / stops) for stop in range(stops)}
    before = method(module, x, target)
    yield Randomized("", likeness(before.values, before.values), before)
    for count, name in enumerate(reversed(layers), 1):
        with torch.no_grad():
            for weight in changed.get_submodule(name).parameters(recurse=False):
                noise = torch.randn(weight.shape, generator=draw).to(weight)
                spread = weight.std() if weight.numel() > 1 else weight.abs().mean()
                weight.copy_(weight.mean() + spread * noise)
        if count not in wanted:
            continue
        progress.report("randomizing layers", count - 1, len(layers))
        after = method(changed, x, target)
        yield Randomized(name, likeness(before.values, after.values), after)


# --- deletion and insertion ------------------------------------------------------------------
@dataclass(frozen=True)
class Curves:
    """The score while pixels go or come, those of the largest values first.

    Attributes:
        share: of the pixels, from 0 to 1, `[step]`.
        deletion: `[row, step]`, the score with that share covered: a good picture makes it fall at once.
        insertion: `[row, step]`, the score with only that share in sight: a good picture makes it rise.
    """

    share: Tensor
    deletion: Tensor
    insertion: Tensor

    @property
    def deletion_area(self) -> Tensor:
        """The area under the deletion curve, `[row]`: the smaller the better."""
        return torch.trapezoid(self.deletion, self.share, dim=1)

    @property
    def insertion_area(self) -> Tensor:
        """The area under the insertion curve, `[row]`: the larger the better."""
        return torch.trapezoid(self.insertion, self.share, dim=1)


def curves(
    module: nn.Module,
    x: Tensor,
    target: AnyTarget,
    order: Attribution | Tensor,
    *,
    baseline: Baseline = None,
    steps: int = 32,
    batch: int | None = None,
    progress: Progress = SILENT,
) -> Curves:
    """Deletion and insertion (Petsiuk et al. 2018, arXiv 1806.07421), in the order of a picture's values.

    What is covered shows the baseline. The inputs on the way are like none the network was trained on: curves
    compare orders on one network and one baseline, and nothing else. Compare with a random order as well.

    Args:
        order: an attribution, or a map `[row, height, width]`; a smaller map is enlarged bilinearly.
        target: a probability keeps the areas between 0 and 1.
        steps: how many times pixels are taken.
    """
    x, target = check_input(module, x), as_target(target)
    base = baseline_of(x, baseline)
    places = sized(order, x)
    if steps < 1:
        raise BadInput(f"steps is {steps}; at least 1 is needed.")
    count = places[0].numel()
    taken = torch.linspace(0, count, steps + 1).round().long()
    ranks = places.flatten(1).argsort(1, descending=True).argsort(1)  # 0: taken first
    deleted, inserted = [], []
    with explaining(module), torch.no_grad():
        for at, amount in enumerate(taken.tolist()):
            progress.report("taking pixels", at, len(taken))
            first = (ranks < amount).view(len(x), 1, *x.shape[2:])
            deleted.append(scores_of(module, torch.where(first, base, x), target, batch=batch or len(x)))
            inserted.append(scores_of(module, torch.where(first, x, base), target, batch=batch or len(x)))
    return Curves((taken / count).to(x), torch.stack(deleted, 1), torch.stack(inserted, 1))


def sized(order: Attribution | Tensor, x: Tensor) -> Tensor:
    """A map of the images' own height and width, `[row, height, width]`. Raises `BadShape` for another."""
    places = order.map if isinstance(order, Attribution) else order
    if x.dim() != 4 or places.dim() != 3 or len(places) != len(x):
        raise BadShape(
            f"A map of shape {list(places.shape)} does not fit images of shape {list(x.shape)}.",
            hint="It is [row, height, width].",
        )
    if places.shape[1:] != x.shape[2:]:
        places = F.interpolate(places[:, None], x.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    return places.detach()
