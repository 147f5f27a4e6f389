"""NVIDIA GPUs, seen through the driver's own library (NVML)."""

from appliance.plugin import DeviceBackend, Host, hookimpl

from .backend import Nvml

appliance_api = 1


@hookimpl
def appliance_device_backends(host: Host) -> list[DeviceBackend]:
    """Offer one backend on every host: a driver that is loaded later is found then."""
    return [Nvml(host)]
