"""Direct logit attribution: what each part of a model adds to a logit by itself (Elhage et al. 2021).

The last stream x is a sum: the embeddings and what every attention and every MLP added. A logit reads it
through the final norm and a row w of the unembedding. With the norm's divisor s held at this run's value
the reading is linear, so each part of the sum has its own share of the logit:

    logit = r · x + w · b_norm + b_unembed        x = embed + attention.0 + mlp.0 + attention.1 + ...
    r = g / s                for RMSNorm, with g = weight * w
    r = (g - mean g) / s     for LayerNorm: its centring is linear, (x - mean x) · g = x · (g - mean g)
    r = w                    without a norm

A head's share is that of its own write, z W_O; a position's share of it that of pattern * value W_O; a
neuron's that of its activation times its row of W_out. Biases and the norm's shift are terms of their own.
Nothing is left out, so the terms add up to the logit, and what is left over is rounding (`error`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput, NotSupported, unknown
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.sites import site, sites_of
from llm_workings.models.spec import LayerNorm, MaskedTokenHead, NoHead, NoNorm, PostNorm

from .base import Base

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel

Word = str | int
By = Literal["part", "head", "source", "neuron", "term"]
FINEST: dict[str, By] = {  # the level at which a term of each kind stands
    **dict.fromkeys(("head", "attention_bias"), "head"),
    **dict.fromkeys(("source", "value_bias"), "source"),
    **dict.fromkeys(("neuron", "mlp_bias"), "neuron"),
}


@dataclass(frozen=True, eq=False)
class Terms:
    """Terms that add up to a logit.

    Attributes:
        by: how far it is taken apart.
        names: `embed`, `attention.3`, `head.3.5` (layer 3, head 5), `source.3.5.2` (what that head moves
            from position 2), `neuron.3.120`, `final_norm.bias` ...
        values: `[term]` float64, in logits.
        logit: what the model itself said.
    """

    by: By
    names: tuple[str, ...]
    values: Tensor
    logit: float

    @property
    def total(self) -> float:
        """What the terms add up to."""
        return float(self.values.sum())

    @property
    def error(self) -> float:
        """total - logit: rounding, as nothing is left out."""
        return self.total - self.logit

    def strongest(self, count: int = 10) -> list[tuple[str, float]]:
        """The terms furthest from 0, largest first."""
        order = self.values.abs().argsort(descending=True)[:count].tolist()
        return [(self.names[i], float(self.values[i])) for i in order]

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    def __getitem__(self, name: str) -> float:
        if name not in self._index:
            kind = name.partition(".")[0]
            alike = [known for known in self.names if known.partition(".")[0] == kind]
            raise unknown("term", name, alike or list(dict.fromkeys(n.partition(".")[0] for n in self.names)))
        return float(self.values[self._index[name]])

    def __iter__(self) -> Iterator[tuple[str, float]]:
        return zip(self.names, self.values.tolist(), strict=True)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        best = ", ".join(f"{name} {value:+.3f}" for name, value in self.strongest(5))
        sums = f"{self.total:+.4f} in total, logit {self.logit:+.4f}"
        return f"{len(self)} terms by {self.by}: {sums}; largest {best}"


@dataclass(frozen=True, eq=False)
class _Layer:
    """What the position at hand got in one layer, float64.

    `z` is `[head, d_head]`, `pattern` `[head, source]`, `values` `[source, key_value_head, d_head]`.
    """

    attention: Tensor
    z: Tensor
    pattern: Tensor
    values: Tensor
    mlp: Tensor | None
    neurons: Tensor | None


@dataclass(frozen=True, eq=False)
class DirectAttribution:
    """A logit, or a difference of two, taken apart.

    Attributes:
        name: what is attributed.
        position: at which token it is read.
        logit: what the model itself said, in logits.
        norm: how the final norm was treated, in a sentence.
        scale: what the final norm divides by here; 1 without one.
        pieces: the text's tokens up to that position, the sources of the heads.
        reader: `[d_model]` float64, r above: anything in the stream times it is its share of the logit.
        embeddings, constants: shares of what enters the stream first, and of what is added at the end.
    """

    base: Base = field(repr=False)
    name: str
    position: int
    logit: float
    norm: str
    scale: float
    pieces: list[str]
    reader: Tensor = field(repr=False)
    embeddings: dict[str, float] = field(repr=False)
    constants: dict[str, float] = field(repr=False)
    layers: tuple[_Layer, ...] = field(repr=False)
    _made: dict[By, Terms] = field(default_factory=dict, init=False, repr=False)

    # --- sums ------------------------------------------------------------------------------------
    @property
    def total(self) -> float:
        """What the layers' parts add up to."""
        return self.terms().total

    @property
    def error(self) -> float:
        """total - logit: rounding, as nothing is left out."""
        return self.terms().error

    @property
    def accumulated(self) -> Tensor:
        """`[stop]`: the sum of the terms so far, a stop after each of `terms().names`; the last is the logit.

        What the logit lens reads at those stops, but for two things: the lens divides by the scale that
        the stream has there, and counts the biases from the start.
        """
        return self.terms().values.cumsum(0)

    # --- parts -----------------------------------------------------------------------------------
    @cached_property
    def by_head(self) -> Tensor:
        """`[layer, head]`: what each head writes (the values' bias with it), in logits."""
        return torch.stack([(layer.z * self._reads(i)).sum(-1) for i, layer in enumerate(self.layers)])

    @cached_property
    def by_source(self) -> Tensor:
        """`[layer, head, source]`: what each head moves here from each position, pattern * (v W_O · r).

        The bias of the values stands apart, in `value_bias`.
        """
        return torch.stack([self._sources(i) for i in range(len(self.layers))])

    @cached_property
    def value_bias(self) -> Tensor:
        """`[layer, head]`: what the bias of the values adds through each head; as a row of the pattern
        sums to 1, it is the same for every text."""
        return torch.stack([self._value_bias(i) for i in range(len(self.layers))])

    @property
    def by_position(self) -> Tensor:
        """`[source]`: what all heads together move here from each position."""
        return self.by_source.sum((0, 1))

    @cached_property
    def by_neuron(self) -> Tensor:
        """`[layer, neuron]`; `BadInput` for a model that has attention only."""
        found = [self._neurons(i) for i in range(len(self.layers))]
        if found[0] is None:
            raise BadInput(f"{self.base.model.name} has attention only: there are no neurons.")
        return torch.stack([values for values in found if values is not None])

    def by_token(self, layer: int, head: int) -> list[tuple[int, str, float]]:
        """(source position, token, share) of one head, largest share first."""
        spec = self.base.spec
        heads = spec.attention.n_heads
        if not 0 <= layer < spec.n_layers or not 0 <= head < heads:
            raise BadInput(
                f"There is no head {layer}.{head}: layers are 0 to {spec.n_layers - 1}, "
                f"heads 0 to {heads - 1}.",
                given={"layer": layer, "head": head},
            )
        shares = self._sources(layer)[head].tolist()
        return sorted(
            ((k, self.pieces[k], share) for k, share in enumerate(shares)), key=lambda found: -abs(found[2])
        )

    # --- terms -----------------------------------------------------------------------------------
    def terms(self, by: By = "part") -> Terms:
        """All terms at one level; each level's add up to the same logit.

        Args:
            by: `part` (embeddings, each attention, each MLP, biases), `head` (attention by head), `source`
                (each head by source position), `neuron` (each MLP by neuron), or `term` (the last two).
        """
        if by not in get_args(By):
            raise unknown("level", str(by), get_args(By))
        if by not in self._made:
            names, values = list(self.embeddings), [_numbers(self.embeddings)]
            for i in range(len(self.layers)):
                for more, found in (*self._attention_terms(i, by), *self._mlp_terms(i, by)):
                    names += more
                    values.append(found.flatten())
            names += self.constants
            values.append(_numbers(self.constants))
            self._made[by] = Terms(by, tuple(names), torch.cat([v.cpu() for v in values]), self.logit)
        return self._made[by]

    def term(self, name: str) -> float:
        """One term of any level by its name: `mlp.4`, `head.3.5`, `source.3.5.2`, `neuron.3.120` ..."""
        return self.terms(FINEST.get(name.partition(".")[0], "part"))[name]

    def _attention_terms(self, i: int, by: By) -> Iterator[tuple[list[str], Tensor]]:
        if by in ("part", "neuron"):
            yield [f"attention.{i}"], self.layers[i].attention @ self.reader
            return
        attention = self.base.block(i).attention
        heads = range(attention.kind.n_heads)
        if by == "head":
            yield [f"head.{i}.{h}" for h in heads], self.by_head[i]
        else:
            sources = range(self.layers[i].pattern.shape[-1])
            yield [f"source.{i}.{h}.{k}" for h in heads for k in sources], self._sources(i)
            if attention.input.bias is not None:
                yield [f"value_bias.{i}.{h}" for h in heads], self._value_bias(i)
        if attention.output.bias is not None:
            yield [f"attention_bias.{i}"], attention.output.bias.detach().double() @ self.reader

    def _mlp_terms(self, i: int, by: By) -> Iterator[tuple[list[str], Tensor]]:
        layer, mlp = self.layers[i], self.base.block(i).mlp
        if mlp is None or layer.mlp is None:
            return
        if by not in ("neuron", "term"):
            yield [f"mlp.{i}"], layer.mlp @ self.reader
            return
        neurons = self._neurons(i)
        assert neurons is not None
        yield [f"neuron.{i}.{n}" for n in range(len(neurons))], neurons
        if mlp.output.bias is not None:
            yield [f"mlp_bias.{i}"], mlp.output.bias.detach().double() @ self.reader

    # --- arithmetic --------------------------------------------------------------------------------
    def _reads(self, i: int) -> Tensor:
        """W_O r of each head, `[head, d_head]`: what the logit reads of its z."""
        return self.base.block(i).attention.w_o.detach().double() @ self.reader

    def _sources(self, i: int) -> Tensor:
        values = self.layers[i].values
        bias = self._bias_of_values(i)
        if bias is not None:
            values = values - bias
        reads = self._reads(i)
        values = values.repeat_interleave(len(reads) // values.shape[1], 1)  # grouped heads share them
        return self.layers[i].pattern * torch.einsum("khe,he->hk", values, reads)

    def _value_bias(self, i: int) -> Tensor:
        bias, reads = self._bias_of_values(i), self._reads(i)
        if bias is None:
            return reads.new_zeros(len(reads))
        bias = bias.repeat_interleave(len(reads) // len(bias), 0)
        return (bias * reads).sum(-1) * self.layers[i].pattern.sum(-1)

    def _bias_of_values(self, i: int) -> Tensor | None:
        attention = self.base.block(i).attention
        if attention.input.bias is None:
            return None
        bias = attention.input.bias.detach().double().split(attention.widths)[2]
        return bias.unflatten(0, (-1, attention.kind.d_head))

    def _neurons(self, i: int) -> Tensor | None:
        layer, mlp = self.layers[i], self.base.block(i).mlp
        if mlp is None or layer.neurons is None:
            return None
        return layer.neurons * (mlp.output.weight.detach().double().T @ self.reader)

    def __repr__(self) -> str:
        return (
            f"{self.name} at position {self.position} ({self.pieces[-1]!r}): {self.logit:+.4f}; "
            f"terms add up to {self.total:+.4f} (error {self.error:.1e})\n  {self.norm}\n  "
            + "\n  ".join(f"{name:<16}{value:+9.4f}" for name, value in self.terms("head").strongest(8))
        )


def attribute(
    source: LanguageModel | Base,
    prompt: Any = None,
    *,
    right: Word | Sequence[Word],
    wrong: Word | Sequence[Word] = (),
    position: int = -1,
    progress: Progress = SILENT,
) -> DirectAttribution:
    """Take a logit apart, or the difference of two: the log of the odds between two answers.

    Args:
        source: a model, with the text in `prompt`; or a `Base`, a text that is already run.
        right: the token whose logit it is; of several, their mean logit.
        wrong: the token, or tokens, whose logit is taken off; none by default.
        position: where the answer is read; -1 is the last token.

    Raises:
        NotSupported: a post-norm model (BERT), or one without a linear head: see `why_not`.
        BadInput: an answer that is not one token, with how it splits; a position that is not there.
    """
    model = source.model if isinstance(source, Base) else source
    if reason := why_not(model):
        raise NotSupported(reason, hint="Ablation and patching measure the effect of a part in any model.")
    if isinstance(source, Base) and prompt is not None:
        raise BadInput("A Base is of one text already.", hint="Leave out the prompt, or give the model.")
    base = source if isinstance(source, Base) else Base(source, prompt, progress)
    if not -base.n <= position < base.n:
        raise BadInput(
            f"There is no position {position}: the text has positions 0 to {base.n - 1}.",
            given={"position": position, "tokens": base.n},
        )
    position %= base.n
    rights, wrongs = ([w] if isinstance(w, str | int) else list(w) for w in (right, wrong))
    if not rights:
        raise BadInput("There is no answer to attribute.", hint="Give right=' Mary', say.")
    ids = [[model.token(word) for word in words] for words in (rights, wrongs)]
    if set(ids[0]) & set(ids[1]):
        raise BadInput(f"The right and the wrong answer are the same token: {right!r} and {wrong!r}.")

    with torch.no_grad():
        unembed = model.transformer.unembed
        row = difference_of(unembed.weight, *ids)
        direction, scale, shift = through_norm(model, row, base.stream[-1][position].double())
        constants = {} if shift is None else {"final_norm.bias": shift}
        if unembed.bias is not None:
            constants["unembed.bias"] = float(difference_of(unembed.bias, *ids))
        return DirectAttribution(
            base,
            name_of(model, *ids),
            position,
            float(difference_of(base.logits[position], *ids)),
            norm_in_words(model, float(scale)),
            float(scale),
            base.run.pieces()[: (position + 1) if base.spec.causal else base.n],
            direction / scale,
            {
                name: float(vector.double() @ direction / scale)
                for name, vector in _embedded(base, position).items()
            },
            constants,
            tuple(_layer_of(base, i, position, progress) for i in range(base.spec.n_layers)),
        )


def why_not(model: LanguageModel) -> str:
    """Why a model's logits are no sum over its parts; empty where they are."""
    spec = model.spec
    if isinstance(spec.block, PostNorm):
        return (
            f"{model.name} norms its stream after every addition (post-norm): what a part writes is rescaled "
            "by every norm that follows, each time by what all parts together came to, so no sum of the "
            "parts' own writes gives the logit."
        )
    if isinstance(spec.head, NoHead):
        return f"{model.name} has no head: there is no logit to attribute."
    if isinstance(spec.head, MaskedTokenHead):
        return f"{model.name} reads its stream through an activation: its logits are not linear in it."
    return ""


def through_norm(model: LanguageModel, row: Tensor, x: Tensor) -> tuple[Tensor, Tensor, float | None]:
    """How a row of the unembedding reads streams through the final norm.

    Args:
        row: `[d_model]` float64.
        x: the last streams, `[..., d_model]` float64.

    Returns:
        The direction `[d_model]` and the norm's divisors `[...]` at x (1 without a norm): a part of a stream
        times the direction, over the divisor, is its share. Then the share of the norm's shift, if any.
    """
    kind = model.spec.norm
    if isinstance(kind, NoNorm):
        return row, torch.ones_like(x[..., 0]), None
    norm = model.transformer.final_norm
    gained = norm.weight.double() * row
    if isinstance(kind, LayerNorm):
        centred = x - x.mean(-1, keepdim=True)
        scale = (centred.pow(2).mean(-1) + kind.eps).sqrt()
        return gained - gained.mean(), scale, float(norm.bias.double() @ row)
    return gained, (x.pow(2).mean(-1) + kind.eps).sqrt(), None


def norm_in_words(model: LanguageModel, scale: float) -> str:
    """How the final norm is treated, in a sentence; `scale` is what it divides by."""
    kind = model.spec.norm
    if isinstance(kind, NoNorm):
        return "No final norm: the unembedding reads the stream as it is."
    if isinstance(kind, LayerNorm):
        return (
            f"Final LayerNorm: its divisor is held at this run's {scale:.4g}; its centring is linear and "
            "made in each term; its shift is the term final_norm.bias."
        )
    return f"Final RMSNorm: its divisor is held at this run's {scale:.4g}."


def difference_of(per_token: Tensor, right: Sequence[int], wrong: Sequence[int]) -> Tensor:
    """Mean over the right tokens less that over the wrong ones, float64, of `[vocabulary, ...]`."""
    means = [per_token[list(chosen)].double().mean(0) for chosen in (right, wrong) if chosen]
    return means[0] - means[1] if len(means) > 1 else means[0]


def _embedded(base: Base, position: int) -> dict[str, Tensor]:
    """What enters the stream before the first block."""
    transformer = base.model.transformer
    if base.spec.norm_embedding:  # normed together: their sum cannot be told apart
        return {"embed": base.stream[0][position]}
    parts = {"embed": transformer.embed.weight[base.tokens[position]]}
    if hasattr(transformer, "pos_embed"):
        parts["pos_embed"] = transformer.pos_embed.weight[position]
    if base.spec.n_token_types:
        parts["type_embed"] = transformer.type_embed.weight[0]
    return parts


def _layer_of(base: Base, layer: int, position: int, progress: Progress) -> _Layer:
    """One layer run again from the position on, for what that position got in it."""
    progress.report("attributing", layer, base.spec.n_layers)
    start = position if base.cache is not None else 0
    kinds = ["attn_out", "z", "pattern", "v", "mlp_out", "mlp_post"]
    present = sites_of(base.spec)
    keep = [site(kind, layer) for kind in kinds if site(kind, layer) in present]
    run = base.model.run(keep=keep, resume=base.run.at(layer, start), stop=layer + 1, logits=False)
    here, seen = position - start, position + 1 if base.spec.causal else base.n

    def kept(kind: str) -> Tensor | None:
        place = site(kind, layer)
        return run[place][0, here].double() if place in keep else None

    values = run[site("v", layer)][0] if base.cache is None else base.cache.values[layer][0, :seen]  # type: ignore[index]
    attention, z = kept("attn_out"), kept("z")
    assert attention is not None
    assert z is not None
    pattern = run[site("pattern", layer)][0, :, here, :seen].double()
    return _Layer(attention, z, pattern, values.double(), kept("mlp_out"), kept("mlp_post"))


def _numbers(named: dict[str, float]) -> Tensor:
    return torch.tensor([*named.values()], dtype=torch.float64)


def name_of(model: LanguageModel, right: Sequence[int], wrong: Sequence[int]) -> str:
    """What is attributed, in words: `logit difference ' Mary' − ' John'`."""
    said = [
        ", ".join(repr(model.tokenizer.piece(token)) for token in chosen)
        for chosen in (right, wrong)
        if chosen
    ]
    return f"logit of {said[0]}" if len(said) == 1 else f"logit difference {said[0]} − {said[1]}"
