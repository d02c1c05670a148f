"""The methods side by side: a name for each, and one way to call it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from llm_workings.core.errors import BadInput, unknown

from . import gradients
from .cams import METHODS as CAMS
from .cams import cam, map_layers, score_cam
from .deeplift import deep_lift
from .lrp.composites import COMPOSITES, epsilon_gamma_box
from .lrp.propagate import lrp
from .occlusion import occlusion
from .result import Attribution
from .targets import AnyTarget

EXPECTED = "expected gradients"
Method = Callable[[nn.Module, Tensor, AnyTarget], Attribution]


def gallery(
    module: nn.Module,
    x: Tensor,
    *,
    layer: str | None = None,
    window: int | None = None,
    bounds: tuple[float, float] | None = None,
    baselines: Tensor | None = None,
    only: Sequence[str] | None = None,
) -> dict[str, Method]:
    """Every method by its name, ready to be called as `method(module, x, target)`.

    Args:
        x: images as the network gets them, `[row, channel, height, width]`.
        layer: the class activation maps'; by default the last that has places.
        window: of occlusion; by default an eighth of the image's side.
        bounds: the smallest and largest value an input can have, for LRP's z-box; by default those of `x`.
        baselines: `[any number, channel, height, width]`, other images for expected gradients to start from;
            without any the method is left out.
        only: names to keep.

    Raises `BadInput` where no layer has places, or for expected gradients without baselines; `UnknownName`
    for a name or layer that is not there.
    """
    if layer is None:
        layers = map_layers(module, x)
        if not layers:
            raise BadInput("No layer of this network has places, so it has no class activation maps.")
        layer = layers[-1]
    low, high = bounds or (float(x.min()), float(x.max()))
    window = window or max(1, min(x.shape[-2:]) // 8)
    found: dict[str, Method] = {
        "saliency": partial(gradients.saliency, absolute=True),
        "input x gradient": gradients.input_x_gradient,
        "SmoothGrad": gradients.smooth_grad,
        "integrated gradients": partial(gradients.integrated_gradients, adaptive=True),
        **(
            {}
            if baselines is None
            else {EXPECTED: partial(gradients.expected_gradients, baselines=baselines)}
        ),
        "DeepLift": deep_lift,
        "guided backprop": gradients.guided_backprop,
        "occlusion": partial(occlusion, window=window, stride=max(1, window // 2)),
        **{name: partial(cam, layer=layer, method=name) for name in CAMS},
        "Score-CAM": partial(score_cam, layer=layer),
        **{f"LRP {name}": partial(lrp, composite=name) for name in COMPOSITES},
    }
    found["LRP EpsilonGammaBox"] = partial(lrp, composite=epsilon_gamma_box(low, high))
    if only is None:
        return found
    for name in only:
        if name == EXPECTED and baselines is None:
            raise BadInput(
                f"{EXPECTED.capitalize()} start from other images, and there are none.",
                hint="Give some as baselines, such as images that the network was trained on.",
            )
        if name not in found:
            raise unknown("attribution method", name, found)
    return {name: found[name] for name in only}
