"""A neuron over a corpus: its histogram, examples, tokens and oddities; and which corpora there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import Layer, ModelName, view
from .lab import Lab
from .neuron_parts import NeuronIndex, NeuronRef
from .parts import Token, quoted

if TYPE_CHECKING:
    from llm_workings.neurons.corpus import Corpus
    from llm_workings.neurons.passing import Kept
    from llm_workings.neurons.statistics import Example, Statistics, TokenMean
    from llm_workings.trace.model import LanguageModel

LONGEST = 1_500_000  # characters of a text from a page: what a request holds
CorpusName = Annotated[
    str,
    Field(
        title="Corpus",
        min_length=1,
        max_length=80,
        description="built-in, or the name of a text that was kept: text- and 16 digits of its hash.",
    ),
]
TokensRead = Annotated[
    int,
    Field(
        title="Tokens",
        ge=64,
        le=200_000,
        description="About how many tokens to read, in passages evenly spread over a longer corpus.",
    ),
]
OwnText = Annotated[
    str | None,
    Field(
        title="Your text",
        max_length=LONGEST,
        description="A text to keep as a corpus, by its hash, in the data folder; left out, none is kept.",
    ),
]
OwnTitle = Annotated[str, Field(title="Its name", max_length=200, description="What to call that text.")]


class CorpusEntry(Payload):
    """A corpus that neurons can be read over."""

    name: str
    title: str
    characters: int
    passages: int


class Corpora(Payload):
    """The corpora there are, the built-in one first."""

    corpora: list[CorpusEntry]
    added: str | None
    """The name of the text that was given, now kept."""

    def reading(self) -> str:
        """The corpora in a sentence, for a terminal or a screen reader."""
        said = ", ".join(
            f"{entry.name} ({entry.title}, {entry.characters:,} characters)" for entry in self.corpora
        )
        return f"Corpora: {said}."


class LookedAt(Payload):
    """The token that a head attends to most from a place, the first and the place itself aside."""

    token: Token
    position: int
    """Counted in the passage."""
    weight: float


class NeuronExample(Payload):
    """A place in the corpus, with what stands around it."""

    passage: int
    position: int
    """Counted in the passage."""
    tokens: list[Token]
    values: Annotated[np.ndarray, Tensor("float32", "place")]
    """The activations; NaN for tokens that do not count."""
    at: int
    """Which of the tokens it is."""
    looked: LookedAt | None
    """Of a head: where it looks; None of what is no head."""


class TokenActivation(Payload):
    """A kind of token, the neuron's mean activation at it, and how often it came."""

    token: Token
    mean: float
    count: int


class Correlated(Payload):
    """Another neuron of the layer, and how their activations go together over the corpus."""

    neuron: NeuronRef
    correlation: float


class NeuronFlag(Payload):
    """Whether something is odd about a neuron, by a statistic and its threshold."""

    name: str
    """`dead`, `duplicate` or `polysemantic`."""
    raised: bool
    value: float
    threshold: float
    with_neuron: NeuronRef | None
    """The other one of a duplicate: the one whose correlation `value` is."""


class OverCorpus(Payload):
    """A number at each token of a corpus: where it is highest, lowest, and some places at random."""

    layer: int
    corpus: CorpusEntry
    tokens: int
    """Tokens that were read and count."""
    whole: int
    """Tokens of the whole corpus."""
    mean: float
    spread: float
    """Standard deviation."""
    low: float
    high: float
    top: list[NeuronExample]
    """Where it goes highest, one place a passage."""
    bottom: list[NeuronExample]
    drawn: list[NeuronExample]
    """Places drawn at random, the same for all units that are read together."""
    selective: list[TokenActivation]
    """The kinds of tokens with the highest means, of those that came 3 times or more."""
    averse: list[TokenActivation]
    """Those with the lowest."""
    selectivity: float
    """The share of its variance that the kind of token explains (epsilon squared); NaN of none."""


class NeuronCorpus(OverCorpus):
    """One neuron over a corpus."""

    neuron: int
    edges: Annotated[np.ndarray, Tensor("float64", "edge")]
    counts: Annotated[np.ndarray, Tensor("int32", "bin")]
    """How many tokens have an activation from one edge to the next."""
    open: float
    """The share of tokens at which what the activation function is given is above 0."""
    likeness_drawn: float
    """The polysemantic flag's statistic between places drawn at random."""
    alike: list[Correlated]
    flags: list[NeuronFlag]

    def reading(self) -> str:
        """The neuron over the corpus in a few sentences, for a terminal or a screen reader."""
        said = (
            f"Neuron {self.layer}.{self.neuron} over {self.tokens:,} tokens of {self.corpus.title}: mean "
            f"{self.mean:+.3g}, spread {self.spread:.3g}, from {self.low:+.3g} to {self.high:+.3g}."
        )
        if self.top:
            best = self.top[0]
            said += f" Highest at {quoted(best.tokens[best.at])}."
        if self.selective:
            words = ", ".join(f"{quoted(each.token)} ({each.mean:+.3g})" for each in self.selective[:4])
            said += f" On the mean highest at {words}."
        raised = [
            f"{flag.name} ({flag.value:.3g}, threshold {flag.threshold:g})"
            for flag in self.flags
            if flag.raised
        ]
        return said + (f" Flags: {', '.join(raised)}." if raised else " No flags.")


