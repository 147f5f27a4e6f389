"""Self-healing: probes every approved drone, and does what the ladder says; levels outlast a restart."""

from collections import deque
from collections.abc import Callable, Collection
from typing import Any, Final, Protocol

import msgspec
import structlog
import trio
from attrs import define, field

from appliance.plugin import ApplianceError, Core, NotAvailable, SteadyClock

from . import ladder
from . import probe_store as store
from .approval import Approval, Approvals, NotApproved, Who
from .healing_steps import Taken
from .ladder import CLEAR, LadderRules, Patient, Step, Trouble
from .models import SURFACE
from .probing import Probe
from .ssh_settings import SshSettings
from .states import Drone
from .swarm import Swarm

log = structlog.get_logger(__name__)

GROUNDED_MAX: Final = 256
"""Of drones that were grounded and wait for their step; more are dropped, and the next grounding counts."""
HEALED_COOL_DOWN_SECONDS: Final = 60.0
_decoder: Final = msgspec.json.Decoder(Trouble)


class Looks(Protocol):
    """Probes drones; `Prober` does."""

    async def probe(self, approval: Approval, *, cores: int = 0) -> Probe:
        """Look at a drone now."""
        ...

    async def write(self) -> None:
        """Make what was found durable."""
        ...

    async def keep_only(self, names: Collection[str]) -> None:
        """Forget drones that are gone."""
        ...


class Acts(Protocol):
    """Takes a step on a drone."""

    async def __call__(self, approval: Approval, step: Step) -> Taken:
        """Take it; a command that fails is in the answer."""
        ...


