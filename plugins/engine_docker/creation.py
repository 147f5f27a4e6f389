"""From a launch to the container that the engine is asked to make."""

import re
from typing import Any, Final

from attrs import frozen

from appliance.plugin import EndReason, Launch, LaunchFailed, engine_labels

from .containers import FENCE, MEMORY
from .settings import DockerSettings

NOFILE_USUAL: Final = 1_048_576
"""What engines give by themselves; more than our own hard limit cannot be given where raising it is not allowed."""
LOG_FILES: Final = 2
SHM_MIB_MIN: Final = 64
NETWORK_CAPABILITIES: Final = frozenset({"NET_ADMIN", "NET_RAW", "SYS_ADMIN", "ALL"})
"""With any of these a task takes the fence around its network away."""
_GPU: Final = re.compile(r"(GPU|MIG)-[A-Za-z0-9][A-Za-z0-9/-]{0,120}")


@frozen(kw_only=True)
class Surroundings:
    """What of the engine decides how containers are made."""

    is_podman: bool
    cdi: bool
    """Whether GPUs are given by their CDI names instead of NVIDIA's runtime."""
    gpus: bool
    storage_limit: bool
    nofile_max: int | None
    """Our own hard limit of open files where it is below what engines give; ``None`` where it is not."""
    nproc_max: int | None


def container_body(
    launch: Launch, appliance_id: str, settings: DockerSettings, around: Surroundings, network: str
) -> dict[str, Any]:
    """Return the body of ``POST /containers/create`` for an attempt.

    :param network: the engine's word for its network: ``none``, a name, or ``container:`` and a container.
    :raises LaunchFailed: something was asked for that this engine cannot give.
    """
    environment = {"PYTHONUNBUFFERED": "1", **launch.environment}
    # An image made for NVIDIA's runtime asks for all GPUs by itself; what the attempt was given comes last and counts.
    environment["NVIDIA_VISIBLE_DEVICES"] = ",".join(launch.gpu_ids) or "void"
    body: dict[str, Any] = {
        "Image": launch.image,
        "Tty": launch.tty,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": engine_labels(launch, appliance_id) | {MEMORY: str(launch.memory_mib)},
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": _host_config(launch, settings, around, network),
    }
    if launch.command:
        body |= {"Entrypoint": ["/bin/sh", "-c", launch.command], "Cmd": []}
    return body


def fence_body(
    launch: Launch, appliance_id: str, settings: DockerSettings, around: Surroundings, image: str
) -> dict[str, Any]:
    """Return the body for the container that holds an attempt's network and closes it to link-local addresses."""
    host: dict[str, Any] = {
        "NetworkMode": settings.network,
        "CapDrop": ["ALL"],
        "CapAdd": ["NET_ADMIN"],
        "SecurityOpt": ["no-new-privileges"],
        "Memory": 16 * 2**20,
        "MemorySwap": 16 * 2**20,
        "PidsLimit": 4,
        "Ulimits": _ulimits(around),
        "Dns": list(settings.dns),
        "LogConfig": _log_config(around, 1),
    }
    return {
        "Image": image,
        "Entrypoint": ["/fence"],
        "Cmd": [],
        "StopSignal": "SIGKILL",  # it takes no other, and an engine that stops should not wait for it
        "Labels": engine_labels(launch, appliance_id) | {FENCE: "1"},
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": host,
    }


def _host_config(launch: Launch, settings: DockerSettings, around: Surroundings, network: str) -> dict[str, Any]:
    memory = launch.memory_mib * 2**20
    host: dict[str, Any] = {
        "NetworkMode": network,
        "NanoCpus": launch.millicores * 10**6,
        "Memory": memory,
        "MemorySwap": memory,  # both together: no swap
        "PidsLimit": launch.pids_max,
        "Ulimits": _ulimits(around),
        "CapDrop": ["ALL"],
        "CapAdd": sorted(launch.privileges),
        "SecurityOpt": ["no-new-privileges"],
        "Privileged": False,
        "IpcMode": "private",
        "RestartPolicy": {"Name": "no"},
        "LogConfig": _log_config(around, settings.log_mib),
        # Shared memory counts as the task's own: half of its limit, since the usual 64 MiB stop most training.
        "ShmSize": max(SHM_MIB_MIN, launch.memory_mib // 2) * 2**20,
        "Mounts": [
            {
                "Type": "bind",
                "Source": str(volume.source),
                "Target": f"/volumes/{volume.name}",
                "ReadOnly": volume.read_only,
                "BindOptions": {"Propagation": "rprivate"},
            }
            for volume in launch.volumes
        ],
    }
    if settings.init:
        host["Init"] = True
    if not network.startswith("container:") and network != "none" and settings.dns:
        host["Dns"] = list(settings.dns)
    if around.storage_limit and launch.storage_mib:
        host["StorageOpt"] = {"size": str(launch.storage_mib * 2**20)}
    if launch.gpu_ids:
        host["DeviceRequests"] = [_device_request(launch, around)]
    return host


def _device_request(launch: Launch, around: Surroundings) -> dict[str, Any]:
    for one in launch.gpu_ids:
        if not _GPU.fullmatch(one):
            raise LaunchFailed(
                f"containers are given NVIDIA GPUs only, and {one[:80]!r} is none", reason=EndReason.REFUSED
            )
    if not around.gpus:
        raise LaunchFailed(
            "this engine cannot give GPUs to containers",
            reason=EndReason.REFUSED,
            hint="install nvidia-container-toolkit, then: nvidia-ctk runtime configure (Docker) or nvidia-ctk cdi"
            " generate --output=/etc/cdi/nvidia.yaml (Podman)",
        )
    if around.cdi:
        return {"Driver": "cdi", "DeviceIDs": [f"nvidia.com/gpu={one}" for one in launch.gpu_ids]}
    return {"Driver": "nvidia", "DeviceIDs": list(launch.gpu_ids), "Capabilities": [["gpu"]]}


def _ulimits(around: Surroundings) -> list[dict[str, Any]]:
    """Return limits that a container may be given where its engine may not raise its own."""
    limits = (("nofile", around.nofile_max), ("nproc", around.nproc_max))
    return [{"Name": name, "Soft": most, "Hard": most} for name, most in limits if most is not None]


def _log_config(around: Surroundings, log_mib: int) -> dict[str, Any]:
    # Docker drops the older of two files, so that half of the room is always there; Podman has one, and empties it.
    if around.is_podman:
        return {"Type": "k8s-file", "Config": {"max-size": f"{log_mib}m"}}
    size_kib = log_mib * 1024 // LOG_FILES
    return {"Type": "json-file", "Config": {"max-size": f"{size_kib}k", "max-file": str(LOG_FILES)}}
