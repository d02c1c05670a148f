"""A network on screen, without a socket: its files, and what cannot be done."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from network_page import CLOUDS, SMALL, Page, forked, plain, same, saved_by, set_up

from llm_workings.core.errors import BadInput
from llm_workings.data.dataset import spec_of
from llm_workings.playground.save import pack_run
from llm_workings.views import network_live
from llm_workings.views.network_parts import Frame, Predictions, Recording, Setting, Tree


@pytest.fixture
def page() -> Page:
    return set_up()


# ---- files ------------------------------------------------------------------------------------------


def test_saved_loaded_and_continued_is_not_interrupted(page: Page) -> None:
    data = saved_by(forked(page))
    later = Page()
    later.session.receive(data)
    later.take()
    assert later.of(Setting).data == spec_of(**CLOUDS)
    assert later.run.here == (1, 32)
    assert later.of(Tree).branches[1].label == page.run.branches[1].label
    same(later.run, page.run)
    for either in (page, later):
        either.send(do="step", n=30)
    same(later.run, page.run)
    for either in (page, later):
        either.send(do="goto", branch=0, step=17)
    same(later.run, page.run)
    assert saved_by(later) == saved_by(page)


def test_a_table_is_read_after_loading_as_before() -> None:
    page = Page()
    table = "height,weight,kind\n" + "".join(f"{i},{1000 * i * i % 7},{'ab'[i % 2]}\n" for i in range(20))
    page.send(do="setup", data={"name": "csv", "csv": table})
    page.send(do="step", n=9)
    later = Page()
    later.session.receive(saved_by(page))
    later.take()
    frames = [later.of(Frame)]
    page.send(do="goto", step=9)
    frames.append(page.of(Frame))
    np.testing.assert_array_equal(frames[0].surface, frames[1].surface)
    for either in (page, later):
        either.send(do="predict", points=[[3.0, 1000.0]])
    np.testing.assert_array_equal(later.of(Predictions).outputs, page.of(Predictions).outputs)


def test_a_file_that_is_none_leaves_all_as_it_was(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved_by(forked(page))
    here = page.run.here
    newer = data.replace(b'\\"format\\": 1,', b'\\"format\\": 7,')
    assert newer != data
    for broken, said in (
        (b"", "no saved run"),
        (b"\x00" * 64, "no saved run"),
        (data[: len(data) // 2], "cut short"),
        (data[:-1], "cut short"),
        (newer, "format 7; this version of llm-workings reads up to 1"),
    ):
        page.session.receive(broken)
        page.take()
        assert said in page.error["message"]
        assert page.run.here == here
    monkeypatch.setattr(network_live, "LARGEST_FILE", len(data) - 1)
    page.session.receive(data)
    page.take()
    assert page.error["kind"] == "TooLarge"
    assert f"{len(data) - 1:,}" in page.error["message"]


def test_a_file_that_does_not_say_what_its_data_was_has_no_script(page: Page) -> None:
    page.session.receive(pack_run(plain()))
    page.take()
    assert page.of(Setting).data.name == "csv"
    page.send(do="script")
    assert page.error["kind"] == "NotSupported"
    lying = spec_of("moons", n=60).model_dump(mode="json")
    page.session.receive(pack_run(plain(), lying))
    page.take()
    assert page.of(Setting).data.name == "csv"
    assert len(page.of(Setting).points) == 60


def test_the_script_of_a_session_reproduces_it(page: Page) -> None:
    forked(page).send(do="script")
    text = page.texts[0]
    assert text["say"] == "script"
    names: dict[str, Any] = {"print": lambda *_: None}
    exec(compile(text["text"], "script", "exec"), names)
    same(names["network"].run, page.run)


def test_parameters_go_out_as_json_and_come_back(page: Page) -> None:
    forked(page).send(do="parameters")
    given = page.texts[0]["parameters"]
    assert given["layers"] == [2, 5, 3, 1]
    np.testing.assert_array_equal(given["weights"][1], page.run.parameters.weights[1])
    wanted = page.run.state.parameters
    page.send(do="load_parameters", parameters=given)
    assert page.run.here == (0, 0)
    np.testing.assert_array_equal(page.run.state.parameters, wanted)
    smaller = {"weights": [[[1.0], [2.0]]], "biases": [[0.5]]}
    page.send(do="load_parameters", parameters=smaller)
    assert page.error["kind"] == "BadInput"  # one layer, whose only activation would be the hidden one's
    page.send(do="load_parameters", parameters={**smaller, "activations": ["sigmoid"]})
    assert page.of(Setting).config.layers == (2, 1)
    for wrong, said in (
        ({"weights": [[[1.0, 2.0], [3.0]]], "biases": [[0.0, 0.0]]}, "weights"),
        ({}, "weights"),
        ({"weights": [[[1.0]]], "biases": [[0.0]], "activations": ["sigmoid"]}, "reads 1 inputs"),
    ):
        page.send(do="load_parameters", parameters=wrong)
        assert said in page.error["message"]
        assert page.run.config.layers == (2, 1)


def test_the_exported_page_holds_the_run_with_its_forks() -> None:
    taken: list[Recording] = []

    def make_page(recording: Recording) -> str:
        taken.append(recording)
        return "<html>"

    page = Page(page=make_page)
    page.send(do="setup", config=SMALL, data=CLOUDS)
    forked(page).send(do="export")
    assert page.texts == [{"say": "export", "html": "<html>"}]
    assert len(taken[0].tree.branches) == 2
    assert taken[0].frames[-1].step == 32
    assert taken[0].details[0].algebra is not None
    assert page.run.here == (1, 32)
    without = Page()
    without.send(do="setup")
    without.send(do="export")
    assert without.error["kind"] == "NotSupported"


# ---- bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "kind", "said"),
    [
        ({"do": "stp"}, "UnknownName", "Did you mean 'step'"),
        ({"do": 3}, "BadInput", "is no command"),
        ({}, "BadInput", "is no command"),
        ({"do": "step", "n": "many"}, "BadInput", "n = 'many'"),
        ({"do": "step", "n": 1.5}, "BadInput", "n = 1.5"),
        ({"do": "step", "n": 10**12}, "BadInput", "n = 1000000000000"),
        ({"do": "step", "unit": "batches"}, "BadInput", "unit = 'batches'"),
        ({"do": "step", "m": 1}, "BadInput", "takes no 'm'"),
        ({"do": "goto"}, "BadInput", "needs 'step'"),
        ({"do": "goto", "step": 99}, "BadInput", "steps 0 to 20; 99 is not"),
        ({"do": "goto", "step": 3, "branch": 7}, "UnknownName", "no branch '7'"),
        ({"do": "play", "speed": -1}, "BadInput", "speed = -1"),
        ({"do": "change", "config": {"layers": [2, 3, 1]}}, "BadInput", "belongs to the beginning"),
        ({"do": "change", "config": {"learning_rte": 1}}, "BadInput", "Did you mean 'learning_rate'"),
        ({"do": "change", "config": {"loss": "cross_entropy"}}, "BadInput", "does not go with"),
        ({"do": "change", "config": 5}, "BadInput", "config = 5"),
        ({"do": "edit", "place": "w9.0.0", "value": 1}, "BadInput", "'w9.0.0' is no parameter"),
        ({"do": "edit", "place": "w1.0.0", "value": "x"}, "BadInput", "value = 'x'"),
        ({"do": "watch", "sample": 60}, "BadInput", "samples 0 to 59; 60"),
        ({"do": "watch", "sample": -1}, "BadInput", "samples 0 to 59; -1"),
        ({"do": "watch", "place": "u1"}, "BadInput", "'u1' is no parameter"),
        ({"do": "watch", "history": {"place": "w1.0.0", "what": "activation"}}, "BadInput", "no unit"),
        ({"do": "watch", "history": {"place": "u1.0", "what": "gradient"}}, "BadInput", "no parameter"),
        ({"do": "predict", "points": [[1, 2, 3]]}, "BadInput", "Point 0 has 3 coordinates"),
        ({"do": "predict", "points": []}, "BadInput", "points"),
        ({"do": "sweep", "rows": "layers", "row_values": [1]}, "BadInput", "layers"),
        ({"do": "sweep", "rows": "l2", "row_values": [0], "columns": "l1"}, "BadInput", "with 0 values"),
        ({"do": "sweep", "rows": "l2", "row_values": [-1]}, "BadInput", "l2 = -1"),
        ({"do": "setup", "config": {"layers": [2, 0, 1]}}, "BadInput", "0 units"),
        ({"do": "setup", "config": {"layers": [2, 10_000, 1]}}, "TooLarge", "the limit is 256"),
        ({"do": "setup", "data": {"name": "csv", "csv": "a,b\n1\n"}}, "BadInput", "[Ll]ine 2"),
        ({"do": "setup", "data": {"name": "csv", "csv": ""}}, "BadInput", "CSV"),
        ({"do": "setup", "data": {"name": "painted", "painted": [[0, 0, 0]]}}, "BadInput", "two classes"),
        ({"do": "setup", "config": {"layers": [5, 2, 1]}}, "BadInput", "reads 5 inputs"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_has_changed(
    page: Page, command: dict[str, Any], kind: str, said: str
) -> None:
    page.send(do="step", n=20)
    state, branches = page.run.state, dict(page.run.branches)
    page.send(**command)
    assert page.error["kind"] == kind
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(f"{page.error['message']} {page.error['hint']}")
    assert page.got == []
    assert page.run.state is state
    assert page.run.branches == branches
    page.send(do="step")
    assert page.of(Frame).step == 21


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON"),
        ("", "is no JSON"),
        ("[1, 2]", "is no command"),
        ("null", "is no command"),
        ('{"do": "edit", "place": "w1.0.0", "value": NaN}', "value"),
        ('{"do": "setup", "config": {"learning_rate": Infinity}}', "learning_rate"),
        ('{"do": "\\ud800"}', "surrogates"),
        ("[" * 100_000, "is no JSON"),
        ('{"do": "' + "x" * 9_000_000 + '"}', "9,000,010 characters"),
    ],
)
def test_a_text_that_is_no_command_is_answered_as_one(page: Page, text: str, said: str) -> None:
    page.session.receive(text)
    page.take()
    assert said in page.error["message"]
    assert len(page.error["message"]) < 500


def test_commands_can_be_given_without_json(page: Page) -> None:
    page.session.do({"do": "step", "n": 3})
    assert page.run.step_now == 3
    with pytest.raises(BadInput, match="is no command"):
        page.session.do(["step"])
