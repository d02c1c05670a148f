"""Which models a page may name: those of the catalogue, hub ids, and folders that were allowed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from llm_workings.core.errors import BadInput, Refused
from llm_workings.models.hub import HubName


class AllowedModels:
    """Checks a model's name before it is used to open anything.

    Args:
        catalogue: the names of models that are known here.
        folders: folders inside which a model may be named by its path.
    """

    def __init__(self, catalogue: Iterable[str], folders: Iterable[Path] = ()):
        self._catalogue = frozenset(catalogue)
        self.folders = tuple(folder.resolve() for folder in folders)

    def check(self, name: str) -> str:
        """The name to load by: `name` itself, or the full path if it is that of an allowed folder.

        Raises:
            BadInput: it is no model's name at all.
            Refused: it is a path outside the allowed folders.
        """
        if name in self._catalogue:
            return name
        if "\0" in name or not name.strip() or len(name) > 4096:
            raise BadInput(f"{name[:80]!r} is not a model's name.", hint="See /models for those at hand.")
        if _looks_like_a_path(name):
            return self._inside(name)
        HubName.parse(name)
        return name

    def found(self) -> list[Path]:
        """The models in the allowed folders: each folder itself, or what stands directly in it."""
        here = []
        for folder in self.folders:
            candidates = [folder, *sorted(folder.iterdir())] if folder.is_dir() else [folder]
            here += [path for path in candidates if _is_model(path)]
        return here

    def _inside(self, name: str) -> str:
        path = Path(name)
        resolved = path.resolve()
        if path.is_absolute() and any(resolved.is_relative_to(folder) for folder in self.folders):
            return str(resolved)
        raise Refused(
            f"The path {name[:200]!r} is not in a folder that this lab may read models from.",
            hint="Start the lab with --models and that folder, and name the model by its full path.",
            given={"model": name[:200]},
        )


def _looks_like_a_path(name: str) -> bool:
    """Whether anything could take this for a place on the disk rather than a name."""
    if name.startswith(("/", "~", ".")) or "\\" in name or ":" in name or name.lower().endswith(".gguf"):
        return True
    return any(part in ("", ".", "..") for part in name.split("/")) or Path(name).exists()


def _is_model(path: Path) -> bool:
    if path.is_dir():
        return (path / "config.json").is_file()
    return path.suffix.lower() == ".gguf" and path.is_file()
