"""The two texts of a causal picture: how they align, what answers tell them apart, how that is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, Field

from llm_workings.core.errors import BadInput, LabError, NotSupported
from llm_workings.core.wire import Payload
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import LONGEST_PROMPT, ModelName, Prompt, view
from .lab import Lab
from .parts import Guess, ModelCard, Token, quoted

if TYPE_CHECKING:
    from llm_workings.causal.base import Base
    from llm_workings.causal.metrics import Metric
    from llm_workings.causal.patching import Pair, Patching
    from llm_workings.causal.path_patching import PathPatching
    from llm_workings.trace.model import LanguageModel

MetricName = Literal["logit_difference", "logit", "probability", "log_probability", "rank", "kl", "loss"]
OF_ALL_TOKENS = ("KL divergence", "loss")  # metrics that no single answer is named for
SHOWN = 5  # guesses


def _some(text: str | None) -> str | None:
    if text == "":
        raise ValueError("it is empty")
    return text


Corrupted = Annotated[
    str | None,
    Field(
        title="Second text",
        max_length=LONGEST_PROMPT,
        description="The corrupted text: as many tokens as the first, with another answer. Left out, one is "
        "proposed where the form of the text says what to change.",
    ),
    AfterValidator(_some),
]
Answer = Annotated[
    str | None,
    Field(
        title="Right answer",
        max_length=200,
        description="One token, its leading space included, that the clean text asks for. Left out, it is "
        "the model's best answer there.",
    ),
    AfterValidator(_some),
]
Wrong = Annotated[
    str | None,
    Field(
        title="Wrong answer",
        max_length=200,
        description="One token, its leading space included, that the corrupted text asks for. Left out, it "
        "is the model's best other answer there.",
    ),
    AfterValidator(_some),
]
Direction = Annotated[
    Literal["denoising", "noising"],
    Field(
        title="Direction",
        description="denoising puts the clean run's values into the corrupted one, noising the corrupted "
        "run's into the clean one.",
    ),
]
Measured = Annotated[
    MetricName,
    Field(
        title="Metric", description="What is read off each patched run. Of the last two see docs/causal.md."
    ),
]
At = Annotated[
    int | None,
    Field(
        title="Answer's position",
        ge=0,
        description="The token after which the answer is read, from 0. Left out, it is the last, or the "
        "one mask.",
    ),
]


# --- the pair, made whole --------------------------------------------------------------------------
class PosedPair(Payload):
    """What every picture of a posed pair shows of it: the texts, their answers, the two runs themselves."""

    model: ModelCard
    clean: list[Token]
    corrupted: list[Token]
    differs: list[int]
    """Positions at which the two texts have different tokens."""
    corrupted_text: str
    proposed: str
    """What was changed to make the second text, if it was proposed; else empty."""
    answer: Token
    wrong: Token
    position: int
    """After which token the answer is read; of a masked-language model, at which."""
    clean_answer: list[Guess]
    """The best guesses after the clean text, and how the two answers stand; best first."""
    corrupted_answer: list[Guess]
    direction: Literal["denoising", "noising"]
    metric: str
    unit: str
    """What the metric is counted in."""
    clean_value: float
    corrupted_value: float
    comparable: bool
    """Whether the two runs score differently, so that there is a scale from 0 to 1 between them."""


@dataclass(frozen=True)
class Posed:
    """A question that a patch can answer: two texts that align, their answers, and how it is measured."""

    pair: Pair
    metric: Metric
    answer: int
    wrong: int
    position: int
    corrupted_text: str
    proposed: str
    """What was changed to make the second text, if it was proposed; else empty."""

    def shown(self, lab: Lab, found: Patching | PathPatching) -> dict[str, Any]:
        """The fields of a `PosedPair`, of what a sweep over the pair found."""
        from .passes import best_of

        model, clean, corrupted = self.pair.model, self.pair.clean, self.pair.corrupted
        answers = (self.answer, self.wrong)
        span = abs(found.clean - found.corrupted)
        return {
            "model": lab.card(model),
            "clean": lab.tokens(model, clean.tokens),
            "corrupted": lab.tokens(model, corrupted.tokens),
            "differs": self.pair.differs,
            "corrupted_text": self.corrupted_text,
            "proposed": self.proposed,
            "answer": lab.tokens(model, [self.answer])[0],
            "wrong": lab.tokens(model, [self.wrong])[0],
            "position": self.position,
            "clean_answer": best_of(model, clean.logits[self.position], most=SHOWN, also=answers),
            "corrupted_answer": best_of(model, corrupted.logits[self.position], most=SHOWN, also=answers),
            "direction": found.direction,
            "metric": found.metric,
            "unit": self.metric.unit,
            "clean_value": found.clean,
            "corrupted_value": found.corrupted,
            "comparable": span > 1e-12 * max(abs(found.clean), abs(found.corrupted), 1.0),
        }


def pose(
    lab: Lab,
    model: str,
    prompt: str,
    corrupted: str | None,
    answer: str | None,
    wrong: str | None,
    metric: MetricName = "logit_difference",
    at: int | None = None,
) -> Posed:
    """Fill in what was left out, and say what cannot be.

    Raises:
        NotSupported: the model answers nothing.
        BadInput: there is no second text and none can be proposed (`given` says that it is missing), the
            two do not align or are the same, an answer is not one token, or there is no such position.
        TooLarge: the text is longer than the model's context.
    """
    loaded = lab.model(model)
    check_answers(loaded)
    second, right, other, proposed = second_of(loaded, prompt, corrupted, answer, wrong)
    if second is None:
        lab.base(model, prompt)  # of a text that cannot be read at all, that is said first
        raise BadInput(
            "A patch needs a second text: as many tokens as the first, and another answer.",
            hint="Write it under the first one, with one thing changed, or take an example.",
            given={"missing": "corrupted", "prompt": prompt},
        )
    rights = None if right is None else loaded.token(right)
    wrongs = None if other is None else loaded.token(other)
    pair = lab.pair(model, prompt, second)
    position = place_of_answer(pair.clean, at)
    place_of_answer(pair.corrupted, at)
    if rights is None:
        rights = _best(pair.clean, position, wrongs)
    if wrongs is None:
        wrongs = _best(pair.corrupted, position, rights)
    if rights == wrongs and metric == "logit_difference":
        raise BadInput(
            f"The right and the wrong answer are the same token: {loaded.tokenizer.piece(rights)!r}.",
            hint="A difference takes two. Name another one, or another metric.",
        )
    read = metric_of(pair, metric, rights, wrongs, position)
    return Posed(pair, read, rights, wrongs, position, second, proposed)


def check_answers(model: LanguageModel) -> None:
    """Raises `NotSupported` for a model without a language-model head."""
    from llm_workings.models.spec import NoHead

    if isinstance(model.spec.head, NoHead):
        raise NotSupported(
            f"{model.name} is an encoder without a language-model head: it gives no answer that could move.",
            hint="Take a model that answers.",
            given={"model": model.name},
        )


def second_of(
    model: LanguageModel, prompt: str, corrupted: str | None, answer: str | None, wrong: str | None
) -> tuple[str | None, str | None, str | None, str]:
    """The second text and the answers, proposed where they were left out; and what was changed."""
    from llm_workings.data.families.second_text import second_text

    proposal = second_text(model.tokenizer, prompt)
    if proposal is None or corrupted not in (None, proposal.corrupted):
        return corrupted, answer, wrong, ""
    said = "" if corrupted is not None else proposal.kind
    return proposal.corrupted, answer or proposal.right, wrong or proposal.wrong, said


def place_of_answer(base: Base, at: int | None) -> int:
    """The position after which the answer is read, from 0; at which it is, of a masked-language model.

    Raises `BadInput` where there is none, or not one mask.
    """
    if at is not None:
        if at >= base.n:
            raise BadInput(
                f"The answer is to be read at position {at}; the text has positions 0 to {base.n - 1}.",
                hint=f"Take {base.n - 1}, the last.",
                given={"at": at, "tokens": base.n},
            )
        return at
    if base.spec.causal:
        return base.n - 1
    mask = base.model.tokenizer.mask_id
    if mask is None or base.tokens.count(mask) != 1:
        said = "" if mask is None else f" Put one {base.model.tokenizer.piece(mask)} into both texts."
        raise BadInput(
            f"{base.model.name} reads both ways and answers at a mask, of which this text has "
            f"{base.tokens.count(mask or -1)}: {''.join(base.run.pieces())!r}.",
            hint=said.strip() or "Name the position of the answer.",
        )
    return base.tokens.index(mask)


def metric_of(pair: Pair, name: MetricName, answer: int, wrong: int, position: int) -> Metric:
    """The metric called `name`, read at a position; KL and loss are against the clean text."""
    from llm_workings.causal import metrics

    if name == "logit_difference":
        return metrics.logit_difference(pair.model, answer, wrong, position)
    if name == "kl":
        return metrics.divergence(pair.clean, position)
    if name == "loss":
        return metrics.loss(pair.clean)
    made: Metric = getattr(metrics, name)(pair.model, answer, position)
    return made


class _Measured(Protocol):
    @property
    def metric(self) -> str: ...
    @property
    def answer(self) -> Token: ...
    @property
    def wrong(self) -> Token: ...


def measured(picture: _Measured) -> str:
    """What a picture's numbers are, in words: the metric and the answers that it reads."""
    if picture.metric == "logit difference":
        return f"logit of {quoted(picture.answer)} less that of {quoted(picture.wrong)}"
    if picture.metric in OF_ALL_TOKENS:
        return picture.metric
    return f"{picture.metric} of {quoted(picture.answer)}"


