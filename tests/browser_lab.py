"""A real lab in a process of its own and real visits to it; what the tests of the page stand on.

A visit is a fresh browser context. Everything that its pages ask for and complain about is recorded,
and judged when the visit ends: nothing outside 127.0.0.1, no console error, no uncaught exception.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page

from llm_workings.views.bundle import BUNDLE

WIDE, PHONE = (1440, 900), (390, 844)
AXE = Path(__file__).parent.parent / "web" / "node_modules" / "axe-core" / "axe.min.js"
RUN_AXE = """async () => {
    const { violations, passes } = await axe.run({ resultTypes: ["violations"] });
    const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
    const told = ({ id, nodes }) => [id, nodes.slice(0, 3).map(({ html }) => html.slice(0, 120))];
    return { serious: serious.map(told), passed: passes.length };
}"""
OF_ITSELF = ("data", "blob", "file")  # schemes that reach no network
LEFT, TOP = 26, 20  # the atlas's margins, where its layers and heads are numbered


@contextmanager
def running_lab(home: Path, model: str) -> Iterator[str]:
    """`llm-workings lab` as a user starts it, on a free port; its address, with the slash at the end."""
    if not (BUNDLE / "lab" / "index.html").is_file():
        if os.environ.get("CI"):
            raise FileNotFoundError(f"the web bundle is not built: there is no {BUNDLE / 'lab'}")
        pytest.skip("the web bundle is not built: run `make bundle`")
    command = [sys.executable, "-m", "llm_workings", "lab", "--no-open", "--port", "0", "--model", model]
    env = {**os.environ, "XDG_DATA_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        assert said.startswith("The lab is open at http://127.0.0.1:"), f"the lab said {said!r}"
        yield said.split()[-1]
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


class Visits:
    """A person's visits to the lab at `address` in one test."""

    def __init__(self, browser: Browser, address: str):
        self.browser, self.address = browser, address
        self.asked: list[str] = []
        self.problems: list[str] = []
        self.expected: list[str] = []  # what a test that provokes an error may find in the console
        self.contexts: list[BrowserContext] = []

    def context(self, size: tuple[int, int] = WIDE, *, dark: bool = False, **more: Any) -> BrowserContext:
        context = self.browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            **more,
        )
        context.set_default_timeout(15_000)
        context.on("request", lambda request: self.asked.append(request.url))
        context.on("console", self._heard)
        context.on("weberror", lambda error: self.problems.append(f"uncaught: {error.error}"))
        context.on("page", self._watch)
        self.contexts.append(context)
        return context

    def open(
        self, path: str = "/", size: tuple[int, int] = WIDE, *, dark: bool = False, **state: str
    ) -> Page:
        """A page of the lab, in a fresh context, with this state in its address."""
        page = self.context(size, dark=dark).new_page()
        page.goto(self.url(path, **state))
        return page

    def url(self, path: str, **state: str) -> str:
        return f"{self.address.rstrip('/')}{path}" + (f"?{urlencode(state)}" if state else "")

    def _watch(self, page: Page) -> None:
        page.on("websocket", lambda socket: self.asked.append(socket.url))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(words in message.text for words in self.expected):
            self.problems.append(f"console: {message.text} ({message.location})")

    def end(self) -> None:
        for context in self.contexts:
            context.close()
        where = [urlsplit(url) for url in self.asked]
        foreign = [
            url.geturl() for url in where if url.scheme not in OF_ITSELF and url.hostname != "127.0.0.1"
        ]
        assert foreign == [], "the page asked for something outside 127.0.0.1"
        assert self.problems == []


# ---- any page ------------------------------------------------------------------------------------


def state_of(page: Page) -> dict[str, str]:
    """What the page's address carries, as the page itself has it: `page.url` is told of a change later."""
    query = page.evaluate("() => location.search").removeprefix("?")
    return {key: values[0] for key, values in parse_qs(query).items()}


def inspector_of(page: Page) -> Locator:
    return page.get_by_role("complementary", name="Inspector")


def axe_finds_nothing(page: Page, also: Callable[[], None] = lambda: None) -> None:
    """No serious violation, no sideways scrolling: wide and on a phone, light and dark; `also` each time."""
    if not AXE.is_file():
        if os.environ.get("CI"):
            raise FileNotFoundError(AXE)
        pytest.skip("axe-core is not installed: run `npm ci` in web/")
    page.evaluate(AXE.read_text("utf-8"))
    for size in (PHONE, WIDE):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.evaluate(
                "() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
            )
            wide = page.evaluate("() => document.documentElement.scrollWidth")
            assert wide <= size[0], f"the page scrolls sideways at {size[0]} px"
            also()
            found = page.evaluate(RUN_AXE)
            assert found["serious"] == [], f"{size[0]} px, {scheme}"
            assert found["passed"] > 10


def saved(page: Page, visits: Visits, folder: Path, name: str, columns: str | None = None) -> Page:
    """The page's files: drawings, and a table where its `columns` are given, as they should begin; and the
    HTML file called `name`, opened offline."""
    files = [("SVG", b"<svg "), ("PNG", b"\x89PNG")]
    for button, begins in [*files, *([] if columns is None else [("CSV", columns.encode())])]:
        with page.expect_download() as coming:
            page.get_by_role("button", name=button).click()
        coming.value.save_as(folder / button)
        assert (folder / button).read_bytes().startswith(begins)
    with page.expect_download() as coming:
        page.get_by_role("button", name="HTML").click()
    file = folder / coming.value.suggested_filename
    assert file.name == name
    coming.value.save_as(file)
    disk = visits.context(offline=True).new_page()
    disk.goto(file.as_uri())
    return disk


# ---- the attention page, as a person finds things in it -------------------------------------------


def atlas_of(page: Page) -> Locator:
    return page.get_by_role("application", name="Atlas of")


def point_of(atlas: Locator, layer: int, head: int, layers: int, heads: int) -> dict[str, float]:
    """The middle of a head's square in an atlas with layers across and heads down."""
    box = atlas.locator("canvas").bounding_box()
    assert box is not None
    wide, high = (box["width"] - LEFT) / layers, (box["height"] - TOP) / heads
    return {"x": LEFT + (layer + 0.45) * wide, "y": TOP + (head + 0.45) * high}


def colours(grid: Locator) -> int:
    """How many colours a drawn grid has; a blank canvas has one."""
    return grid.locator("canvas").evaluate(
        """canvas => {
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return new Set(new Uint32Array(data.buffer)).size;
        }"""
    )


def cells_of(table: Locator, name: str) -> list[str]:
    """The texts of the cells of the row that begins with `name`."""
    row = table.get_by_role("row").filter(has=table.page.get_by_role("rowheader", name=name, exact=True))
    return row.locator("th, td").all_inner_texts()


def three(value: float) -> str:
    """A number as the page shows it: three significant digits."""
    size = abs(value)
    if value == 0:
        return "0"
    if size < 1e-4 or size >= 1e5:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa}×10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
    digits = f"{value:#.3g}".rstrip(".")
    return digits.replace("-", "−")


def signed(value: float) -> str:
    """The same with a sign, as changes and shares are shown."""
    return f"+{three(value)}" if value > 0 else three(value)
