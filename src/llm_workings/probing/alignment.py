"""Which tokens spell which word.

A treebank labels words, a model has a vector for each token. The tokenizer says which characters each
token stands for; a word's tokens are those that share a character with it. That is then checked: the
tokens of each word have to spell it, for a probe trained on the neighbour's vectors would learn
something and say nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from llm_workings.core.errors import BadInput

if TYPE_CHECKING:
    from llm_workings.models.tokens import Tokenizer

ABSENT = -1  # the token of a word that no token stands for


class HasForm(Protocol):
    """A word as it is written."""

    @property
    def form(self) -> str: ...


@runtime_checkable
class HasWords(Protocol):
    """A sentence whose words are told apart: `data.conllu.Sentence` is one."""

    @property
    def text(self) -> str: ...
    @property
    def words(self) -> Sequence[HasForm]: ...


@dataclass(frozen=True)
class Passage:
    """A text and where its words stand in it.

    Attributes:
        forms: the words as they are written; none where the text is looked at as a whole.
        spans: for each, where it begins and ends in `text`, in characters.
    """

    text: str
    forms: tuple[str, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()

    @staticmethod
    def of(sentence: Any) -> Passage:
        """A passage of a text, of a sentence with words, or of another passage.

        Raises:
            BadInput: none of these; an empty text; words that do not stand in the text in this order.
        """
        if isinstance(sentence, Passage):
            return sentence
        if isinstance(sentence, str):
            if not sentence.strip():
                raise BadInput("One of the texts is empty.", hint="Leave it out.")
            return Passage(sentence)
        if not isinstance(sentence, HasWords):
            raise BadInput(
                f"{_cut(repr(sentence))} is no sentence.",
                hint="Give texts, or sentences with .text and .words, as read_conllu makes them.",
            )
        forms = tuple(word.form for word in sentence.words)
        spans = getattr(sentence, "spans", None)
        if not spans:
            return Passage(sentence.text, forms, locate(sentence.text, forms))
        return _placed(sentence.text, forms, tuple(spans))


def _placed(text: str, forms: tuple[str, ...], spans: tuple[tuple[int, int], ...]) -> Passage:
    """The words where a sentence says that they stand, if they do."""
    for number, (form, span) in enumerate(zip(forms, spans, strict=True)):
        written = text[slice(*span)]
        # Words that are written as one ("du" for "de" and "le") share its span.
        if written.split() != form.split() and spans.count(span) == 1:
            raise BadInput(
                f"Word {number} of {_cut(text)!r} is {form!r}, but where it is said to stand, "
                f"at characters {span[0]} to {span[1]}, stands {written!r}.",
                given={"text": text, "word": number, "form": form},
            )
    return Passage(text, forms, spans)


def locate(text: str, forms: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Where the words `forms` stand in `text`, one after the other, nothing but spaces between them.

    Raises:
        BadInput: a word that does not come next, with what stands there instead.
    """
    spans, at = [], 0
    for number, form in enumerate(forms):
        while at < len(text) and text[at].isspace():
            at += 1
        if not form or not text.startswith(form, at):
            raise BadInput(
                f"The words do not make up the text: word {number} is {form!r}, "
                f"but in {_cut(text)!r} stands {text[at : at + max(8, len(form))]!r} at character {at}.",
                hint="Between words only spaces may stand.",
                given={"text": text, "word": number, "form": form},
            )
        spans.append((at, at + len(form)))
        at += len(form)
    if text[at:].strip():
        raise BadInput(
            f"The words do not make up the text: {text[at : at + 40]!r} in {_cut(text)!r} is no word's.",
            given={"text": text},
        )
    return tuple(spans)


@dataclass(frozen=True)
class Aligned:
    """The tokens of one passage, and which of them are each word's.

    Attributes:
        ids: the token ids, those that the model expects around a text among them.
        plain: `[token]`, False for the tokens around the text, which stand for nothing in it.
        first, last: `[word]`, a word's first and last token; `ABSENT` for a word that no token
            stands for (a tokenizer may drop a character such as a variation selector).
        alone: `[word]`, whether no other word has the very same tokens ('."' is one token for two).
    """

    ids: list[int]
    plain: np.ndarray
    first: np.ndarray
    last: np.ndarray
    alone: np.ndarray


