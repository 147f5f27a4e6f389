"""Restarts over a fake clock: whoever beat shortly before a start stays listed, and who had expired does not come back.

The real endpoints, machines and writer on a real file. Only time is made up: kills, stops, downtimes of any length and
wall clocks that are set fall anywhere between registrations, keepalives and what is written behind.
"""

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from attrs import define, field
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from appliance.clock import SteadyClock
from appliance.database import Database
from appliance.plugin import Caller, Head, Kind
from appliance.surface import Call
from appliance.testing import SteppingClock
from plugins.machine_registry import routes, store, wire
from plugins.machine_registry.life import Status
from plugins.machine_registry.machines import Beat, Machines, Registration
from plugins.machine_registry.pools import Pools
from plugins.machine_registry.schema import MIGRATIONS
from plugins.machine_registry.settings import RegistrySettings
from plugins.machine_registry.state import RegistryState
from plugins.machine_registry.telemetry import WRITE_SECONDS

MACHINES = 3
KEEPALIVE_SECONDS = 300
GRACE_SECONDS = 180
PATIENCE_SECONDS = 120
"""For how long agents go on beating while nobody answers."""
HEAD = Head(
    method="POST",
    path=wire.KEEPALIVE,
    raw_query=b"",
    headers=(),
    peer=("192.0.2.1", 1),
    local=("192.0.2.2", 1994),
    listener="",
    scheme="http",
)
WORKER = Caller(kind=Kind.WORKER, credential_id="worker")


@define(eq=False)
class Core:
    """What the registry sees of core."""

    database: Database
    now: SteppingClock
    settings: RegistrySettings


@define
class Known:
    """What must be true of one machine, by the seconds that have really passed."""

    is_ready: bool = False
    beat_at: float = -inf
    lives_until: float = -inf
    """Until then it must be alive."""
    dies_by: float = -inf
    """From then on it must not be; between the two it may be either."""


