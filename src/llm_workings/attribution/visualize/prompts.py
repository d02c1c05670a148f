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
    from llm_workings.trace.model import LanguageModel
    from llm_workings.trace.run import Run

CANDIDATES = 32  # exchanges that are tried in earnest at each step


@dataclass(frozen=True)
class TokenPrompt:
    """A prompt that was made to excite a unit at its last token.

    Attributes:
        unit: what was excited, in words.
        tokens: ids; after a model's begin-of-text token, where it has one, which is not counted among them.
        pieces: the tokens' texts.
        value: the unit at the last token.
        loss: nats a token of the prompt by the model itself; None where it does not say.
        history: the value after each step; it never falls where `fluency` is 0.
        start: the value of the first, random prompt.
    """

    unit: str
    tokens: list[int]
    pieces: list[str]
    value: float
    loss: float | None
    history: list[float]
    start: float

    @property
    def text(self) -> str:
        """The prompt; reading it in again need not give the same tokens."""
        return "".join(self.pieces)


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
        read: the coordinate, or a direction, a vector as wide as the site.
        n: tokens.
        fluency: activation units a nat.
        start: the first prompt, n ids; None: drawn at random.

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
    if not 1 <= n <= spec.n_ctx - 1:
        raise BadInput(f"A prompt of {n} tokens cannot be read: the model reads 1 to {spec.n_ctx - 1}.")
    if fluency and (isinstance(spec.head, NoHead) or not spec.causal):
        raise BadInput(f"{model.name} does not say how likely a text is.", hint="Leave fluency at 0.")
    allowed = torch.tensor([i for i in range(tokenizer.vocab_size) if not tokenizer.is_special(i)])
    draw = torch.Generator().manual_seed(seed)
    begin = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    if start is not None and len(start) != n:
        raise BadInput(f"The first prompt has {len(start)} tokens, not {n}.")
    now = (
        torch.tensor(list(start))
        if start is not None
        else allowed[torch.randint(len(allowed), (n,), generator=draw)]
    )
    embeddings = model.transformer.embed.weight.detach()[allowed.to(model.device)]
    embed = site("embed")

    def whole(rows: Tensor) -> Tensor:
        return torch.cat((torch.tensor(begin, dtype=torch.long).expand(len(rows), -1), rows), 1)

    def excited(run: Run) -> Tensor:
        value = run[where][:, -1].flatten(1)
        return value @ vector.to(value)

    def scored(rows: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """What is climbed, the activation alone, and the loss, of prompts `[row, n]`."""
        run = model.run(whole(rows), keep=[where], logits=bool(fluency))
        value = excited(run).cpu()
        if not fluency:
            return value, value, None
        loss = _loss(run, len(begin)).cpu()
        return value - fluency * loss, value, loss

    history: list[float] = []
    (best,), (value,), losses = scored(now[None])
    first, loss = float(value), losses

    def so_far() -> TokenPrompt:
        return TokenPrompt(
            unit, now.tolist(), [tokenizer.piece(i) for i in now.tolist()], float(value),
            None if loss is None else float(loss), list(history), first,
        )  # fmt: skip

    for step in range(steps):
        progress.report("exchanging tokens", step, steps)

        def target(run: Run) -> Tensor:
            climbed = excited(run).sum()
            return climbed - fluency * _loss(run, len(begin)).sum() if fluency else climbed

        run = model.run(whole(now[None]), keep=[embed, where], grad=target, logits=bool(fluency))
        slope = run.grad[embed][0, len(begin) :]
        promise = slope @ embeddings.to(slope).T  # [position, token]
        promise -= (slope * model.transformer.embed.weight.detach()[now.to(model.device)]).sum(
            -1, keepdim=True
        )
        promising = promise.topk(min(top, len(allowed)), dim=1).indices.cpu()
        positions = torch.randint(n, (candidates,), generator=draw)
        picks = torch.randint(promising.shape[1], (candidates,), generator=draw)
        picks[:n] = 0  # the most promising exchange of each position is among them
        positions[: min(n, candidates)] = torch.arange(n)[:candidates]
        rows = now.repeat(candidates, 1)
        rows[torch.arange(candidates), positions] = allowed[promising[positions, picks]]
        climbed, values, losses = scored(rows)
        winner = int(climbed.argmax())
        if climbed[winner] > best:
            best, value, now = climbed[winner], values[winner], rows[winner]
            loss = None if losses is None else losses[winner]
        history.append(float(value))
        if partial is not None:
            partial(so_far())
    return so_far()


def _one(model: LanguageModel, place: str | Site) -> Site:
    found = list(select(model.spec, place))
    if len(found) != 1 or "position" not in found[0].axes:
        raise BadInput(
            f"{place} is no one site with a value at each position.",
            hint="Such as mlp_post.21 or resid_post.5.",
        )
    return found[0]


def _loss(run: Run, begin: int) -> Tensor:
    """Nats a token of each row's prompt by the model itself, of the tokens that have one before them."""
    tokens = run.tokens.to(run.logits.device)
    first = max(begin, 1)
    said = run.logits[:, first - 1 : -1].float().log_softmax(-1)
    return -said.gather(-1, tokens[:, first:, None])[..., 0].mean(-1)
