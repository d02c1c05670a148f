"""Occlusion that computes what a window reaches, against running every covered input whole."""

from __future__ import annotations

import random

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vision_peers import Residual, close, conv_net, images, seeded

from llm_workings.attribution import occlusion as module
from llm_workings.attribution.occlusion import occlusion


@pytest.fixture(autouse=True)
def however_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nets here are so small that they would be run whole."""
    monkeypatch.setattr(module, "LITTLE", 0)


def dense(net: nn.Module, x: Tensor, window: int, stride: int) -> Tensor:
    values, covered = torch.zeros_like(x), torch.zeros_like(x[0])
    ends = [range(0, side - window + stride, stride) for side in x.shape[2:]]
    with torch.no_grad():
        for down in ends[0]:
            for across in ends[1]:
                where = (slice(None), slice(down, down + window), slice(across, across + window))
                copy = x.clone()
                copy[(slice(None), *where)] = 0
                values[(slice(None), *where)] += (net(x)[:, 1] - net(copy)[:, 1]).view(-1, 1, 1, 1)
                covered[where] += 1
    return values / covered


class Mixed(nn.Module):
    """A random net of what there is a rule for, and of what there is none for."""

    def __init__(self, seed: int):
        super().__init__()
        draw = random.Random(seed)
        self.steps = [draw.randrange(12) for _ in range(5)]
        self.convs = nn.ModuleList()
        for _ in self.steps:
            k, s, d, g = (
                draw.choice([1, 2, 3, 5]),
                draw.choice([1, 1, 2]),
                draw.choice([1, 1, 2]),
                draw.choice([1, 2, 4]),
            )
            self.convs.append(nn.Conv2d(4, 4, k, s, draw.randrange(d * (k - 1) + 1), d, g))
        self.norm, self.stem, self.head = nn.BatchNorm2d(4), nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x))
        for step, conv in zip(self.steps, self.convs, strict=True):
            if min(x.shape[-2:]) < 10:
                break
            match step:
                case 0:
                    x = F.relu(x) + F.max_pool2d(x, 3, 1, 1)
                case 1:
                    x = F.silu(conv(x), inplace=True)
                case 2:
                    x = F.avg_pool2d(F.pad(x, (1, 0, 2, 1)), 3, 2)
                case 3:
                    x = x * torch.sigmoid(x.mean((2, 3), keepdim=True))
                case 4:
                    x += 0.5 * x.flip(3)
                case 5:
                    x = torch.cat([x[:, :2], F.relu6(x)[:, 2:]], 1)
                case 6:
                    x = torch.cat([x, x.tanh()], 1)[:, 2:6]
                case 7:
                    x = F.max_pool2d(conv(x).relu_(), 3, 2, 1, ceil_mode=True)
                case 8:
                    x = F.relu(self.norm(conv(x)))
                case 9:
                    x = F.max_pool2d(F.relu(F.pad(x, (1, 1, 1, 1))), 3, 1) - x
                case 10:
                    x = conv(x)
                    x = self.norm(x) + x
                case _:
                    x = conv(F.gelu(x))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


@pytest.mark.parametrize("seed", range(40))
def test_random_nets(seed: int) -> None:
    net, x = seeded(Mixed(seed), seed), images(2, size=22, seed=seed)
    close(occlusion(net, x, 1, window=5, stride=3).values, dense(net, x, 5, 3))


@pytest.mark.parametrize("kind", ["plain", "inplace", "norm", "residual", "in place sum"])
def test_nets(kind: str) -> None:
    net = {
        "plain": conv_net,
        "inplace": lambda: conv_net(inplace=True),
        "norm": lambda: conv_net(norm=True),
        "residual": lambda: seeded(Residual()),
        "in place sum": lambda: seeded(Residual(inplace_sum=True)),
    }[kind]()
    x = images(2)
    for window, stride in ((3, 2), (4, 4), (1, 1)):
        close(occlusion(net, x, 1, window=window, stride=stride).values, dense(net, x, window, stride))


def test_a_small_net_is_run_whole_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = conv_net(norm=True), images(2)
    crops = occlusion(net, x, 1, window=3, stride=2)
    monkeypatch.setattr(module, "LITTLE", 2**40)
    close(occlusion(net, x, 1, window=3, stride=2).values, crops.values)


class Fickle(nn.Module):
    """Takes another step where there is more than one row."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.norm(x if len(x) == 1 else 1 * x).relu().mean((2, 3))


def test_a_net_that_calls_other_operations_for_a_batch_is_run_whole() -> None:
    net, x = seeded(Fickle()), images(1)
    close(occlusion(net, x, 1, window=4).values, dense(net, x, 4, 4))