@define(eq=False)
class Box:
    """One data directory, the run that works on it, and what we know of its machines."""

    core: Core
    elapsed: float = 0.0
    """Seconds that have really passed."""
    started_at: float = 0.0
    went_down_at: float = 0.0
    written_at: float = 0.0
    """When everything that beats had changed was on disk last."""
    known: list[Known] = field(factory=lambda: [Known() for _ in range(MACHINES)])
    boots: int = 0
    _state: RegistryState | None = None

    @property
    def state(self) -> RegistryState:
        """The run."""
        assert self._state is not None
        return self._state

    # ------------------------------------------------------------ what happens

    async def start(self, *, is_stillborn: bool = False) -> None:
        """Start a run; it writes once before anybody is answered, unless it is killed before even that."""
        self.boots += 1
        booted_at = self.elapsed
        # A clock that starts somewhere else with every boot, as that of a kernel does.
        steady = SteadyClock(self.core.now, lambda: 1000.0 * (self.boots % 3) + self.elapsed - booted_at)
        machines = Machines(cast(Any, self.core), steady)
        if is_stillborn:
            return
        self._state = RegistryState(
            core=cast(Any, self.core),
            settings=self.core.settings,
            machines=machines,
            pools=Pools(cast(Any, self.core)),
        )
        self.started_at = self.elapsed
        for known in self.known:
            # Who expired within the last five seconds of a run that was killed may get the grace, or may not.
            if known.dies_by > self.written_at:
                known.lives_until = self.elapsed + GRACE_SECONDS if known.lives_until > self.went_down_at else -inf
                known.dies_by = self.elapsed + max(known.dies_by - self.written_at, GRACE_SECONDS)
        await self.write()

    def go_down(self, seconds: float, wall_seconds: float) -> None:
        """End the run where it is, and let so much time pass; the wall clock is set meanwhile."""
        if self._state is not None:
            self.went_down_at = self.elapsed
        self._state = None
        self._pass(seconds)
        self.core.now.advance(wall_seconds)

    async def write(self) -> None:
        """Write behind, as the service does."""
        await self.state.machines.write_behind()
        self.written_at = self.elapsed

    async def wait(self, seconds: float) -> None:
        """Let time pass, and the service write every five seconds."""
        ends_at = self.elapsed + seconds
        while self.written_at + WRITE_SECONDS <= ends_at:
            self._pass(self.written_at + WRITE_SECONDS - self.elapsed)
            await self.write()
        self._pass(ends_at - self.elapsed)

    def _pass(self, seconds: float) -> None:
        self.elapsed += seconds
        self.core.now.advance(seconds)

    async def register(self, number: int) -> None:
        """Let a machine register."""
        body = wire.Register(
            token="",
            machine_id=f"{number:08x}",
            hostname="box",
            pool_name="default",
            cpu="8000m",
            memory="16Gi",
            gpu_count="1",
            private_ip="192.0.2.1",
        )
        await routes.register(Call(head=HEAD, caller=WORKER, body=body, state=self.state))
        until = self.elapsed + KEEPALIVE_SECONDS
        self.known[number] = Known(is_ready=False, lives_until=until, dies_by=until)

    async def beat(self, number: int) -> None:
        """Let a machine beat; where it must be alive it is answered, where it must not be it is refused."""
        known = self.known[number]
        body = wire.Keepalive(f"{number:08x}", "default")
        refusal: wire.Refused | None = None
        try:
            await routes.keepalive(Call(head=HEAD, caller=WORKER, body=body, state=self.state))
        except wire.Refused as error:
            refusal = error
        if refusal is None:
            assert self.elapsed < known.dies_by, f"machine {number} came back by itself"
            until = self.elapsed + KEEPALIVE_SECONDS
            self.known[number] = Known(is_ready=True, beat_at=self.elapsed, lives_until=until, dies_by=until)
        else:
            assert refusal.code == "machine_not_found"
            assert self.elapsed >= known.lives_until, f"machine {number} should be alive"
            known.dies_by = min(known.dies_by, self.elapsed)

    # ------------------------------------------------------------ what must be true

    def check(self) -> None:
        """Compare what is listed with what must be."""
        listed = {machine.machine_id for machine in self.state.machines.listed()}
        for number, known in enumerate(self.known):
            is_listed = f"{number:08x}" in listed
            if not known.is_ready or known.dies_by <= self.elapsed:
                assert not is_listed, f"machine {number} is listed {self.elapsed - known.dies_by} s after its end"
            if known.is_ready and self.elapsed < known.lives_until:
                assert is_listed, f"machine {number} is unlisted {known.lives_until - self.elapsed} s before its end"
            # The promise itself, without the model's notion of when a machine ends.
            beat_before_start = 0 <= self.started_at - known.beat_at <= PATIENCE_SECONDS
            if known.is_ready and beat_before_start and self.elapsed - self.started_at < GRACE_SECONDS:
                assert is_listed, f"machine {number} beat {self.started_at - known.beat_at} s before the start"


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Box]:
    """A box that has just started for the first time."""
    clock = SteppingClock()
    migrations = {"machine_registry": MIGRATIONS}
    async with Database.open(folder / "a.db", inline=True, migrations=migrations, now=clock) as database:
        box = Box(Core(database, clock, RegistrySettings()))
        await box.start()
        yield box


Step = tuple[Any, ...]
NUMBERS = st.integers(0, MACHINES - 1)
SECONDS = st.sampled_from([0.5, 1.0, 4.0, 5.0, 59.0, 61.0, 120.0, 179.0, 181.0, 240.0, 299.0, 300.0, 301.0])
# Eighths of seconds, which add up without an error: what ends at a moment has ended then, and not a microsecond later.
DOWN = st.sampled_from([0.125, 3.0, 60.0, 119.0, 121.0, 400.0, 4000.0, 10.0**6])
WALL = st.sampled_from([0.0, 0.0, 0.0, -4000.0, 4000.0, -(10.0**8), 10.0**8])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("register"), NUMBERS),
        st.tuples(st.just("join"), NUMBERS),
        st.tuples(st.just("beat"), NUMBERS),
        st.tuples(st.just("wait"), SECONDS),
        st.tuples(st.just("set clock"), WALL),
        st.tuples(st.just("kill"), DOWN, WALL),
        st.tuples(st.just("kill twice"), DOWN, WALL),
        st.tuples(st.just("stop"), DOWN, WALL),
    ),
    min_size=4,
    max_size=30,
)


