"""Load, save, reload by transformers: bit for bit, whole or not at all."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peers import CASES, answer, batch, peer_of
from safetensors.torch import load_file, save_file
from tiny_models import tiny

from llm_workings.core.errors import BadInput, Cancelled, NotSupported
from llm_workings.core.progress import Progress
from llm_workings.models.load import load_model
from llm_workings.models.save import save
from llm_workings.models.tokens import from_vocabulary
from llm_workings.trace.model import load

WORDS = ["<begin>", *(f"w{index}" for index in range(52))]


def folder_of(peer: Any, path: Path, dtype: torch.dtype) -> Path:
    """The peer as its own library saves it, with a tokenizer."""
    peer.to(dtype).save_pretrained(path)
    from_vocabulary(WORDS, separator=" ", roles={"bos": "<begin>"}).save(path)
    (path / "chat_template.jinja").write_text("{{ messages }}")
    return path


def reopened(peer: Any, path: Path) -> Any:
    again, info = type(peer).from_pretrained(path, output_loading_info=True)
    assert not any(info.values()), info
    return again.eval()


@pytest.mark.peer
@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, torch.float32) for name in CASES]
    + [(name, torch.bfloat16) for name in ("gpt2", "pythia", "llama", "bert", "distilbert")],
)
def test_saved_is_the_same_to_transformers_bit_for_bit(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    made = peer_of(name)
    source = folder_of(made, tmp_path / "theirs", dtype)
    peer = reopened(made, source)
    saved = save(load_model(str(source)), tmp_path / "ours")

    before, after = load_file(source / "model.safetensors"), load_file(saved / "model.safetensors")
    renamed = {key.replace("embed_out.", "lm_head."): tensor for key, tensor in after.items()}
    assert {key.replace("embed_out.", "lm_head.") for key in before} == set(renamed)
    again = reopened(peer, saved)
    state = again.state_dict()
    for key, tensor in peer.state_dict().items():
        assert state[key].dtype == dtype
        assert torch.equal(state[key], tensor), key
    tokens, _ = batch()
    with torch.no_grad():
        assert torch.equal(answer(again, tokens), answer(peer, tokens))
    assert is_tied(again) == is_tied(peer)


def is_tied(peer: Any) -> bool:
    return peer.get_input_embeddings().weight is getattr(peer.get_output_embeddings(), "weight", None)


def small(tmp_path: Path, name: str = "gpt2", dtype: torch.dtype = torch.float32) -> Path:
    return folder_of(peer_of(name), tmp_path / "theirs", dtype)


def test_the_tokenizer_comes_along_as_it_was(tmp_path: Path) -> None:
    source = small(tmp_path)
    saved = save(load_model(str(source)), tmp_path / "ours")
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (saved / file).read_bytes() == (source / file).read_bytes()
    tokenizer = importlib.import_module("transformers").AutoTokenizer.from_pretrained(saved)
    ours = load_model(str(saved)).need_tokenizer()
    assert tokenizer("w3 w1 w4")["input_ids"] == ours.encode("w3 w1 w4")


def test_a_precision_that_would_lose_digits_is_not_taken(tmp_path: Path) -> None:
    loaded = load_model(str(small(tmp_path, dtype=torch.bfloat16)))
    assert load_file(save(loaded, tmp_path / "a") / "model.safetensors")["transformer.wte.weight"].dtype == (
        torch.bfloat16
    )
    with torch.no_grad():
        loaded.transformer.embed.weight[0, 0] = 1 / 3  # as an edited or fine-tuned model has it
    kept = load_file(save(loaded, tmp_path / "b") / "model.safetensors")["transformer.wte.weight"]
    assert kept.dtype == torch.float32
    assert kept[0, 0] == torch.tensor(1 / 3)
    assert json.loads((tmp_path / "b/config.json").read_text())["dtype"] == "float32"
    asked = save(loaded, tmp_path / "c", dtype=torch.float16)
    assert load_file(asked / "model.safetensors")["transformer.wte.weight"].dtype == torch.float16


def test_an_old_checkpoint_is_saved_in_todays_names(tmp_path: Path) -> None:
    """BERT as of 2018: gamma and beta, no prefix asked for, both copies of what is tied, buffers."""
    peer = peer_of("bert with both heads")
    source = folder_of(peer, tmp_path / "theirs", torch.float32)
    weights = load_file(source / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in weights.items()
    }
    old["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"].clone()
    old["cls.predictions.decoder.bias"] = weights["cls.predictions.bias"].clone()
    old["bert.embeddings.position_ids"] = torch.arange(16)[None]
    save_file(old, source / "model.safetensors", metadata={"format": "pt"})
    saved = save(load_model(str(source)), tmp_path / "ours")
    after = load_file(saved / "model.safetensors")
    assert set(after) == set(weights)
    assert all(torch.equal(after[name], weights[name]) for name in weights)


def test_a_language_model_saves_itself(tmp_path: Path) -> None:
    source = small(tmp_path)
    saved = load(str(source)).save(tmp_path / "ours")
    before, after = load_file(source / "model.safetensors"), load_file(saved / "model.safetensors")
    assert all(torch.equal(after[name], before[name]) for name in before)
    for model in (load("induction-1l"), tiny("gpt2")):
        with pytest.raises(NotSupported, match=r"toy|not loaded from anywhere"):
            model.save(tmp_path / "toy")
    assert not (tmp_path / "toy").exists()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    loaded = load_model(str(small(tmp_path)))
    other = tmp_path / "letters"
    other.mkdir()
    (other / "diary.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(BadInput, match=r"something else than a model: diary\.txt"):
            save(loaded, other, overwrite=overwrite)
    with pytest.raises(BadInput, match="is a file"):
        save(loaded, other / "diary.txt")
    saved = save(loaded, tmp_path / "ours")
    with pytest.raises(BadInput, match="already holds a model"):
        save(loaded, saved)
    (saved / "old").write_text("")
    assert save(loaded, saved, overwrite=True) == saved
    assert not (saved / "old").exists()


def test_a_folder_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_model(str(small(tmp_path)))

    def full(tensors: Any, path: Path, **kwargs: Any) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("llm_workings.models.save.save_file", full)
    with pytest.raises(BadInput, match="No space left"):
        save(loaded, tmp_path / "ours")
    monkeypatch.undo()
    with pytest.raises(Cancelled):
        save(loaded, tmp_path / "ours", progress=Progress(cancelled=lambda: True))
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "data-home"] == ["theirs"]
    assert save(loaded, tmp_path / "deep/er/ours").is_dir()
