"""The lab: models loaded once and let go by bytes, runs remembered, progress and cancel."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from small_models import causal, load_small, masked, small_lab

from llm_workings.core.errors import Cancelled
from llm_workings.core.progress import Progress
from llm_workings.trace.model import LanguageModel
from llm_workings.views import REGISTRY
from llm_workings.views.lab import Lab, Shelf

TEXT = "the cat sat on the mat"


def test_a_model_is_loaded_once_for_all_threads() -> None:
    loads: list[str] = []

    def load(name: str, progress: Any) -> LanguageModel:
        loads.append(name)
        return load_small(name)

    lab = Lab(load)
    threads = [threading.Thread(target=lambda: lab.for_job(Progress()).model("causal")) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == ["causal"]
    assert lab.model("causal") is lab.for_job(Progress()).model("causal")


def test_models_past_the_bytes_are_let_go_the_longest_unused_first() -> None:
    size = sum(p.numel() * 4 for p in causal().transformer.parameters())
    lab = small_lab(model_bytes=size + 100)
    lab.model("causal")
    assert lab.loaded() == ["causal"]
    lab.model("masked")
    assert lab.loaded() == ["masked"]
    tight = small_lab(model_bytes=1)
    tight.model("causal")
    assert tight.loaded() == ["causal"]  # the last one is kept though it is past the bytes
    roomy = small_lab()
    roomy.model("causal"), roomy.model("masked"), roomy.model("causal")
    assert roomy.loaded() == ["masked", "causal"]


def test_a_shelf_keeps_what_fits() -> None:
    shelf: Shelf[str] = Shelf(10, len, keep_one=False)
    for item in ("aaaa", "bbbb"):
        assert shelf.get(item[0], lambda item=item: item) == item
    assert shelf.get("a", lambda: "other") == "aaaa"
    shelf.put("c", "cccc")
    assert shelf.keys() == ["a", "c"]  # b was the longest unused
    shelf.put("d", "d" * 11)
    assert shelf.keys() == []  # larger than the shelf itself
    failing = pytest.raises(ZeroDivisionError)
    with failing:
        shelf.get("e", lambda: str(1 / 0))
    assert shelf.get("e", lambda: "e") == "e"


def runs_of(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the layers of each run of a model from here on."""
    counts: list[int] = []
    real = model.transformer.forward

    def counting(*arguments: Any, **options: Any) -> Any:
        resume, stop = options.get("resume"), options.get("stop")
        last = model.spec.n_layers if stop is None else stop
        counts.append(last - (resume.layer if resume else 0))
        return real(*arguments, **options)

    monkeypatch.setattr(model.transformer, "forward", counting)
    return counts


def test_a_head_opened_after_the_atlas_runs_one_layer_only(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = small_lab()
    counts = runs_of(lab.model("causal"), monkeypatch)
    asked = {"prompt": TEXT, "model": "causal"}
    REGISTRY["attention"].run(lab, asked)
    assert counts == [3]
    REGISTRY["head"].run(lab, {**asked, "layer": 1, "head": 2})
    assert counts == [3, 1]
    REGISTRY["head_row"].run(lab, {**asked, "layer": 1, "head": 2, "query": 3})
    REGISTRY["head"].run(lab, {**asked, "layer": 1, "head": 0})
    REGISTRY["logit_lens"].run(lab, asked)
    assert counts == [3, 1]  # the same layer again, and the lens, cost no run
    REGISTRY["head"].run(lab, {**asked, "layer": 1, "head": 2, "ablate": [{"layer": 0, "head": 0}]})
    assert counts == [3, 1, 3, 1]  # under an ablation it is another pass
    REGISTRY["attention"].run(lab, {**asked, "ablate": [{"layer": 0, "head": 0}]})
    assert counts == [3, 1, 3, 1, 3]  # the unablated answer is remembered


def test_a_lab_without_room_for_runs_gives_the_same_numbers() -> None:
    asked = {"prompt": TEXT, "model": "causal", "layer": 2, "head": 1, "query": 4}
    with_room = REGISTRY["head_row"].run(small_lab(), asked)
    without = REGISTRY["head_row"].run(small_lab(pass_bytes=0), asked)
    assert with_room.pattern.tolist() == without.pattern.tolist()  # type: ignore[attr-defined]


def test_another_model_under_the_same_name_forgets_the_runs_of_the_first() -> None:
    lab = small_lab()
    lab.add("mine", causal(n_layers=2))
    first = REGISTRY["logit_lens"].run(lab, {"prompt": TEXT, "model": "mine"})
    lab.add("mine", causal(n_layers=3))
    second = REGISTRY["logit_lens"].run(lab, {"prompt": TEXT, "model": "mine"})
    assert (len(first.stops), len(second.stops)) == (3, 4)  # type: ignore[attr-defined]


def test_progress_is_reported_and_a_cancel_stops_the_view() -> None:
    lab = small_lab()
    said: list[tuple[str, int, int]] = []
    REGISTRY["logit_lens"].run(
        lab.for_job(Progress(lambda *report: said.append(report))), {"prompt": TEXT, "model": "causal"}
    )
    assert said[0][0] == "loading causal"
    assert {what for what, _, _ in said} == {
        "loading causal",
        "running the model",
        "reading the residual stream",
    }
    assert all(done <= total for _, done, total in said if total)

    asked_to_stop = iter([False, False, True])
    stopping = lab.for_job(Progress(cancelled=lambda: next(asked_to_stop)))
    with pytest.raises(Cancelled):
        REGISTRY["attention"].run(stopping, {"prompt": TEXT + " and the dog", "model": "causal"})


def test_a_model_made_in_this_session_has_a_card() -> None:
    lab = small_lab()
    lab.add("mine", masked("mine"))
    card = lab.card(lab.model("mine"))
    assert (card.name, card.causal, card.answers, card.mask_token) == ("mine", False, True, "[MASK]")
    assert card.parameters == sum({p: p.numel() for p in masked().transformer.parameters()}.values())
