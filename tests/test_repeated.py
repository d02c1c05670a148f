"""Repeated random tokens that can be typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import llm_workings
from llm_workings.core.errors import BadInput
from llm_workings.data.repeated import repeated_text
from llm_workings.models.catalogue import WHEELS

EXAMPLES = Path(__file__).parent.parent / "web" / "lab" / "place.svelte.ts"


@pytest.mark.parametrize("seed", range(4))
def test_the_text_reads_as_one_segment_twice(seed: int) -> None:
    tokenizer = llm_workings.load("induction-2l").tokenizer
    text = repeated_text(tokenizer, 12, seed=seed)
    ids = tokenizer.encode(text, special=False)
    assert len(ids) == 24
    assert ids[:12] == ids[12:]
    assert text == repeated_text(tokenizer, 12, seed=seed)
    assert text != repeated_text(tokenizer, 12, seed=seed + 1)


def test_a_text_of_nothing_and_one_that_cannot_be_found_say_so() -> None:
    tokenizer = llm_workings.load("induction-2l").tokenizer
    with pytest.raises(BadInput, match="0 random tokens"):
        repeated_text(tokenizer, 0)
    with pytest.raises(BadInput, match="in 3 draws"):
        repeated_text(tokenizer, 12, tries=3)


@pytest.mark.real
def test_the_pages_example_is_forty_random_tokens_twice() -> None:
    """The example on the home page is the text that its comment says, and shows the fact it is for."""
    if not WHEELS["smollm2-135m"].wheel.is_here():
        pytest.skip("smollm2-135m is not in the cache: fetch it with `llm-workings fetch smollm2-135m`")
    model = llm_workings.load("smollm2-135m", device="cpu")
    text = repeated_text(model.tokenizer, 40, seed=107)
    found = re.search(r'const RANDOM =\s*"([^"]+)"', EXAMPLES.read_text())
    assert found is not None
    assert found[1] * 2 == text
    losses = model.run(text).losses[0]
    assert float(losses[:39].mean()) == pytest.approx(14.6, abs=0.1)
    assert float(losses[39:].mean()) == pytest.approx(2.9, abs=0.1)
