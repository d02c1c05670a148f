"""Drawn pictures: the truth that they carry is the truth."""

from __future__ import annotations

import numpy as np
import pytest

from llm_workings.core.errors import BadInput, UnknownName
from llm_workings.data.drawing import FIGURES, coverage, disc, grid, polygon, stroke
from llm_workings.data.pictures import CLASSES, MARK_COLORS, PICTURES, SIDE, make_pictures

N = 48


# --- drawing -----------------------------------------------------------------------------------
def test_a_polygon_s_distance_is_that_of_its_edge() -> None:
    points = grid(40) - 20
    square = polygon(points, 10.0 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]))
    outside = np.maximum(np.abs(points) - 10, 0)
    inside = np.minimum(np.abs(points).max(-1) - 10, 0)  # the exact distance from a square
    assert np.allclose(square, np.hypot(outside[..., 0], outside[..., 1]) + inside)
    assert coverage(square).sum() == pytest.approx(400, rel=1e-3)
    many = 2 * np.pi * np.arange(200) / 200
    round_one = polygon(points, 12 * np.stack([np.cos(many), np.sin(many)], 1))
    assert np.abs(round_one - disc(points, 12)).max() < 0.01
    assert coverage(disc(points, 12)).sum() == pytest.approx(np.pi * 144, rel=5e-3)
    bar = stroke(points, np.array([(-8.0, 0), (8, 0)]), 4)
    assert coverage(bar).sum() == pytest.approx(16 * 4 + np.pi * 4, rel=1e-2)  # with its round ends


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_fills_about_its_circle(name: str) -> None:
    points = grid(SIDE) - SIDE / 2
    alpha = coverage(FIGURES[name](points, 14.0))
    far = np.linalg.norm(points, axis=-1)[alpha > 0].max()
    assert 11 < far < 17.5
    assert 0.2 < alpha.sum() / (np.pi * 14**2) < 1.0
    edge = (alpha > 0) & (alpha < 1)
    assert edge.sum() > 30  # drawn smooth, not in steps


def test_figures_are_different() -> None:
    points = grid(SIDE) - SIDE / 2
    drawn = [coverage(figure(points, 14.0)) for figure in FIGURES.values()]
    for at, one in enumerate(drawn):
        for other in drawn[:at]:
            assert np.abs(one - other).sum() > 60  # pixels


# --- the sets ----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", PICTURES)
def test_a_set_is_what_it_says(name: str) -> None:
    kind, pictures = PICTURES[name], make_pictures(name, N)  # type: ignore[index]
    assert len(kind.about) > 40
    assert pictures.images.shape == (N, *kind.shape)
    assert pictures.images.dtype == np.float32
    assert pictures.images.min() >= 0
    assert pictures.images.max() <= 1
    for mask in (pictures.masks, pictures.distractors, pictures.marks):
        assert mask.shape == (N, *kind.shape[1:])
        assert mask.dtype == bool
    assert set(pictures.labels) <= set(range(len(pictures.classes)))
    assert not (pictures.masks & pictures.distractors).any()
    assert not (pictures.masks & pictures.marks).any()
    assert pictures.marks.any((1, 2)).all() == (pictures.told >= 0).all()


def test_the_same_seed_gives_the_same_and_few_are_the_first_of_many() -> None:
    many, few = make_pictures("shapes", 20, seed=4), make_pictures("shapes", 5, seed=4)
    assert np.array_equal(many.images[:5], few.images)
    for other in (make_pictures("shapes", 5, seed=5), make_pictures("shapes", 5, seed=4, part="train")):
        assert not np.array_equal(few.images, other.images)
    assert np.array_equal(make_pictures("digits", 9).images, make_pictures("digits", 9).images)


def test_the_mask_is_where_the_figure_is() -> None:
    """Redrawn from the truth alone: outside mask, distractors and their edges lies only background."""
    pictures = make_pictures("shapes", 4 * len(CLASSES))
    assert np.array_equal(np.bincount(pictures.labels), [4] * len(CLASSES))
    share = pictures.masks.mean((1, 2))
    assert (share > 0.015).all()
    assert (share < 0.2).all()
    for image, mask in zip(pictures.images, pictures.masks, strict=True):
        inner = mask & np.roll(mask, 1, 0) & np.roll(mask, -1, 0) & np.roll(mask, 1, 1) & np.roll(mask, -1, 1)
        color = image[:, inner]  # one colour, with the noise of 0.02
        assert color.std(1).max() < 0.035
        ring = np.zeros_like(mask)
        for axis in (0, 1):
            for step in (3, -3):
                ring |= np.roll(mask, step, axis)
        beside = image[:, ring & ~mask]
        assert np.linalg.norm(np.median(beside, 1) - color.mean(1)) > 0.2


def test_the_three_shortcuts_differ_in_the_mark_alone() -> None:
    right, without, lying = (
        make_pictures(name, N) for name in ("shortcut", "shortcut-unmarked", "shortcut-lying")
    )
    assert np.array_equal(right.told, right.labels)
    assert (without.told == -1).all()
    assert (lying.told != lying.labels).all()
    assert len(set(lying.told)) == len(CLASSES)
    assert np.array_equal(right.marks, lying.marks)
    assert np.array_equal(without.images, make_pictures("shapes", N).images)
    assert np.array_equal(right.masks, without.masks)
    area = right.marks.sum((1, 2))
    assert ((area > 40) & (area < 60)).all()  # of 4096 pixels
    for marked in (right, lying):
        for at in range(N):
            changed = np.abs(marked.images[at] - without.images[at]).max(0) > 0.05
            near = np.zeros_like(changed)
            for axis in (0, 1):
                for step in (1, -1, 0):
                    near |= np.roll(marked.marks[at], step, axis)
            assert not (changed & ~near).any()
            middle = np.argwhere(marked.marks[at]).mean(0).round().astype(int)
            assert np.abs(marked.images[at][:, *middle] - MARK_COLORS[marked.told[at]]).max() < 1e-6


def test_digits_are_scikit_learn_s_and_the_parts_share_none() -> None:
    train, test = make_pictures("digits", 1438, part="train"), make_pictures("digits", 359)
    seen = {image.tobytes() for image in train.images}
    assert sum(image.tobytes() in seen for image in test.images) == 0
    assert len(np.unique(test.labels)) == 10
    with pytest.raises(BadInput, match="359 pictures to test"):
        make_pictures("digits", 360)


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(UnknownName, match="'shapes'"):
        make_pictures("shape")
    for bad, says in (
        ({"n": 0}, "1 to"),
        ({"n": 10**6}, "1 to"),
        ({"seed": -1}, "seed"),
        ({"part": "x"}, "part"),
    ):
        with pytest.raises(BadInput, match=says):
            make_pictures("shapes", **bad)  # type: ignore[arg-type]
