"""What clients are shown of sessions, builds and events."""

from attrs import evolve

from plugins.build_swarm.states import Build, BuildStatistics, DroneTiming, SwarmEvent, Timing
from plugins.build_swarm.wire import moments, records

EVENT = SwarmEvent(
    event_id=7,
    unix_us=1_707_745_234_500_000,
    type="complete",
    message="drone-01 completed dev-libs/openssl-3.2.0",
    details={"drone_id": "abc123", "package": "=dev-libs/openssl-3.2.0", "duration_s": 323},
    drone="drone-01",
)
TIMING = Timing(total_builds=3, successful=2, failed=1, returned=4, total_duration_s=301.0)


def test_details_of_an_event_have_the_names_of_both() -> None:
    shown = records.event(EVENT)
    assert (shown["id"], shown["timestamp"], shown["type"]) == (7, 1707745234.5, "complete")
    assert shown["details"] == {
        "drone_id": "abc123",
        "package": "=dev-libs/openssl-3.2.0",
        "duration_s": 323,
        "duration": 323,
        "drone": "drone-01",
    }


def test_details_that_an_event_has_are_never_overwritten() -> None:
    shown = records.event(evolve(EVENT, details={"drone": "other", "duration": 5}))
    assert shown["details"] == {"drone": "other", "duration": 5, "duration_s": 5}
    assert records.event(evolve(EVENT, details={}, drone=""))["details"] == {}


def test_figures_are_rounded_and_what_was_given_back_is_no_build() -> None:
    assert records.timing(TIMING) == {
        "total_builds": 3,
        "successful": 2,
        "failed": 1,
        "success_rate": 66.7,
        "avg_duration_s": 150.5,
        "total_duration_s": 301.0,
    }
    assert records.timing(Timing())["success_rate"] == 0


def test_statistics_have_every_drone() -> None:
    one = DroneTiming(drone_id="abc", drone_name="drone-01", timing=TIMING)
    (shown,) = records.statistics(BuildStatistics(timing=TIMING, per_drone=(one,)))["per_drone"]
    assert (shown["drone_name"], shown["total_builds"], shown["total"], shown["success"]) == ("drone-01", 3, 3, 2)


def test_build_without_an_error_has_none() -> None:
    build = Build(
        build_id=1,
        atom="=a/b-1",
        package_id=1,
        session_id="s",
        drone_id="abc",
        drone_name="drone-01",
        outcome="success",
        duration_s=1.23456,
        error="",
        built_unix_us=1_707_745_234_500_000,
    )
    shown = records.build(build)
    assert (shown["error_message"], shown["duration_seconds"], shown["built_at"]) == (None, 1.235, 1707745234.5)


def test_moments_that_have_not_come_are_null() -> None:
    assert moments.seconds(None) is moments.whole_seconds(None) is None
    assert (moments.seconds(1_500_000), moments.whole_seconds(1_999_999)) == (1.5, 1)
