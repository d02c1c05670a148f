"""Work that takes longer than an answer: queued, watched, cancelled, recorded.

There are two lanes. One thread owns the models and does everything that touches one, a job at a
time in the order asked, so that no two requests share a model's memory or its state. A second one
only fetches, so that a long download does not hold up the model that is already here.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from llm_workings.core.errors import Busy, Cancelled, LabError, TooLarge, UnknownName
from llm_workings.core.progress import Progress
from llm_workings.core.store import State, Store
from llm_workings.core.wire import Payload, pack

from .guards import Limits, internal_error

log = logging.getLogger("llm_workings.server")

Work = Callable[[Progress], bytes | None]
ENDED = ("done", "failed", "cancelled")
EVERY = 0.05  # seconds between two progress events of one step, at the least
PICTURES = 0.25  # seconds between two partial payloads, at the least
MAKING = 0.1  # the share of the work's time that making them may take


class Job:
    """One piece of work. Its worker writes it; anyone may read it or watch it."""

    def __init__(self, kind: str, name: str, work: Work, run: int | None):
        self.id = secrets.token_urlsafe(9)
        self.kind, self.name, self.run = kind, name, run
        self.state: State = "queued"
        self.what, self.done, self.total, self.ahead = "waiting", 0, 0, 0
        self.error: dict[str, Any] | None = None
        self.status = 200  # the HTTP status that goes with `error`
        self.result: bytes | None = None  # only of work that has no run in the store
        self.partial: bytes | None = None  # the newest picture of work that is not done
        self.partials = 0  # how many there were
        self.cancel_asked = threading.Event()
        self._work = work
        self._began: float | None = None
        self._ended: float | None = None
        self._told = 0.0
        self._next_picture = 0.0
        self._watchers: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def held(self) -> int:
        """Bytes of payloads that stay with it."""
        return len(self.result or b"") + len(self.partial or b"")

    @property
    def seconds(self) -> float | None:
        """Seconds of work so far, waiting not counted."""
        if self._began is None:
            return None
        return (self._ended or time.monotonic()) - self._began

    def as_dict(self) -> dict[str, Any]:
        """The event that watchers are sent."""
        return {
            "id": self.id,
            "kind": self.kind,
            "name": self.name,
            "state": self.state,
            "what": self.what,
            "done": self.done,
            "total": self.total,
            "ahead": self.ahead,
            "seconds": self.seconds,
            "error": self.error,
            "run": self.run,
            "partials": self.partials,
        }

    def watch(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Call `tell` at every change, from the worker's thread; returns how to stop that."""
        with self._lock:
            self._watchers.append(tell)

        def forget() -> None:
            with self._lock:
                self._watchers.remove(tell)

        return forget

    @property
    def watched(self) -> bool:
        with self._lock:
            return bool(self._watchers)

    def tell(self) -> None:
        self._told = time.monotonic()
        with self._lock:
            watchers = tuple(self._watchers)
        for watcher in watchers:
            watcher()

    def listen(self, what: str, done: int, total: int) -> None:
        """Take a report of progress. Watchers hear of each new step, and of its counts now and then."""
        news = what != self.what or 0 < total <= done
        self.what, self.done, self.total = what, done, total
        if news or time.monotonic() - self._told >= EVERY:
            self.tell()

    def show(self, make: Callable[[], Payload]) -> None:
        """Take a partial payload, if somebody watches and the last one is some while ago."""
        now = time.monotonic()
        if now < self._next_picture or not self.watched:
            return
        self.partial = pack(make())
        self.partials += 1
        done = time.monotonic()
        self._next_picture = done + max(PICTURES, (done - now) / MAKING)
        self.tell()

    def perform(self) -> bytes | None:
        self._began = time.monotonic()
        self.state, self.what, self.ahead = "working", "starting", 0
        self.tell()
        progress = Progress(self.listen, self.cancel_asked.is_set, self.show)
        progress.report("starting")
        return self._work(progress)

    def end(self, state: State, *, error: dict[str, Any] | None = None, status: int = 200) -> None:
        """The last event; nothing changes after it."""
        if self._began is not None:
            self._ended = time.monotonic()
        self.error, self.status, self.ahead = error, status, 0
        self._work = _nothing  # lets go of the request and what it holds
        self.state = state
        self.tell()


def _nothing(progress: Progress) -> None:
    return None


