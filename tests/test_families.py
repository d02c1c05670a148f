"""Config readers and weight tables: both spellings, the defaults left out, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peers import BERT, CASES, DISTIL, GPT2, LLAMA, NEOX, config_of, peer_of
from torch import Tensor

from llm_workings.core.errors import BadFile, LabError, NotSupported
from llm_workings.models import spec as sp
from llm_workings.models.catalogue import SUPPORTED
from llm_workings.models.families import FAMILIES, Family, family_of
from llm_workings.models.families.layout import AS_IS, INTERLEAVED, STACKED, TRANSPOSED
from llm_workings.models.transformer import Transformer

TINY: dict[str, dict[str, Any]] = {
    "gpt2": GPT2,
    "gpt_neox": NEOX,
    "llama": LLAMA,
    "mistral": LLAMA | {"sliding_window": None},
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "bert": BERT,
    "distilbert": DISTIL,
}


def read(config: dict[str, Any]) -> sp.Spec:
    return family_of(config).read_config(config)


def tiny(model_type: str, **fields: Any) -> dict[str, Any]:
    return {"model_type": model_type, **TINY[model_type], **fields}


def built(config: dict[str, Any]) -> tuple[Family, Transformer]:
    family = family_of(config)
    torch.manual_seed(0)
    return family, Transformer(family.read_config(config))


# --- configs -------------------------------------------------------------------------------------
def test_an_unknown_type_lists_the_known() -> None:
    with pytest.raises(
        NotSupported, match=r"'mamba'.*gpt2, gpt_neox, llama, mistral, qwen2, qwen3, bert, dist"
    ):
        family_of({"model_type": "mamba"})
    assert tuple(sorted(SUPPORTED)) == tuple(sorted(t for family in FAMILIES for t in family.model_types))


@pytest.mark.peer
@pytest.mark.parametrize("model_type", TINY)
def test_what_a_config_leaves_out_is_what_transformers_fills_in(model_type: str) -> None:
    """transformers writes only what differs from its defaults in a diff; an empty config is all defaults."""
    import transformers

    full = transformers.AutoConfig.for_model(model_type).to_dict()
    empty: dict[str, Any] = {"model_type": model_type}
    if model_type == "mistral":  # whose default is a window that is not supported
        full, empty = full | {"sliding_window": None}, empty | {"sliding_window": None}
    assert read(empty) == read(full)


def test_both_spellings_of_the_rotation_say_the_same() -> None:
    llama3 = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    four = tiny("llama", rope_theta=5e5, rope_scaling=llama3)
    five = tiny("llama", rope_parameters={**llama3, "rope_theta": 5e5})
    expected = sp.RotaryPositions(5e5, 1.0, sp.Llama3Scaling(8.0, 1.0, 4.0, 64))
    assert read(four).positions == read(five).positions == expected
    oldest = tiny("llama", rope_theta=5e5, rope_scaling={"type": "linear", "factor": 2.0})
    assert read(oldest).positions == sp.RotaryPositions(5e5, 1.0, sp.LinearScaling(2.0))

    four = tiny("gpt_neox", rotary_pct=0.5, rotary_emb_base=500)
    five = tiny("gpt_neox", rope_parameters={"partial_rotary_factor": 0.5, "rope_theta": 500.0})
    assert read(four).positions == read(five).positions == sp.RotaryPositions(500.0, 0.5)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (tiny("gpt2", scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse_layer_idx = True"),
        (tiny("gpt2", scale_attn_weights=False), "scale_attn_weights = False"),
        (tiny("gpt2", add_cross_attention=True), "add_cross_attention = True"),
        (tiny("gpt2", activation_function="tanh"), "activation_function = 'tanh'"),
        (tiny("llama", rope_scaling={"type": "yarn", "factor": 2.0}), "rope_type = 'yarn'"),
        (tiny("llama", rope_parameters={"rope_type": "dynamic", "factor": 2.0}), "rope_type = 'dynamic'"),
        (tiny("llama", rope_parameters={"full_attention": {"rope_theta": 1.0}}), "in different ways"),
        (tiny("mistral", sliding_window=8), "sliding_window = 8 with a context of 16"),
        (tiny("qwen2", use_sliding_window=True, sliding_window=8, max_window_layers=1), "sliding_window = 8"),
        (
            tiny("qwen3", use_sliding_window=True, sliding_window=8, layer_types=["sliding_attention"] * 2),
            "sliding_window = 8",
        ),
        (tiny("bert", position_embedding_type="relative_key"), "position_embedding_type = 'relative_key'"),
        (tiny("bert", is_decoder=True), "is_decoder = True"),
        (
            tiny("bert", architectures=["BertForQuestionAnswering"]),
            "'BertForQuestionAnswering'.*BertForMaskedLM",
        ),
        (tiny("llama", quantization_config={"quant_method": "gptq"}), "quantization_config.*gptq"),
    ],
)
def test_what_a_spec_cannot_say_is_refused_by_field_and_value(config: dict[str, Any], said: str) -> None:
    with pytest.raises(NotSupported, match=said):
        read(config)


@pytest.mark.parametrize(
    "config",
    [
        tiny("mistral", sliding_window=16),  # as wide as the context
        tiny("qwen2", use_sliding_window=False, sliding_window=8),
        tiny("qwen2", use_sliding_window=True, sliding_window=8, max_window_layers=2),  # no layer has it
        tiny("bert", position_embedding_type="absolute", is_decoder=False),
        tiny("gpt2", reorder_and_upcast_attn=True),  # the same in exact arithmetic
    ],
)
def test_a_switch_that_changes_nothing_is_no_reason_to_refuse(config: dict[str, Any]) -> None:
    assert read(config) == read(tiny(config["model_type"]))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (tiny("gpt2", n_embd=25), r"n_embd = 25 is no multiple of n_head = 3"),
        (tiny("llama", num_key_value_heads=4), r"6 heads cannot share 4"),
        (tiny("llama", head_dim=7), r"odd number of dimensions \(7\)"),
        (tiny("llama", vocab_size="many"), r"vocab_size = 'many'"),
        (tiny("llama", num_hidden_layers=0), r"num_hidden_layers = 0"),
        (tiny("bert", layer_norm_eps=-1), r"layer_norm_eps = -1"),
        (tiny("llama", tie_word_embeddings="yes"), r"tie_word_embeddings = 'yes'"),
        (tiny("llama", rope_scaling="linear"), r"rope_scaling is 'linear'"),
        (tiny("llama", rope_scaling={"type": "linear"}), r"does not say factor"),
    ],
)
def test_a_config_that_cannot_be_is_a_bad_file(config: dict[str, Any], said: str) -> None:
    with pytest.raises(BadFile, match=said):
        read(config)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
READ = ["architectures", "rope_scaling", "rope_parameters", "layer_types", "sliding_window", "head_dim"]


@given(st.data())
def test_any_value_in_a_config_is_read_or_refused(data: st.DataObject) -> None:
    config = tiny(data.draw(st.sampled_from(sorted(TINY))), use_sliding_window=True)
    field = data.draw(st.sampled_from(sorted({*config, *READ} - {"model_type"})))
    with suppress(LabError):
        assert isinstance(read({**config, field: data.draw(ANYTHING)}), sp.Spec)


def test_a_model_that_the_classes_cannot_be_is_not_written() -> None:
    attention_only = sp.Spec(
        vocab_size=9,
        n_ctx=8,
        d_model=8,
        n_layers=1,
        attention=sp.Attention(2, 2, 4),
        mlp=sp.NoMLP(),
        norm=sp.LayerNorm(),
        positions=sp.NoPositions(),
        block=sp.PreNorm(),
        head=sp.NextTokenHead(),
    )
    for family in FAMILIES:
        with pytest.raises(NotSupported, match="cannot be saved"):
            family.write_config(attention_only, {})


# --- layouts -------------------------------------------------------------------------------------
@given(
    groups=st.integers(1, 3), repeats=st.integers(1, 3), d_head=st.integers(1, 5), d_model=st.integers(1, 6)
)
def test_layouts_are_their_own_way_back(groups: int, repeats: int, d_head: int, d_model: int) -> None:
    a = sp.Attention(groups * repeats, groups, d_head)
    rows = (groups * repeats + 2 * groups) * d_head
    ours = torch.arange(rows * d_model).reshape(rows, d_model)
    layouts = [AS_IS, TRANSPOSED, STACKED] + ([INTERLEAVED] if repeats == 1 else [])
    for layout in layouts:
        for tensor in (ours, ours[:, 0]):  # a weight and a bias
            theirs = layout.unpack(tensor, a)
            assert [tuple(part.shape) for part in theirs] == layout.shapes(tuple(tensor.shape), a)
            assert torch.equal(layout.pack(theirs, a), tensor)


def test_interleaved_rows_are_head_by_head() -> None:
    a = sp.Attention(n_heads=2, n_key_value_heads=2, d_head=1)
    theirs = torch.tensor([[10.0], [11.0], [12.0], [20.0], [21.0], [22.0]])  # head 1: q k v, head 2: q k v
    assert INTERLEAVED.pack([theirs], a).flatten().tolist() == [10, 20, 11, 21, 12, 22]


# --- weights -------------------------------------------------------------------------------------
class Counted(Mapping[str, Tensor]):
    """Weights that count how often each is read, as a file would be."""

    def __init__(self, weights: dict[str, Tensor]):
        self.weights, self.reads = weights, dict.fromkeys(weights, 0)

    def __getitem__(self, name: str) -> Tensor:
        self.reads[name] += 1
        return self.weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)


@pytest.mark.peer
@pytest.mark.parametrize("name", CASES)
def test_the_table_names_exactly_the_peers_weights(name: str) -> None:
    """Nothing of the peer's is left over, nothing of ours is left out, nothing is read twice."""
    peer = peer_of(name)
    family = family_of(config_of(peer))
    weights = Counted(dict(peer.state_dict()))
    with torch.device("meta"):
        ours = Transformer(family.read_config(config_of(peer)))
    carried = family.load_weights(ours, weights)
    assert not any(parameter.is_meta for parameter in ours.parameters())
    assert set(weights.reads.values()) == {1}
    written = family.weights_of(ours, carried)
    spelled = {key.replace("embed_out.", "lm_head."): tensor for key, tensor in written.items()}
    state = peer.state_dict()
    assert set(spelled) == set(state) - set(peer.all_tied_weights_keys)
    assert all(torch.equal(spelled[key], state[key]) for key in spelled)


