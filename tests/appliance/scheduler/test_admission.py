"""What may be submitted: by the configuration's lists and by each person's limits."""

from pathlib import Path
from typing import Any

import pytest

from appliance.errors import BadConfiguration, BadInput, Busy, Forbidden, TooLarge
from appliance.jobs import Dependency, Job, JobState, Needs
from appliance.scheduler.admission import TOGETHER_MAX, check, check_count, quotas_of, volumes_of
from appliance.settings import QuotaSettings, SchedulerSettings, VolumeSettings
from appliance.testing import running as whole

from .scheduler_kit import SMALL, World, opened, running


def job(**options: Any) -> Job:
    return Job(**({"job_id": "task-1", "owner": "ana", "image": "bb:1"} | options))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "data")


def test_without_lists_every_image_and_no_capability_is_taken() -> None:
    check(job(image="registry.example.net/any:1"), SchedulerSettings())
    with pytest.raises(Forbidden, match="SYS_PTRACE"):
        check(job(privileges=("SYS_PTRACE",)), SchedulerSettings())


@pytest.mark.parametrize(
    ("image", "is_taken"),
    [("team/a:1", True), ("other/a:1", False), ("TEAM/a:1", False), ("evil.example.net/team/a:1", False)],
)
def test_images_are_taken_by_the_patterns_of_the_list(image: str, is_taken: bool) -> None:
    settings = SchedulerSettings(images=("team/*", "busybox:?"))
    if is_taken:
        check(job(image=image), settings)
    else:
        with pytest.raises(Forbidden, match="is not among those"):
            check(job(image=image), settings)


def test_a_capability_and_a_network_are_asked_for_only_where_they_are_allowed() -> None:
    settings = SchedulerSettings(privileges=("SYS_PTRACE",), networks=("none",))
    check(job(privileges=("SYS_PTRACE",)), settings)
    with pytest.raises(Forbidden, match="SYS_ADMIN"):
        check(job(privileges=("SYS_PTRACE", "SYS_ADMIN")), settings)
    with pytest.raises(Forbidden, match="bridge"):
        check(job(network="bridge"), settings)


@pytest.mark.parametrize(
    "wrong",
    [
        {"job_id": "../etc"},
        {"job_id": ".hidden"},
        {"job_id": "a" * 181},
        {"command": "echo \0"},
        {"image": "bb\n:1"},
        {"environment": {"A=B": "1"}},
        {"environment": {"": "1"}},
        {"environment": {"A": "x\0y"}},
        {"environment": {"A": "x" * 131_073}},
        {"environment": {f"A{number}": "" for number in range(1001)}},
    ],
    ids="-".join,
)
def test_what_no_container_can_have_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        check(job(**wrong), SchedulerSettings())


def test_volumes_come_from_the_configuration_alone_and_are_written_to_only_where_it_says_so() -> None:
    settings = SchedulerSettings(
        volumes={
            "data": VolumeSettings(source=Path("/srv/data")),
            "out": VolumeSettings(source=Path("/srv/out"), read_only=False),
        }
    )
    found = volumes_of(job(volumes=("data", "out", "out:ro")), settings)
    assert [(one.name, str(one.source), one.read_only) for one in found] == [
        ("data", "/srv/data", True),
        ("out", "/srv/out", False),
        ("out", "/srv/out", True),
    ]
    with pytest.raises(Forbidden, match="secret"):
        check(job(volumes=("secret",)), settings)


@pytest.mark.parametrize("source", ["relative", "/srv/../etc"])
def test_a_volume_names_its_folder_in_full(source: str) -> None:
    with pytest.raises(ValueError, match="absolute"):
        VolumeSettings(source=Path(source))


def test_so_many_jobs_at_once_are_refused() -> None:
    one = job()
    with pytest.raises(TooLarge):
        check_count([one] * (TOGETHER_MAX + 1))
    with pytest.raises(BadInput):
        check_count([])


def test_a_limit_too_small_to_count_is_still_a_limit() -> None:
    quotas = quotas_of(SchedulerSettings(everyone=QuotaSettings(cores_max=0.0001, gpus_max=0.5)))
    assert (quotas.default.millicores_max, quotas.default.milli_gpu_max) == (1, 500)


async def test_a_person_has_no_more_waiting_than_allowed_and_others_are_not_affected(world: World) -> None:
    world.set(everyone=QuotaSettings(pending_max=2), people={"bob": QuotaSettings(pending_max=3)})
    async with opened(world) as run:
        ids = [await run.submit(owner="ana") for _ in range(2)]
        with pytest.raises(Forbidden, match="limit of 2"):
            await run.submit(owner="ana")
        await run.scheduler.submit([run.job(owner="bob") for _ in range(3)], who="bob")
        await run.scheduler.submit([run.job(owner="") for _ in range(5)], who="")
        await run.scheduler.cancel(ids[0], who="ana")
        await run.submit(owner="ana")


async def test_a_full_queue_takes_no_more(world: World) -> None:
    world.set(pending_max=2)
    async with opened(world) as run:
        await run.scheduler.submit([run.job(), run.job()], who="ana")
        with pytest.raises(Busy, match="2 tasks wait"):
            await run.submit()


async def test_a_person_holds_no_more_cores_than_allowed(world: World) -> None:
    world.set(everyone=QuotaSettings(cores_max=1.0, running_max=2))
    async with running(world) as run:
        first = await run.submit(needs=Needs(millicores=800))
        attempt = await world.engine.running(first)
        second = await run.submit(needs=Needs(millicores=800))
        await world.engine.running(await run.submit(owner="bob", needs=SMALL))
        assert run.scheduler.get(second).state == JobState.PENDING
        assert run.scheduler.why(second).code == "quota"
        attempt.end()
        await world.engine.running(second)


async def test_a_job_must_not_depend_on_one_that_is_not_there(world: World) -> None:
    async with opened(world) as run:
        with pytest.raises(BadInput, match="task-0"):
            await run.submit(dependencies=(Dependency(job_id="task-0"),))


async def test_tables_of_people_and_volumes_are_read_from_the_configuration(tmp_path: Path) -> None:
    config = """
[scheduler.people.ana]
pending_max = 1
[scheduler.volumes.data]
source = "/srv/data"
read_only = false
"""
    async with whole(tmp_path, config=config) as appliance:
        scheduler = appliance.state.scheduler
        await scheduler.submit([job(volumes=("data",))], who="ana")
        with pytest.raises(Forbidden, match="limit of 1"):
            await scheduler.submit([job(job_id="task-2")], who="ana")
        await scheduler.submit([job(job_id="task-3", owner="bob")], who="bob")


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ("[scheduler.people.ana]\npending_max = -1", "people.ana"),
        ("[scheduler.volumes.data]\nsource = 'relative'", "volumes.data"),
        ("[scheduler.volumes.'a/b']\nsource = '/srv'", "volumes"),
        ("[scheduler]\nnetworks = ['host']", "networks"),
        ("[scheduler]\nprivileges = ['CAP_SYS_ADMIN']", "privileges"),
    ],
)
async def test_mistakes_in_the_table_of_the_scheduler_are_told_with_their_place(
    tmp_path: Path, config: str, place: str
) -> None:
    with pytest.raises(BadConfiguration, match=place):
        async with whole(tmp_path, config=config):
            pass
