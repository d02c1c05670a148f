"""Sites: the names of every place in a model, and the one way to say them.

A `Site` is a kind and, inside a block, a layer: `resid_pre.5`, `pattern.7`, `logits`.
TransformerLens names (`blocks.5.hook_resid_pre`) mean the same sites.

       tokens
         |  embed, pos_embed
         v
    resid_pre.0 ---------------------------+
         | ln1                             |      ln1_scale: what the norm divided by
         | q, k, v  (rot_q, rot_k: after rotation)
         | scores -> pattern               |      (scores after scale and mask)
         | z  -> result (one head's write) |
         | attn_out ---------------------->+
    resid_mid.0 ---------------------------+
         | ln2, ln2_scale                  |
         | mlp_pre (mlp_pre_linear if gated)
         | mlp_post                        |
         | mlp_out ----------------------->+
    resid_post.0 = resid_pre.1 ...
         | ln_final, ln_final_scale
       logits

In a post-norm block (BERT) the norms stand after the sums: `resid_mid` and `resid_post` are the
sums, `ln1` and `ln2` what they are normed to, and `ln2.l` is `resid_pre.(l+1)`.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache

from llm_workings.core.errors import BadInput, unknown

from .spec import (
    GatedMLP,
    LearnedPositions,
    NoHead,
    NoMLP,
    NoNorm,
    ParallelPreNorm,
    PostNorm,
    RotaryPositions,
    Spec,
)


@dataclass(frozen=True)
class Kind:
    """A kind of site: its axes, its TransformerLens name and one line on what stands there."""

    name: str
    axes: str
    lens_name: str  # with {} for the layer, if it has one
    about: str

    @property
    def layered(self) -> bool:
        return "{}" in self.lens_name


_STREAM = "batch position d_model"
_QUERY = "batch position head d_head"
_KEY = "batch position key_value_head d_head"
_PAIR = "batch head query key"
_NEURON = "batch position neuron"
_SCALE = "batch position one"

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("embed", _STREAM, "hook_embed", "each token's embedding"),
        Kind("pos_embed", _STREAM, "hook_pos_embed", "each position's learned embedding"),
        Kind("type_embed", _STREAM, "hook_token_type_embed", "each segment's embedding (BERT)"),
        Kind("resid_pre", _STREAM, "blocks.{}.hook_resid_pre", "the residual stream entering a block"),
        Kind("ln1_scale", _SCALE, "blocks.{}.ln1.hook_scale", "what the first norm divides by"),
        Kind("ln1", _STREAM, "blocks.{}.ln1.hook_normalized", "the first norm's output"),
        Kind("q", _QUERY, "blocks.{}.attn.hook_q", "queries, before any rotation"),
        Kind("k", _KEY, "blocks.{}.attn.hook_k", "keys, before any rotation"),
        Kind("v", _KEY, "blocks.{}.attn.hook_v", "values"),
        Kind("rot_q", _QUERY, "blocks.{}.attn.hook_rot_q", "queries after rotation"),
        Kind("rot_k", _KEY, "blocks.{}.attn.hook_rot_k", "keys after rotation"),
        Kind("scores", _PAIR, "blocks.{}.attn.hook_attn_scores", "q . k / sqrt(d_head), masked (-inf)"),
        Kind("pattern", _PAIR, "blocks.{}.attn.hook_pattern", "attention weights; each row sums to 1"),
        Kind("z", _QUERY, "blocks.{}.attn.hook_z", "values mixed by the pattern"),
        Kind("result", "batch position head d_model", "blocks.{}.attn.hook_result", "one head's write"),
        Kind("attn_out", _STREAM, "blocks.{}.hook_attn_out", "what attention adds to the stream"),
        Kind("resid_mid", _STREAM, "blocks.{}.hook_resid_mid", "the stream between attention and MLP"),
        Kind("ln2_scale", _SCALE, "blocks.{}.ln2.hook_scale", "what the second norm divides by"),
        Kind("ln2", _STREAM, "blocks.{}.ln2.hook_normalized", "the second norm's output"),
        Kind("mlp_pre", _NEURON, "blocks.{}.mlp.hook_pre", "neurons before the activation (the gate)"),
        Kind("mlp_pre_linear", _NEURON, "blocks.{}.mlp.hook_pre_linear", "what the gate multiplies"),
        Kind("mlp_post", _NEURON, "blocks.{}.mlp.hook_post", "neurons after activation (and gate)"),
        Kind("mlp_out", _STREAM, "blocks.{}.hook_mlp_out", "what the MLP adds to the stream"),
        Kind("resid_post", _STREAM, "blocks.{}.hook_resid_post", "the stream leaving a block"),
        Kind("ln_final_scale", _SCALE, "ln_final.hook_scale", "what the last norm divides by"),
        Kind("ln_final", _STREAM, "ln_final.hook_normalized", "what the unembedding reads"),
        Kind("logits", "batch position vocabulary", "hook_logits", "the model's output"),
    )
}
_LENS_PATTERNS = [
    (re.compile(re.escape(kind.lens_name).replace(r"\{\}", r"(\d+)")), kind.name) for kind in KINDS.values()
]
# TransformerLens's own second spelling of the pattern, from its older versions.
_LENS_PATTERNS.append((re.compile(r"blocks\.(\d+)\.attn\.hook_attn"), "pattern"))


@dataclass(frozen=True, order=True)
class Site:
    """One place in a model. `str(site)` and `Site.parse` are inverse."""

    kind: str
    layer: int | None = None

    def __str__(self) -> str:
        return self.kind if self.layer is None else f"{self.kind}.{self.layer}"

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of the value's dimensions, in order."""
        return tuple(KINDS[self.kind].axes.split())

    @property
    def lens_name(self) -> str:
        """The same place as TransformerLens calls it."""
        return KINDS[self.kind].lens_name.format(self.layer)

    @staticmethod
    def parse(text: str) -> Site:
        """The site that `text` names, in our words or TransformerLens's.

        Raises:
            UnknownName: no such kind of site; suggests the nearest.
            BadInput: a layer is missing, or given where there is none.
        """
        for pattern, kind in _LENS_PATTERNS:
            if match := pattern.fullmatch(text):
                return Site(kind, int(match[1]) if match.groups() else None)
        name, dot, layer = text.partition(".")
        if name not in KINDS:
            raise unknown("site", text, _spellings(text))
        if KINDS[name].layered and not layer.isdecimal():
            raise BadInput(f"The site {text!r} needs a layer.", hint=f"For example {name + '.0'!r}.")
        if not KINDS[name].layered and dot:
            raise BadInput(f"The site {text!r} has no layers.", hint=f"Say {name!r}.")
        return Site(name, int(layer) if layer else None)


