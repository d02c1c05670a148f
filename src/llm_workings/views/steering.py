"""The steering bench: texts written with a direction added to the stream, without it, and at random."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import ModelName, Prompt, view
from .contrasts import ContrastName, Firsts, Seconds, Seed, SteerLayer, contrast_of, directions_of, layer_of
from .lab import Lab
from .parts import ModelCard, Token

Layers = Annotated[np.ndarray, Tensor("float32", "layer")]
Strength = Annotated[
    float,
    Field(
        title="Strength",
        ge=-20,
        le=20,
        allow_inf_nan=False,
        description="In typical norms of the stream: 1 adds as much as there is; negative steers away.",
    ),
]
Length = Annotated[
    int, Field(title="Tokens", ge=1, le=200, description="How many tokens to write, at the most.")
]
Temperature = Annotated[
    float,
    Field(title="Temperature", ge=0, le=5, description="0 takes the best guess; 1 draws as the model says."),
]


class Written(Payload):
    """One text that was written on."""

    kind: Literal["unsteered", "steered", "random"]
    label: str
    tokens: list[Token]
    text: str
    """Without its prompt."""
    tally: int
    """Words of the first side's lexicon in it, less those of the second's."""
    distinct: float
    """Different pairs of neighbouring tokens as a share of all; NaN of fewer than two tokens."""


class Steering(Payload):
    """Three texts from one prompt and one seed, and the direction at each layer."""

    model: ModelCard
    tokens: list[Token]
    """The prompt's."""
    contrast: Literal["sea", "sentiment", "own"]
    sides: list[str]
    """What the first and the second texts of the contrast are."""
    firsts: int
    """How many texts there are of the first side."""
    seconds: int
    paired: bool
    origin: str
    """How the direction was found."""
    layer: int
    site: str
    strength: float
    typical: float
    """The median norm of the stream there."""
    length: float
    """The norm of the difference as it was found."""
    natural: float
    """The strength at which it is added as long as it was found."""
    n: int
    seed: int
    temperature: float
    naturals: Layers
    """The natural strength at each layer."""
    consistency: Layers
    """Mean cosine of one pair's difference with that of the others; NaN where the texts are no pairs."""
    lexicon: list[list[str]]
    """Words that count for the first and for the second side."""
    written: list[Written]

    def reading(self) -> str:
        """The picture in a few sentences, for a terminal or a screen reader."""
        said = (
            f"{self.model.title}, the direction {self.contrast} ({self.sides[0]} from {self.sides[1]}) "
            f"added after layer {self.layer} at {self.strength:g} typical norms (as it was found: "
            f"{self.natural:.2f}), seed {self.seed}."
        )
        return " ".join(
            [said, *(f"{one.label.capitalize()}: {one.text!r} ({one.tally:+d})." for one in self.written)]
        )


@view
def steering(
    lab: Lab,
    prompt: Prompt,
    model: ModelName = DEFAULT_MODEL,
    contrast: ContrastName = "sea",
    layer: SteerLayer = None,
    strength: Strength = 0.4,
    n: Length = 20,
    seed: Seed = 0,
    temperature: Temperature = 0.0,
    firsts: Firsts = "",
    seconds: Seconds = "",
) -> Steering:
    """Steering bench.

    What does the model write if it is pushed? The direction is what a contrast of texts makes in the
    stream, v = mean of h(first) - mean of h(second), h at each text's last token (contrastive activation
    addition, Rimsky et al. 2024). Added at every position, h + s · t · v/|v|, the strength s is in units
    of t, the median norm of the stream there. Beside it the text without it, and one pushed as far in a
    random direction, all from one seed. Marked are words of the lexicon of each side.

    What this cannot tell you: that the model uses the direction; adding it shows that the stream can be
    pushed along it. That the direction is of the thing named: it is of whatever tells the two sides
    apart. One text is one text: twenty prompts with controls say whether it holds. A random direction
    flatters a vector; shuffled sides are the harder control. What a text is about: the score counts
    words.
    """
    from llm_workings.causal.steered import distinct, side_by_side

    language_model = lab.model(model)
    at = layer_of(language_model, layer)
    made = contrast_of(language_model, contrast, firsts, seconds)
    directions = directions_of(lab, language_model, made)
    vector = directions.at(at)
    found = side_by_side(
        language_model, vector, prompt, strength, n, temperature=temperature, seed=seed, progress=lab.progress
    )
    counts = len(made.firsts), len(made.seconds)
    pairs = made.paired and counts[0] > 1
    kinds: tuple[Literal["unsteered", "steered", "random"], ...] = ("unsteered", "steered", "random")
    labels = ("unsteered", made.name if contrast != "own" else "steered", "a random direction")
    return Steering(
        model=lab.card(language_model),
        tokens=lab.tokens(language_model, language_model.tokenizer.encode(prompt)),
        contrast=contrast,
        sides=list(made.sides),
        firsts=counts[0],
        seconds=counts[1],
        paired=made.paired,
        origin=vector.origin,
        layer=at,
        site=vector.site,
        strength=strength,
        typical=vector.typical,
        length=vector.length,
        natural=vector.natural,
        n=n,
        seed=seed,
        temperature=temperature,
        naturals=directions.natural.cpu().numpy(),
        consistency=directions.consistency.cpu().numpy() if pairs else np.full(len(directions.sites), np.nan),
        lexicon=[sorted(side) for side in made.lexicon],
        written=[
            Written(
                kind=kind,
                label=label,
                tokens=lab.tokens(language_model, list(text.tokens)),
                text=text.text,
                tally=made.tally(text.text),
                distinct=distinct([text]),
            )
            for kind, label, text in zip(kinds, labels, found.texts[0], strict=True)
        ],
    )
