"""Edits: each against the arithmetic written out, their addresses, their errors, their travels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import KINDS, Watch, tiny

from llm_workings.core.errors import BadInput, BadShape, EditNeverFired, LabError, UnknownName
from llm_workings.core.wire import Payload, pack, unpack
from llm_workings.models.sites import Site, sites_of
from llm_workings.trace.edits import (
    Add,
    Edit,
    FunctionEdit,
    Mean,
    Noise,
    ProjectOut,
    Replace,
    Rotate,
    Scale,
    Where,
    Zero,
    ablate_head,
    edits_from_json,
    edits_to_json,
)

TEXT = "t h e c a t s a t"  # 9 tokens
V = np.linspace(-1, 2, 16)
W = np.cos(np.arange(16))


def by_hand(model: object, text: str, place: str, change: object) -> torch.Tensor:
    """The logits of a plain forward in which `change` stands at the site."""
    tap = Watch(set(), (Site.parse(place), change))
    with torch.no_grad():
        return model.transformer(torch.tensor([model.tokens(text)]), tap=tap)


def along(x: torch.Tensor, direction: np.ndarray) -> torch.Tensor:
    unit = torch.tensor(direction / np.linalg.norm(direction))
    return (x @ unit)[..., None] * unit


def turned(x: torch.Tensor) -> torch.Tensor:
    u = torch.tensor(V / np.linalg.norm(V))
    w = torch.tensor(W) - (torch.tensor(W) @ u) * u
    w = w / w.norm()
    a, b = (x @ u)[..., None], (x @ w)[..., None]
    c, s = math.cos(math.radians(30)), math.sin(math.radians(30))
    return x - a * u - b * w + (c * a - s * b) * u + (s * a + c * b) * w


def noisy(x: torch.Tensor) -> torch.Tensor:
    draws = [np.random.default_rng([5, position]).standard_normal(16) for position in range(9)]
    return x + 0.3 * torch.tensor(np.stack(draws))


HOWS = [
    (Zero(), lambda x: x * 0),
    (Mean(), lambda x: x.mean(1, keepdim=True).expand_as(x)),
    (Mean(value=V), lambda x: torch.tensor(V).expand_as(x)),
    (Mean(over="batch"), lambda x: x),
    (Replace(V), lambda x: torch.tensor(V).expand_as(x)),
    (Replace(0.5), lambda x: torch.full_like(x, 0.5)),
    (Add(V, scale=-2), lambda x: x - 2 * torch.tensor(V)),
    (Scale(0.3), lambda x: 0.3 * x),
    (ProjectOut(V), lambda x: x - along(x, V)),
    (ProjectOut([V, W]), lambda x: x - along(x - along(x, V), W - V * (V @ W) / (V @ V)) - along(x, V)),
    (Rotate(V, W, 30), turned),
    (Noise(0.3, seed=5), noisy),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("how", "change"), HOWS, ids=lambda x: getattr(x, "kind", ""))
def test_each_way_is_its_arithmetic(kind: str, how: object, change: object) -> None:
    model = tiny(kind)
    place = "attn_out.1"
    if kind == "encoder":
        keep = "ln2.2"
        ours = model.run(TEXT, keep=keep, edits=Edit(place, how=how))[keep]
    else:
        ours = model.run(TEXT, edits=Edit(place, how=how)).logits
    torch.testing.assert_close(ours, by_hand(model, TEXT, place, change), rtol=1e-10, atol=1e-10)


def only(index: tuple, value: float) -> object:
    def change(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[index] = value
        return x

    return change


ALL = slice(None)
PLACES = [
    ("z.1", Where(heads=2), (ALL, ALL, 2)),
    ("z.1", Where(heads=(0, -1), units=3), (ALL, ALL, [0, 3], 3)),
    ("q.2", Where(positions=-1), (ALL, -1)),
    ("k.0", Where(heads=1), (ALL, ALL, 1)),
    ("rot_k.0", Where(heads=0, positions=(2, 4)), (ALL, [2, 4], 0)),
    ("v.1", Where(units=range(3)), (..., ALL, slice(0, 3))),
    ("pattern.1", Where(heads=3, positions=8, keys=(0, -2)), (ALL, 3, 8, [0, 7])),
    ("pattern.2", Where(keys=0), (..., 0)),
    ("result.0", Where(heads=1, positions=5), (ALL, 5, 1)),
    ("mlp_post.1", Where(units=(7, 19)), (..., [7, 19])),
    ("mlp_pre_linear.1", Where(units=4), (..., 4)),
    ("resid_pre.0", Where(positions="3-5,0", units="-1"), (ALL, [3, 4, 5, 0], -1)),
    ("ln1_scale.1", Where(positions=4), (ALL, 4)),
    ("ln_final", Where(positions=8), (ALL, 8)),
    ("embed", Where(positions=0), (ALL, 0)),
    ("logits", Where(units=5, positions=-1), (ALL, -1, 5)),
]


@pytest.mark.parametrize(("place", "where", "index"), PLACES, ids=str)
def test_where_picks_what_it_says(place: str, where: Where, index: tuple) -> None:
    model = tiny("llama")
    run = model.run(TEXT, keep=place, edits=Edit(place, where, Replace(0.25)))
    expected = by_hand(model, TEXT, place, only(index, 0.25))
    torch.testing.assert_close(run.logits, expected, rtol=1e-10, atol=1e-10)
    assert not torch.allclose(run.logits, model.run(TEXT).logits)
    assert (run[place][index] == 0.25).all()


def test_scores_stay_masked_and_are_otherwise_edited() -> None:
    model = tiny()
    run = model.run(TEXT, keep=["scores.1", "pattern.1"], edits=Edit("scores.1", Where(heads=0), Zero()))
    uniform = torch.ones(9, 9).tril().double()
    torch.testing.assert_close(run["pattern", 1][0, 0], uniform / uniform.sum(1, keepdim=True))
    negative = model.run(TEXT, keep=["scores.1"], edits=Edit("scores.1", how=Scale(-1)))["scores", 1]
    plain = model.run(TEXT, keep=["scores.1"])["scores", 1]
    torch.testing.assert_close(negative.tril(), -plain.tril())
    assert torch.isneginf(negative).sum() == torch.isneginf(plain).sum() == 4 * 36
    cut = Edit("scores.1", Where(heads=1, positions=5, keys=2), Replace(-math.inf))
    pattern = model.run(TEXT, keep="pattern.1", edits=cut)["pattern", 1]
    assert pattern[0, 1, 5, 2] == 0
    torch.testing.assert_close(pattern.sum(-1), torch.ones(1, 4, 9).double())


def test_negative_positions_and_means_are_each_rows_own() -> None:
    model = tiny()
    texts = ["t h e c a t", "d o g", "a"]
    edits = [
        Edit("resid_pre.1", Where(positions=-1), Add(V)),
        Edit("z.2", Where(heads=1), Mean()),
        Edit("pattern.2", Where(keys=-1, heads=2), Scale(0.5)),
        Edit("mlp_out.0", how=Noise(0.2, seed=1)),
    ]
    batch = model.run(texts, edits=edits)
    for number, text in enumerate(texts):
        torch.testing.assert_close(batch.row(number).logits, model.run(text, edits=edits).logits)
    batch_mean = model.run(texts, keep="z.1", edits=Edit("z.1", Where(heads=0), Mean(over="batch")))
    plain = model.run(texts, keep="z.1")["z", 1]
    changed = batch_mean["z", 1]
    torch.testing.assert_close(changed[0, 0, 0], plain[:, 0, 0].mean(0))
    torch.testing.assert_close(changed[1, 2, 0], plain[:2, 2, 0].mean(0))
    torch.testing.assert_close(changed[0, 5, 0], plain[0, 5, 0])
    one = model.run(texts, keep="z.1", edits=Edit("z.1", Where(heads=0, batch=1), Zero()))["z", 1]
    assert not one[1, :, 0].any()
    assert torch.equal(one[[0, 2]], plain[[0, 2]])
    both = model.run(texts, keep="z.1", edits=Edit("z.1", Where(heads=0), Mean(over="both")))["z", 1]
    torch.testing.assert_close(
        both[1, 1, 0], torch.cat((plain[0, :6, 0], plain[1, :3, 0], plain[2, :1, 0])).mean(0)
    )


def test_edits_at_one_site_are_made_in_their_order() -> None:
    model = tiny()
    add, double = Edit("mlp_out.1", how=Add(V)), Edit("mlp_out.1", how=Scale(2))
    for edits, change in (
        ([add, double], lambda x: 2 * (x + torch.tensor(V))),
        ([double, add], lambda x: 2 * x + torch.tensor(V)),
    ):
        ours = model.run(TEXT, edits=edits).logits
        torch.testing.assert_close(ours, by_hand(model, TEXT, "mlp_out.1", change))


def test_silencing_a_head_removes_exactly_its_write() -> None:
    model = tiny()
    base = model.run(TEXT, keep=["result.1", "attn_out.1"])
    for how, remains in (("zero", 0), ("mean", base["result", 1][:, :, 2].mean(1, keepdim=True))):
        run = model.run(TEXT, keep="attn_out.1", edits=ablate_head(1, 2, how))
        expected = base["attn_out", 1] - base["result", 1][:, :, 2] + remains
        torch.testing.assert_close(run["attn_out", 1], expected)
    reference = np.arange(6.0)
    run = model.run(TEXT, keep="z.1", edits=ablate_head(1, 2, "mean", reference=reference))
    assert torch.equal(run["z", 1][0, 4, 2], torch.tensor(reference))


def test_an_axis_picked_by_one_index_may_be_left_out_of_the_value() -> None:
    model = tiny()
    value = torch.randn(9, 6, dtype=torch.float64)
    short = model.run(TEXT, keep="z.1", edits=Edit("z.1", Where(heads=2), Replace(value)))
    long = model.run(TEXT, keep="z.1", edits=Edit("z.1", Where(heads=2), Replace(value[None, :, None])))
    assert torch.equal(short["z", 1][0, :, 2], value)
    assert torch.equal(short["z", 1], long["z", 1])


def test_a_function_is_an_edit_too() -> None:
    model = tiny()
    run = model.run(TEXT, edits=FunctionEdit("blocks.1.hook_attn_out", torch.tanh))
    torch.testing.assert_close(run.logits, by_hand(model, TEXT, "attn_out.1", torch.tanh))
    with pytest.raises(BadShape, match=r"attn_out.1 was given \[1, 9, 16\] and returned \[1, 9\]"):
        model.run(TEXT, edits=FunctionEdit("attn_out.1", lambda x: x.sum(-1)))
    with pytest.raises(BadInput, match="NoneType"):
        model.run(TEXT, edits=FunctionEdit("attn_out.1", lambda x: None))


NEVER = [
    (Edit("z.9"), {}, "layers 0 to 2"),
    (Edit("rot_q.1"), {"kind": "gpt2"}, "rot_q"),
    (Edit("logits"), {"kind": "encoder"}, "logits"),
    (Edit("z.2"), {"keep": "z.1", "logits": False}, "layers 0 to 1"),
    (Edit("logits"), {"keep": "z.1", "logits": False}, "no head"),
    (Edit("z.1"), {"stop": 1}, "layers 0 to 0"),
    (Edit("logits", Where(positions=2)), {"logits": "last"}, "position 2"),
    (FunctionEdit("z.9", lambda x: x), {}, "layers 0 to 2"),
]


@pytest.mark.parametrize(("edit", "options", "says"), NEVER, ids=str)
def test_an_edit_that_never_fires_is_an_error(edit: object, options: dict, says: str) -> None:
    options = dict(options)
    model = tiny(options.pop("kind", "llama"))
    with pytest.raises(EditNeverFired, match=says):
        model.run(TEXT, edits=edit, **options)


WRONG = [
    (Edit("z.1", Where(heads=4)), "head 4: z.1 has heads 0 to 3"),
    (Edit("z.1", Where(heads=-5)), "head -5"),
    (Edit("v.1", Where(heads=2)), "key-value head 2: v.1 has key-value heads 0 to 1"),
    (Edit("mlp_post.1", Where(units=20)), "unit 20"),
    (Edit("resid_pre.1", Where(positions=9)), "position 9: row 0 has positions 0 to 8"),
    (Edit("resid_pre.1", Where(positions=(1, 1))), "twice"),
    (Edit("resid_pre.1", Where(positions=(-1, 8))), "twice"),
    (Edit("pattern.1", Where(keys=9)), "key 9"),
    (Edit("resid_pre.1", Where(batch=1)), "row 1"),
    (
        Edit("resid_pre.1", Where(heads=0)),
        "picks heads, but resid_pre.1 has the axes batch, position, d_model",
    ),
    (Edit("pattern.1", Where(units=0)), "picks units"),
    (Edit("z.1", Where(keys=0)), "picks keys"),
    (Edit("z.1", Where(units=1), ProjectOut([1.0] * 6)), "whole last axis"),
    (Edit("pattern.1", how=ProjectOut([1.0] * 9)), "whole last axis"),
    (Edit("z.1", how=ProjectOut([0.0] * 6)), "length zero"),
    (Edit("resid_pre.1", how=Rotate(V, 2 * V, 10)), "depend on each other"),
]


@pytest.mark.parametrize(("edit", "says"), WRONG, ids=lambda x: str(x)[:50])
def test_an_index_or_axis_that_is_not_there_is_named(edit: Edit, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        tiny("llama").run(TEXT, edits=edit)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (Edit("resid_pre.1", how=Replace([1.0, 2.0])), r"\[2\] to a part of shape \[1, 9, 16\]"),
        (Edit("z.1", Where(heads=1), Add(np.zeros((9, 5)))), r"\[9, 5\].*\[1, 9, 1, 6\]"),
        (Edit("z.1", how=Replace(np.zeros((2, 9, 4, 6)))), r"\[2, 9, 4, 6\].*\[1, 9, 4, 6\]"),
        (Edit("resid_pre.1", how=ProjectOut([1.0, 0.0])), r"\[2\].*16 units"),
        (Edit("resid_pre.1", how=Rotate(V, [V], 3)), r"\[1, 16\]"),
    ],
)
def test_a_value_that_does_not_fit_says_both_shapes(edit: Edit, says: str) -> None:
    with pytest.raises(BadShape, match=says):
        tiny().run(TEXT, edits=edit)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Edit("zz.3"), UnknownName, "zz.3"),
        (lambda: Edit("z"), BadInput, "needs a layer"),
        (lambda: Edit("z.1", how="zeros"), BadInput, "zeros"),
        (lambda: Edit("z.1", how={"kind": "scale"}), BadInput, "factor"),
        (lambda: Where(heads="x"), BadInput, "heads.*'x'"),
        (lambda: Where(heads=True), BadInput, "True"),
        (lambda: Where(positions=slice(3)), BadInput, "range"),
        (lambda: Replace("much"), BadInput, "value"),
        (lambda: Replace([1, float("nan")]), BadInput, "NaN"),
        (lambda: Add([[1, 2], [3]]), BadInput, "value"),
        (lambda: Noise(-1), BadInput, "std"),
        (lambda: Scale("x"), BadInput, "factor"),
        (lambda: ablate_head(1, 1, "half"), UnknownName, "half"),
        (lambda: tiny().run(TEXT, edits="zero z.1"), BadInput, "not an edit"),
        (lambda: tiny().run(TEXT, edits=[3]), BadInput, "3 is not an edit"),
        (lambda: Edit.parse("zero"), BadInput, "not an edit"),
        (lambda: Edit.parse("zap z.1"), UnknownName, "zap"),
        (lambda: Edit.parse("zero z.1 head=2"), UnknownName, "heads"),
        (lambda: Edit.parse("zero z.1 heads=2 heads=3"), BadInput, "once"),
        (lambda: Edit.parse("scale z.1"), BadInput, "factor"),
        (lambda: Edit.parse("scale:1:2 z.1"), BadInput, "more numbers"),
        (lambda: Edit.parse("scale:x z.1"), BadInput, "factor"),
        (lambda: edits_from_json('[{"site": "z.1", "how": 3}]'), BadInput, "how"),
        (lambda: edits_from_json("{}"), BadInput, "list of objects"),
        (lambda: edits_from_json('[{"site": "z.1", "place": 1}]'), BadInput, "place"),
    ],
)
def test_an_edit_that_cannot_be_read_is_restated(make: object, error: type[LabError], says: str) -> None:
    with pytest.raises(error, match=says):
        make()


class Carrier(Payload):
    edits: list[Edit]


FLOATS = st.floats(-1e6, 1e6) | st.just(math.inf) | st.just(-math.inf)
ARRAYS = FLOATS | st.lists(FLOATS, min_size=1, max_size=3) | st.just([[1.0, 2.0], [3.0, 4.0]])
INDICES = st.none() | st.lists(st.integers(-9, 9), min_size=1, max_size=4).map(tuple)
EDITS = st.builds(
    Edit,
    st.sampled_from(sites_of(tiny().spec)),
    st.builds(Where, batch=INDICES, positions=INDICES, keys=INDICES, heads=INDICES, units=INDICES),
    st.one_of(
        st.builds(Zero),
        st.builds(Mean, value=st.none() | ARRAYS, over=st.sampled_from(["positions", "batch", "both"])),
        st.builds(Replace, ARRAYS),
        st.builds(Add, ARRAYS, st.floats(-5, 5)),
        st.builds(Scale, st.floats(-5, 5)),
        st.builds(ProjectOut, ARRAYS),
        st.builds(Rotate, ARRAYS, ARRAYS, st.floats(-180, 180)),
        st.builds(Noise, st.floats(0, 5), st.integers(0, 2**31 - 1)),
    ),
)


@given(EDITS)
@settings(max_examples=150, deadline=None)
def test_edits_come_back_from_json_and_from_the_wire(edit: Edit) -> None:
    assert edits_from_json(edits_to_json([edit])) == [edit]
    assert Edit.model_validate_json(edit.model_dump_json()) == edit
    assert unpack(pack(Carrier(edits=[edit])), Carrier).edits == [edit]
    assert hash(Edit(edit.site, edit.where, edit.how)) == hash(edit)
    array = getattr(edit.how, "value", None)
    spelled = not isinstance(edit.how, ProjectOut | Rotate) and (
        isinstance(edit.how, Zero | Scale | Noise)
        or (isinstance(edit.how, Mean) and array is None)
        or (isinstance(edit.how, Replace | Add) and array.ndim == 0)
    )
    if spelled:
        assert Edit.parse(str(edit)) == edit


def test_edits_are_read_from_a_line() -> None:
    assert Edit.parse("zero z.3 heads=5") == Edit("z.3", Where(heads=5), Zero())
    assert Edit.parse("mean:batch blocks.3.attn.hook_z heads=1-3,0 positions=-1") == Edit(
        "z.3", Where(heads=(1, 2, 3, 0), positions=-1), Mean(over="batch")
    )
    assert Edit.parse("noise:0.1:7 embed").how == Noise(0.1, 7)
    assert str(Edit("z.3", Where(heads=5), Replace(np.zeros((2, 3))))) == "replace:[2,3] z.3 heads=5"


def test_edits_are_frozen_and_tell_themselves_apart() -> None:
    edit = Edit("z.3", Where(heads=5), Replace([1.0, 2.0]))
    assert edit != Edit("z.3", Where(heads=5), Replace([1.0, 2.5]))
    assert edit == Edit(Site("z", 3), Where(heads="5"), Replace(torch.tensor([1.0, 2.0])))
    with pytest.raises(ValueError, match="frozen"):
        edit.site = "z.4"
    with pytest.raises(ValueError, match="read-only"):
        edit.how.value[0] = 5
