"""Errors restate what was given and point to the nearest thing that works."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_workings.core import errors
from llm_workings.core.errors import BadInput, Cancelled, LabError, UnknownName, nearest, unknown
from llm_workings.core.progress import SILENT, Progress

KNOWN = ["attention", "head", "head_row", "logit_lens"]


def test_an_error_is_two_sentences_and_plain_json() -> None:
    error = BadInput("The layer 99 is not there.", hint="Layers go from 0 to 29.", given={"layer": 99})
    assert str(error) == "The layer 99 is not there. Layers go from 0 to 29."
    assert json.loads(json.dumps(error.as_dict())) == {
        "kind": "BadInput",
        "message": "The layer 99 is not there.",
        "hint": "Layers go from 0 to 29.",
        "given": {"layer": 99},
    }
    assert str(BadInput("No hint.")) == "No hint."


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("atention", "Did you mean 'attention'?"),
        ("ATTENTION", "Did you mean 'attention'?"),
        ("head_rwo", "Did you mean 'head_row' or 'head'?"),
        ("xyz", "Known: attention, head, head_row, logit_lens."),
        ("", "Known: attention, head, head_row, logit_lens."),
    ],
)
def test_an_unknown_name_suggests_the_nearest(name: str, hint: str) -> None:
    error = unknown("view", name, KNOWN)
    assert isinstance(error, UnknownName)
    assert error.message == f"There is no view {name!r}."
    assert error.hint == hint
    assert error.given == {"view": name}


def test_a_long_list_is_cut_and_an_empty_one_said() -> None:
    many = unknown("site", "zzz", (f"resid_pre.{layer}" for layer in range(40)))
    assert many.hint.startswith("Known: resid_pre.0, ")
    assert many.hint.endswith("resid_pre.11, ….")
    assert unknown("model", "zzz", []).hint == "None is known."


@given(st.text(max_size=20), st.lists(st.text(max_size=10), max_size=8))
def test_suggestions_are_known_names_and_the_name_itself_comes_first(name: str, known: list[str]) -> None:
    assert set(nearest(name, known)) <= set(known)
    if name:
        assert nearest(name, [*known, name])[0].lower() == name.lower()


def test_every_error_has_a_status_and_says_what_it_is_for() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LabError)]
    assert len(kinds) > 10
    for kind in kinds:
        assert 400 <= kind.status < 600
        assert kind.__doc__


def test_progress_is_heard_until_it_is_cancelled() -> None:
    heard: list[tuple[str, int, int]] = []
    stopped = False
    progress = Progress(lambda *report: heard.append(report), lambda: stopped)
    progress.report("loading")
    progress.report("reading layers", 3, 30)
    stopped = True
    with pytest.raises(Cancelled, match="Stopped while reading layers"):
        progress.report("reading layers", 4, 30)
    assert heard == [("loading", 0, 0), ("reading layers", 3, 30)]
    SILENT.report("anything", 1, 2)
