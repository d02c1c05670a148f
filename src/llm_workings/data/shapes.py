"""The sets that are drawn from a formula, in the square from -6 to 6.

xor, circles, spiral, gaussians, plane and bump are those of TensorFlow Playground (Smilkov et al.
2017, playground.tensorflow.org), by their definitions and with its meaning of noise: its slider's 25
is 0.25 here. In xor, circles, plane and bump noise moves a point before its class or value is looked
up, and leaves it where it was; in spiral it moves the point itself; in gaussians it widens the clouds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from llm_workings.core.dataset import Array

from .spec import DataName, DataSpec

HALF = 6.0  # the square of the picture reaches from -HALF to HALF
RADIUS = 5.0
CONES = ((-4, 2.5, 1), (0, 2.5, -1), (4, 2.5, 1), (-4, -2.5, -1), (0, -2.5, 1), (4, -2.5, -1))

Drawn = tuple[Array, Array]  # points [sample, coordinate] and targets [sample] or [sample, output]
Shape = Callable[[np.random.Generator, DataSpec], Drawn]


def xor(rng: np.random.Generator, spec: DataSpec) -> Drawn:
    """Uniform within ±5, moved 0.3 away from the axes; class 1 where the signs differ."""
    points = rng.uniform(-RADIUS, RADIUS, (spec.n, 2))
    points += np.where(points > 0, 0.3, -0.3)
    seen = points + spec.noise * rng.uniform(-RADIUS, RADIUS, (spec.n, 2))
    return points, (seen[:, 0] * seen[:, 1] < 0).astype(np.int64)


def circles(rng: np.random.Generator, spec: DataSpec) -> Drawn:
    """Half of the points up to 2.5 from the middle (class 1), half from 3.5 to 5 (class 0)."""
    inner = np.arange(spec.n) < (spec.n + 1) // 2
    share = rng.uniform(size=spec.n)
    r = RADIUS * np.where(inner, 0.5 * share, 0.7 + 0.3 * share)
    angle = rng.uniform(0, 2 * np.pi, spec.n)
    points = np.stack([r * np.sin(angle), r * np.cos(angle)], axis=1)
    seen = points + spec.noise * rng.uniform(-RADIUS, RADIUS, (spec.n, 2))
    return points, (np.hypot(seen[:, 0], seen[:, 1]) < RADIUS / 2).astype(np.int64)


def spiral(rng: np.random.Generator, spec: DataSpec) -> Drawn:
    """r = 5s at angle 2π · 1.75s (class 1), and the same turned by half a circle (class 0).

    s goes from 0 up to but not including 1 in equal steps, so both arms have a point in the middle.
    """
    first = (spec.n + 1) // 2
    arm = (np.arange(spec.n) < first).astype(np.int64)
    s = np.concatenate([np.arange(first), np.arange(spec.n - first)]) / (spec.n / 2)
    angle = 1.75 * s * 2 * np.pi + np.pi * (1 - arm)
    points = np.stack([RADIUS * s * np.sin(angle), RADIUS * s * np.cos(angle)], axis=1)
    return points + spec.noise * rng.uniform(-1, 1, (spec.n, 2)), arm


def gaussians(rng: np.random.Generator, spec: DataSpec) -> Drawn:
    """Around (2, 2) (class 1) and (-2, -2) (class 0); variance 0.5, and 4 at noise 0.5."""
    side = (np.arange(spec.n) < (spec.n + 1) // 2).astype(np.int64)
    center = np.where(side == 1, 2.0, -2.0)[:, None]
    return center + np.sqrt(0.5 + 7 * spec.noise) * rng.standard_normal((spec.n, 2)), side


def moons(rng: np.random.Generator, spec: DataSpec) -> Drawn:
    """scikit-learn's two half circles, three times as large and around the middle; noise is normal,
    with a standard deviation of noise times their radius (3)."""
    lower = (np.arange(spec.n) >= (spec.n + 1) // 2).astype(np.int64)
    angle = rng.uniform(0, np.pi, spec.n)
    x = np.where(lower == 1, 1 - np.cos(angle), np.cos(angle))
    y = np.where(lower == 1, 0.5 - np.sin(angle), np.sin(angle))
    points = 3 * np.stack([x - 0.5, y - 0.25], axis=1)
    return points + 3 * spec.noise * rng.standard_normal((spec.n, 2)), lower


def blobs(rng: np.random.Generator, spec: DataSpec) -> Drawn:
    """Normal clouds around the corners of a regular polygon of radius 3.5, the first at the top;
    standard deviation 0.4, and 1.2 at noise 0.5."""
    corner = np.arange(spec.n) % spec.classes
    angle = 2 * np.pi * corner / spec.classes
    center = 3.5 * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return center + (0.4 + 1.6 * spec.noise) * rng.standard_normal((spec.n, 2)), corner.astype(np.int64)


def checkerboard(rng: np.random.Generator, spec: DataSpec) -> Drawn:
    """Uniform; fields of side 3, class 0 bottom left. Noise as in xor, up to a field's side."""
    points = rng.uniform(-HALF, HALF, (spec.n, 2))
    seen = points + spec.noise * rng.uniform(-3, 3, (spec.n, 2))
    return points, (np.floor((seen + HALF) / 3).astype(np.int64).sum(1) % 2).astype(np.int64)


def plane(rng: np.random.Generator, spec: DataSpec) -> Drawn:
    """z = (x + y) / 10."""
    points, seen = _moved(rng, spec)
    return points, (seen.sum(1) / 10)[:, None]


def bump(rng: np.random.Generator, spec: DataSpec) -> Drawn:
    """Six cones of radius 2 and height ±1; where two meet, the higher or deeper one."""
    points, seen = _moved(rng, spec)
    x, y, sign = np.array(CONES, dtype=float).T
    heights = sign * np.clip(1 - np.hypot(seen[:, :1] - x, seen[:, 1:] - y) / 2, 0, 1)
    tallest = np.abs(heights).argmax(1)[:, None]
    return points, np.take_along_axis(heights, tallest, axis=1)


def wave(rng: np.random.Generator, spec: DataSpec) -> Drawn:
    """z = sin(x) cos(y / 2), and noise up to ±noise on it."""
    points = rng.uniform(-HALF, HALF, (spec.n, 2))
    z = np.sin(points[:, 0]) * np.cos(points[:, 1] / 2)
    return points, (z + spec.noise * rng.uniform(-1, 1, spec.n))[:, None]


def curve(rng: np.random.Generator, spec: DataSpec) -> Drawn:
    """0.6 sin(x) + 0.4 (|x| / 3 - 1), and noise up to ±noise on it."""
    x = rng.uniform(-HALF, HALF, (spec.n, 1))
    z = 0.6 * np.sin(x) + 0.4 * (np.abs(x) / 3 - 1)
    return x, z + spec.noise * rng.uniform(-1, 1, (spec.n, 1))


def _moved(rng: np.random.Generator, spec: DataSpec) -> Drawn:
    """Uniform points, and where noise has each one's value looked up."""
    points = rng.uniform(-HALF, HALF, (spec.n, 2))
    return points, points + spec.noise * rng.uniform(-HALF, HALF, (spec.n, 2))


SHAPES: dict[DataName, Shape] = {
    "xor": xor,
    "circles": circles,
    "moons": moons,
    "spiral": spiral,
    "gaussians": gaussians,
    "blobs": blobs,
    "checkerboard": checkerboard,
    "plane": plane,
    "wave": wave,
    "bump": bump,
    "curve": curve,
}
