"""A plugin that is dropped into an appliance under test: a task engine that has GPUs and runs plain processes.

It is for pages alone: nothing is kept apart, and what runs ends with the appliance. ``/output`` and ``/input`` in a
command become folders of the task's own; the image ``nowhere`` cannot be had.
"""

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Literal

import trio
from attrs import define, field

from appliance.plugin import (
    EndReason,
    EngineStatus,
    Exit,
    Found,
    Launch,
    LaunchFailed,
    LogChunk,
    OutputSink,
    TaskEngine,
    Usage,
    hookimpl,
)

appliance_api = 1
Stream = Literal["stdout", "stderr"]
READ_BYTES = 65_536


@define(eq=False)
class Attempt:
    """One process, and what it has written."""

    launch: Launch
    process: trio.Process
    output: Path
    chunks: list[LogChunk] = field(factory=list)
    exit: Exit | None = None
    changed: trio.Event = field(factory=trio.Event)

    def change(self) -> None:
        """Wake whoever waits for more."""
        self.changed.set()
        self.changed = trio.Event()

    def kill(self, how: signal.Signals) -> None:
        """Send a signal to all processes of it."""
        if self.process.returncode is None:
            os.killpg(self.process.pid, how)


@define(eq=False)
class PlainEngine:
    """The engine."""

    folder: Path
    name: str = "plain"
    attempts: dict[str, Attempt] = field(factory=dict)
    _nursery: trio.Nursery | None = None

    @property
    def status(self) -> EngineStatus:
        """Always well."""
        features = frozenset({"gpu", "network"})
        return EngineStatus(name=self.name, state="ok", message="plain processes, for tests", features=features)

    def owns_image(self, image: str) -> bool:
        """None."""
        return False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch processes until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await trio.sleep_forever()
        finally:
            for attempt in self.attempts.values():
                attempt.kill(signal.SIGKILL)

    async def start(self, launch: Launch, tell: Callable[[str], None]) -> None:
        """Start a process."""
        if launch.attempt_id in self.attempts:
            return
        if launch.image == "nowhere":
            raise LaunchFailed("there is no image nowhere", reason=EndReason.IMAGE, hint="name one that there is")
        output = self.folder / launch.attempt_id
        output.mkdir(parents=True)
        command = launch.command.replace("/output", str(output)).replace("/input", str(launch.inputs))
        process = await trio.lowlevel.open_process(
            ["/bin/sh", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **launch.environment, "GPUS": " ".join(launch.gpu_ids)},
            start_new_session=True,
        )
        self.attempts[launch.attempt_id] = attempt = Attempt(launch, process, output)
        assert self._nursery is not None
        self._nursery.start_soon(self._watch, attempt)

    async def _watch(self, attempt: Attempt) -> None:
        async with trio.open_nursery() as reading:
            reading.start_soon(self._read, attempt, "stdout")
            reading.start_soon(self._read, attempt, "stderr")
        code = await attempt.process.wait()
        attempt.exit = Exit(exit_code=code if code >= 0 else 128 - code, reason=EndReason.EXIT)
        attempt.change()

    async def _read(self, attempt: Attempt, stream: Stream) -> None:
        pipe = attempt.process.stdout if stream == "stdout" else attempt.process.stderr
        assert pipe is not None
        while data := await pipe.receive_some(READ_BYTES):
            attempt.chunks.append(LogChunk(stream=stream, data=bytes(data)))
            attempt.change()

    async def wait(self, attempt_id: str) -> Exit:
        """Wait for a process's end."""
        attempt = self.attempts.get(attempt_id)
        if attempt is None:
            return Exit(exit_code=None, reason=EndReason.ENGINE_LOST)
        while attempt.exit is None:
            await attempt.changed.wait()
        return attempt.exit

    async def logs(self, attempt_id: str, *, skip: Mapping[str, int]) -> AsyncIterator[LogChunk]:
        """Yield what a process writes."""
        attempt, at, left = self.attempts[attempt_id], 0, dict(skip)
        while True:
            changed, is_over = attempt.changed, attempt.exit is not None
            for chunk in attempt.chunks[at:]:
                at += 1
                skipped = min(left.get(chunk.stream, 0), len(chunk.data))
                left[chunk.stream] = left.get(chunk.stream, 0) - skipped
                if chunk.data[skipped:]:
                    yield LogChunk(stream=chunk.stream, data=chunk.data[skipped:])
            if is_over:
                return
            if at == len(attempt.chunks) and attempt.exit is None:
                await changed.wait()

    async def stop(self, attempt_id: str, *, grace_seconds: float) -> None:
        """Ask a process to end, and kill it after the grace."""
        attempt = self.attempts.get(attempt_id)
        if attempt is None:
            return
        attempt.kill(signal.SIGTERM)
        with trio.move_on_after(grace_seconds):
            await self.wait(attempt_id)
        attempt.kill(signal.SIGKILL)
        await self.wait(attempt_id)

    async def found(self) -> list[Found]:
        """Return what is there."""
        return [
            Found(
                attempt_id=one.launch.attempt_id,
                job_id=one.launch.job_id,
                fencing_token=one.launch.fencing_token,
                is_running=one.exit is None,
            )
            for one in self.attempts.values()
        ]

    async def usage(self, attempt_id: str) -> Usage | None:
        """Tell nothing."""
        return None

    async def collect(self, attempt_id: str, sink: OutputSink) -> None:
        """Hand over what a process left."""
        output = self.attempts[attempt_id].output
        for path in sorted(output.rglob("*")):
            name = path.relative_to(output).as_posix()
            if path.is_symlink():
                sink.skip(name, "a link")
            elif path.is_file():
                data = path.read_bytes()
                await sink.put(name, len(data), _once(data))

    async def remove(self, attempt_id: str) -> None:
        """Forget a process."""
        attempt = self.attempts.pop(attempt_id, None)
        if attempt is not None:
            attempt.kill(signal.SIGKILL)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


@hookimpl
def appliance_task_engines(folder: Path) -> list[TaskEngine]:
    """Offer the engine."""
    return [PlainEngine(folder)]
