"""The lab: what a view is given. It holds the loaded models and the last few runs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast
from weakref import WeakKeyDictionary

from llm_workings.core.progress import SILENT, Progress
from llm_workings.models import catalogue

from .parts import HeadRef, ModelCard, Token

if TYPE_CHECKING:
    from llm_workings.causal.base import Base
    from llm_workings.causal.patching import Pair
    from llm_workings.models.vision_wrap import VisionModel
    from llm_workings.trace.model import LanguageModel

    from .passes import Pass
    from .vision_parts import Opened

Item = TypeVar("Item")
MODEL_BYTES = 6 * 2**30
PASS_BYTES = 256 * 2**20
BASE_BYTES = 512 * 2**20
FOUND_BYTES = 256 * 2**20


class Shelf(Generic[Item]):
    """The last things used, as many as fit a number of bytes; at least the very last one.

    Safe to share between threads: one thing is made at a time.

    Args:
        room: bytes that may be kept.
        weigh: bytes that one thing takes.
        keep_one: keep the last thing even if it alone is past the room.
    """

    def __init__(self, room: int, weigh: Callable[[Item], int], *, keep_one: bool):
        self.room, self._weigh, self._keep_one = room, weigh, keep_one
        self._items: OrderedDict[Hashable, Item] = OrderedDict()
        self._making = threading.RLock()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Item]) -> Item:
        """The thing called `key`; made, once, if it is not there."""
        found = self.peek(key)
        if found is None:
            with self._making:
                found = self.peek(key)  # another thread may have made it meanwhile
                if found is None:
                    found = make()
                    self.put(key, found)
        return found

    def peek(self, key: Hashable) -> Item | None:
        """The thing called `key` if it is there; it then counts as just used."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: Hashable, item: Item) -> None:
        """Lay a thing down, and let go of those longest unused that no longer fit."""
        with self._lock:
            self._items[key] = item
            self._items.move_to_end(key)
            held = {kept: self._weigh(value) for kept, value in self._items.items()}
            while sum(held.values()) > self.room and len(self._items) > int(self._keep_one):
                oldest, _ = self._items.popitem(last=False)
                del held[oldest]

    def remove(self, matching: Callable[[Any], bool]) -> None:
        """Let go of everything whose key matches."""
        with self._lock:
            for key in [key for key in self._items if matching(key)]:
                del self._items[key]

    def keys(self) -> list[Any]:
        """What is there, the longest unused first."""
        with self._lock:
            return list(self._items)


class Lab:
    """What a view is given: models by name, runs of them, and where to report progress.

    Args:
        load: how a model is loaded, `load(name, progress=...)`; by default `trace.load`.
        model_bytes: how many bytes of loaded models to keep (at least the last one is kept).
        pass_bytes: how many bytes of past runs to keep.
        base_bytes: how many bytes of texts that sweeps start from to keep (at least the last one).
        files: whether a picture may be named by its path on this machine; a page's may not.
    """

    def __init__(
        self,
        load: Callable[..., LanguageModel] | None = None,
        *,
        progress: Progress = SILENT,
        model_bytes: int = MODEL_BYTES,
        pass_bytes: int = PASS_BYTES,
        base_bytes: int = BASE_BYTES,
        files: bool = True,
    ):
        self.progress, self.files = progress, files
        self._load = load
        self._models: Shelf[LanguageModel] = Shelf(model_bytes, _model_bytes, keep_one=True)
        self._passes: Shelf[Pass] = Shelf(pass_bytes, lambda done: done.bytes, keep_one=False)
        self._bases: Shelf[Base | Pair] = Shelf(base_bytes, _base_bytes, keep_one=True)
        self._nets: Shelf[VisionModel] = Shelf(model_bytes, _net_bytes, keep_one=True)
        self._found: Shelf[Any] = Shelf(FOUND_BYTES, _held_bytes, keep_one=False)
        self._cards: WeakKeyDictionary[LanguageModel, ModelCard] = WeakKeyDictionary()

    def for_job(self, progress: Progress) -> Lab:
        """The same lab, sharing its models and runs, that reports to (and is stopped by) `progress`."""
        copy = Lab(self._load, progress=progress, files=self.files)
        copy._models, copy._passes, copy._cards = self._models, self._passes, self._cards
        copy._bases, copy._nets, copy._found = self._bases, self._nets, self._found
        return copy

    # --- models --------------------------------------------------------------------------------
    def model(self, name: str) -> LanguageModel:
        """The model called `name`, loaded once and kept. Raises what `trace.load` raises."""

        def load() -> LanguageModel:
            self.progress.report(f"loading {name}")
            if self._load is not None:
                return self._load(name, progress=self.progress)
            from llm_workings.trace.model import load as load_by_name

            return load_by_name(name, progress=self.progress)

        return self._models.get(name, load)

    def add(self, name: str, model: LanguageModel) -> None:
        """Make a model that was loaded elsewhere (in a notebook) known under a name."""
        if self._models.peek(name) is not model:
            self._passes.remove(lambda key: key[0] == name)
            self._bases.remove(lambda key: key[0] == name)
            self._found.remove(lambda key: key[0] == name)
            self._models.put(name, model)

    def loaded(self) -> list[str]:
        """The names of the models in memory, the longest unused first."""
        return self._models.keys()

    # --- runs ----------------------------------------------------------------------------------
    def read(
        self,
        name: str,
        prompt: str,
        ablate: list[HeadRef] | tuple[HeadRef, ...] = (),
        ablation: Literal["zero", "mean"] = "zero",
    ) -> Pass:
        """The model's pass through a text, with these heads ablated; the last few are kept."""
        from .passes import run

        model = self.model(name)
        key = pass_key(name, prompt, ablate, ablation)
        return self._passes.get(key, lambda: run(self, model, prompt, ablate, ablation))

    def remember(
        self,
        name: str,
        prompt: str,
        ablate: list[HeadRef],
        ablation: Literal["zero", "mean"],
        done: Pass,
    ) -> None:
        """Keep a pass that was run elsewhere, for `read` to find."""
        self._passes.put(pass_key(name, prompt, ablate, ablation), done)

    def base(self, name: str, prompt: str) -> Base:
        """A text run once, for sweeps to start from; the last few are kept. Raises as `causal.base.Base`."""
        from llm_workings.causal.base import Base

        model = self.model(name)
        return cast("Base", self._bases.get((name, prompt), lambda: Base(model, prompt, self.progress)))

    def pair(self, name: str, clean: str, corrupted: str) -> Pair:
        """Two texts that align, each run once. Raises as `causal.patching.Pair`."""
        from llm_workings.causal.patching import Pair

        model = self.model(name)
        made = self._bases.get((name, clean, corrupted), lambda: Pair(model, clean, corrupted, self.progress))
        return cast("Pair", made)

    # --- pictures ------------------------------------------------------------------------------
    def vision(self, name: str) -> VisionModel:
        """The vision model called `name`, loaded once and kept. Raises what `load_vision` raises."""

        def load() -> VisionModel:
            self.progress.report(f"loading {name}")
            from llm_workings.models.vision_load import load_vision

            return load_vision(name, progress=self.progress)

        return self._nets.get(name, load)

    def add_vision(self, name: str, model: VisionModel) -> None:
        """Make a vision model that was made elsewhere (in a notebook) known under a name."""
        if self._nets.peek(name) is not model:
            self._found.remove(lambda key: key[0] == name)
            self._nets.put(name, model)

    def found(self, net: str, key: Hashable, make: Callable[[], Item]) -> Item:
        """What was worked out of the model `net`, kept under `key`; made if it is not there.

        `make` may be stopped, and two may make the same thing at once: nothing waits for it.
        """
        known = self._found.peek((net, key))
        if known is None:
            known = make()
            self._found.put((net, key), known)
        return cast("Item", known)

    def picture(self, name: str, net: str) -> Opened:
        """The picture called `name`, for a net. Raises as `vision_parts.open_picture`."""
        from .vision_parts import open_picture

        return open_picture(name, net=net, files=self.files)

    # --- words ---------------------------------------------------------------------------------
    def card(self, model: LanguageModel) -> ModelCard:
        """What a page says about a model."""
        if model not in self._cards:
            self._cards[model] = card_of(model)
        return self._cards[model]

    def tokens(self, model: LanguageModel, ids: list[int]) -> list[Token]:
        """Tokens exactly as they are."""
        return [token_of(model, index) for index in ids]


