"""Task engines of plugins in a whole appliance: asked for, run, shown, and used."""

from pathlib import Path

import pytest
import trio

from appliance.cli.doctor import containers
from appliance.cli.session import Session
from appliance.jobs import Job, JobState, Needs
from appliance.testing import ScriptedEngine, running, scripted_gpus, until

ENGINE = """
from pathlib import Path
from typing import Any

from appliance.plugin import Core, Host, Parts, TaskEngine, hookimpl
from appliance.testing import ScriptedEngine

appliance_api = 1
GIVEN: dict[str, Any] = {}


@hookimpl
def appliance_task_engines(host: Host, settings: Any, folder: Path, appliance_id: str) -> list[TaskEngine]:
    GIVEN.update(host=host, settings=settings, folder=folder, appliance_id=appliance_id)
    assert folder.is_dir()
    (folder / "given").write_text(appliance_id)
    return [ScriptedEngine(name="NAME", features=frozenset({"gpu"}))]
"""
RAISES = """
from appliance.plugin import hookimpl

appliance_api = 1


@hookimpl
def appliance_task_engines() -> list:
    WHAT
"""


def a_job(job_id: str = "task-1", **options: object) -> Job:
    return Job(**{"job_id": job_id, "owner": "ana", "image": "bb:1", "needs": Needs(millicores=10)} | options)  # type: ignore[arg-type]


async def test_an_engine_of_a_plugin_runs_tasks_and_is_shown(tmp_path: Path) -> None:
    async with running(tmp_path, plugins={"boxes": ENGINE.replace("NAME", "boxes")}, engines=None) as appliance:
        scheduler = appliance.state.scheduler
        assert "boxes" in [status.name for status in scheduler.engines()]
        given = (appliance.data_dir / "plugin-data" / "boxes" / "given").read_text()
        assert given == appliance.state.host_id
        await scheduler.submit([a_job(engine="boxes")], who="ana")
        await until(lambda: scheduler.get("task-1").state == JobState.RUNNING)
        lines = {item["name"]: item for item in appliance.state.readiness()}
        assert lines["engine boxes"] == {"name": "engine boxes", "ok": True, "required": False, "message": "scripted"}
        assert lines["tasks"]["ok"]
        assert lines["service scheduler"]["ok"]
        assert 'appliance_tasks{state="running"} 1' in await appliance.state.prometheus("")


@pytest.mark.parametrize(
    ("what", "reason"),
    [("raise ValueError('no luck')", "no luck"), ("return ['docker']", "a list of TaskEngine"), ("return 1", "list")],
)
async def test_a_plugin_that_fails_to_offer_engines_is_disabled_and_no_other(
    tmp_path: Path, what: str, reason: str
) -> None:
    plugins = {"bad": RAISES.replace("WHAT", what), "good": ENGINE.replace("NAME", "good")}
    async with running(tmp_path, plugins=plugins, engines=None) as appliance:
        states = {item["name"]: item for item in appliance.state.plugins.items()}
        assert states["bad"]["state"] == "failed"
        assert reason in states["bad"]["reason"]
        assert states["good"]["state"] == "running"
        assert "good" in [status.name for status in appliance.state.scheduler.engines()]


async def test_the_second_engine_of_one_name_is_refused_with_its_plugin(tmp_path: Path) -> None:
    plugins = {"first": ENGINE.replace("NAME", "same"), "second": ENGINE.replace("NAME", "same")}
    async with running(tmp_path, plugins=plugins, engines=None) as appliance:
        states = {item["name"]: item["state"] for item in appliance.state.plugins.items()}
        assert sorted(states[name] for name in plugins) == ["failed", "running"]
        assert [status.name for status in appliance.state.scheduler.engines()].count("same") == 1


