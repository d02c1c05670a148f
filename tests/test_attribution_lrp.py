"""LRP: each rule and composite against Zennit with the same weights, and what must hold of relevance."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vision_peers import Residual, close, conv_net, images, peer, seeded

from llm_workings.attribution import gradients as gr
from llm_workings.attribution.lrp import composites as comp
from llm_workings.attribution.lrp import rules as ru
from llm_workings.attribution.lrp.propagate import lrp, relevances
from llm_workings.attribution.targets import difference, probability
from llm_workings.core.errors import BadInput, BadShape, NotSupported, UnknownName

LOW, HIGH = torch.full((1, 3, 1, 1), -5.0).double(), torch.tensor([4.0, 5.0, 6.0]).double().view(1, 3, 1, 1)
RULES: dict[str, tuple[ru.Rule, tuple[str, dict[str, Any]]]] = {
    "0": (ru.zero(), ("Epsilon", {"epsilon": 0})),
    "epsilon": (ru.Epsilon(), ("Epsilon", {})),
    "large epsilon": (ru.Epsilon(0.25), ("Epsilon", {"epsilon": 0.25})),
    "gamma": (ru.Gamma(), ("Gamma", {})),
    "large gamma": (ru.Gamma(2.0), ("Gamma", {"gamma": 2.0})),
    "z+": (ru.ZPlus(), ("ZPlus", {})),
    "alpha 2 beta 1": (ru.AlphaBeta(), ("AlphaBeta", {})),
    "alpha 1 beta 0": (ru.AlphaBeta(1, 0), ("AlphaBeta", {"alpha": 1, "beta": 0})),
    "w2": (ru.WSquare(), ("WSquare", {})),
    "flat": (ru.Flat(), ("Flat", {})),
    "z-box": (ru.ZBox(LOW, HIGH), ("ZBox", {"low": LOW, "high": HIGH})),
}
COMPOSITES = {
    "EpsilonPlus": {},
    "EpsilonPlusFlat": {},
    "EpsilonAlpha2Beta1": {},
    "EpsilonAlpha2Beta1Flat": {},
    "EpsilonGammaBox": {"low": LOW, "high": HIGH},
}


def ours(name: str) -> comp.Composite:
    return comp.epsilon_gamma_box(LOW, HIGH) if name == "EpsilonGammaBox" else comp.as_composite(name)


def without_eps(net: nn.Module) -> nn.Module:
    """Zennit goes on dividing by a merged batch norm's eps, 5e-6 a layer off; with none it is exact."""
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps = 0.0
    return net


def zennit_relevance(net: nn.Module, x: Tensor, classes: list[int], composite: Any) -> Tensor:
    start = lambda scores: scores * torch.eye(scores.shape[1], dtype=x.dtype)[classes]  # noqa: E731
    with peer("zennit.attribution").Gradient(net, composite, attr_output=start) as explain:
        return explain(x.clone())[1].detach()


@pytest.mark.peer
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", RULES)
def test_each_rule_equals_zennit(name: str, bias: bool) -> None:
    """The rule in the first convolution, whose inputs have both signs, and where it can be in all layers."""
    z, zr = peer("zennit.composites"), peer("zennit.rules")
    x, classes = images(), [2, 0, 4]
    rule, (their_name, how) = RULES[name]
    theirs = getattr(zr, their_name)(**how)
    net = conv_net(bias=bias)
    only_first = comp.Composite("", ru.Epsilon(), ru.Epsilon(), rule)
    peers_own = z.SpecialFirstLayerMapComposite(
        [*z.layer_map_base(), (peer("zennit.types").Linear, zr.Epsilon())],
        [(nn.Conv2d, theirs)],
    )
    close(lrp(net, x, torch.tensor(classes), only_first).values, zennit_relevance(net, x, classes, peers_own))
    if name != "z-box":
        everywhere = z.LayerMapComposite([*z.layer_map_base(), (peer("zennit.types").Linear, theirs)])
        close(
            lrp(net, x, torch.tensor(classes), comp.Composite("", rule, rule)).values,
            zennit_relevance(net, x, classes, everywhere),
        )


