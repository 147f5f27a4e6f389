"""Runs a program of this host: bounded output, and nothing of it is left when it is cancelled."""

import os
import signal
import subprocess
from collections.abc import AsyncIterable, Sequence
from contextlib import suppress
from typing import Final

import trio
from attrs import define, field, frozen

PIECE_BYTES: Final = 65_536
DRAIN_SECONDS: Final = 1.0
"""How long output is waited for after the program has ended: a child of its own may hold the pipe."""
END_SECONDS: Final = 1.0
KEPT_VARIABLES: Final = ("PATH", "LD_LIBRARY_PATH")


@frozen(kw_only=True)
class Finished:
    """How a program ended."""

    status: int
    """Its exit status; below 0, the signal that ended it."""
    stdout: bytes
    stderr: bytes
    is_cut: bool
    """Whether there was more output than the limit; the rest is gone."""


@define(eq=False)
class _Kept:
    limit: int
    data: bytearray = field(factory=bytearray)
    is_cut: bool = False

    def add(self, piece: bytes | bytearray) -> None:
        space = self.limit - len(self.data)
        self.data += piece[:space]
        self.is_cut = self.is_cut or len(piece) > space


def own_environment(**more: str) -> dict[str, str]:
    """Return the environment of programs that we start: no agents, no settings of whoever started us."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {"LC_ALL": "C", "PATH": os.defpath, **kept, **more}


async def run_process(
    argv: Sequence[str], *, stdin: bytes | AsyncIterable[bytes] = b"", limit_bytes: int = 1_048_576
) -> Finished:
    """Run a program to its end; cancelling ends its whole process group.

    :param stdin: what it is given to read; a program that stops reading early is let be.
    :param limit_bytes: of each of its outputs; what is beyond is read and dropped.
    :raises OSError: it cannot be started.
    """
    process = await trio.lowlevel.open_process(
        list(argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd="/",
        env=own_environment(),
    )
    out, err = _Kept(limit_bytes), _Kept(limit_bytes)
    problem: list[Exception] = []
    try:
        async with trio.open_nursery() as nursery:

            async def feed() -> None:
                try:
                    await _feed(process, stdin)
                except Exception as error:  # of the iterator: raised below, outside of the nursery
                    problem.append(error)
                    nursery.cancel_scope.cancel()

            nursery.start_soon(feed)
            nursery.start_soon(_read, process.stdout, out)
            nursery.start_soon(_read, process.stderr, err)
            await process.wait()
            # Whoever still holds the pipes (a connection that is kept open) must not hold us.
            nursery.cancel_scope.deadline = trio.current_time() + DRAIN_SECONDS
    finally:
        await end_group(process)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with trio.CancelScope(shield=True):
                    await stream.aclose()
    if problem:
        raise problem[0]
    assert process.returncode is not None
    return Finished(
        status=process.returncode,
        stdout=bytes(out.data),
        stderr=bytes(err.data),
        is_cut=out.is_cut or err.is_cut,
    )


async def end_group(process: trio.Process, *, grace_seconds: float = END_SECONDS) -> None:
    """End a program that was started in a session of its own, with all that is still in its group."""
    if process.returncode is not None:
        return
    with trio.CancelScope(shield=True):
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with trio.move_on_after(grace_seconds):
                await process.wait()
                return
        await process.wait()


async def _feed(process: trio.Process, stdin: bytes | AsyncIterable[bytes]) -> None:
    assert process.stdin is not None
    async with process.stdin:
        try:
            if isinstance(stdin, bytes):
                await process.stdin.send_all(stdin)
                return
            async for piece in stdin:
                await process.stdin.send_all(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


async def _read(stream: trio.abc.ReceiveStream | None, kept: _Kept) -> None:
    assert stream is not None
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while piece := await stream.receive_some(PIECE_BYTES):
            kept.add(piece)
