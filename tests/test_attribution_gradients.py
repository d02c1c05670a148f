"""Gradient attributions: against Captum with the same weights, and against what must hold."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vision_peers import Residual, close, conv_net, images, peer, seeded

from llm_workings.attribution import gradients as gr
from llm_workings.attribution.deeplift import deep_lift
from llm_workings.attribution.result import CONSTANT, ZERO
from llm_workings.attribution.targets import Target, difference, function, logit, probability
from llm_workings.core.errors import BadInput, BadShape, NotSupported

TARGETS: dict[str, Target] = {
    "logit": logit(2),
    "a class a row": logit([0, 4, 1]),
    "difference": difference(1, [3, 0, 2]),
    "probability": probability(3),
    "function": function(lambda scores: scores.pow(2).sum(1)),
}


def value(target: Target, scores: Tensor) -> Tensor:
    """The targets, written out."""
    name = next(name for name, known in TARGETS.items() if known is target)
    each = torch.arange(3)
    if name == "logit":
        return scores[:, 2]
    if name == "a class a row":
        return scores[each, torch.tensor([0, 4, 1])]
    if name == "difference":
        return scores[:, 1] - scores[each, torch.tensor([3, 0, 2])]
    if name == "probability":
        return scores.softmax(-1)[:, 3]
    return (scores**2).sum(1)


@pytest.mark.parametrize("name", TARGETS)
def test_saliency_of_every_target_is_the_gradient(name: str) -> None:
    net, x, target = conv_net(), images(), TARGETS[name]
    leaf = x.clone().requires_grad_()
    score = value(target, net(leaf))
    (slope,) = torch.autograd.grad(score.sum(), leaf)
    found = gr.saliency(net, x, target)
    close(found.values, slope)
    close(found.score, score.detach())
    close(gr.saliency(net, x, target, absolute=True).values, slope.abs())
    close(gr.input_x_gradient(net, x, target).values, slope * x)


@pytest.mark.peer
def test_saliency_and_integrated_gradients_equal_captum() -> None:
    attr = peer("captum.attr")
    net, x = conv_net(), images()
    base = images(seed=5) * 0.2
    classes = torch.tensor([2, 0, 4])
    close(gr.saliency(net, x, classes, absolute=True).values, attr.Saliency(net).attribute(x, classes))
    close(gr.saliency(net, x, classes).values, attr.Saliency(net).attribute(x, classes, abs=False))
    close(gr.input_x_gradient(net, x, classes).values, attr.InputXGradient(net).attribute(x, classes))
    close(gr.guided_backprop(net, x, classes).values, attr.GuidedBackprop(net).attribute(x, classes))
    theirs = attr.IntegratedGradients(net).attribute(x, base, classes, n_steps=50, method="gausslegendre")
    ours = gr.integrated_gradients(net, x, classes, baseline=base)
    close(ours.values, theirs, 1e-8)  # Captum rounds its weights to float32
    for batch in (1, 7, 1000):
        close(gr.integrated_gradients(net, x, classes, baseline=base, batch=batch).values, ours.values)


@pytest.mark.peer
def test_captums_trapezoid_does_not_add_up_and_ours_does() -> None:
    """Captum 0.9's trapezoid weights add up to 1 - 1/n: it loses that share even of a linear net's score."""
    attr = peer("captum.attr")
    net, x = seeded(nn.Sequential(nn.Flatten(), nn.Linear(12, 5))), images(1, 2)
    for n in (10, 50):
        theirs = attr.IntegratedGradients(net).attribute(x, 0.0, 2, n_steps=n, method="riemann_trapezoid")
        ours = gr.integrated_gradients(net, x, 2, points=n)
        close(theirs, ours.values * (1 - 1 / n), 1e-7)
        assert ours.error is not None
        assert ours.error.abs().max() < 1e-12


def test_integrated_gradients_is_complete_but_for_the_kinks() -> None:
    net, x = conv_net(norm=True), images()
    for baseline in (None, 0.5, images(1, seed=9), images(1, seed=9)[0], images(3, seed=9)):
        found = gr.integrated_gradients(net, x, 1, baseline=baseline)
        assert found.error is not None
        assert found.expected is not None
        assert (found.error / found.expected).abs().max() < 0.1  # a random net has many kinks
        fine = gr.integrated_gradients(net, x, 1, baseline=baseline, points=400)
        assert fine.error is not None
        assert (fine.error / found.expected).abs().max() < 0.02


def smooth_net() -> nn.Module:
    return seeded(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(400, 3)))


def test_integrated_gradients_of_a_smooth_net_is_complete_to_rounding() -> None:
    found = gr.integrated_gradients(smooth_net(), images(), 1, points=40)
    assert found.error is not None
    assert found.error.abs().max() < 1e-9


def test_smooth_grad_is_the_mean_over_its_noise() -> None:
    net, x = smooth_net(), images()
    quiet = gr.smooth_grad(net, x, 1, noise=0.0, samples=3)
    close(quiet.values, gr.saliency(net, x, 1).values)
    one = gr.smooth_grad(net, x, 1, samples=8, seed=4)
    close(gr.smooth_grad(net, x, 1, samples=8, seed=4, batch=5).values, one.values)
    assert (gr.smooth_grad(net, x, 1, samples=8, seed=5).values - one.values).abs().max() > 1e-6
    draw = torch.Generator().manual_seed(4)
    noise = torch.randn((8, *x.shape[1:]), generator=draw, dtype=x.dtype)
    copies = x[:1] + 0.15 * (x[0].max() - x[0].min()) * noise
    close(one.values[:1], gr.saliency(net, copies, 1).values.mean(0, keepdim=True))


def test_expected_gradients_tend_to_the_mean_of_integrated_gradients() -> None:
    net, x, others = smooth_net(), images(2), images(4, seed=8)
    exact = torch.stack([gr.integrated_gradients(net, x, 1, baseline=one).values for one in others]).mean(0)
    found = gr.expected_gradients(net, x, 1, baselines=others, samples=2000)
    close(found.values, exact, 0.05)
    assert found.error is not None
    assert found.expected is not None
    assert found.error.abs().max() < 0.02
    with torch.no_grad():
        close(found.expected, net(x)[:, 1] - net(others)[:, 1].mean())
    with pytest.raises(BadShape, match=r"\[4, 3, 5, 5\]"):
        gr.expected_gradients(net, x, 1, baselines=images(4, 5))


# ---- DeepLift --------------------------------------------------------------------------------------


@pytest.mark.peer
def test_deep_lift_equals_captum() -> None:
    attr = peer("captum.attr")
    x, base = images(), images(seed=5) * 0.2
    classes = torch.tensor([2, 0, 4])
    for net in (conv_net(pools="average"), conv_net(norm=True, pools="average"), smooth_net()):
        classes = classes % net[-1].out_features  # type: ignore[index]
        close(
            deep_lift(net, x, classes, baseline=base).values,
            attr.DeepLift(net).attribute(x, base, classes).detach(),
        )


@pytest.mark.peer
def test_captums_deep_lift_does_not_add_up_through_a_max_pooling_and_ours_does() -> None:
    attr = peer("captum.attr")
    net, x, base = conv_net(), images(), images(seed=5) * 0.2
    ours = deep_lift(net, x, 2, baseline=base)
    theirs = attr.DeepLift(net).attribute(x, base, 2).detach()
    assert ours.expected is not None
    assert (theirs.flatten(1).sum(1) - ours.expected).abs().max() > 0.01
    assert ours.error is not None
    assert ours.error.abs().max() < 1e-12


@pytest.mark.peer
def test_captums_deep_lift_through_softmax_depends_on_the_batch_and_ours_adds_up() -> None:
    attr = peer("captum.attr")
    net = nn.Sequential(conv_net(), nn.Softmax(-1))
    x, base = images(), images(seed=5) * 0.2
    theirs = attr.DeepLift(net)
    alone = theirs.attribute(x[:1], base[:1], 2)
    together = theirs.attribute(x, base, 2)[:1]
    assert (alone - together).abs().max() > 1e-3 * alone.abs().max()
    ours = deep_lift(net, x, 2, baseline=base)
    close(deep_lift(net, x[:1], 2, baseline=base[:1]).values, ours.values[:1])
    assert ours.error is not None
    assert ours.error.abs().max() < 1e-12
    close(deep_lift(net[0], x, probability(2), baseline=base).values, ours.values)


class Gated(nn.Module):
    """Plain functions, a product of two parts of the input, a pooling that overlaps, a ReLU used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(4 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.a(x)) * torch.sigmoid(self.b(x))
        x = F.max_pool2d(x, 3, 2)
        return self.relu(self.head(F.gelu(x).flatten(1)))


