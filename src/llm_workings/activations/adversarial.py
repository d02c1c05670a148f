"""Inputs made to mislead, seen from inside: where in the layers they leave the way of the clean ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from llm_workings.core.errors import BadInput, unknown
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.vision_wrap import VisionModel

from .collect import BATCH, collect
from .mistakes import auroc, doubt

Attack = Literal["fgsm", "pgd"]
NEIGHBOURS = 5


def attack(
    model: VisionModel,
    images: NDArray[np.floating] | Tensor,
    labels: NDArray[np.integer],
    kind: Attack = "pgd",
    *,
    epsilon: float = 8 / 255,
    steps: int = 10,
    step: float | None = None,
    aim: int | None = None,
    seed: int = 0,
    batch: int = BATCH,
    progress: Progress = SILENT,
) -> Tensor:
    """Pictures within ±epsilon of the given ones, a pixel, that the model gets wrong if it can be made to.

    FGSM takes one step of epsilon along the sign of the loss's gradient (Goodfellow et al. 2015, arXiv
    1412.6572); PGD takes many small ones from a random place nearby, each time back into the range (Madry et
    al. 2018, arXiv 1706.06083). Pixels stay between 0 and 1.

    Args:
        images: `[n, channel, h, w]` from 0 to 1.
        labels: `[n]`: the classes to get away from.
        epsilon: of a pixel's range of 1.
        step: of one step of PGD; by default 2.5 epsilon / steps.
        aim: a class to be taken for, instead of any other.
        seed: of where PGD begins.

    Returns:
        `[n, channel, h, w]`, on the CPU.

    Raises:
        UnknownName: an attack there is not. BadInput: an epsilon, steps or class that cannot be.
    """
    if kind not in ("fgsm", "pgd"):
        raise unknown("attack", str(kind), ("fgsm", "pgd"))
    if not 0 < epsilon <= 1 or steps < 1:
        raise BadInput(f"An attack with epsilon {epsilon} and {steps} steps cannot be made.")
    if aim is not None and not 0 <= aim < len(model.classes):
        raise BadInput(f"There is no class {aim}.", hint=f"Classes go from 0 to {len(model.classes) - 1}.")
    draw = torch.Generator().manual_seed(seed)
    count, size = (1, epsilon) if kind == "fgsm" else (steps, step or 2.5 * epsilon / steps)
    made = []
    for begin in range(0, len(images), batch):
        clean = torch.as_tensor(np.asarray(images[begin : begin + batch])).to(model.device, model.dtype)
        goal = torch.as_tensor(np.asarray(labels[begin : begin + batch])).to(model.device)
        sign = 1.0
        if aim is not None:
            goal, sign = torch.full_like(goal, aim), -1.0
        x = clean
        if kind == "pgd":
            start = 2 * torch.rand(clean.shape, generator=draw).to(clean) - 1
            x = (clean + epsilon * start).clamp(0, 1)
        for at in range(count):
            progress.report("attacking", begin * count + at * len(clean), len(images) * count)
            x = x.detach().requires_grad_()
            with torch.enable_grad():
                loss = F.cross_entropy(model.module((x - model.mean) / model.std), goal, reduction="sum")
                (slope,) = torch.autograd.grad(loss, x)
            moved = x.detach() + sign * size * slope.sign()
            x = torch.minimum(torch.maximum(moved, clean - epsilon), clean + epsilon).clamp(0, 1)
        made.append(x.detach().cpu())
    return torch.cat(made)


@dataclass(frozen=True)
class Inside:
    """Clean pictures and misleading ones, layer by layer.

    Attributes:
        layers: their names, in order.
        distance: `[layer, n]`: |a' - a| / |a|, how far the misleading picture's activations lie from its own
            clean ones.
        noise: `[layer, n]`: the same for random noise of the same size, which a layer should not mind.
        strangeness: by layer, `[2n]`: the mean distance to the nearest activations of a reference set, of the
            clean pictures and then of the misleading ones: what can be measured without the clean one.
        detection: by layer, the area under the ROC curve of telling misleading from clean by strangeness.
        baseline: the same by the answer's own doubt.
        right, fooled: the share that is answered rightly when clean, and of those that no longer is.
    """

    layers: tuple[str, ...]
    distance: NDArray[np.float64]
    noise: NDArray[np.float64]
    strangeness: Mapping[str, NDArray[np.float64]]
    detection: Mapping[str, float]
    baseline: float
    right: float
    fooled: float


def inside(
    model: VisionModel,
    clean: NDArray[np.floating] | Tensor,
    misleading: NDArray[np.floating] | Tensor,
    labels: NDArray[np.integer],
    reference: NDArray[np.floating] | Tensor,
    layers: Sequence[str] | None = None,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Inside:
    """Where in the layers misleading pictures leave the way of the clean ones, and whether that tells them.

    Strangeness is the mean Euclidean distance to the five nearest reference pictures, in units standardized
    on the reference (as in Papernot and McDaniel 2018 and Sun et al. 2022, who ask the nearest neighbours of
    a layer). An attack that knows of the detector can be made to pass it.

    Args:
        clean, misleading: `[n, channel, h, w]`, in the same order.
        reference: other clean pictures, `[m, channel, h, w]`.
        seed: of the noise that `noise` is made with.
    """
    if len(clean) != len(misleading):
        raise BadInput(f"{len(clean)} clean and {len(misleading)} misleading pictures make no pairs.")
    names = tuple(model.layers if layers is None else layers)
    clean_pictures = torch.as_tensor(np.asarray(clean), dtype=torch.float32)
    made = torch.as_tensor(np.asarray(misleading), dtype=torch.float32)
    noisy = noise_like(clean_pictures, made, seed=seed)
    far = distances(model, clean_pictures, made, names, progress)
    chance = distances(model, clean_pictures, noisy, names, progress)
    known = collect(model, reference, layers=names, progress=progress)
    both = collect(model, torch.cat((clean_pictures, made)), layers=names, progress=progress)
    n = len(clean_pictures)
    positive = np.arange(2 * n) >= n
    strange = {name: strangeness(both.at(name), known.at(name)) for name in names}
    said = both.answers
    right = said[:n] == labels
    return Inside(
        names,
        far,
        chance,
        strange,
        {name: auroc(score, positive) for name, score in strange.items()},
        auroc(doubt(both.logits), positive),
        float(right.mean()),
        float((said[n:] != labels)[right].mean()) if right.any() else 0.0,
    )


def noise_like(clean: Tensor, misleading: Tensor, *, seed: int = 0) -> Tensor:
    """The clean pictures with random noise as large, in each, as its largest change: ± that, a pixel."""
    size = (misleading - clean).abs().flatten(1).amax(1).view(-1, 1, 1, 1)
    draw = torch.Generator().manual_seed(seed)
    signs = (torch.rand(clean.shape, generator=draw) < 0.5).float() * 2 - 1
    return (clean + size * signs).clamp(0, 1)


def distances(
    model: VisionModel, a: Tensor, b: Tensor, layers: Sequence[str], progress: Progress = SILENT
) -> NDArray[np.float64]:
    """How far b's activations lie from a's: `[layer, n]`, |b' - a'| / |a'| over all places and channels.

    Args:
        a, b: `[n, channel, h, w]` from 0 to 1, in the same order.
    """
    found = np.zeros((len(layers), len(a)))
    for begin in range(0, len(a), BATCH):
        progress.report("comparing layers", begin, len(a))
        at = slice(begin, begin + BATCH)
        runs = [
            model.run((part[at].to(model.device, model.dtype) - model.mean) / model.std, layers)
            for part in (a, b)
        ]
        for number, layer in enumerate(layers):
            here, there = (run[layer].flatten(1).double() for run in runs)
            away = (there - here).norm(dim=1) / here.norm(dim=1).clamp(min=1e-12)
            found[number, at] = away.cpu().numpy()
    return found


def strangeness(values: NDArray[np.floating], known: NDArray[np.floating]) -> NDArray[np.float64]:
    """How strange `[n, unit]` values are beside `[m, unit]` known ones, `[n]`: see `inside`."""
    middle, spread = known.mean(0, dtype=np.float64), known.std(0, dtype=np.float64)
    moving = spread > 1e-9 * max(float(spread.max()), 1e-30)
    a = torch.from_numpy((values[:, moving] - middle[moving]) / spread[moving])
    b = torch.from_numpy((known[:, moving] - middle[moving]) / spread[moving])
    near = torch.cdist(a, b).topk(min(NEIGHBOURS, len(b)), dim=1, largest=False).values
    return near.mean(1).numpy()
