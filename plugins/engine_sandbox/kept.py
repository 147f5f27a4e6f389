"""The life of attempts that keepers keep, from their folders: what the engines of this plugin have in common."""

import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
import trio
from attrs import define, field, frozen

from appliance.plugin import EndReason, EngineLost, Exit, Found, Launch, LaunchFailed, LogChunk, OutputSink, Usage

from .cgroups import Group, Hierarchies, Limits
from .collecting import OPEN_FOLDER, collect
from .logs import LogReader
from .processes import descendants, kill_all, send
from .records import AttemptFolder, AttemptRecord, ExitRecord, boot_id, folder_name
from .removing import remove_tree
from .settings import SandboxSettings
from .spawning import Spawner

log = structlog.get_logger(__name__)

KILLED_SECONDS: Final = 30.0
"""How long what was killed may take to be gone."""
WAKE_BYTES: Final = 65_536
GONE: Final = "this attempt is not here any more"
NEVER_STARTED: Final = "it was made, and never started"
KEEPER_DIED: Final = "the process that kept it has died, so nobody saw how it ended; what was left of it was killed"
RESTARTED: Final = "this host was started anew while it ran"


@frozen(kw_only=True)
class Recipe:
    """How one attempt is started."""

    record: AttemptRecord
    request: Mapping[str, Any]
    """For the keeper; see `keeper`."""
    limits: Limits


