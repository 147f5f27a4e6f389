"""Failures: packages are tried again, blocked, brought back, or have failed for good; drones are grounded."""

from pathlib import Path

import pytest

from plugins.build_swarm.states import Drone, DroneKind
from tests.plugins.build_swarm.queue_kit import Bench, atom, opened


async def test_package_that_was_given_back_has_not_failed_and_goes_to_others_first(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_prefetch=1) as bench:
        await bench.beat("a")
        await bench.beat("b")
        await bench.queue("one", "two")
        assert await bench.built("a", "returned") == "one"
        package = bench.package("one")
        assert (package.failures, package.state) == (0, "needed")
        assert bench.swarm.drone("a").failures_in_row == 0
        assert await bench.given("a") == "two"
        assert await bench.given("b") == "one"
        timing = bench.swarm.timing()
        assert (timing.total_builds, timing.returned) == (0, 1)


async def test_drone_that_failed_a_package_gets_it_again_only_when_no_other_can(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_package_drones=9) as bench:
        await bench.beat("a")
        await bench.beat("b")
        await bench.queue("one")
        assert await bench.built("a", "failed") == "one"
        assert await bench.given("a") is None
        await bench.swarm.pause_drone("b", True)
        assert await bench.given("a") == "one"
        await bench.report("a", "one", "failed")
        await bench.swarm.pause_drone("b", False)
        assert await bench.given("a") is None
        assert await bench.built("b", "failed") == "one"
        assert await bench.given("a") == "one"  # both have failed it: anybody may


@pytest.mark.parametrize("gone", ["silent", "deleted", "grounded", "never asks"])
async def test_package_is_not_kept_for_a_drone_that_cannot_build_it(tmp_path: Path, gone: str) -> None:
    async with opened(tmp_path, queue_prefetch=1) as bench:
        await bench.beat("a")
        await bench.beat("b")
        await bench.queue("one")
        await bench.built("a", "failed")
        assert await bench.given("a") is None
        if gone == "deleted":
            await bench.swarm.delete_drone("b")
        elif gone == "grounded":
            bench.swarm.drone("b").grounded_until_us = bench.steady() + 10**9
        elif gone == "silent":
            bench.advance(61)
        else:
            for _ in range(20):  # it beats and never asks for work
                bench.advance(31)
                await bench.beat("a")
                await bench.beat("b")
        assert await bench.given("a") == "one"


async def test_thousands_of_packages_that_a_drone_failed_keep_nothing_from_it(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_prefetch=1) as bench:
        await bench.beat("a")
        await bench.beat("b")
        await bench.queue(*(f"p{number}" for number in range(60)))
        for _ in range(30):
            await bench.built("a", "returned")
        assert await bench.given("a") == "p30"


