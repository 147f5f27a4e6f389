"""What engines say about containers, and what it means for an attempt."""

from typing import Any

import pytest

from appliance.engines import EngineLost, Found, Usage
from appliance.jobs import EndReason
from plugins.engine_docker.containers import (
    Config,
    Container,
    Listed,
    State,
    Stats,
    Version,
    decode,
    exit_of,
    fence_of,
    found_of,
    name_of,
    unix_us,
    usage_of,
)

MEMORY = {"appliance.memory_mib": "64"}


def ended(*, labels: dict[str, str] | None = None, **state: Any) -> Container:
    return Container(id="c", state=State(**({"status": "exited"} | state)), config=Config(labels=labels))


@pytest.mark.parametrize(
    ("container", "is_podman", "was_stopped", "reason", "code"),
    [
        (ended(exit_code=0), False, False, EndReason.EXIT, 0),
        (ended(exit_code=3), False, False, EndReason.EXIT, 3),
        (ended(exit_code=137, oom_killed=True), False, False, EndReason.OOM, 137),
        (ended(exit_code=5, oom_killed=True), False, False, EndReason.OOM, 5),
        (ended(exit_code=0, oom_killed=True), False, False, EndReason.EXIT, 0),
        (ended(exit_code=137, labels=MEMORY), True, False, EndReason.OOM, 137),
        (ended(exit_code=137, labels=MEMORY), True, True, EndReason.EXIT, 137),
        (ended(exit_code=137, labels=MEMORY), False, False, EndReason.EXIT, 137),
        (ended(exit_code=137), True, False, EndReason.EXIT, 137),
        (ended(exit_code=1, error="write x: no space left on device"), False, False, EndReason.DISK_FULL, 1),
        (ended(exit_code=-1), True, False, EndReason.ENGINE_LOST, None),
        (ended(exit_code=2**70), True, False, EndReason.ENGINE_LOST, None),
        (ended(status="created"), False, False, EndReason.ENGINE_LOST, None),
        (ended(status="dead", exit_code=1, error="device busy"), False, False, EndReason.ENGINE_LOST, 1),
    ],
)
def test_end_of_a_container_is_judged(
    container: Container, is_podman: bool, was_stopped: bool, reason: EndReason, code: int | None
) -> None:
    verdict = exit_of(container, is_podman=is_podman, was_stopped=was_stopped)
    assert (verdict.reason, verdict.exit_code) == (reason, code)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-02T00:00:00Z", 86_400 * 10**6),
        ("2026-11-21T14:07:34.376846543Z", 1_795_270_054_376_846),
        ("2026-11-21T15:07:34.5+01:00", 1_795_270_054_500_000),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        ("2026-99-21T14:07:34Z", None),
    ],
)
def test_time_of_an_engine_is_read_to_the_microsecond(text: str, expected: int | None) -> None:
    assert unix_us(text) == expected


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'{"Id":5}', b"{" * 50_000, b"\xff", b'{"Id":"a","State":[],"Config":{}}']
)
def test_answer_that_is_no_container_counts_as_no_engine(body: bytes) -> None:
    with pytest.raises(EngineLost):
        decode(body, Container)


def test_podman_says_null_for_no_labels() -> None:
    made = decode(b'{"Id":"a","State":{"Status":"exited"},"Config":{"Labels":null},"Extra":[1]}', Container)
    assert made.labels == {}


def test_podman_is_known_by_its_component() -> None:
    assert decode(b'{"Components":[{"Name":"Podman Engine"}]}', Version).is_podman
    assert not decode(b'{"Components":[{"Name":"Engine"},{"Name":"containerd"}]}', Version).is_podman
    assert not decode(b'{"Components":null}', Version).is_podman


def test_attempt_has_one_name_for_ever_and_no_other_appliance_has_it() -> None:
    assert name_of("0123456789", "task-17.1") == "appliance-01234567-task-17.1"
    strange = {name_of("a", "é/1"), name_of("a", "x" * 500), name_of("b", "é/1")}
    assert len(strange) == 3
    assert all(len(one) < 80 and one.isascii() and "/" not in one for one in strange)


def test_attempts_are_found_by_their_labels_and_a_fence_left_behind_too() -> None:
    def listed(state: str, **labels: str) -> Listed:
        return Listed(id="x", state=state, labels={f"appliance.{name}": value for name, value in labels.items()})

    rows = [
        listed("running", attempt="j.1", job="j", token="1", fence="1"),
        listed("running", attempt="j.1", job="j", token="1"),
        listed("exited", attempt="k.1", job="k", token="2"),
        listed("running", attempt="l.1", job="l", token="3", fence="1"),
        listed("running", attempt="m.1", job="m", token="-4"),
        listed("running", attempt="m.2", job="m", token="9" * 40),
        Listed(id="y", labels=None),
    ]
    assert sorted(found_of(rows), key=lambda one: one.attempt_id) == [
        Found(attempt_id="j.1", job_id="j", fencing_token=1, is_running=True),
        Found(attempt_id="k.1", job_id="k", fencing_token=2, is_running=False),
        Found(attempt_id="l.1", job_id="l", fencing_token=3, is_running=False),
    ]
    assert fence_of("a") != "a"


def test_usage_leaves_cached_files_out_with_both_cgroup_versions() -> None:
    cpu = b'"cpu_stats":{"cpu_usage":{"total_usage":1500000000}}'
    head = b'{"read":"2026-11-21T14:09:28Z",' + cpu + b',"pids_stats":{"current":3},'
    one = decode(head + b'"memory_stats":{"usage":1000,"stats":{"total_inactive_file":300}}}', Stats)
    two = decode(head + b'"memory_stats":{"usage":1000,"stats":{"inactive_file":400}}}', Stats)
    podman = decode(head + b'"memory_stats":{"usage":1000}}', Stats)
    assert usage_of(one) == Usage(cpu_seconds=1.5, memory_bytes=700, pids=3)
    assert usage_of(two) == Usage(cpu_seconds=1.5, memory_bytes=600, pids=3)
    assert usage_of(podman) == Usage(cpu_seconds=1.5, memory_bytes=1000, pids=3)


def test_usage_of_a_container_that_does_not_run_is_none() -> None:
    assert usage_of(decode(b'{"read":"0001-01-01T00:00:00Z","memory_stats":{}}', Stats)) is None


def test_absurd_figures_are_not_told() -> None:
    body = (
        b'{"read":"2026-11-21T14:09:28Z","cpu_stats":{"cpu_usage":{"total_usage":-1}},"memory_stats":{"usage":'
        + b"9" * 19
    )
    assert usage_of(decode(body + b"}}", Stats)) == Usage()
