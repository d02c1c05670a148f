"""The attention view: an atlas of every head, and what each of them does with this text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from llm_workings.core.errors import BadInput
from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import ModelName, Prompt, view
from .head_scores import NAMES, cell_size, entropy, moved, pooled, score_masks, thumbnail
from .lab import Lab
from .parts import Ablated, Ablation, Guess, HeadRef, ModelCard, Token, percent, quoted

if TYPE_CHECKING:
    from .passes import Pass

PerHead = Annotated[np.ndarray, Tensor("float32", "layer head")]
SHOWN = 5  # guesses
SecondText = Annotated[
    str | None,
    Field(
        title="Second text",
        description="Another text to compare with, of the same number of tokens.",
    ),
]


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


class OtherText(Payload):
    """A second text, and how every head's pattern on the first differs from that on it."""

    text: str
    tokens: list[Token]
    thumbnails: Annotated[np.ndarray, Tensor("uint8", "layer head row column")]
    """As the first text's."""
    answer: list[Guess]
    """The model's answer to it, under the same ablation."""
    apart: str
    """Why there is no difference to show: where the two texts do not align. Empty if they do."""
    differs: list[int]
    """The positions at which they have different tokens."""
    difference: Annotated[np.ndarray, Tensor("int8", "layer head row column")]
    """This text's thumbnail less the other's, 127 for 1; all 0 where the texts do not align."""
    moved: PerHead
    """Half the sum of |a - a'| over keys, mean over queries: the share of a query's weight that goes
    elsewhere. 0 where the texts do not align."""


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
    other: OtherText | None
    """The second text, if there is one."""

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
        if self.other is not None:
            lines.append(self._other_in_words(self.other))
        return " ".join(lines)

    def _other_in_words(self, other: OtherText) -> str:
        if other.apart:
            return other.apart
        layer, head = np.unravel_index(int(other.moved.argmax()), other.moved.shape)
        answer = ""
        if other.answer:
            said = other.answer[0]
            answer = f", where the answer is {quoted(said.token)} ({percent(said.probability)})"
        return (
            f"On the other text{answer}, head {layer}.{head} looks elsewhere most: with "
            f"{percent(float(other.moved[layer, head]))} of its weight, on the mean."
        )

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
    corrupted: SecondText = None,
) -> Attention:
    """Attention heads.

    Who looks at whom. Each small square is one head's pattern on this text: row i, column j is
    the weight with which position i reads from position j: the softmax over j of q[i] · k[j] / √d.
    A row sums to 1. The heads can be sorted by how much they behave like known kinds: previous
    token, induction, duplicate token, first-token sink, and entropy in nats.

    Ablating a head replaces its output z by zero, or by its own mean over the positions of this
    text, and runs the model again: the answer then shows what this head did for it here.

    With a second text of as many tokens, the difference of the two patterns: a − a', and how much of a
    query's weight goes elsewhere, ½ Σ |a − a'| over keys, on the mean over queries.

    What this cannot tell you: a weight says where a head reads, not what it reads, nor whether it
    matters. A head may look at a token and copy nothing of it, and after an ablation later heads
    may take over. A score is measured on this text alone; one that rests on few queries is noise. A
    head can look at the same places in two texts and carry different things.
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
        other=_other(lab, after, model, corrupted, ablate, ablation) if corrupted else None,
    )


def _other(
    lab: Lab,
    first: Pass,
    model: str,
    corrupted: str,
    ablate: list[HeadRef],
    ablation: Literal["zero", "mean"],
) -> OtherText:
    """The second text's atlas, and what differs; the first text's layers are run again one by one."""
    from llm_workings.data.families.alignment import check_token_alignment

    from .passes import answer_position, guesses, layer_attention, run_with_patterns

    language_model = lab.model(model)
    tokenizer = language_model.tokenizer
    n = len(first.ids)
    apart, differs = "", []
    try:
        differs = list(check_token_alignment(tokenizer, first.ids, language_model.tokens(corrupted)))
    except BadInput as error:
        apart = error.message
    thumbnails: list[np.ndarray] = []
    differences: list[np.ndarray] = []
    distances: list[np.ndarray] = []

    def see(ids: list[int], pattern: np.ndarray) -> None:
        thumbnails.append(thumbnail(pattern, cell_size(len(ids))))
        heads = len(pattern)
        if apart:
            rows = -(-n // cell_size(n))
            differences.append(np.zeros((heads, rows, rows), np.int8))
            distances.append(np.zeros(heads, np.float32))
            return
        own = layer_attention(first, len(distances)).pattern
        step = np.rint(pooled(own - pattern, cell_size(n)) * 127)
        differences.append(np.clip(step, -127, 127).astype(np.int8))
        distances.append(moved(own, pattern))

    done = run_with_patterns(lab, model, corrupted, ablate, ablation, see)
    position = answer_position(done)
    return OtherText(
        text=corrupted,
        tokens=lab.tokens(language_model, done.ids),
        thumbnails=np.stack(thumbnails),
        answer=[] if position is None else guesses(done, position, most=SHOWN),
        apart=apart,
        differs=differs,
        difference=np.stack(differences),
        moved=np.stack(distances),
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
