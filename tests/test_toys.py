"""The packaged toys do what is said of them, and can be made again."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from llm_workings.core.errors import BadFile, BadInput, Cancelled, UnknownName
from llm_workings.core.progress import Progress
from llm_workings.core.wire import pack
from llm_workings.data.repeated import repeated_tokens
from llm_workings.models import spec as sp
from llm_workings.models import toys
from llm_workings.models.sites import site
from llm_workings.models.spec_json import from_json, to_json
from llm_workings.models.toy_training import Patterns, practice, train
from llm_workings.models.toys import LETTERS, TOYS, Recipe, find_toy, load_toy, read_toy, write_toy

N = 24  # letters in a repeated segment


def repeated(seed: int = 3, n: int = N, distinct: bool = True) -> torch.Tensor:
    letters = range(1, len(LETTERS))
    return repeated_tokens(letters, n, batch=32, seed=seed, begin=0, distinct=distinct)


@torch.no_grad()
def run(name: str, tokens: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Losses `[b, 2n]` and each layer's patterns."""
    model, _ = load_toy(name)
    patterns = Patterns()
    logits = model(tokens, tap=patterns)
    losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")
    return losses, [patterns.by_layer[layer] for layer in range(model.spec.n_layers)]


def induction_scores(pattern: torch.Tensor, n: int) -> torch.Tensor:
    """A head's mean attention from the second copy's letters to what followed them in the first."""
    queries = torch.arange(n + 1, 2 * n + 1)
    return pattern[:, :, queries, queries - n + 1].mean((0, 2))


# --- what the toys have learned --------------------------------------------------------------------
@pytest.mark.parametrize("n", [12, 24, 31])
def test_the_2_layer_toy_has_induction_heads_above_a_previous_token_head(n: int) -> None:
    _, (below, above) = run("induction-2l", repeated(n=n))
    assert induction_scores(above, n).max() > 0.8
    assert induction_scores(below, n).max() < 0.1
    previous = below.diagonal(-1, -2, -1)[:, :, 1:].mean((0, 2))
    assert previous.max() > 0.8


@pytest.mark.parametrize("n", [12, 24, 31])
def test_the_1_layer_twin_has_none(n: int) -> None:
    _, (only,) = run("induction-1l", repeated(n=n))
    assert induction_scores(only, n).max() < 0.3


def test_the_second_copy_is_cheap_for_two_layers_only() -> None:
    for distinct in (True, False):
        tokens = repeated(distinct=distinct)
        (two, _), (one, _) = run("induction-2l", tokens), run("induction-1l", tokens)
        first, second = two[:, :N].mean(), two[:, N + 1 :].mean()
        assert first > math.log(len(LETTERS) - 1) - 0.1  # random letters cannot be guessed
        assert second < 0.25 * first
        assert second < 0.25 * one[:, N + 1 :].mean()


def test_without_the_previous_token_heads_induction_is_gone() -> None:
    """Cause, not just correlation: layer 1 finds nothing when layer 0 may not look one back."""
    model, _ = load_toy("induction-2l")
    tokens = repeated()

    class Blind(Patterns):
        def __call__(self, where, value):  # type: ignore[no-untyped-def]
            if where == site("pattern", 0):
                value = value - torch.diag_embed(value.diagonal(-1, -2, -1), -1)
            return super().__call__(where, value)

    blind = Blind()
    with torch.no_grad():
        model(tokens, tap=blind)
    assert induction_scores(blind.by_layer[1], N).max() < 0.2


def test_typed_letters_are_continued() -> None:
    model, tokenizer = load_toy("induction-2l")
    tokens = tokenizer.encode("gqmzrxk gqmzr")
    assert tokenizer.pieces(tokens) == ["<begin>", *"gqmzrxk gqmzr"]
    with torch.no_grad():
        answer = model(torch.tensor([tokens]))[0, -1].softmax(-1)
    assert tokenizer.piece(int(answer.argmax())) == "x"
    assert answer.max() > 0.5
    assert tokenizer.decode(tokens, special=False) == "gqmzrxk gqmzr"
    with pytest.raises(BadInput, match="Hello"):
        tokenizer.encode("Hello")


