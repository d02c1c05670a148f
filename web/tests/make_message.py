"""Writes message.safetensors, which wire.test.ts reads: python web/tests/make_message.py"""

from pathlib import Path
from typing import Annotated

import numpy as np

from llm_workings.core.wire import Payload, Tensor, pack


class Inner(Payload):
    name: str
    halves: Annotated[np.ndarray, Tensor("float16", "entry")]


class Message(Payload):
    text: str
    number: float
    infinite: float
    undefined: float
    nothing: str | None
    flag: bool
    bytes: Annotated[np.ndarray, Tensor("uint8", "row column")]
    ids: Annotated[np.ndarray, Tensor("int32", "position")]
    exact: Annotated[np.ndarray, Tensor("float32", "layer head")]
    empty: Annotated[np.ndarray, Tensor("float32", "nothing")]
    inner: list[Inner]


MESSAGE = Message(
    text=" été\n→ 日本",
    number=0.1,
    infinite=float("-inf"),
    undefined=float("nan"),
    nothing=None,
    flag=True,
    bytes=np.arange(6, dtype=np.uint8).reshape(2, 3),
    ids=np.array([-1, 0, 49151]),
    exact=np.array([[0.1, np.pi], [-1e-30, 3e38]], dtype=np.float32),
    empty=np.zeros(0),
    inner=[
        Inner(name="edges", halves=np.array([0, -0.0, 1, -2, 65504, 6.104e-05, 5.96e-08, 0.333, np.inf])),
        Inner(name="one", halves=np.array([0.5])),
    ],
)

if __name__ == "__main__":
    Path(__file__).with_name("message.safetensors").write_bytes(pack(MESSAGE))
