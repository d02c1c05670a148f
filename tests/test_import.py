"""Importing the package is free: nothing heavy until a name is taken from it."""

from __future__ import annotations

import subprocess
import sys

import llm_workings


def loaded_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_importing_the_package_imports_no_torch() -> None:
    loaded = loaded_after("import llm_workings\ndir(llm_workings)\nllm_workings.__version__")
    heavy = {"torch", "numpy", "transformers", "pydantic", "fastapi", "tokenizers", "huggingface_hub"}
    assert not heavy & loaded


def test_naming_an_edit_imports_no_torch() -> None:
    assert "torch" not in loaded_after("from llm_workings import Edit, Where, Zero, Site, ablate_head")


def test_every_public_name_is_there() -> None:
    assert set(llm_workings.__all__) < set(dir(llm_workings))
    for name in llm_workings.__all__:
        assert getattr(llm_workings, name).__name__ == name
    assert llm_workings.__version__.count(".") >= 2
    assert not hasattr(llm_workings, "nonsense")
