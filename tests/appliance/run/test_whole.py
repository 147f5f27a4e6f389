"""A whole appliance: what it answers, what a plugin may do to it, and how it stops."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from appliance.data_folder import holder_pid
from appliance.errors import AlreadyRunning, BadConfiguration
from appliance.listeners import CannotListen, bind, parse_address
from appliance.loading import RequiredPluginMissing
from appliance.run.failures import PathsClash
from appliance.testing import running, scripted_gpus, until

HELLO = """
import trio
from appliance.plugin import PERSON, Call, Command, Core, Panel, PanelContent, PanelRow, Parts, Surface, hookimpl

appliance_api = 1
__version__ = "7"
api = Surface("hello", prefixes=("/api/hello",))


@api.get("/api/hello", caller=PERSON)
async def hello(call: Call[None]) -> dict[str, str]:
    return {"hello": call.caller.name}


class Beat:
    name = "beat"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await trio.sleep_forever()


@hookimpl
def appliance_commands() -> list[Command]:
    return [Command(name="hello", help="Say hello.", target="plugins.hello:main")]


@hookimpl
def appliance_setup(core: Core) -> Parts:
    card = Panel(name="card", title="Hello", read=lambda: PanelContent(rows=[PanelRow(label="a", value="b")]))
    return Parts(surfaces=[api.bind(core)], services=[Beat()], panels=[card], prometheus=[lambda: "hello_total 1"])
