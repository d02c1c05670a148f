"""Words and their tokens, for every kind of tokenizer and model; and what is collected for them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_models import WORDS, masked
from tiny_models import CAUSAL, KINDS, tiny

from llm_workings.core.errors import BadInput, Cancelled, NotSupported, TooLarge, UnknownName
from llm_workings.core.progress import Progress
from llm_workings.models.sites import stream_of
from llm_workings.models.tokens import BYTE_OF, Tokenizer, byte_level_bpe, word_piece
from llm_workings.probing.activations import collect
from llm_workings.probing.alignment import Passage, align, locate, spelling
from llm_workings.trace.edits import Edit, Zero

TEXTS = ["a b c d e", "f g", "h i j", "k l m n o p q", "r"]


def sentence(text: str, *forms: str) -> SimpleNamespace:
    return SimpleNamespace(text=text, words=[SimpleNamespace(form=form) for form in forms or text.split()])


def bytes_and(*merges: tuple[str, str]) -> Tokenizer:
    """Byte-level BPE of the 256 bytes and these merges."""
    vocabulary = {letter: i for i, letter in enumerate(sorted(BYTE_OF))}
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    return byte_level_bpe(vocabulary, merges)


def tokens_of(tokenizer: Tokenizer, passage: Passage) -> list[list[str] | None]:
    found = align(tokenizer, [passage])[0]
    return [
        None if first < 0 else tokenizer.pieces(found.ids[first : last + 1])
        for first, last in zip(found.first, found.last, strict=True)
    ]


# --- alignment -------------------------------------------------------------------------------------
def test_words_of_byte_level_bpe_have_the_space_before_them() -> None:
    tokenizer = bytes_and(("Ġ", "c"), ("a", "t"), ("Ġc", "at"), ("!", "!"))
    passage = Passage.of(sentence("cat cats !!", "cat", "cats", "!", "!"))
    assert tokens_of(tokenizer, passage) == [["c", "at"], [" cat", "s"], [" ", "!!"][1:], ["!!"]]
    assert align(tokenizer, [passage])[0].alone.tolist() == [True, True, False, False]


def test_a_word_that_is_cut_within_a_token_has_its_last_one() -> None:
    """ "don't" is do + n't in a treebank and don + 't in a tokenizer."""
    tokenizer = bytes_and(("d", "o"), ("do", "n"), ("'", "t"))
    passage = Passage.of(sentence("don't", "do", "n't"))
    assert tokens_of(tokenizer, passage) == [["don"], ["don", "'t"]]
    assert align(tokenizer, [passage])[0].alone.all()


@pytest.mark.parametrize("word", ["é", "日本", "🙂", "👩‍🔬", "naïve", "½"])
def test_characters_of_several_tokens_belong_to_their_word(word: str) -> None:
    tokenizer = bytes_and()
    passage = Passage.of(sentence(f"a {word} b"))
    found = align(tokenizer, [passage])[0]
    assert found.last[1] - found.first[1] + 1 == len(word.encode())  # a token a byte
    assert spelling(tokenizer, found.ids[found.first[1] : found.last[1] + 1]) == word


def test_words_of_wordpiece_are_known_through_case_and_accents() -> None:
    tokenizer = word_piece([*WORDS, "##s", "##at", "c", "n", "##a", "##i", "##ve", "."])
    passage = Passage.of(sentence("Cats NAÏVE the.", "Cats", "NAÏVE", "the", "."))
    assert tokens_of(tokenizer, passage) == [["cat", "##s"], ["n", "##a", "##i", "##ve"], ["the"], ["."]]
    assert align(tokenizer, [passage])[0].plain.tolist() == [False, *[True] * 8, False]  # [CLS], [SEP]


def test_an_unknown_word_has_the_token_for_that() -> None:
    tokenizer = word_piece(WORDS)
    assert tokens_of(tokenizer, Passage.of(sentence("the zebra sat"))) == [["the"], ["[UNK]"], ["sat"]]


def test_a_word_that_the_tokenizer_drops_has_no_token() -> None:
    tokenizer = word_piece(WORDS)
    passage = Passage.of(sentence("the \ufffd cat"))  # WordPiece's cleaning removes it
    assert tokens_of(tokenizer, passage) == [["the"], None, ["cat"]]


def test_the_error_says_where_the_alignment_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer whose tokens spell something else than the text."""
    tokenizer = bytes_and()
    passages = [Passage.of(sentence("the the")), Passage.of(sentence("the cat"))]
    assert len(align(tokenizer, passages)) == 2
    cat = tokenizer.encode("cat")
    monkeypatch.setattr(tokenizer, "decode", lambda ids: "dog" if ids == cat else "the")
    with pytest.raises(BadInput, match=r"Sentence 1, word 1: 'cat' is not what its tokens spell.*make 'dog'"):
        align(tokenizer, passages)


