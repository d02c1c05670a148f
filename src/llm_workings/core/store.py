"""The run store: what was asked, of which model, with what seed, what came out, and the user's note.

One SQLite table of runs, and beside it a folder of payloads as wire bytes. A payload is written
whole under another name and then renamed, and its run is marked done only after that, so whoever
reads the store sees a run finished or not at all, however the process ended. Several processes may
use one store: each holds a lock while it lives, by which the others tell work that is still going
on from work whose process is gone.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from sqlalchemy import func
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlmodel import JSON, Column, Field, Session, SQLModel, col, create_engine, select

from .errors import BadFile, LabError, NotSupported, UnknownName
from .paths import data_folder

SCHEMA = 1  # raise it with every change to the table
LARGEST = 2**63 - 1  # number that SQLite can be asked about
State = Literal["queued", "working", "done", "failed", "cancelled", "interrupted"]
UNFINISHED = ("queued", "working")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Run(SQLModel, table=True):
    """One thing that was asked: a view of a model, a model fetched, or an analysis in a terminal."""

    __tablename__ = "run"

    id: int | None = Field(default=None, primary_key=True)
    created: str = Field(default_factory=_now, index=True)  # UTC, ISO 8601
    kind: str  # view, fetch or command
    name: str = Field(index=True)  # of the view, of the fetched model, or of the command
    model: str = Field(default="", index=True)
    request: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    seed: int | None = None
    state: str = "queued"  # one of State
    seconds: float | None = None  # of work, not of waiting
    error: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    note: str = ""
    kept: bool = Field(default=False, index=True)
    payload: str | None = None  # file name in the payload folder; None if none came out or it was pruned
    bytes: int = 0  # of the payload
    owner: str = ""  # the process that works on it, by the name of its lock

    def as_dict(self) -> dict[str, Any]:
        """The run as a page shows it."""
        return self.model_dump(exclude={"owner", "payload"}) | {"has_payload": self.payload is not None}


class Store:
    """The runs in `folder` (by default `runs` in the data folder).

    Args:
        payload_limit: bytes that payloads of runs not kept may take; beyond it the oldest go first.
        run_limit: runs neither kept nor noted that are remembered; beyond it the oldest go first.

    Raises:
        NotSupported: the store was written by a newer version.
        BadFile: the database is damaged, or is something else.
    """

    def __init__(
        self, folder: Path | None = None, *, payload_limit: int = 512 * 2**20, run_limit: int = 5000
    ):
        self.folder = folder or data_folder() / "runs"
        self.payloads = self.folder / "payloads"
        self.payload_limit, self.run_limit = payload_limit, run_limit
        self._database = self.folder / "runs.sqlite"
        self._locks = self.folder / "locks"
        self._owner = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._changing = threading.Lock()
        try:
            self.payloads.mkdir(parents=True, exist_ok=True)
            self._locks.mkdir(exist_ok=True)
        except OSError as error:
            raise LabError(
                f"The run store cannot be made in {str(self.folder)!r}: {error.strerror}.",
                hint="Set LLM_WORKINGS_HOME to a folder that you can write to.",
            ) from error
        self._engine = create_engine(
            f"sqlite:///{self._database}", connect_args={"check_same_thread": False, "timeout": 20}
        )
        self._mine = FileLock(self._locks / self._owner)
        with FileLock(self.folder / "opening.lock"):
            self._mine.acquire()
            try:
                self._check_schema()
                self._tidy()
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database and of this process's lock. Work left unfinished counts as interrupted."""
        self._engine.dispose()
        self._mine.release()
        with suppress(OSError):
            (self._locks / self._owner).unlink(missing_ok=True)

    # ---- writing ---------------------------------------------------------------------------------

    def begin(
        self, kind: str, name: str, *, model: str = "", request: dict[str, Any], seed: int | None = None
    ) -> int:
        """Record that something was asked; returns the run's number."""
        run = Run(kind=kind, name=name, model=model, request=request, seed=seed, owner=self._owner)
        with self._session() as session:
            session.add(run)
            session.commit()
            assert run.id is not None
            return run.id

    def start(self, number: int) -> None:
        """Record that work on it has begun."""
        self._update(number, state="working")

    def finish(self, number: int, payload: bytes | None, *, seconds: float) -> Run:
        """Record what came out, then prune."""
        if payload is None:
            return self._update(number, state="done", seconds=seconds)
        run = self.get(number)
        file = f"{number:06d}-{re.sub(r'[^a-zA-Z0-9_-]', '_', run.name)}.safetensors"
        self._write(file, payload)
        run = self._update(number, state="done", seconds=seconds, payload=file, bytes=len(payload))
        self.prune()
        return run

    def stop(self, number: int, state: State, *, seconds: float | None, error: dict[str, Any]) -> Run:
        """Record that it ended without a result, with the error as `LabError.as_dict` gives it."""
        return self._update(number, state=state, seconds=seconds, error=error)

    def annotate(self, number: int, *, note: str | None = None, kept: bool | None = None) -> Run:
        """Write the user's note, or keep the run's payload from being pruned."""
        changes: dict[str, Any] = {}
        if note is not None:
            changes["note"] = note
        if kept is not None:
            changes["kept"] = kept
        with self._changing:
            return self._update(number, **changes)

    def delete(self, number: int) -> None:
        """Forget the run and its payload."""
        with self._session() as session:
            run = self._get(session, number)
            session.delete(run)
            session.commit()
        self._unlink(run.payload)

    def prune(self) -> None:
        """Bring what is not kept back under the two limits. The newest payload always stays."""
        with self._changing:
            self._prune_payloads()
            self._prune_runs()

    # ---- reading ---------------------------------------------------------------------------------

    def get(self, number: int) -> Run:
        with self._session() as session:
            return self._get(session, number)

    def newest(
        self,
        *,
        limit: int = 50,
        before: int | None = None,
        kind: str | None = None,
        name: str | None = None,
        model: str | None = None,
        kept: bool | None = None,
    ) -> Sequence[Run]:
        """The newest runs first; `before` a run's number goes on from there."""
        query = select(Run).order_by(col(Run.id).desc()).limit(limit)
        if before is not None:
            query = query.where(col(Run.id) < min(max(before, 0), LARGEST))
        for column, wanted in ((Run.kind, kind), (Run.name, name), (Run.model, model), (Run.kept, kept)):
            if wanted is not None:
                query = query.where(column == wanted)
        with self._session() as session:
            return session.exec(query).all()

    def payload(self, number: int) -> bytes:
        """The wire bytes that came out of a run; `UnknownName` if none did or they were pruned."""
        run = self.get(number)
        with suppress(FileNotFoundError):
            if run.payload is not None:
                return (self.payloads / run.payload).read_bytes()
        why = {
            "done": "it was pruned to make room" if run.bytes else f"a {run.kind} has none",
            "failed": "it failed",
            "cancelled": "it was cancelled",
            "interrupted": "it was interrupted",
        }.get(run.state, "it is not finished")
        raise UnknownName(
            f"Run {number} has no payload: {why}.",
            hint="Run it again; a run that is kept is never pruned.",
            given={"run": number},
        )

    # ---- inside ----------------------------------------------------------------------------------

    def _session(self) -> Session:
        return Session(self._engine, expire_on_commit=False)

    def _get(self, session: Session, number: int) -> Run:
        run = session.get(Run, number) if abs(number) <= LARGEST else None
        if run is None:
            last = session.exec(select(func.max(Run.id))).one()
            hint = f"The last is run {last}." if last else "No run is recorded yet."
            raise UnknownName(f"There is no run {number}.", hint=hint, given={"run": number})
        return run

    def _update(self, number: int, **changes: Any) -> Run:
        with self._session() as session:
            run = self._get(session, number)
            for field, value in changes.items():
                setattr(run, field, value)
            session.add(run)
            session.commit()
            return run

    def _write(self, file: str, payload: bytes) -> None:
        partial = self.payloads / f"{file}.{self._owner}.partial"
        try:
            with partial.open("wb") as out:
                out.write(payload)
                out.flush()
                os.fsync(out.fileno())
            partial.replace(self.payloads / file)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise LabError(
                f"A payload of {len(payload):,} bytes could not be written to {str(self.payloads)!r}: "
                f"{error.strerror}.",
                hint="Make room there, or set LLM_WORKINGS_HOME to another folder.",
            ) from error

    def _unlink(self, file: str | None) -> None:
        if file is not None:
            with suppress(OSError):  # Windows will not delete what is being read: the next opening does
                (self.payloads / file).unlink(missing_ok=True)

    def _prune_payloads(self) -> None:
        with self._session() as session:
            loose = select(Run).where(col(Run.payload).is_not(None), col(Run.kept).is_(False))
            newest_first = session.exec(loose.order_by(col(Run.id).desc())).all()
            total, dropped = 0, []
            for index, run in enumerate(newest_first):
                total += run.bytes
                if index and total > self.payload_limit:
                    dropped.append(run.payload)
                    run.payload = None
                    session.add(run)
            session.commit()
        for file in dropped:
            self._unlink(file)

    def _prune_runs(self) -> None:
        with self._session() as session:
            plain = select(Run).where(
                col(Run.kept).is_(False), Run.note == "", col(Run.state).not_in(UNFINISHED)
            )
            beyond = session.exec(plain.order_by(col(Run.id).desc()).offset(self.run_limit).limit(-1)).all()
            for run in beyond:
                session.delete(run)
            session.commit()
        for run in beyond:
            self._unlink(run.payload)

    def _check_schema(self) -> None:
        try:
            with self._engine.connect() as connection:
                found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
                if found > SCHEMA:
                    raise NotSupported(
                        f"The run store {str(self._database)!r} was written by a newer llm-workings "
                        f"(schema {found}; this one knows up to {SCHEMA}).",
                        hint="Upgrade llm-workings, or set LLM_WORKINGS_HOME to another folder.",
                        given={"found": found, "known": SCHEMA},
                    )
                if found == 0:
                    SQLModel.metadata.create_all(connection, tables=[SQLModel.metadata.tables["run"]])
                    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA}")
                    connection.commit()
        except OperationalError as error:
            raise LabError(
                f"The run store {str(self._database)!r} could not be opened: {error.orig}.",
                hint="Another program may hold it, or the folder may not be writable.",
            ) from error
        except DatabaseError as error:
            raise BadFile(
                f"{str(self._database)!r} is not a readable run store: {error.orig}.",
                hint="Move it away; a new one is made at the next start.",
            ) from error

    def _tidy(self) -> None:
        """Close the runs of processes that are gone, and remove what they left in the folders."""
        gone = {file.name for file in self._locks.iterdir() if not self._is_alive(file.name)}
        unfinished = select(Run).where(col(Run.state).in_(UNFINISHED))
        with self._session() as session:
            for run in session.exec(unfinished).all():
                if run.owner in gone or not self._is_alive(run.owner):
                    run.state = "interrupted"
                    session.add(run)
            session.commit()
            # In this order nothing that another process is just finishing can look abandoned.
            files = [file.name for file in self.payloads.iterdir()]
            going = {f"{run.id:06d}" for run in session.exec(unfinished).all()}
            wanted = set(session.exec(select(Run.payload)).all())
        for name in files:
            if name not in wanted and name.split("-")[0] not in going:
                self._unlink(name)
        for name in gone:
            with suppress(OSError):
                (self._locks / name).unlink()

    def _is_alive(self, owner: str) -> bool:
        """Whether the process of that lock still runs: only then can the lock not be taken."""
        if owner == self._owner:
            return True
        if not owner or not (self._locks / owner).exists():
            return False
        lock = FileLock(self._locks / owner, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return True
        lock.release()
        return False
