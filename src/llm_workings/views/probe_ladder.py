"""The probe ladder: what a linear probe reads of a property at every stop of the residual stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import ModelName, view
from .lab import Lab
from .parts import ModelCard
from .probe_tasks import Labelled, Sample, Seed, TaskName, Treebank, task_of

if TYPE_CHECKING:
    from llm_workings.probing import ProbeReport

Stops = Annotated[np.ndarray, Tensor("float32", "stop")]
Items = Annotated[np.ndarray, Tensor("int32", "item")]
WithMLP = Annotated[
    bool,
    Field(
        title="Hidden layer",
        description="Fit a probe with one hidden layer as well, and its control; this takes longer.",
    ),
]


class ProbeLadder(Payload):
    """Numbers by stop are NaN where the probe is not fitted yet, or has no such number."""

    model: ModelCard
    task: str
    about: str
    """What the label is, in a sentence."""
    kind: Literal["classes", "values"]
    """Whether the score is an accuracy or an R2."""
    unit: Literal["words", "texts"]
    classes: list[str]
    n_train: int
    n_test: int
    train_sentences: int
    test_sentences: int
    majority: float
    """The score on the test items of always saying the training's most common label (its mean)."""
    lookup: float | None
    """The score of a dictionary: each word's most common label in the training."""
    word_types: int
    """How many different words were learned from; 0 for whole texts."""
    few_types: bool
    """Whether those are few enough to learn by heart, so that the control task says little."""
    uniform_bits: float | None
    """Bits a label of the uniform code."""
    seed: int
    stops: list[str]
    """Site names, in order."""
    done: int
    """How many of the stops have their probe."""
    score: Stops
    """Accuracy, or R2, on the test items."""
    low: Stops
    """Of the 95% interval, by drawing sentences again."""
    high: Stops
    spearman: Stops
    control: Stops
    """The same score on the control task: a random label for each word type."""
    selectivity: Stops
    shuffled: Stops
    """The score of a probe that learned shuffled labels."""
    bits: Stops
    """Bits a training label by the online code."""
    compression: Stops
    """How many times shorter than the uniform code that is."""
    l2: Stops
    mlp: Stops
    mlp_control: Stops
    unconverged: list[str]
    """Stops whose fit did not reach its tolerance."""
    sentences: list[str]
    """Those tested on."""
    item_sentence: Items
    """Of each test item, its sentence, as an index into `sentences`."""
    item_begin: Items
    """Where the word begins in its sentence, in characters; with `item_end`."""
    item_end: Items
    item_word: Items
    """The number of the word in its sentence; 0 for a whole text."""
    labels: Annotated[np.ndarray, Tensor("float32", "item")]
    """The class as an index into `classes`, or the value."""
    predictions: Annotated[np.ndarray, Tensor("float32", "stop item")]
    left_out: list[str]

    @property
    def best(self) -> int:
        """The stop with the highest score."""
        return int(np.nanargmax(self.score))

    def subject(self) -> str:
        """What it is about, for a title."""
        return f"{self.task.replace('_', ' ')} in {self.model.title}"

    def reading(self) -> str:
        """The picture in a few sentences, for a terminal or a screen reader."""
        what, at = "accuracy" if self.kind == "classes" else "R2", self.best
        common = "the most common label alone" if self.kind == "classes" else "the mean alone"
        said = (
            f"{self.subject()}: a linear probe is best at {self.stops[at]}, {what} {self.score[at]:.3f} "
            f"(95% interval {self.low[at]:.3f} to {self.high[at]:.3f}) on {self.n_test:,} {self.unit} it did "
            f"not learn from; {common} has {self.majority:.3f}"
        )
        if self.lookup is not None:
            said += f", a dictionary of the words {self.lookup:.3f}"
        said += (
            f". At {self.stops[0]} it is {self.score[0]:.3f}; after shuffled labels {self.shuffled[at]:.3f}."
        )
        if not np.isnan(self.control[at]):
            said += f" On the control task {self.control[at]:.3f}"
            said += ", which says little of so few word types." if self.few_types else "."
        if self.done < len(self.stops):
            said += f" {self.done} of {len(self.stops)} stops are probed."
        return said