def test_weights_come_in_the_precision_that_was_asked_for() -> None:
    family, model = built(tiny("llama", tie_word_embeddings=True))
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in family.weights_of(model).items()}
    with torch.device("meta"):
        ours = Transformer(model.spec)
    family.load_weights(ours, weights, dtype=torch.float32)
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    assert ours.unembed.weight is ours.embed.weight


def test_a_prefix_may_be_absent_and_buffers_are_passed_over() -> None:
    family, model = built(tiny("gpt2"))
    weights = family.weights_of(model)
    bare = {name.removeprefix("transformer."): tensor for name, tensor in weights.items()}
    bare["h.0.attn.bias"] = torch.ones(1, 1, 16, 16).tril()
    bare["h.0.attn.masked_bias"] = torch.tensor(-1e4)
    bare["lm_head.weight"] = bare["wte.weight"].clone()  # the tied copy, as old versions wrote it
    with torch.device("meta"):
        ours = Transformer(model.spec)
    assert family.load_weights(ours, bare) == {}
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), model.parameters(), strict=True))


def test_missing_unexpected_and_misshapen_weights_are_named() -> None:
    family, model = built(tiny("gpt2"))
    weights = family.weights_of(model)

    lacking = {name: tensor for name, tensor in weights.items() if "h.1.ln_2" not in name}
    with pytest.raises(BadFile, match=r"2 layers: 2 missing: h\.1\.ln_2\.weight, h\.1\.ln_2\.bias\."):
        family.load_weights(model, lacking)
    with pytest.raises(BadFile, match=r"1 unexpected: transformer\.h\.2\.ln_1\.weight\."):
        family.load_weights(model, {**weights, "transformer.h.2.ln_1.weight": torch.ones(24)})
    misspelled = {name.replace("ln_f.", "ln_final."): tensor for name, tensor in weights.items()}
    with pytest.raises(BadFile, match=r"Is 'transformer\.ln_final\.weight' meant to be 'ln_f\.weight'\?"):
        family.load_weights(model, misspelled)
    narrow = {**weights, "transformer.h.0.attn.c_attn.weight": torch.ones(24, 71)}
    with pytest.raises(BadFile, match=r"h\.0\.attn\.c_attn\.weight is \[24, 71\] and should be \[24, 72\]"):
        family.load_weights(model, narrow)
    whole = {**weights, "transformer.wpe.weight": torch.ones(16, 24, dtype=torch.int8)}
    with pytest.raises(BadFile, match=r"wpe\.weight holds int8"):
        family.load_weights(model, whole)


def test_a_tied_weight_that_differs_is_refused() -> None:
    family, model = built(tiny("llama", tie_word_embeddings=True))
    weights = {**family.weights_of(model), "lm_head.weight": torch.zeros(53, 24)}
    with pytest.raises(BadFile, match=r"'lm_head\.weight' is tied.*tie_word_embeddings"):
        family.load_weights(model, weights)


def test_loading_asks_each_parameter_for_what_it_asked() -> None:
    family, model = built(tiny("bert"))
    weights = family.weights_of(model)
    model.requires_grad_(False)
    family.load_weights(model, weights)
    assert not any(parameter.requires_grad for parameter in model.parameters())
