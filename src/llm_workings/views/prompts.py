"""The prompts view: drawn pairs of a family, and how the model answers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from llm_workings.core.errors import BadInput
from llm_workings.core.wire import Payload
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import ModelName, view
from .lab import Lab
from .pairs import check_answers
from .parts import ModelCard, Token

if TYPE_CHECKING:
    from llm_workings.data.families import Family, PromptPair
    from llm_workings.models.tokens import Tokenizer

FamilyName = Annotated[
    str | None,
    Field(
        title="Family",
        min_length=1,
        max_length=60,
        description="ioi, repeated, facts, greater_than, agreement, pronouns or docstring. Left out, it is "
        "the first of them that the model's vocabulary can write.",
    ),
]
Count = Annotated[int, Field(title="Pairs", ge=1, le=200, description="How many pairs to draw.")]
Seed = Annotated[int, Field(title="Seed", ge=0, description="Which ones: the same seed draws the same.")]
Options = Annotated[
    dict[str, str | int],
    Field(
        title="Options",
        max_length=20,
        description="Of the family, those not to be as usual, such as {'corruption': 'abc'}.",
    ),
]


class Place(Payload):
    """A named stretch of both texts, in token positions."""

    name: str
    positions: list[int]


class DrawnPair(Payload):
    """Two texts, their answers, and how the model tells them apart."""

    variant: str
    clean_text: str
    corrupted_text: str
    clean: list[Token]
    corrupted: list[Token]
    differs: list[int]
    right: str
    wrong: str
    places: list[Place]
    clean_difference: float | None
    """logit(right) − logit(wrong) after the clean text; None where the model answers nothing there."""
    corrupted_difference: float | None


class FamilyOption(Payload):
    """Something that can be chosen of a family."""

    name: str
    about: str
    choices: list[str]
    """Empty for a number."""
    default: str
    least: int
    most: int


class FamilyCard(Payload):
    """A family of prompts in words."""

    name: str
    title: str
    about: str
    source: str
    options: list[FamilyOption]


class Prompts(Payload):
    """Drawn pairs of a family."""

    model: ModelCard
    family: FamilyCard
    families: list[FamilyCard]
    seed: int
    options: dict[str, str]
    pairs: list[DrawnPair]
    total: int
    """How many pairs there will be."""
    right_preferred: int
    """After how many of the clean texts the right answer has the larger logit."""
    measured: int
    """Of how many pairs the answers are known."""

    def subject(self) -> str:
        """What a title calls it."""
        return self.family.title

    def reading(self) -> str:
        """The table in two sentences."""
        first = self.pairs[0]
        said = (
            f"{self.family.title}: {len(self.pairs)} pairs of seed {self.seed}. The first is "
            f"{first.clean_text!r}, answered {first.right!r}, and {first.corrupted_text!r}."
        )
        if self.measured:
            count = f"{self.right_preferred} of {self.measured}"
            said += f" {self.model.title} prefers the right answer after {count}."
        return said


@view
def prompts(
    lab: Lab,
    family: FamilyName = None,
    model: ModelName = DEFAULT_MODEL,
    n: Count = 12,
    seed: Seed = 0,
    options: Options = {},  # noqa: B006 (pydantic copies it)
) -> Prompts:
    """Prompt families.

    Pairs of texts that differ in one thing, drawn by seed for this model's tokenizer: equally many tokens,
    answers of one token each. Every row opens in patching. Beside each stands what the model makes of it:
    logit(right) − logit(wrong), after the clean and after the corrupted text.

    What this cannot tell you: how the model does on other wordings. A family is a few templates, and a model
    may have the form without the matter; the source says what the family was made for.
    """
    from llm_workings.data.families import FAMILIES, check_alignment

    loaded = lab.model(model)
    chosen, drawn = _drawn(loaded.tokenizer, family, n, seed, options)
    rows: list[DrawnPair] = []

    def table() -> Prompts:
        known = [row.clean_difference for row in rows if row.clean_difference is not None]
        return Prompts(
            model=lab.card(loaded),
            family=_card(chosen),
            families=[_card(each) for each in FAMILIES.values()],
            seed=seed,
            options={name: str(value) for name, value in options.items()},
            pairs=list(rows),
            total=len(drawn),
            right_preferred=sum(value > 0 for value in known),
            measured=len(known),
        )

    for number, pair in enumerate(drawn):
        lab.progress.report("reading the pairs", number, len(drawn))
        ids, others = loaded.tokenizer.encode(pair.clean), loaded.tokenizer.encode(pair.corrupted)
        rows.append(
            DrawnPair(
                variant=pair.variant,
                clean_text=pair.clean,
                corrupted_text=pair.corrupted,
                clean=lab.tokens(loaded, ids),
                corrupted=lab.tokens(loaded, others),
                differs=list(check_alignment(loaded.tokenizer, pair.clean, pair.corrupted)),
                right=pair.right,
                wrong=pair.wrong,
                places=[
                    Place(name=name, positions=list(positions))
                    for name, positions in pair.positions(loaded.tokenizer).items()
                ],
                clean_difference=_difference(loaded, ids, pair.right, pair.wrong),
                corrupted_difference=_difference(loaded, others, pair.right, pair.wrong),
            )
        )
        lab.progress.publish(table)
    return table()


def _drawn(
    tokenizer: Tokenizer, name: str | None, n: int, seed: int, options: dict[str, str | int]
) -> tuple[Family, list[PromptPair]]:
    """Pairs of the family called `name`, or of the first that can be drawn. Raises as the first does."""
    from llm_workings.data.families import FAMILIES, family_of

    trouble: BadInput | None = None
    for family in FAMILIES.values() if name is None else [family_of(name)]:
        try:
            return family, list(family.make(tokenizer, n, seed, **options))
        except BadInput as error:
            trouble = trouble or error
    assert trouble is not None
    raise trouble


def _difference(model: object, ids: list[int], right: str, wrong: str) -> float | None:
    """logit(right) − logit(wrong) after a text, where the model predicts what comes next."""
    from llm_workings.core.errors import NotSupported
    from llm_workings.trace.model import LanguageModel

    assert isinstance(model, LanguageModel)
    if not model.spec.causal:
        return None
    try:
        check_answers(model)
    except NotSupported:
        return None
    logits = model.run(ids, logits="last").logits[0, -1]
    return float(logits[model.token(right)] - logits[model.token(wrong)])


def _card(family: object) -> FamilyCard:
    from llm_workings.data.families import Family

    assert isinstance(family, Family)
    return FamilyCard(
        name=family.name,
        title=family.title,
        about=family.about,
        source=family.source,
        options=[
            FamilyOption(
                name=name,
                about=option.about,
                choices=list(option.choices),
                default=str(option.default),
                least=option.least,
                most=option.most,
            )
            for name, option in family.options.items()
        ],
    )
