"""The checks of pictures themselves: known answers, and what the packaged nets' pictures show."""

from __future__ import annotations

from functools import cache, partial

import pytest
import torch
from torch import Tensor, nn
from vision_peers import close, conv_net, images, seeded

from llm_workings.attribution.gallery import gallery
from llm_workings.attribution.gradients import (
    guided_backprop,
    input_x_gradient,
    integrated_gradients,
    saliency,
)
from llm_workings.attribution.lrp.propagate import lrp
from llm_workings.attribution.result import Attribution
from llm_workings.attribution.sanity import curves, likeness, randomization
from llm_workings.attribution.targets import logit, probability
from llm_workings.attribution.truth import area, compare, mass, pointing, strength
from llm_workings.core.errors import BadInput, BadShape, UnknownName
from llm_workings.data.pictures import PictureName, make_pictures
from llm_workings.models.vision import load_net


@cache
def packaged(name: str, pictures: PictureName, n: int) -> tuple[nn.Module, Tensor, Tensor, Tensor, Tensor]:
    made = make_pictures(pictures, n)
    arrays = (made.images * 2 - 1, made.labels, made.masks, made.marks)
    x, labels, masks, marks = (torch.from_numpy(part) for part in arrays)
    return load_net(name), x, labels, masks, marks


# ---- known answers ---------------------------------------------------------------------------------


def test_likeness_of_known_pictures() -> None:
    a = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    same, opposite = likeness(a, a * 3 + 1), likeness(a, -a)
    assert (same.spearman, same.pearson) == pytest.approx((1, 1))
    assert (opposite.spearman, opposite.pearson, opposite.spearman_absolute) == pytest.approx((-1, -1, 1))
    bent = likeness(a, a**5)
    assert bent.spearman == pytest.approx(1)
    assert bent.pearson < 0.95
    assert likeness(a, torch.ones(1, 4)).pearson == 0
    both = likeness(torch.cat((a, a)), torch.cat((a, -a)))
    assert both.spearman == pytest.approx(0)
    with pytest.raises(BadShape, match=r"\[1, 4\] and \[1, 3\]"):
        likeness(a, a[:, :3])


