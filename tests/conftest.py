"""What every test runs under: one torch thread a worker, its own data folder, the real models' cache."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before torch is imported by any test: two workers share the machine's cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

IN_CI = bool(os.environ.get("CI"))
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the user's run store. The cache of fetched models stays the user's."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data-home"))


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    """A headless Chromium of Playwright's; skipped where there is none, except in CI."""
    from playwright.sync_api import Error, sync_playwright

    executable = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        except Error as error:
            if IN_CI:
                raise
            pytest.skip(f"there is no Chromium here: {error}")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def toy_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a lab on the 2-layer toy, in a process and with a run store of its own."""
    from browser_lab import running_lab

    with running_lab(tmp_path_factory.mktemp("lab"), "induction-2l") as address:
        yield address


@pytest.fixture
def visits(chromium: object, toy_lab: str) -> Iterator[object]:
    """Visits to that lab. At the end they must have asked nothing of the network and met no error."""
    from browser_lab import Visits

    made = Visits(chromium, toy_lab)  # type: ignore[arg-type]
    yield made
    made.end()
