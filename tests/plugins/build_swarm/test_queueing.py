"""Queueing: atoms, sessions, and what a request must not do."""

from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
from attrs import define, field

from appliance.plugin import BadInput, Conflict, NotFound, TooLarge
from plugins.build_swarm.queueing import new_session_id
from plugins.build_swarm.states import PackageState, QueueRequest, Session
from tests.plugins.build_swarm.queue_kit import atom, opened


@define
class SmallTree:
    """A tree of a few packages."""

    versions: dict[str, str] = field(factory=dict)
    dependencies: dict[str, tuple[str, ...]] = field(factory=dict)
    asked: list[tuple[Sequence[str], Collection[str]]] = field(factory=list)

    async def prepare(self, atoms: Sequence[str], queued: Collection[str]) -> None:
        self.asked.append((atoms, queued))

    def expand(self, atom: str) -> str:
        return self.versions.get(atom, atom)

    def needs(self, atom: str) -> Collection[str]:
        return self.dependencies.get(atom, ())


async def test_first_request_opens_a_session_and_the_next_joins_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        first = await bench.queue("one", session_name="World rebuild")
        second = await bench.queue("two", session_name="Another name")
        assert first.session is second.session
        session = bench.swarm.active_session()
        assert session is not None
        assert (session.session_id, session.name) == ("session-20261118-110640", "World rebuild")
        assert (session.total, session.needed) == (2, 2)


