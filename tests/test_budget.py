"""What a run is said to take, against what it holds."""

from __future__ import annotations

import pytest
import torch
from tiny_models import KINDS, tiny

from llm_workings.core.errors import BadInput, TooLarge
from llm_workings.trace import budget
from llm_workings.trace.budget import read_size
from llm_workings.trace.run import Run

TEXT = "t h e c a t s a t o n t h e m a t"


def held(run: Run) -> int:
    """Bytes of the distinct storages that the run keeps alive."""
    tensors = [*run.kept.values()]
    if run.cache is not None:
        tensors += [t for t in (*run.cache.keys, *run.cache.values) if t is not None]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def predicted(run_forecast: budget.Forecast) -> int:
    return sum(run_forecast.kept.values()) + run_forecast.logits + run_forecast.cache


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"keep": "*"},
        {"keep": ["pattern.*"]},
        {"keep": "resid_*"},
        {"keep": ["k.*", "v.1"], "logits": False},
        {"keep": "result.*", "logits": "last"},
        {"resumable": True},
        {"keep": ["z.*", "mlp_post.*", "ln_final*"], "logits": "last"},
    ],
    ids=str,
)
def test_the_prediction_is_what_is_held(kind: str, options: dict) -> None:
    model = tiny(kind, dtype=torch.float32)
    options = dict(options)
    present = {place.kind for place in model.sites}
    if "mlp_post.*" in options.get("keep", ()):
        wanted = {"mlp_post.*": "mlp_post", "ln_final*": "ln_final"}
        options["keep"] = [name for name in options["keep"] if wanted.get(name, "z") in present]
    texts = [TEXT, "d o g", "t h e m a t"]
    forecast, run = model.forecast(texts, **options), model.run(texts, **options)
    assert predicted(forecast) == pytest.approx(held(run), rel=0.1)
    assert set(forecast.kept) <= set(run.kept)
    assert forecast.total >= held(run)


def test_a_resumed_run_is_predicted_too() -> None:
    model = tiny(dtype=torch.float32)
    start = model.run(TEXT, resumable=True).at(1, 10).repeat(6)
    forecast = model.forecast(resume=start, keep=["pattern.*", "z.2"][1:])
    assert predicted(forecast) == pytest.approx(held(model.run(resume=start, keep="z.2")), rel=0.1)


def peak(function: object) -> int:
    """The most bytes of tensors alive at once on the CPU while `function` runs, by the profiler."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        function()
    alive = most = 0
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda e: e.start_ns()):
        if event.name() == "[memory]":
            alive += event.nbytes()
            most = max(most, alive)
    return most


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"keep": "pattern.1"}, {"keep": "*"}, {"logits": "last"}], ids=str)
def test_the_total_is_near_the_peak(kind: str, options: dict) -> None:
    model = tiny(kind, torch.float32, d_model=64, n_ctx=256, n_layers=2)
    ids = [[i % 26 for i in range(200)]] * 4
    total = model.forecast(ids, **options).total
    measured = peak(lambda: model.run(ids, **options))
    assert 0.6 * measured < total < 2.0 * measured


def test_the_total_with_a_gradient_is_near_the_peak() -> None:
    model = tiny("llama", torch.float32, d_model=64, n_ctx=256, n_layers=4)
    ids = [[i % 26 for i in range(200)]] * 4
    for keep in ("resid_pre.0", "pattern.*"):
        total = model.forecast(ids, keep=keep, grad="loss").total
        measured = peak(lambda keep=keep: model.run(ids, keep=keep, grad="loss"))
        assert 0.6 * measured < total < 2.5 * measured


def test_a_run_past_the_budget_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(dtype=torch.float32)
    need = model.forecast(TEXT, keep=["pattern.*", "z.0"]).total
    model.run(TEXT, keep=["pattern.*", "z.0"], budget=need)
    with pytest.raises(TooLarge, match=r"fewer layers of pattern.0-2 .*half precision") as caught:
        model.run(TEXT, keep=["pattern.*", "z.0"], budget=need - 1)
    assert caught.value.given == {"needed": need, "budget": need - 1}
    with pytest.raises(TooLarge, match='logits="last"'):
        tiny(vocab_size=3000).run(TEXT, budget="1 kB")
    monkeypatch.setenv(budget.VARIABLE, "2kB")
    with pytest.raises(TooLarge, match=r"budget of 2\.0 kB"):
        model.run(TEXT)
    model.run(TEXT, budget="1MB")  # the argument goes before the variable
    monkeypatch.setenv(budget.VARIABLE, "plenty")
    with pytest.raises(BadInput, match="plenty"):
        model.run(TEXT)
    monkeypatch.setenv(budget.VARIABLE, "")
    monkeypatch.setattr(budget, "free_memory", lambda device: 1000)
    with pytest.raises(TooLarge, match="memory free on cpu of 900 bytes"):
        model.run(TEXT)


def test_a_refused_run_computes_nothing() -> None:
    model = tiny()
    model.transformer.register_forward_hook(lambda *_: pytest.fail("it ran"))
    with pytest.raises(TooLarge):
        model.run(TEXT, budget=10)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("12GB", 12 * 10**9),
        ("800 MB", 8 * 10**8),
        ("1.5GiB", 3 * 2**29),
        ("64k", 64000),
        (123, 123),
        ("7", 7),
    ],
)
def test_sizes_are_read(text: str | int, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-3GB", "3 XB", "GB", "1e9", True])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(BadInput, match="no amount of memory"):
        read_size(text)
