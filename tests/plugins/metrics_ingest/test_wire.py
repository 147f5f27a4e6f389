"""What is shown: every key that strict clients decode, and failures in this API's shape."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from appliance.devices import DiskSample, FanSample, GpuSample, HostSample
from appliance.errors import BadInput, Forbidden, NotAuthenticated, TooManyRequests
from appliance.series.flatten import read
from appliance.series.rates import rates_of
from appliance.series.service import Reading
from appliance.surface import Head
from plugins.metrics_ingest import wire
from plugins.metrics_ingest.models import Server

AT = 1_795_000_000_250_000


def reading(**fields: Any) -> Reading:
    sample, row = read(HostSample(host_id="s", taken_at_unix_us=AT, **fields))
    return Reading(host_id="s", at_unix_us=AT, rates=rates_of(None, row), interval_seconds=None, given=sample, row=row)


def head(path: str, query: bytes = b"") -> Head:
    connection = {wire.PUBLIC_URL: "https://gpu.example.net"}
    return Head(
        method="GET",
        path=path,
        raw_query=query,
        headers=(),
        peer=None,
        local="",
        listener="",
        scheme="https",
        connection=connection,
    )


SERVER = Server(server_id=7, slug="box", name="Box", series_id="s")


def shown(found: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(found))


@pytest.mark.parametrize("unix_us", [0, AT, 1_795_000_000_000_000, 253_402_300_799_999_999, 1])
def test_times_are_written_as_python_does(unix_us: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=unix_us)
    assert wire.iso(unix_us) == moment.isoformat()


def test_snapshot_of_a_host_that_reports_nothing_has_every_key_and_zeros_where_clients_need_numbers() -> None:
    found = shown(wire.snapshot(SERVER, reading(), now_unix_us=AT + 1_500_000))
    assert found["age_seconds"] == 1.5
    assert found["interval_seconds"] is None
    assert found["cpu"]["usage_percent"] == 0.0
    assert found["cpu"]["iowait_percent"] is None
    assert type(found["cpu"]["count_logical"]) is int
    assert found["memory"] == {
        "percent": 0.0,
        "total_bytes": 0,
        "used_bytes": 0,
        "available_bytes": 0,
        "swap_percent": 0.0,
        "swap_total_bytes": 0,
        "swap_used_bytes": 0,
    }
    assert found["disk"] == {
        "read_bps": 0.0,
        "write_bps": 0.0,
        "read_iops": 0.0,
        "write_iops": 0.0,
        "util_percent": 0.0,
        "avg_util_percent": 0.0,
        "devices": [],
    }
    assert (found["gpu"]["present"], found["gpu"]["count"], found["gpu"]["top_util_percent"]) == (False, 0, None)
    assert found["fans"] == {"count": 0, "max_rpm": None, "avg_rpm": None, "devices": []}
    assert found["bottleneck"]["label"] == "idle"
    assert found["server"]["snapshot_count"] is None


def test_age_is_never_negative() -> None:
    assert wire.snapshot(SERVER, reading(), now_unix_us=AT - 5)["age_seconds"] == 0.0


def test_devices_are_sorted_and_a_gpu_known_by_its_index_has_no_uuid() -> None:
    gpus = [
        GpuSample(gpu_id="GPU-b", gpu_index=1, model="A", taken_at_unix_us=AT, utilization_percent=10.0),
        GpuSample(gpu_id="index:0", gpu_index=0, model="B", taken_at_unix_us=AT, vram_used_percent=50.0),
    ]
    found = shown(
        wire.snapshot(
            SERVER,
            reading(
                gpus=tuple(gpus),
                disks=(DiskSample(device="sdb"), DiskSample(device="sda")),
                fans=(FanSample(label="b", speed_rpm=900.0), FanSample(label="a", speed_rpm=None)),
            ),
            now_unix_us=AT,
        )
    )
    assert [(gpu["gpu_index"], gpu["uuid"]) for gpu in found["gpu"]["devices"]] == [(0, ""), (1, "GPU-b")]
    assert (found["gpu"]["top_util_percent"], found["gpu"]["avg_memory_percent"]) == (10.0, 50.0)
    assert [disk["device"] for disk in found["disk"]["devices"]] == ["sda", "sdb"]
    assert [fan["label"] for fan in found["fans"]["devices"]] == ["a", "b"]
    assert (found["fans"]["count"], found["fans"]["max_rpm"], found["fans"]["avg_rpm"]) == (2, 900.0, 900.0)


def test_server_row_follows_every_change() -> None:
    server = Server(server_id=1, slug="a", name="A", series_id="x", agent_info={"version": "1"})
    first = shown(wire.server_row(server))
    assert list(first) == [
        "id",
        "slug",
        "name",
        "hostname",
        "description",
        "is_active",
        "last_seen_at",
        "snapshot_count",
        "latest_snapshot_at",
        "last_agent_version",
        "agent_user",
        "agent_info",
    ]
    server.name, server.last_seen_unix_us, server.snapshot_count = "B", AT, 3
    server.revision += 1
    second = shown(wire.server_row(server))
    assert (second["name"], second["snapshot_count"], second["last_seen_at"]) == ("B", 3, wire.iso(AT))
    assert shown(wire.server_row(server, counted=False))["snapshot_count"] is None


def test_failures_say_ok_false_and_what_else_a_client_needs() -> None:
    answer = wire.render_error(wire.Described(404, "No servers.", servers=[]), head("/api/metrics/latest/"))
    assert (answer.status, answer.model) == (404, {"ok": False, "error": "No servers.", "servers": []})
    answer = wire.render_error(BadInput("Bad.", field="$.x", hint="mend it"), head("/api/servers/"))
    assert answer.model == {"ok": False, "error": "Bad.", "hint": "mend it", "field": "$.x"}
    answer = wire.render_error(Forbidden("no"), head("/api/servers/"))
    assert (answer.status, answer.model["error"]) == (403, "no")
    answer = wire.render_error(TooManyRequests("x", retry_after_seconds=3), head("/api/agent/enroll/"))
    assert answer.model["error"] == "Too many requests. Please try again later."


def test_people_are_told_where_to_log_in_and_programs_are_not() -> None:
    answer = wire.render_error(NotAuthenticated("x"), head("/api/metrics/latest/", b"server=a&minutes=5"))
    assert answer.model["error"] == "Authentication required."
    assert answer.model["auth_required"] is True
    assert answer.model["login_url"] == (
        "https://gpu.example.net/accounts/google/login/?next=%2Fapi%2Fmetrics%2Flatest%2F%3Fserver%3Da%26minutes%3D5"
    )
    agent = wire.render_error(NotAuthenticated("Invalid ingest token."), head("/api/ingest/servers/a/metrics/"))
    assert agent.model == {"ok": False, "error": "Invalid ingest token."}


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"server=a&server=b", {"server": "b"}),
        (b"server=", {"server": ""}),
        (b"server=%ff", {"server": "\N{REPLACEMENT CHARACTER}"}),
        (b"&".join(b"x=1" for _ in range(65)), {}),
    ],
)
def test_query_is_read_as_the_clients_server_does(raw: bytes, found: dict[str, str]) -> None:
    assert wire.query(head("/", raw)) == found


def test_parts_of_a_gpu_are_not_shown_beside_it_since_clients_know_gpus_by_their_index() -> None:
    whole = GpuSample(gpu_id="GPU-a", gpu_index=0, model="A", taken_at_unix_us=AT, vram_used_percent=50.0)
    part = GpuSample(gpu_id="MIG-b", gpu_index=0, model="A 1g", taken_at_unix_us=AT, vram_used_percent=90.0)
    found = shown(wire.snapshot(SERVER, reading(gpus=(whole, part)), now_unix_us=AT))
    assert [gpu["uuid"] for gpu in found["gpu"]["devices"]] == ["GPU-a"]
    assert (found["gpu"]["count"], found["gpu"]["top_memory_percent"]) == (1, 50.0)
