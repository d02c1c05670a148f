"""Writing on: equal to the loop without a cache, repeatable, stoppable."""

from __future__ import annotations

import pytest
import torch
from tiny_models import CAUSAL, WORDS, tiny

from llm_workings.core.errors import BadInput, Cancelled, EditNeverFired, NotSupported, TooLarge
from llm_workings.core.progress import Progress
from llm_workings.models.tokens import from_vocabulary
from llm_workings.trace.edits import Add, Edit, FunctionEdit, Mean, Noise, Scale, Where, Zero, ablate_head
from llm_workings.trace.generate import Choice
from llm_workings.trace.model import LanguageModel
from llm_workings.trace.tap import NotFinite

TEXT = "t h e c a t"  # 6 tokens


def uncached(model: LanguageModel, n: int, edits: object = ()) -> list[int]:
    ids = model.tokens(TEXT)
    for _ in range(n):
        ids.append(int(model.run(ids, edits=edits).logits[0, -1].argmax()))
    return ids[6:]


@pytest.mark.parametrize("kind", CAUSAL)
def test_greedy_text_equals_the_loop_without_a_cache(kind: str) -> None:
    model = tiny(kind)
    written = model.generate(TEXT, 12)
    assert list(written.tokens) == uncached(model, 12)
    assert written.text.split() == [WORDS[token] for token in written.tokens if token < 26]
    assert written.ended == "length"
    assert written.seed is None
    assert str(written) == written.text
    first = model.run(TEXT).top(1)[0]
    assert written.guesses[0].token == first.token
    assert written.guesses[0].probability == pytest.approx(first.probability)


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.parametrize(
    "edit",
    [
        ablate_head(1, 2),
        Edit("resid_post.0", how=Add(list(range(16)), 0.3)),
        Edit("z.1", Where(heads=0, positions=(2, 8)), Scale(5)),
        Edit("pattern.1", Where(keys=0), Zero()),
        Edit("attn_out.1", how=Noise(2.0, seed=4)),
        Edit("pattern.2", how=Noise(0.5, seed=4)),
        FunctionEdit("attn_out.2", torch.tanh),
    ],
    ids=str,
)
def test_edited_text_equals_the_edited_loop(kind: str, edit: object) -> None:
    model = tiny(kind)
    edits = [edit]
    loop = []
    ids = model.tokens(TEXT)
    for _ in range(8):
        # position 8 is not there before the third step
        reach = [e for e in edits if isinstance(e, FunctionEdit) or max(e.where.positions or (0,)) < len(ids)]
        if not reach:
            reach = [Edit(edit.site, Where(heads=0, positions=2), edit.how)]
        ids.append(int(model.run(ids, edits=reach).logits[0, -1].argmax()))
        loop.append(ids[-1])
    assert list(model.generate(TEXT, 8, edits=edits).tokens) == loop


def test_negative_positions_count_from_the_prompts_end() -> None:
    model = tiny()
    relative = model.stream(TEXT, 6, edits=Edit("resid_pre.1", Where(positions=-1), Scale(-3)))
    absolute = model.stream(TEXT, 6, edits=Edit("resid_pre.1", Where(positions=5), Scale(-3)))
    assert [g.logit for g in relative] == [g.logit for g in absolute]
    keys = model.generate(TEXT, 6, edits=Edit("pattern.1", Where(keys=-1), Zero()))
    assert keys == model.generate(TEXT, 6, edits=Edit("pattern.1", Where(keys=5), Zero()))


def test_a_draw_is_repeated_by_its_seed() -> None:
    model = tiny()
    one, two = (model.generate(TEXT, 15, temperature=5.0, seed=3) for _ in range(2))
    assert one == two
    assert one.tokens != model.generate(TEXT, 15, temperature=5.0, seed=4).tokens
    torch.manual_seed(0)
    unasked = model.generate(TEXT, 15, temperature=5.0)
    assert unasked.seed is not None
    assert model.generate(TEXT, 15, temperature=5.0, seed=unasked.seed) == unasked


