"""Runs: what is kept, batches, early stop, gradients, answers, errors."""

from __future__ import annotations

import pytest
import torch
from tiny_models import CAUSAL, KINDS, WORDS, Watch, tiny

from llm_workings.core.errors import BadInput, BadShape, Cancelled, NotSupported, TooLarge, UnknownName
from llm_workings.core.progress import Progress
from llm_workings.models.sites import Site, sites_of
from llm_workings.models.transformer import Attention
from llm_workings.trace.edits import Add, Edit, FunctionEdit, Scale
from llm_workings.trace.tap import NotFinite

TEXT = "t h e c a t s a t"


@pytest.mark.parametrize("kind", KINDS)
def test_every_site_is_kept_as_the_forward_forms_it(kind: str) -> None:
    model = tiny(kind)
    watch = Watch(set(sites_of(model.spec)))
    with torch.no_grad():
        model.transformer(torch.tensor([model.tokens(TEXT)]), tap=watch)
    run = model.run(TEXT, keep="*")
    assert set(run.kept) == set(sites_of(model.spec)) == set(watch.seen)
    for place, value in watch.seen.items():
        assert torch.equal(run[place], value), place


def test_names_of_all_sorts_mean_the_same_value() -> None:
    run = tiny().run(TEXT, keep=["pattern.[1:3]", "blocks.0.hook_resid_pre", Site("z", -1 % 3)])
    names = [Site("pattern", 2), "pattern.2", ("pattern", 2), ("pattern", -1), "blocks.2.attn.hook_pattern"]
    for name in names:
        assert run[name] is run[names[0]]
    assert [str(place) for place in run.kept] == [
        "resid_pre.0",
        "pattern.1",
        "pattern.2",
        "z.2",
        "logits",
    ]
    assert run.stack("pattern.1-2").shape == (2, 1, 4, 9, 9)
    with pytest.raises(BadInput, match=r"'pattern.0' was not kept.*keep=\['pattern.0'\]"):
        run["pattern", 0]
    with pytest.raises(UnknownName, match="pattern"):
        run["patern", 0]
    with pytest.raises(BadInput, match="layers 0 to 2"):
        run["pattern", 3]
    with pytest.raises(BadInput, match="names 3 sites"):
        run["pattern.*"]


def test_a_run_that_keeps_nothing_opens_no_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the pattern was formed")

    model = tiny()
    monkeypatch.setattr(Attention, "_in_the_open", refuse)
    run = model.run(TEXT)
    assert list(run.kept) == [Site("logits")]
    with pytest.raises(AssertionError, match="pattern was formed"):
        model.run(TEXT, keep="pattern.1")


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_a_batch_equals_the_row_alone(kind: str) -> None:
    model = tiny(kind)
    texts = ["t h e c a t", "a", "d o g s b a r k l o u d l y", "m o o"]
    batch = model.run(texts, keep="*")
    assert batch.lengths == (6, 1, 14, 3)
    for number, text in enumerate(texts):
        alone, row = model.run(text, keep="*"), batch.row(number)
        assert row.pieces() == alone.pieces()
        assert set(row.kept) == set(alone.kept)
        for place, value in alone.kept.items():
            assert row[place].shape == value.shape, place
            torch.testing.assert_close(row[place], value, rtol=1e-10, atol=1e-10)
    assert all(not value.isnan().any() for value in batch.kept.values())


def test_losses_of_a_padded_batch_count_real_tokens_only() -> None:
    model = tiny()
    texts = ["t h e c a t", "d o"]
    batch = model.run(texts)
    alone = [model.run(text) for text in texts]
    assert batch.losses.shape == (2, 5)
    torch.testing.assert_close(batch.losses[1, :1], alone[1].losses[0])
    assert not batch.losses[1, 1:].any()
    torch.testing.assert_close(batch.loss, (alone[0].losses.sum() + alone[1].losses.sum()) / 6)
    by_hand = -alone[0].log_probabilities[0, :-1].gather(1, alone[0].tokens[0, 1:, None])[:, 0]
    torch.testing.assert_close(alone[0].losses[0], by_hand)


def test_without_logits_nothing_above_the_last_kept_layer_is_computed() -> None:
    model = tiny()
    reached = []
    for layer in range(3):
        block = model.transformer.blocks[layer]
        block.register_forward_hook(lambda *_, layer=layer: reached.append(layer))
    run = model.run(TEXT, keep="resid_post.1", logits=False)
    assert reached == [0, 1]
    assert torch.equal(run["resid_post", 1], model.run(TEXT, keep="resid_post.1")["resid_post", 1])
    with pytest.raises(BadInput, match="no logits"):
        run.top()
    reached.clear()
    model.run(TEXT, keep="embed", logits=False)
    assert reached == []
    model.run(TEXT, keep=["z.0", "ln_final"], logits=False)
    assert reached == [0, 1, 2]
    with pytest.raises(BadInput, match=r"cannot keep 'z.2': it runs layers 0 to 1"):
        model.run(TEXT, keep="z.2", stop=2)


