"""Class activation maps: a layer's channels, weighted by what they mean to the score, added up.

A is a layer's answer `[channel, height, width]`, g = ∂score/∂A. A map is signed; the papers show its positive
part (`picture()`). All layers and all methods but Score-CAM come from one forward and one backward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llm_workings.core.errors import BadInput, BadShape, unknown
from llm_workings.core.progress import SILENT, Progress

from .result import Attribution, warnings_of
from .running import answer, batch_size, check_input, explaining, layout, of_rows, watching
from .targets import AnyTarget, as_target

Weighting = Callable[[Tensor, Tensor], Tensor]


def grad_cam(a: Tensor, g: Tensor) -> Tensor:
    """Grad-CAM: Σ_c (mean g_c) A_c (Selvaraju et al. 2017, arXiv 1610.02391).

    The mean over places is exact where only a global average pooling and a linear layer follow: there it is
    CAM / (height · width) (Zhou et al. 2016). Elsewhere it may light up what the score does not use.
    """
    return (g.mean((2, 3), keepdim=True) * a).sum(1)


def grad_cam_pp(a: Tensor, g: Tensor) -> Tensor:
    """Grad-CAM++: Σ_c w_c A_c, w_c = Σ α max(g, 0), α = g² / (2 g² + ΣA_c · g³).

    Chattopadhay et al. 2018 (arXiv 1710.11063), eq. 19. The closed form takes the score as the exponential
    of the logit.
    """
    square = g * g
    alpha = square / (2 * square + a.sum((2, 3), keepdim=True) * square * g + 1e-6)
    alpha = torch.where(g != 0, alpha, 0)
    return ((g.clamp(min=0) * alpha).sum((2, 3), keepdim=True) * a).sum(1)


def hires_cam(a: Tensor, g: Tensor) -> Tensor:
    """HiResCAM: Σ_c g_c · A_c, place by place (Draelos and Carin 2020, arXiv 2011.08891).

    What each place adds to the score to first order: where a linear map follows, exactly.
    """
    return (g * a).sum(1)


def layer_cam(a: Tensor, g: Tensor) -> Tensor:
    """LayerCAM: Σ_c max(g_c, 0) · A_c (Jiang et al. 2021, IEEE TIP 30). Meant for early layers too."""
    return (g.clamp(min=0) * a).sum(1)


def x_grad_cam(a: Tensor, g: Tensor) -> Tensor:
    """XGrad-CAM: Σ_c w_c A_c, w_c = Σ g_c A_c / Σ A_c (Fu et al. 2020, arXiv 2008.02312)."""
    return (((g * a).sum((2, 3), keepdim=True) / (a.sum((2, 3), keepdim=True) + 1e-7)) * a).sum(1)


METHODS: dict[str, Weighting] = {
    "Grad-CAM": grad_cam,
    "Grad-CAM++": grad_cam_pp,
    "HiResCAM": hires_cam,
    "LayerCAM": layer_cam,
    "XGradCAM": x_grad_cam,
}


def cams(
    module: nn.Module,
    x: Tensor,
    target: AnyTarget,
    layers: Sequence[str] | None = None,
    methods: Sequence[str] = tuple(METHODS),
) -> dict[tuple[str, str], Attribution]:
    """Maps by (method, layer), all of them from one forward and one backward.

    Args:
        x: images, `[row, channel, height, width]`.
        layers: names as in `module.named_modules()`; None: every layer that has a map (`map_layers`).
        methods: of `METHODS`.

    Raises:
        UnknownName: a layer or method of that name is not there, with the nearest.
        BadShape: a layer whose answer is no `[row, channel, height, width]`.
        NotSupported: a layer that runs more than once.
    """
    x, target = check_input(module, x), as_target(target)
    for method in methods:
        if method not in METHODS:
            raise unknown("CAM method", method, METHODS)
    if layers is None:
        layers = map_layers(module, x)
    if not layers:
        raise BadInput("No layer was named.", hint="For example the last convolution's.")
    order = layout(module, x)
    with explaining(module), torch.enable_grad(), watching(module, layers) as seen:
        score = target.of(answer(module, x.clone(memory_format=order)))
        maps = [_map(seen, layer) for layer in layers]
        slopes: Sequence[Tensor | None] = [None] * len(maps)
        if score.requires_grad:
            slopes = torch.autograd.grad(score.sum(), maps, allow_unused=True)
    found, constant = {}, warnings_of(x)
    with torch.no_grad():
        for layer, a, g in zip(layers, maps, slopes, strict=True):
            slope = torch.zeros_like(a) if g is None else g
            notes = constant if g is not None and bool(g.any()) else warnings_of(x, slope)
            for method in methods:
                value = METHODS[method](a.detach(), slope)
                found[method, layer] = Attribution(value, score.detach(), method, notes=notes)
    return found


def cam(module: nn.Module, x: Tensor, target: AnyTarget, layer: str, method: str = "Grad-CAM") -> Attribution:
    """One map of one layer; see `cams`."""
    return cams(module, x, target, [layer], [method])[method, layer]


def score_cam(
    module: nn.Module,
    x: Tensor,
    target: AnyTarget,
    layer: str,
    *,
    batch: int | None = None,
    progress: Progress = SILENT,
) -> Attribution:
    """Score-CAM: Σ_c w_c A_c, w = softmax over c of score(x · up(A_c)) (Wang et al. 2020, arXiv 1910.01279).

    Each channel, enlarged and scaled to 0..1, masks the input; the better the score of what is left, the
    more it counts. No gradient is taken, and as many inputs are run as the layer has channels. The weights
    are a softmax of raw scores, as in the authors' own code: where scores are far apart one channel wins.
    """
    x, target = check_input(module, x), as_target(target)
    with explaining(module), torch.no_grad():
        with watching(module, [layer]) as seen:
            score = target.of(answer(module, x))
        a = _map(seen, layer)
        masks = F.interpolate(a, x.shape[2:], mode="bilinear", align_corners=True)
        low, high = masks.amin((2, 3), keepdim=True), masks.amax((2, 3), keepdim=True)
        masks = (masks - low) / (high - low + 1e-8)
        rows, channels = a.shape[:2]
        size = batch or batch_size(module, x[:1], grad=False)
        values = []
        for begin in range(0, rows * channels, size):
            progress.report("masking by channel", begin, rows * channels)
            numbers = torch.arange(begin, min(begin + size, rows * channels), device=x.device)
            row, channel = numbers // channels, numbers % channels
            masked = x[row] * masks[row, channel][:, None]
            values.append(of_rows(target, answer(module, masked), row, begin, rows * channels))
        weights = torch.cat(values).view(rows, channels).softmax(1)
    return Attribution((weights[..., None, None] * a).sum(1), score, "Score-CAM", notes=warnings_of(x))


def map_layers(module: nn.Module, x: Tensor) -> list[str]:
    """The layers that run once and give `[row, channel, height, width]` larger than 1 x 1, as they run."""
    order: list[str] = []
    runs: dict[str, int] = {}
    names = {part: name for name, part in module.named_modules() if name}

    def note(part: nn.Module, given: object, result: object) -> None:
        name = names[part]
        runs[name] = runs.get(name, 0) + 1
        if isinstance(result, Tensor) and result.dim() == 4 and max(result.shape[2:]) > 1:
            order.append(name)

    handles = [part.register_forward_hook(note) for part in names]
    try:
        with explaining(module), torch.no_grad():
            answer(module, x[:1])
    finally:
        for handle in handles:
            handle.remove()
    return [name for name in order if runs[name] == 1]


def _map(seen: dict[str, Tensor], layer: str) -> Tensor:
    if layer not in seen:
        raise BadInput(f"The layer {layer!r} is not run.", hint="Choose one that is.")
    if seen[layer].dim() != 4:
        raise BadShape(
            f"The layer {layer!r} answers with the shape {list(seen[layer].shape)}, which has no places.",
            hint="A map needs [row, channel, height, width], as a convolution gives.",
        )
    return seen[layer]
