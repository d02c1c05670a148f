"""A probed property erased at one stop: what a probe finds afterwards, and whether the answers change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from llm_workings.core.errors import BadInput, LabError
from llm_workings.core.wire import Payload
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import ModelName, view
from .lab import Lab
from .probe_tasks import LABELLED, Labelled, Sample, Seed, TaskName, Treebank, task_of

if TYPE_CHECKING:
    from llm_workings.models.sites import Site
    from llm_workings.probing import Task
    from llm_workings.trace.model import LanguageModel

VECTORS = 2  # as many as the stream is wide, so many times, where sentences can be made
SENTENCES = 32  # in which the answers are measured
DRAWS = 3  # random subspaces beside the property's
VERBS = (" are", " is")  # the right ones after a plural and a singular subject

Stop = Annotated[
    str, Field(title="Stop", min_length=1, max_length=40, description="Where to erase: resid_post.20, say.")
]


class Erasure(Payload):
    """One eraser, and what it does to the answers."""

    name: str
    kl: float
    """Nats a position from the unedited answer to the edited one."""
    loss: float | None
    """Nats a token by which the loss rises; None for a model that does not predict the next token."""
    change: float
    """Squared length of the change over that of the centred vectors."""
    verb: float | None
    """By how much the logit of the right verb over the wrong one rises; of the made task `number` only."""


class Erased(Payload):
    """Accuracies are of linear probes, on the vectors the eraser was made of and on others."""

    stop: str
    task: str
    rank: int
    """Dimensions that are taken away."""
    width: int
    """Of the stream."""
    n_train: int
    n_test: int
    majority: float
    """The share of the most common label in the training."""
    majority_test: float
    before: float
    """On the training vectors, as they are."""
    after: float
    """The same of a new probe that learned from the erased vectors."""
    before_test: float
    after_test: float
    random_test: list[float]
    """A new probe's accuracy on the test vectors after erasing each random subspace."""
    where: str
    """Where in the sentences it was erased, in words."""
    sentences: int
    """In how many the answers were measured."""
    effects: list[Erasure]
    """The property's, then random subspaces of the same rank; none for a model without answers."""

    def reading(self) -> str:
        """What came out, in a few sentences."""
        said = (
            f"Erasing {self.task.replace('_', ' ')} at {self.stop} takes {self.rank} of {self.width} "
            f"dimensions away. A new probe then has {self.after:.3f} on the vectors it was made of, where "
            f"the most common label has {self.majority:.3f}, and {self.after_test:.3f} on others "
            f"(before {self.before_test:.3f})."
        )
        if self.effects:
            others = [one.kl for one in self.effects[1:]]
            said += (
                f" The answers move by {self.effects[0].kl:.4f} nats, {min(others):.4f} to {max(others):.4f} "
                "where as many random dimensions are erased."
            )
        return said


@view
def erased(
    lab: Lab,
    stop: Stop,
    model: ModelName = DEFAULT_MODEL,
    task: TaskName = "",
    n: Sample = 400,
    seed: Seed = 0,
    labelled: Labelled = "",
    conllu: Treebank = "",
) -> Erased:
    """A property erased.

    LEACE (Belrose et al. 2023), r(x) = x - W⁺ P W (x - E x), W whitening and P the projection onto what
    tells the classes apart there: no linear probe then beats the most common label, and x changes least.
    Beside it, random subspaces of the same rank, drawn where the vectors are white.

    What this cannot tell you: that the model uses the property nowhere, if nothing changes. Later layers may
    read it off other words, or hold it in another form. From fewer vectors than several times the stream's
    width the eraser follows chance, and other vectors keep some of the property.
    """
    from llm_workings.models.sites import select
    from llm_workings.probing import collect, fit_linear, leace, split_sentences
    from llm_workings.probing.report import rows_of
    from llm_workings.probing.templates import NAMES, most

    language_model = lab.model(model)
    (site,) = select(language_model.spec, stop)
    wide = language_model.spec.d_model
    if not conllu.strip() and task != LABELLED:
        n = max(n, min(most(task or NAMES[0]), VECTORS * wide))
    made = _sampled(task_of(language_model, task, n, seed, labelled, conllu), n, seed)
    if made.kind != "classes":
        raise BadInput(f"{task!r} is a value: LEACE erases classes.", hint="Erase one with classes.")
    if not made.of_words and language_model.spec.causal:
        made = _at_last_tokens(language_model, made)
    words = _words(made) if made.of_words else None  # else each text is read as a mean
    found = collect(language_model, made.passages, site, words=words, progress=lab.progress)
    rows = rows_of(made, found)
    split = split_sentences(made.keys, 0.3, seed)
    has = rows >= 0
    train, test = (np.flatnonzero(has & np.isin(made.sentence, side)) for side in (split.train, split.test))
    x, labels, k = found.at(site).astype(np.float64), made.labels, len(made.classes)
    learn, ask = (x[rows[side]] for side in (train, test))

    def accuracies(one: Any) -> tuple[float, float]:
        sides = [learn, ask] if one is None else [one.apply(learn), one.apply(ask)]
        probe = fit_linear(sides[0], labels[train], n_classes=k)
        return probe.accuracy(sides[0], labels[train]), probe.accuracy(sides[1], labels[test])

    lab.progress.report("erasing")
    eraser = leace(learn, labels[train])
    before, before_test = accuracies(None)
    after, after_test = accuracies(eraser)
    random = [accuracies(eraser.random(seed + i))[1] for i in range(DRAWS)]
    common = int(np.bincount(labels[train], minlength=k).argmax())
    measured = split.test[:SENTENCES]
    return Erased(
        stop=str(site),
        task=made.name,
        rank=eraser.rank,
        width=wide,
        n_train=len(train),
        n_test=len(test),
        majority=float((labels[train] == common).mean()),
        majority_test=float((labels[test] == common).mean()),
        before=before,
        after=after,
        before_test=before_test,
        after_test=after_test,
        random_test=random,
        where="at every token" if words is None else "at the words that are read",
        sentences=len(measured),
        effects=_effects(lab, language_model, eraser, site, made.take(measured), seed),
    )