class SlowEngine(ScriptedEngine):
    """Takes for ever for its first look."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await trio.sleep_forever()


async def test_an_engine_that_is_slow_to_look_holds_up_no_start(tmp_path: Path) -> None:
    good = ScriptedEngine()
    async with running(tmp_path, engines=[SlowEngine(name="slow", state="starting"), good]) as appliance:
        await appliance.state.scheduler.submit([a_job()], who="ana")
        await good.running("task-1")


async def test_tasks_that_no_engine_can_run_are_told_as_such(tmp_path: Path) -> None:
    async with running(tmp_path, engines=[]) as appliance:
        await appliance.state.scheduler.submit([a_job()], who="ana")
        lines = {item["name"]: item for item in appliance.state.readiness()}
        assert not lines["tasks"]["ok"]
        assert "there is no engine" in lines["tasks"]["message"]


async def test_a_stop_leaves_tasks_running_and_a_start_takes_them_up_again(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    async with running(tmp_path, engines=[engine], backends=[scripted_gpus(1)]) as appliance:
        await appliance.state.scheduler.submit([a_job(needs=Needs(milli_gpu=1000))], who="ana")
        attempt = await engine.running("task-1")
        await until(lambda: appliance.state.scheduler.get("task-1").state == JobState.RUNNING)
    assert (attempt.is_running, attempt.terms) == (True, 0)
    async with running(tmp_path, engines=[engine], backends=[scripted_gpus(1)]) as appliance:
        assert appliance.state.scheduler.get("task-1").state == JobState.RUNNING
        [booking] = appliance.state.ledger.bookings()
        assert booking.parts[0].gpu_id == "GPU-0"
        attempt.end()
        await until(lambda: appliance.state.scheduler.get("task-1").state == JobState.COMPLETED)


async def test_a_gpu_that_does_nothing_is_seen_by_the_samples(tmp_path: Path) -> None:
    engine, backend = ScriptedEngine(), scripted_gpus(1)
    config = "[devices]\nsample_seconds = 0.1\n"
    async with running(tmp_path, engines=[engine], backends=[backend], config=config) as appliance:
        job = a_job(needs=Needs(milli_gpu=1000), idle_gpu_seconds=0.1)
        await appliance.state.scheduler.submit([job], who="ana")
        await engine.running("task-1")
        backend.samples["GPU-0"]["utilization_percent"] = 0.0
        await until(lambda: appliance.state.scheduler.get("task-1").state == JobState.FAILED)
        assert "idle" in appliance.state.scheduler.get("task-1").message


async def test_nobody_is_trusted_without_a_credential_where_tasks_may_run_as_our_own_user(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        assert (await appliance.get("/api/appliance/devices")).status == 200
    async with running(tmp_path, config="[scheduler]\nunsafe_same_uid = true\n") as appliance:
        assert (await appliance.get("/api/appliance/devices")).status == 401


async def test_what_is_submitted_without_a_running_appliance_is_run_by_the_next(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    async with running(tmp_path, engines=[]) as appliance:
        await appliance.state.scheduler.submit([a_job()], who="ana")
    async with running(tmp_path, engines=[engine]):
        await engine.running("task-1")


async def test_the_choice_of_an_engine_and_its_reason_are_told(tmp_path: Path) -> None:
    engines = [
        ScriptedEngine(name="gone", state="absent"),
        ScriptedEngine(name="risky", unsafe="runs as our own user"),
        ScriptedEngine(name="good", features=frozenset({"gpu"})),
    ]
    async with running(tmp_path, engines=engines) as appliance:
        answer = (await appliance.get("/api/appliance/engines")).json
        assert [item["name"] for item in answer["items"]] == ["gone", "risky", "good"]
        assert answer["items"][2] == {
            "name": "good",
            "state": "ok",
            "message": "scripted",
            "hint": "",
            "features": ["gpu"],
            "unsafe": "",
        }
        assert answer["choice"] == (
            "tasks run on the engine good; gone is absent (scripted: absent); "
            "risky is not allowed (runs as our own user): [scheduler] unsafe_same_uid"
        )
        assert answer["problem"] is None


async def test_doctor_says_which_engine_runs_tasks_and_what_is_wrong_with_the_others(tmp_path: Path) -> None:
    engines = [ScriptedEngine(name="lost", state="unavailable"), ScriptedEngine(name="good")]
    async with running(tmp_path, engines=engines) as appliance:
        session = Session(data_dir_option=str(appliance.data_dir))
        found = await trio.to_thread.run_sync(lambda: list(containers(session)))
        assert [(one.level, one.text) for one in found] == [
            ("ok", "tasks run on the engine good; lost is unavailable (scripted: unavailable)"),
            ("warn", "engine lost: scripted: unavailable"),
            ("ok", "engine good: scripted"),
        ]