@define(eq=False)
class KeptAttempts:
    """The attempts below one folder."""

    folder: Path
    appliance_id: str
    settings: SandboxSettings
    hierarchies: Hierarchies
    spawner: Spawner
    mode: int
    """Of the folder and of those in it: 0700, or 0711 where tasks go through them as users of their own."""
    _uids: dict[str, int] = field(factory=dict, init=False)
    """By the name of the attempt's folder."""

    def at(self, attempt_id: str) -> AttemptFolder:
        """Return the folder of an attempt, whether it is there or not."""
        return AttemptFolder(self.folder / folder_name(attempt_id))

    def group_name(self, attempt_id: str) -> str:
        """Return the name of its cgroup; another appliance on this host has others."""
        return f"{self.appliance_id[:8]}-{folder_name(attempt_id)}" if self.hierarchies.has_limits else ""

    def take_uid(self, attempt_id: str) -> int:
        """Return a user id that no other attempt here has."""
        name = folder_name(attempt_id)
        if name not in self._uids:
            taken = set(self._uids.values())
            free = (self.settings.first_uid + each for each in range(self.settings.uids))
            found = next((uid for uid in free if uid not in taken), None)
            if found is None:
                raise LaunchFailed(
                    f"all {self.settings.uids} user ids for tasks are taken",
                    reason=EndReason.REFUSED,
                    hint="raise uids in [plugins.engine_sandbox]",
                )
            self._uids[name] = found
        return self._uids[name]

    def open(self) -> None:
        """Make the folder, and learn which user ids are taken; raises `OSError`."""
        self.folder.mkdir(mode=self.mode, parents=True, exist_ok=True)
        os.chmod(self.folder, self.mode)
        for entry in list(os.scandir(self.folder)):
            record = AttemptFolder(Path(entry.path)).record()
            if record is None:
                remove_tree(Path(entry.path))  # of a start that was interrupted before anything ran
            elif record.uid is not None:
                self._uids[entry.name] = record.uid

    # ------------------------------------------------------------------------------------------------------- start

    async def start(self, launch: Launch, recipe_of: Callable[[Launch, AttemptFolder], Recipe]) -> None:
        """Start an attempt, unless it was before; see `TaskEngine.start`."""
        folder = self.at(launch.attempt_id)
        if folder.keeper() is not None:
            return
        try:
            recipe = recipe_of(launch, folder)
            try:
                folder.make(recipe.record, self.mode)
                group = self._make_group(recipe)
            except OSError as error:
                full = error.errno in (28, 122)  # ENOSPC, EDQUOT
                reason = EndReason.DISK_FULL if full else EndReason.REFUSED
                words = f"its folder or its limits cannot be made: {error.filename}: {error.strerror}"
                raise LaunchFailed(words, reason=reason) from error
            answer = await self.spawner.ask({**recipe.request, **_of_group(group)})
            if "problem" in answer:
                raise _not_started(str(answer["problem"]), disk_full=bool(answer["disk_full"]))
        except LaunchFailed:
            with trio.CancelScope(shield=True):
                await self.remove(launch.attempt_id)
            raise

    def _make_group(self, recipe: Recipe) -> Group | None:
        if not recipe.record.group:
            return None
        return self.hierarchies.make(recipe.record.group, recipe.limits)

    # ----------------------------------------------------------------------------------------------------- its end

    async def wait(self, attempt_id: str) -> Exit:
        """Return how it ended, once it has; see `TaskEngine.wait`."""
        folder = self.at(attempt_id)
        await _ended(folder)
        record, ended = folder.record(), folder.exit()
        if record is None:
            return Exit(exit_code=None, reason=EndReason.ENGINE_LOST, message=GONE)
        if ended is not None:
            return _exit_of(record, ended)
        keeper = folder.keeper()
        if keeper is None:
            return Exit(exit_code=None, reason=EndReason.ENGINE_LOST, message=NEVER_STARTED)
        await self._kill(attempt_id)
        message = KEEPER_DIED if keeper.boot_id == boot_id() else RESTARTED
        return Exit(exit_code=None, reason=EndReason.ENGINE_LOST, message=message)

    async def logs(self, attempt_id: str, skip: Mapping[str, int]) -> AsyncIterator[LogChunk]:
        """Yield all that it prints; see `TaskEngine.logs`."""
        folder = self.at(attempt_id)
        try:
            wake = os.open(folder.path / "wake", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            reader: LogReader | None = None
            # Opened after the keeper's end was closed, a FIFO would never tell of it.
            is_kept = folder.is_running()
            while True:
                if reader is None and (folder.path / "log").exists():
                    reader = LogReader(open(folder.path / "log", "rb"), dict(skip))  # noqa: SIM115, ASYNC230
                if reader is not None:
                    for chunk in reader.more():
                        yield chunk
                        await trio.lowlevel.checkpoint()
                if not is_kept:
                    return
                is_kept = await _woken(wake)
        finally:
            os.close(wake)
            if reader is not None:
                reader.file.close()

    async def stop(self, attempt_id: str, grace_seconds: float) -> None:
        """Ask it to end, and make it; see `TaskEngine.stop`."""
        folder = self.at(attempt_id)
        if folder.is_running():
            folder.asked_to_end(grace_seconds)
            await trio.to_thread.run_sync(_ask_to_end, folder)
            with trio.move_on_after(grace_seconds):
                await _ended(folder)
                return
        await self._kill(attempt_id)

    async def _kill(self, attempt_id: str) -> None:
        """Kill all of it, its keeper apart, which tells then how it ended; return when it has."""
        folder = self.at(attempt_id)
        record = folder.record()
        if record is None:
            return
        group = self.hierarchies.group(record.group) if record.group else None
        await trio.to_thread.run_sync(_kill_now, folder, group)
        with trio.move_on_after(KILLED_SECONDS) as waiting:
            await _ended(folder)
        if waiting.cancelled_caught:
            raise EngineLost(f"{attempt_id} was killed {KILLED_SECONDS:.0f} s ago and is not gone yet")

    # ------------------------------------------------------------------------------------------------------- state

    def found(self) -> list[Found]:
        """Return every attempt here; see `TaskEngine.found`."""
        found = []
        for entry in list(os.scandir(self.folder)):
            folder = AttemptFolder(Path(entry.path))
            record = folder.record()
            if record is not None:
                found.append(
                    Found(
                        attempt_id=record.attempt_id,
                        job_id=record.job_id,
                        fencing_token=record.fencing_token,
                        is_running=folder.is_running(),
                    )
                )
        return found

    def usage(self, attempt_id: str) -> Usage | None:
        """Return what it uses; see `TaskEngine.usage`."""
        folder = self.at(attempt_id)
        record = folder.record()
        if record is None or not folder.is_running():
            return None
        if record.group:
            return self.hierarchies.group(record.group).usage()
        keeper = folder.keeper()
        return Usage(pids=None if keeper is None else len(descendants(keeper.pid)))

    async def collect(self, attempt_id: str, sink: OutputSink) -> None:
        """Hand over what it left below ``/output``; see `TaskEngine.collect`."""
        folder = self.at(attempt_id)
        record = folder.record()
        ended = folder.exit()
        if record is None or (ended is not None and not ended.has_output):
            return
        if not record.has_space:
            await collect(os.open(folder.path / "output", OPEN_FOLDER), sink)
        elif (folder.path / "space.img").exists():
            asked = {"folder": str(folder.path), "lend": "output", "mount": record.mount}
            await collect(await self.spawner.borrow(asked), sink)

    async def remove(self, attempt_id: str) -> None:
        """Remove all of it; see `TaskEngine.remove`."""
        folder = self.at(attempt_id)
        record = folder.record()
        if record is not None and folder.keeper() is not None and folder.exit() is None:
            await self._kill(attempt_id)
        try:
            await trio.to_thread.run_sync(partial(remove_tree, folder.path))
        except OSError as error:
            raise EngineLost(f"{attempt_id} cannot be removed: {error.filename}: {error.strerror}") from error
        if record is not None and record.group and not self.hierarchies.group(record.group).remove():
            log.warning("sandbox.group_is_not_empty", attempt=attempt_id)
        self._uids.pop(folder_name(attempt_id), None)


async def _ended(folder: AttemptFolder) -> None:
    """Return once its keeper has ended; at once when there is none."""
    fd = folder.open_keeper()
    if fd is None:
        return
    try:
        await trio.lowlevel.wait_readable(fd)
    finally:
        os.close(fd)


async def _woken(wake: int) -> bool:
    """Wait until there may be more to read; ``False`` once the keeper has ended."""
    while True:
        # Read before it is waited: of a keeper that had ended when the FIFO was opened, polling tells nothing.
        try:
            return os.read(wake, WAKE_BYTES) != b""
        except BlockingIOError:
            await trio.lowlevel.wait_readable(wake)


def _ask_to_end(folder: AttemptFolder) -> None:
    """Send SIGTERM to all of its processes but those that are the sandbox's own."""
    keeper, init = folder.keeper(), folder.open_init()
    if init is not None:
        pid, fd = init
        os.close(fd)
    elif keeper is not None:
        pid = keeper.pid
    else:
        return
    for each in descendants(pid):
        send(each, signal.SIGTERM, within=pid)


def _kill_now(folder: AttemptFolder, group: Group | None) -> None:
    init, keeper, record = folder.open_init(), folder.keeper(), folder.record()
    if group is not None:
        group.unthrottle()
    if init is not None:
        _, fd = init
        try:
            signal.pidfd_send_signal(fd, signal.SIGKILL)  # and with it all of its process namespace
        except ProcessLookupError:
            log.debug("sandbox.is_gone", attempt=folder.path.name)
        finally:
            os.close(fd)
    is_lone = init is None and keeper is not None and record is not None and folder.is_running()
    # Of a keeper that died in between nothing descends any more; its cgroup knows what it has left.
    kill_all(keeper.pid if is_lone and keeper is not None else 0, [] if group is None else group.kill_files)


def _of_group(group: Group | None) -> dict[str, Any]:
    if group is None:
        return {"cgroup_procs": [], "oom_files": [], "kill_files": []}
    return {"cgroup_procs": group.procs, "oom_files": group.oom_files, "kill_files": group.kill_files}


def _not_started(problem: str, *, disk_full: bool) -> LaunchFailed:
    reason = EndReason.DISK_FULL if disk_full else EndReason.REFUSED
    if "execvp" in problem:  # bubblewrap's word for a root without what shall be run
        reason = EndReason.IMAGE
    return LaunchFailed(f"it cannot be started: {problem}", reason=reason)


def _exit_of(record: AttemptRecord, ended: ExitRecord) -> Exit:
    words = []
    reason = EndReason.EXIT
    if ended.never_ran:
        reason = EndReason.DISK_FULL if ended.disk_full else EndReason.REFUSED
        words.append(f"it could not be started: {ended.never_ran}")
    elif ended.exit_code != 0 and ended.oom_kills:
        reason = EndReason.OOM
        words.append(f"killed for memory: it may have {record.memory_mib} MiB")
    elif ended.exit_code != 0 and ended.disk_full:
        reason = EndReason.DISK_FULL
        words.append("no room was left where it writes")
    words += [f"{count} bytes of its {name} were not kept" for name, count in ended.dropped.items() if count]
    return Exit(
        exit_code=ended.exit_code,
        reason=reason,
        message="; ".join(words),
        ended_at_unix_us=ended.ended_at_unix_us,
    )
