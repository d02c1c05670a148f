"""From what a user gives (a text, texts, ids) to the rectangle of ids that a model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput, TooLarge

if TYPE_CHECKING:
    from .model import LanguageModel

Prompt = str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]] | Tensor


@dataclass(frozen=True)
class Batch:
    """Rows of token ids, right-padded to one length.

    `tokens` is `[batch, position]` int64; `lengths` says how much of each row is real.
    """

    tokens: Tensor
    lengths: tuple[int, ...]

    @property
    def size(self) -> int:
        return self.tokens.shape[0]

    @property
    def width(self) -> int:
        return self.tokens.shape[1]

    @property
    def padded(self) -> bool:
        return min(self.lengths) < self.width

    def present(self) -> Tensor:
        """`[batch, position]`, True where a token is real."""
        lengths = torch.tensor(self.lengths, device=self.tokens.device)
        return torch.arange(self.width, device=self.tokens.device) < lengths[:, None]

    def row(self, index: int) -> Batch:
        length = self.lengths[index]
        return Batch(self.tokens[index : index + 1, :length], (length,))

    def repeat(self, times: int) -> Batch:
        return Batch(
            self.tokens.repeat_interleave(times, 0), tuple(n for n in self.lengths for _ in range(times))
        )


def read_prompt(model: LanguageModel, prompt: Any, *, special: bool = True) -> Batch:
    """The batch that `prompt` means to this model.

    Raises:
        BadInput: nothing in it, not text nor ids, or an id that the vocabulary does not have.
        TooLarge: longer than the model's context.
    """
    rows = _rows_of(model, prompt, special)
    limit, size = model.spec.n_ctx, model.spec.vocab_size
    for number, row in enumerate(rows):
        which = f"Prompt {number} of {len(rows)}" if len(rows) > 1 else "The prompt"
        if not row:
            raise BadInput(
                f"{which} is empty: it has no tokens.",
                hint="Give at least one word.",
                given={"prompt": _shown(prompt)},
            )
        if len(row) > limit:
            raise TooLarge(
                f"{which} is {len(row)} tokens long; {model.name} reads at most {limit}.",
                hint=f"Shorten it by {len(row) - limit} tokens.",
                given={"tokens": len(row), "n_ctx": limit},
            )
        for index in row:
            if not 0 <= index < size:
                raise BadInput(
                    f"{which} has the token id {index}, which is outside the vocabulary.",
                    hint=f"Token ids of {model.name} go from 0 to {size - 1}.",
                    given={"token": index, "vocab_size": size},
                )
    width = max(map(len, rows))
    filler = model.tokenizer.pad_id or 0
    tokens = torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows], device=model.device)
    return Batch(tokens, tuple(map(len, rows)))


def _rows_of(model: LanguageModel, prompt: Any, special: bool) -> list[list[int]]:
    if isinstance(prompt, str):
        return [model.tokenizer.encode(prompt, special=special)]
    if hasattr(prompt, "tolist"):  # a tensor or a NumPy array
        if "float" in str(prompt.dtype) or "bool" in str(prompt.dtype):
            raise BadInput(
                f"The prompt is an array of {prompt.dtype}, not of token ids.", hint="Give integers."
            )
        prompt = prompt.tolist()
    if not isinstance(prompt, Sequence) or isinstance(prompt, bytes):
        raise _unreadable(prompt)
    if not prompt:
        raise BadInput("The prompt is an empty list.", hint="Give at least one word.")
    if all(isinstance(item, str) for item in prompt):
        return model.tokenizer.encode_batch(list(prompt), special=special)
    if all(_is_id(item) for item in prompt):
        return [[int(item) for item in prompt]]
    rows = [item.tolist() if hasattr(item, "tolist") else item for item in prompt]
    if all(isinstance(row, Sequence) and not isinstance(row, str | bytes) for row in rows) and all(
        _is_id(item) for row in rows for item in row
    ):
        return [[int(item) for item in row] for row in rows]
    raise _unreadable(prompt)


def _is_id(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool) and not getattr(value, "shape", ())


def _unreadable(prompt: Any) -> BadInput:
    return BadInput(
        f"A prompt cannot be read from {_shown(prompt)} ({type(prompt).__name__}).",
        hint="Give a text, a list of texts, or token ids (a list, a list of lists, or a tensor).",
    )


def _shown(prompt: Any) -> str:
    text = repr(prompt)
    return text if len(text) <= 80 else text[:79] + "…"
