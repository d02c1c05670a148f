"""The peers of attribution (Captum, pytorch-grad-cam, Zennit), and small networks to compare on."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from benchmarks.torchvision_here import declare_operators


def peer(name: str) -> ModuleType:
    """A peer's module, or a skipped test. Most import torchvision, which may need help to be imported."""
    declare_operators()
    return pytest.importorskip(name)


def seeded(module: nn.Module, seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Weights and batch statistics drawn anew, far enough from their defaults to be seen."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in [*module.named_parameters(), *module.named_buffers()]:
            if weight.dtype == torch.long:
                continue
            noise = torch.randn(weight.shape, generator=draw)
            if name.endswith("running_var") or (weight.dim() == 1 and name.endswith("weight")):
                weight.copy_(1 + 0.3 * noise.abs())
            else:
                fan = weight[0].numel() if weight.dim() > 1 else 10
                weight.copy_(noise / fan**0.5)
    return module.to(dtype).eval()


def conv_net(
    *, bias: bool = True, inplace: bool = False, norm: bool = False, pools: str = "both", seed: int = 0
) -> nn.Sequential:
    """Two convolutions, two poolings (`both` kinds or `average`), two linear layers; 5 classes."""
    layers: list[nn.Module] = []
    first = nn.MaxPool2d(2) if pools == "both" else nn.AvgPool2d(2)
    for given, made, pool in ((3, 6, first), (6, 8, nn.AvgPool2d(2))):
        layers += [nn.Conv2d(given, made, 3, padding=1, bias=bias)]
        layers += [nn.BatchNorm2d(made)] if norm else []
        layers += [nn.ReLU(inplace=inplace), pool]
    layers += [nn.Flatten(), nn.Linear(8 * 9, 10, bias=bias), nn.ReLU(), nn.Linear(10, 5, bias=bias)]
    return seeded(nn.Sequential(*layers), seed)  # type: ignore[return-value]


class Residual(nn.Module):
    """Convolutions with a sum around them, as residual nets have; the ReLU may be one module used thrice."""

    def __init__(self, *, reuse: bool = True, inplace_sum: bool = False):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.first, self.first_norm = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.second, self.second_norm = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.relu2 = self.relu if reuse else nn.ReLU()
        self.relu3 = self.relu if reuse else nn.ReLU()
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(6, 5)
        self.inplace_sum = inplace_sum

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.stem(x)))
        out = self.second_norm(self.second(self.relu2(self.first_norm(self.first(x)))))
        if self.inplace_sum:
            out += x
        else:
            out = self.add(out, x)
        return self.head(self.pool(self.relu3(out)).flatten(1))

    def add(self, out: Tensor, x: Tensor) -> Tensor:
        return out + x


def images(rows: int = 3, size: int = 12, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(rows, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-10) -> None:
    """The largest distance, relative to the largest value."""
    assert ours.shape == theirs.shape
    scale = theirs.abs().max().item()
    assert scale > 0
    distance = (ours - theirs).abs().max().item() / scale
    assert distance < tolerance, distance
