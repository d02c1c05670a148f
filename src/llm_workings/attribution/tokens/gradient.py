"""Gradients by token: what the answer does when a token's embedding changes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from llm_workings.attribution.gradients import gauss_legendre
from llm_workings.core.errors import BadInput
from llm_workings.core.progress import SILENT, Progress

from .question import Answer, Embedding, Question, TokenAttribution, Word

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel

AT_ONCE = 512  # tokens of a batch on a CPU


def gradient_x_input(model: LanguageModel, prompt: Any, answer: Answer | Word) -> TokenAttribution:
    """e_t · ∂score/∂e_t, e_t a token's embedding (Denil et al. 2014; Shrikumar et al. 2016).

    A first-order guess at what the score would lose if the embedding went to zero. It promises no sum.
    """
    asked = Question(model, prompt, answer)
    with asked.weights():
        slope, score = _gradient(asked, asked.embedded)
    return asked.found((slope * asked.embedded).sum(-1)[0], score[0], "gradient x input")


def gradient_norm(model: LanguageModel, prompt: Any, answer: Answer | Word) -> TokenAttribution:
    """‖∂score/∂e_t‖, unsigned (Li et al. 2016, arXiv 1506.01066): how sensitive the answer is to a token."""
    asked = Question(model, prompt, answer)
    with asked.weights():
        slope, score = _gradient(asked, asked.embedded)
    return asked.found(slope.norm(dim=-1)[0], score[0], "gradient norm")


def integrated_gradients(
    model: LanguageModel,
    prompt: Any,
    answer: Answer | Word,
    *,
    baseline: Word | Tensor | None = None,
    points: int = 50,
    progress: Progress = SILENT,
) -> TokenAttribution:
    """(e_t − b) · ∫₀¹ ∂score/∂e_t (b + α (e − b)) dα, all tokens moving together (Sundararajan et al. 2017).

    Positions stay as they are. The values add up to score(text) − score(baseline), but for what
    Gauss-Legendre quadrature leaves, `error`. Between a text's embeddings and none lie inputs that a
    trained model never saw, and its answer is rough there: a note says so where more than a twentieth is
    missing.

    Args:
        baseline: a token that stands for nothing, such as padding, or an embedding, `[d]`; by default the
            vocabulary's mean embedding. Zero is a bad one where a norm comes first: next to zero each norm
            divides by its eps, and the answer turns over just beside it.
    """
    if points < 1:
        raise BadInput(f"points is {points}; at least 1 is needed.")
    asked = Question(model, prompt, answer)
    if isinstance(baseline, Tensor):
        base = baseline.detach().to(asked.embedded).expand_as(asked.embedded)
    elif baseline is None:
        base = asked.transformer.embed.weight.detach().mean(0).expand_as(asked.embedded)
    else:
        index = torch.tensor(model.token(baseline), device=model.device)
        base = asked.transformer.embed(index).detach().expand_as(asked.embedded)
    way, shares = gauss_legendre(points, base)
    difference = asked.embedded - base
    total = torch.zeros_like(base)
    size = max(1, AT_ONCE // asked.n) if base.device.type == "cpu" else 64
    size = math.ceil(points / math.ceil(points / size))
    with asked.weights():
        for begin in range(0, points, size):
            progress.report("integrating", begin, points)
            here = slice(begin, begin + size)
            slope, _ = _gradient(asked, base + way[here, None, None] * difference)
            total += (slope * shares[here, None, None]).sum(0, keepdim=True)
        with torch.no_grad():
            ends = asked.scores(Embedding(torch.cat((asked.embedded, base))), ids=asked.ids.expand(2, -1))
    values, expected = (difference * total).sum(-1)[0], ends[0] - ends[1]
    missing = float(values.sum() - expected)
    notes = []
    if abs(missing) > abs(float(expected)) / 20:
        notes = [f"The integral has not converged: its sum is {missing:+.3g} off. More points may help."]
    return asked.found(values, ends[0], "integrated gradients", expected, notes)


def _gradient(asked: Question, embedded: Tensor) -> tuple[Tensor, Tensor]:
    """d score / d embeddings, `[row, n, d]`, and the score, `[row]`."""
    with torch.enable_grad():
        leaf = embedded.detach().requires_grad_()
        score = asked.scores(Embedding(leaf), ids=asked.ids.expand(len(leaf), -1))
        (slope,) = torch.autograd.grad(score.sum(), leaf)
    return slope, score.detach()