def card_of(model: LanguageModel) -> ModelCard:
    """What a page says about a model."""
    from llm_workings.models.spec import NoHead

    spec, origin, tokenizer = model.spec, model.origin, model.tokenizer
    mask = tokenizer.mask_id
    known = next((entry for entry in catalogue.entries() if entry.name == model.name), None)
    return ModelCard(
        name=model.name,
        title=known.title if known else Path(model.name).name if origin else model.name,
        family=origin.family_name if origin else "custom",
        n_layers=spec.n_layers,
        n_heads=spec.attention.n_heads,
        n_key_value_heads=spec.attention.n_key_value_heads,
        d_model=spec.d_model,
        d_head=spec.attention.d_head,
        n_ctx=spec.n_ctx,
        vocab_size=spec.vocab_size,
        parameters=model.n_parameters,
        causal=spec.causal,
        answers=not isinstance(spec.head, NoHead),
        mask_token=None if mask is None else tokenizer.piece(mask),
        source=origin.origin if origin else "made in this session",
    )


def token_of(model: LanguageModel, index: int) -> Token:
    """A token exactly as it is. Embeddings are often padded past the vocabulary: such rows have no text."""
    from llm_workings.trace.guesses import piece_of

    known = index < model.tokenizer.vocab_size
    return Token(
        id=index,
        text=piece_of(model.tokenizer, index),
        special=not known or model.tokenizer.is_special(index),
    )


def pass_key(
    name: str, prompt: str, ablate: list[HeadRef] | tuple[HeadRef, ...], ablation: str
) -> tuple[Hashable, ...]:
    heads = tuple(sorted({(ref.layer, ref.head) for ref in ablate}))
    return (name, prompt, heads, ablation if heads else "")


def _base_bytes(base: Base | Pair) -> int:
    if not hasattr(base, "stream"):
        return _base_bytes(base.clean) + _base_bytes(base.corrupted)
    kept = sum(stop.numel() * stop.element_size() for stop in base.stream)
    return 4 * kept  # its keys and values, its logits, and what sweeps have it hold


def _held_bytes(thing: Any) -> int:
    """Of the arrays in a thing, as deep as dataclasses, payloads, mappings and lists go."""
    if hasattr(thing, "nbytes"):
        return int(thing.nbytes)
    if isinstance(thing, Mapping):
        return sum(map(_held_bytes, thing.values()))
    if isinstance(thing, list | tuple):
        return sum(map(_held_bytes, thing))
    return sum(map(_held_bytes, vars(thing).values())) if hasattr(thing, "__dict__") else 64


def _net_bytes(model: VisionModel) -> int:
    return sum(p.numel() * p.element_size() for p in model.module.parameters())


def _model_bytes(model: LanguageModel) -> int:
    parameters = {id(p): p for p in model.transformer.parameters()}.values()  # tied ones once
    return sum(p.numel() * p.element_size() for p in parameters)
