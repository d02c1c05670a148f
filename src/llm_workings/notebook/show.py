"""Shows a view where Python runs."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from llm_workings.core.errors import unknown
from llm_workings.models.catalogue import DEFAULT_MODEL
from llm_workings.views import REGISTRY
from llm_workings.views.lab import Lab

from .progress import line_of_progress

if TYPE_CHECKING:
    from llm_workings.playground.network import Network
    from llm_workings.trace.model import LanguageModel

    from .widget import ViewWidget


@cache
def kernel_lab() -> Lab:
    """The lab of this process: models stay loaded between cells."""
    return Lab()


def show(
    view: str | Network,
    prompt: str | None = None,
    model: str | LanguageModel | None = None,
    *,
    lab: Lab | None = None,
    state: dict[str, str] | None = None,
    **request: Any,
) -> ViewWidget:
    """A view as a widget: hover, click, ablate; the kernel runs the model again when asked to.

        show("attention", "When Mary and John went to the store,")
        show("logit_lens", text, model="EleutherAI/pythia-70m", chosen=" Mary")
        show("head", text, layer=7, head=3, model=my_model)
        show("network", config={"layers": [2, 4, 1]}, data={"name": "xor"}, steps=2000)
        show(network)

    Args:
        view: attention, head, head_row, logit_lens or network; or a `Network` that has learned, to be
            shown as it went, with the forks of its `run`.
        prompt: the text, for views of a model.
        model: a name, or a model that is loaded already; the default one where it is left out.
        lab: whose models to use; by default one lab for the whole kernel.
        state: what is pinned, sorted by, switched on: the page's own URL fields.
        **request: the view's other fields, such as `layer` or `ablate`.

    Returns:
        An anywidget. In a plain terminal its `repr` is the picture in words.

    Raises what the view raises, `UnknownName` for a view that is not there, and `NotReady` if the
    front end was not built.
    """
    from .widget import ViewWidget

    if not isinstance(view, str):
        return _show_network(view, lab or kernel_lab(), state, **request)
    if view not in REGISTRY:
        raise unknown("view", view, REGISTRY)
    lab = lab or kernel_lab()
    if model is None:
        model = DEFAULT_MODEL if "model" in REGISTRY[view].request.model_fields else None
    elif not isinstance(model, str):
        lab.add(model.name, model)
        model = model.name
    given = {"prompt": prompt, "model": model}
    given = {name: value for name, value in given.items() if value is not None}
    asked = REGISTRY[view].parse({**given, **request})
    with line_of_progress() as progress:
        payload = REGISTRY[view].run(lab.for_job(progress), asked)
    return ViewWidget(lab, REGISTRY[view], asked, payload, state)


def _show_network(
    network: Network,
    lab: Lab,
    state: dict[str, str] | None,
    *,
    frames: int = 40,
    sample: int | None = 0,
    place: str | None = None,
) -> ViewWidget:
    """What a network went through, recorded from its run. Arguments as the view's."""
    from llm_workings.views.network_details import Watched, check
    from llm_workings.views.network_recording import record

    from .widget import ViewWidget

    run, view = network.run, REGISTRY["network"]
    watched = Watched(sample, place, algebra=True, paths=True)
    check(run, watched)
    with line_of_progress() as progress:
        recording = record(run, getattr(run.data, "spec", None), watched, frames=frames, progress=progress)
    asked = {"sample": sample, "place": place, "frames": frames, "steps": run.step_now}
    request = view.parse({"config": recording.setting.config, "data": recording.setting.data, **asked})
    return ViewWidget(lab, view, request, recording, state)