def _spellings(text: str) -> list[str]:
    """What could have been meant by `text`: every kind in both vocabularies, of the layer it names."""
    named = re.search(r"\.(\d+)(?=\.|$)", text)
    layer = named[1] if named else "0"
    ours = [f"{kind.name}.{layer}" if kind.layered and named else kind.name for kind in KINDS.values()]
    return [*ours, *(kind.lens_name.format(layer) for kind in KINDS.values())]


@cache
def site(kind: str, layer: int | None = None) -> Site:
    """The one `Site` object of this kind and layer (a forward names hundreds)."""
    return Site(kind, layer)


@lru_cache(maxsize=64)
def sites_of(spec: Spec) -> tuple[Site, ...]:
    """Every site that a model of this spec has, in the order a forward reaches them."""
    no_norm, gated = isinstance(spec.norm, NoNorm), isinstance(spec.mlp, GatedMLP)
    rotary, attention_only = isinstance(spec.positions, RotaryPositions), isinstance(spec.mlp, NoMLP)
    absent = {
        "ln1_scale": no_norm,
        "ln2_scale": no_norm or attention_only,
        "ln_final_scale": no_norm or not spec.final_norm,
        "ln_final": not spec.final_norm,
        "rot_q": not rotary,
        "rot_k": not rotary,
        "pos_embed": not isinstance(spec.positions, LearnedPositions),
        "type_embed": not spec.n_token_types,
        "resid_mid": isinstance(spec.block, ParallelPreNorm) or attention_only,
        "mlp_pre_linear": not gated,
        "logits": isinstance(spec.head, NoHead),
        **dict.fromkeys(("ln2", "mlp_pre", "mlp_post", "mlp_out"), attention_only),
    }
    present = [kind for kind in KINDS.values() if not absent.get(kind.name)]
    layered = [kind.name for kind in present if kind.layered]
    if isinstance(spec.block, PostNorm):
        for norm, after in (("ln1", "resid_mid"), ("ln2", "resid_post")):
            for name in (f"{norm}_scale", norm):
                layered.remove(name)
            layered[layered.index(after) + 1 : layered.index(after) + 1] = [f"{norm}_scale", norm]
    names = [kind.name for kind in present]
    first, last = names.index("resid_pre"), len(names) - names[::-1].index("resid_post")
    return (
        *(site(name) for name in names[:first]),
        *(site(name, layer) for layer in range(spec.n_layers) for name in layered),
        *(site(name) for name in names[last:]),
    )


