"""Who wrote the answer, and what it is without some parts, in a real Chromium."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from browser_lab import PHONE, WIDE, Visits, three
from playwright.sync_api import Locator, Page, expect

import llm_workings as lw
from llm_workings.causal.direct_attribution import attribute

pytestmark = pytest.mark.browser

TEXT = "gqmzrxk gqmzr"  # goes on with x, for a model that has induction heads
AXE = Path(__file__).parent.parent / "web" / "node_modules" / "axe-core" / "axe.min.js"
RUN_AXE = """async () => {
    const { violations } = await axe.run({ resultTypes: ["violations"] });
    const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
    return serious.map(({ id, nodes }) => [id, nodes.slice(0, 3).map(({ html }) => html.slice(0, 120))]);
}"""


@pytest.fixture(scope="module")
def toy() -> lw.LanguageModel:
    return lw.load("induction-2l", device="cpu")


def state_of(page: Page) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(urlsplit(page.url).query).items()}


def signed(value: float) -> str:
    return f"+{three(value)}" if value > 0 else three(value)


def judged(page: Page) -> None:
    """No serious violation and no sideways scrolling, wide and on a phone, light and dark."""
    if not AXE.is_file():
        if os.environ.get("CI"):
            raise FileNotFoundError(AXE)
        pytest.skip("axe-core is not installed: run `npm ci` in web/")
    page.evaluate(AXE.read_text("utf-8"))
    for size in (WIDE, PHONE):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.evaluate(
                "() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
            )
            assert page.evaluate("() => document.documentElement.scrollWidth") <= size[0]
            assert page.evaluate(RUN_AXE) == [], f"{size[0]} px, {scheme}"


def saved(page: Page, visits: Visits, tmp_path: Path, name: str) -> Page:
    """The page's files: a drawing and a table as they should begin, and the HTML file opened offline."""
    for button, begins in (("SVG", b"<svg "), ("PNG", b"\x89PNG")):
        with page.expect_download() as coming:
            page.get_by_role("button", name=button).click()
        coming.value.save_as(tmp_path / button)
        assert (tmp_path / button).read_bytes().startswith(begins)
    with page.expect_download() as coming:
        page.get_by_role("button", name="HTML").click()
    file = tmp_path / coming.value.suggested_filename
    assert file.name == name
    coming.value.save_as(file)
    disk = visits.context(offline=True).new_page()
    disk.goto(file.as_uri())
    return disk


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
    judged(page)
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
