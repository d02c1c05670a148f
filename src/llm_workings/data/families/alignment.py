"""Whether two texts align token by token, and which tokens a stretch of text is.

A patch copies what one text computed at a position into the run of another. It means something only
where the two have the same part of the sentence at the same position, so texts of different length in
tokens are refused, with the place at which they part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from llm_workings.core.errors import BadInput

MOST_CELLS = 1_000_000  # of the table in which the place is looked for


class Spells(Protocol):
    """A tokenizer that says what each token is."""

    def pieces(self, ids: Iterable[int]) -> list[str]: ...


class Reads(Spells, Protocol):
    """What is needed of a tokenizer: `llm_workings.models.tokens.Tokenizer` has it."""

    @property
    def vocab_size(self) -> int: ...
    def encode(self, text: str, *, special: bool = True) -> list[int]: ...
    def decode(self, ids: list[int]) -> str: ...
    def one(self, text: str) -> int: ...
    def spans(self, text: str, *, special: bool = True) -> list[tuple[int, int]]: ...
    def is_special(self, index: int) -> bool: ...


def check_alignment(tokenizer: Reads, clean: str, corrupted: str) -> tuple[int, ...]:
    """The positions at which two texts of equally many tokens have different ones, in order.

    Positions count from 0 and include the tokens that the model expects around a text. Equal texts have
    none: a patch between them changes nothing.

    Raises:
        BadInput: the two are not equally many tokens. It says where they part, and shows both.
    """
    return check_token_alignment(tokenizer, tokenizer.encode(clean), tokenizer.encode(corrupted))


def check_token_alignment(
    tokenizer: Spells, clean: Sequence[int], corrupted: Sequence[int]
) -> tuple[int, ...]:
    """`check_alignment` of texts that are token ids already."""
    if len(clean) == len(corrupted):
        return tuple(at for at, (a, b) in enumerate(zip(clean, corrupted, strict=True)) if a != b)
    (begin, end), (begin_2, end_2) = _where_they_part(clean, corrupted)
    ours, theirs = tokenizer.pieces(clean), tokenizer.pieces(corrupted)
    raise BadInput(
        f"The two texts do not align: {_said('the clean one', ours, begin, end)}, "
        f"and {_said('the corrupted one', theirs, begin_2, end_2)}. "
        f"Clean ({len(ours)} tokens): {_listed(ours, begin, end)}. "
        f"Corrupted ({len(theirs)} tokens): {_listed(theirs, begin_2, end_2)}.",
        hint="Choose words that split into equally many tokens.",
        given={"position": begin, "clean_tokens": ours, "corrupted_tokens": theirs},
    )


def positions_of(tokenizer: Reads, text: str, begin: int, end: int) -> tuple[int, ...]:
    """The positions of the tokens that write characters `begin` to `end` (exclusive) of `text`.

    Raises:
        BadInput: no token writes any of them.
    """
    spans = tokenizer.spans(text)
    found = tuple(at for at, (first, last) in enumerate(spans) if first < end and begin < last)
    if not found:
        raise BadInput(
            f"No token of {text!r} writes the characters {begin} to {end}: {text[begin:end]!r}.",
            hint=f"Characters go from 0 to {len(text)}.",
            given={"text": text, "begin": begin, "end": end},
        )
    return found


def _where_they_part(ours: Sequence[int], theirs: Sequence[int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The first stretch that differs in length between two lists, `(begin, end)` in each.

    It is read off the shortest way of turning one into the other by replacing, leaving out and adding
    (Wagner and Fischer 1974), between what the two have in common at both ends.
    """
    head = 0
    while head < min(len(ours), len(theirs)) and ours[head] == theirs[head]:
        head += 1
    tail = 0
    while tail < min(len(ours), len(theirs)) - head and ours[-1 - tail] == theirs[-1 - tail]:
        tail += 1
    a, b = ours[head : len(ours) - tail], theirs[head : len(theirs) - tail]
    if not a or not b or len(a) * len(b) > MOST_CELLS:
        return (head, head + len(a)), (head, head + len(b))
    # cost[i][j] turns a[i:] into b[j:], so that the way is walked from the front.
    cost = [[len(b) - j + len(a) - i for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in reversed(range(len(a))):
        for j in reversed(range(len(b))):
            replaced = cost[i + 1][j + 1] + (a[i] != b[j])
            cost[i][j] = min(replaced, cost[i + 1][j] + 1, cost[i][j + 1] + 1)
    i = j = 0
    begin = (0, 0)  # of the stretch under way
    while i < len(a) or j < len(b):
        same = i < len(a) and j < len(b) and a[i] == b[j] and cost[i][j] == cost[i + 1][j + 1]
        if same:
            if i - begin[0] != j - begin[1]:
                break
            i, j = i + 1, j + 1
            begin = (i, j)
        elif i < len(a) and j < len(b) and cost[i][j] == cost[i + 1][j + 1] + 1:
            i, j = i + 1, j + 1
        elif i < len(a) and cost[i][j] == cost[i + 1][j] + 1:
            i += 1
        else:
            j += 1
    return (head + begin[0], head + i), (head + begin[1], head + j)


def _said(which: str, pieces: list[str], begin: int, end: int) -> str:
    if begin == end:
        return f"{which} has nothing at position {begin}"
    what = repr("".join(pieces[begin:end]))
    return f"{which} has {what} of {end - begin} token{'s' * (end - begin > 1)} at position {begin}"


def _listed(pieces: list[str], begin: int, end: int, around: int = 12) -> str:
    """The tokens, those far from the place left out."""
    first, last = max(0, begin - around), min(len(pieces), end + around)
    if last - first <= 4 * around:
        shown = repr(pieces[first:last])
    else:
        shown = repr(pieces[first : first + 2 * around])[:-1] + ", …]"
    return ("… " if first else "") + shown + (" …" if last < len(pieces) else "")
