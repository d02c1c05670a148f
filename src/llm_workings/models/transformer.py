"""The one transformer. Read it top to bottom: norm, positions, attention, MLP, block, model.

Every named activation passes through one callable, `tap(site, value) -> value`: identity by
default, a recorder or an editor when `llm_workings.trace` supplies one. What a model is stands
in its `Spec`; nothing here knows the name of any model.

Shapes are written with b = batch, n = positions computed now, t = positions attended to
(t > n when earlier ones come from a cache), h = heads, g = key-value heads, d = d_model, e = d_head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import spec as sp
from .sites import Site, site
from .unembedding import Unembedding


class Tap(Protocol):
    """What a forward hands its activations to."""

    def __call__(self, where: Site, value: Tensor) -> Tensor:
        """See, and perhaps change, the value at a site; what is returned is used from there on."""

    def wants(self, where: Site) -> bool:
        """Whether a site is needed whose value the fast path never forms (scores, scales ...)."""


class Untapped:
    """The tap that lets everything pass and asks for nothing."""

    def __call__(self, where: Site, value: Tensor) -> Tensor:
        return value

    def wants(self, where: Site) -> bool:
        return False


UNTAPPED = Untapped()


# --- norm ------------------------------------------------------------------------------------
def _wide(x: Tensor) -> Tensor:
    """Half precision is too coarse for a mean of squares; wider types keep their own."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class Norm(nn.Module):
    """LayerNorm, RMSNorm or nothing.

    LayerNorm:  x -> x - mean -> / sqrt(mean square + eps) -> * weight + bias
    RMSNorm:    x -------------> / sqrt(mean square + eps) -> * weight
                                   `-- the scale
    """

    def __init__(self, kind: sp.Norm, size: int):
        super().__init__()
        self.kind, self.size = kind, size
        if not isinstance(kind, sp.NoNorm):
            self.weight = nn.Parameter(torch.ones(size))
        if isinstance(kind, sp.LayerNorm):
            self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor, tap: Tap, where: Site) -> Tensor:
        if isinstance(self.kind, sp.NoNorm):
            return tap(where, x)
        scale_site = site(f"{where.kind}_scale", where.layer)
        if tap.wants(scale_site):  # the same arithmetic, with the scale in the open
            wide = _wide(x)
            if isinstance(self.kind, sp.LayerNorm):
                wide = wide - wide.mean(-1, keepdim=True)
            scale = tap(scale_site, (wide.pow(2).mean(-1, keepdim=True) + self.kind.eps).sqrt())
            x = (wide / scale).to(x.dtype) * self.weight
            return tap(where, x + self.bias if isinstance(self.kind, sp.LayerNorm) else x)
        return tap(where, self.apply_to(x))

    def apply_to(self, x: Tensor) -> Tensor:
        """The norm alone, of any `[..., size]`."""
        match self.kind:
            case sp.LayerNorm(eps):
                return F.layer_norm(x, (self.size,), self.weight, self.bias, eps)
            case sp.RMSNorm(eps):
                wide = _wide(x)
                normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
                return self.weight * normed.to(x.dtype)
            case _:
                return x


# --- positions -------------------------------------------------------------------------------
@dataclass
class Rotation:
    """Cosines and sines of each position's angles, `[n, rotary_size]` or `[b, n, rotary_size]`."""

    cos: Tensor
    sin: Tensor

    def apply_to(self, x: Tensor) -> Tensor:
        """Turn the first dimensions of `x`, `[b, n, heads, e]`, in pairs (i, i + half)."""
        size = self.cos.shape[-1]
        turning, still = x[..., :size], x[..., size:]
        first, second = turning.chunk(2, dim=-1)
        across = torch.cat((-second, first), dim=-1)
        cos, sin = self.cos.unsqueeze(-2), self.sin.unsqueeze(-2)
        turned = turning * cos + across * sin
        return torch.cat((turned, still), dim=-1) if still.shape[-1] else turned


