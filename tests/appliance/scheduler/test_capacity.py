"""What is free, and who holds it."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.jobs import Needs, Placement
from appliance.scheduler.capacity import GpuCapacity, Held, Holdings, HostCapacity, Room

HERE = Placement(host_id="a", engine="docker")
NEEDS = Needs(millicores=1500, memory_mib=100, storage_mib=10)


def gpu(gpu_id: str = "GPU-1", free: int = 1000, **more: object) -> GpuCapacity:
    return GpuCapacity(gpu_id=gpu_id, model="L40S", vram_mib=48_000, free_milli_gpu=free, free_vram_mib=48_000, **more)  # type: ignore[arg-type]


def host(*gpus: GpuCapacity, blocked: str = "") -> HostCapacity:
    return HostCapacity(
        host_id="a",
        hostname="a",
        millicores=8000,
        memory_mib=1000,
        storage_mib=100,
        allocated_millicores=9000,
        gpus=gpus,
        blocked=blocked,
    )


def test_what_is_held_beyond_all_there_is_leaves_nothing_and_not_less() -> None:
    assert host().free_millicores == 0
    assert host().free_memory_mib == 1000
    assert host().free_storage_mib == 100


def test_attempt_holds_once_however_often_it_is_told() -> None:
    holdings = Holdings()
    assert holdings.hold("j.1", NEEDS, HERE)
    assert not holdings.hold("j.1", Needs(millicores=9), HERE)
    assert holdings.on("a") == Held(millicores=1500, memory_mib=100, storage_mib=10)


def test_release_twice_is_release_once() -> None:
    holdings = Holdings()
    holdings.hold("j.1", NEEDS, HERE)
    holdings.hold("k.1", NEEDS, HERE)
    assert holdings.release("j.1")
    assert not holdings.release("j.1")
    assert holdings.on("a") == Held(millicores=1500, memory_mib=100, storage_mib=10)
    assert holdings.on("elsewhere") == Held()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 4000))))
def test_host_holds_the_sum_of_its_attempts_whatever_happens_to_them(steps: list[tuple[bool, int, int]]) -> None:
    holdings = Holdings()
    held: dict[str, int] = {}
    for holds, number, millicores in steps:
        attempt_id = f"j{number}.1"
        if holds:
            assert holdings.hold(attempt_id, Needs(millicores=millicores), HERE) == (attempt_id not in held)
            held.setdefault(attempt_id, millicores)
        else:
            assert holdings.release(attempt_id) == (held.pop(attempt_id, None) is not None)
        assert holdings.on("a").millicores == sum(held.values())


def test_room_has_neither_blocked_hosts_nor_blocked_nor_divided_gpus() -> None:
    mig = gpu("MIG-1", parent_gpu_id="GPU-1", mig_profile="1g.10gb")
    room = Room([host(gpu("GPU-1"), mig, gpu("GPU-2", blocked="cordoned"), gpu("GPU-3"))])
    assert list(room.hosts["a"].gpus) == ["MIG-1", "GPU-3"]
    assert room.hosts["a"].milli_gpu == 2000
    assert Room([host(blocked="draining")]).hosts == {}
    assert Room([]).most == (-1, -1, -1, -1)


def test_room_is_as_before_when_what_was_taken_is_given_back_and_its_copy_is_its_own() -> None:
    room = Room([host(gpu())])
    before = room.fingerprint
    placement = Placement(host_id="a", engine="docker", parts=(("GPU-1", 1000, 48_000), ("GPU-9", 1000, 0)))
    copy = room.copy()
    room.take(NEEDS, placement)
    assert room.hosts["a"].gpus["GPU-1"].milli_gpu == 0
    assert room.hosts["a"].gpus["GPU-1"].vram_mib == 0
    assert room.fingerprint != before == copy.fingerprint
    room.give_back(NEEDS, placement)
    assert room.fingerprint == before
    room.give_back(NEEDS, Placement(host_id="gone", engine="docker"))
    assert room.fingerprint == before
