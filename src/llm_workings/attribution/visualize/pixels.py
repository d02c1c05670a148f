"""How the picture that is optimized is written down: as waves, in colours that do not go together.

Steepest ascent depends on the coordinates it is made in. In pixels it makes fine-grained noise, for nothing
keeps neighbours together; written as waves whose strength falls with their frequency, and in colours that
vary independently of each other, the same ascent makes pictures (Mordvintsev et al. 2018, "Differentiable
Image Parameterizations"; Olah et al. 2017, "Feature Visualization").
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

# A square root of the covariance of red, green and blue over ImageNet's pixels: its columns are light
# against dark, then two colour contrasts. The figures are those of Olah et al.
NATURAL = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])


def colours_of(images: Tensor) -> Tensor:
    """The square root of the covariance of a set's colours, `[channel, channel]`, to draw in them.

    Args:
        images: `[n, channel, h, w]`.
    """
    pixels = images.transpose(0, 1).flatten(1).double()
    spread, directions = torch.linalg.eigh(torch.cov(pixels).reshape(len(pixels), len(pixels)))
    return (directions * spread.clamp(min=0).sqrt()).flip(1).float()


class Waves(nn.Module):
    """Pictures `[n, channel, h, w]` from 0 to 1, by their Fourier coefficients in decorrelated colours.

    The coefficients of frequency f are multiplied by 1 / max(f, 1 / longest side), so that equal steps make
    changes as they are in natural pictures, whose amplitudes fall as 1 / f. A sigmoid keeps pixels in 0..1.

    Args:
        n: pictures, each with its own coefficients.
        size: (h, w) in pixels.
        seeds: one a picture: its first, almost grey noise.
        channels: 3, or 1 for grey.
        colours: `[channel, channel]`, a square root of the colours' covariance; None: `NATURAL`.
    """

    def __init__(
        self,
        size: tuple[int, int],
        seeds: list[int],
        channels: int = 3,
        colours: Tensor | None = None,
        strength: float = 0.01,
    ):
        super().__init__()
        self.size = size
        high, wide = size
        down, across = torch.fft.fftfreq(high)[:, None], torch.fft.rfftfreq(wide)[None]
        frequency = (down.square() + across.square()).sqrt()
        scale = math.sqrt(high * wide) / frequency.clamp(min=1 / max(size))
        self.scale: Tensor
        self.colours: Tensor
        self.register_buffer("scale", scale[..., None])
        if colours is None:
            colours = NATURAL if channels == 3 else torch.ones(1, 1)
        self.register_buffer("colours", colours / colours.square().sum(0).sqrt().max())
        drawn = [
            torch.randn(channels, *frequency.shape, 2, generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
        self.coefficients = nn.Parameter(strength * torch.stack(drawn))

    def forward(self) -> Tensor:
        """The pictures."""
        waves = torch.view_as_complex(self.coefficients * self.scale)
        values = torch.fft.irfft2(waves, s=self.size) / 4
        return torch.einsum("cd,ndhw->nchw", self.colours, values).sigmoid()


class Pixels(nn.Module):
    """The same, each pixel by itself: the coordinates of a plain ascent, to compare `Waves` with."""

    def __init__(self, size: tuple[int, int], seeds: list[int], channels: int = 3, strength: float = 0.01):
        super().__init__()
        drawn = [
            torch.randn(channels, *size, generator=torch.Generator().manual_seed(seed)) for seed in seeds
        ]
        self.values = nn.Parameter(strength * torch.stack(drawn))

    def forward(self) -> Tensor:
        """The pictures, `[n, channel, h, w]` from 0 to 1."""
        return self.values.sigmoid()


def moved(
    images: Tensor, draw: torch.Generator, *, turn: float = 5.0, zoom: float = 0.05, shift: float = 0.06
) -> Tensor:
    """Each picture turned, zoomed and shifted a little at random, so that no one pixel can carry an answer.

    Args:
        images: `[n, channel, h, w]`.
        turn: degrees, at most, either way.
        zoom: share of the size, at most, either way.
        shift: share of a side, at most, either way. Beyond the edge the picture is mirrored.
    """
    n = len(images)
    drawn = 2 * torch.rand(n, 4, generator=draw) - 1
    angle = drawn[:, 0] * math.radians(turn)
    scale = 1 / (1 + zoom * drawn[:, 1])
    to = 2 * shift * drawn[:, 2:]  # the sides of affine_grid go from -1 to 1
    cos, sin = angle.cos() * scale, angle.sin() * scale
    rows = torch.stack((torch.stack((cos, -sin, to[:, 0]), 1), torch.stack((sin, cos, to[:, 1]), 1)), 1)
    grid = nn.functional.affine_grid(rows.to(images), list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