def test_words_that_do_not_make_up_the_text_are_refused_where_they_leave_it() -> None:
    assert locate("It's  so.", ["It", "'s", "so", "."]) == ((0, 2), (2, 4), (6, 8), (8, 9))
    with pytest.raises(BadInput, match="word 1 is 'dog', but in 'the cat' stands 'cat' at character 4"):
        locate("the cat", ["the", "dog"])
    with pytest.raises(BadInput, match="' cat' in 'the cat' is no word's"):
        locate("the cat", ["the"])
    with pytest.raises(BadInput, match="is no sentence"):
        Passage.of(7)
    with pytest.raises(BadInput, match="empty"):
        Passage.of("  ")


def test_spans_of_the_sentence_itself_are_taken() -> None:
    """ "du" is written for "de" and "le": both have its span and its tokens."""
    du = SimpleNamespace(text="du pain", words=sentence("de le pain").words, spans=((0, 2), (0, 2), (3, 7)))
    tokenizer = bytes_and(("d", "u"))
    assert tokens_of(tokenizer, Passage.of(du))[:2] == [["du"], ["du"]]
    assert align(tokenizer, [Passage.of(du)])[0].alone.tolist() == [False, False, True]
    du.spans = ((0, 2), (0, 2), (2, 6))
    with pytest.raises(BadInput, match=r"Word 2 of 'du pain' is 'pain'.*at characters 2 to 6, stands ' pai'"):
        Passage.of(du)


