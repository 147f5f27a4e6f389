"""An engine with a busybox image, and what tests ask of it. Needs bubblewrap, busybox-static and root."""

import io
import os
import shutil
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from attrs import define, field

from appliance.clock import unix_now_us
from appliance.engines import Exit, Launch
from appliance.host import Host
from plugins.engine_sandbox.engine import KeptEngine
from plugins.engine_sandbox.extracting import Caps
from plugins.engine_sandbox.images import Images
from plugins.engine_sandbox.process import ProcessEngine
from plugins.engine_sandbox.sandbox import SandboxEngine
from plugins.engine_sandbox.settings import SandboxSettings

PATIENCE_SECONDS: Final = 60.0
APPLIANCE_ID: Final = "5a9d0c77-0000-4000-8000-000000000001"
IMAGE: Final = "busybox:1"
APPLETS: Final = (
    "sh cat echo sleep ls mkdir mkfifo dd id true false seq wc head tail env ps rm touch ln printf kill nc readlink"
    " mount unshare chroot ping awk tr hostname stty tty dirname df chmod"
)

needs_sandbox = pytest.mark.skipif(
    shutil.which("bwrap") is None or shutil.which("busybox") is None or os.geteuid() != 0,
    reason="bubblewrap and busybox-static are not here, or this is not root",
)


@lru_cache
def root_archive() -> bytes:
    """Return the tar archive of a small system."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.add(str(shutil.which("busybox")), "./bin/busybox", filter=_plain)
        for name in APPLETS.split():
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "/bin/busybox"
            archive.addfile(link)
    return made.getvalue()


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.type, entry.linkname, entry.mode = tarfile.REGTYPE, "", 0o755
    return entry


@define
class Kept:
    """A sink that keeps everything."""

    files: dict[str, bytes] = field(factory=dict)
    skipped: dict[str, str] = field(factory=dict)

    async def put(self, path: str, size_bytes: int, chunks: AsyncIterator[bytes]) -> bool:
        content = b"".join([chunk async for chunk in chunks])
        assert len(content) == size_bytes
        self.files[path] = content
        return True

    def skip(self, path: str, reason: str) -> None:
        self.skipped[path] = reason


def silent(words: str) -> None:
    """Take progress, and tell nobody."""


def data_folder(tmp_path: Path) -> Path:
    """Return a plugin's folder below a data directory that is nobody else's, as in the product."""
    data = tmp_path / "data"
    folder = data / "plugin-data" / "engine_sandbox"
    folder.mkdir(parents=True, exist_ok=True)
    data.chmod(0o700)
    return folder


def engine_at(folder: Path, host: Host | None = None, *, kind: str = "sandbox", **settings: Any) -> KeptEngine:
    """Return an engine on a plugin's folder, not started."""
    chosen = SandboxSettings(**settings)
    images = Images(folder / "images", Caps(bytes_max=chosen.image_bytes_max), unix_now_us)
    made = SandboxEngine if kind == "sandbox" else ProcessEngine
    return made(host or Host(), folder, APPLIANCE_ID, chosen, images)


@asynccontextmanager
async def started(engine: KeptEngine) -> AsyncIterator[KeptEngine]:
    """Run an engine; its keepers and what they keep stay when this ends, as when the appliance does."""
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        yield engine
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def sandboxes(tmp_path: Path, *, kind: str = "sandbox", **settings: Any) -> AsyncIterator[KeptEngine]:
    """Run an engine that has the image; all that is left of attempts is removed at the end."""
    engine = engine_at(data_folder(tmp_path), kind=kind, **settings)
    async with started(engine):
        if kind == "sandbox" and not engine.images.all():
            await engine.images.add(IMAGE, io.BytesIO(root_archive()))
        try:
            yield engine
        finally:
            with trio.CancelScope(shield=True):
                for found in await engine.found():
                    await engine.remove(found.attempt_id)


def launch(command: str, attempt_id: str = "task-1.1", **more: Any) -> Launch:
    """Return what starts an attempt."""
    told = {"image": IMAGE, "job_id": attempt_id.rpartition(".")[0], "fencing_token": 7} | more
    return Launch(attempt_id=attempt_id, command=command, **told)


async def output(engine: KeptEngine, attempt_id: str = "task-1.1", **skip: int) -> tuple[bytes, bytes]:
    """Return all that an attempt prints, until its end."""
    found = {"stdout": b"", "stderr": b""}
    with trio.fail_after(PATIENCE_SECONDS):
        async with aclosing(engine.logs(attempt_id, skip=skip)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                found[chunk.stream] += chunk.data
    return found["stdout"], found["stderr"]


async def run(engine: KeptEngine, command: str, attempt_id: str = "task-1.1", **more: Any) -> tuple[Exit, bytes, bytes]:
    """Run an attempt to its end; return how that was, and what it printed."""
    with trio.fail_after(PATIENCE_SECONDS):
        await engine.start(launch(command, attempt_id, **more), silent)
        stdout, stderr = await output(engine, attempt_id)
        return await engine.wait(attempt_id), stdout, stderr


async def collected(engine: KeptEngine, attempt_id: str = "task-1.1") -> Kept:
    """Return what an attempt has left."""
    kept = Kept()
    with trio.fail_after(PATIENCE_SECONDS):
        await engine.collect(attempt_id, kept)
    return kept


async def printed(engine: KeptEngine, text: bytes, attempt_id: str = "task-1.1") -> None:
    """Return once an attempt has printed something."""
    seen = b""
    with trio.fail_after(PATIENCE_SECONDS):
        async with aclosing(engine.logs(attempt_id, skip={})) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                seen += chunk.data
                if text in seen:
                    return
    raise AssertionError(f"it ended, and printed {seen!r}")


async def until(check: Callable[[], Any]) -> Any:
    """Return what a check finds, once it finds something."""
    with trio.fail_after(PATIENCE_SECONDS):
        while not (found := check()):  # noqa: ASYNC110 (processes tell no event)
            await trio.sleep(0.01)
    return found


def processes_with(text: str) -> list[int]:
    """Return the processes of this host that have some text in their command line."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = Path(entry.path, "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in line:
                found.append(int(entry.name))
    return found


def mounts() -> list[str]:
    """Return the mounts of loop devices that this host sees."""
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if line.startswith("/dev/loop")]
