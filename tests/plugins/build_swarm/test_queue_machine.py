"""The queue over any sequence of requests, failures, power cuts and clocks: nothing is lost, built twice or kept back.

The real swarm on a real file. Two drones and a sweeper ask, build, fail, fall silent, are deleted and installed again;
the appliance loses its power before and after writes, its disk is full for a while, its wall clock is set. After every
step memory is held against the disk and against plain recounts; in the end every package is built.
"""

from collections import Counter
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from appliance.plugin import ApplianceError, StorageFailed
from plugins.build_swarm import queue_rows
from plugins.build_swarm.controls import CONTROLS
from plugins.build_swarm.rules import ASKING_SECONDS, US, suits
from plugins.build_swarm.states import OPEN, Completed, Drone, DroneKind, Package, PackageNeeds, PackageState
from tests.plugins.build_swarm.queue_kit import Kept, PowerCut, atom

DRONES = ("a", "b")
SWEEPER = "sweeper-s"
NAMES = tuple(f"p{number}" for number in range(6))
OUTCOMES = ("success", "failed", "returned", "masked", "upload_failed", "exploded")
FINAL = (PackageState.RECEIVED, PackageState.FAILED)
NEEDS = (PackageNeeds(), PackageNeeds(cores=8), PackageNeeds(capabilities=frozenset({"lto"})))

DELETIONS_MAX = 2

some_drone = st.sampled_from(DRONES)
anybody = st.sampled_from((*DRONES, SWEEPER))
some_name = st.sampled_from(NAMES)