def _sampled(task: Task, n: int, seed: int) -> Task:
    """Whole sentences drawn by the seed, with `n` labelled words at the most; all of a user's own texts."""
    if len(task) <= n or not task.of_words:
        return task
    counts = np.bincount(task.sentence, minlength=len(task.passages))
    order = np.random.default_rng(seed).permutation(len(task.passages))
    order = order[counts[order] > 0]
    return task.take(order[: max(2, int(np.searchsorted(np.cumsum(counts[order]), n, side="right")))])


def _at_last_tokens(model: LanguageModel, task: Task) -> Task:
    """A task of whole texts as one of words: of each text the piece that its last token stands for."""
    from llm_workings.probing.alignment import Passage

    passages = []
    for passage in task.passages:
        text = passage.text
        offsets = model.tokenizer.backend.encode(text, add_special_tokens=False).offsets
        begin, end = offsets[-1]
        begin += len(text[begin:end]) - len(text[begin:end].lstrip())
        passages.append(Passage(text, (text[begin:end],), ((begin, end),)))
    return replace(task, passages=tuple(passages), word=np.zeros(len(task), np.int64))


def _words(task: Task) -> list[list[int]]:
    """For each sentence, the words that are read, and erased at."""
    words: list[list[int]] = [[] for _ in task.passages]
    for sentence, word in zip(task.sentence.tolist(), task.word.tolist(), strict=True):
        words[sentence].append(word)
    return words


def _effects(lab: Lab, model: LanguageModel, eraser: Any, site: Site, task: Task, seed: int) -> list[Erasure]:
    """What erasing does to the answers in these sentences, the property and random subspaces."""
    from llm_workings.models.spec import NoHead
    from llm_workings.probing import effect_of_erasure

    if isinstance(model.spec.head, NoHead):
        return []
    verbs = _verbs(model, task)

    def measure(one: Task, metric: Any) -> Any:
        return effect_of_erasure(
            model,
            eraser,
            site,
            one.passages,
            words=_words(one) if one.of_words else None,
            draws=DRAWS,
            seed=seed,
            metric=metric,
            progress=lab.progress,
        )

    names = ["the property", *(f"random subspace {i}" for i in range(DRAWS))]
    if verbs is None:
        whole = measure(task, None)
        return [
            Erasure(name=name, kl=one.kl, loss=one.loss, change=one.change, verb=None)
            for name, one in zip(names, (whole, *whole.random), strict=True)
        ]
    sides = []
    for name in ("plural", "singular"):
        part = task.take(np.unique(task.sentence[task.labels == task.classes.index(name)]))
        one = measure(part, _rise(verbs))
        sides.append((one, *one.random))
    return [
        Erasure(
            name=name,
            kl=(many.kl * many.tokens + single.kl * single.tokens) / (many.tokens + single.tokens),
            loss=None,  # of the words before: they are read before the erased one
            change=(many.change + single.change) / 2,
            verb=(many.metric - single.metric) / 2,
        )
        for name, many, single in zip(names, *sides, strict=True)
    ]


def _verbs(model: LanguageModel, task: Task) -> tuple[int, int] | None:
    """The tokens of the two verbs, where the task is the subject's number and both classes are there."""
    if set(task.classes) != {"plural", "singular"} or len(set(task.labels.tolist())) < 2:
        return None
    try:
        plural, singular = (model.token(word) for word in VERBS)
    except LabError:  # a tokenizer that splits them
        return None
    return plural, singular


def _rise(verbs: tuple[int, int]) -> Any:
    """A metric: by how much the logit of " are" over " is" after the last token rises, mean of the rows."""

    def odds(run: Any) -> Any:
        last = run.last_logits.double()
        return last[:, verbs[0]] - last[:, verbs[1]]

    return lambda clean, edited: (odds(edited) - odds(clean)).mean()
