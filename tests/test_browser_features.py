"""Feature visualization and the card of a unit in a real Chromium, before a real lab."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser_lab import Visits, axe_finds_nothing, inspector_of, state_of, three
from playwright.sync_api import Locator, Page, expect

from llm_workings.views import REGISTRY
from llm_workings.views.feature_visualization import FeatureVisualization
from llm_workings.views.lab import Lab
from llm_workings.views.unit import Unit

pytestmark = pytest.mark.browser

ASKED = {"layer": "blocks.5", "unit": 11, "seeds": 2, "steps": 24}
STATE = {name: str(value) for name, value in ASKED.items()}


@pytest.fixture(scope="module")
def climbed() -> FeatureVisualization:
    return REGISTRY["feature_visualization"].run(Lab(), ASKED)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def card() -> Unit:
    return REGISTRY["unit"].run(Lab(), {"layer": "blocks.7", "unit": 29})  # type: ignore[return-value]


def theatre(visits: Visits, shown: FeatureVisualization, **state: str) -> Page:
    page = visits.open("/feature-visualization", **STATE, **state)
    expect(page.get_by_text(shown.compared)).to_be_visible(timeout=60_000)
    return page


def made(page: Page) -> Locator:
    return page.get_by_role("button", name=re.compile("a made picture$"))


def pixels(canvas: Locator) -> str:
    return str(canvas.evaluate("canvas => canvas.toDataURL()"))


def colours_in(canvas: Locator) -> int:
    return int(
        canvas.evaluate(
            "canvas => new Set(new Uint32Array(canvas.getContext('2d')"
            ".getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"
        )
    )


def test_the_way_is_scrubbed_and_survives_a_reload(visits: Visits, climbed: FeatureVisualization) -> None:
    page = theatre(visits, climbed)
    expect(made(page)).to_have_count(2)
    first = made(page).first
    assert colours_in(first.locator("canvas")) > 200
    expect(first).to_have_accessible_name(
        f"{three(float(climbed.frame_values[-1, 0]))} seed 0, a made picture"
    )
    expect(page.get_by_role("button", name="Play")).to_have_count(0)  # less motion was asked for
    end = pixels(first.locator("canvas"))
    slider = page.get_by_role("slider", name="Step of the ascent")
    slider.focus()
    page.keyboard.press("Home")
    expect(page.get_by_text("step 0 of 24")).to_be_visible()
    expect(page).to_have_url(re.compile(r"[?&]frame=0\b"))
    expect(first).to_have_accessible_name(
        f"{three(float(climbed.frame_values[0, 0]))} seed 0, a made picture"
    )
    assert pixels(first.locator("canvas")) != end
    page.reload()
    expect(page.get_by_text("step 0 of 24")).to_be_visible(timeout=60_000)
    curve = page.get_by_role("application", name="Value by step")
    expect(curve.locator("path.curve")).to_have_count(2)
    curve.focus()
    page.keyboard.press("End")
    expect(page.get_by_text("step 24 of 24")).to_be_visible()
    assert pixels(first.locator("canvas")) == end
    page.keyboard.press("Escape")
    expect(page).not_to_have_url(re.compile("frame="))
    curve.hover(position={"x": 47, "y": 60})
    expect(page.get_by_text("step 0 of 24")).to_be_visible()


def test_it_plays_where_motion_is_welcome(visits: Visits, climbed: FeatureVisualization) -> None:
    page = theatre(visits, climbed)
    page.emulate_media(reduced_motion="no-preference")
    page.reload()
    play = page.get_by_role("button", name="Play")
    expect(play).to_be_enabled(timeout=60_000)
    play.click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page).to_have_url(re.compile(r"[?&]frame=\d+"))
    play.click()
    expect(play).to_be_visible(timeout=15_000)  # it has come to the end by itself
    expect(page.get_by_text("step 24 of 24")).to_be_visible()


def test_real_pictures_are_read_pinned_and_taken_along(
    visits: Visits, climbed: FeatureVisualization, tmp_path: Path
) -> None:
    page = theatre(visits, climbed)
    row = page.get_by_role("list", name="Real pictures that excite it most").get_by_role("button")
    expect(row).to_have_count(10)
    row.first.hover()
    name = climbed.best.names[0]
    expect(page.get_by_role("status").filter(has_text=f"{name}, {climbed.best.labels[0]}")).to_be_visible()
    row.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    second = climbed.best.names[1]
    assert state_of(page)["pin"] == second
    expect(inspector_of(page).get_by_text(second)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page).not_to_have_url(re.compile("pin="))
    made(page).last.click()
    expect(inspector_of(page).get_by_text("The picture of seed 1 at step 24")).to_be_visible()

    with page.expect_download() as got:
        inspector_of(page).get_by_role("button", name="CSV").click()
    table = Path(got.value.path()).read_text("utf-8").splitlines()
    assert table[0] == "what,name,class,step,value"
    assert len(table) == 1 + climbed.frame_values.size + 10 + 6
    with page.expect_download() as got:
        inspector_of(page).get_by_role("button", name="SVG").click()
    assert Path(got.value.path()).read_text("utf-8").count("<image") == 2 + 10 + 6
    with page.expect_download() as got:
        inspector_of(page).get_by_role("button", name="HTML").click()
    got.value.save_as(tmp_path / "theatre.html")
    alone = visits.context().new_page()
    alone.goto((tmp_path / "theatre.html").as_uri())
    expect(alone.get_by_text(climbed.compared).first).to_be_visible()
    alone.get_by_role("slider", name="Step of the ascent").focus()
    alone.keyboard.press("Home")
    expect(alone.get_by_text("step 0 of 24")).to_be_visible()


def test_a_class_is_climbed_and_a_wrong_unit_said(visits: Visits, climbed: FeatureVisualization) -> None:
    page = theatre(visits, climbed)
    page.get_by_role("combobox", name="What excites").select_option("logit")
    expect(inspector_of(page).get_by_role("heading", name="The logit of triangle")).to_be_visible(
        timeout=60_000
    )
    page.get_by_role("combobox", name="Class").select_option("ring")
    expect(inspector_of(page).get_by_role("heading", name="The logit of ring")).to_be_visible(timeout=60_000)
    visits.expected.append("400")
    page.goto(visits.url("/feature-visualization", layer="blocks.5", unit="99"))
    expect(page.get_by_text("no unit 99: it has 48")).to_be_visible()


def test_a_unit_s_card(visits: Visits, card: Unit, tmp_path: Path) -> None:
    page = visits.open("/unit", layer="blocks.7", unit="29")
    expect(page.get_by_text(card.summary)).to_be_visible(timeout=60_000)
    histogram = page.get_by_role("application", name="Histogram of the unit over 200 pictures")
    expect(histogram.locator("rect")).to_have_count(int((card.counts > 0).sum()))
    histogram.focus()
    page.keyboard.press("Home")
    expect(page.get_by_text(f"{card.counts[0]} of 200 pictures from")).to_be_visible()
    top = page.get_by_role("list", name="Excite it most, of 200").get_by_role("button")
    before = pixels(top.first.locator("canvas"))
    top.first.hover()
    expect(histogram.locator("line.looked")).to_have_count(1)
    assert pixels(top.first.locator("canvas")) != before  # grey where it is silent
    top.first.click()
    name = card.top.examples.names[0]
    expect(inspector_of(page).get_by_role("rowheader", name=f"on {name}")).to_be_visible()
    page.get_by_role("checkbox", name="Show where it fires").uncheck()
    assert pixels(top.first.locator("canvas")) == before
    page.reload()
    expect(inspector_of(page).get_by_role("rowheader", name=f"on {name}")).to_be_visible(timeout=60_000)
    with page.expect_download() as got:
        inspector_of(page).get_by_role("button", name="CSV").click()
    table = Path(got.value.path()).read_text("utf-8")
    assert f"most,{name},ring," in table
    with page.expect_download() as got:
        inspector_of(page).get_by_role("button", name="SVG").click()
    assert Path(got.value.path()).read_text("utf-8").count("<image") == 27
    with page.expect_download() as got:
        inspector_of(page).get_by_role("button", name="HTML").click()
    got.value.save_as(tmp_path / "unit.html")
    alone = visits.context().new_page()
    alone.goto((tmp_path / "unit.html").as_uri())
    expect(alone.get_by_text(card.summary).first).to_be_visible()
    page.get_by_role("button", name="The next unit").click()
    expect(page).to_have_url(re.compile("unit=30"))
    expect(inspector_of(page).get_by_role("heading", name="Unit 30 of blocks.7")).to_be_visible(
        timeout=60_000
    )
    page.get_by_role("link", name="Make pictures that excite it").click()
    expect(page).to_have_url(re.compile(r"/feature-visualization\?.*unit=30"))


def test_axe_finds_nothing(visits: Visits, climbed: FeatureVisualization, card: Unit) -> None:
    axe_finds_nothing(theatre(visits, climbed))
    page = visits.open("/unit", layer="blocks.7", unit="29")
    expect(page.get_by_text(card.summary)).to_be_visible(timeout=60_000)
    axe_finds_nothing(page)
