"""The link to the engine: where it is, what it can do, and how it is doing, in words."""

import os
import resource
from pathlib import Path
from typing import Final

import trio
from attrs import define, field, frozen

from appliance.plugin import EngineLost, EngineStatus, Host

from . import address
from .address import Address, AddressUnusable
from .client import Client, Refused
from .containers import Info, Version, decode
from .creation import NOFILE_USUAL, Surroundings
from .fence import ARCHITECTURES
from .settings import DockerSettings

NAME: Final = "docker"
LOOK_SECONDS: Final = 5.0
LOOK_ANSWER_SECONDS: Final = 20.0
GREET_SECONDS: Final = 300.0
"""How long what an engine can do is believed: asking makes Podman start half a dozen programs."""
API: Final = (1, 41)
"""The version of the API that is spoken; an engine that does not know it any more gets the oldest that it knows."""
CDI_FOLDERS: Final = ("/etc/cdi", "/var/run/cdi")
STORAGE_DRIVERS: Final = frozenset({"btrfs", "zfs", "devicemapper"})


@frozen(kw_only=True)
class Connected:
    """An engine that answered, and what there is to know about it."""

    client: Client
    around: Surroundings
    version: str
    can_fence: bool
    """Whether the fence's program runs on its processor."""
    unlimited: tuple[str, ...] = ()
    """What its kernel cannot limit, in words."""

    @property
    def features(self) -> frozenset[str]:
        """As `EngineStatus.features`."""
        found = {"pull", "network"}
        if self.around.gpus:
            found.add("gpu")
        if self.around.storage_limit:
            found.add("storage_limit")
        if self.client.address.is_remote:
            found.add("remote")
        return frozenset(found)


@define
class Link:
    """Looks for the engine, again and again."""

    settings: DockerSettings
    host: Host
    status: EngineStatus = field(
        factory=lambda: EngineStatus(name=NAME, state="starting", message="has not looked yet"), init=False
    )
    _connected: Connected | None = field(default=None, init=False)
    _storage_refused: bool = field(default=False, init=False)
    _greeted_at: float = field(default=0.0, init=False)
    _was_there: bool = field(default=False, init=False)
    """An engine takes its socket with it when it stops, and what waits for it has to wait on."""
    _wake: trio.Event = field(factory=trio.Event, init=False)
    _looking: trio.Lock = field(factory=trio.Lock, init=False)

    async def watch(self, task_status: trio.TaskStatus[None]) -> None:
        """Look every few seconds, and at once when `lost` was called."""
        await self.look()
        task_status.started()
        while True:
            with trio.move_on_after(LOOK_SECONDS):
                await self._wake.wait()
            self._wake = trio.Event()
            await self.look()
            await trio.sleep(LOOK_SECONDS / 10)  # many lost requests at once are one look

    def lost(self) -> None:
        """Say that the engine did not answer somebody."""
        self._wake.set()

    def without_storage_limit(self) -> None:
        """Remember that this engine refused to limit a container's disk space."""
        self._storage_refused = True
        self._connected = None
        self._wake.set()

    async def connected(self) -> Connected:
        """Return the engine as it was at the last look, after a look if there was none.

        :raises EngineLost: it cannot be reached.
        """
        if self._connected is None:
            async with self._looking:  # of many who wait for an engine, one looks
                if self._connected is None:
                    await self.look()
        if self._connected is None:
            raise EngineLost(self.status.message, hint=self.status.hint)
        return self._connected

    async def look(self) -> None:
        """Look for the engine, and set `status`."""
        where: Address | None = None
        try:
            where = address.find(self.settings, self.host)
            if where is None and self._was_there:
                self._fail("its socket has gone", "systemctl start docker, or podman.socket")
                return
            if where is None:
                self._connected, self.status = None, self._absent()
                return
            _check_access(where)
            if await self._is_known(where):
                return
            self._connected = await self._greet(where)
            self._greeted_at, self._was_there = trio.current_time(), True
            self.status = self._ok(self._connected)
        except AddressUnusable as error:
            self._fail(str(error), error.hint)
        except (EngineLost, Refused) as error:
            self._fail(f"{where}: {error.message}", _hint_of(where))

    async def _is_known(self, where: Address) -> bool:
        known = self._connected
        if known is None or known.client.address != where:
            return False
        if trio.current_time() - self._greeted_at >= GREET_SECONDS:
            return False
        await known.client.call("GET", "/_ping", answer_seconds=LOOK_ANSWER_SECONDS)
        return True

    def _fail(self, message: str, hint: str) -> None:
        self._connected = None
        self.status = EngineStatus(name=NAME, state="unavailable", message=message, hint=hint)

    def _absent(self) -> EngineStatus:
        places = ", ".join(str(one) for one in address.sockets(self.host))
        return EngineStatus(
            name=NAME,
            state="absent",
            message=f"no Docker and no Podman here: none of {places} exists",
            hint="apt-get install docker.io, or for Podman: systemctl enable --now podman.socket",
        )

    def _ok(self, found: Connected) -> EngineStatus:
        kind = "Podman" if found.around.is_podman else "Docker"
        words = [f"{kind} {found.version} at {found.client.address}"]
        if not found.around.gpus:
            words.append("gives no GPUs")
        if found.unlimited:
            words.append(f"its kernel cannot limit {', '.join(found.unlimited)}")
        if not found.can_fence:
            words.append("network bridge only with link_local = true: link-local addresses cannot be closed there")
        return EngineStatus(name=NAME, state="ok", message="; ".join(words), features=found.features)

    async def _greet(self, where: Address) -> Connected:
        plain = Client(address=where, answer_seconds=LOOK_ANSWER_SECONDS)
        version = decode((await plain.call("GET", "/version"))[1], Version)
        client = Client(address=where, prefix=f"/v{spoken(version)}")
        info = decode((await client.call("GET", "/info", answer_seconds=LOOK_ANSWER_SECONDS))[1], Info)
        gpus, cdi = self._gpus(version, info, where)
        nofile, nproc = (None, None) if where.is_remote else _own_limits(self.host)
        around = Surroundings(
            is_podman=version.is_podman,
            cdi=cdi,
            gpus=gpus,
            storage_limit=not self._storage_refused and limits_storage(info),
            nofile_max=nofile,
            nproc_max=nproc,
        )
        number = "".join(one for one in version.version[:60] if one.isprintable())
        limits = (("memory", info.memory_limit), ("CPU time", info.cpu_cfs_quota), ("processes", info.pids_limit))
        return Connected(
            client=client,
            around=around,
            version=number,
            can_fence=version.arch in ARCHITECTURES,
            unlimited=tuple(word for word, limited in limits if not limited),
        )

    def _gpus(self, version: Version, info: Info, where: Address) -> tuple[bool, bool]:
        """Return whether GPUs can be given to containers, and whether by their CDI names."""
        specified = not where.is_remote and any(
            "nvidia" in one.name for folder in CDI_FOLDERS for one in _entries(self.host.path(folder))
        )
        if version.is_podman:
            # Earlier ones leave device requests of Docker's API out without a word.
            return specified and numbers(version.version) >= (5, 0), True
        hook = not where.is_remote and self.host.find_program("nvidia-container-runtime-hook") is not None
        if "nvidia" in (info.runtimes or {}) or hook:
            return True, False
        return specified and bool(info.cdi_spec_dirs), True


