"""CoNLL-U: sentences with parts of speech, morphology and a dependency tree, read strictly.

The format of Universal Dependencies (https://universaldependencies.org/format.html): a line a word
with ten columns between tabs, comments before it, a blank line after each sentence. A file that breaks
the format is refused with the line and what stands there, for a probe trained on shifted columns would
learn something and say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llm_workings.core.errors import BadFile, BadInput

COLUMNS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
WORD = re.compile(r"[1-9]\d*", re.ASCII)
RANGE = re.compile(r"([1-9]\d*)-([1-9]\d*)", re.ASCII)
EMPTY = re.compile(r"(0|[1-9]\d*)\.([1-9]\d*)", re.ASCII)
SPACES = re.compile(r"\s+")


@dataclass(frozen=True)
class Word:
    """A syntactic word. `_` in the file, where it means that nothing is given, is "" here.

    Attributes:
        id: its number in the sentence, from 1.
        feats: morphological features: `{"Number": "Sing"}`.
        head: the `id` of the word that it depends on; 0 for the root.
        deprel: the relation to it (`nsubj`, `obl:tmod` ...).
        space_after: whether a space stands between it and the next word. Words that are written as
            one ("did" and "n't" of "didn't") have none between them.
        deps, misc: the last two columns as they stand.
        line: where it stands in the file, from 1.
    """

    id: int
    form: str
    lemma: str
    upos: str
    xpos: str
    feats: Mapping[str, str]
    head: int
    deprel: str
    space_after: bool = True
    deps: str = ""
    misc: str = ""
    line: int = 0


@dataclass(frozen=True)
class Multiword:
    """Words `first` to `last` (by their `id`) that are written as one, `form`: "du" for "de" and "le"."""

    first: int
    last: int
    form: str
    space_after: bool


@dataclass(frozen=True)
class EmptyNode:
    """A word that is not written, such as an elided verb (`8.1`); only the enhanced graph has it."""

    id: str
    form: str
    lemma: str
    upos: str
    feats: Mapping[str, str]


@dataclass(frozen=True)
class Sentence:
    """A sentence and its tree.

    Attributes:
        words: those that are in the tree; multiword tokens and empty nodes stand apart.
        text: the `# text` comment, or what the forms and SpaceAfter=No make where there is none.
        spans: for each word, where it begins and ends in `text` in characters. The words of a
            multiword token whose forms do not make up what is written share its span.
        depths: for each word, how many dependencies it is away from the root.
        comments: the lines before the words, without `#`.
        line: that of the first word in the file, from 1.
    """

    words: tuple[Word, ...]
    text: str
    spans: tuple[tuple[int, int], ...]
    depths: tuple[int, ...]
    multiword: tuple[Multiword, ...] = ()
    empty: tuple[EmptyNode, ...] = ()
    comments: tuple[str, ...] = ()
    line: int = 0

    def __len__(self) -> int:
        return len(self.words)

    def depth(self, index: int) -> int:
        """How many dependencies word `index` (from 0) is away from the root, whose depth is 0.

        Raises:
            BadInput: there is no such word.
        """
        if not 0 <= index < len(self.words):
            raise BadInput(
                f"There is no word {index} in {_cut(self.text)!r}.",
                hint=f"Words go from 0 to {len(self.words) - 1}.",
                given={"word": index, "words": len(self.words)},
            )
        return self.depths[index]

    @property
    def id(self) -> str:
        """The `# sent_id` comment; "" where there is none."""
        return _comment(self.comments, "sent_id") or ""


def read_conllu(path_or_text: Path | str) -> list[Sentence]:
    """The sentences of a CoNLL-U file, or of a text that has a tab or a line break in it.

    Raises:
        BadFile: no such file; not UTF-8; no sentence in it; and, each with its line: not ten columns
            between tabs, an empty one, an ID that is none or not the next, words that a multiword
            token names but are not there, features that are not `Name=Value`, a HEAD that is no
            number or outside the sentence, none or several roots, words that depend on each other in
            a circle, a comment among words or without any, a `# text` that the forms do not make up.
    """
    text, source = _text_of(path_or_text)
    sentences: list[Sentence] = []
    comments: list[str] = []
    rows: list[_Row] = []
    for number, line in enumerate([*text.split("\n"), ""], 1):
        line = line.removesuffix("\r")
        if not line.strip():
            if rows:
                sentences.append(_Reading(source, comments, rows).sentence())
            elif comments:
                raise _wrong(source, number - 1, f"The comment {_cut(comments[-1])!r} has no words below it.")
            comments, rows = [], []
        elif line.startswith("#"):
            if rows:
                raise _wrong(
                    source,
                    number,
                    f"The comment {_cut(line)!r} stands among the words of a sentence.",
                    "Put it above them, or end the sentence before it with a blank line.",
                )
            comments.append(line[1:].strip())
        else:
            rows.append(_row(source, number, line))
    if not sentences:
        raise BadFile(f"{source} has no sentence in it.", hint="A sentence is a line a word, in CoNLL-U.")
    return sentences


# ---- a line --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    line: int
    cells: tuple[str, ...]

    def value(self, column: str) -> str:
        cell = self.cells[COLUMNS.index(column)]
        return "" if cell == "_" else cell

    @property
    def id(self) -> str:
        return self.cells[0]

    @property
    def form(self) -> str:  # a form, or a lemma, may be the character _ itself
        return self.cells[1]

    @property
    def lemma(self) -> str:
        return "_" if self.cells[1] == self.cells[2] == "_" else self.value("LEMMA")

    @property
    def space_after(self) -> bool:
        return "SpaceAfter=No" not in self.value("MISC").split("|")


def _row(source: str, number: int, line: str) -> _Row:
    cells = tuple(line.split("\t"))
    if len(cells) != len(COLUMNS):
        spaced = len(cells) == 1 and len(line.split()) > 1
        raise _wrong(
            source,
            number,
            f"{_count(len(cells), 'column')} instead of 10: {_cut(line)!r}.",
            "Separate the columns with tabs, not spaces."
            if spaced
            else "They are " + ", ".join(COLUMNS) + "; write _ for one that is not given.",
        )
    for name, cell in zip(COLUMNS, cells, strict=True):
        if not cell.strip():
            raise _wrong(
                source, number, f"{name} is empty: {_cut(line)!r}.", "Write _ for what is not given."
            )
    return _Row(number, cells)


def _features(source: str, row: _Row) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in filter(None, row.value("FEATS").split("|")):
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise _wrong(
                source,
                row.line,
                f"FEATS has {_cut(pair)!r}.",
                "A feature is Name=Value, several have | between.",
            )
        if name in found:
            raise _wrong(source, row.line, f"FEATS gives {name!r} twice: {_cut(row.value('FEATS'))!r}.")
        found[name] = value
    return found


# ---- a sentence ----------------------------------------------------------------------------------


class _Reading:
    """The lines of one sentence on their way to being one."""

    def __init__(self, source: str, comments: list[str], rows: list[_Row]):
        self.source, self.comments, self.rows = source, tuple(comments), rows
        self.words: list[_Row] = []
        self.ranges: list[tuple[int, int, _Row]] = []
        self.empty: list[_Row] = []

    def sentence(self) -> Sentence:
        self._sort()
        multiword = tuple(
            Multiword(first, last, row.form, row.space_after) for first, last, row in self.ranges
        )
        heads = [self._head(row) for row in self.words]
        depths = self._depths(heads)
        spaces = [row.space_after for row in self.words]
        for token in multiword:
            spaces[token.first - 1 : token.last] = [False] * (token.last - token.first) + [token.space_after]
        words = tuple(
            Word(
                number,
                row.form,
                row.lemma,
                row.value("UPOS"),
                row.value("XPOS"),
                _features(self.source, row),
                head,
                row.value("DEPREL"),
                space,
                row.value("DEPS"),
                row.value("MISC"),
                row.line,
            )
            for number, (row, head, space) in enumerate(zip(self.words, heads, spaces, strict=True), 1)
        )
        empty = tuple(
            EmptyNode(row.id, row.form, row.lemma, row.value("UPOS"), _features(self.source, row))
            for row in self.empty
        )
        text, spans = self._place(words, multiword)
        return Sentence(
            words, text, tuple(spans), tuple(depths), multiword, empty, self.comments, self.words[0].line
        )

    def _sort(self) -> None:
        """Tell words, multiword tokens and empty nodes apart, each numbered as it has to be."""
        for row in self.rows:
            at = len(self.words)
            if WORD.fullmatch(row.id):
                if int(row.id) != at + 1:
                    raise self._wrong(
                        row,
                        f"The word {_cut(row.form)!r} has the ID {row.id} where {at + 1} should come.",
                        "Number the words 1, 2, 3 ...; a blank line begins a new sentence."
                        if row.id == "1"
                        else "",
                    )
                self.words.append(row)
            elif found := RANGE.fullmatch(row.id):
                first, last = int(found[1]), int(found[2])
                if last <= first or first != at + 1:
                    raise self._wrong(
                        row,
                        f"The multiword token {_cut(row.form)!r} has the ID {row.id} "
                        + ("that ends before it begins." if last <= first else f"above the word {at + 1}."),
                        "Its first number is that of the word on the next line.",
                    )
                if self.ranges and first <= self.ranges[-1][1]:
                    raise self._wrong(row, f"{row.id} overlaps {self.ranges[-1][2].id}.")
                self.ranges.append((first, last, row))
            elif found := EMPTY.fullmatch(row.id):
                before = [node for node in self.empty if node.id.startswith(f"{at}.")]
                if int(found[1]) != at or int(found[2]) != len(before) + 1:
                    raise self._wrong(
                        row, f"The empty node {row.id} stands where {at}.{len(before) + 1} should."
                    )
                self.empty.append(row)
            else:
                raise self._wrong(
                    row,
                    f"{_cut(row.id)!r} is no ID.",
                    "An ID is like 1, 1-2 (written as one) or 1.1 (empty).",
                )
        if not self.words:
            raise self._wrong(self.rows[0], "The sentence has no words, only other lines.")
        for _, last, row in self.ranges:
            if last > len(self.words):
                raise self._wrong(
                    row, f"{row.id} goes past the last word of the sentence, {len(self.words)}."
                )

    def _head(self, row: _Row) -> int:
        text = row.cells[COLUMNS.index("HEAD")]
        if not re.fullmatch(r"0|[1-9]\d*", text, re.ASCII):
            raise self._wrong(
                row,
                f"The HEAD of {_cut(row.form)!r} is {_cut(text)!r}, which is no number.",
                "A HEAD is the ID of another word, or 0.",
            )
        head = int(text)
        if head > len(self.words):
            raise self._wrong(
                row,
                f"The HEAD of {_cut(row.form)!r} is {head}, outside the sentence of "
                f"{_count(len(self.words), 'word')}.",
            )
        return head

    def _depths(self, heads: list[int]) -> list[int]:
        roots = [row for row, head in zip(self.words, heads, strict=True) if head == 0]
        depths: dict[int, int] = {}
        for start in range(1, len(heads) + 1):
            path: list[int] = []
            at = start
            while at and at not in depths:
                if at in path:
                    circle = [*path[path.index(at) :], at]
                    said = " -> ".join(f"{number} {self.words[number - 1].form!r}" for number in circle[:9])
                    raise self._wrong(self.words[at - 1], f"Words depend on each other in a circle: {said}.")
                path.append(at)
                at = heads[at - 1]
            below = depths[at] if at else -1
            for number in reversed(path):
                depths[number] = below = below + 1
        if len(roots) != 1:  # none without a circle cannot be, so several
            raise self._wrong(
                roots[1],
                f"The sentence has {len(roots)} roots: "
                + ", ".join(f"{row.id} {row.form!r}" for row in roots[:5])
                + ".",
                "One word has the HEAD 0; end a sentence with a blank line.",
            )
        return [depths[number] for number in range(1, len(heads) + 1)]

    def _place(
        self, words: tuple[Word, ...], multiword: tuple[Multiword, ...]
    ) -> tuple[str, list[tuple[int, int]]]:
        """The text, and where each word stands in it."""
        written: list[tuple[str, bool, tuple[Word, ...]]] = []
        within = {number: token for token in multiword for number in range(token.first, token.last + 1)}
        for word in words:
            token = within.get(word.id)
            if token is None:
                written.append((word.form, word.space_after, (word,)))
            elif word.id == token.first:
                written.append((token.form, token.space_after, words[token.first - 1 : token.last]))
        made = "".join(form + " " * space for form, space, _ in written).strip()
        given = _comment(self.comments, "text")
        text = made if given is None else given
        if SPACES.sub(" ", text) != SPACES.sub(" ", made):
            raise self._wrong(
                self.words[0],
                f"The words make {_around(made, text)!r}, but # text says {_around(text, made)!r}.",
                "SpaceAfter=No in MISC says that no space follows a word.",
            )
        spans: list[tuple[int, int]] = []
        at = 0
        for form, _, parts in written:
            # Several spaces in the text stand for one of the forms': both are matched by any run.
            found = re.compile(r"\s+".join(map(re.escape, form.split()))).search(text, at)
            assert found is not None
            at = found.end()
            if "".join(part.form for part in parts) == found[0]:
                begin = found.start()
                for part in parts:
                    spans.append((begin, begin + len(part.form)))
                    begin += len(part.form)
            else:
                spans += [found.span()] * len(parts)
        return text, spans

    def _wrong(self, row: _Row, message: str, hint: str = "") -> BadFile:
        return _wrong(self.source, row.line, message, hint)


# ---- small things --------------------------------------------------------------------------------


def _text_of(path_or_text: Path | str) -> tuple[str, str]:
    """The text, and what to call it."""
    if isinstance(path_or_text, str) and ("\n" in path_or_text or "\t" in path_or_text):
        return path_or_text.removeprefix("\ufeff"), "The text"
    path = Path(path_or_text)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        raise BadFile(f"The CoNLL-U file {str(path_or_text)!r} {what}.", given={"path": str(path_or_text)})
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig"), path.name
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise _wrong(
            path.name,
            line,
            f"Not UTF-8: byte {raw[error.start]:#04x} cannot stand there.",
            "Save the file as UTF-8.",
        ) from None


def _wrong(source: str, line: int, message: str, hint: str = "") -> BadFile:
    return BadFile(f"{source}, line {line}: {message}", hint=hint, given={"line": line})


def _comment(comments: tuple[str, ...], name: str) -> str | None:
    for comment in comments:
        key, equals, value = comment.partition("=")
        if equals and key.strip() == name:
            return value.strip()
    return None


def _around(text: str, other: str, width: int = 24) -> str:
    """`text` around the first character in which it differs from `other`."""
    at = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), len(other))
    begin, end = max(0, at - width), at + width
    return ("…" if begin else "") + text[begin:end] + ("…" if end < len(text) else "")


def _cut(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
