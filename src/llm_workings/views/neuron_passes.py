"""What the views of neurons read off a text that is run once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from llm_workings.causal.base import Base
from llm_workings.causal.direct_attribution import DirectAttribution, attribute, why_not
from llm_workings.core.errors import BadInput
from llm_workings.models.sites import Site, site
from llm_workings.models.spec import GatedMLP, NoHead, ParallelPreNorm, PostNorm
from llm_workings.neurons.corpus import built_in
from llm_workings.neurons.scan import stored
from llm_workings.neurons.weights import check_neuron, mlp_of, output_rows
from llm_workings.trace.edits import Edit, Replace, Where, Zero

from .lab import token_of
from .parts import Guess, Token
from .passes import answered, best_of

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel

    from .lab import Lab

GUESSES = 5
Sort = Literal["share", "writes", "activation", "z"]


# --- the answer --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Target:
    """Where the model answers, and which logit is followed; None where it answers nothing."""

    position: int | None
    answer: Token | None
    wrong: Token | None
    logit: float | None
    guesses: list[Guess]


def target_of(base: Base, answer: str | None, wrong: str | None) -> Target:
    """The answer that is followed: the one given, or the model's own best.

    Raises `BadInput` for an answer that is not one token, with how it splits, and for two equal ones.
    """
    model = base.model
    position = None if isinstance(model.spec.head, NoHead) else answered(model, base.tokens)
    if position is None:
        return Target(None, None, None, None, [])
    logits = base.logits[position]
    right = int(logits.argmax()) if answer is None else model.token(answer)
    other = None if wrong is None else model.token(wrong)
    if other == right:
        raise BadInput(
            f"The right and the wrong answer are the same token: {token_of(model, right).text!r}.",
            hint="Give another wrong answer, or none.",
            given={"answer": answer, "wrong": wrong},
        )
    return Target(
        position,
        token_of(model, right),
        None if other is None else token_of(model, other),
        _followed(logits, right, other),
        best_of(model, logits, most=GUESSES),
    )


def _followed(logits: Tensor, right: int, wrong: int | None) -> float:
    return float(logits[right].double() - (0 if wrong is None else logits[wrong].double()))


def shares_of(base: Base, target: Target) -> tuple[DirectAttribution | None, str]:
    """The answer's logit taken apart, or why it is no sum."""
    if reason := why_not(base.model):
        return None, reason
    if target.position is None or target.answer is None:
        return None, f"The text has no {base.model.tokenizer.mask_id}: there is no answer."
    wrong = () if target.wrong is None else target.wrong.id
    return attribute(base, right=target.answer.id, wrong=wrong, position=target.position), ""


# --- the neurons that matter -------------------------------------------------------------------------
@dataclass(frozen=True)
class Ranked:
    """What the MLP view shows; arrays as in its payload."""

    ids: list[int]
    width: int
    norms: np.ndarray
    relative: np.ndarray
    shares: np.ndarray
    target: Target
    why_no_share: str
    sort: Sort
    layer: int | None
    position: int | None
    listed: list[tuple[int, int]]
    history: np.ndarray
    share: np.ndarray
    write: np.ndarray
    z: np.ndarray
    scanned: list[int]
    first_left_out: bool


def ranked(
    lab: Lab,
    name: str,
    prompt: str,
    answer: str | None,
    wrong: str | None,
    sort: Sort,
    layer: int | None,
    position: int | None,
    most: int,
    *,
    every: bool = False,
) -> Ranked:
    """What the MLPs write at each token, and the `most` neurons that come first.

    `every` reads all layers, also where only the neurons of one are listed.
    """
    model = lab.model(name)
    spec, width = model.spec, mlp_of(model.spec, name).width
    if layer is not None:
        check_neuron(model, layer)
    base = lab.base(name, prompt)
    if position is not None and position >= base.n:
        raise BadInput(
            f"There is no position {position}: the text has positions 0 to {base.n - 1}.",
            hint=f"Take {base.n - 1}, the last.",
            given={"position": position, "tokens": base.n},
        )
    target = target_of(base, answer, wrong)
    apart, reason = shares_of(base, target)
    if sort == "share" and apart is None:
        sort = "writes"
    by_neuron = None if apart is None else apart.by_neuron.float()  # [layer, neuron]
    first = int(spec.causal and base.n > 1 and position is None)  # what stands at the first token is a sink
    seen = slice(first, base.n) if position is None else slice(position, position + 1)

    norms = np.zeros((spec.n_layers, base.n), np.float32)
    relative = np.zeros_like(norms)
    means, deviations, scanned = _known(model, width)
    rows: list[dict[str, Any]] = []
    for at in range(spec.n_layers):
        lab.progress.report("reading the MLPs", at, spec.n_layers)
        if layer is not None and at != layer and not every:
            continue
        post, out, before = _layer(base, at)
        norms[at] = out.norm(dim=-1).cpu()
        relative[at] = (out.norm(dim=-1) / before.norm(dim=-1).clamp(min=1e-12)).cpu()
        if layer is not None and at != layer:
            continue
        largest = post[seen].abs().max(0)
        value = post[seen].gather(0, largest.indices[None])[0]
        found = {
            "share": torch.full_like(value, torch.nan) if by_neuron is None else by_neuron[at].to(value),
            "writes": largest.values * output_rows(model, at).norm(dim=1),
            "activation": largest.values,
            "z": (value - means[at].to(value)) / deviations[at].to(value),
        }
        order = found[sort].abs().nan_to_num(-1.0).topk(min(most, width)).indices
        rows += [
            {"at": (at, i), "history": post[:, i].cpu(), **{key: float(v[i]) for key, v in found.items()}}
            for i in order.tolist()
            if not np.isnan(float(found[sort][i]))
        ]
    base.release()
    rows = sorted(rows, key=lambda row: -abs(row[sort]))[:most]

    def column(key: str) -> np.ndarray:
        return np.array([row[key] for row in rows], np.float32)

    return Ranked(
        base.tokens,
        width,
        norms,
        relative,
        _of_layers(apart, spec.n_layers),
        target,
        reason,
        sort,
        layer,
        position,
        [row["at"] for row in rows],
        np.stack([row["history"].numpy() for row in rows]) if rows else np.zeros((0, base.n)),
        column("share"),
        column("writes"),
        column("z"),
        scanned,
        bool(first),
    )