def spoken(version: Version) -> str:
    """Return the version of the API to speak with an engine."""
    oldest = numbers(version.min_api_version)
    wanted = max(API, oldest[:2]) if len(oldest) >= 2 and not version.is_podman else API
    return f"{wanted[0]}.{wanted[1]}"


def numbers(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: (20, 10) of ``20.10.24+dfsg1``."""
    found: list[int] = []
    for part in text.split(".")[:2]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits or len(digits) > 6:
            break
        found.append(int(digits))
    return tuple(found)


def limits_storage(info: Info) -> bool:
    """Whether the engine's storage can limit what a container writes; with overlay on XFS it may still refuse."""
    if info.driver in STORAGE_DRIVERS:
        return True
    below = {row[0]: row[1] for row in info.driver_status or () if len(row) == 2}
    return info.driver in ("overlay2", "overlay") and below.get("Backing Filesystem") == "xfs"


def _own_limits(host: Host) -> tuple[int | None, int | None]:
    """Return our hard limits of open files and processes where they are below what engines give.

    An engine that may not raise limits has the same ones, as a rule, and can then give no more.
    """
    nofile = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if nofile == resource.RLIM_INFINITY or nofile >= NOFILE_USUAL:
        return None, None
    nproc = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    try:
        most = int(host.path("/proc/sys/kernel/pid_max").read_text())
    except (OSError, ValueError):
        most = 32_768
    return nofile, most if nproc == resource.RLIM_INFINITY else min(nproc, most)


def _check_access(where: Address) -> None:
    if where.socket is None or not where.socket.exists() or os.access(where.socket, os.R_OK | os.W_OK):
        return
    if "podman" in where.socket.name:
        raise AddressUnusable(
            f"{where}: permission denied", hint="as yourself, without root: systemctl --user enable --now podman.socket"
        )
    raise AddressUnusable(
        f"{where}: permission denied",
        hint='sudo usermod -aG docker "$USER", then log in again; who is in that group can become root',
    )


def _hint_of(where: Address | None) -> str:
    if where is None or where.socket is None:
        return "is the engine running there, and may this host reach it?"
    return "systemctl restart podman.socket" if "podman" in where.socket.name else "systemctl restart docker"


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
