"""What workers have and hold, from what core's scheduler says of its hosts."""

import pytest

from appliance.scheduler.capacity import GpuCapacity, HostCapacity
from plugins.task_scheduler.models import Amounts
from plugins.task_scheduler.workers import allocated_of, percent, total_of


def host(*gpus: GpuCapacity) -> HostCapacity:
    return HostCapacity(host_id="h", hostname="box", millicores=8000, memory_mib=1024, storage_mib=10, gpus=gpus)


def gpu(gpu_id: str, free_milli_gpu: int = 1000, parent: str | None = None) -> GpuCapacity:
    return GpuCapacity(
        gpu_id=gpu_id,
        model="H200",
        vram_mib=1000,
        parent_gpu_id=parent,
        free_milli_gpu=free_milli_gpu,
        free_vram_mib=1000,
    )


def test_whole_gpus_and_parts_add_up_in_thousandths() -> None:
    found = host(gpu("a", 0), gpu("b", 750), gpu("c"))
    assert (total_of(found).milli_gpu, allocated_of(found).milli_gpu) == (3000, 1250)


def test_mig_instances_are_parts_of_the_gpu_that_is_counted() -> None:
    found = host(gpu("a"), gpu("a1", 0, "a"), gpu("a2", 1000, "a"), gpu("b", 0))
    assert (total_of(found).milli_gpu, allocated_of(found).milli_gpu) == (2000, 1500)


def test_nothing_available_is_ever_below_zero() -> None:
    left = Amounts(millicores=1, memory_mib=2).minus(Amounts(millicores=2, memory_mib=1, milli_gpu=5))
    assert left == Amounts(memory_mib=1)


@pytest.mark.parametrize(("value", "shown"), [(None, 0.0), (-1.0, 0.0), (45.234, 45.23), (250.0, 100.0)])
def test_usage_is_a_number_from_0_to_100(value: float | None, shown: float) -> None:
    assert percent(value) == shown