class Queue(RuleBasedStateMachine):
    """One example."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept(
            queue_package_failures=3,
            queue_drone_failures=4,
            queue_blocked_returns=1,
            queue_upload_failures=2,
        )
        self.bench = self.kept.bench
        self.acknowledged: set[int] = set()
        """Packages whose queueing was answered."""
        self.deletions = 0
        self.received: Counter[int] = Counter()
        """How often a success of each package was answered as accepted."""

    def teardown(self) -> None:
        try:
            self.everything_is_built()
        finally:
            self.kept.close()

    def do(self, work: Any, *arguments: Any, **named: Any) -> Any:
        """Do something; a power cut or a full disk on the way is part of the game."""
        try:
            return self.kept.run(partial(work, *arguments, **named))
        except PowerCut:
            self.bench.restart()
        except StorageFailed:
            pass
        return None

    # ------------------------------------------------------------ what happens

    @initialize(names=st.lists(some_name, min_size=2, max_size=6), data=st.data())
    def swarm_has_something_to_do(self, names: list[str], data: st.DataObject) -> None:
        for name in (*DRONES, SWEEPER):
            self.beat(name, "", 0)
        self.queue(names, data)

    @rule(names=st.lists(some_name, min_size=1, max_size=4), data=st.data())
    def queue(self, names: list[str], data: st.DataObject) -> None:
        waits = data.draw(st.dictionaries(st.sampled_from(names), st.lists(some_name, max_size=2), max_size=2))
        queued = self.do(
            self.bench.queue,
            *names,
            priority=data.draw(st.sampled_from((0, 0, 5))),
            needs=data.draw(st.sampled_from(NEEDS)),
            waits_for={atom(name): tuple(atom(each) for each in others) for name, others in waits.items()},
        )
        if queued is not None:
            self.acknowledged |= {package.package_id for package in queued.packages}
            assert self.acknowledged <= self.stored_states().keys()

    @rule(name=anybody, task=st.sampled_from(("", *NAMES)), lto=st.integers(0, 1))
    def beat(self, name: str, task: str, lto: int) -> None:
        # One of them has what every package needs, so none of them waits for a drone that does not exist.
        capabilities = {"cores": 16 if name == "a" else 4, "ram_gb": 32, "lto": bool(lto) or name == "a"}
        self.do(self.bench.beat, name, task and atom(task), capabilities=capabilities)

    @rule(name=anybody)
    def builds_what_it_holds(self, name: str) -> None:
        drone = self.bench.swarm.find_drone(f"id-{name}")
        if drone is not None and drone.assigned:
            self.do(self.bench.beat, name, drone.assigned[0].atom)

    @rule(name=anybody)
    def ask(self, name: str) -> None:
        drone = self.bench.swarm.find_drone(f"id-{name}")
        if drone is None:
            work = self.do(self.bench.work, name)
            assert work is None or work.package is None
            self.beat(name, "", 0)
            drone = self.bench.swarm.find_drone(f"id-{name}")
        work = self.do(self.bench.work, name)
        if work is None or drone is None:
            return
        if work.package is not None:
            assert work.package.state is PackageState.DELEGATED
            assert work.package.drone_id == drone.drone_id
            assert self.stored_states()[work.package.package_id] == ("delegated", drone.drone_id)
        elif work.reason.startswith("nothing waits"):
            assert self.waiting_for(drone) == []

    def waiting_for(self, drone: Drone) -> list[Package]:
        """Return, by a plain look at every package, what a drone could be given."""
        swarm, now = self.bench.swarm, self.bench.steady()
        packages = list(swarm.desk.book.packages.values())
        if drone.kind is DroneKind.SWEEPER:
            return [
                each
                for each in packages
                if each.state is PackageState.BLOCKED
                and suits(drone, each.needs)
                and drone.drone_id not in each.avoided_drones
            ]
        is_open = {name for each in packages if each.state in OPEN for name in (each.atom, each.key)}
        others = [
            other
            for other in swarm.drones(offline=False)
            if other is not drone
            and other.kind is DroneKind.DRONE
            and not other.paused
            and other.grounded_until_us <= now
            and not (other.upload_failures >= 2 and now - other.upload_failed_us < 30 * 60 * US)
            and now - other.asked_us < ASKING_SECONDS * US
        ]
        return [
            each
            for each in packages
            if each.state is PackageState.NEEDED
            and not is_open & set(each.waits_for)
            and suits(drone, each.needs)
            and (
                drone.drone_id not in each.avoided_drones
                or not any(suits(other, each.needs) and other.drone_id not in each.avoided_drones for other in others)
            )
        ]

    def stored_states(self) -> dict[int, tuple[str, str | None]]:
        """Return what the disk has of every package: its state, and who holds it."""
        rows = self.bench.stored("SELECT package_id, state, drone_id FROM build_swarm_package")
        return {number: (state, drone_id) for number, state, drone_id in rows}

    @rule(name=anybody, outcome=st.sampled_from(OUTCOMES))
    def ask_and_report(self, name: str, outcome: str) -> None:
        self.ask(name)
        self.report_what_it_holds(name, outcome, 1)

    @rule(name=anybody, package=some_name, outcome=st.sampled_from(OUTCOMES))
    def report(self, name: str, package: str, outcome: str) -> None:
        self.take(self.do(self.bench.report, name, package, outcome), outcome)

    @rule(name=anybody, outcome=st.sampled_from(OUTCOMES), times=st.integers(1, 4))
    def report_what_it_holds(self, name: str, outcome: str, times: int) -> None:
        drone = self.bench.swarm.find_drone(f"id-{name}")
        if drone is None or not drone.assigned:
            return
        short = drone.assigned[0].key.partition("/")[2]
        answers: list[Completed] = []
        failures: list[BaseException] = []

        async def once(nursery: trio.Nursery) -> None:
            try:
                answers.append(await self.bench.report(name, short, outcome))
            except (StorageFailed, PowerCut) as failure:
                failures.append(failure)
                if isinstance(failure, PowerCut):
                    nursery.cancel_scope.cancel()

        async def at_once() -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(times):
                    nursery.start_soon(once, nursery)
            for failure in failures:
                raise failure

        self.do(at_once)
        assert sum(answer.accepted for answer in answers) <= 1
        for answer in answers:
            self.take(answer, outcome)

    def take(self, answer: Completed | None, outcome: str) -> None:
        if answer is not None and answer.accepted and outcome == "success":
            assert answer.package is not None
            self.received[answer.package.package_id] += 1
            assert self.stored_states()[answer.package.package_id][0] == "received"

    @rule(seconds=st.sampled_from((1, 61, 301, 905, 1805)), is_looked_at=st.sampled_from((True, True, False)))
    def time_passes(self, seconds: int, is_looked_at: bool) -> None:
        self.bench.advance(seconds)
        if is_looked_at:
            self.do(self.bench.swarm.tick)

    @rule(name=some_drone)
    def the_others_fall_silent(self, name: str) -> None:
        self.ask(name)
        for _ in range(2):
            self.bench.advance(31)
            self.do(self.bench.beat, name)
        self.do(self.bench.swarm.tick)
        self.ask(name)

    @rule(days=st.sampled_from((-4000, -1, 1, 4000)))
    def wall_clock_is_set(self, days: int) -> None:
        self.bench.wall.unix_us = max(10**15, self.bench.wall.unix_us + days * 86_400 * US)

    @rule(name=anybody)
    def nobody_is_given_work_while_the_queue_is_paused(self, name: str) -> None:
        if self.do(self.bench.swarm.control, "pause") is not None:
            work = self.do(self.bench.work, name)
            assert work is None or work.package is None
        self.do(self.bench.swarm.control, "resume")

    @rule(action=st.sampled_from(sorted(set(CONTROLS) - {"clear_history", "pause"})), package=some_name)
    def control(self, action: str, package: str) -> None:
        try:
            self.do(self.bench.swarm.control, action, package=atom(package) if action in ("block", "reclaim") else "")
        except ApplianceError as error:
            assert error.status in (400, 404)  # noqa: PT017 (nothing of that name was queued)

    @rule(name=some_drone, paused=st.sampled_from((True, False, False)))
    def pause(self, name: str, paused: bool) -> None:
        if self.bench.swarm.find_drone(f"id-{name}") is not None:
            self.do(self.bench.swarm.pause_drone, f"id-{name}", paused)

    @precondition(lambda self: self.deletions < DELETIONS_MAX)
    @rule(name=some_drone)
    def delete(self, name: str) -> None:
        self.deletions += 1
        if self.bench.swarm.find_drone(f"id-{name}") is not None:
            self.do(self.bench.swarm.delete_drone, f"id-{name}")

    @rule()
    def kill(self) -> None:
        self.bench.restart()

    @precondition(lambda self: not self.bench.disk.cut)
    @rule(cut=st.sampled_from(("before", "after")))
    def power_is_about_to_go(self, cut: str) -> None:
        self.bench.disk.cut = cut

    @rule()
    def disk_is_full_for_a_moment(self) -> None:
        self.bench.disk.fails_once = True

    # ------------------------------------------------------------ what is always so

    def settle(self) -> None:
        """Let what nobody was answered for be written: what a drone builds, and who fell silent."""
        disk = self.bench.disk
        armed, (disk.fails_once, disk.cut) = (disk.fails_once, disk.cut), (False, "")
        self.do(self.bench.swarm.settle)
        disk.fails_once, disk.cut = armed

    @invariant()
    def memory_is_what_the_disk_is(self) -> None:
        swarm = self.bench.swarm
        self.settle()
        columns = "package_id, session_id, state, waits_for, drone_id, failures, failed_drones, avoided_drones, returns"
        stored = {row[0]: row for row in self.bench.stored(f"SELECT {columns} FROM build_swarm_package")}
        for package in swarm.desk.book.packages.values():
            row = queue_rows.package_row(package)
            held = (package.package_id, row[0], row[1], row[2], row[3], row[6], row[7], row[8], row[9])
            assert stored[package.package_id] == held
        for number, row in stored.items():
            assert number in swarm.desk.book.packages or row[2] in FINAL
        assert self.acknowledged <= stored.keys()
        for session in swarm.sessions():
            sql = "SELECT * FROM build_swarm_session WHERE session_id = ?"
            assert self.bench.stored(sql, session.session_id) == [queue_rows.session_row(session)]

    @invariant()
    def every_package_is_received_once(self) -> None:
        sql = "SELECT package_id, count(*) FROM build_swarm_build WHERE outcome = 'success' GROUP BY 1"
        successes = dict(self.bench.stored(sql))
        states = dict(self.bench.stored("SELECT package_id, state FROM build_swarm_package"))
        assert all(count == 1 for count in successes.values())
        assert all(count == 1 for count in self.received.values())
        assert self.received.keys() <= successes.keys()
        assert {number for number, state in states.items() if state == "received"} == successes.keys()

    @invariant()
    def every_package_is_held_by_one_drone_or_none(self) -> None:
        holders = Counter(
            (package.package_id, drone.drone_id) for drone in self.bench.swarm.drones() for package in drone.assigned
        )
        delegated = self.bench.swarm.packages(states={PackageState.DELEGATED}, session="*")
        everything = self.bench.swarm.desk.book.packages.values()
        assert holders == Counter((each.package_id, each.drone_id) for each in delegated)
        assert {each for each in everything if each.state is PackageState.DELEGATED} == set(delegated)
        assert all(not drone.assigned for drone in self.bench.swarm.drones() if not drone.is_online)

    @invariant()
    def counts_and_indexes_are_those_of_a_recount(self) -> None:
        self.settle()
        book = self.bench.swarm.desk.book
        packages = book.packages.values()
        assert book.counts == {state: sum(each.state is state for each in packages) for state in PackageState}
        is_open = {name for each in packages if each.state in OPEN for name in (each.atom, each.key)}
        for each in packages:
            waits = each.state is PackageState.NEEDED and bool(is_open & set(each.waits_for))
            assert (each.waiting > 0) == waits
            assert (each in book.needed) == (each.state is PackageState.NEEDED and not waits)
            assert (each in book.swept) == (each.state is PackageState.BLOCKED)
            if each.state in OPEN:
                assert each.session_id == getattr(book.active, "session_id", None)
        for session_id in {each.session_id for each in packages if each.state not in FINAL}:
            found = self.bench.stored(
                "SELECT count(*), sum(state = 'needed'), sum(state = 'received'), sum(state = 'blocked')"
                " FROM build_swarm_package WHERE session_id = ?",
                session_id,
            )
            session = book.sessions[session_id]
            assert found == [(session.total, session.needed, session.completed, session.blocked)]

    # ------------------------------------------------------------ the end

    def everything_is_built(self) -> None:
        """With a working disk and drones that build, every package ends, and the session is complete."""
        bench = self.bench
        bench.restart()

        async def finish() -> None:
            await bench.swarm.control("resume")
            for _ in range(400):
                for name in DRONES:
                    await self.build_all(name)
                if not any(each.state not in FINAL for each in bench.swarm.desk.book.packages.values()):
                    return
                await bench.pass_time(600)
            raise AssertionError("it never ends")

        self.kept.run(finish)
        states = dict(bench.stored("SELECT package_id, state FROM build_swarm_package"))
        assert self.acknowledged <= states.keys()
        assert set(states.values()) <= {"received", "failed"}
        assert bench.swarm.active_session() is None
        self.every_package_is_received_once()
        self.memory_is_what_the_disk_is()

    async def build_all(self, name: str) -> None:
        await self.bench.beat(name, capabilities={"cores": 16, "ram_gb": 32, "lto": True})
        await self.bench.swarm.pause_drone(f"id-{name}", False)
        while await self.bench.built(name) is not None:
            pass


def run_examples(count: int, steps: int) -> None:
    run_state_machine_as_test(
        Queue,
        settings=settings(
            max_examples=count, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_nothing_is_lost_or_built_twice_or_kept_back_whatever_happens() -> None:
    run_examples(40, 50)


@pytest.mark.long
def test_nothing_is_lost_or_built_twice_or_kept_back_in_many_runs() -> None:
    run_examples(300, 80)
