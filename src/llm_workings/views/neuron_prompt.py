"""Prompts written to excite a neuron, token by token, beside the best text of a corpus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from llm_workings.core.errors import BadInput
from llm_workings.core.progress import Progress
from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import Layer, ModelName, view
from .lab import Lab
from .neuron_corpus import CorpusEntry, CorpusName, NeuronExample, entry_of, example_of
from .neuron_parts import NeuronIndex
from .parts import Token, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llm_workings.attribution.visualize.prompts import TokenPrompt
    from llm_workings.trace.model import LanguageModel

CANDIDATES = 16  # exchanges that are run at each step

Lowest = Annotated[
    bool, Field(title="Lowest", description="Make the activation low, below 0, instead of high.")
]
Tokens = Annotated[int, Field(title="Tokens", ge=1, le=24, description="How many tokens a prompt has.")]
Seeds = Annotated[
    int, Field(title="Seeds", ge=1, le=6, description="How many prompts begin at random, each another way.")
]
Seed = Annotated[int, Field(title="Seed", ge=0, le=10**6, description="Of the first random prompt.")]
Steps = Annotated[
    int, Field(title="Steps", ge=1, le=100, description="Exchanges of a token, at most one a step.")
]
Fluency = Annotated[
    float,
    Field(
        title="Weight of fluency",
        ge=0,
        le=1000,
        description="How much activation the prompt gives up for being a nat a token likelier. 0: nothing.",
    ),
]


class WrittenPrompt(Payload):
    """One prompt as far as it is written."""

    seed: int | None
    """Of its random beginning; None where it began at the best text of the corpus."""
    tokens: list[Token]
    """As the model reads them, with what the tokenizer sets around a text."""
    values: Annotated[np.ndarray, Tensor("float32", "token")]
    """The neuron at each of them."""
    at: int
    """Which of them it was to be excited at: the last of the prompt."""
    text: str
    """Read as the same tokens again."""
    start: float
    """The activation before the first exchange."""
    history: Annotated[np.ndarray, Tensor("float32", "step")]
    """The activation after each step."""
    loss: float | None
    """Nats a token by the model itself; None where it does not say, or not yet."""

    @property
    def value(self) -> float:
        """The activation it came to."""
        return float(self.values[self.at])


class NeuronPrompt(Payload):
    """Prompts that were written to excite one neuron, and the best real text to compare them with."""

    layer: int
    neuron: int
    lowest: bool
    n: int
    steps: int
    fluency: float
    prompts: list[WrittenPrompt]
    """Those that were begun, the one from the corpus first."""
    planned: int
    """How many there will be."""
    complete: bool
    corpus: CorpusEntry | None
    """None where the model cannot read it (`no_corpus`)."""
    no_corpus: str
    real: NeuronExample | None
    """The place of the corpus where the neuron goes furthest that way."""
    real_loss: float | None
    """Nats a token of that whole passage, by the model itself."""
    spread: float | None
    """Standard deviation over the corpus."""
    best: int | None
    """Which prompt came furthest."""
    compared: str
    """That one beside the real text, in words."""

    def reading(self) -> str:
        """What came out, in a few sentences."""
        if self.best is None:
            return "No prompt is written yet."
        way = "low" if self.lowest else "high"
        said = (
            f"{len(self.prompts)} prompts of {self.n} tokens, written to make neuron "
            f"{self.layer}.{self.neuron} {way} at the last: they come to "
            + ", ".join(f"{each.value:+.3g} (from {each.start:+.3g})" for each in self.prompts)
            + f". The furthest: {self.prompts[self.best].text!r}."
        )
        return f"{said} {self.compared}"


@view
def neuron_prompt(
    lab: Lab,
    layer: Layer,
    neuron: NeuronIndex,
    model: ModelName = DEFAULT_MODEL,
    corpus: CorpusName = "built-in",
    lowest: Lowest = False,
    n: Tokens = 8,
    seeds: Seeds = 3,
    seed: Seed = 0,
    steps: Steps = 16,
    fluency: Fluency = 0.0,
) -> NeuronPrompt:
    """A prompt that excites a neuron.

    Each step exchanges one token of the prompt, for what raises the activation a at its last token (greedy
    coordinate gradient, Zou et al. 2023). For every token t and position i, (E[t] - x_i) · ∂a/∂x_i says
    to first order what the exchange would do, with E the embedding and x_i what stands there now; of the
    64 most promising of each position some are run, and the best is kept if a rises. With a weight w of
    fluency, a - w · loss is climbed instead (Thompson and Sklar 2024). One prompt begins with the tokens up
    to the corpus's best place, the others with the best of 16 drawn at random. Only prompts are taken whose
    text is read as the same tokens again. The loss is the model's own, in nats a token.

    What this cannot tell you: what the neuron is for. A prompt like no text can be stronger than any real
    one because it is like none, and it is one maximum of many: another seed finds another. That a climb
    stays low does not say that nothing excites the neuron. Read it beside the real texts.
    """
    from llm_workings.neurons.weights import check_neuron

    language_model = lab.model(model)
    check_neuron(language_model, layer, neuron)
    writer = _Writer(lab, language_model, layer, neuron, lowest, n, steps, fluency)
    writer.check()
    asked = ("neuron_prompt", layer, neuron, corpus, lowest, n, seeds, seed, steps, fluency)
    return lab.found(model, asked, lambda: writer.run(corpus, range(seed, seed + seeds)))


@dataclass(frozen=True)
class _Real:
    """The corpus's best place, and tokens to begin a prompt with."""

    entry: CorpusEntry
    example: NeuronExample
    spread: float
    loss: float | None
    begin: list[int] | None
    """The tokens up to the best place that has enough of them before it; None of no such place."""


