"""What a probe is asked on a page: made sentences, a treebank's words, or the user's own labelled texts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from llm_workings.core.errors import BadInput

if TYPE_CHECKING:
    from llm_workings.probing import Task
    from llm_workings.trace.model import LanguageModel

LABELLED = "labelled"
LONGEST = 200_000  # characters of the user's own texts, or of a treebank

TaskName = Annotated[
    str,
    Field(
        title="Property",
        max_length=80,
        description="What is read off the vectors: number, tense, sentiment, negation or position of made "
        "sentences; 'labelled' for your own texts; with a treebank part_of_speech, number, tense, "
        "dependency_relation, dependency_depth or feature:NAME. Left out: number, or position for a toy "
        "that has no letters for the sentences of the others.",
    ),
]
Sample = Annotated[
    int,
    Field(
        title="Labelled words",
        ge=10,
        le=20_000,
        description="How many labelled words (or texts) to draw; 3 in 10 of the sentences are tested on.",
    ),
]
Seed = Annotated[
    int,
    Field(title="Seed", ge=0, le=2**31 - 1, description="Of the sample, the split and the controls."),
]
Labelled = Annotated[
    str,
    Field(
        title="Your labelled texts",
        max_length=LONGEST,
        description="A line each: a label, a tab (or a |), a text; or a CSV with the columns label and text.",
    ),
]
Treebank = Annotated[
    str,
    Field(
        title="Treebank", max_length=LONGEST, description="Sentences in CoNLL-U, whose words are labelled."
    ),
]


def task_of(model: LanguageModel, name: str, n: int, seed: int, labelled: str, conllu: str) -> Task:
    """The task that a page names.

    Raises:
        BadInput: texts where none are meant or none where some are, and what the readers of texts and
            treebanks refuse, each with its line.
        UnknownName: no such property; suggests the nearest.
    """
    from llm_workings.data.conllu import read_conllu
    from llm_workings.probing import read_labelled, template, treebank
    from llm_workings.probing.tasks import DEPTH, FEATURE, LABELS
    from llm_workings.probing.templates import NAMES, POSITION

    if not name:
        name = NAMES[0] if can_write(model, "The") else POSITION
    if name == LABELLED:
        if not labelled.strip():
            raise BadInput(
                "There are no labelled texts yet.",
                hint="Write a line each: a label, a tab or a |, a text. At least five texts a label.",
            )
        return read_labelled(with_tabs(labelled) + "\n", name=LABELLED)
    if conllu.strip():
        return treebank(read_conllu(conllu + "\n"), name)
    if name not in NAMES and (name in LABELS or name == DEPTH or name.startswith(FEATURE)):
        raise BadInput(
            f"{name!r} is read off a treebank, and there is none.", hint="Choose a CoNLL-U file on the page."
        )
    return template(name, n, seed)


def can_write(model: LanguageModel, text: str) -> bool:
    """Whether the vocabulary has what the text is written with."""
    try:
        model.tokenizer.encode(text)
    except BadInput:  # a letter that the vocabulary has not
        return False
    return True


def with_tabs(text: str) -> str:
    """Lines of label and text with a tab between, where a | stood; a CSV as it is.

    Raises `BadInput` for a first line that is neither.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    first = next(number for number, line in enumerate(lines) if line.strip())
    if "\t" not in lines[first] and "|" not in lines[first]:
        if re.search(r"(^|,)\s*\"?label\"?\s*(,|$)", lines[first]):
            return text
        raise BadInput(
            f"Your texts, line {first + 1}: there is no label before {lines[first].strip()[:60]!r}.",
            hint="A line is a label, a tab or a |, a text: positive | I loved it.",
            given={"line": first + 1},
        )
    return "\n".join(line if "\t" in line else re.sub(r"\s*\|\s*", "\t", line, count=1) for line in lines)
