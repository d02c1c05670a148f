"""The notebook host: `show("attention", "The cat sat on the")` in Jupyter, marimo or a terminal."""

from __future__ import annotations

from .show import show

__all__ = ["show"]
