"""Activations of words at many places of a model, in one pass over the text."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from llm_workings.core.devices import free_memory
from llm_workings.core.errors import BadInput, NotSupported, TooLarge, unknown
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.sites import Site, select, stream_of
from llm_workings.models.spec import NoMLP
from llm_workings.trace.budget import VARIABLE, read_size, spell
from llm_workings.trace.run import summary_of_names

from .alignment import ABSENT, Aligned, Passage, align

if TYPE_CHECKING:
    from llm_workings.models.spec import Spec
    from llm_workings.trace.edits import AnyEdit
    from llm_workings.trace.model import LanguageModel
    from llm_workings.trace.plan import Names

Pool = Literal["last", "first", "mean"]
STREAM = "stream"  # the residual stream's stops: before the first block and after each
WIDE = ("d_model", "neuron", "d_head")  # what a probe can read: the last axis of a site
MOST_TOKENS = 2048  # of a batch: past that a larger one is no faster


@dataclass(frozen=True)
class Activations:
    """Vectors of words (or whole texts) at several sites.

    Attributes:
        values: `[word, site, d]` float32.
        sites: the places, in the model's order.
        sentence: `[word]`, the number of the sentence it stands in.
        word: `[word]`, its number in the sentence; -1 for a whole text.
        position: `[word]`, the token whose vector it is, counted in the text (for "mean", the last).
        forms: the words as they are written.
        left_out: words without a vector of their own: "without a token" (the tokenizer drops them)
            and "sharing a token" (their tokens are exactly another word's).
        model: the name of the model.
        pool: which of a word's tokens.
    """

    values: np.ndarray
    sites: tuple[Site, ...]
    sentence: np.ndarray
    word: np.ndarray
    position: np.ndarray
    forms: tuple[str, ...]
    left_out: dict[str, int]
    model: str
    pool: Pool

    def __len__(self) -> int:
        return len(self.values)

    def at(self, site: Site | str) -> np.ndarray:
        """The vectors at one site, `[word, d]`. Raises `UnknownName` for one that was not collected."""
        names = [str(place) for place in self.sites]
        if str(site) not in names:
            raise unknown("collected site", str(site), names)
        return self.values[:, names.index(str(site))]

    def __repr__(self) -> str:
        out = "".join(f", {count} left out {why}" for why, count in self.left_out.items() if count)
        what = "texts" if len(self) and self.word[0] < 0 else "words"
        return (
            f"Activations of {self.model}: {len(self)} {what}, {', '.join(summary_of_names(self.sites))}, "
            f"d {self.values.shape[2]}, {spell(self.values.nbytes)}{out}"
        )


def collect(
    model: LanguageModel,
    sentences: Sequence[Any],
    sites: Names = STREAM,
    *,
    pool: Pool | None = None,
    words: Sequence[Sequence[int]] | None = None,
    begin: bool = True,
    edits: AnyEdit | Sequence[AnyEdit] = (),
    budget: int | str | None = None,
    progress: Progress = SILENT,
) -> Activations:
    """The vectors of every word at every site, in one pass.

    Texts are run in batches of about equal length. A word's tokens are those that share a character
    with it, and are checked to spell it (`alignment.align`).

    Args:
        sentences: sentences with words (`data.conllu.Sentence`, `Passage`), or texts, each of which
            then has one vector.
        sites: names, globs or layer ranges of sites whose last axis is d_model, neuron or d_head (of
            several heads, side by side), all of one width. "stream" is every stop of the residual
            stream: before the first block and after each.
        pool: which of a word's tokens: the "last", the "first", or their "mean". Of a text: its last
            token, the very first one of all ([CLS]), or the mean of those that stand for text. By
            default "last"; for texts in a model that reads both ways, "mean".
        words: for each sentence, the numbers of the words that are wanted; all by default.
        begin: put the begin-of-text token before each text where the model reads causally, has one,
            and its tokenizer adds none. Without it, a text's first word is where attention goes that
            has nowhere to go, and its vector says that instead of what the word is.
        edits: made in every run: what is there after an erasure or an ablation?
        budget: bytes, or text such as "2GB", for the vectors and a batch; by default what is free.

    Raises:
        BadInput: no sentences, a site that no probe can read, sites of several widths, a word that is
            not there, tokens that do not spell their words.
        TooLarge: the vectors do not fit the budget (the message says how many words would), or a
            text is past the model's context.
        Cancelled: the progress said to stop.
    """
    passages = [Passage.of(sentence) for sentence in sentences]
    texts = _are_texts(passages)
    places, width = _places(model.spec, sites)
    pool = _pool(model, pool, texts)
    progress.report("splitting words into tokens")
    aligned = align(model.tokenizer, passages, begin=begin_token(model, begin))
    _check_context(model, passages, aligned)
    wanted = _wanted(passages, aligned, words, texts)
    n_words, longest = len(wanted.sentence), max(len(a.ids) for a in aligned)
    held = n_words * len(places) * width * 4
    most = _batch_tokens(model, places, edits, longest, held, n_words, budget)
    values = np.empty((n_words, len(places), width), np.float32)
    into = torch.from_numpy(values)
    position = np.empty(n_words, np.int64)
    done, total = 0, sum(len(aligned[s].ids) for s in wanted.rows)
    for rows in batches_of(aligned, wanted.rows, most):
        progress.report("reading the layers", done, total)
        run = model.run([aligned[s].ids for s in rows], keep=places, edits=edits, logits=False, budget=budget)
        which, row, token, segment = _tokens_of(rows, aligned, wanted, pool, texts)
        index = torch.from_numpy(which)
        for number, place in enumerate(places):
            value = run[place]
            vectors = value.reshape(*value.shape[:2], -1)[row, token].float().cpu()
            into[index, number] = _pooled(vectors, segment, len(which))
        position[which[segment]] = token  # the last of a word's tokens stays
        done += sum(len(aligned[s].ids) for s in rows)
    progress.report("reading the layers", total, total)
    forms = tuple(
        passages[s].text if texts else passages[s].forms[w]
        for s, w in zip(wanted.sentence.tolist(), wanted.word.tolist(), strict=True)
    )
    return Activations(
        values,
        places,
        wanted.sentence,
        wanted.word,
        position,
        forms,
        wanted.left_out,
        model.name,
        pool,
    )


# --- what is asked for -------------------------------------------------------------------------
@dataclass(frozen=True)
class _Wanted:
    """The words that get a vector, in the order of the sentences, and those that do not."""

    sentence: np.ndarray
    word: np.ndarray
    rows: list[int]
    left_out: dict[str, int]


def _are_texts(passages: Sequence[Passage]) -> bool:
    if not passages:
        raise BadInput("There are no sentences to read.", hint="Give at least one.")
    kinds = {bool(passage.forms) for passage in passages}
    if len(kinds) > 1:
        number = next(i for i, p in enumerate(passages) if bool(p.forms) != bool(passages[0].forms))
        raise BadInput(
            f"Some sentences have words and some are texts: number {number} differs from the first.",
            hint="Give one kind.",
        )
    return not kinds.pop()


def _places(spec: Spec, sites: Names) -> tuple[tuple[Site, ...], int]:
    places = stream_of(spec) if isinstance(sites, str) and sites == STREAM else select(spec, sites)
    if not places:
        raise BadInput("There are no sites to read.", hint='For example "resid_post.*", or "stream".')
    widths = {place: width_of(spec, place) for place in places}
    if len(set(widths.values())) > 1:
        other = next(place for place in places if widths[place] != widths[places[0]])
        raise BadInput(
            f"{places[0]} is {widths[places[0]]} wide and {other} is {widths[other]}.",
            hint="Collect sites of different widths one after the other.",
            given={str(place): width for place, width in widths.items()},
        )
    return places, widths[places[0]]


def width_of(spec: Spec, place: Site) -> int:
    """How many numbers a word has at a site. Raises `NotSupported` where it has no vector."""
    axes = place.axes
    if axes[:2] != ("batch", "position") or axes[-1] not in WIDE:
        raise NotSupported(
            f"A probe cannot read {place}: its axes are {' '.join(axes)}.",
            hint="It reads what each position has a vector of: the stream, q, z, attn_out, mlp_post ...",
            given={"site": str(place)},
        )
    attention = spec.attention
    sizes = {
        "head": attention.n_heads,
        "key_value_head": attention.n_key_value_heads,
        "d_head": attention.d_head,
        "d_model": spec.d_model,
        "neuron": 0 if isinstance(spec.mlp, NoMLP) else spec.mlp.width,
    }
    return math.prod(sizes[axis] for axis in axes[2:])


def _pool(model: LanguageModel, pool: Pool | None, texts: bool) -> Pool:
    if pool is None:
        return "mean" if texts and not model.spec.causal else "last"
    if pool not in get_args(Pool):
        raise unknown("way to pool tokens", str(pool), get_args(Pool))
    return pool


def begin_token(model: LanguageModel, begin: bool) -> int | None:
    bos = model.tokenizer.bos_id
    if not begin or bos is None or not model.spec.causal or bos in model.tokenizer.encode(""):
        return None
    return bos


def _check_context(model: LanguageModel, passages: Sequence[Passage], aligned: Sequence[Aligned]) -> None:
    for number, (passage, found) in enumerate(zip(passages, aligned, strict=True)):
        if len(found.ids) > model.spec.n_ctx:
            raise TooLarge(
                f"Sentence {number} is {len(found.ids)} tokens long; {model.name} reads at most "
                f"{model.spec.n_ctx}. It begins {passage.text[:60]!r}.",
                hint="Shorten it or leave it out.",
                given={"sentence": number, "tokens": len(found.ids), "n_ctx": model.spec.n_ctx},
            )


def _wanted(
    passages: Sequence[Passage],
    aligned: Sequence[Aligned],
    words: Sequence[Sequence[int]] | None,
    texts: bool,
) -> _Wanted:
    if texts:
        if words is not None:
            raise BadInput("Texts have no words to choose from.", hint="Leave out words=...")
        empty = [number for number, found in enumerate(aligned) if not found.plain.any()]
        if empty:
            raise BadInput(f"No token stands for text {empty[0]}: {passages[empty[0]].text[:60]!r}.")
        every = np.arange(len(passages))
        return _Wanted(every, np.full(len(passages), -1), every.tolist(), {})
    if words is not None and len(words) != len(passages):
        raise BadInput(f"words has {len(words)} entries for {len(passages)} sentences.")
    sentence, word, absent, shared = [], [], 0, 0
    for number, found in enumerate(aligned):
        chosen = range(len(found.first)) if words is None else words[number]
        for w in chosen:
            if not 0 <= w < len(found.first):
                raise BadInput(
                    f"There is no word {w} in sentence {number}, which has {len(found.first)}.",
                    given={"sentence": number, "word": int(w)},
                )
            if found.first[w] == ABSENT:
                absent += 1
            elif not found.alone[w]:
                shared += 1
            else:
                sentence.append(number)
                word.append(int(w))
    if not sentence:
        raise BadInput("No word is left to read.", hint="Ask for at least one that has a token of its own.")
    left_out = {"without a token": absent, "sharing a token": shared}
    return _Wanted(np.array(sentence), np.array(word), sorted(set(sentence)), left_out)


# --- memory ------------------------------------------------------------------------------------
def _batch_tokens(
    model: LanguageModel,
    places: tuple[Site, ...],
    edits: Any,
    longest: int,
    held: int,
    n_words: int,
    budget: int | str | None,
) -> int:
    """How many tokens a batch may have, so that it fits beside the vectors themselves."""
    given = budget if budget is not None else os.environ.get(VARIABLE) or None
    limit = free_memory(torch.device("cpu")) * 9 // 10 if given is None else read_size(given)
    filler = [model.tokenizer.pad_id or 0] * longest
    row = model.forecast([filler], keep=places, edits=edits, logits=False).total
    if held + row > limit:
        each = held // n_words
        fit = max(0, limit - row) // each
        raise TooLarge(
            f"The vectors of {n_words:,} words at {len(places)} sites take {spell(held)}, "
            f"past the {'budget' if given is not None else 'free memory'} of {spell(limit)}.",
            hint=f"{fit:,} words would fit at all these sites; or take fewer sites.",
            given={"needed": held + row, "budget": limit, "words": n_words, "words_that_fit": fit},
        )
    # A batch is held twice over while its parts are copied out.
    return max(longest, min(MOST_TOKENS, (limit - held) // 2 * longest // max(row, 1)))


def batches_of(aligned: Sequence[Aligned], rows: Sequence[int], most: int) -> Iterator[list[int]]:
    """Sentences of about equal length together, at most `most` tokens with their padding."""
    batch: list[int] = []
    for number in sorted(rows, key=lambda s: len(aligned[s].ids)):
        if batch and (len(batch) + 1) * len(aligned[number].ids) > most:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


# --- pooling -----------------------------------------------------------------------------------
def _tokens_of(
    rows: list[int], aligned: Sequence[Aligned], wanted: _Wanted, pool: Pool, texts: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Which words this batch has, and the tokens to read: (word; row, position and word of each)."""
    begins = np.searchsorted(wanted.sentence, rows)
    ends = np.searchsorted(wanted.sentence, rows, side="right")
    which: list[int] = []
    row: list[int] = []
    token: list[int] = []
    segment: list[int] = []
    choose: Callable[[np.ndarray], np.ndarray] = {
        "last": lambda t: t[-1:],
        "first": lambda t: t[:1],
        "mean": lambda t: t,
    }[pool]
    for at, (number, begin, end) in enumerate(zip(rows, begins, ends, strict=True)):
        found = aligned[number]
        for index in range(begin, end):
            if texts:
                tokens = np.zeros(1, np.int64) if pool == "first" else np.flatnonzero(found.plain)
            else:
                w = wanted.word[index]
                tokens = np.arange(found.first[w], found.last[w] + 1)
            for t in choose(tokens).tolist():
                row.append(at)
                token.append(t)
                segment.append(len(which))
            which.append(index)
    return np.array(which), np.array(row), np.array(token), np.array(segment)


def _pooled(vectors: Tensor, segment: np.ndarray, n: int) -> Tensor:
    """The mean of each word's tokens, `[n, d]`."""
    if len(segment) == n:
        return vectors
    index = torch.from_numpy(segment)
    total = torch.zeros(n, vectors.shape[1]).index_add_(0, index, vectors)
    return total / torch.bincount(index, minlength=n)[:, None]
