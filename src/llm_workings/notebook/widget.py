"""A view as an anywidget. `web/hosts/notebook.ts` is the half in the browser.

The front end asks `{id, view, request}`; the kernel answers `{id, ok: true}` with the payload's wire
bytes in one buffer, or `{id, ok: false, error}`. A request that names no prompt or model means
those the widget was opened with.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from typing import Any

import anywidget
import traitlets

from llm_workings.core.errors import LabError, unknown
from llm_workings.core.wire import Payload, pack, unpack
from llm_workings.views import REGISTRY
from llm_workings.views.bundle import script
from llm_workings.views.contract import Request, View
from llm_workings.views.lab import Lab


class ViewWidget(anywidget.AnyWidget):
    """One view on screen.

    Args:
        lab: the models and runs that it answers from.
        view: which view.
        request: what was asked; its prompt and model hold for what the front end asks later.
        payload: what came out.
        state: what is pinned, sorted by, switched on. `widget.state` is what it is now.
    """

    _view = traitlets.Unicode().tag(sync=True)
    _request = traitlets.Dict().tag(sync=True)
    _about = traitlets.Unicode().tag(sync=True)
    _payload = traitlets.Bytes().tag(sync=True)
    _state = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        lab: Lab,
        view: View,
        request: Request,
        payload: Payload,
        state: Mapping[str, str] | None = None,
    ):
        self._lab, self._shown, self._asked = lab, view, request.model_dump(mode="json")
        super().__init__(
            _view=view.name,
            _request=self._asked,
            _about=view.about,
            _payload=pack(payload),
            _state={**self._opened(view), **(state or {})},
        )
        self.on_msg(self._answer)

    @property
    def _esm(self) -> str:
        """The front end's module, read when a widget is made: importing this file needs no bundle."""
        return script("widget.js")

    @property
    def payload(self) -> Payload:
        """What is shown, with its arrays."""
        return unpack(self._payload, self._shown.payload)

    @property
    def state(self) -> dict[str, str]:
        """What is pinned, sorted by, switched on, as the front end last said."""
        return dict(self._state)

    def _opened(self, view: View) -> dict[str, str]:
        """The prompt and model that the widget was opened with, as far as `view` takes them."""
        both = [name for name in ("prompt", "model") if name in view.request.model_fields]
        return {name: self._asked[name] for name in both if name in self._asked}

    def _answer(self, widget: Any, message: Any, buffers: Any) -> None:
        """Answer one request of the front end; other messages on the same channel are let pass."""
        if not isinstance(message, Mapping) or not {"id", "view", "request"} <= message.keys():
            return
        try:
            name = str(message["view"])
            if name not in REGISTRY:
                raise unknown("view", name, REGISTRY)
            view = REGISTRY[name]
            asked = {key: value for key, value in dict(message["request"]).items() if value is not None}
            answer = pack(view.run(self._lab, {**self._opened(view), **asked}))
        except LabError as error:
            self.send({"id": message["id"], "ok": False, "error": error.as_dict()})
        except Exception as error:
            # A fault of ours: the page says that it failed, the cell's log says where.
            traceback.print_exc()
            said = {"kind": "Error", "message": f"The view failed: {error!r}.", "hint": "", "given": {}}
            self.send({"id": message["id"], "ok": False, "error": said})
        else:
            self.send({"id": message["id"], "ok": True}, buffers=[answer])

    def __repr__(self) -> str:
        reading = getattr(self.payload, "reading", None)
        return reading() if reading else f"{self._shown.title} of {json.dumps(self._asked)}"
