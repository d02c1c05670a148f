"""Text to tokens and back, each token exactly as it stands.

The work is done by the `tokenizers` library; this puts one small face on it, whichever files a
tokenizer comes in, and says what each token is to the letter: leading spaces kept, bytes that are
no whole character written `\\xNN`, special tokens known as such.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Encoding,
    Regex,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from tokenizers import Tokenizer as Backend

from llm_workings.core.errors import BadFile, BadInput, NotSupported

from .folder import read_json

ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
HELD = 10_000  # the library caches this many words, which is its own default


class Tokenizer:
    """Splits text into tokens of a fixed vocabulary.

    Args:
        backend: the `tokenizers.Tokenizer` that does the splitting.
        roles: which token plays which part, by its text: `{"bos": "<|endoftext|>", ...}`
            (any of bos, eos, unk, sep, pad, cls, mask).
    """

    def __init__(self, backend: Backend, roles: Mapping[str, str] | None = None):
        # Files often carry the padding and cut of somebody's training; a laboratory wants neither.
        backend.no_padding()
        backend.no_truncation()
        self.backend = backend
        self.roles = {role: token for role, token in (roles or {}).items() if token in self}
        added = backend.get_added_tokens_decoder()
        self._added = {index: token.content for index, token in added.items()}
        self._special = {index for index, token in added.items() if token.special}
        self._special.update(self.id_of(token) for token in self.roles.values())
        self._decoding = _kinds_of(backend.decoder)

    # --- text and tokens -----------------------------------------------------------------------
    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """The tokens of `text`; with `special`, those the model expects around it ([CLS], BOS) too.

        Raises `BadInput` for a character that a plain vocabulary does not have.
        """
        return self.encode_batch([text], special=special)[0]

    def encode_batch(self, texts: Sequence[str], *, special: bool = True) -> list[list[int]]:
        """The tokens of each text, unpadded."""
        return [encoding.ids for encoding in self._encodings(texts, special)]

    def _encodings(self, texts: Sequence[str], special: bool) -> list[Encoding]:
        try:
            return self.backend.encode_batch(list(texts), add_special_tokens=special)
        except Exception as error:  # the library raises a bare Exception, for a word without a token
            raise BadInput(
                f"The vocabulary of {self.vocab_size} tokens cannot write {_shortened(texts)}: "
                f"{self._lacking(texts) or error}",
                hint=f"It has {_listed(sorted(self.backend.get_vocab()))}.",
                given={"text": list(texts)},
            ) from error

    def around(self, text: str) -> tuple[list[int], list[int]]:
        """The tokens that `encode` sets before and after a text such as this one: [CLS] and [SEP], BOS."""
        bare, dressed = (self.encode(text, special=special) for special in (False, True))
        for at in range(len(dressed) - len(bare) + 1):
            if dressed[at : at + len(bare)] == bare:
                return dressed[:at], dressed[at + len(bare) :]
        return [], []

    def spans(self, text: str, *, special: bool = True) -> list[tuple[int, int]]:
        """Where each token of `text` begins and ends in it, in characters; (0, 0) for one that is not.

        The space before a word belongs to its token. Tokens that share a character share its span.
        """
        return list(self._encodings([text], special)[0].offsets)

    def decode(self, ids: Sequence[int], *, special: bool = True) -> str:
        """The text of `ids`, as the library joins it; without `special`, special tokens left out."""
        for index in ids:
            self._check(index)
        return self.backend.decode(list(ids), skip_special_tokens=not special)

    def piece(self, index: int) -> str:
        """The text of one token exactly: " Mary" with its space, `\\xf0\\x9f` for half a character.

        A WordPiece that continues a word keeps its `##`, for that is what tells it from the word.
        """
        token = self._check(index)
        if index in self._added:
            return token
        if "ByteLevel" in self._decoding:
            return _spell_bytes(token)
        if "ByteFallback" in self._decoding and len(token) == 6 and token.startswith("<0x"):
            return bytes([int(token[3:5], 16)]).decode("utf-8", "backslashreplace")
        if self._decoding & {"ByteFallback", "Metaspace"}:
            return token.replace("▁", " ")
        return token

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """`piece` of each."""
        return [self.piece(index) for index in ids]

    def one(self, text: str) -> int:
        """The single token that `text` is; `BadInput`, listing the pieces, if it is not one."""
        ids = self.encode(text, special=False)
        if len(ids) != 1:
            pieces = self.pieces(ids)
            hint = "Give one of them, or another text."
            if not text.startswith(" ") and len(self.encode(" " + text, special=False)) == 1:
                hint = f"{' ' + text!r}, with a space before it, is one."
            raise BadInput(
                f"{text!r} is {len(ids)} tokens, not one: {pieces}.",
                hint=hint,
                given={"text": text, "pieces": pieces},
            )
        return ids[0]

    def is_special(self, index: int) -> bool:
        """Whether the token stands for no text: BOS, [CLS], [MASK] ..."""
        return index in self._special

    # --- vocabulary ----------------------------------------------------------------------------
    @property
    def vocab_size(self) -> int:
        """How many tokens there are, added ones included."""
        return self.backend.get_vocab_size(with_added_tokens=True)

    def __contains__(self, token: object) -> bool:
        return isinstance(token, str) and self.backend.token_to_id(token) is not None

    def id_of(self, token: str) -> int:
        """The number of a token by its own spelling in the vocabulary ("Ġthe", "##ing", "[MASK]")."""
        index = self.backend.token_to_id(token)
        if index is None:
            raise BadInput(f"The vocabulary has no token spelled {token!r}.", given={"token": token})
        return index

    def role(self, name: str) -> int | None:
        """The token that plays a part (one of `ROLES`), or None if none does."""
        token = self.roles.get(name)
        return None if token is None else self.backend.token_to_id(token)

    @property
    def bos_id(self) -> int | None:
        return self.role("bos")

    @property
    def eos_id(self) -> int | None:
        return self.role("eos")

    @property
    def pad_id(self) -> int | None:
        return self.role("pad")

    @property
    def mask_id(self) -> int | None:
        return self.role("mask")

    @property
    def cls_id(self) -> int | None:
        return self.role("cls")

    @property
    def sep_id(self) -> int | None:
        return self.role("sep")

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, as Hugging Face's libraries read them."""
        self.backend.save(str(folder / "tokenizer.json"))
        config: dict[str, Any] = {f"{role}_token": token for role, token in self.roles.items()}
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False))

    def _check(self, index: int) -> str:
        token = self.backend.id_to_token(index) if index >= 0 else None
        if token is None:
            raise BadInput(
                f"There is no token {index}.",
                hint=f"Tokens go from 0 to {self.vocab_size - 1}.",
                given={"token": index},
            )
        return token

    def _lacking(self, texts: Sequence[str]) -> str:
        """What of `texts` a plain vocabulary does not have, in words; "" if that is not what failed."""
        if self.backend.pre_tokenizer is None:
            return ""
        pieces = (piece for text in texts for piece, _ in self.backend.pre_tokenizer.pre_tokenize_str(text))
        lacking = dict.fromkeys(piece for piece in pieces if self.backend.token_to_id(piece) is None)
        return f"it has no {_listed(lacking)}." if lacking else ""

    def __repr__(self) -> str:
        roles = "".join(f", {role} {token!r}" for role, token in self.roles.items())
        return f"Tokenizer({self.vocab_size} tokens{roles})"


