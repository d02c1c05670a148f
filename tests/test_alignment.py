"""Whether two texts align, where they part if not, and which tokens a stretch of text is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_tokenizers import smollm2

from llm_workings.core.errors import BadInput
from llm_workings.data.families import check_alignment, check_token_alignment, positions_of
from llm_workings.models.tokens import Tokenizer, from_vocabulary, word_piece

LETTERS = "abcdefgh"


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    """One token a word."""
    return from_vocabulary([*LETTERS], separator=" ")


def test_texts_that_align_say_where_they_differ(words: Tokenizer) -> None:
    assert check_alignment(words, "a b c d", "a b c d") == ()
    assert check_alignment(words, "a b c d", "a h c g") == (1, 3)
    assert check_token_alignment(words, [0, 1, 2, 3], [0, 7, 2, 6]) == (1, 3)


@pytest.mark.parametrize(
    ("clean", "corrupted", "ours", "theirs", "position"),
    [
        ("a b c d", "a e f c d", "'b' of 1 token at position 1", "'ef' of 2 tokens at position 1", 1),
        ("a b c d", "a c d", "'b' of 1 token at position 1", "nothing at position 1", 1),
        ("a b", "a b c", "nothing at position 2", "'c' of 1 token at position 2", 2),
        ("b c d", "a b c d", "nothing at position 0", "'a' of 1 token at position 0", 0),
        # A name exchanged for another comes first and is no reason; the one that is longer is.
        ("a b c d e", "a h c f g e", "'d' of 1 token at position 3", "'fg' of 2 tokens at position 3", 3),
        # Two changes of length: the first is told of.
        (
            "a b c d e f",
            "a g c h h h e f",
            "'d' of 1 token at position 3",
            "'hhh' of 3 tokens at position 3",
            3,
        ),
        ("a b c d e f", "a c d g h e h f", "'b' of 1 token at position 1", "nothing at position 1", 1),
    ],
)
def test_where_two_texts_part(
    words: Tokenizer, clean: str, corrupted: str, ours: str, theirs: str, position: int
) -> None:
    with pytest.raises(BadInput) as caught:
        check_alignment(words, clean, corrupted)
    assert caught.value.message.startswith(
        f"The two texts do not align: the clean one has {ours}, and the corrupted one has {theirs}. Clean ("
    )
    assert caught.value.given == {
        "position": position,
        "clean_tokens": clean.split(),
        "corrupted_tokens": corrupted.split(),
    }
    assert f"Clean ({len(clean.split())} tokens): {clean.split()}" in caught.value.message
    assert f"Corrupted ({len(corrupted.split())} tokens): {corrupted.split()}" in caught.value.message


@settings(max_examples=150, deadline=None)
@given(
    before=st.lists(st.sampled_from("ab"), max_size=5),
    ours=st.lists(st.sampled_from("cd"), max_size=4),
    theirs=st.lists(st.sampled_from("ef"), max_size=4),
    after=st.lists(st.sampled_from("gh"), max_size=5),
)
def test_one_stretch_of_other_words_is_found(
    before: list[str], ours: list[str], theirs: list[str], after: list[str]
) -> None:
    """Words that stand in only one of the texts, between words that stand in both."""
    tokenizer = from_vocabulary([*LETTERS], separator=" ")
    clean, corrupted = (" ".join([*before, *middle, *after]) for middle in (ours, theirs))
    if len(ours) == len(theirs):
        assert check_alignment(tokenizer, clean, corrupted) == tuple(
            range(len(before), len(before) + len(ours))
        )
        return
    with pytest.raises(BadInput) as caught:
        check_alignment(tokenizer, clean, corrupted)
    assert caught.value.given["position"] == len(before)
    for middle in (ours, theirs):
        said = f"{''.join(middle)!r} of {len(middle)} token" if middle else "nothing"
        assert f"has {said}" in caught.value.message


def test_long_texts_are_cut_around_the_place(words: Tokenizer) -> None:
    with pytest.raises(BadInput) as caught:
        check_alignment(words, " ".join("a" * 300 + "b" + "a" * 300), " ".join("a" * 300 + "cc" + "a" * 300))
    assert "'b' of 1 token at position 300" in caught.value.message
    assert "Clean (601 tokens): … ['a'," in caught.value.message
    assert len(caught.value.message) < 600
    # Texts that have nothing in common are told of whole, and at once.
    with pytest.raises(BadInput, match="of 2000 tokens at position 0"):
        check_alignment(words, " ".join("a" * 2000), " ".join("b" * 2001))


def test_a_stretch_of_text_is_the_tokens_that_write_it(words: Tokenizer) -> None:
    assert positions_of(words, "a b c d", 2, 5) == (1, 2)
    assert positions_of(words, "a b c d", 6, 7) == (3,)
    for begin, end in ((1, 2), (7, 9), (3, 3)):  # a space, past the end, nothing
        with pytest.raises(BadInput, match=rf"No token of 'a b c d' writes the characters {begin} to {end}"):
            positions_of(words, "a b c d", begin, end)


def test_tokens_around_a_text_are_counted() -> None:
    """BERT's: [CLS] stands at position 0, so that the first word is at 1."""
    tokenizer = word_piece(["[UNK]", "[CLS]", "[SEP]", "the", "cat", "##s", "dog"])
    assert positions_of(tokenizer, "the cats", 4, 8) == (2, 3)
    assert check_alignment(tokenizer, "the cat", "the dog") == (2,)
    with pytest.raises(BadInput, match=r"'cat##s' of 2 tokens at position 2.*'dog' of 1 token at position 2"):
        check_alignment(tokenizer, "the cats", "the dog")


@pytest.mark.real
def test_real_names_that_split() -> None:
    tokenizer = smollm2()
    text = "When Mary and {} went to the store, {} gave a drink to"
    assert check_alignment(tokenizer, text.format("John", "John"), text.format("Tom", "Mary")) == (3, 9)
    with pytest.raises(
        BadInput, match=r"has ' John' of 1 token at position 3.*' Kyle' of 2 tokens at pos.*' K', 'yle'"
    ):
        check_alignment(tokenizer, text.format("John", "John"), text.format("Kyle", "Mary"))
    assert positions_of(tokenizer, text.format("Kyle", "Mary"), 14, 18) == (3, 4)
