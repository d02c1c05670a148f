"""The attribution gallery and its table in a real Chromium, before a real lab on the packaged nets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from browser_lab import PHONE, WIDE, Visits, axe_finds_nothing, cells_of, colours, inspector_of, signed, three
from PIL import Image as Pillow
from playwright.sync_api import FilePayload, Locator, Page, expect

from llm_workings.views import REGISTRY
from llm_workings.views.attribution_gallery import AttributionGallery
from llm_workings.views.attribution_methods import KINDS
from llm_workings.views.lab import Lab

pytestmark = pytest.mark.browser

SLOW = 40_000  # milliseconds: the first picture of a lab loads PyTorch
ASKED = {"net": "digits-cnn"}


@pytest.fixture(scope="module")
def digit() -> AttributionGallery:
    return cast("AttributionGallery", REGISTRY["attribution_gallery"].run(Lab(), ASKED))


def tile_of(page: Page, name: str) -> Locator:
    return page.get_by_role("article").filter(has=open_button(page, name))


def open_button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=re.compile(rf"^{re.escape(name)}: "))


def picture_of(page: Page) -> Locator:
    return page.get_by_role("application", name=re.compile("^The picture, 8 by 8 pixels"))


def value_of(digit: AttributionGallery, name: str, row: int, column: int) -> float:
    (tile,) = [one for one in digit.tiles if one.name == name and one.layer in (None, digit.layer)]
    rows, columns = tile.map.shape
    return float(tile.map[row * rows // 8, column * columns // 8])


def test_the_gallery_is_drawn_read_opened_and_comes_back(visits: Visits, digit: AttributionGallery) -> None:
    page = visits.open("/attribution-gallery", **ASKED)
    expect(page.get_by_role("heading", name="Why 6?")).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("article")).to_have_count(len(KINDS), timeout=SLOW)
    assert colours(picture_of(page)) > 5
    painted = page.locator("article canvas").evaluate_all(
        """all => all.map(canvas => {
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return new Set(new Uint32Array(data.buffer)).size;
        })"""
    )
    assert len(painted) == len(KINDS)
    assert min(painted) > 10
    (lift,) = [tile for tile in digit.tiles if tile.name == "DeepLift"]
    said = f"adds up to {three(lift.total)} of {three(lift.expected or 0)}"
    expect(tile_of(page, "DeepLift")).to_contain_text(said)

    box = picture_of(page).locator("canvas").bounding_box()
    assert box is not None
    picture_of(page).hover(position={"x": 4.5 * box["width"] / 8, "y": 2.5 * box["height"] / 8})
    expect(inspector_of(page).get_by_role("heading", name="At row 2, column 4")).to_be_visible(timeout=SLOW)
    table = inspector_of(page).get_by_role("table")
    for name in ("saliency", "occlusion", "Grad-CAM", "LRP EpsilonPlus"):
        assert cells_of(table, name)[1] == signed(value_of(digit, name, 2, 4))

    picture_of(page).focus()
    for key in ("ArrowUp", "ArrowRight", "Enter"):  # from the middle, row 4, column 4
        page.keyboard.press(key)
    expect(page).to_have_url(re.compile(r"[?&]at=3\.5\b"))

    open_button(page, "DeepLift").click()
    expect(page).to_have_url(re.compile(r"[?&]method=DeepLift\b"))
    expect(page.get_by_role("region", name="Checks of DeepLift")).to_be_visible(timeout=SLOW)
    expect(page.get_by_text("it depends on what was learned")).to_be_visible(timeout=SLOW)
    page.mouse.move(2, 2)  # off the map: what is kept is read, not what is pointed at
    expect(inspector_of(page).get_by_role("heading", name="At row 3, column 5")).to_be_visible()
    exactly = cells_of(inspector_of(page).get_by_role("table").first, "here, exactly")[1]
    shown = float(exactly.replace("−", "-"))
    assert shown == pytest.approx(value_of(digit, "DeepLift", 3, 5), rel=1e-5)
    page.reload()
    expect(page.get_by_role("region", name="Checks of DeepLift")).to_be_visible(timeout=SLOW)
    expect(inspector_of(page).get_by_role("heading", name="At row 3, column 5")).to_be_visible(timeout=SLOW)
    page.keyboard.press("Escape")
    expect(page).not_to_have_url(re.compile("method="))


def test_a_class_a_contrast_and_a_layer_are_chosen(visits: Visits, digit: AttributionGallery) -> None:
    page = visits.open("/attribution-gallery", **ASKED)
    second = digit.scores[1]
    page.get_by_role("button", name=f"Against {second.name}").click()
    expect(page.get_by_role("heading", name=f"Why 6 rather than {second.name}?")).to_be_visible(timeout=SLOW)
    expect(page).to_have_url(re.compile(rf"[?&]contrast={second.index}\b"))
    page.get_by_role("button", name=f"Against {second.name}").click()
    page.get_by_role("button", name=re.compile(rf"^{second.name}\b.*")).first.click()
    expect(page.get_by_role("heading", name=f"Why {second.name}?")).to_be_visible(timeout=SLOW)

    page.goto(visits.url("/attribution-gallery", **ASKED))
    slider = page.get_by_role("slider", name="Maps of layer")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect(page).to_have_url(re.compile(r"[?&]map=blocks\.1\b"))
    page.get_by_role("checkbox", name="Table").check()
    methods = page.get_by_role("region", name="Methods")
    assert cells_of(methods, "Grad-CAM")[1] == "blocks.1"
    (tile,) = [one for one in digit.tiles if (one.name, one.layer) == ("Grad-CAM", "blocks.1")]
    assert cells_of(methods, "Grad-CAM")[3] == three(tile.total)


def test_what_is_wrong_is_said_and_left(visits: Visits, tmp_path: Path) -> None:
    visits.expected = ["400"]
    page = visits.open("/attribution-gallery", **ASKED, layer="block.1")
    expect(page.get_by_role("alert")).to_contain_text("Did you mean 'blocks.1'", timeout=SLOW)
    page.get_by_role("button", name="Without this class and layer").click()
    expect(page.get_by_role("heading", name="Why 6?")).to_be_visible(timeout=SLOW)
    chooser = page.locator("input[type=file]")
    chooser.set_input_files(FilePayload(name="a.png", mimeType="image/png", buffer=b"no picture at all"))
    expect(page.get_by_role("alert")).to_contain_text("“a.png” is not a picture", timeout=SLOW)
    grey = tmp_path / "grey.png"
    Pillow.fromarray(np.full((20, 20, 3), 90, np.uint8)).save(grey)
    chooser.set_input_files(grey)
    expect(page).to_have_url(re.compile("picture=own"))
    expect(page.get_by_text("The input is constant").first).to_be_visible(timeout=SLOW)
    page.goto(visits.url("/attribution-gallery", **ASKED, target="12"))
    expect(page.get_by_role("alert")).to_contain_text("Its classes are 0 to 9", timeout=SLOW)


def test_it_is_taken_along_and_opens_from_disk(visits: Visits, tmp_path: Path) -> None:
    page = visits.open("/attribution-gallery", **ASKED, method="Grad-CAM")
    expect(page.get_by_role("region", name="Checks of Grad-CAM")).to_be_visible(timeout=SLOW)
    expect(page.get_by_text("With all of them random")).to_be_visible(timeout=SLOW)
    saved = {}
    for kind in ("PNG", "SVG", "CSV", "HTML"):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=kind, exact=True).click()
        saved[kind] = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(saved[kind])
    assert saved["PNG"].read_bytes().startswith(b"\x89PNG")
    assert "Grad-CAM" in saved["SVG"].read_text("utf-8")
    assert saved["CSV"].read_text("utf-8").startswith("row,column,Grad-CAM")
    page = visits.context().new_page()
    page.goto(saved["HTML"].as_uri())
    expect(page.get_by_role("region", name="Checks of Grad-CAM")).to_be_visible(timeout=SLOW)
    open_button(page, "saliency").click()
    expect(page.get_by_text("This is not recorded in the file.")).to_be_visible(timeout=SLOW)


def test_the_table_fills_sorts_and_leads_on(visits: Visits) -> None:
    page = visits.open(
        "/attribution-table", **ASKED, n="4", methods='["saliency, absolute", "DeepLift", "Grad-CAM"]'
    )
    table = page.get_by_role("region", name=re.compile("^Methods by"))
    expect(table.locator("tbody tr:not(.waiting)")).to_have_count(3, timeout=SLOW)
    table.get_by_role("button", name="deletion").click()
    expect(page).to_have_url(re.compile(r"[?&]sort=deletion\b"))
    names = [row.split("\n")[0] for row in table.locator("tbody th").all_inner_texts()]
    areas = [float(cells_of(table, name)[3]) for name in names]
    assert areas == sorted(areas)
    table.get_by_role("button", name="DeepLift").click()
    page.keyboard.press("ArrowDown")
    expect(inspector_of(page).get_by_role("heading", name="DeepLift")).to_be_visible(timeout=SLOW)
    axe_finds_nothing(page)
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    page.get_by_role("link", name="See its map").click()
    expect(page.get_by_role("region", name="Checks of DeepLift")).to_be_visible(timeout=SLOW)


def test_axe_finds_nothing_serious(visits: Visits) -> None:
    page = visits.open("/attribution-gallery", PHONE, **ASKED, method="saliency")
    expect(page.get_by_text("With all of them random")).to_be_visible(timeout=SLOW)
    axe_finds_nothing(page)
