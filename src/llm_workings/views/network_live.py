"""A network on screen: commands in, messages out, and no word about how they travel.

Its owner calls `receive` with what the page sent, `work` to train for a moment, and `take` for what the page
is to get. Of pictures only the newest is ever made, and only when the page has drawn the last: training
never waits for a page, and a page never has a backlog.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from llm_workings.core.errors import BadInput, LabError, NotReady, NotSupported, TooLarge
from llm_workings.core.progress import SILENT, Progress
from llm_workings.core.wire import Payload, pack
from llm_workings.data.points import make
from llm_workings.data.spec import MOST_SAMPLES, DataSpec
from llm_workings.playground.config import Config
from llm_workings.playground.parameters_file import parameters_json
from llm_workings.playground.run import MOST_STEPS, Run

from . import network_commands as said
from .network_details import Watched, check, details_of, findings_of, still_there
from .network_files import UNKNOWN, beginning_with, loaded, saved
from .network_frames import Painter, setting_of, tree_of
from .network_grid import Sweeping, predictions_of
from .network_parts import Recording
from .network_recording import record
from .network_script import script_of

Message = str | bytes
SLICE = 0.010  # seconds of training between two looks at what came in
DETAILS_EVERY = 0.2  # seconds, while it plays
EXPORTED = 120  # frames of a file, where they fit
LONGEST_TEXT = 8 * 2**20  # characters of a command: a CSV file, or parameters, are a field of some
CAREFUL = 2000.0  # steps a second that are expected of a network of which nothing is known
MOST_BRANCHES = 200
LARGEST_FILE = 48 * 2**20  # bytes of a saved run


class Session:
    """One page's network.

    Args:
        progress: where long work reports, and where it is stopped when nobody waits for it any more.
        clock: seconds that only go forward.
        page: makes the HTML file of a recording.
    """

    def __init__(
        self,
        *,
        progress: Progress = SILENT,
        clock: Callable[[], float] = time.perf_counter,
        page: Callable[[Recording], str] | None = None,
    ):
        self._progress, self._clock, self._page = progress, clock, page or _no_page
        self._sweeping: Sweeping | None = None
        self._run: Run | None = None
        self.spec: DataSpec | None = None
        self._watched = Watched()
        self.playing, self.speed = False, 0.0
        self._goal: int | None = None  # steps that are left until it stops by itself
        self._painter: Painter | None = None
        self._out: list[Message] = []
        self._drawn = True  # whether the page has drawn the last frame
        self._frame_due = self._tree_due = self._details_due = False
        self._details_at = float("-inf")
        self._rate = CAREFUL  # steps a second, as last measured
        self._findings: list[dict[str, Any]] = []
        self._began, self._made = 0.0, 0  # when playing began at this speed, and the steps since

    @property
    def run(self) -> Run:
        """What is on screen. Raises `NotReady` before anything is."""
        if self._run is None:
            raise NotReady("There is no network yet.", hint='Send {"do": "setup"} first.')
        return self._run

    # --- what came in ----------------------------------------------------------------------------
    def receive(self, message: Message) -> None:
        """Do what a message says. What cannot be done is said, and all goes on as it was."""
        try:
            if isinstance(message, bytes):
                self.load(message)
            else:
                self.do(_read(message))
        except LabError as error:
            self._out.append(error_message(error.as_dict()))

    def do(self, given: Any) -> None:
        """Do a command, as `network_commands` lists them. Raises `LabError` where it cannot be done."""
        match said.parse(given):
            case said.Setup(config=config, data=data):
                spec = DataSpec.of(data)
                self.begin(Run(Config.of(config), make(spec)), spec)
            case said.Play(speed=speed):
                _ = self.run  # says where there is none
                self._play(speed)
            case said.Pause():
                _ = self.run
                self._stop()
            case said.Step(n=n, unit=unit):
                self._step(n, unit)
            case said.Goto(branch=branch, step=step):
                self.run.goto(step, branch)
                if self._goal is not None:  # whoever goes elsewhere does not want the rest of those steps
                    self._stop()
                self._moved()
            case said.Change(config=settings):
                self._branching().change(**settings)
                self._rate = min(self._rate, CAREFUL)  # a step may take longer now, such as with a full batch
                self._moved()
            case said.Edit(place=place, value=value):
                self._branching().edit(place, value)
                self._moved()
            case said.Watch() as watch:
                self._watch(watch)
            case said.Ready():
                self._drawn = True
            case said.Predict(points=points):
                self._send(predictions_of(self.run, points))
            case said.Script():
                self._say("script", text=self._script())
            case said.Export():
                self._say("export", html=self._page(self._recording()))
            case said.Save():
                self._out.append(saved(self.run, self.spec))
            case said.GiveParameters():
                text = parameters_json(self.run.config, self.run.parameters)
                self._say("parameters", parameters=json.loads(text))
            case said.LoadParameters(parameters=parameters):
                self.begin(beginning_with(self.run, parameters), self.spec)
            case said.Sweep() as asked:
                self._sweep(asked)
            case said.StopSweep():
                if self._sweeping is not None:
                    self._sweeping.stop()
            case other:
                raise AssertionError(f"no way to do {other!r}")

    def load(self, data: bytes) -> None:
        """Go on from a saved run. Raises `BadFile` and `TooLarge`, having changed nothing."""
        if len(data) > LARGEST_FILE:
            raise TooLarge(
                f"A saved run of {len(data):,} bytes is larger than the {LARGEST_FILE:,} read here.",
                hint="Read it in Python: llm_workings.playground.save.load_run.",
                given={"bytes": len(data), "limit": LARGEST_FILE},
            )
        self.begin(*loaded(data))

    def begin(self, run: Run, spec: DataSpec | None) -> None:
        """Put this run on screen; its spec is None where nobody knows what its data was made from."""
        self._run, self.spec, self._painter = run, spec, Painter(run)
        self._watched = still_there(run, self._watched)
        self.playing, self._goal, self._findings, self._sweeping = False, None, [], None
        self._rate = CAREFUL
        self._drawn = True  # the last frame was of another picture: nobody waits for it to be drawn
        self._send(setting_of(run.branches[0].config, run.data, spec or UNKNOWN))
        self._moved()
        self._say_status()

    def _branching(self) -> Run:
        """The run, if it may have one branch more."""
        branches = len(self.run.branches)
        if branches >= MOST_BRANCHES:
            raise TooLarge(
                f"This training has {branches} branches; that is as many as there may be.",
                hint="Save it, and begin a new one.",
                given={"branches": branches, "limit": MOST_BRANCHES},
            )
        return self.run

    def _play(self, speed: float, goal: int | None = None) -> None:
        self.playing, self.speed, self._goal = True, speed, goal
        self._began, self._made = self._clock(), 0
        self._say_status()

    def _stop(self) -> None:
        """Stop playing, and show where, and what is to be said of it."""
        self.playing, self._goal = False, None
        self._findings = [found.model_dump() for found in findings_of(self.run)]
        self._moved()
        self._say_status()

    def _step(self, n: int, unit: str) -> None:
        run = self.run
        if self.playing:
            self._stop()
        if unit == "sample":
            self._step_samples(n)
        elif n < 0:
            run.back(-n * (run.steps_an_epoch if unit == "epoch" else 1))
        else:
            n *= run.steps_an_epoch if unit == "epoch" else 1
            some = min(n, self._slice())
            if self._train(some) == some < n:  # the rest in slices, so that it can be stopped
                self._play(0.0, goal=n - some)
        self._moved()

    def _sweep(self, asked: said.Sweep) -> None:
        run = self.run
        rows, columns = (asked.rows, asked.row_values), (asked.columns, asked.column_values)
        self._sweeping = Sweeping(run.config, run.data, rows, columns, asked.steps, self._clock)

    def _script(self) -> str:
        run = self.run
        if self.spec is None:
            raise NotSupported(
                "There is no script of this run: the file does not say what its data was made from.",
                hint="Save the run instead; it holds the data itself.",
            )
        return script_of(run, self.spec)

    def _recording(self) -> Recording:
        watched = replace(self._watched, algebra=True, paths=True, history=None)
        return record(self.run, self.spec, watched, frames=EXPORTED, progress=self._progress)

    def _step_samples(self, n: int) -> None:
        """Move the watched sample within the batch, and over its end to the next step or the one before."""
        run = self.run
        sign = 1 if n > 0 else -1
        batch = self._batch()
        at = batch.index(self._watched.sample) if self._watched.sample in batch else -1 if n > 0 else 0
        for _ in range(min(abs(n), MOST_SAMPLES)):
            at += sign
            if at >= len(batch):
                if not self._train(1):
                    at = len(batch) - 1
                    break
                batch, at = self._batch(), 0
            elif at < 0:
                if run.step_now == 0:
                    at = 0
                    break
                run.back()
                batch = self._batch()
                at = len(batch) - 1
        self._watched = replace(self._watched, sample=batch[at])

    def _batch(self) -> list[int]:
        """The samples of the step that leads on from here, as indices of the data set."""
        run = self.run
        order = run.kernel_at(run.step_now, run.branch).order
        return [int(index) for index in run.data.train[order.batch(run.step_now)]]

    def _watch(self, asked: said.Watch) -> None:
        history = None if asked.history is None else (asked.history.place, asked.history.what)
        wanted = Watched(asked.sample, asked.place, asked.algebra, history, asked.paths)
        check(self.run, wanted)
        self._frame_due |= wanted.sample != self._watched.sample
        self._details_due = True
        self._watched = wanted

    # --- time goes on ----------------------------------------------------------------------------
    def work(self, seconds: float = SLICE) -> float | None:
        """Train for about so many seconds, if there is something to train.

        Returns the seconds until there is more to do: 0 for at once, None for not before something comes in.
        """
        sweeping = self._sweeping is not None and self._sweeping.working
        if sweeping:  # it shares the time with what plays
            self._sweeping.work(seconds / (1 + self.playing), self._progress)  # type: ignore[union-attr]
        wait = self._work_playing(seconds / (1 + sweeping)) if self.playing else None
        return 0.0 if sweeping else wait

    def _work_playing(self, seconds: float) -> float | None:
        n = self._slice(seconds)
        if self._goal is not None:
            n = min(n, self._goal)
        if self.speed:
            due = int((self._clock() - self._began) * self.speed + 1e-6) - self._made
            if due < 1:
                return self._began + (self._made + 1) / self.speed - self._clock()
            if due > n:  # it cannot keep up; what is late is not made up for
                self._began = self._clock() - (self._made + n) / self.speed
            n = min(n, due)
        made = self._train(n)
        self._made += made
        self._frame_due = self._tree_due = self._details_due = True
        if self._goal is not None:
            self._goal -= made
        if made < n or self._goal == 0:
            self._stop()
            return None
        return 0.0

    def _slice(self, seconds: float = SLICE) -> int:
        """Steps that take about so long."""
        return max(1, int(self._rate * seconds))

    def _train(self, n: int) -> int:
        """Make `n` steps; how many were made. Fewer where the numbers would no longer be finite."""
        run = self.run
        start = self._clock()
        made = run.step(min(n, MOST_STEPS - run.step_now), self._progress)
        seconds = max(self._clock() - start, 1e-6)
        if made:  # changing slowly, since one slice may have been held up by something else
            self._rate = min(max(made / seconds, self._rate / 2), self._rate * 4)
        return made

    # --- what goes out ---------------------------------------------------------------------------
    @property
    def waiting(self) -> int:
        """Bytes of the messages that were not taken yet; the shortest count as a few thousand."""
        return sum(max(len(message), 4096) for message in self._out)

    def take(self) -> list[Message]:
        """What the page is to get now, oldest first. Call it when the page has got all that was before."""
        if self._run is not None:
            try:
                self._look()
            except LabError as error:  # a place that is watched and is none any more
                self._out.append(error_message(error.as_dict()))
        taken, self._out = self._out, []
        return taken

    def _look(self) -> None:
        """Make the pictures that are due; none before the last frame is drawn, the slow ones now and then."""
        assert self._painter is not None
        if self._sweeping is not None and (grid := self._sweeping.grid()) is not None:
            self._send(grid)
        if self._frame_due and not self._drawn:
            return
        now = self._clock()
        slow = not self.playing or now - self._details_at >= DETAILS_EVERY
        if slow and self._tree_due:
            self._tree_due = False
            self._send(tree_of(self.run))
        if self._frame_due:
            self._frame_due = self._drawn = False
            self._send(self._painter.frame(self._watched.sample))
        if slow and self._details_due:
            self._details_due, self._details_at = False, now
            details = details_of(self.run, self._watched)
            self._send(details)
            if [found.kind for found in details.findings] != [found["kind"] for found in self._findings]:
                self._findings = [found.model_dump() for found in details.findings]
                self._say_status()

    def _moved(self) -> None:
        """The picture is not what it was."""
        self._frame_due = self._tree_due = self._details_due = True

    def _send(self, message: Payload) -> None:
        self._out.append(pack(message))

    def _say(self, what: str, **more: Any) -> None:
        self._out.append(_text({"say": what, **more}))

    def _say_status(self) -> None:
        self._say("status", playing=self.playing, speed=self.speed, findings=self._findings)


def _read(text: str) -> Any:
    """The JSON of a message. Raises `BadInput` and `TooLarge`."""
    if len(text) > LONGEST_TEXT:
        raise TooLarge(
            f"A command of {len(text):,} characters is longer than the {LONGEST_TEXT:,} read here.",
            given={"characters": len(text), "limit": LONGEST_TEXT},
        )
    try:
        given = json.loads(text)
        json.dumps(given, ensure_ascii=False).encode()  # half a character can be said in JSON, not sent on
    except (ValueError, RecursionError) as error:
        shown = text if len(text) <= 60 else f"{text[:59]}…"
        raise BadInput(
            f"{shown!r} is no JSON: {error}.", hint='A command is an object such as {"do": "step", "n": 1}.'
        ) from None
    return given


def _no_page(recording: Recording) -> str:
    raise NotSupported("No file can be made here.")


def error_message(told: dict[str, Any]) -> str:
    """An error as a message, from its `as_dict()`."""
    return _text({"say": "error", "error": told})


def _text(message: dict[str, Any]) -> str:
    return json.dumps(_sayable(message), allow_nan=False)


def _sayable(value: Any) -> Any:
    """The same as JSON has it: numbers that are not finite, and whatever else it has no word for, as text."""
    if isinstance(value, dict):
        return {str(key): _sayable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_sayable(item) for item in value]
    if isinstance(value, str | int | None) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return repr(value)