# --- where tokenizers come from --------------------------------------------------------------------
FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
)


def from_folder(folder: Path) -> Tokenizer | None:
    """The tokenizer whose files stand in `folder`, or None if none does.

    `tokenizer.json` is taken first, then `vocab.json` with `merges.txt` (GPT-2's byte-level BPE),
    then `vocab.txt` (BERT's WordPiece). Raises `BadFile`, naming the file, for one that cannot be
    read, and `NotSupported` for a bare SentencePiece model.
    """
    settings = read_json(folder / "tokenizer_config.json")
    names = {**settings, **read_json(folder / "special_tokens_map.json")}
    roles = {role: text for role in ROLES if (text := _text_of(names.get(f"{role}_token")))}
    try:
        if (path := folder / "tokenizer.json").is_file():
            return Tokenizer(Backend.from_file(str(path)), roles)
        if (path := folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            vocabulary = json.loads(path.read_text("utf-8"))
            lines = (folder / "merges.txt").read_text("utf-8").splitlines()
            merges = [line for line in lines if line and not line.startswith("#version")]
            added = {**_added_tokens(settings), **read_json(folder / "added_tokens.json")}
            return byte_level_bpe(
                vocabulary,
                [pair_of(merge) for merge in merges],
                roles=roles or {"bos": "<|endoftext|>", "eos": "<|endoftext|>", "unk": "<|endoftext|>"},
                added=sorted(added, key=lambda token: added[token]),
                add_prefix_space=bool(settings.get("add_prefix_space", False)),
            )
        if (path := folder / "vocab.txt").is_file():
            words = path.read_text("utf-8").rstrip("\n").split("\n")
            return word_piece(
                [word.rstrip("\r") for word in words],
                lowercase=settings.get("do_lower_case", True),
                strip_accents=settings.get("strip_accents"),
                split_chinese=settings.get("tokenize_chinese_chars", True),
                roles=roles,
            )
    except BadInput as error:
        raise BadFile(f"{path} is not a readable tokenizer: {error}") from error
    except Exception as error:  # the library raises a bare Exception for what it cannot parse
        raise BadFile(f"{path} is not a readable tokenizer: {error}") from error
    if (path := folder / "tokenizer.model").is_file() or (path := folder / "spiece.model").is_file():
        raise NotSupported(
            f"{path} is a SentencePiece model without a tokenizer.json.",
            hint="Convert it: transformers.AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)",
        )
    return None


def byte_level_bpe(
    vocabulary: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    *,
    roles: Mapping[str, str] | None = None,
    added: Sequence[str] = (),
    add_prefix_space: bool = False,
    cut: Sequence[Any] = (),
    gpt2_words: bool = True,
    ignore_merges: bool = False,
    normalizer: Any = None,
) -> Tokenizer:
    """GPT-2's tokenizer (Radford et al. 2019): pairs of bytes merged in a learned order.

    `cut` are pre-tokenizers that split the text first, and `gpt2_words` says whether GPT-2's own
    pattern splits what they leave; `added` are tokens matched whole before anything else, in the
    order of their numbers where they are not in the vocabulary.
    """
    model = models.BPE(
        vocab=dict(vocabulary), merges=list(merges), cache_capacity=HELD, ignore_merges=ignore_merges
    )
    backend = Backend(model)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=gpt2_words)
    backend.pre_tokenizer = pre_tokenizers.Sequence([*cut, byte_level])
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    if normalizer is not None:
        backend.normalizer = normalizer
    _add(backend, added, roles or {})
    return Tokenizer(backend, roles)


