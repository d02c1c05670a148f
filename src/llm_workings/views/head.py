"""One attention head in full: the pattern at half precision, and any row of it exactly."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import HeadIndex, Layer, ModelName, Position, Prompt, view
from .lab import Lab
from .parts import Ablated, Ablation, ModelCard, Token, percent, quoted

PerKey = Annotated[np.ndarray, Tensor("float32", "key")]
WithScores = Annotated[
    bool,
    Field(title="Raw scores", description="Whether the scores before the softmax are to come with it."),
]


class Head(Payload):
    """One head's pattern."""

    model: ModelCard
    tokens: list[Token]
    layer: int
    head: int
    key_value_head: int
    """The key-value head it reads through; several heads may share one."""
    causal: bool
    pattern: Annotated[np.ndarray, Tensor("float16", "entry")]
    """Row by row (query by query). Of a causal model it is the lower triangle only: query i has
    i + 1 entries, n(n + 1)/2 in all. Of a bidirectional model it has all n x n."""
    value_norms: PerKey
    """|v W_O| of each key: times its weight, the length of what the head moves from it (Kobayashi et
    al. 2020, "Attention is not only a weight")."""
    scores: Annotated[np.ndarray, Tensor("float32", "entry")]
    """q . k / sqrt(d_head), in the order of `pattern`; empty unless they were asked for."""

    def matrix(self) -> np.ndarray:
        """The pattern as `[query, key]`, 0 where a causal query cannot see."""
        return self._square(self.pattern)

    def weighted(self) -> np.ndarray:
        """pattern * |v W_O|, `[query, key]` float32: the length of what is moved from key to query."""
        return self.matrix().astype(np.float32) * self.value_norms

    def _square(self, entries: np.ndarray) -> np.ndarray:
        n = len(self.tokens)
        if not self.causal:
            return entries.reshape(n, n)
        full = np.zeros((n, n), entries.dtype)
        full[np.tril_indices(n)] = entries
        return full

    def reading(self) -> str:
        """The picture in a few sentences, for a terminal or a screen reader."""
        matrix = self.matrix().astype(np.float32)
        n = len(matrix)
        said = f"Head {self.layer}.{self.head} of {self.model.title} on {n} tokens."
        if n < 2:
            return said + " With one token there is nothing to choose between."
        key = int(matrix[-1].argmax())
        said += (
            f" The last token, {quoted(self.tokens[-1])}, looks most at {quoted(self.tokens[key])} "
            f"(position {key}), with {percent(float(matrix[-1, key]))} of its weight."
        )
        moved = self.weighted()[-1]
        if moved.sum() > 0:
            longest = int(moved.argmax())
            share = percent(float(moved[longest] / moved.sum()))
            same = "the same token" if longest == key else f"{quoted(self.tokens[longest])} ({longest})"
            said += f" By length of what is moved it is {same}, with {share}."
        means = matrix.mean(0)
        most = int(means.argmax())
        share = percent(float(means[most]))
        return f"{said} Over all queries, {quoted(self.tokens[most])} (position {most}) gets most: {share}."


class HeadRow(Payload):
    """One query's row, exactly as computed. Keys that a causal query cannot see are left out."""

    layer: int
    head: int
    query: int
    scores: PerKey
    """Raw: q . k / sqrt(d_head), before softmax."""
    pattern: PerKey
    """softmax(scores): sums to 1 to rounding."""
    value_norms: PerKey
    """|v W_O| of each key, with the bias of the values, without that of the output."""
    weighted: PerKey
    """pattern * value_norms: the length of what the head moves from each key."""

    def reading(self) -> str:
        """The row in a sentence, for a terminal or a screen reader."""
        best = [int(key) for key in np.argsort(-self.pattern, kind="stable")[:3]]
        said = ", ".join(f"{key} ({percent(float(self.pattern[key]))})" for key in best)
        return f"In head {self.layer}.{self.head}, position {self.query} looks most at positions {said}."


@view
def head(
    lab: Lab,
    prompt: Prompt,
    layer: Layer,
    head: HeadIndex,
    model: ModelName = DEFAULT_MODEL,
    ablate: Ablated = [],  # noqa: B006 (pydantic copies it)
    ablation: Ablation = "zero",
    with_scores: WithScores = False,
) -> Head:
    """One attention head.

    Who looks at whom in this head. Row i, column j is the weight with which position i reads from
    position j: the softmax over j of q[i] · k[j] / √d. A row sums to 1. In a causal model a
    position sees itself and those before it. Weights are shown to about three digits (half
    precision); inspecting a row gives them exactly, with the scores before the softmax.

    The picture can show instead the raw scores, or the weight times |v[j] W_O|, the length of what
    is moved from j to i (Kobayashi et al. 2020): a head that rests looks at a token with a short value.

    What this cannot tell you: what is read, and whether it matters. The head moves v W_O of what
    it looks at, which may be nothing; a long vector may point where nothing reads, and two may
    cancel. A raw score means something only beside the others of its row. Ablate the head to see
    what changes.
    """
    from .passes import check_head, layer_attention

    language_model = lab.model(model)
    spec = language_model.spec
    check_head(language_model, layer, head)
    done = lab.read(model, prompt, ablate, ablation)
    opened = layer_attention(done, layer)

    def entries(matrix: np.ndarray) -> np.ndarray:
        return matrix[np.tril_indices(len(matrix))] if spec.causal else matrix.reshape(-1)

    return Head(
        model=lab.card(language_model),
        tokens=lab.tokens(language_model, done.ids),
        layer=layer,
        head=head,
        key_value_head=head // (spec.attention.n_heads // spec.attention.n_key_value_heads),
        causal=spec.causal,
        pattern=entries(opened.pattern[head]),
        value_norms=opened.norms[head],
        scores=entries(opened.scores[head]) if with_scores else np.zeros(0, np.float32),
    )


@view
def head_row(
    lab: Lab,
    prompt: Prompt,
    layer: Layer,
    head: HeadIndex,
    query: Position,
    model: ModelName = DEFAULT_MODEL,
    ablate: Ablated = [],  # noqa: B006 (pydantic copies it)
    ablation: Ablation = "zero",
) -> HeadRow:
    """One row of an attention head.

    What one position looks at, exactly as computed in float32: the scores s_j = q_i · k_j /
    √d_head, the weights a_j = exp(s_j) / Σ exp(s_j), and the lengths a_j |v_j W_O| of what is moved
    from each, for the keys j that the position can see.

    What this cannot tell you: a score means something only beside the others of its row, and a
    length does not say where the vector points.
    """
    from .passes import check_head, check_position, layer_attention

    language_model = lab.model(model)
    check_head(language_model, layer, head)
    done = lab.read(model, prompt, ablate, ablation)
    check_position(done, query, "query")
    opened = layer_attention(done, layer)
    seen = query + 1 if language_model.spec.causal else len(done.ids)
    pattern, norms = opened.pattern[head, query, :seen], opened.norms[head, :seen]
    return HeadRow(
        layer=layer,
        head=head,
        query=query,
        scores=opened.scores[head, query, :seen],
        pattern=pattern,
        value_norms=norms,
        weighted=pattern * norms,
    )
