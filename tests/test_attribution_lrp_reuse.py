"""LRP's short cuts change nothing: weights that are kept, oneDNN's own products, operations taken as one."""

from __future__ import annotations

import gc
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vision_peers import close, conv_net, images, seeded

from llm_workings.attribution.lrp import composites as comp
from llm_workings.attribution.lrp import rules as ru
from llm_workings.attribution.lrp.propagate import lrp

HOW: tuple[dict[str, Any], ...] = (
    *({}, {"padding": 1}, {"padding": 3}, {"stride": 2}),
    {"padding": (2, 0), "dilation": 2},
)
EPSILON = comp.everywhere(ru.Epsilon(0.1))
COMPOSITES = {**{name: comp.as_composite(name) for name in comp.COMPOSITES}, "epsilon": EPSILON}
RULES = {"z+": ru.ZPlus(), "alpha 2 beta 1": ru.AlphaBeta(), "epsilon": ru.Epsilon()}


# ---- operations taken as one ------------------------------------------------------------------------


class Reread(nn.Module):
    """A convolution, with or without a batch norm, whose answer two activations read: one layer, or two."""

    def __init__(self, kind: Any, *, twice: bool, norm: bool) -> None:
        super().__init__()
        self.conv, self.other = (kind(3, 6, 3, padding=1) for _ in range(2))
        self.norm = nn.BatchNorm2d(6) if norm else nn.Identity()
        self.late, self.head = nn.Conv2d(12, 4, 3), nn.Linear(4, 5)
        self.twice = twice

    def forward(self, x: Tensor) -> Tensor:
        one = self.norm(self.conv(x))
        two = one if self.twice else self.norm(self.other(x))
        both = torch.cat([one.relu(), torch.sigmoid(two) * 0.5], 1)
        return self.head(self.late(both).relu().mean((2, 3)))


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("name", COMPOSITES)
def test_an_answer_read_twice_has_the_relevance_of_both_readers(name: str, kind: Any, norm: bool) -> None:
    once, twice = (seeded(Reread(kind, twice=again, norm=norm)) for again in (False, True))
    once.get_submodule("other").load_state_dict(once.get_submodule("conv").state_dict())
    twice.load_state_dict(once.state_dict())
    composite = replace(COMPOSITES[name], first=None)  # there is one first layer, or there are two
    close(lrp(twice, images(), 1, composite).values, lrp(once, images(), 1, composite).values)


def test_what_was_written_over_an_answer_is_not_the_layers() -> None:
    class Painted(nn.Module):
        def __init__(self, *, in_place: bool) -> None:
            super().__init__()
            self.conv, self.head, self.in_place = nn.Conv2d(3, 6, 3), nn.Linear(6, 5), in_place

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            if self.in_place:
                x[:, 2:4] = 0.5
            else:
                x = torch.cat([x[:, :2], torch.full_like(x[:, 2:4], 0.5), x[:, 4:]], 1)
            return self.head(x.relu().mean((2, 3)))

    plain, writing = (seeded(Painted(in_place=in_place)) for in_place in (False, True))
    close(lrp(writing, images(), 1).values, lrp(plain, images(), 1).values)


def test_an_elementwise_function_may_repeat_its_input() -> None:
    class Powers(nn.Module):
        def __init__(self, *, apart: bool) -> None:
            super().__init__()
            self.conv, self.head, self.apart = nn.Conv2d(3, 6, 3), nn.Linear(6, 5), apart

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x).relu()
            exponents = torch.tensor([1.0, 2.0]).to(x).view(2, 1, 1, 1)
            powers = (x.expand(2, -1, -1, -1) if self.apart else x) ** exponents
            return self.head(powers.mean((2, 3)).mean(0, keepdim=True))

    repeated, apart = (seeded(Powers(apart=apart)) for apart in (False, True))
    for composite in COMPOSITES.values():
        close(lrp(repeated, images(1), 1, composite).values, lrp(apart, images(1), 1, composite).values)


