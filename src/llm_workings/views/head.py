"""One attention head in full: the pattern at half precision, and any row of it exactly."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import HeadIndex, Layer, ModelName, Position, Prompt, view
from .lab import Lab
from .parts import Ablated, Ablation, ModelCard, Token, percent, quoted

PerKey = Annotated[np.ndarray, Tensor("float32", "key")]


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

    def matrix(self) -> np.ndarray:
        """The pattern as `[query, key]`, 0 where a causal query cannot see."""
        n = len(self.tokens)
        if not self.causal:
            return self.pattern.reshape(n, n)
        full = np.zeros((n, n), self.pattern.dtype)
        full[np.tril_indices(n)] = self.pattern
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
) -> Head:
    """One attention head.

    Who looks at whom in this head. Row i, column j is the weight with which position i reads from
    position j: the softmax over j of q[i] · k[j] / √d. A row sums to 1. In a causal model a
    position sees itself and those before it. Weights are shown to about three digits (half
    precision); inspecting a row gives them exactly, with the scores before the softmax.

    What this cannot tell you: what is read, and whether it matters. The head moves W_V W_O of what
    it looks at, which may be nothing; ablate it to see what changes.
    """
    from .passes import check_head, layer_attention

    language_model = lab.model(model)
    spec = language_model.spec
    check_head(language_model, layer, head)
    done = lab.read(model, prompt, ablate, ablation)
    _, pattern = layer_attention(done, layer)
    matrix = pattern[head]
    entries = matrix[np.tril_indices(len(matrix))] if spec.causal else matrix.reshape(-1)
    return Head(
        model=lab.card(language_model),
        tokens=lab.tokens(language_model, done.ids),
        layer=layer,
        head=head,
        key_value_head=head // (spec.attention.n_heads // spec.attention.n_key_value_heads),
        causal=spec.causal,
        pattern=entries,
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
    √d_head and the weights exp(s_j) / Σ exp(s_j), for the keys j that the position can see.

    What this cannot tell you: a score means something only beside the others of its row.
    """
    from .passes import check_head, check_position, layer_attention

    language_model = lab.model(model)
    check_head(language_model, layer, head)
    done = lab.read(model, prompt, ablate, ablation)
    check_position(done, query, "query")
    scores, pattern = layer_attention(done, layer)
    seen = query + 1 if language_model.spec.causal else len(done.ids)
    return HeadRow(
        layer=layer,
        head=head,
        query=query,
        scores=scores[head, query, :seen],
        pattern=pattern[head, query, :seen],
    )
