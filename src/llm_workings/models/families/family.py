"""What the five families share: a config reader, and a table that renames Hugging Face's weights.

A family is data. Its rows say which of Hugging Face's tensors is which of ours, and how the one is
laid out as the other; loading and saving read the same rows in the two directions, so that what was
loaded is saved bit for bit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from llm_workings.core.errors import BadFile, NotSupported, nearest
from llm_workings.models.spec import NoHead, Spec
from llm_workings.models.transformer import Transformer

from .layout import AS_IS, Layout

ALIGNMENT = 64  # bytes; where torch's allocator begins a tensor on a CPU


@dataclass(frozen=True)
class Row:
    """One line of a family's table.

    Args:
        theirs: Hugging Face's module or parameter, without the family's prefix; `{layer}` stands
            for a block's number. Several where they keep apart what we stack.
        ours: our module or parameter; a module means its weight and, if it has one, its bias.
            None: we compute nothing with it, and carry it along so that saving gives it back.
        layout: how their tensors lie in ours.
        copy: a second name of what another row already names. It may be missing, must be equal
            if it is there, and is not written.
    """

    theirs: str | tuple[str, ...]
    ours: str | None
    layout: Layout = AS_IS
    copy: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (self.theirs,) if isinstance(self.theirs, str) else self.theirs


@dataclass(frozen=True)
class Entry:
    """A row made out for one parameter of one model."""

    theirs: tuple[str, ...]
    ours: str
    layout: Layout
    copy: bool


@dataclass(frozen=True)
class Family:
    """A way of building transformers, as Hugging Face stores it.

    Args:
        name: how we call it.
        model_types: the `model_type`s that it reads.
        architectures: each class that a config may name, and whether it has a head; the first is
            meant where a config names none.
        read_spec: a config, and whether it has a head -> what the model is.
        write_fields: what the model is -> the fields of `config.json` that say so.
        prefix: what Hugging Face puts before the names of the body in a model with a head.
        body, head: the table.
        untied_head: the head's rows where its unembedding is not tied, if they are others.
        ignored: names (regular expressions) of what is no weight: masks and frequencies that older
            versions stored.
        spellings: endings that some versions write, and what the table calls them.
    """

    name: str
    model_types: tuple[str, ...]
    architectures: Mapping[str, bool]
    read_spec: Callable[[dict[str, Any], bool], Spec]
    write_fields: Callable[[Spec, dict[str, Any]], dict[str, Any]]
    prefix: str
    body: tuple[Row, ...]
    head: tuple[Row, ...]
    untied_head: tuple[Row, ...] = ()
    ignored: tuple[str, ...] = ()
    spellings: Mapping[str, str] = field(default_factory=dict)

    def read_config(self, config: dict[str, Any]) -> Spec:
        """What the model of this config is.

        Raises:
            NotSupported: the config asks for something that a `Spec` cannot say, named with its value.
            BadFile: a field is missing, is no number where it should be, or contradicts another.
        """
        if config.get("quantization_config"):
            raise NotSupported(
                f"The weights are quantized: quantization_config = {config['quantization_config']!r}.",
                hint="Load the unquantized checkpoint, or a GGUF file of it.",
            )
        named = config.get("architectures") or [next(iter(self.architectures))]
        named = named if isinstance(named, list) else [named]
        known = [name for name in named if isinstance(name, str) and name in self.architectures]
        if not known:
            raise NotSupported(
                f"The config's architecture is {', '.join(map(repr, named))}.",
                hint=f"Supported of the family {self.name}: {', '.join(self.architectures)}.",
                given={"architectures": named},
            )
        try:
            return self.read_spec(config, self.architectures[known[0]])
        except ValueError as error:
            raise BadFile(f"The config contradicts itself: {error}.") from error

    def write_config(self, spec: Spec, config: dict[str, Any]) -> dict[str, Any]:
        """`config` with the fields changed that say what the model is; reading it gives `spec` back.

        Raises:
            NotSupported: Hugging Face's classes of this family cannot be such a model.
        """
        fields = self.write_fields(spec, config)
        written = {**config, **fields}
        same = fields["model_type"] == config.get("model_type")
        fitting = [n for n, headed in self.architectures.items() if headed != _headless(spec)]
        if same and (kept := [name for name in fitting if name in (config.get("architectures") or ())]):
            written["architectures"] = kept  # say, BertForPreTraining rather than BertForMaskedLM
        if not self._says(written, spec):
            raise NotSupported(
                f"A model of the family {self.name} cannot be saved as it is: {spec}.",
                hint="Hugging Face's classes have no such switch.",
            )
        return written

    def _says(self, config: dict[str, Any], spec: Spec) -> bool:
        try:
            return self.read_config(config) == spec
        except BadFile:
            return False

    def load_weights(
        self,
        transformer: Transformer,
        weights: Mapping[str, Tensor],
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> dict[str, Tensor]:
        """Give `transformer` its weights; it may have been built on the meta device.

        Each tensor is looked up once, converted if `dtype` or `device` say so, and assigned, so
        that never more than one tensor is held twice.

        Returns:
            the tensors that are carried along (`Row.ours` is None), for `weights_of`.

        Raises:
            BadFile: weights are missing, unexpected or of another shape; all of them are named.
        """
        stored = {self._plain_name(name): name for name in weights}
        entries = list(self._entries(transformer))
        self._check_names(transformer, entries, stored)
        tied = dict(transformer.named_parameters(remove_duplicate=False))
        wrong: list[str] = []
        for entry in entries:
            if entry.copy and not all(name in stored for name in entry.theirs):
                continue
            old = tied[entry.ours]
            parts = [weights[stored[name]] for name in entry.theirs]
            shapes = entry.layout.shapes(tuple(old.shape), transformer.spec.attention)
            for name, part, shape in zip(entry.theirs, parts, shapes, strict=True):
                if tuple(part.shape) != shape:
                    wrong.append(f"{stored[name]} is {list(part.shape)} and should be {list(shape)}")
                elif not part.is_floating_point():
                    wrong.append(f"{stored[name]} holds {str(part.dtype).removeprefix('torch.')}")
            if wrong:
                continue
            new = entry.layout.pack(parts, transformer.spec.attention).to(dtype=dtype, device=device)
            if entry.copy:
                self._check_copy(stored[entry.theirs[0]], new, transformer.get_parameter(entry.ours))
            else:
                _assign(transformer, entry.ours, new)
                if entry.ours == "embed.weight":
                    transformer.tie_weights()
        if wrong:
            raise BadFile(
                f"{len(wrong)} weights do not fit the config: {_some(wrong)}.",
                hint="Do config.json and the weights belong together?",
            )
        return {name: weights[stored[name]] for name in stored if self._is_carried(name, transformer.spec)}

    def weights_of(
        self, transformer: Transformer, carried: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The weights under Hugging Face's names, as `save_pretrained` would write them.

        `carried` is what `load_weights` returned.
        """
        prefix = "" if _headless(transformer.spec) else self.prefix
        names: dict[str, Tensor] = {}
        for entry in self._entries(transformer):
            if not entry.copy:
                ours = transformer.get_parameter(entry.ours).detach()
                parts = entry.layout.unpack(ours, transformer.spec.attention)
                names.update(zip(entry.theirs, parts, strict=True))
        names.update(carried or {})
        head = tuple(name for row in self.head + self.untied_head for name in row.names)
        return {name if name.startswith(head) else prefix + name: tensor for name, tensor in names.items()}

    def _plain_name(self, name: str) -> str:
        """A stored name without the prefix and in the table's spelling."""
        name = name.removeprefix(self.prefix)
        for old, new in self.spellings.items():
            if name.endswith(old):
                return name.removesuffix(old) + new
        return name

    def _entries(self, transformer: Transformer) -> Iterator[Entry]:
        every = dict(transformer.named_parameters(remove_duplicate=False))
        first_name = {parameter: name for name, parameter in reversed(every.items())}
        for row in self._rows(transformer.spec):
            if row.ours is None:
                continue
            for layer in range(transformer.spec.n_layers) if "{layer}" in row.ours else (0,):
                ours = row.ours.format(layer=layer)
                theirs = tuple(name.format(layer=layer) for name in row.names)
                for ending in ("", ".weight", ".bias"):
                    if (name := ours + ending) in every:
                        tied = first_name[every[name]] != name
                        yield Entry(tuple(n + ending for n in theirs), name, row.layout, row.copy or tied)

    def _rows(self, spec: Spec) -> tuple[Row, ...]:
        if isinstance(spec.head, NoHead):
            return self.body
        return self.body + (self.head if spec.head.tied or not self.untied_head else self.untied_head)

    def _is_carried(self, name: str, spec: Spec) -> bool:
        carried = [theirs for row in self._rows(spec) if row.ours is None for theirs in row.names]
        return name in carried or name.startswith(tuple(theirs + "." for theirs in carried))

    def _check_names(self, transformer: Transformer, entries: list[Entry], stored: Mapping[str, str]) -> None:
        known = {name for entry in entries for name in entry.theirs}
        required = [name for entry in entries if not entry.copy for name in entry.theirs]
        missing = [name for name in required if name not in stored]
        ignored = re.compile("|".join(f"(?:{pattern})" for pattern in self.ignored) or r"(?!)")
        unexpected = [
            full
            for name, full in stored.items()
            if name not in known
            and not ignored.fullmatch(name)
            and not self._is_carried(name, transformer.spec)
        ]
        if not missing and not unexpected:
            return
        said = [f"{len(missing)} missing: {_some(missing)}"] if missing else []
        said += [f"{len(unexpected)} unexpected: {_some(unexpected)}"] if unexpected else []
        close = nearest(missing[0], unexpected, most=1) if missing else []
        raise BadFile(
            f"The weights are not those of a {self.name} model with {transformer.spec.n_layers} layers: "
            f"{'; '.join(said)}.",
            hint=f"Is {close[0]!r} meant to be {missing[0]!r}?"
            if close
            else "Do config.json and the weights belong together?",
            given={"missing": missing[:20], "unexpected": unexpected[:20]},
        )

    @staticmethod
    def _check_copy(name: str, copy: Tensor, original: Tensor) -> None:
        if not torch.equal(copy, original.to(copy.device)):
            raise BadFile(
                f"The config says that {name!r} is tied to another weight, and it differs from it.",
                hint="Set tie_word_embeddings to false in config.json if they are meant to differ.",
                given={"name": name},
            )


def _headless(spec: Spec) -> bool:
    return isinstance(spec.head, NoHead)


def _assign(transformer: Transformer, name: str, value: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    module = transformer.get_submodule(path)
    grad = getattr(module, leaf).requires_grad
    setattr(module, leaf, nn.Parameter(_own(value), requires_grad=grad))


def _own(value: Tensor) -> Tensor:
    """`value` where torch's own tensors begin. A weight in a mapped file begins where the file has it, and
    a matrix product that begins elsewhere may differ in its last bit: the same weights out of one file and
    out of several must give the same numbers."""
    return value if value.data_ptr() % ALIGNMENT == 0 else value.clone()


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
