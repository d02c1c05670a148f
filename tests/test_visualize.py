"""Pictures and prompts that were made to please a unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from prompt_tokenizers import bytes_only
from small_models import causal_spec, filled
from torch import Tensor, nn

import llm_workings as lw
from llm_workings.attribution.visualize.climb import visualize
from llm_workings.attribution.visualize.objectives import channel, direction, logit, neuron, variety
from llm_workings.attribution.visualize.pixels import Waves, colours_of, moved
from llm_workings.attribution.visualize.prompts import optimize_prompt
from llm_workings.core.errors import BadInput, BadShape, Cancelled, LabError, UnknownName
from llm_workings.core.progress import Progress
from llm_workings.models.vision_wrap import VisionModel, wrap

SIZE = 24


def filters() -> VisionModel:
    """One convolution as large as the picture, with two filters written by hand: a ring and a slope."""
    grid = torch.linspace(-1, 1, SIZE)
    radius = (grid[:, None] ** 2 + grid[None] ** 2).sqrt()
    ring = torch.exp(-(((radius - 0.5) / 0.15) ** 2)) - 0.3
    slope = (grid[:, None] + grid[None]) / 2
    conv = nn.Conv2d(1, 2, SIZE, bias=False)
    conv.weight.data = torch.stack((ring, slope))[:, None] / SIZE
    net = nn.Sequential(conv, nn.Flatten())
    return wrap(net, ["0"], size=(SIZE, SIZE))


def deep(seed: int = 0) -> VisionModel:
    """A small untrained net with three layers."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 5, padding=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip
    return wrap(net, ["0", "2"], size=(SIZE, SIZE))


def alike(a: Tensor, b: Tensor) -> float:
    """The correlation of two pictures."""
    return float(torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1])


@pytest.mark.parametrize(("unit", "waves"), [(0, True), (1, True), (0, False)])
def test_the_picture_that_pleases_a_filter_is_the_filter(unit: int, waves: bool) -> None:
    model = filters()
    weight = model.module[0].weight[unit, 0].detach()  # type: ignore[index]
    found = visualize(model, channel("0", unit), seeds=[0, 1], steps=120, robust=False, waves=waves)
    assert found.images.shape == (2, 1, SIZE, SIZE)
    # Of all pictures from 0 to 1 the best is white where the weight is positive and black elsewhere.
    best = float(weight.clamp(min=0).sum())
    for image, value in zip(found.images[:, 0], found.values, strict=True):
        assert 0.85 * best < value <= best
        assert alike(image, weight) > 0.7


def test_each_step_is_recorded_and_the_way_begins_in_grey() -> None:
    seen: list[Any] = []
    found = visualize(deep(), channel("2", 3), seeds=[5, 9], steps=30, frames=4, partial=seen.append)
    assert found.steps[0] == 0
    assert found.steps[-1] == 30
    assert found.frames.shape == (len(found.steps), 2, 3, SIZE, SIZE)
    assert found.history.shape == (30, 2)
    assert (found.frames[0] - 0.5).abs().max() < 0.2
    assert torch.equal(found.frames[-1], found.images)
    assert (found.history[-5:].mean(0) > found.history[0]).all()
    assert [len(each.frames) for each in seen] == list(range(1, len(found.steps) + 1))
    assert found.images.min() >= 0
    assert found.images.max() <= 1


def test_the_values_are_the_net_s_own_of_the_pictures() -> None:
    model = deep()
    found = visualize(model, logit(2), seeds=[0, 1, 2], steps=8)
    again = model.run((found.images - model.mean) / model.std).logits[:, 2]
    assert torch.allclose(found.values, again, atol=1e-5)


def test_one_seed_makes_the_same_picture_and_another_one_another() -> None:
    one, same, other = (visualize(deep(), channel("2", 1), seeds=[s], steps=10).images for s in (3, 3, 4))
    assert torch.equal(one, same)
    assert alike(one, other) < 0.99


def test_a_sum_pleases_both_and_a_minus_displeases() -> None:
    model, both = deep(), logit(0) + logit(1)
    assert both.name == "logit 0 + logit 1"
    together = visualize(model, both, seeds=[0], steps=40, robust=False)
    alone = visualize(model, logit(0), seeds=[0], steps=40, robust=False)
    against = visualize(model, -logit(0), seeds=[0], steps=40, robust=False)
    logits = {
        name: model.run((each.images - model.mean) / model.std).logits[0]
        for name, each in {"both": together, "one": alone, "minus": against}.items()
    }
    assert logits["both"][:2].sum() > logits["one"][:2].sum()
    assert logits["one"][0] > logits["minus"][0]


