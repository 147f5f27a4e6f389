"""AMD GPUs, seen through the kernel's own files and, where it loads, AMD's library (amdsmi)."""

from appliance.plugin import DeviceBackend, Host, hookimpl

from .backend import Amd

appliance_api = 1


@hookimpl
def appliance_device_backends(host: Host) -> list[DeviceBackend]:
    """Offer one backend on every host: a driver that is loaded later is found then."""
    return [Amd(host)]
