"""Giving out work, heartbeats and reports: each rule on its own, on a real database."""

from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.plugin import BadInput, NotFound, TooLarge
from plugins.build_swarm.states import DroneKind, DroneStatus, DroneType, Heartbeat, PackageNeeds, Report
from tests.plugins.build_swarm.queue_kit import atom, opened

# ------------------------------------------------------------------ what a drone is given


async def test_drone_is_given_the_oldest_and_again_until_it_is_reported(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        await bench.queue("one", "two", "three")
        assert [await bench.given() for _ in range(3)] == ["one", "one", "one"]
        assert (await bench.report("a", "one")).accepted
        assert await bench.given() == "two"


async def test_higher_priority_comes_first(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_prefetch=1) as bench:
        await bench.beat()
        await bench.queue("plain", "plain-too")
        await bench.queue("urgent", priority=10)
        await bench.queue("least", priority=-1)
        assert [await bench.built() for _ in range(4)] == ["urgent", "plain", "plain-too", "least"]


@pytest.mark.parametrize(
    ("cores", "limit", "held"), [(1, None, 1), (7, None, 1), (8, None, 2), (64, None, 2), (64, 4, 1), (None, None, 2)]
)
async def test_drone_holds_one_package_for_four_cores_and_at_most_two(
    tmp_path: Path, cores: int | None, limit: int | None, held: int
) -> None:
    async with opened(tmp_path) as bench:
        bench.swarm.cores_limit = lambda drone: limit
        await bench.beat(capabilities={} if cores is None else {"cores": cores})
        await bench.queue("one", "two", "three")
        await bench.work()
        assert len(bench.swarm.drone("a").assigned) == held


async def test_package_goes_only_to_a_drone_that_has_what_it_needs(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("small", capabilities={"cores": 4, "ram_gb": 8.0})
        await bench.beat("big", capabilities={"cores": 32, "ram_gb": 64.0, "lto": True, "arch": "znver4"})
        needs = PackageNeeds(cores=16, memory_mib=32_768, capabilities=frozenset({"lto", "arch=znver4"}))
        await bench.queue("chromium", needs=needs)
        await bench.queue("nano")
        assert await bench.given("small") == "nano"
        assert await bench.given("big") == "chromium"
        assert bench.swarm.why(bench.package("chromium")) == ""


async def test_nothing_that_fits_waits_behind_packages_that_do_not(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat(capabilities={"cores": 1})
        await bench.queue(*(f"big{number}" for number in range(100)), needs=PackageNeeds(cores=64))
        await bench.queue("small")
        assert await bench.given() == "small"
        assert bench.swarm.why(bench.package("big7")) == "No drone that is online has what it needs."


async def test_package_waits_for_what_it_names_until_that_is_built_or_blocked(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_prefetch=1) as bench:
        await bench.beat()
        waits_for = {atom("app"): (atom("lib"), "app-test/other"), atom("tool"): (atom("bad"),)}
        await bench.queue("app", "tool", "lib", "other", "bad", waits_for=waits_for)
        assert bench.swarm.why(bench.package("app")) == "It waits for app-test/lib-1, app-test/other."
        assert await bench.built() == "lib"
        assert await bench.built() == "other"
        assert await bench.built() == "app"
        assert await bench.built(outcome="masked") == "bad"
        assert "1 that waited for it are built without" in bench.events("blocked")[0]
        assert await bench.built() == "tool"


async def test_drone_with_nothing_to_do_takes_what_another_has_not_begun(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.beat("b")
        await bench.queue("one", "two")
        assert await bench.given("a") == "one"
        assert bench.swarm.drone("a").assigned_atoms == [atom("one"), atom("two")]
        assert await bench.given("b") == "two"
        assert (await bench.beat("a", atom("one"))).revoke == (atom("two"),)
        assert (await bench.work("a")).revoke == ()  # told once


async def test_what_is_being_compiled_is_never_taken(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.beat("b")
        await bench.queue("one", "two")
        await bench.work("a")
        await bench.beat("a", atom("two"))
        assert await bench.given("b") is None
        assert (await bench.swarm.control("rebalance")).counters == {"reclaimed": 1}
        assert bench.swarm.drone("a").assigned_atoms == [atom("two")]
        assert (await bench.work("a")).revoke == (atom("one"),)


async def test_sweeper_is_given_blocked_packages_alone_and_not_again_what_it_failed(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.beat("Sweeper-1")
        assert bench.swarm.drone("Sweeper-1").kind is DroneKind.SWEEPER
        await bench.queue("bad", "worse", "good")
        for _ in range(2):
            await bench.built("a", "masked")
        assert await bench.given("Sweeper-1") == "bad"
        assert (await bench.report("Sweeper-1", "bad")).accepted
        assert bench.state("bad") == "received"
        assert await bench.given("Sweeper-1") == "worse"
        await bench.report("Sweeper-1", "worse", "failed", error="no luck")
        assert bench.state("worse") == "blocked"
        assert await bench.given("Sweeper-1") is None


async def test_nobody_is_given_work_while_paused(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.beat("b")
        await bench.queue("one")
        await bench.swarm.control("pause")
        assert (await bench.work()).reason == "the queue is paused"
        assert bench.swarm.why(bench.package("one")) == "The queue is paused."
        await bench.swarm.control("resume")
        await bench.swarm.pause_drone("a", True)
        assert (await bench.work("a")).reason == "this drone is paused"
        assert await bench.given("b") == "one"
        await bench.swarm.pause_drone("id-a", False)
        assert (await bench.work("a")).reason == "nothing waits that this drone can build"


async def test_drone_with_another_portage_tree_is_told_to_sync(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("old", capabilities={"portage_timestamp": "2026-02-11"})
        await bench.beat("new", capabilities={"portage_timestamp": "2026-02-12"})
        await bench.queue("one", portage_timestamp="2026-02-12")
        work = await bench.work("old")
        assert (work.package, work.sync_timestamp) == (None, "2026-02-12")
        assert await bench.given("new") == "one"
        bench.restart()
        assert (await bench.work("old")).sync_timestamp == "2026-02-12"


# ------------------------------------------------------------------ heartbeats


async def test_new_drone_is_on_disk_before_it_is_answered_and_its_heartbeats_soon_after(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        assert (await bench.beat(metrics={"load_1m": 1.0})).is_new
        writes = bench.disk.writes
        bench.advance(30)
        registered = await bench.beat(metrics={"load_1m": 2.0}, version="0.4.1")
        assert not registered.is_new
        assert bench.disk.writes == writes
        await bench.swarm.write_heard()
        bench.restart()
        drone = bench.swarm.drone("a")
        assert (drone.metrics, drone.version, drone.last_seen_unix_us) == (
            {"load_1m": 2.0},
            "0.4.1",
            bench.wall.unix_us,
        )
        assert (drone.cores, drone.ram_gb) == (16, 32.0)


@pytest.mark.parametrize("nonsense", ["16", True, -4, float("nan"), float("inf"), 10**30, [16], None])
async def test_nonsense_about_cores_and_memory_counts_as_unknown(tmp_path: Path, nonsense: Any) -> None:
    async with opened(tmp_path) as bench:
        drone = (await bench.beat(capabilities={"cores": nonsense, "ram_gb": nonsense})).drone
        assert (drone.cores, drone.ram_gb) == (0, 0.0)
        await bench.swarm.write_heard()


async def test_drone_that_builds_what_is_not_its_own_is_told_to_stop(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.beat("b")
        await bench.queue("one")
        assert await bench.given("a") == "one"
        stop = (await bench.beat("b", "app-test/one-1")).stop_work
        assert stop is not None
        assert (stop.package, stop.reassigned_to) == (atom("one"), "a")
        assert "reassigned" in stop.reason
        await bench.swarm.control("reclaim", package=atom("one"))
        stop = (await bench.beat("a", atom("one"))).stop_work
        assert stop is not None
        assert (stop.reason, stop.reassigned_to) == ("work was reclaimed", None)


async def test_drone_that_goes_on_for_nothing_is_told_every_time_and_people_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.beat("b")
        await bench.queue("one")
        await bench.work("a")
        for _ in range(5):
            assert (await bench.beat("b", atom("one"))).stop_work is not None
        assert len(bench.events("stale")) == 1


async def test_drone_that_builds_a_dependency_of_its_package_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_prefetch=1) as bench:
        await bench.beat("a")
        await bench.beat("b")
        await bench.queue("lib", "app")
        assert await bench.given("b") == "lib"
        assert await bench.given("a") == "app"
        assert (await bench.beat("a", atom("lib"))).stop_work is None
        assert (await bench.beat("a", "sys-libs/unknown-3")).stop_work is None
        assert bench.events("stale") == []


async def test_drone_that_was_only_silent_goes_on_with_what_it_builds(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        await bench.queue("one")
        await bench.given()
        await bench.beat("a", atom("one"))
        await bench.pass_time(61)
        assert bench.state("one") == "needed"
        assert bench.swarm.drone("a").status is DroneStatus.OFFLINE
        assert (await bench.beat("a", atom("one"))).stop_work is None
        assert bench.swarm.drone("a").assigned_atoms == [atom("one")]
        assert (await bench.report("a", "one")).accepted


@pytest.mark.parametrize("outcome", ["success", "failed"])
async def test_what_a_drone_has_built_while_it_was_silent_is_not_built_twice(tmp_path: Path, outcome: str) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        await bench.queue("one")
        await bench.given()
        await bench.pass_time(61)
        assert bench.state("one") == "needed"
        assert (await bench.report("a", "one", outcome)).accepted
        assert bench.state("one") == ("received" if outcome == "success" else "needed")
        assert not (await bench.report("a", "one", outcome)).accepted
        assert len(await bench.swarm.builds()) == 1


async def test_what_another_drone_has_by_now_is_not_taken_from_it_by_a_late_report(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.queue("one")
        await bench.given("a")
        await bench.pass_time(61)
        await bench.beat("b")
        assert await bench.given("b") == "one"
        assert (await bench.report("a", "one")).is_stale
        assert bench.swarm.drone("b").assigned_atoms == [atom("one")]


async def test_drone_that_never_says_what_it_builds_may_take_longer_than_idle_drones(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.queue("one")
        await bench.given("a")
        for _ in range(40):
            await bench.pass_time(30)
            await bench.beat("a")
        assert bench.state("one") == "needed"
        assert (await bench.report("a", "one")).accepted
        assert bench.state("one") == "received"


async def test_silent_drone_is_offline_and_its_work_is_free_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.queue("one")
        await bench.work("a")
        bench.advance(40)
        await bench.beat("b")
        bench.advance(21)
        assert await bench.given("b") == "one"  # also before anybody looked after it
        assert bench.events("stale") == ["a went offline; 1 of its packages are free"]
        assert (await bench.beat("a", atom("one"))).stop_work is not None
        assert bench.events("register")[-1] == "a came back online"


async def test_drone_that_builds_nothing_loses_its_work_after_fifteen_minutes(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.beat("b")
        await bench.queue("one")
        await bench.work("a")
        for _ in range(29):
            bench.advance(30)
            await bench.beat("a")
            await bench.swarm.tick()
        assert bench.state("one") == "delegated"
        bench.advance(31)
        await bench.beat("a")
        await bench.beat("b")
        await bench.swarm.tick()
        assert bench.state("one") == "needed"
        assert (await bench.work("a")).revoke == (atom("one"),)
        assert await bench.given("b") == "one"


async def test_drone_that_says_that_it_builds_keeps_its_work_for_days(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        await bench.queue("one")
        await bench.work()
        for _ in range(2 * 1440):
            bench.advance(59)
            await bench.beat("a", atom("one"))
        await bench.swarm.tick()
        assert (await bench.report("a", "one", duration_s=170_000)).accepted


async def test_lease_runs_out_where_silence_is_allowed_for_longer(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_offline_seconds=100_000.0) as bench:
        await bench.beat()
        await bench.queue("one")
        await bench.work()
        await bench.pass_time(599)
        assert bench.state("one") == "delegated"
        await bench.pass_time(1)
        assert bench.state("one") == "needed"
        assert bench.swarm.drone("a").is_online


# ------------------------------------------------------------------ drones


async def test_reinstalled_drone_takes_its_name_and_settings_over_and_its_old_work_is_free(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a", drone_id="old")
        await bench.swarm.set_drone_type("a", DroneType.QEMU)
        await bench.queue("one", "two", "three")
        await bench.swarm.work("old")
        assert (await bench.swarm.complete(Report(drone="old", atom=atom("one"), outcome="success"))).accepted
        assert (await bench.beat("a", drone_id="new")).is_new
        assert [(each.drone_id, each.name) for each in bench.swarm.drones()] == [("new", "a")]
        drone = bench.swarm.drone("a")
        assert (drone.drone_type, drone.builds_completed) == (DroneType.QEMU, 1)
        assert bench.state("two") == "needed"
        assert (await bench.swarm.work("new")).package is bench.package("two")
        stale = await bench.swarm.complete(Report(drone="old", atom=atom("two"), outcome="success"))
        assert (stale.accepted, stale.is_stale, stale.reassigned_to) == (False, True, "a")
        bench.restart()
        assert bench.swarm.drone("a").drone_id == "new"


async def test_two_machines_of_one_name_do_not_take_it_from_each_other(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a", drone_id="0001")
        await bench.beat("a", drone_id="0002")
        await bench.queue("one")
        assert (await bench.swarm.work("0002")).package is not None
        for _ in range(3):
            await bench.beat("a", drone_id="0001")
            await bench.beat("a", drone_id="0002")
        assert {each.drone_id: each.name for each in bench.swarm.drones()} == {"0002": "a", "0001": "a-0001"}
        assert bench.swarm.drone("0002").assigned_atoms == [atom("one")]


async def test_drone_that_is_renamed_keeps_its_id_and_work(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a", drone_id="x")
        await bench.queue("one")
        await bench.swarm.work("x")
        await bench.beat("b", drone_id="x")
        assert bench.swarm.find_drone("a") is None
        assert bench.swarm.drone("b").assigned_atoms == [atom("one")]
        bench.restart()
        assert bench.swarm.drone("b").assigned_atoms == [atom("one")]


async def test_deleted_drone_with_history_is_gone_and_its_history_stays(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        await bench.queue("one", "two")
        await bench.built()
        await bench.work()
        await bench.swarm.delete_drone("a")
        assert bench.swarm.drones() == []
        assert bench.state("two") == "needed"
        assert [build.drone_name for build in await bench.swarm.builds(drone="a")] == ["a"]
        with pytest.raises(NotFound):
            await bench.swarm.delete_drone("a")
        assert (await bench.beat()).is_new
        assert await bench.given() == "two"


async def test_number_of_drones_is_bounded(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_drones_max=2) as bench:
        await bench.beat("a")
        await bench.beat("b")
        with pytest.raises(TooLarge):
            await bench.beat("c")
        await bench.beat("a", drone_id="again")
        assert len(bench.swarm.drones()) == 2


@pytest.mark.parametrize(("drone_id", "name"), [("", "a"), ("a", ""), ("x" * 129, "a"), ("a", "x" * 129)])
async def test_drone_without_id_or_name_or_with_a_long_one_is_refused(tmp_path: Path, drone_id: str, name: str) -> None:
    async with opened(tmp_path) as bench:
        with pytest.raises(BadInput):
            await bench.swarm.register(Heartbeat(drone_id=drone_id, name=name, address=""))
        assert bench.swarm.drones() == []


# ------------------------------------------------------------------ reports


@pytest.mark.parametrize("said", ["app-test/one-1", "=app-test/one-1", " app-test/one-1 "])
async def test_report_counts_in_both_forms_of_the_atom_once(tmp_path: Path, said: str) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        await bench.queue("one")
        await bench.work()
        report = Report(drone="a", atom=said, outcome="success", duration_s=323.5)
        assert (await bench.swarm.complete(report)).accepted
        again = await bench.swarm.complete(report)
        assert (again.accepted, again.is_stale, again.reason) == (False, True, "already received")
        (build,) = await bench.swarm.builds()
        assert (build.atom, build.duration_s, build.drone_name) == (atom("one"), 323.5, "a")


async def test_identical_reports_at_once_count_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        await bench.queue(*(f"p{number}" for number in range(25)))
        accepted = []

        async def report(name: str) -> None:
            accepted.append((await bench.report("a", name)).accepted)

        for number in range(25):
            await bench.work()
            async with trio.open_nursery() as nursery:
                for _ in range(6):
                    nursery.start_soon(report, f"p{number}")
        assert accepted.count(True) == 25
        assert len(await bench.swarm.builds(limit=1000)) == 25
        assert bench.swarm.drone("a").builds_completed == 25


@pytest.mark.parametrize("outcome", ["success", "failed", "returned", "whatever"])
async def test_report_of_a_package_that_another_holds_changes_nothing(tmp_path: Path, outcome: str) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.beat("b")
        await bench.queue("one")
        await bench.work("a")
        stale = await bench.report("b", "one", outcome)
        assert (stale.accepted, stale.is_stale, stale.reassigned_to) == (False, True, "a")
        assert bench.swarm.drone("a").assigned_atoms == [atom("one")]
        assert await bench.swarm.builds() == []
        assert bench.events("stale") == ["b works on app-test/one-1 for nothing: reassigned to a"]


async def test_heartbeat_that_a_report_has_overtaken_stops_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.beat("b")
        await bench.queue("one")
        await bench.built("a")
        assert (await bench.beat("a", task=atom("one"))).stop_work is None
        assert bench.events("stale") == []
        stop = (await bench.beat("b", task=atom("one"))).stop_work
        assert stop is not None
        assert stop.reason == "already received"


async def test_report_after_the_work_was_taken_away_does_not_count(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        await bench.queue("one")
        await bench.work()
        await bench.swarm.control("reclaim", package=atom("one"))
        stale = await bench.report("a", "one")
        assert (stale.accepted, stale.is_stale) == (False, True)
        assert bench.state("one") == "needed"
        assert (await bench.report("a", "never-queued")).reason == "not in the queue"


async def test_success_without_its_binary_is_a_failure(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        bench.swarm.binary_check = lambda package, drone: f"no upload of {package.atom} by {drone.name}"
        await bench.beat()
        await bench.queue("one")
        await bench.work()
        done = await bench.report("a", "one")
        assert (done.accepted, done.outcome) == (True, "missing_binary")
        package = bench.package("one")
        assert (package.state, package.failures, package.error) == ("needed", 1, "no upload of =app-test/one-1 by a")
        assert [build.outcome for build in await bench.swarm.builds()] == ["missing_binary"]


@pytest.mark.parametrize("duration", [float("nan"), float("inf"), -5.0, 1e300])
async def test_absurd_durations_are_held_to_what_can_be(tmp_path: Path, duration: float) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        await bench.queue("one")
        await bench.work()
        assert (await bench.report("a", "one", duration_s=duration, error="x" * 100_000)).accepted
        (build,) = await bench.swarm.builds()
        assert 0 <= build.duration_s <= 1e9
        assert len(build.error) == 4000


async def test_cancelled_caller_keeps_no_package_from_anybody(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        await bench.queue("one")
        with trio.CancelScope() as scope:
            scope.cancel()
            await bench.work()
        assert await bench.given() == "one"
        assert bench.stored("SELECT state FROM build_swarm_package") == [("delegated",)]


# ------------------------------------------------------------------ the service


async def test_service_watches_writes_and_announces(tmp_path: Path, autojump_clock: Any) -> None:
    async with opened(tmp_path) as bench, trio.open_nursery() as nursery:
        await nursery.start(bench.swarm.run)
        await bench.beat()
        await trio.sleep(2)
        assert bench.core.events.told == ["swarm.changed"] * 2
        assert [row for (row,) in bench.stored("SELECT type FROM build_swarm_event")] == ["register"]
        bench.disk.fails = True
        bench.advance(61)
        await trio.sleep(11)
        bench.disk.fails = False
        await trio.sleep(11)
        assert bench.stored("SELECT status FROM build_swarm_drone") == [("offline",)]
        await bench.beat()
        nursery.cancel_scope.cancel()
