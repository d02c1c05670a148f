"""`llm-workings playground` as a user meets it: what it prints, writes and refuses."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from llm_workings.cli import main
from llm_workings.data.dataset import dataset
from llm_workings.playground.config import Config
from llm_workings.playground.run import Run
from llm_workings.playground.save import load_run
from llm_workings.views import bundle

Cli = Callable[..., tuple[int, str, str]]
TABLE = "height,weight,kind\n" + "".join(f"{i},{i * i % 7},{'ab'[i % 2]}\n" for i in range(20))


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Cli]:
    """Runs `llm-workings playground` with these arguments in an empty folder; status, output, errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["llm-workings", "playground", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


# ---- training ---------------------------------------------------------------------------------------


def test_a_network_learns_and_the_summary_says_how_well(cli: Cli) -> None:
    options = "--layers 2,5,1 --data xor -n 80 --noise 0.1 --test 0.25 --data-seed 4 --seed 2 --steps 300"
    status, out, err = cli(*options.split(), "--lr", "0.5", "--batch-size", "8", "--l2", "0.001")
    assert (status, err) == (0, "")
    run = Run(
        Config.of(layers=[2, 5, 1], seed=2, learning_rate=0.5, batch_size=8, l2=0.001),
        dataset("xor", n=80, noise=0.1, test=0.25, seed=4),
    )
    run.step(300)
    found = run.measure()
    lines = out.splitlines()
    assert lines[0] == (
        "2-5-1 (tanh, sigmoid), 21 parameters, learns xor (80 samples, 20 held back) with sgd at 0.5, "
        "binary_cross_entropy"
    )
    assert re.match(r"  step      300 \(300 made in \d+\.\d\d s, [\d,]+ steps a second\)", lines[1])
    assert lines[2] == f"  loss      {found['train']:.6g} (test {found['test']:.6g})"
    assert lines[3] == f"  accuracy  {found['train_accuracy']:.1%} (test {found['test_accuracy']:.1%})"
    assert lines[4] == f"  penalties l2 {found['l2']:.4g}"


def test_what_is_left_out_of_the_network_fits_the_data(cli: Cli) -> None:
    assert cli("--steps", "3")[1].startswith("2-4-1 (tanh, sigmoid), 17 parameters, learns xor_points")
    out = cli("--data", "blobs", "--classes", "5", "--steps", "3")[1]
    assert out.startswith("2-4-5 (tanh, softmax)")
    assert "cross_entropy" in out
    assert cli("--data", "curve", "--steps", "3")[1].startswith("1-4-1 (tanh, linear)")
    assert cli("--data", "xor", "--features", "x,y,x*y", "--steps", "1")[1].startswith("3-4-1")
    assert cli("--layers", "2-1", "--steps", "1")[1].startswith("2-1 (sigmoid), 3 parameters")
    relu = cli("--layers", "2,3,1", "--activations", "relu,linear", "--loss", "mse", "--steps", "1")[1]
    assert relu.startswith("2-3-1 (relu, linear)")


def test_a_table_of_ones_own_is_learned(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(TABLE, "utf-8")
    status, out, _ = cli("--csv", "people.csv", "--target", "kind", "--steps", "20")
    assert status == 0
    assert "learns csv (20 samples)" in out
    assert "accuracy" in out


def test_a_solved_problem_is_said(cli: Cli) -> None:
    assert "  solved    All training points are classified right." in cli("--steps", "3000")[1]


def test_numbers_that_run_away_stop_it_with_the_reason_and_a_status(cli: Cli) -> None:
    arguments = "--loss mse --activations relu,linear --lr 1e6 --steps 500"
    status, out, _ = cli(*arguments.split())
    assert status == 1
    assert re.search(r"step      \d+ \(\d+ made", out)
    assert re.search(r"diverged  The update after step \d+ gives numbers that are not finite", out)
    assert "learning rate of 0.1" in out


def test_the_loss_goes_by_on_a_terminal_and_control_c_ends_it_whole(tmp_path: Path) -> None:
    """In a terminal of its own; what is saved is what as many steps give."""
    file = tmp_path / "run.safetensors"
    command = [
        sys.executable,
        "-m",
        "llm_workings",
        "playground",
        "--steps",
        "100000000",
        "--save",
        str(file),
    ]
    leader, follower = pty.openpty()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=follower, text=True) as child:
        os.close(follower)
        seen = b""
        deadline = time.monotonic() + 60
        while seen.count(b"steps/s") < 2:
            assert time.monotonic() < deadline
            seen += os.read(leader, 4096)
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=60)
    os.close(leader)
    assert child.returncode == 130
    assert re.search(rb"step [\d,]+ \(0%\)  loss 0\.\d{6}  accuracy \d+\.\d%  [\d,]+ steps/s", seen)
    assert "steps a second" in out
    run, _ = load_run(file)
    assert run.step_now >= 5
    again = Run(Config(), dataset("xor_points"))
    again.step(run.step_now)
    np.testing.assert_array_equal(run.state.parameters, again.state.parameters)


