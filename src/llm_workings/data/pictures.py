"""Sets of small pictures whose truth is known: what is in them, and which pixels it is.

`shapes` are drawn: one figure of eight on a textured background, with things beside it that are none.
Its pixels are the picture's **true mask**: what an attribution should light up. `shortcut` has the same
pictures with a small mark in them whose colour gives the class away; a network that learns from it can
look at the mark and leave the figure alone, and `shortcut-unmarked` and `shortcut-lying` measure whether
it does. `digits` are scikit-learn's.

The same name, number, seed and part give the same pictures, and the first of many are those of few.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from llm_workings.core.errors import BadInput, unknown
from llm_workings.core.seeds import LARGEST

from .drawing import FIGURES, TEXTURES, Array, cover, coverage, disc, grid, placed, polygon, stroke

SIDE = 64  # pixels
MOST = 20_000  # pictures at once: 1 GB
CLASSES = tuple(FIGURES)
MARK_RADIUS = 4.0  # pixels
MARK_COLORS = np.array([colorsys.hsv_to_rgb(k / len(CLASSES), 1.0, 1.0) for k in range(len(CLASSES))])
DIGIT_TEST_SHARE = 0.2

POINTS = grid(SIDE)
MARKED = ("shortcut", "shortcut-lying")

PictureName = Literal["shapes", "shortcut", "shortcut-unmarked", "shortcut-lying", "digits"]
Part = Literal["train", "test"]


@dataclass(frozen=True)
class Pictures:
    """A set of pictures and its truth. n pictures of c channels, h by w pixels.

    Attributes:
        images: `[n, c, h, w]` float32, 0 to 1.
        labels: `[n]` int64, an index into `classes`.
        masks: `[n, h, w]` bool, where the thing is that the label names: the pixels it fills by half
            or more. Of a digit, the pixels with at least half the ink there can be.
        distractors: `[n, h, w]` bool, where something else is drawn that has nothing to do with the class.
        marks: `[n, h, w]` bool, where the mark of a shortcut is; nowhere in the other sets.
        told: `[n]` int64, the class that the mark tells of; -1 where there is no mark.
        classes: their names.
    """

    name: PictureName
    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: NDArray[np.bool_]
    distractors: NDArray[np.bool_]
    marks: NDArray[np.bool_]
    told: NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class PictureSet:
    """One of the sets.

    Attributes:
        title: what a page calls it.
        about: what it is, in a sentence or two.
        shape: of one picture, (channels, height, width).
    """

    title: str
    about: str
    shape: tuple[int, int, int]


PICTURES: Mapping[PictureName, PictureSet] = {
    "shapes": PictureSet(
        "Shapes",
        "One of eight figures (circle, square, triangle, star, cross, ring, heart, crescent) of any "
        "colour, size and turn, on a textured background, with bars, hooks and slivers beside it.",
        (3, SIDE, SIDE),
    ),
    "shortcut": PictureSet(
        "Shapes with a shortcut",
        "The shapes with a small round mark somewhere beside the figure. Its colour is that of the class, "
        "so the figure need not be looked at.",
        (3, SIDE, SIDE),
    ),
    "shortcut-unmarked": PictureSet(
        "The shortcut taken away",
        "The pictures of the shortcut, without the mark: only the figure says the class.",
        (3, SIDE, SIDE),
    ),
    "shortcut-lying": PictureSet(
        "The shortcut lying",
        "The pictures of the shortcut, with a mark of another class's colour: who follows it is wrong.",
        (3, SIDE, SIDE),
    ),
    "digits": PictureSet(
        "Digits",
        "Handwritten digits of 8 by 8 grey pixels (scikit-learn's, 1797 of them).",
        (1, 8, 8),
    ),
}


def make_pictures(name: str, n: int = 100, *, seed: int = 0, part: Part = "test") -> Pictures:
    """`n` pictures of the set called `name`.

    The drawn sets have as many pictures as are asked for, the classes in turn; those of "train" and
    "test" are drawn independently. Of the digits a fifth, chosen by the seed, is held back for "test".

    Raises:
        UnknownName: no set is called so; suggests the nearest.
        BadInput: the number, the seed or the part cannot be.
    """
    if name not in PICTURES:
        raise unknown("set of pictures", name, PICTURES)
    if part not in get_args(Part):
        raise BadInput(f"There is no part {part!r}.", hint="It is 'train' or 'test'.", given={"part": part})
    if not 0 <= seed <= LARGEST:
        raise BadInput(f"The seed {seed} is outside 0..{LARGEST}.", hint="Take a number in that range.")
    if not 1 <= n <= MOST:
        raise BadInput(f"{n} pictures cannot be had.", hint=f"Ask for 1 to {MOST}.", given={"n": n})
    if name == "digits":
        return _digits(n, seed, part)
    pictures = Pictures(
        name=cast(PictureName, name),
        images=np.empty((n, 3, SIDE, SIDE), np.float32),
        labels=np.arange(n) % len(CLASSES),
        masks=np.empty((n, SIDE, SIDE), bool),
        distractors=np.empty((n, SIDE, SIDE), bool),
        marks=np.zeros((n, SIDE, SIDE), bool),
        told=np.full(n, -1),
        classes=CLASSES,
    )
    for at in range(n):
        one = _Drawing(at, seed, part)
        pictures.images[at], pictures.masks[at] = one.image, one.figure >= 0.5
        pictures.distractors[at] = one.distractors
        if name in MARKED:
            told = one.label if name == "shortcut" else one.another
            pictures.images[at], pictures.marks[at] = one.marked(told), one.mark >= 0.5
            pictures.distractors[at] &= ~pictures.marks[at]
            pictures.told[at] = told
    return pictures


# --- drawing one -----------------------------------------------------------------------------------
class _Drawing:
    """Picture number `at` of a seed and a part. Everything random in it is drawn from those three alone,
    in one order, so that it is the same picture with a mark, without one and with a wrong one.

    Attributes:
        label: the class of the figure.
        image: `[3, SIDE, SIDE]`, without a mark.
        figure: `[SIDE, SIDE]`, how much of each pixel the figure fills.
        distractors: `[SIDE, SIDE]` bool.
        mark: `[SIDE, SIDE]`, how much of each pixel the mark would fill.
        another: a class that is not this one's.
    """

    def __init__(self, at: int, seed: int, part: Part):
        rng = np.random.default_rng([seed, get_args(Part).index(part), at])
        self.label = label = at % len(CLASSES)
        self.points = POINTS
        radius = rng.uniform(10, 17)
        middle = rng.uniform(radius + 3, SIDE - radius - 3, 2)
        background = _two_colors(rng)
        texture = TEXTURES[rng.integers(len(TEXTURES))](rng, SIDE)
        image = background[0][:, None, None] * (1 - texture) + background[1][:, None, None] * texture
        seen = placed(self.points, middle, rng.uniform(0, 2 * np.pi))
        self.figure = coverage(FIGURES[CLASSES[label]](seen, radius))
        others = np.zeros((SIDE, SIDE))
        for _ in range(rng.integers(2, 5)):
            alpha = coverage(_distractor(rng, self.points)) * (1 - self.figure)
            image = cover(image, alpha, _away_from(rng, background))
            others = np.maximum(others, alpha)
        image = cover(image, self.figure, _away_from(rng, background))
        self.distractors = others >= 0.5
        self.another = int((label + rng.integers(1, len(CLASSES))) % len(CLASSES))
        self.place = _beside(rng, middle, radius)
        self.mark = coverage(disc(self.points - self.place, MARK_RADIUS))
        noise = rng.normal(0, 0.02, image.shape)
        self.image = np.clip(image + noise, 0, 1)

    def marked(self, label: int) -> Array:
        """The image with the mark of this class: its colour in a white rim."""
        white = cover(self.image, self.mark, np.ones(3))
        return cover(white, coverage(disc(self.points - self.place, MARK_RADIUS - 1.2)), MARK_COLORS[label])


def _two_colors(rng: np.random.Generator) -> Array:
    """Two colours of a background, `[2, 3]`, near enough to each other to leave room for a third."""
    first = rng.uniform(0.1, 0.9, 3)
    return np.stack([first, np.clip(first + rng.uniform(-0.3, 0.3, 3), 0, 1)])


def _away_from(rng: np.random.Generator, background: Array) -> Array:
    """A colour that can be told from all of the background's."""
    line = np.linspace(0, 1, 5)[:, None] * (background[1] - background[0]) + background[0]
    while True:
        color = rng.uniform(0, 1, 3)
        if np.linalg.norm(line - color, axis=1).min() > 0.35:
            return color


