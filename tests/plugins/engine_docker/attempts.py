"""What tests of attempts have in common."""

from collections.abc import AsyncIterator
from typing import Any

import trio
from attrs import define, field

from appliance.engines import Exit, Launch
from plugins.engine_docker.engine import DockerEngine
from tests.plugins.engine_docker.daemons import IMAGE

PATIENCE_SECONDS = 60.0


def launch(attempt_id: str, command: str, **more: Any) -> Launch:
    """Return a launch of busybox."""
    job_id = attempt_id.partition(".")[0]
    return Launch(
        **({"attempt_id": attempt_id, "job_id": job_id, "fencing_token": 7, "image": IMAGE, "command": command} | more)
    )


def silent(words: str) -> None:
    """Take progress, and nothing is done with it."""


async def output(engine: DockerEngine, attempt_id: str, **skip: int) -> tuple[bytes, bytes]:
    """Return what an attempt wrote to its two streams, until its end."""
    written = {"stdout": b"", "stderr": b""}
    with trio.fail_after(PATIENCE_SECONDS):
        async for chunk in engine.logs(attempt_id, skip=skip):
            written[chunk.stream] += chunk.data
    return written["stdout"], written["stderr"]


async def ended(engine: DockerEngine, attempt_id: str) -> Exit:
    """Return how an attempt ended."""
    with trio.fail_after(PATIENCE_SECONDS):
        return await engine.wait(attempt_id)


async def run(engine: DockerEngine, attempt_id: str, command: str, **more: Any) -> tuple[Exit, bytes, bytes]:
    """Run a command to its end; return how it ended and what it wrote."""
    with trio.fail_after(PATIENCE_SECONDS):
        await engine.start(launch(attempt_id, command, **more), silent)
    stdout, stderr = await output(engine, attempt_id)
    return await ended(engine, attempt_id), stdout, stderr


@define
class Kept:
    """An output sink that keeps everything in memory but what is called ``refused``."""

    files: dict[str, bytes] = field(factory=dict)
    sizes: dict[str, int] = field(factory=dict)
    skipped: dict[str, str] = field(factory=dict)

    async def put(self, path: str, size_bytes: int, chunks: AsyncIterator[bytes]) -> bool:
        """Keep a file."""
        self.sizes[path] = size_bytes
        if path.endswith("refused"):
            return False
        self.files[path] = b"".join([chunk async for chunk in chunks])
        return True

    def skip(self, path: str, reason: str) -> None:
        """Take note of what is no file."""
        self.skipped[path] = reason
