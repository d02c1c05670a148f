"""One layer's vectors against one task: what `report.probe` does at each site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from llm_workings.models.sites import Site

from .controls import control_labels, lookup, shuffled_labels
from .mdl import CodeLength, block_ends, code_classes, code_integers
from .probes import Basis, LinearProbe, RidgeProbe, fit_mlp, ridge
from .scores import Interval, accuracy, r2, spearman
from .solver import logistic
from .tasks import Task


@dataclass(frozen=True)
class Layer:
    """What came out at one site.

    Attributes:
        score: accuracy on the test words, or R2 of a value, with its interval over sentences.
        spearman: the rank correlation of a value with its prediction.
        control: the same score on the control task; None for whole texts, which have no word type.
        selectivity: score - control.
        shuffled: the score of a probe that learned shuffled labels, on the true ones.
        code: the online code of the training labels; None where it was not asked for, or where a
            value is no whole number.
        l2: the regularization, the one that coded the last block of labels best.
        mlp, mlp_control: accuracy of a probe with a hidden layer, and on the control task.
        converged: whether the fits reached their tolerance.
    """

    site: Site
    score: Interval
    spearman: float | None
    control: float | None
    selectivity: float | None
    shuffled: float
    code: CodeLength | None
    l2: float
    mlp: float | None = None
    mlp_control: float | None = None
    converged: bool = True


@dataclass(frozen=True)
class Setting:
    """How sites are studied; see `report.probe`."""

    strengths: tuple[float, ...]
    mdl: bool
    mlp: bool
    seed: int


class Study:
    """One task's labels, ready for the vectors of any site.

    Args:
        task: with the labels.
        train, test: `[item]`, numbers of the items that are learned from and tested on. Those that are
            learned from come sentence by sentence, in the order in which the labels are sent.
    """

    def __init__(self, task: Task, train: np.ndarray, test: np.ndarray, setting: Setting):
        self.task, self.train, self.test, self.setting = task, train, test, setting
        forms, labels = task.forms, task.labels
        self.learned = [forms[i] for i in train]
        self.tested = [forms[i] for i in test]
        self.control = control_labels(forms, labels, setting.seed) if task.of_words else None
        targets = [labels[train], shuffled_labels(labels[train], setting.seed)]
        if self.control is not None:
            targets.append(self.control[train])
        self.targets = np.stack(targets)
        self.sentence = task.sentence[test]
        self.ends = block_ends(task.sentence[train]) if len(setting.strengths) > 1 or setting.mdl else None

    def baselines(self) -> tuple[float, float | None]:
        """The score of the most common label (or the mean), and of a dictionary of the words."""
        labels, actual = self.task.labels[self.train], self.task.labels[self.test]
        if self.task.kind == "classes":
            common = np.bincount(labels).argmax()
            known = lookup(self.learned, labels, self.tested) if self.task.of_words else None
            return float((actual == common).mean()), None if known is None else float(
                (known == actual).mean()
            )
        guesses = [np.full(len(actual), labels.mean())]
        if self.task.of_words:
            guesses.append(lookup(self.learned, labels, self.tested))
        found = [self._r2(guess[None])[0].value for guess in guesses]
        return found[0], found[1] if len(found) > 1 else None

    def layer(
        self, site: Site, learn: np.ndarray, ask: np.ndarray
    ) -> tuple[Layer, LinearProbe | RidgeProbe, np.ndarray]:
        """The result at a site, its probe and the predictions on the test items.

        Args:
            learn, ask: `[train item, d]` and `[test item, d]`.
        """
        basis = Basis(torch.from_numpy(np.ascontiguousarray(learn)))
        asked = torch.from_numpy(np.ascontiguousarray(ask))
        if self.task.kind == "classes":
            return self._classes(site, basis, asked)
        return self._values(site, basis, asked)

    def _classes(
        self, site: Site, basis: Basis, ask: torch.Tensor
    ) -> tuple[Layer, LinearProbe | RidgeProbe, np.ndarray]:
        k, targets = len(self.task.classes), torch.from_numpy(self.targets)
        code, l2 = None, self.setting.strengths[0]
        if self.ends is not None:
            code = code_classes(basis.turned, targets[0], k, self.ends, self.setting.strengths)
            l2 = code.l2
        fit = logistic(basis.turned, targets, k, torch.full((len(targets),), l2, dtype=torch.float64))
        weight, bias = basis.back(fit)
        answers = torch.stack([(ask @ w.mT + b).argmax(1) for w, b in zip(weight, bias, strict=True)]).numpy()
        actual = self.task.labels[self.test]
        right = [answers[0] == actual, answers[1] == actual]
        if self.control is not None:
            right.append(answers[2] == self.control[self.test])
        scores = accuracy(np.stack(right), self.sentence, self.setting.seed)
        mlp, mlp_control = self._mlp(basis, ask) if self.setting.mlp else (None, None)
        return (
            self._result(site, scores, None, code, l2, mlp, mlp_control, fit.converged),
            LinearProbe(weight[0].numpy(), bias[0].numpy(), l2, fit.converged),
            answers[0],
        )

    def _values(
        self, site: Site, basis: Basis, ask: torch.Tensor
    ) -> tuple[Layer, LinearProbe | RidgeProbe, np.ndarray]:
        targets = torch.from_numpy(self.targets)
        whole = bool((targets[0] == targets[0].round()).all())
        code, l2 = None, self.setting.strengths[0]
        if self.ends is not None:
            # Values that are no whole numbers have no bits; the strength is still chosen by the blocks.
            code = code_integers(basis.plain, targets[0], self.ends, self.setting.strengths)
            l2 = code.l2
        weight, bias = ridge(basis.plain, targets.mT, [l2])
        plain = weight[0] / basis.standard.scale[:, None].double()
        shift = bias[0] - basis.standard.mean.double() @ plain
        answers = (ask @ plain.to(ask) + shift.to(ask)).mT.double().numpy()
        scores = self._r2(answers[:2])
        if self.control is not None:
            scores += r2(answers[2:], self.control[self.test], self.sentence, self.setting.seed)
        rank = spearman(answers[0], self.task.labels[self.test])
        return (
            self._result(site, scores, rank, code if whole else None, l2, None, None, True),
            RidgeProbe(plain[:, 0].numpy(), float(shift[0]), l2),
            answers[0],
        )

    def _r2(self, predicted: np.ndarray) -> list[Interval]:
        return r2(predicted, self.task.labels[self.test], self.sentence, self.setting.seed)

    def _mlp(self, basis: Basis, ask: torch.Tensor) -> tuple[float, float | None]:
        learn, asked, k = basis.plain.numpy(), basis.standard(ask).numpy(), len(self.task.classes)
        truth = [self.task.labels, *([] if self.control is None else [self.control])]
        found = [
            fit_mlp(learn, labels[self.train], n_classes=k, seed=self.setting.seed).accuracy(
                asked, labels[self.test]
            )
            for labels in truth
        ]
        return found[0], found[1] if len(found) > 1 else None

    def _result(
        self,
        site: Site,
        scores: Sequence[Interval],
        rank: float | None,
        code: CodeLength | None,
        l2: float,
        mlp: float | None,
        mlp_control: float | None,
        converged: bool,
    ) -> Layer:
        control = scores[2].value if len(scores) > 2 else None
        return Layer(
            site,
            scores[0],
            rank,
            control,
            None if control is None else scores[0].value - control,
            scores[1].value,
            code if self.setting.mdl else None,
            l2,
            mlp,
            mlp_control,
            converged,
        )
