"""Which tokens an answer came from: a line of the text a method, beside what leaving out really does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from llm_workings.core.errors import BadInput
from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import ModelName, Prompt, view
from .lab import Lab
from .parts import AnswerToken, Guess, ModelCard, Token, WrongToken, quoted
from .token_methods import METHODS, Finder, Method, OfAnswer

if TYPE_CHECKING:
    from torch import Tensor as Array

Values = Annotated[np.ndarray, Tensor("float64", "position")]
GUESSES = 6
FROM_TEXT = 3  # guesses that stand in the text
MOST = 512  # tokens: a backward pass keeps every pattern, and leaving out costs a run a token
ReadAt = Annotated[
    int | None,
    Field(
        title="Position",
        ge=0,
        description="Where the answer is read, a token of the text from 0. Left out, it is the last one, or "
        "the mask of a masked-language model.",
    ),
]
Kind = Annotated[
    Literal["logit", "probability"],
    Field(
        title="Measure",
        description="What is explained: the logit (with a wrong answer, the difference of two), or the "
        "probability of one token.",
    ),
]
Chosen = Annotated[
    list[Method],
    Field(
        title="Methods",
        min_length=1,
        description="Which methods to run. Leaving out costs a run a token, integrated gradients fifty "
        "forward and backward passes.",
    ),
]


class Attributed(Payload):
    """One method's values of the text's tokens, and how far they agree with leaving out."""

    method: Method
    title: str
    values: Values
    """In the unit of what is explained; of rollout and value zeroing, shares of 1. 0 where not yet known."""
    done: int
    """How many positions are known, from the first on: all of them once the method has run."""
    of_answer: bool
    """False for a method that does not know which answer is asked about; its values are unsigned."""
    sum: float
    expected: float | None
    """What the values should add up to; None where the method promises no sum."""
    promise: str
    """What that is, in a sentence."""
    notes: list[str]
    """What must be known to read the line."""
    says: str
    cannot: str
    """What it cannot tell."""
    top: int | None
    """The position of the largest value, whatever its sign; None where all are 0 or not all known."""
    same_top: bool | None
    """Whether leaving out names the same; None for leaving out itself, where
    that is not known, and where there is one token to name."""
    same_sign: bool | None
    """Whether it has the same sign there; None for unsigned methods and where `same_top` is not true."""
    spearman: float | None
    """Rank correlation with leaving out, signs counted, over the tokens that the answer can read. None for
    unsigned methods, for fewer than three tokens, and where one of the two is constant."""
    spearman_sizes: float | None
    """The same of absolute values."""


class TokenAttribution(Payload):
    """One number of the model's answer, handed out to the text's tokens by several methods."""

    model: ModelCard
    tokens: list[Token]
    position: int
    """Where the answer is read."""
    answer: Token
    wrong: Token | None
    """The token whose logit is taken off; None where there is no difference."""
    kind: Literal["logit", "probability"]
    guesses: list[Guess]
    """The model's best answers there, best first; among them the answer, the wrong one and the best tokens
    of the text, which are what an answer is most often held against."""
    score: float
    """What is explained."""
    readable: int
    """The answer can come from the tokens before this one only; of a bidirectional model, from all."""
    rows: list[Attributed]
    """The reference first, then methods that know the answer, then those that do not."""
    complete: bool
    """False while methods are still running."""

    @property
    def reference(self) -> Attributed | None:
        """The row of leaving out, where it was asked for."""
        return next((row for row in self.rows if row.method == "leave_one_out"), None)

    def reading(self) -> str:
        """The picture in a few sentences, for a terminal or a screen reader."""
        what = f"{self.kind} of {quoted(self.answer)}"
        if self.wrong is not None:
            what = f"logit difference {quoted(self.answer)} − {quoted(self.wrong)}"
        lines = [
            f"{self.model.title}: the {what} after {quoted(self.tokens[self.position])} is {self.score:+.4f}."
        ]
        reference = self.reference
        if reference is not None and reference.top is not None:
            token, value = self.tokens[reference.top], float(reference.values[reference.top])
            lines.append(f"It loses most without {quoted(token)} ({value:+.2f}).")
            others = [row for row in self.rows if row.same_top is not None]
            same = [row.title for row in others if row.same_top]
            if others:
                named = f": {', '.join(same)}" if same else ""
                lines.append(f"Of {len(others)} other methods {len(same)} name the same token first{named}.")
            if against := [row.title for row in others if row.same_sign is False]:
                lines.append(f"With the opposite sign: {', '.join(against)}.")
        for row in self.rows:
            if row.method == "leave_one_out" or row.top is None:
                continue
            rank = row.spearman_sizes if row.spearman is None else row.spearman
            said = f"{row.title}: {quoted(self.tokens[row.top])} {float(row.values[row.top]):+.3g}"
            if rank is not None:
                said += f", rank correlation with leaving out {rank:.2f}"
            if row.expected is not None:
                said += f", sum {row.sum:+.4g} of {row.expected:+.4g}"
            lines.append(said + ".")
        return " ".join(lines)


@view
def token_attribution(
    lab: Lab,
    prompt: Prompt,
    model: ModelName = DEFAULT_MODEL,
    answer: AnswerToken = None,
    wrong: WrongToken = None,
    position: ReadAt = None,
    kind: Kind = "logit",
    methods: Chosen = list(METHODS),  # noqa: B006 (pydantic copies it)
) -> TokenAttribution:
    """Token attribution.

    Which tokens the answer came from, by each method that claims to know. Every line is the text; a
    token's shade is its share of its line, v_t / Σ |v|: blue for the answer, orange and underlined with
    dashes against it. The first line is what really happens: score(text) − score(text without t), where
    "without" puts the vocabulary's mean embedding in the token's place. The others are quicker guesses:
    gradient · embedding, its integral from the mean embedding (integrated gradients), and relevance
    handed back layer by layer (AttnLRP, CP-LRP). Attention rollout and value zeroing say how much of
    each token is mixed into the place where the answer is read, whatever the answer.

    Beside each line stands whether it names the same token first as leaving out, and the rank
    correlation (Spearman) of the two over the tokens that the answer can read. Below, for methods
    that promise a sum, what it is and what it should be.

    What this cannot tell you: why a token matters, or by what way; patch or ablate to see. Agreement
    with leaving out is no proof: it takes one token at a time, so what two tokens both say is lost with
    neither, and a text with a hole is like none the model was trained on. The lines have different
    units: compare their order, not their size.
    """
    from llm_workings.attribution.tokens.question import Answer, Question

    from .passes import Pass, guesses

    language_model = lab.model(model)
    asked = Question(language_model, prompt, Answer(0, position=position))
    if asked.n > MOST:
        raise BadInput(
            f"The text has {asked.n} tokens; at most {MOST} are explained at a time.",
            hint="Take a part of it: every method runs the model backwards, or once a token.",
            given={"tokens": asked.n},
        )
    base = lab.base(model, prompt)
    at = asked.position
    right = int(base.logits[at].argmax()) if answer is None else language_model.token(answer)
    off = None if wrong is None else language_model.token(wrong)
    question = Answer(right, off, kind, at)
    score = float(Question(language_model, prompt, question).target.of(base.logits[at][None].float())[0])
    there = sorted({*base.tokens} - {right}, key=lambda token: -float(base.logits[at, token]))
    also = [right, *([] if off is None else [off]), *there[:FROM_TEXT]]
    card, tokens = lab.card(language_model), lab.tokens(language_model, base.tokens)
    best = guesses(Pass(language_model, base.tokens, base.run), at, most=GUESSES, also=also)
    readable = at + 1 if language_model.spec.causal else base.n
    chosen = [name for name in METHODS if name in methods]
    found: dict[Method, OfAnswer] = {}

    def picture(complete: bool) -> TokenAttribution:
        return TokenAttribution(
            model=card,
            tokens=tokens,
            position=at,
            answer=lab.tokens(language_model, [right])[0],
            wrong=None if off is None else lab.tokens(language_model, [off])[0],
            kind=kind,
            guesses=best,
            score=score,
            readable=readable,
            rows=[_row(name, found, base.n, readable) for name in chosen],
            complete=complete,
        )

    finder = Finder(language_model, prompt, question, lab.progress)
    for name in sorted(chosen, key=lambda name: METHODS[name].cost):

        def sofar(values: Array, name: Method = name) -> None:
            found[name] = OfAnswer(values.double().cpu().numpy(), None, ())
            lab.progress.publish(lambda: picture(False))

        lab.progress.report(METHODS[name].title, len(found), len(chosen))
        found[name] = finder.find(name, sofar)
        lab.progress.publish(lambda: picture(False))
    return picture(True)


def _row(name: Method, found: dict[Method, OfAnswer], n: int, readable: int) -> Attributed:
    """A method's line, with what is known so far."""
    method, mine, reference = METHODS[name], found.get(name), found.get("leave_one_out")
    known = np.zeros(0) if mine is None else mine.values
    values = np.concatenate((known, np.zeros(n - len(known))))
    whole = len(known) == n
    compared = whole and name != "leave_one_out" and reference is not None and len(reference.values) == n
    top = _top(values) if whole else None
    same: bool | None = None
    same_sign: bool | None = None
    signs, sizes = None, None
    if compared:
        assert reference is not None
        there = _top(reference.values)
        same = None if there is None or top is None or readable < 2 else top == there
        if same and method.of_answer:
            same_sign = bool((values[top] > 0) == (reference.values[top] > 0))
        mine_read, theirs = values[:readable], reference.values[:readable]
        signs = _ranks_agree(mine_read, theirs) if method.of_answer else None
        sizes = _ranks_agree(np.abs(mine_read), np.abs(theirs))
    return Attributed(
        method=name,
        title=method.title,
        values=values,
        done=len(known),
        of_answer=method.of_answer,
        sum=float(values.sum()),
        expected=None if mine is None else mine.expected,
        promise=method.promise,
        notes=[] if mine is None else list(mine.notes),
        says=method.says,
        cannot=method.cannot,
        top=top,
        same_top=same,
        same_sign=same_sign,
        spearman=signs,
        spearman_sizes=sizes,
    )


def _top(values: np.ndarray) -> int | None:
    return int(np.abs(values).argmax()) if values.any() else None


def _ranks_agree(first: np.ndarray, second: np.ndarray) -> float | None:
    from llm_workings.probing.scores import spearman

    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return spearman(first, second)
