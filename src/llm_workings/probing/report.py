"""Probe a model: every layer, with what it takes to believe the numbers, in one pass over the text."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from llm_workings.core.errors import BadInput, unknown
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.sites import Site

from .activations import STREAM, Activations, Pool, collect
from .alignment import Passage
from .probes import LinearProbe, RidgeProbe
from .scores import Split, check_split, split_sentences
from .study import Layer, Setting, Study
from .tasks import Task

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel
    from llm_workings.trace.plan import Names

One = TypeVar("One")
Watch = Callable[["ProbeReport"], None]
Result = tuple[Layer, LinearProbe | RidgeProbe, np.ndarray]
STRENGTHS = {"classes": (1.0, 10.0, 30.0, 100.0, 300.0, 3000.0), "values": (10.0, 100.0, 1000.0, 10000.0)}
LIMIT = 12_000
TESTED = 1 / 3  # of the limit, at most
FEW_TYPES = 100
POSITIONS = (0, 1, 2, 4, 8, 16, 32)  # where buckets of word positions begin


@dataclass(frozen=True)
class ByPosition:
    """How well words are read by where they stand in the sentence.

    Attributes:
        begins: the first word number of each bucket; the last one has no end.
        counts: `[bucket]`, test words in it.
        scores: `[site, bucket]`, accuracy, or for values the mean absolute error; NaN for none.
    """

    begins: tuple[int, ...]
    counts: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class ProbeReport:
    """What linear probes read of a property, site by site. Printing it shows the table.

    Attributes:
        task, about, model: what was asked, of which model.
        kind: "classes" (scores are accuracies) or "values" (scores are R2).
        classes: their names.
        n_train, n_test: words (or texts) learned from and tested on, and of how many sentences.
        majority: the score of always saying the most common label (the mean).
        lookup: the score of a dictionary of the words learned from; None for whole texts.
        word_types: how many different words were learned from; 0 for whole texts. A control task of
            few is easily learned by heart, and says little.
        layers: one result a site.
        seed: of the sample, the split, the controls and the intervals.
        left_out: words that were not read, by why.
        probes: one a site.
        predictions: `[site, test word]`; with `labels`, `positions` (word numbers), `forms` and
            `passages` (the sentence each stands in) of the test words.
    """

    task: str
    about: str
    model: str
    kind: str
    classes: tuple[str, ...]
    n_train: int
    n_test: int
    train_sentences: int
    test_sentences: int
    majority: float
    lookup: float | None
    word_types: int
    layers: tuple[Layer, ...]
    seed: int
    left_out: dict[str, int]
    probes: tuple[LinearProbe | RidgeProbe, ...]
    predictions: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    forms: tuple[str, ...]
    passages: tuple[Passage, ...]

    def __getitem__(self, site: Site | str) -> Layer:
        """The result at a site. Raises `UnknownName` for one that was not probed."""
        return self.layers[self._at(site)]

    def probe(self, site: Site | str) -> LinearProbe | RidgeProbe:
        """The probe that was fitted there. Raises `UnknownName` for a site that was not probed."""
        return self.probes[self._at(site)]

    def _at(self, site: Site | str) -> int:
        names = [str(layer.site) for layer in self.layers]
        if str(site) not in names:
            raise unknown("probed site", str(site), names)
        return names.index(str(site))

    @property
    def best(self) -> Layer:
        """The site with the highest score."""
        return max(self.layers, key=lambda layer: layer.score.value)

    def by_position(self, begins: Sequence[int] = POSITIONS) -> ByPosition:
        """How well the test words are read by where they stand in their sentence."""
        bucket = np.searchsorted(begins, self.positions, side="right") - 1
        if self.kind == "classes":
            good = (self.predictions == self.labels).astype(float)
        else:
            good = np.abs(self.predictions - self.labels)
        counts = np.bincount(bucket, minlength=len(begins))
        with np.errstate(invalid="ignore"):
            scores = np.stack([np.bincount(bucket, row, len(begins)) for row in good]) / counts
        return ByPosition(tuple(begins), counts, scores)

    def as_dict(self) -> dict[str, Any]:
        """The table as JSON values; the probes and single predictions are not in it."""
        rows = [
            {
                "site": str(layer.site),
                "score": layer.score.value,
                "low": layer.score.low,
                "high": layer.score.high,
                "spearman": layer.spearman,
                "control": layer.control,
                "selectivity": layer.selectivity,
                "shuffled": layer.shuffled,
                "bits": None if layer.code is None else layer.code.bits,
                "uniform_bits": None if layer.code is None else layer.code.uniform,
                "compression": None if layer.code is None else layer.code.compression,
                "l2": layer.l2,
                "mlp": layer.mlp,
                "mlp_control": layer.mlp_control,
                "converged": layer.converged,
            }
            for layer in self.layers
        ]
        names = ("task", "about", "model", "kind", "n_train", "n_test", "train_sentences", "test_sentences")
        return {
            **{
                name: getattr(self, name)
                for name in (*names, "majority", "lookup", "word_types", "seed", "left_out")
            },
            "classes": list(self.classes),
            "layers": rows,
        }

    def __repr__(self) -> str:
        return _table(self)


def probe(
    model: LanguageModel,
    task: Task,
    sites: Names = STREAM,
    *,
    test: float | Task | Split = 0.3,
    limit: int | None = LIMIT,
    l2: float | None = None,
    mdl: bool = True,
    mlp: bool = False,
    pool: Pool | None = None,
    begin: bool = True,
    seed: int = 0,
    budget: int | str | None = None,
    progress: Progress = SILENT,
    watch: Watch | None = None,
) -> ProbeReport:
    """Linear probes of a property at every site, with baselines, controls and intervals.

    Logistic regression for classes, ridge regression for values; at each site on standardized
    vectors. Beside the score stand the same probe on a control task and on shuffled labels, and how
    many bits the labels take by the online code.

    Args:
        task: from `treebank`, `template`, `read_labelled` or `labelled_texts`.
        sites: names, globs or ranges of sites of one width; "stream" is every stop of the stream.
        test: the share of the sentences that is tested on, or other sentences (a task), or a
            `Split` of sentence numbers. The last two are refused if a sentence stands on both sides.
        limit: of labelled words (or texts), whole sentences drawn by the seed, at most a third of
            them to test on; None for all.
        l2: the regularization; by default the one that codes labels best that it has not seen: of
            1 to 3000 for classes, 10 to 10000 for values.
        mdl: whether to report the code length.
        mlp: whether to fit a probe of one hidden layer as well (classes only; it takes longer).
        pool, begin, budget: as in `activations.collect`.
        watch: called with the report of the sites that are done, as each is.

    Raises:
        BadInput: a sentence on both sides of the split, a side without words, one class only, and
            what `collect` raises.
        TooLarge: the vectors do not fit the budget.
        Cancelled: the progress said to stop.
    """
    return probe_all(
        model,
        [task],
        sites,
        test=[test] if isinstance(test, Task) else test,
        limit=limit,
        l2=l2,
        mdl=mdl,
        mlp=mlp,
        pool=pool,
        begin=begin,
        seed=seed,
        budget=budget,
        progress=progress,
        watch=watch,
    )[0]


def probe_all(
    model: LanguageModel,
    tasks: Sequence[Task],
    sites: Names = STREAM,
    *,
    test: float | Sequence[Task] | Split = 0.3,
    limit: int | None = LIMIT,
    l2: float | None = None,
    mdl: bool = True,
    mlp: bool = False,
    pool: Pool | None = None,
    begin: bool = True,
    seed: int = 0,
    budget: int | str | None = None,
    progress: Progress = SILENT,
    watch: Watch | None = None,
) -> list[ProbeReport]:
    """Several properties of the same sentences, which the model reads once; the rest as `probe`.

    Args:
        tasks: on the same sentences; `test`, if it is tasks, has one for each.

    Raises as `probe`, and `BadInput` for tasks on different sentences.
    """
    tasks = list(tasks)
    if not tasks:
        raise BadInput("There is no task to probe.")
    tasks, split = _divided(tasks, test, seed)
    split = sampled(tasks, split, limit, seed)
    chosen = np.concatenate((split.train, split.test))
    tasks = [one.take(chosen) for one in tasks]
    n_train = len(split.train)
    words = _words(tasks) if tasks[0].of_words else None
    found = collect(
        model,
        tasks[0].passages,
        sites,
        pool=pool,
        words=words,
        begin=begin,
        budget=budget,
        progress=progress,
    )
    reports = []
    for number, one in enumerate(tasks):
        strengths = STRENGTHS[one.kind] if l2 is None else (l2,)
        setting = Setting(strengths, mdl, mlp and one.kind == "classes", seed)
        name = one.name if len(tasks) == 1 else f"{one.name} ({number + 1} of {len(tasks)})"
        reports.append(_report(one, found, n_train, setting, name, progress, watch))
    return reports


def _report(
    task: Task,
    found: Activations,
    n_train: int,
    setting: Setting,
    name: str,
    progress: Progress,
    watch: Watch | None,
) -> ProbeReport:
    rows = rows_of(task, found)
    has = rows >= 0
    train = np.flatnonzero(has & (task.sentence < n_train))
    test = np.flatnonzero(has & (task.sentence >= n_train))
    check_sides(task, train, test)
    study = Study(task, train, test, setting)
    majority, known = study.baselines()
    forms = task.forms
    tested = tuple(forms[i] for i in test), tuple(task.passages[task.sentence[i]] for i in test)

    def report(done: Sequence[Result]) -> ProbeReport:
        layers, probes, predictions = zip(*done, strict=True)
        return ProbeReport(
            task.name,
            task.about,
            found.model,
            task.kind,
            task.classes,
            len(train),
            len(test),
            len(np.unique(task.sentence[train])),
            len(np.unique(task.sentence[test])),
            majority,
            known,
            len(set(study.learned)) if task.of_words else 0,
            layers,
            setting.seed,
            {**found.left_out},
            probes,
            np.stack(predictions),
            task.labels[test],
            np.maximum(task.word[test], 0),
            *tested,
        )

    done: list[Result] = []
    with closing(_each_site(study, found, rows[train], rows[test], name, progress)) as results:
        for one in results:
            done.append(one)
            if watch is not None and len(done) < len(found.sites):
                watch(report(done))
    return report(done)


def _each_site(
    study: Study, found: Activations, train: np.ndarray, test: np.ndarray, name: str, progress: Progress
) -> Generator[Result, None, None]:
    """What comes out at each site."""

    def at(number: int) -> Result:
        values = found.values
        return study.layer(found.sites[number], values[train, number], values[test, number])

    return in_threads(at, len(found.sites), f"probing {name}", progress)


def in_threads(
    work: Callable[[int], One], total: int, what: str, progress: Progress
) -> Generator[One, None, None]:
    """`work(0)` to `work(total - 1)` in their order; several are worked on at once, each by one thread.

    The matrices are small: threads that share one spend their time waiting for each other.
    """
    workers = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(work, number) for number in range(total)]
            try:
                for number, future in enumerate(futures):
                    progress.report(what, number, total)
                    yield future.result()
            except BaseException:  # stopped, or one has failed: begin no other
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(workers)
    progress.report(what, total, total)


# --- which sentences -----------------------------------------------------------------------------
def _divided(tasks: list[Task], test: Any, seed: int) -> tuple[list[Task], Split]:
    """The tasks on all sentences, and which are learned from and tested on."""
    first = tasks[0]
    for other in tasks[1:]:
        if other.passages != first.passages:
            raise BadInput(
                f"The tasks {first.name!r} and {other.name!r} are on different sentences.",
                hint="Make them from the same, or probe them one after the other.",
            )
    if isinstance(test, Split):
        return tasks, check_split(test, first.keys)
    if isinstance(test, list | tuple):
        others = list(test)
        if len(others) != len(tasks):
            raise BadInput(f"There are {len(tasks)} tasks to learn and {len(others)} to test on.")
        joined = [one.join(other) for one, other in zip(tasks, others, strict=True)]
        n, every = len(first.passages), len(joined[0].passages)
        return joined, check_split(Split(np.arange(n), np.arange(n, every)), joined[0].keys)
    if not isinstance(test, float | int):
        raise BadInput(
            f"test={test!r} is not understood.", hint="Give a share, a task, or a Split of sentences."
        )
    return tasks, split_sentences(first.keys, float(test), seed)


def sampled(tasks: list[Task], split: Split, limit: int | None, seed: int) -> Split:
    """A random order of the sentences of each side, so many that their words stay within the limit."""
    counts = np.zeros(len(tasks[0].passages), np.int64)
    for sentence, words in enumerate(_words(tasks)):
        counts[sentence] = len(words)
    if limit is not None and limit < 2:
        raise BadInput(f"limit={limit} leaves nothing to learn from or to test on.")
    draw = np.random.default_rng(seed)
    sides = [side[draw.permutation(len(side))] for side in (split.train, split.test)]
    sides = [side[counts[side] > 0] for side in sides]
    if limit is not None:
        n_test = min(int(counts[sides[1]].sum()), max(1, int(limit * TESTED)))
        for at, most in ((0, limit - n_test), (1, n_test)):
            so_far = np.cumsum(counts[sides[at]])
            sides[at] = sides[at][: max(1, int(np.searchsorted(so_far, most, side="right")))]
    return Split(*sides)


def _words(tasks: list[Task]) -> list[list[int]]:
    """For each sentence, the words that any task labels."""
    labelled: list[set[int]] = [set() for _ in tasks[0].passages]
    for one in tasks:
        for sentence, word in zip(one.sentence.tolist(), one.word.tolist(), strict=True):
            labelled[sentence].add(word)
    return [sorted(words) for words in labelled]


def rows_of(task: Task, found: Activations) -> np.ndarray:
    """For each item, the row of its vector; -1 for a word that has none of its own."""
    wide = int(max(found.word.max(), task.word.max())) + 2
    have, want = found.sentence * wide + found.word, task.sentence * wide + task.word
    at = np.minimum(np.searchsorted(have, want), len(have) - 1)
    return np.where(have[at] == want, at, -1)


def check_sides(task: Task, train: np.ndarray, test: np.ndarray) -> None:
    """Raises `BadInput` for a side without items, or a training of a single label."""
    for name, side in (("learn from", train), ("test on", test)):
        if not len(side):
            raise BadInput(
                f"{task.name}: there is nothing to {name}.", hint="Take more sentences, or a larger limit=..."
            )
    if len(np.unique(task.labels[train])) < 2:
        raise BadInput(
            f"{task.name}: what is learned from has a single label.",
            hint="Take more sentences, or another seed.",
        )


# --- the table -----------------------------------------------------------------------------------
def _table(report: ProbeReport) -> str:
    classes, words = report.kind == "classes", report.lookup is not None
    score, what = "accuracy" if classes else "R2", "words" if words else "texts"
    known = f", a dictionary of the words {report.lookup:.3f}" if words else ""
    lines = [
        f"{report.task} in {report.model}: linear probes, {score} with its 95% interval over sentences",
        f"learned from {report.n_train:,} {what} of {report.train_sentences:,} sentences, tested on "
        f"{report.n_test:,} of {report.test_sentences:,}; seed {report.seed}",
        f"{'most common label' if classes else 'mean'} {report.majority:.3f}{known}",
    ]
    if words and report.word_types < FEW_TYPES:
        lines.append(
            f"the control task has {report.word_types} word types only, few enough to learn by heart"
        )
    columns: dict[str, list[str]] = {
        "site": [str(row.site) for row in report.layers],
        score: [str(row.score) for row in report.layers],
        "spearman": [_said(row.spearman) for row in report.layers],
        "control": [_said(row.control) for row in report.layers],
        "selectivity": [_said(row.selectivity) for row in report.layers],
        "shuffled": [_said(row.shuffled) for row in report.layers],
        "bits/label": [_said(None if row.code is None else row.code.per_label) for row in report.layers],
        "compression": [
            _said(None if row.code is None else row.code.compression, 2) for row in report.layers
        ],
        "MLP": [_said(row.mlp) for row in report.layers],
        "its control": [_said(row.mlp_control) for row in report.layers],
    }
    shown = {name: cells for name, cells in columns.items() if any(cell != "-" for cell in cells)}
    wide = {name: max(map(len, (name, *cells))) for name, cells in shown.items()}
    for row in range(-1, len(report.layers)):
        cells = [
            f"{(name if row < 0 else column[row]):{'<' if name == 'site' else '>'}{wide[name]}}"
            for name, column in shown.items()
        ]
        unsure = row >= 0 and not report.layers[row].converged
        lines.append("  ".join(cells) + ("  not converged" if unsure else ""))
    return "\n".join(lines)


def _said(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
