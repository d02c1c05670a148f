"""`WS /api/network`: a network that learns in the lab, one to each page that is open.

A session of `llm_workings.views.network_live` has a thread of its own, which does all that takes time: it
trains, makes pictures, answers. The socket's two tasks only carry: one puts what came in into the thread's
inbox, one sends what the thread has for the page. A page that reads slowly holds up neither.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from llm_workings.core.errors import Busy, Cancelled
from llm_workings.core.progress import Progress
from llm_workings.export.record import export_recording
from llm_workings.views.network_live import SLICE, Message, Session, error_message

from .guards import internal_error

log = logging.getLogger("llm_workings.server")

MOST_SESSIONS = 40  # pages at once; more would only share the same processor
WAITING = 64  # messages of a page that wait; it is then not read from before some are done
SHORTEST = 0.003  # seconds of a turn, however many wait
BREATH = 0.0005  # seconds between two turns of a thread, in which the server's own thread may speak
HELD = 8 * 2**20  # bytes of answers that wait, likewise
CLOSING = 1013  # "try again later"


class Turns:
    """One after the other, in the order of coming.

    Training holds Python's lock nearly all the time. Were every page's thread to ask for that lock at once,
    the server's own thread would come to speak once in twenty turns; so they queue here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[threading.Event] = deque()

    @contextmanager
    def turn(self) -> Iterator[float]:
        """Wait for the turn; gives the seconds that it should take, fewer the more others wait."""
        mine = threading.Event()
        with self._lock:
            self._queue.append(mine)
            if self._queue[0] is mine:
                mine.set()
        mine.wait()
        try:
            yield max(SHORTEST, SLICE / len(self._queue))
        finally:
            with self._lock:
                self._queue.popleft()
                if self._queue:
                    self._queue[0].set()


class Player(threading.Thread):
    """The thread of one page.

    Args:
        turns: shared by all players.
        news: called, from this thread, when there is something in `outbox`, and at its end.
    """

    def __init__(self, turns: Turns, news: Callable[[], None]):
        super().__init__(name="network", daemon=True)
        self._turns, self._news = turns, news
        self._change = threading.Condition()
        self._changed = self._closed = False
        self._inbox: deque[Message] = deque()
        self.outbox: deque[Message] = deque()

    # --- from the socket's tasks -----------------------------------------------------------------
    def put(self, message: Message) -> bool:
        """Lay down what came in. False: too much waits already; try again later."""
        if len(self._inbox) >= WAITING:
            return False
        self._inbox.append(message)
        self.wake()
        return True

    def wake(self) -> None:
        """Look again: something came in, or the page has got what was sent."""
        with self._change:
            self._changed = True
            self._change.notify()

    def close(self) -> None:
        """End the thread where it next looks; this does not wait for it."""
        self._closed = True
        self.wake()

    # --- the thread ------------------------------------------------------------------------------
    def run(self) -> None:
        session = Session(progress=Progress(cancelled=lambda: self._closed), page=export_recording)
        try:
            while not self._closed:
                self._one_round(session)
        except Cancelled:
            pass  # the page was closed
        except Exception as error:
            log.exception("the thread of a network failed")
            self.outbox.append(error_message(internal_error(error)))
        finally:
            self._closed = True
            self._news()

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self._closed and not self.outbox

    def _one_round(self, session: Session) -> None:
        self._changed = False
        for _ in range(WAITING):
            # A page that asks and does not read what it gets is not answered on and on.
            if not self._inbox or self._closed or session.waiting > HELD:
                break
            session.receive(self._inbox.popleft())
        else:
            self._changed = True  # there may be more, after a turn
        with self._turns.turn() as seconds:
            wait = session.work(seconds)
            if not self.outbox:  # the page has got all that was before
                self.outbox.extend(session.take())
        if self.outbox:
            self._news()
        with self._change:
            if not self._changed:
                self._change.wait(wait or BREATH if wait is not None else None)


def network_routes() -> APIRouter:
    """The socket's route. All its sessions take turns."""
    router, turns = APIRouter(), Turns()
    players: set[Player] = set()

    @router.websocket("/network")
    async def network(socket: WebSocket) -> None:
        await socket.accept()
        if len(players) >= MOST_SESSIONS:
            busy = Busy(
                f"{len(players)} pages train a network here already; that is as many as there may be.",
                hint="Close one of them and reload this page.",
                given={"pages": len(players), "limit": MOST_SESSIONS},
            )
            await socket.send_text(error_message(busy.as_dict()))
            await socket.close(CLOSING)
            return
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # the server has stopped, its loop is closed
                loop.call_soon_threadsafe(news.set)

        player = Player(turns, tell)
        players.add(player)
        player.start()
        both = (_send(socket, player, news), _hear(socket, player))
        carrying = {asyncio.create_task(each) for each in both}
        try:
            await asyncio.wait(carrying, return_when=asyncio.FIRST_COMPLETED)
        finally:
            player.close()
            for task in carrying:
                task.cancel()
            await asyncio.gather(*carrying, return_exceptions=True)
            await asyncio.to_thread(player.join)
            players.discard(player)

    return router


async def _send(socket: WebSocket, player: Player, news: asyncio.Event) -> None:
    """Send what the thread lays in its outbox, for as long as it lives; then close the socket."""
    with suppress(WebSocketDisconnect, RuntimeError):  # the page is gone
        while not player.over:
            news.clear()
            while player.outbox:
                message = player.outbox[0]
                if isinstance(message, bytes):
                    await socket.send_bytes(message)
                else:
                    await socket.send_text(message)
                player.outbox.popleft()  # only now: until it is sent, no newer picture is made
            player.wake()
            if not player.over:
                await news.wait()
        await socket.close(1011)


async def _hear(socket: WebSocket, player: Player) -> None:
    """Hand on what the page says, until it is closed."""
    while (message := await socket.receive())["type"] != "websocket.disconnect":
        text, data = message.get("text"), message.get("bytes")
        content: Message = text if text is not None else data or b""
        while not player.put(content):
            await asyncio.sleep(0.02)
