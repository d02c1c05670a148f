"""Leave-one-out: the answer without each token, the plain measure that others are held against."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput, unknown
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.transformer import UNTAPPED

from .question import Answer, Embedding, Question, TokenAttribution, Word

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel

How = Literal["zero", "mean", "token", "delete"]
AT_ONCE = 512  # tokens of a batch


def leave_one_out(
    model: LanguageModel,
    prompt: Any,
    answer: Answer | Word,
    *,
    how: How = "mean",
    token: Word | None = None,
    progress: Progress = SILENT,
    sofar: Callable[[Tensor], None] | None = None,
) -> TokenAttribution:
    """score(text) − score(text without the token), for each token (Li et al. 2016, arXiv 1612.08220).

    What is really lost; of each token by itself, so what two tokens say both is lost with neither. It
    promises no sum.

    Args:
        how: what "without" is. `mean`: the vocabulary's mean embedding stands there, `zero`: zero does,
            `token`: another token does (`token=`), `delete`: those after it move up, so positions differ too.
        sofar: hears the values of the first tokens as they come, `[token]`.
    """
    if how not in get_args(How):
        raise unknown("way to leave a token out", str(how), get_args(How))
    if (how == "token") != (token is not None):
        raise BadInput("A token is given exactly where how='token'.", hint="how='token', token=' the'.")
    asked = Question(model, prompt, answer)
    n, lost = asked.n, []
    with torch.no_grad():
        whole = asked.scores(UNTAPPED)[0]
        size = max(1, AT_ONCE // n)
        for begin in range(0, n, size):
            progress.report("leaving tokens out", begin, n)
            places = torch.arange(begin, min(begin + size, n), device=model.device)
            lost.append(whole - _without(asked, places, how, token))
            if sofar is not None:
                sofar(torch.cat(lost))
    values = torch.cat(lost)
    notes = []
    if how == "delete" and model.spec.causal:
        notes = [f"Without {asked.pieces[asked.position]!r} the answer is read after the token before it."]
    return asked.found(values, whole, f"leave-one-out ({how})", notes=notes)


def _without(asked: Question, places: Tensor, how: How, token: Word | None) -> Tensor:
    """The score without the token at each place, `[place]`."""
    rows = torch.arange(len(places), device=places.device)
    if how == "delete":
        return _deleted(asked, places)
    ids = asked.ids.repeat(len(places), 1)
    if how == "token":
        assert token is not None
        ids[rows, places] = asked.model.token(token)
        return asked.scores(UNTAPPED, ids=ids)
    embedded = asked.embedded.repeat(len(places), 1, 1)
    embedded[rows, places] = asked.transformer.embed.weight.mean(0) if how == "mean" else 0
    return asked.scores(Embedding(embedded), ids=ids)


def _deleted(asked: Question, places: Tensor) -> Tensor:
    if asked.n < 2:
        raise BadInput(
            "The text is one token long: without it there is nothing.", hint="how='mean' keeps it."
        )
    everything = torch.arange(asked.n, device=places.device)
    ids = torch.stack([asked.ids[0, everything != place] for place in places])
    found = torch.empty(len(places), device=places.device, dtype=torch.float64)
    for at in {asked.position, asked.position - 1}:
        moved = torch.where(places < asked.position, asked.position - 1, asked.position)
        moved = torch.where(places == asked.position, max(asked.position - 1, 0), moved)
        here = moved == max(at, 0)
        if bool(here.any()):
            found[here] = asked.scores(UNTAPPED, ids=ids[here], position=max(at, 0)).double()
    return found
