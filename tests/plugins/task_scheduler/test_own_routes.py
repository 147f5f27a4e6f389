"""Our own API about tasks, in one process."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.credentials.kinds import Role
from appliance.testing import scripted_gpus
from tests.plugins.task_scheduler.kit import OWN, PATIENCE_SECONDS, Tasks, tasks

TASKS = "/api/appliance/tasks"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Tasks]:
    async with tasks(tmp_path, backend=scripted_gpus(2)) as made:
        yield made


async def ids(api: Tasks, query: str = "") -> list[str]:
    return [item["id"] for item in (await api.read(TASKS + query))["items"]]


async def test_task_has_everything_that_core_knows_of_jobs(api: Tasks) -> None:
    ana = await api.as_("ana")
    body: dict[str, Any] = {
        "command": "train",
        "environment": {"TOKEN": "secret", "A": "1"},
        "name": "night run",
        "label": "x",
        "milli_gpu": 500,
        "gpu_models": ["80g"],
        "gpu_vram_mib": 1024,
        "tag": "ml-training",
        "k": 1.5,
        "priority": 40,
        "preemptible": True,
        "timeout_seconds": 3600,
        "idle_gpu_seconds": 600.5,
        "attempts_max": 3,
        "retry_reasons": ["oom"],
        "tty": True,
        "network": "none",
        "stop_grace_seconds": 1,
    }
    task_id = await ana.made(**body)
    attempt = await api.engine.running(task_id)
    launch = attempt.launch
    assert (launch.command, launch.environment, launch.tty) == ("train", body["environment"], True)
    assert len(launch.gpu_ids) == 1
    await ana.until(task_id, "running")
    found = await ana.read(f"{TASKS}/{task_id}")
    same = {name: found[name] for name in body if name in found}
    assert same == {name: body[name] for name in same}
    assert set(body) - set(same) == {"environment", "retry_reasons", "stop_grace_seconds"}
    assert found["environment_names"] == ["A", "TOKEN"]
    assert "secret" not in json.dumps(found)
    assert (found["owner"], found["state"], found["gpu_ids"]) == ("ana", "running", list(launch.gpu_ids))
    (only,) = found["attempts"]
    assert (only["number"], only["engine"], only["ended_unix_s"]) == (1, "scripted", None)
    job = api.appliance.state.scheduler.get(task_id).job
    assert [reason.value for reason in job.retry.reasons] == ["oom"]


async def test_operator_sees_neither_command_nor_variables_of_others(api: Tasks) -> None:
    ana, op = await api.as_("ana"), await api.as_("op", Role.OPERATOR)
    task_id = await ana.made(command="echo secret", environment={"SECRET_NAME": "x"})
    found = await op.send("GET", f"{TASKS}/{task_id}")
    assert (found.json["command"], found.json["environment_names"]) == (None, None)
    assert "secret" not in found.text.lower()


@pytest.mark.parametrize("network", ["auto", "none", "bridge"])
async def test_network_of_a_task_that_names_none_is_configured(tmp_path: Path, network: str) -> None:
    async with tasks(tmp_path, config=f'[plugins.task_scheduler]\nnetwork = "{network}"\n') as api:
        wanted = "none" if network == "none" else "bridge"
        for task_id in (await api.submit(), await api.made()):
            assert (await api.engine.running(task_id)).launch.network == wanted
        assert (await api.engine.running(await api.made(network="none"))).launch.network == "none"


async def test_network_is_none_where_no_engine_has_another(api: Tasks) -> None:
    api.engine.features = frozenset()
    assert (await api.engine.running(await api.submit())).launch.network == "none"


async def test_array_is_submitted_at_once_and_told_apart_by_its_index(api: Tasks) -> None:
    reply = await api.send("POST", TASKS, OWN | {"array": {"count": 3, "running_max": 1}, "environment": {"A": "b"}})
    items = reply.json["items"]
    assert [item["array_index"] for item in items] == [0, 1, 2]
    assert {item["array_id"] for item in items} == {items[0]["id"]}
    for index, item in enumerate(items):
        attempt = await api.engine.running(item["id"])
        assert attempt.launch.environment == {
            "A": "b",
            "APPLIANCE_ARRAY_INDEX": str(index),
            "APPLIANCE_ARRAY_COUNT": "3",
        }
        attempt.end()


async def test_same_id_and_content_submit_once_and_another_content_conflicts(api: Tasks) -> None:
    body = OWN | {"task_id": "night-1"}
    for _ in range(2):
        reply = await api.send("POST", TASKS, body)
        assert (reply.status, reply.json["items"][0]["id"]) == (201, "night-1")
    assert (await api.send("POST", TASKS, body | {"command": "else"})).status == 409
    assert await ids(api) == ["night-1"]


async def test_task_that_is_wrong_is_400_by_field_and_unknown_fields_are_refused(api: Tasks) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"image": ""}, "image"),
        ({"image": "two words"}, "image"),
        ({"cpu_millicores": 0}, "cpu_millicores"),
        ({"cpu_millicores": "100"}, "cpu_millicores"),
        ({"memory_mib": 1.5}, "memory_mib"),
        ({"priority": 101}, "priority"),
        ({"k": 0}, "k"),
        ({"retry_reasons": ["whim"]}, "retry_reasons"),
        ({"environment": {"A B": "x"}}, "environment"),
        ({"environment": {"A": 5}}, "environment"),
        ({"volumes": ["../etc"]}, "volumes"),
        ({"dependencies": [{"task_id": "nobody"}]}, "dependencies"),
        ({"dependencies": [{"task_id": "a b"}]}, "dependencies"),
        ({"network": "host"}, "network"),
        ({"array": {"count": 0}}, "array"),
        ({"timeout_seconds": -1}, "timeout_seconds"),
        ({"task_id": "../x"}, "task_id"),
        ({"colour": "red"}, "colour"),
    ]
    for change, field in wrong:
        reply = await api.send("POST", TASKS, OWN | change)
        assert reply.status == 400, (change, reply.text)
        assert field in reply.json["field"], (change, reply.text)
    for change in ({"volumes": ["nothing"]}, {"privileges": ["SYS_ADMIN"]}):
        assert (await api.send("POST", TASKS, OWN | change)).status == 403
    assert await ids(api) == []


async def test_task_of_another_person_cannot_be_waited_for_and_is_as_one_that_is_not_there(api: Tasks) -> None:
    ana, bob, op = await api.as_("ana"), await api.as_("bob"), await api.as_("op", Role.OPERATOR)
    of_ana = await ana.made()
    for path, body in (
        (TASKS, OWN),
        (f"{TASKS}/schedules", {"name": "nightly", "cron": "0 3 * * *", "task": OWN}),
    ):
        said = []
        for task_id in (of_ana, "task-of-nobody"):
            waits = {"dependencies": [{"task_id": task_id}]}
            sent = body | {"task": OWN | waits} if "task" in body else body | waits
            reply = await bob.send("POST", path, sent)
            assert reply.status == 400, reply.text
            assert "dependencies" in reply.json["field"]
            said.append(reply.json["error"].replace(task_id, "ID"))
        assert said[0] == said[1]
    await op.made(dependencies=[{"task_id": of_ana}])
    await ana.made(dependencies=[{"task_id": of_ana}])


async def test_priority_above_the_usual_takes_an_operator(api: Tasks) -> None:
    ana = await api.as_("ana")
    reply = await ana.send("POST", TASKS, OWN | {"priority": 51})
    assert (reply.status, reply.json["field"]) == (403, "$.priority")
    await ana.made(priority=50)
    await (await api.as_("op", Role.OPERATOR)).made(priority=100)


async def test_list_is_paged_filtered_and_ones_own(api: Tasks) -> None:
    ana, bob = await api.as_("ana"), await api.as_("bob")
    api.engine.hold_starts()
    mine = [await ana.made(cpu_millicores=90_000_000) for _ in range(3)]
    other = await bob.made(cpu_millicores=90_000_000)
    assert await ids(ana) == mine[::-1]
    assert await ids(ana, "?owner=bob") == []
    assert await ids(api) == [other, *mine[::-1]]
    assert await ids(api, "?owner=ana") == mine[::-1]
    assert await ids(api, "?state=running&state=failed") == []
    first = await ana.read(f"{TASKS}?limit=2")
    assert [item["id"] for item in first["items"]] == [mine[2], mine[1]]
    second = await ana.read(f"{TASKS}?limit=2&before={first['next']}")
    assert ([item["id"] for item in second["items"]], second["next"]) == ([mine[0]], None)
    for query in ("?state=odd", "?limit=0", "?limit=1001", "?before=x", "?colour=red"):
        assert (await ana.send("GET", TASKS + query)).status == 400


async def test_pending_task_says_why_it_waits(api: Tasks) -> None:
    task_id = await api.made(cpu_millicores=90_000_000)
    found = await api.read(f"{TASKS}/{task_id}/why")
    assert (found["id"], found["state"], found["code"]) == (task_id, "pending", "impossible")
    assert found["sentence"]
    (reason,) = found["reasons"]
    assert (reason["code"], bool(reason["hostname"]), bool(reason["message"])) == ("cores", True, True)
    after = await api.made(dependencies=[{"task_id": task_id, "kind": "afterany"}])
    assert (await api.read(f"{TASKS}/{after}/why"))["code"] == "dependency"
    running, _ = await api.running()
    assert (await api.read(f"{TASKS}/{running}/why"))["code"] == "running"


async def test_cancel_retry_and_forget(api: Tasks) -> None:
    first = await api.made()
    await api.engine.running(first)
    assert (await api.send("DELETE", f"{TASKS}/{first}")).status == 409
    assert (await api.send("POST", f"{TASKS}/{first}/retry")).status == 409
    stopped = await api.send("POST", f"{TASKS}/{first}/cancel")
    assert (stopped.status, stopped.json["state"] in ("stopping", "cancelled")) == (200, True)
    await api.until(first, "cancelled")
    assert (await api.send("POST", f"{TASKS}/{first}/cancel")).status == 409
    again = await api.send("POST", f"{TASKS}/{first}/retry")
    assert (again.status, again.json["retry_of"]) == (201, first)
    with trio.fail_after(PATIENCE_SECONDS):  # what is left of its attempt is removed first
        while (gone := await api.send("DELETE", f"{TASKS}/{first}")).status == 409:  # noqa: ASYNC110
            await trio.sleep(0.01)
    assert gone.status == 204
    assert (await api.send("GET", f"{TASKS}/{first}")).status == 404


async def test_anothers_task_is_404_for_everything(api: Tasks) -> None:
    ana, bob = await api.as_("ana"), await api.as_("bob")
    task_id = await ana.made(hold=True)
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/why"),
        ("POST", "/release"),
        ("POST", "/cancel"),
        ("POST", "/retry"),
        ("GET", "/log"),
        ("GET", "/log/tail"),
        ("GET", "/log/stream"),
        ("GET", "/files"),
        ("GET", "/files/a"),
        ("DELETE", "/files"),
        ("GET", "/inputs"),
        ("PUT", "/inputs/a"),
    ):
        assert (await bob.send(method, f"{TASKS}/{task_id}{path}")).status == 404, path
        assert (await bob.send(method, f"{TASKS}/nobody{path}")).status == 404, path


# ---------------------------------------------------------------- inputs and files


async def test_inputs_are_given_to_a_held_task_and_reach_its_attempt(api: Tasks) -> None:
    task_id = await api.made(hold=True)
    assert (await api.read(f"{TASKS}/{task_id}/why"))["code"] == "held"
    body = b"\x00\xff" * 1_500_000
    put = await api.send("PUT", f"{TASKS}/{task_id}/inputs/data/set%20one.bin", body)
    assert (put.status, put.json["path"], put.json["size_bytes"]) == (201, "data/set one.bin", len(body))
    again = await api.send("PUT", f"{TASKS}/{task_id}/inputs/data/set%20one.bin", b"x")
    assert again.status == 409
    for path in ("../x", "%2e%2e/x", "a//b", ""):
        assert (await api.send("PUT", f"{TASKS}/{task_id}/inputs/{path}", b"x")).status in (400, 404, 405)
    assert [item["path"] for item in (await api.read(f"{TASKS}/{task_id}/inputs"))["items"]] == ["data/set one.bin"]
    released = await api.send("POST", f"{TASKS}/{task_id}/release")
    assert (released.status, released.json["is_held"]) == (200, False)
    attempt = await api.engine.running(task_id)
    assert attempt.launch.inputs is not None
    assert (attempt.launch.inputs / "data/set one.bin").read_bytes() == body
    late = await api.send("PUT", f"{TASKS}/{task_id}/inputs/late", b"x")
    assert late.status == 409


async def test_inputs_beyond_what_is_allowed_are_413_and_not_kept(tmp_path: Path) -> None:
    async with tasks(tmp_path, config="[scheduler]\ninput_bytes_max = 100000\n") as api:
        task_id = await api.made(hold=True)
        assert (await api.send("PUT", f"{TASKS}/{task_id}/inputs/big", b"x" * 100_001)).status == 413
        assert (await api.read(f"{TASKS}/{task_id}/inputs"))["items"] == []


async def test_outputs_are_listed_with_what_was_not_kept_downloaded_and_deleted(api: Tasks) -> None:
    ana, op = await api.as_("ana"), await api.as_("op", Role.OPERATOR)
    task_id = await ana.made()
    attempt = await api.engine.running(task_id)
    attempt.files = {"a/out.json": b'{"loss": 0.5}'}
    attempt.odd_files = {"link": "a link"}
    attempt.end()
    await api.until(task_id, "completed")
    found = await ana.read(f"{TASKS}/{task_id}/files")
    (only,) = found["items"]
    assert (only["path"], only["size_bytes"], only["content_type"]) == ("a/out.json", 13, "application/json")
    assert found["skipped"] == [{"path": "link", "reason": "a link"}]
    got = await ana.send("GET", f"{TASKS}/{task_id}/files/a/out.json")
    assert (got.body, got.headers["content-disposition"][:10]) == (b'{"loss": 0.5}', "attachment")
    assert (await op.send("GET", f"{TASKS}/{task_id}/files")).status == 403
    assert (await ana.send("DELETE", f"{TASKS}/{task_id}/files")).status == 204
    assert (await ana.read(f"{TASKS}/{task_id}/files"))["items"] == []


# ---------------------------------------------------------------- logs


async def test_log_is_returned_byte_for_byte_from_an_offset_on(api: Tasks) -> None:
    written = bytes(range(256)) * 2000 + b"no end"
    task_id = await api.ended(log=written)
    reply = await api.send("GET", f"{TASKS}/{task_id}/log")
    assert (reply.body, reply.headers["content-type"]) == (written, "text/plain; charset=utf-8")
    assert (await api.send("GET", f"{TASKS}/{task_id}/log?offset=500000")).body == written[500_000:]
    assert (await api.send("GET", f"{TASKS}/{task_id}/log?offset=-1")).status == 400


async def test_tail_gives_parts_and_waits_for_more_until_the_task_has_ended(api: Tasks) -> None:
    task_id, attempt = await api.running()
    path = f"{TASKS}/{task_id}/log/tail"
    assert (await api.read(path))["is_over"] is False
    found: list[Any] = []

    async def follow() -> None:
        offset = 0
        while True:
            tail = await api.read(f"{path}?offset={offset}&wait_seconds=20")
            found.extend((part["stream"], part["text"]) for part in tail["parts"])
            offset = tail["next_offset"]
            if tail["is_over"]:
                assert (tail["state"], tail["exit_code"]) == ("failed", 3)
                return

    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            attempt.write(b"one\n")
            while not found:  # noqa: ASYNC110
                await trio.sleep(0.01)
            attempt.write(b"two\n", "stderr")
            attempt.end(exit_code=3)
    assert found == [("stdout", "one\n"), ("stderr", "two\n")]


async def test_stream_sends_the_log_as_events_and_how_it_ended(api: Tasks) -> None:
    task_id = await api.ended(log=b"one\ntwo\n")
    path = f"{TASKS}/{task_id}/log/stream"
    text = (await api.send("GET", path)).text
    assert '{"stream":"stdout","text":"one\\ntwo\\n"}' in text
    assert "id: 8\nevent: end\ndata: " in text
    resumed = (await api.send("GET", path, headers={"Last-Event-ID": "4"})).text
    assert '"text":"two\\n"' in resumed
    assert "one" not in resumed


# ---------------------------------------------------------------- schedules and runtimes


async def test_schedule_is_made_listed_switched_and_removed(api: Tasks) -> None:
    ana, bob = await api.as_("ana"), await api.as_("bob")
    body = {"cron": "@hourly", "name": "report", "task": OWN}
    made = await ana.send("POST", f"{TASKS}/schedules", body)
    assert (made.status, made.json["is_enabled"], made.json["owner"]) == (201, True, "ana")
    assert made.json["next_unix_s"] % 3600 == 0
    path = f"{TASKS}/schedules/{made.json['id']}"
    assert [item["id"] for item in (await ana.read(f"{TASKS}/schedules"))["items"]] == [made.json["id"]]
    assert (await bob.read(f"{TASKS}/schedules"))["items"] == []
    for method, more in (("GET", ""), ("DELETE", ""), ("POST", "/enable"), ("POST", "/disable")):
        assert (await bob.send(method, path + more)).status == 404
    assert (await ana.send("POST", f"{path}/disable")).json["is_enabled"] is False
    assert (await ana.send("POST", f"{path}/enable")).json["is_enabled"] is True
    assert (await ana.send("DELETE", path)).status == 204
    assert (await ana.send("GET", path)).status == 404
    wrong: list[dict[str, Any]] = [{"cron": "every day"}, {"time_zone": "Mars/Base"}, {"task": {}}]
    for change in wrong:
        assert (await ana.send("POST", f"{TASKS}/schedules", body | change)).status == 400


async def test_learned_runtimes_are_listed(api: Tasks) -> None:
    assert (await api.read(f"{TASKS}/runtimes"))["items"] == []
    await api.ended(tag="batch-job")
    (row,) = (await api.read(f"{TASKS}/runtimes"))["items"]
    assert (row["tag"], row["image"], row["observations"]) == ("batch-job", "nginx:latest", 1)
