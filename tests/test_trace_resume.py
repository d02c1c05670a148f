"""Late resume: what is not computed again must not change the numbers."""

from __future__ import annotations

import pytest
import torch
from tiny_models import CAUSAL, KINDS, tiny

from llm_workings.core.errors import BadInput, EditNeverFired
from llm_workings.models.sites import sites_of
from llm_workings.trace.edits import Add, Edit, FunctionEdit, Mean, Noise, Where, Zero, ablate_head

TEXT = "t h e c a t s a t"


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_equals_the_whole(kind: str) -> None:
    model = tiny(kind)
    whole = model.run(TEXT, keep="*", resumable=True)
    for layer in range(model.spec.n_layers + 1):
        for position in (0, 1, 5, 8) if model.spec.causal else (0,):
            names = [
                place
                for place in sites_of(model.spec)
                if (place.layer is not None and place.layer >= layer) or place.kind == "logits"
            ]
            resumed = model.run(resume=whole.at(layer, position), keep=names)
            assert resumed.first == position
            for place, value in resumed.kept.items():
                axis = {"query": 2}.get(place.axes[2], 1)
                expected = whole[place].narrow(axis, position, 9 - position)
                torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.parametrize(
    "edit",
    [
        Edit("z.1", Where(heads=2, positions=6), Zero()),
        Edit("resid_pre.1", Where(positions=(-1, 5)), Add(list(range(16)))),
        Edit("attn_out.2", Where(positions=range(4, 8)), Noise(0.5, seed=3)),
        Edit("pattern.1", Where(positions=-2, keys=(0, 3)), Zero()),
        Edit("logits", Where(positions=-1, units=3), Add(2)),
    ],
    ids=str,
)
def test_an_edit_in_a_resumed_run_equals_it_in_the_whole(kind: str, edit: Edit) -> None:
    model = tiny(kind)
    base = model.run(TEXT, resumable=True)
    whole = model.run(TEXT, edits=edit)
    resumed = model.run(resume=base.at(1, 4), edits=edit)
    torch.testing.assert_close(resumed.logits, whole.logits[:, 4:], rtol=1e-10, atol=1e-10)
    assert not torch.allclose(whole.logits, base.logits)
    assert resumed.top(3)[0].token == whole.top(3)[0].token


def test_edits_that_share_a_start_are_one_batch() -> None:
    model = tiny()
    base = model.run([TEXT], resumable=True)
    start = base.at(1, 3)
    edits = [Edit("z.1", Where(batch=head, heads=head, positions=range(3, 9)), Zero()) for head in range(4)]
    together = model.run(resume=start.repeat(4), edits=edits, logits="last")
    for head in range(4):
        alone = model.run(
            TEXT, edits=Edit("z.1", Where(heads=head, positions=range(3, 9)), Zero()), logits="last"
        )
        torch.testing.assert_close(together.last_logits[head], alone.last_logits[0])
    again = model.run(resume=start)  # a start is not used up
    torch.testing.assert_close(again.logits, base.logits[:, 3:])


def test_rows_of_unequal_length_resume() -> None:
    model = tiny()
    texts = ["t h e c a t", "d o g"]
    base = model.run(texts, resumable=True)
    edit = Edit("resid_post.1", Where(positions=-1), Zero())
    resumed, whole = model.run(resume=base.at(1, 2), edits=edit), model.run(texts, edits=edit)
    torch.testing.assert_close(resumed.last_logits, whole.last_logits)
    torch.testing.assert_close(resumed.row(1).logits, whole.row(1).logits[:, 2:])
    torch.testing.assert_close(resumed.losses[:, :], whole.losses[:, 2:])


def test_a_resumed_run_is_resumed_again() -> None:
    model = tiny()
    base = model.run(TEXT, resumable=True)
    edit = ablate_head(1, 0)
    first = model.run(resume=base.at(1, 0), edits=edit, resumable=True)
    second = model.run(resume=first.at(2, 4))
    torch.testing.assert_close(second.logits, model.run(TEXT, edits=edit).logits[:, 4:])


def test_a_resumed_run_computes_only_what_it_must() -> None:
    model = tiny()
    base = model.run(TEXT, resumable=True)
    shapes = []
    for layer, block in enumerate(model.transformer.blocks):
        block.register_forward_hook(lambda m, x, y, layer=layer: shapes.append((layer, y.shape[1])))
    model.run(resume=base.at(1, 6))
    assert shapes == [(1, 3), (2, 3)]


def test_gradients_in_a_resumed_run() -> None:
    model = tiny()
    base = model.run(TEXT, resumable=True)
    resumed = model.run(resume=base.at(1, 8), keep="z.1", grad=("logit", "q"))
    whole = model.run(TEXT, keep="z.1", grad=("logit", "q"))
    torch.testing.assert_close(resumed.grad["z", 1], whole.grad["z", 1][:, 8:])


def test_what_cannot_be_resumed_says_why() -> None:
    model, both_ways = tiny(), tiny("bert")
    base = model.run(TEXT, resumable=True)
    with pytest.raises(BadInput, match="resumable=True"):
        model.run(TEXT).at(1)
    with pytest.raises(BadInput, match="resumable=True"):
        model.run(TEXT, keep="resid_pre.1").at(1, 2)
    model.run(TEXT, keep="resid_pre.1").at(1)  # the stream alone is enough from position 0
    with pytest.raises(BadInput, match="layers are 0 to 3"):
        base.at(4)
    with pytest.raises(BadInput, match="0 to 8"):
        base.at(1, 9)
    with pytest.raises(BadInput, match="both ways"):
        both_ways.run(TEXT, resumable=True).at(1, 2)
    with pytest.raises(BadInput, match="text of its start"):
        model.run(TEXT, resume=base.at(1))
    with pytest.raises(BadInput, match=r"cannot keep 'z.0'"):
        model.run(resume=base.at(1), keep="z.0")
    for edit in (ablate_head(0, 1), Edit("embed", how=Zero()), FunctionEdit("z.0", lambda x: x)):
        with pytest.raises(EditNeverFired, match="layers 1 to 2"):
            model.run(resume=base.at(1), edits=edit)
    with pytest.raises(EditNeverFired, match=r"position 2.*positions 4 to 8"):
        model.run(resume=base.at(1, 4), edits=Edit("z.1", Where(positions=2), Zero()))
    with pytest.raises(BadInput, match="position 0"):
        model.run(resume=base.at(1, 4), edits=Edit("z.1", Where(heads=0), Mean()))
