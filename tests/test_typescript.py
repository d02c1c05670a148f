"""The generated TypeScript: in step with the Python, and what it says of each kind of field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llm_workings.views import VIEWS, typescript


def test_the_generated_file_is_not_stale() -> None:
    assert typescript.main(["--check"]) == 0


def test_a_stale_file_fails_the_check_and_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "generated" / "payloads.ts"
    monkeypatch.setattr(typescript, "TARGET", target)
    assert typescript.main(["--check"]) == 1
    assert not target.exists()
    assert typescript.main([]) == 0
    assert typescript.main(["--check"]) == 0
    target.write_text(target.read_text("utf-8").replace("query: number", "query: string"), "utf-8")
    assert typescript.main(["--check"]) == 1
    assert "stale" in capsys.readouterr().err
    assert "query: string" in target.read_text("utf-8")


def test_every_type_that_is_named_is_declared_once() -> None:
    text = typescript.generate()
    declared = re.findall(r"^export interface (\w+)", text, re.MULTILINE)
    assert len(declared) == len(set(declared))
    named = set(re.findall(r"^  \w+\??: \(?([A-Z]\w+)", text, re.MULTILINE))
    assert named - {"Data", "Record"} <= {*declared}  # the one type parameter, and TypeScript's own
    for view in VIEWS:
        assert view.payload.__name__ in declared
        assert view.request.__name__ in declared


def test_fields_become_what_the_wire_brings() -> None:
    text = typescript.generate()
    assert "  pattern: NdArray<Float32Array>;" in text  # float16, widened by the reader
    assert "  thumbnails: NdArray<Uint8Array>;" in text
    assert "  answer_position: number | null;" in text
    assert '  ablation: "zero" | "mean";' in text
    assert '  ablation?: "zero" | "mean";' in text  # of the request, which has a default
    assert "  prompt: string;" in text
    assert "  ablate?: HeadRef[];" in text
    assert "`[layer, head, row, column]` uint8" in text


def test_a_type_that_typescript_has_no_word_for_is_an_error() -> None:
    with pytest.raises(TypeError, match="bytes"):
        typescript._type(bytes, {})
