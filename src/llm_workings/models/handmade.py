"""A transformer whose weights are written by hand, so that what it does is known and not found out.

An induction circuit (Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; Olsson et al.
2022): after "... a b ... a" it answers "b". Two layers, attention only, no norm; each subspace of the
stream holds one thing, one-hot, and is written by one part:

                   token      position    previous    answer      aside
                   who        where       who was     what comes  read by no part
                   I am       I am        before me   next        of the circuit
    embedding      writes     writes
    previous head             reads (Q, K)
      (layer 0)    reads (V)              writes
    induction head reads (Q)              reads (K)
      (layer 1)    reads (V)                          writes
    unembedding                                       reads
    other heads    read all of it, at random .......................... write

    position       0        1     2     3     4     5
    token          <begin>  a     b     c     d     a  -> b
    previous head  each looks one back: at 2 stands "before me was a"
    induction head 5 asks "before whom stood an a?"; 2 answers, and hands over its own token: b

The other heads move and write, but what they write is read by none but themselves: whatever is done
to them, the logits stay as they are. And of the paths between the two heads there is one, through the
induction head's key. So a method that finds more, or less, is wrong.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput
from llm_workings.core.seeds import generator

from . import spec as sp
from .tokens import Tokenizer
from .toys import BEGIN, tokenizer_of
from .transformer import Attention, Transformer

LETTERS = string.ascii_lowercase
ASIDE = 8  # dimensions for the other heads to write into
GAIN = 10.0  # logits of an answer that is wholly one token


@dataclass(frozen=True)
class InductionCircuit:
    """The model, and where in it everything is.

    Attributes:
        transformer: float64, in evaluation mode.
        tokenizer: a letter is a token; `<begin>` comes before the first.
        previous, induction: the layer and head of the two that matter.
        subspaces: which dimensions of the stream hold the token, position, previous token, answer, and
            what is set aside.
    """

    transformer: Transformer
    tokenizer: Tokenizer
    previous: tuple[int, int]
    induction: tuple[int, int]
    subspaces: dict[str, slice]


def induction_circuit(
    letters: str = LETTERS,
    n_ctx: int = 32,
    *,
    n_heads: int = 4,
    previous: int = 1,
    induction: int = 2,
    sharpness: float = 6.0,
    noise: float = 1.0,
    seed: int = 0,
) -> InductionCircuit:
    """Write the weights.

    Args:
        letters: the vocabulary beside `<begin>`.
        n_ctx: positions at the most.
        n_heads: of each of the two layers.
        previous, induction: which head of layer 0 and of layer 1 is the circuit's.
        sharpness: the score of a match, all others having 0: so its weight among n is e^s / (e^s + n - 1).
            The larger, the surer the attention, and the flatter its slope.
        noise: the size of the other heads' weights; 0 leaves them empty.
        seed: of those weights.

    Raises `BadInput` for letters that repeat or no room for the two heads.
    """
    vocabulary = [BEGIN, *letters]
    if len(set(vocabulary)) < len(vocabulary) or len(vocabulary) < 3:
        raise BadInput(f"The letters {letters!r} are not two or more different ones.")
    if not (0 <= previous < n_heads and 0 <= induction < n_heads) or n_ctx < 2:
        raise BadInput(
            f"Heads {previous} and {induction} of {n_heads}, with {n_ctx} positions, make no circuit.",
            hint="Heads count from 0; take two positions or more.",
        )
    tokens, d_head = len(vocabulary), max(len(vocabulary), n_ctx)
    subspaces, at = {}, 0
    for name, size in (
        ("token", tokens), ("position", n_ctx), ("previous", tokens), ("answer", tokens), ("aside", ASIDE),
    ):  # fmt: skip
        subspaces[name] = slice(at, at + size)
        at += size
    spec = sp.Spec(
        vocab_size=tokens,
        n_ctx=n_ctx,
        d_model=at,
        n_layers=2,
        attention=sp.Attention(n_heads, n_heads, d_head),
        mlp=sp.NoMLP(),
        norm=sp.NoNorm(),
        positions=sp.LearnedPositions(),
        block=sp.PreNorm(),
        head=sp.NextTokenHead(tied=False),
    )
    transformer = Transformer(spec).double().eval()
    weights = dict(transformer.named_parameters())
    draw = generator(seed)
    asks = sharpness * d_head**0.5  # attention divides by the root again
    with torch.no_grad():
        for weight in weights.values():
            weight.zero_()
        weights["embed.weight"][:, subspaces["token"]] = torch.eye(tokens, dtype=torch.float64)
        weights["pos_embed.weight"][:, subspaces["position"]] = torch.eye(n_ctx, dtype=torch.float64)
        weights["unembed.weight"][:, subspaces["answer"]] = GAIN * torch.eye(tokens, dtype=torch.float64)

        one_back = torch.zeros(n_ctx, n_ctx, dtype=torch.float64)  # from a position to the one before
        one_back[torch.arange(1, n_ctx), torch.arange(n_ctx - 1)] = 1
        one_back[0, 0] = 1  # there is nothing before the first
        same, here = (torch.eye(size, dtype=torch.float64) for size in (tokens, n_ctx))
        for layer, circuit in ((0, previous), (1, induction)):
            attention: Attention = transformer.blocks[layer].attention  # type: ignore[assignment]
            for head in range(n_heads):
                if head != circuit:
                    _fill_with_noise(attention, head, subspaces["aside"], noise, draw)
        first: Attention = transformer.blocks[0].attention  # type: ignore[assignment]
        _write(first, previous, 0, subspaces["position"], asks * one_back)
        _write(first, previous, 1, subspaces["position"], here)
        _write(first, previous, 2, subspaces["token"], same)
        _write_out(first, previous, subspaces["previous"], same)
        second: Attention = transformer.blocks[1].attention  # type: ignore[assignment]
        _write(second, induction, 0, subspaces["token"], asks * same)
        _write(second, induction, 1, subspaces["previous"], same)
        _write(second, induction, 2, subspaces["token"], same)
        _write_out(second, induction, subspaces["answer"], same)
    return InductionCircuit(transformer, tokenizer_of(vocabulary), (0, previous), (1, induction), subspaces)


def _write(attention: Attention, head: int, part: int, subspace: slice, matrix: Tensor) -> None:
    """Let a head's query (part 0), key (1) or value (2) be `x[subspace] @ matrix`."""
    rows = attention.input.weight.unflatten(0, (3, -1, attention.kind.d_head))[part, head]  # [e, d]
    rows[: matrix.shape[1], subspace] = matrix.T


def _write_out(attention: Attention, head: int, subspace: slice, matrix: Tensor) -> None:
    """Let a head add `z @ matrix` to a subspace of the stream."""
    columns = attention.output.weight.unflatten(1, (-1, attention.kind.d_head))[:, head]  # [d, e]
    columns[subspace, : matrix.shape[0]] = matrix.T


def _fill_with_noise(
    attention: Attention, head: int, aside: slice, size: float, draw: torch.Generator
) -> None:
    """Let a head read everything, and write aside."""
    d_head, d_model = attention.kind.d_head, attention.input.in_features
    for part in range(3):
        noise = torch.randn(d_model, d_head, generator=draw, dtype=torch.float64) * size
        _write(attention, head, part, slice(None), noise)
    written = torch.randn(d_head, ASIDE, generator=draw, dtype=torch.float64) * size
    _write_out(attention, head, aside, written)
