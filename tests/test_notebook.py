"""The notebook host: in a real Jupyter kernel, in marimo, and in a plain terminal."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import causal, small_lab

from llm_workings.core.errors import BadInput, NotReady, UnknownName
from llm_workings.core.wire import unpack
from llm_workings.notebook import show
from llm_workings.notebook.progress import line_of_progress
from llm_workings.views import REGISTRY, bundle
from llm_workings.views.bundle import BUNDLE
from llm_workings.views.head import Head

TESTS = Path(__file__).parent
TEXT = "the cat sat on the cat and the"
WIDGET = "application/vnd.jupyter.widget-view+json"
built = pytest.mark.skipif(
    not (BUNDLE / "widget.js").is_file(), reason="the web bundle is not built: run `make bundle`"
)


# --- Jupyter -------------------------------------------------------------------------------------
class Kernel:
    """A real kernel that has shown a widget; the front end is this process."""

    def __init__(self, client: Any, model_id: str, output: Any, state: dict[str, Any]):
        self.client, self.model_id, self.output, self.state = client, model_id, output, state

    def show(self, view: str, request: dict[str, Any], state: dict[str, str]) -> Kernel:
        """Another cell, that shows a view."""
        import nbformat

        code = f"""show({view!r}, {TEXT!r}, model="causal", lab=lab, state={state!r}, **{request!r})"""
        cell = self.client.execute_cell(nbformat.v4.new_code_cell(code), 0, store_history=False)
        return Kernel.of(self.client, cell)

    @classmethod
    def of(cls, client: Any, cell: Any) -> Kernel:
        """The widget that a cell has put out, with its state."""
        output = next(o for o in cell.outputs if WIDGET in o.get("data", {}))
        model_id = output["data"][WIDGET]["model_id"]
        buffers = {b["path"][0]: b["data"] for b in client.widget_buffers[model_id].values()}
        return cls(client, model_id, output, {**client.widget_state[model_id], **buffers})

    def ask(self, content: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """Send what the page's widget sends, and wait for the kernel's answer."""
        from jupyter_core.utils import run_sync

        client = self.client.kc
        data = {"method": "custom", "content": content}
        client.shell_channel.send(client.session.msg("comm_msg", {"comm_id": self.model_id, "data": data}))
        while True:
            message = run_sync(client.get_iopub_msg)(timeout=60)
            if message["msg_type"] == "comm_msg" and message["content"]["data"].get("method") == "custom":
                return message["content"]["data"]["content"], [bytes(b) for b in message["buffers"]]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    import nbformat
    from nbclient import NotebookClient

    folder = tmp_path_factory.mktemp("notebook")
    code = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from small_models import small_lab
from llm_workings.notebook import show
lab = small_lab()
show("attention", {TEXT!r}, model="causal", lab=lab, state={{"pin": "1.2"}})
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder))
        patch.setenv("IPYTHONDIR", str(folder))
        client = NotebookClient(notebook, timeout=120, kernel_name="python3")
        with client.setup_kernel():
            yield Kernel.of(client, client.execute_cell(notebook.cells[0], 0))


@built
def test_a_cell_shows_the_widget_with_its_module_and_payload(kernel: Kernel) -> None:
    import base64

    assert kernel.state["_view"] == "attention"
    assert kernel.state["_esm"] == (BUNDLE / "widget.js").read_text("utf-8")
    assert kernel.state["_state"] == {"prompt": TEXT, "model": "causal", "pin": "1.2"}
    assert kernel.state["_about"] == REGISTRY["attention"].about
    payload = unpack(base64.b64decode(kernel.state["_payload"]), REGISTRY["attention"].payload)
    wanted = REGISTRY["attention"].run(small_lab(), {"prompt": TEXT, "model": "causal"})
    np.testing.assert_array_equal(payload.thumbnails, wanted.thumbnails)  # type: ignore[attr-defined]
    assert kernel.output["data"]["text/plain"].startswith("causal: 8 tokens")


@built
def test_the_kernel_answers_the_front_end_with_wire_bytes(kernel: Kernel) -> None:
    ablate = [{"layer": 0, "head": 0}]
    request = {"layer": 1, "head": 2, "ablate": ablate, "ablation": "mean"}
    reply, buffers = kernel.ask({"id": "a:1", "view": "head", "request": request})
    assert reply == {"id": "a:1", "ok": True}
    found = unpack(buffers[0], Head)
    wanted = REGISTRY["head"].run(small_lab(), {"prompt": TEXT, "model": "causal", **request})
    np.testing.assert_array_equal(found.pattern, wanted.pattern)  # type: ignore[attr-defined]


@built
def test_the_kernel_answers_a_bad_request_with_the_error(kernel: Kernel) -> None:
    reply, buffers = kernel.ask({"id": "a:2", "view": "head", "request": {"layer": 9, "head": 0}})
    assert (reply["id"], reply["ok"], buffers) == ("a:2", False, [])
    assert "There is no head 9.0" in reply["error"]["message"]
    assert reply["error"]["kind"] == "BadInput"
    reply, _ = kernel.ask({"id": "a:3", "view": "heads", "request": {}})
    assert "Did you mean 'head'" in reply["error"]["hint"]
    reply, _ = kernel.ask({"id": "a:4", "view": "head", "request": "not an object"})
    assert not reply["ok"]
    reply, _ = kernel.ask({"id": "a:5", "view": "logit_lens", "request": {"chosen": None}})
    assert reply == {"id": "a:5", "ok": True}  # and the kernel lives on


SECOND = "the cat sat on the dog and the"
PAIR = {"corrupted": SECOND, "answer": "cat", "wrong": "dog"}
OWN = {"contrast": "own", "firsts": "the cat ran\nthe dog ran", "seconds": "the cat slept\nthe dog slept"}
WORKBENCH: dict[str, tuple[dict[str, Any], dict[str, str], str, dict[str, Any]]] = {
    # view: its request, what is pinned; what a click asks then
    "patching": (PAIR, {"layer": "1", "position": "5"}, "patched_answer", {**PAIR, "layer": 1, "where": 5}),
    "path_patching": (PAIR, {}, "path_patching", {**PAIR, "receivers": "q.2.1"}),
    "ablation": ({}, {"out": "head.1.0"}, "ablated_answer", {"out": ["head.1.0"]}),
    "residual": ({}, {"stop": "mlp.1"}, "residual_edit", {"stop": "mlp.1", "how": "zero"}),
    "direct_attribution": ({}, {}, "direct_attribution", {"by": "head"}),
    "logit_lens": ({}, {}, "logit_lens", {"chosen": "dog"}),
    "mlp": ({}, {"neuron": "1.3"}, "neuron", {"layer": 1, "neuron": 3}),
    "neuron": (
        {"layer": 1, "neuron": 3},
        {"excite": "high"},
        "neuron_prompt",
        {"layer": 1, "neuron": 3, "n": 2, "steps": 2},
    ),
    "steering": ({**OWN, "n": 3}, {}, "steering", {**OWN, "n": 3, "strength": 2.0}),
}


@built
@pytest.mark.parametrize("view", WORKBENCH)
def test_the_workbench_opens_in_a_cell_and_its_next_click_is_answered(kernel: Kernel, view: str) -> None:
    import base64

    request, state, follow, click = WORKBENCH[view]
    shown = kernel.show(view, request, state)
    assert shown.state["_view"] == view
    assert shown.state["_state"].items() >= state.items()
    payload = unpack(base64.b64decode(shown.state["_payload"]), REGISTRY[view].payload)
    assert shown.output["data"]["text/plain"] == payload.reading()  # type: ignore[attr-defined]
    reply, buffers = shown.ask({"id": "a:1", "view": follow, "request": click})
    assert reply == {"id": "a:1", "ok": True}
    found = unpack(buffers[0], REGISTRY[follow].payload)
    whole = {"prompt": TEXT, "model": "causal", **click}
    fields = REGISTRY[follow].request.model_fields
    wanted = REGISTRY[follow].run(small_lab(), {k: v for k, v in whole.items() if k in fields})
    assert found.reading() == wanted.reading()  # type: ignore[attr-defined]


# --- marimo --------------------------------------------------------------------------------------
@built
def test_marimo_shows_the_widget(tmp_path: Path) -> None:
    script = tmp_path / "lab.py"
    script.write_text(
        f"""
