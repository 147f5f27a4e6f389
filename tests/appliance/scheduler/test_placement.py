"""Where jobs fit, on which GPUs, and why nowhere."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.jobs import Job, Needs, Placement
from appliance.scheduler.capacity import EngineOffer, GpuCapacity, HostCapacity, Room
from appliance.scheduler.placement import Reason, Refusal, Request, find, place, refusals

DOCKER = EngineOffer(name="docker", features=frozenset({"gpu", "network"}))
SANDBOX = EngineOffer(name="sandbox")


def gpu(gpu_id: str, free: int = 1000, *, vram: int = 48_000, **more: Any) -> GpuCapacity:
    fields = {"model": "NVIDIA L40S", "free_vram_mib": vram * free // 1000, **more}
    return GpuCapacity(gpu_id=gpu_id, vram_mib=vram, free_milli_gpu=free, **fields)


def host(host_id: str = "a", *gpus: GpuCapacity, **more: Any) -> HostCapacity:
    fields = {"engines": (DOCKER,), "millicores": 8000, "memory_mib": 16_000, "storage_mib": 100_000, **more}
    return HostCapacity(host_id=host_id, hostname=host_id, gpus=gpus, **fields)


def request(*, engine: str = "", host_id: str = "", network: str = "none", **needs: Any) -> Request:
    return Request(needs=Needs(**needs), engine=engine, host_id=host_id, network=network)


def placed(wanted: Request, *hosts: HostCapacity) -> Placement:
    answer = place(wanted, hosts)
    assert isinstance(answer, Placement), answer
    return answer


def reasons(wanted: Request, *hosts: HostCapacity) -> tuple[Reason, ...]:
    answer = place(wanted, hosts)
    assert isinstance(answer, Refusal), answer
    return answer.reasons


def test_equal_jobs_share_one_request_object() -> None:
    one = Request.of(Job(job_id="1", owner="", image="i", needs=Needs(millicores=1)))
    assert Request.of(Job(job_id="2", owner="x", image="j", needs=Needs(millicores=1))) is one


def test_whole_gpus_go_where_the_least_memory_does_and_never_to_a_shared_one() -> None:
    answer = placed(request(milli_gpu=2000), host("a", gpu("1", vram=80_000), gpu("2", 999), gpu("3"), gpu("4")))
    assert answer.parts == (("3", 1000, 48_000), ("4", 1000, 48_000))


def test_part_of_a_gpu_goes_where_the_least_is_left() -> None:
    wanted = request(milli_gpu=250, gpu_vram_mib=1000)
    answer = placed(wanted, host("a", gpu("1"), gpu("2", 500), gpu("3", 300), gpu("4", 200)))
    assert answer.parts == (("3", 250, 1000),)


def test_part_of_a_gpu_needs_its_memory_free_as_well() -> None:
    wanted = request(milli_gpu=100, gpu_vram_mib=10_000)
    answer = placed(wanted, host("a", gpu("1", 500, free_vram_mib=9999), gpu("2", 600, free_vram_mib=10_000)))
    assert answer.parts == (("2", 100, 10_000),)


def test_gpus_and_a_part_are_different_gpus() -> None:
    answer = placed(request(milli_gpu=1500), host("a", gpu("1"), gpu("2")))
    assert sorted(milli for _, milli, _ in answer.parts) == [500, 1000]
    assert len(set(answer.gpu_ids)) == 2
    assert reasons(request(milli_gpu=1500), host("a", gpu("1")))[0].code == "gpus"


def test_gpus_are_chosen_by_model_memory_and_uuid() -> None:
    both = host("a", gpu("1"), gpu("2", model="NVIDIA A100 80GB", vram=80_000))
    assert placed(request(milli_gpu=1000, gpu_models=("a100",)), both).gpu_ids == ("2",)
    assert placed(request(milli_gpu=1000, gpu_vram_mib=50_000), both).gpu_ids == ("2",)
    assert placed(request(milli_gpu=1000, gpu_ids=("2",)), both).gpu_ids == ("2",)
    (reason,) = reasons(request(milli_gpu=1000, gpu_models=("H100",)), both)
    assert reason.code == "gpus"
    assert reason.is_for_good
    assert "1 is NVIDIA L40S; 2 is NVIDIA A100 80GB" in reason.message


def test_mig_instances_go_to_who_asks_for_their_profile_or_uuid_and_their_gpu_to_nobody() -> None:
    instance = gpu("MIG-1", parent_gpu_id="GPU-1", mig_profile="1g.10gb", vram=10_000)
    cut = host("a", gpu("GPU-1"), instance)
    assert placed(request(milli_gpu=1000, mig_profile="1g.10gb"), cut).gpu_ids == ("MIG-1",)
    assert placed(request(milli_gpu=1000, gpu_ids=("MIG-1",)), cut).gpu_ids == ("MIG-1",)
    (reason,) = reasons(request(milli_gpu=1000), cut)
    assert "GPU-1 is divided into MIG instances; MIG-1 is a MIG instance of 1g.10gb" in reason.message
    assert reasons(request(milli_gpu=1000, mig_profile="2g.20gb"), cut)[0].is_for_good
    assert reasons(request(milli_gpu=1000, gpu_ids=("GPU-1",)), cut)[0].is_for_good


def test_blocked_gpu_is_skipped_and_named_with_its_mark() -> None:
    marked = gpu("1", blocked="cordoned: fan fails")
    assert placed(request(milli_gpu=1000), host("a", marked, gpu("2"))).gpu_ids == ("2",)
    (reason,) = reasons(request(milli_gpu=1000), host("a", marked))
    assert reason.message == "needs 1 whole GPU: 1 takes no work: cordoned: fan fails"
    assert not reason.is_for_good


def test_more_gpus_than_one_booking_takes_are_refused_for_good() -> None:
    many = host("a", *(gpu(f"GPU-{number}") for number in range(66)))
    (reason,) = reasons(request(milli_gpu=65_000), many)
    assert "an attempt may hold 64 at most" in reason.message
    assert reason.is_for_good
    assert "and 50 more" in reasons(request(milli_gpu=1000, gpu_models=("H100",)), many)[0].message


@pytest.mark.parametrize(
    ("needs", "code", "message"),
    [
        ({"millicores": 8001}, "cores", "needs 8001 thousandths of a core; 8000 of 8000 are free"),
        ({"memory_mib": 16_001}, "memory", "needs 16001 MiB of memory; 16000 of 16000 are free"),
        ({"storage_mib": 100_001}, "storage", "needs 100001 MiB of storage; 100000 of 100000 are free"),
        ({"milli_gpu": 1}, "gpus", "needs 1 thousandths of a GPU: the host has no GPUs"),
    ],
)
def test_what_a_host_does_not_have_is_refused_for_good_with_figures(
    needs: dict[str, Any], code: str, message: str
) -> None:
    answer = place(request(**needs), [host()])
    assert answer == Refusal(reasons=(Reason(host_id="a", code=code, message=message, is_for_good=True),))
    assert isinstance(answer, Refusal)
    assert answer.is_for_good


def test_what_is_only_held_now_is_not_refused_for_good() -> None:
    answer = place(request(millicores=5000), [host(allocated_millicores=4000)])
    assert isinstance(answer, Refusal)
    assert not answer.is_for_good


def test_no_host_at_all_is_a_refusal_and_not_for_good() -> None:
    answer = place(request(), [])
    assert isinstance(answer, Refusal)
    assert [reason.code for reason in answer.reasons] == ["no_host"]
    assert not answer.is_for_good


def test_host_is_the_asked_one_and_never_a_blocked_one() -> None:
    assert placed(request(host_id="b"), host("a"), host("b")).host_id == "b"
    told = reasons(request(host_id="b"), host("a"), host("b", blocked="draining: for repair"))
    assert [(reason.host_id, reason.code, reason.message) for reason in told] == [
        ("a", "other_host", "the job asks for host 'b'"),
        ("b", "host_blocked", "draining: for repair"),
    ]
    assert reasons(request(host_id="c"), host("a"))[0].is_for_good


def test_engine_is_the_first_that_can() -> None:
    both = host("a", gpu("1"), engines=(SANDBOX, DOCKER))
    assert placed(request(), both).engine == "sandbox"
    assert placed(request(milli_gpu=1000), both).engine == "docker"
    assert placed(request(network="bridge"), both).engine == "docker"
    assert placed(request(engine="docker"), both).engine == "docker"
    assert reasons(request(engine="slurm"), both)[0].message == (
        "sandbox: the job asks for engine 'slurm'; docker: the job asks for engine 'slurm'"
    )


def test_unsafe_engine_runs_only_what_the_configuration_allows() -> None:
    unsafe = EngineOffer(name="process", unsafe="jobs run as this user", is_allowed=False)
    (reason,) = reasons(request(engine="process"), host(engines=(unsafe,)))
    assert reason.message == "process: not allowed by the configuration: jobs run as this user"
    assert reason.is_for_good
    allowed = EngineOffer(name="process", unsafe="jobs run as this user", is_allowed=True)
    assert placed(request(), host(engines=(allowed,))).engine == "process"


def test_engine_that_does_not_answer_is_waited_for() -> None:
    away = EngineOffer(name="docker", blocked="no answer from /run/docker.sock")
    (reason,) = reasons(request(), host(engines=(away,)))
    assert reason.message == "docker: no answer from /run/docker.sock"
    assert not reason.is_for_good
    assert reasons(request(), host(engines=()))[0].message == "the host has no task engine"


def test_engine_with_images_of_its_own_alone_takes_only_jobs_that_name_it() -> None:
    away = EngineOffer(name="docker", blocked="no answer from /run/docker.sock")
    own = EngineOffer(name="sandbox", only_named="the image is none of its own")
    (reason,) = reasons(request(), host(engines=(away, own)))
    assert reason.message == "docker: no answer from /run/docker.sock; sandbox: the image is none of its own"
    assert not reason.is_for_good
    assert placed(request(engine="sandbox"), host(engines=(away, own))).engine == "sandbox"


def test_hosts_with_fewer_free_gpus_and_then_fewer_cores_are_taken_first() -> None:
    hosts = (host("gpus", gpu("1")), host("large", millicores=64_000), host("small"))
    assert placed(request(millicores=1000), *hosts).host_id == "small"
    assert placed(request(millicores=9000), *hosts).host_id == "large"


GPUS = st.lists(
    st.builds(
        lambda free, vram, blocked, model: (free, vram, blocked, model),
        st.sampled_from([0, 250, 500, 999, 1000]),
        st.sampled_from([10_000, 48_000]),
        st.sampled_from(["", "", "lost"]),
        st.sampled_from(["L40S", "H100"]),
    ),
    max_size=4,
)
NEEDS = st.builds(
    Needs,
    millicores=st.sampled_from([0, 1000, 8000, 9000]),
    memory_mib=st.sampled_from([0, 16_000, 16_001]),
    milli_gpu=st.sampled_from([0, 0, 250, 500, 1000, 1500, 2000]),
    gpu_vram_mib=st.sampled_from([0, 5000, 20_000]),
    gpu_models=st.sampled_from([(), ("h100",)]),
)


@given(st.lists(st.tuples(GPUS, st.integers(0, 8000), st.sampled_from(["", "", "", "draining"])), max_size=3), NEEDS)
def test_what_fits_nowhere_has_a_reason_for_every_host_and_what_fits_is_there(
    drawn: list[tuple[list[tuple[int, int, str, str]], int, str]], needs: Needs
) -> None:
    hosts = [
        host(
            str(number),
            *(
                gpu(f"{number}.{index}", free, vram=vram, blocked=mark, model=model)
                for index, (free, vram, mark, model) in enumerate(gpus)
            ),
            allocated_millicores=held,
            blocked=blocked,
        )
        for number, (gpus, held, blocked) in enumerate(drawn)
    ]
    wanted = Request(needs=needs)
    room = Room(hosts)
    found = find(wanted, room)
    assert found == find(wanted, Room(hosts))
    if found is None:
        told = {reason.host_id for reason in refusals(wanted, hosts, room)}
        assert told == ({one.host_id for one in hosts} or {""})
        return
    room.take(needs, found)
    left = room.hosts[found.host_id]
    assert min(left.millicores, left.memory_mib, left.storage_mib) >= 0
    assert sum(milli for _, milli, _ in found.parts) == needs.milli_gpu
    assert len(set(found.gpu_ids)) == len(found.parts)
    for gpu_id, milli, _ in found.parts:
        part = left.gpus[gpu_id]
        assert part.milli_gpu >= 0
        assert part.vram_mib >= 0
        assert not part.gpu.blocked
        if milli == 1000:
            assert part.gpu.free_milli_gpu == 1000
