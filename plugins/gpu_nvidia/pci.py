"""NVIDIA GPUs on the PCI bus, seen without touching their driver: which there are, and which are asleep."""

import re

from attrs import frozen

from appliance.plugin import Host

NVIDIA = "0x10de"
DISPLAY_CLASSES = ("0x0300", "0x0302")
ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]")


@frozen(kw_only=True)
class PciGpu:
    """What the kernel and the driver's files say of one GPU."""

    address: str
    """As in sysfs, such as ``0000:1b:00.0``."""
    uuid: str | None
    model: str | None


def sysfs_address(pci_address: str) -> str:
    """Return NVML's spelling of an address (``00000000:1B:00.0``) as sysfs spells it (``0000:1b:00.0``)."""
    domain, _, rest = pci_address.strip().lower().partition(":")
    return f"{domain[-4:]:>04}:{rest}"


def gpus(host: Host) -> list[PciGpu]:
    """Return the NVIDIA GPUs on the bus, by address."""
    folder = host.path("/sys/bus/pci/devices")
    found = []
    try:
        names = sorted(entry.name for entry in folder.iterdir() if ADDRESS.fullmatch(entry.name))
    except OSError:
        return []
    for name in names:
        if _word(host, f"/sys/bus/pci/devices/{name}/vendor") != NVIDIA:
            continue
        if _word(host, f"/sys/bus/pci/devices/{name}/class")[:6] in DISPLAY_CLASSES:
            uuid, model = _information(host, name)
            found.append(PciGpu(address=name, uuid=uuid, model=model))
    return found


def is_asleep(host: Host, address: str) -> bool:
    """Whether the GPU at a sysfs address is in runtime suspend; reading this does not wake it."""
    return _word(host, f"/sys/bus/pci/devices/{address}/power/runtime_status") == "suspended"


def _information(host: Host, address: str) -> tuple[str | None, str | None]:
    """Return uuid and model from the driver's file about a GPU, which does not wake it either."""
    uuid = model = None
    try:
        text = host.path(f"/proc/driver/nvidia/gpus/{address}/information").read_text(errors="replace")
    except OSError:
        return None, None
    for line in text.splitlines()[:64]:
        name, _, value = line.partition(":")
        if name.strip() == "GPU UUID" and "?" not in value:
            uuid = value.strip()
        elif name.strip() == "Model":
            model = value.strip()
    return uuid, model


def _word(host: Host, path: str) -> str:
    try:
        with open(host.path(path), "rb", buffering=0) as file:
            return file.read(64).decode("ascii", "replace").strip()
    except OSError:
        return ""
