"""What makes hosts one, whose a GPU is, and what may take new work."""

import pytest
from attrs import evolve

from appliance.devices import Gpu
from appliance.errors import BadInput, TooLarge
from appliance.inventory.models import KnownGpu, KnownHost, Mark, MarkKind
from appliance.inventory.rules import GPUS_MAX, HOST_LOST_SECONDS, gpu_changes, host_with_gpus, why_no_new_work

SECOND = 1_000_000


def gpu(gpu_id: str, index: int = 0, parent: str | None = None) -> Gpu:
    return Gpu(gpu_id=gpu_id, index=index, vendor="nvidia", model="H100", parent_gpu_id=parent)


def known(gpu_id: str, host_id: str = "h", *, present: bool = True, parent: str | None = None) -> KnownGpu:
    return KnownGpu(
        gpu=gpu(gpu_id, parent=parent), host_id=host_id, present=present, first_seen_unix_us=1, changed_at_unix_us=1
    )


def host(host_id: str, last_seen_us: int = 0) -> KnownHost:
    return KnownHost(host_id=host_id, hostname="box", first_seen_unix_us=0, last_seen_unix_us=last_seen_us)


def by_id(*gpus: KnownGpu) -> dict[str, KnownGpu]:
    return {gpu.gpu_id: gpu for gpu in gpus}


def changed(
    *reported: Gpu, before: dict[str, KnownGpu], at: int = 100, host_id: str = "h", own: bool = False
) -> list[str]:
    hosts = {"h": host("h"), "other": host("other")}
    changes = gpu_changes("h", reported, before, hosts, at_unix_us=at, authoritative=own)
    words = [f"{gpu.gpu_id} {gpu.host_id} {'there' if gpu.present else 'gone'}" for gpu in changes.changed]
    return words + [f"{gpu_id} refused" for gpu_id in sorted(changes.refused)]


def test_report_that_says_nothing_new_changes_nothing() -> None:
    assert changed(gpu("a"), before=by_id(known("a"))) == []


@pytest.mark.parametrize(
    ("reported", "before", "answer"),
    [
        ([gpu("a")], [], ["a h there"]),
        ([], [known("a")], ["a h gone"]),
        ([], [known("a", present=False)], []),
        ([], [known("a", "other")], []),
        ([gpu("a")], [known("a", present=False)], ["a h there"]),
        ([gpu("a", 3)], [known("a")], ["a h there"]),
        ([gpu("a"), gpu("b")], [known("b"), known("c")], ["a h there", "c h gone"]),
    ],
)
def test_changes_are_told(reported: list[Gpu], before: list[KnownGpu], answer: list[str]) -> None:
    assert changed(*reported, before=by_id(*before)) == answer


def test_gpu_of_a_host_that_is_alive_stays_there_until_that_is_lost_or_lets_go() -> None:
    lost = HOST_LOST_SECONDS * SECOND
    held = by_id(known("a", "other"))
    assert changed(gpu("a"), before=held, at=lost - 1) == ["a refused"]
    assert changed(gpu("a"), before=held, at=lost) == ["a h there"]
    assert changed(gpu("a"), before=by_id(known("a", "other", present=False)), at=1) == ["a h there"]


def test_our_own_driver_is_always_right() -> None:
    assert changed(gpu("a"), before=by_id(known("a", "other")), at=1, own=True) == ["a h there"]


@pytest.mark.parametrize("gpu_id", ["", "x" * 201, "a\nb", "a\x00"])
def test_id_that_would_break_lines_is_bad_input(gpu_id: str) -> None:
    with pytest.raises(BadInput):
        changed(gpu(gpu_id), before={})


def test_gpu_reported_twice_and_too_many_are_refused() -> None:
    with pytest.raises(BadInput, match="twice"):
        changed(gpu("a"), gpu("a"), before={})
    with pytest.raises(TooLarge):
        changed(*(gpu(str(number)) for number in range(GPUS_MAX + 1)), before={})


def test_same_host_is_the_one_with_exactly_the_same_gpus() -> None:
    there = [known("a"), known("b"), known("m", parent="a"), known("c", "other"), known("d", present=False)]
    assert host_with_gpus(["b", "a"], there) == "h"
    assert host_with_gpus(["c"], there) == "other"
    for other in ([], ["a"], ["a", "b", "c"], ["d"], ["a", "b", "m"]):
        assert host_with_gpus(other, there) is None


def test_marks_of_the_gpu_its_parent_and_its_host_keep_work_away() -> None:
    mark = Mark(kind=MarkKind.UNHEALTHY, reason="XID 79", who="gpu_nvidia", set_at_unix_us=1)
    parent, child, box = known("p"), known("c", parent="p"), host("h")
    assert why_no_new_work(child, by_id(parent, child), {"h": box}) is None
    marked = (mark,)
    assert why_no_new_work(evolve(child, marks=marked), {}, {}) == "it is unhealthy: XID 79"
    assert why_no_new_work(child, by_id(evolve(parent, marks=marked)), {}) == "its GPU is unhealthy: XID 79"
    assert why_no_new_work(child, {}, {"h": evolve(box, marks=marked)}) == "its host is unhealthy: XID 79"
    assert why_no_new_work(evolve(child, present=False), {}, {}) == "it is not there"
