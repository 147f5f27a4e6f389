"""What a drone does with each answer of a server, and with none; through kills, stops and outages."""

import os
from collections import deque
from pathlib import Path

import pytest
import trio

from plugins.build_swarm.drone import leftovers
from plugins.build_swarm.drone.models import Orders, Refused, StopWork, Unreachable, Verdict
from plugins.build_swarm.drone.output import LogFile
from tests.plugins.build_swarm.drone.kit import (
    ATOM,
    LOG_ID,
    PATIENCE_SECONDS,
    ScriptedServer,
    left_running,
    made,
    owed,
    script,
    until,
    working,
)

FOREVER = script("import time, pathlib, sys; print('begun', flush=True); time.sleep(600)")
MAKES_BINARY = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1]) / "app-swarm" / "one"
folder.mkdir(parents=True, exist_ok=True)
(folder / "one-1.0-1.gpkg.tar").write_bytes(b"binary of " + sys.argv[2].encode())
print("made")
"""


def makes_binary(folder: Path) -> tuple[str, ...]:
    return script(MAKES_BINARY, str(folder / "pkgs"), "{atom}")


async def test_package_is_built_uploaded_logged_and_reported_once(tmp_path: Path) -> None:
    server = ScriptedServer(packages=[ATOM])
    async with working(tmp_path, server, build_argv=makes_binary(tmp_path)) as one:
        await until(lambda: server.reports)
        await until(lambda: server.work_requests > 2)
        assert one.spool.read() is None
    assert server.outcomes == [(ATOM, "success")]
    assert server.reports[0]["id"] == "id-1"
    assert server.reports[0]["error_detail"] is None
    assert server.reports[0]["build_duration_s"] >= 0
    assert server.uploads == {"app-swarm/one/one-1.0-1.gpkg.tar": b"binary of =app-swarm/one-1.0"}
    assert list(server.logs.values()) == [b"made\n"]
    assert list(server.log_outcomes.values()) == ["success"]
    assert one.status == 0
    assert not list((tmp_path / "state").glob("*.log"))


async def test_heartbeat_says_what_the_host_is_and_what_is_built(tmp_path: Path) -> None:
    server = ScriptedServer(packages=[ATOM])
    async with working(tmp_path, server, build_argv=FOREVER, auto_reboot=True):
        beat = await until(lambda: next((one for one in server.beats if one["current_task"] == ATOM), None))
    assert beat["id"] == "id-1"
    assert beat["name"] == "drone-1"
    assert beat["type"] == "drone"
    assert beat["capabilities"] == {"cores": 4, "ram_gb": 8.0, "auto_reboot": True}
    assert 0 <= beat["metrics"]["ram_percent"] <= 100
    assert beat["metrics"]["load_1m"] >= 0
    assert server.beats[0]["current_task"] is None


async def test_failed_build_is_told_with_the_end_of_its_output(tmp_path: Path) -> None:
    server = ScriptedServer(packages=[ATOM])
    build = script("print('\\x1b[31mit broke\\x1b[0m'); raise SystemExit(3)")
    async with working(tmp_path, server, build_argv=build):
        await until(lambda: server.reports)
    assert server.outcomes == [(ATOM, "failed")]
    assert server.reports[0]["error_detail"] == "exit status 3\nit broke"
    assert list(server.logs.values()) == [b"\x1b[31mit broke\x1b[0m\n"]


async def test_next_package_comes_when_nothing_is_owed_any_more(tmp_path: Path) -> None:
    server = ScriptedServer(packages=["app-swarm/one-1.0", "app-swarm/two-1.0", "app-swarm/three"])
    async with working(tmp_path, server):
        await until(lambda: len(server.reports) == 3)
    assert [package for package, _ in server.outcomes] == ["app-swarm/one-1.0", "app-swarm/two-1.0", "app-swarm/three"]


@pytest.mark.parametrize("package", ["--help", "x; rm -rf /", "../../etc/passwd", "app/one\n", "=$(id)/x-1"])
async def test_what_is_no_package_never_reaches_a_command(tmp_path: Path, package: str) -> None:
    server = ScriptedServer(packages=[package])
    build = script("import pathlib, sys; pathlib.Path(sys.argv[1]).touch()", str(tmp_path / "ran"), "{atom}")
    async with working(tmp_path, server, build_argv=build):
        await until(lambda: server.reports)
    assert server.outcomes == [(package, "failed")]
    assert not (tmp_path / "ran").exists()


async def test_paused_drone_asks_for_nothing_and_builds_on(tmp_path: Path) -> None:
    server = ScriptedServer(packages=[ATOM], orders=Orders(paused=True))
    async with working(tmp_path, server) as one:
        await until(lambda: len(server.beats) > 3)
        asked = server.work_requests
        await until(lambda: len(server.beats) > 6)
        assert server.work_requests == asked <= 1
        server.orders = Orders(paused=False)
        await until(lambda: server.reports)
    assert "no longer paused" in one.said


@pytest.mark.parametrize(
    ("orders", "reason"),
    [
        (Orders(stop=StopWork(package="app-swarm/one-1.0", reason="work was reclaimed")), "work was reclaimed"),
        (Orders(revoked=("=app-swarm/one-1.0",)), "revoked"),
    ],
    ids=["stop_work", "revoke"],
)
async def test_build_that_is_taken_away_is_ended_and_not_reported(tmp_path: Path, orders: Orders, reason: str) -> None:
    server = ScriptedServer(packages=[ATOM])
    async with working(tmp_path, server, build_argv=FOREVER) as one:
        begun = await until(one.spool.read)
        await until(lambda: leftovers.found(begun.log_id))
        await until(lambda: b"begun" in LogFile(one.spool.log_file(begun.log_id)).read(0))
        server.orders = orders
        await until(lambda: one.spool.read() is None)
        assert not leftovers.found(begun.log_id)
        server.orders = Orders()
        server.packages.append("app-swarm/two-1.0")
        await until(lambda: (now := one.spool.read()) and now.package == "app-swarm/two-1.0")
    assert f"{ATOM}: dropped ({reason})" in one.said
    assert server.log_outcomes[begun.log_id] == "dropped"
    assert server.logs[begun.log_id] == b"begun\n"
    assert server.outcomes == [("app-swarm/two-1.0", "returned")]


async def test_orders_for_another_package_do_not_stop_what_is_built(tmp_path: Path) -> None:
    other = "=app-swarm/two-1.0"
    server = ScriptedServer(packages=[ATOM], orders=Orders(stop=StopWork(package=other), revoked=(other,)))
    build = script("import time; time.sleep(0.3)")
    async with working(tmp_path, server, build_argv=build):
        await until(lambda: server.reports)
    assert server.outcomes == [(ATOM, "success")]


async def test_tree_is_brought_up_to_date_when_the_server_asks(tmp_path: Path) -> None:
    server = ScriptedServer(work_orders=Orders(sync_to="2026-02-12"))
    (tmp_path / "tree" / "metadata").mkdir(parents=True)
    stamp = tmp_path / "tree" / "metadata" / "timestamp.chk"
    sync = script(
        "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('Thu, 12 Feb 2026 00:45:01 +0000')", str(stamp)
    )
    async with working(tmp_path, server, sync_argv=sync, tree=tmp_path / "tree"):
        told = await until(
            lambda: next((one for one in server.beats if "portage_timestamp" in one["capabilities"]), None)
        )
    assert told["capabilities"]["portage_timestamp"] == "2026-02-12"
    assert server.reports == []


async def test_tree_that_stays_too_old_is_not_asked_for_again_and_again(tmp_path: Path) -> None:
    server = ScriptedServer(work_orders=Orders(sync_to="2026-02-12"))
    count = tmp_path / "count"
    sync = script("import sys; open(sys.argv[1], 'a').write('x')", str(count))
    async with working(tmp_path, server, sync_argv=sync):
        await until(lambda: server.work_requests > 3)
        assert count.read_text() == "x"
        server.work_orders = Orders(sync_to="2026-02-13")
        await until(lambda: count.read_text() == "xx")


async def test_package_that_cannot_be_remembered_is_given_back(tmp_path: Path) -> None:
    server = ScriptedServer(packages=[ATOM])
    one = made(tmp_path, server, once=True)
    # No file can be made in a folder that is gone, not even by root.
    (tmp_path / "state" / "lock").unlink()
    (tmp_path / "state").rmdir()
    with trio.fail_after(60):
        await one.drone.run()
    one.spool.close()
    assert server.outcomes == [(ATOM, "returned")]
    assert "cannot write to" in server.reports[0]["error_detail"]


async def test_stopped_drone_returns_what_it_builds_and_leaves_no_process(tmp_path: Path) -> None:
    server = ScriptedServer(packages=[ATOM])
    async with working(tmp_path, server, build_argv=FOREVER) as one:
        begun = await until(one.spool.read)
        await until(lambda: leftovers.found(begun.log_id))
    assert server.outcomes == [(ATOM, "returned")]
    assert server.reports[0]["error_detail"] == "the drone was stopped"
    assert not leftovers.found(begun.log_id)
    assert one.spool.read() is None
    assert one.status == 0


async def test_stopped_drone_keeps_what_it_cannot_tell_for_its_next_start(tmp_path: Path) -> None:
    server = ScriptedServer(packages=[ATOM])
    async with working(tmp_path, server, build_argv=FOREVER, stop_seconds=0.3) as one:
        await until(one.spool.read)
        server.is_away = True
    server.is_away = False
    assert server.reports == []
    async with working(tmp_path, server) as one:
        await until(lambda: server.reports)
    assert server.outcomes == [(ATOM, "returned")]


async def test_drone_that_was_killed_ends_its_build_and_returns_the_package(tmp_path: Path) -> None:
    owed(tmp_path)
    server = ScriptedServer()
    with left_running(LOG_ID) as left:
        async with working(tmp_path, server):
            await until(lambda: server.reports)
        assert left.wait(PATIENCE_SECONDS) < 0
    assert server.outcomes == [(ATOM, "returned")]


@pytest.mark.parametrize("state", ["built", "done"])
async def test_result_that_a_killed_drone_left_is_uploaded_and_told(tmp_path: Path, state: str) -> None:
    (tmp_path / "pkgs" / "app-swarm").mkdir(parents=True)
    (tmp_path / "pkgs" / "app-swarm" / "one-1.0.gpkg.tar").write_bytes(b"it")
    owed(tmp_path, state=state, outcome="success", duration_s=12.5, files=["app-swarm/one-1.0.gpkg.tar"])
    (tmp_path / "state" / f"{LOG_ID}.log").write_bytes(b"what it wrote")
    server = ScriptedServer()
    async with working(tmp_path, server) as one:
        await until(lambda: server.reports)
        await until(lambda: one.spool.read() is None)
    assert server.outcomes == [(ATOM, "success")]
    assert server.reports[0]["build_duration_s"] == 12.5
    assert server.uploads == ({"app-swarm/one-1.0.gpkg.tar": b"it"} if state == "built" else {})
    assert server.logs == {LOG_ID: b"what it wrote"}


async def test_result_outlives_an_outage_of_any_length(tmp_path: Path) -> None:
    server = ScriptedServer(packages=[ATOM])
    server.failures["upload"] = [Unreachable("lost")] * 3
    server.failures["log"] = [Unreachable("lost")] * 7
    server.failures["complete"] = [Unreachable("lost")] * 5
    # So that no heartbeat tells an outage from a log that cannot be sent.
    async with working(tmp_path, server, build_argv=makes_binary(tmp_path), heartbeat_seconds=600.0) as one:
        await until(lambda: server.reports)
        await until(lambda: one.spool.read() is None)
    assert list(server.logs.values()) == [b"made\n"]
    assert list(server.log_outcomes.values()) == ["success"]
    assert server.outcomes == [(ATOM, "success")]
    assert len(server.uploads) == 1
    assert sum("no good answer" in line for line in one.said) <= 8


async def test_drone_that_starts_before_its_server_waits_for_it(tmp_path: Path) -> None:
    server = ScriptedServer(packages=[ATOM], is_away=True)
    async with working(tmp_path, server) as one:
        await until(lambda: one.said)
        server.is_away = False
        await until(lambda: server.reports)
    assert server.outcomes == [(ATOM, "success")]


async def test_stale_answer_is_dropped(tmp_path: Path) -> None:
    server = ScriptedServer(packages=[ATOM], verdict=Verdict(accepted=False, is_stale=True, reason="drone-2 has it"))
    async with working(tmp_path, server) as one:
        await until(lambda: server.work_requests > 3)
        assert one.spool.read() is None
    assert server.outcomes == [(ATOM, "success")]
    assert f"{ATOM}: not counted: drone-2 has it" in one.said


async def test_refused_report_is_dropped_and_one_without_credential_is_kept(tmp_path: Path) -> None:
    server = ScriptedServer(packages=[ATOM])
    server.failures["complete"] = [Refused(401, "no key"), Refused(403, "not yours"), Refused(400, "no such field")]
    async with working(tmp_path, server) as one:
        await until(lambda: server.work_requests > 2)
    assert server.reports == []
    assert not server.failures["complete"]
    assert any("the report is refused: 400" in line for line in one.said)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(404, "success"), (405, "success"), (409, "success"), (401, "upload_failed"), (413, "upload_failed")],
)
async def test_refused_upload_is_a_failure_unless_the_server_has_no_uploads(
    tmp_path: Path, status: int, outcome: str
) -> None:
    server = ScriptedServer(packages=[ATOM])
    server.failures["upload"] = [Refused(status, "no")]
    async with working(tmp_path, server, build_argv=makes_binary(tmp_path)):
        await until(lambda: server.reports)
    assert server.outcomes == [(ATOM, outcome)]
    if outcome == "upload_failed":
        assert str(status) in server.reports[0]["error_detail"]


async def test_server_without_logs_is_sent_none_and_told_the_result(tmp_path: Path) -> None:
    server = ScriptedServer(packages=[ATOM])
    server.failures["log"] = [Refused(404, "no such path")] * 10
    async with working(tmp_path, server):
        await until(lambda: server.reports)
    assert server.outcomes == [(ATOM, "success")]
    assert server.logs == {}


@pytest.mark.parametrize("answered", [True, False])
async def test_log_that_cannot_be_sent_does_not_keep_the_result_back(tmp_path: Path, answered: bool) -> None:
    server = ScriptedServer(packages=[ATOM])
    server.failures["log"] = [Unreachable("no room", answered=answered)] * 1000
    async with working(tmp_path, server):
        await until(lambda: server.reports)
    assert server.outcomes == [(ATOM, "success")]
    assert server.logs == {}


async def test_build_that_takes_too_long_has_failed(tmp_path: Path) -> None:
    server = ScriptedServer(packages=[ATOM])
    async with working(tmp_path, server, build_argv=FOREVER, build_seconds=0.2):
        await until(lambda: server.reports)
    assert server.outcomes == [(ATOM, "failed")]
    assert "longer than 0.2 s" in server.reports[0]["error_detail"]


async def test_once_builds_one_package_and_ends(tmp_path: Path) -> None:
    server = ScriptedServer(packages=[ATOM, "app-swarm/two-1.0"])
    one = made(tmp_path, server, once=True)
    with trio.fail_after(60):
        assert await one.drone.run() == 0
    one.spool.close()
    assert server.outcomes == [(ATOM, "success")]
    assert server.packages == deque(["app-swarm/two-1.0"])


async def test_once_ends_where_there_is_no_work_and_fails_where_there_is_no_server(tmp_path: Path) -> None:
    one = made(tmp_path, ScriptedServer(), once=True)
    with trio.fail_after(60):
        assert await one.drone.run() == 0
    one.spool.close()
    other = made(tmp_path, ScriptedServer(is_away=True), once=True)
    with trio.fail_after(60):
        assert await other.drone.run() == 1
    other.spool.close()


async def test_command_that_cannot_be_started_is_a_failure_with_its_name(tmp_path: Path) -> None:
    server = ScriptedServer(packages=[ATOM])
    async with working(tmp_path, server, build_argv=(os.fspath(tmp_path / "nothing"), "{atom}")):
        await until(lambda: server.reports)
    assert server.outcomes == [(ATOM, "failed")]
    assert "nothing cannot be started" in server.reports[0]["error_detail"]
