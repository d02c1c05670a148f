"""The page's own files: what the web build left in `llm_workings/_bundle/lab`."""

from __future__ import annotations

from pathlib import Path

from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from llm_workings.core.errors import UnknownName

BUNDLE = Path(__file__).parent.parent / "_bundle" / "lab"
PAGES = ("", "models", "runs")  # and one for each view

NOT_BUILT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>llm-workings: the page is not built</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 38rem; margin: 12vh auto; padding: 0 1rem;
         color-scheme: light dark }
  code { font-family: ui-monospace, monospace }
</style>
<h1>The lab runs, but its page is not built.</h1>
<p>In the checkout, run <code>make lab</code>. It builds the page (with a Node that it brings along if
there is none) and opens the lab. With Node 20 or newer at hand, <code>npm ci && npm run build</code>
in the folder <code>web</code> does the same; then reload this page.</p>
<p>The library, the command line and the routes under <code>/api/</code> work without it.</p>
</html>
"""


class Assets(StaticFiles):
    """Files whose names hold a hash of their content, so that they never change."""

    async def check_config(self) -> None:
        """A folder that is not there has no files: the page may be built while the lab runs."""

    def file_response(self, *args: object, **named: object) -> Response:
        response = super().file_response(*args, **named)  # type: ignore[arg-type]
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def page(bundle: Path, status: int = 200) -> Response:
    """The one page; which picture it shows is its own affair. Asked for afresh each time."""
    index = bundle / "index.html"
    if not index.is_file():
        return HTMLResponse(NOT_BUILT, status_code=503)
    return FileResponse(index, status_code=status, headers={"cache-control": "no-cache"})


def loose_file(bundle: Path, name: str) -> Response:
    """A file beside the page, such as its icon; only a name that the folder lists."""
    if bundle.is_dir():
        for file in bundle.iterdir():
            if file.name == name and file.is_file():
                return FileResponse(file, headers={"cache-control": "no-cache"})
    raise UnknownName(f"There is no page /{name}.", hint="Start from /.", given={"path": name})
