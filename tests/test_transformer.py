"""The one transformer against itself: fast paths, caches, resuming, batches, and what a tap can do."""

from __future__ import annotations

import pytest
import torch
from peers import Recorder
from tiny_models import CAUSAL, KINDS, spec_of
from tiny_models import tiny as tiny_language_model
from torch import Tensor

from llm_workings.models import spec as sp
from llm_workings.models.sites import Site, site, sites_of, stream_of
from llm_workings.models.transformer import (
    KeyValueCache,
    Norm,
    Resume,
    Rotation,
    Transformer,
    activate,
    rotary_frequencies,
)

SPECS: dict[str, sp.Spec] = {
    **{kind: spec_of(kind) for kind in KINDS},
    "qwen3": spec_of("llama", attention=sp.Attention(4, 1, 6, query_key_norm=sp.RMSNorm(1e-6))),
    "gated with biases": spec_of("llama", mlp=sp.GatedMLP(20, "relu", bias=True)),
    "no positions": spec_of("gpt2", positions=sp.NoPositions()),
    "rotary encoder": spec_of("encoder", positions=sp.RotaryPositions(base=100.0)),
    "no norm": spec_of("gpt2", norm=sp.NoNorm()),
    "parallel without head": spec_of("neox", head=sp.NoHead()),
    "normed attention-only": spec_of("attention_only", norm=sp.LayerNorm()),
    "slowed rotation": spec_of("neox", positions=sp.RotaryPositions(scaling=sp.LinearScaling(4.0))),
}
ONE_WAY = [name for name, spec in SPECS.items() if spec.causal]


def model_of(name: str) -> Transformer:
    """Random weights of which every part matters, in float64."""
    spec = SPECS[name]
    fields = {field: getattr(spec, field) for field in spec.__dataclass_fields__}
    model = tiny_language_model("gpt2", **fields).transformer
    if isinstance(spec.norm, sp.NoNorm):  # nothing keeps the stream from growing
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(0.4)
    return model


def tokens_of(*shape: int) -> Tensor:
    return torch.randint(0, 28, shape, generator=torch.Generator().manual_seed(3))


def run(model: Transformer, tokens: Tensor, **how: object) -> Tensor:
    with torch.no_grad():
        answer = model(tokens, **how)
    assert answer is not None
    return answer


def close(a: Tensor, b: Tensor, within: float = 1e-11) -> bool:
    return a.shape == b.shape and (a - b).abs().max().item() < within


class Wants(Recorder):
    """A recorder that wants some sites only, and may change them."""

    def __init__(self, *wanted: str, change: object = None):
        super().__init__()
        self.wanted, self.change = {Site.parse(name) for name in wanted}, change

    def wants(self, where: Site) -> bool:
        return where in self.wanted

    def __call__(self, where: Site, value: Tensor) -> Tensor:
        if where in self.wanted and self.change is not None:
            value = self.change(value)
        return super().__call__(where, value)


# --- what a tap sees and does ----------------------------------------------------------------------
@pytest.mark.parametrize("name", SPECS)
def test_a_recording_tap_sees_exactly_the_sites_of_the_spec_in_order(name: str) -> None:
    tap = Recorder()
    run(model_of(name), tokens_of(2, 7), tap=tap)
    assert tuple(tap.order) == sites_of(SPECS[name])


@pytest.mark.parametrize("name", SPECS)
def test_recording_changes_nothing(name: str) -> None:
    """Open attention and norms, heads written one by one: the same answer as the fast path."""
    model, tokens = model_of(name), tokens_of(2, 7)
    assert close(run(model, tokens, tap=Recorder()), run(model, tokens))


@pytest.mark.parametrize("name", SPECS)
def test_every_site_has_the_axes_it_says(name: str) -> None:
    spec, tap = SPECS[name], Recorder()
    run(model_of(name), tokens_of(2, 7), tap=tap)
    sizes = {
        "batch": 2,
        "position": 7,
        "query": 7,
        "key": 7,
        "d_model": spec.d_model,
        "head": spec.attention.n_heads,
        "key_value_head": spec.attention.n_key_value_heads,
        "d_head": spec.attention.d_head,
        "neuron": getattr(spec.mlp, "width", None),
        "one": 1,
        "vocabulary": spec.vocab_size,
    }
    for where, value in tap.seen.items():
        assert tuple(value.shape) == tuple(sizes[axis] for axis in where.axes), where


