"""Our own API: how tasks do on the whole, and which engine runs them and why."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from appliance.plugin import PERSON, Call, Caller, EngineStatus, GpuCapacity, HostCapacity, JobRecord

from . import callers
from .own_overview_models import EngineItem, GpuItem, HostItem, Overview
from .own_surface import PREFIX, api
from .state import TaskState

NOT_ALLOWED: Final = "not used: the configuration would have to allow it with [scheduler] unsafe_same_uid = true"


@api.get(f"{PREFIX}/overview", caller=PERSON, answer=Overview)
async def overview(call: Call[None]) -> Overview:
    """Count tasks by state, one's own or for operators everybody's; say what hosts have and which engine is used."""
    state: TaskState = call.state
    scheduler = state.core.scheduler
    owner = None if callers.sees_all(call.caller) else callers.owner_of(call.caller)
    hosts = scheduler.hosts()
    return Overview(
        states={each.value: count for each, count in (await scheduler.tally(owner=owner)).items()},
        problem=scheduler.problem,
        network=state.network(),
        engines=engine_items(scheduler.engines(), hosts),
        hosts=tuple(_host(state, call.caller, host) for host in hosts),
    )


def engine_items(statuses: Sequence[EngineStatus], hosts: Sequence[HostCapacity]) -> tuple[EngineItem, ...]:
    """Return every engine in order of preference, with why it is the one that tasks run on, or why it is not."""
    forbidden = {offer.name for host in hosts for offer in host.engines if offer.unsafe and not offer.is_allowed}
    chosen = next((one for one in statuses if one.state == "ok" and one.name not in forbidden), None)
    passed = [one.name for one in statuses[: statuses.index(chosen)]] if chosen is not None else []

    def why(one: EngineStatus) -> str:
        if one.name in forbidden:
            return NOT_ALLOWED
        if one.state != "ok":
            return "not used: see what it lacks"
        if chosen is None or one.name != chosen.name:
            first = "" if chosen is None else chosen.name
            return f"used for tasks that name it, or need what {first} cannot do"
        if not passed:
            return "chosen: the first in order of preference, and it works"
        return f"chosen: of those that work the first in order of preference; before it would come {', '.join(passed)}"

    return tuple(
        EngineItem(
            name=one.name,
            state=one.state,
            message=one.message,
            hint=one.hint,
            features=tuple(sorted(one.features)),
            unsafe=one.unsafe,
            is_chosen=one is chosen,
            why=why(one),
        )
        for one in statuses
    )


def _host(state: TaskState, caller: Caller, host: HostCapacity) -> HostItem:
    running = [one for one in state.core.scheduler.running_on(host.host_id) if callers.sees(caller, one)]
    indexes = {one.gpu_id: one.gpu.index for one in state.core.inventory.gpus(host_id=host.host_id)}
    return HostItem(
        host_id=host.host_id,
        hostname=state.workers.name_of(host.host_id),
        blocked=host.blocked,
        cpu_millicores=host.millicores,
        cpu_allocated_millicores=host.allocated_millicores,
        memory_mib=host.memory_mib,
        memory_allocated_mib=host.allocated_memory_mib,
        storage_mib=host.storage_mib,
        storage_allocated_mib=host.allocated_storage_mib,
        gpus=tuple(
            _gpu(gpu, indexes.get(gpu.gpu_id), running) for gpu in sorted(host.gpus, key=partial(_place, indexes))
        ),
    )


def _place(indexes: Mapping[str, int], gpu: GpuCapacity) -> tuple[int, bool, str]:
    """Return where a GPU stands in the list: by its index, instances below the one that they are parts of."""
    whole = gpu.parent_gpu_id or gpu.gpu_id
    return indexes.get(whole, len(indexes)), gpu.parent_gpu_id is not None, gpu.gpu_id


def _gpu(gpu: GpuCapacity, index: int | None, running: Sequence[JobRecord]) -> GpuItem:
    return GpuItem(
        gpu_id=gpu.gpu_id,
        index=index,
        model=gpu.model,
        parent_gpu_id=gpu.parent_gpu_id,
        vram_mib=gpu.vram_mib,
        free_milli_gpu=gpu.free_milli_gpu,
        free_vram_mib=gpu.free_vram_mib,
        blocked=gpu.blocked,
        task_ids=tuple(
            one.job_id for one in running if one.placement is not None and gpu.gpu_id in one.placement.gpu_ids
        ),
    )
