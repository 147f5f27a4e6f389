"""A task engine that does as it is told, for tests: ours and plugin authors'.

It lives as long as the test holds it, so it goes on while the appliance is stopped, killed and started again, as a
container engine does::

    engine = ScriptedEngine()
    async with running(tmp_path, engines=[engine]) as appliance:
        [job] = await appliance.state.scheduler.submit([...], who="ana")
        attempt = await engine.running(job.job.job_id)
        attempt.write(b"hello\\n")
        attempt.end(exit_code=0)
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Literal

import trio
from attrs import define, evolve, field

from appliance.engines import (
    EngineLost,
    EngineStatus,
    Exit,
    Found,
    Launch,
    LaunchFailed,
    LogChunk,
    OutputSink,
    Usage,
)
from appliance.errors import NotFound
from appliance.jobs import EndReason

PATIENCE_SECONDS = 30.0


@define(eq=False)
class ScriptedAttempt:
    """One attempt: the test writes its log and its files, and ends it."""

    launch: Launch
    files: dict[str, bytes] = field(factory=dict)
    """What lies below ``/output`` by path; may be changed until it is collected."""
    odd_files: dict[str, str] = field(factory=dict)
    """Entries that are no regular files: reason by path."""
    heeds_term: bool = True
    """Whether a request to end ends it at once, with exit code 143; else the kill after the grace does, with 137."""
    starts: int = 0
    """How often its command was really started: more than once is what must never happen."""
    terms: int = 0
    exit: Exit | None = None
    used: Usage = field(factory=Usage)
    _written: list[LogChunk] = field(factory=list)
    _tell: Callable[[], None] = field(default=lambda: None)

    @property
    def is_running(self) -> bool:
        """Whether its command runs."""
        return self.starts > 0 and self.exit is None

    def write(self, data: bytes, stream: Literal["stdout", "stderr"] = "stdout") -> None:
        """Write to its log."""
        self._written.append(LogChunk(stream=stream, data=data))
        self._tell()

    def end(
        self, *, exit_code: int | None = 0, reason: EndReason = EndReason.EXIT, message: str = "", at: int | None = None
    ) -> None:
        """End it, unless it has ended.

        :param at: when, in microseconds since the epoch, if the engine is to tell.
        """
        if self.exit is None:
            self.exit = Exit(exit_code=exit_code, reason=reason, message=message, ended_at_unix_us=at)
            self._tell()


@define(eq=False)
class ScriptedEngine:
    """Runs nothing; keeps attempts as a real engine does, and fails as it is told."""

    name: str = "scripted"
    features: frozenset[str] = frozenset({"gpu", "network", "pull"})
    unsafe: str = ""
    images: frozenset[str] = frozenset()
    """Images that are its own."""
    is_lost: bool = False
    """While set every call raises `EngineLost`; what runs goes on. Set it with `lose` and `come_back`."""
    state: Literal["starting", "ok", "absent", "unavailable"] = "ok"
    refuses: LaunchFailed | None = None
    """Raised by every start while it is set."""
    progress: tuple[str, ...] = ()
    """Told at each start."""
    holds_starts: bool = False
    """While set a start waits; see `hold_starts`."""
    ends_at_once: Exit | None = None
    """How every attempt ends as soon as it was started; ``None`` leaves that to the test."""
    attempts: dict[str, ScriptedAttempt] = field(factory=dict)
    """What is there, running or ended, by attempt id."""
    removed: dict[str, ScriptedAttempt] = field(factory=dict)
    calls: list[tuple[str, str]] = field(factory=list)
    """(method, attempt id) of every call that reached it."""
    breaks: dict[str, Exception] = field(factory=dict)
    """Raised by the method of that name while it is there: what an engine with a mistake does."""
    _changed: trio.Event = field(factory=trio.Event)

    @property
    def status(self) -> EngineStatus:
        """As the fields say."""
        state = "unavailable" if self.is_lost else self.state
        return EngineStatus(
            name=self.name,
            state=state,
            message="scripted" if state == "ok" else f"scripted: {state}",
            features=self.features,
            unsafe=self.unsafe,
        )

    def owns_image(self, image: str) -> bool:
        """As the field says."""
        return image in self.images

    # ------------------------------------------------------------ for the test

    async def running(self, job_id: str, *, number: int | None = None) -> ScriptedAttempt:
        """Wait until an attempt of a job runs, and return it.

        :param number: which attempt, counting from 1; ``None`` takes any.
        """
        return await self.until(lambda: self._find(job_id, number))

    async def until(self, check: Callable[[], ScriptedAttempt | None]) -> ScriptedAttempt:
        """Wait until ``check`` returns an attempt, and return it; looked at whenever something changes here."""
        with trio.fail_after(PATIENCE_SECONDS):
            while (found := check()) is None:
                await self._changed.wait()
        return found

    def lose(self) -> None:
        """Stop answering."""
        self.is_lost = True
        self.change()

    def come_back(self) -> None:
        """Answer again."""
        self.is_lost = False
        self.change()

    def hold_starts(self, hold: bool = True) -> None:
        """Let starts wait (an image is fetched), or go on."""
        self.holds_starts = hold
        self.change()

    def vanish(self, attempt_id: str) -> None:
        """Lose an attempt with everything of it, as a daemon does whose disk was wiped."""
        self.attempts.pop(attempt_id, None)
        self.change()

    def change(self) -> None:
        """Wake everyone who waits here, after a field was changed."""
        self._changed.set()
        self._changed = trio.Event()

    def _find(self, job_id: str, number: int | None) -> ScriptedAttempt | None:
        for attempt_id, attempt in self.attempts.items():
            is_wanted = number is None or attempt_id == f"{job_id}.{number}"
            if attempt.launch.job_id == job_id and attempt.is_running and is_wanted:
                return attempt
        return None

    # ------------------------------------------------------------ for core

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch nothing until cancelled."""
        task_status.started()
        await trio.sleep_forever()

    async def start(self, launch: Launch, tell: Callable[[str], None]) -> None:
        """Keep the attempt and let it run."""
        await self._reached("start", launch.attempt_id)
        attempt = self.attempts.get(launch.attempt_id)
        if attempt is None:
            for line in self.progress:
                tell(line)
            while self.holds_starts:
                await self._next_change()
            if self.refuses is not None:
                raise self.refuses
            attempt = ScriptedAttempt(launch, tell=self.change)
            self.attempts[launch.attempt_id] = attempt
        if attempt.starts == 0 and attempt.exit is None:
            attempt.starts += 1
            if self.ends_at_once is not None:
                attempt.exit = evolve(self.ends_at_once)
            self.change()

    async def wait(self, attempt_id: str) -> Exit:
        """Return how it ended, once the test has ended it."""
        await self._reached("wait", attempt_id)
        while (attempt := self.attempts.get(attempt_id)) is not None:
            if attempt.exit is not None:
                return attempt.exit
            await self._next_change()
        return Exit(exit_code=None, reason=EndReason.ENGINE_LOST, message="there is no such attempt")

    async def logs(self, attempt_id: str, *, skip: Mapping[str, int]) -> AsyncIterator[LogChunk]:
        """Yield what the test writes."""
        await self._reached("logs", attempt_id)
        left = dict(skip)
        read = 0
        while (attempt := self.attempts.get(attempt_id)) is not None:
            if read < len(attempt._written):
                chunk = attempt._written[read]
                read += 1
                known = min(left.get(chunk.stream, 0), len(chunk.data))
                left[chunk.stream] = left.get(chunk.stream, 0) - known
                if known < len(chunk.data):
                    yield LogChunk(stream=chunk.stream, data=chunk.data[known:])
            elif attempt.exit is not None:
                return
            else:
                await self._next_change()

    async def stop(self, attempt_id: str, *, grace_seconds: float) -> None:
        """Ask the attempt to end, and kill it after the grace."""
        await self._reached("stop", attempt_id)
        attempt = self.attempts.get(attempt_id)
        if attempt is None or attempt.exit is not None:
            return
        attempt.terms += 1
        self.change()
        if attempt.heeds_term:
            attempt.end(exit_code=143)
            return
        with trio.move_on_after(grace_seconds):
            while attempt.exit is None:
                await self._next_change()
        attempt.end(exit_code=137)

    async def found(self) -> list[Found]:
        """Return what is there."""
        await self._reached("found", "")
        return [
            Found(
                attempt_id=attempt.launch.attempt_id,
                job_id=attempt.launch.job_id,
                fencing_token=attempt.launch.fencing_token,
                is_running=attempt.is_running,
            )
            for attempt in self.attempts.values()
        ]

    async def usage(self, attempt_id: str) -> Usage | None:
        """Return what the test says it uses."""
        await self._reached("usage", attempt_id)
        attempt = self.attempts.get(attempt_id)
        return attempt.used if attempt is not None and attempt.is_running else None

    async def collect(self, attempt_id: str, sink: OutputSink) -> None:
        """Give the files that the test put there."""
        await self._reached("collect", attempt_id)
        attempt = self.attempts.get(attempt_id)
        if attempt is None:
            raise NotFound("attempt", attempt_id)
        for path, reason in attempt.odd_files.items():
            sink.skip(path, reason)
        for path, data in attempt.files.items():
            await sink.put(path, len(data), _once(data))

    async def remove(self, attempt_id: str) -> None:
        """Forget the attempt, ended or not."""
        await self._reached("remove", attempt_id)
        attempt = self.attempts.pop(attempt_id, None)
        if attempt is not None:
            attempt.end(exit_code=137)
            self.removed[attempt_id] = attempt
            self.change()

    async def _reached(self, method: str, attempt_id: str) -> None:
        await trio.lowlevel.checkpoint()
        self._fail()
        self.calls.append((method, attempt_id))
        if method in self.breaks:
            raise self.breaks[method]

    async def _next_change(self) -> None:
        await self._changed.wait()
        self._fail()

    def _fail(self) -> None:
        if self.is_lost:
            raise EngineLost(f"{self.name} does not answer")


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
