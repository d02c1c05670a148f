"""A model with its tokenizer, and the one way to look inside it: `model.run`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput, BadShape, NotSupported
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.sites import Site, sites_of
from llm_workings.models.spec import NoHead
from llm_workings.models.transformer import KeyValueCache, Resume, Transformer

from . import budget as memory
from .edits import AnyEdit
from .generate import Stream, Text
from .plan import LOGITS, Names, Plan, Scored, make_plan
from .prompt import Prompt, read_prompt
from .run import Run, Start
from .tap import NotFinite, Tracer, finite, own
from .target import Target, gradients, scalar

if TYPE_CHECKING:
    from llm_workings.models.load import Loaded
    from llm_workings.models.tokens import Tokenizer


class LanguageModel:
    """A transformer, its tokenizer and its name.

    Args:
        transformer: put into evaluation mode; its weights are never changed by a run.
        tokenizer: its own.
        name: what to call it.
        origin: what it was loaded as (`models.load.Loaded`), if it was loaded.
    """

    def __init__(
        self,
        transformer: Transformer,
        tokenizer: Tokenizer,
        name: str = "model",
        origin: Loaded | None = None,
    ):
        self.transformer, self.tokenizer = transformer.eval(), tokenizer
        self.spec, self.name, self.origin = transformer.spec, name, origin

    @property
    def device(self) -> torch.device:
        """Where its weights are and its runs take place."""
        return self.transformer.embed.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of its weights and of its runs."""
        return self.transformer.embed.weight.dtype

    @property
    def n_parameters(self) -> int:
        """How many numbers it has learned; tied ones count once."""
        return sum(weight.numel() for weight in self.transformer.parameters())

    @property
    def sites(self) -> tuple[Site, ...]:
        """Every place that can be kept and edited, in the order that a run reaches them."""
        return sites_of(self.spec)

    # --- tokens --------------------------------------------------------------------------------
    def tokens(self, text: str, *, special: bool = True) -> list[int]:
        """The ids of a text's tokens, with those that the model expects around it (BOS, [CLS])."""
        return read_prompt(self, text, special=special).tokens[0].tolist()

    def token(self, word: int | str) -> int:
        """The id of a text that is one token. Raises `BadInput` if it is more, or an id too large."""
        index = self.tokenizer.one(word) if isinstance(word, str) else int(word)
        if not 0 <= index < self.spec.vocab_size:
            raise BadInput(
                f"There is no token {index}.", hint=f"Token ids go from 0 to {self.spec.vocab_size - 1}."
            )
        return index

    # --- running -------------------------------------------------------------------------------
    def run(
        self,
        prompt: Prompt | None = None,
        keep: Names = (),
        edits: AnyEdit | Sequence[AnyEdit] = (),
        *,
        grad: Target | None = None,
        logits: Scored = True,
        stop: int | None = None,
        resume: Start | None = None,
        resumable: bool = False,
        budget: int | str | None = None,
        progress: Progress = SILENT,
        special: bool = True,
    ) -> Run:
        """Run the model on a prompt, keep what was named, edit what was named.

        Args:
            prompt: a text, a list of texts, ids (a list, a list of lists, or a tensor
                `[position]` or `[batch, position]`). Rows of unequal length are padded on the right,
                and each comes out as it would alone.
            keep: sites to keep: `Site`s, names ("pattern.7"), TransformerLens's names, globs
                ("resid_post.*"), layer ranges ("z.3-6"). Nothing else is held.
            edits: changes to make on the way; those at one site in the order given.
            grad: a scalar to differentiate with respect to every kept site: a function of the run,
                "loss", ("logit", " Mary"), ("log_probability", " Mary") or
                ("logit_difference", " Mary", " John"). Then `run.grad["resid_post", 3]`.
            logits: of all positions (True), of each row's last ("last"), of the positions listed, or
                of none (False). With False nothing above the last kept layer is computed.
            stop: run only the layers before this one, and no head.
            resume: take up at a `Start` (`base.at(layer, position)`) instead of a prompt; layers
                below and positions before it are not computed again.
            resumable: hold what `run.at` needs: the stream at every layer, the keys and values.
            budget: bytes, or text such as "12GB"; by default what is free.
            special: whether the tokenizer adds the tokens the model expects around a text.

        Raises:
            BadInput: an empty prompt, an unreadable one, a bad id, an index that is not there.
            TooLarge: a prompt past the context, or a run past the memory budget.
            UnknownName: a site that is not there, with the nearest.
            EditNeverFired: an edit at a place that this run does not reach.
            BadShape: an edit's value that does not fit.
            NotFinite: a NaN or an infinity came out.
            Cancelled: the progress said to stop.
        """
        plan = self._plan(prompt, keep, edits, grad, logits, stop, resume, resumable, special)
        memory.check(plan.forecast(self.dtype.itemsize), self.device, budget)
        graph = grad is not None
        held = plan.held if graph else plan.held - {LOGITS}  # logits are returned anyway

        def trace(watch: bool) -> tuple[Tracer, Tensor | None, KeyValueCache | None]:
            tracer = Tracer(held, plan.edits, plan.frame, graph, watch, progress, self.spec.n_layers)
            return tracer, *self._forward(tracer, plan)

        slopes, value = None, None
        with torch.set_grad_enabled(graph), frozen(self.transformer):
            tracer, answer, cache = trace(watch=False)
            if tracer.last is not None and not finite(tracer.last.detach()):
                raise self._not_finite(trace(watch=True)[0])
            tracer.check_fired(plan.edits)
            if grad is not None:
                target = scalar(Run(self, plan.batch, plan.frame, tracer.kept, answer, cache), grad)
                slopes = gradients(target, {place: tracer.kept[place] for place in plan.keep})
                value = float(target.detach())
        kept = {place: own(v) for place, v in tracer.kept.items() if place != LOGITS}
        answer = None if answer is None else answer.detach()
        return Run(self, plan.batch, plan.frame, kept, answer, cache, slopes, value)

    def forecast(
        self,
        prompt: Prompt | None = None,
        keep: Names = (),
        edits: AnyEdit | Sequence[AnyEdit] = (),
        *,
        grad: Target | None = None,
        logits: Scored = True,
        stop: int | None = None,
        resume: Start | None = None,
        resumable: bool = False,
        special: bool = True,
    ) -> memory.Forecast:
        """The bytes that such a `run` would take, without running it."""
        plan = self._plan(prompt, keep, edits, grad, logits, stop, resume, resumable, special)
        return plan.forecast(self.dtype.itemsize)

    def read_out(self, residual: Tensor) -> Tensor:
        """What the head answers to a stream `[..., d_model]`: final norm, then logits `[..., vocabulary]`.

        The logit lens reads any layer's stream with it. Raises `NotSupported` without a head,
        `BadShape` for another width.
        """
        if isinstance(self.spec.head, NoHead):
            raise NotSupported(f"{self.name} has no head to read the stream with.")
        if residual.shape[-1:] != (self.spec.d_model,):
            raise BadShape(
                f"The stream of {self.name} is {self.spec.d_model} wide; given was {list(residual.shape)}."
            )
        flat = residual.reshape(1, -1, self.spec.d_model).to(self.device, self.dtype)
        with torch.no_grad():
            return self.transformer.read_out(flat).reshape(*residual.shape[:-1], -1)

    def _plan(
        self,
        prompt: Prompt | None,
        keep: Names,
        edits: AnyEdit | Sequence[AnyEdit],
        grad: Target | None,
        logits: Scored,
        stop: int | None,
        resume: Start | None,
        resumable: bool,
        special: bool,
    ) -> Plan:
        if resume is not None and prompt is not None:
            raise BadInput("A resumed run goes on with the text of its start.", hint="Leave out the prompt.")
        if resume is None and prompt is None:
            raise BadInput("There is no prompt.", hint="Give a text, token ids, or resume=...")
        batch = resume.batch if resume is not None else read_prompt(self, prompt, special=special)
        return make_plan(
            self.spec,
            batch,
            keep,
            as_edits(edits),
            logits=logits,
            stop=stop,
            resume=resume,
            resumable=resumable,
            graph=grad is not None,
        )

    def _forward(self, tracer: Tracer, plan: Plan) -> tuple[Tensor | None, KeyValueCache | None]:
        start, computed, batch = plan.resume, plan.frame.computed, plan.batch
        cache = resume = None
        if start is not None:
            resume = Resume(start.layer, start.residual, start.position)
            # a copy to grow, so that the start can be taken up again
            cache = None if start.cache is None else start.cache.before(start.position)
        if cache is None and plan.resumable:
            cache = KeyValueCache(self.spec.n_layers)
        every = list(plan.frame.scored) == list(computed)
        scored = torch.tensor([p - computed.start for p in plan.frame.scored], device=self.device)
        answer = self.transformer(
            batch.tokens[:, computed.start :],
            tap=tracer,
            # causally, padding on the right is out of every real token's sight
            present=batch.present() if batch.padded and not self.spec.causal else None,
            cache=cache,
            resume=resume,
            stop=plan.stop,
            score=slice(None) if every else scored,
        )
        if isinstance(self.spec.head, NoHead):
            answer = None
        if not plan.resumable or cache is None:
            return answer, None
        # keys and values are slices of one projection: held alone, they are a part of its size
        cache.keys = [None if part is None else own(part) for part in cache.keys]
        cache.values = [None if part is None else own(part) for part in cache.values]
        return answer, cache

    def _not_finite(self, tracer: Tracer) -> NotFinite:
        edits = [str(edit) for group in tracer.edits.values() for _, edit in group]
        return NotFinite(
            f"A NaN or an infinity came out of {self.name}; it first stands at {tracer.culprit}.",
            hint=f"Look at the edits: {'; '.join(edits)}."
            if edits
            else "The weights are damaged, or the precision is too narrow: try float32.",
            given={"site": str(tracer.culprit), "edits": edits},
        )

    # --- writing -------------------------------------------------------------------------------
    def generate(
        self,
        prompt: Prompt,
        n: int = 20,
        *,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        edits: AnyEdit | Sequence[AnyEdit] = (),
        budget: int | str | None = None,
        progress: Progress = SILENT,
        special: bool = True,
    ) -> Text:
        """Write on from a prompt.

        Args:
            n: at most this many tokens; fewer if the model ends its text or a stop text is met.
            temperature: 0 takes the best guess at each step; 1 draws from the model's own
                distribution; less sharpens it, more flattens it.
            top_k, top_p: draw only from the k best tokens; from the fewest that add up to p.
            seed: of the draws; a fresh one, told in the result, if none is given.
            stop: texts at which to end; they are cut off.
            edits: made at each step, at the positions computed in it. An edit of all positions
                therefore holds for prompt and written text alike. Positions are counted in the
                whole text, and negative ones from the prompt's end, fixed before the first step.
            progress: told after each token; `Cancelled` stops there.

        Raises `NotSupported` for a model that reads both ways, `TooLarge` past its context, and
        `EditNeverFired` at the end for an edit whose position was never written.
        """
        writing = self.stream(
            prompt,
            n,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            stop=stop,
            edits=edits,
            budget=budget,
            progress=progress,
            special=special,
        )
        for _ in writing:
            pass
        return writing.text()

    def stream(
        self, prompt: Prompt, n: int = 20, *, edits: AnyEdit | Sequence[AnyEdit] = (), **how: Any
    ) -> Stream:
        """The same, one token at a time: `for guess in model.stream(...)`; then `.text()`."""
        return Stream(self, prompt, n, edits=as_edits(edits), **how)

    def save(self, folder: str | Path, *, overwrite: bool = False, progress: Progress = SILENT) -> Path:
        """Write the model as a Hugging Face folder that `transformers` opens, bit for bit what was loaded.

        Raises `NotSupported` for what none of its classes can be (a toy, a model made by hand),
        `BadInput` where something else is in the way. See `models.save.save`.
        """
        from llm_workings.models.save import save

        if self.origin is None:
            raise NotSupported(f"{self.name} was not loaded from anywhere, so no config says what it is.")
        return save(self.origin, folder, overwrite=overwrite, progress=progress)

    def __repr__(self) -> str:
        spec = self.spec
        heads = spec.attention.n_heads
        family = ""
        if self.origin is not None and self.origin.family is not None:
            family = f" ({self.origin.family.name})"
        shared = (
            f" ({spec.attention.n_key_value_heads} key-value)"
            if spec.attention.n_key_value_heads < heads
            else ""
        )
        return (
            f"LanguageModel {self.name}{family}: {spec.n_layers} layers of {heads} heads{shared}, "
            f"d_model {spec.d_model}, "
            f"{'causal' if spec.causal else 'bidirectional'}, {self.n_parameters:,} parameters, "
            f"{str(self.dtype).removeprefix('torch.')} on {self.device}"
        )