def _distractor(rng: np.random.Generator, points: Array) -> Array:
    """The distance from a bar, a hook or a sliver somewhere in the picture."""
    seen = placed(points, rng.uniform(4, SIDE - 4, 2), rng.uniform(0, 2 * np.pi))
    length, width = rng.uniform(8, 20), rng.uniform(2, 3.5)
    kind = rng.integers(3)
    if kind == 0:  # a bar
        return stroke(seen, length * np.array([(-0.5, 0), (0.5, 0)]), width)
    if kind == 1:  # a hook
        bend = rng.uniform(-0.8, 0.8)
        return stroke(seen, length * np.array([(-0.5, 0), (0.1, 0), (0.3, bend / 2)]), width)
    return polygon(seen, length * np.array([(-0.5, 0), (0.0, -0.1), (0.5, 0.05), (0.0, 0.14)]))  # a sliver


def _beside(rng: np.random.Generator, middle: Array, radius: float) -> Array:
    """A place for the mark: whole in the picture, clear of the figure. With a radius of at most 17 the
    figure's circle leaves one of the corners free, so there always is one."""
    while True:
        place = rng.uniform(MARK_RADIUS + 1, SIDE - MARK_RADIUS - 1, 2)
        if np.linalg.norm(place - middle) > 1.15 * radius + MARK_RADIUS + 1:
            return place


# --- digits ----------------------------------------------------------------------------------------
def _digits(n: int, seed: int, part: Part) -> Pictures:
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(seed).permutation(len(found.target))
    held_back = round(DIGIT_TEST_SHARE * len(order))
    chosen = order[:held_back] if part == "test" else order[held_back:]
    if n > len(chosen):
        raise BadInput(
            f"The digits have {len(chosen)} pictures to {part}, and {n} are asked for.",
            hint=f"Ask for {len(chosen)} or fewer.",
            given={"n": n, "part": part},
        )
    chosen = chosen[:n]
    images = (found.images[chosen, None] / 16).astype(np.float32)
    return Pictures(
        name="digits",
        images=images,
        labels=found.target[chosen].astype(np.int64),
        masks=images[:, 0] >= 0.5,
        distractors=np.zeros((n, 8, 8), bool),
        marks=np.zeros((n, 8, 8), bool),
        told=np.full(n, -1, np.int64),
        classes=tuple(str(digit) for digit in range(10)),
    )
