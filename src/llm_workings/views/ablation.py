"""The ablation view: each part's effect, what is left as more of them are taken out, and layer order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from llm_workings.core.errors import BadInput
from llm_workings.core.progress import Progress
from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import ModelName, Prompt, view
from .direct_attribution import AnswerToken, ReadAt, WrongToken
from .lab import Lab
from .pairs import second_of
from .parts import Guess, ModelCard, Token, quoted
from .replacing import Instead, OwnTexts, Seed, Stood, TextsFrom, replacement

if TYPE_CHECKING:
    from llm_workings.causal.ablation import KnockOut
    from llm_workings.causal.base import Base
    from llm_workings.causal.metrics import Metric
    from llm_workings.causal.parts import Part
    from llm_workings.trace.model import LanguageModel

Kind = Literal["head", "mlp", "attention", "layer", "neuron"]
Measure = Literal["logit_difference", "logit", "probability", "log_probability", "loss", "divergence"]
Parts = Annotated[
    Kind,
    Field(
        title="Parts",
        description="What is taken out, one at a time: heads, MLPs, attentions, whole layers, or the "
        "neurons of one layer.",
    ),
]
Measured = Annotated[
    Measure,
    Field(
        title="Measured",
        description="What is measured: the logit difference of answer and wrong answer, the answer's logit, "
        "probability or log probability, the loss on the text, or the divergence (KL) from the model's own.",
    ),
]
OfLayer = Annotated[
    int | None,
    Field(
        title="Layer",
        ge=0,
        description="Of which layer neurons are taken out; left out, the last. Of no effect on other parts.",
    ),
]
PerPart = Annotated[np.ndarray, Tensor("float32", "layer index")]
Points = Annotated[np.ndarray, Tensor("float32", "point")]
PerLayer = Annotated[np.ndarray, Tensor("float32", "layer")]
WORSE_UP = ("loss", "divergence")  # of which more is worse
ORDERS = 8  # drawn at random
POINTS = 12  # of the curve, denser at its start
CHUNK = 512  # tokens of edited runs between two pictures
GUESSES = 5
WRITTEN = 12  # tokens


class Knocked(Payload):
    """The measure as more and more parts are taken out, those that were missed most first."""

    order: list[str]
    """The parts in that order: `head.23.3` ..."""
    counts: list[int]
    """How many are out at each point."""
    values: Points
    random: Annotated[np.ndarray, Tensor("float32", "order point")]
    """The same in orders of the same parts drawn at random."""
    seed: int


class Orders(Payload):
    """What the layers' order costs."""

    metric: str
    unit: str
    base: float
    skipped: PerLayer
    """Without that layer: the stream goes past it."""
    swapped: PerLayer
    """With that layer and the next exchanged; one fewer than layers."""


class Ablation(Payload):
    """What becomes of a measure when each part is taken out alone, and when many are together."""

    model: ModelCard
    tokens: list[Token]
    position: int
    answer: Token
    wrong: Token | None
    """What the answer's logit is measured against; None for a measure that needs none."""
    parts: Kind
    layer: int | None
    """The layer whose neurons these are."""
    metric: Measure
    unit: str
    stood: Stood
    base: float
    """The measure of the model as it is."""
    values: PerPart
    """The measure without each part; NaN where it is not worked out yet. Of neurons the one row is their
    layer's; of parts of which a layer has one, the one column."""
    knocked: Knocked | None
    """None until it is worked out."""
    orders: Orders | None
    """None until it is worked out."""
    complete: bool

    def effects(self) -> np.ndarray:
        """The change of the measure, as `values`."""
        return self.values - np.float32(self.base)

    def name(self, row: int, column: int) -> str:
        """What a cell of `values` is called: `head.3.5`, `mlp.4`."""
        layer = self.layer if self.parts == "neuron" else row
        return f"{self.parts}.{layer}" + (f".{column}" if self.parts in ("head", "neuron") else "")

    def strongest(self, count: int = 5) -> list[tuple[str, float]]:
        """The parts whose absence changes the measure most, with the change."""
        effects = self.effects()
        order = np.argsort(-np.abs(np.nan_to_num(effects)), axis=None, kind="stable")[:count]
        places = [np.unravel_index(int(flat), effects.shape) for flat in order]
        return [(self.name(int(row), int(column)), float(effects[row, column])) for row, column in places]

    def reading(self) -> str:
        """The picture in a few sentences, for a terminal or a screen reader."""
        of = f" of {quoted(self.answer)}" if self.metric not in WORSE_UP else ""
        if self.wrong is not None:
            of += f" less {quoted(self.wrong)}"
        best = ", ".join(f"{name} {effect:+.3g}" for name, effect in self.strongest())
        done = int(np.isfinite(self.values).sum())
        said = (
            f"{self.model.title}: the {self.metric.replace('_', ' ')}{of} is {self.base:.4g} {self.unit}. "
            f"{done} of {self.values.size} parts taken out in turn, in their place {self.stood.said}; "
            f"the largest changes: {best}."
        )
        if self.knocked is not None:
            curve, at = self.knocked, len(self.knocked.counts) // 2
            said += (
                f" With the {curve.counts[at]} most missed out it is {curve.values[at]:.3g}; with as many "
                f"drawn at random {curve.random[:, at].mean():.3g} on average."
            )
        return said