def test_logits_of_chosen_positions_are_those_of_all() -> None:
    model = tiny()
    texts = [TEXT, "d o g"]
    whole = model.run(texts)
    last = model.run(texts, logits="last")
    assert last.scored == (2, 8)
    torch.testing.assert_close(last.last_logits, whole.last_logits)
    torch.testing.assert_close(last.last_logits[1], whole.logits[1, 2])
    some = model.run(TEXT, logits=[-1, 3], keep="ln_final")
    assert some.scored == (3, 8)
    torch.testing.assert_close(some.logits, whole.logits[:1, [3, 8]])
    assert some["ln_final"].shape == (1, 2, 16)
    with pytest.raises(BadInput, match=r"no logits at position 5, only at \[3, 8\]"):
        some.top(position=5)
    with pytest.raises(BadInput, match="all positions"):
        _ = some.loss
    with pytest.raises(BadInput, match="position 9"):
        model.run(TEXT, logits=[9])


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.parametrize("place", ["resid_pre.1", "z.0", "pattern.2", "mlp_post.1", "embed", "scores.1"])
def test_gradients_are_finite_differences(kind: str, place: str) -> None:
    if kind == "attention_only" and place.startswith("mlp"):
        pytest.skip("no MLP")
    model = tiny(kind)
    target = ("logit_difference", "q", "x")
    run = model.run(TEXT, keep=place, grad=target)
    slope = run.grad[place]
    value = run[place]
    assert slope.shape == value.shape
    assert not value.requires_grad
    direction = torch.randn(value.shape, generator=torch.Generator().manual_seed(1), dtype=value.dtype)
    step = 1e-6
    ends = []
    for sign in (1, -1):
        moved = model.run(TEXT, edits=FunctionEdit(place, lambda x, sign=sign: x + sign * step * direction))
        logits = moved.logits[0, -1]
        ends.append(logits[WORDS.index("q")] - logits[WORDS.index("x")])
    expected = (ends[0] - ends[1]) / (2 * step)
    torch.testing.assert_close((slope * direction).sum(), expected, rtol=1e-6, atol=1e-8)
    assert run.target == pytest.approx(float(run.logits[0, -1, 16] - run.logits[0, -1, 23]), rel=1e-12)


def test_gradients_of_other_targets() -> None:
    model = tiny()
    by_name = model.run(TEXT, keep=["z.*", "logits"], grad=("logit", "q"))
    by_hand = model.run(TEXT, keep="z.*", grad=lambda run: run.logits[0, -1, 16])
    torch.testing.assert_close(by_name.grad["z", 1], by_hand.grad["z", 1])
    assert by_name.grad["logits"].sum() == 1
    loss = model.run(TEXT, keep="resid_post.2", grad="loss")
    assert loss.target == pytest.approx(float(loss.loss))
    inner = model.run(TEXT, keep=["z.0", "z.2"], logits=False, grad=lambda run: run["z", 0].square().sum())
    torch.testing.assert_close(inner.grad["z", 0], 2 * inner["z", 0])
    assert not inner.grad["z", 2].any()
    # a gradient takes the edit that precedes it into account
    edited = model.run(TEXT, keep="z.1", grad=("logit", "q"), edits=Edit("mlp_post.2", how=Scale(0)))
    assert not torch.allclose(edited.grad["z", 1], by_name.grad["z", 1])
    assert all(weight.requires_grad and weight.grad is None for weight in model.transformer.parameters())
    with pytest.raises(BadShape, match=r"shape \[28\]"):
        model.run(TEXT, keep="z.0", grad=lambda run: run.logits[0, -1])
    with pytest.raises(UnknownName, match="logit_difference"):
        model.run(TEXT, keep="z.0", grad=("logit_diference", "a", "b"))
    with pytest.raises(BadInput, match="needs a site"):
        model.run(TEXT, grad=("logit", "q"))
    with pytest.raises(BadInput, match="took no gradient"):
        _ = model.run(TEXT).grad


def test_the_answer_is_spelled_out() -> None:
    model = tiny()
    run = model.run([TEXT, "d o g"])
    guesses = run.top(4, row=1)
    probabilities = run.logits[1, 2].softmax(0)
    assert [guess.token for guess in guesses] == probabilities.topk(4).indices.tolist()
    assert [guess.rank for guess in guesses] == [1, 2, 3, 4]
    assert guesses[0].probability == pytest.approx(float(probabilities.max()))
    assert guesses[0].piece == WORDS[guesses[0].token]
    third = run.guess(guesses[2].piece, row=1)
    assert third.rank == 3
    assert third.logit == pytest.approx(guesses[2].logit)
    assert run.top(1, position=-2, row=1)[0].token == int(run.logits[1, 1].argmax())
    assert repr(guesses).count("\n") == 4
    assert repr(guesses[0].piece) in repr(guesses)
    for bad in ({"position": 3}, {"position": -4}, {"row": 2}):
        with pytest.raises(BadInput, match="There is no"):
            run.top(**{"row": 1, **bad})