# --- collecting ------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_those_of_each_sentence_alone(kind: str) -> None:
    model = tiny(kind)
    found = collect(model, [sentence(text) for text in TEXTS])
    assert found.sites == stream_of(model.spec)
    assert found.values.dtype == np.float32
    assert len(found) == sum(len(text.split()) for text in TEXTS)
    for index, (s, w) in enumerate(zip(found.sentence, found.word, strict=True)):
        assert found.forms[index] == TEXTS[s].split()[w]
        alone = model.run(TEXTS[s], keep=found.sites, logits=False)
        for number, place in enumerate(found.sites):
            want = alone[place][0, w].float().numpy()
            np.testing.assert_allclose(found.values[index, number], want, rtol=1e-5, atol=1e-5)
        assert found.position[index] == w
    np.testing.assert_array_equal(found.at(found.sites[1]), found.values[:, 1])
    with pytest.raises(UnknownName):
        found.at("resid_mid.0")


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_small_batches_make_the_same_vectors(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, sentences = tiny(kind), [sentence(text) for text in TEXTS]
    whole = collect(model, sentences)
    monkeypatch.setattr("llm_workings.probing.activations.MOST_TOKENS", 1)
    single = collect(model, sentences)
    np.testing.assert_allclose(single.values, whole.values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pool", ["last", "first", "mean"])
def test_a_word_of_several_tokens_is_pooled(pool: str) -> None:
    model = masked()
    tokenizer = word_piece([*WORDS[:-2], "##s", "##ing"])  # as many as the model knows
    model.tokenizer = tokenizer
    found = collect(model, [sentence("the cats and catsing sat")], pool=pool, words=[[1, 3]])  # type: ignore[arg-type]
    assert found.forms == ("cats", "catsing")
    run = model.run("the cats and catsing sat", keep=found.sites, logits=False)
    assert run.pieces()[1:8] == ["the", "cat", "##s", "and", "cat", "##s", "##ing"]
    for index, (first, last) in enumerate(((2, 3), (5, 7))):
        tokens = run.stack(found.sites)[:, 0, first : last + 1]
        want = {"last": tokens[:, -1], "first": tokens[:, 0], "mean": tokens.mean(1)}[pool]
        np.testing.assert_allclose(found.values[index], want.numpy(), rtol=1e-5, atol=1e-5)


def test_texts_have_one_vector_each() -> None:
    causal, both = tiny("gpt2"), masked()
    last = collect(causal, TEXTS)
    assert last.pool == "last"
    assert last.forms == tuple(TEXTS)
    assert last.position.tolist() == [len(text.split()) - 1 for text in TEXTS]
    mean = collect(both, ["the cat sat", "a dog"])
    assert mean.pool == "mean"
    run = both.run("the cat sat", keep=mean.sites, logits=False)
    want = run.stack(mean.sites)[:, 0, 1:-1].mean(1)  # without [CLS] and [SEP]
    np.testing.assert_allclose(mean.values[0], want.numpy(), rtol=1e-5, atol=1e-5)
    first = collect(both, ["the cat sat"], pool="first")
    np.testing.assert_allclose(first.values[0], run.stack(mean.sites)[:, 0, 0].numpy(), rtol=1e-5, atol=1e-5)


def test_the_begin_token_is_put_before_a_text_that_is_read_causally() -> None:
    model = tiny("llama")
    model.tokenizer.roles["bos"] = "<mask>"
    bos = model.tokenizer.bos_id
    found = collect(model, [sentence("a b")], sites="resid_post.*")
    ids = [bos, *model.tokenizer.encode("a b")]
    want = model.run([ids], keep="resid_post.*", logits=False)
    np.testing.assert_allclose(found.values[1, 2], want["resid_post", 2][0, 2].float().numpy(), rtol=1e-5)
    assert found.position.tolist() == [1, 2]
    without = collect(model, [sentence("a b")], sites="resid_post.*", begin=False)
    plain = model.run("a b", keep="resid_post.*", logits=False)
    np.testing.assert_allclose(without.values[1, 2], plain["resid_post", 2][0, 1].float().numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    ("sites", "width"), [("z.*", 24), ("mlp_post.*", 20), ("k.*", 12), ("attn_out.1", 16)]
)
def test_any_site_with_a_vector_a_position_is_read(sites: str, width: int) -> None:
    model = tiny("llama")
    found = collect(model, [sentence("a b c")], sites=sites)
    assert found.values.shape[2] == width
    run = model.run("a b c", keep=sites, logits=False)
    want = run[found.sites[0]][0].reshape(3, -1).float().numpy()
    np.testing.assert_allclose(found.values[:, 0], want, rtol=1e-5, atol=1e-6)


def test_edits_are_made_on_the_way() -> None:
    model = tiny("llama")
    edited = collect(model, [sentence("a b c")], edits=Edit("mlp_out.0", how=Zero()))
    run = model.run("a b c", keep=edited.sites, edits=Edit("mlp_out.0", how=Zero()), logits=False)
    np.testing.assert_allclose(edited.values[:, 3], run["resid_post", 2][0].float().numpy(), rtol=1e-5)
    plain = collect(model, [sentence("a b c")])
    assert not np.allclose(edited.values[:, 3], plain.values[:, 3])


def test_words_without_a_token_of_their_own_are_left_out_and_counted() -> None:
    model = masked()
    found = collect(model, [sentence("the \ufffd cat"), sentence("catsat", "cat", "sat")])
    assert found.forms == ("the", "cat")
    assert found.left_out == {"without a token": 1, "sharing a token": 2}
    assert "2 left out sharing a token" in repr(found)


def test_what_cannot_be_collected_is_refused() -> None:
    model, good = tiny("llama"), [sentence("a b")]
    with pytest.raises(NotSupported, match=r"cannot read pattern\.0"):
        collect(model, good, sites="pattern.0")
    with pytest.raises(NotSupported, match="cannot read logits"):
        collect(model, good, sites="logits")
    with pytest.raises(BadInput, match=r"16 wide and mlp_post\.0 is 20"):
        collect(model, good, sites=["resid_pre.0", "mlp_post.0"])
    with pytest.raises(BadInput, match="no sentences"):
        collect(model, [])
    with pytest.raises(BadInput, match="number 1 differs"):
        collect(model, [sentence("a b"), "a b"])
    with pytest.raises(BadInput, match="no word 5 in sentence 0, which has 2"):
        collect(model, good, words=[[5]])
    with pytest.raises(BadInput, match="No word is left"):
        collect(model, good, words=[[]])
    with pytest.raises(UnknownName, match="'mean'"):
        collect(model, good, pool="meen")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="cannot write"):
        collect(model, [sentence("a zebra")])
    with pytest.raises(TooLarge, match="Sentence 1 is 30 tokens long; tiny-llama reads at most 24"):
        collect(model, [*good, sentence("a " * 29 + "b")])


def test_more_than_the_budget_is_refused_with_what_would_fit() -> None:
    model = tiny("llama")
    sentences = [sentence("a b c d e f g h") for _ in range(200)]
    needed = 1600 * 4 * 16 * 4
    with pytest.raises(
        TooLarge, match=r"1,600 words at 4 sites take 409.6 kB.*past the budget of 300.0 kB"
    ) as caught:
        collect(model, sentences, budget="300kB")
    fit = caught.value.given["words_that_fit"]
    assert 0 < fit < 300_000 / (needed / 1600)
    few = collect(model, sentences[: fit // 8], budget="300kB")
    assert len(few) == fit // 8 * 8


def test_it_stops_when_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_workings.probing.activations.MOST_TOKENS", 1)
    said: list[tuple[str, int, int]] = []
    stop = Progress(lambda *what: said.append(what), lambda: len(said) >= 3)
    with pytest.raises(Cancelled, match="reading the layers"):
        collect(tiny("llama"), [sentence(text) for text in TEXTS], progress=stop)
    assert said[1] == ("reading the layers", 0, 18)
    assert said[2] == ("reading the layers", 3, 18)


@pytest.mark.parametrize("kind", CAUSAL)
def test_half_precision_models_are_read_as_float32(kind: str) -> None:
    found = collect(tiny(kind, dtype=torch.bfloat16), [sentence("a b c")])
    assert found.values.dtype == np.float32
    assert np.isfinite(found.values).all()
