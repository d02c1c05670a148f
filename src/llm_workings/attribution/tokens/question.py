"""What is asked of a text, and what every method answers: one value a token."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from llm_workings.attribution.result import ZERO
from llm_workings.attribution.targets import Target, difference, logit, probability
from llm_workings.core.errors import BadInput, NotSupported
from llm_workings.models.sites import Site
from llm_workings.models.spec import NoHead
from llm_workings.trace.model import frozen
from llm_workings.trace.prompt import read_prompt

if TYPE_CHECKING:
    from llm_workings.models.transformer import Tap
    from llm_workings.trace.model import LanguageModel

Word = str | int


@dataclass(frozen=True)
class Answer:
    """The number that is explained.

    Attributes:
        right: the token whose logit or probability it is.
        wrong: with it, the difference of the two logits: the logarithm of their odds.
        kind: `logit` or `probability`.
        position: the token after which (in a model that reads both ways: at which) it is read; None is the
            last one, or the text's one mask.
    """

    right: Word
    wrong: Word | None = None
    kind: Literal["logit", "probability"] = "logit"
    position: int | None = None


@dataclass(frozen=True)
class TokenAttribution:
    """One method's answer for one text.

    Attributes:
        values: `[position]`, signed except where the method's docstring says otherwise.
        tokens: the text's tokens, as text.
        score: the number that is explained.
        method: its name.
        expected: what the values should add up to, where the method promises a sum; else None.
        notes: what the reader must know to read the picture, in sentences.
    """

    values: Tensor
    tokens: tuple[str, ...]
    score: float
    method: str
    expected: float | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def sum(self) -> float:
        """What the values add up to."""
        return float(self.values.sum())

    @property
    def error(self) -> float | None:
        """`sum` minus `expected`; None where the method promises no sum."""
        return None if self.expected is None else self.sum - self.expected

    def strongest(self, count: int = 5) -> list[tuple[int, str, float]]:
        """The tokens of the largest values, whatever their sign: (position, token, value)."""
        order = self.values.abs().argsort(descending=True)[:count].tolist()
        return [(at, self.tokens[at], float(self.values[at])) for at in order]


class Question:
    """A text, and what of a model's answer to it is explained.

    Args:
        model: any of the families.
        prompt: one text, or its token ids.
        answer: an `Answer`, or the right token alone.

    Attributes:
        ids: `[1, n]`; pieces: the tokens as text; position: where the answer is read.

    Raises:
        NotSupported: a model without a head.
        BadInput: several texts, a position that is not there, a wrong answer that is the right one, an
            answer that is not one token, no mask or several.
    """

    def __init__(self, model: LanguageModel, prompt: Any, answer: Answer | Word):
        self.answer = answer if isinstance(answer, Answer) else Answer(answer)
        self.model, self.transformer = model, model.transformer
        if isinstance(model.spec.head, NoHead):
            raise NotSupported(
                f"{model.name} has no head, so it answers nothing that could be explained.",
                hint="Take a model with a language-model head, such as smollm2-135m.",
            )
        batch = read_prompt(model, prompt)
        if batch.size != 1:
            raise BadInput(f"One text is explained at a time; {batch.size} were given.")
        self.ids, self.n = batch.tokens, batch.width
        self.pieces = tuple(model.tokenizer.pieces(self.ids[0].tolist()))
        self.position = self._place(self.answer.position)
        self.target = self._target()

    def _place(self, position: int | None) -> int:
        if position is None and self.model.spec.causal:
            return self.n - 1
        if position is None:
            mask = self.model.tokenizer.mask_id
            places = [at for at, token in enumerate(self.ids[0].tolist()) if token == mask]
            if len(places) != 1:
                raise BadInput(
                    f"{self.model.name} reads both ways and answers at a mask; the text has {len(places)}.",
                    hint="Write one mask into the text, or give the position.",
                )
            return places[0]
        if not -self.n <= position < self.n:
            raise BadInput(
                f"There is no position {position}: the text has {self.n} tokens.",
                hint=f"Positions go from 0 to {self.n - 1}.",
                given={"position": position, "tokens": self.n},
            )
        return position % self.n

    def _target(self) -> Target:
        right = self.model.token(self.answer.right)
        if self.answer.kind == "probability":
            if self.answer.wrong is not None:
                raise BadInput("A probability is of one token.", hint="Leave out the wrong answer.")
            return probability(right)
        if self.answer.kind != "logit":
            raise BadInput(f"{self.answer.kind!r} is no kind of answer.", hint="It is logit or probability.")
        if self.answer.wrong is None:
            return logit(right)
        wrong = self.model.token(self.answer.wrong)
        if wrong == right:
            raise BadInput(f"The right and the wrong answer are the same token: {self.answer.right!r}.")
        return difference(right, wrong)

    def scores(self, tap: Tap, *, ids: Tensor | None = None, position: int | None = None) -> Tensor:
        """The target of each row, `[row]`, of a forward that hands its activations to `tap`.

        Args:
            ids: `[row, any length]`; by default the text's.
            position: where the answer is read in those.
        """
        at = torch.tensor([self.position if position is None else position], device=self.model.device)
        logits = self.transformer(self.ids if ids is None else ids, tap=tap, score=at)
        assert logits is not None
        logits = logits[:, 0]
        return self.target.of(logits.float() if logits.element_size() < 4 else logits)

    def found(
        self,
        values: Tensor,
        score: Tensor | float,
        method: str,
        expected: Tensor | float | None = None,
        notes: Iterable[str] = (),
    ) -> TokenAttribution:
        """A method's answer, with a note where there is nothing in it."""
        values, score = values.detach().to("cpu", torch.float64), torch.as_tensor(score).detach()
        said = tuple(notes) if bool(values.any()) else (*notes, ZERO)
        total = None if expected is None else float(expected)
        return TokenAttribution(values, self.pieces, float(score), method, total, said)

    @cached_property
    def embedded(self) -> Tensor:
        """The tokens' own embeddings, `[1, n, d]`, without positions."""
        return self.transformer.embed(self.ids).detach()

    def weights(self) -> Any:
        """Inside, weights ask for no gradient."""
        return frozen(self.transformer)


class Embedding:
    """A tap that puts given embeddings, `[row, n, d]`, where the tokens' own would be."""

    def __init__(self, given: Tensor):
        self.given = given

    def __call__(self, where: Site, value: Tensor) -> Tensor:
        return self.given if where.kind == "embed" else value

    def wants(self, where: Site) -> bool:
        """Nothing that costs extra."""
        return False
