"""The standalone HTML file: what is in it, that nothing can escape from it, and that it opens."""

from __future__ import annotations

import base64
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import causal, small_lab

from llm_workings.core.errors import BadInput, NotReady, UnknownName
from llm_workings.core.wire import unpack
from llm_workings.export.html import write
from llm_workings.export.record import export_view
from llm_workings.views import REGISTRY
from llm_workings.views.bundle import BUNDLE, script
from llm_workings.views.lab import Lab

TEXT = "the cat sat on the cat and the"
ASKED = {"prompt": TEXT, "model": "causal"}


@pytest.fixture
def lab() -> Lab:
    return small_lab()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A front end of one line, so that what Python writes is tested without the web build."""
    (tmp_path / "standalone.js").write_text('document.title = "opened: 1 < 2";', "utf-8")
    return tmp_path


class Page(HTMLParser):
    """Reads a page as a browser's parser would: scripts with their attributes and whole text."""

    def __init__(self, text: str):
        super().__init__()
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.policy, self.title, self._in = "", "", ""
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self._in = tag
        if tag == "script":
            self.scripts.append((found, ""))
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"] or ""
        self.links += [value for name, value in attributes if name in ("src", "href") and value]

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif self._in == "title":
            self.title += data

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(
            next(text for found, text in self.scripts if found.get("id") == "llm-workings-data")
        )


def requests_of(page: Page, view: str) -> list[dict[str, Any]]:
    return [answer["request"] for answer in page.data["answers"] if answer["view"] == view]


def test_the_file_holds_the_picture_and_every_head_of_a_small_model(lab: Lab, bundle: Path) -> None:
    page = Page(export_view(lab, "attention", ASKED, {"sort": "induction"}, bundle=bundle))
    data = page.data
    assert data["view"] == data["answers"][0]["view"] == "attention"
    assert data["state"] == {"sort": "induction"}
    assert data["about"] == REGISTRY["attention"].about
    assert re.fullmatch(r"llm-workings \d+\.\d+.*", data["made_with"])
    heads = requests_of(page, "head")
    assert {(r["layer"], r["head"]) for r in heads} == {(l, h) for l in range(3) for h in range(4)}
    assert len(heads) == 12
    wanted = REGISTRY["head"].run(lab, {**ASKED, "layer": 1, "head": 2})
    answer = next(a for a in data["answers"] if a["request"].get("layer") == 1 and a["request"]["head"] == 2)
    found = unpack(base64.b64decode(answer["base64"]), REGISTRY["head"].payload)
    np.testing.assert_array_equal(found.pattern, wanted.pattern)  # type: ignore[attr-defined]
    assert any("ablated" in sentence for sentence in data["left_out"])


def test_a_pinned_head_brings_its_rows_and_its_ablation(lab: Lab, bundle: Path) -> None:
    page = Page(export_view(lab, "attention", ASKED, {"pin": "1.2"}, bundle=bundle))
    rows = requests_of(page, "head_row")
    assert [row["query"] for row in rows] == list(range(8))
    assert {(row["layer"], row["head"]) for row in rows} == {(1, 2)}
    ablations = [(r["ablate"], r["ablation"]) for r in requests_of(page, "attention")]
    off = [{"layer": 1, "head": 2}]
    assert ablations == [([], "zero"), (off, "zero"), (off, "mean")]


def test_an_ablation_in_the_state_is_recorded_beside_the_unablated_picture(lab: Lab, bundle: Path) -> None:
    state = {"pin": "1.2", "ablate": "0.1,9.9", "ablation": "mean"}  # 9.9 is no head of this model
    page = Page(export_view(lab, "attention", ASKED, state, bundle=bundle))
    off, both = [{"layer": 0, "head": 1}], [{"layer": 0, "head": 1}, {"layer": 1, "head": 2}]
    recorded = [(r["ablate"], r["ablation"]) for r in requests_of(page, "attention")]
    assert recorded == [([], "zero"), (off, "mean"), (both, "zero"), (both, "mean")]
    under = [r for r in requests_of(page, "head") if r["ablate"] == off and r["ablation"] == "mean"]
    assert len([r for r in under if not r["with_scores"]]) == 12
    assert [(r["layer"], r["head"]) for r in under if r["with_scores"]] == [(1, 2)]  # the pinned one


