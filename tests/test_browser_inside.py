"""Misled, layers and units over a set of pictures, in a real Chromium."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from browser_lab import Visits, axe_finds_nothing, colours, saved, state_of
from playwright.sync_api import expect

from llm_workings.data.pictures import CLASSES, make_pictures

pytestmark = pytest.mark.browser


def test_misled_seen_from_inside(visits: Visits, tmp_path: Path) -> None:
    page = visits.open("/adversary", picture="shapes:5", n="24", steps="3", epsilon="6")
    strange = page.get_by_role("img", name="Strangeness at")
    expect(strange).to_be_visible(timeout=60_000)
    expect(page.get_by_role("heading", name="ring becomes")).to_be_visible()
    for picture in ("The clean picture", "The change, enlarged", "The misleading picture"):
        canvas = page.get_by_role("img", name=picture).locator("canvas")
        assert (
            canvas.evaluate(
                """c => {
                    const { data } = c.getContext("2d").getImageData(0, 0, 64, 64);
                    return new Set(new Uint32Array(data.buffer)).size;
                }"""
            )
            > 50
        )
    expect(page.get_by_text("No pixel truly moves by more than 6 of 255.")).to_be_visible()

    # By key along the layers: what is looked at is read, Enter pins it, Escape lets go of it.
    chart = page.get_by_role("application", name="Distance by layer")
    chart.focus()
    for key in ("Home", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    expect(page.get_by_text("blocks.2: this picture")).to_be_attached()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="blocks.2, pinned")).to_be_visible()
    assert state_of(page)["layer"] == "blocks.2"
    expect(page.get_by_role("img", name="Strangeness at blocks.2")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="blocks.2, pinned")).to_be_visible()
    page.get_by_role("application", name="Detection by layer").focus()
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="blocks.2, pinned")).to_have_count(0)

    page.get_by_role("checkbox", name="Table").check()
    page.get_by_role("button", name="blocks.6").click()
    assert state_of(page)["layer"] == "blocks.6"
    axe_finds_nothing(page)
    page.get_by_role("checkbox", name="Table").uncheck()
    axe_finds_nothing(page)
    disk = saved(page, visits, tmp_path, "adversary.html", "layer,picture,distance")
    expect(disk.get_by_role("img", name="Strangeness at blocks.6")).to_be_visible()

    # The slider asks anew.
    slider = page.get_by_role("slider")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text("No pixel truly moves by more than 6.5 of 255.")).to_be_visible(timeout=60_000)
    assert state_of(page)["epsilon"] == "6.5"


def test_layers_over_a_set(visits: Visits, tmp_path: Path) -> None:
    page = visits.open("/activation-map", n="48")
    expect(page.get_by_text("Shuffled labels reach")).to_be_visible(timeout=90_000)
    through = page.get_by_role("group", name="Through the layers").get_by_role("button")
    expect(through).to_have_count(8)
    assert colours(through.nth(7)) > 20
    page.get_by_role("button", name="blocks.7").click()
    assert state_of(page)["layer"] == "blocks.7"
    plane = page.get_by_role("application", name="48 pictures in the plane of blocks.7")
    assert colours(plane) > 20

    # By key from picture to picture; Enter keeps one beside the map.
    plane.focus()
    for key in ("End", "Enter"):
        page.keyboard.press(key)
    at = state_of(page)["at"]
    label = make_pictures("shapes", 48).labels[int(at)]
    assert CLASSES[label] == "crescent"  # the last class
    inspector = page.get_by_role("complementary", name="Inspector")
    expect(inspector.get_by_role("heading", name=f"shapes:{at}, pinned")).to_be_visible()
    expect(inspector.get_by_text("crescent, answered")).to_be_visible()
    expect(plane.get_by_role("img", name=f"shapes:{at}")).to_be_visible()
    page.reload()
    expect(inspector.get_by_role("heading", name=f"shapes:{at}, pinned")).to_be_visible()
    alike = page.get_by_role("application", name="Its own layers")
    alike.focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_text("blocks.1 and blocks.0: ").first).to_be_visible()
    axe_finds_nothing(page)
    disk = saved(page, visits, tmp_path, "activation_map.html", "layer,picture,class,answer,cluster,x,y")
    expect(disk.get_by_role("application", name="48 pictures in the plane of blocks.7")).to_be_visible()
    plane.focus()
    page.keyboard.press("Escape")
    expect(inspector.get_by_text("No picture pinned")).to_be_visible()
    page.get_by_role("checkbox", name="Table").check()
    expect(page.get_by_role("region", name="8 layers").get_by_role("row")).to_have_count(9)
    axe_finds_nothing(page)


def test_units_by_pictures(visits: Visits, tmp_path: Path) -> None:
    page = visits.open("/activation-heatmap", n="48", layer="blocks.7")
    grid = page.get_by_role("application", name="48 units of blocks.7 by 48 pictures")
    expect(grid).to_be_visible(timeout=60_000)
    assert colours(grid) > 100
    grid.hover(position={"x": 52 + 5, "y": 26 + 5})
    inspector = page.get_by_role("complementary", name="Inspector")
    expect(inspector.get_by_role("img", name="The picture shapes:")).to_be_visible()
    grid.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    unit, at = state_of(page)["unit"], state_of(page)["at"]
    expect(inspector.get_by_role("heading", name=f"Unit {unit} of blocks.7, pinned")).to_be_visible()
    page.reload()
    expect(inspector.get_by_role("heading", name=f"Unit {unit} for shapes:{at}")).to_be_visible()
    page.mouse.move(0, 0)
    card = inspector.get_by_role("link", name=f"All about unit {unit}").get_attribute("href") or ""
    assert urlsplit(card).path == "/unit"
    asked = parse_qs(urlsplit(card).query)
    assert (asked["layer"], asked["unit"]) == (["blocks.7"], [unit])
    axe_finds_nothing(page)
    disk = saved(page, visits, tmp_path, "activation_heatmap.html", "unit,flags,shapes:")
    shown = disk.get_by_role("complementary", name="Inspector")
    expect(shown.get_by_role("heading", name=f"Unit {unit} of blocks.7, pinned")).to_be_visible()

    page.get_by_label("Order").select_option("cluster")
    expect(page.get_by_label("Order")).to_have_value("cluster")
    assert state_of(page)["order"] == "cluster"
    page.get_by_role("checkbox", name="each unit by its own largest").check()
    expect(page.get_by_text("share of its largest")).to_be_visible()
    grid.focus()
    page.keyboard.press("Escape")
    expect(inspector.get_by_text("No unit pinned")).to_be_visible()
    page.get_by_role("checkbox", name="Table").check()
    expect(page.get_by_role("region", name="48 units").get_by_role("row")).to_have_count(49)
    axe_finds_nothing(page)
