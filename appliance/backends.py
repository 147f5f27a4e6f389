"""How core sees the accelerators of this host."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from attrs import field, frozen

from appliance.devices import Gpu, GpuSample
from appliance.errors import DeviceUnavailable


class DeviceAbsent(DeviceUnavailable):
    """There is no such hardware or driver on this host: a fact, not a fault; nothing needs mending."""


@frozen(kw_only=True)
class DeviceEvent:
    """Something a driver reported that is worth keeping: an XID, an ECC error, a GPU that went away or came back."""

    kind: str
    """Dotted and stable: ``gpu.xid``, ``gpu.ecc``, ``gpu.driver_reloaded``; core itself tells ``gpu.lost``,
    ``gpu.returned`` and, for MIG instances, ``gpu.removed``."""
    gpu_id: str
    message: str
    """One sentence for people."""
    level: str = "warning"
    """``info``, ``warning`` or ``critical``."""
    data: Mapping[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class DeviceReading:
    """All that one backend saw in one pass."""

    gpus: tuple[Gpu, ...] = ()
    samples: tuple[GpuSample, ...] = ()
    events: tuple[DeviceEvent, ...] = ()
    problems: tuple[str, ...] = ()
    """What could not be read, in plain words, without the rest being lost."""


@frozen(kw_only=True)
class BackendStatus:
    """How one backend is doing, in words for people."""

    name: str
    state: str
    """``starting``, ``ok``, ``absent`` (no such hardware or driver here), ``unavailable`` or ``hung``."""
    message: str
    """What was found, or what was looked for and why it does not work."""
    hint: str = ""
    """What to do, as a command where there is one; empty when there is nothing to do."""
    problems: tuple[str, ...] = ()
    """What the last pass could not read, without the rest being lost."""

    @property
    def ok(self) -> bool:
        """Whether the last pass could read the devices."""
        return self.state == "ok"

    @property
    def present(self) -> bool:
        """Whether this host has such devices or their driver at all."""
        return self.state != "absent"


@runtime_checkable
class DeviceBackend(Protocol):
    """One vendor's way to read its devices.

    Core calls every method from one thread of the backend's own, never two at a time, so methods may block. A call
    that outlasts its deadline costs this backend its samples until it returns; the process and other backends go on.
    `DeviceUnavailable` from `open` or `read` means "not now": core closes the backend and opens it again later, with
    back-off, and shows the message to people; `DeviceAbsent` says that there is nothing to mend. Any other exception
    is treated alike, with its text. A GPU that a later reading leaves out is taken for lost, and told so once.
    """

    @property
    def name(self) -> str:
        """``nvidia``, ``amd``: shown in ``/readyz``, ``doctor`` and the dashboard."""
        ...

    def open(self) -> str:
        """Connect to the driver; return one line for people ("driver 580.82, NVML 13, 2 GPUs")."""
        ...

    def read(self, now_unix_us: int) -> DeviceReading:
        """Read every device once; never wake a sleeping one."""
        ...

    def close(self) -> None:
        """Let go of the driver; called once after `open`, also when it failed half-way; must not raise."""
        ...
