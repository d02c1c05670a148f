"""What a probe is asked: sentences, which of their words (or the whole), and a label for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np

from llm_workings.core.errors import BadInput, unknown

from .alignment import Passage

FEWEST_OF_CLASS = 5


class TreeWord(Protocol):
    """What is read of a treebank's word: `data.conllu.Word` has it."""

    @property
    def form(self) -> str: ...
    @property
    def upos(self) -> str: ...
    @property
    def feats(self) -> Mapping[str, str]: ...
    @property
    def head(self) -> int: ...
    @property
    def deprel(self) -> str: ...


class TreeSentence(Protocol):
    """A sentence of a treebank; `head` counts its words from 1, and 0 is the root."""

    @property
    def text(self) -> str: ...
    @property
    def words(self) -> Sequence[Any]: ...


@dataclass(frozen=True)
class Task:
    """Labels of words (or of whole texts).

    Attributes:
        name: what is asked.
        passages: the sentences.
        sentence: `[item]`, the number of the sentence of each labelled item.
        word: `[item]`, the number of the word in it; -1 for a whole text.
        labels: `[item]`, the number of the class (int64), or the value (float64).
        classes: names of the classes; empty for values.
        keys: one a sentence. Sentences of one key stay on one side of a split: by default those of
            the same text; in a template, those of the same key word.
        about: one sentence on what the label is.
    """

    name: str
    passages: tuple[Passage, ...]
    sentence: np.ndarray
    word: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    keys: tuple[str, ...]
    about: str = ""

    def __post_init__(self) -> None:
        for array in (self.sentence, self.word, self.labels):
            array.setflags(write=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def kind(self) -> Literal["classes", "values"]:
        """Whether classes are told apart or a value is predicted."""
        return "classes" if self.classes else "values"

    @property
    def of_words(self) -> bool:
        """Whether words are labelled, and not whole texts."""
        return bool(self.passages[0].forms)

    @property
    def forms(self) -> tuple[str, ...]:
        """The labelled words as they are written (or the texts): `[item]`."""
        pairs = zip(self.sentence.tolist(), self.word.tolist(), strict=True)
        return tuple(self.passages[s].forms[w] if w >= 0 else self.passages[s].text for s, w in pairs)

    def counts(self) -> dict[str, int]:
        """How many items each class has."""
        return {name: int((self.labels == i).sum()) for i, name in enumerate(self.classes)}

    def take(self, sentences: Sequence[int] | np.ndarray) -> Task:
        """The task on these sentences only, in their order."""
        chosen = [int(s) for s in sentences]
        at = {s: i for i, s in enumerate(chosen)}
        if len(at) < len(chosen):
            raise BadInput("A sentence is taken twice.", given={"sentences": len(chosen)})
        places = np.array([at.get(int(s), -1) for s in self.sentence], np.int64)
        items = np.flatnonzero(places >= 0)
        items = items[np.lexsort((self.word[items], places[items]))]
        return replace(
            self,
            passages=tuple(self.passages[s] for s in chosen),
            sentence=places[items],
            word=self.word[items],
            labels=self.labels[items],
            keys=tuple(self.keys[s] for s in chosen),
        )

    def without(self, other: Task) -> Task:
        """The task less the sentences that `other` has too (by their key)."""
        theirs = set(other.keys)
        return self.take([s for s, key in enumerate(self.keys) if key not in theirs])

    def join(self, other: Task) -> Task:
        """Both tasks' sentences, this one's first. Raises `BadInput` if they ask different things."""
        if self.name != other.name or self.of_words != other.of_words or self.kind != other.kind:
            raise BadInput(
                f"The tasks {self.name!r} and {other.name!r} ask different things.",
                hint="Learn and test on the same.",
            )
        classes = (*self.classes, *(name for name in other.classes if name not in self.classes))
        renamed = np.array([classes.index(name) for name in other.classes], np.int64)
        labels = renamed[other.labels] if self.classes else other.labels
        return replace(
            self,
            passages=self.passages + other.passages,
            sentence=np.concatenate((self.sentence, other.sentence + len(self.passages))),
            word=np.concatenate((self.word, other.word)),
            labels=np.concatenate((self.labels, labels)),
            classes=classes,
            keys=self.keys + other.keys,
        )

    def __repr__(self) -> str:
        what = "words" if self.of_words else "texts"
        of = f"{len(self.classes)} classes" if self.classes else f"values of mean {self.labels.mean():.2f}"
        return f"Task {self.name}: {len(self)} {what} of {len(self.passages)} sentences, {of}"


# --- treebanks -----------------------------------------------------------------------------------
def _of_classes(feature: str, keep: Sequence[str]) -> Callable[[Any, int], str | None]:
    def label(sentence: Any, at: int) -> str | None:
        value = sentence.words[at].feats.get(feature)
        return value if not keep or value in keep else None

    return label


LABELS: dict[str, tuple[str, Callable[[Any, int], str | None]]] = {
    "part_of_speech": ("The universal part of speech (UPOS).", lambda s, i: s.words[i].upos or None),
    "number": ("Singular or plural (Number=Sing, Plur).", _of_classes("Number", ("Sing", "Plur"))),
    "tense": ("Past or present (Tense=Past, Pres).", _of_classes("Tense", ("Past", "Pres"))),
    "dependency_relation": (
        "The relation to the word's head, without its subtype (nsubj, obj, amod ...).",
        lambda s, i: s.words[i].deprel.partition(":")[0] or None,
    ),
}
DEPTH = "dependency_depth"
FEATURE = "feature:"


def treebank(sentences: Sequence[TreeSentence], what: str = "part_of_speech", *, least: int = 20) -> Task:
    """A task of a treebank's annotation.

    Args:
        sentences: as `data.conllu.read_conllu` gives them.
        what: "part_of_speech", "number", "tense", "dependency_relation", "dependency_depth" (how many
            dependencies a word is away from the root; a value), or "feature:NAME" of any feature
            ("feature:Mood").
        least: classes of fewer words are left out.

    Raises:
        BadInput: no sentences, no word with such a label, a single class, a tree with a circle.
        UnknownName: no such annotation; suggests the nearest.
    """
    if what.startswith(FEATURE) and what != FEATURE:
        name = what.removeprefix(FEATURE)
        about, label = f"The feature {name}.", _of_classes(name, ())
    elif what in LABELS:
        about, label = LABELS[what]
    elif what != DEPTH:
        raise unknown("annotation", what, [*LABELS, DEPTH, f"{FEATURE}NAME"])
    if not sentences:
        raise BadInput("The treebank has no sentences.")
    passages = tuple(Passage.of(sentence) for sentence in sentences)
    keys = tuple(_key(passage.text) for passage in passages)
    if what == DEPTH:
        values = [(s, i, d) for s, tree in enumerate(sentences) for i, d in enumerate(depths(tree))]
        where = np.array(values, np.int64).reshape(-1, 3)
        about = "How many dependencies the word is away from the root, whose depth is 0."
        return Task(what, passages, where[:, 0], where[:, 1], where[:, 2].astype(np.float64), (), keys, about)
    found = [
        (s, i, named)
        for s, tree in enumerate(sentences)
        for i in range(len(tree.words))
        if (named := label(tree, i)) is not None
    ]
    counts = Counter(name for _, _, name in found)
    classes = tuple(sorted(name for name, n in counts.items() if n >= least))
    if len(classes) < 2:
        seen = ", ".join(f"{name} ({n})" for name, n in counts.most_common(8)) or "none"
        raise BadInput(
            f"The treebank's {len(passages)} sentences have {len(classes)} classes of {what} with at least "
            f"{least} words; a probe tells two or more apart. They have {seen}.",
            hint="Take more sentences, or a smaller least=...",
            given={"what": what, "counts": dict(counts)},
        )
    number = {name: i for i, name in enumerate(classes)}
    where = np.array([(s, i, number[name]) for s, i, name in found if name in number], np.int64)
    return Task(what, passages, where[:, 0], where[:, 1], where[:, 2], classes, keys, about)


def depths(sentence: Any) -> list[int]:
    """How many dependencies each word is away from the root. Raises `BadInput` for what is no tree."""
    if (known := getattr(sentence, "depths", None)) is not None:
        return list(known)
    heads = [word.head for word in sentence.words]
    found = []
    for at in range(len(heads)):
        depth, here = 0, at
        while heads[here] != 0:
            depth, here = depth + 1, heads[here] - 1
            if not 0 <= here < len(heads) or depth > len(heads):
                raise BadInput(
                    f"The heads of {sentence.text[:60]!r} make no tree: from word {at + 1}, "
                    f"{sentence.words[at].form!r}, no way leads to the root.",
                    given={"heads": heads},
                )
        found.append(depth)
    return found


def labelled_texts(labels: Sequence[str], texts: Sequence[str], name: str = "labelled texts") -> Task:
    """A task of whole texts, from lists.

    Raises:
        BadInput: lists of different length, an empty text, a text with two labels, a single class, or
            a class of fewer than 5 different texts.
    """
    if len(labels) != len(texts):
        raise BadInput(f"There are {len(labels)} labels for {len(texts)} texts.")
    passages = tuple(Passage.of(text) for text in texts)
    keys = tuple(_key(text) for text in texts)
    if len(set(labels)) > len(set(keys)):
        raise BadInput(
            f"There are {len(set(labels))} labels for {len(set(keys))} different texts.",
            hint="Are the label and the text in the other order?",
        )
    said: dict[str, str] = {}
    for key, label, text in zip(keys, labels, texts, strict=True):
        if said.setdefault(key, label) != label:
            raise BadInput(
                f"The text {text[:60]!r} has two labels, {said[key]!r} and {label!r}.",
                hint="No probe can be right about both: keep one.",
            )
    check_classes(Counter(said.values()))
    classes = tuple(sorted(set(labels)))
    numbers = np.array([classes.index(label) for label in labels], np.int64)
    at = np.arange(len(texts))
    return Task(name, passages, at, np.full(len(texts), -1), numbers, classes, keys)


def check_classes(counts: Mapping[str, int]) -> None:
    """Raises `BadInput` for labels that no probe can learn: none, one class, too few of a class."""
    listed = ", ".join(f"{name!r} ({n})" for name, n in sorted(counts.items())[:8])
    if len(counts) < 2:
        raise BadInput(
            f"There is one class only: {listed}." if counts else "There are no labelled texts.",
            hint="A probe tells two or more apart.",
            given={"counts": dict(counts)},
        )
    few = {name: n for name, n in counts.items() if n < FEWEST_OF_CLASS}
    if few:
        name = min(few, key=lambda name: few[name])
        raise BadInput(
            f"The class {name!r} has {few[name]} different texts, too few to learn from and test on; "
            f"each needs {FEWEST_OF_CLASS}. There are {len(counts)} classes: {listed}"
            f"{' …' if len(counts) > 8 else ''}.",
            hint="Add texts of it, or leave it out.",
            given={"counts": dict(counts)},
        )


def _key(text: str) -> str:
    """What makes two texts the same: their words, whatever their case and spaces."""
    return " ".join(text.lower().split())
