"""The answer with one stop of the residual stream ablated, or patched from another text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from llm_workings.core.errors import BadInput, unknown
from llm_workings.core.wire import Payload
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import ModelName, Position, Prompt, view
from .lab import Lab
from .parts import Guess, ModelCard, Token, percent, quoted
from .residual import Answer, StreamStop, Wrong

if TYPE_CHECKING:
    from llm_workings.causal.base import Base
    from llm_workings.causal.stream import Stop
    from llm_workings.trace.edits import Edit

SHOWN = 5  # guesses
StopName = Annotated[
    str,
    Field(title="Stop", description="What adds to the stream there: embed, or attention.3, mlp.3 by layer."),
]
How = Annotated[
    Literal["zero", "mean", "patch"],
    Field(
        title="Edit",
        description="What stands in place of what the stop adds: nothing, its own mean over the positions of "
        "this text, or what it adds in the other text.",
    ),
]
Where = Annotated[
    Position | None,
    Field(title="Position", description="The token at which it is replaced, from 0. Left out, all tokens."),
]
Other = Annotated[
    str | None,
    Field(
        title="Other text",
        min_length=1,
        max_length=200_000,
        description="The text to patch from. It must have as many tokens as the text itself.",
    ),
]


class ResidualEdit(Payload):
    """What the model answers before and after a stop is edited."""

    model: ModelCard
    tokens: list[Token]
    stop: StreamStop
    how: Literal["zero", "mean", "patch"]
    position: int | None
    """Where it is edited; None for all positions."""
    answer_position: int
    """Where the answer is read."""
    before: list[Guess]
    after: list[Guess]
    """The best of both runs and the two answers, in each list, best first."""
    what: str
    """`logit of ' Mary'`, or `logit difference ' Mary' − ' John'`."""
    value_before: float
    value_after: float

    def reading(self) -> str:
        """The picture in a few sentences, for a terminal or a screen reader."""
        where = "at every position" if self.position is None else f"at position {self.position}"
        done = {"zero": "set to zero", "mean": "set to its mean", "patch": "taken from the other text"}[
            self.how
        ]
        first, was = self.after[0], self.before[0]
        return (
            f"With what {self.stop.name} adds {where} {done}, {self.model.title} says {quoted(first.token)} "
            f"({percent(first.probability)}); before, {quoted(was.token)} ({percent(was.probability)}). "
            f"The {self.what} goes from {self.value_before:.3g} to {self.value_after:.3g}."
        )


@view
def residual_edit(
    lab: Lab,
    prompt: Prompt,
    stop: StopName,
    how: How,
    model: ModelName = DEFAULT_MODEL,
    position: Where = None,
    corrupted: Other = None,
    answer: Answer = None,
    wrong: Wrong = None,
) -> ResidualEdit:
    """The answer without a station.

    The model reads the text again with what one attention, MLP or the embedding adds to the stream replaced,
    at one token or at all: by zero, by its mean over the positions of this text, or by what the same station
    adds in another text of as many tokens. All that comes after is computed anew.

    What this cannot tell you: zero is a value that the model never met, and one station's mean still says
    what it usually does. Stations after it may take over its work, so a small change does not say that it
    does nothing.
    """
    from llm_workings.causal.direct_attribution import difference_of, name_of
    from llm_workings.causal.stream import stops_of

    from .passes import best_of, check_index
    from .stream_reading import answers_of, stream_stop

    base = lab.base(model, prompt)
    place, right, other = answers_of(base, answer, wrong)
    if place is None or right is None:
        raise BadInput(
            f"{base.model.name} answers nothing on this text, so there is no answer to watch.",
            hint="Take a model that answers, and write its mask token where a masked one should.",
            given={"model": model},
        )
    if position is not None:
        check_index(base.n, position, "position")
    named = {str(known): known for known in stops_of(base.spec)}
    if stop not in named:
        raise unknown("stop", stop, named)
    edit = edit_of(lab, base, named[stop], how, position, corrupted, model=model, prompt=prompt)
    layer = named[stop].layer or 0
    run = base.model.run(edits=edit, resume=base.run.at(layer), logits=[place], progress=lab.progress)
    was, now = base.logits[place], run.logits[0, 0]
    ids = ([right], [] if other is None else [other])
    also = list(dict.fromkeys([int(was.argmax()), int(now.argmax()), right, *ids[1]]))
    after = best_of(base.model, now, most=SHOWN, also=also)
    shown = [guess.token.id for guess in after]
    return ResidualEdit(
        model=lab.card(base.model),
        tokens=lab.tokens(base.model, base.tokens),
        stop=stream_stop(named[stop]),
        how=how,
        position=position,
        answer_position=place,
        before=best_of(base.model, was, most=1, also=shown),
        after=after,
        what=name_of(base.model, *ids),
        value_before=float(difference_of(was, *ids)),
        value_after=float(difference_of(now, *ids)),
    )


def edit_of(
    lab: Lab,
    base: Base,
    stop: Stop,
    how: str,
    position: int | None,
    corrupted: str | None,
    *,
    model: str,
    prompt: str,
) -> Edit:
    """The edit that a request names.

    Raises `BadInput` for a patch without another text, or with one that does not align.
    """
    from llm_workings.causal.patching import patch_of
    from llm_workings.trace.edits import Edit, Mean, Zero
    from llm_workings.trace.edits import Where as Part

    if how != "patch":
        return Edit(stop.adds, Part(positions=position), Zero() if how == "zero" else Mean())
    if corrupted is None:
        raise BadInput(
            "There is no other text to patch from.",
            hint="Give one of as many tokens as `corrupted`.",
            given={"how": how},
        )
    pair = lab.pair(model, prompt, corrupted)
    return patch_of(pair.corrupted, stop.adds, {} if position is None else {"position": position})
