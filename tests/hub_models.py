"""Tiny models as transformers saves them, and the stand-in hub that serves them: fixtures for tests
of loading (`pytest_plugins = ["hub_models"]`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_stand_in import TEXT, Hub, hub_server, use_hub
from tokenizers import Tokenizer as Backend
from tokenizers import models as token_models
from tokenizers import pre_tokenizers
from tokenizers.implementations import ByteLevelBPETokenizer


@pytest.fixture(scope="session")
def bpe() -> Any:
    transformers = pytest.importorskip("transformers")
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        [TEXT] * 9, vocab_size=270, special_tokens=["<|endoftext|>"], show_progress=False
    )
    backend = trained._tokenizer
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>")


@pytest.fixture(scope="session")
def words() -> Any:
    transformers = pytest.importorskip("transformers")
    listed = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *TEXT.split()]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(listed))}
    backend = Backend(token_models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, mask_token="[MASK]", unk_token="[UNK]"
    )


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory, bpe: Any, words: Any) -> dict[str, Path]:
    """gpt2, neox, neox-step1000 (other weights), distilbert: random, saved by transformers."""
    transformers = pytest.importorskip("transformers")
    root = tmp_path_factory.mktemp("models")
    t = transformers
    gpt2 = t.GPT2Config(
        vocab_size=300, n_positions=32, n_embd=24, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    neox = t.GPTNeoXConfig(
        vocab_size=300, hidden_size=24, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=32, rotary_pct=0.5, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    distil = t.DistilBertConfig(
        vocab_size=20, max_position_embeddings=16, n_layers=2, n_heads=2, dim=24, hidden_dim=32
    )
    made = {
        "gpt2": (t.GPT2LMHeadModel, gpt2, bpe),
        "neox": (t.GPTNeoXForCausalLM, neox, bpe),
        "neox-step1000": (t.GPTNeoXForCausalLM, neox, bpe),
        "distilbert": (t.DistilBertForMaskedLM, distil, words),
    }
    for seed, (name, (kind, config, tokenizer)) in enumerate(made.items()):
        torch.manual_seed(seed)
        kind(config).save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
    return {name: root / name for name in made}


@pytest.fixture
def folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the GPT-2 that a test may damage."""
    copy = tmp_path / "tiny"
    copy.mkdir()
    for path in folders["gpt2"].iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


@pytest.fixture
def served(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The models on a stand-in for the hub, with an empty cache of its own."""
    with hub_server(Hub()) as server:
        server.add("gpt2", folders["gpt2"])
        server.add("tiny/neox", folders["neox"])
        server.add("tiny/neox", folders["neox-step1000"], "step1000")
        server.add("tiny/distilbert", folders["distilbert"])
        use_hub(monkeypatch, server.url, tmp_path / "hub-cache")
        yield server