class Jobs:
    """The queue in front of the two workers, and the jobs that ended lately.

    Ended jobs are forgotten oldest first beyond `limits.finished`; what came out of them is in the store.
    """

    def __init__(self, store: Store, limits: Limits):
        self._store, self._limits = store, limits
        self._lanes = {"models": _Lane(self, "models"), "fetch": _Lane(self, "fetch")}
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()

    def start(self) -> None:
        for lane in self._lanes.values():
            lane.thread.start()

    def close(self, patience: float = 5.0) -> None:
        """Cancel everything and wait for the workers, at most `patience` seconds in all.

        A worker that does not come to a report in that time is left behind; its thread ends with
        the process, and the store will show its run as interrupted.
        """
        for job in self.all():
            self._cancel(job)
        deadline = time.monotonic() + patience
        for lane in self._lanes.values():
            lane.close()
        for lane in self._lanes.values():
            if lane.thread.is_alive():
                lane.thread.join(max(0.0, deadline - time.monotonic()))

    def submit(
        self,
        kind: str,
        name: str,
        work: Work,
        *,
        model: str = "",
        request: dict[str, Any] | None = None,
        record: bool = True,
    ) -> Job:
        """Queue `work`; its bytes become the payload of the run recorded for it, if one is to be.

        Raises `Busy` when as many jobs wait as may.
        """
        lane = self._lanes["fetch" if kind == "fetch" else "models"]
        with self._lock:
            if lane.waiting() >= self._limits.queue:
                raise Busy(
                    f"{self._limits.queue} jobs wait already, as many as the lab queues.",
                    hint="Wait for one to end, or cancel one.",
                )
            run = None
            if record:
                seed = (request or {}).get("seed")
                run = self._store.begin(
                    kind,
                    name,
                    model=model,
                    request=request or {},
                    seed=seed if isinstance(seed, int) else None,
                )
            job = Job(kind, name, work, run)
            self._jobs[job.id] = job
            lane.put(job)
        return job

    def get(self, name: str) -> Job:
        with self._lock:
            if name not in self._jobs:
                raise UnknownName(
                    f"There is no job {name!r}.",
                    hint="It may have ended long ago, or the lab was restarted: look among the runs.",
                    given={"job": name},
                )
            return self._jobs[name]

    def all(self) -> list[Job]:
        with self._lock:
            return list(self._jobs.values())

    def cancel(self, name: str) -> Job:
        """Stop a job: at once if it waits, at its next report if it works, not at all if it ended."""
        job = self.get(name)
        self._cancel(job)
        return job

    def _cancel(self, job: Job) -> None:
        job.cancel_asked.set()
        if any(lane.remove(job) for lane in self._lanes.values()):
            self._ended(job, "cancelled", Cancelled("Cancelled before it began."))

    def run(self, job: Job) -> None:
        """One job from start to end, in its worker's thread. Nothing it raises gets past here."""
        try:
            if job.run is not None:
                self._store.start(job.run)
            result = job.perform()
            if job.run is not None:
                self._store.finish(job.run, result, seconds=job.seconds or 0.0)
            else:
                job.result = result
            job.partial = None
            job.end("done")
            self._forget()
        except Cancelled as error:
            self._ended(job, "cancelled", error)
        except LabError as error:
            self._ended(job, "failed", error)
        except BaseException as error:
            if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
                hint = "Use a shorter text or a smaller model, or close other programs."
                self._ended(job, "failed", TooLarge(f"Memory ran out during {job.what!r}.", hint=hint))
                return
            log.exception("job %s (%s %s) failed", job.id, job.kind, job.name)
            self._ended(job, "failed", error)

    def _ended(self, job: Job, state: State, error: BaseException) -> None:
        known = error if isinstance(error, LabError) else None
        told = known.as_dict() if known else internal_error(error)
        try:
            if job.run is not None:
                self._store.stop(job.run, state, seconds=job.seconds, error=told)
        except Exception:  # a full disk, say: the job has ended all the same
            log.exception("run %s could not be recorded as %s", job.run, state)
        job.end(state, error=told, status=known.status if known else 500)
        self._forget()

    def _forget(self) -> None:
        with self._lock:
            ended = [job for job in self._jobs.values() if job.ended]
            held = sum(job.held for job in ended)
            while len(ended) > self._limits.finished or (held > self._limits.results and len(ended) > 1):
                oldest = ended.pop(0)
                held -= oldest.held
                del self._jobs[oldest.id]


class _Lane:
    """A queue and the one thread that empties it."""

    def __init__(self, jobs: Jobs, name: str):
        self._jobs = jobs
        self._queue: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._busy = False
        # A daemon, so that a forward pass that cannot be interrupted does not hold up the exit.
        self.thread = threading.Thread(target=self._loop, name=f"llm-workings-{name}", daemon=True)

    def waiting(self) -> int:
        with self._changed:
            return len(self._queue)

    def put(self, job: Job) -> None:
        with self._changed:
            job.ahead = len(self._queue) + self._busy
            self._queue.append(job)
            self._changed.notify()

    def remove(self, job: Job) -> bool:
        with self._changed:
            if job not in self._queue:
                return False
            self._queue.remove(job)
        self._recount()
        return True

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    return
                job = self._queue.popleft()
                self._busy = True
            self._recount()
            self._jobs.run(job)
            del job  # not held while waiting for the next

    def _recount(self) -> None:
        with self._changed:
            moved = [(job, place + self._busy) for place, job in enumerate(self._queue)]
        for job, ahead in moved:
            job.ahead = ahead
            job.tell()