# ---- files ------------------------------------------------------------------------------------------


def test_saved_and_loaded_goes_on_as_if_nothing_had_been(cli: Cli, tmp_path: Path) -> None:
    status, out, _ = cli("--data", "moons", "--steps", "40", "--save", "a.run")
    assert status == 0
    assert re.search(r"^a\.run \(\d+ kB\)$", out, re.MULTILINE)
    status, out, _ = cli("--load", "a.run", "--steps", "25", "--save", "b.run")
    assert out.startswith("a.run: branch 0 of 1, at step 40\n")
    assert "  step      65 (25 made" in out
    whole = Run(Config.of(), dataset("moons"))
    whole.step(65)
    run, spec = load_run(tmp_path / "b.run")
    np.testing.assert_array_equal(run.state.parameters, whole.state.parameters)
    assert spec["name"] == "moons"
    cli("--load", "b.run", "--steps", "5", "--lr", "0.05", "--save", "c.run")
    forked, _ = load_run(tmp_path / "c.run")
    assert [branch.label for branch in forked.branches.values()] == ["", "learning_rate 0.3 → 0.05"]


def test_parameters_and_a_page_are_written(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "standalone.js").write_text("draw()", "utf-8")
    monkeypatch.setattr(bundle, "BUNDLE", tmp_path)
    status, out, _ = cli("--steps", "30", "--export-json", "p.json", "-o", "xor.html")
    assert status == 0
    given = json.loads((tmp_path / "p.json").read_text("utf-8"))
    run = Run(Config(), dataset("xor_points"))
    run.step(30)
    np.testing.assert_array_equal(given["weights"][0], run.parameters.weights[0])
    page = (tmp_path / "xor.html").read_text("utf-8")
    assert "<title>The network visualizer: 2-4-1 on xor_points</title>" in page
    assert "xor.html (" in out


# ---- bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--layers 2,0,1", "2-0-1 have one of 0 units"),
        ("--layers 2,10000,1", "10,000 units; the limit is 256"),
        ("--layers two", "'two' are no layers"),
        ("--layers 3,4,1", "reads 3 inputs; xor_points gives 2"),
        ("--data spirl", "Did you mean 'spiral'"),
        ("--optimizer adm", "Did you mean 'adam'"),
        ("--loss binary_cross_entropy --activations tanh,softmax", "You may have meant"),
        ("--noise 0.5", "noise"),
        ("--steps -1", "-1 steps cannot be made"),
        ("--csv none.csv", "'none.csv' is not there"),
        ("--csv broken.csv", "ine 3"),
        ("--csv latin.csv", "not UTF-8"),
        ("--load none.run", "'none.run' is not there"),
        ("--load broken.csv", "no saved run"),
        ("--load short.run", "cut short"),
        ("--load whole.run --data moons", "brings its own data; name cannot be given"),
        ("--load whole.run --layers 2,3,1", "belongs to the beginning"),
        ("--save nowhere/a.run", "no folder nowhere"),
        ("--output nowhere/a.html", "no folder nowhere"),
    ],
)
def test_what_cannot_be_is_said_in_two_sentences(cli: Cli, tmp_path: Path, arguments: str, said: str) -> None:
    (tmp_path / "broken.csv").write_text("a,b\n1,2\n3\n", "utf-8")
    (tmp_path / "latin.csv").write_bytes("größe,b\n1,2\n".encode("latin-1"))
    if "run" in arguments:
        cli("--steps", "5", "--save", "whole.run")
        data = (tmp_path / "whole.run").read_bytes()
        (tmp_path / "short.run").write_bytes(data[: len(data) // 2])
    status, _, err = cli(*arguments.split(), *(() if "--steps" in arguments else ("--steps", "2")))
    assert status == 1
    assert said in err
    assert "Traceback" not in err
