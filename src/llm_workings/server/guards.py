"""Who may talk to the lab, and how much they may send.

A server on 127.0.0.1 is reachable by every web page its user opens. Three checks keep them out:
the Host header (a foreign name that was made to resolve to this machine: DNS rebinding), the Origin
header (a page of another site that posts or opens a WebSocket), and, where the lab listens beyond
this machine, a token. They stand before everything else and work on raw ASGI messages, so that
nothing is parsed, and no more of a body is kept than the limit, before they have passed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm_workings.core.errors import LabError, Refused, TooLarge
from llm_workings.data.images import MOST_BYTES

log = logging.getLogger("llm_workings.server")

READING = ("GET", "HEAD")
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "content-security-policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self' 'unsafe-inline'",  # pictures position their marks with style attributes
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


PICTURES = "/api/pictures"  # where a body may be as large as a picture
# Of a body that is too large, so much more is taken in and dropped: a connection that is closed on one who is
# still sending takes the answer, with the reason in it, down with it.
DROPPED_BYTES, DROPPED_SECONDS = 1_000_000_000, 2.0


@dataclass(frozen=True)
class Limits:
    """What one request may bring, and how much work may wait."""

    body: int = 2 * 2**20  # bytes
    picture: int = MOST_BYTES  # bytes of a picture file
    text: int = 200_000  # characters of any one text in a request
    queue: int = 32  # jobs that wait
    finished: int = 200  # ended jobs that are remembered; their runs stay in the store
    results: int = 128 * 2**20  # bytes of what came out of jobs that are not recorded


def error_response(told: dict[str, Any], status: int, headers: Mapping[str, str] | None = None) -> Response:
    """An error as JSON. In ASCII, since what it restates may be no text that UTF-8 can write."""
    return Response(json.dumps(told, default=str), status, headers, "application/json")


def internal_error(error: BaseException) -> dict[str, Any]:
    """What a host may say of an error that is ours, not the user's. The traceback is in the log."""
    return {
        "kind": "InternalError",
        "message": f"Something went wrong inside the lab ({type(error).__name__}).",
        "hint": "The terminal that runs the lab shows the details.",
        "given": {},
    }


