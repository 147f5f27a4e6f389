"""Tells people and other parts what becomes of machines: ready, late, expired, returned, and what looks wrong."""

from collections.abc import Sequence
from typing import Final

import structlog
import trio
from attrs import define, frozen

from appliance.plugin import ApplianceError, Core

from .life import State, is_forgotten
from .machines import Machines
from .models import SURFACE, Found, Machine
from .removal import remove

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 5.0
ONE_BY_ONE: Final = 10
"""More than so many machines that come to the same at once are told of in one sentence."""
NAMED: Final = 20
LOOKED_AT_ONCE: Final = 500
"""Machines that are looked at before others have their turn."""
FORGOTTEN_AT_ONCE: Final = 50
HOUR_SECONDS: Final = 3600.0


@frozen(kw_only=True)
class News:
    """What one kind of change is called, and how bad it is."""

    kind: str
    level: str
    title: str
    words: str
    """Of one machine; ``{id}`` and ``{pool}`` stand for it."""
    many: str
    """Of ``{count}`` machines."""


READY: Final = News(
    kind="machine.ready",
    level="info",
    title="Machine is ready",
    words="machine {id} in pool {pool} is ready",
    many="{count} machines are ready",
)
RETURNED: Final = News(
    kind="machine.returned",
    level="info",
    title="Machine is back",
    words="machine {id} in pool {pool} is back",
    many="{count} machines are back",
)
LATE: Final = News(
    kind="machine.late",
    level="warning",
    title="Machine is late",
    words="machine {id} in pool {pool} has missed two keepalives",
    many="{count} machines have missed two keepalives",
)
EXPIRED: Final = News(
    kind="machine.expired",
    level="critical",
    title="Machine has expired",
    words="machine {id} in pool {pool} has sent no keepalive for five minutes and is no longer listed",
    many="{count} machines have sent no keepalive for five minutes and are no longer listed",
)
NEVER_CAME: Final = News(
    kind="machine.never_registered",
    level="info",
    title="Machine has not registered",
    words="machine {id} in pool {pool} was made an hour ago and has not registered; its token still counts",
    many="{count} machines were made an hour ago and have not registered; their tokens still count",
)
_FOUND: Final = {
    "gpu_count_changed": ("warning", "Number of GPUs has changed"),
    "two_agents": ("critical", "Two agents with one id"),
}


def news_of(before: State, after: State) -> News | None:
    """Return what to tell of a machine that has come from one state to another; ``None`` for nothing."""
    match before, after:
        case ((State.LATE | State.EXPIRED), State.READY):
            return RETURNED
        case _, State.READY:
            return READY
        case _, State.LATE:
            return LATE
        case State.PENDING, State.EXPIRED:
            return NEVER_CAME
        case _, State.EXPIRED:
            return EXPIRED
        case _:
            return None


@define(eq=False)
class Watch:
    """Looks at all machines every five seconds; nothing of it is in the way of a keepalive."""

    core: Core
    machines: Machines
    forget_seconds: float
    name: str = "machine-watch"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look until cancelled."""
        task_status.started()
        forget_at = trio.current_time()
        while True:
            try:
                await self.look()
                if trio.current_time() >= forget_at:
                    forget_at = trio.current_time() + HOUR_SECONDS
                    await self.forget()
            except ApplianceError as error:  # a full disk: what could not be told is told at the next look
                log.warning("machine_watch.not_stored", reason=error.message)
            await trio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Tell what has changed since the last look."""
        changed: dict[News, list[tuple[Machine, State]]] = {}
        now = self.machines.clock()
        for number, machine in enumerate(self.machines.all()):
            if number % LOOKED_AT_ONCE == LOOKED_AT_ONCE - 1:
                await trio.lowlevel.checkpoint()
            state = machine.state(now)
            if state is machine.told:
                continue
            news = None if machine.is_local else news_of(machine.told, state)
            if news is None:
                self._told(machine, state)
            else:
                changed.setdefault(news, []).append((machine, state))
        for news, machines in changed.items():
            await self._tell(news, machines)
        found, self.machines.found = self.machines.found, []
        for number, each in enumerate(found):
            try:
                await self._tell_found(each)
            except BaseException:
                self.machines.found[:0] = found[number:]
                raise

    async def _tell(self, news: News, changed: Sequence[tuple[Machine, State]]) -> None:
        if len(changed) <= ONE_BY_ONE:
            for machine, state in changed:
                words = news.words.format(id=machine.machine_id, pool=machine.pool)
                await self._publish(news.kind, news.level, news.title, words, machine.host_id, _data(machine))
                self._told(machine, state)
            return
        named = [machine.foreign_id for machine, _ in changed[:NAMED]]
        words = news.many.format(count=len(changed))
        data = {"count": len(changed), "machines": named}
        await self._publish(news.kind, news.level, news.title, words, "", data)
        for machine, state in changed:
            self._told(machine, state)

    async def _tell_found(self, found: Found) -> None:
        level, title = _FOUND[found.kind]
        data = _data(found.machine) | found.data
        await self._publish(f"machine.{found.kind}", level, title, found.words, found.machine.host_id, data)

    async def _publish(
        self, kind: str, level: str, title: str, words: str, host_id: str, data: dict[str, object]
    ) -> None:
        await self.core.events.publish(kind, words, level=level, subject=host_id, source=SURFACE, data=data)
        if level == "info":  # core makes notices of the others itself
            await self.core.notices.raise_one(
                kind, words, title=title, level=level, subject=host_id, source=SURFACE, cool_down_seconds=60
            )

    def _told(self, machine: Machine, state: State) -> None:
        machine.told = state
        self.machines.unwritten.add(machine.key)

    async def forget(self) -> None:
        """Delete the machines that have been expired for long, with their history."""
        now = self.machines.clock()
        gone = [
            machine
            for machine in self.machines.all()
            if not machine.is_local and is_forgotten(machine.deadline_us, now, self.forget_seconds)
        ]
        for machine in gone[:FORGOTTEN_AT_ONCE]:
            await remove(self.core, self.machines, machine)


def _data(machine: Machine) -> dict[str, object]:
    return {"machine_id": machine.machine_id, "pool": machine.pool, "provider": machine.provider}
