"""Which device files and driver libraries of this host a task with GPUs gets. Not proven on a host that has GPUs."""

import re
from pathlib import Path
from typing import Final

from attrs import field, frozen

from appliance.plugin import EndReason, Host, LaunchFailed

NVIDIA_FILES: Final = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset")
AMD_FILES: Final = ("/dev/kfd",)
LIBRARIES: Final = re.compile(
    r"^\s*(lib(?:cuda|nvidia-[a-z0-9-]+|nvcuvid|cudadebugger)\.so\.[0-9.]+) .*x86-64.* => (/\S+)$"
)
"""NVIDIA's driver in the output of ``ldconfig -p``: it must be of its kernel half's version, so no image has it."""
MIG: Final = "MIG-"


@frozen(kw_only=True)
class GpuAccess:
    """What a task needs to use its GPUs, and no others."""

    files: tuple[str, ...] = ()
    """Device files."""
    variables: dict[str, str] = field(factory=dict)
    """What tells programs which GPUs are theirs."""


def has_gpus(host: Host) -> bool:
    """Whether a driver of a supported vendor is loaded."""
    return host.path("/dev/nvidiactl").exists() or host.path("/dev/kfd").exists()


def access(host: Host, gpu_ids: tuple[str, ...]) -> GpuAccess:
    """Return how to reach some GPUs; raises `LaunchFailed` when one is not there."""
    files: list[str] = []
    nvidia = [gpu_id for gpu_id in gpu_ids if not gpu_id.startswith("AMD-")]
    amd = [gpu_id for gpu_id in gpu_ids if gpu_id.startswith("AMD-")]
    if nvidia:
        minors = _nvidia_minors(host)
        for gpu_id in nvidia:
            if gpu_id.startswith(MIG):
                raise _refused(f"{gpu_id} is a MIG instance, which this engine cannot bind", "use the engine docker")
            if gpu_id not in minors:
                raise _refused(f"{gpu_id} is not among this host's GPUs ({', '.join(minors) or 'none'})", "")
            files.append(f"/dev/nvidia{minors[gpu_id]}")
        files += [path for path in NVIDIA_FILES if host.path(path).exists()]
    if amd:
        nodes = _amd_nodes(host)
        for gpu_id in amd:
            if gpu_id not in nodes:
                raise _refused(f"{gpu_id} is not among this host's GPUs ({', '.join(nodes) or 'none'})", "")
            files.append(nodes[gpu_id])
        files += [path for path in AMD_FILES if host.path(path).exists()]
    variables = {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(nvidia),
        "NVIDIA_VISIBLE_DEVICES": ",".join(nvidia) or "void",
    }
    return GpuAccess(files=tuple(dict.fromkeys(files)), variables=variables)


def driver_libraries(listing: str) -> dict[str, str]:
    """Return NVIDIA's driver libraries in the output of ``ldconfig -p``: name -> path."""
    return {found[1]: found[2] for line in listing.splitlines() if (found := LIBRARIES.match(line))}


def _nvidia_minors(host: Host) -> dict[str, int]:
    found = {}
    for path in sorted(host.path("/proc/driver/nvidia/gpus").glob("*/information")):
        lines = (line.partition(":") for line in path.read_text(errors="replace").splitlines())
        facts = {name.strip(): value.strip() for name, _, value in lines}
        if facts.get("GPU UUID", "").startswith("GPU-") and facts.get("Device Minor", "").isdecimal():
            found[facts["GPU UUID"]] = int(facts["Device Minor"])
    return found


def _amd_nodes(host: Host) -> dict[str, str]:
    """Return the render node of each AMD GPU, by the id that this appliance knows it by."""
    found = {}
    for node in sorted(host.path("/sys/class/drm").glob("renderD*")):
        device = node / "device"
        if _text(device / "vendor") == "0x1002":
            unique, address = _text(device / "unique_id"), device.resolve().name
            usable = re.fullmatch(r"[0-9a-f]{16}", unique) is not None and int(unique, 16) != 0
            found[f"AMD-{unique}" if usable else f"AMD-{address}"] = f"/dev/dri/{node.name}"
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _refused(message: str, hint: str) -> LaunchFailed:
    return LaunchFailed(message, reason=EndReason.REFUSED, hint=hint)
