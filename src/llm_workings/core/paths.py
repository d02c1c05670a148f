"""Where things are kept between runs.

`LLM_WORKINGS_HOME` names one folder for everything; otherwise the XDG folders are used (or what
stands for them on macOS and Windows). No folder is made until something is written into it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HOME = "LLM_WORKINGS_HOME"
NAME = "llm-workings"


def data_folder() -> Path:
    """What the user made and would miss: the run store."""
    return _folder("data", "XDG_DATA_HOME", ".local/share", "Library/Application Support")


def cache_folder() -> Path:
    """What can be fetched or computed again: downloaded weights."""
    return _folder("cache", "XDG_CACHE_HOME", ".cache", "Library/Caches")


def _folder(part: str, variable: str, default: str, on_mac: str) -> Path:
    if home := os.environ.get(HOME):
        return Path(home).expanduser().absolute() / part
    # The XDG specification: a relative path in these variables is invalid and must be ignored.
    xdg = os.environ.get(variable, "")
    if os.path.isabs(xdg):
        return Path(xdg) / NAME
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        base = Path(local) if local else Path.home() / "AppData" / "Local"
        return base / NAME / part
    if sys.platform == "darwin":
        return Path.home() / on_mac / NAME
    return Path.home() / default / NAME