async def test_session_completes_with_its_last_package_and_tells(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        told: list[Session] = []
        bench.swarm.on_session_completed.append(told.append)
        await bench.beat()
        await bench.queue("one", "bad")
        await bench.built()
        assert told == []
        bench.advance(5)
        await bench.built(outcome="masked")
        (session,) = told
        assert (session.status, session.completed, session.failed) == ("completed", 1, 1)
        assert session.completed_unix_us == bench.wall.unix_us
        assert bench.swarm.active_session() is None
        assert bench.swarm.status().session is None
        # What is shown is the last session, as long as no other is active.
        assert [package.atom for package in bench.swarm.packages()] == [atom("bad"), atom("one")]


async def test_blocked_package_that_comes_back_makes_its_session_active_again_or_joins_the_active_one(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        await bench.queue("bad", "worse")
        await bench.built(outcome="masked")
        await bench.built(outcome="masked")
        await bench.swarm.control("unblock", package=atom("bad"))
        first = bench.swarm.active_session()
        assert first is not None
        assert (first.needed, first.blocked) == (1, 1)
        await bench.built()
        bench.advance(10)
        await bench.queue("new")
        await bench.swarm.control("unblock", package=atom("worse"))
        second = bench.swarm.active_session()
        assert second is not None
        assert second is not first
        assert (second.total, second.needed) == (2, 2)
        assert (first.total, first.completed, first.blocked) == (1, 1, 0)
        bench.restart()
        assert [(each.total, each.needed) for each in bench.swarm.sessions()] == [(2, 2), (1, 0)]


async def test_two_sessions_of_one_second_have_different_ids(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        for name in ("one", "two", "three"):
            await bench.queue(name)
            await bench.built()
        ids = [session.session_id for session in bench.swarm.sessions()]
        assert ids == [f"session-20261118-110640{end}" for end in ("-3", "-2", "")]
    assert new_session_id(0, {"session-19700101-000000"}) == "session-19700101-000000-2"


async def test_session_can_be_named_and_another_than_the_active_one_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        queued = await bench.queue("one", session_id="nightly")
        assert queued.session is not None
        assert queued.session.session_id == "nightly"
        await bench.queue("two", session_id="nightly")
        with pytest.raises(Conflict, match="nightly"):
            await bench.queue("three", session_id="other")
        await bench.built()
        await bench.built()
        await bench.queue("four", session_id="nightly")
        assert bench.swarm.session("nightly").total == 3
        with pytest.raises(NotFound):
            bench.swarm.session("other")
        for nonsense in ("../x", "a b", "x" * 65):
            with pytest.raises(BadInput):
                await bench.queue("five", session_id=nonsense)


async def test_what_waits_or_is_built_is_skipped_and_what_is_received_is_built_again(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_prefetch=1) as bench:
        await bench.beat()
        await bench.queue("done", "held", "waits")
        await bench.built()
        await bench.work()
        queued = await bench.swarm.queue(
            QueueRequest(
                atoms=("app-test/held-1", atom("waits"), "app-test/done-1", "app-test/new-1", "app-test/new-1")
            )
        )
        assert [package.atom for package in queued.packages] == [atom("done"), atom("new")]
        assert queued.skipped == (atom("held"), atom("waits"), atom("new"))
        states = [package.state for package in bench.swarm.packages() if package.atom == atom("done")]
        assert states == [PackageState.NEEDED, PackageState.RECEIVED]


async def test_blocked_package_that_is_queued_again_is_needed_again_and_not_twice_there(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        await bench.queue("bad", "good")
        await bench.built(outcome="masked")
        queued = await bench.queue("bad", priority=3)
        assert [package.package_id for package in queued.packages] == [1]
        assert len(bench.swarm.packages()) == 2
        assert [package.atom for package in bench.swarm.next_packages(2)] == [atom("bad")]  # the other is held
        assert bench.package("bad").failures == 0


async def test_request_with_one_bad_atom_queues_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        for request in (
            QueueRequest(atoms=("app-test/one-1", "--ask")),
            QueueRequest(atoms=()),
            QueueRequest(atoms=("app-test/one-1",), waits_for={"app-test/one-1": ("nonsense",)}),
            QueueRequest(atoms=("app-test/one-1",), waits_for={"nonsense": ()}),
            QueueRequest(atoms=("app-test/one-1",), priority=10**9),
            QueueRequest(atoms=("app-test/one-1",), session_name="x" * 201),
        ):
            with pytest.raises(BadInput):
                await bench.swarm.queue(request)
        assert bench.swarm.packages() == []
        assert bench.swarm.active_session() is None


async def test_queue_is_bounded_and_a_request_over_it_queues_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_packages_max=3) as bench:
        await bench.beat()
        await bench.queue("one", "two")
        with pytest.raises(TooLarge):
            await bench.queue("three", "four")
        assert len(bench.swarm.packages()) == 2
        await bench.built()
        await bench.queue("three", "four")  # what is received does not count


async def test_tree_gives_versions_and_what_to_wait_for(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_prefetch=1) as bench:
        bench.swarm.tree = tree = SmallTree(
            versions={"app-test/app": "=app-test/app-2", "app-test/lib": "app-test/lib-1"},
            dependencies={"=app-test/app-2": (">=app-test/lib-0:0=", "dev-libs/absent")},
        )
        await bench.beat()
        queued = await bench.swarm.queue(QueueRequest(atoms=("app-test/app", "app-test/lib", "app-test/unknown")))
        assert tree.asked == [(["app-test/app", "app-test/lib", "app-test/unknown"], [])]
        assert [each.atom for each in queued.packages] == ["=app-test/app-2", atom("lib"), "app-test/unknown"]
        assert queued.packages[0].waits_for == ("app-test/lib",)  # what the queue does not have is not waited for
        assert await bench.built() == "lib"
        assert await bench.given() == "app"


async def test_packages_that_wait_for_each_other_are_built_all_the_same(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        await bench.queue("one", waits_for={atom("one"): (atom("two"), atom("one"))})
        await bench.queue("two", "three", waits_for={atom("two"): (atom("three"),), atom("three"): (atom("one"),)})
        assert "no longer do" in bench.events("queue")[-1]
        assert {await bench.built() for _ in range(3)} == {"one", "two", "three"}
        bench.restart()
        assert bench.swarm.active_session() is None


async def test_figures_count_and_estimate(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_prefetch=1) as bench:
        await bench.beat("a")
        await bench.beat("b", capabilities={"cores": 8})
        await bench.queue("one", "two", "three")
        await bench.built("a", duration_s=100.0)
        await bench.work("a")
        await bench.beat("a", atom("two"))
        bench.advance(10)
        figures = bench.swarm.status()
        assert (figures.drones, figures.drones_online, figures.total_cores) == (2, 2, 24)
        assert (figures.queue_depth, figures.needed, figures.delegated, figures.received) == (2, 1, 1, 1)
        assert figures.eta_s == 100  # the longest of them
        assert figures.timing.success_rate == 100
        progress = bench.swarm.progress(bench.package("two"))
        assert progress is not None
        assert (progress.elapsed_s, progress.estimated_s, progress.percent) == (10, 100, 10)
        assert bench.swarm.progress(bench.package("three")) is None


async def test_old_sessions_are_deleted_with_their_packages_and_builds_stay(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        await bench.queue("one")
        await bench.built()
        bench.advance(91 * 86_400)
        await bench.queue("two")
        await bench.swarm.prune()
        assert [session.total for session in bench.swarm.sessions()] == [1]
        assert bench.stored("SELECT atom FROM build_swarm_package") == [(atom("two"),)]
        assert len(await bench.swarm.builds()) == 1
        bench.restart()
        assert (await bench.queue("three")).packages[0].package_id == 3
