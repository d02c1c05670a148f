"""Models of the Hugging Face hub, by a stand-in on this machine, and the catalogue that lists them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hub_stand_in import Hub, logits_of, use_hub
from safetensors.torch import load_file, save_file

from llm_workings.core.errors import (
    BadFile,
    Cancelled,
    CannotFetch,
    NotSupported,
    UnknownName,
)
from llm_workings.core.progress import Progress
from llm_workings.models import catalogue, hub
from llm_workings.models.catalogue import WHEELS
from llm_workings.models.families import FAMILIES
from llm_workings.models.load import fetch_model, load_model
from llm_workings.models.toys import TOYS

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.peer
pytest_plugins = ["hub_models"]


def test_a_model_of_the_hub(served: Hub, folders: dict[str, Path]) -> None:
    assert torch.equal(logits_of("gpt2"), logits_of(folders["gpt2"]))
    asked = len(served.asked)
    assert asked > 0
    assert torch.equal(logits_of("gpt2"), logits_of(folders["gpt2"]))
    assert len(served.asked) == asked  # what is in the cache is used without a word to the network
    assert load_model("gpt2").origin == "Hugging Face hub gpt2"


def test_a_revision(served: Hub, folders: dict[str, Path]) -> None:
    then, now = logits_of("tiny/neox@step1000"), logits_of("tiny/neox")
    assert torch.equal(then, logits_of(folders["neox-step1000"]))
    assert torch.equal(now, logits_of(folders["neox"]))
    assert not torch.equal(then, now)
    commit = served.commit("tiny/neox", "step1000")
    assert torch.equal(logits_of(f"tiny/neox@{commit}"), then)
    assert load_model("tiny/neox@step1000").origin == "Hugging Face hub tiny/neox@step1000"


def test_a_masked_model(served: Hub, folders: dict[str, Path]) -> None:
    assert torch.equal(logits_of("tiny/distilbert"), logits_of(folders["distilbert"]))


def test_only_what_is_needed_is_downloaded(served: Hub) -> None:
    files = served.repositories["gpt2"]["main"]
    files |= {"pytorch_model.bin": b"\x80\x02evil", "tf_model.h5": b"x", "README.md": b"x", "run.py": b"x"}
    fetch_model("gpt2")
    got = {line.rpartition("/")[2] for line in served.asked if "/resolve/" in line}
    assert got == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def test_progress_in_bytes(served: Hub) -> None:
    seen: list[tuple[str, int, int]] = []
    fetch_model("tiny/neox", Progress(lambda *report: seen.append(report)))
    counts = [(done, total) for what, done, total in seen if what == "downloading tiny/neox"]
    files = served.repositories["tiny/neox"]["main"]
    needed = sum(len(files[name]) for name in files if name != "generation_config.json")
    assert counts[-1] == (needed, needed)
    assert counts == sorted(counts)


def test_cancel_and_go_on(served: Hub, folders: dict[str, Path]) -> None:
    served.repositories["tiny/big"] = {"main": dict(served.repositories["gpt2"]["main"])}
    weights = load_file(folders["gpt2"] / "model.safetensors")
    big = folders["gpt2"].parent / "big.safetensors"
    save_file({**weights, "padding": torch.zeros(1_000_000)}, big)
    served.repositories["tiny/big"]["main"]["model.safetensors"] = big.read_bytes()
    received = 0

    def listen(what: str, done: int, total: int) -> None:
        nonlocal received
        received = done

    served.slow = 0.01
    with pytest.raises(Cancelled):
        fetch_model("tiny/big", Progress(listen, cancelled=lambda: received > 100_000))
    assert hub.in_cache(hub.HubName("tiny/big")) is None
    served.slow = 0
    assert (fetch_model("tiny/big") / "model.safetensors").read_bytes() == big.read_bytes()


def test_through_the_environment(served: Hub, tmp_path: Path) -> None:
    """HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE, in a process of its own."""
    code = (
        "import sys\n"
        "from llm_workings.models.hub import HubName, open_in_cache\n"
        "print(open_in_cache(HubName.parse(sys.argv[1])))\n"
    )
    env = {**os.environ, "HF_ENDPOINT": served.url, "HF_HOME": str(tmp_path / "hf")}

    def run(name: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, name]
        return subprocess.run(command, env={**env, **more}, capture_output=True, text=True, timeout=60)

    assert "CannotFetch" in (refused := run("tiny/neox", HF_HUB_OFFLINE="1")).stderr
    assert "offline mode is on (HF_HUB_OFFLINE)" in refused.stderr
    where = run("tiny/neox").stdout.strip()
    assert Path(where).is_relative_to(tmp_path / "hf")
    asked = len(served.asked)
    assert run("tiny/neox", HF_HUB_OFFLINE="1").stdout.strip() == where
    assert len(served.asked) == asked


def test_what_the_hub_does_not_have(served: Hub) -> None:
    with pytest.raises(UnknownName, match=r"no model on the Hugging Face hub 'tiny/nothing'.*hf auth login"):
        load_model("tiny/nothing")
    with pytest.raises(UnknownName, match="Did you mean 'distilbert-base-uncased'"):
        load_model("distilbert-base-uncase")
    load_model("tiny/neox")
    with pytest.raises(UnknownName, match=r"no revision of tiny/neox 'step1001'"):
        load_model("tiny/neox@step1001")


def test_gated(served: Hub) -> None:
    served.gated.add("gpt2")
    with pytest.raises(CannotFetch, match=r"gpt2 is gated.*HF_TOKEN"):
        load_model("gpt2")


def test_no_network_says_what_is_cached(served: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_model("tiny/neox@step1000")
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path / "hub-cache")  # a port that nothing listens on
    with pytest.raises(CannotFetch, match=r"gpt2 is not in the cache.*cannot be reached.*tiny/neox@step1000"):
        load_model("gpt2")
    assert load_model("tiny/neox@step1000").spec.n_layers == 2


def test_pickles_on_the_hub_are_not_even_downloaded(served: Hub) -> None:
    files = served.repositories["gpt2"]["main"]
    files["pytorch_model.bin"] = files.pop("model.safetensors")
    with pytest.raises(BadFile, match=r"(?s)pytorch_model\.bin.* is a pickle.*save_pretrained") as caught:
        load_model("gpt2")
    assert "from transformers import" in caught.value.hint
    assert not [line for line in served.asked if "/resolve/" in line]


def test_hub_repositories_that_cannot_be_used(served: Hub) -> None:
    files = served.repositories["gpt2"]["main"]
    weights = files.pop("model.safetensors")
    with pytest.raises(BadFile, match="no safetensors weights on the hub"):
        load_model("gpt2")
    files["model.Q4_0.gguf"] = b"GGUF"
    with pytest.raises(NotSupported, match=r"only GGUF files.*model\.Q4_0\.gguf"):
        load_model("gpt2")
    files["model.safetensors"] = weights
    del files["config.json"]
    with pytest.raises(BadFile, match=r"no config\.json on the hub"):
        load_model("gpt2")


# --- the catalogue -----------------------------------------------------------------------------------
def test_the_catalogue_lists_what_the_cache_has(served: Hub) -> None:
    before = {entry.name: entry for entry in catalogue.entries()}
    assert not before["gpt2"].here
    load_model("gpt2")
    load_model("tiny/neox@step1000")
    after = {entry.name: entry for entry in catalogue.entries()}
    assert after["gpt2"].here
    assert after["gpt2"].title == "GPT-2 small"
    assert after["tiny/neox@step1000"].family == "gpt_neox"
    assert after["tiny/neox@step1000"].here
    assert after["tiny/neox@step1000"].parameters == load_model("tiny/neox@step1000").parameters
    assert "tiny/neox" not in after  # its main branch was never fetched


def test_the_catalogue_leaves_out_what_cannot_be_loaded(served: Hub) -> None:
    fetch_model("gpt2")
    folder = hub.in_cache(hub.HubName("gpt2"))
    assert folder is not None
    (folder / "config.json").unlink()
    (folder / "config.json").write_text('{"model_type": "mamba"}')
    assert not {entry.name: entry for entry in catalogue.entries()}["gpt2"].here


def test_the_catalogue_knows_the_families_without_torch() -> None:
    assert set(catalogue.SUPPORTED) == {kind for family in FAMILIES for kind in family.model_types}
    code = (
        "import sys; from llm_workings.models import catalogue; catalogue.entries(); "
        "catalogue.default_model(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_default_is_the_real_model_or_the_first_toy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_WORKINGS_HOME", str(tmp_path))
    toys = [toy.name for toy in TOYS.values() if toy.path.is_file()]
    assert catalogue.default_model() == (toys[0] if toys else "smollm2-135m")
    wheel = WHEELS["smollm2-135m"].wheel
    wheel.folder.mkdir(parents=True)
    with open(wheel.folder / "SmolLM2-135M-Instruct.Q4_1.gguf", "wb") as file:
        file.truncate(98_362_432)
    assert catalogue.default_model() == "smollm2-135m"


def test_every_toy_loads_by_its_name() -> None:
    listed = {entry.name: entry for entry in catalogue.entries() if entry.kind == "toy"}
    assert set(listed) == {name for name, toy in TOYS.items() if toy.path.is_file()}
    for name, entry in listed.items():
        model = load_model(name, dtype="float64")
        assert model.parameters == entry.parameters
        assert model.transformer.embed.weight.dtype == torch.float64
        assert model.family_name == entry.family == "toy"
        assert fetch_model(name) == TOYS[name].path
