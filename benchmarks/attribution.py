"""Attribution against Captum, Zennit and the plain gradient: eight convolutions, 64 x 64 images, SmolLM2.

What is compared is compared for equality first.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn

from llm_workings.attribution.cams import cams
from llm_workings.attribution.gradients import integrated_gradients
from llm_workings.attribution.lrp.propagate import lrp
from llm_workings.attribution.occlusion import occlusion

from .pairs import Row, Work, compare
from .torchvision_here import declare_operators

TOLERANCE = 1e-3  # float32: what a covered window takes is a small difference of two scores
BATCHES = (1, 4, 8, 16, 50)  # of Captum's integrated gradients; its best is taken
PROMPT = "When Mary and John went to the store, John gave a drink to"


def rows(pairs: int) -> Iterator[Row]:
    declare_operators()
    warnings.filterwarnings("ignore", module=r"captum|zennit|torch")
    from captum import attr

    net, x = _net(), torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    layers = [name for name, part in net.named_modules() if isinstance(part, nn.Conv2d)]
    few = max(1, min(pairs, 10))

    def ours_all() -> list[Tensor]:
        found = cams(net, x, 1, layers, ["Grad-CAM"])
        return [found["Grad-CAM", layer].values for layer in layers]

    def theirs_all() -> list[Tensor]:
        return [attr.LayerGradCam(net, net.get_submodule(layer)).attribute(x, 1)[:, 0] for layer in layers]

    _check(torch.cat([a.flatten() for a in ours_all()]), torch.cat([a.flatten() for a in theirs_all()]))
    yield compare(
        "Grad-CAM of 8 layers", ours_all, "Captum, layer by layer", theirs_all, bar=0.25, pairs=pairs
    )

    for stride, what in ((1, "every window of 8 x 8"), (8, "64 windows side by side")):

        def covered(stride: int = stride) -> Tensor:
            return occlusion(net, x, 1, window=8, stride=stride).values

        def covered_by_captum(stride: int = stride) -> Tensor:
            strides = None if stride == 1 else (3, stride, stride)  # None: its default, 1
            return attr.Occlusion(net).attribute(x, (3, 8, 8), strides, target=1)

        _check(covered(), covered_by_captum())
        yield compare(
            f"occlusion, {what}",
            covered,
            "Captum, one at a time",
            covered_by_captum,
            bar=0.1,
            pairs=few if stride > 1 else min(few, 5),
        )

    peers_own = attr.IntegratedGradients(net)

    def integrated_by_captum(batch: int) -> Tensor:
        return peers_own.attribute(x, target=1, n_steps=50, method="gausslegendre", internal_batch_size=batch)

    def integrated() -> Tensor:
        return integrated_gradients(net, x, 1).values

    # In float64: a gradient jumps at a kink, so float32's rounding shows (3e-3 between Captum's own batches)
    exact, theirs_exact = deepcopy(net).double(), attr.IntegratedGradients(deepcopy(net).double())
    _check(
        integrated_gradients(exact, x.double(), 1).values,
        theirs_exact.attribute(x.double(), target=1, n_steps=50, method="gausslegendre"),
    )
    best = min(BATCHES, key=lambda batch: _best_of(partial(integrated_by_captum, batch)))
    yield compare(
        "integrated gradients, 50 points",
        integrated,
        f"Captum at its best batch, {best}",
        partial(integrated_by_captum, best),
        bar=1.0,
        pairs=few,
    )
    for batch in (1, 8):
        yield from _relevance(net, x.repeat(batch, 1, 1, 1), pairs)
    yield _tokens(few)


def _relevance(net: nn.Module, x: Tensor, pairs: int) -> Iterator[Row]:
    from zennit.attribution import Gradient
    from zennit.canonizers import SequentialMergeBatchNorm
    from zennit.composites import EpsilonPlus

    start = torch.eye(8)[[1] * len(x)]
    composite = EpsilonPlus(canonizers=[SequentialMergeBatchNorm()])

    def zennit() -> Tensor:
        with Gradient(net, composite) as explain:
            return explain(x, lambda scores: scores * start)[1]

    def gradient() -> Tensor:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(net(leaf)[:, 1].sum(), leaf)[0]

    def ours() -> Tensor:
        return lrp(net, x, 1, "EpsilonPlus").values

    _check(ours(), zennit())
    images = f"{len(x)} image{'s' * (len(x) > 1)}"
    yield compare(f"LRP EpsilonPlus, {images}", ours, "a plain gradient", gradient, bar=1.5, pairs=pairs)
    yield compare(
        f"Zennit's EpsilonPlus, {images}", zennit, "a plain gradient", gradient, bar=None, pairs=pairs
    )


def _tokens(pairs: int) -> Row:
    from llm_workings.attribution.tokens.gradient import gradient_x_input
    from llm_workings.attribution.tokens.relevance import attn_lrp
    from llm_workings.models.catalogue import WHEELS
    from llm_workings.trace.model import load

    if not WHEELS["smollm2-135m"].wheel.is_here():
        return Row("AttnLRP on SmolLM2", "forward and backward", 2.0, skipped="the model is not here")
    model = load("smollm2-135m")
    return compare(
        "AttnLRP on SmolLM2, 14 tokens",
        lambda: attn_lrp(model, PROMPT, " Mary"),
        "one forward and one backward",
        lambda: gradient_x_input(model, PROMPT, " Mary"),
        bar=2.0,
        pairs=pairs,
    )


def _net() -> nn.Module:
    layers: list[nn.Module] = []
    given = 3
    for at, width in enumerate((16, 16, 32, 32, 64, 64, 128, 128)):
        norm = nn.BatchNorm2d(width, eps=0)  # Zennit goes on dividing by a merged norm's eps
        layers += [nn.Conv2d(given, width, 3, padding=1), norm, nn.ReLU()]
        layers += [nn.MaxPool2d(2)] * (at % 2)
        given = width
    torch.manual_seed(0)
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(given, 8))
    return net.eval().requires_grad_(False)


def _best_of(work: Work) -> float:
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def _check(ours: Tensor, theirs: Tensor) -> None:
    distance = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    if not distance < TOLERANCE:
        raise RuntimeError(f"ours and theirs differ by {distance:.1e}")
