"""Where along a sentence a property can be read: a linear probe at every layer and every word."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from llm_workings.core.errors import BadInput
from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import ModelName, view
from .lab import Lab
from .parts import ModelCard
from .probe_tasks import Seed, can_write

if TYPE_CHECKING:
    from llm_workings.probing import ByWord
    from llm_workings.probing.study import Layer

Made = Annotated[
    Literal["number", "tense", "sentiment", "negation"],
    Field(
        title="Property",
        description="Of made sentences: number (of the subject), tense, sentiment or negation.",
    ),
]
Place = Annotated[
    Literal["mlp_out", "attn_out", "resid_post"],
    Field(
        title="Read off",
        description="mlp_out: what the MLP adds; attn_out: what attention adds; resid_post: the stream "
        "after the block.",
    ),
]
Sentences = Annotated[
    int,
    Field(title="Sentences", ge=60, le=2000, description="How many are made; 3 in 10 are tested on."),
]
Grid = Annotated[np.ndarray, Tensor("float32", "layer word")]
PerWord = Annotated[np.ndarray, Tensor("float32", "word")]
SHOWN = 4


class ProbePositions(Payload):
    """Numbers by layer and word are NaN where the probe is not fitted yet."""

    model: ModelCard
    task: str
    about: str
    """What the label is, in a sentence."""
    site: Literal["mlp_out", "attn_out", "resid_post"]
    classes: list[str]
    n_train: int
    n_test: int
    seed: int
    majority: float
    """The accuracy on the test sentences of always saying the training's most common label."""
    few_types: int
    """Fewer different words than this are easily learned by heart: the control task says little there."""
    words: list[list[str]]
    """Of each place in the sentence, some of the words that stand there, the most common first."""
    word_types: list[int]
    """How many different ones do, of those learned from."""
    told_at: int | None
    """The first place whose word says the label. Before it a model that reads causally cannot know."""
    done: int
    """How many of the layers have their probes."""
    lookup: PerWord
    """The accuracy of a dictionary: the most common label of the word that stands there."""
    score: Grid
    """Accuracy on the test sentences."""
    low: Grid
    """Of the 95% interval, by drawing sentences again."""
    high: Grid
    control: Grid
    """The accuracy on the control task: a random label for each word that stands there."""
    selectivity: Grid
    """score - control"""
    shuffled: Grid
    """The accuracy of a probe that learned shuffled labels."""

    def place(self, word: int) -> str:
        """A place in the sentence by its number and an example: 'word 1 (keys ...)'."""
        more = " ..." if self.word_types[word] > 1 else ""
        return f"word {word} ({self.words[word][0]}{more})"

    def reading(self) -> str:
        """The picture in a few sentences, for a terminal or a screen reader."""
        said = (
            f"{self.task} in {self.model.title}, read off {self.site} at each of {len(self.words)} words: "
            f"accuracy on {self.n_test} sentences; the most common label has {self.majority:.3f}."
        )
        for word in range(len(self.words)):
            if not self.done:
                break
            best = int(np.nanargmax(self.score[:, word]))
            said += (
                f" At {self.place(word)} the best is {self.score[best, word]:.3f}, layer {best} "
                f"(control {self.control[best, word]:.3f}, shuffled labels {self.shuffled[best, word]:.3f})."
            )
        if self.told_at is not None and self.model.causal and self.told_at > 0:
            said += (
                f" Before {self.place(self.told_at)} nothing has said it, and the model reads left to right."
            )
        if self.done < self.model.n_layers:
            said += f" {self.done} of {self.model.n_layers} layers are probed."
        return said


@view
def probe_positions(
    lab: Lab,
    model: ModelName = DEFAULT_MODEL,
    task: Made = "number",
    site: Place = "mlp_out",
    n: Sentences = 240,
    seed: Seed = 0,
) -> ProbePositions:
    """Probes by layer and word.

    At which word, and from which layer on, can a property be read? The sentences are made, all of one
    length: "The keys near the cabinet". At each layer and word a linear probe, p(label | x) =
    softmax(W x + b) with a penalty of ½λ|W|², λ = 30, learns from seven tenths of the sentences and is
    tested on the others, whose key words it has not seen. Beside its accuracy stand the most common label
    alone, a probe that learned shuffled labels (chance), and the control task, a random label for each
    word that stands there (Hewitt and Liang 2019): accuracy less control is its selectivity.

    What this cannot tell you: whether the model uses what a probe reads there. The control task says little
    where few different words stand: they are learned by heart, and selectivity is low however well the
    property is read. A low accuracy says that it is not there linearly for so few sentences, and not that
    it is not there. Differences within the interval are chance: over so many cells, a few will look like
    something.
    """
    from llm_workings.probing import probe_words, template

    language_model = lab.model(model)
    made = template(task, n, seed)
    if not can_write(language_model, made.passages[0].text):
        raise BadInput(
            f"{language_model.name} has no letters for sentences such as {made.passages[0].text!r}.",
            hint="Choose a model that learned from text.",
            given={"model": language_model.name},
        )
    card = lab.card(language_model)
    found = probe_words(
        language_model,
        made,
        f"{site}.*",
        seed=seed,
        progress=lab.progress,
        watch=lambda sofar: lab.progress.publish(lambda: _payload(sofar, card, site)),
    )
    return _payload(found, card, site)


def _payload(
    found: ByWord, card: ModelCard, site: Literal["mlp_out", "attn_out", "resid_post"]
) -> ProbePositions:
    from llm_workings.probing.report import FEW_TYPES

    def grid(read: Callable[[Layer], float | None]) -> np.ndarray:
        values = np.full((len(found.sites), len(found.word_types)), np.nan)
        for layer, row in enumerate(found.results):
            values[layer] = [np.nan if (value := read(one)) is None else value for one in row]
        return values

    return ProbePositions(
        model=card,
        task=found.task,
        about=found.about,
        site=site,
        classes=list(found.classes),
        n_train=found.n_train,
        n_test=found.n_test,
        seed=found.seed,
        majority=found.majority,
        few_types=FEW_TYPES,
        words=[list(words[:SHOWN]) for words in found.examples],
        word_types=list(found.word_types),
        told_at=found.told_at,
        done=len(found.results),
        lookup=np.array(found.lookup),
        score=grid(lambda one: one.score.value),
        low=grid(lambda one: one.score.low),
        high=grid(lambda one: one.score.high),
        control=grid(lambda one: one.control),
        selectivity=grid(lambda one: one.selectivity),
        shuffled=grid(lambda one: one.shuffled),
    )
