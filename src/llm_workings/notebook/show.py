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
    from llm_workings.trace.model import LanguageModel

    from .widget import ViewWidget


@cache
def kernel_lab() -> Lab:
    """The lab of this process: models stay loaded between cells."""
    return Lab()


def show(
    view: str,
    prompt: str,
    model: str | LanguageModel = DEFAULT_MODEL,
    *,
    lab: Lab | None = None,
    state: dict[str, str] | None = None,
    **request: Any,
) -> ViewWidget:
    """A view as a widget: hover, click, ablate; the kernel runs the model again when asked to.

        show("attention", "When Mary and John went to the store,")
        show("logit_lens", text, model="EleutherAI/pythia-70m", chosen=" Mary")
        show("head", text, layer=7, head=3, model=my_model)

    Args:
        view: attention, head, head_row or logit_lens.
        prompt: the text.
        model: a name, or a model that is loaded already.
        lab: whose models to use; by default one lab for the whole kernel.
        state: what is pinned, sorted by, switched on: the page's own URL fields.
        **request: the view's other fields, such as `layer` or `ablate`.

    Returns:
        An anywidget. In a plain terminal its `repr` is the picture in words.

    Raises what the view raises, `UnknownName` for a view that is not there, and `NotReady` if the
    front end was not built.
    """
    from .widget import ViewWidget

    if view not in REGISTRY:
        raise unknown("view", view, REGISTRY)
    lab = lab or kernel_lab()
    if not isinstance(model, str):
        lab.add(model.name, model)
        model = model.name
    asked = REGISTRY[view].parse({"prompt": prompt, "model": model, **request})
    with line_of_progress() as progress:
        payload = REGISTRY[view].run(lab.for_job(progress), asked)
    return ViewWidget(lab, REGISTRY[view], asked, payload, state)