def _best(base: Base, position: int, other: int | None) -> int:
    """The best guess at a position that is not `other`."""
    best = [int(token) for token in base.logits[position].topk(2).indices]
    return best[1] if best[0] == other else best[0]


# --- the pair as it is typed -----------------------------------------------------------------------
class TextPair(Payload):
    """Two texts token over token, as they are typed: before anything is run."""

    model: ModelCard
    clean: list[Token]
    corrupted: list[Token]
    """Empty if there is no second text yet."""
    corrupted_text: str | None
    differs: list[int]
    """Positions at which the two have different tokens."""
    proposed: str
    """What was changed, in words, if the second text is a proposal; else empty."""
    answer: str | None
    wrong: str | None
    """As given or proposed; None leaves them to the model."""
    trouble: str
    """What is wrong with the pair, in words; else empty."""
    hint: str
    parts_at: int | None
    """The position from which the two do not align."""

    def reading(self) -> str:
        """The two texts in a sentence."""
        if self.trouble:
            return self.trouble
        if not self.corrupted:
            return "There is no second text."
        changes = ", ".join(
            f"{quoted(self.clean[at])} at {at} is {quoted(self.corrupted[at])}" for at in self.differs
        )
        return f"{len(self.clean)} tokens each: {changes}."


@view
def text_pair(
    lab: Lab,
    prompt: Prompt,
    model: ModelName = DEFAULT_MODEL,
    corrupted: Corrupted = None,
    answer: Answer = None,
    wrong: Wrong = None,
) -> TextPair:
    """Two texts, token over token.

    Whether two texts align: as many tokens, with the same part of the sentence at the same position. Where
    the second is left out and the form of the first says what to change (two names of which one comes
    again, a fact of the list, a text that repeats itself), one is proposed with its answers.

    What this cannot tell you: whether the two differ in one thing only for the model, too. That two texts
    have as many tokens does not say that the tokens correspond.
    """
    from llm_workings.data.families import check_token_alignment

    loaded = lab.model(model)
    second, right, other, proposed = second_of(loaded, prompt, corrupted, answer, wrong)
    ids = loaded.tokenizer.encode(prompt)
    others = [] if second is None else loaded.tokenizer.encode(second)
    differs: list[int] = []
    trouble, hint, parts_at = "", "", None
    try:
        check_answers(loaded)
        if second is not None:
            differs = list(check_token_alignment(loaded.tokenizer, ids, others))
            if not differs:
                trouble, hint = "The two texts are the same.", "Change one thing in the second."
        for word in (right, other):
            if word is not None:
                loaded.token(word)
    except LabError as error:
        trouble, hint = error.message.split(" Clean (")[0], error.hint
        parts_at = error.given.get("position")
    return TextPair(
        model=lab.card(loaded),
        clean=lab.tokens(loaded, ids),
        corrupted=lab.tokens(loaded, others),
        corrupted_text=second,
        differs=differs,
        proposed=proposed,
        answer=right,
        wrong=other,
        trouble=trouble,
        hint=hint,
        parts_at=parts_at,
    )