@view
def probe_ladder(
    lab: Lab,
    model: ModelName = DEFAULT_MODEL,
    task: TaskName = "",
    n: Sample = 400,
    seed: Seed = 0,
    mlp: WithMLP = False,
    labelled: Labelled = "",
    conllu: Treebank = "",
) -> ProbeLadder:
    """Probe ladder.

    Is a property of the text written in the stream, and from which layer on? At each stop a linear probe,
    p(label | x) = softmax(W x + b), learns from some sentences to read the label off the vector x of one
    word, and is tested on others. Beside its accuracy stand the most common label, a dictionary of the
    words, a probe of shuffled labels (chance), and the control task: the same probe on random labels of
    word types (Hewitt and Liang 2019); score less control is its selectivity. The second ladder is the
    online code (Voita and Titov 2020): bits to send a training label with the probe's help, fewer where it
    is easier to read. Of values (depth) the probe is ridge regression, and the score R2.

    What this cannot tell you: whether the model uses what a probe reads. It may be a leftover, or follow
    from the words themselves. Erase it and see whether the answers change. A low score says that it is not
    there linearly, and not that it is not there. Made sentences are few forms; a treebank has many.
    """
    from llm_workings.models.sites import stream_of
    from llm_workings.probing import probe

    language_model = lab.model(model)
    made = task_of(language_model, task, n, seed, labelled, conllu)
    card, stops = lab.card(language_model), [str(site) for site in stream_of(language_model.spec)]

    def payload(report: ProbeReport) -> ProbeLadder:
        return ladder_of(report, card, stops, made.of_words)

    report = probe(
        language_model,
        made,
        mlp=mlp,
        limit=n,
        seed=seed,
        progress=lab.progress,
        watch=lambda sofar: lab.progress.publish(lambda: payload(sofar)),
    )
    return payload(report)


def ladder_of(report: ProbeReport, card: ModelCard, stops: list[str], of_words: bool) -> ProbeLadder:
    """The payload of a report, of all stops or of the first of them."""
    from llm_workings.probing.report import FEW_TYPES

    layers = report.layers

    def column(values: list[Any]) -> np.ndarray:
        found = [np.nan if value is None else float(value) for value in values]
        return np.array(found + [np.nan] * (len(stops) - len(found)))

    numbers: dict[Any, int] = {}
    of = [numbers.setdefault(passage.text, len(numbers)) for passage in report.passages]
    spans = [
        passage.spans[word] if of_words else (0, len(passage.text))
        for passage, word in zip(report.passages, report.positions.tolist(), strict=True)
    ]
    predictions = np.full((len(stops), report.n_test), np.nan)
    predictions[: len(layers)] = report.predictions
    codes = [layer.code for layer in layers]
    first = codes[0]
    return ProbeLadder(
        model=card,
        task=report.task,
        about=report.about,
        kind="classes" if report.kind == "classes" else "values",
        unit="words" if of_words else "texts",
        classes=list(report.classes),
        n_train=report.n_train,
        n_test=report.n_test,
        train_sentences=report.train_sentences,
        test_sentences=report.test_sentences,
        majority=report.majority,
        lookup=report.lookup,
        word_types=report.word_types,
        few_types=of_words and report.word_types < FEW_TYPES,
        uniform_bits=None if first is None else first.uniform / first.ends[-1],
        seed=report.seed,
        stops=stops,
        done=len(layers),
        score=column([layer.score.value for layer in layers]),
        low=column([layer.score.low for layer in layers]),
        high=column([layer.score.high for layer in layers]),
        spearman=column([layer.spearman for layer in layers]),
        control=column([layer.control for layer in layers]),
        selectivity=column([layer.selectivity for layer in layers]),
        shuffled=column([layer.shuffled for layer in layers]),
        bits=column([code and code.per_label for code in codes]),
        compression=column([code and code.compression for code in codes]),
        l2=column([layer.l2 for layer in layers]),
        mlp=column([layer.mlp for layer in layers]),
        mlp_control=column([layer.mlp_control for layer in layers]),
        unconverged=[str(layer.site) for layer in layers if not layer.converged],
        sentences=list(numbers),
        item_sentence=np.array(of),
        item_begin=np.array([begin for begin, _ in spans]),
        item_end=np.array([end for _, end in spans]),
        item_word=report.positions,
        labels=report.labels,
        predictions=predictions,
        left_out=[f"{count:,} {why}" for why, count in report.left_out.items() if count],
    )