def _layer(base: Base, layer: int) -> tuple[Tensor, Tensor, Tensor]:
    """A layer's neurons, what it writes, and the stream that it is added to: `[position, ...]` each."""
    spec = base.spec
    before = site("resid_mid", layer)
    if isinstance(spec.block, ParallelPreNorm):
        before = site("resid_pre", layer)
    elif isinstance(spec.block, PostNorm):
        before = site("ln1", layer)
    places: list[Site] = [site("mlp_post", layer), site("mlp_out", layer), before]
    base.hold(places)
    found = [base.value(place)[0].float() for place in places]
    base.release()
    return found[0], found[1], found[2]


def _of_layers(apart: DirectAttribution | None, n_layers: int) -> np.ndarray:
    if apart is None:
        return np.full(n_layers, np.nan, np.float32)
    terms = apart.terms()
    return np.array([terms[f"mlp.{layer}"] for layer in range(n_layers)], np.float32)


def _known(model: LanguageModel, width: int) -> tuple[Tensor, Tensor, list[int]]:
    """Means and standard deviations over the built-in corpus, `[layer, neuron]`; NaN where not read."""
    means = torch.full((model.spec.n_layers, width), torch.nan)
    spreads = means.clone()
    found = stored(model, built_in())
    for layer, scan in found.items():
        means[layer] = torch.from_numpy(scan.mean)
        spreads[layer] = torch.from_numpy(scan.spread)
    spreads[spreads == 0] = torch.nan
    return means, spreads, sorted(found)


# --- one neuron --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class OnText:
    """One neuron along a text: `[position]` arrays, `linear` None where nothing is gated."""

    pre: np.ndarray
    linear: np.ndarray | None
    post: np.ndarray


def along(base: Base, layer: int, neuron: int) -> OnText:
    """The neuron before and after its activation function."""
    names = ["mlp_pre", "mlp_post", *(["mlp_pre_linear"] if isinstance(base.spec.mlp, GatedMLP) else [])]
    base.hold([site(name, layer) for name in names])
    pre, post, *linear = (base.value(site(name, layer))[0, :, neuron].float().cpu().numpy() for name in names)
    base.release()
    return OnText(pre, linear[0] if linear else None, post)


@dataclass(frozen=True)
class Ablated:
    """The answer without a neuron, everywhere in the text."""

    value: float
    logit: float
    divergence: float
    guesses: list[Guess]


def without(base: Base, layer: int, neuron: int, target: Target, value: float) -> Ablated:
    """The answer when the neuron's activation is `value` at every position.

    `divergence` is KL(as it is || without), in nats.
    """
    assert target.position is not None
    assert target.answer is not None
    how = Zero() if value == 0 else Replace([[[value]]])
    edit = Edit(site("mlp_post", layer), Where(units=neuron), how)
    run = base.model.run(resume=base.run.at(layer), edits=[edit], logits=[target.position])
    after, before = run.logits[0, 0], base.logits[target.position]
    p, q = before.double().log_softmax(0), after.double().log_softmax(0)
    wrong = None if target.wrong is None else target.wrong.id
    return Ablated(
        value,
        _followed(after, target.answer.id, wrong),
        float((p.exp() * (p - q)).sum().clamp(min=0)),
        best_of(base.model, after, most=GUESSES, also=[target.answer.id]),
    )
