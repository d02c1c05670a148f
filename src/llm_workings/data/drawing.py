"""Drawing small pictures with NumPy alone: outlines, textures, and covering one with the other.

A figure is a signed distance: of every pixel's centre from the figure's edge, in pixels, negative
inside. Its coverage, how much of a pixel it fills, is then 1/2 minus that distance, cut to 0..1:
an edge one pixel wide, which is what makes it smooth. Coordinates are (x, y) with y downward, in
pixels, around the figure's own middle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Figure = Callable[[Array, float], Array]  # points [..., 2] and a radius to distances [...]


def grid(side: int) -> Array:
    """The pixels' centres, `[side, side, 2]` as (x, y)."""
    at = np.arange(side) + 0.5
    x, y = np.meshgrid(at, at)
    return np.stack([x, y], axis=-1)


def placed(points: Array, center: Array, angle: float) -> Array:
    """The points as seen from a figure at `center` that is turned by `angle` (radians)."""
    cos, sin = np.cos(angle), np.sin(angle)
    return (points - center) @ np.array([[cos, -sin], [sin, cos]])


def coverage(distance: Array) -> Array:
    """How much of each pixel a figure fills, 0 to 1."""
    return np.clip(0.5 - distance, 0.0, 1.0)


def cover(image: Array, alpha: Array, color: Array) -> Array:
    """The image `[3, h, w]` with `color`, `[3]`, laid over it as far as `alpha`, `[h, w]`, says."""
    return image * (1 - alpha) + color[:, None, None] * alpha


# --- distances -------------------------------------------------------------------------------------
def polygon(points: Array, corners: Array) -> Array:
    """The signed distance from a closed polygon with these `corners` `[n, 2]`, convex or not.

    The nearest edge gives the size; inside is where a ray to the right crosses an odd number of edges.
    """
    nearest, inside = np.full(points.shape[:-1], np.inf), np.zeros(points.shape[:-1], bool)
    x, y = points[..., 0], points[..., 1]
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        nearest = np.minimum(nearest, _squared_to_edge(x, y, (x0, y0), (x1, y1)))
        if y0 != y1:  # a level edge is crossed by no level ray
            inside ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * ((x1 - x0) / (y1 - y0)))
    nearest = np.sqrt(nearest)
    return np.where(inside, -nearest, nearest)


def _squared_to_edge(x: Array, y: Array, start: Sequence[float], end: Sequence[float]) -> Array:
    """The squared distance of each point from the line between two corners."""
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    x, y = x - start[0], y - start[1]
    share = np.clip((x * along_x + y * along_y) / (along_x**2 + along_y**2), 0.0, 1.0)
    return (x - share * along_x) ** 2 + (y - share * along_y) ** 2


def disc(points: Array, radius: float) -> Array:
    """The signed distance from a disc."""
    return np.linalg.norm(points, axis=-1) - radius


def stroke(points: Array, path: Array, width: float) -> Array:
    """The signed distance from a line of this `width` along the corners of `path` `[n, 2]`."""
    x, y = points[..., 0], points[..., 1]
    squared = [_squared_to_edge(x, y, *pair) for pair in pairwise(path)]
    return np.sqrt(np.min(squared, axis=0)) - width / 2


# --- figures, each filling about a circle of the radius --------------------------------------------
def circle(points: Array, radius: float) -> Array:
    return disc(points, 0.9 * radius)


def ring(points: Array, radius: float) -> Array:
    return np.abs(disc(points, 0.72 * radius)) - 0.22 * radius


def regular(n: int, points: Array, radius: float) -> Array:
    """A regular polygon with `n` corners, one of them at the top."""
    turn = 2 * np.pi * np.arange(n) / n
    return polygon(points, radius * np.stack([np.sin(turn), -np.cos(turn)], axis=1))


def square(points: Array, radius: float) -> Array:
    return polygon(points, 0.8 * radius * np.array([(-1.0, -1), (1, -1), (1, 1), (-1, 1)]))


def triangle(points: Array, radius: float) -> Array:
    return regular(3, points, 1.1 * radius)


def star(points: Array, radius: float) -> Array:
    """Five points, the inner corners at 0.42 of the outer ones."""
    turn = np.pi * np.arange(10) / 5
    reach = 1.1 * radius * np.where(np.arange(10) % 2 == 0, 1.0, 0.42)
    return polygon(points, reach[:, None] * np.stack([np.sin(turn), -np.cos(turn)], axis=1))


def cross(points: Array, radius: float) -> Array:
    """A plus with arms a third as wide as it is."""
    a, b = 0.32, 1.0
    quarter = np.array([(a, -b), (a, -a), (b, -a)])
    turn = np.array([[0.0, 1], [-1, 0]])  # by a right angle
    corners = [quarter @ np.linalg.matrix_power(turn, n) for n in range(4)]
    return polygon(points, radius * np.concatenate(corners))


def heart(points: Array, radius: float) -> Array:
    """x = 16 sin³t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, at 40 corners."""
    t = 2 * np.pi * np.arange(40) / 40
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return polygon(points, radius / 16 * np.stack([x, -y - 2.5], axis=1))


def crescent(points: Array, radius: float) -> Array:
    """A disc without the part of it that another disc covers."""
    return np.maximum(disc(points, radius), -disc(points - np.array([0.55 * radius, 0]), 0.82 * radius))


FIGURES: dict[str, Figure] = {
    "circle": circle,
    "square": square,
    "triangle": triangle,
    "star": star,
    "cross": cross,
    "ring": ring,
    "heart": heart,
    "crescent": crescent,
}


# --- textures --------------------------------------------------------------------------------------
def clouds(rng: np.random.Generator, side: int) -> Array:
    """Value noise of four octaves, 0 to 1, `[side, side]`: coarse grids of random numbers, smoothed up."""
    total = np.zeros((side, side))
    for cells, weight in ((3, 1.0), (6, 0.6), (12, 0.4), (24, 0.25)):
        total += weight * _smooth(rng.uniform(size=(cells + 1, cells + 1)), side)
    return (total - total.min()) / (total.max() - total.min())


def _smooth(values: Array, side: int) -> Array:
    """A small grid of values, blended smoothly up to `[side, side]`."""
    at = np.linspace(0, len(values) - 1, side, endpoint=False)
    low = at.astype(int)
    share = at - low
    share = share * share * (3 - 2 * share)
    rows = values[low] * (1 - share)[:, None] + values[low + 1] * share[:, None]
    return rows[:, low] * (1 - share) + rows[:, low + 1] * share


def stripes(rng: np.random.Generator, side: int) -> Array:
    """Parallel waves of a random direction and width, 0 to 1, `[side, side]`."""
    angle, period = rng.uniform(0, np.pi), rng.uniform(6, 16)
    direction = np.array([np.cos(angle), np.sin(angle)])
    return 0.5 + 0.5 * np.sin(2 * np.pi * (grid(side) @ direction) / period + rng.uniform(0, 2 * np.pi))


def checks(rng: np.random.Generator, side: int) -> Array:
    """Soft checks of a random direction and size, 0 to 1, `[side, side]`."""
    angle, period = rng.uniform(0, np.pi), rng.uniform(10, 22)
    turned = placed(grid(side), rng.uniform(0, side, 2), angle)
    waves = np.sin(2 * np.pi * turned / period).prod(-1)
    return 0.5 + 0.5 * np.tanh(4 * waves)


TEXTURES = (clouds, stripes, checks)