def test_diversity_makes_the_pictures_differ() -> None:
    model = deep()

    def likeness(weight: float) -> float:
        found = visualize(model, channel("2", 2), seeds=[0, 1, 2], steps=60, diversity=weight, robust=False)
        with torch.no_grad():
            return float(variety(model.run((found.images - model.mean) / model.std, ["2"])["2"]))

    assert likeness(20.0) < likeness(0.0) - 0.01


def test_variety_is_one_for_equal_maps_and_zero_for_channels_apart() -> None:
    maps = torch.zeros(2, 2, 3, 3)
    maps[0, 0], maps[1, 1] = 1, 1
    assert float(variety(maps)) == 0
    maps[1] = maps[0]
    assert float(variety(maps)) == pytest.approx(1)


def test_a_direction_along_one_channel_is_that_channel() -> None:
    model = deep()
    x = torch.rand(2, 3, SIZE, SIZE)
    seen = {"0": model.run(x, ["0"])["0"]}
    along = torch.zeros(8)
    along[3] = 2.0
    assert torch.allclose(direction("0", along, cosine=0).value(seen), channel("0", 3).value(seen), atol=1e-6)
    assert float(neuron("0", 3, (4, 5)).value(seen)[1]) == float(seen["0"][1, 3, 4, 5])


def test_waves_fall_with_frequency_and_colours_are_a_set_s_own() -> None:
    made = Waves((32, 32), [0, 1, 2, 3], strength=0.1)
    spectrum = torch.fft.rfft2(made().mean(1) - 0.5).abs().square().mean(0)
    assert spectrum[1:4, 1:4].mean() > 20 * spectrum[12:16, 12:16].mean()
    draw = torch.Generator().manual_seed(0)
    mix = torch.tensor([[1.0, 0, 0], [0.8, 0.3, 0], [0.2, 0.1, 0.5]])
    images = torch.einsum("cd,ndhw->nchw", mix, torch.randn(20, 3, 16, 16, generator=draw))
    root = colours_of(images)
    assert torch.allclose(root @ root.T, mix @ mix.T, atol=0.05)


def test_moving_is_small_and_keeps_what_is_even() -> None:
    draw = torch.Generator().manual_seed(0)
    flat = torch.full((3, 1, 20, 20), 0.4)
    assert torch.allclose(moved(flat, draw), flat, atol=1e-6)
    ramp = torch.linspace(0, 1, 40).expand(5, 1, 40, 40).contiguous()
    away = (moved(ramp, draw) - ramp).abs()
    assert 0.001 < away.mean() < 0.15
    assert torch.equal(moved(ramp, draw, turn=0, zoom=0, shift=0).round(decimals=4), ramp.round(decimals=4))


