"""What a run of a model leaves: the values it was asked to keep, and its answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from llm_workings.core.errors import BadInput, NotSupported
from llm_workings.models.sites import Site, select, site, stream_of
from llm_workings.models.spec import NoHead, Spec
from llm_workings.models.transformer import KeyValueCache

from .apply import Frame
from .guesses import Guess, Guesses, best, guess_of, piece_of
from .prompt import Batch

if TYPE_CHECKING:
    from .model import LanguageModel

Key = Site | str | tuple[str, int]


class Values(Mapping[Site, Tensor]):
    """Values by site: `values["pattern", 7]`, `["pattern.7"]`, `["blocks.7.attn.hook_pattern"]`, `[Site]`."""

    def __init__(self, spec: Spec, data: dict[Site, Tensor], advice: str):
        self._spec, self._data, self._advice = spec, data, advice

    def __getitem__(self, key: Key) -> Tensor:
        """The value at one site. Raises `UnknownName` or `BadInput`, saying how to have it kept."""
        if isinstance(key, Site) and key in self._data:
            return self._data[key]
        name = f"{key[0]}.{key[1]}" if isinstance(key, tuple) else key
        found = select(self._spec, name)
        if len(found) != 1:
            raise BadInput(f"{name!r} names {len(found)} sites.", hint="Take one, or stack() them.")
        if found[0] not in self._data:
            held = ", ".join(summary_of_names(self._data)) or "nothing"
            raise BadInput(
                f"{str(found[0])!r} was not kept by this run; it holds {held}.",
                hint=self._advice.format(found[0]),
                given={"site": str(found[0])},
            )
        return self._data[found[0]]

    def stack(self, names: str | Site | Iterable[str | Site]) -> Tensor:
        """The values of several sites of one shape, in the model's order, along a new first axis."""
        return torch.stack([self[place] for place in select(self._spec, names)])

    def __iter__(self) -> Iterator[Site]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        return "\n".join(
            f"{name:<24} {' '.join(place.axes)} {list(self._data[place].shape)}"
            for name, place in summary_of_names(self._data).items()
        )


def summary_of_names(places: Iterable[Site]) -> dict[str, Site]:
    """One name for each kind: "pattern.0-29" -> the first of those sites."""
    kinds: dict[str, list[Site]] = {}
    for place in places:
        kinds.setdefault(place.kind, []).append(place)
    named = {}
    for kind, group in kinds.items():
        layers = sorted(place.layer for place in group if place.layer is not None)
        if len(layers) < 2:
            named[str(group[0])] = group[0]
        elif layers[-1] - layers[0] == len(layers) - 1:
            named[f"{kind}.{layers[0]}-{layers[-1]}"] = group[0]
        else:
            named[f"{kind}.{','.join(map(str, layers))}"] = group[0]
    return named


@dataclass(frozen=True)
class Start:
    """Where a later run may take up this one: the stream entering `layer` from `position` on.

    `residual` is `[batch, positions from there, d_model]`; `cache` holds the keys and values of the
    positions before, where there are any.
    """

    layer: int
    position: int
    residual: Tensor
    cache: KeyValueCache | None
    batch: Batch

    def repeat(self, times: int) -> Start:
        """Each row `times` times, one after the other: one batch for that many edits of one text."""
        cache = None
        if self.cache is not None:
            cache = KeyValueCache(len(self.cache.keys))
            cache.keys = [None if k is None else k.repeat_interleave(times, 0) for k in self.cache.keys]
            cache.values = [None if v is None else v.repeat_interleave(times, 0) for v in self.cache.values]
        residual = self.residual.repeat_interleave(times, 0)
        return Start(self.layer, self.position, residual, cache, self.batch.repeat(times))


