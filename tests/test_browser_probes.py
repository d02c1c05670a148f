"""Probe ladder and steering bench in a real Chromium, before a real lab on a toy."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest
from browser_lab import Visits, axe_finds_nothing, cells_of, inspector_of, three
from playwright.sync_api import Locator, Page, expect

from llm_workings.views import REGISTRY
from llm_workings.views.lab import Lab
from llm_workings.views.probe_ladder import ProbeLadder

pytestmark = pytest.mark.browser

TOY = "induction-2l"


@pytest.fixture(scope="module")
def ladder() -> ProbeLadder:
    """What the page of the toy opens with."""
    return REGISTRY["probe_ladder"].run(Lab(), {"model": TOY})  # type: ignore[return-value]


def ladder_of(page: Page) -> Locator:
    return page.get_by_role("application", name="accuracy by stop: 3 stops")


def test_the_ladder_is_drawn_hovered_pinned_and_left(visits: Visits, ladder: ProbeLadder) -> None:
    page = visits.open("/probe-ladder")
    chart = ladder_of(page)
    expect(chart.locator("path.curve")).to_have_count(3)
    best = ladder.stops[ladder.best]
    table = inspector_of(page).get_by_role("table")
    expect(inspector_of(page).get_by_role("heading", name=f"The best stop, {best}")).to_be_visible()
    assert cells_of(table, "accuracy")[1] == three(float(ladder.score[ladder.best]))

    box = chart.bounding_box()
    assert box is not None
    chart.hover(position={"x": 46, "y": box["height"] / 2})  # the first stop
    expect(page.get_by_text(f"the embedding: accuracy {three(float(ladder.score[0]))}")).to_be_visible()
    chart.click(position={"x": 46, "y": box["height"] / 2})
    expect(page).to_have_url(re.compile(r"[?&]stop=0\b"))
    expect(inspector_of(page).get_by_role("heading", name="At the embedding")).to_be_visible()
    assert cells_of(table, "accuracy")[1] == three(float(ladder.score[0]))

    said = page.get_by_role("table").filter(has_text="said first")
    first = ladder.labels == 0
    row = cells_of(said, "first")[1:]
    assert [int(count) for count in row] == [int((ladder.predictions[0][first] == k).sum()) for k in range(6)]
    wrong = int((ladder.predictions[0] != ladder.labels).sum())
    expect(page.get_by_role("heading", name=f"Its mistakes: {wrong} of {ladder.n_test}")).to_be_visible()

    chart.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("[aria-live=polite]").first).to_contain_text("resid_post.0: accuracy")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"[?&]stop=1\b"))
    page.reload()
    expect(inspector_of(page).get_by_role("heading", name="At resid_post.0")).to_be_visible()
    ladder_of(page).focus()
    page.keyboard.press("Escape")
    expect(page).not_to_have_url(re.compile("stop="))

    page.get_by_role("checkbox", name="Table").check()
    rows = page.get_by_role("table", name="The ladder, stop by stop")
    assert cells_of(rows, "resid_post.1")[1] == three(float(ladder.score[2]))


def test_own_texts_are_checked_probed_and_erased(visits: Visits, tmp_path: Path) -> None:
    page = visits.open("/probe-ladder")
    expect(ladder_of(page)).to_be_visible()
    page.get_by_role("combobox", name="Can a probe read the").select_option("labelled")
    box = page.get_by_role("textbox", name="Your own labelled texts")
    go = page.get_by_role("button", name="Probe these")
    box.fill("a | bca\n\nno label here")
    expect(page.get_by_text("Line 3 has no label: “no label here”.")).to_be_visible()
    expect(go).to_be_disabled()
    box.fill("a | bca\na | bda")
    expect(page.get_by_text("There is one label only, a.")).to_be_visible()
    draw = Random(0)
    texts = ["".join(draw.choices("bcdfg", k=4)) + "ae"[i % 2] for i in range(40)]
    box.fill("\n".join(f"{text[-1]} | {text}" for text in texts))
    expect(page.get_by_text("40 texts: a 20, e 20.")).to_be_visible()
    go.click()
    expect(page.get_by_text("The label of each of your texts")).to_be_visible()
    ladder_of(page).focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Erase it at the embedding").click()
    probes = page.get_by_role("table").filter(has_text="vectors it was made of")
    expect(probes).to_be_visible()
    assert cells_of(probes, "before")[1:] == ["1.00", "1.00"]
    assert cells_of(probes, "erased")[1] == cells_of(probes, "most common label")[1]
    answers = page.get_by_role("table").filter(has_text="KL, nats")
    expect(answers.get_by_role("row")).to_have_count(5)

    page.reload()  # the texts stand in the address
    expect(probes).to_be_visible()
    with page.expect_download() as coming:
        page.get_by_role("button", name="HTML").click()
    coming.value.save_as(tmp_path / "ladder.html")
    disk = visits.context(offline=True).new_page()
    disk.goto((tmp_path / "ladder.html").as_uri())
    expect(ladder_of(disk).locator("path.curve")).to_have_count(2)
    expect(disk.get_by_role("table").filter(has_text="vectors it was made of")).to_be_visible()
    for button, begins in (("SVG", b"<svg "), ("CSV", b"stop,score"), ("PNG", b"\x89PNG")):
        with page.expect_download() as coming:
            page.get_by_role("button", name=button).click()
        coming.value.save_as(tmp_path / "file")
        assert (tmp_path / "file").read_bytes().startswith(begins)
    axe_finds_nothing(page)


def test_a_treebank_of_the_user_s_is_read_in_the_page(visits: Visits, tmp_path: Path) -> None:
    from test_cli_causal import conllu

    (tmp_path / "own.conllu").write_text(conllu(40, 0))
    (tmp_path / "none.conllu").write_text("no sentence\n")
    page = visits.open("/probe-ladder")
    expect(ladder_of(page)).to_be_visible()
    page.get_by_role("combobox", name="Can a probe read the").select_option("treebank")
    chooser = page.locator("input[type=file]")
    chooser.set_input_files(tmp_path / "own.conllu")
    expect(page.get_by_text("own.conllu: all its 40 sentences.")).to_be_visible()
    expect(page.get_by_text("The universal part of speech (UPOS).")).to_be_visible()
    expect(ladder_of(page)).to_be_visible()
    said = page.get_by_role("table").filter(has_text="said NOUN")
    expect(said).to_be_visible()
    page.get_by_role("combobox", name="Read the", exact=True).select_option("dependency_depth")
    expect(page.get_by_text("How many dependencies the word is away from the root")).to_be_visible()
    expect(page.get_by_role("application", name="R² by stop: 3 stops")).to_be_visible()
    page.reload()
    expect(page.get_by_role("application", name="R² by stop: 3 stops")).to_be_visible()
    visits.expected.append("status of 4")
    chooser.set_input_files(tmp_path / "none.conllu")
    expect(page.get_by_role("alert")).to_contain_text("1 column")


# ---- steering ------------------------------------------------------------------------------------

SIDES = {"firsts": "abcq\nbdcq\ncdeq\nfgbq", "seconds": "abcz\nbdcz\ncdez\nfgbz"}


def test_the_bench_writes_three_texts_and_asks_whether_it_holds(visits: Visits, tmp_path: Path) -> None:
    page = visits.open("/steering", prompt="abcdab", contrast="own", n="10", **SIDES)
    wanted = REGISTRY["steering"].run(
        Lab(), {"model": TOY, "prompt": "abcdab", "contrast": "own", "n": 10, **SIDES}
    )
    texts = page.get_by_role("article").locator(".text")
    expect(texts).to_have_text([f"abcdab{one.text}" for one in wanted.written])  # type: ignore[attr-defined]
    slider = page.get_by_role("slider", name="Strength")
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(r"[?&]strength=0\.6\b"))
    page.get_by_role("button", name="Turn round").click()
    expect(page).to_have_url(re.compile(r"strength=-0\.6"))
    turned = REGISTRY["steering"].run(
        Lab(), {"model": TOY, "prompt": "abcdab", "contrast": "own", "n": 10, "strength": -0.6, **SIDES}
    )
    expect(texts).to_have_text([f"abcdab{one.text}" for one in turned.written])  # type: ignore[attr-defined]

    page.get_by_role("button", name="Write on from all of them").click()
    trial = page.get_by_role("table", name=re.compile("^Over"))
    expect(trial.get_by_role("row")).to_have_count(8)
    page.get_by_role("button", name="Measure eight strengths").click()
    score = page.get_by_role("application", name="Log-odds of the words, nats by strength")
    expect(score.locator("path.curve")).to_have_count(3)
    page.get_by_role("button", name="Cancel").wait_for(state="detached")
    score.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("p.mono").filter(has_text="Strength 0.2: yours")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"strength=0\.2\b"))
    page.keyboard.press("Escape")
    layer = page.get_by_role("application", name="The direction by layer")
    layer.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(inspector_of(page).get_by_role("heading", name="The direction at resid_post.1")).to_be_visible()

    page.get_by_role("button", name="Measure eight strengths").click()
    expect(score.locator("path.curve")).to_have_count(3)
    page.reload()
    expect(inspector_of(page).get_by_role("heading", name="The direction at resid_post.1")).to_be_visible()
    expect(score.locator("path.curve")).to_have_count(3)
    page.get_by_role("button", name="Cancel").wait_for(state="detached")
    with page.expect_download() as coming:
        page.get_by_role("button", name="HTML").click()
    coming.value.save_as(tmp_path / "steering.html")
    disk = visits.context(offline=True).new_page()
    disk.goto((tmp_path / "steering.html").as_uri())
    expect(disk.get_by_role("article")).to_have_count(3)
    expect(
        disk.get_by_role("application", name="Log-odds of the words, nats by strength").locator("path.curve")
    ).to_have_count(3)
    for button, begins in (("SVG", b"<svg "), ("CSV", b"text,prompt"), ("PNG", b"\x89PNG")):
        with page.expect_download() as coming:
            page.get_by_role("button", name=button).click()
        coming.value.save_as(tmp_path / "file")
        assert (tmp_path / "file").read_bytes().startswith(begins)
    axe_finds_nothing(page)


def test_a_contrast_of_one_s_own_is_checked(visits: Visits) -> None:
    page = visits.open("/steering", prompt="abcdab", contrast="own", n="5", **SIDES)
    first = page.get_by_role("textbox", name="Steer to")
    second = page.get_by_role("textbox", name="and away from")
    go = page.get_by_role("button", name="Steer by these")
    expect(first).to_have_value(SIDES["firsts"])
    first.fill("abq")
    second.fill("")
    expect(page.get_by_text("The second side has no texts yet.")).to_be_visible()
    expect(go).to_be_disabled()
    first.fill("abq | abz\nacq | acz")
    expect(page.get_by_text("2 and 2 texts, taken as pairs, line by line.")).to_be_visible()
    go.click()
    expect(page).to_have_url(re.compile(r"firsts=abq%0Aacq&"))
    expect(first).to_have_value("abq\nacq")
    expect(second).to_have_value("abz\nacz")
    expect(page.get_by_text("Difference of means of 2 pairs")).to_be_visible()
