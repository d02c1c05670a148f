"""Who wrote the answer, and what it is without some parts, in a real Chromium."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser_lab import (
    WIDE,
    Visits,
    axe_finds_nothing,
    cells_of,
    colours,
    saved,
    signed,
    state_of,
    three,
)
from playwright.sync_api import Locator, Page, expect

import llm_workings as lw
from llm_workings.causal import metrics
from llm_workings.causal.ablation import ablate, edits_of, every
from llm_workings.causal.base import Base
from llm_workings.causal.direct_attribution import attribute

pytestmark = pytest.mark.browser

TEXT = "gqmzrxk gqmzr"  # goes on with x, for a model that has induction heads


@pytest.fixture(scope="module")
def toy() -> lw.LanguageModel:
    return lw.load("induction-2l", device="cpu")


# ---- direct attribution ---------------------------------------------------------------------------


def waterfall_of(page: Page) -> Locator:
    return page.get_by_role("listbox", name=re.compile("as a sum of|^(layer|head|MLP|attention) "))


def test_the_waterfall_adds_up_and_opens(visits: Visits, toy: lw.LanguageModel, tmp_path: Path) -> None:
    page = visits.open("/direct-attribution", prompt=TEXT)
    bars = waterfall_of(page).get_by_role("option")
    found = attribute(toy, TEXT, right="x")
    expect(bars).to_have_count(4, timeout=30_000)  # the embedding, two layers, the final norm's shift
    expect(page.get_by_role("heading", name=f"x {signed(found.logit)}")).to_be_visible()
    expect(page.get_by_text("The remainder is rounding: no term is left out.")).to_be_visible()
    page.get_by_role("button", name="Against the runner-up").click()
    expect(page.get_by_text("logit difference after").first).to_be_visible()
    wrong = state_of(page)["wrong"]
    assert wrong == toy.run(TEXT).top(2)[1].piece
    found = attribute(toy, TEXT, right="x", wrong=wrong)
    expect(page.get_by_role("heading", name=signed(found.logit))).to_be_visible()

    # A click opens a layer, then a head; a bar read from a token is pinned.
    bars.filter(has_text="layer 1").click()
    expect(page.get_by_role("navigation", name="Opened").get_by_text("layer 1")).to_be_visible()
    head = max(range(4), key=lambda h: float(found.by_head[1, h]))
    named = f"head 1.{head}: {signed(float(found.by_head[1, head]))}, opens"
    option = waterfall_of(page).get_by_role("option", name=named, exact=True)
    option.hover()
    expect(
        page.get_by_role("complementary", name="Inspector").get_by_role("heading", name=f"head 1.{head}")
    ).to_be_visible()
    option.click()
    source, _, share = found.by_token(1, head)[0]
    bar = waterfall_of(page).get_by_role("option").nth(source)
    expect(bar).to_have_accessible_name(f"from token {source} “{found.pieces[source]}”: {signed(share)}")
    bar.click()
    assert state_of(page)["inside"] == f"head.1.{head}"
    assert state_of(page)["term"] == f"source.1.{head}.{source}"
    weight = float(toy.run(TEXT, keep=["pattern.1"])["pattern", 1][0, head, -1, source])
    expect(page.get_by_role("row", name=f"weight {three(weight)}")).to_be_visible()

    page.reload()
    expect(page.get_by_role("row", name=f"weight {three(weight)}")).to_be_visible()
    axe_finds_nothing(page)
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})

    # The same by key: back to the whole, along the bars, into the one with the focus.
    box = waterfall_of(page)
    box.focus()
    for _ in range(3):  # the pin, the head, the layer
        page.keyboard.press("Escape")
    expect(bars).to_have_count(4)
    assert "inside" not in state_of(page)
    waterfall_of(page).focus()
    for key in ("Home", "ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    expect(page.get_by_role("navigation", name="Opened").get_by_text("layer 1")).to_be_visible()
    page.get_by_role("checkbox", name="Table").check()
    rows = page.get_by_role("region", name=re.compile(r"^\d+ terms$")).get_by_role("row")
    expect(rows.last).to_contain_text("layer 1, in all")

    with page.expect_download() as coming:
        page.get_by_role("button", name="CSV").click()
    coming.value.save_as(tmp_path / "terms.csv")
    lines = (tmp_path / "terms.csv").read_text("utf-8").splitlines()
    assert lines[0] == "term,source_token,share"
    assert len(lines) == 5  # four heads; the toy has neither MLPs nor biases
    disk = saved(page, visits, tmp_path, "direct_attribution.html")
    expect(disk.get_by_role("navigation", name="Opened").get_by_text("layer 1")).to_be_visible()
    disk.get_by_role("checkbox", name="Table").uncheck()
    waterfall_of(disk).get_by_role("option", name=named, exact=True).click()
    expect(waterfall_of(disk).get_by_role("option")).to_have_count(14)  # the tokens it reads


def test_small_terms_stand_in_one_bar(visits: Visits) -> None:
    page = visits.open("/direct-attribution", prompt=TEXT, by="source")
    last = waterfall_of(page).get_by_role("option").last
    expect(last).to_have_accessible_name(re.compile(r"^\d+ terms no larger than .*, together "))
    expect(page.get_by_text(re.compile(r"^Of|Of \d+ terms \d+ are no larger than"))).to_be_visible()
    count = waterfall_of(page).get_by_role("option").count()
    last.click()
    expect(waterfall_of(page).get_by_role("option").nth(count + 10)).to_be_visible()


def test_an_answer_that_is_no_token_says_how_it_splits(visits: Visits) -> None:
    visits.expected.append("status of 4")
    page = visits.open("/direct-attribution", prompt=TEXT, answer="zz")
    expect(page.get_by_role("alert")).to_contain_text("2 tokens")


# ---- ablation -------------------------------------------------------------------------------------


def grid_of(page: Page) -> Locator:
    return page.get_by_role("application", name="The effect of each of 8 parts")


def test_parts_are_taken_out_and_put_back(visits: Visits, toy: lw.LanguageModel, tmp_path: Path) -> None:
    page = visits.open("/ablation", prompt=TEXT, answer="x", wrong="g")
    curve = page.get_by_role("application", name="Knock-out curve: logit difference")
    expect(curve).to_be_visible(timeout=30_000)
    expect(page.get_by_role("application", name="Layer order: loss")).to_be_visible()
    assert colours(grid_of(page)) > 8
    base = Base(toy, TEXT)
    found = ablate(base, every(toy.spec, "head"), metrics.logit_difference(toy, "x", "g"))
    worst, effect = found.strongest(1)[0]
    name = str(worst[0]).replace("head.", "head ")
    inspector = page.get_by_role("complementary", name="Inspector")
    largest = inspector.get_by_role("row", name=name)
    expect(largest).to_contain_text(signed(effect))

    # By key: along the grid to the head that previous tokens are read by, and out.
    grid_of(page).focus()
    for key in ("Home", "ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
    without = inspector.get_by_role("heading", name="Without head 0.1")
    expect(without).to_be_visible()
    page.keyboard.press("Enter")
    assert state_of(page)["out"] == "head.0.1"
    out = inspector.get_by_role("group", name="Parts taken out")
    expect(out.get_by_role("button")).to_have_count(1)
    edited = toy.run(TEXT, edits=edits_of(base, "head.0.1"))
    answers = page.get_by_role("table", name="The most probable next tokens, before and after the ablation")
    expect(answers.get_by_role("rowheader").first).to_have_text(edited.top(1)[0].piece)
    assert cells_of(answers, "x")[2] == three(edited.guess("x").probability)
    expect(inspector.get_by_text("Written on without: at every token, the written ones too")).to_be_visible()

    # A click takes a second one out with it; its place is in the canvas, after the numbers.
    box = grid_of(page).locator("canvas").bounding_box()
    assert box is not None
    left, top = 26, 22
    wide, high = (box["width"] - left) / 2, (box["height"] - top) / 4
    at = {"x": left + 1.4 * wide, "y": top + 3.5 * high}
    grid_of(page).hover(position=at)  # type: ignore[arg-type]
    expect(inspector.get_by_role("heading", name="Without head 1.3")).to_be_visible()
    grid_of(page).click(position=at)  # type: ignore[arg-type]
    assert state_of(page)["out"] == "head.0.1,head.1.3"
    both = toy.run(TEXT, edits=edits_of(base, ["head.0.1", "head.1.3"]))
    expect(answers.get_by_role("row", name=f"x {three(both.guess('x').probability)}")).to_be_visible()

    page.reload()
    expect(out.get_by_role("button", name="put back")).to_have_count(2)
    expect(answers.get_by_role("row", name=f"x {three(both.guess('x').probability)}")).to_be_visible()
    curve.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text(re.compile(r"^Without the 1 most missed:"))).to_be_visible()
    axe_finds_nothing(page)
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})

    with page.expect_download() as coming:
        page.get_by_role("button", name="CSV").click()
    coming.value.save_as(tmp_path / "effects.csv")
    lines = (tmp_path / "effects.csv").read_text("utf-8").splitlines()
    assert lines[0] == "part,without,effect"
    assert len(lines) == 9
    assert float(lines[2].split(",")[2]) == pytest.approx(float(found.effects[1]), abs=1e-4)
    disk = saved(page, visits, tmp_path, "ablation.html")
    there = disk.get_by_role("table", name="before and after the ablation")
    expect(there.get_by_role("row", name=f"x {three(both.guess('x').probability)}")).to_be_visible()
    page.get_by_role("checkbox", name="Table").check()
    expect(page.get_by_role("region", name="The effect of each part").get_by_role("row")).to_have_count(9)
    grid_of(disk).focus()
    disk.keyboard.press("Escape")
    expect(disk.get_by_text("Click parts to take them out together")).to_be_visible()


def test_what_stands_in_the_place_is_said(visits: Visits) -> None:
    page = visits.open("/ablation", prompt=TEXT, instead="mean", parts="layer")
    expect(page.get_by_text("written by the model from this text's first token on").first).to_be_visible(
        timeout=30_000
    )
    page.get_by_text("Texts of your own").click()
    page.get_by_role("textbox", name="Texts of your own, one a line").fill("abcabc\nqwerty qwe")
    page.get_by_role("button", name="Use these").click()
    expect(page.get_by_text(re.compile("its mean over 2 texts of .* given by you")).first).to_be_visible(
        timeout=30_000
    )
    assert state_of(page)["texts"] == '["abcabc","qwerty qwe"]'
