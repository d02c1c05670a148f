"""A head's two circuits in terms of the vocabulary (Elhage et al. 2021, "A mathematical framework").

A head does two things that can be read apart: W_Q and W_K decide where it looks (QK), W_V and W_O decide
what it writes of what it looks at (OV). Both act on the stream through the layer's norm, and what is
written is read by the unembedding W_U through the final one:

    OV:  token t  ->  W_U · g_final * (ln(x_t) W_V W_O)       which tokens rise where it looks at t
    QK:  q, t     ->  ln(x_q) W_Q · ln(x_t) W_K / sqrt(e)     how gladly q looks at t

x_t is what stands in the stream for a token by itself: its embedding, or that with what the first MLP adds
to it when nothing else is there (`first_mlp`), which models use as their real embedding (McDougall et al.
2023; Wang et al. 2022 score copying at the same place).

- Norms: a layer's own gain (and its centring) is applied, to x_t at its own size; the final norm's divisor
  is the same for all tokens of a reading and orders nothing, so it is left out of OV.
- Biases: those of the values and of the norm's shift in OV are left out, as they are the same whatever is
  looked at. In QK all are there, and so is a norm of queries and keys.
- Positions: a learned one is not in x_t, and queries and keys are not rotated: the score is that of a
  key at the query's own place.
- Grouped heads: query head h reads through key-value head h // (heads / key-value heads).
- Left out: what earlier layers add to the stream, which for a head high up is most of what it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor

from llm_workings.core.errors import NotSupported
from llm_workings.models.spec import LayerNorm, NoNorm
from llm_workings.models.transformer import UNTAPPED, Block, Norm

from .direct_attribution import norm_in_words, through_norm, why_not

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel

Reads = Literal["first_mlp", "embedding"]
SAMPLE = 256  # tokens of the vocabulary drawn for a copying score
SEED = 0
MOST = 10  # k of a copying score's top k: 10, or fewer in a small vocabulary
CHUNK = 64  # tokens whose logits are held at once


@dataclass(frozen=True, eq=False)
class Reader:
    """How a position's logits read what is added to its stream: linearly, at this run's scale.

    Attributes:
        scale: what the final norm divides by here; 1 without one.
        stated: how the norm was treated, in a sentence.
    """

    model: LanguageModel
    last: Tensor
    scale: float
    stated: str

    def of(self, token: int, instead: int | None = None) -> Tensor:
        """`[d_model]` float64: times a write it is the write's share of that token's logit (less that of
        `instead`)."""
        rows = self.model.transformer.unembed.weight.detach()
        row = rows[token].double()
        if instead is not None:
            row = row - rows[instead].double()
        with torch.no_grad():
            direction, scale, _ = through_norm(self.model, row, self.last)
            return direction / scale

    def shares(self, write: Tensor) -> Tensor:
        """`[vocabulary]`: the share of every token's logit that `write`, `[d_model]`, has."""
        weight = self.model.transformer.unembed.weight.detach()
        return weight @ (_gained(self.model, write.double()) / self.scale).to(weight.dtype)


def reader(model: LanguageModel, last: Tensor) -> Reader:
    """The reader of a position whose last stream is `last`, `[d_model]`.

    Raises `NotSupported` where logits are no sum over what was written: post-norm models, models
    without a linear head (`direct_attribution.why_not`).
    """
    check_linear(model)
    row = model.transformer.unembed.weight.detach()[0].double()
    last = last.detach().double()
    with torch.no_grad():
        scale = float(through_norm(model, row, last)[1])
    return Reader(model, last, scale, norm_in_words(model, scale))


def check_linear(model: LanguageModel) -> None:
    """Raises `NotSupported` where no write can be read through the unembedding."""
    if reason := why_not(model):
        raise NotSupported(
            reason,
            hint="Its pattern and the norms of its values are there; ablate the head to see what it does.",
        )


def writes(model: LanguageModel, layer: int, head: int, pattern: Tensor, values: Tensor) -> Tensor:
    """`[source, d_model]` float64: what a head adds to one position's stream from each source.

    Args:
        pattern: that position's row, `[source]`.
        values: of every source, `[source, key_value_head, d_head]`, their bias with them.
    """
    attention = _block(model, layer).attention
    read = values[:, key_value_head(model, head)].double()
    return pattern.double()[:, None] * (read @ attention.w_o[head].detach().double())


def key_value_head(model: LanguageModel, head: int) -> int:
    """The key-value head that a query head reads through."""
    kind = model.spec.attention
    return head // (kind.n_heads // kind.n_key_value_heads)


# --- what stands in the stream for a token by itself ------------------------------------------------
def reads_of(model: LanguageModel, layer: int, wanted: Reads) -> Reads:
    """What a head of `layer` can read: the first MLP stands above layer 0, and some models have none."""
    return wanted if layer > 0 and _block(model, 0).mlp is not None else "embedding"


def states(model: LanguageModel, tokens: Tensor, reads: Reads) -> Tensor:
    """`[token, d_model]`: the embeddings of `tokens`, `[token]`, with the first MLP's addition if asked."""
    with torch.no_grad():
        x = model.transformer.embed.weight[tokens]
        first = _block(model, 0)
        if reads == "embedding" or first.mlp is None:
            return x
        return x + first.mlp(first.ln2.apply_to(x), UNTAPPED, 0)