def word_piece(
    words: Sequence[str],
    *,
    lowercase: bool = True,
    strip_accents: bool | None = None,
    split_chinese: bool = True,
    roles: Mapping[str, str] | None = None,
) -> Tokenizer:
    """BERT's tokenizer (Devlin et al. 2019): words cut into the longest pieces that are known."""
    usual = {name: f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
    roles = {**usual, **(roles or {})}
    vocabulary = {word: index for index, word in enumerate(words)}
    if missing := [roles[name] for name in ("unk", "sep", "cls") if roles[name] not in vocabulary]:
        raise BadInput(f"The vocabulary of {len(words)} words lacks {', '.join(missing)}.")
    backend = Backend(
        models.WordPiece(
            vocab=vocabulary,
            unk_token=roles["unk"],
            max_input_chars_per_word=100,
            continuing_subword_prefix="##",
        )
    )
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=split_chinese,
        strip_accents=strip_accents,
        lowercase=lowercase,
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    cls, sep = roles["cls"], roles["sep"]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, vocabulary[cls]), (sep, vocabulary[sep])],
    )
    _add(backend, (), {name: token for name, token in roles.items() if token in vocabulary})
    return Tokenizer(backend, roles)


def from_vocabulary(
    vocabulary: Sequence[str],
    *,
    separator: str = "",
    roles: Mapping[str, str] | None = None,
) -> Tokenizer:
    """A tokenizer of a toy: every token stands in `vocabulary`, and nothing else can be written.

    With `separator` "" each character is a token, with " " each word between spaces is. Tokens that
    play a part (`roles`, such as `{"bos": "<bos>"}`) are matched whole.
    """
    if len(set(vocabulary)) != len(vocabulary) or not all(vocabulary):
        raise BadInput(
            "A vocabulary has each token once, and no empty one.", given={"tokens": len(vocabulary)}
        )
    if separator not in ("", " "):
        raise BadInput(f"The separator {separator!r} is neither '' nor ' '.")
    backend = Backend(models.WordLevel(vocab={token: i for i, token in enumerate(vocabulary)}))
    if separator:
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    else:
        # `[\s\S]` and not `.`, so that a newline is a character like any other
        backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        backend.decoder = decoders.Fuse()
    _add(backend, (), roles or {})
    return Tokenizer(backend, roles)


# --- small things ----------------------------------------------------------------------------------
def _add(backend: Backend, added: Iterable[str], roles: Mapping[str, str]) -> None:
    """Make tokens match whole: those with a part as special ones, the others as plain."""
    special = dict.fromkeys(roles.values())
    backend.add_tokens([AddedToken(text, normalized=False) for text in added if text not in special])
    backend.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in special])


def _byte_alphabet() -> dict[str, int]:
    """The character that byte-level BPE writes each byte as: itself if printable, else one past 255."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


BYTE_OF = _byte_alphabet()


def _spell_bytes(token: str) -> str:
    try:
        return bytes(BYTE_OF[letter] for letter in token).decode("utf-8", "backslashreplace")
    except KeyError:  # a token outside the alphabet, which only ever stands as it is
        return token


def _kinds_of(decoder: Any) -> set[str]:
    """The types of a decoder's steps: {"ByteLevel"}, {"Replace", "ByteFallback", "Fuse"} ..."""
    if decoder is None:
        return set()
    state = json.loads(decoder.__getstate__())
    return {step["type"] for step in state.get("decoders", [state])}


def _text_of(token: Any) -> str | None:
    """A special token is written as its text or as an object with its `content`."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None


def _added_tokens(settings: Mapping[str, Any]) -> dict[str, int]:
    listed = settings.get("added_tokens_decoder", {})
    return {text: int(index) for index, token in listed.items() if (text := _text_of(token))}


def pair_of(merge: str) -> tuple[str, str]:
    """The two pieces of a merge as files write it: `Ġ the`."""
    left, separator, right = merge.partition(" ")
    if not separator or not left or not right:
        raise BadInput(f"{merge!r} is not a pair of pieces.")
    return left, right


def _shortened(texts: Sequence[str]) -> str:
    text = " | ".join(texts)
    return repr(text if len(text) <= 60 else text[:57] + "…")


def _listed(tokens: Iterable[str], most: int = 40) -> str:
    every = list(tokens)
    more = f" and {len(every) - most} others" if len(every) > most else ""
    return " ".join(map(repr, every[:most])) + more
