"""Passes of a model through a text, and what the views read off them.

A `Pass` keeps the residual stream at its stops and the answers of a few positions. That is little
(at 512 tokens SmolLM2's patterns are 283 MB, its streams 37 MB), and one layer's attention comes back
from it by running that layer alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import torch
from torch import Tensor

from llm_workings.core.errors import BadInput, NotSupported
from llm_workings.models.sites import site, stream_of
from llm_workings.models.spec import NoHead
from llm_workings.models.transformer import Block
from llm_workings.trace.edits import AnyEdit, FunctionEdit, ablate_head
from llm_workings.trace.prompt import read_prompt
from llm_workings.trace.run import Run

from .parts import Guess, HeadRef

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel

    from .lab import Lab

COMPARED = 64  # positions whose logits a pass keeps
CHUNK_BYTES = 96 * 2**20  # for the logits of one chunk of positions and what is computed from them
See = Callable[[list[int], np.ndarray], None]


@dataclass(frozen=True)
class LayerAttention:
    """One layer's attention in the open, float32.

    `scores` and `pattern` are `[head, query, key]`, `values` `[key, key_value_head, d_head]` and `norms`
    `[head, key]`, the length of what a head would write of each key at a weight of 1, |v W_O|.
    """

    layer: int
    scores: np.ndarray
    pattern: np.ndarray
    values: np.ndarray
    norms: np.ndarray

    @property
    def bytes(self) -> int:
        return self.scores.nbytes + self.pattern.nbytes + self.values.nbytes + self.norms.nbytes


@dataclass
class Pass:
    """One forward of one text.

    `run` holds the stream at each of its stops and the logits of the last positions (and of the
    answered one); `opened` the attention of the layer that was last looked into.
    """

    model: LanguageModel
    ids: list[int]
    run: Run
    opened: LayerAttention | None = field(default=None, repr=False)

    @property
    def bytes(self) -> int:
        kept = sum(value.numel() * value.element_size() for value in self.run.kept.values())
        return kept + (self.opened.bytes if self.opened else 0)


def run(
    lab: Lab,
    model: LanguageModel,
    prompt: str,
    ablate: Sequence[HeadRef] = (),
    ablation: Literal["zero", "mean"] = "zero",
    see: See | None = None,
) -> Pass:
    """Run a text, with heads ablated at their z; `see(ids, pattern)` is shown each layer's pattern,
    `[head, query, key]` float32, as it is computed.

    Raises:
        BadInput: a head that the model does not have, an empty prompt.
        TooLarge: a text past the model's context, or past the memory.
    """
    spec = model.spec
    heads = sorted({(ref.layer, ref.head) for ref in ablate})
    for layer, head in heads:
        check_head(model, layer, head)
    edits: list[AnyEdit] = [ablate_head(layer, head, ablation) for layer, head in heads]
    ids = read_prompt(model, prompt).tokens[0].tolist()
    if see is not None:
        shown = see

        def look(pattern: Tensor) -> Tensor:
            shown(ids, _array(pattern[0]))
            return pattern

        edits += [FunctionEdit(site("pattern", layer), look) for layer in range(spec.n_layers)]
    scored: list[int] | bool = False
    if not isinstance(spec.head, NoHead):
        place = answered(model, ids)
        tail = range(max(0, len(ids) - COMPARED), len(ids))
        scored = sorted({*tail, place}) if place is not None else list(tail)
    done = model.run(ids, keep=stream_of(spec), edits=edits, logits=scored, progress=lab.progress)
    return Pass(model, ids, done)


def run_with_patterns(
    lab: Lab, name: str, prompt: str, ablate: list[HeadRef], ablation: Literal["zero", "mean"], see: See
) -> Pass:
    """`run`, shown every pattern; the lab keeps the pass for what is asked about it next."""
    done = run(lab, lab.model(name), prompt, ablate, ablation, see)
    lab.remember(name, prompt, ablate, ablation, done)
    return done


# --- what can be asked -------------------------------------------------------------------------
def check_head(model: LanguageModel, layer: int, head: int) -> None:
    """Raises `BadInput`, saying what there is, for a head that the model does not have."""
    spec = model.spec
    for what, index, count in (("layer", layer, spec.n_layers), ("head", head, spec.attention.n_heads)):
        if not 0 <= index < count:
            raise BadInput(
                f"There is no head {layer}.{head}: {model.name} has {what}s 0 to {count - 1}.",
                hint=f"Take {what} {min(max(index, 0), count - 1)}.",
                given={"layer": layer, "head": head},
            )


def check_position(done: Pass, position: int, what: str) -> None:
    """Raises `BadInput` for a position that the text does not have."""
    check_index(len(done.ids), position, what)


def check_index(n: int, position: int, what: str) -> None:
    """Raises `BadInput` for a position that a text of `n` tokens does not have."""
    if not 0 <= position < n:
        raise BadInput(
            f"There is no {what} {position}: the text has positions 0 to {n - 1}.",
            hint=f"Take {n - 1}, the last.",
            given={what: position, "tokens": n},
        )


# --- answers -----------------------------------------------------------------------------------
def answer_position(done: Pass) -> int | None:
    """Where the answer is shown: the last position, or a masked-language model's first mask.

    None for a model without a head, and for a text without a mask.
    """
    return None if isinstance(done.model.spec.head, NoHead) else answered(done.model, done.ids)


def answered(model: LanguageModel, ids: list[int]) -> int | None:
    """Where a model with a head answers: the last position, or the first mask; None without a mask."""
    if model.spec.causal:
        return len(ids) - 1
    mask = model.tokenizer.mask_id
    return ids.index(mask) if mask in ids else None


def guesses(done: Pass, position: int, *, most: int, also: Sequence[int] = ()) -> list[Guess]:
    """The `most` best tokens at a position, and how those of `also` stand; best first."""
    return best_of(done.model, done.run.logits[0, done.run.scored.index(position)], most=most, also=also)


def best_of(model: LanguageModel, logits: Tensor, *, most: int, also: Sequence[int] = ()) -> list[Guess]:
    """The `most` best tokens of `logits`, `[vocabulary]`, and how those of `also` stand; best first."""
    from .lab import token_of

    logits = logits.double()
    total = logits.logsumexp(0)
    chosen = dict.fromkeys([*logits.topk(min(most, len(logits))).indices.tolist(), *also])
    found = [
        Guess(
            token=token_of(model, index),
            probability=float((logits[index] - total).exp()),
            logit=float(logits[index]),
            rank=int((logits > logits[index]).sum()),
        )
        for index in chosen
    ]
    return sorted(found, key=lambda guess: guess.rank)


# --- attention ---------------------------------------------------------------------------------
def layer_attention(done: Pass, layer: int) -> LayerAttention:
    """A layer's raw scores, patterns and values.

    Only that layer is run, from the pass's own stream: an ablation above it cannot reach it, one
    below it is in the stream, and one in it changes z, after the pattern.
    """
    if done.opened is None or done.opened.layer != layer:
        names = [site("scores", layer), site("pattern", layer), site("v", layer)]
        again = done.model.run(resume=done.run.at(layer), keep=names, stop=layer + 1)
        scores, pattern, values = (again[name][0] for name in names)
        done.opened = LayerAttention(
            layer,
            _array(scores),
            _array(pattern),
            _array(values),
            _array(_written(done.model, layer, values)),
        )
    return done.opened


def _written(model: LanguageModel, layer: int, values: Tensor) -> Tensor:
    """|v W_O| of each head and key, `[head, key]`, of `values`, `[key, key_value_head, d_head]`."""
    w_o = cast(Block, model.transformer.blocks[layer]).attention.w_o.detach()
    shared = len(w_o) // values.shape[1]
    return torch.stack([(values[:, head // shared] @ w_o[head]).norm(dim=-1) for head in range(len(w_o))])


# --- the lens ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Lens:
    """What the unembedding makes of the stream: arrays `[stop, position]`; `best` are token ids."""

    stops: list[str]
    best: np.ndarray
    probability: np.ndarray
    entropy: np.ndarray
    chosen: int
    chosen_probability: np.ndarray
    chosen_rank: np.ndarray
    following: np.ndarray
    loss: np.ndarray
    final_error: float
    compared: int


def read_through(lab: Lab, done: Pass, chosen: str | None) -> Lens:
    """Read every stop of a pass through the model's own final norm and head.

    Positions are taken in chunks, so that logits never take more than about `CHUNK_BYTES`.

    Raises:
        NotSupported: the model has no head to read through.
        BadInput: `chosen` is not one token; its pieces are listed.
    """
    model, n = done.model, len(done.ids)
    if isinstance(model.spec.head, NoHead):
        raise NotSupported(
            f"{model.name} is an encoder without a language-model head: there is nothing to read its "
            "residual stream through.",
            hint="Its attention heads can be shown; for the lens take a model that answers.",
            given={"model": model.name},
        )
    own, scored = done.run.logits[0].float(), list(done.run.scored)
    if chosen is None:
        position = answered(model, done.ids)
        followed = int(own[scored.index(n - 1 if position is None else position)].argmax())
    else:
        followed = model.token(chosen)
    if model.spec.causal:
        following = torch.tensor([*done.ids[1:], -1])
    else:
        following = torch.tensor([-1 if index == model.tokenizer.mask_id else index for index in done.ids])
    truth = following.to(model.device).clamp(min=0)[:, None]
    stops = stream_of(model.spec)
    step = max(1, CHUNK_BYTES // (4 * 4 * model.spec.vocab_size))
    found: dict[str, list[Tensor]] = {name: [] for name in ("best", "p", "entropy", "loss", "chosen", "rank")}
    error = 0.0
    with torch.inference_mode():
        for number, stop in enumerate(stops):
            stream = done.run[stop]
            for begin in range(0, n, step):
                lab.progress.report("reading the residual stream", number * n + begin, len(stops) * n)
                logits = model.transformer.read_out(stream[:, begin : begin + step])[0].float()
                if stop == stops[-1]:
                    both = [(p - begin, i) for i, p in enumerate(scored) if begin <= p < begin + step]
                    for here, there in both:
                        error = max(error, float((logits[here] - own[there]).abs().max()))
                target = logits[:, followed, None]
                found["rank"].append((logits > target).sum(-1))
                best = logits.max(-1)
                found["best"].append(best.indices)
                total = logits.logsumexp(-1)
                found["p"].append((best.values - total).exp())
                found["chosen"].append((target[:, 0] - total).exp())
                logits -= total[:, None]  # log p
                found["loss"].append(-logits.gather(1, truth[begin : begin + step])[:, 0])
                found["entropy"].append(-(logits.exp() * logits).sum(-1))
    grid = {name: torch.cat(parts).reshape(len(stops), n).cpu().numpy() for name, parts in found.items()}
    grid["loss"][:, following.numpy() < 0] = np.nan
    return Lens(
        stops=[str(stop) for stop in stops],
        best=grid["best"],
        probability=grid["p"],
        entropy=grid["entropy"],
        chosen=followed,
        chosen_probability=grid["chosen"],
        chosen_rank=grid["rank"],
        following=following.numpy(),
        loss=grid["loss"],
        final_error=error,
        compared=len(scored),
    )


def _array(value: Tensor) -> np.ndarray:
    return value.detach().float().cpu().numpy()
