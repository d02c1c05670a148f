"""The token attribution page in a real Chromium: lines read, pinned, ordered, exported, by mouse and key."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from browser_lab import (
    Visits,
    axe_finds_nothing,
    cells_of,
    inspector_of,
    signed,
    state_of,
)
from playwright.sync_api import Locator, Page, expect

from llm_workings.views import REGISTRY
from llm_workings.views.lab import Lab
from llm_workings.views.token_attribution import TokenAttribution
from llm_workings.views.token_methods import METHODS

pytestmark = pytest.mark.browser

TEXT = "gqmzrxk gqmzr"  # goes on with x, for a model that has induction heads
ROWS = list(METHODS)


@pytest.fixture(scope="module")
def found() -> TokenAttribution:
    asked = {"prompt": TEXT, "model": "induction-2l", "answer": "x", "wrong": "q"}
    payload = REGISTRY["token_attribution"].run(Lab(), asked)
    assert isinstance(payload, TokenAttribution)
    return payload


def whole(page: Page) -> None:
    """Until every method has run: the lines fill one after the other."""
    expect(page.locator("[data-cell]").first).to_be_visible(timeout=30_000)
    expect(page.locator(".waiting")).to_have_count(0, timeout=30_000)


def open_page(visits: Visits, **state: str) -> Page:
    page = visits.open("/token-attribution", prompt=TEXT, answer="x", wrong="q", **state)
    expect(page.get_by_text("of the six other methods")).to_be_visible(timeout=30_000)
    whole(page)
    return page


def lines_of(page: Page) -> Locator:
    return page.get_by_role("application", name="14 tokens by 7 methods")


def cell(page: Page, method: str, position: int) -> Locator:
    return page.locator(f'[data-cell="{ROWS.index(method)}.{position}"]')  # type: ignore[arg-type]


def bars_of(page: Page) -> dict[str, str]:
    """The value of each method in the inspector, by its title."""
    table = inspector_of(page).get_by_role("table", name="This token by every method")
    return {title: cells_of(table, title)[1] for title in (told.title for told in METHODS.values())}


def blueness(one: Locator) -> float:
    red, _, blue = one.evaluate(
        "e => getComputedStyle(e).backgroundColor.match(/[0-9]+/g).slice(0, 3).map(Number)"
    )
    return float(blue - red)


def test_lines_are_drawn_read_pinned_and_come_back(visits: Visits, found: TokenAttribution) -> None:
    page = open_page(visits)
    first = found.reference
    assert first is not None
    assert first.top is not None
    expect(page.locator(".finding")).to_contain_text(f"changes most: by {signed(-first.values[first.top])}")
    same = sum(bool(row.same_top) for row in found.rows)
    assert 0 < same < 6
    expect(page.locator(".finding")).to_contain_text(
        f"{['None', 'One', 'Two', 'Three', 'Four', 'Five'][same]} of the six"
    )
    for row in found.rows:  # colour tells the sign
        for position in (int(row.values.argmax()), int(row.values.argmin())):
            share = row.values[position] / abs(row.values).sum()
            if abs(share) > 0.05:
                assert (blueness(cell(page, row.method, position)) > 0) == (share > 0)

    cell(page, "cp_lrp", 4).hover()
    shown = {row.title: signed(float(row.values[4])) for row in found.rows}
    expect(inspector_of(page).get_by_role("heading", name="Token 4")).to_be_visible()
    assert bars_of(page) == shown
    cell(page, "attn_lrp", 4).click()
    assert state_of(page)["token"] == "4"
    page.reload()
    whole(page)
    expect(inspector_of(page).get_by_role("heading", name="Pinned: token 4")).to_be_visible()
    assert bars_of(page) == shown
    page.keyboard.press("Escape")
    assert "token" not in state_of(page)


def test_how_far_they_agree_stands_in_numbers(visits: Visits, found: TokenAttribution) -> None:
    page = open_page(visits)
    table = page.get_by_role("table", name="The methods, beside leaving one out")
    for row in found.rows:
        cells = cells_of(table, row.title)
        assert cells[3] == signed(row.sum)
        assert cells[4].strip() == ("–" if row.expected is None else signed(row.expected))
        rank = row.spearman if row.of_answer else row.spearman_sizes
        assert cells[2].split()[0] == ("–" if rank is None else signed(rank))
        if row.same_top is not None:
            assert ("another" in cells[1]) is not row.same_top
        for note in row.notes:
            expect(table).to_contain_text(note)
    page.get_by_role("button", name="Do not run Integrated gradients").click()
    expect(page.get_by_text("of the five other methods")).to_be_visible()
    assert json.loads(state_of(page)["methods"]) == [
        name for name in METHODS if name != "integrated_gradients"
    ]
    page.get_by_role("button", name="Integrated gradients", exact=True).click()
    expect(page.get_by_text("of the six other methods")).to_be_visible()
    assert "methods" not in state_of(page)


def test_keys_move_and_pin_an_order_and_a_table_say_the_same(visits: Visits, found: TokenAttribution) -> None:
    page = open_page(visits, order="cp_lrp")
    order = sorted(range(14), key=lambda at: -abs(float(found.rows[2].values[at])))
    columns = page.locator('[data-cell^="2."]')
    assert [name.split(".")[1] for name in columns.evaluate_all("all => all.map(e => e.dataset.cell)")] == [
        str(at) for at in order
    ]
    lines_of(page).focus()
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert state_of(page)["token"] == str(order[1])
    expect(page.locator("[aria-live=polite]").first).to_contain_text(f"Pinned. AttnLRP, token {order[1]}")
    page.keyboard.press("Escape")
    assert "token" not in state_of(page)
    page.get_by_role("combobox", name="Order").select_option("text")
    page.get_by_role("checkbox", name="Table").check()
    region = page.get_by_role("region", name="14 tokens by 7 methods")
    expect(region.get_by_role("row")).to_have_count(15)
    cells = region.get_by_role("row").nth(6).locator("td").all_inner_texts()
    assert cells == [signed(float(row.values[5])) for row in found.rows]


def test_the_answer_alone_and_what_is_wrong(visits: Visits) -> None:
    page = visits.open("/token-attribution", prompt=TEXT, methods='["cp_lrp"]')
    why = page.locator(".rivals button").first
    expect(why).to_be_visible(timeout=30_000)
    page.get_by_role("combobox", name="Measure").select_option("probability")
    expect(page.get_by_text("probability after")).to_be_visible()
    expect(page.get_by_text("need not add up to it")).to_be_visible()
    page.get_by_role("combobox", name="Measure").select_option("logit")
    why.click()
    expect(page.get_by_text("logit difference after")).to_be_visible()
    assert state_of(page)["answer"] == "x"
    visits.expected.append("status of 4")
    page.get_by_role("textbox", name="less").fill("q q")
    page.get_by_role("button", name="Set").click()
    expect(page.get_by_role("alert")).to_contain_text("'q q'")


def test_the_picture_and_its_numbers_go_along(
    visits: Visits, found: TokenAttribution, tmp_path: Path
) -> None:
    page = open_page(visits, token="4")
    saved: dict[str, Path] = {}
    for kind in ("PNG", "SVG", "CSV", "HTML"):
        with page.expect_download(timeout=60_000) as download:
            inspector_of(page).get_by_role("button", name=kind, exact=True).click()
        saved[kind] = tmp_path / download.value.suggested_filename
        download.value.save_as(saved[kind])
    assert saved["PNG"].read_bytes()[:4] == b"\x89PNG"
    drawn = saved["SVG"].read_text("utf-8")
    assert drawn.count("<title>") == 1 + 7 * 14
    assert drawn.count("url(#against)") == sum(int((row.values < 0).sum()) for row in found.rows)
    with saved["CSV"].open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["position", "token", *METHODS]
    for row in found.rows:
        assert [float(line[row.method]) for line in lines] == pytest.approx(
            row.values.tolist(), rel=1e-4, abs=1e-6
        )
    file_page = visits.context().new_page()
    file_page.goto(saved["HTML"].as_uri())
    expect(inspector_of(file_page).get_by_role("heading", name="Pinned: token 4")).to_be_visible()
    assert bars_of(file_page) == bars_of(page)
    cell(file_page, "cp_lrp", 7).click()
    expect(inspector_of(file_page).get_by_role("heading", name="Pinned: token 7")).to_be_visible()


def test_axe_finds_nothing_serious_and_nothing_is_cut(visits: Visits) -> None:
    page = open_page(visits, token="4")

    def nothing_is_cut() -> None:
        box = lines_of(page).bounding_box()
        cells = [one.bounding_box() for one in page.locator("[data-cell]").all()]
        assert box is not None
        assert all(one and one["x"] + one["width"] <= box["x"] + box["width"] + 1 for one in cells)

    axe_finds_nothing(page, nothing_is_cut)
