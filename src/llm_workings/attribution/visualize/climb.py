"""The ascent: pictures that please a unit more and more, and what they looked like on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from llm_workings.attribution.intercept import RELU, Intercept, each
from llm_workings.attribution.running import watching
from llm_workings.core.errors import BadInput, LabError
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.vision_wrap import VisionModel

from .objectives import LOGITS, Objective, variety
from .pixels import Pixels, Waves, moved

FRAMES = 24  # pictures of the way that are kept
WAKE = 16  # first steps in which silent ReLUs let slopes through


@dataclass(frozen=True)
class Visualization:
    """Pictures that were made to please an objective.

    Attributes:
        objective: its name.
        images: `[picture, channel, h, w]` from 0 to 1.
        values: `[picture]`: the objective of each, as it is (not turned or shifted).
        history: `[step, picture]`: the objective of the moved pictures during the ascent.
        frames: `[frame, picture, channel, h, w]`: the way there, the first noise first.
        steps: the step of each frame.
        seeds: one a picture.
    """

    objective: str
    images: Tensor
    values: Tensor
    history: Tensor
    frames: Tensor
    steps: tuple[int, ...]
    seeds: tuple[int, ...]


def visualize(
    model: VisionModel,
    objective: Objective,
    *,
    seeds: Sequence[int] = (0, 1, 2, 3),
    steps: int = 256,
    rate: float = 0.05,
    diversity: float = 0.0,
    robust: bool = True,
    waves: bool = True,
    colours: Tensor | None = None,
    frames: int = FRAMES,
    progress: Progress = SILENT,
    partial: Callable[[Visualization], None] | None = None,
) -> Visualization:
    """Climb an objective from grey noise, once a seed, all seeds at once.

    A maximum of a net is rarely a picture: two things make it one (Olah et al. 2017). The ascent is made in
    waves and decorrelated colours (`Waves`), and each step turns, zooms and shifts the pictures a little
    (`moved`), so that what is found answers from nearby too. Adam does the steps. A unit that is silent to
    almost grey pictures has no slope: in the first steps ReLUs let it through where it leads up.

    What comes out is *a* thing that excites the unit, not all that does, and may be one that no real picture
    holds: show it beside the real pictures that excite the unit most.

    Args:
        objective: as `channel("blocks.2", 5)`, `logit(3)`, or a sum of such.
        seeds: one a picture, of its first noise and of how it is moved.
        diversity: how much the pictures are pushed to differ (`variety` of the first layer of the objective
            that has places), in units of the objective's spread at the beginning; 0: not.
        robust: move them at each step.
        waves: climb in waves; False: pixel by pixel, which shows what the waves are for.
        colours: as `Waves` takes them; None: natural ones.
        frames: how many moments of the way to keep.
        partial: called with what there is so far at each kept moment.

    Raises:
        BadInput, UnknownName, BadShape: a unit or layer that is not there; no seeds or steps; diversity where
            the objective reads no layer with places.
        LabError: the objective does not depend on the picture.
    """
    if not seeds or steps < 1 or frames < 1:
        raise BadInput(f"{len(seeds)} seeds, {steps} steps and {frames} frames make no picture.")
    if diversity and len(seeds) < 2:
        raise BadInput("One picture cannot differ from others.", hint="Give at least two seeds.")
    where, layers = model.device, [layer for layer in objective.layers if layer != LOGITS]
    made = (
        Waves(model.size, list(seeds), model.channels, colours)
        if waves
        else Pixels(model.size, list(seeds), model.channels)
    ).to(where)
    draw = torch.Generator().manual_seed(sum((i + 1) * seed for i, seed in enumerate(seeds)))
    steepest = torch.optim.Adam(made.parameters(), lr=rate)
    history = torch.zeros(steps, len(seeds))
    moments = sorted({round(i * steps / max(1, frames - 1)) for i in range(frames)} | {0, steps})
    kept: list[Tensor] = []

    def so_far(step: int, values: Tensor) -> Visualization:
        return Visualization(
            objective.name, kept[-1], values, history[: max(step, 1)], torch.stack(kept),
            tuple(moments[: len(kept)]), tuple(seeds),
        )  # fmt: skip

    weight = 0.0
    for step in range(steps + 1):
        if step in moments:
            with torch.no_grad():
                images = made().detach()
                values = objective.value(activations_of(model, images, layers)).detach().cpu()
            kept.append(images.cpu())
            if partial is not None:
                partial(so_far(step, values))
        if step == steps:
            break
        progress.report("climbing", step, steps)
        images = made()
        with Intercept(WAKING) if step < WAKE else nullcontext():
            seen = activations_of(model, moved(images, draw) if robust else images, layers)
        value = objective.value(seen)
        if not value.requires_grad:
            raise LabError(f"{objective.name} does not depend on the picture, so there is nothing to climb.")
        history[step] = value.detach().cpu()
        total = value.sum()
        if diversity:
            if step == 0:
                weight = diversity * float(value.detach().abs().mean().clamp(min=1e-3)) * len(seeds)
            total = total - weight * variety(_with_places(seen, layers))
        steepest.zero_grad()
        (-total).backward()
        steepest.step()
    return so_far(steps, values)


class _Waking(torch.autograd.Function):
    """A ReLU whose slope, where it is silent, is let through if it leads up: else what is silent stays so.

    As the redirected ReLU of Olah et al. (2017), which they use for the first steps.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        ctx.save_for_backward(value)
        return value.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        (value,) = ctx.saved_tensors  # what is minimized is the objective's negative: up is below 0
        return slope * ((value > 0) | (slope < 0))


WAKING = each(RELU, lambda function, value, *args, **kwargs: _Waking.apply(value))


def activations_of(model: VisionModel, images: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
    """The activations of pictures `[n, channel, h, w]` from 0 to 1, as an objective reads them; the answer
    among them as `LOGITS`. They are within their graph where gradients are switched on."""
    with watching(model.module, layers) as seen:
        logits = model.module((images - model.mean) / model.std)
    return {**seen, LOGITS: logits}


def _with_places(seen: Mapping[str, Tensor], layers: Sequence[str]) -> Tensor:
    for layer in layers:
        if seen[layer].dim() == 4:
            return seen[layer]
    raise BadInput(
        "Diversity compares a layer's maps, and the objective reads none.",
        hint="Add 0 * channel(layer, 0) of the layer whose maps shall differ.",
    )