@define(eq=False)
class Healing:
    """The service. What is remembered of each drone is by name: an approval is, too."""

    core: Core
    swarm: Swarm
    approvals: Approvals
    prober: Looks
    act: Acts
    settings: SshSettings
    clock: Callable[[], int] | None = None
    """Microseconds of a clock that never jumps; ``None``: trio's, as core's wall clock is when `run` begins."""
    name: str = "healing"
    may_reboot: Callable[[str], bool] = lambda name: True
    """Asked, by name, whether operators let a drone be rebooted."""
    is_running: bool = field(default=False, init=False)
    last_round_unix_us: int | None = field(default=None, init=False)
    _troubles: dict[str, Trouble] = field(factory=dict, init=False)
    _written: dict[str, Trouble] = field(factory=dict, init=False)
    _grounded: deque[str] = field(factory=lambda: deque(maxlen=GROUNDED_MAX), init=False)
    _wake: trio.Event = field(factory=trio.Event, init=False)
    _now: Callable[[], int] = field(init=False)
    _lacks: str = field(default="", init=False)
    """What was told to be missing here, once."""

    def __attrs_post_init__(self) -> None:
        self._now = self.clock or SteadyClock(self.core.now, _no_run_yet)
        kept = self.core.database.read_now(store.troubles)
        self._troubles = {name: _decoder.decode(state) for name, state in kept.items()}
        self._written = dict(self._troubles)

    # ------------------------------------------------------------ reading

    @property
    def rules(self) -> LadderRules:
        """The ladder's numbers, as configured."""
        own = self.settings
        return LadderRules(
            failed_probes=own.healing_failed_probes,
            failed_us=_us(own.healing_failed_seconds),
            silence_us=_us(own.healing_silence_seconds),
            warn_us=_us(own.healing_warn_seconds),
            restart_wait_us=_us(own.healing_restart_wait_seconds),
            reboot_wait_us=_us(own.healing_reboot_wait_seconds),
            disk_warn_percent=own.healing_disk_warn_percent,
        )

    def trouble(self, drone_name: str) -> Trouble:
        """Return what is remembered of a drone; `CLEAR` for one that is well."""
        return self._troubles.get(drone_name, CLEAR)

    def type_of(self, drone: Drone) -> str:
        """Return what kind of machine a drone is: as approved, else as an operator has set it."""
        approval = self.approvals.find(drone.name)
        return approval.drone_type if approval is not None else drone.drone_type.value

    def patient(self, drone: Drone, approval: Approval) -> Patient:
        """Return a drone as the ladder sees it."""
        return Patient(
            drone_type=approval.drone_type,
            is_protected=approval.address in self.settings.healing_protected or not self.may_reboot(drone.name),
            auto_reboot=drone.capabilities.get("auto_reboot") is not False,
            is_paused=drone.paused,
            heartbeat_age_us=max(0, self.core.now() - drone.last_seen_unix_us) if drone.last_seen_unix_us else None,
        )

    # ------------------------------------------------------------ what others tell

    def saw_grounding(self, drone: Drone) -> None:
        """Take note that the swarm has grounded a drone; the service looks after it at once."""
        self._grounded.append(drone.name)
        self._wake.set()

    async def reset(self, drone_name: str, *, by: str = "") -> int:
        """Forget what was done to a drone, durable when this returns; return the level that it had."""
        before = self._troubles.pop(drone_name, CLEAR)
        await self._write()
        if before.level:
            words = f"escalation of {drone_name} reset from level {before.level}" + (f" by {by}" if by else "")
            details = {"action": "reset", "previous_level": before.level, "level": 0}
            self.swarm.chronicle.note("escalation", words, drone=drone_name, details=details)
        return before.level

    # ------------------------------------------------------------ the service

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Probe and heal until cancelled."""
        if self.clock is None:
            self._now = SteadyClock(self.core.now, trio.current_time)
        now_us = self._now()
        self._troubles = {name: ladder.restored(one, now_us=now_us) for name, one in self._troubles.items()}
        self.is_running = self.settings.healing_enabled
        task_status.started()
        try:
            round_at = trio.current_time()
            while True:
                try:
                    await self.heal_grounded()
                    if self.is_running and trio.current_time() >= round_at:
                        round_at = trio.current_time() + self.settings.healing_probe_seconds
                        await self.round()
                except NotAvailable as error:
                    if error.message != self._lacks:
                        log.warning("swarm.healing_not_available", reason=error.message)
                    self._lacks = error.message
                except (
                    ApplianceError
                ) as error:  # a full disk: levels are in memory, and are written after the next round
                    log.warning("swarm.healing_not_stored", reason=error.message)
                with trio.move_on_at(round_at if self.is_running else trio.current_time() + 3600.0):
                    await self._wake.wait()
                self._wake = trio.Event()
        finally:
            self.is_running = False

    async def round(self) -> None:
        """Probe every approved drone that is not paused, all at once, and take the steps that follow.

        What cannot be done to one drone keeps nobody from another.
        """
        problems: list[ApplianceError] = []
        async with trio.open_nursery() as nursery:
            for drone in self.swarm.drones():
                if not drone.paused and self.approvals.find(drone.name) is not None:
                    nursery.start_soon(self._look_after, drone, problems)
        self.last_round_unix_us = self.core.now()
        await self._forget_gone()
        await self.prober.write()
        await self._write()
        if problems:
            raise problems[0]

    async def heal_grounded(self) -> None:
        """Take the steps for drones that were grounded since the last time."""
        while self._grounded:
            name = self._grounded.popleft()
            drone = self.swarm.find_drone(name)
            if drone is None or drone.paused or not self.settings.healing_enabled:
                continue
            try:
                approval = self.approvals.of(drone)
            except NotApproved:
                continue
            step, why_not = ladder.for_grounding(drone.groundings, self.patient(drone, approval))
            reason = f"grounded {drone.groundings} times in a row" + (f"; {why_not}" if why_not else "")
            taken = await self._take(approval, step)
            self._troubles[name] = ladder.after_grounding(
                self.trouble(name),
                step,
                action=taken.words,
                rules=self.rules,
                now_us=self._now(),
                now_unix_us=self.core.now(),
            )
            await self._tell_step(name, step, reason, taken)
            await self._write()

    async def _look_after(self, drone: Drone, problems: list[ApplianceError]) -> None:
        try:
            approval = self.approvals.of(drone)
            probe = await self.prober.probe(approval, cores=drone.cores)
            await self._judge(drone, approval, probe)
        except NotApproved:
            return  # it has moved, or the approval was taken back meanwhile
        except ApplianceError as error:
            problems.append(error)

    async def _judge(self, drone: Drone, approval: Approval, probe: Probe) -> None:
        name = drone.name
        verdict = ladder.after_probe(
            self.trouble(name),
            probe.status,
            self.patient(drone, approval),
            self.rules,
            now_us=self._now(),
            now_unix_us=self.core.now(),
            disk_percent=None if probe.vitals is None else probe.vitals.disk_percent,
            error=probe.error,
        )
        before, self._troubles[name] = self.trouble(name), verdict.trouble
        if verdict.warning:
            await self._tell("warn", f"{name}: {verdict.warning}", name, {"status": probe.status}, level="warning")
        if verdict.is_healed:
            await self._tell_healed(name, before)
        if verdict.step is not None:
            taken = await self._take(approval, verdict.step)
            # Read again: somebody may have reset it while the command ran.
            self._troubles[name] = ladder.after_step(
                self.trouble(name),
                verdict.step,
                action=taken.words,
                has_worked=taken.has_worked,
                rules=self.rules,
                now_us=self._now(),
                now_unix_us=self.core.now(),
            )
            await self._tell_step(name, verdict.step, verdict.reason, taken)

    async def _take(self, approval: Approval, step: Step) -> Taken:
        if self.settings.healing_dry_run and step is not Step.ALERT:
            return Taken(has_worked=True, words=f"{step.words} (not done: dry run)")
        taken = await self.act(approval, step)
        if step is not Step.ALERT:
            await Who(kind="core", name="self-healing").record(
                self.core, "swarm.heal", approval.drone_name, step=step.words, result=taken.words
            )
        return taken

    # ------------------------------------------------------------ telling

    async def _tell_step(self, name: str, step: Step, reason: str, taken: Taken) -> None:
        action = {Step.REBOOT: "reboot", Step.ALERT: "alert"}.get(step, "escalate")
        details: dict[str, Any] = {
            "action": action,
            "level": int(step),
            "step": step.words,
            "success": taken.has_worked,
            "result": taken.words,
            "dry_run": self.settings.healing_dry_run,
        }
        words = f"{name}: {taken.words} ({reason})"
        if step is Step.ALERT:
            words = f"{name} needs somebody to look after it ({reason})"
        await self._tell("escalation", words, name, details, level="critical" if step is Step.ALERT else "warning")
        if action != "escalate":
            self.swarm.chronicle.note(action, words, drone=name, details=details)

    async def _tell_healed(self, name: str, before: Trouble) -> None:
        words = f"{name} is well again, after level {before.level}"
        await self._tell("heal", words, name, {"previous_level": before.level, "level": 0}, level="info")
        await self.core.notices.raise_one(
            "swarm.heal",
            words,
            title="Drone is well again",
            level="info",
            subject=name,
            source=SURFACE,
            cool_down_seconds=HEALED_COOL_DOWN_SECONDS,
        )

    async def _tell(self, kind: str, words: str, name: str, details: dict[str, Any], *, level: str) -> None:
        self.swarm.chronicle.note(kind, words, drone=name, details=details)
        await self.core.events.publish(
            f"swarm.{kind}", words, level=level, subject=name, source=SURFACE, data={"drone": name, **details}
        )

    # ------------------------------------------------------------ keeping

    async def _forget_gone(self) -> None:
        known = {drone.name for drone in self.swarm.drones()}
        await self.prober.keep_only(known)
        for name in [name for name in self._troubles if name not in known]:
            del self._troubles[name]

    async def _write(self) -> None:
        now = {name: one for name, one in self._troubles.items() if not one.is_clear}
        changed: dict[str, str | None] = {
            name: msgspec.json.encode(one).decode() for name, one in now.items() if self._written.get(name) != one
        }
        changed |= dict.fromkeys(self._written.keys() - now.keys())
        if not changed:
            return
        await self.core.database.write(lambda connection: store.put_troubles(connection, changed))
        self._written = now


def _us(seconds: float) -> int:
    return int(seconds * ladder.US)


def _no_run_yet() -> float:
    return 0.0
