"""What one head writes, what it copies and what it looks for, in terms of the vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal
from weakref import WeakKeyDictionary

import numpy as np
from pydantic import Field

from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import HeadIndex, Layer, ModelName, Prompt, view
from .lab import Lab
from .parts import Ablated, Ablation, AnswerToken, ModelCard, Token, WrongToken, percent, quoted

if TYPE_CHECKING:
    from torch import Tensor as Torch

    from llm_workings.causal.head_circuits import Copying as Scored
    from llm_workings.trace.model import LanguageModel

SHOWN = 6  # tokens at each end of a reading of the vocabulary
PROMOTED = 3  # tokens that OV raises most, for each token of the text
MOST_TOKENS = 64  # of a text whose copies are worked out one by one: each takes all logits

PerKey = Annotated[np.ndarray, Tensor("float64", "key")]
PerToken = Annotated[np.ndarray, Tensor("float32", "token")]
ReadAt = Annotated[
    int | None,
    Field(
        title="Position", ge=0, description="The query token whose writing is read; by default the last one."
    ),
]
ReadsWhat = Annotated[
    Literal["first_mlp", "embedding"],
    Field(
        title="What stands for a token",
        description="Its embedding with what the first MLP adds to it, or its embedding alone.",
    ),
]


class TokenValue(Payload):
    """A token and a number that belongs to it."""

    token: Token
    value: float


class Copied(Payload):
    """What the head writes where it looks at one of the text's tokens."""

    token: Token
    promoted: list[Token]
    """What it raises most, best first."""
    rank: int
    """Where the token itself stands among all that the head raises; 0 is the most raised."""


class CopyingScore(Payload):
    """Whether the head writes for the token that it looks at, over a sample of the vocabulary."""

    copied: float
    """The fraction of sampled tokens that are among the `k` tokens raised most where it looks at them."""
    suppressed: float
    """The fraction among the `k` lowered most."""
    median: float
    """Median over the sample of the share of the vocabulary raised more than the token itself."""
    k: int
    chance: float
    """k / vocabulary: either fraction for a head that knows nothing of tokens."""
    sample: int
    seed: int
    whole: bool
    """Whether the sample is the whole vocabulary."""


class LooksFor(Payload):
    """Which keys the query token prefers by what the two tokens are, without positions or context."""

    query: Token
    text: PerToken
    """Of each of the text's tokens, in the units of the head's scores."""
    seen: PerToken
    """The scores of the run itself, of the keys that the query sees."""
    above: PerToken
    """The share of the sample that scores below each of the text's tokens."""
    most: list[TokenValue]
    """Of the sample, highest first."""
    least: list[TokenValue]
    """Of the sample, lowest first."""


class HeadCircuits(Payload):
    """What one head writes at a position, copies and looks for."""

    model: ModelCard
    tokens: list[Token]
    layer: int
    head: int
    key_value_head: int
    position: int
    promoted: list[TokenValue]
    """The tokens whose logit the head raises most at this position, in logits."""
    suppressed: list[TokenValue]
    """Those it lowers most."""
    norm: str
    """How the final norm was treated."""
    answer: Token
    wrong: Token | None
    logit: float
    """The answer's logit there (less the wrong one's), as the model said."""
    share: float
    """What of it the head writes by itself."""
    by_source: PerKey
    """That share by the token it came from; adds up to `share`."""
    reads: Literal["first_mlp", "embedding"]
    """What stood for a token in what follows."""
    copies: list[Copied]
    """Each token that the text has, once, in order."""
    copying: CopyingScore
    looks_for: LooksFor

    def reading(self) -> str:
        """The tables in a few sentences, for a terminal or a screen reader."""
        at = f"{quoted(self.tokens[self.position])} (position {self.position})"
        up, down = self.promoted[0], self.suppressed[0]
        what = quoted(self.answer) + (f" less {quoted(self.wrong)}" if self.wrong else "")
        source = int(np.abs(self.by_source).argmax())
        score = self.copying
        sample = "the vocabulary" if score.whole else f"{score.sample} tokens drawn from the vocabulary"
        best = self.looks_for.most[0]
        return (
            f"At {at} head {self.layer}.{self.head} writes most for {quoted(up.token)} "
            f"({up.value:+.2f} logits) and against {quoted(down.token)} ({down.value:+.2f}). "
            f"Of the logit of {what}, {self.logit:+.2f}, it writes {self.share:+.2f}, most of that from "
            f"{quoted(self.tokens[source])} (position {source}, {self.by_source[source]:+.2f}). "
            f"Of {sample} it copies {percent(score.copied)} and suppresses "
            f"{percent(score.suppressed)} (top {score.k}, by chance {percent(score.chance)}). "
            f"By tokens alone, {quoted(self.looks_for.query)} looks most for {quoted(best.token)}."
        )


