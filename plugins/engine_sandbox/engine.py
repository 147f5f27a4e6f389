"""What the engines of this plugin share: looking at the host, a first task as proof, and the protocol of an engine."""

import grp
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import structlog
import trio
from attrs import define, field

from appliance.plugin import (
    EndReason,
    EngineLost,
    EngineStatus,
    Exit,
    Found,
    Host,
    Launch,
    LaunchFailed,
    LogChunk,
    OutputSink,
    Usage,
)

from .cgroups import Hierarchies, Limits, find_hierarchies
from .gpus import GpuAccess, has_gpus
from .images import HOST, Images
from .kept import KeptAttempts, Recipe
from .records import WRITABLE, AttemptFolder, AttemptRecord
from .settings import SandboxSettings
from .space import SpaceMaker, find_space_maker
from .spawning import Spawner

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 60.0
"""Between two looks at a host that lacked something at the last."""
PROOF_SECONDS: Final = 5.0
"""How long to wait for a task before one of our own finds out what works here."""
PROBE: Final = "appliance-probe"
PROBE_SECONDS: Final = 30.0
PROBE_END_SECONDS: Final = 5.0
ADVISORY: Final = 'limits = "advisory" in [plugins.engine_sandbox] runs tasks without them'


@define(eq=False)
class KeptEngine:
    """What both engines share: all but how an attempt is started and what is looked for."""

    host: Host
    folder: Path
    appliance_id: str
    settings: SandboxSettings
    images: Images
    mode: ClassVar[int] = 0o700
    """Of the folders of attempts; tasks do not go through them, but find what is theirs elsewhere."""
    name: str = field(init=False)
    _status: EngineStatus = field(init=False)
    _attempts: KeptAttempts | None = field(default=None, init=False)
    _space: SpaceMaker | None = field(default=None, init=False)
    _wanted: trio.Event = field(factory=trio.Event, init=False)
    _proven: trio.Event = field(factory=trio.Event, init=False)

    @property
    def status(self) -> EngineStatus:
        """How it was at the last look."""
        return self._status

    def owns_image(self, image: str) -> bool:
        """Whether it is this host's own system, or was imported here."""
        return self.images.has(image)

    @property
    def attempts(self) -> KeptAttempts:
        """The attempts; raises `EngineLost` before the first look."""
        if self._attempts is None:
            raise EngineLost(f"the engine {self.name} has not started")
        return self._attempts

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look what this host has, and again as long as something lacks."""
        hierarchies = await trio.to_thread.run_sync(find_hierarchies, self.host, self.settings.cgroup)
        spawner = Spawner(hierarchies.keepers(), self.folder / f"{self.name}-keeper.log")
        self._attempts = KeptAttempts(
            self.place(), self.appliance_id, self.settings, hierarchies, spawner, mode=self.mode
        )
        try:
            self._status = await self._look(hierarchies)
            log.info("engine.looked", engine=self.name, state=self._status.state, message=self._status.message)
            task_status.started()
            while True:
                if self._status.state == "ok":
                    with trio.move_on_after(PROOF_SECONDS):
                        await self._wanted.wait()
                    self._status = await self._proof(hierarchies)
                    log.info("engine.proven", engine=self.name, state=self._status.state, message=self._status.message)
                    self._proven.set()
                while self._status.state == "ok":
                    await trio.sleep_forever()
                await trio.sleep(LOOK_SECONDS)
                self._proven, self._wanted = trio.Event(), trio.Event()
                self._status = await self._look(hierarchies)
        finally:
            spawner.close()

    async def _look(self, hierarchies: Hierarchies) -> EngineStatus:
        """Look for what can be seen without running anything."""
        try:
            await trio.to_thread.run_sync(self.attempts.open)
        except OSError as error:
            return self.says("unavailable", f"{error.filename}: {error.strerror}")
        lacks = await self.lacking()
        if lacks is not None:
            return lacks
        if not hierarchies.has_limits and self.settings.limits == "required":
            return self.says("unavailable", f"no limits can be set: {hierarchies.problem}", hint=ADVISORY)
        features = frozenset({"gpu"}) if has_gpus(self.host) else frozenset[str]()
        return self.says("ok", f"{self.described()}, not proven yet", features=features)

    async def _proof(self, hierarchies: Hierarchies) -> EngineStatus:
        """Find out by a first task what works."""
        try:
            features = await self._first_task()
        except (OSError, LaunchFailed, EngineLost, trio.TooSlowError) as error:
            hint = error.hint if isinstance(error, LaunchFailed) else ""
            return self.says("unavailable", str(error) or "a first task did not end", hint=hint or self.advice())
        limits = "limits promised only"
        if hierarchies.has_limits:
            limits = f"limits by cgroup v{2 if hierarchies.is_v2 else 1}"
        return self.says("ok", f"{self.described()}, {limits}", features=features)

    async def _first_task(self) -> frozenset[str]:
        """Run a task that does nothing, with a file system of its own where that can be; return what works."""
        features = {"gpu"} if has_gpus(self.host) else set()
        self._space = find_space_maker(self.host) if os.geteuid() == 0 else None
        if self._space is not None:
            try:
                await self._probe(storage_mib=4)
                features.add("storage_limit")
            except LaunchFailed as error:
                log.info("engine.no_storage_limit", engine=self.name, reason=error.message)
                self._space = None
        if self._space is None:
            await self._probe(storage_mib=0)
        return frozenset(features)

    async def _probe(self, storage_mib: int) -> None:
        launch = Launch(
            attempt_id=PROBE,
            job_id=PROBE,
            fencing_token=0,
            image=HOST,
            command="exit 0",
            storage_mib=storage_mib,
            memory_mib=64,
            millicores=1000,
        )
        attempts = self.attempts
        with trio.fail_after(PROBE_SECONDS):
            await attempts.remove(launch.attempt_id)
            try:
                await attempts.start(launch, self.recipe)
                ended = await attempts.wait(launch.attempt_id)
            finally:
                with trio.move_on_after(PROBE_END_SECONDS, shield=True):  # a stop leaves nothing of it
                    await attempts.remove(launch.attempt_id)
        if ended.exit_code != 0:
            raise LaunchFailed(f"a first task ended with {ended.exit_code} {ended.message}", reason=EndReason.REFUSED)

    def says(self, state: Any, message: str, *, hint: str = "", features: frozenset[str] = frozenset()) -> EngineStatus:
        """Return a status of this engine."""
        return EngineStatus(
            name=self.name, state=state, message=message, hint=hint, features=features, own_images_only=True
        )

    # ------------------------------------------------------------------------------------ what the engines differ in

    def place(self) -> Path:
        """Return where the folders of attempts are."""
        raise NotImplementedError

    async def lacking(self) -> EngineStatus | None:
        """Return what this host lacks; ``None`` when nothing."""
        raise NotImplementedError

    def described(self) -> str:
        """Return in words what was found."""
        raise NotImplementedError

    def advice(self) -> str:
        """Return what to do when a first task does not run."""
        raise NotImplementedError

    def recipe(self, launch: Launch, folder: AttemptFolder) -> Recipe:
        """Return how an attempt is started; raises `LaunchFailed` where that is refused."""
        raise NotImplementedError

    # --------------------------------------------------------------------------------------------- the engine's part

    async def start(self, launch: Launch, tell: Callable[[str], None]) -> None:
        """Start an attempt; see `TaskEngine`."""
        if self._status.state == "ok" and not self._proven.is_set():
            self._wanted.set()
            await self._proven.wait()
        if self._status.state != "ok":
            raise LaunchFailed(self._status.message, reason=EndReason.REFUSED, hint=self._status.hint)
        await self.attempts.start(launch, self.recipe)

    async def wait(self, attempt_id: str) -> Exit:
        """Return how it ended, once it has."""
        return await self.attempts.wait(attempt_id)

    def logs(self, attempt_id: str, *, skip: Mapping[str, int]) -> AsyncIterator[LogChunk]:
        """Yield all that it prints, until it has ended."""
        return self.attempts.logs(attempt_id, skip)

    async def stop(self, attempt_id: str, *, grace_seconds: float) -> None:
        """Ask it to end, and make it after the grace."""
        await self.attempts.stop(attempt_id, grace_seconds)

    async def found(self) -> list[Found]:
        """Return every attempt that is here."""
        return [found for found in await trio.to_thread.run_sync(self.attempts.found) if found.attempt_id != PROBE]

    async def usage(self, attempt_id: str) -> Usage | None:
        """Return what it uses now."""
        return self.attempts.usage(attempt_id)

    async def collect(self, attempt_id: str, sink: OutputSink) -> None:
        """Hand over the files that it has left below ``/output``."""
        await self.attempts.collect(attempt_id, sink)

    async def remove(self, attempt_id: str) -> None:
        """Remove all of it."""
        await self.attempts.remove(attempt_id)

    # ------------------------------------------------------------------------------------------------------- recipes

    def base(self, launch: Launch, *, has_init: bool) -> tuple[AttemptRecord, dict[str, Any], Limits]:
        """Return what both engines tell a keeper, and refuse what neither offers."""
        if launch.network != "none":
            raise refused(f"the engine {self.name} has no network {launch.network!r}", "use the engine docker")
        if launch.privileges:
            raise refused(f"the engine {self.name} grants no {', '.join(sorted(launch.privileges))}", "")
        limits = Limits(millicores=launch.millicores, memory_mib=launch.memory_mib, processes_max=launch.pids_max)
        is_root = os.geteuid() == 0
        record = AttemptRecord(
            attempt_id=launch.attempt_id,
            job_id=launch.job_id,
            fencing_token=launch.fencing_token,
            group=self.attempts.group_name(launch.attempt_id),
            uid=self.attempts.take_uid(launch.attempt_id) if is_root else None,
            memory_mib=launch.memory_mib,
            has_space=self._space is not None and launch.storage_mib > 0,
            mount="" if self._space is None else self._space.mount,
            has_init=has_init,
        )
        space = None
        if self._space is not None and record.uid is not None and record.has_space:
            space = self._space.request(launch.storage_mib, record.uid, WRITABLE)
        request = {
            "folder": str(self.attempts.at(launch.attempt_id).path),
            "uid": record.uid,
            "space": space,
            "log_bytes": self.settings.log_bytes,
            "tty": launch.tty,
            "processes_max": 0 if record.group else launch.pids_max,
        }
        return record, request, limits

    def groups(self, gpus: GpuAccess) -> list[int]:
        """Return the groups of a task's user: the configured one, and those that device files are given to."""
        found = {self.host.path(path).stat().st_gid for path in gpus.files} - {0}
        if self.settings.group:
            try:
                found.add(grp.getgrnam(self.settings.group).gr_gid)
            except KeyError:
                raise refused(f"there is no group {self.settings.group!r} on this host", "") from None
        return sorted(found)


def refused(message: str, hint: str) -> LaunchFailed:
    """Return a refusal to start."""
    return LaunchFailed(message, reason=EndReason.REFUSED, hint=hint)


async def output_of(*argv: str) -> str:
    """Return what a program prints; empty when it cannot be run."""
    try:
        done = await trio.run_process(
            list(argv), stdin=subprocess.DEVNULL, capture_stdout=True, capture_stderr=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.decode("utf-8", "replace")