def drawn(model: LanguageModel, count: int = SAMPLE, seed: int = SEED) -> Tensor:
    """`[token]`: ordinary tokens of the vocabulary, drawn without replacement; all, where it has fewer."""
    tokenizer = model.tokenizer
    size = min(tokenizer.vocab_size, model.spec.vocab_size)
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed)).tolist()
    ordinary = [token for token in order if not tokenizer.is_special(token)]
    return torch.tensor(sorted(ordinary[:count]), device=model.device)


# --- OV: what it writes of what it looks at ---------------------------------------------------------
def ov(model: LanguageModel, layer: int, head: int, x: Tensor) -> Tensor:
    """`[token, vocabulary]`: the logits that a head writes where it looks at each of `x`, `[token, d_model]`.

    Up to the final norm's divisor, which is one positive number for each row.
    """
    check_linear(model)
    block = _block(model, layer)
    with torch.no_grad():
        read = _unshifted(block.ln1, x)
        value = read @ block.attention.w_v[key_value_head(model, head)]
        written = value @ block.attention.w_o[head]
        return _gained(model, written) @ model.transformer.unembed.weight.T


@dataclass(frozen=True)
class Copying:
    """Whether a head that looks at a token writes for that same token, over a sample of the vocabulary.

    Attributes:
        copied: the fraction of the sample whose own logit is among the `k` that OV raises most.
        suppressed: the fraction whose own logit is among the `k` that it lowers most.
        median: the median over the sample of the fraction of the vocabulary above the token's own
            logit: 0 for a perfect copier, 0.5 by chance, 1 for a perfect suppressor.
        chance: k / vocabulary, what either fraction is for a head that knows nothing of tokens.
        sample, seed: how many tokens, drawn from which seed; `whole` if that is the whole vocabulary.
        reads: what stood for a token.
    """

    copied: float
    suppressed: float
    median: float
    k: int
    chance: float
    sample: int
    seed: int
    whole: bool
    reads: Reads


def copying(
    model: LanguageModel,
    layer: int,
    head: int,
    *,
    reads: Reads = "first_mlp",
    count: int = SAMPLE,
    seed: int = SEED,
    k: int | None = None,
) -> Copying:
    """The copying score of a head.

    Args:
        reads: what stands for a token; the embedding where there is no MLP below the head.
        count: how many tokens are drawn.
        k: of "among the top k"; by default 10, or a twentieth of a vocabulary of under 200, at least 1.

    Raises `NotSupported` where logits are no sum over what was written.
    """
    size = model.spec.vocab_size
    k = max(1, min(MOST, size // 20)) if k is None else k
    reads = reads_of(model, layer, reads)
    tokens = drawn(model, count, seed)
    above, below = [], []
    for some in tokens.split(CHUNK):
        logits = ov(model, layer, head, states(model, some, reads))
        own = logits.gather(1, some[:, None])
        above.append((logits > own).sum(1))
        below.append((logits < own).sum(1))
    rank, depth = torch.cat(above), torch.cat(below)
    whole = len(tokens) == len(drawn(model, size, seed))
    return Copying(
        copied=float((rank < k).double().mean()),
        suppressed=float((depth < k).double().mean()),
        median=float((rank.double() / (size - 1)).median()),
        k=k,
        chance=k / size,
        sample=len(tokens),
        seed=seed,
        whole=whole,
        reads=reads,
    )


# --- QK: what it looks for --------------------------------------------------------------------------
def qk(model: LanguageModel, layer: int, head: int, queries: Tensor, keys: Tensor) -> Tensor:
    """`[query, key]`: the scores that tokens by themselves give each other, both `[token, d_model]`.

    In the units of the head's own scores (divided by sqrt(d_head)), without positions.
    """
    block = _block(model, layer)
    attention = block.attention

    def projected(x: Tensor, part: int) -> Tensor:
        parts = attention.input(block.ln1.apply_to(x)).split(attention.widths, -1)
        return parts[part].unflatten(-1, (-1, attention.kind.d_head))

    with torch.no_grad():
        q, k = projected(queries, 0), projected(keys, 1)
        if attention.kind.query_key_norm is not None:
            q, k = attention.query_norm.apply_to(q), attention.key_norm.apply_to(k)
        return q[:, head] @ k[:, key_value_head(model, head)].T * attention.kind.d_head**-0.5


def share_below(scores: Tensor, value: float) -> float:
    """The fraction of `scores` below a value, ties counted half."""
    return float(((scores < value).double() + 0.5 * (scores == value).double()).mean())


# --- parts -----------------------------------------------------------------------------------------
def _block(model: LanguageModel, layer: int) -> Block:
    return cast(Block, model.transformer.blocks[layer])


def _unshifted(norm: Norm, x: Tensor) -> Tensor:
    """A norm without its shift."""
    normed = norm.apply_to(x)
    return normed - norm.bias if isinstance(norm.kind, LayerNorm) else normed


def _gained(model: LanguageModel, written: Tensor) -> Tensor:
    """What the unembedding sees of a write, up to the final norm's divisor: centred for LayerNorm, times
    its gain."""
    kind = model.spec.norm
    if isinstance(kind, NoNorm):
        return written
    if isinstance(kind, LayerNorm):
        written = written - written.mean(-1, keepdim=True)
    return written * model.transformer.final_norm.weight.detach().to(written.dtype)


def best(values: Tensor, count: int) -> Sequence[int]:
    """The places of the largest values, largest first."""
    return [int(i) for i in values.topk(min(count, len(values))).indices]