async def act(box: Box, step: Step) -> None:
    """Do one step."""
    match step:
        case "register", number:
            await box.register(number)
        case "join", number:
            await box.register(number)
            await box.beat(number)
        case "beat", number:
            await box.beat(number)
        case "wait", seconds:
            await box.wait(seconds)
        case "set clock", wall_seconds:
            box.core.now.advance(wall_seconds)
        case ("kill" | "kill twice" | "stop") as how, seconds, wall_seconds:
            if how == "stop":
                await box.write()
            box.go_down(seconds, wall_seconds)
            if how == "kill twice":  # once more before the new run has written anything
                await box.start(is_stillborn=True)
                box.go_down(seconds, -wall_seconds)
            await box.start()


async def play(folder: Path, steps: Sequence[Step]) -> None:
    """Do the steps one after the other on a new data directory, and look after each."""
    async with opened(folder) as box:
        for step in steps:
            await act(box, step)
            box.check()


@given(steps=STEPS)
@example([("register", 0), ("beat", 0), ("kill", 119.0, -(10.0**8)), ("beat", 0)])
@example([("register", 0), ("beat", 0), ("wait", 299.0), ("kill", 4000.0, 0.0), ("wait", 179.0), ("beat", 0)])
@example(
    [("register", 0), ("wait", 4.0), ("kill twice", 60.0, -4000.0), ("register", 1), ("kill", 3.0, 0.0), ("beat", 0)]
)
@example([("register", 0), ("beat", 0), ("wait", 301.0), ("wait", 5.0), ("kill", 3.0, 0.0), ("beat", 0)])
def test_who_beat_shortly_before_a_start_stays_listed_and_who_had_expired_stays_away(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    trio.run(play, tmp_path_factory.mktemp("box"), steps)


@pytest.mark.long
@given(steps=STEPS)
@settings(max_examples=5_000, deadline=None)
def test_who_beat_shortly_before_a_start_stays_listed_in_thousands_of_histories(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    trio.run(play, tmp_path_factory.mktemp("box"), steps)


async def registered(machines: Machines) -> None:
    said = Registration(
        key=("generic", "default", "1165a9b6"),
        hostname="box",
        cpu_millicores=8000,
        memory_mib=16_384,
        gpu_count=1,
        private_ip="192.0.2.1",
    )
    await machines.register(said, "worker", None)


@pytest.mark.parametrize("status", [Status.READY, Status.REGISTERED])
async def test_what_is_written_behind_does_not_undo_a_state_that_is_being_stored(
    tmp_path: Path, status: Status
) -> None:
    clock, is_held = SteppingClock(), threading.Event()
    migrations = {"machine_registry": MIGRATIONS}
    async with Database.open(tmp_path / "a.db", migrations=migrations, now=clock) as database:
        machines = Machines(cast(Any, Core(database, clock, RegistrySettings())), clock)
        await registered(machines)
        (machine,) = machines.all()
        if status is Status.REGISTERED:
            await machines.become_ready(machine, Beat())
        machines.unwritten.add(machine.key)
        clock.advance(30)
        async with trio.open_nursery() as nursery:
            # The writer is at work, so that all that follows waits in its queue in this order.
            database.write_soon(lambda connection: is_held.wait(10))
            if status is Status.READY:
                nursery.start_soon(machines.become_ready, machine, Beat())
            else:
                nursery.start_soon(registered, machines)
            await wait_all_tasks_blocked()
            nursery.start_soon(machines.write_behind)
            await wait_all_tasks_blocked()
            is_held.set()
        assert [each.status for each in machines.all()] == [status]
        (stored,) = database.read_now(store.machines)
        assert (stored.status, stored.deadline_us) == (status, clock() + KEEPALIVE_SECONDS * 1_000_000)
        await machines.write_behind()
        (stored,) = database.read_now(store.machines)
        assert stored.status is status
