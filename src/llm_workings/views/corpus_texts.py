"""The texts of a corpus that excite an attention head, or lie along a direction of the stream."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import HeadIndex, Layer, ModelName, view
from .contrasts import ContrastName, Firsts, Seconds, SteerLayer, contrast_of, directions_of, layer_of
from .lab import Lab
from .neuron_corpus import CorpusName, LookedAt, NeuronExample, OverCorpus, over_corpus
from .parts import quoted

if TYPE_CHECKING:
    from llm_workings.neurons.corpus import Corpus
    from llm_workings.neurons.passing import Kept
    from llm_workings.trace.model import LanguageModel

By = Literal["attends", "off_first", "writes"]
BY: tuple[By, ...] = ("attends", "off_first", "writes")
ByName = Annotated[
    By,
    Field(
        title="By",
        description="attends (the largest weight on a token that is neither the first nor itself), off_first "
        "(all the weight that is not on the first), or writes (the length of what the head adds).",
    ),
]


class CorpusTexts(OverCorpus):
    """Something of a head, or how far the stream lies along a direction, over a corpus."""

    name: str
    """What the number is, in words."""
    head: int | None
    """None of a direction."""
    by: By | None
    left_out: int
    """Passages that are not read, for the direction was made of them."""

    def reading(self) -> str:
        """What was found, in a few sentences."""
        said = (
            f"{self.name} over {self.tokens:,} tokens of {self.corpus.title}: mean {self.mean:.3g}, spread "
            f"{self.spread:.3g}, from {self.low:.3g} to {self.high:.3g}."
        )
        for way, places in (("Highest", self.top), ("Lowest", self.bottom)):
            if places:
                said += f" {way} at {', '.join(map(_place, places[:3]))}."
        return said


def _place(each: NeuronExample) -> str:
    on = f", on {quoted(each.looked.token)}" if each.looked else ""
    return f"{quoted(each.tokens[each.at])} ({each.values[each.at]:.3g}{on})"


@view
def head_texts(
    lab: Lab,
    layer: Layer,
    head: HeadIndex,
    model: ModelName = DEFAULT_MODEL,
    by: ByName = "attends",
    corpus: CorpusName = "built-in",
) -> CorpusTexts:
    """The texts that excite a head.

    A head has no single activation, so it is asked in one of three ways at each token q of a corpus:
    attends, the largest weight A[q, k] on a token k that is neither the first nor q itself; off_first,
    1 - A[q, 0], all the weight that does not rest on the first token; writes, |z_q W_O|, the length of
    what it adds to the stream. All heads of the layer are read in one pass. Beside each place stands the
    token k that it attends to most from there, the first and itself aside.

    What this cannot tell you: what the head is for. It may look somewhere and write little, or write much
    that nothing reads; attention is not explanation. The highest places are a few in thousands, which is
    why random ones stand beside them; another corpus may show another side.
    """
    from llm_workings.neurons import corpus as corpus_called
    from llm_workings.neurons import head_attention, head_writes
    from llm_workings.neurons.scalars import scan_scalars

    language_model = lab.model(model)
    first = head_attention(language_model, layer, head)  # says so if there is no such head
    chosen = corpus_called(corpus)
    heads = range(language_model.spec.attention.n_heads)
    scalars = [
        *(head_attention(language_model, layer, each) for each in heads),
        *(head_attention(language_model, layer, each, "off_first") for each in heads),
        *(head_writes(language_model, layer, each) for each in heads),
    ]
    kept = lab.found(
        model,
        ("head_texts", layer, corpus),
        lambda: scan_scalars(language_model, chosen, scalars, progress=lab.progress),
    )
    unit = BY.index(by) * len(heads) + head
    name = first.name if by == "attends" else scalars[unit].name
    found = _texts(lab, language_model, kept, unit, chosen, name=name, layer=layer, head=head, by=by)
    return _with_looks(lab, language_model, kept, found, layer, head)


def _with_looks(
    lab: Lab, model: LanguageModel, kept: Kept, found: CorpusTexts, layer: int, head: int
) -> CorpusTexts:
    """At each place the token that the head attends to most."""
    from llm_workings.neurons import head_looks

    ways = {"top": found.top, "bottom": found.bottom, "drawn": found.drawn}
    places = [(each.passage, each.position) for examples in ways.values() for each in examples]
    looks = iter(
        lab.found(
            model.name,
            ("head_looks", layer, head, found.corpus.name, tuple(places)),
            lambda: head_looks(model, kept, layer, head, places),
        )
    )

    def with_look(example: NeuronExample) -> NeuronExample:
        look = next(looks)
        if look is None:
            return example
        (token,) = lab.tokens(model, [kept.passage(example.passage)[look.position]])
        return example.model_copy(
            update={"looked": LookedAt(token=token, position=look.position, weight=look.weight)}
        )

    return found.model_copy(
        update={way: [with_look(each) for each in examples] for way, examples in ways.items()}
    )


@view
def direction_texts(
    lab: Lab,
    model: ModelName = DEFAULT_MODEL,
    contrast: ContrastName = "sea",
    layer: SteerLayer = None,
    firsts: Firsts = "",
    seconds: Seconds = "",
    corpus: CorpusName = "built-in",
) -> CorpusTexts:
    """The texts that lie along a direction.

    How far the stream h at each token of a corpus lies along a steering direction v, h · v / |v| / t, in
    units of t, the median norm of the stream there: the unit that its strength has. The texts that the
    direction was made of are left out.

    What this cannot tell you: that the direction is of the thing named. The stream has a mean, so 0 is not
    neutral: hold a place against the mean and the places at random. What lies along a direction need not be
    what the model reads off it.
    """
    import torch

    from llm_workings.neurons import along
    from llm_workings.neurons import corpus as corpus_called
    from llm_workings.neurons.scalars import scan_scalars

    language_model = lab.model(model)
    at = layer_of(language_model, layer)
    steered = contrast_of(language_model, contrast, firsts, seconds)
    vector = directions_of(lab, language_model, steered).at(at)
    whole = corpus_called(corpus)
    own = {text.strip() for text in (*steered.firsts, *steered.seconds)}
    passages = tuple(passage for passage in whole.passages if passage.strip() not in own)
    read = replace(whole, passages=passages) if passages else whole
    left_out = len(whole.passages) - len(read.passages)
    name = f"{vector.site} along {steered.name}"
    scalar = along(language_model, vector.site, torch.from_numpy(vector.unit / vector.typical), name)
    kept = lab.found(
        model,
        ("direction_texts", steered.firsts, steered.seconds, at, corpus),
        lambda: scan_scalars(language_model, read, [scalar], progress=lab.progress),
    )
    return _texts(lab, language_model, kept, 0, whole, name=name, layer=at, left_out=left_out)


def _texts(
    lab: Lab,
    model: LanguageModel,
    kept: Kept,
    unit: int,
    corpus: Corpus,
    *,
    name: str,
    layer: int,
    head: int | None = None,
    by: By | None = None,
    left_out: int = 0,
) -> CorpusTexts:
    from llm_workings.neurons.statistics import Statistics, of_unit

    found = Statistics(**of_unit(model, name, kept, unit))
    return CorpusTexts(
        **over_corpus(lab, model, corpus, kept, found),
        name=name,
        layer=layer,
        head=head,
        by=by,
        left_out=left_out,
    )