def align(tokenizer: Tokenizer, passages: Sequence[Passage], *, begin: int | None = None) -> list[Aligned]:
    """The tokens of each passage, with each word's own, checked to spell it.

    Args:
        begin: an id to put before each text (a begin-of-text token that the tokenizer does not add).

    Raises:
        BadInput: a text that the vocabulary cannot write; tokens that do not spell their words, with
            the sentence, the word, the tokens and what they spell.
    """
    texts = [passage.text for passage in passages]
    try:
        encodings = tokenizer.backend.encode_batch(texts, add_special_tokens=True)
    except Exception:  # the library's own error says little; ours names what is lacking
        tokenizer.encode_batch(texts)
        raise
    return [
        _aligned(tokenizer, passage, number, encoding, begin)
        for number, (passage, encoding) in enumerate(zip(passages, encodings, strict=True))
    ]


def _aligned(
    tokenizer: Tokenizer, passage: Passage, number: int, encoding: Any, begin: int | None
) -> Aligned:
    text, ids = passage.text, list(encoding.ids)
    around = np.array(encoding.special_tokens_mask, bool)
    places = [
        (0, 0) if special else _trim(text, *span)
        for span, special in zip(encoding.offsets, around, strict=True)
    ]
    if begin is not None:
        ids, around, places = [begin, *ids], np.concatenate(([True], around)), [(0, 0), *places]
    token = np.array(places, np.int64).reshape(-1, 2)
    word = np.array(passage.spans, np.int64).reshape(-1, 2)
    # [word, token]: whether they share a character
    shares = (np.maximum(token[:, 0], word[:, :1]) < np.minimum(token[:, 1], word[:, 1:])) & ~around
    has = shares.any(1) if shares.size else np.zeros(len(word), bool)
    first = np.where(has, shares.argmax(1), ABSENT) if len(word) else np.zeros(0, np.int64)
    last = np.where(has, len(ids) - 1 - shares[:, ::-1].argmax(1), ABSENT) if len(word) else first
    pairs = list(zip(first.tolist(), last.tolist(), strict=True))
    alone = np.array([pairs.count(pair) == 1 for pair in pairs], bool)
    aligned = Aligned(ids, ~around, first, last, alone)
    for group in _groups(aligned):
        _check(tokenizer, passage, number, aligned, group)
    return aligned


def _trim(text: str, begin: int, end: int) -> tuple[int, int]:
    """The part of a span that is not space: byte-level tokens begin with the space before a word."""
    while begin < end and text[begin].isspace():
        begin += 1
    while begin < end and text[end - 1].isspace():
        end -= 1
    return begin, end


def _groups(aligned: Aligned) -> Iterator[list[int]]:
    """Words that hang together by tokens they share, in their order: mostly one alone."""
    group: list[int] = []
    reach = ABSENT
    for word, (first, last) in enumerate(zip(aligned.first, aligned.last, strict=True)):
        if first == ABSENT:
            continue
        if group and first > reach:
            yield group
            group = []
        group.append(word)
        reach = max(int(last), reach)
    if group:
        yield group


def _check(tokenizer: Tokenizer, passage: Passage, number: int, aligned: Aligned, group: list[int]) -> None:
    ids = aligned.ids[aligned.first[group].min() : aligned.last[group].max() + 1]
    if tokenizer.role("unk") in ids:  # it stands for whatever is written there
        return
    begin, end = passage.spans[group[0]][0], max(passage.spans[word][1] for word in group)
    written = _bare(tokenizer, passage.text[begin:end])
    spelled = spelling(tokenizer, ids)
    if spelled != written:
        words = " ".join(passage.forms[word] for word in group)
        raise BadInput(
            f"Sentence {number}, word {group[0]}: {words!r} is not what its tokens spell. "
            f"{tokenizer.pieces(ids)} make {spelled!r}, but it reads {written!r}.",
            hint=f"The sentence is {_cut(passage.text)!r}. Leave it out, or mend its words.",
            given={"sentence": number, "word": group[0], "form": words, "pieces": tokenizer.pieces(ids)},
        )


def spelling(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """What tokens spell together, without spaces: a WordPiece's `##` is no part of it."""
    model = tokenizer.backend.model
    if type(model).__name__ == "WordPiece":
        prefix = model.continuing_subword_prefix
        return _bare(None, "".join(piece.removeprefix(prefix) for piece in tokenizer.pieces(ids)))
    return _bare(None, tokenizer.decode(list(ids)))


def _bare(tokenizer: Tokenizer | None, text: str) -> str:
    """As the tokenizer normalizes it (lower case, no accents ...), and without spaces."""
    if tokenizer is not None and tokenizer.backend.normalizer is not None:
        text = tokenizer.backend.normalizer.normalize_str(text)
    text = "".join(text.split()).replace("▁", "")  # how SentencePiece writes a space
    return unicodedata.normalize("NFC", text)


def _cut(text: str, most: int = 80) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