def test_heads_past_the_bound_are_left_out_and_the_file_says_so(lab: Lab, bundle: Path) -> None:
    page = Page(export_view(lab, "attention", ASKED, {"pin": "2.3"}, bound=9_000, bundle=bundle))
    heads = {(r["layer"], r["head"]) for r in requests_of(page, "head")}
    assert (2, 3) in heads
    atlas = REGISTRY["attention"].run(lab, ASKED)
    layer, head = np.unravel_index(atlas.scores.induction.argmax(), (3, 4))  # type: ignore[attr-defined]
    assert (layer, head) in heads
    assert len(heads) < 12
    assert f"{12 - len(heads)} of 12 heads in detail" in page.data["left_out"][0]


def test_long_texts_leave_the_rows_out(bundle: Path) -> None:
    lab = small_lab()
    lab.add("long", causal(n_ctx=128))
    asked = {"prompt": " ".join(["the cat sat"] * 30), "model": "long", "layer": 0, "head": 0}
    page = Page(export_view(lab, "head", asked, bundle=bundle))
    assert requests_of(page, "head_row") == []
    assert "exact rows" in page.data["left_out"][0]


def test_the_lens_brings_the_token_that_is_followed(lab: Lab, bundle: Path) -> None:
    page = Page(export_view(lab, "logit_lens", ASKED, {"chosen": "dog"}, bundle=bundle))
    assert [r["chosen"] for r in requests_of(page, "logit_lens")] == [None, "dog"]
    assert len(page.data["left_out"]) == 1


def test_nothing_in_the_text_can_end_the_script_or_reach_the_network(bundle: Path) -> None:
    lab = small_lab()
    evil = "</script><script>alert(1)</script><!--<script>"
    model = causal()
    original = model.tokenizer.piece
    model.tokenizer.piece = lambda index: evil if index == 0 else original(index)  # type: ignore[method-assign]
    lab.add("evil", model)
    page = Page(
        export_view(lab, "attention", {"prompt": TEXT, "model": "evil"}, {"pin": evil}, bundle=bundle)
    )
    assert len(page.scripts) == 2
    assert page.data["state"]["pin"] == evil
    assert page.links == []
    assert "default-src 'none'" in page.policy
    assert "connect-src" not in page.policy  # so it falls back to 'none'
    assert "'unsafe-inline'" not in page.policy.split("script-src")[1].split(";")[0]


def test_the_title_is_the_view_and_the_text_escaped(lab: Lab, bundle: Path) -> None:
    text = export_view(lab, "attention", ASKED, bundle=bundle)
    assert Page(text).title == f"Attention heads: {TEXT}"
    assert "<noscript><p>causal: 8 tokens" in text


def test_a_bundle_with_a_script_tag_in_it_is_refused(lab: Lab, bundle: Path) -> None:
    (bundle / "standalone.js").write_text("x = '</SCRIPT>'", "utf-8")
    with pytest.raises(ValueError, match="script tag"):
        export_view(lab, "logit_lens", ASKED, bundle=bundle)


def test_an_unbuilt_front_end_is_said(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(NotReady, match=r"no standalone\.js.*make bundle"):
        export_view(lab, "logit_lens", ASKED, bundle=tmp_path)


def test_an_unknown_view_is_said(lab: Lab) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'attention'"):
        export_view(lab, "atention", ASKED)


def test_writing_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "picture.html"
    assert write(target, "first ∅") == target
    assert target.read_text("utf-8") == "first ∅"
    plain = tmp_path / "plain.html"
    plain.write_text("")
    assert target.stat().st_mode == plain.stat().st_mode  # as readable as any file written here
    plain.unlink()

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write(target, "second")
    assert target.read_text("utf-8") == "first ∅"
    assert [path.name for path in tmp_path.iterdir()] == ["picture.html"]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no folder"):
        write(tmp_path / "missing" / "x.html", "")
    with pytest.raises(BadInput, match="is a folder"):
        write(tmp_path, "")


@pytest.mark.browser
def test_the_file_opens_from_disk_and_answers_clicks(lab: Lab, tmp_path: Path, chromium: Any) -> None:
    if not (BUNDLE / "standalone.js").is_file():
        pytest.skip("the web bundle is not built: run `make bundle`")
    assert script("standalone.js")
    path = write(tmp_path / "picture.html", export_view(lab, "attention", ASKED, {"pin": "1.2"}))
    context = chromium.new_context()
    page = context.new_page()
    problems: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: message.type == "error" and problems.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.get_by_role("heading", name="Head 1.2").first.wait_for(timeout=10_000)
    assert problems == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert page.title() == f"Attention heads: {TEXT}"
    context.close()
