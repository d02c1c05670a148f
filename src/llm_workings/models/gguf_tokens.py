"""The tokenizer that a GGUF file's entries describe (`tokenizer.ggml.*`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend

from llm_workings.core.errors import BadFile, LabError, NotSupported

from .tokens import HELD, Tokenizer, byte_level_bpe, pair_of

CONTROL, USER_DEFINED = 3, 4  # the token types that are matched whole; only the first is special
PARTS = {
    "bos": "bos",
    "eos": "eos",
    "unk": "unknown",
    "sep": "seperator",  # sic
    "pad": "padding",
    "cls": "cls",
    "mask": "mask",
}

# How the text is cut before bytes are merged, by `tokenizer.ggml.pre`. Digits stand alone, or in
# threes, or as GPT-2 has them; the patterns are the models' own, from their tokenizer.json.
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2_WORDS = ("gpt-2", "gpt2", "mpt", "olmo", "jais", "phi-2", "dolly")
SINGLE_DIGITS = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b")
LLAMA3 = ("llama3", "llama-v3", "llama-bpe")
PATTERNS = {
    **dict.fromkeys(LLAMA3, rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{REST}"),
    **dict.fromkeys(
        ("qwen2", "deepseek-r1-qwen"), rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{REST}"
    ),
}


def tokenizer_of(path: Path, metadata: Mapping[str, Any]) -> Tokenizer | None:
    """The tokenizer in a GGUF file's entries, or None if it has none.

    Byte-level BPE (`gpt2`) and SentencePiece BPE (`llama`) are read; others are `NotSupported`.
    """
    kind = metadata.get("tokenizer.ggml.model")
    tokens = metadata.get("tokenizer.ggml.tokens")
    if kind in (None, "none", "no_vocab"):
        return None
    if kind not in ("gpt2", "llama"):
        raise NotSupported(
            f"{path} has a tokenizer of kind {kind!r}.", hint="The kinds 'gpt2' and 'llama' are read."
        )
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise BadFile(f"{path} has no list of texts under 'tokenizer.ggml.tokens'.")
    types = metadata.get("tokenizer.ggml.token_type") or [1] * len(tokens)
    if len(types) != len(tokens):
        raise BadFile(f"{path} lists {len(tokens)} tokens and {len(types)} token types.")
    roles = {}
    for part, key in PARTS.items():
        index = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(index, int) and 0 <= index < len(tokens):
            roles[part] = tokens[index]
    try:
        build = _byte_level if kind == "gpt2" else _sentence_piece
        return build(path, metadata, tokens, types, roles)
    except LabError:
        raise
    except Exception as error:  # the library raises a bare Exception for merges that do not fit
        raise BadFile(f"{path} has a tokenizer that cannot be built: {error}") from error


def _byte_level(
    path: Path, metadata: Mapping[str, Any], tokens: list[str], types: list[int], roles: dict[str, str]
) -> Tokenizer:
    pre = metadata.get("tokenizer.ggml.pre", "gpt-2")
    cut: list[Any] = []
    if pre in SINGLE_DIGITS:
        cut = [pre_tokenizers.Digits(individual_digits=True)]
    elif pre in PATTERNS:
        cut = [pre_tokenizers.Split(Regex(PATTERNS[pre]), "isolated")]
    elif pre not in GPT2_WORDS:
        known = ", ".join((*GPT2_WORDS, *SINGLE_DIGITS, *PATTERNS))
        raise NotSupported(
            f"{path} splits its text as {pre!r}, which is not known here.", hint=f"Known: {known}."
        )
    merges = metadata.get("tokenizer.ggml.merges")
    if not isinstance(merges, list):
        raise BadFile(f"{path} has a byte-level tokenizer without 'tokenizer.ggml.merges'.")
    tokenizer = byte_level_bpe(
        {token: index for index, token in enumerate(tokens)},
        [pair_of(merge) for merge in merges],
        cut=cut,
        gpt2_words=pre not in PATTERNS,
        ignore_merges=pre in LLAMA3,  # a word that is a token is never cut (Llama 3's own setting)
        normalizer=normalizers.NFC() if pre in PATTERNS and pre not in LLAMA3 else None,
    )
    return _finished(tokenizer.backend, metadata, tokens, types, roles, bos_by_default=pre in LLAMA3)


def _sentence_piece(
    path: Path, metadata: Mapping[str, Any], tokens: list[str], types: list[int], roles: dict[str, str]
) -> Tokenizer:
    """SentencePiece BPE as llama.cpp has it: the best-scored neighbours are merged first.

    Two neighbours merge if their union is a token, and a higher score goes first; written as a
    list of merges in that order it is ordinary BPE.
    """
    scores = metadata.get("tokenizer.ggml.scores")
    if not isinstance(scores, list) or len(scores) != len(tokens):
        raise BadFile(f"{path} has a SentencePiece tokenizer without a score for each token.")
    vocabulary = {token: index for index, token in enumerate(tokens)}
    ranked = []
    for token, index in vocabulary.items():
        halves = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
        ranked += [
            (-scores[index], vocabulary[left], vocabulary[right], left, right)
            for left, right in halves
            if left in vocabulary and right in vocabulary
        ]
    ranked.sort()
    backend = Backend(
        models.BPE(
            vocab=vocabulary,
            merges=[(left, right) for *_, left, right in ranked],
            unk_token=roles.get("unk"),
            fuse_unk=True,
            byte_fallback=True,
            cache_capacity=HELD,
        )
    )
    # A space before the first word only, and only where the text begins: not after a special token.
    first = metadata.get("tokenizer.ggml.add_space_prefix", True)
    backend.pre_tokenizer = pre_tokenizers.Metaspace(
        replacement="▁", prepend_scheme="first" if first else "never", split=False
    )
    steps: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if first:
        steps.append(decoders.Strip(" ", 1, 0))
    backend.decoder = decoders.Sequence(steps)
    return _finished(backend, metadata, tokens, types, roles, bos_by_default=True)


def _finished(
    backend: Backend,
    metadata: Mapping[str, Any],
    tokens: list[str],
    types: list[int],
    roles: dict[str, str],
    *,
    bos_by_default: bool,
) -> Tokenizer:
    """With the tokens that are matched whole, and those the model expects around a text."""
    for special, kind in ((True, CONTROL), (False, USER_DEFINED)):
        whole = [
            AddedToken(token, normalized=False, special=special)
            for token, its_kind in zip(tokens, types, strict=True)
            if its_kind == kind
        ]
        (backend.add_special_tokens if special else backend.add_tokens)(whole)
    bos, eos = roles.get("bos"), roles.get("eos")
    before = bos if metadata.get("tokenizer.ggml.add_bos_token", bos_by_default) else None
    after = eos if metadata.get("tokenizer.ggml.add_eos_token", False) else None
    if before or after:
        around = [token for token in (before, after) if token is not None]
        template = " ".join(
            part for part in (before and f"{before}:0", "$A:0", after and f"{after}:0") if part
        )
        backend.post_processor = processors.TemplateProcessing(
            single=template,
            pair=f"{template} {template.replace('$A', '$B').replace(':0', ':1')}",
            special_tokens=[(token, tokens.index(token)) for token in around],
        )
    return Tokenizer(backend, roles)