def test_deep_lift_is_complete_through_products_functions_and_reused_modules() -> None:
    for net, classes in ((seeded(Gated()), 3), (seeded(Residual()), 5)):
        for index in range(classes):
            found = deep_lift(net, images(), index, baseline=images(seed=7))
            assert found.error is not None
            assert found.error.abs().max() < 1e-12
            assert found.values.abs().max() > 0 or found.notes
    x = images()
    same = deep_lift(smooth_net(), x, 0, baseline=x)
    assert same.values.abs().max() == 0


class Block(nn.Module):
    """Attention over the places of an image written out, LayerNorms, powers, quotients, a log-softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.q, self.k, self.v = (nn.Linear(3, 8), *(nn.Linear(8, 8) for _ in range(3)))
        self.first, self.second, self.head = nn.LayerNorm(8), nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.flatten(2).mT)
        normed = self.first(x)
        weights = (self.q(normed) @ self.k(normed).mT / 8**0.5).softmax(-1)
        x = x + torch.bmm(weights, self.v(normed)) / (1 + self.v(normed).pow(2))
        x = self.second(x) * x.exp() - 1 / (2 + x.abs())
        return F.log_softmax(self.head(x.mean(1)), -1)


def test_deep_lift_is_complete_through_a_transformers_operations() -> None:
    net, x = seeded(Block()), images(size=3)
    for target in (0, probability(1), lambda scores: (scores**2).sum(1)):
        found = deep_lift(net, x, target, baseline=images(seed=7, size=3))
        assert found.error is not None
        assert found.expected is not None
        assert found.error.abs().max() < 1e-12 * max(1, found.expected.abs().max())
        assert found.values.abs().max() > 1e-3
        assert not found.notes


def test_deep_lift_names_what_it_has_no_rule_for() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(1)
            return torch.stack([torch.sin(x).sum(1), x.cumsum(1).amax(1), (-x).sum(1)], 1)

    x = images()
    found = deep_lift(Odd(), x, 0)
    assert found.notes == ("No rule for amax, sin: the derivative stands in for it.",)
    assert found.error is not None
    assert found.error.abs().max() > 0.1
    assert not deep_lift(nn.Sequential(nn.Flatten(), nn.Linear(432, 2).double()), x, 0).notes

    class Power(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.pow(x.abs() + 1, x).flatten(1)

    powers = deep_lift(Power(), x, 0)
    assert powers.notes == ("No rule for pow: the derivative stands in for it.",)
    assert powers.error is not None
    assert powers.error.abs().max() > 1e-3


# ---- identities ------------------------------------------------------------------------------------


def test_without_biases_all_of_them_agree_and_add_up_to_the_logit() -> None:
    net, x = conv_net(bias=False), images()
    for index in range(5):
        product = gr.input_x_gradient(net, x, index)
        close(product.sum, product.score)
        close(gr.integrated_gradients(net, x, index).values, product.values)
        lift = deep_lift(net, x, index)
        close(lift.values, product.values)
        close(lift.sum, lift.score)


# ---- what a user does wrong ------------------------------------------------------------------------


def test_a_class_that_is_not_there() -> None:
    with pytest.raises(
        BadInput, match=r"no class 5: the network answers with 5 classes. Classes go from 0 to 4"
    ):
        gr.saliency(conv_net(), images(), 5)
    with pytest.raises(BadInput, match="no class -1"):
        gr.saliency(conv_net(), images(), difference(0, -1))
    with pytest.raises(BadInput, match="2 classes were given for 3 inputs"):
        gr.saliency(conv_net(), images(), logit([1, 2]))
    with pytest.raises(BadInput, match="not a target"):
        gr.saliency(conv_net(), images(), "cat")  # type: ignore[arg-type]
    with pytest.raises(BadShape, match="returned \\[3, 5\\]"):
        gr.saliency(conv_net(), images(), lambda scores: scores)


def test_an_input_that_does_not_fit() -> None:
    with pytest.raises(BadShape, match=r"\[3, 1, 12, 12\]"):
        gr.saliency(conv_net(), images()[:, :1], 0)
    with pytest.raises(BadInput, match=r"torch\.int64"):
        gr.saliency(conv_net(), torch.zeros(1, 3, 12, 12, dtype=torch.long), 0)
    with pytest.raises(BadInput, match="NaN"):
        gr.saliency(conv_net(), images() * torch.nan, 0)
    with pytest.raises(BadShape, match="baseline of shape \\[4\\]"):
        gr.integrated_gradients(conv_net(), images(), 0, baseline=torch.zeros(4))


def test_a_constant_input_and_a_silent_gradient_are_said() -> None:
    net = conv_net()
    assert CONSTANT in gr.saliency(net, torch.full((1, 3, 12, 12), 0.5).double(), 0).notes
    dead = seeded(nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2)))
    with torch.no_grad():
        dead[1].bias.fill_(-1e6)  # type: ignore[index, union-attr, operator]
    for found in (
        gr.saliency(dead, images(1, 2), 0),
        gr.integrated_gradients(dead, images(1, 2), 0),
        gr.expected_gradients(dead, images(1, 2), 0, baselines=images(2, 2)),
        gr.guided_backprop(dead, images(1, 2), 0),
    ):
        assert found.notes == (ZERO,)
        assert found.values.abs().max() == 0
        assert found.picture().max() == 0
    assert gr.saliency(dead, images(1, 2), lambda scores: scores.new_ones(1)).notes == (ZERO,)


def test_the_network_is_left_as_it_was() -> None:
    net = conv_net(inplace=True, norm=True).train()
    net[0].eval()
    before = {name: part.training for name, part in net.named_modules()}
    kept = {name: held.clone() for name, held in net.state_dict().items()}
    x = images()
    close(gr.saliency(net, x, 0).values, gr.saliency(conv_net(norm=True), x, 0).values)
    deep_lift(net, x, 0)
    gr.guided_backprop(net, x, 0)
    assert {name: part.training for name, part in net.named_modules()} == before
    assert all(weight.requires_grad and weight.grad is None for weight in net.parameters())
    assert all(part.inplace for part in net if isinstance(part, nn.ReLU) and part is not net[-2])
    assert all(torch.equal(kept[name], held) for name, held in net.state_dict().items())


def test_images_lie_as_the_network_is_fast_and_as_it_can_read_them() -> None:
    class Viewing(nn.Module):
        def __init__(self, inside: nn.Module) -> None:
            super().__init__()
            self.inside = inside

        def forward(self, x: Tensor) -> Tensor:
            self.last_first = x.is_contiguous(memory_format=torch.channels_last)
            return self.inside(x).view(len(x), -1)

    x = images().float()
    plain = Viewing(conv_net(norm=True).float())
    assert gr.saliency(plain, x, 1).values.is_contiguous()
    assert plain.last_first
    maps = Viewing(nn.Conv2d(3, 2, 3).requires_grad_(False))  # its answer is viewed, so its order matters
    slope = gr.saliency(maps, x, 1).values
    assert not maps.last_first
    close(slope[:, :, 0, 1], maps.inside.weight[0, :, 0, 0].expand(3, 3), 1e-6)  # type: ignore[index, union-attr]
    training = conv_net(norm=True).float().train()
    kept = training[1].running_mean.clone()  # type: ignore[union-attr, operator]
    gr.saliency(training, x, 1)
    assert torch.equal(training[1].running_mean, kept)  # type: ignore[arg-type]


def test_an_activation_that_writes_over_its_input_by_itself_is_refused() -> None:
    class Overwriting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mul(2).relu_().flatten(1)

    with pytest.raises(NotSupported, match="relu_"):
        gr.guided_backprop(Overwriting(), images(), 0)
    close(gr.saliency(Overwriting(), images().abs(), 0).values.sum(), torch.tensor(6.0).double())


def test_guided_backprop_meets_relu6_too() -> None:
    def net(activation: nn.Module) -> nn.Sequential:
        layers = (nn.Flatten(), nn.Linear(12, 9), activation, nn.Linear(9, 4))
        return seeded(nn.Sequential(*layers))  # type: ignore[return-value]

    x = images(2, 2)
    plain, six, far = net(nn.ReLU()), net(nn.ReLU6()), net(nn.Hardtanh(-1e3, 1e3))
    close(gr.guided_backprop(six, x, 1).values, gr.guided_backprop(plain, x, 1).values)
    assert (
        gr.guided_backprop(six, 100 * x, 1).values.abs().sum()
        < gr.saliency(plain, 100 * x, 1).values.abs().sum()
    )
    assert "no ReLU" in gr.guided_backprop(far, x, 1).notes[0]
