"""AttnLRP and CP-LRP: relevance through a transformer, as a gradient in which some factors are held still.

A layer whose rule is R_j = x_j Σ_k (∂z_k/∂x_j)' R_k / z_k hands on g = R / x as a gradient does, with the
slopes (∂z/∂x)' that the rule chooses. So relevance is x · g, where g is the gradient of the transformer with
these slopes (Achtibat et al. 2024, arXiv 2402.05602, section 3.3; the LXT library):

    part                          AttnLRP                            CP-LRP
    linear layer, residual sum    its own slope (LRP-0)              its own slope
    norm, (x − mean) / scale      the scale is a constant            the scale is a constant
    activation f(x)               f(x) / x                           f(x) / x
    gate f(a) · b                 half to each                       f(a) is a constant
    pattern · v                   half to each                       the pattern is a constant
    softmax                       its own slope                      none: nothing reaches q and k
    q · k                         half to each                       none

CP-LRP is Ali et al. 2022 (arXiv 2202.07304). In a model without biases (Llama's family) its relevance adds up
to the score exactly; AttnLRP's does but for what the softmax's own offset takes (their equation 14). Biases
take their share in both. The stream entering the first block is what relevance is counted at.

LRP is, by the LXT authors' README, patented and free for personal and scientific use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from llm_workings.attribution.intercept import Intercept
from llm_workings.models.sites import Site, site, stream_of
from llm_workings.models.spec import MaskedTokenHead
from llm_workings.models.transformer import activate

from .question import Answer, Question, TokenAttribution, Word

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel


def attn_lrp(model: LanguageModel, prompt: Any, answer: Answer | Word) -> TokenAttribution:
    """AttnLRP: relevance also reaches a token through the attention that it drew (Achtibat et al. 2024).

    See this module for its rules. `error` is what biases and the softmax took.
    """
    return _relevance(model, prompt, answer, "AttnLRP", constant_pattern=False)


def cp_lrp(model: LanguageModel, prompt: Any, answer: Answer | Word) -> TokenAttribution:
    """CP-LRP: with the attention patterns and gates held at what they are (Ali et al. 2022).

    It says what was moved, not why it was looked at. `error` is what biases took; without any it is rounding.
    """
    return _relevance(model, prompt, answer, "CP-LRP", constant_pattern=True)


def _relevance(
    model: LanguageModel, prompt: Any, answer: Answer | Word, name: str, *, constant_pattern: bool
) -> TokenAttribution:
    asked = Question(model, prompt, answer)
    tap = Propagating(stream_of(model.spec)[-1], constant_pattern)
    with asked.weights(), torch.enable_grad():
        # Queries and keys may be normed where no tap is (Qwen 3): that scale is a constant as well.
        inside = model.spec.attention.query_key_norm is not None
        with Intercept({torch.rsqrt: lambda function, x: function(x).detach()} if inside else {}):
            logits = _logits(asked, tap)
        assert tap.entered is not None
        scores = logits.detach().requires_grad_()
        score = asked.target.of(scores)
        (start,) = torch.autograd.grad(score.sum(), scores)
        (slope,) = torch.autograd.grad(logits, tap.entered, start)
    notes = []
    if asked.answer.kind == "probability":
        notes = ["Relevance starts as logits times the probability's slope, which need not add up to it."]
    expected = (scores * start).detach().sum()
    return asked.found((slope * tap.entered).sum(-1)[0], score[0], name, expected, notes)


def _logits(asked: Question, tap: Propagating) -> Tensor:
    """The logits where the answer is read, `[1, vocabulary]`."""
    transformer = asked.transformer
    at = torch.tensor([asked.position], device=asked.model.device)
    head = transformer.spec.head
    if not isinstance(head, MaskedTokenHead):
        logits = transformer(asked.ids, tap=tap, score=at)
        assert logits is not None
        return logits[:, 0]
    transformer(asked.ids, tap=tap, stop=transformer.spec.n_layers)
    assert tap.left is not None
    before = transformer.head_dense(tap.left[:, asked.position])
    after = _factored(before, activate(before, head.activation))
    return transformer.unembed(transformer.head_norm(after, tap, site("ln_final")))


class Propagating:
    """The tap that gives every part the slope of its rule, and keeps the stream at both ends.

    Args:
        last: where the stream leaves the last block.
        constant_pattern: CP-LRP instead of AttnLRP.
    """

    def __init__(self, last: Site, constant_pattern: bool):
        self.last, self.constant_pattern = last, constant_pattern
        self.entered: Tensor | None = None
        self.left: Tensor | None = None
        self.before: Tensor | None = None
        self.beside: Tensor | None = None

    def wants(self, where: Site) -> bool:
        """The norms' scales, which are to be held still."""
        return where.kind.endswith("_scale")

    def __call__(self, where: Site, value: Tensor) -> Tensor:
        match where.kind:
            case "resid_pre" if where.layer == 0:
                self.entered = value = value.detach().requires_grad_()
            case "ln1_scale" | "ln2_scale" | "ln_final_scale":
                return value.detach()
            case "q" | "k":  # half at the pattern times v, and half of that at q · k
                return value.detach() if self.constant_pattern else _Scaled.apply(value, 0.25)
            case "v":
                return value if self.constant_pattern else _Scaled.apply(value, 0.5)
            case "mlp_pre":
                self.before, self.beside = value, None
            case "mlp_pre_linear":
                self.beside = value
            case "mlp_post":
                value = self._gated(value)
        if where == self.last:
            self.left = value
        return value

    def _gated(self, value: Tensor) -> Tensor:
        assert self.before is not None
        if self.beside is None:
            return _factored(self.before, value)
        if self.constant_pattern:
            return _factored(self.beside, value)
        return (_factored(self.before, value) + _factored(self.beside, value)) / 2


def _factored(x: Tensor, value: Tensor) -> Tensor:
    """`value`, as x times a constant; where x is 0, so is each value here, and the constant is taken as 0."""
    value, still = value.detach(), x.detach()
    return x * torch.where(still == 0, 0, value / torch.where(still == 0, 1, still))


class _Scaled(torch.autograd.Function):
    """The value itself, whose slope is a share."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, share: float) -> Tensor:
        ctx.share = share
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        return slope * ctx.share, None