@pytest.mark.peer
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", COMPOSITES)
def test_each_composite_equals_zennit(name: str, dtype: torch.dtype) -> None:
    z, canonizers = peer("zennit.composites"), peer("zennit.canonizers")
    x, classes = images(dtype=dtype), [2, 0, 4]
    tolerance = 1e-10 if dtype == torch.float64 else 1e-5
    how = {key: value.to(dtype) for key, value in COMPOSITES[name].items()}
    for norm in (False, True):
        net = without_eps(conv_net(norm=norm)).to(dtype)
        theirs = getattr(z, name)(canonizers=[canonizers.SequentialMergeBatchNorm()], **how)
        found = lrp(net, x, torch.tensor(classes), ours(name))
        close(found.values, zennit_relevance(net, x, classes, theirs), tolerance)
        with torch.no_grad():
            close(found.score, net(x)[torch.arange(3), classes], tolerance)


@pytest.mark.peer
@pytest.mark.parametrize("name", COMPOSITES)
def test_a_residual_net_equals_zennit(name: str) -> None:
    """Torchvision's blocks: ReLUs used twice, batch norms, sums in place, a pooling that overlaps."""
    z, vision = peer("zennit.composites"), peer("zennit.torchvision")
    resnet = peer("torchvision.models.resnet")
    small = resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], num_classes=5)
    net, x, classes = without_eps(seeded(small)), images(2, 33), [2, 0]
    found = lrp(net, x, torch.tensor(classes), ours(name))
    theirs = getattr(z, name)(canonizers=[vision.ResNetCanonizer()], **COMPOSITES[name])
    close(found.values, zennit_relevance(net, x, classes, theirs))


# ---- what must hold --------------------------------------------------------------------------------


def test_without_biases_lrp_0_is_input_x_gradient_and_adds_up_to_the_logit() -> None:
    net, x = conv_net(bias=False), images()
    for index in range(5):
        found = lrp(net, x, index, ru.zero())
        close(found.values, gr.input_x_gradient(net, x, index).values)
        close(found.sum, found.score)


@pytest.mark.parametrize("rule", ["z+", "alpha 2 beta 1", "alpha 1 beta 0", "gamma", "epsilon", "w2", "flat"])
def test_without_biases_no_rule_loses_relevance(rule: str) -> None:
    """But for the stabilizers, and for a unit that no input pushes up, which positive rules cannot serve."""
    net, x = conv_net(bias=False), images()
    found = lrp(net, x, difference(1, 3), comp.Composite("", RULES[rule][0], ru.Epsilon()))
    assert found.error is not None
    assert (found.error / found.expected).abs().max() < 1e-3


class Between(nn.Module):
    """conv -> relu -> what is tried -> linear, without biases."""

    def __init__(self, tried: Any):
        super().__init__()
        self.conv, self.also = nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.head, self.tried = nn.Linear(4, 3, bias=False), tried

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.conv(x))
        return self.head(self.tried(h, torch.relu(self.also(h))))


