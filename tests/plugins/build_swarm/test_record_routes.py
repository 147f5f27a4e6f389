"""What is kept, over the public surface, by whole requests."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio
import trio.lowlevel

from tests.plugins.build_swarm.kit import KEY, STRANGER, Swarm, atom, swarm

WITH_KEY = STRANGER | {"X-Admin-Key": KEY}
PATIENCE_SECONDS = 60.0
SECTION = "[plugins.build_swarm]\n"


async def entries(one: Swarm, query: str, count: int = 1) -> list[Any]:
    """Return entries of the protocol log once there are so many; they are written half a second later."""
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            found: list[Any] = (await one.read(f"/api/v1/protocol?{query}"))["entries"]
            if len(found) >= count:
                return found
            await trio.sleep(0.02)


async def test_what_is_asked_and_answered_is_listed_filtered_and_shown(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        package = atom()
        drone = await one.drone("drone-01")
        await one.queue(package)
        await drone.build(package)
        await one.send("GET", "/api/v1/drone-health", headers=STRANGER | {"X-Admin-Key": "wrong-key-of-nobody"})
        found = await entries(one, "drone=drone-01&type=complete")
        assert [(each["package"], each["status_code"], each["source_node"]) for each in found] == [
            (package, 200, "drone-01")
        ]
        assert "request_body" not in found[0]
        detail = await one.read(f"/api/v1/protocol/detail?id={found[0]['id']}")
        assert package in detail["request_body"]
        assert '"accepted":true' in detail["response_body"]
        kinds = {each["msg_type"] for each in await entries(one, "limit=2000", 4)}
        assert {"register", "queue", "work_request", "complete", "unknown"} <= kinds
        refused = [each for each in await entries(one, "type=unknown") if each["status_code"] == 401]
        assert len(refused) == 1
        whole = str(await one.read("/api/v1/protocol?limit=2000")) + str(detail)
        assert KEY not in whole
        assert "wrong-key" not in whole
        later = await one.read(f"/api/v1/protocol?since={found[0]['id']}")
        assert all(each["id"] > found[0]["id"] for each in later["entries"])
        assert later["history"] == later["entries"]  # as the public page calls it
        stats = await one.read("/api/v1/protocol/stats")
        assert stats["total"] == sum(each["count"] for each in stats["by_type"])
        assert set(stats["by_type"][0]) == {"msg_type", "count", "avg_latency", "max_latency"}
        density = await one.read("/api/v1/protocol/density?buckets=7")
        assert (len(density["density"]), sum(density["density"])) == (7, stats["total"])
        assert not any(each["msg_type"] is None for each in later["entries"])


async def test_entries_are_found_by_the_words_of_the_older_admin_page(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        package = atom()
        drone = await one.drone("drone-01")
        await one.queue(package)
        await drone.build(package)
        await drone.work()
        await entries(one, "type=work_request", 2)
        for word, kind in (("heartbeat", "register"), ("delegation", "work_request"), ("completion", "complete")):
            assert {each["msg_type"] for each in await entries(one, f"type={word}")} == {kind}
        given = await entries(one, "type=delegation")
        assert {each["package"] for each in given} == {package}
        assert await entries(one, "type=delegation&package=no-such", 0) == []


async def test_no_tag_of_a_stranger_reaches_a_page_that_trusts_texts(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        tag = "<img src=x onerror=alert(1)>"
        # Refused, and in the log all the same.
        await one.send("POST", f"/api/v1/nodes/{quote(tag, safe='')}/pause", {}, headers=STRANGER)
        drone = await one.drone("drone-01", version=tag, current_task=tag)
        report = {"id": drone.id, "package": tag, "status": "failed", "error_detail": tag}
        await one.send("POST", "/api/v1/complete", report)
        await entries(one, "limit=100", 3)
        for path in ("/api/v1/protocol?limit=100", "/api/v1/metrics", "/admin/api/drones/versions"):
            assert "<" not in (await one.send("GET", path)).text
        for entry in await entries(one, "limit=100"):
            assert "<" not in (await one.send("GET", f"/api/v1/protocol/detail?id={entry['id']}")).text
        text = "SELECT version, current_task, 1 AS '<b>' FROM nodes UNION ALL SELECT path, '', 1 FROM protocol_log"
        assert "<" not in (await one.send("GET", f"/api/v1/sql/query?q={quote(text)}")).text
        await one.post("/admin/api/drone-config/drone-01", {"notes": tag, "display_name": tag})
        await one.post("/admin/api/config", {"key": tag, "value": tag})
        for path in ("drone-configs", "config", "logs/control-plane", "drones/drone-01/log"):
            assert "<" not in (await one.send("GET", f"/admin/api/{path}")).text


async def test_log_can_be_switched_off(tmp_path: Path) -> None:
    async with swarm(tmp_path, SECTION + "records_protocol = false") as one:
        await one.drone()
        await trio.lowlevel.checkpoint()
        assert (await one.read("/api/v1/protocol/stats"))["total"] == 0
        state = next(s.state for s in one.appliance.state.plugins.parts["build_swarm"].surfaces)
        assert state.records.protocol not in state.records.services


async def test_figures_are_shown_of_the_queue_and_of_one_drone(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        drone = await one.drone("drone-01", metrics={"cpu_percent": 12.5})
        await one.queue(atom(), atom())
        state = next(s.state for s in one.appliance.state.plugins.parts["build_swarm"].surfaces)
        await state.records.metrics.note()
        found = await one.read("/api/v1/metrics")
        assert [(each["queue_needed"], each["node_id"], each["cpu_percent"]) for each in found["history"]] == [
            (2, None, 12.5)
        ]
        assert found["current_queue"]["needed"] == 2
        assert found["drones"]["drone-01"]["cpu_percent"] == 12.5
        for name in ("drone-01", drone.id):
            of_one = await one.read(f"/api/v1/metrics?node={name}&since=0")
            assert [each["node"] for each in of_one["history"]] == ["drone-01"]
        snapshot = await one.read("/api/v1/protocol/snapshot")
        assert (snapshot["status"]["needed"], snapshot["nodes"][0]["name"]) == (2, "drone-01")
        early = await one.read("/api/v1/protocol/snapshot?at=1000000000")
        assert (early["status"], early["nodes"]) == ({}, [])


async def test_sql_answers_rows_by_column_and_only_with_the_key(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        package = atom()
        await one.queue(package)
        query = quote("SELECT package, status AS s FROM queue")
        reply = await one.send("GET", f"/api/v1/sql/query?q={query}", headers=WITH_KEY)
        expected = {
            "columns": ["package", "s"],
            "rows": [{"package": package, "s": "needed"}],
            "count": 1,
            "truncated": False,
        }
        assert (reply.status, reply.json) == (200, expected)
        assert (await one.read("/api/v1/sql/tables"))["tables"]["queue"] == 1
        schema = {each["name"]: each["columns"] for each in (await one.read("/api/v1/sql/schema"))["schema"]}
        assert {"queue", "nodes", "sessions", "events", "build_history", "drone_health", "config"} <= set(schema)
        assert "package" in schema["queue"]
        for path in (f"query?q={query}", "tables", "schema"):
            assert await one.refused("GET", f"/api/v1/sql/{path}", status=401, headers=STRANGER)
        for text in ("DELETE FROM queue", "SELECT * FROM credentials_credential", "PRAGMA table_list"):
            assert await one.refused("GET", f"/api/v1/sql/query?q={quote(text)}", status=403)
        assert await one.refused("GET", f"/api/v1/sql/query?q={quote('SELECT nothing')}", status=400)
        assert await one.refused("GET", "/api/v1/sql/query", status=400)


async def test_sql_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    async with swarm(tmp_path, SECTION + "records_sql_seconds = 0.1") as one:
        many = ", ".join(f"drone_allowlist a{number}" for number in range(9))
        words = await one.refused("GET", f"/api/v1/sql/query?q={quote(f'SELECT count(*) FROM {many}')}", status=400)
        assert "stopped after 0.1 s" in words


@pytest.mark.parametrize(
    "path",
    [
        "protocol?since=abc",
        "protocol?limit=0",
        "protocol?limit=1e99",
        "protocol?min_latency=nan",
        "protocol/detail?id=-1",
        "protocol/density?start=5&end=5",
        "protocol/density?buckets=0",
        "protocol/snapshot?at=1e300",
        "protocol/stats?since=-1",
        "metrics?since=x",
        f"metrics?node={'x' * 300}",
    ],
)
async def test_nonsense_is_bad_input(tmp_path: Path, path: str) -> None:
    async with swarm(tmp_path) as one:
        await one.refused("GET", f"/api/v1/{path}", status=400)


async def test_entry_that_there_is_not_is_not_found(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        await one.refused("GET", "/api/v1/protocol/detail?id=1234567", status=404)
