"""Heads three ways, their circuits, two texts and several heads at once, in a real Chromium."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from browser_lab import (
    Visits,
    atlas_of,
    axe_finds_nothing,
    cells_of,
    colours,
    point_of,
    signed,
    state_of,
    three,
)
from playwright.sync_api import Locator, Page, expect

import llm_workings as lw
from llm_workings.views import REGISTRY
from llm_workings.views.lab import Lab

pytestmark = pytest.mark.browser

TEXT = "gqmzrxk gqmzr"  # goes on with x
SECOND = "gqmzrxk gqmzg"  # goes on with q


def view(name: str, **asked: Any) -> Any:
    return REGISTRY[name].run(Lab(), {"prompt": TEXT, "model": "induction-2l", **asked})


def shift_click(page: Page, layer: int, head: int) -> None:
    atlas_of(page).click(position=point_of(atlas_of(page), layer, head, 2, 4), modifiers=["Shift"])  # type: ignore[arg-type]


def region(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name)


def test_a_head_is_shown_as_weights_scores_and_lengths_and_survives_a_reload(visits: Visits) -> None:
    page = visits.open("/attention", prompt=TEXT, pin="1.0", query="13")
    weights = page.get_by_role("application", name="Pattern of head 1.0")
    expect(weights).to_be_visible(timeout=15_000)  # the lab's first answer: the model is loaded for it
    row = view("head_row", layer=1, head=0, query=13)
    reading = page.get_by_role("table").filter(has=page.get_by_role("button", name="6 x"))
    expect(reading.get_by_role("columnheader", name="length")).to_be_visible()
    cells = cells_of(reading, "6 x")
    assert float(cells[2]) == pytest.approx(float(row.pattern[6]), rel=2e-6)
    assert cells[3:] == [three(float(row.scores[6])), three(float(row.weighted[6]))]

    page.get_by_role("button", name="raw score").click()
    scores = page.get_by_role("application", name="Raw scores of head 1.0")
    expect(scores).to_be_visible()
    assert colours(scores) > 10
    expect(page.get_by_label(re.compile("score: colour scale from −"))).to_be_visible()
    expect(page.get_by_label("score = q times k divided by the root of d_head")).to_be_visible()

    page.get_by_role("button", name="weight × value").click()
    lengths = page.get_by_role("application", name="Lengths moved of head 1.0")
    expect(lengths).to_be_visible()
    expect(page.get_by_text("Kobayashi et al. 2020").first).to_be_visible()
    assert state_of(page)["measure"] == "moved"
    page.reload()
    expect(lengths).to_be_visible()
    expect(page.get_by_label("length = weight times the norm of value W_O")).to_be_visible()
    found = float(cells_of(reading, "6 x")[2])
    assert found == pytest.approx(float(row.weighted[6]), rel=2e-6)

    lengths.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("[aria-live=polite]").last).to_contain_text("takes from key")
    page.keyboard.press("Enter")
    assert "key" in state_of(page)
    page.keyboard.press("Escape")
    assert "query" not in state_of(page)


def test_what_the_head_writes_copies_and_looks_for(visits: Visits) -> None:
    page = visits.open("/attention", prompt=TEXT, pin="1.0")
    said = view("head_circuits", layer=1, head=0)
    writes = region(page, "What it writes")
    expect(writes.locator("b").get_by_text(signed(said.share), exact=True)).to_be_visible()
    raised = writes.get_by_role("table", name="Tokens that it raises most")
    assert cells_of(raised, "x")[1] == signed(said.promoted[0].value)
    by_source = writes.get_by_role("table", name="Share of the answer's logit by source token")
    assert cells_of(by_source, "6 x")[2] == signed(float(said.by_source[6]))
    copies = region(page, "What it copies")
    expect(copies).to_contain_text("It copies what it looks at.")
    expect(copies.get_by_text(f"{three(100 * said.copying.copied)}%", exact=True)).to_be_visible()
    assert cells_of(copies.get_by_role("table"), "x")[2] == "1st"
    looks = region(page, "What it looks for").get_by_role("table", name="Scores of the text's tokens")
    best = max(range(14), key=lambda key: said.looks_for.text[key])
    assert looks.get_by_role("row").nth(1).locator("td").nth(1).inner_text() == signed(
        float(said.looks_for.text[best])
    )

    writes.get_by_role("textbox", name="less").fill("k")
    writes.get_by_role("button", name="Set").click()
    against = view("head_circuits", layer=1, head=0, answer="x", wrong="k")
    expect(writes.locator("b").get_by_text(signed(against.share), exact=True)).to_be_visible()
    assert state_of(page)["wrong"] == "k"
    page.get_by_role("img", name=re.compile("The text with")).get_by_text("k", exact=True).click(force=True)
    earlier = view("head_circuits", layer=1, head=0, answer="x", wrong="k", position=7)
    expect(page.get_by_role("heading", name="What it writes at 7 k")).to_be_visible()
    expect(writes.locator("b").get_by_text(signed(earlier.share), exact=True)).to_be_visible()


def test_several_heads_are_selected_and_ablated_together(visits: Visits) -> None:
    page = visits.open("/attention", prompt=TEXT, pin="1.0")
    expect(page.get_by_role("button", name="Ablate head 1.0")).to_be_visible()
    shift_click(page, 0, 1)
    atlas_of(page).focus()
    for key in ("Home", "ArrowUp", "ArrowRight", "Shift+Enter"):
        page.keyboard.press(key)
    assert state_of(page)["pin"] == "0.1"  # what was selected already is taken out again
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+Enter")
    assert state_of(page)["pin"] == "0.1,1.0,1.1"
    expect(page.get_by_role("heading", name="Head 0.1").first).to_be_visible()  # the first is open
    page.get_by_role("button", name="Open head 1.0").click()
    assert state_of(page)["pin"] == "1.0,0.1,1.1"
    expect(page.get_by_role("heading", name="Head 1.0").first).to_be_visible()

    page.get_by_role("button", name="Ablate selected (3)").click()
    model = lw.load("induction-2l", device="cpu")
    edits = [lw.ablate_head(*head) for head in ((1, 0), (0, 1), (1, 1))]
    now = model.run(TEXT, edits=edits)
    changed = page.get_by_role("table", name="The most probable next tokens, before and after the ablation")
    expect(changed.get_by_role("rowheader").first).to_have_text(now.top(1)[0].piece)
    assert cells_of(changed, "x")[2] == three(now.guess("x").probability)
    page.reload()
    expect(page.get_by_role("group", name="Ablated heads").get_by_role("button")).to_have_count(4)
    page.get_by_role("combobox", name="ablated to").select_option("its mean")
    mean = model.run(TEXT, edits=[lw.ablate_head(*head, "mean") for head in ((0, 1), (1, 0), (1, 1))])
    expect(
        changed.get_by_role("row", name="x ").get_by_text(three(mean.guess("x").probability))
    ).to_be_visible()
    page.get_by_role("button", name="Put selected (3) back").click()
    expect(changed).to_have_count(0)
    page.get_by_role("group", name="Selected heads").get_by_role("button", name="Clear").click()
    assert "pin" not in state_of(page)


def test_two_texts_and_their_difference(visits: Visits) -> None:
    page = visits.open("/attention", prompt=TEXT, pin="1.0")
    page.get_by_role("button", name="Compare with a second text").click()
    other = page.get_by_role("textbox", name="The other text")
    expect(other).to_have_value(TEXT)
    other.fill(SECOND)
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(
        page.get_by_text(re.compile(r"They differ at 13: r \| g\. The other is answered q"))
    ).to_be_visible()
    page.get_by_role("button", name="their difference").click()
    expect(page.get_by_role("heading", name="Head 1.0, this text less the other")).to_be_visible()
    expect(page.get_by_label(re.compile("weight, difference: colour scale")).first).to_be_visible()
    assert colours(atlas_of(page)) > 5
    page.get_by_role("img", name=re.compile("The text with")).get_by_text("r|g", exact=True).click(force=True)
    ours = view("head_row", layer=1, head=0, query=13).pattern
    theirs = view("head_row", prompt=SECOND, layer=1, head=0, query=13).pattern
    reading = page.get_by_role("table").filter(has=page.get_by_role("button", name="6 x"))
    expect(reading.get_by_role("columnheader", name="other")).to_be_visible()
    cells = cells_of(reading, "6 x")
    assert float(cells[2].replace("−", "-")) == pytest.approx(float(ours[6] - theirs[6]), rel=1e-5)
    assert cells[3:] == [three(float(ours[6])), three(float(theirs[6]))]
    expect(page.get_by_role("combobox", name="Score")).to_have_value("moved")

    page.get_by_role("button", name="the other", exact=True).click()
    expect(page.get_by_role("heading", name="Head 1.0 on the other text")).to_be_visible()
    expect(region(page, "What it writes")).to_contain_text("logit of q")
    page.reload()
    expect(page.get_by_role("heading", name="Head 1.0 on the other text")).to_be_visible()

    apart = visits.open("/attention", prompt=TEXT, corrupted="gqmz", compare="difference")
    expect(apart.get_by_text("The two texts do not align")).to_be_visible()
    expect(apart.get_by_role("button", name="their difference")).to_be_disabled()
    apart.get_by_role("button", name="leave it out").click()
    expect(apart.get_by_role("button", name="Compare with a second text")).to_be_visible()


def test_the_file_answers_what_is_clicked_next(visits: Visits, tmp_path: Path) -> None:
    page = visits.open("/attention", prompt=TEXT, corrupted=SECOND, pin="1.0,0.1")
    expect(region(page, "What it copies")).to_be_visible()
    with page.expect_download() as coming:
        page.get_by_role("button", name="HTML").click()
    coming.value.save_as(tmp_path / "heads.html")
    with page.expect_download() as coming:
        page.get_by_role("button", name="CSV").click()
    assert coming.value.suggested_filename == "head-1-0.csv"

    disk = visits.context(offline=True).new_page()
    disk.goto((tmp_path / "heads.html").as_uri())
    expect(region(disk, "What it copies")).to_be_visible()
    disk.get_by_role("button", name="raw score").click()
    expect(disk.get_by_role("application", name="Raw scores of head 1.0")).to_be_visible()
    disk.get_by_role("button", name="their difference").click()
    expect(
        disk.get_by_role("application", name="Raw scores of head 1.0, this text less the other")
    ).to_be_visible()
    disk.get_by_role("img", name=re.compile("The text with")).get_by_text("k", exact=True).click(force=True)
    expect(disk.get_by_role("heading", name="What it writes at 7 k")).to_be_visible()
    expect(disk.get_by_label(re.compile("difference = this text's score"))).to_be_visible()
    disk.get_by_role("button", name="Ablate selected (2)").click()
    expect(disk.get_by_role("table", name="before and after the ablation")).to_be_visible()


def test_what_an_address_names_and_the_model_has_not_is_said(visits: Visits) -> None:
    page = visits.open("/attention", prompt=TEXT, pin="1.0,7.3", query="500")
    said = page.get_by_text("Not there: head 7.3, position 500. Layers go from 0 to 1")
    expect(said).to_be_visible(timeout=15_000)
    expect(page.get_by_role("application", name="Pattern of head 1.0")).to_be_visible()
    page.get_by_role("button", name="Leave it out").click()
    expect(said).not_to_be_visible()
    left = state_of(page)
    assert left["pin"] == "1.0"
    assert "query" not in left


def test_axe_finds_nothing_serious_and_nothing_is_cut(visits: Visits) -> None:
    asked = {"corrupted": SECOND, "compare": "difference", "pin": "1.0,0.1", "query": "13"}
    page = visits.open("/attention", prompt=TEXT, **asked)
    expect(region(page, "What it looks for")).to_be_visible()
    expect(page.get_by_label(re.compile("difference = this text's weight"))).to_be_attached()
    axe_finds_nothing(page)
