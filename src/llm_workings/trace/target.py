"""The scalar whose gradient a run takes: a function of the run, or one of the usual ones by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput, BadShape, unknown

if TYPE_CHECKING:
    from .run import Run

Target = str | tuple[str | int, ...] | Callable[["Run"], Tensor]
NAMES = {
    "loss": "the mean loss",
    "logit": 'a token\'s logit at the last position: ("logit", " Mary")',
    "log_probability": 'its log-probability there: ("log_probability", " Mary")',
    "logit_difference": 'of two tokens: ("logit_difference", " Mary", " John")',
}


def scalar(run: Run, target: Target) -> Tensor:
    """The target's value, within the run's graph; tokens' targets are added up over the rows.

    Raises:
        UnknownName: no target of that name.
        BadInput: a wrong number of tokens, or a value that is no tensor.
        BadShape: a function's value that is not one number.
    """
    if callable(target):
        value = target(run)
        if not isinstance(value, Tensor):
            raise BadInput(f"The gradient's target returned {type(value).__name__}, not a tensor.")
        if value.numel() != 1:
            raise BadShape(
                f"The gradient's target has shape {list(value.shape)}; it must be one number.",
                hint="Add it up, or pick one entry.",
            )
        return value.reshape(())
    name, *words = (target,) if isinstance(target, str) else target
    if name not in NAMES:
        raise unknown("gradient target", str(name), NAMES)
    wanted = {"loss": 0, "logit_difference": 2}.get(str(name), 1)
    if len(words) != wanted:
        raise BadInput(f"The target {target!r} names {len(words)} tokens.", hint=f"It is {NAMES[str(name)]}.")
    if name == "loss":
        return run.loss
    tokens = [run.model.token(word) for word in words]
    last = run.last_logits
    if name == "log_probability":
        last = last.float().log_softmax(-1) if last.element_size() < 4 else last.log_softmax(-1)
    value = last[:, tokens[0]]
    return (value - last[:, tokens[1]] if name == "logit_difference" else value).sum()


def gradients(value: Tensor, kept: dict) -> dict:
    """d value / d each kept value; zeros where the value does not depend on it."""
    if not kept:
        raise BadInput("A gradient needs a site to be taken at.", hint="Name one: keep=['resid_post.3'].")
    found = (
        torch.autograd.grad(value, list(kept.values()), allow_unused=True)
        if value.requires_grad
        else [None] * len(kept)
    )
    return {
        place: torch.zeros_like(at) if slope is None else slope
        for (place, at), slope in zip(kept.items(), found, strict=True)
    }
