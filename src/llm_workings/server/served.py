"""What the lab serves, and the work each request becomes.

Names and texts are checked here, before anything is queued; the work itself is a view of
`llm_workings.views` or a call into the library.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_workings.core.errors import BadInput, LabError, NotReady, TooLarge, unknown
from llm_workings.core.progress import Progress
from llm_workings.core.wire import pack
from llm_workings.data.own_pictures import keep_picture
from llm_workings.data.pictures import PICTURES
from llm_workings.models import catalogue
from llm_workings.models.folder import count_parameters, read_config, weight_files
from llm_workings.models.vision_nets import VISION_NETS, VISION_WHEELS, vision_entries
from llm_workings.views.vision_parts import DEFAULT_NET, IN_A_SET

from .jobs import Work
from .names import AllowedModels

if TYPE_CHECKING:
    from llm_workings.views.contract import Request, View
    from llm_workings.views.lab import Lab


class Served:
    """The models and views of one lab.

    Args:
        lab: where views get their models from.
        views: by name.
        allowed: which models a page may name.
        default: the model a page uses when it names none; by default the best that is here.
    """

    def __init__(
        self, lab: Lab, views: Mapping[str, View], allowed: AllowedModels, *, default: str | None = None
    ):
        self.lab, self.views, self.allowed, self.default = lab, views, allowed, default

    # ---- views -----------------------------------------------------------------------------------

    def view_list(self) -> list[dict[str, Any]]:
        return [view.describe() for view in self.views.values()]

    def view(self, name: str) -> View:
        if name not in self.views:
            raise unknown("view", name, self.views)
        return self.views[name]

    def parse(self, name: str, request: Mapping[str, Any]) -> Request:
        """The whole request, its model's name checked, ready to be run."""
        asked = self.view(name).parse(request)
        model = getattr(asked, "model", None)
        if (net := getattr(asked, "net", None)) is not None:
            self._check_net(net)
        return asked if model is None else asked.model_copy(update={"model": self.allowed.check(model)})

    def _check_net(self, net: str) -> None:
        if net not in VISION_NETS and net not in VISION_WHEELS:
            raise unknown("vision model", net, [*VISION_NETS, *VISION_WHEELS])

    def viewing(self, name: str, asked: Request) -> Work:
        view = self.view(name)
        return lambda progress: pack(view.run(self.lab.for_job(progress), asked))

    def exporting(self, name: str, asked: Request, state: Mapping[str, str]) -> Work:
        from llm_workings.export.record import export_view

        view = self.view(name)
        return lambda progress: export_view(self.lab.for_job(progress), view, asked, state).encode()

    # ---- pictures --------------------------------------------------------------------------------

    def vision_list(self) -> dict[str, Any]:
        """The vision models and the sets of pictures that a page may offer."""
        sets = [
            {"name": name, "title": one.title, "about": one.about, "shape": one.shape, "n": IN_A_SET}
            for name, one in PICTURES.items()
        ]
        own = {name: net.data for name, net in VISION_NETS.items()}
        models = [{**asdict(entry), "set": own.get(entry.name)} for entry in vision_entries()]
        return {"models": models, "sets": sets, "default": DEFAULT_NET}

    def keep_picture(self, data: bytes) -> str:
        """Keep a picture that the user gave; the name to ask for it by."""
        return keep_picture(data)

    # ---- models ----------------------------------------------------------------------------------

    def model_list(self) -> dict[str, Any]:
        """Every model a page may offer, and which one it uses when none is named."""
        loaded = set(self.lab.loaded())
        models = [asdict(entry) for entry in (*catalogue.entries(), *map(_local, self.allowed.found()))]
        for model in models:
            model["loaded"] = model["name"] in loaded
        return {"models": models, "default": self.default or catalogue.default_model()}

    def is_here(self, name: str) -> bool:
        """Whether the model can be loaded without fetching anything."""
        if name in self.lab.loaded() or Path(name).is_absolute():
            return True
        return any(entry.here for entry in catalogue.entries() if entry.name == name)

    def is_loaded(self, name: str) -> bool:
        return self.allowed.check(name) in self.lab.loaded()

    def fetching(self, name: str) -> Work:
        if name in VISION_WHEELS:

            def work_of_vision(progress: Progress) -> None:
                from llm_workings.models.vision_load import fetch_vision

                fetch_vision(name, progress)

            return work_of_vision
        checked = self.allowed.check(name)

        def work(progress: Progress) -> None:
            from llm_workings.models.load import fetch_model  # brings torch: not before it is needed

            fetch_model(checked, progress)

        return work

    def loading(self, name: str) -> Work:
        checked = self.allowed.check(name)

        def work(progress: Progress) -> None:
            self.lab.for_job(progress).model(checked)

        return work

    def tokenizing(self, name: str, text: str) -> Work:
        """The tokens of a text as JSON. Raises `NotReady` for a model that is not on this machine:
        nobody who only types expects a download."""
        checked = self.allowed.check(name)
        if not self.is_here(checked):
            raise NotReady(
                f"The model {name!r} is not on this machine yet.",
                hint="Fetch it on the page Models.",
                given={"model": name},
            )

        def work(progress: Progress) -> bytes:
            lab = self.lab.for_job(progress)
            model = lab.model(checked)
            tokens = lab.tokens(model, model.tokenizer.encode(text))
            return json.dumps(
                {"tokens": [token.model_dump() for token in tokens], "n_ctx": model.spec.n_ctx}
            ).encode()

        return work


def _local(path: Path) -> catalogue.Entry:
    """A folder or GGUF file of the user's own, as a list of models shows it."""
    family, parameters, size, about = "", None, None, "On this machine, in a folder given with --models."
    try:
        if path.is_dir():
            family = str(read_config(path).get("model_type", ""))
            files = list(weight_files(path))
            parameters, size = count_parameters(files), sum(file.stat().st_size for file in files)
        else:
            family, size = "GGUF", path.stat().st_size
    except (LabError, OSError) as error:
        about = f"It cannot be loaded as it is. {error}"
    return catalogue.Entry(
        name=str(path),
        title=path.name,
        kind="local",
        family=family,
        about=about,
        parameters=parameters,
        bytes=size,
        here=True,
        fetchable=False,
        licence="see its card",
        where=str(path),
    )


def check_texts(value: Any, limit: int) -> None:
    """Refuse, anywhere in a request, a text longer than `limit` characters or with half a character
    in it (a lone surrogate, which JSON can say and UTF-8 cannot), before anything reads it."""
    if isinstance(value, str):
        if len(value) > limit:
            raise TooLarge(
                f"A text of {len(value)} characters ({value[:40]!r}…) is longer than the {limit} read here.",
                hint="Shorten it; a model's context is far shorter.",
                given={"characters": len(value), "limit": limit},
            )
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadInput(
                f"The text is broken at character {error.start}: {value[error.start]!r} is half of one.",
                hint="Paste it again.",
            ) from None
    elif isinstance(value, Mapping):
        for key, item in value.items():
            check_texts(key, limit)
            check_texts(item, limit)
    elif isinstance(value, Iterable):
        for item in value:
            check_texts(item, limit)
