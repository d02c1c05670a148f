"""The attention page in a real Chromium, before a real lab, as a mouse or a keyboard meets it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from browser_lab import Visits, atlas_of, cells_of, colours, point_of, state_of, three
from playwright.sync_api import Locator, Page, expect

import llm_workings as lw

pytestmark = pytest.mark.browser

TEXT = "gqmzrxk gqmzr"  # goes on with x, for a model that has induction heads
PREVIOUS = (0, 1)  # the head that tells layer 1 which letter came before


@pytest.fixture(scope="module")
def toy() -> lw.LanguageModel:
    return lw.load("induction-2l", device="cpu")


def answers_of(page: Page) -> Locator:
    return page.get_by_role("table", name="The most probable next tokens")


def pin(page: Page, layer: int, head: int) -> None:
    atlas_of(page).click(position=point_of(atlas_of(page), layer, head, 2, 4))  # type: ignore[arg-type]
    expect(heading_of(page, layer, head)).to_be_visible()


def heading_of(page: Page, layer: int, head: int) -> Locator:
    """The name of the pinned head, beside the picture."""
    return page.get_by_role("complementary", name="Inspector").get_by_role(
        "heading", name=f"Head {layer}.{head}"
    )


# ---- home ----------------------------------------------------------------------------------------


def test_home_is_a_sentence_a_text_and_a_live_picture(visits: Visits) -> None:
    page = visits.open("/")
    expect(page).to_have_title("Home · llm-workings")
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "See how a language model arrives at its next word."
    )
    text = page.get_by_role("textbox", name="Text")
    expect(text).to_have_value(TEXT)  # of the examples, the first that this model can read
    expect(page.get_by_role("combobox", name="Model")).to_have_value("induction-2l")
    expect(page.get_by_role("list", name="Examples").get_by_role("link").first).to_have_attribute(
        "aria-current", "true"
    )
    expect(answers_of(page).get_by_role("rowheader").first).to_have_text("x")
    expect(page.get_by_text("reads this text with 8 attention heads")).to_be_visible()
    expect(page.get_by_role("img", name="Probability of x by stop")).to_be_visible()
    assert colours(atlas_of(page)) > 20

    text.fill("abcdef abc")
    text.press("Enter")
    expect(answers_of(page).get_by_role("rowheader").first).to_have_text("d")

    doors = page.get_by_role("main").get_by_role("link", name=re.compile("^(Learn|Look inside|Build)$"))
    expect(doors).to_have_text(["Learn", "Look inside", "Build"])
    doors.nth(1).click()
    expect(page).to_have_title("Attention heads · llm-workings")
    expect(text).to_have_value("abcdef abc")  # it came along
    expect(atlas_of(page)).to_be_visible()
    assert urlsplit(page.url).path == "/attention"


# ---- text to picture -----------------------------------------------------------------------------


def test_typing_a_text_draws_the_atlas_and_the_answers(visits: Visits, toy: lw.LanguageModel) -> None:
    page = visits.open("/attention", prompt="abcdef abc")
    expect(answers_of(page).get_by_role("rowheader").first).to_have_text("d")
    text = page.get_by_role("textbox", name="Text")
    text.fill(TEXT)
    expect(page.get_by_label("14 tokens")).to_have_text(
        "<begin>gqmzrxk·gqmzr"
    )  # exactly what the model is given
    text.press("Enter")
    run = toy.run(TEXT)
    expect(answers_of(page).get_by_role("rowheader")).to_have_text([piece.piece for piece in run.top(5)])
    for guess in run.top(5):
        assert cells_of(answers_of(page), guess.piece)[2] == three(guess.probability)
    assert colours(atlas_of(page)) > 20
    assert state_of(page) == {"prompt": TEXT}


def test_every_head_of_the_atlas_tells_its_scores(visits: Visits, toy: lw.LanguageModel) -> None:
    page = visits.open("/attention", prompt=TEXT, table="atlas")
    table = page.get_by_role("table").filter(has_text="Previous token")
    rows = table.get_by_role("row")
    expect(rows).to_have_count(9)  # a head each, and their heading
    pattern = toy.run(TEXT, keep=["pattern.0"])["pattern", 0][0, PREVIOUS[1]]
    previous = float(pattern.diagonal(-1).mean())
    assert previous > 0.9
    names = table.get_by_role("columnheader").all_inner_texts()
    cells = cells_of(table, "0.1")
    column = next(i for i, name in enumerate(names) if name.lower().startswith("previous"))
    assert cells[column] == three(previous)


# ---- pinning -------------------------------------------------------------------------------------


def test_a_click_pins_a_head(visits: Visits) -> None:
    page = visits.open("/attention", prompt=TEXT)
    expect(page.get_by_text("Click a head to open it")).to_be_visible()
    atlas = atlas_of(page)
    atlas.hover(position=point_of(atlas, 1, 2, 2, 4))  # type: ignore[arg-type]
    expect(page.get_by_text(re.compile(r"^Head 1\.2: previous token"))).to_be_visible()
    pin(page, 1, 2)
    assert state_of(page)["pin"] == "1.2"
    matrix = page.get_by_role("application", name="Pattern of head 1.2: a row a query, a column a key")
    expect(matrix).to_be_visible()
    assert colours(matrix) > 10
    arcs = page.get_by_role("img", name=re.compile(r"The text with \d+ arcs"))
    expect(arcs.locator("path").first).to_be_attached()
    expect(page.get_by_role("row", name=re.compile("^Induction"))).to_be_visible()


def test_the_keyboard_does_all_of_it(visits: Visits) -> None:
    page = visits.open("/attention", prompt=TEXT)
    atlas = atlas_of(page)
    expect(atlas).to_be_visible()
    page.keyboard.press("/")
    text = page.get_by_role("textbox", name="Text")
    expect(text).to_be_focused()
    expect(text).to_have_value(TEXT)  # the key itself is not written
    page.keyboard.press("Escape")

    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keys")
    expect(sheet).to_contain_text("Clear what is pinned")
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()

    for _ in range(40):  # Tab leads to the atlas
        page.keyboard.press("Tab")
        if atlas.evaluate("grid => grid === document.activeElement"):
            break
    expect(atlas).to_be_focused()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp", "ArrowLeft", "End"):
        page.keyboard.press(key)
    expect(page.locator("[aria-live=polite]").first).to_contain_text("Head 1.2: previous token")
    page.keyboard.press("Enter")
    expect(heading_of(page, 1, 2)).to_be_visible()
    expect(page.locator("[aria-live=polite]").first).to_contain_text("Pinned. Head 1.2")
    page.keyboard.press("Escape")
    expect(heading_of(page, 1, 2)).to_have_count(0)
    assert "pin" not in state_of(page)


def test_a_pinned_cell_shows_the_exact_value(visits: Visits, toy: lw.LanguageModel) -> None:
    page = visits.open("/attention", prompt=TEXT, pin="1.0")
    matrix = page.get_by_role("application", name="Pattern of head 1.0")
    expect(matrix).to_be_visible()
    matrix.focus()
    page.keyboard.press("ArrowDown")
    for key in ("PageDown", "PageDown", "End", "ArrowLeft"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    query, key = int(state_of(page)["query"]), int(state_of(page)["key"])
    assert query == 13  # the last r
    reading = page.get_by_role("table").filter(has=page.get_by_role("button", name=f"{key} ")).last
    expect(
        page.get_by_label("weight = exp(score) divided by the sum of exp(score) over the keys")
    ).to_be_visible()
    wanted = toy.run(TEXT, keep=["pattern.1"])["pattern", 1][0, 0, query]
    shown = {}
    for row in reading.locator("tbody").get_by_role("row").all():
        name, _, weight, *_ = row.locator("th, td").all_inner_texts()
        shown[int(name.split()[0])] = number_in(weight)
    assert len(shown) == 12
    assert shown == pytest.approx({at: float(wanted[at]) for at in shown}, rel=2e-6, abs=1e-9)
    assert max(shown, key=lambda at: shown[at]) == 6  # what followed r before: x


def number_in(text: str) -> float:
    """A number as the page writes it, with a true minus and a raised exponent."""
    plain = text.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-"))
    return float(plain.replace("×10", "e"))


# ---- ablation ------------------------------------------------------------------------------------


def test_an_ablation_changes_the_answer_and_can_be_taken_back(visits: Visits, toy: lw.LanguageModel) -> None:
    page = visits.open("/attention", prompt=TEXT)
    pin(page, *PREVIOUS)
    answers = answers_of(page)
    before, after = toy.run(TEXT), toy.run(TEXT, edits=lw.ablate_head(*PREVIOUS))
    was, now = before.guess("x"), after.guess("x")
    assert was.probability > 0.7 > 0.1 > now.probability
    assert before.top(1)[0].piece == "x" != after.top(1)[0].piece

    page.get_by_role("button", name="Ablate head 0.1").click()
    changed = page.get_by_role("table", name="The most probable next tokens, before and after the ablation")
    expect(changed).to_be_visible()
    expect(changed.get_by_role("rowheader").first).to_have_text(after.top(1)[0].piece)
    cells = cells_of(changed, "x")
    assert cells[2] == three(now.probability)
    assert cells[3] == three(now.probability - was.probability)
    assert cells[3].startswith("−0.7")

    page.get_by_role("combobox", name="ablated to").select_option("its mean")
    mean = toy.run(TEXT, edits=lw.ablate_head(*PREVIOUS, "mean")).guess("x")
    expect(changed.get_by_role("row", name="x ").get_by_text(three(mean.probability))).to_be_visible()
    assert three(mean.probability) != three(now.probability)
    page.get_by_role("button", name="Put head 0.1 back").first.click()
    expect(changed).to_have_count(0)
    expect(answers.get_by_role("rowheader").first).to_have_text("x")
    assert cells_of(answers, "x")[2] == three(was.probability)
    assert "ablate" not in state_of(page)


# ---- state ---------------------------------------------------------------------------------------


def test_the_address_carries_the_picture(visits: Visits) -> None:
    page = visits.open("/attention", prompt=TEXT)
    page.get_by_role("combobox", name="Score").select_option("previous_token")
    page.get_by_role("combobox", name="Order").select_option("by score, highest first")
    sorted_atlas = page.get_by_role("application", name="by previous token score")
    expect(sorted_atlas).to_be_visible()
    sorted_atlas.focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")  # the first is the one with the highest score
    expect(heading_of(page, *PREVIOUS)).to_be_visible()
    page.get_by_role("button", name="Ablate head 0.1").click()
    changed = page.get_by_role("table", name="before and after the ablation")
    expect(changed).to_be_visible()
    shown = changed.inner_text()

    def as_it_was(opened: Page) -> None:
        expect(heading_of(opened, *PREVIOUS)).to_be_visible()
        expect(opened.get_by_role("application", name="by previous token score")).to_be_visible()
        expect(opened.get_by_role("combobox", name="Score")).to_have_value("previous_token")
        expect(opened.get_by_role("group", name="Ablated heads").get_by_role("button")).to_have_text("0.1 ×")
        expect(opened.get_by_role("table", name="before and after the ablation")).to_have_text(
            re.compile("change")
        )
        assert opened.get_by_role("table", name="before and after the ablation").inner_text() == shown

    page.reload()
    as_it_was(page)
    other = visits.context().new_page()  # the same address, somewhere else
    other.goto(page.url)
    as_it_was(other)

    page.go_back()
    expect(page.get_by_role("group", name="Ablated heads")).to_have_count(0)
    expect(heading_of(page, *PREVIOUS)).to_be_visible()
    page.go_back()
    expect(heading_of(page, *PREVIOUS)).to_have_count(0)
    expect(page.get_by_role("application", name="by previous token score")).to_be_visible()
    page.go_forward()
    expect(heading_of(page, *PREVIOUS)).to_be_visible()


# ---- taking it along -----------------------------------------------------------------------------


def test_the_exported_file_is_alive_from_disk_with_no_network(visits: Visits, tmp_path: Path) -> None:
    page = visits.open("/attention", prompt=TEXT, pin="1.0")
    expect(heading_of(page, 1, 0)).to_be_visible()
    with page.expect_download() as coming:
        page.get_by_role("button", name="HTML").click()
    file = tmp_path / coming.value.suggested_filename
    assert file.name == "attention.html"
    coming.value.save_as(file)
    expect(page.get_by_text("HTML saved.")).to_be_visible()

    offline = visits.context(offline=True)
    disk = offline.new_page()
    disk.goto(file.as_uri())
    expect(disk).to_have_title(f"Attention heads: {TEXT}")
    expect(heading_of(disk, 1, 0)).to_be_visible()
    atlas = atlas_of(disk)
    assert colours(atlas) > 20
    atlas.hover(position=point_of(atlas, 0, 3, 2, 4))  # type: ignore[arg-type]
    expect(disk.get_by_text(re.compile(r"^Head 0\.3: previous token"))).to_be_visible()
    atlas.click(position=point_of(atlas, 0, 1, 2, 4))  # type: ignore[arg-type]
    expect(heading_of(disk, 0, 1)).to_be_visible()
    atlas.focus()
    for key in ("ArrowRight", "Enter"):
        disk.keyboard.press(key)
    expect(heading_of(disk, 1, 1)).to_be_visible()
    expect(disk.get_by_role("application", name="Pattern of head 1.1")).to_be_visible()
    atlas.focus()
    disk.keyboard.press("Escape")
    expect(heading_of(disk, 1, 1)).to_have_count(0)
    assert all(url.startswith(("file:", "data:", "blob:")) for url in visits.asked if "attention.html" in url)


@pytest.mark.parametrize(("button", "begins"), [("SVG", b"<svg "), ("CSV", b"query,"), ("PNG", b"\x89PNG")])
def test_a_picture_is_saved_in_the_page(visits: Visits, tmp_path: Path, button: str, begins: bytes) -> None:
    page = visits.open("/attention", prompt=TEXT, pin="1.0")
    expect(heading_of(page, 1, 0)).to_be_visible()
    with page.expect_download() as coming:
        page.get_by_role("button", name=button).click()
    assert coming.value.suggested_filename == f"head-1-0.{button.lower()}"
    coming.value.save_as(tmp_path / "file")
    assert (tmp_path / "file").read_bytes().startswith(begins)


def test_copy_as_python_makes_the_same_picture(visits: Visits) -> None:
    context = visits.context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(visits.url("/attention", prompt=TEXT, pin="1.0", ablate="0.1"))
    expect(page.get_by_role("table", name="before and after the ablation")).to_be_visible()
    shown = (
        page.get_by_role("table", name="before and after the ablation")
        .get_by_role("rowheader")
        .first.inner_text()
    )
    page.get_by_role("button", name="Copy as Python").click()
    expect(page.get_by_text("Python copied.")).to_be_visible()
    code = page.evaluate("() => navigator.clipboard.readText()")
    made: list[Any] = []
    show: Callable[..., Any] = lw.show
    names: dict[str, Any] = {}
    exec(code.replace("show(\n", "made = show(\n"), names)
    made.append(names["made"])
    payload = made[0].payload
    assert show is names["show"]
    assert [str(head) for head in payload.ablate] == ["0.1"]
    assert payload.answer[0].token.text == shown
    assert made[0].state["pin"] == "1.0"
