"""Runs a build command: no shell, an environment of its own, and none of its processes left when it is over."""

import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Final

import trio

from . import leftovers
from .judging import Ended
from .models import as_argument
from .output import LogFile

ATOM_WORD: Final = "{atom}"
PATHS: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT: Final[Mapping[str, str]] = {
    "PATH": PATHS,
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "xterm",
    "FEATURES": "buildpkg",  # added to those of make.conf: Portage's own rule for this variable
    "BINPKG_FORMAT": "gpkg",
    "EMERGE_WARNING_DELAY": "0",
    "CLEAN_DELAY": "0",
}
"""All that a build gets of an environment, besides what ``--env`` adds: no secret of ours."""
DRAIN_SECONDS: Final = 2.0
READ_BYTES: Final = 65_536


def argv_of(template: Sequence[str], atom: str) -> list[str]:
    """Return the command for a package; one without ``{atom}`` gets it as its last word."""
    argument = as_argument(atom)
    words = [word.replace(ATOM_WORD, argument) for word in template]
    return words if any(ATOM_WORD in word for word in template) else [*words, argument]


def environment_of(more: Mapping[str, str], mark: str) -> dict[str, str]:
    """Return the environment of a build."""
    return {**ENVIRONMENT, **more, leftovers.MARK: mark}


async def build(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: LogFile,
    most_seconds: float,
    grace_seconds: float,
) -> Ended:
    """Run a command to its end; when cancelled, end it with all that it started.

    :param environment: of `environment_of`.
    :param most_seconds: then it has failed.
    :param grace_seconds: how long its processes may take to end when they are asked to.
    """
    options: dict[str, Any] = {"start_new_session": True, "cwd": "/", "env": dict(environment)}
    started = trio.current_time()
    try:
        process = await trio.lowlevel.open_process(
            list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
        )
    except OSError as error:
        return Ended(status=None, duration_s=0.0, why=f"{argv[0]} cannot be started: {error.strerror or error}")
    status = None
    try:
        with trio.move_on_after(most_seconds):
            status = await _followed(process, log)
    finally:
        with trio.CancelScope(shield=True):
            await leftovers.end(environment[leftovers.MARK], grace_seconds=grace_seconds)
            with trio.move_on_after(DRAIN_SECONDS):
                await process.wait()
            if process.stdout is not None:
                await process.stdout.aclose()
    duration = trio.current_time() - started
    return Ended(status=status, duration_s=duration, why=f"it took longer than {most_seconds:g} s and was ended")


async def _followed(process: trio.Process, log: LogFile) -> int:
    output = process.stdout
    assert output is not None
    async with trio.open_nursery() as nursery:
        read_all = trio.Event()

        async def drink() -> None:
            while data := await output.receive_some(READ_BYTES):
                await trio.to_thread.run_sync(log.append, bytes(data))
            read_all.set()

        nursery.start_soon(drink)
        status = await process.wait()
        # What it left running may hold its output open for ever.
        with trio.move_on_after(DRAIN_SECONDS):
            await read_all.wait()
        nursery.cancel_scope.cancel()
    return status
