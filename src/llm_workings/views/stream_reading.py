"""What the residual view reads off a run: lengths, angles and shares of every stop, and the lens there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llm_workings.causal.base import Base
from llm_workings.causal.direct_attribution import why_not
from llm_workings.causal.stream import Shares, Stop, additions, stops_of
from llm_workings.core.errors import BadInput, NotSupported
from llm_workings.models.spec import NoHead

from .lab import Lab
from .passes import CHUNK_BYTES, answered, check_index
from .residual import Constant, Standing, StreamLens, StreamShares, StreamStop


def answers_of(
    base: Base, answer: str | None, wrong: str | None
) -> tuple[int | None, int | None, int | None]:
    """Where the model answers, and the ids of the right and of the wrong answer; None for what there is not.

    Without `answer` it is the model's own best where it answers (the last position for lack of a mask).

    Raises:
        BadInput: a text that is not one token, with its pieces; the same token twice.
        NotSupported: an answer asked of a model without a head.
    """
    model = base.model
    if isinstance(base.spec.head, NoHead):
        if answer is not None or wrong is not None:
            raise NotSupported(
                f"{model.name} is an encoder without a language-model head: it gives no token a logit.",
                hint="Leave the answer out, or take a model that answers.",
                given={"model": model.name},
            )
        return None, None, None
    place = answered(model, base.tokens)
    right = (
        int(base.logits[-1 if place is None else place].argmax()) if answer is None else model.token(answer)
    )
    other = None if wrong is None else model.token(wrong)
    if right == other:
        raise BadInput(
            f"The right and the wrong answer are the same token: {model.tokenizer.piece(right)!r}.",
            hint="Leave the wrong one out to look at the answer alone.",
            given={"answer": answer, "wrong": wrong},
        )
    return place, right, other


class StreamReading:
    """Fills the arrays `[stop, position]` of a `Residual`: all but the lens at once, then the lens under the
    position drawn, then under all, in blocks whose logits take no more than about `CHUNK_BYTES`.

    Raises as `answers_of`, and `BadInput` for a position that is not there.
    """

    def __init__(self, lab: Lab, base: Base, answer: str | None, wrong: str | None, position: int | None):
        self.lab, self.base, self.stops = lab, base, stops_of(base.spec)
        self.answer_position, self.right, self.wrong = answers_of(base, answer, wrong)
        if position is not None:
            check_index(base.n, position, "position")
        elsewhere = base.n - 1 if self.answer_position is None else self.answer_position
        self.position = elsewhere if position is None else position
        shape = (len(self.stops), base.n)
        self.norm, self.added, self.cosine, self.cosine_final = (np.full(shape, np.nan) for _ in range(4))
        self.share = np.zeros(shape)
        self.shares: Shares | None = None
        if self.right is not None and not why_not(base.model):
            self.shares = Shares(base, [self.right], [] if self.wrong is None else [self.wrong])
        self.best = np.full(shape, -1)
        self.probability = np.full(shape, np.nan)
        followed = [index for index in (self.right, self.wrong) if index is not None]
        self.standing = {index: _Standing(shape) for index in followed}
        self.complete = self.right is None

    def steps(self) -> Iterator[None]:
        """Does the work; stops wherever there is more to see than before."""
        here = []
        for number, stop in enumerate(additions(self.base, self.lab.progress)):
            after, added, last = stop.after.double(), stop.added.double(), self.base.stream[-1].double()
            self.norm[number], self.added[number] = _array(after.norm(dim=-1)), _array(added.norm(dim=-1))
            if stop.before is not None:
                self.cosine[number] = _cosine(added, stop.before.double())
            self.cosine_final[number] = _cosine(added, last)
            if self.shares is not None:
                self.share[number] = _array(self.shares.of(stop.added))
            here.append(stop.after[self.position])
        if self.right is None:
            return
        rows, n = np.arange(len(self.stops)), self.base.n
        self._read(torch.stack(here), rows * n + self.position)
        yield
        waiting: list[Tensor] = []
        most = max(1, CHUNK_BYTES // (16 * self.base.spec.vocab_size))
        for number, stop in enumerate(additions(self.base)):
            self.lab.progress.report("reading the stream", number, len(self.stops))
            waiting.append(stop.after)
            if len(waiting) * n < most and number < len(self.stops) - 1:
                continue
            begin, streams = (number + 1 - len(waiting)) * n, torch.cat(waiting)
            for part in range(0, len(streams), most):
                places = np.arange(begin + part, begin + min(part + most, len(streams)))
                self._read(streams[part : part + most], places)
                yield
            waiting = []
        self.complete = True

    def _read(self, streams: Tensor, places: np.ndarray) -> None:
        """Reads streams `[row, d_model]` that stand at these places of the arrays, counted row by row."""
        with torch.inference_mode():
            logits = self.base.model.transformer.read_out(streams[None])[0].float()
            total, best = logits.logsumexp(-1), logits.max(-1)
            self.best.flat[places] = _array(best.indices)
            self.probability.flat[places] = _array((best.values - total).exp())
            for index, standing in self.standing.items():
                logit = logits[:, index]
                standing.logit.flat[places] = _array(logit)
                standing.probability.flat[places] = _array((logit - total).exp())
                standing.rank.flat[places] = _array((logits > logit[:, None]).sum(-1))

    def fields(self) -> dict[str, Any]:
        """What is known so far, as the fields of a `Residual`."""
        return {
            "position": self.position,
            "answer_position": self.answer_position,
            "stops": [stream_stop(stop) for stop in self.stops],
            "norm": self.norm,
            "added": self.added,
            "cosine": self.cosine,
            "cosine_final": self.cosine_final,
            "lens": None if self.right is None else self._lens(),
            "shares": self._shares(),
            "complete": self.complete,
        }

    def _lens(self) -> StreamLens:
        assert self.right is not None
        named = np.unique(self.best[self.best >= 0])
        return StreamLens(
            vocabulary=self.lab.tokens(self.base.model, [int(index) for index in named]),
            best=np.where(self.best < 0, -1, np.searchsorted(named, self.best)),
            probability=self.probability,
            answer=self._standing(self.right),
            wrong=None if self.wrong is None else self._standing(self.wrong),
        )

    def _standing(self, index: int) -> Standing:
        found = self.standing[index]
        token = self.lab.tokens(self.base.model, [index])[0]
        return Standing(token=token, probability=found.probability, rank=found.rank, logit=found.logit)

    def _shares(self) -> StreamShares | None:
        if self.shares is None:
            return None
        logit = _array(self.shares.logit)
        constants = self.shares.constants
        return StreamShares(
            what=self.shares.name,
            share=self.share,
            constants=[Constant(name=name, value=value) for name, value in constants.items()],
            logit=logit,
            error=self.share.sum(0) + sum(constants.values()) - logit,
            scale=_array(self.shares.scale),
            norm=self.shares.norm_at(self.position),
        )


class _Standing:
    """A token's probability, rank and logit, not yet read."""

    def __init__(self, shape: tuple[int, int]):
        self.probability, self.logit = np.full(shape, np.nan), np.full(shape, np.nan)
        self.rank = np.full(shape, -1)


def stream_stop(stop: Stop) -> StreamStop:
    """A stop as it travels."""
    return StreamStop(name=str(stop), kind=stop.kind, layer=stop.layer, site=str(stop.adds))


def _cosine(a: Tensor, b: Tensor) -> np.ndarray:
    return _array(torch.nn.functional.cosine_similarity(a, b, dim=-1, eps=1e-30))


def _array(value: Tensor) -> np.ndarray:
    return value.detach().cpu().numpy()
