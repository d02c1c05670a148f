"""Runs views for a standalone file and keeps what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_workings.core.wire import Payload
from llm_workings.views import REGISTRY
from llm_workings.views.contract import Request, View
from llm_workings.views.lab import Lab

from .html import Answer


class Recorder:
    """Runs views and keeps their answers, each request once; the first is the picture.

    Attributes:
        asked: the request of the picture, its defaults filled in.
        first: its payload.
        state: what the page shows beyond it: pinned, switched on.
        bound: bytes that follow-ups may take, as the wire packs them.
        left_out: sentences that say what a reader will not find in the file.
    """

    def __init__(
        self,
        lab: Lab,
        view: View,
        request: Any,
        state: dict[str, str],
        bound: int,
        payload: Payload | None = None,
    ):
        self.lab, self.state, self.bound = lab, state, bound
        self.answers: list[Answer] = []
        self.left_out: list[str] = []
        self._payloads: dict[str, Payload] = {}
        parsed = view.parse(request)
        self.asked = parsed.model_dump()
        if payload is not None:
            self._keep(view, parsed, payload)
        self.first = self.record(view.name, {})

    def record(self, name: str, change: Mapping[str, Any]) -> Payload:
        """Run the view called `name` on the first request with these fields changed."""
        view = REGISTRY[name]
        fields = view.request.model_fields
        request = view.parse({k: v for k, v in {**self.asked, **change}.items() if k in fields})
        key = name + request.key()
        if key not in self._payloads:
            self._keep(view, request, view.run(self.lab, request))
        return self._payloads[key]

    def _keep(self, view: View, request: Request, payload: Payload) -> None:
        self._payloads[view.name + request.key()] = payload
        self.answers.append(Answer(view, request, payload))
