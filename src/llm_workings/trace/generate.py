"""Writing on: token after token, with the keys and values of all earlier ones kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput, NotSupported, TooLarge
from llm_workings.core.progress import SILENT, Progress
from llm_workings.core.seeds import fresh_seed, generator
from llm_workings.models.spec import NextTokenHead
from llm_workings.models.transformer import KeyValueCache

from . import budget as memory
from .apply import Frame
from .edits import AnyEdit, Edit, FunctionEdit
from .guesses import Guess, guess_of
from .plan import make_plan
from .prompt import Batch, Prompt, read_prompt
from .tap import NotFinite, Tracer, finite

if TYPE_CHECKING:
    from .model import LanguageModel


@dataclass(frozen=True)
class Text:
    """What a model wrote.

    `guesses` are the written tokens with the probability, logit and rank that each had (before
    temperature and cuts); `seed` repeats the draw (None: nothing was drawn); `ended` says why it
    ended: "length", "end of text", or the stop text that was met.
    """

    prompt: str
    tokens: tuple[int, ...]
    text: str
    guesses: tuple[Guess, ...]
    seed: int | None
    ended: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Choice:
    """How the next token is chosen. Temperature 0 takes the best guess, always the same."""

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise BadInput(
                f"The temperature {self.temperature} is not 0 or more.", hint="0 is greedy, 1 as is."
            )
        if self.top_k is not None and self.top_k < 1:
            raise BadInput(f"top_k={self.top_k} leaves no token.", hint="Take 1 or more.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise BadInput(f"top_p={self.top_p} is not within 0 and 1.", hint="0.9 is usual.")

    def probabilities(self, logits: Tensor) -> Tensor:
        """`[vocabulary]`: of what is drawn from, after temperature, then top-k, then top-p.

        Top-p keeps the fewest tokens whose probabilities add up to p (Holtzman et al. 2020).
        """
        logits = logits.double() / self.temperature
        if self.top_k is not None and self.top_k < len(logits):
            kept = logits.topk(self.top_k)
            logits = torch.full_like(logits, -torch.inf).scatter(0, kept.indices, kept.values)
        probabilities = logits.softmax(0)
        if self.top_p is not None:
            ordered, order = probabilities.sort(descending=True, stable=True)
            before = ordered.cumsum(0) - ordered  # what the better ones already add up to
            ordered = ordered.masked_fill(before >= self.top_p, 0)
            probabilities = torch.zeros_like(probabilities).scatter(0, order, ordered)
        return probabilities / probabilities.sum()

    def pick(self, logits: Tensor, draw: torch.Generator | None) -> int:
        if draw is None:
            return int(logits.argmax())
        return int(torch.multinomial(self.probabilities(logits).cpu(), 1, generator=draw))


class Stream(Iterator[Guess]):
    """The tokens of a text being written, one `Guess` at a time; `text()` is what there is so far.

    Closing the loop early is enough to stop. See `LanguageModel.generate` for the arguments.
    """

    def __init__(
        self,
        model: LanguageModel,
        prompt: Prompt,
        n: int = 20,
        *,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        edits: Sequence[AnyEdit] = (),
        budget: int | str | None = None,
        progress: Progress = SILENT,
        special: bool = True,
    ):
        if not model.spec.causal or not isinstance(model.spec.head, NextTokenHead):
            raise NotSupported(
                f"{model.name} cannot write on: it reads both ways or has no next-token head.",
                hint="Put its mask token into a text and look at model.run(text).top().",
            )
        if n < 1:
            raise BadInput(f"n={n} tokens are none.", hint="Ask for at least one.")
        self.model, self.n, self.progress = model, n, progress
        self.choice = Choice(temperature, top_k, top_p)
        self.stops = (stop,) if isinstance(stop, str) else tuple(stop)
        if not all(self.stops):
            raise BadInput("An empty stop text would stop before the first token.", hint="Leave it out.")
        self.batch = read_prompt(model, prompt, special=special)
        if self.batch.size > 1:
            raise BadInput(f"{self.batch.size} prompts were given; one is written on at a time.")
        limit = model.spec.n_ctx
        if self.batch.width + n > limit:
            raise TooLarge(
                f"A prompt of {self.batch.width} tokens and {n} more pass the {limit} {model.name} reads.",
                hint=f"Ask for at most {limit - self.batch.width}, or shorten the prompt.",
                given={"tokens": self.batch.width, "n": n, "n_ctx": limit},
            )
        self.edits = tuple(_settled(edit, self.batch.width) for edit in edits)
        self._check_memory(budget)
        self.seed = None if temperature == 0 else fresh_seed() if seed is None else seed
        self._draw = None if self.seed is None else generator(self.seed)
        self._cache = KeyValueCache(model.spec.n_layers)
        self._tracer = Tracer((), self.edits, self._frame(0, self.batch.width))
        self._next = self.batch.tokens
        self.guesses: list[Guess] = []
        self.ended = ""

    def __next__(self) -> Guess:
        if self.ended:
            raise StopIteration
        self.progress.report("writing", len(self.guesses), self.n)
        guess = self.take(self._logits())
        if self.ended:
            self._tracer.check_fired(self.edits)
        return guess

    def take(self, logits: Tensor) -> Guess:
        """Choose the next token from its logits `[vocabulary]`, whoever computed them."""
        token = self.choice.pick(logits, self._draw)
        guess = guess_of(logits, self.model.tokenizer, token)
        self.guesses.append(guess)
        self._next = torch.tensor([[token]], device=self.model.device)
        self.ended = self._why_ended(token)
        return guess

    def text(self) -> Text:
        """What is written so far; a stop text, and all after it, is cut off."""
        tokens = [guess.token for guess in self.guesses]
        written = self._written()
        if self.ended in self.stops and self.ended in written:
            written = written[: written.index(self.ended)]
        prompt = self.model.tokenizer.decode(self.batch.tokens[0].tolist())
        ended = self.ended or "stopped"
        return Text(prompt, tuple(tokens), written, tuple(self.guesses), self.seed, ended)

    def _logits(self) -> Tensor:
        begin = self._cache.length(0)
        width = self._next.shape[1]
        self._tracer.frame = self._frame(begin, begin + width)
        with torch.no_grad():
            logits = self.model.transformer(
                self._next, tap=self._tracer, cache=self._cache, score=slice(width - 1, None)
            )
        if not finite(logits):
            raise NotFinite(
                f"A NaN or an infinity came out of {self.model.name} after {len(self.guesses)} tokens.",
                hint="Run the text with model.run(..., edits=...) to see at which site it begins.",
            )
        return logits[0, -1]

    def _frame(self, begin: int, end: int) -> Frame:
        return Frame((end,), range(begin, end), (end - 1,), growing=True)

    def _written(self) -> str:
        """The text past the prompt, as the tokenizer joins it: prompt and rest decoded together,
        because a token's text may depend on the one before it. Rows past the vocabulary have no text."""
        tokenizer = self.model.tokenizer
        before = self.batch.tokens[0].tolist()
        told = [guess.token for guess in self.guesses if guess.token < tokenizer.vocab_size]
        whole = tokenizer.decode([*before, *told], special=False)
        prompt = tokenizer.decode(before, special=False)
        if whole.startswith(prompt):
            return whole[len(prompt) :]
        return tokenizer.decode(told, special=False)

    def _why_ended(self, token: int) -> str:
        if self.stops:
            written = self._written()
            met = [(written.index(text), text) for text in self.stops if text in written]
            if met:
                return min(met)[1]
        if token == self.model.tokenizer.eos_id:
            return "end of text"
        return "length" if len(self.guesses) == self.n else ""

    def _check_memory(self, budget: int | str | None) -> None:
        full = Batch(
            torch.empty(1, self.batch.width + self.n, dtype=torch.long), (self.batch.width + self.n,)
        )
        plan = make_plan(
            self.model.spec,
            full,
            (),
            self.edits,
            logits="last",
            stop=None,
            resume=None,
            resumable=True,  # for its keys and values
            graph=False,
        )
        memory.check(plan.forecast(self.model.dtype.itemsize), self.model.device, budget)


def _settled(edit: Any, length: int) -> AnyEdit:
    """The edit with its negative positions counted from the prompt's end, once and for all."""
    if isinstance(edit, FunctionEdit):
        return edit
    changed = {}
    for name in ("positions", "keys"):
        chosen = getattr(edit.where, name)
        if chosen is not None and any(number < 0 for number in chosen):
            if min(chosen) < -length:
                raise BadInput(f"The edit {str(edit)!r} picks {name} {min(chosen)} of {length} tokens.")
            changed[name] = tuple(number + length if number < 0 else number for number in chosen)
    return Edit(edit.site, edit.where.model_copy(update=changed), edit.how) if changed else edit
