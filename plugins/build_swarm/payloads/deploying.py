"""One payload to one drone: done as a whole, or undone; written down either way."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import structlog
from attrs import define, evolve, field, frozen

from appliance.plugin import ApplianceError, Conflict

from ..approval import Approval
from ..ssh_command import SshFailed
from ..states import Drone
from .catalogue import Catalogue
from .destinations import destination
from .hands import Hands, Kept, Ssh
from .journal import UNKNOWN, Attempt, Journal
from .models import Action, By, DeployStatus, DronePayload, PayloadVersion
from .settings import PayloadSettings

log = structlog.get_logger(__name__)

AGAIN: Final = "try again when it is over"


class Approvals(Protocol):
    """Who may be entered; `plugins.build_swarm.approval.Approvals` is the real one."""

    def of(self, drone: Drone) -> Approval:
        """Return a drone's approval; raises `NotApproved`."""
        ...


class DeployFailed(ApplianceError):
    """A payload did not get to a drone; what the drone had before is there, unless the message says otherwise."""

    status = 500

    def __init__(self, message: str, *, hint: str = "", is_untouched: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.is_untouched = is_untouched
        """Whether nothing on the drone was ever changed: then it says nothing about the payload."""


@frozen(kw_only=True)
class Installed:
    """A payload that a drone has now, and what it takes to undo that."""

    drone: Drone
    version: PayloadVersion
    kept: Kept
    before: DronePayload | None
    row: DronePayload
    by: By

    @property
    def message(self) -> str:
        """As the document words it."""
        return f"Deployed {self.version.label} to {self.drone.name}"


@define(eq=False, kw_only=True)
class Deployer:
    """Brings payloads to drones and back; whoever calls has claimed the drone."""

    settings: PayloadSettings
    service: str
    """Name of the drones' service."""
    approvals: Approvals
    ssh: Ssh
    catalogue: Catalogue
    journal: Journal
    _claims: dict[str, str] = field(factory=dict, init=False)

    @contextmanager
    def claimed(self, drone: Drone, what: str) -> Iterator[None]:
        """Have a drone for one deploy; raises `Conflict` while another has it."""
        held = self._claims.get(drone.drone_id)
        if held is not None:
            raise Conflict(f"{held} is under way on drone {drone.name}", hint=AGAIN)
        self._claims[drone.drone_id] = what
        try:
            yield
        finally:
            del self._claims[drone.drone_id]

    def hands(self, drone: Drone, payload_type: str) -> Hands:
        """Return the ways to a type's file on a drone; raises `NotApproved`."""
        return Hands(
            ssh=self.ssh,
            approval=self.approvals.of(drone),
            destination=destination(self.settings, payload_type),
            service=self.service,
            transfer_seconds=self.settings.payload_transfer_seconds,
        )

    async def deploy(self, drone: Drone, version: PayloadVersion, *, verify: bool, by: By) -> Installed:
        """Put a version on a drone; the file that was there is kept until `settle` or `undo`.

        :raises NotApproved: nobody has approved the drone; nothing is written down.
        :raises DeployFailed: it is not there, and what was there before is.
        """
        hands = self.hands(drone, version.payload_type)
        before = await self.journal.had(drone, version.payload_type)
        row = self.journal.row(drone, version, DeployStatus.DEPLOYING, by)
        attempt = await self.journal.started(drone, version.payload_type, version.version, Action.DEPLOY, by, row)
        kept: Kept | None = None
        try:
            kept = await hands.keep()
            await hands.put(self.catalogue.content(version), version.sha256)
            if verify:
                await self._check(hands, version)
            row = self.journal.row(drone, version, DeployStatus.DEPLOYED, by)
            made = Installed(drone=drone, version=version, kept=kept, before=before, row=row, by=by)
            await self.journal.ended(attempt, row, words=made.message)
        except ApplianceError as error:
            failure = await self._failed(hands, kept, error)
            await self._write_failure(attempt, drone, version, before, failure, by)
            raise failure from error
        return made

    async def settle(self, installed: Installed) -> None:
        """Let go of the old file; that this fails changes nothing."""
        try:
            await self.hands(installed.drone, installed.version.payload_type).forget()
        except ApplianceError as error:
            log.info("payload.old_file_stays", drone=installed.drone.name, reason=error.message)

    async def undo(self, installed: Installed, why: str, *, restart: bool) -> str:
        """Bring back what was there before, and say in words what is there now; never raises our errors.

        The file that was kept on the drone comes back; where it is gone, the version that was deployed before does,
        from here; where nothing was, nothing is.
        """
        drone, version, before = installed.drone, installed.version, installed.before
        to = before.version if before is not None else ""
        attempt = None
        try:
            attempt = await self.journal.started(drone, version.payload_type, to, Action.ROLLBACK, installed.by)
        except ApplianceError as error:  # what is on the drone matters more than what is written down of it
            log.warning("payload.not_written", drone=drone.name, reason=error.message)
        try:
            hands = self.hands(drone, version.payload_type)
            await self._bring_back(hands, installed)
            if restart and (installed.kept is Kept.FILE or before is not None):
                await hands.restart()
        except ApplianceError as error:
            failed = f"not rolled back ({why}): {error.message}"
            row = self.journal.row(drone, version, DeployStatus.FAILED, installed.by, failed)
            await self._ended(attempt, row, error=error.message)
            return failed
        words = f"rolled back to {_named(installed)} ({why})"
        await self._ended(attempt, before, words=f"{drone.name}: {version.payload_type} {words}")
        return words

    async def _check(self, hands: Hands, version: PayloadVersion) -> None:
        found, why = await hands.sha256()
        if found != version.sha256:
            shown = f"it has sha256 {found}" if found else why
            words = f"{hands.destination.path} is not what was sent: {shown}"
            raise SshFailed("command", words, drone_name=hands.approval.drone_name)

    async def _failed(self, hands: Hands, kept: Kept | None, error: ApplianceError) -> DeployFailed:
        if kept is None:
            return DeployFailed(error.message, hint=error.hint, is_untouched=True)
        try:
            await hands.bring_back(kept)
        except ApplianceError as second:
            log.warning("payload.not_undone", drone=hands.approval.drone_name, reason=second.message)
            return DeployFailed(f"{error.message}; {UNKNOWN}", hint=error.hint)
        return DeployFailed(error.message, hint=error.hint)

    async def _write_failure(
        self,
        attempt: Attempt,
        drone: Drone,
        version: PayloadVersion,
        before: DronePayload | None,
        failure: DeployFailed,
        by: By,
    ) -> None:
        row = self.journal.row(drone, version, DeployStatus.FAILED, by, failure.message)
        if before is not None and UNKNOWN not in failure.message:
            row = evolve(row, version=before.version, sha256=before.sha256)
        await self._ended(attempt, row, error=failure.message)

    async def _ended(
        self, attempt: Attempt | None, row: DronePayload | None, *, error: str = "", words: str = ""
    ) -> None:
        if attempt is None:
            return
        try:
            await self.journal.ended(attempt, row, error=error, words=words)
        except ApplianceError as failure:
            log.warning("payload.not_written", drone=attempt.entry.drone_name, reason=failure.message)

    async def _bring_back(self, hands: Hands, installed: Installed) -> None:
        try:
            await hands.bring_back(installed.kept)
        except SshFailed as error:
            before = installed.before
            old = None if before is None else self.catalogue.find(before.payload_type, before.version)
            if old is None or error.kind != "command":
                raise
            await hands.put(self.catalogue.content(old), old.sha256)


def _named(installed: Installed) -> str:
    if installed.before is not None:
        return f"{installed.before.payload_type} v{installed.before.version}"
    return "the file that was there before" if installed.kept is Kept.FILE else "no file, as before"
