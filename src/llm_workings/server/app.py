"""The lab's web application: pages, routes, and nothing that computes.

Every picture is a view of `llm_workings.views`; this carries its request in, its progress out and
its payload back, and keeps the record. Routes and frames are listed in `docs/architecture.md`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, FastAPI, Query, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.websockets import WebSocketDisconnect

from llm_workings.core.errors import BadInput, LabError, NotReady, UnknownName
from llm_workings.core.progress import SILENT
from llm_workings.core.store import Store

from . import pages
from .guards import Guards, Limits, error_response
from .jobs import ENDED, Job, Jobs, Work
from .network import network_routes
from .served import Served, check_texts

NOTE = 20_000  # characters of a note
WIRE = "application/vnd.safetensors"


class Ask(BaseModel):
    """What `POST /api/jobs` takes."""

    model_config = ConfigDict(extra="forbid")

    kind: Annotated[str, Field(description="view, fetch or load")]
    name: Annotated[str, Field(max_length=4096, description="of the view or the model")]
    request: dict[str, Any] = Field(default_factory=dict)
    record: bool = True  # False for a small follow-up (one row on hover) that no list of runs should show


class TokensAsk(BaseModel):
    """What `POST /api/tokens` takes."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, Field(max_length=4096)]
    text: str


class ExportAsk(BaseModel):
    """What `POST /api/export` takes."""

    model_config = ConfigDict(extra="forbid")

    name: str
    request: dict[str, Any]
    state: dict[str, str] = Field(default_factory=dict)


class Annotation(BaseModel):
    """What `PATCH /api/runs/{number}` takes."""

    model_config = ConfigDict(extra="forbid")

    note: str | None = None
    kept: bool | None = None