"""

CRASHING = HELLO.replace("await trio.sleep_forever()", "raise ValueError('no pulse')")
BROKEN_SETUP = HELLO.replace(
    "def appliance_setup(core: Core) -> Parts:", "def appliance_setup(core: Core) -> Parts:\n    1 / 0"
)


async def test_a_fresh_start_answers_is_ready_and_offers_the_setup_link(tmp_path: Path) -> None:
    async with running(tmp_path, backends=[scripted_gpus(2)]) as appliance:
        assert (await appliance.get("/healthz")).json == {"status": "ok"}
        ready = await appliance.get("/readyz")
        assert (ready.status, ready.json["ready"]) == (200, True)
        health = (await appliance.get("/api/v1/health")).json
        assert health["status"] == "ok"
        assert health["uptime_s"] >= 0
        devices = (await appliance.get("/api/appliance/devices")).json["items"]
        assert [gpu["gpu_id"] for gpu in devices] == ["GPU-0", "GPU-1"]
        assert f"Open   {appliance.url}/setup#t={appliance.running.setup_secret}" in "\n".join(appliance.said)
        assert " 2 GPUs: Scripted 80G #0 #1" in appliance.said


async def test_a_dropped_plugin_adds_a_route_a_service_a_command_a_panel_and_a_metric(tmp_path: Path) -> None:
    async with running(tmp_path, plugins={"hello": HELLO}) as appliance:
        assert (await appliance.get("/api/hello")).json == {"hello": "local process"}
        items = {item["name"]: item for item in (await appliance.get("/api/appliance/plugins")).json["items"]}
        assert items["hello"]["state"] == "running"
        assert items["hello"]["version"] == "7"
        assert items["hello"]["origin"] == str(tmp_path / "data" / "plugins")
        assert items["hello"]["services"][0]["state"] == "running"
        panels = (await appliance.get("/api/appliance/overview")).json["panels"]
        (shown,) = [panel for panel in panels if panel["plugin"] == "hello"]
        assert shown["rows"] == [{"label": "a", "value": "b", "percent": None, "level": "info"}]
        assert "hello_total 1\n" in (await appliance.get("/metrics")).text
        asked = appliance.running.plugins.plugins.ask("appliance_commands")
        [commands] = [found for one, found in asked if one.name == "hello"]
        assert commands[0].name == "hello"


async def test_a_plugin_whose_setup_raises_answers_503_and_nothing_else_notices(tmp_path: Path) -> None:
    async with running(tmp_path, plugins={"hello": BROKEN_SETUP}) as appliance:
        answer = await appliance.get("/api/hello")
        assert answer.status == 503
        items = {item["name"]: item for item in (await appliance.get("/api/appliance/plugins")).json["items"]}
        assert items["hello"]["state"] == "failed"
        assert "ZeroDivisionError" in items["hello"]["reason"]
        ready = await appliance.get("/readyz")
        assert ready.status == 200
        assert {"name": "plugin hello", "ok": False} in [
            {"name": one["name"], "ok": one["ok"]} for one in ready.json["items"]
        ]
        events = (await appliance.get("/api/appliance/events/history?kinds=plugin.failed")).json["items"]
        assert [event["subject"] for event in events] == ["hello"]


async def test_a_crashing_service_is_shown_as_its_own_failure_and_can_be_restarted(tmp_path: Path) -> None:
    async with running(tmp_path, plugins={"hello": CRASHING}) as appliance:
        [service] = await until(lambda: appliance.running.supervisor.of("hello"))
        await until(lambda: service.crash_count == 1)
        assert (await appliance.get("/api/hello")).status == 200
        item = next(one for one in appliance.running.plugins.items() if one["name"] == "hello")
        assert item["state"] == "failed"
        assert "no pulse" in item["reason"]
        assert (await appliance.post("/api/appliance/plugins/hello/restart")).status == 202
        await until(lambda: service.crash_count == 2)
        assert (await appliance.post("/api/appliance/plugins/nobody/restart")).status == 404


async def test_a_plugin_that_does_not_import_does_not_stop_the_start(tmp_path: Path) -> None:
    sources = {"bad": "import nowhere_at_all", "quitter": "import sys; sys.exit(3)", "hello": HELLO}
    async with running(tmp_path, plugins=sources) as appliance:
        items = {item["name"]: item for item in appliance.running.plugins.items()}
        assert items["bad"]["state"] == items["quitter"]["state"] == "failed"
        assert "sys.exit(3)" in items["quitter"]["reason"]
        assert items["hello"]["state"] == "running"


async def test_a_required_plugin_that_fails_refuses_the_start(tmp_path: Path) -> None:
    with pytest.raises(RequiredPluginMissing, match="ZeroDivisionError"):
        async with running(tmp_path, config='[loading]\nrequired = ["hello"]', plugins={"hello": BROKEN_SETUP}):
            pytest.fail("it started")


async def test_two_plugins_that_claim_one_path_refuse_the_start_naming_both(tmp_path: Path) -> None:
    other = HELLO.replace('Surface("hello"', 'Surface("other"')
    with pytest.raises(PathsClash, match=r"(?s)hello.*other|other.*hello"):
        async with running(tmp_path, plugins={"hello": HELLO, "other": other}):
            pytest.fail("it started")


async def test_bad_configuration_refuses_the_start_and_is_no_failed_start(tmp_path: Path) -> None:
    for _ in range(4):
        with pytest.raises(BadConfiguration, match=r"appliance\.toml:2: \[server\] drain = 1"):
            async with running(tmp_path, config="[server]\ndrain = 1"):
                pytest.fail("it started")
    async with running(tmp_path) as appliance:
        assert "SAFE MODE" not in "\n".join(appliance.said)


async def test_a_listener_that_names_an_unknown_surface_refuses_the_start(tmp_path: Path) -> None:
    config = '[[listeners]]\naddress = "127.0.0.1:0"\nsurfaces = ["dashbord"]'
    with pytest.raises(BadConfiguration, match="dashbord"):
        async with running(tmp_path, config=config, listen=()):
            pytest.fail("it started")


async def test_the_fourth_start_after_three_failed_ones_is_in_safe_mode(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "run"
    folder.mkdir(mode=0o700, parents=True)
    folder.parent.chmod(0o700)
    (folder / "failed-starts").write_text("3\n")
    async with running(tmp_path, plugins={"hello": HELLO}) as appliance:
        assert "SAFE MODE" in "\n".join(appliance.said)
        item = next(one for one in appliance.running.plugins.items() if one["name"] == "hello")
        assert item["state"] == "off"
        assert "safe mode" in item["reason"]
        assert (await appliance.get("/api/hello")).status == 404
    async with running(tmp_path, plugins={"hello": HELLO}) as appliance:
        assert (await appliance.get("/api/hello")).status == 200


async def test_a_start_that_crashes_is_counted_and_one_that_succeeds_clears_the_count(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "appliance.db").write_bytes(b"this is no database" * 100)
    count = tmp_path / "data" / "run" / "failed-starts"
    for number in (1, 2):
        with pytest.raises(Exception, match=r"(?i)damaged|database"):
            async with running(tmp_path):
                pytest.fail("it started")
        assert count.read_text() == f"{number}\n"
    (tmp_path / "data" / "appliance.db").unlink()
    async with running(tmp_path):
        assert not count.exists()


async def test_a_second_appliance_on_the_same_data_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    async with running(tmp_path):
        with pytest.raises(AlreadyRunning) as caught:
            async with running(tmp_path):
                pytest.fail("it started")
        assert caught.value.pid == holder_pid(tmp_path / "data")


async def test_a_busy_port_names_its_holder_and_another_port_and_is_no_failed_start(tmp_path: Path) -> None:
    [taken] = bind(parse_address("127.0.0.1:0"))
    port = taken.getsockname()[1]
    with taken:
        with pytest.raises(CannotListen, match=r"in use by .*\(pid \d+") as caught:
            async with running(tmp_path, listen=(f"127.0.0.1:{port}",)):
                pytest.fail("it started")
        assert "--listen 127.0.0.1:" in caught.value.hint
        assert str(port) not in caught.value.hint
    assert not (tmp_path / "data" / "run" / "failed-starts").exists()


async def test_a_stop_request_lets_a_request_in_flight_finish_and_closes_the_database_last(tmp_path: Path) -> None:
    slow = HELLO.replace(
        '    return {"hello": call.caller.name}', '    await trio.sleep(0.3)\n    return {"hello": "late"}'
    )
    answers: list[str] = []
    async with trio.open_nursery() as nursery, running(tmp_path, plugins={"hello": slow}) as appliance:

        async def ask() -> None:
            answers.append((await appliance.get("/api/hello")).json["hello"])

        nursery.start_soon(ask)
        await until(lambda: appliance.running.edge.metrics.connections)
        await trio.sleep(0.05)
    assert answers == ["late"]
    assert not (tmp_path / "data" / "appliance.db-wal").exists()
    with closing(sqlite3.connect(tmp_path / "data" / "appliance.db")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM series_tail").fetchone()[0] >= 1
    assert holder_pid(tmp_path / "data") is None


async def test_the_control_socket_is_admin_and_closed_to_others(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        path = appliance.running.control
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert (await appliance.control("GET", "/api/appliance/config")).status == 200
        assert (await appliance.get("/api/appliance/config")).status == 401
        assert (await appliance.control("POST", "/api/appliance/stop", {})).status == 202
        await until(lambda: not path.exists())


async def test_a_control_socket_whose_path_is_too_long_is_recorded_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    async with running(folder) as appliance:
        record = folder / "data" / "run" / "control"
        assert record.read_text().strip() == str(appliance.running.control)
        assert (await appliance.control("GET", "/healthz")).status == 200
        shelter = appliance.running.control.parent
        assert shelter.stat().st_mode & 0o777 == 0o700
    assert not record.exists()
    assert not shelter.exists()


async def test_changes_by_people_are_written_into_the_audit_log(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        await appliance.control("POST", "/api/appliance/config/reload", {})
    async with running(tmp_path) as appliance:
        entries = await appliance.state.audit.newest()
        assert "POST /api/appliance/config/reload" in [entry.action for entry in entries]
        assert await appliance.state.audit.verify() is None


async def test_first_start_backs_nothing_up_and_the_second_has_nothing_to_back_up(tmp_path: Path) -> None:
    for _ in range(2):
        async with running(tmp_path) as appliance:
            assert list((appliance.data_dir / "backups").iterdir()) == []
