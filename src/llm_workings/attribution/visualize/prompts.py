"""The text that pleases a unit of a language model most: a prompt that is optimized token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.sites import Site, select, site
from llm_workings.models.spec import NoHead

if TYPE_CHECKING:
    from llm_workings.models.tokens import Tokenizer
    from llm_workings.trace.model import LanguageModel
    from llm_workings.trace.run import Run

CANDIDATES = 32  # exchanges that are tried in earnest at each step
SPARE = 3  # times as many are drawn where some of them cannot be typed
TRIES = 50  # draws for a token that makes a text that can be typed


@dataclass(frozen=True)
class TokenPrompt:
    """A prompt that was made to excite a unit at its last token.

    Attributes:
        unit: what was excited, in words.
        tokens: ids; what the tokenizer sets around a text ([CLS] and [SEP], BOS) is not counted among them.
        pieces: the tokens' texts.
        value: the unit at the last token.
        loss: nats a token of the prompt by the model itself; None where it does not say.
        history: the value after each step; it never falls where `fluency` is 0.
        start: the value of the first prompt.
        text: the prompt as a text. With `readable` it is read as the same tokens again.
    """

    unit: str
    tokens: list[int]
    pieces: list[str]
    value: float
    loss: float | None
    history: list[float]
    start: float
    text: str


def optimize_prompt(
    model: LanguageModel,
    place: str | Site,
    read: int | Tensor,
    *,
    n: int = 8,
    steps: int = 40,
    fluency: float = 0.0,
    top: int = 64,
    candidates: int = CANDIDATES,
    seed: int = 0,
    start: Sequence[int] | None = None,
    readable: bool = False,
    progress: Progress = SILENT,
    partial: Callable[[TokenPrompt], None] | None = None,
) -> TokenPrompt:
    """Exchange tokens, one a step, for what raises a unit's activation at the last token.

    Greedy coordinate gradient (Zou et al. 2023, arXiv 2307.15043): the slope of the activation at the
    embeddings, times every token's embedding, says to first order what each exchange would do; of the `top`
    of each position some are drawn, run in earnest, and the best is taken if it is better. With `fluency` w
    the loss of the prompt, times w, is subtracted (Thompson and Sklar 2024, "Fluent dreaming", arXiv
    2402.01702): what comes out then is more like text and excites the unit less.

    Args:
        place: a site with a value at each position: `mlp_post.21`, `resid_post.5`, `z.3` (heads and their
            dimensions flat).
        read: the coordinate, or a direction, a vector as wide as the site; minus a coordinate's unit vector
            makes it low.
        n: tokens.
        fluency: activation units a nat.
        candidates: exchanges that are run in earnest at each step, and prompts to choose the first one from.
        start: the first prompt, n ids; None: the best of some drawn at random.
        readable: only prompts whose text is read as the same tokens again, so that it can be typed (as the
            attack's own code does); without, half characters and splits that no text has are among them.

    Raises:
        BadInput: a coordinate or width that the site has not, an n or start that cannot be.
        UnknownName: no such site.
    """
    where = _one(model, place)
    width = model.run([[0]], keep=[where], logits=False)[where].flatten(2).shape[-1]
    if isinstance(read, Tensor):
        if read.numel() != width:
            raise BadInput(f"The direction has {read.numel()} numbers, and {where} {width}.")
        vector = read.flatten() / read.norm()
        unit = f"a direction of {where}"
    else:
        if not 0 <= read < width:
            raise BadInput(f"{where} has no coordinate {read}: they go from 0 to {width - 1}.")
        vector, unit = torch.nn.functional.one_hot(torch.tensor(read), width).float(), f"{where}[{read}]"
    tokenizer, spec = model.tokenizer, model.spec
    if fluency and (isinstance(spec.head, NoHead) or not spec.causal):
        raise BadInput(f"{model.name} does not say how likely a text is.", hint="Leave fluency at 0.")
    allowed = torch.tensor([i for i in range(tokenizer.vocab_size) if not tokenizer.is_special(i)])
    before, after = tokenizer.around(tokenizer.decode(allowed[:1].tolist()))
    most = spec.n_ctx - len(before) - len(after)
    if not 1 <= n <= most:
        raise BadInput(f"A prompt of {n} tokens cannot be read: the model reads 1 to {most}.")
    if start is not None and len(start) != n:
        raise BadInput(f"The first prompt has {len(start)} tokens, not {n}.")
    draw = torch.Generator().manual_seed(seed)
    begins = (
        _drawn(tokenizer, allowed, (candidates, n), readable, draw)
        if start is None
        else torch.tensor([list(start)])
    )
    embeddings = model.transformer.embed.weight.detach()[allowed.to(model.device)]
    embed = site("embed")

    last = len(before) + n - 1

    def whole(rows: Tensor) -> Tensor:
        ends = (torch.tensor(some, dtype=torch.long).expand(len(rows), -1) for some in (before, after))
        return torch.cat((next(ends), rows, next(ends)), 1)

    def excited(run: Run) -> Tensor:
        value = run[where][:, last].flatten(1)
        return value @ vector.to(value)

    def scored(rows: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """What is climbed, the activation alone, and the loss, of prompts `[row, n]`."""
        run = model.run(whole(rows), keep=[where], logits=bool(fluency))
        value = excited(run).cpu()
        if not fluency:
            return value, value, None
        loss = loss_of(run, len(before)).cpu()
        return value - fluency * loss, value, loss

    history: list[float] = []
    climbed, values, losses = scored(begins)
    winner = int(climbed.argmax())
    now, best, value, first = begins[winner], climbed[winner], values[winner], float(values[winner])
    loss = None if losses is None else losses[winner]

    def so_far() -> TokenPrompt:
        return TokenPrompt(
            unit, now.tolist(), [tokenizer.piece(i) for i in now.tolist()], float(value),
            None if loss is None else float(loss), list(history), first, tokenizer.decode(now.tolist()),
        )  # fmt: skip

    for step in range(steps):
        progress.report("exchanging tokens", step, steps)

        def target(run: Run) -> Tensor:
            climbed = excited(run).sum()
            return climbed - fluency * loss_of(run, len(before)).sum() if fluency else climbed

        run = model.run(whole(now[None]), keep=[embed, where], grad=target, logits=bool(fluency))
        slope = run.grad[embed][0, len(before) : last + 1]
        promise = slope @ embeddings.to(slope).T  # [position, token]
        promise -= (slope * model.transformer.embed.weight.detach()[now.to(model.device)]).sum(
            -1, keepdim=True
        )
        promising = promise.topk(min(top, len(allowed)), dim=1).indices.cpu()
        rows = _exchanged(now, allowed[promising], candidates * (SPARE if readable else 1), draw)
        if readable:
            rows = rows[_reads_back(tokenizer, rows)][:candidates]
        if len(rows):
            climbed, values, losses = scored(rows)
            winner = int(climbed.argmax())
            if climbed[winner] > best:
                best, value, now = climbed[winner], values[winner], rows[winner]
                loss = None if losses is None else losses[winner]
        history.append(float(value))
        if partial is not None:
            partial(so_far())
    return so_far()


def _exchanged(now: Tensor, promising: Tensor, many: int, draw: torch.Generator) -> Tensor:
    """`many` prompts that differ from `now` in one token each, drawn from `promising` `[position, token]`,
    the most promising exchange of each position first."""
    n = len(now)
    positions = torch.randint(n, (many,), generator=draw)
    picks = torch.randint(promising.shape[1], (many,), generator=draw)
    picks[:n] = 0
    positions[: min(n, many)] = torch.arange(n)[:many]
    rows = now.repeat(many, 1)
    rows[torch.arange(many), positions] = promising[positions, picks]
    return rows


def _drawn(
    tokenizer: Tokenizer, allowed: Tensor, shape: tuple[int, int], readable: bool, draw: torch.Generator
) -> Tensor:
    """Prompts `[row, n]` drawn at random; where they have to be readable, token after token."""

    def some(shape: tuple[int, ...]) -> Tensor:
        return allowed[torch.randint(len(allowed), shape, generator=draw)]

    if not readable:
        return some(shape)
    rows = torch.empty(shape[0], 0, dtype=torch.long)
    for _ in range(shape[1]):
        longer = torch.cat((rows, some((len(rows), 1))), 1)
        for _ in range(TRIES):
            bad = ~_reads_back(tokenizer, longer)
            if not bool(bad.any()):
                break
            longer[bad, -1] = some((int(bad.sum()),))
        rows = longer[_reads_back(tokenizer, longer)]
        if not len(rows):
            raise BadInput("No text was found that is read as the same tokens again.", hint="Give a start.")
    return rows


def _reads_back(tokenizer: Tokenizer, rows: Tensor) -> Tensor:
    """Which prompts `[row, n]` have a text that is read as the same tokens, `[row]`."""
    listed = rows.tolist()
    texts = [tokenizer.decode(row) for row in listed]
    again = tokenizer.encode_batch(texts, special=False)
    return torch.tensor([one == row for one, row in zip(again, listed, strict=True)], dtype=torch.bool)


def _one(model: LanguageModel, place: str | Site) -> Site:
    found = list(select(model.spec, place))
    if len(found) != 1 or "position" not in found[0].axes:
        raise BadInput(
            f"{place} is no one site with a value at each position.",
            hint="Such as mlp_post.21 or resid_post.5.",
        )
    return found[0]


def loss_of(run: Run, begin: int) -> Tensor:
    """Nats a token of each row by the model itself, `[row]`, of the tokens that have one before them; the
    `begin` tokens that the tokenizer sets before a text left out."""
    tokens = run.tokens.to(run.logits.device)
    first = max(begin, 1)
    said = run.logits[:, first - 1 : -1].float().log_softmax(-1)
    return -said.gather(-1, tokens[:, first:, None])[..., 0].mean(-1)