class Guards:
    """ASGI middleware: checks, bounds and headers around the whole app.

    Args:
        token: where given, every request must carry it.
        hosts: further `name` or `name:port` values of the Host header to answer to. Without a port
            the port is the one listened on.
        limits: see `Limits`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None = None,
        hosts: Iterable[str] = (),
        limits: Limits | None = None,
    ):
        self._app, self._token = app, token
        self._hosts = tuple(host.lower() for host in hosts)
        self._limits = limits or Limits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"].endswith("http.response.start"):  # also of a refused WebSocket
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        try:
            self._check_host(scope, headers)
            self._check_origin(scope, headers)
            if (redirect := self._check_token(scope, headers)) is not None:
                await redirect(scope, receive, send_with_headers)
                return
            if scope["type"] == "http":
                receive = await self._bounded(scope, headers, receive)
            await self._app(scope, receive, send_with_headers)
        except LabError as error:
            if started:
                raise
            drop = isinstance(error, TooLarge)
            await _refuse(
                error_response(error.as_dict(), error.status), scope, receive, send_with_headers, drop
            )
        except Exception as error:
            log.exception("%s %s failed", scope.get("method", "WebSocket"), scope["path"])
            if started:
                raise
            response = error_response(internal_error(error), 500)
            await _refuse(response, scope, receive, send_with_headers)

    # ---- the three checks --------------------------------------------------------------------------

    def _check_host(self, scope: Scope, headers: Headers) -> None:
        given = headers.get("host", "").lower()
        port = (scope.get("server") or ("", None))[1]
        names = LOOPBACK + self._hosts
        answered = {f"{name}:{port}" for name in names} | {name for name in self._hosts if _has_port(name)}
        if port == 80:  # the port that a browser leaves out
            answered.update(names)
        if given in answered or (self._token is not None and _is_address(given, port)):
            return
        raise Refused(
            f"This lab does not answer to the name {given!r}.",
            hint=f"Open http://127.0.0.1:{port}/ or start it with --allow-host {given or 'NAME'}.",
            given={"host": given},
        )

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        """Browsers name the asking page's origin with all that can change something; other
        programs (curl, a script) name none and are let through: no page can make them ask."""
        reading = scope["type"] == "http" and scope["method"] in READING
        origin, host = headers.get("origin"), headers.get("host", "")
        foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
        fetched = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if reading:  # a link from another site may open a page, but nothing else
            foreign = fetched and not (
                headers.get("sec-fetch-mode") == "navigate" and not scope["path"].startswith("/api/")
            )
        if foreign or (fetched and not reading):
            raise Refused(
                f"A page of another site ({origin or 'unnamed'}) asked for {scope['path']!r}.",
                hint="Open the lab's own page.",
                given={"origin": origin},
            )

    def _check_token(self, scope: Scope, headers: Headers) -> Response | None:
        """None if the token was brought; a redirect that trades `?token=` for a cookie; or `Refused`."""
        if self._token is None:
            return None
        port = (scope.get("server") or ("", 0))[1]
        cookie = f"llm_workings_{port}"
        bearer = headers.get("authorization", "")
        cookies = cookie_parser(headers.get("cookie", ""))
        if self._is_token(bearer.removeprefix("Bearer ")) or self._is_token(cookies.get(cookie, "")):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if any(name == "token" and self._is_token(value) for name, value in query):
            if scope["type"] != "http" or scope["method"] not in READING:
                return None
            rest = urlencode([pair for pair in query if pair[0] != "token"])
            # One slash at the front: two would send the browser to another host.
            target = "/" + scope["path"].lstrip("/") + (f"?{rest}" if rest else "")
            response = RedirectResponse(target, status_code=303)
            response.set_cookie(cookie, self._token, httponly=True, samesite="strict", path="/")
            return response
        raise Refused(
            "This lab is open to other machines and asks for its token.",
            hint="Open the address that the terminal printed, with ?token= at its end.",
        )

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), (self._token or "").encode())

    # ---- the body --------------------------------------------------------------------------------

    async def _bounded(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        """The body, read here up to the limit and then handed on."""
        what = "The picture" if scope["path"] == PICTURES else "The request's body"
        limit = self._limits.picture if scope["path"] == PICTURES else self._limits.body
        announced = headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced) > limit:
            raise _too_large(what, announced, limit)
        if scope["method"] in READING:
            return receive
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return receive
            body += message.get("body", b"")
            if len(body) > limit:
                raise _too_large(what, f"more than {limit}", limit)
            more = message.get("more_body", False)
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        return replay


def _too_large(what: str, size: str, limit: int) -> TooLarge:
    return TooLarge(
        f"{what} is {size} bytes; the limit is {limit}.",
        hint="Send less at once.",
        given={"bytes": size, "limit": limit},
    )


async def _refuse(response: Response, scope: Scope, receive: Receive, send: Send, drop: bool = False) -> None:
    """Answer without heeding the rest: the connection cannot be used again. `drop` what still comes."""
    if scope["type"] == "websocket":
        if "websocket.http.response" in scope.get("extensions", {}):
            await response(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": "Refused"})
        return
    response.headers["connection"] = "close"

    async def send_and_drop(message: Message) -> None:
        if not drop or message["type"] != "http.response.body":
            return await send(message)
        await send({**message, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(DROPPED_SECONDS):
                await _drop(receive)
        await send({"type": "http.response.body", "body": b""})

    await response(scope, receive, send_and_drop)


async def _drop(receive: Receive) -> None:
    taken = 0
    while taken < DROPPED_BYTES:
        message = await receive()
        taken += len(message.get("body", b""))
        if not message.get("more_body", False):
            return


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdecimal() and not host.endswith("]")


def _is_address(host: str, port: int | None) -> bool:
    """Whether `host` is an IP address with this port: no DNS name, so no rebinding."""
    name, _, given = host.rpartition(":")
    if given != str(port):
        name, given = host, "80"
    if given != str(port):
        return False
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
