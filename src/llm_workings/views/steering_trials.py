"""Whether a steering direction does what its one text shows: by strength, and over many prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from llm_workings.core.errors import BadInput
from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import ModelName, view
from .contrasts import (
    ContrastName,
    Firsts,
    Seconds,
    Seed,
    SteerLayer,
    contrast_of,
    directions_of,
    layer_of,
)
from .lab import Lab
from .steering import Length, Strength

if TYPE_CHECKING:
    from llm_workings.causal.steering import Directions, SteeringVector

STRENGTHS = (-0.8, -0.4, 0.0, 0.2, 0.4, 0.8, 1.2, 1.6)
RANDOM, SHUFFLED = 2, 2
WRITTEN = 10  # tokens, for the repetition
TOGETHER = 5  # prompts that are written on before the picture is shown

Kind = Literal["vector", "random", "shuffled"]
Doses = Annotated[np.ndarray, Tensor("float32", "direction strength")]
PromptCount = Annotated[
    int, Field(title="Prompts", ge=2, le=24, description="How many of the contrast's prompts to measure.")
]


class SteeringDoses(Payload):
    """What more and more of a direction does, means over prompts, beside controls as long."""

    labels: list[str]
    kinds: list[Kind]
    strengths: Annotated[np.ndarray, Tensor("float32", "strength")]
    score: Doses
    """log P(next is a word of the first side) - log P(of the second), in nats; NaN without such words."""
    divergence: Doses
    """KL(unsteered ‖ steered) of the next token, in nats."""
    distinct: Doses
    """distinct-2 of the written texts: low where they repeat themselves."""
    words: list[list[str]]
    """Whose odds are measured, of each side."""
    natural: float
    layer: int
    written: int
    """Tokens a text."""
    prompts: list[str]
    done: int
    """How many of the prompts the means are over."""

    def reading(self) -> str:
        """What came out, in a few sentences."""
        top = int(np.nanargmax(np.abs(self.score[0] - self.score[0][self.zero])))
        return (
            f"Over {self.done} prompts, at layer {self.layer}: the log-odds of the words go from "
            f"{self.score[0][self.zero]:.2f} unsteered to {self.score[0][top]:.2f} at strength "
            f"{self.strengths[top]:g}, where KL is {self.divergence[0][top]:.2f} nats and distinct-2 "
            f"{self.distinct[0][top]:.2f}."
        )

    @property
    def zero(self) -> int:
        """Which of the strengths is 0."""
        return int(np.abs(self.strengths).argmin())


class Comparison(Payload):
    """One column of texts against the unsteered ones, over the same prompts."""

    label: str
    kind: Literal["unsteered", "vector", "random", "shuffled"]
    mean: float
    """Of the score: words of the first side less those of the second."""
    difference: float | None
    """From the unsteered texts; None for those themselves, and before there are two prompts."""
    size: float | None
    """That in standard deviations of the differences (Cohen's d of pairs)."""
    p: float | None
    """Of a two-sided sign-flip permutation test."""
    texts: list[str]
    """What was written, prompt by prompt."""
    scores: list[int]


class SteeringEffect(Payload):
    """Whether it holds over prompts: the texts of all, and what their scores say."""

    prompts: list[str]
    done: int
    strength: float
    layer: int
    n: int
    seed: int
    columns: list[Comparison]
    """Unsteered, steered, random directions, shuffled contrasts."""
    beyond: float | None
    """Steered less the mean of the controls."""
    beyond_p: float | None

    def reading(self) -> str:
        """What came out, in a few sentences."""
        steered = self.columns[1]
        others = [one.difference for one in self.columns[2:] if one.difference is not None]
        if steered.difference is None or not others:
            return f"{self.done} of {len(self.prompts)} prompts are written on."
        return (
            f"Over {self.done} prompts the score moves by {steered.difference:+.2f} words "
            f"(d {steered.size:.2f}, p {steered.p:.2g}); pushes as long in other directions move it by "
            f"{min(others):+.2f} to {max(others):+.2f}."
        )


@view
def steering_doses(
    lab: Lab,
    model: ModelName = DEFAULT_MODEL,
    contrast: ContrastName = "sea",
    layer: SteerLayer = None,
    seed: Seed = 0,
    firsts: Firsts = "",
    seconds: Seconds = "",
    prompts: PromptCount = 5,
) -> SteeringDoses:
    """Dose and response.

    At each strength, means over prompts that lean to neither side: the log-odds of words of the two sides
    at the next token, KL from the unsteered answer, and distinct-2 of what is written. Beside the
    direction, random ones and shuffled contrasts (the same texts with half of each side changed over),
    all as long.

    What this cannot tell you: that more is better. Past some strength every direction breaks the text.
    The words whose odds are measured may stand in the contrast's own texts.
    """
    import torch

    from llm_workings.causal import metrics
    from llm_workings.causal.steered import dose_response, word_odds

    language_model = lab.model(model)
    at = layer_of(language_model, layer)
    made = contrast_of(language_model, contrast, firsts, seconds)
    directions = directions_of(lab, language_model, made)
    vector, controls, kinds = directions.at(at), *_controls(directions, at, seed, RANDOM, SHUFFLED)
    known = all(made.next_words)
    some = language_model.tokenizer.encode(made.firsts[0])[-1]
    score = word_odds(language_model, *made.next_words) if known else metrics.logit(language_model, some)
    chosen = made.prompts[:prompts]
    sums: list[torch.Tensor] = []

    def payload() -> SteeringDoses:
        means = torch.stack(sums).mean(0).numpy()
        return SteeringDoses(
            labels=[made.name, *(one.name for one in controls)],
            kinds=["vector", *kinds],
            strengths=np.array(STRENGTHS),
            score=means[0] if known else np.full(means[0].shape, np.nan),
            divergence=means[1],
            distinct=means[2],
            words=[[*side] for side in made.next_words],
            natural=vector.natural,
            layer=at,
            written=WRITTEN,
            prompts=list(chosen),
            done=len(sums),
        )

    for done, prompt in enumerate(chosen):
        lab.progress.report("measuring", done, len(chosen))
        found = dose_response(
            language_model, vector, [prompt], score, STRENGTHS, controls=controls, n=WRITTEN, seed=seed
        )
        sums.append(torch.stack((found.score[..., 0], found.divergence[..., 0], found.distinct)))
        lab.progress.publish(payload)
    return payload()


@view
def steering_effect(
    lab: Lab,
    model: ModelName = DEFAULT_MODEL,
    contrast: ContrastName = "sea",
    layer: SteerLayer = None,
    strength: Strength = 0.4,
    n: Length = 10,
    seed: Seed = 0,
    firsts: Firsts = "",
    seconds: Seconds = "",
    prompts: PromptCount = 20,
) -> SteeringEffect:
    """Does it hold over prompts.

    The model writes on from each prompt unsteered, steered, and pushed as far in random directions and
    along shuffled contrasts. The score of a text is its words of the first side less those of the second;
    each column is compared with the unsteered one over the same prompts: mean difference, Cohen's d of
    pairs, and the p of a two-sided sign-flip permutation test.

    What this cannot tell you: what a text is about, since the score counts words; how it would be with
    other prompts, layers and strengths.
    """
    import torch

    from llm_workings.causal.steered import effect, side_by_side

    language_model = lab.model(model)
    at = layer_of(language_model, layer)
    made = contrast_of(language_model, contrast, firsts, seconds)
    directions = directions_of(lab, language_model, made)
    vector, controls, kinds = directions.at(at), *_controls(directions, at, seed, RANDOM + 1, SHUFFLED)
    chosen = made.prompts[:prompts]
    if len(chosen) < 2:
        raise BadInput("A comparison needs two prompts or more.", hint="Give more texts.")
    names = ["unsteered", made.name, *(one.name for one in controls)]
    texts: list[list[str]] = [[] for _ in names]

    def payload() -> SteeringEffect:
        scores = [[made.tally(text) for text in column] for column in texts]
        found = effect(torch.tensor(scores, dtype=torch.float64), names, seed)
        against = [None, found.steered, *found.controls]
        columns = zip(
            names, ("unsteered", "vector", *kinds), found.means, against, texts, scores, strict=True
        )
        return SteeringEffect(
            prompts=list(chosen),
            done=len(texts[0]),
            strength=strength,
            layer=at,
            n=n,
            seed=seed,
            columns=[
                Comparison(
                    label=name,
                    kind=kind,
                    mean=mean,
                    difference=None if one is None else one.difference,
                    size=None if one is None else one.size,
                    p=None if one is None else one.p,
                    texts=[*column],
                    scores=row,
                )
                for name, kind, mean, one, column, row in columns
            ],
            beyond=None if found.beyond is None else found.beyond.difference,
            beyond_p=None if found.beyond is None else found.beyond.p,
        )

    for begin in range(0, len(chosen), TOGETHER):
        lab.progress.report("writing", begin, len(chosen))
        part = chosen[begin : begin + TOGETHER]
        found = side_by_side(language_model, vector, part, strength, n, controls=controls, seed=seed)
        for index, column in enumerate(texts):
            column += [text.text for text in found.column(index)]
        if len(texts[0]) > 1:
            lab.progress.publish(payload)
    return payload()


def _controls(
    directions: Directions, layer: int, seed: int, random: int, shuffled: int
) -> tuple[list[SteeringVector], list[Kind]]:
    """Random directions and, of two texts a side or more, shuffled contrasts, as long as the vector."""
    vector = directions.at(layer)
    controls = [vector.random(seed + i) for i in range(random)]
    kinds: list[Kind] = ["random"] * random
    if min(len(directions.firsts), len(directions.seconds)) > 1:
        controls += [directions.shuffled(layer, seed + i) for i in range(shuffled)]
        kinds += ["shuffled"] * shuffled
    return controls, kinds