class Run:
    """What came of one run.

    `run.tokens` is `[batch, position]`, `run.lengths` how much of each row is real. At positions past
    a row's end stand the finite values of a filler token: take `run.row(i)`, which leaves them out.
    Kept values are `run["pattern", 7]`; their first position is `run.first` (0 unless resumed), and
    those of `logits` and `ln_final` are the positions `run.scored`.
    """

    def __init__(
        self,
        model: LanguageModel,
        batch: Batch,
        frame: Frame,
        kept: dict[Site, Tensor],
        logits: Tensor | None,
        cache: KeyValueCache | None = None,
        gradients: dict[Site, Tensor] | None = None,
        target: float | None = None,
    ):
        self.model, self.batch, self.frame = model, batch, frame
        self._kept, self._logits, self.cache = kept, logits, cache
        self._gradients, self.target = gradients, target

    # --- the text ------------------------------------------------------------------------------
    @property
    def tokens(self) -> Tensor:
        """The token ids, `[batch, position]`; past a row's end, a filler."""
        return self.batch.tokens

    @property
    def lengths(self) -> tuple[int, ...]:
        """How many tokens each row has."""
        return self.batch.lengths

    @property
    def first(self) -> int:
        """The position of the kept values' first one: 0, unless the run was resumed later."""
        return self.frame.computed.start

    @property
    def scored(self) -> tuple[int, ...]:
        """The positions whose logits there are."""
        return tuple(self.frame.scored)

    def pieces(self, row: int = 0) -> list[str]:
        """The tokens of a row, each as its exact text."""
        tokens = self.tokens[row, : self.lengths[row]].tolist()
        return [piece_of(self.model.tokenizer, token) for token in tokens]

    # --- what was kept -------------------------------------------------------------------------
    @property
    def kept(self) -> Values:
        """Every value that was kept, by its site."""
        data = dict(self._kept)
        if self._logits is not None:
            data[site("logits")] = self._logits
        return Values(self.model.spec, data, "Ask for it: model.run(..., keep=['{}'])")

    def __getitem__(self, key: Key) -> Tensor:
        return self.kept[key]

    def __contains__(self, place: object) -> bool:
        return place in self.kept

    def stack(self, names: str | Site | Iterable[str | Site]) -> Tensor:
        """The kept values of several sites of one shape, along a new first axis."""
        return self.kept.stack(names)

    @property
    def grad(self) -> Values:
        """The gradient of the run's target with respect to each kept site."""
        if self._gradients is None:
            raise BadInput(
                "This run took no gradient.", hint='Ask for one: model.run(..., grad=("logit", " Mary"))'
            )
        return Values(self.model.spec, self._gradients, "Keep the site too: model.run(..., keep=['{}'])")

    def row(self, index: int) -> Run:
        """One row alone, without its padding."""
        rows = self.batch.size
        if not -rows <= index < rows:
            raise BadInput(f"There is no row {index}: this run has rows 0 to {rows - 1}.")
        index %= rows
        length = self.lengths[index]
        frame = Frame(
            (length,),
            range(self.first, max(self.first, length)),
            [p for p in self.frame.scored if p < length],
        )

        def cut(place: Site, value: Tensor) -> Tensor:
            value = value[index : index + 1]
            for axis, name in enumerate(place.axes):
                if name in ("position", "query"):
                    value = value.narrow(axis, 0, len(frame.positions(place)))
                elif name == "key":
                    value = value.narrow(axis, 0, length)
            return value

        logits = None if self._logits is None else cut(site("logits"), self._logits)
        gradients = self._gradients and {s: cut(s, v) for s, v in self._gradients.items()}
        kept = {s: cut(s, v) for s, v in self._kept.items()}
        return Run(self.model, self.batch.row(index), frame, kept, logits, None, gradients, self.target)

    def at(self, layer: int, position: int = 0) -> Start:
        """Where another run may resume: `model.run(resume=run.at(6, 12), edits=[...])`.

        It needs the stream at that layer (`resumable=True` keeps it at all) and, past position 0,
        the keys and values of the earlier positions (which `resumable=True` keeps as well).

        Raises `BadInput` if what it needs was not kept, or the place is not there.
        """
        spec = self.model.spec
        if not 0 <= layer <= spec.n_layers:
            raise BadInput(f"There is no layer {layer} to resume at: layers are 0 to {spec.n_layers}.")
        if not self.first <= position < self.batch.width:
            last = self.batch.width - 1
            raise BadInput(f"There is no position {position} to resume at: {self.first} to {last} were run.")
        if position and not spec.causal:
            raise BadInput(
                f"{self.model.name} reads both ways: a change anywhere changes every position.",
                hint="Resume at position 0.",
            )
        names = (stream_of(spec)[layer], site("resid_pre", layer))
        residual = next((self._kept[name] for name in names if name in self._kept), None)
        if residual is None or (position and self.cache is None):
            raise BadInput(
                f"This run did not keep what resuming at layer {layer}, position {position} takes.",
                hint="Run it with resumable=True.",
            )
        cache = self.cache.before(position) if position and self.cache is not None else None
        return Start(layer, position, residual[:, position - self.first :], cache, self.batch)

    # --- the answer ----------------------------------------------------------------------------
    @property
    def logits(self) -> Tensor:
        """`[batch, scored position, vocabulary]`. Raises `BadInput` if the run did not compute them."""
        if self._logits is None:
            if isinstance(self.model.spec.head, NoHead):
                raise NotSupported(
                    f"{self.model.name} answers nothing: it is an encoder without a head.",
                    hint=f"Its output is the last residual: keep {str(stream_of(self.model.spec)[-1])!r}.",
                )
            raise BadInput("This run computed no logits.", hint="Leave out logits=False and stop.")
        return self._logits

    @property
    def last_logits(self) -> Tensor:
        """`[batch, vocabulary]`: those at each row's last token, wherever it ends."""
        last = [self._logits_at(length - 1, row) for row, length in enumerate(self.lengths)]
        return torch.stack(last)

    @property
    def log_probabilities(self) -> Tensor:
        """The log-softmax of the logits, in float32 or wider."""
        logits = self.logits
        return (logits.float() if logits.element_size() < 4 else logits).log_softmax(-1)

    @property
    def losses(self) -> Tensor:
        """What each token cost, in nats, given those before it: `[batch, position - 1]`.

        Entry i belongs to the token at `run.first` + i + 1; past a row's end stands 0.
        """
        spec = self.model.spec
        logits = self.logits
        if not spec.causal:
            raise NotSupported(
                f"{self.model.name} reads both ways: it predicts masked tokens, not the next one.",
                hint="Put its mask token into the text and look at run.top().",
            )
        if list(self.frame.scored) != list(self.frame.computed):
            raise BadInput("A loss needs the logits of all positions.", hint="Leave out logits=...")
        if max(self.lengths) - self.first < 2:
            raise BadInput(
                "The text is one token long: nothing in it is predicted.", hint="Give at least two tokens."
            )
        wide = logits[:, :-1].float() if logits.element_size() < 4 else logits[:, :-1]
        losses = F.cross_entropy(wide.transpose(1, 2), self.tokens[:, self.first + 1 :], reduction="none")
        return losses.masked_fill(~self.batch.present()[:, self.first + 1 :], 0)

    @property
    def loss(self) -> Tensor:
        """The mean loss, in nats for each predicted token of the batch; `[]`."""
        return self.losses.sum() / self.batch.present()[:, self.first + 1 :].sum()

    def top(self, count: int = 5, position: int | None = None, row: int = 0) -> Guesses:
        """The best guesses after (or, for a masked-language model, at) a position.

        Args:
            position: counted in the text, -1 for the row's last token. By default the last, and
                for a masked-language model the one mask token.
        """
        place = self._place(position, row)
        text = "".join(self.pieces(row)[max(0, place - 8) : place + 1])
        word = "After" if self.model.spec.causal else "At the end of"
        asked = f"{word} {('…' if place > 8 else '') + text!r} (position {place}):"
        return best(self._logits_at(place, row), self.model.tokenizer, count, asked)

    def guess(self, token: int | str, position: int | None = None, row: int = 0) -> Guess:
        """How one token (its id, or a text that is one token) stands among the answers."""
        logits = self._logits_at(self._place(position, row), row)
        return guess_of(logits, self.model.tokenizer, self.model.token(token))

    def _place(self, position: int | None, row: int) -> int:
        logits = self.logits  # first, so that a model without a head says so
        if not -len(logits) <= row < len(logits):
            raise BadInput(f"There is no row {row}: this run has rows 0 to {len(logits) - 1}.")
        length = self.lengths[row]
        if position is None and not self.model.spec.causal:
            mask = self.model.tokenizer.mask_id
            found = [i for i, token in enumerate(self.tokens[row, :length].tolist()) if token == mask]
            if len(found) != 1:
                name = "a mask token" if mask is None else repr(piece_of(self.model.tokenizer, mask))
                raise BadInput(
                    f"The text has {len(found)} of {name}: which position is to be answered?",
                    hint="Put exactly one into the text, or say position=...",
                )
            position = found[0]
        position = -1 if position is None else position
        if not -length <= position < length:
            raise BadInput(f"There is no position {position}: the text has positions 0 to {length - 1}.")
        return position % length

    def _logits_at(self, position: int, row: int) -> Tensor:
        logits = self.logits
        if position not in self.frame.scored:
            raise BadInput(
                f"This run has no logits at position {position}, only at {list(self.frame.scored)}.",
                hint="Leave out logits=..., or name the position there.",
            )
        return logits[row, list(self.frame.scored).index(position)]

    # --- looks ---------------------------------------------------------------------------------
    def __repr__(self) -> str:
        many = self.batch.size > 1
        sizes = (
            f"{self.batch.size} rows of {min(self.lengths)} to {self.batch.width}"
            if many
            else self.batch.width
        )
        lines = [f"Run of {self.model.name} on {sizes} tokens", "".join(self.pieces())[:80].__repr__()]
        if self.first:
            lines.append(f"resumed at position {self.first}")
        if self._logits is not None:
            lines.append(f"logits {list(self._logits.shape)}")
        lines += [f"kept {line}" for line in repr(Values(self.model.spec, self._kept, "")).splitlines()]
        if self._gradients is not None:
            lines.append(f"gradients of {self.target:.6g} at {', '.join(summary_of_names(self._gradients))}")
        return "\n  ".join(lines)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))
