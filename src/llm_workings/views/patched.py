"""One cell of the patching picture: what the patched model answers, and how it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal
from weakref import WeakKeyDictionary

from pydantic import Field

from llm_workings.core.errors import BadInput
from llm_workings.core.wire import Payload
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import Layer, ModelName, Prompt, view
from .lab import Lab
from .pairs import SHOWN, Answer, At, Corrupted, Direction, Measured, Wrong, pose
from .parts import Guess, ModelCard, Token, percent, quoted

if TYPE_CHECKING:
    from llm_workings.causal.base import Base

    from .pairs import Posed

RunName = Literal["clean", "corrupted", "patched"]
Site = Annotated[
    Literal[
        "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out",
        "z", "q", "k", "v", "pattern", "mlp_post",
    ],
    Field(title="What is patched", description="A site of the layer."),
]  # fmt: skip
Unit = Annotated[
    int | None,
    Field(title="Head or neuron", ge=0, description="Which one of the site; left out, all of it."),
]
Where = Annotated[
    int | None,
    Field(title="Position", ge=0, description="Which token; left out, all of them."),
]
Length = Annotated[
    int, Field(title="Tokens to write", ge=1, le=60, description="How many tokens each run goes on for.")
]
_WRITTEN: WeakKeyDictionary[Base, dict[int, list[int]]] = WeakKeyDictionary()


class RunAnswer(Payload):
    """What one of the three runs answers."""

    run: RunName
    value: float
    """Its metric."""
    guesses: list[Guess]
    """The best, and how the two answers stand; best first."""
    written: list[Token]
    """How it goes on, taking its best guess each time; empty for a model that reads both ways."""


class PatchedAnswer(Payload):
    """One patch: the answer and the continuation of the clean, the corrupted and the patched run."""

    model: ModelCard
    kind: str
    layer: int
    unit: int | None
    """The head (of keys and values: the key-value head) or neuron; None where all are patched."""
    where: int | None
    """The position; None where all are patched."""
    direction: Literal["denoising", "noising"]
    metric: str
    unit_of_metric: str
    answer: Token
    wrong: Token
    normalized: float | None
    """0 as in the corrupted run, 1 as in the clean one; None where the two score the same."""
    runs: list[RunAnswer]

    def reading(self) -> str:
        """The three answers in words."""
        said = "; ".join(
            f"{one.run} {quoted(one.guesses[0].token)} ({percent(one.guesses[0].probability)})"
            + (f", going on {''.join(token.text for token in one.written)!r}" if one.written else "")
            for one in self.runs
        )
        name = f"{self.kind}.{self.layer}" + ("" if self.unit is None else f", {self.unit}")
        at = "" if self.where is None else f" at position {self.where}"
        return f"{self.direction} of {name}{at}. {self.metric} {self.runs[-1].value:.3g}. {said}."


@view
def patched_answer(
    lab: Lab,
    prompt: Prompt,
    layer: Layer,
    model: ModelName = DEFAULT_MODEL,
    corrupted: Corrupted = None,
    answer: Answer = None,
    wrong: Wrong = None,
    kind: Site = "resid_pre",
    unit: Unit = None,
    where: Where = None,
    direction: Direction = "denoising",
    metric: Measured = "logit_difference",
    at: At = None,
    length: Length = 12,
) -> PatchedAnswer:
    """What the patched model says.

    One patch in full: the answer of the clean, the corrupted and the patched run, and how each of them goes
    on when it takes its best guess again and again. The patch is made at its place in the prompt, and holds
    while the model writes; what is written is not patched.

    What this cannot tell you: whether another patch would have led to the same words. A continuation follows
    from its first token more than from the patch.
    """
    import torch

    from llm_workings.causal.patching import axes_of, layered_site, patch_of, sizes_of
    from llm_workings.causal.sweep import measure_base, sweep
    from llm_workings.models.sites import select, site
    from llm_workings.trace.edits import Edit

    from .passes import best_of

    posed = pose(lab, model, prompt, corrupted, answer, wrong, metric, at)
    pair = posed.pair
    into, source = (pair.corrupted, pair.clean) if direction == "denoising" else (pair.clean, pair.corrupted)
    place = layered_site(pair.model, kind)
    select(pair.model.spec, f"{kind}.{layer}")
    picked: dict[Any, int] = {} if where is None else {"position": where}
    counted = _check(kind, unit, where, into.n, sizes_of(pair.model, kind))
    if unit is not None and counted is not None:
        picked[counted] = unit
    axes_of(place, tuple(picked))
    edit = patch_of(source, site(kind, layer), picked)
    # The prompt's positions by name: what is written after them has no value to take from the other run.
    spot = edit.where.positions or tuple(range(into.n))
    edit = Edit(edit.site, edit.where.model_copy(update={"positions": spot}), edit.how)
    value = float(sweep(into, [edit], posed.metric, progress=lab.progress)[0])
    with torch.no_grad():
        logits = pair.model.run(into.tokens, edits=[edit], progress=lab.progress).logits[0, posed.position]
    span = (clean := measure_base(pair.clean, posed.metric)) - (
        worst := measure_base(pair.corrupted, posed.metric)
    )
    answers = (posed.answer, posed.wrong)
    parts: list[tuple[RunName, float, Any, Base, Any]] = [
        ("clean", clean, pair.clean.logits[posed.position], pair.clean, None),
        ("corrupted", worst, pair.corrupted.logits[posed.position], pair.corrupted, None),
        ("patched", value, logits, into, edit),
    ]
    runs = [
        RunAnswer(
            run=name,
            value=found,
            guesses=best_of(pair.model, scores, most=SHOWN, also=answers),
            written=lab.tokens(pair.model, _written(lab, posed, base, length, edits)),
        )
        for name, found, scores, base, edits in parts
    ]
    return PatchedAnswer(
        model=lab.card(pair.model),
        kind=kind,
        layer=layer,
        unit=unit,
        where=where,
        direction=direction,
        metric=posed.metric.name,
        unit_of_metric=posed.metric.unit,
        answer=lab.tokens(pair.model, [posed.answer])[0],
        wrong=lab.tokens(pair.model, [posed.wrong])[0],
        normalized=(value - worst) / span if abs(span) > 1e-12 * max(abs(clean), abs(worst), 1.0) else None,
        runs=runs,
    )


def _check(
    kind: str, unit: int | None, where: int | None, n: int, sizes: dict[str, int]
) -> Literal["head", "neuron"] | None:
    """Which axis `unit` counts. Raises `BadInput` for a head, neuron or position that is not there."""
    from llm_workings.models.sites import KINDS

    if where is not None and where >= n:
        raise BadInput(
            f"There is no position {where}: the text has positions 0 to {n - 1}.", given={"where": where}
        )
    axes = KINDS[kind].axes
    counted: Literal["head", "neuron"] | None = "neuron" if "neuron" in axes else None
    if "head" in axes or "key_value_head" in axes:
        counted = "head"
    if unit is None or counted is None:
        if unit is not None:
            raise BadInput(
                f"{kind} has neither heads nor neurons.", hint="Leave unit out.", given={"unit": unit}
            )
        return counted
    if unit >= sizes[counted]:
        raise BadInput(
            f"There is no {counted} {unit} of {kind}: a layer has {counted}s 0 to {sizes[counted] - 1}.",
            given={"unit": unit},
        )
    return counted


def _written(lab: Lab, posed: Posed, base: Base, length: int, edit: Any) -> list[int]:
    """How a run goes on; of an unpatched one, remembered as long as its base is."""
    from llm_workings.models.spec import NextTokenHead

    model = posed.pair.model
    if not model.spec.causal or not isinstance(model.spec.head, NextTokenHead):
        return []
    known = _WRITTEN.setdefault(base, {}) if edit is None else {}
    if length not in known:
        room = min(length, model.spec.n_ctx - base.n)
        edits = [] if edit is None else [edit]
        # One by one, not as a text: a padded vocabulary has tokens that no text can be made of.
        writing = model.stream(base.tokens, room, edits=edits, progress=lab.progress) if room > 0 else ()
        known[length] = [guess.token for guess in writing]
    return known[length]