@view
def ablation(
    lab: Lab,
    prompt: Prompt,
    model: ModelName = DEFAULT_MODEL,
    answer: AnswerToken = None,
    wrong: WrongToken = None,
    position: ReadAt = None,
    parts: Parts = "head",
    instead: Instead = "zero",
    metric: Measured = "logit_difference",
    layer: OfLayer = None,
    source: TextsFrom = "written",
    texts: OwnTexts = [],  # noqa: B006 (pydantic copies it)
    seed: Seed = 0,
) -> Ablation:
    """Ablation.

    What the answer is without a part. Each cell takes one part out of the model while it reads the
    text, and shows the change: effect = measure without it − measure as it is. What stands in the
    part's place decides the result: zero puts it where it never was in training, the mean keeps what
    it writes in any text, a resampled text keeps it within what it really does. Say which it was.

    The curve takes out more and more, those that were missed most first, beside the same parts in
    orders drawn at random: the ranking says something where its curve leaves theirs. Below it, the
    loss on the text when a layer is left out or exchanged with its neighbour (Lad et al. 2024).

    What this cannot tell you: that a part without effect does nothing. Others may make up for it when
    it is gone (McGrath et al. 2023), and a part whose absence hurts may only have been needed for
    others to work as they do.
    """
    import torch

    from llm_workings.causal.ablation import ablate, every, knock_out

    base = lab.base(model, prompt)
    spec = base.spec
    asked = _ask(lab, base, prompt, answer, wrong, position, metric)
    held, stood = replacement(lab, base, instead, source, texts, seed)
    of_layer = None
    if parts == "neuron":
        of_layer = spec.n_layers - 1 if layer is None else layer
    everything = every(spec, parts, None if of_layer is None else [of_layer])
    rows = 1 if parts == "neuron" else spec.n_layers
    values = np.full((rows, len(everything) // rows), np.nan, np.float32)
    made: dict[str, Any] = {
        "model": lab.card(base.model),
        "tokens": lab.tokens(base.model, base.tokens),
        "position": asked.position,
        "answer": asked.answer,
        "wrong": asked.wrong,
        "parts": parts,
        "layer": of_layer,
        "metric": metric,
        "unit": asked.measure.unit,
        "stood": stood,
        "base": asked.base,
    }

    def so_far(knocked: Knocked | None = None, orders: Orders | None = None, *, complete: bool) -> Ablation:
        return Ablation(**made, values=values.copy(), knocked=knocked, orders=orders, complete=complete)

    flat = torch.full((len(everything),), torch.nan, dtype=torch.float64)
    done = 0
    for chunk in _chunks(everything, base.n):
        lab.progress.report("taking parts out one at a time", done, len(everything))
        within = _within(lab, done, len(everything))
        found = ablate(base, [everything[i] for i in chunk], asked.measure, held, progress=within)
        flat[chunk] = found.values
        values[:] = flat.reshape(values.shape).numpy()
        done += len(chunk)
        lab.progress.publish(lambda: so_far(complete=False))

    sign = -1.0 if metric in WORSE_UP else 1.0
    ranked = (sign * (flat - asked.base)).argsort(stable=True).tolist()
    order = [everything[i] for i in ranked]

    def knocked_of(curve: KnockOut) -> Knocked:
        return Knocked(
            order=[str(part) for part in curve.order],
            counts=list(curve.counts),
            values=curve.values.numpy(),
            random=curve.random.numpy(),
            seed=curve.seed,
        )

    curve = knock_out(
        base,
        order,
        asked.measure,
        held,
        counts=_counts(len(order)),
        random_orders=ORDERS,
        seed=seed,
        progress=lab.progress,
        partial=lambda curve: lab.progress.publish(lambda: so_far(knocked_of(curve), complete=False)),
    )
    return so_far(knocked_of(curve), _orders(lab, base, asked.measure), complete=True)


def _chunks(everything: tuple[Part, ...], n: int) -> list[list[int]]:
    """The parts in groups, those of the highest layers first: they are soonest worked out."""
    size = max(1, CHUNK // n)
    places = sorted(range(len(everything)), key=lambda i: -everything[i].layer)
    return [places[i : i + size] for i in range(0, len(places), size)]


def _counts(n: int) -> list[int]:
    """How many parts are out at each point of the curve."""
    return (
        list(dict.fromkeys(round(n * (i / POINTS) ** 2) for i in range(POINTS + 1)))
        if n > POINTS
        else [*range(n + 1)]
    )


def _within(lab: Lab, done: int, total: int) -> Progress:
    """For the sweep of one group of parts: it can be stopped there; what is told is how many are done."""
    return Progress(lambda *_: lab.progress.report("taking parts out one at a time", done, total))


def _orders(lab: Lab, base: Base, measure: Metric) -> Orders:
    from llm_workings.causal import metrics
    from llm_workings.causal.layer_order import skip_layers, swap_layers

    if base.spec.causal and base.n > 1:
        measure = metrics.loss(base)
    skipped = skip_layers(base, measure, progress=lab.progress)
    swapped = swap_layers(base, measure, progress=lab.progress)
    return Orders(
        metric=measure.name,
        unit=measure.unit,
        base=skipped.base,
        skipped=skipped.values.numpy(),
        swapped=swapped.values.numpy(),
    )


# --- what is asked ---------------------------------------------------------------------------------
class _Asked:
    """The answer, what it is measured against, where and how."""

    def __init__(self, lab: Lab, base: Base, position: int, right: int, off: int | None, measure: Metric):
        from llm_workings.causal.sweep import measure_base

        self.position, self.measure = position, measure
        self.answer = lab.tokens(base.model, [right])[0]
        self.wrong = None if off is None else lab.tokens(base.model, [off])[0]
        self.base = measure_base(base, measure)


def _ask(
    lab: Lab,
    base: Base,
    prompt: str,
    answer: str | None,
    wrong: str | None,
    position: int | None,
    metric: Measure,
) -> _Asked:
    from llm_workings.causal import metrics

    from .passes import answered

    language_model = base.model
    if position is None:
        position = answered(language_model, base.tokens)
        position = base.n - 1 if position is None else position
    if position >= base.n:
        raise BadInput(
            f"There is no position {position}: the text has positions 0 to {base.n - 1}.",
            given={"position": position, "tokens": base.n},
        )
    best, second = base.logits[position].topk(2).indices.tolist()
    right = best if answer is None else language_model.token(answer)
    off = None
    if metric == "logit_difference":
        off = language_model.token(wrong) if wrong is not None else _other(language_model, prompt, right)
        off = off if off is not None else second if right == best else best
        measure = metrics.logit_difference(language_model, right, off, position)
    elif metric == "loss":
        measure = metrics.loss(base)
    elif metric == "divergence":
        measure = metrics.divergence(base, position)
    else:
        measure = getattr(metrics, metric)(language_model, right, position)
    return _Asked(lab, base, position, right, off, measure)


def _other(model: LanguageModel, prompt: str, right: int) -> int | None:
    """What the second text that patching proposes asks for, if `right` is what the first one does."""
    _, first, other, _ = second_of(model, prompt, None, None, None)
    if first is None or other is None or model.token(first) != right:
        return None
    return model.token(other)


# --- several together ------------------------------------------------------------------------------
Out = Annotated[
    list[str],
    Field(
        title="Taken out",
        min_length=1,
        max_length=2000,
        description="The parts to take out together: head.23.3, mlp.4, attention.2, layer.7, neuron.21.780.",
    ),
]


class AblatedAnswer(Payload):
    """The answer with some parts taken out together, beside the model's own."""

    out: list[str]
    stood: Stood
    metric: Measure
    unit: str
    before: float
    after: float
    answer_position: int
    unablated: list[Guess]
    """The model's own best answers, and how those of `answer` stand with it."""
    answer: list[Guess]
    """The best answers without the parts, and how the model's own best stands then."""
    written_before: list[Token]
    """What the model writes on from the text, the best guess at each step; empty if it cannot."""
    written_after: list[Token]
    """The same without the parts."""
    holds: str
    """At which tokens the parts are out while it writes, in words."""

    def reading(self) -> str:
        """The change in a sentence or two."""
        first, was = self.answer[0], self.unablated[0]
        said = (
            f"Without {', '.join(self.out)} (in their place {self.stood.said}) the "
            f"{self.metric.replace('_', ' ')} is {self.after:.4g} instead of {self.before:.4g}; the answer "
            f"is {quoted(first.token)} instead of {quoted(was.token)}."
        )
        if self.written_after:
            text = [
                "".join(token.text for token in each) for each in (self.written_after, self.written_before)
            ]
            said += f" It writes on {text[0]!r} instead of {text[1]!r}."
        return said


@view
def ablated_answer(
    lab: Lab,
    prompt: Prompt,
    out: Out,
    model: ModelName = DEFAULT_MODEL,
    answer: AnswerToken = None,
    wrong: WrongToken = None,
    position: ReadAt = None,
    instead: Instead = "zero",
    metric: Measured = "logit_difference",
    source: TextsFrom = "written",
    texts: OwnTexts = [],  # noqa: B006 (pydantic copies it)
    seed: Seed = 0,
) -> AblatedAnswer:
    """The answer without some parts.

    The model reads the text with these parts taken out together, and writes on from it, the best
    guess at each step. Zero holds for the written tokens too; the mean or another text's values hold
    at the text's own tokens.

    What this cannot tell you: which of the parts did it; take fewer out to see.
    """
    from llm_workings.causal.ablation import edits_of
    from llm_workings.causal.sweep import measure_base, sweep

    from .passes import Pass, guesses

    base = lab.base(model, prompt)
    language_model = base.model
    asked = _ask(lab, base, prompt, answer, wrong, position, metric)
    held, stood = replacement(lab, base, instead, source, texts, seed)
    whole = instead == "zero"
    edits = edits_of(base, out, held, None if whole else list(range(base.n)))
    run = language_model.run(base.tokens, edits=edits)
    before, after = (Pass(language_model, base.tokens, each) for each in (base.run, run))
    best = guesses(before, asked.position, most=1)[0].token.id
    now = guesses(after, asked.position, most=GUESSES, also=[best])
    was = guesses(before, asked.position, most=GUESSES, also=[guess.token.id for guess in now])
    written: list[list[Token]] = [[], []]
    room = language_model.spec.n_ctx - base.n
    if language_model.spec.causal and room > 0:
        for number, changes in enumerate(([], edits)):
            writing = language_model.stream(
                [base.tokens], min(WRITTEN, room), edits=changes, progress=lab.progress
            )
            written[number] = lab.tokens(language_model, [guess.token for guess in writing])
    return AblatedAnswer(
        out=out,
        stood=stood,
        metric=metric,
        unit=asked.measure.unit,
        before=measure_base(base, asked.measure),
        after=float(sweep(base, [edits], asked.measure)[0]),
        answer_position=asked.position,
        unablated=was,
        answer=now,
        written_before=written[0],
        written_after=written[1],
        holds="at every token, the written ones too" if whole else "at the text's own tokens only",
    )