async def test_package_that_failed_on_two_drones_is_blocked_and_nobody_is_blamed(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.beat("b")
        await bench.queue("bad")
        await bench.built("a", "failed", error="first")
        assert bench.swarm.drone("a").failures_in_row == 1
        await bench.built("b", "failed", error="second")
        package = bench.package("bad")
        assert (package.state, package.error) == ("blocked", "Failed on 2 different drones: second")
        assert [each.failures_in_row for each in bench.swarm.drones()] == [0, 0]
        assert bench.swarm.why(package) == package.error


async def test_package_that_failed_five_times_is_blocked(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        await bench.queue("bad")
        for count in range(1, 6):
            assert await bench.built(outcome="failed") == "bad"
            assert bench.package("bad").failures == count
        assert bench.state("bad") == "blocked"
        assert await bench.given() is None


async def test_masked_package_is_blocked_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        await bench.queue("bad")
        await bench.built(outcome="masked", error="by keyword")
        assert (bench.state("bad"), bench.package("bad").error) == ("blocked", "masked: by keyword")


async def test_blocked_package_comes_back_after_half_an_hour_and_has_failed_for_good_in_the_end(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_blocked_returns=2) as bench:
        await bench.beat()
        await bench.queue("bad")
        for _ in range(2):
            await bench.built(outcome="masked")
            await bench.pass_time(29 * 60)
            assert bench.state("bad") == "blocked"
            await bench.pass_time(60)
            assert (bench.state("bad"), bench.package("bad").failures) == ("needed", 0)
            await bench.beat()
        await bench.built(outcome="masked")
        assert bench.state("bad") == "failed"
        await bench.pass_time(86_400)
        assert bench.state("bad") == "failed"
        assert bench.stored("SELECT state FROM build_swarm_package") == [("failed",)]


async def test_drone_is_grounded_after_eight_failures_in_a_row_and_the_packages_are_absolved(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_prefetch=2) as bench:
        grounded: list[Drone] = []
        bench.swarm.on_grounded.append(grounded.append)
        await bench.beat("broken")
        await bench.beat("good")
        await bench.queue(*(f"p{number}" for number in range(12)))
        for number in range(8):
            assert await bench.built("broken", "masked" if number == 3 else "failed") == f"p{number}"
        drone = bench.swarm.drone("broken")
        assert grounded == [drone]
        assert drone.assigned == []
        assert (await bench.work("broken")).reason.startswith("this drone is grounded")
        # It failed one after the other: the packages are not to blame, the one it called masked neither.
        assert {bench.package(f"p{number}").failures for number in range(8)} == {0}
        assert bench.state("p3") == "needed"
        assert [await bench.built("good") for _ in range(12)] == [f"p{number}" for number in range(12)]


async def test_grounding_ends_and_counting_begins_anew(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_drone_failures=2, queue_prefetch=1) as bench:
        await bench.beat()
        await bench.queue("one", "two", "three", "four")
        await bench.built(outcome="failed")
        await bench.built(outcome="failed")
        bench.advance(299)
        await bench.beat()
        assert await bench.given() is None
        bench.advance(1)
        assert await bench.built(outcome="failed") == "three"
        assert bench.swarm.drone("a").failures_in_row == 1


async def test_success_ends_the_row_of_failures(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        await bench.queue(*(f"p{number}" for number in range(20)))
        for _ in range(3):
            for _ in range(5):
                await bench.built(outcome="failed")
            await bench.built()
        drone = bench.swarm.drone("a")
        assert (drone.failures_in_row, drone.grounded_until_us) == (0, 0)
        assert (drone.builds_completed, drone.builds_failed) == (3, 15)


async def test_drone_whose_uploads_fail_is_given_a_pause_and_is_not_grounded(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_prefetch=1) as bench:
        await bench.beat()
        await bench.queue(*(f"p{number}" for number in range(9)))
        for _ in range(3):
            await bench.built(outcome="upload_failed")
        drone = bench.swarm.drone("a")
        assert (drone.failures_in_row, drone.upload_failures) == (0, 3)
        assert bench.package("p0").failures == 1
        assert bench.package("p0").failed_drones == ()
        assert (await bench.work()).reason == "the uploads of this drone fail"
        bench.advance(30 * 60)
        await bench.beat()
        assert await bench.built() == "p3"
        assert drone.upload_failures == 0


async def test_fleet_of_one_drone_ends_with_packages_that_can_never_be_built(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.queue("bad", "worse", "worst")
        for _ in range(200):
            await bench.beat()
            while await bench.built(outcome="failed") is not None:
                pass
            await bench.pass_time(301)
        assert {bench.state(name) for name in ("bad", "worse", "worst")} == {"failed"}
        assert bench.swarm.active_session() is None


async def test_two_drones_that_fail_everything_do_not_absolve_packages_for_ever(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_blocked_returns=0) as bench:
        names = [f"p{number}" for number in range(20)]
        await bench.queue(*names)
        for _ in range(60):
            for drone in ("a", "b"):
                await bench.beat(drone)
                while await bench.built(drone, "failed") is not None:
                    pass
            await bench.pass_time(301)
        assert {bench.state(name) for name in names} == {"failed"}


async def test_drone_that_failed_an_atom_in_an_earlier_session_gets_it_last(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_prefetch=1) as bench:
        await bench.beat("a")
        await bench.beat("b")
        await bench.queue("one")
        await bench.built("a", "failed")
        await bench.built("b")
        bench.restart()
        await bench.queue("one", "two")
        assert await bench.given("a") == "two"
        assert await bench.given("b") == "one"
        assert bench.package("one").failures == 0


@pytest.mark.parametrize("outcome", ["", "failed"])
async def test_package_that_never_was_blocked_is_not_when_its_drone_becomes_a_sweeper(
    tmp_path: Path, outcome: str
) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.queue("one")
        assert await bench.given("a") == "one"
        await bench.beat("a", kind=DroneKind.SWEEPER)
        if outcome:
            assert (await bench.report("a", "one", outcome)).accepted
        else:
            await bench.pass_time(61)
        assert bench.state("one") == "needed"


async def test_package_that_a_sweeper_holds_is_blocked_again_when_that_is_deleted(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.beat("s", kind=DroneKind.SWEEPER)
        await bench.queue("bad")
        await bench.built("a", "masked")
        assert await bench.given("s") == "bad"
        await bench.beat("s", kind=DroneKind.DRONE)
        await bench.swarm.delete_drone("s")
        assert bench.state("bad") == "blocked"


async def test_unknown_word_counts_as_failed_and_is_kept(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        await bench.queue("one")
        await bench.built(outcome="segfault")
        assert bench.package("one").failures == 1
        assert [build.outcome for build in await bench.swarm.builds(status="segfault")] == ["segfault"]
        assert await bench.swarm.builds(status="failed") == []


async def blocked(bench: Bench) -> None:
    await bench.beat()
    await bench.queue("bad", "good")
    await bench.built(outcome="masked")


async def test_unblock_lets_a_package_be_needed_as_if_it_had_never_failed(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await blocked(bench)
        assert (await bench.swarm.control("unblock", package="app-test/good-1")).counters == {"unblocked": 0}
        done = await bench.swarm.control("unblock", package="app-test/bad-1")
        assert (done.affected, done.counters) == (1, {"unblocked": 1})
        assert (bench.state("bad"), bench.package("bad").failures, bench.package("bad").error) == ("needed", 0, "")


async def test_package_that_was_blocked_by_hand_leaves_its_drone(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat()
        await bench.queue("one")
        await bench.work()
        await bench.swarm.control("block", package=atom("one"))
        assert (bench.state("one"), bench.package("one").error) == ("blocked", "blocked by an operator")
        registered = await bench.beat("a", atom("one"))
        assert registered.revoke == (atom("one"),)
        assert registered.stop_work is not None
        assert bench.swarm.drone("a").assigned == []