def test_what_is_drawn_from() -> None:
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    close = {"rtol": 1e-6, "atol": 1e-9}

    def expect(choice: Choice, probabilities: list[float]) -> None:
        torch.testing.assert_close(
            choice.probabilities(logits), torch.tensor(probabilities).double(), **close
        )

    expect(Choice(1.0), [0.4, 0.3, 0.2, 0.1])
    expect(Choice(0.5), [16 / 30, 9 / 30, 4 / 30, 1 / 30])
    expect(Choice(1.0, top_k=2), [4 / 7, 3 / 7, 0, 0])
    expect(Choice(1.0, top_p=0.65), [4 / 7, 3 / 7, 0, 0])
    expect(Choice(1.0, top_p=0.75), [4 / 9, 3 / 9, 2 / 9, 0])
    expect(Choice(1.0, top_p=0.01), [1, 0, 0, 0])
    expect(Choice(1.0, top_k=3, top_p=0.5), [4 / 7, 3 / 7, 0, 0])
    drawn = [
        Choice(1.0).pick(logits, draw) for draw in [torch.Generator().manual_seed(1)] for _ in range(4000)
    ]
    counts = torch.bincount(torch.tensor(drawn), minlength=4) / 4000
    torch.testing.assert_close(counts, torch.tensor([0.4, 0.3, 0.2, 0.1]), atol=0.03, rtol=0)
    model = tiny()
    assert model.generate(TEXT, 8, temperature=2.0, top_k=1).tokens == model.generate(TEXT, 8).tokens


def test_text_ends_where_it_is_told() -> None:
    model = tiny()
    whole = model.generate(TEXT, 10)
    words = whole.text.split()
    word = words[4]
    cut = model.generate(TEXT, 10, stop=["zzz", f" {word}"])
    before = words[: words.index(word)]
    assert cut.text.split() == before
    assert cut.ended == f" {word}"
    ending = from_vocabulary(WORDS, separator=" ", roles={"eos": word})
    ended = LanguageModel(model.transformer, ending, "ending").generate(TEXT, 10)
    assert ended.ended == "end of text"
    assert ended.tokens == whole.tokens[: words.index(word) + 1]


def test_a_stream_is_read_token_by_token() -> None:
    model = tiny()
    whole = model.generate(TEXT, 10)
    stream = model.stream(TEXT, 10)
    assert [next(stream).token for _ in range(3)] == list(whole.tokens[:3])
    assert stream.text().tokens == whole.tokens[:3]
    assert stream.text().ended == "stopped"
    assert len(list(stream)) == 7
    with pytest.raises(StopIteration):
        next(stream)


def test_each_step_computes_one_position() -> None:
    model = tiny()
    widths = []
    model.transformer.blocks[0].register_forward_hook(lambda m, x, y: widths.append(y.shape[1]))
    model.generate(TEXT, 5)
    assert widths == [6, 1, 1, 1, 1]


def test_writing_reports_and_can_be_stopped() -> None:
    seen = []
    tiny().generate(TEXT, 4, progress=Progress(lambda what, done, total: seen.append((what, done, total))))
    assert seen == [("writing", i, 4) for i in range(4)]
    with pytest.raises(Cancelled):
        tiny().generate(TEXT, 4, progress=Progress(cancelled=lambda: len(seen) > 3))


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"n": 0}, BadInput, "n=0"),
        ({"n": 19}, TooLarge, "6 tokens and 19 more pass the 24"),
        ({"temperature": -1}, BadInput, "temperature -1"),
        ({"temperature": float("nan")}, BadInput, "temperature nan"),
        ({"top_k": 0}, BadInput, "top_k=0"),
        ({"top_p": 1.5}, BadInput, "top_p=1.5"),
        ({"temperature": 1, "seed": -3}, BadInput, "seed -3"),
        ({"stop": [""]}, BadInput, "empty stop"),
        ({"budget": "1kB"}, TooLarge, "budget of 1.0 kB"),
        ({"edits": Edit("z.1", Where(positions=40))}, EditNeverFired, "never fired"),
        ({"edits": Edit("z.1", Where(positions=-7))}, BadInput, "-7"),
        ({"edits": Edit("z.7")}, EditNeverFired, "layers 0 to 2"),
        ({"edits": Edit("z.1", how=Mean())}, BadInput, "means over positions"),
        ({"edits": Edit("mlp_out.1", how=Scale(float("inf")))}, NotFinite, "after 0 tokens"),
    ],
)
def test_what_cannot_be_written_says_why(options: dict, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        tiny().generate(TEXT, **{"n": 4, **options})


def test_who_cannot_write_says_so() -> None:
    with pytest.raises(NotSupported, match="both ways"):
        tiny("bert").generate(TEXT)
    with pytest.raises(NotSupported, match="next-token head"):
        tiny("encoder").generate(TEXT)
    with pytest.raises(BadInput, match="2 prompts"):
        tiny().generate([TEXT, TEXT])
