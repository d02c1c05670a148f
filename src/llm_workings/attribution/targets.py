"""What is explained: one number a row, made of the class scores that a network answers with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput, BadShape

Classes = int | Sequence[int] | Tensor


@dataclass(frozen=True)
class Target:
    """A number of each row of class scores.

    Attributes:
        kind: `logit` (a class's score), `difference` (one class's minus another's), `probability` (of a
            class, after a softmax over all) or `function`.
        classes: the class, or one a row, as a tensor.
        others: the classes whose scores are subtracted, for a difference.
        function: `[row, class] -> [row]`.
    """

    kind: Literal["logit", "difference", "probability", "function"]
    classes: Tensor | None = None
    others: Tensor | None = None
    function: Callable[[Tensor], Tensor] | None = None

    def check(self, inputs: int) -> None:
        """Raises `BadInput` for classes one a row of which there are not as many as inputs."""
        for classes in (self.classes, self.others):
            if classes is not None and classes.dim() and len(classes) != inputs:
                raise BadInput(
                    f"{len(classes)} classes were given for {inputs} inputs.", hint="Give one a row."
                )

    def of(self, scores: Tensor, rows: Tensor | None = None) -> Tensor:
        """The target's value, `[row]`.

        Args:
            scores: what the network answers, `[row, class]`.
            rows: for each row, which of the caller's inputs it belongs to, where several copies of an input
                are run at once; None: row i is input i.

        Raises:
            BadInput: a class that does not exist, or as many classes as there are not inputs.
            BadShape: scores that are no `[row, class]`, or a function that gives no `[row]`.
        """
        if self.function is not None:
            value = self.function(scores)
            if not isinstance(value, Tensor) or value.shape != scores.shape[:1]:
                shown = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise BadShape(
                    f"The target was given {len(scores)} rows and returned {shown}.",
                    hint="Return a tensor with one number a row.",
                )
            return value
        if scores.dim() != 2:
            raise BadShape(
                f"The network answers with the shape {list(scores.shape)}, not [row, class].",
                hint="Give a function as the target: it gets that answer and returns one number a row.",
            )
        assert self.classes is not None
        if rows is None:
            self.check(len(scores))
        if self.kind == "probability":
            scores = scores.softmax(-1)
        value = _picked(scores, self.classes, rows)
        return value if self.others is None else value - _picked(scores, self.others, rows)


AnyTarget = int | Tensor | Target | Callable[[Tensor], Tensor]


def logit(classes: Classes) -> Target:
    """A class's score, before any softmax; one class for all rows, or one a row."""
    return Target("logit", _tensor(classes))


def difference(classes: Classes, others: Classes) -> Target:
    """One class's score minus another's: the logarithm of the odds between the two."""
    return Target("difference", _tensor(classes), _tensor(others))


def probability(classes: Classes) -> Target:
    """A class's share of the softmax over all classes.

    Where the network is sure, its gradient is close to zero everywhere: explain the logit then.
    """
    return Target("probability", _tensor(classes))


def function(value: Callable[[Tensor], Tensor]) -> Target:
    """Any function of what the network answers that gives one number a row, each of its own row only."""
    return Target("function", function=value)


def as_target(target: AnyTarget) -> Target:
    """A class number means its logit, a tensor one a row, a callable a function. Raises `BadInput` else."""
    if isinstance(target, Target):
        return target
    if isinstance(target, Tensor) or (isinstance(target, int) and not isinstance(target, bool)):
        return logit(target)
    if callable(target):
        return function(target)
    raise BadInput(
        f"{target!r} is not a target.",
        hint="Give a class number, or logit(3), difference(3, 5), probability(3), or a function.",
    )


def _tensor(classes: Classes) -> Tensor:
    found = torch.as_tensor(classes)
    if found.is_floating_point() or found.dtype == torch.bool or found.dim() > 1 or not found.numel():
        raise BadInput(f"{classes!r} is no class and no list of classes.", hint="Give whole numbers.")
    return found


def _picked(scores: Tensor, classes: Tensor, rows: Tensor | None) -> Tensor:
    count = scores.shape[1]
    classes = classes.to(scores.device)
    for index in classes.reshape(-1).tolist():
        if not 0 <= index < count:
            raise BadInput(
                f"There is no class {index}: the network answers with {count} classes.",
                hint=f"Classes go from 0 to {count - 1}.",
                given={"class": index, "classes": count},
            )
    if classes.dim() == 0:
        return scores[:, int(classes)]
    if rows is not None:
        classes = classes[rows]
    return scores.gather(1, classes[:, None])[:, 0]