# --- their files -----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", TOYS)
def test_a_file_says_what_it_is_and_how_it_was_made(name: str) -> None:
    toy, file = find_toy(name), read_toy(name)
    assert toy.path.stat().st_size < 1_000_000
    assert from_json(file.spec) == toy.spec
    assert Recipe(**file.recipe) == toy.recipe  # type: ignore[arg-type]
    assert tuple(file.vocabulary) == toy.vocabulary
    assert file.command == toy.command
    assert file.history[-1].step == toy.recipe.steps
    assert all(a.step < b.step for a, b in zip(file.history, file.history[1:], strict=False))


def test_the_history_shows_the_heads_form() -> None:
    two, one = read_toy("induction-2l").history, read_toy("induction-1l").history
    assert two[0].induction < 0.1 < 0.8 < two[-1].induction
    assert two[-1].second_copy < 1 < 3 < one[-1].second_copy
    assert max(measure.induction for measure in one) < 0.3


def test_listing_toys_does_not_import_torch() -> None:
    code = "import sys; from llm_workings.models.toys import TOYS; assert TOYS; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_bad_names_and_files(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UnknownName, match="induction-2l"):
        load_toy("induction2l")
    with pytest.raises(BadFile, match=r"toys induction-1l"):
        load_toy("induction-1l", tmp_path / "none")
    whole = TOYS["induction-1l"].path.read_bytes()
    for name, data in {"empty": b"", "cut": whole[:-100], "text": b"not a toy at all"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BadFile):
            load_toy("induction-1l", tmp_path / name)
    file = read_toy("induction-1l")
    del file.weights["unembed.weight"]
    (tmp_path / "less").write_bytes(pack(file))
    with pytest.raises(BadFile, match=r"unembed\.weight"):
        load_toy("induction-1l", tmp_path / "less")


def test_a_spec_survives_json() -> None:
    rich = sp.Spec(
        vocab_size=7,
        n_ctx=8,
        d_model=12,
        n_layers=1,
        attention=sp.Attention(4, 2, 6, input_bias=True, query_key_norm=sp.RMSNorm(1e-6)),
        mlp=sp.GatedMLP(5, "silu"),
        norm=sp.RMSNorm(),
        positions=sp.RotaryPositions(scaling=sp.LinearScaling(2.0)),
        block=sp.ParallelPreNorm(),
        head=sp.NextTokenHead(tied=True),
    )
    assert from_json(to_json(rich)) == rich
    plain = to_json(rich)
    for bad in ({}, {"is": "Spec"}, {**plain, "norm": {"is": "os"}}, plain["norm"], 3):
        with pytest.raises(BadFile):
            from_json(bad)


# --- making them again -----------------------------------------------------------------------------
def test_practice_is_random_letters_and_one_repeated_segment() -> None:
    tokens = practice(200, 128, 32, 60, distinct=0.5, draw=torch.Generator().manual_seed(1))
    assert tokens.shape == (200, 128)
    assert (tokens[:, 0] == 0).all()
    assert tokens[:, 1:].min() == 1
    assert tokens.max() == 31
    # In each row some distance makes far more letters equal than chance (1 in 31) does.
    equal = torch.stack([(tokens[:, 1:-d] == tokens[:, 1 + d :]).float().mean(1) for d in range(4, 61)])
    best, at = equal.max(0)
    assert best.quantile(0.1) > 0.2
    assert len(at.unique()) > 40  # and that distance varies
    counts = torch.bincount(tokens[:, 1:].flatten(), minlength=32)[1:].double()
    assert counts.max() / counts.min() < 1.5  # so no letter is the better guess


