"""The host we run on as a monitored server: its samples come from the local agent, without a token or a request."""

import os
import platform
import socket
import sqlite3
from typing import Any, Final

import structlog
import trio
from attrs import define, field

from appliance.plugin import ApplianceError, Core, Lagged, Reading

from . import store
from .figures import figures
from .intake import Follower
from .models import Server
from .servers import Servers

log = structlog.get_logger(__name__)

WRITE_SECONDS: Final = 5.0
GRACE_SECONDS: Final = 2.0


def about_this_host() -> dict[str, Any]:
    """Return what an agent would say of this host, for clients that show it."""
    kernel = platform.uname()
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", kernel.system)
    except OSError:
        system = kernel.system
    return {
        "hostname": kernel.node,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "pid": os.getpid(),
        "labels": {},
        "system_info": {
            "os_name": system,
            "os_release": kernel.release,
            "os_version": kernel.version,
            "machine": kernel.machine,
            "hostname": kernel.node,
            "cpu_count_logical": os.cpu_count(),
            "memory_total_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "python_version": platform.python_version(),
            "platform_full": platform.platform(),
        },
    }


@define(eq=False)
class LocalServer:
    """Follows the local agent's samples; its counts are written behind by at most five seconds."""

    core: Core
    servers: Servers
    follow: Follower
    name: str = "local-server"
    _before: Reading | None = field(default=None, init=False)
    _code: int | None = field(default=None, init=False)
    _unwritten: int = field(default=0, init=False)
    _written_at: float = field(default=0.0, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow until cancelled."""
        server = await self.servers.ensure_local(socket.gethostname())
        server.agent_info = about_this_host()
        self.servers.changed(server)
        task_status.started()
        task_status = trio.TASK_STATUS_IGNORED
        try:
            while True:
                with self.core.events.subscribe("sample") as subscription:
                    await self._take(server)
                    try:
                        async for event in subscription:
                            if event.subject == self.core.host_id:
                                await self._take(server)
                    except Lagged:
                        log.warning("local_server.lagged", effect="some samples were not looked at one by one")
        finally:
            with trio.move_on_after(GRACE_SECONDS, shield=True):
                await self._write(server)

    async def _take(self, server: Server) -> None:
        reading = self.core.series.latest(self.core.host_id)
        if reading is None or reading is self._before or not server.is_active:
            return
        at = reading.sample.taken_at_unix_us
        found = figures(reading.sample, reading.rates)
        if not reading.is_recovered:
            server.snapshot_count += 1
            self._unwritten += 1
        server.last_seen_unix_us = self.core.now()
        server.latest_unix_us = max(server.latest_unix_us or 0, at)
        self.servers.generation += 1
        before, self._before = self._before, reading
        try:
            if found.verdict.code != self._code:
                await self._verdict(server, at, found.verdict.code)
                self._code = found.verdict.code
            if trio.current_time() >= self._written_at + WRITE_SECONDS:
                await self._write(server)
        except ApplianceError as error:  # the disk is full: the sample itself is in the series, or told missing there
            log.warning("local_server.not_stored", reason=error.message)
        self.follow(server, before, reading)

    async def _verdict(self, server: Server, at_unix_us: int, code: int) -> None:
        def write(connection: sqlite3.Connection) -> None:
            store.put_verdict(connection, server.server_id, at_unix_us, code, after_unix_us=None)

        await self.core.database.write(write)

    async def _write(self, server: Server) -> None:
        if not self._unwritten or server.latest_unix_us is None:
            return
        count, at, seen = self._unwritten, server.latest_unix_us, server.last_seen_unix_us or 0

        def write(connection: sqlite3.Connection) -> None:
            store.sampled(connection, server.server_id, seen_unix_us=seen, at_unix_us=at, count=count)

        await self.core.database.write(write)
        self._unwritten -= count
        self._written_at = trio.current_time()
