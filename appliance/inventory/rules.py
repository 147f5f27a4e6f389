"""What makes two hosts one, whose GPU it is, and what may take new work: decisions without I/O."""

from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve, frozen

from appliance.devices import Gpu
from appliance.errors import BadInput, TooLarge
from appliance.inventory.models import KnownGpu, KnownHost

GPUS_MAX = 1024
ID_MAX_CHARS = 200
HOST_LOST_SECONDS = 120


@frozen(kw_only=True)
class GpuChanges:
    """What a report of a host's GPUs changes."""

    changed: tuple[KnownGpu, ...]
    """New, moved, returned, gone and changed ones, as they are to be from now on."""
    refused: frozenset[str]
    """Ids that another host, alive now, has and keeps."""


def check_id(name: str, value: str) -> str:
    """Return ``value``; raise `BadInput` when it is empty, too long or has characters that break lines and logs."""
    if not value or len(value) > ID_MAX_CHARS or not value.isprintable():
        raise BadInput(f"{name} must be 1 to {ID_MAX_CHARS} printable characters", field=name)
    return value


def gpu_changes(
    host_id: str,
    gpus: Sequence[Gpu],
    known: Mapping[str, KnownGpu],
    hosts: Mapping[str, KnownHost],
    *,
    at_unix_us: int,
    authoritative: bool,
) -> GpuChanges:
    """Compare what a host reports with what is known.

    :param authoritative: the report is our own driver's: nobody else can have these GPUs.
    """
    if len(gpus) > GPUS_MAX:
        raise TooLarge(f"a host has at most {GPUS_MAX} GPUs")
    changed: list[KnownGpu] = []
    refused: set[str] = set()
    reported: set[str] = set()
    for gpu in gpus:
        check_id("gpu_id", gpu.gpu_id)
        if gpu.gpu_id in reported:
            raise BadInput(f"GPU {gpu.gpu_id!r} is reported twice", field="gpu_id")
        reported.add(gpu.gpu_id)
        before = known.get(gpu.gpu_id)
        if before is not None and not authoritative and _is_held(before, host_id, hosts, at_unix_us):
            refused.add(gpu.gpu_id)
            continue
        after = _seen(gpu, host_id, before, at_unix_us)
        if after is not before:
            changed.append(after)
    for before in known.values():
        if before.host_id == host_id and before.present and before.gpu_id not in reported:
            changed.append(evolve(before, present=False, changed_at_unix_us=at_unix_us))
    return GpuChanges(changed=tuple(changed), refused=frozenset(refused))


def _is_held(gpu: KnownGpu, host_id: str, hosts: Mapping[str, KnownHost], at_unix_us: int) -> bool:
    if gpu.host_id == host_id or not gpu.present:
        return False
    holder = hosts.get(gpu.host_id)
    return holder is not None and at_unix_us - holder.last_seen_unix_us < HOST_LOST_SECONDS * 1_000_000


def _seen(gpu: Gpu, host_id: str, before: KnownGpu | None, at_unix_us: int) -> KnownGpu:
    if before is None:
        return KnownGpu(
            gpu=gpu, host_id=host_id, present=True, first_seen_unix_us=at_unix_us, changed_at_unix_us=at_unix_us
        )
    if before.present and before.host_id == host_id and before.gpu == gpu:
        return before
    return evolve(before, gpu=gpu, host_id=host_id, present=True, changed_at_unix_us=at_unix_us)


def host_with_gpus(gpu_ids: Iterable[str], known: Iterable[KnownGpu]) -> str | None:
    """Return the host whose present GPUs are exactly ``gpu_ids``; ``None`` when there is none, or no id is given.

    A name or an address never makes two hosts one. MIG instances do not count: they come and go on one GPU.
    """
    wanted = set(gpu_ids)
    if not wanted:
        return None
    sets: dict[str, set[str]] = {}
    for gpu in known:
        if gpu.present and gpu.gpu.parent_gpu_id is None:
            sets.setdefault(gpu.host_id, set()).add(gpu.gpu_id)
    return next((host_id for host_id, gpu_ids_there in sets.items() if gpu_ids_there == wanted), None)


def why_no_new_work(gpu: KnownGpu, known: Mapping[str, KnownGpu], hosts: Mapping[str, KnownHost]) -> str | None:
    """Return in words why a GPU takes no new work, ``None`` when it does; marks of its host and parent count too."""
    if not gpu.present:
        return "it is not there"
    parent = known.get(gpu.gpu.parent_gpu_id or "")
    host = hosts.get(gpu.host_id)
    for what, marked in (("it", gpu), ("its GPU", parent), ("its host", host)):
        if marked is not None and marked.marks:
            mark = marked.marks[0]
            reason = f": {mark.reason}" if mark.reason else ""
            return f"{what} is {mark.kind}{reason}"
    return None
