"""Estimates come from what is nearest; packages that were given back are in no rate."""

import pytest

from plugins.build_swarm.estimates import History
from plugins.build_swarm.states import Build, Package, PackageState


def build(atom: str = "=dev-libs/a-1", outcome: str = "success", seconds: float = 100.0, drone: str = "d") -> Build:
    return Build(
        build_id=0,
        atom=atom,
        package_id=1,
        session_id="s",
        drone_id=drone,
        drone_name=drone.upper(),
        outcome=outcome,
        duration_s=seconds,
        error="",
        built_unix_us=0,
    )


def test_estimate_is_the_mean_of_the_atom_else_of_its_category_else_of_all() -> None:
    history = History()
    assert history.estimate_s("=dev-libs/a-1") is None
    for name, seconds in (("dev-libs/a", 100), ("dev-libs/a", 200), ("dev-libs/b", 600), ("x11/c", 4)):
        history.add(build(f"={name}-1", seconds=seconds))
    history.add(build(outcome="failed", seconds=9999))
    assert history.estimate_s("=dev-libs/a-1") == 150
    assert history.estimate_s("=dev-libs/new-1") == 300
    assert history.estimate_s("=net-misc/new-1") == 226


def test_what_was_given_back_is_neither_a_success_nor_a_failure() -> None:
    history = History()
    for outcome in ("success", "success", "success", "failed", "returned", "masked", "whatever"):
        history.add(build(outcome=outcome))
    timing = history.timing(None)
    assert (timing.total_builds, timing.successful, timing.failed, timing.returned) == (6, 3, 3, 1)
    assert timing.success_rate == 50
    assert timing.avg_duration_s == 100
    assert timing == history.timing("s")
    assert history.timing("another").total_builds == 0
    assert history.timing("another").success_rate == 0


def test_statistics_tell_each_drone_by_name() -> None:
    history = History()
    for each in (build(drone="b"), build(drone="a", outcome="failed"), build(drone="a")):
        history.add(each)
    found = [(each.drone_name, each.timing.total_builds, each.timing.failed) for each in history.statistics.per_drone]
    assert found == [("A", 2, 1), ("B", 1, 0)]


def test_drone_that_succeeds_has_not_failed_it_any_more() -> None:
    history = History()
    history.add(build(outcome="failed"))
    assert history.failed_on == {"=dev-libs/a-1": {"d"}}
    history.add(build(outcome="returned"))
    assert history.failed_on == {"=dev-libs/a-1": {"d"}}
    history.add(build())
    assert history.failed_on["=dev-libs/a-1"] == set()


def package(**values: object) -> Package:
    return Package(package_id=1, atom="=dev-libs/a-1", key="dev-libs/a", session_id="s", **values)  # type: ignore[arg-type]


def test_progress_is_at_most_99_percent_and_unknown_before_the_start() -> None:
    history = History()
    history.add(build(seconds=100))
    building = package(building_since_us=10_000_000, building_since_unix_us=5)
    assert history.progress(building, 60_000_000).percent == 50
    assert history.progress(building, 10_000_000_000).percent == 99
    assert history.progress(building, 0).elapsed_s == 0
    assert history.progress(building, 60_000_000).elapsed_s == pytest.approx(50)
    waiting = history.progress(package(), 60_000_000)
    assert (waiting.percent, waiting.elapsed_s, waiting.estimated_s) == (None, 0, 100)
    assert History().progress(building, 60_000_000).percent is None


def test_rest_of_a_session_is_shared_by_drones_and_as_long_as_its_longest_package() -> None:
    history = History()
    history.add(build(seconds=100))
    packages = [package() for _ in range(10)]
    assert history.left_s(packages, 5, 0) == 200
    assert history.left_s(packages, 1000, 0) == 100
    assert history.left_s(packages, 0, 0) is None
    assert History().left_s(packages, 5, 0) is None
    assert history.left_s([package(state=PackageState.RECEIVED)], 5, 0) == 0
    assert history.left_s([package(building_since_us=0)], 5, 30_000_000) == 70
