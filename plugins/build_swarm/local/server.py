"""The swarm as the local drone sees it: the same methods as over HTTP, without it."""

from collections.abc import AsyncIterator, Awaitable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import trio
from attrs import define

from appliance.plugin import ApplianceError, Caller, Core, Kind

from ..binhost.binhost import Binhost
from ..build_logs.models import BuildLog
from ..build_logs.service import BuildLogs
from ..drone.models import Assignment, Orders, Refused, StopWork, Unreachable, Verdict
from ..states import Heartbeat, Report
from ..swarm import Swarm

CHUNK_BYTES: Final = 1_048_576
ADDRESS: Final = "127.0.0.1"
FIRST_BAD_STATUS: Final = 500
T = TypeVar("T")


@define(eq=False)
class LocalServer:
    """Answers one drone, from memory."""

    core: Core
    swarm: Swarm
    binhost: Binhost
    build_logs: BuildLogs
    drone_id: str
    name: str

    async def register(self, beat: Mapping[str, Any]) -> Orders:
        """Take a heartbeat."""
        found = await self._answered(
            self.swarm.register(
                Heartbeat(
                    drone_id=self.drone_id,
                    name=self.name,
                    address=ADDRESS,
                    capabilities=beat["capabilities"],
                    metrics=beat["metrics"],
                    current_task=beat["current_task"] or "",
                    version=beat["version"],
                    is_proven=True,  # it is us
                )
            )
        )
        stop = found.stop_work
        return Orders(
            paused=found.drone.paused,
            revoked=found.revoke,
            stop=None if stop is None else StopWork(package=stop.package, reason=stop.reason),
        )

    async def work(self) -> Assignment:
        """Give out a package."""
        found = await self._answered(self.swarm.work(self.drone_id))
        package = found.package
        return Assignment(
            package=None if package is None else package.atom,
            session_id=None if package is None else package.session_id,
            orders=Orders(revoked=found.revoke, sync_to=found.sync_timestamp),
        )

    async def complete(self, report: Mapping[str, Any]) -> Verdict:
        """Take a report."""
        told = Report(
            drone=self.drone_id,
            atom=report["package"],
            outcome=report["status"],
            duration_s=report["build_duration_s"],
            error=report["error_detail"] or "",
        )
        found = await self._answered(self.swarm.complete(told))
        return Verdict(accepted=found.accepted, is_stale=found.is_stale, reason=found.reason)

    async def upload(self, path: str, file: Path, sha256: str) -> None:
        """Stage a binary package, as the drone of this name."""
        drone = Caller(kind=Kind.DRONE, subject=self.name)
        await self._answered(self.binhost.upload(path, _chunks(file), sha256=sha256, caller=drone))

    async def log(self, log_id: str, package: str, offset: int, data: bytes, outcome: str) -> int:
        """Store a part of a log."""
        session = self.swarm.active_session()
        about = BuildLog(
            log_id=log_id,
            drone_id=self.drone_id,
            drone_name=self.name,
            package=package,
            session_id="" if session is None else session.session_id,
            started_unix_us=self.core.now(),
        )
        return (await self._answered(self.build_logs.append(about, offset, data, outcome=outcome))).size_bytes

    async def _answered(self, asked: Awaitable[T]) -> T:
        try:
            return await asked
        except ApplianceError as error:
            if error.status >= FIRST_BAD_STATUS:
                raise Unreachable(error.message, answered=True) from error
            raise Refused(error.status, error.message) from error


async def _chunks(file: Path) -> AsyncIterator[bytes]:
    async with await trio.open_file(file, "rb") as opened:
        while data := await opened.read(CHUNK_BYTES):
            yield data