@dataclass(frozen=True)
class _Writer:
    """What does the writing: one climb a beginning, and the payload as far as it is known."""

    lab: Lab
    model: LanguageModel
    layer: int
    neuron: int
    lowest: bool
    n: int
    steps: int
    fluency: float

    @property
    def sign(self) -> int:
        return -1 if self.lowest else 1

    def check(self) -> None:
        """`BadInput` for a prompt whose one token would be the first that the model reads."""
        tokenizer = self.model.tokenizer
        some = next(i for i in range(tokenizer.vocab_size) if not tokenizer.is_special(i))
        before, _ = tokenizer.around(tokenizer.decode([some]))
        if self.n == 1 and self.model.spec.causal and not before:
            raise BadInput(
                f"A prompt of one token would be the first thing that {self.model.name} reads, where "
                "attention rests and activations are of another kind.",
                hint="Take two tokens or more.",
                given={"n": self.n},
            )

    def run(self, corpus: str, seeds: Sequence[int]) -> NeuronPrompt:
        """All climbs, one after the other; what there is so far is published."""
        real, no_corpus = self.read(corpus)
        begins: list[tuple[int | None, list[int] | None]] = [(seed, None) for seed in seeds]
        if real is not None and real.begin is not None:
            begins.insert(0, (None, real.begin))
        written: list[WrittenPrompt] = []

        def payload(also: list[WrittenPrompt], complete: bool = False) -> NeuronPrompt:
            return self.payload([*written, *also], len(begins), complete, real, no_corpus)

        for number, (seed, begin) in enumerate(begins):

            def partial(found: TokenPrompt, seed: int | None = seed) -> None:
                self.lab.progress.publish(lambda: payload([self.written(seed, found)]))

            found = self.climb(seed, begin, number, len(begins), partial)
            written.append(self.written(seed, found, whole=True))
        return payload([], complete=True)

    def climb(
        self,
        seed: int | None,
        begin: list[int] | None,
        number: int,
        many: int,
        partial: Callable[[TokenPrompt], None],
    ) -> TokenPrompt:
        """One prompt, from one beginning."""
        import torch

        from llm_workings.attribution.visualize.prompts import optimize_prompt
        from llm_workings.neurons.weights import mlp_of

        what = "writing on from the best real text" if seed is None else f"writing from seed {seed}"
        report = self.lab.progress.report
        vector = torch.zeros(mlp_of(self.model.spec, self.model.name).width)
        vector[self.neuron] = self.sign
        return optimize_prompt(
            self.model,
            f"mlp_post.{self.layer}",
            vector,
            n=self.n,
            steps=self.steps,
            fluency=self.fluency,
            candidates=CANDIDATES,
            seed=seed or 0,
            start=begin,
            readable=True,
            progress=Progress(lambda _, done, total: report(what, number * total + done, many * total)),
            partial=partial,
        )

    def written(self, seed: int | None, found: TokenPrompt, *, whole: bool = False) -> WrittenPrompt:
        """A prompt as it is shown: read once more, for the neuron at each token; `whole` for its loss too."""
        ids = self.model.tokenizer.encode(found.text)
        before, _ = self.model.tokenizer.around(found.text)
        values, loss = self.reading(ids, len(before), loss=whole)
        return WrittenPrompt(
            seed=seed,
            tokens=self.lab.tokens(self.model, ids),
            values=values,
            at=len(before) + self.n - 1,
            text=found.text,
            start=self.sign * found.start,
            history=self.sign * np.array(found.history, np.float32),
            loss=loss,
        )

    def reading(self, ids: list[int], begin: int, *, loss: bool) -> tuple[np.ndarray, float | None]:
        """The neuron at each token, and nats a token, where the model says and it is asked for."""
        from llm_workings.attribution.visualize.prompts import loss_of
        from llm_workings.models.spec import NoHead

        spec = self.model.spec
        says = loss and spec.causal and not isinstance(spec.head, NoHead) and len(ids) > max(begin, 1)
        run = self.model.run([ids], keep=[f"mlp_post.{self.layer}"], logits=says)
        values = run["mlp_post", self.layer][0, :, self.neuron].float().cpu().numpy()
        return values, float(loss_of(run, begin)[0]) if says else None

    def read(self, name: str) -> tuple[_Real | None, str]:
        """The best place of the corpus; None, with the reason, where the model has not its words."""
        from llm_workings.neurons import corpus as corpus_called
        from llm_workings.neurons import read_layer

        corpus = corpus_called(name)
        try:
            reading = read_layer(self.model, corpus, self.layer, progress=self.lab.progress)
        except BadInput as error:
            return None, error.message
        found = reading[self.neuron]
        places = found.bottom if self.lowest else found.top
        if not places:
            return None, f"{corpus.title} has no place that counts."
        passage, begin = reading.scan.passage(places[0].passage), None
        for place in places:
            ids = reading.scan.passage(place.passage)[: place.position + 1][-self.n :]
            text = self.model.tokenizer.decode(ids)
            if len(ids) == self.n and self.model.tokenizer.encode(text, special=False) == ids:
                begin = ids
                break
        before, _ = self.model.tokenizer.around(self.model.tokenizer.decode(passage, special=False))
        example = example_of(self.lab, self.model, places[0])
        example.values[example.at] = found.low if self.lowest else found.high  # not rounded to 16 bits
        loss = self.reading(passage, len(before), loss=True)[1]
        return _Real(entry_of(corpus), example, found.spread, loss, begin), ""

    def payload(
        self, prompts: list[WrittenPrompt], planned: int, complete: bool, real: _Real | None, no_corpus: str
    ) -> NeuronPrompt:
        best = max(range(len(prompts)), key=lambda i: self.sign * prompts[i].value) if prompts else None
        return NeuronPrompt(
            layer=self.layer,
            neuron=self.neuron,
            lowest=self.lowest,
            n=self.n,
            steps=self.steps,
            fluency=self.fluency,
            prompts=prompts,
            planned=planned,
            complete=complete,
            corpus=None if real is None else real.entry,
            no_corpus=no_corpus,
            real=None if real is None else real.example,
            real_loss=None if real is None else real.loss,
            spread=None if real is None else real.spread,
            best=best,
            compared="" if best is None else self.compare(prompts[best].value, real, no_corpus),
        )

    def compare(self, value: float, real: _Real | None, no_corpus: str) -> str:
        """The furthest prompt beside the best real text, in a sentence."""
        if real is None:
            return f"There is no real text to compare it with. {no_corpus}"
        there = float(real.example.values[real.example.at])
        text = (
            f"the best real text ({there:+.3g} at {quoted(real.example.tokens[real.example.at])}, in "
            f"{real.entry.title})"
        )
        if self.sign * value > 0 and self.sign * there > 0:
            said = f"The best prompt comes to {value:+.3g}: {value / there:.3g} times {text}"
        else:
            said = f"The best prompt comes to {value:+.3g}, beside {text}"
        if real.spread > 0:
            way = "further" if self.sign * (value - there) > 0 else "short of it"
            said += f", {abs(value - there) / real.spread:.3g} standard deviations {way}"
        return f"{said}."
