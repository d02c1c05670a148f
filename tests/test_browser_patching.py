"""Patching, paths and prompts in a real Chromium, before a real lab, as a mouse or a keyboard meets them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from browser_lab import Visits, axe_finds_nothing, colours, inspector_of, state_of, three
from playwright.sync_api import Locator, Page, expect

import llm_workings as lw
from llm_workings.causal import metrics
from llm_workings.causal.patching import Pair, Patching, patch
from llm_workings.causal.path_patching import patch_paths

pytestmark = pytest.mark.browser
expect.set_options(timeout=20_000)  # a patch is work in the lab's queue, on a machine that may be busy

CLEAN, CORRUPTED = "abcdea", "adcbea"
ASKED = {"prompt": CLEAN, "corrupted": CORRUPTED, "answer": "b", "wrong": "d"}


@pytest.fixture(scope="module")
def toy() -> lw.LanguageModel:
    return lw.load("induction-2l", device="cpu")


@pytest.fixture(scope="module")
def pair(toy: lw.LanguageModel) -> Pair:
    return Pair(toy, CLEAN, CORRUPTED)


def sweep(pair: Pair, kind: str) -> Patching:
    return patch(pair, kind, metrics.logit_difference(pair.model, "b", "d"))


def grid_of(page: Page) -> Locator:
    return page.get_by_role("application", name="Patches: ")


def test_a_cell_is_hovered_pinned_and_says_what_the_patched_model_says(
    visits: Visits, toy: lw.LanguageModel, pair: Pair
) -> None:
    found = sweep(pair, "resid_pre")
    page = visits.open("/patching", **ASKED)
    grid = grid_of(page)
    expect(grid).to_be_visible()
    expect(page.get_by_text("Click a cell to read what the patched model answers")).to_be_visible()
    assert colours(grid) > 20
    texts = page.get_by_role("group", name="The two texts: 7 tokens each")
    expect(texts).to_contain_text("<begin>")

    grid.focus()
    for key in ("Home", "PageUp", "ArrowDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    said = page.locator("[aria-live=polite]").first
    expect(said).to_contain_text("the stream before layer 1 at 2 b, where the corrupted text has “d”")
    expect(said).to_contain_text(f"{three(float(found.normalized[1, 2]))} of the way")
    page.keyboard.press("Enter")
    expect(
        page.get_by_role("heading", name="With the stream before layer 1 at 2 b from the clean run")
    ).to_be_visible()
    assert {key: state_of(page)[key] for key in ("layer", "position")} == {"layer": "1", "position": "2"}
    expect(inspector_of(page)).to_contain_text(three(float(found.normalized[1, 2])))
    patched = page.get_by_role("region", name="The patched run")
    expect(patched).to_contain_text(f"logit difference {three(float(found.values[1, 2]))}")
    for name, text in (("clean", CLEAN), ("corrupted", CORRUPTED)):
        written = toy.generate(text, 12).text
        expect(page.get_by_role("region", name=f"The {name} run").locator(".written")).to_contain_text(
            written.replace(" ", "·").rstrip("·")[:3]
        )

    page.reload()
    expect(page.get_by_role("region", name="The patched run")).to_contain_text(
        three(float(found.values[1, 2]))
    )
    grid_of(page).focus()
    page.keyboard.press("Escape")
    expect(page.get_by_role("region", name="The patched run")).to_have_count(0)
    assert "layer" not in state_of(page)
    # A place that is among the strongest is a click away.
    place, _ = found.strongest(1)[0]
    inspector_of(page).get_by_role("button", name=f"layer {place[0]} at {place[1]}").click()
    expect(page.get_by_role("region", name="The patched run")).to_be_visible()


def test_heads_lead_on_to_paths_and_back(visits: Visits, pair: Pair) -> None:
    found = sweep(pair, "z")
    page = visits.open("/patching", **ASKED)
    page.get_by_role("combobox", name="Patch ").select_option("z|")
    expect(page.get_by_role("application", name="Patches: 4 heads down, 2 layers across")).to_be_visible()
    page.get_by_role("checkbox", name="Table").check()
    table = page.get_by_role("region", name="Patches as a table")
    (layer, head), value = found.strongest(1)[0]
    first = table.locator("tbody").get_by_role("row").first
    expect(first).to_contain_text(f"head {layer}.{head}")
    expect(first).to_contain_text(three(value))
    page.get_by_role("button", name="corrupted → clean").click()
    noised = patch(pair, "z", metrics.logit_difference(pair.model, "b", "d"), direction="noising")
    expect(table.locator("tbody").get_by_role("row").first).to_contain_text(three(noised.strongest(1)[0][1]))
    page.get_by_role("button", name="clean → corrupted").click()
    page.get_by_role("checkbox", name="Table").uncheck()
    inspector_of(page).get_by_role("button", name="1.2").click()
    page.get_by_role("link", name="through its keys").click()

    expect(page).to_have_title("Path patching · llm-workings")
    way = page.get_by_role("navigation", name="Receivers")
    expect(way).to_contain_text("the keys of 1.2")
    paths = patch_paths(pair, "k.1.2", metrics.logit_difference(pair.model, "b", "d"))
    part, effect = paths.strongest(1)[0]
    sender = inspector_of(page).get_by_role("button", name=f"{part.layer}.{part.index}").first
    expect(sender).to_be_visible()
    sender.click()
    expect(inspector_of(page)).to_contain_text(f"{'+' if effect > 0 else ''}{three(effect)}")
    expect(page.get_by_text("Nothing stands below layer 0.")).to_be_visible()
    way.get_by_role("button", name="the logits").click()
    expect(page.get_by_role("application", name="Patches: 4 heads down, 2 layers across")).to_be_visible()
    assert "receivers" not in state_of(page)
    grid = grid_of(page)
    grid.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="query").click()
    assert state_of(page)["receivers"].startswith("q.1.")
    assert state_of(page)["trail"] == "logits"


def test_the_second_text_says_at_once_what_is_wrong_with_it(visits: Visits) -> None:
    visits.expected.append("status of 4")
    page = visits.open("/patching", prompt="quick brown")
    expect(page.get_by_role("heading", name="What should this text be compared with?")).to_be_visible()
    expect(page.get_by_text("There is no second text yet.")).to_be_visible()
    second = page.get_by_role("textbox", name="against")
    page.get_by_role("button", name="Copy the text and change it").click()
    expect(second).to_be_focused()
    expect(second).to_have_value("quick brown")
    expect(page.get_by_text("The two texts are the same.")).to_be_visible()
    second.fill("quick bron")
    expect(page.locator("#pair-said")).to_contain_text("nothing at position 10")
    second.fill("quack brown")
    expect(page.locator("#pair-said")).to_contain_text("12 tokens, as the first. At 3: i became a")
    second.press("Enter")
    expect(grid_of(page)).to_be_visible()
    assert state_of(page)["corrupted"] == "quack brown"

    page.goto(visits.url("/patching", **{**ASKED, "answer": "bd"}))
    expect(page.get_by_role("alert")).to_contain_text("'bd' is 2 tokens, not one")
    page.get_by_role("button", name="Without this second text").click()
    expect(grid_of(page)).to_be_visible()  # one is proposed
    page.get_by_role("combobox", name="Another example").select_option("repeated tokens")
    page.wait_for_url("**corrupted=**")
    expect(page.locator("#pair-said")).to_contain_text("tokens, as the first.")
    expect(grid_of(page)).to_be_visible()
    assert {"prompt", "corrupted", "answer", "wrong"} <= state_of(page).keys()


def test_a_drawn_pair_opens_in_patching(visits: Visits) -> None:
    page = visits.open("/prompts", family="repeated", n="3", seed="2", options='{"length": 6}')
    rows = page.get_by_role("region", name="Drawn pairs").locator("tbody").get_by_role("row")
    expect(rows).to_have_count(6)
    expect(page.get_by_role("spinbutton", name="Length")).to_have_value("6")
    difference = rows.first.locator("td.number").inner_text().removeprefix("+")
    page.get_by_role("link", name="Patch pair 1").click()
    expect(page).to_have_title("Activation patching · llm-workings")
    expect(grid_of(page)).to_be_visible()
    page.get_by_role("checkbox", name="logit difference itself").check()
    expect(page.get_by_role("figure", name="logit difference: ")).to_contain_text(difference)


def test_it_can_be_taken_along(visits: Visits, pair: Pair, tmp_path: Path) -> None:
    found = sweep(pair, "resid_pre")
    page = visits.open("/patching", **ASKED, layer="0", position="2")
    expect(page.get_by_role("region", name="The patched run")).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(saved.value.path()).read_text("utf-8"))))
    assert len(rows) == found.values.numel()
    assert rows[2]["clean_token"], rows[2]["corrupted_token"] == ("b", "d")
    assert float(rows[2]["normalized"]) == pytest.approx(float(found.normalized[0, 2]), abs=1e-6)
    with page.expect_download() as saved:
        page.get_by_role("button", name="SVG").click()
    assert "patching resid_pre, layer by position" in Path(saved.value.path()).read_text("utf-8")

    with page.expect_download() as saved:
        page.get_by_role("button", name="HTML").click()
    file = tmp_path / "patching.html"
    saved.value.save_as(file)
    alone = visits.context().new_page()
    alone.goto(file.as_uri())
    expect(alone.get_by_role("region", name="The patched run")).to_contain_text(
        three(float(found.values[0, 2]))
    )
    expect(alone.get_by_text("cells pinned or strongest")).to_be_visible()
    place, value = found.strongest(1)[0]
    inspector_of(alone).get_by_role("button", name=f"layer {place[0]} at {place[1]}").first.click()
    expect(alone.get_by_role("region", name="The patched run")).to_contain_text(three(value))
    alone.get_by_role("combobox", name="Patch ").select_option("z|")
    expect(alone.get_by_role("alert")).to_contain_text("not recorded in the file")


PAGES = {
    "patching": ("/patching", {**ASKED, "layer": "1", "position": "2"}),
    "heads": ("/patching", {**ASKED, "kind": "nodes", "pin": "1.2"}),
    "by position": ("/patching", {**ASKED, "kind": "z", "by": "head,position"}),
    "table": ("/patching", {**ASKED, "table": "patches"}),
    "paths": ("/path-patching", {**ASKED, "receivers": "k.1.2", "trail": "logits", "pin": "0.1"}),
    "prompts": ("/prompts", {"family": "repeated", "n": "2"}),
    "empty": ("/patching", {"prompt": "quick brown"}),
}


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(visits: Visits, name: str) -> None:
    path, state = PAGES[name]
    page = visits.open(path, **state)
    shown = {"empty": "What should this text be compared with?"}.get(name)
    expect(page.get_by_text(shown) if shown else page.locator(".picture")).to_be_visible()
    if ("pin" in state and path == "/patching") or "position" in state:
        expect(page.get_by_role("region", name="The patched run")).to_be_visible()
    axe_finds_nothing(page)