@pytest.mark.parametrize("name", SPECS)
def test_what_a_tap_returns_is_used(name: str) -> None:
    """At every site: nudging the value there changes the output."""
    model, tokens = model_of(name), tokens_of(2, 7)
    plain = run(model, tokens)
    for where in sites_of(SPECS[name]):
        draw = torch.Generator().manual_seed(0)

        def nudge(value: Tensor, draw: torch.Generator = draw) -> Tensor:
            noise = torch.rand(value.shape, generator=draw, dtype=value.dtype)
            return value + torch.where(value.isfinite(), noise, 0)

        changed = run(model, tokens, tap=Wants(str(where), change=nudge))
        assert (changed - plain).abs().max() > 1e-6, where


@pytest.mark.parametrize("name", SPECS)
def test_results_add_up_to_what_attention_writes(name: str) -> None:
    model, tap = model_of(name), Recorder()
    run(model, tokens_of(2, 7), tap=tap)
    for layer, block in enumerate(model.blocks):
        written = tap.seen[site("result", layer)].sum(2)
        if block.attention.output.bias is not None:
            written = written + block.attention.output.bias
        assert close(written, tap.seen[site("attn_out", layer)])


@pytest.mark.parametrize("name", ["gpt2", "llama", "neox", "attention_only"])
def test_the_stream_is_the_sum_of_what_was_written_to_it(name: str) -> None:
    model, tap = model_of(name), Recorder()
    run(model, tokens_of(2, 7), tap=tap)
    seen = tap.seen
    stream = sum(seen[s] for s in (site("embed"), site("pos_embed")) if s in seen)
    stops = stream_of(model.spec)
    assert close(stream, seen[stops[0]])
    for layer in range(model.spec.n_layers):
        writes = (seen[s] for s in (site("attn_out", layer), site("mlp_out", layer)) if s in seen)
        stream = stream + sum(writes)
        assert close(stream, seen[stops[layer + 1]])


@pytest.mark.parametrize("name", SPECS)
def test_each_stop_of_the_stream_is_what_the_next_block_reads(name: str) -> None:
    tap = Recorder()
    run(model_of(name), tokens_of(2, 7), tap=tap)
    for layer, stop in enumerate(stream_of(SPECS[name])[:-1]):
        assert torch.equal(tap.seen[stop], tap.seen[site("resid_pre", layer)])


@pytest.mark.parametrize("name", SPECS)
def test_patterns_are_rows_that_sum_to_one_and_see_only_the_visible(name: str) -> None:
    tap = Recorder()
    run(model_of(name), tokens_of(2, 7), tap=tap)
    for layer in range(3):
        pattern, scores = tap.seen[site("pattern", layer)], tap.seen[site("scores", layer)]
        assert close(pattern.sum(-1), torch.ones(2, SPECS[name].attention.n_heads, 7, dtype=pattern.dtype))
        hidden = torch.ones(7, 7, dtype=torch.bool).triu(1) if SPECS[name].causal else torch.zeros(7, 7) > 0
        assert torch.equal(scores == -torch.inf, hidden.expand_as(scores))
        assert torch.equal(pattern == 0, hidden.expand_as(pattern))


def test_the_matrices_by_head_are_those_that_were_used() -> None:
    model, tap = model_of("llama"), Recorder()
    run(model, tokens_of(2, 7), tap=tap)
    attention, read = model.blocks[1].attention, tap.seen[site("ln1", 1)]
    for weight, kind in ((attention.w_q, "q"), (attention.w_k, "k"), (attention.w_v, "v")):
        assert close(torch.einsum("bnd,hde->bnhe", read, weight), tap.seen[site(kind, 1)])
    written = torch.einsum("bnhe,hed->bnhd", tap.seen[site("z", 1)], attention.w_o)
    assert close(written, tap.seen[site("result", 1)])