def test_a_masked_model_answers_at_its_mask() -> None:
    model = tiny("bert")
    run = model.run("t h e <mask> s a t")
    assert run.top(1)[0].token == int(run.logits[0, 3].argmax())
    with pytest.raises(BadInput, match="0 of '<mask>'"):
        model.run("t h e").top()
    with pytest.raises(NotSupported, match="both ways"):
        _ = run.loss


def test_an_encoder_has_no_answer() -> None:
    model = tiny("encoder")
    run = model.run(TEXT, keep="ln2.2")
    assert run["ln2", 2].shape == (1, 9, 16)
    with pytest.raises(NotSupported, match=r"without a head.*ln2.2"):
        run.top()
    with pytest.raises(NotSupported, match="no head"):
        model.read_out(run["ln2", 2])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "encoder"])
def test_reading_out_the_last_stream_gives_the_logits(kind: str) -> None:
    model = tiny(kind)
    last = "ln2.2" if kind == "bert" else "resid_post.2"
    run = model.run(TEXT, keep=last)
    torch.testing.assert_close(model.read_out(run[last]), run.logits)
    torch.testing.assert_close(model.read_out(run[last][0, -1]), run.logits[0, -1])
    with pytest.raises(BadShape, match="16 wide"):
        model.read_out(torch.zeros(1, 17))


def test_prompts_of_every_form_mean_the_same() -> None:
    model = tiny()
    ids = model.tokens("d o g")
    expected = model.run("d o g").logits
    for prompt in (["d o g"], ids, [ids], torch.tensor(ids), torch.tensor([ids]), torch.tensor(ids).numpy()):
        assert torch.equal(model.run(prompt).logits, expected)
    assert model.run([ids, ids[:2]]).lengths == (3, 2)


@pytest.mark.parametrize(
    ("prompt", "error", "says"),
    [
        ("", BadInput, "empty"),
        ("  ", BadInput, "empty"),
        ([], BadInput, "empty"),
        (["a", ""], BadInput, "Prompt 1 of 2 is empty"),
        ([[0], []], BadInput, "Prompt 1 of 2 is empty"),
        (None, BadInput, "no prompt"),
        (3.5, BadInput, "3.5"),
        (b"abc", BadInput, "bytes"),
        ({"a": 1}, BadInput, "dict"),
        (["a", 1], BadInput, "list"),
        ([0.5], BadInput, "list"),
        ([True], BadInput, "list"),
        ([28], BadInput, "28.*0 to 27"),
        ([-1], BadInput, "-1.*0 to 27"),
        (torch.zeros(3), BadInput, "float32"),
        (torch.zeros(1, 1, 1, dtype=torch.long), BadInput, "cannot be read"),
        (torch.tensor(3), BadInput, "cannot be read"),
        ("a " * 25, TooLarge, "25 tokens.*at most 24"),
    ],
)
def test_bad_prompts_are_named(prompt: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=f"(?s){says}"):
        tiny().run(prompt)


def test_a_value_that_is_not_finite_is_loud_and_named() -> None:
    model = tiny()
    with pytest.raises(NotFinite, match=r"first stands at mlp_out.1.*scale:inf mlp_out.1"):
        model.run(TEXT, edits=Edit("mlp_out.1", how=Scale(float("inf"))))
    cut = Edit("scores.1", how=Add(float("-inf")))
    with pytest.raises(NotFinite, match=r"pattern.1"):
        model.run(TEXT, edits=cut, keep="pattern.1")
    with torch.no_grad():
        model.transformer.blocks[2].ln1.weight[3] = float("nan")
    with pytest.raises(NotFinite, match=r"ln1.2.*weights"):
        model.run(TEXT)
    model.run(TEXT, keep="resid_post.1", logits=False)  # below the damage all is well


def test_a_run_reports_and_can_be_stopped() -> None:
    seen: list[tuple[int, int]] = []
    tiny().run(TEXT, progress=Progress(lambda what, done, total: seen.append((done, total))))
    assert seen == [(0, 3), (1, 3), (2, 3)]
    with pytest.raises(Cancelled):
        tiny().run(TEXT, progress=Progress(cancelled=lambda: True))


def test_what_is_shown_says_shapes() -> None:
    model = tiny()
    assert "3 layers of 4 heads (2 key-value)" in repr(model)
    assert f"{model.n_parameters:,} parameters" in repr(model)
    shown = repr(model.run(TEXT, keep=["pattern.*", "z.1"]))
    assert "pattern.0-2" in shown
    assert "[1, 4, 9, 9]" in shown
    assert "logits [1, 9, 28]" in shown
