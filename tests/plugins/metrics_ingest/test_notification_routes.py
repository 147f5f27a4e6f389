"""The notification endpoints, as the React and Swift clients call them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.credentials.kinds import Role
from appliance.testing import RunningAppliance, SteppingClock, running
from tests.plugins.metrics_ingest.kit import agent, gpu, iso

LIST = "/api/notifications/"
MARK = "/api/notifications/mark-read/"


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
async def appliance(tmp_path: Path, clock: SteppingClock) -> AsyncIterator[RunningAppliance]:
    async with running(tmp_path, now=clock) as made:
        yield made


async def listed(appliance: RunningAppliance, count: int | None = None) -> list[dict[str, Any]]:
    """Return the notifications, waiting until there are so many."""
    notices = appliance.state.notices
    if count is not None:
        with trio.fail_after(30):
            while len(await notices.newest()) < count:  # noqa: ASYNC110  the table knows no events
                await trio.sleep(0.01)
    reply = await appliance.get(LIST, headers=await appliance.bearer("eve", Role.VIEWER))
    assert reply.status == 200, reply.text
    assert reply.json["ok"] is True
    found: list[dict[str, Any]] = reply.json["notifications"]
    assert count is None or len(found) == count
    return found


async def mark(appliance: RunningAppliance, body: Any, **headers: str) -> tuple[int, Any]:
    """Post ``body`` (bytes as they are) without a content type, as the React client does."""
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    who = await appliance.bearer("eve", Role.VIEWER)
    reply = await appliance.request("POST", MARK, body=payload, headers=who | {"Content-Type": "text/plain", **headers})
    return reply.status, reply.json


async def raised(appliance: RunningAppliance, count: int) -> None:
    for number in range(count):
        await appliance.state.notices.raise_one(f"kind{number}", f"message {number}", title=f"Title {number}")


async def test_a_busy_sample_is_shown_with_its_server(appliance: RunningAppliance, clock: SteppingClock) -> None:
    box = await agent(appliance)
    await box.send(clock(), cpu_usage_percent=97.0, gpus=[], disks=[])
    (shown,) = await listed(appliance, 1)
    server = shown.pop("server")
    assert shown == {
        "id": 1,
        "level": "warning",
        "title": "High CPU usage",
        "message": "CPU at 97% on box",
        "code": "high_cpu",
        "is_read": False,
        "created_at": iso(clock()),
    }
    assert (server["slug"], server["name"], server["agent_info"]) == ("box", "box", {})
    assert server["snapshot_count"] is None
    assert server["latest_snapshot_at"] is None


async def test_a_first_sample_announces_its_devices_and_a_missing_gpu_is_critical(
    appliance: RunningAppliance, clock: SteppingClock
) -> None:
    box = await agent(appliance)
    calm = {"utilization_gpu_percent": 5.0}
    await box.send(clock(), gpus=[gpu(0, **calm), gpu(1, **calm)])
    assert {shown["message"] for shown in await listed(appliance, 2)} == {
        "2 GPU(s) present (was 0) on box",
        "1 disk(s) present (was 0) on box",
    }
    clock.advance(2)
    await box.send(clock(), gpus=[gpu(0, **calm)])
    newest, *_ = await listed(appliance, 3)
    assert (newest["code"], newest["level"]) == ("gpu_lost", "critical")


async def test_what_the_appliance_says_of_itself_has_no_server_and_always_a_title(appliance: RunningAppliance) -> None:
    await agent(appliance, "gpu-box")
    await appliance.state.notices.raise_one("gpu.fell_off", "GPU 1 is gone", level="critical", subject="gpu-box")
    (shown,) = await listed(appliance, 1)
    assert (shown["server"], shown["title"], shown["code"]) == (None, "GPU fell off", "gpu.fell_off")


async def test_a_deleted_server_leaves_its_notifications_without_one(
    appliance: RunningAppliance, clock: SteppingClock
) -> None:
    box = await agent(appliance)
    await box.send(clock(), cpu_usage_percent=97.0, gpus=[], disks=[])
    await listed(appliance, 1)
    assert (await appliance.control("DELETE", "/api/appliance/servers/box")).status == 200
    (shown,) = await listed(appliance)
    assert shown["server"] is None


async def test_the_newest_fifty_are_shown_newest_first_and_kept_by_nobody(appliance: RunningAppliance) -> None:
    await raised(appliance, 60)
    shown = await listed(appliance)
    assert [each["id"] for each in shown] == list(range(60, 10, -1))
    reply = await appliance.get(LIST, headers=await appliance.bearer())
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["content-type"] == "application/json"
    assert reply.json["unread_count"] == 50


async def test_ids_are_marked_as_read_for_everybody_without_a_content_type(appliance: RunningAppliance) -> None:
    await raised(appliance, 4)
    assert await mark(appliance, {"ids": [1, "3"]}) == (200, {"ok": True, "updated": 2})
    assert [each["id"] for each in await listed(appliance) if each["is_read"]] == [3, 1]
    assert await mark(appliance, {"ids": [1, 4]}) == (200, {"ok": True, "updated": 2}), "read before counts too"
    assert await mark(appliance, {"ids": []}) == (200, {"ok": True, "updated": 0})


@pytest.mark.parametrize(
    "ids",
    [
        "[9223372036854775807]",
        "[9223372036854775808, 18446744073709551616]",
        f"[{'9' * 5000}]",
        f'["{"9" * 5000}", "{"0" * 5000}1"]',
        "[-1, 0, -9223372036854775809]",
        "[true, false, null]",
        "[1.0, 1e0, 1.5, NaN, Infinity, 1e400]",
        '["", " 1", "1 ", "+1", "-1", "1.0", "0x1", "one", "\\u0661", "\\u00b9", "\\ud800"]',
        '[[1], {"id": 1}]',
    ],
)
async def test_what_is_no_id_is_passed_over(appliance: RunningAppliance, ids: str) -> None:
    await raised(appliance, 2)
    assert await mark(appliance, f'{{"ids": {ids}}}'.encode()) == (200, {"ok": True, "updated": 0})
    mixed = f'{{"ids": [{ids[1:-1]}, 2, "2"]}}'
    assert await mark(appliance, mixed.encode()) == (200, {"ok": True, "updated": 1})
    assert [each["is_read"] for each in await listed(appliance)] == [True, False]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"ids": 1}', "ids must be a list."),
        (b'{"ids": "1"}', "ids must be a list."),
        (b'{"ids": {"1": 1}}', "ids must be a list."),
        (b'{"ids": null}', "ids must be a list."),
        (b"{}", "ids must be a list."),
        (b"", "ids must be a list."),
        (b"[1]", "Payload must be a JSON object."),
        (b"5", "Payload must be a JSON object."),
        (b"{ids: [1]}", "Invalid JSON payload."),
        (b'\xef\xbb\xbf{"ids": [1]}', "Invalid JSON payload."),
        (b'{"ids": ["\xff"]}', "Invalid JSON payload."),
        (b'{"ids": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "Invalid JSON payload."),
    ],
)
async def test_a_body_without_a_list_of_ids_is_refused_with_the_documented_shape(
    appliance: RunningAppliance, body: bytes, error: str
) -> None:
    await raised(appliance, 1)
    status, said = await mark(appliance, body)
    assert (status, said["ok"], said["error"]) == (400, False, error)
    assert not (await listed(appliance))[0]["is_read"]


async def test_as_many_ids_as_fit_a_body_are_taken_and_more_are_too_large(appliance: RunningAppliance) -> None:
    await raised(appliance, 3)
    assert await mark(appliance, {"ids": list(range(10_000))}) == (200, {"ok": True, "updated": 3})
    status, said = await mark(appliance, {"ids": list(range(20_000))})
    assert (status, said["ok"]) == (413, False)


async def test_only_people_see_and_mark_notifications(appliance: RunningAppliance, clock: SteppingClock) -> None:
    box = await agent(appliance)
    strangers: tuple[tuple[dict[str, str], int], ...] = (
        ({}, 401),
        ({"X-Monitoring-Token": box.token}, 401),
        ({"Authorization": f"Bearer {box.token}"}, 403),
    )
    for who, status in strangers:
        for method, path in (("GET", LIST), ("POST", MARK)):
            reply = await appliance.request(method, path, body=None if method == "GET" else {"ids": [1]}, headers=who)
            assert (reply.status, reply.json["ok"]) == (status, False), (who, method)
    anonymous = await appliance.get(LIST)
    assert anonymous.json["auth_required"] is True
    assert anonymous.json["login_url"].endswith("/accounts/google/login/?next=%2Fapi%2Fnotifications%2F")


async def test_paths_answer_with_and_without_the_slash_and_refuse_other_methods(appliance: RunningAppliance) -> None:
    who = await appliance.bearer()
    await raised(appliance, 1)
    assert (await appliance.get(LIST.rstrip("/"), headers=who)).status == 200
    assert (await appliance.post(MARK.rstrip("/"), {"ids": [1]}, headers=who)).json == {"ok": True, "updated": 1}
    assert (await appliance.get(MARK, headers=who)).status == 405
    assert (await appliance.post(LIST, {}, headers=who)).status == 405


async def test_notices_of_the_plugin_are_shown_by_our_own_api_too(
    appliance: RunningAppliance, clock: SteppingClock
) -> None:
    box = await agent(appliance)
    await box.send(clock(), memory_percent=93.0, gpus=[], disks=[])
    await listed(appliance, 1)
    (item,) = (await appliance.control("GET", "/api/appliance/notices")).json["items"]
    assert (item["kind"], item["title"], item["source"]) == ("high_mem", "High memory usage", "metrics_ingest")
