"""Starting the lab: taking the port, opening the page, stopping cleanly."""

from __future__ import annotations

import secrets
import socket
import threading
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from llm_workings.core.errors import BadInput

DEFAULT_PORT = 7860


def run_lab(
    *,
    model: str | None,
    host: str,
    port: int,
    open_page: bool,
    folders: Sequence[Path],
    hosts: Sequence[str],
    say: Callable[[str], None],
) -> None:
    """The whole lab, until Ctrl-C: models, views, store, server, browser.

    The port is taken before anything slow, so that a taken one is told at once, and the page opens
    while the model is still loading. `say` prints a line.
    """
    for folder in folders:
        if not folder.exists():
            raise BadInput(f"There is no folder {str(folder)!r}.", hint="Give --models a folder of models.")
    listening = bind(host, port)
    try:
        token = None if is_loopback(listening) else secrets.token_urlsafe(16)
        if token is not None:
            hosts = [*hosts, socket.gethostname()]

        from llm_workings.core.store import Store
        from llm_workings.models import catalogue
        from llm_workings.views import REGISTRY
        from llm_workings.views.lab import Lab

        from .app import create_app
        from .names import AllowedModels
        from .served import Served

        if model is not None and Path(model).exists():
            model = str(Path(model).resolve())
            folders = [*folders, Path(model)]
        allowed = AllowedModels((entry.name for entry in catalogue.entries()), folders)
        first = allowed.check(model) if model is not None else catalogue.default_model()
        served = Served(Lab(files=False), REGISTRY, allowed, default=first if model is not None else None)
        with Store() as store:
            app = create_app(
                served,
                store,
                token=token,
                hosts=hosts,
                load_first=first if model is not None or served.is_here(first) else None,
            )
            address = address_of(listening, token)
            say(f"The lab is open at {address}")
            if token is not None:
                say("Other machines reach it under this one's name or address, with the same port and token.")
            say("Ctrl-C closes it.")
            if open_page:
                open_browser(address)
            serve(app, listening)
    finally:
        listening.close()


def bind(host: str, port: int) -> socket.socket:
    """A socket listening at `host` and `port` (0: any free one).

    Raises:
        BadInput: the port is taken, with the next free one; or the host is not this machine's.
    """
    if not 0 <= port <= 65535:
        raise BadInput(f"There is no port {port}.", hint="Ports run from 1 to 65535; 0 takes any free one.")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        taken = _listen(family, kind, address)
    except socket.gaierror as error:
        raise BadInput(
            f"The host {host!r} is not a name or address of this machine.",
            hint="Leave --host out to listen on this machine only, or give 0.0.0.0 for every network.",
        ) from error
    except PermissionError as error:
        raise BadInput(
            f"The port {port} needs more rights than this user has.", hint=f"Use --port {DEFAULT_PORT}."
        ) from error
    except OSError as error:
        if not _is_mine(family, address):
            raise BadInput(
                f"The lab cannot listen at {host!r}: {error.strerror}.",
                hint="Leave --host out to listen on this machine only.",
            ) from error
        raise BadInput(
            f"The port {port} at {host} is taken, perhaps by another lab.",
            hint=_advice(family, kind, address),
            given={"host": host, "port": port},
        ) from error
    return taken


def _listen(family: int, kind: int, address: tuple) -> socket.socket:
    taken = socket.socket(family, kind)
    try:
        # Lets a lab start again at once after another; on Windows it would let two share the port.
        if hasattr(socket, "SO_REUSEADDR") and not hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        taken.listen(128)
    except BaseException:
        taken.close()
        raise
    return taken


def _is_mine(family: int, address: tuple) -> bool:
    try:
        _listen(family, socket.SOCK_STREAM, (address[0], 0, *address[2:])).close()
    except OSError:
        return False
    return True


def _advice(family: int, kind: int, address: tuple) -> str:
    for port in range(address[1] + 1, min(address[1] + 100, 65536)):
        try:
            _listen(family, kind, (address[0], port, *address[2:])).close()
        except OSError:
            continue
        return f"Use --port {port}, which is free, or --port 0 for any."
    return "Use --port 0 for any free one."


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine can reach it."""
    address = listening.getsockname()[0]
    return address == "::1" or address.startswith("127.")


def address_of(listening: socket.socket, token: str | None = None) -> str:
    """The address to open in a browser on this machine."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?token={token}" if token else "")


def configure(app: ASGIApp, *, log_level: str = "warning") -> uvicorn.Config:
    """How uvicorn serves the lab."""
    return uvicorn.Config(
        app,
        log_level=log_level,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing in front of it is trusted to say who asks
        timeout_graceful_shutdown=3,
        ws_max_size=2**26,  # a saved network may come in; far below this it is told that it is too large
        ws_per_message_deflate=False,  # a network's frames: packing them took longer than making them
        lifespan="on",
    )


def serve(app: ASGIApp, listening: socket.socket, *, log_level: str = "warning") -> None:
    """Serve `app` until Ctrl-C or a termination signal; then stop its jobs and return."""
    with suppress(KeyboardInterrupt):  # uvicorn raises it again when all is closed
        uvicorn.Server(configure(app, log_level=log_level)).run(sockets=[listening])


def when_up(address: str, then: Callable[[], object]) -> None:
    """Call `then` once the server answers, from a thread of its own; never, if it does not."""

    def wait() -> None:
        plain = address.partition("?")[0]
        for _ in range(3):
            try:
                urllib.request.urlopen(plain, timeout=20).close()
            except urllib.error.HTTPError:
                pass  # it answers, though not with a page: without the token, or not built
            except OSError:
                continue
            then()
            return

    threading.Thread(target=wait, daemon=True).start()


def open_browser(address: str) -> None:
    when_up(address, lambda: webbrowser.open(address))
