"""Keeps services running: a crash costs its own service a pause, and nothing else anything.

A service that raises is started again after 1, 2, 4, 8 and 16 seconds. The sixth crash within 10 minutes uses up its
budget: it is shown as failed, and tried again every 10 minutes, or at once by `Supervisor.restart`.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final, Literal

import structlog
import trio
from attrs import define, field

from appliance.clock import Now
from appliance.errors import ApplianceError, NotFound
from appliance.events import Events
from appliance.service import Service

log = structlog.get_logger(__name__)

FIRST_PAUSE_SECONDS: Final = 1.0
BUDGET_CRASHES: Final = 5
BUDGET_SECONDS: Final = 600.0
RETRY_SECONDS: Final = 600.0
REASON_MAX_CHARACTERS: Final = 500

State = Literal["starting", "running", "restarting", "failed", "finished", "stopped"]


@define(eq=False)
class Supervised:
    """One service and how it is doing."""

    owner: str
    """The plugin, or ``core``."""
    service: Service
    state: State = "stopped"
    reason: str = ""
    """Why it crashed last; empty when it never did."""
    crash_count: int = 0
    since_unix_us: int = 0
    """When the state began."""
    settled: trio.Event = field(factory=trio.Event)
    """Set once the first start has succeeded, failed or finished."""
    is_spent: bool = False
    """Whether its budget is used up: it gets one try every 10 minutes until it has run that long."""
    _crashes: deque[float] = field(factory=deque)
    _begun_at: float = 0.0
    _again: trio.Event = field(factory=trio.Event)
    _scope: trio.CancelScope | None = None

    @property
    def name(self) -> str:
        """The service's name."""
        return self.service.name

    @property
    def problem(self) -> str | None:
        """What is wrong, in plain words; ``None`` when it runs or has done its work."""
        if self.state in ("restarting", "failed"):
            return f"{self.name}: {self.state}: {self.reason}"
        return f"{self.name}: {self.state}" if self.state in ("starting", "stopped") else None


@define(eq=False)
class _Started:
    """What a service reports its start to."""

    tell: "Supervisor"
    one: Supervised

    def started(self, value: None = None) -> None:
        self.tell.on_started(self.one)


class Supervisor:
    """Runs services, each for itself; made once, with the event bus that is told of crashes."""

    def __init__(self, events: Events, now: Now) -> None:
        self._events = events
        self._now = now
        self._known: list[Supervised] = []

    @property
    def services(self) -> tuple[Supervised, ...]:
        """Every service with its state, in the order they were added."""
        return tuple(self._known)

    def of(self, owner: str) -> list[Supervised]:
        """Return the services of a plugin, or of ``core``."""
        return [one for one in self._known if one.owner == owner]

    def restart(self, owner: str) -> int:
        """Start every service of a plugin again now, with a fresh budget; return how many.

        :raises NotFound: the plugin has no services.
        """
        found = self.of(owner)
        if not found:
            raise NotFound("plugin with services", owner, hint="appliance plugins list")
        for one in found:
            one._crashes.clear()
            one.is_spent = False
            one._again.set()
            if one._scope is not None:
                one._scope.cancel()
        return len(found)

    async def start(
        self, nursery: trio.Nursery, owner: str, services: Iterable[Service], *, patience_seconds: float = 5.0
    ) -> list[Supervised]:
        """Run services in ``nursery``; return once each has started or crashed, at most ``patience_seconds`` later."""
        added = [Supervised(owner, service) for service in services]
        self._known += added
        for one in added:
            nursery.start_soon(self._keep, one, name=f"{owner}: {one.name}")
        with trio.move_on_after(patience_seconds):
            for one in added:
                await one.settled.wait()
        return added

    async def _keep(self, one: Supervised) -> None:
        try:
            while True:
                await self._run_once(one)
                one.settled.set()
                pause = self._pause_seconds(one)
                with trio.move_on_after(pause):
                    await one._again.wait()
                one._again = trio.Event()
        finally:
            self._turn(one, "stopped")

    async def _run_once(self, one: Supervised) -> None:
        self._turn(one, "starting")
        one._begun_at = trio.current_time()
        crash: BaseException | None = None
        with trio.CancelScope() as scope:
            one._scope = scope
            try:
                await one.service.run(task_status=_Started(self, one))
                self._turn(one, "finished", one.reason)
            except Exception as error:
                crash = error
            except (SystemExit, BaseExceptionGroup) as error:
                # A plugin may call sys.exit. A group may hold our own cancellation besides what went wrong.
                cancelled, crash = _split(error)
                if crash is not None and cancelled is not None:
                    await self._crashed(one, crash)
                if cancelled is not None:
                    raise cancelled from None
        one._scope = None
        if crash is not None:
            await self._crashed(one, crash)

    def _pause_seconds(self, one: Supervised) -> float:
        if one.state == "finished":
            return float("inf")
        if one.state == "failed":
            return RETRY_SECONDS
        return FIRST_PAUSE_SECONDS * 2.0 ** max(0, len(one._crashes) - 1) if one._crashes else 0.0

    async def _crashed(self, one: Supervised, error: BaseException) -> None:
        now = trio.current_time()
        one._crashes.append(now)
        one.crash_count += 1
        while one._crashes and one._crashes[0] < now - BUDGET_SECONDS:
            one._crashes.popleft()
        was_spent = one.is_spent and now - one._begun_at < BUDGET_SECONDS
        one.is_spent = was_spent or len(one._crashes) > BUDGET_CRASHES
        self._turn(one, "failed" if one.is_spent else "restarting", _reason(error))
        log.error("service.crashed", owner=one.owner, service=one.name, state=one.state, exc_info=error)
        if one.is_spent and not was_spent:
            message = f"{one.owner}: {one.name} has failed and is tried again every 10 minutes: {one.reason}"
            await self._publish("service.failed", message, "critical", one)
        elif not one.is_spent and len(one._crashes) == 1:
            await self._publish(
                "service.crashed", f"{one.owner}: {one.name} crashed and is started again: {one.reason}", "warning", one
            )

    def on_started(self, one: Supervised) -> None:
        """Take note that a service is usable."""
        self._turn(one, "running", one.reason)
        one.settled.set()

    def _turn(self, one: Supervised, state: State, reason: str = "") -> None:
        if state != one.state:
            one.since_unix_us = self._now()
        one.state = state
        one.reason = reason or one.reason

    async def _publish(self, kind: str, message: str, level: str, one: Supervised) -> None:
        try:
            await self._events.publish(
                kind, message, level=level, subject=f"{one.owner}/{one.name}", data={"owner": one.owner}
            )
        except ApplianceError as error:  # the disk may be what made it crash: the log has it
            log.warning("event.not_stored", kind=kind, reason=error.message)


def _split(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Part a failure into our own cancellation (or Ctrl-C) and what went wrong."""
    if isinstance(error, BaseExceptionGroup):
        return error.split((trio.Cancelled, KeyboardInterrupt))
    return None, error


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    text = error.message if isinstance(error, ApplianceError) else f"{type(error).__name__}: {error}"
    return text[:REASON_MAX_CHARACTERS]