SCALE = torch.linspace(0.5, 2, 4, dtype=torch.float64)
OPERATIONS: dict[str, Any] = {
    "mean": lambda h, g: h.mean((2, 3)),
    "sum": lambda h, g: torch.sum(h, (2, 3)),
    "sum of a stack": lambda h, g: torch.stack([h, g], -1).sum(-1).mean((2, 3)),
    "concatenated": lambda h, g: torch.cat([h[:, :2], g[:, 2:]], 1).mean((2, 3)),
    "difference": lambda h, g: (h - g / 2).mean((2, 3)),
    "from nothing": lambda h, g: (0 - h).mean((2, 3)),
    "negative": lambda h, g: (-h).mean((2, 3)),
    "quotient": lambda h, g: torch.div(h, 3).mean((2, 3)),
    "by a larger one": lambda h, g: (h.mean((2, 3))[:, None] * SCALE[None, :, None].expand(2, 4, 4)).sum(1),
    "square": lambda h, g: h.pow(2).mean((2, 3)),
    "gate": lambda h, g: (h * torch.sigmoid(g.mean((2, 3), keepdim=True))).mean((2, 3)),
    "largest": lambda h, g: h.amax((2, 3)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_operation_between_layers_loses_relevance(name: str) -> None:
    net, x = seeded(Between(OPERATIONS[name])), images(2)
    found = lrp(net, x, 1, "EpsilonPlus")
    assert (found.values.flatten(1).sum(1) - found.score).abs().max() < 1e-3 * found.score.abs().min()
    with torch.no_grad():
        close(found.score, net(x)[:, 1])


@pytest.mark.parametrize(
    ("tried", "says"),
    [
        (lambda h, g: h.cumsum(1).mean((2, 3)), "calls cumsum, for which there is no rule"),
        (lambda h, g: (h / g.sum((1, 2, 3), keepdim=True)).mean((2, 3)), "calls div|truediv"),
        (lambda h, g: h.mul_(2).mean((2, 3)), "calls mul_"),
        (lambda h, g: (h.abs() ** g).mean((2, 3)), "calls pow"),
        (lambda h, g: torch.pow(2.0, h).mean((2, 3)), "calls pow"),
        (lambda h, g: h.clamp(min=g).mean((2, 3)), "calls clamp"),
        (lambda h, g: torch.einsum("bchw->bc", h), "einsum"),
    ],
)
def test_an_operation_without_a_rule_is_refused(tried: Any, says: str) -> None:
    with pytest.raises(NotSupported, match=says):
        lrp(seeded(Between(tried)), images(2), 1)


def test_layers_between_have_the_same_sum() -> None:
    net, x = conv_net(bias=False), images()
    found = relevances(net, x, 2, "EpsilonPlus", ["0", "1", "2", "3", "6"])
    assert found["3"].values.shape == (3, 8, 6, 6)
    for part in found.values():
        close(part.sum, part.score, 1e-3)
    close(found[""].values, lrp(net, x, 2).values)


class Written(nn.Module):
    """The same network twice: of modules, and of plain functions."""

    def __init__(self, *, plain: bool):
        super().__init__()
        self.plain = plain
        self.conv, self.norm, self.head = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, 5)
        self.relu, self.pool = nn.ReLU(), nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        if self.plain:
            return self.head(F.relu(x, inplace=True).mean((2, 3)))
        return self.head(self.pool(self.relu(x)).flatten(1))


def test_plain_functions_are_met_like_modules() -> None:
    x = images()
    close(
        lrp(seeded(Written(plain=True)), x, 1).values,
        lrp(seeded(Written(plain=False)), x, 1).values,
    )


def test_a_batch_norm_that_is_merged_is_the_merged_network() -> None:
    net, x = conv_net(norm=True), images()
    merged = nn.Sequential(*[nn.Identity() if isinstance(part, nn.BatchNorm2d) else part for part in net])
    for at in (0, 4):
        merged[at] = torch.nn.utils.fusion.fuse_conv_bn_eval(net[at], net[at + 1])  # type: ignore[type-var]
    for name in COMPOSITES:
        close(lrp(net, x, 1, ours(name)).values, lrp(merged, x, 1, ours(name)).values)


class Unnormed(Residual):
    """Without batch norms, a sum written over a convolution's own answer."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        out = self.second(self.relu(self.first(x)))
        if self.inplace_sum:
            out += x
            out.add_(0.25)
        else:
            out = out + x + 0.25
        return self.head(self.relu(out).mean((2, 3)))


class NormedLate(Unnormed):
    """A batch norm behind the sum: it is not the convolution's own."""

    def __init__(self, *, inplace_sum: bool) -> None:
        super().__init__(inplace_sum=inplace_sum)
        self.late = nn.BatchNorm2d(self.second.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        out = self.second(self.relu(self.first(x)))
        if self.inplace_sum:
            out += x
        else:
            out = out + x
        return self.head(self.relu(self.late(out)).mean((2, 3)))


@pytest.mark.parametrize("kind", [Residual, Unnormed, NormedLate])
@pytest.mark.parametrize("name", [*COMPOSITES, "epsilon"])
def test_a_sum_in_place_is_a_sum(name: str, kind: type[Residual]) -> None:
    plain, writing = (seeded(kind(inplace_sum=in_place)) for in_place in (False, True))
    composite = comp.everywhere(ru.Epsilon(0.1)) if name == "epsilon" else ours(name)
    close(lrp(writing, images(), 1, composite).values, lrp(plain, images(), 1, composite).values)


def test_a_batch_norm_of_the_batchs_own_statistics_is_refused() -> None:
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, track_running_stats=False), nn.Flatten())
    with pytest.raises(NotSupported, match="without running statistics"):
        lrp(net.double(), images(), 1)


def test_a_rule_for_one_layer_by_name() -> None:
    net, x = conv_net(), images()
    named = comp.Composite("own", ru.ZPlus(), ru.Epsilon(), named={"0": ru.Flat()})
    close(lrp(net, x, 1, named).values, lrp(net, x, 1, "EpsilonPlusFlat").values)
    with pytest.raises(UnknownName, match="no layer 'nine'"):
        lrp(net, x, 1, comp.Composite("", ru.ZPlus(), ru.Epsilon(), named={"nine": ru.Flat()}))


