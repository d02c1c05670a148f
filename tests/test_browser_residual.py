"""The residual stream page in a real Chromium: stations read, pinned and edited, by mouse, key and file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser_lab import (
    Visits,
    axe_finds_nothing,
    cells_of,
    colours,
    inspector_of,
    state_of,
    three,
)
from playwright.sync_api import Locator, Page, expect

import llm_workings as lw
from llm_workings.causal.direct_attribution import attribute
from llm_workings.trace.edits import Edit, Where

pytestmark = pytest.mark.browser

TEXT = "gqmzrxk gqmzr"  # goes on with x, for a model that has induction heads
OTHER = "gqmzrak gqmzr"
LEFT, TOP, WIDTH, HEIGHT = 108, 376, 120, 17  # the picture's margins, and its cells with three stops
STOPS = ["embed", "attention.0", "attention.1"]


@pytest.fixture(scope="module")
def toy() -> lw.LanguageModel:
    return lw.load("induction-2l", device="cpu")


def picture_of(page: Page) -> Locator:
    return page.get_by_role("application", name="Residual stream: 14 tokens by 3 stops")


def point(stop: str, row: float) -> dict[str, float]:
    """The middle of a cell; row -1 and less is the line of stations above the cells."""
    return {"x": LEFT + (STOPS.index(stop) + 0.5) * WIDTH, "y": TOP + (row + 0.5) * HEIGHT}


def value_of(page: Page, row: str) -> str:
    return inspector_of(page).get_by_role("row", name=re.compile(f"^{row}")).locator("td").first.inner_text()


def edited(page: Page) -> str:
    """The sentence that says how the logit moved."""
    moved = inspector_of(page).locator(".moved")
    expect(moved).to_be_visible()
    return moved.inner_text()


def test_a_station_is_read_pinned_edited_and_comes_back(visits: Visits, toy: lw.LanguageModel) -> None:
    page = visits.open("/residual", prompt=TEXT)
    picture = picture_of(page)
    expect(picture).to_be_visible(timeout=30_000)  # the model is loaded first
    assert colours(picture) > 20
    expect(page.get_by_text("Click a station to take it out")).to_be_visible()
    found = attribute(toy, TEXT, right="x")
    terms = dict(found.terms())
    assert value_of(page, "logit of x") == three(found.logit)

    picture.hover(position=point("attention.1", -18))  # type: ignore[arg-type]  # its bar
    heading = inspector_of(page).get_by_role("heading", name="Attention 1 at r position 13")
    expect(heading).to_be_visible()
    assert value_of(page, "Adds to the logit of x") == f"+{three(terms['attention.1'])}"
    picture.hover(position=point("attention.0", 3))  # type: ignore[arg-type]
    expect(inspector_of(page).get_by_role("heading", name="Attention 0 at m position 3")).to_be_visible()

    picture.click(position=point("attention.1", 13))  # type: ignore[arg-type]
    assert state_of(page)["stop"] == "attention.1"
    assert state_of(page)["position"] == "13"
    menu = inspector_of(page).get_by_role("region", name="What if")
    expect(menu.get_by_role("button", name="the other text's")).to_be_disabled()
    expect(menu).to_contain_text("To patch, give another text of as many tokens")
    menu.get_by_role("button", name="zero").click()
    place = Edit("attn_out.1", Where(positions=13))
    logits = toy.run(TEXT, edits=place).logits[0, -1]
    x = toy.token("x")
    assert f"{three(found.logit)} → {three(float(logits[x]))}" in edited(page)
    best = toy.run(TEXT, edits=place).top(1)[0]
    answers = page.get_by_role("table", name="The most probable next tokens, before and after")
    assert cells_of(answers, best.piece.replace(" ", "·"))[2] == three(best.probability)

    menu.get_by_role("radio", name="at every token").check()
    everywhere = toy.run(TEXT, edits=Edit("attn_out.1")).logits[0, -1]
    expect(inspector_of(page).locator(".moved")).to_contain_text(three(float(everywhere[x])))
    assert state_of(page)["edit"] == "zero"
    assert state_of(page)["where"] == "all"
    page.reload()
    assert f"→ {three(float(everywhere[x]))}" in edited(page)

    menu.get_by_role("textbox").fill(OTHER)
    menu.get_by_role("button", name="Patch from it").click()
    expect(menu.get_by_role("button", name="the other text's")).to_have_attribute("aria-pressed", "true")
    expect(answers.get_by_role("rowheader").first).to_have_text("a")  # what followed r in the other text
    assert state_of(page)["corrupted"] == OTHER
    page.get_by_role("button", name="Let go of Attention 1").click()
    assert state_of(page) == {"prompt": TEXT, "corrupted": OTHER}


def test_keys_move_pin_and_clear_and_a_table_says_the_same(visits: Visits, toy: lw.LanguageModel) -> None:
    page = visits.open("/residual", prompt=TEXT, wrong="q", shade="share")
    picture = picture_of(page)
    expect(picture).to_be_visible()
    picture.focus()
    for key in ("ArrowUp", "ArrowLeft", "Enter"):  # from the last token's last stop
        page.keyboard.press(key)
    assert (state_of(page)["stop"], state_of(page)["position"]) == ("attention.0", "12")
    expect(page.locator("[aria-live=polite]").first).to_contain_text("Pinned. attention.0 at token 12")
    expect(page.get_by_text("logit difference x − q").first).to_be_visible()
    page.keyboard.press("Escape")
    assert "stop" not in state_of(page)

    page.get_by_role("combobox", name="Cells").select_option("rank")
    assert state_of(page)["shade"] == "rank"
    expect(page.get_by_role("figure", name=re.compile("rank of x under the lens"))).to_be_visible()
    page.get_by_role("combobox", name="Bars").select_option("cosine")
    page.get_by_role("checkbox", name="Table").check()
    table = page.get_by_role("region", name="The stream at position 13").get_by_role("table")
    rows = table.get_by_role("row")
    expect(rows).to_have_count(4)
    terms = attribute(toy, TEXT, right="x", wrong="q").terms()
    cells = cells_of(table, "attention.1")
    assert cells[4] == f"+{three(terms['attention.1'])}"
    guess = toy.run(TEXT).top(1)[0]
    assert cells[6:8] == [guess.piece, three(guess.probability)]

    page.get_by_role("textbox", name="less").fill("q q")
    visits.expected.append("status of 4")
    page.get_by_role("button", name="Set").click()
    expect(page.get_by_role("alert")).to_contain_text("'q q'")


def test_the_picture_and_its_numbers_go_along(visits: Visits, tmp_path: Path) -> None:
    page = visits.open("/residual", prompt=TEXT, stop="attention.1", position="13", edit="mean")
    before = edited(page)
    saved: dict[str, Path] = {}
    for kind in ("SVG", "CSV", "HTML"):
        with page.expect_download(timeout=60_000) as download:
            inspector_of(page).get_by_role("button", name=kind, exact=True).click()
        saved[kind] = tmp_path / download.value.suggested_filename
        download.value.save_as(saved[kind])
    drawn = saved["SVG"].read_text("utf-8")
    assert drawn.count("<circle") == 3
    assert drawn.count("<rect") > 14 * 3
    lines = saved["CSV"].read_text("utf-8").splitlines()
    assert len(lines) == 1 + 14 * 3
    assert lines[0].startswith("stop,position,token,norm,added,cosine")

    file = visits.context().new_page()
    file.goto(saved["HTML"].as_uri())
    expect(picture_of(file)).to_be_visible()
    assert edited(file) == before
    menu = inspector_of(file).get_by_role("region", name="What if")
    menu.get_by_role("button", name="zero").click()  # recorded as well
    expect(inspector_of(file).locator(".moved")).not_to_have_text(before)
    menu.get_by_role("radio", name="at every token").check()
    expect(file.get_by_role("alert")).to_have_count(0)
    picture_of(file).click(position=point("attention.0", 13))  # type: ignore[arg-type]
    expect(file.get_by_role("alert")).to_contain_text("not recorded in the file")
    file.get_by_role("button", name="Put it back").click()
    expect(file.get_by_role("alert")).to_have_count(0)


def test_axe_finds_nothing_serious(visits: Visits) -> None:
    page = visits.open("/residual", prompt=TEXT, stop="attention.1", edit="zero", wrong="q")
    edited(page)
    axe_finds_nothing(page)