def test_a_batch_norm_behind_an_activation_is_no_part_of_the_layer() -> None:
    """As where something stands between the two."""
    norm, head = nn.BatchNorm2d(6), nn.Linear(600, 5)
    parts = [nn.Conv2d(3, 6, 3), nn.ReLU()], [norm, nn.ReLU(), nn.Flatten(), head]
    net = seeded(nn.Sequential(*parts[0], *parts[1]))
    apart = nn.Sequential(*parts[0], nn.Flatten(), nn.Unflatten(1, (6, 10, 10)), *parts[1])
    for composite in COMPOSITES.values():
        close(lrp(net, images(), 1, composite).values, lrp(apart, images(), 1, composite).values)


# ---- products and weights ---------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_one_float32_image_has_the_relevance_of_float64(rule: str) -> None:
    """A single image's products are oneDNN's own, the one back a convolution with the kernel turned round."""
    for n in (1, 2):
        for how in HOW:
            conv, wide = seeded(nn.Conv2d(3, 6, 3, **how)), seeded(nn.Conv2d(6, 30, 5, padding=2, groups=2))
            net = nn.Sequential(conv, nn.ReLU(), wide, nn.ReLU(), seeded(nn.Conv2d(30, 40, 3, bias=False)))
            net = nn.Sequential(net, nn.AdaptiveAvgPool2d(1), nn.Flatten())
            exact = lrp(net, images(n), 1, RULES[rule]).values
            net = net.float()
            for _ in range(2):  # the second time the weights are laid out already
                close(lrp(net, images(n).float(), 1, RULES[rule]).values.double(), exact, 2e-4)


def test_weights_laid_out_for_one_size_do_for_another() -> None:
    """And for another use of the same weights, by another stride and padding."""

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.conv = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(self.first(x).relu()).relu()
            x = F.conv2d(x, self.conv.weight, None, (2, 1), (0, 2)).relu()
            return F.conv2d(x, self.conv.weight, None, dilation=2).mean((2, 3))

    exact, quick = seeded(Shared()), seeded(Shared()).float()
    for size in (20, 32, 20, 33):
        for rows in (1, 3):
            for x in (given := images(rows, size), given.abs()):  # of both signs, and of one
                close(lrp(quick, x.float(), 1).values.double(), lrp(exact, x, 1).values, 2e-4)


def test_weights_that_change_are_noticed() -> None:
    """Also where a version counter does not count: `data`, in place; and a weight behind two batch norms."""
    net, x = conv_net(norm=True), images(1)

    def fresh() -> Tensor:
        return lrp(deepcopy(net), x, 1).values

    close(lrp(net, x, 1).values, fresh())
    conv, norm = net[0], net[1]
    for change in (
        lambda: conv.weight.data.mul_(-1.5),
        lambda: conv.weight.data.copy_(conv.weight.data.flip(0)),
        lambda: norm.running_var.mul_(3),
        lambda: norm.weight.data.neg_(),
    ):
        before = lrp(net, x, 1).values
        change()
        close(lrp(net, x, 1).values, fresh())
        assert (fresh() - before).abs().max() > 1e-6

    class Twice(nn.Module):
        def __init__(self, one: nn.Module, other: nn.Module) -> None:
            super().__init__()
            self.one, self.other = one, other
            self.first, self.second = seeded(nn.BatchNorm2d(3)), seeded(nn.BatchNorm2d(3), seed=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.other(self.first(self.one(x)).relu())).flatten(1)

    one, other = (seeded(nn.Conv2d(3, 3, 3)) for _ in range(2))
    close(lrp(Twice(one, one), x, 1, ru.ZPlus()).values, lrp(Twice(one, other), x, 1, ru.ZPlus()).values)


def test_nothing_is_left_for_python_to_find() -> None:
    """Layers and answers know each other, and a cycle would keep every answer of a forward."""
    net, x = conv_net(norm=True), images()
    lrp(net, x, 1)
    gc.collect()
    gc.disable()
    try:
        lrp(net, x, 1)
        assert not [thing for thing in gc.get_objects() if type(thing) is ru.Layer]
    finally:
        gc.enable()
