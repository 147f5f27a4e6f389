"""What our own API answers about tasks as a whole: how many there are, on what, and what runs them."""

from msgspec import Struct


class EngineItem(Struct, frozen=True, kw_only=True):
    """One way to run tasks."""

    name: str
    state: str
    """``starting``, ``ok``, ``absent`` (this host has nothing that it could use) or ``unavailable``."""
    message: str
    """What was found, or what is missing."""
    hint: str
    """How to get it; empty where nothing is missing."""
    features: tuple[str, ...]
    """Of ``gpu``, ``pull``, ``network``, ``storage_limit``, ``remote``."""
    unsafe: str
    """What it cannot keep apart from the appliance; empty when it can."""
    is_chosen: bool
    """Tasks that ask for nothing special run on it."""
    why: str
    """Why it is chosen, or why it is not."""


class GpuItem(Struct, frozen=True, kw_only=True):
    """One GPU, or MIG instance, as tasks may have it."""

    gpu_id: str
    index: int | None
    """Its place on its host; ``null`` where that is not known any more."""
    model: str
    parent_gpu_id: str | None
    vram_mib: int
    free_milli_gpu: int
    free_vram_mib: int
    blocked: str
    """Why no new task goes there; empty when it may."""
    task_ids: tuple[str, ...]
    """Of those that hold it, the ones that the caller sees."""


class HostItem(Struct, frozen=True, kw_only=True):
    """What a host has for tasks, and what of it they hold."""

    host_id: str
    hostname: str
    blocked: str
    cpu_millicores: int
    cpu_allocated_millicores: int
    memory_mib: int
    memory_allocated_mib: int
    storage_mib: int
    storage_allocated_mib: int
    gpus: tuple[GpuItem, ...]


class Overview(Struct, frozen=True, kw_only=True):
    """How tasks do on the whole."""

    states: dict[str, int]
    """How many tasks there are in each state, of those that the caller sees."""
    problem: str | None
    """Why nothing can start though tasks wait."""
    network: str
    """What a task gets that names none."""
    engines: tuple[EngineItem, ...]
    """In order of preference."""
    hosts: tuple[HostItem, ...]