def test_curves_of_a_sum_are_known() -> None:
    """The score is the sum of all pixels, so the curve is the running sum in the order of removal."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 1, bias=False))
    with torch.no_grad():
        net[1].weight.fill_(1.0)  # type: ignore[union-attr, operator]
    x = torch.arange(16.0).view(1, 1, 4, 4)
    found = curves(net, x, 0, x[:, 0], steps=16)
    running = torch.cat((torch.zeros(1), x.flatten().flip(0).cumsum(0)))
    close(found.insertion[0], running, 1e-6)
    close(found.deletion[0], 120 - running, 1e-6)
    close(found.share, torch.linspace(0, 1, 17), 1e-6)
    worst = curves(net, x, 0, -x[:, 0], steps=16)
    assert found.deletion_area < worst.deletion_area
    assert found.insertion_area > worst.insertion_area
    close(found.deletion_area + found.insertion_area, torch.tensor([120.0]), 1e-6)
    with pytest.raises(BadShape, match=r"map of shape \[2, 4, 4\]"):
        curves(net, x, 0, torch.zeros(2, 4, 4))
    with pytest.raises(BadInput, match="steps is 0"):
        curves(net, x, 0, x[:, 0], steps=0)


def test_pointing_and_mass_of_known_pictures() -> None:
    masks = torch.zeros(3, 10, 10, dtype=torch.bool)
    masks[:, 2:4, 2:7] = True  # a tenth of the area
    strong = torch.zeros(3, 10, 10)
    strong[0, 3, 3], strong[0, 9, 9] = 3, 1
    strong[1, 5, 3], strong[1, 2, 2] = 3, 1
    assert pointing(strong, masks, tolerance=0).tolist() == [True, False, False]
    assert pointing(strong, masks, tolerance=1).tolist() == [True, False, False]
    assert pointing(strong, masks, tolerance=2).tolist() == [True, True, False]
    assert mass(strong, masks).tolist() == [0.75, 0.25, 0]
    close(area(masks), torch.full((3,), 0.1, dtype=torch.float64))
    with pytest.raises(BadShape, match=r"\[3, 10, 10\] do not fit"):
        mass(strong[:, :5], masks)


def test_strength_is_what_counts_for_the_score() -> None:
    net, x = conv_net(), images()
    slope = saliency(net, x, 1)
    close(strength(slope, x), slope.values.abs().amax(1))
    product = input_x_gradient(net, x, 1)
    close(strength(product, x), product.values.sum(1).clamp(min=0))


def test_randomization_leaves_the_network_and_ends_with_none_of_its_weights() -> None:
    net, x = conv_net(norm=True), images()
    kept = {name: held.clone() for name, held in net.state_dict().items()}
    found = randomization(net, x, 1, saliency)
    assert [step.layer for step in found] == ["", "11", "9", "5", "4", "1", "0"]
    assert found[0].likeness.spearman == pytest.approx(1)
    assert found[0].likeness.pearson_absolute == pytest.approx(1)
    assert all(torch.equal(kept[name], held) for name, held in net.state_dict().items())
    again = randomization(net, x, 1, saliency)
    close(again[-1].result.values, found[-1].result.values)
    other = randomization(net, x, 1, saliency, seed=1)
    assert not torch.equal(other[-1].result.values, found[-1].result.values)
    with pytest.raises(BadInput, match="no weights"):
        randomization(nn.Flatten(), images(1, 2), 1, saliency)


# ---- the packaged nets -----------------------------------------------------------------------------


def test_guided_backprop_stays_when_the_upper_half_is_random_and_honest_methods_do_not() -> None:
    net, x, labels, _, _ = packaged("shapes-cnn", "shapes", 6)
    at = {}
    for method in (saliency, input_x_gradient, integrated_gradients, guided_backprop):
        steps = randomization(net, x, logit(labels), method)
        at[method.__name__] = next(step.likeness for step in steps if step.layer == "blocks.4.conv")
    assert at["guided_backprop"].spearman > 0.7
    for name in ("saliency", "input_x_gradient", "integrated_gradients"):
        assert abs(at[name].spearman) < 0.35
    for name in ("input_x_gradient", "integrated_gradients"):
        assert abs(at[name].spearman) < 0.1
        assert at[name].spearman_absolute > 0.25  # absolute values make it look insensitive


def test_the_best_methods_point_at_the_figure() -> None:
    net, x, labels, masks, _ = packaged("shapes-cnn", "shapes", 24)
    methods = gallery(net, x, only=["DeepLift", "LRP EpsilonPlus", "LRP EpsilonPlusFlat", "saliency"])
    lines = {line.method: line for line in compare(net, x, logit(labels), masks, methods, steps=4)}
    for name in ("DeepLift", "LRP EpsilonPlus", "LRP EpsilonPlusFlat"):
        assert lines[name].pointing >= 0.9
        assert lines[name].lift > 4
    assert list(lines) == sorted(lines, key=lambda name: (-lines[name].pointing, -lines[name].mass))
    deep = lines["DeepLift"].error
    assert deep is not None
    assert deep < 1e-4
    assert lines["saliency"].error is None
    assert all(0 <= line.deletion <= 1 and 0 <= line.insertion <= 1 for line in lines.values())


def test_the_shortcut_net_looks_at_the_mark() -> None:
    net, x, labels, _, marks = packaged("shortcut-cnn", "shortcut", 12)
    for method in (input_x_gradient, partial(integrated_gradients, points=20), lrp):
        strong = strength(method(net, x, logit(labels)), x)
        lift = (mass(strong, marks) / area(marks)).mean()
        assert lift > 5


NETS: dict[str, PictureName] = {"shapes-cnn": "shapes", "shortcut-cnn": "shortcut", "digits-cnn": "digits"}


@pytest.mark.parametrize("name", NETS)
def test_integrated_gradients_of_the_packaged_nets_add_up(name: str) -> None:
    """With 50 gradients within 0.5% of the score's change, the worst of 24 pictures of each net.

    At Gauss's points, which know of no kinks, the median of the shapes is within 1%; 300 come as near.
    """
    net, x, labels, _, _ = packaged(name, NETS[name], 24)

    def missing(points: int, rows: int, adaptive: bool) -> Tensor:
        found = integrated_gradients(net, x[:rows], logit(labels[:rows]), points=points, adaptive=adaptive)
        assert found.error is not None
        assert found.expected is not None
        return (found.error / found.expected).abs()

    assert missing(50, 24, True).max() < 0.005
    if name == "shapes-cnn":
        assert missing(50, 24, False).median() < 0.01
        assert missing(300, 6, False).max() < 0.01


def test_adding_up_is_not_paid_for_with_the_single_values() -> None:
    """Against 1,000 gradients: 50 where the score bends are nearer, value by value, than 50 of Gauss's."""
    net, x, labels, _, _ = packaged("digits-cnn", "digits", 12)
    asked = partial(integrated_gradients, net, x, logit(labels))
    fine = asked(points=1000).values.flatten(1)

    def off(found: Attribution) -> Tensor:
        return (found.values.flatten(1) - fine).abs().sum(1) / fine.abs().sum(1)

    assert off(asked(adaptive=True)).mean() < 0.9 * off(asked()).mean()
    close(asked(adaptive=True, batch=7).values, asked(adaptive=True).values, 1e-5)  # a row over many batches