import marimo
app = marimo.App()

@app.cell
def _():
    import sys
    sys.path.insert(0, {str(TESTS)!r})
    import marimo as mo
    from small_models import small_lab
    from llm_workings.notebook import show
    widget = mo.ui.anywidget(show("head", {TEXT!r}, model="causal", lab=small_lab(), layer=1, head=2))
    widget
    return (widget,)

@app.cell
def _(widget):
    print("READING", repr(widget.widget))
    return

if __name__ == "__main__":
    app.run()
""",
        "utf-8",
    )
    page = tmp_path / "lab.html"
    marimo = [sys.executable, "-m", "marimo", "export", "html"]
    command = [*marimo, str(script), "-o", str(page), "--no-include-code"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = page.read_text("utf-8")
    assert "\\u003Cmarimo-anywidget" in text  # an output of a cell, as JSON
    assert "READING Head 1.2 of causal on 8 tokens" in done.stdout + done.stderr


# --- a plain terminal ----------------------------------------------------------------------------
@built
def test_in_a_terminal_the_picture_is_words() -> None:
    widget = show("attention", TEXT, "causal", lab=small_lab())
    assert repr(widget).startswith("causal: 8 tokens, 3 layers of 4 heads.")
    assert widget.state == {"prompt": TEXT, "model": "causal"}
    assert widget.payload.tokens_per_cell == 1  # type: ignore[attr-defined]


@built
def test_a_model_that_is_loaded_already_can_be_shown() -> None:
    model = causal("my own")
    widget = show("logit_lens", TEXT, model, lab=small_lab(), chosen="dog")
    assert widget.payload.model.name == "my own"  # type: ignore[attr-defined]
    assert '"dog"' in repr(widget)


def test_what_cannot_be_shown_is_said() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'attention'"):
        show("attentoin", TEXT)
    with pytest.raises(BadInput, match="needs 'layer'"):
        show("head", TEXT, head=1)
    with pytest.raises(BadInput, match="Did you mean 'chosen'"):
        show("logit_lens", TEXT, chosn=" Mary")


def test_an_unbuilt_front_end_is_said_when_a_widget_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "BUNDLE", tmp_path)
    with pytest.raises(NotReady, match=r"no widget\.js.*make bundle"):
        show("attention", TEXT, "causal", lab=small_lab())


def test_progress_is_a_line_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    clock = iter([0.0, 0.1, 1.0, 1.1, 1.5])
    monkeypatch.setattr("llm_workings.notebook.progress.time.monotonic", lambda: next(clock))
    with line_of_progress() as progress:
        for done in (0, 50, 60, 75):
            progress.report("running the model", done, 100)
    said = screen.getvalue().split("\r\x1b[K")
    assert said == ["", "running the model: 50%", "running the model: 75%", ""]
