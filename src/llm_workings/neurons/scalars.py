"""Any number per token over a corpus: which texts excite a head, a direction, or what you write.

    found = read_scalars(model, corpus(), [head_writes(model, 5, 3), along(model, "resid_post.20", vector)])
    print(found[0])

A `Scalar` says which sites a run has to keep and what number it gives at each token. All that are asked for
are read in one pass. Of each there stays what stays of a neuron (`passing.py`), but nothing on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput, NotSupported
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.sites import Site, select, site
from llm_workings.models.spec import MaskedTokenHead, NoHead

from .corpus import TOKENS, Corpus, Rows
from .passing import Kept, Passing
from .statistics import Statistics, of_unit
from .weights import block_of, through

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel
    from llm_workings.trace.run import Run

Attends = Literal["largest", "off_first"]


@dataclass(frozen=True)
class Scalar:
    """One number at each token.

    Attributes:
        name: what it is called.
        places: the sites that a run has to keep for it.
        value: of such a run, `[row, position]`.
    """

    name: str
    places: tuple[Site, ...]
    value: Callable[[Run], Tensor]


def along(model: LanguageModel, place: str | Site, read: int | Tensor, name: str | None = None) -> Scalar:
    """What stands at a site, along a direction: x · v at each token.

    Args:
        place: a site with a vector at each position: `resid_post.20`, `mlp_out.3`, `ln_final`, `z.3` (heads
            and their dimensions flat).
        read: v, as wide as the site, taken as long as it is; or a coordinate.

    Raises:
        BadInput: no one site with a vector at each position, another width, no such coordinate.
        UnknownName: no such site.
    """
    where = list(select(model.spec, place))
    if len(where) != 1 or "position" not in where[0].axes:
        raise BadInput(
            f"{place} is no one site with a vector at each position.",
            hint="Such as resid_post.5 or ln_final.",
        )
    at = where[0]
    width = model.run([[0]], keep=[at], logits=at.kind == "logits")[at].flatten(2).shape[-1]
    if isinstance(read, int):
        if not 0 <= read < width:
            raise BadInput(f"{at} has no coordinate {read}: they go from 0 to {width - 1}.")
        return Scalar(name or f"{at}[{read}]", (at,), lambda run: run[at].flatten(2)[..., read])
    vector = read.detach().flatten()
    if vector.numel() != width:
        raise BadInput(f"The direction has {vector.numel()} numbers, and {at} {width}.")
    return Scalar(name or f"A direction of {at}", (at,), lambda run: run[at].flatten(2) @ vector.to(run[at]))


def unembedding(model: LanguageModel, token: str | int, place: str | Site = "ln_final") -> Tensor:
    """The direction, `[d_model]`, along which what stands at a site is a token's logit.

    At `ln_final` (or, of a model without a last norm, at the end of the stream) x · v is the logit exactly,
    less the unembedding's bias. At any other site of the stream the last norm's weight and centring are
    taken into v, and its divisor is left out: what the logit lens reads, up to a positive factor at each
    token.

    Raises:
        NotSupported: a model whose head is not linear in the stream.
        BadInput: a text that is not one token.
    """
    if isinstance(model.spec.head, NoHead | MaskedTokenHead):
        raise NotSupported(f"{model.name} has no logits that are linear in its stream.")
    index = token if isinstance(token, int) else model.token(token)
    row = model.transformer.unembed.weight.detach()[index]
    if str(place) == "ln_final" or not model.spec.final_norm:
        return row
    return through(model.transformer.final_norm, row).detach()


def head_writes(model: LanguageModel, layer: int, head: int, direction: Tensor | None = None) -> Scalar:
    """What a head adds to the stream at each token, z W_O: how long it is, or its part along a direction.

    Args:
        direction: `[d_model]`, taken as long as it is; None: the norm.

    Raises:
        BadInput: no such layer or head, or a direction of another width.
    """
    _check_head(model, layer, head)
    at, out = site("z", layer), block_of(model, layer).attention.w_o[head].detach()  # [d_head, d_model]
    if direction is None:
        return Scalar(
            f"What head {layer}.{head} writes", (at,), lambda run: (run[at][:, :, head] @ out).norm(dim=-1)
        )
    if direction.numel() != model.spec.d_model:
        raise BadInput(f"The direction has {direction.numel()} numbers, and the stream {model.spec.d_model}.")
    read = out @ direction.detach().flatten().to(out)
    return Scalar(
        f"What head {layer}.{head} writes along a direction", (at,), lambda run: run[at][:, :, head] @ read
    )


def head_attention(model: LanguageModel, layer: int, head: int, to: Attends = "largest") -> Scalar:
    """Where a head attends at each token, in one number from 0 to 1.

    Args:
        to: `largest`: the largest weight on one token that is neither the first, where attention rests, nor
            the token itself; `off_first`: all the weight that is not on the first.

    Raises:
        BadInput: no such layer or head.
    """
    _check_head(model, layer, head)
    at = site("pattern", layer)

    def value(run: Run) -> Tensor:
        pattern = run[at][:, head]  # [row, query, key]
        if to == "off_first":
            return 1 - pattern[..., 0]
        others = pattern.masked_fill(torch.eye(pattern.shape[-1], dtype=torch.bool, device=pattern.device), 0)
        return others[..., 1:].amax(-1)

    said = "largest weight on another token" if to == "largest" else "weight off the first token"
    return Scalar(f"Head {layer}.{head}'s {said}", (at,), value)


@dataclass(frozen=True)
class Looked:
    """The token that a head attends to most from a place, and how much."""

    position: int
    weight: float


def head_looks(
    model: LanguageModel, kept: Kept, layer: int, head: int, places: Sequence[tuple[int, int]]
) -> list[Looked | None]:
    """Which token a head attends to most from places of a corpus, the first token and itself aside.

    Args:
        kept: of a pass over the corpus.
        places: passage and position. None of one that attends to no other token.

    Raises:
        BadInput: no such layer or head.
    """
    scalar = head_attention(model, layer, head)
    (at,) = scalar.places
    found: list[Looked | None] = []
    for passage, position in places:
        run = model.run([kept.passage(passage)], keep=[at], logits=False)
        weights = run[at][0, head, position].float().clone()
        weights[[0, position]] = 0
        most = int(weights.argmax())
        found.append(Looked(most, float(weights[most])) if weights[most] > 0 else None)
    return found


def read_scalars(
    model: LanguageModel,
    corpus: Corpus,
    scalars: Sequence[Scalar],
    *,
    tokens: int = TOKENS,
    seed: int = 0,
    progress: Progress = SILENT,
) -> list[Statistics]:
    """Read numbers over a corpus, all in one pass; one `Statistics` each, in their order.

    Args:
        tokens: about how many tokens to read; passages evenly spread over a longer corpus.
        seed: of the examples at random.

    Raises:
        BadInput: no scalars; and what tokenizing and running raise.
        Cancelled: the user stopped it.
    """
    kept = scan_scalars(model, corpus, scalars, tokens=tokens, seed=seed, progress=progress)
    return [Statistics(**of_unit(model, each.name, kept, i)) for i, each in enumerate(scalars)]


def scan_scalars(
    model: LanguageModel,
    corpus: Corpus,
    scalars: Sequence[Scalar],
    *,
    tokens: int = TOKENS,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Kept:
    """What `read_scalars` makes its statistics of, for those who keep it."""
    if not scalars:
        raise BadInput("There is nothing to read: no scalars were given.")
    return Kept(**_Scalars(model, corpus, corpus.rows(model, tokens), seed, scalars).run(progress))


class _Scalars(Passing):
    """One pass for scalars."""

    def __init__(
        self, model: LanguageModel, corpus: Corpus, rows: Rows, seed: int, scalars: Sequence[Scalar]
    ):
        self.scalars = scalars
        places = list(dict.fromkeys(place for each in scalars for place in each.places))
        where = f"at {', '.join(map(str, places[:3]))}{' …' if len(places) > 3 else ''}"
        super().__init__(model, corpus, rows, seed, width=len(scalars), places=places, where=where)

    def values(self, run: Run) -> Tensor:
        return torch.stack([each.value(run).float() for each in self.scalars], -1)


def _check_head(model: LanguageModel, layer: int, head: int) -> None:
    layers, heads = model.spec.n_layers, model.spec.attention.n_heads
    if not 0 <= layer < layers:
        raise BadInput(f"There is no layer {layer}: {model.name} has layers 0 to {layers - 1}.")
    if not 0 <= head < heads:
        raise BadInput(
            f"There is no head {layer}.{head}: each layer of {model.name} has heads 0 to {heads - 1}."
        )
