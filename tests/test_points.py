"""Sets of points: their known shapes, what is held back, and that a spec says everything."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_workings.core.dataset import FEATURES, Dataset
from llm_workings.core.errors import BadInput
from llm_workings.data.kinds import NEUTRAL
from llm_workings.data.points import DATA, make, trimmed
from llm_workings.data.shapes import SHAPES
from llm_workings.data.spec import MOST_SAMPLES, DataName, DataSpec, Feature

CSV = "\n".join(["length,width,kind", *(f"{i % 7},{i * i % 11},{'ab'[i % 2]}" for i in range(30))])
PAINTED = [(-1, 2, 0), (3, 4.5, 1), (0, 0, 0), (5, -5, 1)]
GIVEN: dict[str, dict[str, Any]] = {"csv": {"csv": CSV}, "painted": {"painted": PAINTED}}
CLASSES = [name for name in SHAPES if DATA[name].task == "classes"]
VALUES = [name for name in SHAPES if DATA[name].task == "regression"]


def of(name: str, **values: Any) -> Dataset:
    return make(DataSpec.of(name=name, **GIVEN.get(name, {}), **values))


def specs() -> st.SearchStrategy[DataSpec]:
    """Every name, with settings that its set has."""

    def build(name: DataName, features: list[Feature], **values: Any) -> DataSpec:
        given = DataSpec.of(name=name, features=features, **values)
        return trimmed(DataSpec.of({**given.model_dump(), **GIVEN.get(name, {})}))

    return st.builds(
        build,
        name=st.sampled_from(list(DATA)),
        features=st.lists(st.sampled_from(get_args(Feature)), min_size=1, unique=True),
        n=st.integers(9, 120),  # of 8 samples of 8 classes none can be held back, which is refused
        noise=st.floats(0, 1),
        classes=st.integers(2, 8),
        test=st.one_of(st.just(0.0), st.floats(0.01, 0.9)),
        seed=st.integers(0, 2**31 - 1),
    )


# ---- every set -----------------------------------------------------------------------------------


@given(spec=specs())
@settings(max_examples=150, deadline=None)
def test_every_set_is_whole_finite_and_the_same_again(spec: DataSpec) -> None:
    data, again = make(spec), make(DataSpec.model_validate_json(spec.model_dump_json()))
    for field in fields(Dataset):
        assert np.array_equal(getattr(data, field.name), getattr(again, field.name)), field.name
    samples = len(data.points)
    if "n" in DATA[spec.name].uses:
        assert samples == spec.n
    assert data.points.shape == (samples, len(data.coordinates))
    assert data.inputs.shape == (samples, len(data.features))
    assert len(data.targets) == samples
    for array in (data.points, data.inputs, data.targets):
        assert np.isfinite(array).all()
    assert data.points.dtype == data.inputs.dtype == np.float64
    assert np.allclose(data.expand(data.points), data.inputs, rtol=1e-12, atol=1e-12)
    assert data.name == spec.name
    if DATA[spec.name].dimensions is not None:
        assert data.dimensions == DATA[spec.name].dimensions
    if data.task == "classes":
        assert data.targets.dtype == np.int64
        assert set(data.targets.tolist()) == set(range(len(data.classes)))
    else:
        assert data.targets.dtype == np.float64
        assert data.targets.shape == (samples, 1)
        assert data.classes == ()


@given(spec=specs())
@settings(max_examples=150, deadline=None)
def test_training_and_test_samples_are_every_sample_once(spec: DataSpec) -> None:
    data = make(spec)
    assert sorted([*data.train.tolist(), *data.test.tolist()]) == list(range(len(data.points)))
    assert data.train.dtype == data.test.dtype == np.int64
    if spec.test == 0:
        assert len(data.test) == 0
        return
    assert len(data.test) >= 1
    wanted = spec.test * len(data.points)
    if data.task == "regression":
        assert abs(len(data.test) - wanted) <= 1
        return
    counts = np.bincount(data.targets)
    kept = np.bincount(data.targets[data.train], minlength=len(counts))
    assert kept.min() >= 1
    if counts.min() * (1 - spec.test) >= 2:  # then no class is kept from giving its share
        assert abs(len(data.test) - wanted) <= 1
        assert np.abs(counts - kept - spec.test * counts).max() <= 2


def test_the_share_that_is_held_back_is_the_one_asked_for() -> None:
    data = of("gaussians", n=200, test=0.3)
    assert np.bincount(data.targets[data.test]).tolist() == [30, 30]
    assert len(of("digits", test=0.2).test) == round(0.2 * 1797)
    assert len(of("wave", n=10, test=0.01).test) == 1
    assert len(of("wave", n=4, test=0.9).train) == 1


def test_another_seed_gives_other_points_and_another_split() -> None:
    one, two = of("xor", test=0.5), of("xor", test=0.5, seed=1)
    assert not np.array_equal(one.points, two.points)
    digits, others = of("digits", test=0.5), of("digits", test=0.5, seed=1)
    assert np.array_equal(digits.points, others.points)
    assert not np.array_equal(digits.test, others.test)
    assert np.array_equal(one.points, of("xor").points)  # the split draws on its own


def test_noise_on_labels_leaves_the_points_where_they_were() -> None:
    for name in ("xor", "circles", "checkerboard", "plane", "bump", "wave", "curve"):
        still, noisy = of(name), of(name, noise=0.3)
        assert np.array_equal(still.points, noisy.points), name
        assert not np.array_equal(still.targets, noisy.targets), name
    for name in ("spiral", "gaussians", "moons", "blobs"):
        still, noisy = of(name), of(name, noise=0.3)
        assert not np.array_equal(still.points, noisy.points), name
        assert np.array_equal(still.targets, noisy.targets), name


@pytest.mark.parametrize("name", SHAPES)
def test_without_noise_the_shape_lies_in_the_picture(name: str) -> None:
    data = of(name, n=1000)
    assert data.domain == (-6, 6)
    assert np.abs(data.points).max() <= 6


def test_four_points_with_the_most_noise_have_both_classes() -> None:
    for seed in range(50):
        for name in ("xor", "circles", "checkerboard"):
            assert set(of(name, n=4, noise=1, seed=seed).targets.tolist()) == {0, 1}


# ---- known answers -------------------------------------------------------------------------------


def test_xor_points_are_the_truth_table() -> None:
    data = of("xor_points")
    assert data.points.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert data.targets.tolist() == [0, 1, 1, 0]
    assert data.domain == (-0.5, 1.5)
    assert data.classes == ("0", "1")


def test_the_spirals_closed_form() -> None:
    data = of("spiral", n=200)
    for i in (0, 1, 40, 99):
        r, angle = 5 * i / 100, 1.75 * 2 * np.pi * i / 100
        assert data.points[i] == pytest.approx([r * np.sin(angle), r * np.cos(angle)])
        assert data.points[100 + i] == pytest.approx([-r * np.sin(angle), -r * np.cos(angle)], abs=1e-9)
    assert data.targets.tolist() == [1] * 100 + [0] * 100


def test_the_class_of_a_point_is_where_it_lies() -> None:
    xor = of("xor", n=500)
    x, y = xor.points.T
    assert np.array_equal(xor.targets, np.sign(x) != np.sign(y))
    assert np.abs(xor.points).min() >= 0.3
    assert np.abs(xor.points).max() <= 5.3
    circles = of("circles", n=501)
    r = np.hypot(*circles.points.T)
    assert np.array_equal(circles.targets, r < 2.5)
    assert r[circles.targets == 0].min() >= 3.5
    assert r.max() <= 5
    assert np.bincount(circles.targets).tolist() == [250, 251]
    board = of("checkerboard", n=500)
    field = np.floor((board.points + 6) / 3)
    assert np.array_equal(board.targets, field.sum(1) % 2)


def test_the_clouds_of_gaussians_widen_with_noise() -> None:
    for noise, variance in ((0.0, 0.5), (0.5, 4.0)):
        data = of("gaussians", n=5000, noise=noise)
        for label, middle in ((1, 2), (0, -2)):
            cloud = data.points[data.targets == label]
            assert cloud.mean(0) == pytest.approx([middle, middle], abs=0.15)
            assert cloud.var(0) == pytest.approx([variance, variance], rel=0.1)


def test_moons_are_scikit_learns() -> None:
    from sklearn.datasets import make_moons

    data = of("moons", n=400)
    unscaled = data.points / 3 + [0.5, 0.25]
    for label in (0, 1):
        theirs, which = make_moons(4000)
        curve = theirs[which == label]
        mine = unscaled[data.targets == label]
        distance = np.hypot(*(mine[:, None] - curve[None]).transpose(2, 0, 1)).min(1)
        assert distance.max() < 2e-3


def test_blobs_have_the_classes_asked_for() -> None:
    for classes in (2, 5, 8):
        data = of("blobs", classes=classes, n=80 * classes)
        assert np.bincount(data.targets).tolist() == [80] * classes
        middles = np.array([data.points[data.targets == label].mean(0) for label in range(classes)])
        assert np.hypot(*middles.T) == pytest.approx(np.full(classes, 3.5), abs=0.2)
        assert data.n_outputs == (1 if classes == 2 else classes)


def test_values_are_those_of_their_formula() -> None:
    x, y = of("plane").points.T
    assert of("plane").targets[:, 0] == pytest.approx((x + y) / 10)
    assert of("wave").targets[:, 0] == pytest.approx(np.sin(x) * np.cos(y / 2))
    x = of("curve").points[:, 0]
    assert of("curve").targets[:, 0] == pytest.approx(0.6 * np.sin(x) + 0.4 * (np.abs(x) / 3 - 1))
    bump = of("bump", n=MOST_SAMPLES)
    from_first = np.hypot(bump.points[:, 0] + 4, bump.points[:, 1] - 2.5)
    near = from_first < 1
    assert near.sum() > 50
    assert bump.targets[near, 0] == pytest.approx(1 - from_first[near] / 2)
    assert bump.targets.min() < -0.9
    assert (bump.targets == 0).any()


def test_digits_are_scikit_learns() -> None:
    data = of("digits")
    assert data.points.shape == (1797, 64)
    assert (data.points.min(), data.points.max()) == (0, 1)
    assert data.classes == tuple("0123456789")
    assert np.bincount(data.targets).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert data.domain is None
    assert data.features[9] == "pixel 1,1"
    rows = data.points[0].reshape(8, 8) * 16
    assert rows[0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_features_are_computed_of_the_point() -> None:
    data = of("circles", features="sin(y), x^2, x*y")
    x, y = data.points.T
    assert data.features == ("sin y", "x²", "xy")
    assert np.array_equal(data.inputs, np.stack([np.sin(y), x * x, x * y], axis=1))
    assert data.expand(np.array([[2.0, 3.0]]))[0] == pytest.approx([np.sin(3), 4, 6])
    assert set(get_args(Feature)) == FEATURES.keys()


def test_painted_points_stay_as_they_are() -> None:
    data = of("painted")
    assert np.column_stack([data.points, data.targets]).tolist() == [
        list(map(float, point)) for point in PAINTED
    ]
    assert data.domain == (-6, 6)
    gap = make(DataSpec.of(name="painted", painted=[(0, 0, 0), (1, 1, 2)]))
    assert gap.classes == ("0", "1", "2")
    assert gap.targets.tolist() == [0, 2]


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message", "hint"),
    [
        ({"name": "spirals"}, "name = 'spirals'", "'spiral'"),
        ({"name": "9²"}, "name = '9²'", "digits"),
        ({"nois": 0.1}, "no setting 'nois'", "'noise'"),
        ({"noise": 2}, "noise = 2", "blurs"),
        ({"noise": float("nan")}, "noise = nan", "blurs"),
        ({"n": 3}, "n = 3", "Samples"),
        ({"n": MOST_SAMPLES + 1}, "n = 5001", "Samples"),
        ({"test": 0.95}, "test = 0.95", "held back"),
        ({"features": []}, "reads nothing", "network reads"),
        ({"features": ["x", "y", "x"]}, "'x' is there twice", "network reads"),
        ({"features": ["x", "x³"]}, "'x³'", "'x'"),
        ({"seed": -1}, "seed = -1", ""),
        ({"csv": "1" * 2_000_001}, "2000000 characters", "CSV"),
        ({"painted": [(float("inf"), 0, 0)]}, "finite", "by hand"),
        ({"painted": [(1, 2)]}, "painted", "x, y, class"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(values: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(BadInput) as caught:
        DataSpec.of(values)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("values", "message", "hint"),
    [
        ({"name": "xor_points", "test": 0.2}, "xor_points has no test", "xor, circles"),
        ({"name": "xor_points", "noise": 0.2}, "xor_points has no noise", "0.0"),
        ({"name": "digits", "noise": 0.2}, "digits has no noise", "0.0"),
        ({"name": "digits", "features": ["x"]}, "digits has no features", "('x', 'y')"),
        ({"name": "curve", "features": ["x", "x²"]}, "curve has no features", "xor"),
        ({"name": "xor", "csv": CSV}, "xor has no csv", "take csv"),
        ({"name": "xor", "target": "kind"}, "xor has no target", "take csv"),
        ({"name": "csv", "csv": CSV, "painted": PAINTED}, "csv has no painted", "take painted"),
        ({"name": "painted"}, "no points are painted", "two classes"),
        ({"name": "painted", "painted": [(0, 0, 1)]}, "only class 1 has points", "another class"),
        ({"name": "painted", "painted": [(0, 6.1, 1)]}, "(0, 6.1)", "-6 to 6"),
        ({"name": "painted", "painted": [(0, 0, 0), (1, 1, -1)]}, "point 1 is of class -1", "0 to 7"),
        ({"name": "painted", "painted": [(0, 0, 8)]}, "class 8", "0 to 7"),
        ({"name": "painted", "painted": PAINTED[:2], "test": 0.5}, "None of 2 samples", "test to 0"),
        ({"name": "blobs", "classes": 8, "n": 7}, "7 samples are too few for 8", "n = 8"),
    ],
)
def test_a_set_that_cannot_be_made_is_refused(values: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(BadInput) as caught:
        make(DataSpec.of(values))
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert len(str(caught.value)) < 400


def test_trimmed_leaves_what_the_set_has() -> None:
    spec = DataSpec.of(name="xor", noise=0.2, test=0.5, features=["x²", "y²"], n=50, seed=3)
    assert trimmed(spec) == spec
    four = trimmed(spec.model_copy(update={"name": "xor_points"}))
    assert (four.noise, four.test, four.features, four.n, four.seed) == (0, 0, ("x²", "y²"), 50, 3)
    assert make(four).points.shape == (4, 2)


# ---- the listing ---------------------------------------------------------------------------------


def test_every_set_says_what_it_is() -> None:
    assert set(DATA) == set(get_args(DataName))
    assert len({kind.title for kind in DATA.values()}) == len(DATA)
    documented = (Path(__file__).parent.parent / "docs" / "data.md").read_text("utf-8")
    for name, kind in DATA.items():
        assert f"| `{name}` |" in documented
        assert kind.about.endswith("."), name
        assert set(kind.uses) <= DataSpec.model_fields.keys()
    assert NEUTRAL.keys() | {"n", "classes", "seed", "name"} == DataSpec.model_fields.keys()


@pytest.mark.parametrize("name", DATA)
def test_what_a_set_does_not_use_makes_no_difference(name: str) -> None:
    other = {"n": 77, "classes": 5, "seed": 9}
    unused = {field: value for field, value in other.items() if field not in DATA[name].uses}
    data, same = of(name), of(name, **unused)
    assert np.array_equal(data.inputs, same.inputs)
    assert np.array_equal(data.targets, same.targets)