def create_app(
    served: Served,
    store: Store,
    *,
    token: str | None = None,
    hosts: Iterable[str] = (),
    limits: Limits | None = None,
    bundle: Path = pages.BUNDLE,
    load_first: str | None = None,
) -> FastAPI:
    """The application.

    Args:
        served: the models and views it serves.
        store: where runs are recorded; the caller closes it after the app has shut down.
        token: asked of every request; to be given whenever others can reach the port.
        hosts: further values of the Host header to answer to.
        limits: bounds of what a request may bring.
        bundle: the folder of the built page.
        load_first: a model to load as soon as the app is up.
    """
    limits = limits or Limits()
    jobs = Jobs(store, limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        jobs.start()
        if load_first is not None:
            jobs.submit("load", load_first, served.loading(load_first), record=False)
        yield
        await asyncio.to_thread(jobs.close)

    app = FastAPI(title="llm-workings", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guards, token=token, hosts=tuple(hosts), limits=limits)
    app.add_exception_handler(LabError, _lab_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.include_router(_jobs_routes(served, jobs, store, limits), prefix="/api")
    app.include_router(_model_routes(served, jobs, limits), prefix="/api")
    app.include_router(_run_routes(store), prefix="/api")
    app.include_router(network_routes(), prefix="/api")

    @app.get("/api/{path:path}")
    def no_such_route(path: str) -> Response:
        raise UnknownName(f"There is no route /api/{path}.", hint="See docs/architecture.md for the routes.")

    app.mount("/assets", pages.Assets(directory=bundle / "assets", check_dir=False))
    known = {*pages.PAGES, *(view.name.replace("_", "-") for view in served.views.values())}

    @app.get("/{path:path}")
    def page(path: str, request: Request) -> Response:
        if path.rstrip("/") in known:
            return pages.page(bundle)
        try:
            return pages.loose_file(bundle, path)
        except UnknownName:
            if "text/html" not in request.headers.get("accept", ""):
                raise
            return pages.page(bundle, status=404)  # which says that there is no such page

    return app


# ---- jobs ----------------------------------------------------------------------------------------


def _jobs_routes(served: Served, jobs: Jobs, store: Store, limits: Limits) -> APIRouter:
    router = APIRouter()

    @router.get("/views")
    def list_views() -> dict[str, Any]:
        return {"views": served.view_list()}

    @router.post("/jobs", status_code=202)
    def submit(ask: Ask) -> dict[str, Any]:
        check_texts(ask.model_dump(), limits.text)
        if ask.kind == "view":
            asked = served.parse(ask.name, ask.request)
            job = jobs.submit(
                "view",
                ask.name,
                served.viewing(ask.name, asked),
                model=getattr(asked, "model", getattr(asked, "net", "")),
                request=asked.model_dump(mode="json"),
                record=ask.record,
            )
        elif ask.kind == "fetch":
            job = jobs.submit("fetch", ask.name, served.fetching(ask.name), model=ask.name, record=ask.record)
        elif ask.kind == "load":
            job = jobs.submit("load", ask.name, served.loading(ask.name), record=False)
        else:
            raise BadInput(f"There is no kind of job {ask.kind!r}.", hint="Known: view, fetch, load.")
        return job.as_dict()

    @router.get("/jobs")
    def list_jobs() -> dict[str, Any]:
        return {"jobs": [job.as_dict() for job in jobs.all() if not job.ended]}

    @router.get("/jobs/{name}")
    def see(name: str) -> dict[str, Any]:
        return jobs.get(name).as_dict()

    @router.delete("/jobs/{name}")
    def cancel(name: str) -> dict[str, Any]:
        return jobs.cancel(name).as_dict()

    @router.get("/jobs/{name}/payload")
    def job_payload(name: str) -> Response:
        job = jobs.get(name)
        if job.error is not None and job.ended:
            return error_response(job.error, job.status)
        if not job.ended:
            raise NotReady(
                f"The job {name!r} is {job.state}: it has no payload yet.",
                hint="Watch its events; the last one says that it is done.",
            )
        if job.run is not None:
            return _wire(store.payload(job.run))
        if job.result is None:
            raise UnknownName(f"The job {name!r} has no payload: a {job.kind} makes none.")
        return _wire(job.result)

    @router.get("/jobs/{name}/partial")
    def job_partial(name: str) -> Response:
        job = jobs.get(name)
        picture = job.partial
        if picture is None:  # no mistake of the page's: it may have asked a moment late
            return Response(status_code=204)
        return Response(picture, media_type=WIRE, headers={"cache-control": "no-store"})

    @router.websocket("/jobs/{name}/events")
    async def events(socket: WebSocket, name: str) -> None:
        await socket.accept()
        try:
            job = jobs.get(name)
        except UnknownName as error:
            await socket.send_json({"state": "failed", "error": error.as_dict(), "run": None})
            await socket.close()
            return
        with suppress(WebSocketDisconnect):
            await _send_events(socket, job)
        if job.kind == "view" and job.state == "queued" and not job.watched:
            jobs.cancel(name)  # the page that asked was closed: nobody should wait behind it

    return router


async def _send_events(socket: WebSocket, job: Job) -> None:
    """Send the job's state now and after each change, until it ends or nobody listens any more.

    Only the newest state is ever sent: a slow listener gets fewer frames, never a backlog.
    """
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        with suppress(RuntimeError):  # the server has stopped, its loop is closed
            loop.call_soon_threadsafe(changed.set)

    forget = job.watch(tell)
    gone = asyncio.create_task(_until_closed(socket))
    try:
        while not gone.done():
            changed.clear()
            event = job.as_dict()
            await socket.send_json(event)
            if event["state"] in ENDED:
                await socket.close()
                return
            news = asyncio.create_task(changed.wait())
            await asyncio.wait({news, gone}, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
    finally:
        forget()
        gone.cancel()


async def _until_closed(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _wire(data: bytes) -> Response:
    return Response(data, media_type=WIRE, headers={"cache-control": "private, max-age=3600, immutable"})


# ---- models, tokens, export ------------------------------------------------------------------------


def _model_routes(served: Served, jobs: Jobs, limits: Limits) -> APIRouter:
    router = APIRouter()

    @router.get("/models")
    def list_models() -> dict[str, Any]:
        return served.model_list()

    @router.get("/vision")
    def list_vision() -> dict[str, Any]:
        return served.vision_list()

    @router.post("/pictures", status_code=201)
    async def keep(request: Request) -> dict[str, str]:
        data = await request.body()
        return {"name": await asyncio.to_thread(served.keep_picture, data)}

    @router.post("/tokens")
    async def tokens(ask: TokensAsk, request: Request) -> Response:
        check_texts(ask.model_dump(), limits.text)
        work = served.tokenizing(ask.model, ask.text)
        if served.is_loaded(ask.model):  # a tokenizer is nobody's: typing need not wait for a long job
            return Response(await asyncio.to_thread(work, SILENT), media_type="application/json")
        return await _errand(jobs, request, "tokens", ask.model, work, "application/json")

    @router.post("/export")
    async def export(ask: ExportAsk, request: Request) -> Response:
        check_texts(ask.model_dump(), limits.text)
        asked = served.parse(ask.name, ask.request)
        work = served.exporting(ask.name, asked, ask.state)
        response = await _errand(jobs, request, "export", ask.name, work, "text/html")
        if response.status_code == 200:
            response.headers["content-disposition"] = f'attachment; filename="{ask.name}.html"'
        return response

    return router


async def _errand(
    jobs: Jobs, request: Request, kind: str, name: str, work: Work, media_type: str
) -> Response:
    """Have the models' thread do something short, and answer with what came out. Who asked and left
    no longer waits for it: it is cancelled."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    job = await asyncio.to_thread(jobs.submit, kind, name, work, record=False)

    def tell() -> None:
        if job.ended:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(ended.set)

    forget = job.watch(tell)
    tell()
    over, gone = asyncio.create_task(ended.wait()), asyncio.create_task(_until_gone(request))
    try:
        await asyncio.wait({over, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        forget()
        over.cancel()
        gone.cancel()
    if not job.ended:
        jobs.cancel(job.id)
        return Response(status_code=499)  # nobody reads it
    if job.error is not None:
        return error_response(job.error, job.status)
    return Response(job.result or b"", media_type=media_type)


# ---- the run store -----------------------------------------------------------------------------------


def _run_routes(store: Store) -> APIRouter:
    router = APIRouter()

    @router.get("/runs")
    def list_runs(
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        before: int | None = None,
        kind: str | None = None,
        name: str | None = None,
        model: str | None = None,
        kept: bool | None = None,
    ) -> dict[str, Any]:
        found = store.newest(limit=limit + 1, before=before, kind=kind, name=name, model=model, kept=kept)
        return {"runs": [run.as_dict() for run in found[:limit]], "more": len(found) > limit}

    @router.get("/runs/{number}")
    def see_run(number: int) -> dict[str, Any]:
        return store.get(number).as_dict()

    @router.patch("/runs/{number}")
    def annotate(number: int, change: Annotated[Annotation, Body()]) -> dict[str, Any]:
        check_texts(change.model_dump(), NOTE)
        return store.annotate(number, note=change.note, kept=change.kept).as_dict()

    @router.delete("/runs/{number}", status_code=204)
    def delete(number: int) -> None:
        store.delete(number)

    @router.get("/runs/{number}/payload")
    def run_payload(number: int) -> Response:
        return _wire(store.payload(number))

    return router


# ---- errors ------------------------------------------------------------------------------------------


async def _lab_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, LabError)
    return error_response(error.as_dict(), error.status)


async def _invalid(request: Request, error: Exception) -> Response:
    """A body or query that is not what the route takes, in words."""
    assert isinstance(error, RequestValidationError)
    told = [f"{_place(problem['loc'])}: {problem['msg']}" for problem in error.errors()[:5]]
    refused = BadInput(
        f"The request to {request.url.path} cannot be read: {'; '.join(told)}.",
        hint="See docs/architecture.md for what this route takes.",
        given={"problems": told},
    )
    return error_response(refused.as_dict(), refused.status)


def _place(location: Iterable[Any]) -> str:
    return ".".join(str(part) for part in location if part not in ("body", "query", "path")) or "the body"


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = {400: BadInput, 404: UnknownName}.get(error.status_code, LabError)
    told = kind(f"{request.method} {request.url.path}: {error.detail.rstrip('.')}.").as_dict()
    return error_response(told, error.status_code, error.headers)
