"""Families of prompts: whatever the seed and the tokenizer, pairs that a patch can be made with."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_tokenizers import LEFT_OUT, bytes_only, pairs_of_digits, small_bpe, smollm2

import llm_workings
from llm_workings.core.errors import BadInput, UnknownName
from llm_workings.data.families import (
    FAMILIES,
    PromptPair,
    agreement,
    check_alignment,
    check_pair,
    facts,
    family_of,
    pronouns,
)
from llm_workings.data.families.base import fill
from llm_workings.models.tokens import Tokenizer, word_piece

EVERY: list[tuple[str, dict[str, Any]]] = [
    (name, dict(zip((of := {o: x for o, x in family.options.items() if x.choices}), chosen, strict=True)))
    for name, family in FAMILIES.items()
    for chosen in itertools.product(*(x.choices for x in family.options.values() if x.choices))
]
TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {"small": small_bpe, "smollm2": smollm2}
READ_BY = [pytest.param("small"), pytest.param("smollm2", marks=pytest.mark.real)]


def named(value: object) -> str:
    return "-".join([value[0], *map(str, value[1].values())]) if isinstance(value, tuple) else str(value)


# ---- every family --------------------------------------------------------------------------------


@pytest.mark.parametrize("read_by", READ_BY)
@pytest.mark.parametrize("asked", EVERY, ids=named)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), n=st.integers(1, 13))
def test_pairs_are_what_they_must_be(
    asked: tuple[str, dict[str, Any]], read_by: str, seed: int, n: int
) -> None:
    """Checked here without the checks that the families themselves make."""
    (name, options), tokenizer = asked, TOKENIZERS[read_by]()
    pairs = FAMILIES[name].make(tokenizer, n, seed, **options)
    assert len(pairs) == n
    assert len({(pair.clean, pair.corrupted) for pair in pairs}) == n
    variants = Counter(pair.variant for pair in pairs)
    assert max(variants.values()) - min(variants.values()) <= 1
    assert pairs == FAMILIES[name].make(tokenizer, n, seed, **options)
    for pair in pairs:
        ours, theirs = tokenizer.encode(pair.clean), tokenizer.encode(pair.corrupted)
        assert pair.family == name
        assert len(ours) == len(theirs)
        assert ours != theirs
        assert (pair.rights[0], pair.wrongs[0]) == (pair.right, pair.wrong)
        answers = [tokenizer.encode(text) for text in (*pair.rights, *pair.wrongs)]
        assert {len(answer) for answer in answers} == {1}
        assert len({answer[0] for answer in answers}) == len(answers)
        assert tokenizer.encode(pair.clean + pair.right) == [*ours, *tokenizer.encode(pair.right)]
        places = pair.positions(tokenizer)
        assert set(places) == set(pair.places)
        assert places["end"] == (len(ours) - 1,)


@pytest.mark.parametrize("name", FAMILIES)
def test_more_pairs_of_a_seed_begin_with_the_fewer_and_another_seed_has_others(name: str) -> None:
    make = FAMILIES[name].make
    assert make(small_bpe(), 10, 3)[:4] == make(small_bpe(), 4, 3)
    assert make(small_bpe(), 10, 3) != make(small_bpe(), 10, 4)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_says_what_it_is(name: str) -> None:
    family = family_of(name)
    assert family.name == name
    assert family.title
    assert len(family.about) > 60
    assert re.search(r"(19|20)\d\d", family.source)
    for option in family.options.values():
        assert len(option.about) > 5
        assert (option.default in option.choices) if option.choices else option.least <= option.default


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in ("repeated", "greater_than")])
def test_too_few_single_tokens_are_named_with_how_they_split(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        FAMILIES[name].make(bytes_only(), 2)
    assert re.match(
        r"Only 0 of \d+ .* and at least \d+ are needed: ' \w+' is \[' ', '\w', ", caught.value.message
    )
    splits = caught.value.given["splits"]
    assert all("".join(pieces) == text for text, pieces in splits.items())
    assert len(splits) >= 2


def test_words_that_split_are_left_out() -> None:
    """The small BPE cannot write some names and answers as one token: no pair needs them to be one."""
    for word in LEFT_OUT:
        assert len(small_bpe().encode(" " + word)) > 1, word
    for name, family in FAMILIES.items():
        for pair in family.make(small_bpe(), 60):
            said = {text.strip() for text in (*pair.rights, *pair.wrongs)}
            assert not said & LEFT_OUT, (name, pair)


def test_what_cannot_be_asked_for() -> None:
    ioi = FAMILIES["ioi"]
    with pytest.raises(BadInput, match="0 pairs of ioi"):
        ioi.make(small_bpe(), 0)
    with pytest.raises(BadInput, match="seed -1"):
        ioi.make(small_bpe(), 1, -1)
    with pytest.raises(UnknownName, match=r"no corruption of ioi 'filp'\. Did you mean 'flip'"):
        ioi.make(small_bpe(), 1, corruption="filp")
    with pytest.raises(UnknownName, match=r"no option of ioi 'corupt'\. Did you mean 'corruption'"):
        ioi.make(small_bpe(), 1, corupt="flip")
    for length in (1, 201, True, 2.5, "3"):
        with pytest.raises(BadInput, match="not a whole number from 2 to 200"):
            FAMILIES["repeated"].make(small_bpe(), 1, length=length)
    with pytest.raises(UnknownName, match=r"no family of prompts 'iio'\. Did you mean 'ioi'"):
        family_of("iio")


def test_more_pairs_than_there_are_say_how_many_there_are() -> None:
    with pytest.raises(
        BadInput, match=r"No more than (\d+) different pairs of facts.* 5000 were asked"
    ) as caught:
        FAMILIES["facts"].make(small_bpe(), 5000, relation="young")
    found = caught.value.given["found"]
    assert len(FAMILIES["facts"].make(small_bpe(), found, relation="young")) == found > 20


def test_pairs_that_a_patch_cannot_be_made_with() -> None:
    tokenizer = small_bpe()
    pair = FAMILIES["ioi"].make(tokenizer, 1)[0]
    check_pair(tokenizer, pair)

    def wrong(match: str, **changes: Any) -> None:
        with pytest.raises(BadInput, match=match):
            check_pair(tokenizer, dataclasses.replace(pair, **changes))

    wrong("do not align", corrupted=pair.corrupted + " the")
    wrong("are the same", corrupted=pair.clean)
    wrong("' Mary' is .* tokens, not one", right=" Mary", rights=(" Mary",))
    wrong("are right and wrong", wrong=pair.right)
    wrong("are right and wrong", wrongs=(pair.wrong, pair.right))
    # " 1" with "7" after it reads as one token, " 17": nothing is predicted between the two.
    tokenizer = pairs_of_digits()
    pair = FAMILIES["greater_than"].make(tokenizer, 1)[0]
    cut = {"clean": pair.clean[:-1], "corrupted": pair.corrupted[:-1], "right": pair.clean[-1]}
    wrong("does not stay a token of its own after", **cut, rights=(pair.clean[-1],), wrong="z", wrongs=("z",))


def test_pairs_can_be_put_into_sets_and_nothing_in_them_changed() -> None:
    pairs = FAMILIES["facts"].make(small_bpe(), 5)
    assert len(set(pairs)) == 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        pairs[0].clean = ""  # type: ignore[misc]


def test_a_template_filled_in_says_where() -> None:
    text, places = fill("{A} and {B}, {A} to", A="Tom", B="Ann")
    assert text == "Tom and Ann, Tom to"
    assert {name: text[a:b] for name, (a, b) in places.items()} == {
        "A1": "Tom",
        "B": "Ann",
        "A2": "Tom",
        "end": "o",
    }
    assert places["A2"] == (13, 16)


# ---- what each one means -------------------------------------------------------------------------


def at(pair: PromptPair, place: str) -> str:
    begin, end = pair.places[place]
    return pair.clean[begin:end]


def made(name: str, n: int = 40, **options: Any) -> list[PromptPair]:
    return FAMILIES[name].make(small_bpe(), n, 11, **options)


def changed(pair: PromptPair) -> tuple[int, ...]:
    return check_alignment(small_bpe(), pair.clean, pair.corrupted)


def test_indirect_objects() -> None:
    for pair in made("ioi"):
        indirect, subject = pair.right[1:], pair.wrong[1:]
        assert (at(pair, "IO"), at(pair, "S1"), at(pair, "S2")) == (indirect, subject, subject)
        assert pair.clean.count(indirect) == 1
        assert (pair.places["IO"] < pair.places["S1"]) == (pair.variant == "ABBA")
        assert changed(pair) == pair.positions(small_bpe())["S2"]
        begin, end = pair.places["S2"]
        assert pair.corrupted == pair.clean[:begin] + indirect + pair.clean[end:]
    assert {pair.variant for pair in made("ioi", variant="BABA")} == {"BABA"}


def test_indirect_objects_with_three_new_names() -> None:
    for pair in made("ioi", corruption="abc"):
        where = pair.positions(small_bpe())
        assert changed(pair) == tuple(sorted(where["IO"] + where["S1"] + where["S2"]))
        new = [small_bpe().encode(pair.corrupted)[position] for position in changed(pair)]
        assert len({*new, small_bpe().one(pair.right), small_bpe().one(pair.wrong)}) == 5


def test_repeated_tokens() -> None:
    for pair in made("repeated", length=9):
        ids = small_bpe().encode(pair.clean)
        ((before,), (source,)) = (pair.positions(small_bpe())[place] for place in ("before", "source"))
        assert ids[9:] == ids[:source]
        assert source == before + 1
        assert ids[-1] == ids[before]
        assert ids[:9].count(ids[-1]) == 1
        assert ids[source] == small_bpe().one(pair.right)
        assert changed(pair) == (source,)
        assert small_bpe().encode(pair.corrupted)[source] == small_bpe().one(pair.wrong)
    for pair in made("repeated", corruption="random", length=9):
        assert set(changed(pair)) <= set(range(9))
        assert len(changed(pair)) > 5


def test_the_toy_that_has_an_induction_circuit_answers_repeated_tokens() -> None:
    """A known answer: the two-layer toy was trained for just this, and the corruption moves its answer."""
    model = llm_workings.load("induction-2l")
    pairs = FAMILIES["repeated"].make(model.tokenizer, 60, length=8)
    for which, sign in (("clean", 1), ("corrupted", -1)):
        differences = []
        for pair in pairs:
            logits = model.run(getattr(pair, which), logits="last").last_logits[0]
            differences.append(logits[model.token(pair.right)] - logits[model.token(pair.wrong)])
        assert float((torch.stack(differences) * sign > 0).float().mean()) > 0.95


def test_there_are_facts_enough_and_none_twice() -> None:
    assert len(facts.RELATIONS) >= 4
    assert sum(len(relation.facts) for relation in facts.RELATIONS.values()) >= 60
    everything = [relation.facts for relation in facts.RELATIONS.values()]
    for relation in everything:
        assert "".join([*relation, *relation.values()]).isascii()
    # A key written twice would have lost one of its answers.
    source = Path(facts.__file__).read_text("utf-8")
    assert len(re.findall(r'"[\w ]+": "[\w ]+"', source)) == sum(map(len, everything))


def test_facts() -> None:
    for pair in made("facts", 120):
        known = facts.RELATIONS[pair.variant].facts
        assert known[at(pair, "subject")] == pair.right[1:]
        where = pair.positions(small_bpe())["subject"]
        # Where a word is not in the vocabulary, the space before it may be a token of its own.
        assert set(changed(pair)) <= {where[0] - 1, *where}
        begin, end = pair.places["subject"]
        other = pair.corrupted[begin : len(pair.corrupted) - (len(pair.clean) - end)]
        assert known[other] == pair.wrong[1:] != pair.right[1:]
    assert {pair.variant for pair in made("facts", relation="currency")} == {"currency"}


def test_greater_than_where_digits_are_read_one_by_one() -> None:
    for pair in made("greater_than"):
        assert pair.variant == "one digit"
        tens = at(pair, "YY")
        assert len(tens) == 1
        assert set(pair.rights) == {digit for digit in "0123456789" if digit > tens}
        assert set(pair.wrongs) == {digit for digit in "0123456789" if digit < tens}
        assert pair.clean.endswith(f" year {at(pair, 'XX')}")
        assert re.sub(r"\d\d to", "01 to", pair.clean) == pair.corrupted


def test_greater_than_where_digits_are_read_in_pairs() -> None:
    tokenizer = pairs_of_digits()
    assert tokenizer.pieces(tokenizer.encode(" 1741")) == [" 17", "41"]
    for pair in FAMILIES["greater_than"].make(tokenizer, 40, 2):
        assert pair.variant == "two digits"
        year = at(pair, "YY")
        assert "02" <= year <= "98"
        every = [f"{number:02}" for number in range(100)]
        assert sorted(pair.rights) == [text for text in every if text > year]
        assert sorted(pair.wrongs) == [text for text in every if text <= year]
        (position,) = pair.positions(tokenizer)["YY"]
        assert check_alignment(tokenizer, pair.clean, pair.corrupted) == (position,)
        assert tokenizer.piece(tokenizer.encode(pair.corrupted)[position]) == "01"


def test_greater_than_where_years_are_neither_says_how_they_split() -> None:
    tokenizer = word_piece(
        [
            "[UNK]",
            "[CLS]",
            "[SEP]",
            *"0123456789",
            *(f"##{n}" for n in range(10)),
            *map(str, range(100, 190)),
            "year",
        ]
    )
    with pytest.raises(BadInput, match=r"Only 0 of 776 years .*' 1102' is \['110', '##2'\]"):
        FAMILIES["greater_than"].make(tokenizer, 2)


@pytest.mark.parametrize("structure", ["prepositional", "relative"])
def test_agreement(structure: str) -> None:
    pairs = made("agreement", structure=structure)
    assert Counter(pair.variant for pair in pairs) == dict.fromkeys(
        [f"{structure} {a}-{b}" for a in ("singular", "plural") for b in ("singular", "plural")], 10
    )
    plurals = set(agreement.NOUNS.values())
    for pair in pairs:
        subject, distractor = pair.variant.removeprefix(structure + " ").split("-")
        assert (at(pair, "subject") in plurals) == (subject == "plural")
        assert (at(pair, "distractor") in plurals) == (distractor == "plural")
        assert pair.places["subject"] < pair.places["distractor"]
        assert changed(pair) == pair.positions(small_bpe())["subject"]
        many, one = (pair.rights, pair.wrongs) if subject == "plural" else (pair.wrongs, pair.rights)
        assert set(many) == {" are", " were", " have"}
        assert set(one) == {" is", " was", " has"}
        assert pair.kind == "other number"
        if structure == "relative":  # the verb inside agrees with the distractor
            assert pair.clean.endswith("s") == (distractor == "singular")


def test_pronouns() -> None:
    for pair in made("pronouns"):
        names, other = (pronouns.ANSWERS[text[1:]] for text in (pair.right, pair.wrong))
        assert at(pair, "name") in names
        assert at(pair, "name") not in other
        assert changed(pair) == pair.positions(small_bpe())["name"]
        assert pair.clean.endswith(("isn't", "wasn't", "hasn't"))
    assert not set(pronouns.WOMEN) & set(pronouns.MEN)


def test_docstrings() -> None:
    for pair in made("docstring"):
        compile(pair.clean + ' x: y\n    """\n', "docstring", "exec")
        defined = re.search(r"\(self, (\w+), (\w+), (\w+), (\w+)\)", pair.clean)
        assert defined is not None
        assert re.findall(r":param (\w+):", pair.clean) == [defined[1], defined[2]]
        assert defined[3] == pair.right[1:]
        assert [at(pair, place) for place in ("A_def", "B_def", "C_def", "D_def")] == list(defined.groups())
        assert [at(pair, place) for place in ("A_doc", "B_doc")] == [defined[1], defined[2]]
        assert changed(pair) == pair.positions(small_bpe())["C_def"]
        assert f"{defined[2]}, {pair.wrong[1:]}, {defined[4]})" in pair.corrupted
    for pair in made("docstring", corruption="random"):
        assert len(changed(pair)) == 6
        assert not set(re.findall(r":param (\w+):", pair.corrupted)) & set(re.findall(r"\w+", pair.clean))