@pytest.mark.parametrize(
    ("objective", "error", "says"),
    [
        (channel("2", 8), BadInput, "it has 8"),
        (channel("3.conv", 0), UnknownName, "3.conv"),
        (neuron("2", 0, (99, 0)), BadInput, "24 x 24 places"),
        (neuron("5", 0), BadShape, "no places"),
        (direction("2", torch.ones(3)), BadShape, "8 channels"),
        (logit(4), BadInput, "no unit 4"),
    ],
)
def test_what_is_not_there_is_named(objective: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        visualize(deep(), objective, seeds=[0], steps=2)


def test_an_objective_that_ignores_the_picture_is_refused() -> None:
    model = deep()
    last = model.module[6]  # type: ignore[index]
    last.weight.data.zero_()
    constant = logit(0)
    stuck = type(constant)("nothing", constant.layers, lambda seen: seen["logits"][:, 0].detach())
    with pytest.raises(LabError, match="does not depend"):
        visualize(model, stuck, seeds=[0], steps=2)


def test_a_unit_that_grey_leaves_silent_is_woken() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net[0].weight.data.fill_(1.0)
    net[0].bias.data = torch.tensor([-0.6])  # grey is 0.5
    found = visualize(
        wrap(net, ["1"], size=(SIZE, SIZE)), channel("1", 0), seeds=[0, 1], steps=80, robust=False
    )
    assert found.history[0].max() == 0
    assert (found.values > 0.15).all()  # white all over would be 0.4


def test_it_stops_when_asked() -> None:
    steps = []
    stop = Progress(lambda what, done, total: steps.append(done), lambda: len(steps) >= 3)
    with pytest.raises(Cancelled):
        visualize(deep(), logit(0), seeds=[0], steps=50, progress=stop)
    assert len(steps) == 3


# ---- prompts -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def toy() -> lw.LanguageModel:
    return lw.load("induction-2l", device="cpu")


@pytest.fixture
def bytes_model() -> lw.LanguageModel:
    """Its tokens are bytes: most rows of them are no text."""
    return lw.LanguageModel(filled(causal_spec(vocab_size=256), 3), bytes_only(), "bytes")


def test_a_prompt_climbs_and_its_value_is_the_model_s_own(toy: lw.LanguageModel) -> None:
    found = optimize_prompt(toy, "resid_post.1", 3, n=6, steps=12)
    assert found.history == sorted(found.history)
    assert found.value == found.history[-1] > found.start
    begin = [] if toy.tokenizer.bos_id is None else [toy.tokenizer.bos_id]
    run = toy.run([[*begin, *found.tokens]], keep="resid_post.1")
    assert float(run["resid_post.1"][0, -1, 3]) == pytest.approx(found.value, abs=1e-4)


def test_of_one_token_the_best_is_found(toy: lw.LanguageModel) -> None:
    """One token, tried out in full: the ascent has to come to the very best of the vocabulary."""
    size = toy.tokenizer.vocab_size
    allowed = [i for i in range(size) if not toy.tokenizer.is_special(i)]
    begin = [] if toy.tokenizer.bos_id is None else [toy.tokenizer.bos_id]
    run = toy.run([[*begin, i] for i in allowed], keep="resid_pre.0")
    best = float(run["resid_pre.0"][:, -1, 5].max())
    found = optimize_prompt(toy, "resid_pre.0", 5, n=1, steps=6, candidates=16)
    assert found.value == pytest.approx(best, abs=1e-5)


def test_a_direction_is_a_coordinate_when_it_is_one(toy: lw.LanguageModel) -> None:
    along = torch.zeros(toy.spec.d_model)
    along[7] = 3.0
    one, other = (optimize_prompt(toy, "resid_post.0", read, n=4, steps=4).tokens for read in (7, along))
    assert one == other


def test_minus_a_coordinate_makes_it_low(toy: lw.LanguageModel) -> None:
    down = torch.zeros(toy.spec.d_model)
    down[7] = -1
    found = optimize_prompt(toy, "resid_post.0", down, n=4, steps=4)
    run = toy.run(toy.tokenizer.encode(found.text), keep="resid_post.0")
    assert -float(run["resid_post.0"][0, -1, 7]) == pytest.approx(found.value, abs=1e-4)
    assert found.value >= found.start


def test_a_readable_prompt_is_read_as_the_same_tokens(bytes_model: lw.LanguageModel) -> None:
    tokenizer = bytes_model.tokenizer
    found = [
        optimize_prompt(bytes_model, "resid_post.0", 2, n=5, steps=5, seed=seed, readable=True)
        for seed in range(4)
    ]
    for each in found:
        assert tokenizer.encode(each.text, special=False) == each.tokens
        assert each.value >= each.start
    loose = [optimize_prompt(bytes_model, "resid_post.0", 2, n=5, steps=5, seed=seed) for seed in range(4)]
    assert any(tokenizer.encode(each.text, special=False) != each.tokens for each in loose)


def test_fluency_makes_the_prompt_likelier(toy: lw.LanguageModel) -> None:
    found: Callable[[float], Any] = lambda weight: optimize_prompt(  # noqa: E731
        toy, "resid_post.1", 3, n=6, steps=15, fluency=weight
    )
    plain, fluent = found(1e-6), found(20.0)
    assert fluent.loss < plain.loss
    assert fluent.value < plain.value


@pytest.mark.parametrize(
    ("place", "read", "n", "says"),
    [
        ("resid_post.1", 99_999, 4, "no coordinate 99999"),
        ("resid_post.1", torch.ones(3), 4, "3 numbers"),
        ("resid_post.1", 0, 0, "0 tokens"),
        ("pattern.0", 0, 4, "no one site"),
        ("resid_post.*", 0, 4, "no one site"),
    ],
)
def test_a_unit_that_is_not_there_is_named(
    toy: lw.LanguageModel, place: str, read: Any, n: int, says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        optimize_prompt(toy, place, read, n=n, steps=1)