def test_grouped_heads_share_keys_and_values() -> None:
    """Query heads 0 and 1 read key-value head 0, 2 and 3 read head 1."""
    model, tap = model_of("llama"), Recorder()
    run(model, tokens_of(1, 6), tap=tap)
    v, pattern, z = (tap.seen[site(kind, 0)] for kind in ("v", "pattern", "z"))
    for head in range(4):
        assert close(pattern[0, head] @ v[0, :, head // 2], z[0, :, head])


# --- norms and rotation ----------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [sp.LayerNorm(1e-3), sp.RMSNorm(1e-3)])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-12), (torch.bfloat16, 0.05)])
def test_a_norm_with_its_scale_in_the_open_is_the_same(
    kind: sp.Norm, dtype: torch.dtype, within: float
) -> None:
    norm = Norm(kind, 64).to(dtype)
    x = (torch.randn(5, 9, 64, generator=torch.Generator().manual_seed(0)) * 3 + 2).to(dtype)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.normal_(1, 0.3)
        tap = Wants("ln1_scale.0")
        openly, fast = norm(x, tap, site("ln1", 0)), norm.apply_to(x)
    assert openly.dtype == fast.dtype == dtype
    assert close(openly.double(), fast.double(), within)
    centred = x.double() - (x.double().mean(-1, keepdim=True) if isinstance(kind, sp.LayerNorm) else 0)
    expected = (centred.pow(2).mean(-1, keepdim=True) + 1e-3).sqrt()
    assert close(
        tap.seen[site("ln1_scale", 0)].double(), expected, 1e-5 if dtype == torch.bfloat16 else 1e-12
    )


def test_a_rotation_keeps_lengths_and_tells_only_distances() -> None:
    frequencies = rotary_frequencies(sp.RotaryPositions(base=100.0), 6).double()

    def turned(x: Tensor, position: int) -> Tensor:
        angles = torch.cat((frequencies, frequencies))[None] * position
        return Rotation(angles.cos(), angles.sin()).apply_to(x[None, None, None])[0, 0, 0]

    q, k = torch.randn(2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert close(turned(q, 5).norm(), q.norm())
    assert torch.equal(turned(q, 5)[6:], q[6:])  # only the first six dimensions turn
    assert close(turned(q, 9) @ turned(k, 4), turned(q, 25) @ turned(k, 20))
    assert (turned(q, 9) @ turned(k, 4) - turned(q, 9) @ turned(k, 5)).abs() > 1e-3


def test_rotary_frequencies_are_the_formula() -> None:
    plain = rotary_frequencies(sp.RotaryPositions(base=10000.0), 8)
    assert close(plain, torch.tensor([1.0, 0.1, 0.01, 0.001]), 1e-8)
    slowed = rotary_frequencies(sp.RotaryPositions(base=10000.0, scaling=sp.LinearScaling(4.0)), 8)
    assert close(slowed, plain / 4, 1e-9)
    # Llama 3.1: fast turns are left alone, slow ones are slowed in full, between them a blend
    stretch = sp.Llama3Scaling(8.0, 1.0, 4.0, original_n_ctx=200)
    stretched = rotary_frequencies(sp.RotaryPositions(base=10000.0, scaling=stretch), 8)
    turns = 200 * 0.1 / (2 * torch.pi)  # 3.18, between 1 and 4
    blend = (turns - 1) / 3
    assert close(stretched, torch.tensor([1.0, (1 - blend) * 0.1 / 8 + blend * 0.1, 0.00125, 0.000125]), 1e-8)


def test_activations_are_their_formulas() -> None:
    x = torch.linspace(-4, 4, 33, dtype=torch.float64)
    assert torch.equal(activate(x, "relu"), x.clamp(min=0))
    assert close(activate(x, "silu"), x / (1 + torch.exp(-x)))
    assert close(activate(x, "gelu"), x * (1 + torch.erf(x / 2**0.5)) / 2)
    inner = (2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)
    assert close(activate(x, "gelu_tanh"), x * (1 + torch.tanh(inner)) / 2)


# --- caches, resuming, batches ---------------------------------------------------------------------
@pytest.mark.parametrize("name", ONE_WAY)
@pytest.mark.parametrize("openly", [False, True])
def test_pieces_with_a_cache_are_the_whole(name: str, openly: bool) -> None:
    model, tokens = model_of(name), tokens_of(2, 9)
    whole = run(model, tokens)
    cache = KeyValueCache(3)
    pieces = [
        run(model, piece, cache=cache, **({"tap": Recorder()} if openly else {}))
        for piece in tokens.split([4, 1, 3, 1], dim=1)
    ]
    assert close(torch.cat(pieces, dim=1), whole)
    assert cache.length(2) == 9


@pytest.mark.parametrize("name", ONE_WAY)
@pytest.mark.parametrize("openly", [False, True])
def test_resumed_at_a_layer_and_position_is_the_whole(name: str, openly: bool) -> None:
    model, tokens, tap = model_of(name), tokens_of(2, 9), Recorder()
    cache = KeyValueCache(3)
    whole = run(model, tokens, tap=tap, cache=cache)
    for layer in range(4):
        for position in (0, 1, 5, 8):
            stop = stream_of(model.spec)[layer]
            resume = Resume(layer, tap.seen[stop][:, position:], position)
            how = {"tap": Recorder()} if openly else {}
            before = cache.before(position)
            resumed = run(model, tokens[:, position:], resume=resume, cache=before, **how)
            assert close(resumed, whole[:, position:]), (layer, position)
    assert cache.length(0) == 9  # and the base run's own cache is as it was


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if not spec.causal])
def test_an_encoder_resumes_at_a_layer(name: str) -> None:
    model, tokens, tap = model_of(name), tokens_of(2, 9), Recorder()
    whole = run(model, tokens, tap=tap)
    for layer in range(4):
        resume = Resume(layer, tap.seen[stream_of(model.spec)[layer]])
        assert close(run(model, tokens, resume=resume), whole)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("openly", [False, True])
def test_a_padded_batch_is_the_loop(name: str, openly: bool) -> None:
    model, tokens, lengths = model_of(name), tokens_of(3, 9), (9, 4, 1)
    present = torch.arange(9) < torch.tensor(lengths)[:, None]
    how = {"tap": Recorder()} if openly else {}
    batched = run(model, tokens, present=present, **how)
    for row, length in enumerate(lengths):
        assert close(batched[row : row + 1, :length], run(model, tokens[row : row + 1, :length]))


@pytest.mark.parametrize("name", CAUSAL)
def test_a_padded_batch_goes_on_with_a_cache(name: str) -> None:
    """Two rows of 5 and 3 tokens, then two more tokens each; the short row's gap stays unseen."""
    model, tokens = model_of("no positions" if name == "gpt2" else name), tokens_of(2, 7)
    present = torch.tensor([[True] * 7, [True] * 3 + [False] * 2 + [True] * 2])
    cache = KeyValueCache(3)
    run(model, tokens[:, :5], present=present[:, :5], cache=cache)
    further = run(model, tokens[:, 5:], present=present, cache=cache)
    assert close(further, run(model, tokens, present=present)[:, 5:])
    assert close(further[:1], run(model, tokens[:1])[:, 5:])


@pytest.mark.parametrize("name", SPECS)
def test_only_the_scored_positions_meet_the_head(name: str) -> None:
    model, tokens, tap = model_of(name), tokens_of(2, 9), Recorder()
    whole = run(model, tokens)
    assert close(run(model, tokens, score=torch.tensor([8, 2]), tap=tap), whole[:, [8, 2]])
    assert close(run(model, tokens, score=slice(-1, None)), whole[:, -1:])
    last = stream_of(model.spec)[-1]
    assert tap.seen[last].shape[1] == 9


@pytest.mark.parametrize("name", SPECS)
def test_an_early_stop_computes_nothing_above(name: str) -> None:
    model, tap = model_of(name), Recorder()
    with torch.no_grad():
        assert model(tokens_of(2, 9), stop=2, tap=tap) is None
    assert {where.layer for where in tap.order} == {None, 0, 1}
    assert site("logits") not in tap.seen


@pytest.mark.parametrize("name", SPECS)
def test_reading_out_the_last_stream_is_the_answer(name: str) -> None:
    model, tokens, tap = model_of(name), tokens_of(2, 9), Recorder()
    whole = run(model, tokens, tap=tap)
    with torch.no_grad():
        assert close(model.read_out(tap.seen[stream_of(model.spec)[-1]]), whole)


def test_tied_weights_are_one_parameter() -> None:
    assert (tied := model_of("gpt2")).unembed.weight is tied.embed.weight
    assert (untied := model_of("llama")).unembed.weight is not untied.embed.weight


# --- specs that cannot be --------------------------------------------------------------------------
def test_what_cannot_be_is_not_spelled() -> None:
    with pytest.raises(ValueError, match="6 heads cannot share 4"):
        sp.Attention(6, 4, 8)
    with pytest.raises(ValueError, match="attention-only model has pre-norm"):
        spec_of("attention_only", block=sp.PostNorm())
    with pytest.raises(ValueError, match=r"odd number of dimensions \(3\)"):
        spec_of("neox", positions=sp.RotaryPositions(fraction=0.5))