@view
def neuron_corpus(
    lab: Lab,
    layer: Layer,
    neuron: NeuronIndex,
    model: ModelName = DEFAULT_MODEL,
    corpus: CorpusName = "built-in",
    tokens: TokensRead = 8_192,
) -> NeuronCorpus:
    """A neuron over a corpus.

    What one neuron does over many texts: how often each activation comes, the passages in which it
    goes highest and lowest, passages drawn at random beside them, and its mean at each kind of token.
    The selectivity is the share of its variance that the kind of token explains, epsilon² = 1 -
    (within / (n - kinds)) / (total / (n - 1)). All neurons of the layer are read in one pass, and kept.

    Flags: dead, if |a| is never above 0.01 of the layer's root mean square; duplicate, if its correlation
    with another neuron of the layer is 0.95 or more, either way; polysemantic, if the inputs at its
    highest places have a mean cosine below 0.1, the layer's mean input taken off.

    What this cannot tell you: what the neuron is for. Its highest places are a few in thousands, and
    say little of what it does at the others, which is why random ones stand beside them; another corpus
    may show another side. The thresholds are conventions.
    """
    from llm_workings.neurons.corpus import corpus as find
    from llm_workings.neurons.statistics import read_layer
    from llm_workings.neurons.weights import check_neuron

    language_model = lab.model(model)
    check_neuron(language_model, layer, neuron)
    chosen = find(corpus)
    reading = read_layer(language_model, chosen, layer, tokens=tokens, progress=lab.progress)
    found = reading[neuron]
    return NeuronCorpus(
        **over_corpus(lab, language_model, chosen, reading.scan, found),
        layer=layer,
        neuron=neuron,
        edges=found.edges,
        counts=found.counts,
        open=found.open,
        likeness_drawn=found.likeness_drawn,
        alike=[
            Correlated(neuron=NeuronRef(layer=layer, neuron=other), correlation=value)
            for other, value in found.alike
        ],
        flags=[
            NeuronFlag(
                name=flag.name,
                raised=flag.raised,
                value=flag.value,
                threshold=flag.threshold,
                with_neuron=None
                if flag.with_neuron is None
                else NeuronRef(layer=layer, neuron=flag.with_neuron),
            )
            for flag in found.flags
        ],
    )


@view
def corpora(lab: Lab, text: OwnText = None, title: OwnTitle = "your text") -> Corpora:
    """Corpora.

    The texts that neurons can be read over: the built-in sentences, and those that were given, which
    are kept on this machine under a name made of their hash.

    What this cannot tell you: what a corpus is a sample of. A neuron that is silent on one may be loud
    on another.
    """
    from llm_workings.neurons.corpus import Corpus, built_in, kept

    added = None if text is None else Corpus.of_text(text, title).keep().name
    return Corpora(corpora=[entry_of(each) for each in (built_in(), *kept())], added=added)


def entry_of(corpus: Corpus) -> CorpusEntry:
    """What a page says of a corpus."""
    return CorpusEntry(
        name=corpus.name, title=corpus.title, characters=corpus.characters, passages=len(corpus.passages)
    )


def over_corpus(
    lab: Lab, model: LanguageModel, corpus: Corpus, read: Kept, found: Statistics
) -> dict[str, Any]:
    """What is the same of every unit over a corpus: the fields of `OverCorpus` but for its layer."""
    return {
        "corpus": entry_of(corpus),
        "tokens": read.tokens,
        "whole": read.whole,
        "mean": found.mean,
        "spread": found.spread,
        "low": found.low,
        "high": found.high,
        "top": [example_of(lab, model, each) for each in found.top],
        "bottom": [example_of(lab, model, each) for each in found.bottom],
        "drawn": [example_of(lab, model, each) for each in found.drawn],
        "selective": [kind_of(lab, model, each) for each in found.selective],
        "averse": [kind_of(lab, model, each) for each in found.averse],
        "selectivity": found.selectivity,
    }


def example_of(lab: Lab, model: LanguageModel, example: Example) -> NeuronExample:
    """A place of a corpus with its tokens as a page shows them."""
    return NeuronExample(
        passage=example.passage,
        position=example.position,
        tokens=lab.tokens(model, list(example.ids)),
        values=example.values,
        at=example.at,
        looked=None,
    )


def kind_of(lab: Lab, model: LanguageModel, kind: TokenMean) -> TokenActivation:
    """A kind of token as a page shows it."""
    return TokenActivation(token=lab.tokens(model, [kind.token])[0], mean=kind.mean, count=kind.count)
