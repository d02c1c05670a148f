"""CoNLL-U: a real treebank read whole, and every way in which a file can be wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_workings.core.errors import BadFile, BadInput
from llm_workings.data.conllu import Sentence, read_conllu

TREEBANK = Path(__file__).parent.parent.parent / "shared" / "data"


def row(id: object, form: str, head: object = 0, deprel: str = "dep", **columns: str) -> str:
    cells = {"lemma": form, "upos": "X", "xpos": "_", "feats": "_", "deps": "_", "misc": "_", **columns}
    order = ("lemma", "upos", "xpos", "feats")
    return "\t".join([str(id), form, *(cells[name] for name in order), str(head), deprel, cells["deps"],
                      cells["misc"]])  # fmt: skip


def between(id: str, form: str, **columns: str) -> str:
    """A multiword token or an empty node, which has no head."""
    return row(id, form, "_", "_", **{"lemma": "_", "upos": "_", **columns})


def read(*rows: str) -> Sentence:
    (sentence,) = read_conllu("\n".join([*rows, "", ""]))
    return sentence


CATS = [
    "# sent_id = cats-1",
    "# text = The old cats don't sleep.",
    row(1, "The", 3, "det", lemma="the", upos="DET"),
    row(2, "old", 3, "amod", upos="ADJ", feats="Degree=Pos"),
    row(3, "cats", 6, "nsubj", lemma="cat", upos="NOUN", xpos="NNS", feats="Gender=Neut|Number=Plur"),
    between("4-5", "don't"),
    row(4, "do", 6, "aux", upos="AUX"),
    row(5, "n't", 6, "advmod", lemma="not", upos="PART"),
    row(6, "sleep", 0, "root", upos="VERB", misc="Gloss=x|SpaceAfter=No"),
    between("6.1", "tonight", deps="6:obl"),
    row(7, ".", 6, "punct", upos="PUNCT"),
]


# ---- what a sentence is --------------------------------------------------------------------------


def test_a_sentence_and_its_tree() -> None:
    cats = read(*CATS)
    assert [word.form for word in cats.words] == ["The", "old", "cats", "do", "n't", "sleep", "."]
    assert [word.id for word in cats.words] == [1, 2, 3, 4, 5, 6, 7]
    noun = cats.words[2]
    assert (noun.lemma, noun.upos, noun.xpos, noun.head, noun.deprel) == ("cat", "NOUN", "NNS", 6, "nsubj")
    assert noun.feats == {"Gender": "Neut", "Number": "Plur"}
    assert noun.line == 5
    assert cats.words[0].feats == {}
    assert cats.words[0].xpos == ""
    assert cats.words[5].misc == "Gloss=x|SpaceAfter=No"
    assert [cats.depth(i) for i in range(len(cats))] == [2, 2, 1, 1, 1, 0, 1]
    assert (cats.id, cats.line, len(cats)) == ("cats-1", 3, 7)
    assert [(token.first, token.last, token.form) for token in cats.multiword] == [(4, 5, "don't")]
    assert [(node.id, node.form) for node in cats.empty] == [("6.1", "tonight")]


def test_words_written_as_one_have_no_space_between_them() -> None:
    cats = read(*CATS)
    assert [word.space_after for word in cats.words] == [True, True, True, False, True, False, True]
    assert [cats.text[begin:end] for begin, end in cats.spans] == [word.form for word in cats.words]


def test_words_that_do_not_make_up_what_is_written_share_its_place() -> None:
    sentence = read(
        between("1-2", "Du", misc="SpaceAfter=No"), row(1, "De", 3), row(2, "le", 3), row(3, "pain", 0)
    )
    assert sentence.text == "Dupain"
    assert sentence.spans == ((0, 2), (0, 2), (2, 6))


def test_a_text_of_its_own_spaces_is_kept() -> None:
    """A treebank may keep double spaces in the text; a form may have a space inside."""
    sentence = read("# text = 10  000  cats", row(1, "10 000", 2), row(2, "cats", 0))
    assert sentence.text == "10  000  cats"
    assert [sentence.text[begin:end] for begin, end in sentence.spans] == ["10  000", "cats"]


def test_an_underscore_may_be_a_word() -> None:
    sentence = read(row(1, "_", 0, lemma="_"))
    assert (sentence.words[0].form, sentence.words[0].lemma, sentence.text) == ("_", "_", "_")


def test_a_file_with_a_mark_and_other_line_ends_is_the_same(tmp_path: Path) -> None:
    text = "\n".join([*CATS, "", row(1, "Übung", 0), "", ""])
    (tmp_path / "plain.conllu").write_bytes(text.encode())
    windows = b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()
    (tmp_path / "windows.conllu").write_bytes(windows)
    plain = read_conllu(tmp_path / "plain.conllu")
    assert [sentence.text for sentence in plain] == ["The old cats don't sleep.", "Übung"]
    assert read_conllu(str(tmp_path / "windows.conllu")) == plain == read_conllu(text)
    assert read_conllu(text.rstrip("\n")) == plain  # the last blank line is often forgotten


def test_a_word_that_is_not_there_has_no_depth() -> None:
    for index in (-1, 7):
        with pytest.raises(BadInput, match=rf"no word {index} in .The old cats.*from 0 to 6"):
            read(*CATS).depth(index)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_depths_are_those_of_a_tree_grown_by_hand(data: st.DataObject) -> None:
    """A random tree: each word hangs on one that is already there, and the order is shuffled."""
    n = data.draw(st.integers(1, 12))
    order = data.draw(st.permutations(range(1, n + 1)))
    heads, depths = {order[0]: 0}, {order[0]: 0}
    for at in range(1, n):
        parent = order[data.draw(st.integers(0, at - 1))]
        heads[order[at]], depths[order[at]] = parent, depths[parent] + 1
    sentence = read(*(row(i, f"w{i}", heads[i]) for i in range(1, n + 1)))
    assert sentence.depths == tuple(depths[i] for i in range(1, n + 1))


# ---- what can be wrong ---------------------------------------------------------------------------

CAT, SLEEPS = row(1, "cat", 2), row(2, "sleeps", 0)

WRONG = {
    "nine columns": (
        [CAT, "2\tsleeps\tsleep\tVERB\t_\t_\t0\troot\t_"],
        2,
        "9 columns instead of 10.*ID, F",
    ),
    "spaces for tabs": ([CAT, SLEEPS.replace("\t", "   ")], 2, "1 column instead.*with tabs, not spaces"),
    "an empty cell": ([row(1, "cat", 2, upos=""), SLEEPS], 1, "UPOS is empty.*Write _"),
    "an ID that is a word": ([CAT, row("two", "sleeps", 0)], 2, "'two' is no ID"),
    "an ID of zero": ([row(0, "cat", 2), SLEEPS], 1, "'0' is no ID"),
    "a gap": ([CAT, row(3, "sleeps", 0)], 2, "'sleeps' has the ID 3 where 2 should come"),
    "no blank line": ([row(1, "Go", 0), row(1, "Stop", 0)], 2, "ID 1 where 2 should.*blank line begins"),
    "a range backwards": ([between("2-1", "catsleeps"), CAT, SLEEPS], 1, "2-1 that ends before it begins"),
    "a range too low": ([CAT, between("1-2", "catsleeps"), SLEEPS], 2, "1-2 above the word 2"),
    "a range too far": ([between("1-3", "catsleeps"), CAT, SLEEPS], 1, "1-3 goes past the last word.* 2"),
    "ranges that overlap": (
        [between("1-2", "catsleeps"), CAT, between("2-3", "sleepson"), SLEEPS, row(3, "on", 2)],
        3,
        "2-3 overlaps 1-2",
    ),
    "an empty node elsewhere": ([CAT, between("2.1", "x"), SLEEPS], 2, r"2\.1 stands where 1\.1 should"),
    "only an empty node": ([between("0.1", "x")], 1, "no words"),
    "a feature without a value": (
        [row(1, "cat", 2, feats="Number"), SLEEPS],
        1,
        "FEATS has 'Number'.*Name=Value",
    ),
    "a feature twice": (
        [row(1, "cat", 2, feats="Number=Sing|Number=Plur"), SLEEPS],
        1,
        "FEATS gives 'Number' twice",
    ),
    "no head": ([row(1, "cat", "_"), SLEEPS], 1, "HEAD of 'cat' is '_', which is no number"),
    "a negative head": ([row(1, "cat", -1), SLEEPS], 1, "HEAD of 'cat' is '-1'"),
    "a head outside": ([row(1, "cat", 3), SLEEPS], 1, "HEAD of 'cat' is 3, outside the sentence of 2 words"),
    "a head of itself": ([row(1, "cat", 1), SLEEPS], 1, "circle: 1 'cat' -> 1 'cat'"),
    "a circle": (
        [row(1, "the", 2), row(2, "cat", 3), row(3, "sleeps", 2)],
        2,
        "circle: 2 'cat' -> 3 'sleeps' -> 2 'cat'",
    ),
    "two roots": ([row(1, "cat", 0), SLEEPS], 2, "2 roots: 1 'cat', 2 'sleeps'"),
    "a comment inside": ([CAT, "# here", SLEEPS], 2, "'# here' stands among the words"),
    "a comment alone": (["# here", "", CAT, SLEEPS], 1, "'here' has no words below"),
    "a comment at the end": ([CAT, SLEEPS, "", "# here"], 4, "'here' has no words below"),
    "another text": (
        ["# text = dog sleeps", CAT, SLEEPS],
        2,
        "make 'cat sleeps', but # text says 'dog sleeps'.*SpaceAfter=No",
    ),
    "a space too many": (["# text = catsleeps", CAT, SLEEPS], 2, "make 'cat sleeps'.*'catsleeps'"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_refused_with_its_line(what: str) -> None:
    """Below a sentence that is right, so that the line is the file's and not the sentence's."""
    rows, line, match = WRONG[what]
    with pytest.raises(BadFile, match=f"^The text, line {line}: .*{match}") as caught:
        read_conllu("\n".join([*rows, ""]))
    assert caught.value.given["line"] == line
    with pytest.raises(BadFile, match=f"line {line + len(CATS) + 1}: "):
        read_conllu("\n".join([*CATS, "", *rows, ""]))


def test_what_is_no_file_of_sentences(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=re.escape(f"{str(tmp_path / 'none.conllu')!r} is not there")):
        read_conllu(tmp_path / "none.conllu")
    with pytest.raises(BadFile, match="is a folder"):
        read_conllu(tmp_path)
    (tmp_path / "empty.conllu").write_text("\n\n")
    with pytest.raises(BadFile, match=r"^empty\.conllu has no sentence in it"):
        read_conllu(tmp_path / "empty.conllu")
    (tmp_path / "latin.conllu").write_bytes("\n".join([*CATS, "", row(1, "Übung", 0)]).encode("latin-1"))
    with pytest.raises(BadFile, match=r"^latin\.conllu, line 13: Not UTF-8: byte 0xdc.*Save the file"):
        read_conllu(tmp_path / "latin.conllu")


# ---- a real one ----------------------------------------------------------------------------------


def treebank(part: str) -> Path:
    path = TREEBANK / f"en_ewt-ud-{part}.conllu"
    if not path.is_file():
        pytest.skip(f"English-EWT is not in ../shared/data: there is no {path.name}")
    return path


@pytest.mark.parametrize(
    ("part", "n_sentences", "n_words", "n_multiword", "n_empty"),
    [("dev", 2001, 25147, 359, 4), ("test", 2077, 25094, 354, 2)],
)
def test_english_ewt_is_read_whole(
    part: str, n_sentences: int, n_words: int, n_multiword: int, n_empty: int
) -> None:
    """Its size, and its texts: without the comments they follow from forms and SpaceAfter=No."""
    path = treebank(part)
    raw = path.read_text("utf-8")
    assert raw.count("# text = ") == n_sentences
    assert len(re.findall(r"^\d+\t", raw, re.MULTILINE)) == n_words
    sentences = read_conllu(path)
    assert len(sentences) == n_sentences
    assert sum(len(sentence) for sentence in sentences) == n_words
    assert sum(len(sentence.multiword) for sentence in sentences) == n_multiword
    assert sum(len(sentence.empty) for sentence in sentences) == n_empty
    assert len({sentence.id for sentence in sentences}) == n_sentences
    bare = read_conllu(re.sub(r"^#.*\n", "", raw, flags=re.MULTILINE))
    texts = [sentence.text.replace("\xa0", " ") for sentence in sentences]  # one has such a space
    assert [sentence.text for sentence in bare] == texts
    for sentence in sentences:
        assert [sentence.text[begin:end] for begin, end in sentence.spans] == [w.form for w in sentence.words]
        for word, depth in zip(sentence.words, sentence.depths, strict=True):
            assert depth == (sentence.depth(word.head - 1) + 1 if word.head else 0)
            assert (word.deprel == "root") == (depth == 0)
