"""The attention view: an atlas of every head, and what each of them does with this text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import ModelName, Prompt, view
from .head_scores import NAMES, cell_size, entropy, score_masks, thumbnail
from .lab import Lab
from .parts import Ablated, Ablation, Guess, HeadRef, ModelCard, Token, percent, quoted

if TYPE_CHECKING:
    from .passes import Pass

PerHead = Annotated[np.ndarray, Tensor("float32", "layer head")]
SHOWN = 5  # guesses


class HeadScores(Payload):
    """How much each head behaves like a known kind of head, on this text. All but entropy in 0..1."""

    previous_token: PerHead
    """Mean weight on the token just before."""
    induction: PerHead
    """Mean weight on what followed earlier copies of the query's token."""
    duplicate_token: PerHead
    """Mean weight on earlier copies of the query's token."""
    first_token: PerHead
    """Mean weight of the later tokens on the first one."""
    entropy: PerHead
    """Nats, mean over queries."""


class ScoreQueries(Payload):
    """On how many queries each score rests. A score that rests on none is 0 and says nothing: a
    text in which no token comes twice has no induction to score."""

    previous_token: int
    induction: int
    duplicate_token: int
    first_token: int
    entropy: int


class Attention(Payload):
    """The atlas: every head's pattern in small, its scores, and the model's answer."""

    model: ModelCard
    tokens: list[Token]
    thumbnails: Annotated[np.ndarray, Tensor("uint8", "layer head row column")]
    """Row: query, column: key, at most 32 cells each way. A cell is the weight that a query of its
    row gives to all keys of its column together, on the mean; 255 is a weight of 1."""
    tokens_per_cell: int
    scores: HeadScores
    score_queries: ScoreQueries
    ablate: list[HeadRef]
    ablation: Literal["zero", "mean"]
    answer_position: int | None
    """The position whose answer is shown: the last, or the first mask of a masked-language model.
    None if the model answers nothing, or the text has no mask to answer for."""
    answer: list[Guess]
    """Best first, under the ablation if there is one; the unablated best is then among them."""
    unablated: list[Guess]
    """The same tokens and the unablated best, best first; empty if nothing is ablated."""

    def reading(self) -> str:
        """The picture in a few sentences, for a terminal or a screen reader."""
        layers, heads = self.scores.entropy.shape
        lines = [f"{self.model.title}: {len(self.tokens)} tokens, {layers} layers of {heads} heads."]
        best = []
        for name in NAMES:
            if not getattr(self.score_queries, name):
                continue
            scores = getattr(self.scores, name)
            layer, head = np.unravel_index(int(scores.argmax()), scores.shape)
            best.append(f"{name.replace('_', ' ')} {layer}.{head} ({scores[layer, head]:.2f})")
        if best:
            lines.append(f"The strongest heads by layer.head: {', '.join(best)}.")
        if not self.score_queries.duplicate_token:
            lines.append("No token comes twice, so induction and duplicate tokens cannot be scored.")
        lines.append(self._answer_in_words())
        return " ".join(lines)

    def _answer_in_words(self) -> str:
        if not self.model.answers:
            return "The model has no language-model head, so it gives no answer."
        if self.answer_position is None:
            return f"The text has no {self.model.mask_token}, so there is no answer to show."
        first = self.answer[0]
        said = f"The answer is {quoted(first.token)} ({percent(first.probability)})"
        if not self.ablate:
            return said + "."
        before = self.unablated[0]
        off = ", ".join(map(str, self.ablate))
        return (
            f"With {self.ablation} ablation of {off}: {said[0].lower()}{said[1:]}; "
            f"without it, {quoted(before.token)} ({percent(before.probability)})."
        )


@view
def attention(
    lab: Lab,
    prompt: Prompt,
    model: ModelName = DEFAULT_MODEL,
    ablate: Ablated = [],  # noqa: B006 (pydantic copies it)
    ablation: Ablation = "zero",
) -> Attention:
    """Attention heads.

    Who looks at whom. Each small square is one head's pattern on this text: row i, column j is
    the weight with which position i reads from position j: the softmax over j of q[i] · k[j] / √d.
    A row sums to 1. The heads can be sorted by how much they behave like known kinds: previous
    token, induction, duplicate token, first-token sink, and entropy in nats.

    Ablating a head replaces its output z by zero, or by its own mean over the positions of this
    text, and runs the model again: the answer then shows what this head did for it here.

    What this cannot tell you: a weight says where a head reads, not what it reads, nor whether it
    matters. A head may look at a token and copy nothing of it, and after an ablation later heads
    may take over. A score is measured on this text alone; one that rests on few queries is noise.
    """
    from .passes import answer_position, guesses, run_with_patterns

    language_model = lab.model(model)
    before = lab.read(model, prompt) if ablate else None
    atlas = _Atlas()
    after = run_with_patterns(lab, model, prompt, ablate, ablation, atlas.add)
    position = answer_position(after)
    answer: list[Guess] = []
    unablated: list[Guess] = []
    if position is not None:
        answer = guesses(after, position, most=SHOWN)
        if before is not None:
            best = guesses(before, position, most=1)[0].token.id
            answer = guesses(after, position, most=SHOWN, also=[best])
            unablated = guesses(before, position, most=1, also=[guess.token.id for guess in answer])
    return Attention(
        model=lab.card(language_model),
        tokens=lab.tokens(language_model, after.ids),
        **atlas.fields(after),
        ablate=ablate,
        ablation=ablation,
        answer_position=position,
        answer=answer,
        unablated=unablated,
    )


class _Atlas:
    """Takes each layer's patterns as they are computed and keeps only what is shown of them."""

    def __init__(self) -> None:
        self.masks: Any = None
        self.thumbnails: list[np.ndarray] = []
        self.scores: list[np.ndarray] = []
        self.entropies: list[np.ndarray] = []

    def add(self, ids: list[int], pattern: np.ndarray) -> None:
        """The next layer's `pattern`, `[head, query, key]`."""
        if self.masks is None:
            self.masks = score_masks(ids)
        self.thumbnails.append(thumbnail(pattern, cell_size(len(ids))))
        self.scores.append(self.masks.score(pattern))
        self.entropies.append(entropy(pattern))

    def fields(self, done: Pass) -> dict[str, Any]:
        scores = np.stack(self.scores)  # [layer, head, score]
        by_name = {name: scores[..., index] for index, name in enumerate(NAMES)}
        n = len(done.ids)
        return {
            "thumbnails": np.stack(self.thumbnails),
            "tokens_per_cell": cell_size(n),
            "scores": HeadScores(**by_name, entropy=np.stack(self.entropies)),
            "score_queries": ScoreQueries(**self.masks.queries, entropy=n),
        }