def stream_of(spec: Spec) -> tuple[Site, ...]:
    """The residual stream's stops: before the first block and after each."""
    leaving = "ln2" if isinstance(spec.block, PostNorm) else "resid_post"
    return (site("resid_pre", 0), *(site(leaving, layer) for layer in range(spec.n_layers)))


def select(spec: Spec, names: str | Site | Iterable[str | Site]) -> tuple[Site, ...]:
    """The sites of a model that `names` mean: exact names, globs and layer ranges.

    `pattern.*` is every layer's; `resid_post.3-6` and `resid_post.[3:7]` are layers 3 to 6;
    `pattern.-1` is the last layer's; `*` is everything; `blocks.*.hook_resid_pre` works as well.

    Raises:
        UnknownName: a name that matches nothing in this model, with the nearest.
    """
    if isinstance(names, str | Site):
        names = [names]
    present = sites_of(spec)
    chosen: set[Site] = set()
    for name in names:
        found = [name] if name in present else _matches(str(name), present, spec.n_layers)
        if not found:
            raise _absent(str(name), present, spec.n_layers)
        chosen.update(s for s in found if isinstance(s, Site))
    return tuple(s for s in present if s in chosen)


_RANGE = re.compile(r"(?P<kind>\w+)\.(?:\[(?P<a>-?\d*):(?P<b>-?\d*)\]|(?P<c>\d+)-(?P<d>\d+)|(?P<e>-\d+))$")


def _matches(name: str, present: tuple[Site, ...], n_layers: int) -> list[Site]:
    if match := _RANGE.match(name):
        if match["e"]:
            layer = n_layers + int(match["e"])
            layers = range(layer, layer + 1)
        elif match["c"]:
            layers = range(int(match["c"]), int(match["d"]) + 1)
            if layers.stop > n_layers:
                return []
        else:
            layers = range(n_layers)[slice(*(int(x) if x else None for x in (match["a"], match["b"])))]
        return [s for s in present if s.kind == match["kind"] and s.layer in layers]
    if "*" in name or "?" in name:
        return [
            s for s in present if fnmatch.fnmatchcase(str(s), name) or fnmatch.fnmatchcase(s.lens_name, name)
        ]
    parsed = Site.parse(name)
    return [s for s in present if s == parsed]


def _absent(name: str, present: tuple[Site, ...], n_layers: int) -> Exception:
    spelled = (pattern.fullmatch(name) for pattern, _ in _LENS_PATTERNS)
    kind = Site.parse(name).kind if any(spelled) else name.partition(".")[0]
    if kind in KINDS and any(s.kind == kind for s in present):
        return BadInput(
            f"There is no site {name!r}: this model has layers 0 to {n_layers - 1}.",
            hint=f"Did you mean {f'{kind}.{n_layers - 1}'!r}?",
            given={"site": name, "n_layers": n_layers},
        )
    return unknown("site", name, [str(s) for s in present])
