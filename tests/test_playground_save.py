"""Runs out and in: saved, loaded and continued is as if never interrupted; bad files are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_workings.core.dataset import Dataset
from llm_workings.core.errors import BadFile, BadInput
from llm_workings.core.wire import pack, unpack
from llm_workings.playground.config import Config
from llm_workings.playground.kernel import initial, split
from llm_workings.playground.run import Run
from llm_workings.playground.save import (
    SavedBranch,
    SavedData,
    SavedRun,
    load_run,
    pack_run,
    save_run,
    unpack_run,
)

SPEC = {"name": "spiral", "n": 40, "features": ["x", "x²"], "painted": [[0.5, -1.0, 1]]}


def clouds(n: int = 40, held_back: int = 10) -> Dataset:
    draw = np.random.default_rng(3)
    labels = np.arange(n) % 2
    points = draw.normal(size=(n, 2)) + labels[:, None]
    order = draw.permutation(n)
    return Dataset(
        name="clouds",
        points=points,
        inputs=points.copy(),
        targets=labels,
        task="classes",
        classes=("left", "right"),
        train=order[held_back:],
        test=order[:held_back],
        coordinates=("x", "y"),
        features=("x", "y"),
        domain=(-3.0, 4.0),
    )


def wave() -> Dataset:
    x = np.linspace(-1, 1, 12)[:, None]
    return Dataset(
        name="wave",
        points=x,
        inputs=x.copy(),
        targets=np.sin(3 * x),
        task="regression",
        classes=(),
        train=np.arange(12),
        test=np.arange(0),
        coordinates=("x",),
        features=("x",),
        domain=(-1.0, 1.0),
    )


def tree(optimizer: str = "adam", data: Dataset | None = None) -> Run:
    """A run of four branches: a setting, a weight set by hand, another optimizer."""
    config = Config.of(layers=(2, 3, 1), optimizer=optimizer, learning_rate=0.05, batch_size=7, l2=0.001)
    run = Run(config, data or clouds())
    run.step(700)  # so that states and curves are thinned
    run.goto(350)
    run.change(learning_rate=0.01)
    run.step(33)
    run.goto(360, 1)
    run.edit("w1.0.2", 0.5)
    run.step(20)
    run.goto(100, 0)
    run.change(optimizer="momentum" if optimizer != "momentum" else "sgd")
    run.step(50)
    run.goto(371, 2)
    return run


def assert_same_run(one: Run, other: Run) -> None:
    assert one.here == other.here
    assert one.branches.keys() == other.branches.keys()
    for name, branch in one.branches.items():
        again = other.branches[name]
        for field in ("parent", "start", "config", "label", "tip", "diverged", "steps"):
            assert getattr(branch, field) == getattr(again, field)
        assert (branch.state_stride, branch.curve_stride) == (again.state_stride, again.curve_stride)
        assert branch.curve.keys() == again.curve.keys()
        np.testing.assert_array_equal(list(branch.curve.values()), list(again.curve.values()))
        for step in {branch.start, branch.tip, (branch.start + branch.tip) // 2}:
            assert_same_state(one.state_at(step, name), other.state_at(step, name))
    assert_same_state(one.state, other.state)


def assert_same_state(one: Any, other: Any) -> None:
    assert (one.step, one.age) == (other.step, other.age)
    np.testing.assert_array_equal(one.parameters, other.parameters)
    assert one.slots.keys() == other.slots.keys()
    for name in one.slots:
        np.testing.assert_array_equal(one.slots[name], other.slots[name])


# --- a run, there and back -----------------------------------------------------------------------
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"])
def test_saved_loaded_and_continued_is_as_if_it_was_never_interrupted(optimizer: str) -> None:
    run = tree(optimizer)
    loaded, spec = unpack_run(pack_run(run, SPEC))
    assert spec == SPEC
    assert_same_run(run, loaded)
    for each in (run, loaded):  # on, and another fork, as if nothing had been
        each.step(500)
        each.goto(120, 3)
        each.change(l1=0.01)
        each.step(100)
    assert_same_run(run, loaded)


def test_its_data_comes_back_to_the_last_bit() -> None:
    for data in (clouds(), wave()):
        run = Run(Config.of(layers=(data.inputs.shape[1], 1), loss="mse", activations="linear"), data)
        run.step(5)
        loaded, spec = unpack_run(pack_run(run))
        assert spec == {}
        for name in Dataset.__dataclass_fields__:
            one, other = getattr(data, name), getattr(loaded.data, name)
            assert type(one) is type(other)
            np.testing.assert_array_equal(one, other)
        assert loaded.data.targets.dtype == data.targets.dtype
        assert_same_run(run, loaded)


def test_a_run_that_diverged_or_was_given_its_first_weights_comes_back() -> None:
    config = Config.of(layers=(2, 3, 1), activations="relu", loss="mse", learning_rate=1e6)
    run = Run(config, clouds(), split(config, initial(config.changed(seed=9)).parameters))
    assert run.step(100) < 100
    loaded, _ = unpack_run(pack_run(run))
    assert loaded.branches[0].diverged
    assert_same_run(run, loaded)
    assert loaded.step(1) == 0


def test_an_edit_before_the_first_step_comes_back() -> None:
    run = Run(Config.of(layers=(2, 2, 1)), clouds())
    run.edit("b1.1", -2.5)
    loaded, _ = unpack_run(pack_run(run))
    assert loaded.parameters.biases[0][1] == -2.5
    assert_same_run(run, loaded)


def test_equal_runs_are_equal_bytes() -> None:
    assert pack_run(tree(), SPEC) == pack_run(tree(), SPEC)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.safetensors"
    assert save_run(tree(), path, SPEC) == path
    kept = path.read_bytes()
    assert_same_run(load_run(path)[0], tree())

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("llm_workings.core.files.os.replace", full)
    with pytest.raises(OSError, match="No space"):
        save_run(tree(), path)
    assert path.read_bytes() == kept
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_or_is_the_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no folder"):
        save_run(tree(), tmp_path / "none" / "run.safetensors")
    with pytest.raises(BadInput, match="is a folder"):
        save_run(tree(), tmp_path)
    with pytest.raises(BadFile, match="There is no file"):
        load_run(tmp_path / "none.safetensors")


# --- files that are none -------------------------------------------------------------------------
@pytest.fixture(scope="module")
def whole() -> bytes:
    return pack_run(tree(), SPEC)


def test_a_file_cut_anywhere_is_refused(whole: bytes) -> None:
    for length in (*range(0, 40), *range(40, len(whole), len(whole) // 60), len(whole) - 1):
        with pytest.raises(BadFile) as error:
            unpack_run(whole[:length])
        if length > 8:
            assert f"it has {length:,} of " in str(error.value)
            assert "cut short" in str(error.value)
    unpack_run(whole)


def test_a_newer_format_says_so_whatever_else_is_in_it(whole: bytes) -> None:
    saved = unpack(whole, SavedRun)
    newer = pack(saved.model_copy(update={"format": 2}))
    with pytest.raises(BadFile, match="saved in format 2; this version of llm-workings reads up to 1"):
        unpack_run(newer)
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    body = {"format": 7, "galaxies": [1, 2]}
    header["__metadata__"]["json"] = json.dumps(body)
    text = json.dumps(header).encode()
    with pytest.raises(BadFile, match=r"saved in format 7.*update llm-workings"):
        unpack_run(len(text).to_bytes(8, "little") + text + whole[8 + size :])


def test_other_kinds_of_file_are_named(whole: bytes) -> None:
    from safetensors.numpy import save

    data = unpack(whole, SavedRun).data
    for bytes_, said in (
        (b"", "0 bytes begin unlike one"),
        (b"x,y,class\n1,2,a\n" * 20, "begin unlike one"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "begin unlike one"),
        (json.dumps({"layers": [2, 1]}).encode(), "begin unlike one"),
        (save({"w": np.zeros(3)}), "a safetensors file of something else"),
        (pack(data), "but a SavedData message"),
    ):
        with pytest.raises(BadFile) as error:
            unpack_run(bytes_)
        assert said in str(error.value)


def test_no_flipped_byte_gets_through_as_something_else_than_a_run_or_a_bad_file(whole: bytes) -> None:
    draw = np.random.default_rng(0)
    refused = 0
    head = 8 + int.from_bytes(whole[:8], "little")
    for at in [*draw.integers(0, head, 150), *draw.integers(head, len(whole), 30)]:
        changed = bytearray(whole)
        changed[at] ^= int(draw.integers(1, 256))
        try:
            unpack_run(bytes(changed))
        except BadFile:
            refused += 1
    assert refused > 100


def _without_last(array: np.ndarray) -> np.ndarray:
    return array[:-1]


BRANCH_CHANGES: list[tuple[int, str, Any, str]] = [
    (0, "id", 5, "its first branch is none"),
    (1, "parent", None, "left branch None, which is not there"),
    (1, "parent", 2, "left branch 2, which is not there"),
    (2, "id", 1, "branch 1 comes after branch 1"),
    (1, "start", 5000, "left its parent where that is not"),
    (1, "tip", 340, "goes from 350 to 340"),
    (0, "tip", 10**9, "goes from 0 to 1000000000"),
    (0, "tip", 100_000, "does not have the states of every 4th step"),
    (0, "state_stride", 0, "keeps every 0th state"),
    (0, "state_stride", 10**8, "does not have the states of every 100000000th step"),
    (0, "steps", lambda a: a[::-1], "does not have the states"),
    (0, "steps", lambda a: np.delete(a, 5), "does not have the states"),
    (0, "steps", lambda a: a[:0], "does not have the states"),
    (0, "parameters", _without_last, "has parameters of the shape"),
    (0, "parameters", lambda a: a[:, :-1], "has parameters of the shape"),
    (0, "parameters", lambda a: a * np.nan, "has parameters that are not finite"),
    (0, "slots", lambda s: {"m": s["m"]}, "has the memory ['m'], which is not that of adam"),
    (0, "slots", lambda s: {"m": s["m"], "v": s["v"][:-1]}, "has v of the shape"),
    (0, "slots", lambda s: {"m": s["m"], "v": s["v"] - 1}, "has negative squares"),
    (0, "ages", lambda a: a + 1, "has an optimizer older than the run"),
    (0, "ages", _without_last, "has an optimizer older than the run"),
    (0, "curve", _without_last, "has curves of another length"),
    (0, "curve_steps", lambda a: a[::-1], "has a curve that is not along it"),
    (0, "curve_steps", lambda a: a + 1, "has a curve that is not along it"),
    (1, "config", lambda c: c.changed(seed=4), "is of another network"),
    (0, "config", lambda c: c.changed(layers=(3, 3, 1)), "parameters of the shape"),
]


@pytest.mark.parametrize(("index", "field", "change", "said"), BRANCH_CHANGES)
def test_branches_that_contradict_themselves_are_refused(
    whole: bytes, index: int, field: str, change: Any, said: str
) -> None:
    saved = unpack(whole, SavedRun)
    branches = list(saved.branches)
    old = getattr(branches[index], field)
    fields = {name: getattr(branches[index], name) for name in SavedBranch.model_fields}
    branches[index] = SavedBranch(**{**fields, field: change(old) if callable(change) else change})
    data = pack(saved.model_copy(update={"branches": branches}))
    with pytest.raises(BadFile) as error:
        unpack_run(data)
    assert said in str(error.value)


def test_few_states_far_apart_are_refused_since_the_way_between_them_would_take_forever() -> None:
    run = Run(Config.of(), clouds())
    run.step(4)
    saved = unpack(pack_run(run), SavedRun)
    only = saved.branches[0]
    fields = {name: getattr(only, name) for name in SavedBranch.model_fields} | {
        "tip": 10**8,
        "state_stride": 10**8,
    }
    with pytest.raises(BadFile, match="does not have the states"):
        unpack_run(pack(saved.model_copy(update={"branches": [SavedBranch(**fields)]})))


@pytest.mark.parametrize(
    ("field", "change", "said"),
    [
        ("inputs", _without_last, "40 points, 39 inputs, 40 targets"),
        ("labels", _without_last, "40 points, 40 inputs, 39 targets"),
        ("labels", lambda a: a + 1, "a sample's class is none of its classes"),
        ("classes", lambda _: ["alone"], "fewer than two classes"),
        ("train", lambda a: a[1:], "are not every sample once"),
        ("test", lambda a: np.concatenate([a, a[:1]]), "are not every sample once"),
        ("points", lambda a: a * np.inf, "its points are not all finite"),
        ("features", lambda _: ["x"], "its inputs are others than the features named"),
        ("coordinates", lambda _: ["x", "y", "z"], "its points have other coordinates than named"),
        ("domain", lambda _: [2.0, 1.0], "its domain is [2.0, 1.0]"),
        ("domain", lambda _: [2.0], "its domain is [2.0]"),
        ("task", lambda _: "regression", "40 points, 40 inputs, 0 targets"),
        ("classes", lambda c: [*c, "third"], "asks for 3"),
    ],
)
def test_data_that_contradicts_itself_or_the_network_is_refused(
    whole: bytes, field: str, change: Any, said: str
) -> None:
    saved = unpack(whole, SavedRun)
    fields = {name: getattr(saved.data, name) for name in SavedData.model_fields}
    data = SavedData(**{**fields, field: change(fields[field])})
    with pytest.raises(BadFile) as error:
        unpack_run(pack(saved.model_copy(update={"data": data})))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"branch": 9}, "it stands on a branch 9 that it does not have"),
        ({"step": 10**6}, "it stands at step 1000000"),
        ({"step": -1}, "it stands at step -1"),
        ({"branches": []}, "0 branches"),
    ],
)
def test_a_place_that_is_not_there_is_refused(whole: bytes, changed: dict[str, Any], said: str) -> None:
    saved = unpack(whole, SavedRun)
    with pytest.raises(BadFile) as error:
        unpack_run(pack(saved.model_copy(update=changed)))
    assert said in str(error.value)
