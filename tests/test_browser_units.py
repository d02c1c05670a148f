"""Units by tokens in a real Chromium: rows read, pinned, followed through the layers and taken along."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from browser_lab import Visits, axe_finds_nothing, cells_of, colours, inspector_of, saved, signed, state_of
from playwright.sync_api import expect

from llm_workings.views import REGISTRY
from llm_workings.views.lab import Lab
from llm_workings.views.token_activations import TokenActivations

pytestmark = pytest.mark.browser

TEXT = "gqmzrxk gqmzr"
LEFT, TOP = 52, 26  # the margins of the heatmap, where its columns are wide


def payload_of(**request: object) -> TokenActivations:
    payload = REGISTRY["token_activations"].run(Lab(), {"prompt": TEXT, "model": "induction-2l", **request})
    assert isinstance(payload, TokenActivations)
    return payload


def test_units_by_tokens(visits: Visits, tmp_path: Path) -> None:
    page = visits.open("/token-activations", prompt=TEXT, site="resid_post", layer="1")
    grid = page.get_by_role("application", name="48 units of resid_post.1 by 14 tokens")
    expect(grid).to_be_visible(timeout=60_000)
    assert colours(grid) > 100
    expect(page.get_by_text("48 of 64 units of resid_post.1, the most variable")).to_be_visible()
    truth = payload_of(site="resid_post", layer=1)
    top = truth.units[truth.by_peak[0]]
    inspector = inspector_of(page)
    grid.hover(position={"x": LEFT + 60, "y": TOP + 5})
    expect(inspector.get_by_role("heading", name=f"Dimension 1.{top.unit} at")).to_be_visible()
    page.mouse.move(0, 0)

    # By key; what is pinned is in the address, and there again after a reload.
    grid.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    row = int(truth.by_peak[1])
    unit = truth.units[row].unit
    assert (state_of(page)["unit"], state_of(page)["position"]) == (str(unit), "2")
    expect(inspector.get_by_role("heading", name=f"Dimension 1.{unit}, pinned")).to_be_visible()
    expect(inspector.get_by_role("paragraph").first).to_have_text(signed(float(truth.values[row, 2])))
    page.reload()
    expect(inspector.get_by_role("heading", name=f"Dimension 1.{unit}, pinned")).to_be_visible()
    expect(inspector.get_by_text(f"Goes most with dimension {truth.units[row].partner}")).to_be_visible()
    axe_finds_nothing(page)
    page.mouse.move(0, 0)
    partner = truth.units[row].partner
    assert partner in [one.unit for one in truth.units]
    inspector.get_by_role("button", name=f"dimension {partner}", exact=True).click()
    expect(inspector.get_by_role("heading", name=f"Dimension 1.{partner}, pinned")).to_be_visible()
    page.go_back()
    expect(inspector.get_by_role("heading", name=f"Dimension 1.{unit}, pinned")).to_be_visible()

    page.get_by_role("combobox", name="Order").select_option("cluster")
    page.get_by_role("combobox", name="Scale").select_option("one")
    assert (state_of(page)["order"], state_of(page)["scale"]) == ("cluster", "one")
    largest = max(abs(one.largest) for one in truth.units)
    expect(page.get_by_role("figure", name=f"to {signed(largest)}")).to_be_visible()
    disk = saved(page, visits, tmp_path, "token_activations.html", "unit,mean,deviation,partner,correlation")
    rows = (tmp_path / "CSV").read_text("utf-8").splitlines()
    assert [int(line.split(",")[0]) for line in rows[1:]] == [truth.units[i].unit for i in truth.by_cluster]
    expect(disk.get_by_role("heading", name=f"Dimension 1.{unit}, pinned")).to_be_visible()
    disk.get_by_role("combobox", name="Layer").select_option("0")  # it is in the file
    expect(disk.get_by_role("application", name="48 units of resid_post.0 by 14 tokens")).to_be_visible()
    disk.get_by_role("combobox", name="Rows").select_option("layers")
    expect(disk.get_by_role("application", name="Norm of resid_post: 2 layers by 14 tokens")).to_be_visible()

    # That unit in every layer, and from a layer back to its units.
    inspector.get_by_role("button", name=f"Dimension {unit} in every layer").click()
    layers = page.get_by_role("application", name=f"Dimension {unit} of resid_post: 2 layers by 14 tokens")
    expect(layers).to_be_visible()
    every = payload_of(site="resid_post", rows="layers", of=str(unit))
    page.get_by_role("checkbox", name="Table").check()
    table = page.get_by_role("region", name="2 layers")
    assert cells_of(table, "1")[-1] == signed(float(every.values[1, -1]))
    axe_finds_nothing(page)
    page.get_by_role("checkbox", name="Table").uncheck()
    layers.focus()
    for key in ("ArrowUp", "Enter"):
        page.keyboard.press(key)
    inspector.get_by_role("button", name="Units of layer 0").click()
    expect(page.get_by_role("application", name="48 units of resid_post.0 by 14 tokens")).to_be_visible()

    # Heads lead to their page; Escape lets go.
    page.get_by_role("combobox", name="of", exact=True).select_option("result")
    heads = page.get_by_role("application", name="units of result.0 by 14 tokens")
    expect(heads).to_be_visible()
    heads.focus()
    page.keyboard.press("Enter")
    head = state_of(page)["unit"]
    to = inspector.get_by_role("link", name=f"All about head 0.{head}").get_attribute("href") or ""
    assert (urlsplit(to).path, parse_qs(urlsplit(to).query)["pin"]) == ("/attention", [f"0.{head}"])
    page.keyboard.press("Escape")
    expect(inspector.get_by_text("Nothing pinned")).to_be_visible()