def small(steps: int, seed: int = 0) -> Recipe:
    return dataclasses.replace(TOYS["induction-2l"].recipe, steps=steps, seed=seed)


def test_training_again_makes_induction_again() -> None:
    spec = dataclasses.replace(TOYS["induction-2l"].spec, n_ctx=32)
    recipe = Recipe(steps=200, longest_period=12, distinct=1.0, learning_rate=5e-3)
    _, history = train(spec, recipe)
    bound = math.log(len(LETTERS) - 1)  # the least that letter frequencies alone can cost
    assert history[0].second_copy > bound - 0.1
    assert history[0].induction < 0.1
    assert history[-1].second_copy < bound - 1.5
    assert history[-1].induction > 0.5


def test_the_same_seed_gives_the_same_weights() -> None:
    spec = TOYS["induction-1l"].spec
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    (a, _), (b, _), (c, _) = (train(spec, small(2, seed)) for seed in (5, 5, 6))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.embed.weight, c.embed.weight)


def test_training_can_be_cancelled() -> None:
    seen: list[int] = []
    progress = Progress(lambda what, done, total: seen.append(done), lambda: len(seen) == 3)
    with pytest.raises(Cancelled):
        train(TOYS["induction-1l"].spec, small(100), progress=progress)
    assert seen == [0, 1, 2]


def test_the_command_writes_a_toy_that_loads(tmp_path, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    brief = dataclasses.replace(TOYS["induction-1l"], name="brief", recipe=small(2))
    monkeypatch.setitem(TOYS, "brief", brief)
    path = tmp_path / "folder" / "brief.safetensors"
    assert toys.main(["brief", "-o", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "2/2" in printed
    assert str(path) in printed
    model, _ = load_toy("brief", path)
    assert model.spec == brief.spec
    assert [p.name for p in path.parent.iterdir()] == ["brief.safetensors"]
    assert toys.main(["breif", "-o", str(path)]) == 2
    assert "Did you mean 'brief'" in capsys.readouterr().err


def test_an_interrupted_command_writes_nothing(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "toy.safetensors"
    command = [sys.executable, "-m", "llm_workings.models.toys", "induction-1l", "-o", str(path)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in a shell's background ignores SIGINT, and its children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "0/" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert "nothing was written" in process.stderr.read()
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "toy.safetensors"
    path.write_bytes(b"old")
    model, _ = load_toy("induction-1l")

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_toy(TOYS["induction-1l"], model, [], path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# --- repeated tokens -------------------------------------------------------------------------------
def test_repeated_tokens_repeat() -> None:
    tokens = repeated_tokens(50_000, 40, copies=3, batch=5, seed=2)
    assert tokens.shape == (5, 120)
    assert torch.equal(tokens[:, :40], tokens[:, 40:80])
    assert torch.equal(tokens[:, :40], tokens[:, 80:])
    assert not torch.equal(tokens[0], tokens[1])
    assert torch.equal(tokens, repeated_tokens(50_000, 40, copies=3, batch=5, seed=2))
    assert not torch.equal(tokens, repeated_tokens(50_000, 40, copies=3, batch=5, seed=3))


def test_repeated_tokens_come_from_the_ids_after_the_begin_token() -> None:
    tokens = repeated_tokens([3, 5, 9], 30, batch=4, begin=0)
    assert tokens.shape == (4, 61)
    assert (tokens[:, 0] == 0).all()
    assert set(tokens[:, 1:].flatten().tolist()) == {3, 5, 9}
    once = repeated_tokens(12, 12, copies=1, batch=4, distinct=True)
    assert once.sort(-1).values.tolist() == [list(range(12))] * 4


@pytest.mark.parametrize(
    "bad", [{"n": 0}, {"copies": 0}, {"batch": 0}, {"ids": []}, {"n": 9, "distinct": True}]
)
def test_repeated_tokens_say_what_is_wrong(bad) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadInput, match=r"\d"):
        repeated_tokens(**{"ids": 8, "n": 4, **bad})
