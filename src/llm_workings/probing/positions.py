"""Where along a sentence a property can be read: a linear probe at every site and every word.

The sentences have the same number of words and one label each (`template`), so the third word of one is
comparable with the third of another. In a model that reads causally a word before the one that says the
label cannot know it: what a probe scores there is what scoring looks like without anything to find.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from llm_workings.core.errors import BadInput
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.sites import Site

from .activations import collect
from .probes import LINEAR_L2
from .report import STRENGTHS, check_sides, in_threads, rows_of, sampled
from .scores import split_sentences
from .study import Layer, Setting, Study
from .tasks import Task

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel
    from llm_workings.trace.plan import Names


@dataclass(frozen=True)
class ByWord:
    """What linear probes read of a sentence's label, site by site and word by word.

    Attributes:
        task, about, model: what was asked, of which model.
        classes: the labels' names.
        n_train, n_test: sentences learned from and tested on.
        sites: the places, in the model's order.
        results: one tuple a site that is done, of one result a word.
        majority: the accuracy of always saying the training's most common label.
        lookup: `[word]`, that of a dictionary of the words that stand there.
        word_types: `[word]`, how many different words stand there in the training. The control task of
            few is learned by heart.
        examples: `[word]`, the words that stand there in the training, the most common first.
        told_at: the first word that says the label: each of its forms stands in sentences of one label
            only. A model that reads causally cannot know it before. None if no word does.
        seed: of the split, the controls and the intervals.
    """

    task: str
    about: str
    model: str
    classes: tuple[str, ...]
    n_train: int
    n_test: int
    sites: tuple[Site, ...]
    results: tuple[tuple[Layer, ...], ...]
    majority: float
    lookup: tuple[float, ...]
    word_types: tuple[int, ...]
    examples: tuple[tuple[str, ...], ...]
    told_at: int | None
    seed: int


def probe_words(
    model: LanguageModel,
    task: Task,
    sites: Names = "mlp_out.*",
    *,
    test: float = 0.3,
    l2: float | None = LINEAR_L2,
    seed: int = 0,
    progress: Progress = SILENT,
    watch: Callable[[ByWord], None] | None = None,
) -> ByWord:
    """A probe at every site and every word of sentences that are alike in length, in one reading.

    Each is what `probe` fits to the task with that word labelled in place of its own (`at_word`), on
    the same split.

    Args:
        task: one label a sentence, of classes; from `template`, other than "position".
        sites: names, globs or ranges of sites of one width.
        test, seed: as in `probe`.
        l2: the regularization, the same everywhere; None chooses it for each probe, as `probe` does.
        watch: called with the sites that are done, as each is.

    Raises:
        BadInput: sentences of several lengths, of several labels or of values, and what `collect` and
            `probe` raise.
        Cancelled: the progress said to stop.
    """
    length = _length(task)
    split = sampled([task], split_sentences(task.keys, test, seed), None, seed)
    task = task.take(np.concatenate((split.train, split.test)))
    found = collect(model, task.passages, sites, progress=progress)
    setting = Setting(STRENGTHS["classes"] if l2 is None else (l2,), False, False, seed)
    studies, rows = [], []
    for word in range(length):
        here = at_word(task, word)
        row = rows_of(here, found)
        train = np.flatnonzero((row >= 0) & (here.sentence < len(split.train)))
        tested = np.flatnonzero((row >= 0) & (here.sentence >= len(split.train)))
        check_sides(here, train, tested)
        studies.append(Study(here, train, tested, setting))
        rows.append((row[train], row[tested]))
    known = [study.baselines() for study in studies]
    common = [_by_count(study.learned) for study in studies]
    told_at = next((word for word in range(length) if _tells(at_word(task, word))), None)

    def so_far(done: Sequence[Layer]) -> ByWord:
        whole = len(done) // length
        return ByWord(
            task.name,
            task.about,
            found.model,
            task.classes,
            len(split.train),
            len(split.test),
            found.sites,
            tuple(tuple(done[at * length : (at + 1) * length]) for at in range(whole)),
            known[0][0],
            tuple(float(lookup) for _, lookup in known if lookup is not None),
            tuple(len(set(study.learned)) for study in studies),
            tuple(common),
            told_at,
            seed,
        )

    def fit(number: int) -> Layer:
        site, word = divmod(number, length)
        learn, ask = (found.values[side, site] for side in rows[word])
        return studies[word].layer(found.sites[site], learn, ask)[0]

    done: list[Layer] = []
    total = len(found.sites) * length
    with closing(in_threads(fit, total, f"probing {task.name} at every word", progress)) as results:
        for one in results:
            done.append(one)
            if watch is not None and len(done) % length == 0 and len(done) < total:
                watch(so_far(done))
    return so_far(done)


def at_word(task: Task, word: int) -> Task:
    """The same labels, read at another word of each sentence.

    Raises `BadInput` for sentences of several lengths, labels or values, and for a word that is not there.
    """
    length = _length(task)
    if not 0 <= word < length:
        raise BadInput(f"There is no word {word}: the sentences have {length}.", given={"word": word})
    return replace(task, word=np.full(len(task), word))


def _length(task: Task) -> int:
    """How many words every sentence has."""
    lengths = sorted({len(passage.forms) for passage in task.passages})
    if not task.of_words or len(lengths) > 1:
        what = (
            "have no words of their own" if not task.of_words else f"have {lengths[0]} to {lengths[-1]} words"
        )
        raise BadInput(
            f"{task.name}: the texts {what}; words are compared by their place in sentences of one length.",
            hint='Take a template: "number", "tense", "sentiment" or "negation".',
        )
    if task.kind != "classes" or len(np.unique(task.sentence)) < len(task):
        raise BadInput(
            f"{task.name}: a sentence is to have one label, the same wherever it is read.",
            hint='Take a template: "number", "tense", "sentiment" or "negation".',
        )
    return lengths[0]


def _tells(task: Task) -> bool:
    """Whether the labelled words alone say the labels."""
    seen: dict[str, int] = {}
    return all(
        seen.setdefault(form, label) == label
        for form, label in zip(task.forms, task.labels.tolist(), strict=True)
    )


def _by_count(words: Sequence[str]) -> tuple[str, ...]:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return tuple(sorted(counts, key=lambda word: (-counts[word], word)))