def rotary_frequencies(positions: sp.RotaryPositions, size: int) -> Tensor:
    """Radians a position for each of `size / 2` pairs, float32 as in the models' own training.

    base^(-2i / size) (Su et al. 2021, eq. 15), slowed as the scaling says.
    """
    exponent = torch.arange(0, size, 2, dtype=torch.int64).float() / size
    frequencies = 1.0 / (positions.base**exponent)
    match positions.scaling:
        case sp.LinearScaling(factor):
            return frequencies / factor
        case sp.Llama3Scaling(factor, low, high, original):
            turns = original * frequencies / (2 * math.pi)  # full turns within the first context
            kept = ((turns - low) / (high - low)).clamp(0, 1)  # 0: slowed fully, 1: left alone
            return (1 - kept) * frequencies / factor + kept * frequencies
    return frequencies


# --- attention -------------------------------------------------------------------------------
class KeyValueCache:
    """Keys (after rotation) and values of the positions seen so far, `[b, t, g, e]` a layer."""

    def __init__(self, n_layers: int):
        self.keys: list[Tensor | None] = [None] * n_layers
        self.values: list[Tensor | None] = [None] * n_layers

    def length(self, layer: int) -> int:
        keys = self.keys[layer]
        return 0 if keys is None else keys.shape[1]

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append the new positions of one layer; returns all of them so far."""
        old_keys, old_values = self.keys[layer], self.values[layer]
        if old_keys is not None and old_values is not None:
            keys, values = torch.cat((old_keys, keys), 1), torch.cat((old_values, values), 1)
        self.keys[layer], self.values[layer] = keys, values
        return keys, values

    def before(self, position: int) -> KeyValueCache:
        """A cache of the positions before `position` only; extending it leaves this one as it is."""
        cut = KeyValueCache(len(self.keys))
        cut.keys = [None if k is None else k[:, :position] for k in self.keys]
        cut.values = [None if v is None else v[:, :position] for v in self.values]
        return cut


class Attention(nn.Module):
    """Multi-head attention with grouped key-value heads.

    x --+-- W_Q --(rotate)-- q --+
        +-- W_K --(rotate)-- k --+-- scores -- softmax -- pattern --+
        +-- W_V ------------ v -------------------------------------+-- z -- W_O -- out
    """

    def __init__(self, spec: sp.Spec):
        super().__init__()
        a = self.kind = spec.attention
        self.widths = (a.n_heads * a.d_head, a.n_key_value_heads * a.d_head, a.n_key_value_heads * a.d_head)
        self.input = nn.Linear(spec.d_model, sum(self.widths), bias=a.input_bias)  # W_Q, W_K, W_V stacked
        self.output = nn.Linear(a.n_heads * a.d_head, spec.d_model, bias=a.output_bias)
        if a.query_key_norm is not None:
            self.query_norm = Norm(a.query_key_norm, a.d_head)
            self.key_norm = Norm(a.query_key_norm, a.d_head)

    def forward(
        self,
        x: Tensor,
        tap: Tap,
        layer: int,
        rotation: Rotation | None,
        visible: Tensor | None,
        cache: KeyValueCache | None,
    ) -> Tensor:
        """`x` is `[b, n, d]`; `visible` says which keys a query may see (None: all, or the causal
        triangle), `[n, t]` or `[b, 1, n, t]`; returns `[b, n, d]`."""
        a = self.kind
        q, k, v = (
            part.unflatten(-1, (-1, a.d_head)) for part in self.input(x).split(self.widths, dim=-1)
        )  # [b, n, h or g, e]
        if a.query_key_norm is not None:
            q, k = self.query_norm.apply_to(q), self.key_norm.apply_to(k)
        q, k, v = tap(site("q", layer), q), tap(site("k", layer), k), tap(site("v", layer), v)
        if rotation is not None:
            q = tap(site("rot_q", layer), rotation.apply_to(q))
            k = tap(site("rot_k", layer), rotation.apply_to(k))
        if cache is not None:
            k, v = cache.extend(layer, k, v)

        slow = tap.wants(site("scores", layer)) or tap.wants(site("pattern", layer))
        z = (self._in_the_open if slow else self._fused)(q, k, v, tap, layer, visible)  # [b, n, h, e]
        z = tap(site("z", layer), z)
        if tap.wants(site("result", layer)):  # each head's own write, before they are added up
            result = tap(site("result", layer), torch.einsum("bnhe,hed->bnhd", z, self.w_o))
            out = result.sum(2)
            return out if self.output.bias is None else out + self.output.bias
        return self.output(z.flatten(2))

    def _in_the_open(
        self, q: Tensor, k: Tensor, v: Tensor, tap: Tap, layer: int, visible: Tensor | None
    ) -> Tensor:
        q, k, v = (self._all_heads(part).transpose(1, 2) for part in (q, k, v))  # [b, h, n or t, e]
        scores = q @ k.mT * self.kind.d_head**-0.5  # [b, h, n, t]
        if visible is None and self.kind.causal and q.shape[2] > 1:
            visible = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        if visible is not None:
            scores = scores.masked_fill(~visible, -torch.inf)
        scores = tap(site("scores", layer), scores)
        half = scores.dtype in (torch.float16, torch.bfloat16)
        pattern = scores.softmax(-1, dtype=torch.float32 if half else None).to(v.dtype)
        pattern = tap(site("pattern", layer), pattern)
        return (pattern @ v).transpose(1, 2)

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, tap: Tap, layer: int, visible: Tensor | None) -> Tensor:
        causal = visible is None and self.kind.causal and q.shape[1] > 1
        q, k, v = (self._all_heads(part).transpose(1, 2) for part in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, visible, is_causal=causal).transpose(1, 2)

    def _all_heads(self, x: Tensor) -> Tensor:
        """Repeat each key-value head for the query heads that share it: `[b, t, g, e] -> [b, t, h, e]`."""
        repeats = self.kind.n_heads // x.shape[2]
        return x if repeats == 1 else x.repeat_interleave(repeats, dim=2)

    # The four matrices by head, as the literature writes them: x W_Q is a head's query.
    @property
    def w_q(self) -> Tensor:
        """`[h, d, e]`"""
        return self._input_part(0)

    @property
    def w_k(self) -> Tensor:
        """`[g, d, e]`"""
        return self._input_part(1)

    @property
    def w_v(self) -> Tensor:
        """`[g, d, e]`"""
        return self._input_part(2)

    @property
    def w_o(self) -> Tensor:
        """`[h, e, d]`"""
        return self.output.weight.T.unflatten(0, (self.kind.n_heads, self.kind.d_head))

    def _input_part(self, index: int) -> Tensor:
        part = self.input.weight.split(self.widths, dim=0)[index]
        return part.unflatten(0, (-1, self.kind.d_head)).mT


# --- MLP -------------------------------------------------------------------------------------
def activate(x: Tensor, name: sp.Activation) -> Tensor:
    match name:
        case "relu":
            return F.relu(x)
        case "silu":
            return F.silu(x)
        case "gelu":
            return F.gelu(x)
        case "gelu_tanh":
            return F.gelu(x, approximate="tanh")


class PlainMLP(nn.Module):
    """x -- W_in -- mlp_pre -- activation -- mlp_post -- W_out"""

    def __init__(self, kind: sp.PlainMLP, d_model: int):
        super().__init__()
        self.kind = kind
        self.input = nn.Linear(d_model, kind.width, bias=kind.bias)
        self.output = nn.Linear(kind.width, d_model, bias=kind.bias)

    def forward(self, x: Tensor, tap: Tap, layer: int) -> Tensor:
        pre = tap(site("mlp_pre", layer), self.input(x))
        post = tap(site("mlp_post", layer), activate(pre, self.kind.activation))
        return self.output(post)


class GatedMLP(nn.Module):
    """
    x --+-- W_gate -- mlp_pre -- activation --+
        +-- W_in ---- mlp_pre_linear -------- * -- mlp_post -- W_out
    """

    def __init__(self, kind: sp.GatedMLP, d_model: int):
        super().__init__()
        self.kind = kind
        self.gate = nn.Linear(d_model, kind.width, bias=kind.bias)
        self.input = nn.Linear(d_model, kind.width, bias=kind.bias)
        self.output = nn.Linear(kind.width, d_model, bias=kind.bias)

    def forward(self, x: Tensor, tap: Tap, layer: int) -> Tensor:
        pre = tap(site("mlp_pre", layer), self.gate(x))
        linear = tap(site("mlp_pre_linear", layer), self.input(x))
        post = tap(site("mlp_post", layer), activate(pre, self.kind.activation) * linear)
        return self.output(post)


# --- block -----------------------------------------------------------------------------------
class Block(nn.Module):
    """One layer. The stream runs down the left side; what a part adds comes in from the right.

    PreNorm               ParallelPreNorm          PostNorm

    |--- ln1 - attn --+   |--- ln1 - attn --+      |--- attn --+
    + <---------------+   |--- ln2 - MLP ---+      + <---------+
    |--- ln2 - MLP ---+   + <---------------+      ln1
    + <---------------+   |                        |--- MLP ---+
    |                                              + <---------+
                                                   ln2
    """

    def __init__(self, spec: sp.Spec, layer: int):
        super().__init__()
        self.kind, self.layer = spec.block, layer
        self.ln1 = Norm(spec.norm, spec.d_model)
        self.attention = Attention(spec)
        self.mlp: PlainMLP | GatedMLP | None = None
        if not isinstance(spec.mlp, sp.NoMLP):
            self.ln2 = Norm(spec.norm, spec.d_model)
            gated = isinstance(spec.mlp, sp.GatedMLP)
            self.mlp = (GatedMLP if gated else PlainMLP)(spec.mlp, spec.d_model)  # type: ignore[arg-type]

    def forward(
        self,
        x: Tensor,
        tap: Tap,
        rotation: Rotation | None,
        visible: Tensor | None,
        cache: KeyValueCache | None,
    ) -> Tensor:
        layer = self.layer

        def here(kind: str) -> Site:
            return site(kind, layer)

        def attend(value: Tensor) -> Tensor:
            return tap(here("attn_out"), self.attention(value, tap, layer, rotation, visible, cache))

        def think(value: Tensor) -> Tensor:
            assert self.mlp is not None
            return tap(here("mlp_out"), self.mlp(value, tap, layer))

        x = tap(here("resid_pre"), x)
        if self.mlp is None:
            return tap(here("resid_post"), x + attend(self.ln1(x, tap, here("ln1"))))
        match self.kind:
            case sp.PreNorm():
                x = tap(here("resid_mid"), x + attend(self.ln1(x, tap, here("ln1"))))
                return tap(here("resid_post"), x + think(self.ln2(x, tap, here("ln2"))))
            case sp.ParallelPreNorm():
                attention = attend(self.ln1(x, tap, here("ln1")))
                return tap(here("resid_post"), x + attention + think(self.ln2(x, tap, here("ln2"))))
            case sp.PostNorm():
                x = self.ln1(tap(here("resid_mid"), x + attend(x)), tap, here("ln1"))
                return self.ln2(tap(here("resid_post"), x + think(x)), tap, here("ln2"))


# --- model -----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Resume:
    """Where to take up a forward that was left: at `layer`, with the stream as it stood there.

    `residual` is `[b, n, d]`, the stream entering `layer` at the positions from `position` on;
    the positions before it are in the cache that the forward is given.
    """

    layer: int
    residual: Tensor
    position: int = 0


class Transformer(nn.Module):
    """tokens -> embeddings -> blocks -> final norm -> logits, as its `Spec` says."""

    def __init__(self, spec: sp.Spec):
        super().__init__()
        self.spec = spec
        self.embed = nn.Embedding(spec.vocab_size, spec.d_model)
        if isinstance(spec.positions, sp.LearnedPositions):
            self.pos_embed = nn.Embedding(spec.n_ctx, spec.d_model)
        if spec.n_token_types:
            self.type_embed = nn.Embedding(spec.n_token_types, spec.d_model)
        if spec.norm_embedding:
            self.embed_norm = Norm(spec.norm, spec.d_model)
        self.blocks = nn.ModuleList(Block(spec, layer) for layer in range(spec.n_layers))
        if spec.final_norm:
            self.final_norm = Norm(spec.norm, spec.d_model)
        match spec.head:
            case sp.NextTokenHead(_, bias):
                self.unembed = Unembedding(spec.d_model, spec.vocab_size, bias=bias)
            case sp.MaskedTokenHead(_, eps):
                self.head_dense = nn.Linear(spec.d_model, spec.d_model)
                self.head_norm = Norm(sp.LayerNorm(eps), spec.d_model)
                self.unembed = Unembedding(spec.d_model, spec.vocab_size, bias=True)
        self.tie_weights()

    def tie_weights(self) -> None:
        """Make the unembedding the embedding again, where the spec says that they are one."""
        if not isinstance(self.spec.head, sp.NoHead) and self.spec.head.tied:
            self.unembed.weight = self.embed.weight

    def forward(
        self,
        tokens: Tensor,
        *,
        tap: Tap = UNTAPPED,
        present: Tensor | None = None,
        token_types: Tensor | None = None,
        cache: KeyValueCache | None = None,
        resume: Resume | None = None,
        stop: int | None = None,
        score: slice | Tensor = slice(None),
    ) -> Tensor | None:
        """Run the model.

        Args:
            tokens: `[b, n]` ids. After a cache they are the new positions only; with `resume`,
                the same positions as its residual (their ids are then not looked at).
            tap: sees every site, in order.
            present: `[b, t]`, False where a row is padded (after its end); None if nothing is.
            token_types: `[b, n]` segment ids (BERT); None means all 0.
            cache: keys and values of earlier positions; it grows by the new ones.
            resume: take up at a layer instead of the embedding.
            stop: run only the layers before this one, and no head.
            score: which of the positions meet the unembedding.

        Returns:
            logits `[b, scored positions, vocabulary]`; the last residual if the model has no
            head; None after an early stop.
        """
        first = resume.layer if resume else 0
        last = self.spec.n_layers if stop is None else stop
        if resume is not None:
            begin = resume.position
        else:
            begin = cache.length(0) if cache is not None else 0
        n = tokens.shape[1]
        positions = torch.arange(begin, begin + n, device=tokens.device)
        x = self._embedded(tokens, positions, token_types, tap) if resume is None else resume.residual
        rotation = self.rotation(positions, x.dtype)
        visible = self._visible(n, begin, present, tokens.device)
        for layer in range(first, last):
            x = self.blocks[layer](x, tap, rotation, visible, cache)
        if stop is not None:
            return None
        return self.read_out(x[:, score], tap)

    def read_out(self, residual: Tensor, tap: Tap = UNTAPPED) -> Tensor:
        """Final norm and head, of a stream `[b, n, d]`: logits, or the stream where there is no head."""
        x = self.final_norm(residual, tap, site("ln_final")) if self.spec.final_norm else residual
        match self.spec.head:
            case sp.NoHead():
                return x
            case sp.MaskedTokenHead(activation):
                x = self.head_norm.apply_to(activate(self.head_dense(x), activation))
        return tap(site("logits"), self.unembed(x))

    def rotation(self, positions: Tensor, dtype: torch.dtype) -> Rotation | None:
        if not isinstance(self.spec.positions, sp.RotaryPositions):
            return None
        frequencies = rotary_frequencies(self.spec.positions, self.spec.rotary_size).to(positions.device)
        angles = positions[:, None].float() * frequencies
        angles = torch.cat((angles, angles), dim=-1)
        return Rotation(angles.cos().to(dtype), angles.sin().to(dtype))

    def _embedded(self, tokens: Tensor, positions: Tensor, token_types: Tensor | None, tap: Tap) -> Tensor:
        x = tap(site("embed"), self.embed(tokens))
        if isinstance(self.spec.positions, sp.LearnedPositions):
            x = x + tap(site("pos_embed"), self.pos_embed(positions).expand_as(x))
        if self.spec.n_token_types:
            types = torch.zeros_like(tokens) if token_types is None else token_types
            x = x + tap(site("type_embed"), self.type_embed(types))
        return self.embed_norm.apply_to(x) if self.spec.norm_embedding else x

    def _visible(self, n: int, begin: int, present: Tensor | None, device: torch.device) -> Tensor | None:
        """Which keys each query may see; None where the plain rule (all, or a square triangle) does."""
        total = begin + n
        triangle = None
        if self.spec.causal and begin and n > 1:
            triangle = torch.ones(n, total, dtype=torch.bool, device=device).tril(begin)
        if present is None:
            return triangle
        keys = present[:, None, None, :]  # [b, 1, 1, t]
        if self.spec.causal:
            triangle = torch.ones(n, total, dtype=torch.bool, device=device).tril(begin)
            keys = keys & triangle
        return keys
