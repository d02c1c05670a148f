"""What is asked of a probe: labels of treebanks, of templates, and of a user's own texts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from llm_workings.core.errors import BadFile, BadInput, UnknownName
from llm_workings.data.conllu import read_conllu
from llm_workings.probing.labelled import read_labelled
from llm_workings.probing.scores import split_sentences
from llm_workings.probing.tasks import Task, depths, labelled_texts, treebank
from llm_workings.probing.templates import NAMES, template

TREE = """# text = The dogs bark at him.
1\tThe\tthe\tDET\tDT\tDefinite=Def\t2\tdet\t_\t_
2\tdogs\tdog\tNOUN\tNNS\tNumber=Plur\t3\tnsubj\t_\t_
3\tbark\tbark\tVERB\tVBP\tTense=Pres\t0\troot\t_\t_
4\tat\tat\tADP\tIN\t_\t5\tcase\t_\t_
5\thim\the\tPRON\tPRP\tNumber=Sing\t3\tobl:tmod\t_\tSpaceAfter=No
6\t.\t.\tPUNCT\t.\t_\t3\tpunct\t_\t_

# text = A dog barked.
1\tA\ta\tDET\tDT\tDefinite=Ind\t2\tdet\t_\t_
2\tdog\tdog\tNOUN\tNN\tNumber=Sing\t3\tnsubj\t_\t_
3\tbarked\tbark\tVERB\tVBD\tTense=Past\t0\troot\t_\tSpaceAfter=No
4\t.\t.\tPUNCT\t.\t_\t3\tpunct\t_\t_
"""


def said(task: Task) -> list[tuple[str, str]]:
    return [(form, task.classes[label]) for form, label in zip(task.forms, task.labels, strict=True)]


# --- treebanks -------------------------------------------------------------------------------------
def test_labels_of_a_treebank() -> None:
    trees = read_conllu(TREE)
    parts = treebank(trees, "part_of_speech", least=1)
    assert parts.classes == ("ADP", "DET", "NOUN", "PRON", "PUNCT", "VERB")
    assert said(parts)[:3] == [("The", "DET"), ("dogs", "NOUN"), ("bark", "VERB")]
    assert parts.counts()["PUNCT"] == 2
    assert said(treebank(trees, "number", least=1)) == [("dogs", "Plur"), ("him", "Sing"), ("dog", "Sing")]
    assert said(treebank(trees, "tense", least=1)) == [("bark", "Pres"), ("barked", "Past")]
    relations = said(treebank(trees, "dependency_relation", least=1))
    assert ("him", "obl") in relations  # without its subtype
    assert said(treebank(trees, "feature:Definite", least=1)) == [("The", "Def"), ("A", "Ind")]
    depth = treebank(trees, "dependency_depth")
    assert depth.kind == "values"
    assert depth.labels.tolist() == [2, 1, 0, 2, 1, 1, 2, 1, 0, 1]
    assert depth.keys == ("the dogs bark at him.", "a dog barked.")


def test_rare_classes_are_left_out() -> None:
    task = treebank(read_conllu(TREE), "part_of_speech", least=2)
    assert task.classes == ("DET", "NOUN", "PUNCT", "VERB")
    assert len(task) == 8
    with pytest.raises(BadInput, match=r"0 classes of part_of_speech with at least 20 words.*DET \(2\)"):
        treebank(read_conllu(TREE))
    with pytest.raises(BadInput, match=r"They have none"):
        treebank(read_conllu(TREE), "feature:Mood")


def test_an_annotation_that_is_not_there_suggests_one() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'part_of_speech'"):
        treebank(read_conllu(TREE), "parts_of_speech")
    with pytest.raises(UnknownName):
        treebank(read_conllu(TREE), "feature:")
    with pytest.raises(BadInput, match="no sentences"):
        treebank([])


def test_depth_of_heads_alone_and_of_what_is_no_tree() -> None:
    def tree(*heads: int) -> SimpleNamespace:
        words = [SimpleNamespace(form=f"w{i}", head=head) for i, head in enumerate(heads)]
        return SimpleNamespace(text=" ".join(word.form for word in words), words=words)

    assert depths(tree(2, 0, 2, 3)) == [1, 0, 1, 2]
    with pytest.raises(BadInput, match="from word 1, 'w0', no way leads to the root"):
        depths(tree(2, 1, 0))
    with pytest.raises(BadInput, match="no tree"):
        depths(tree(7, 0))


def test_taking_and_joining_keeps_words_and_labels_together() -> None:
    trees = read_conllu(TREE)
    task = treebank(trees, "part_of_speech", least=1)
    second, first = task.take([1]), task.take([0])
    assert said(second) == said(task)[6:]
    assert said(task.take([1, 0])) == said(task)[6:] + said(task)[:6]
    assert said(second.join(first)) == said(second) + said(first)
    assert task.without(second).passages == first.passages
    with pytest.raises(BadInput, match="taken twice"):
        task.take([0, 0])
    with pytest.raises(BadInput, match="ask different things"):
        task.join(treebank(trees, "tense", least=1))
    fewer = treebank(trees[1:], "part_of_speech", least=1)  # its classes have other numbers
    assert said(task.join(fewer))[-4:] == said(fewer)


# --- templates -------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NAMES)
def test_a_template_is_balanced_and_its_label_is_not_in_length_or_last_word(name: str) -> None:
    task = template(name, 600, seed=3)
    counts = task.counts()
    assert len(task) == 600
    assert len(set(counts.values())) == 1
    assert len({passage.text for passage in task.passages}) == len(task.passages)
    assert len({len(passage.forms) for passage in task.passages}) == 1
    # From the word that is read, no dictionary could tell: every common one stands with every label.
    seen = Counter(said(task))
    for form, n in Counter(task.forms).items():
        if n > 80:
            shares = [seen[form, label] / n for label in task.classes]
            assert max(shares) < 1 / len(task.classes) + 0.25
    assert task.about.endswith(("?", '"?', "anywhere."))


@pytest.mark.parametrize("name", NAMES)
def test_a_template_is_the_same_again_and_another_with_another_seed(name: str) -> None:
    one, again, other = template(name, 60, 1), template(name, 60, 1), template(name, 60, 2)
    assert one.passages == again.passages
    assert one.labels.tolist() == again.labels.tolist()
    assert one.passages != other.passages


def test_a_split_of_a_template_tests_on_words_that_were_not_learned_from() -> None:
    task = template("sentiment", 400)
    split = split_sentences(task.keys, 0.3)
    adjectives = [{task.passages[i].forms[3] for i in side} for side in (split.train, split.test)]
    assert adjectives[0]
    assert adjectives[1]
    assert not adjectives[0] & adjectives[1]
    balance = task.labels[split.test].mean()
    assert 0.35 < balance < 0.65


def test_a_template_that_is_not_there_or_too_small() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'sentiment'"):
        template("sentimant")
    with pytest.raises(BadInput, match="3 sentences were asked for; this template makes 10 to"):
        template("number", 3)
    with pytest.raises(BadInput, match="this template makes 10 to"):
        template("number", 10**6)


# --- a user's own ----------------------------------------------------------------------------------
TEXTS = [("good", f"Text number {i} is fine") for i in range(6)] + [
    ("bad", f"Text, number {i}, is not") for i in range(6)
]


def test_lines_and_csv_are_read(tmp_path: Path) -> None:
    lines = "\n".join(f"{label}\t{text}" for label, text in TEXTS)
    task = read_labelled(lines)
    assert task.classes == ("bad", "good")
    assert said(task) == [(text, label) for label, text in TEXTS]
    assert not task.of_words
    assert task.word.tolist() == [-1] * 12
    path = tmp_path / "reviews.csv"
    path.write_text("﻿mood,id,review\r\n" + "\r\n".join(f'{a},1,"{b}"' for a, b in TEXTS) + "\r\n", "utf-8")
    other = read_labelled(path, label="mood", text="review")
    assert other.name == "reviews"
    assert said(other) == said(task)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("  \n\n", "is empty"),
        ("good\tfine\nbad text without a tab\n", "line 2: there is no tab"),
        ("good\t\nbad\tx\n", "line 1: the text is empty"),
        ("\tfine\nbad\tx\n", "line 1: the label is empty"),
        ("good\ta\ngood\tb\n", r"one class only: 'good' \(2\)"),
        ("good\ta\nbad\tb\n", "has 1 different texts, too few"),
        ("good\tsame\nbad\tsame\nbad\tother\n", "has two labels, 'good' and 'bad'"),
        ("lable,text\nx,y\n", "no column 'label', and no tab.*Did you mean 'lable'"),
        ("a,b\nx,y\n", "Its columns are 'a', 'b'; name yours"),
        ("label,label,text\nx,y,z\n", "the column 'label' 2 times"),
        ("label,text\n", "only a first line"),
        ("label,text\ngood,one,two\n", "line 2: 3 cells where the first line names 2.*between quotes"),
        ('label,text\ngood,"never closed\n', "line .*Are quotes left open"),
        ("label,text\n,fine\n", "line 2: the label is empty"),
        ("".join(f"a text of {i}\tlabel\n" for i in range(30)), "in the other order"),
    ],
)
def test_each_way_to_be_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=f"(?s){message}"):
        read_labelled(text)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="no file"):
        read_labelled(tmp_path / "missing.csv")
    path = tmp_path / "latin.tsv"
    path.write_bytes(b"good\tfine\nbad\tcaf\xe9\n")
    with pytest.raises(BadFile, match=r"latin.tsv, line 2: not UTF-8, byte 0xe9"):
        read_labelled(path)


def test_lists_of_texts() -> None:
    task = labelled_texts([label for label, _ in TEXTS], [text for _, text in TEXTS])
    assert np.bincount(task.labels).tolist() == [6, 6]
    with pytest.raises(BadInput, match="2 labels for 1 texts"):
        labelled_texts(["a", "b"], ["x"])
    with pytest.raises(BadInput, match="no labelled texts"):
        labelled_texts([], [])