def load(
    name: str, device: str | None = None, dtype: str | None = None, progress: Progress = SILENT
) -> LanguageModel:
    """The model called `name`: one of the catalogue's, a Hugging Face id (with `@revision`), a folder
    or a GGUF file.

    Args:
        device: "cpu", "cuda", "cuda:1", "mps"; by default a GPU if PyTorch sees one.
        dtype: "float32", "float64", "bfloat16", "float16"; by default float32.
    """
    from llm_workings.models.load import load_model

    loaded = load_model(name, device=device or "auto", dtype=dtype or "float32", progress=progress)
    return LanguageModel(loaded.transformer, loaded.need_tokenizer(), name, loaded)


def as_edits(edits: AnyEdit | Sequence[AnyEdit]) -> tuple[AnyEdit, ...]:
    """One edit or several, as several. Raises `BadInput` for what is none."""
    found = (edits,) if isinstance(edits, AnyEdit) else tuple(edits)
    for edit in found:
        if not isinstance(edit, AnyEdit):
            raise BadInput(
                f"{edit!r} is not an edit.", hint='For example: Edit("z.3", Where(heads=5), Zero()).'
            )
    return found


@contextmanager
def frozen(transformer: Transformer) -> Iterator[None]:
    """Weights ask for no gradient inside, so a graph begins at the lowest kept site."""
    asking = [weight for weight in transformer.parameters() if weight.requires_grad]
    for weight in asking:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in asking:
            weight.requires_grad_(True)