@view
def head_circuits(
    lab: Lab,
    prompt: Prompt,
    layer: Layer,
    head: HeadIndex,
    model: ModelName = DEFAULT_MODEL,
    position: ReadAt = None,
    answer: AnswerToken = None,
    wrong: WrongToken = None,
    reads: ReadsWhat = "first_mlp",
    ablate: Ablated = [],  # noqa: B006 (pydantic copies it)
    ablation: Ablation = "zero",
) -> HeadCircuits:
    """What a head writes, copies and looks for.

    Writes: the sum over keys j of a[j] v[j] W_O at one position, read through the final norm, at
    this run's scale, and the unembedding: the head's own share of every token's logit, and of the
    answer's by the token it came from. These shares add up to the head's direct attribution.

    Copies (OV): W_U g · (ln(x) W_V W_O) for a token x by itself: which tokens rise where the head
    looks at x. The copying score is the fraction of a drawn sample whose own logit is among the top
    k; the suppression score, among the lowest k. Looks for (QK): ln(x) W_Q · ln(y) W_K / √d for
    the query token x and keys y by themselves (Elhage et al. 2021). x is the token's embedding, or that
    with what the first MLP adds to it.

    What this cannot tell you: what later layers make of the writing, which may be more than the
    direct share. Copies and looks for leave out positions, rotation and all that earlier layers
    moved into the stream; a head high up reads mostly that, so compare with the run's own scores.
    """
    import torch

    from llm_workings.causal import head_circuits as circuits
    from llm_workings.models.sites import stream_of

    from .lab import token_of
    from .passes import check_head, check_position, layer_attention

    language_model = lab.model(model)
    spec = language_model.spec
    check_head(language_model, layer, head)
    circuits.check_linear(language_model)
    done = lab.read(model, prompt, ablate, ablation)
    at = len(done.ids) - 1 if position is None else position
    check_position(done, at, "position")
    opened = layer_attention(done, layer)
    seen = at + 1 if spec.causal else len(done.ids)
    device = language_model.device
    pattern = torch.from_numpy(opened.pattern[head, at, :seen]).to(device)
    values = torch.from_numpy(opened.values[:seen]).to(device)
    last = done.run[stream_of(spec)[-1]][0, at]

    with torch.no_grad():
        written = circuits.writes(language_model, layer, head, pattern, values)
        reader = circuits.reader(language_model, last)
        logits = language_model.transformer.read_out(last[None, None])[0, 0]
        right = int(logits.argmax()) if answer is None else language_model.token(answer)
        other = None if wrong is None else language_model.token(wrong)
        by_source = written @ reader.of(right, other)
        write = written.sum(0)
        shares = reader.shares(write)

        def ends(values: Torch) -> list[TokenValue]:
            return [
                TokenValue(token=token_of(language_model, i), value=float(write @ reader.of(i)))
                for i in circuits.best(values, SHOWN)
            ]

        logit = float(logits[right]) - (0.0 if other is None else float(logits[other]))
        kind = circuits.reads_of(language_model, layer, reads)
        distinct = list(dict.fromkeys(done.ids))[:MOST_TOKENS]
        return HeadCircuits(
            model=lab.card(language_model),
            tokens=lab.tokens(language_model, done.ids),
            layer=layer,
            head=head,
            key_value_head=circuits.key_value_head(language_model, head),
            position=at,
            promoted=ends(shares),
            suppressed=ends(-shares),
            norm=reader.stated,
            answer=token_of(language_model, right),
            wrong=None if other is None else token_of(language_model, other),
            logit=logit,
            share=float(by_source.sum()),
            by_source=by_source.cpu().numpy(),
            reads=kind,
            copies=_copies(language_model, layer, head, distinct, kind),
            copying=_copying(lab, language_model, layer, head, kind),
            looks_for=_looks_for(
                language_model, layer, head, done.ids, at, kind, opened.scores[head, at, :seen]
            ),
        )


def _copies(
    model: LanguageModel, layer: int, head: int, tokens: list[int], reads: Literal["first_mlp", "embedding"]
) -> list[Copied]:
    import torch

    from llm_workings.causal import head_circuits as circuits

    from .lab import token_of

    chosen = torch.tensor(tokens, device=model.device)
    logits = circuits.ov(model, layer, head, circuits.states(model, chosen, reads))
    return [
        Copied(
            token=token_of(model, token),
            promoted=[token_of(model, i) for i in circuits.best(row, PROMOTED)],
            rank=int((row > row[token]).sum()),
        )
        for token, row in zip(tokens, logits, strict=True)
    ]


_SCORES: WeakKeyDictionary[LanguageModel, dict[tuple[int, int, str], Scored]] = WeakKeyDictionary()


def _copying(
    lab: Lab, model: LanguageModel, layer: int, head: int, reads: Literal["first_mlp", "embedding"]
) -> CopyingScore:
    """The head's copying score, worked out once: it is the same on every text."""
    from dataclasses import asdict

    from llm_workings.causal import head_circuits as circuits

    known = _SCORES.setdefault(model, {})
    key = (layer, head, reads)
    if key not in known:
        lab.progress.report(f"scoring what head {layer}.{head} copies")
        known[key] = circuits.copying(model, layer, head, reads=reads)
    fields = asdict(known[key])
    return CopyingScore(**{name: fields[name] for name in CopyingScore.model_fields})


def _looks_for(
    model: LanguageModel,
    layer: int,
    head: int,
    ids: list[int],
    position: int,
    reads: Literal["first_mlp", "embedding"],
    seen: np.ndarray,
) -> LooksFor:
    import torch

    from llm_workings.causal import head_circuits as circuits

    from .lab import token_of

    sample = circuits.drawn(model)
    tokens = torch.cat([torch.tensor(ids, device=model.device), sample])
    x = circuits.states(model, tokens, reads)
    scores = circuits.qk(model, layer, head, x[position : position + 1], x)[0]
    text, drawn = scores[: len(ids)], scores[len(ids) :]

    def ends(values: Torch) -> list[TokenValue]:
        return [
            TokenValue(token=token_of(model, int(sample[i])), value=float(drawn[i]))
            for i in circuits.best(values, SHOWN)
        ]

    return LooksFor(
        query=token_of(model, ids[position]),
        text=text.float().cpu().numpy(),
        seen=seen,
        above=np.array([circuits.share_below(drawn, float(score)) for score in text]),
        most=ends(drawn),
        least=ends(-drawn),
    )