def test_a_gate_gets_half() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 3, bias=False), nn.Linear(4, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x) * torch.sigmoid(self.b(x)) * 2

    net, x = seeded(Gate()), images(2, 2).flatten(1)[:, :4]
    found = lrp(net, x, 1, ru.zero())
    a, b = (x * part.weight[1] / part(x)[:, 1:2] for part in (net.a, net.b))  # type: ignore[operator, index, union-attr]
    close(found.values, ((a + b) / 2 * found.score[:, None]).detach())
    close(found.sum, found.score)


def test_the_network_is_left_as_it_was() -> None:
    net, x = conv_net(norm=True, inplace=True), images()
    kept = {name: held.clone() for name, held in net.state_dict().items()}
    hooks = [len(part._forward_hooks) for part in net.modules()]
    lrp(net, x, 1, comp.Composite("", ru.ZPlus(), ru.Epsilon(), named={"0": ru.Flat()}))
    assert all(torch.equal(kept[name], held) for name, held in net.state_dict().items())
    assert [len(part._forward_hooks) for part in net.modules()] == hooks
    assert net[2].inplace is True


# ---- what it does not do ---------------------------------------------------------------------------


def test_what_lrp_does_not_cover_is_refused() -> None:
    x = images()
    with pytest.raises(NotSupported, match=r"softmax.*explain the logit"):
        lrp(nn.Sequential(conv_net(), nn.Softmax(-1)), x, 1)
    with pytest.raises(NotSupported, match="layer_norm"):
        lrp(nn.Sequential(conv_net(), nn.LayerNorm(5).double()), x, 1)
    with pytest.raises(UnknownName, match="Did you mean 'EpsilonPlus'"):
        lrp(conv_net(), x, 1, "EpsilonPluss")
    with pytest.raises(BadInput, match="alpha 2 and beta 2"):
        ru.AlphaBeta(2, 2)
    with pytest.raises(BadShape, match=r"bound of shape \[7\]"):
        lrp(conv_net(), x, 1, comp.epsilon_gamma_box(low=torch.zeros(7)))


def test_a_probability_is_explained_by_where_relevance_starts() -> None:
    net, x = conv_net(bias=False), images()
    found = lrp(net, x, probability(1), ru.zero())
    assert "need not add up" in found.notes[-1]
    close(found.values, gr.input_x_gradient(net, x, probability(1)).values)
    close(found.sum, found.expected)  # type: ignore[arg-type]
    nothing = lrp(net, x, lambda scores: scores.new_ones(len(scores)))
    assert "zero everywhere" in nothing.notes[0]


@pytest.mark.parametrize("rule", ["z+", "alpha 2 beta 1", "gamma", "w2", "flat", "epsilon"])
def test_any_convolution_has_the_same_product_back(rule: str) -> None:
    """Padding by name, strides of their own, dilation and groups, against the same layers as one matrix."""
    x = images(2).abs() if rule == "z+" else images(2)
    for how in (
        {"padding": "same"},
        {"stride": (2, 1), "padding": (0, 2)},
        {"dilation": 2, "padding": 1},
        {"groups": 3, "stride": 3},
    ):
        conv = seeded(nn.Conv2d(3, 6, 3, **how))  # type: ignore[arg-type]
        with torch.no_grad():
            bias = conv(torch.zeros(1, 3, 12, 12).double()).flatten()
            eye = torch.eye(3 * 144).double().view(-1, 3, 12, 12)
            matrix = (conv(eye).flatten(1) - bias).T
        dense = nn.Linear(3 * 144, len(bias)).double()
        with torch.no_grad():
            dense.weight.copy_(matrix)
            dense.bias.copy_(bias)
        target = lambda scores: scores.pow(2).flatten(1).sum(1)  # noqa: E731
        ours = lrp(conv, x, target, RULES[rule][0]).values
        if rule == "flat":  # the matrix has zeros where the convolution has nothing, and they would share
            close(ours.sum(), lrp(conv, x, target, ru.Flat()).expected.sum(), 1e-3)  # type: ignore[union-attr]
        else:
            close(ours, lrp(nn.Sequential(nn.Flatten(), dense), x, target, RULES[rule][0]).values)