def test_gradients_where_the_score_bends_give_the_same_integral() -> None:
    """On the way from 0 to x a ReLU opens at 0.9: one input's share is known in closed form."""
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1, bias=False))
    net[0].weight.data = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    net[0].bias.data = torch.tensor([-0.9, 0.0])
    net[2].weight.data = torch.tensor([[10.0, 1.0]])
    x = torch.ones(1, 2)
    found = integrated_gradients(net, x, 0, points=20, adaptive=True)
    gauss = integrated_gradients(net, x, 0, points=20)
    assert found.values[0].tolist() == pytest.approx([1.0, 2.0], abs=1e-4)  # 10 · (1 - 0.9), and 2
    assert abs(float(found.values[0, 0]) - 1) < abs(float(gauss.values[0, 0]) - 1)
    blind = integrated_gradients(net, x, 0, points=1, adaptive=True)  # no cut to move: what is missing shows
    assert blind.values[0].tolist() == pytest.approx([0.0, 2.0])
    assert float(blind.error) == pytest.approx(-1.0)  # type: ignore[arg-type]
    assert "missed 50%" in blind.notes[-1]
    assert found.notes == gauss.notes  # nothing of the kind
    smooth = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    inputs = torch.randn(5, 3, dtype=torch.float64)
    fine = integrated_gradients(smooth, inputs, 1, points=200)
    near = integrated_gradients(smooth, inputs, 1, points=200, adaptive=True)
    assert torch.allclose(fine.values, near.values, atol=1e-4)


def test_every_method_of_the_gallery_works() -> None:
    net, x, labels, _, _ = packaged("digits-cnn", "digits", 2)
    for name, method in gallery(net, x, baselines=x.flip(0)).items():
        found = method(net, x, probability(labels))
        assert isinstance(found, Attribution), name
        assert found.values.isfinite().all(), name
        assert found.picture(x.shape[2:]).shape == (2, *x.shape[2:]), name  # type: ignore[arg-type]
        assert 0 <= float(found.picture().min()) <= float(found.picture().max()) <= 1, name
    with pytest.raises(UnknownName, match="Did you mean 'saliency'"):
        gallery(net, x, only=["salience"])
    with pytest.raises(BadInput, match="start from other images"):
        gallery(net, x, only=["expected gradients"])
    with pytest.raises(BadInput, match="No layer"):
        gallery(seeded(nn.Sequential(nn.Flatten(), nn.Linear(12, 2))), images(1, 2))
