"""What the driver reports by itself: XID errors and uncorrectable ECC errors."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import pynvml
from attrs import define, field

from appliance.plugin import DeviceEvent, Gpu

from .xid import describe

WANTED: Final = pynvml.nvmlEventTypeXidCriticalError | pynvml.nvmlEventTypeDoubleBitEccError
MOST_PER_PASS: Final = 64
"""A GPU that fails can report thousands a second; the rest waits for the next pass."""


@define
class DriverEvents:
    """A subscription to the driver's events, read without waiting."""

    _set: Any = field(default=None, init=False)

    def open(self, handles: Iterable[Any]) -> list[str]:
        """Subscribe for these devices; return what could not be subscribed, in plain words."""
        problems = []
        try:
            self._set = pynvml.nvmlEventSetCreate()
        except pynvml.NVMLError as error:
            self._set = None
            return [f"the driver offers no events (XID, ECC): {error}"]
        for handle in handles:
            try:
                supported = pynvml.nvmlDeviceGetSupportedEventTypes(handle)
                if supported & WANTED:
                    pynvml.nvmlDeviceRegisterEvents(handle, supported & WANTED, self._set)
            except pynvml.NVMLError as error:
                if error.value != pynvml.NVML_ERROR_NOT_SUPPORTED:
                    problems.append(f"no events (XID, ECC) of one GPU: {error}")
        return problems

    def read(self, gpus: Mapping[str, Gpu]) -> Iterator[DeviceEvent]:
        """Yield what has been reported since the last call; never waits."""
        for _ in range(MOST_PER_PASS if self._set is not None else 0):
            try:
                event = pynvml.nvmlEventSetWait_v2(self._set, 0)
                uuid = pynvml.nvmlDeviceGetUUID(event.device)
            except pynvml.NVMLError:  # a timeout when there is nothing; the pass itself meets every other failure
                return
            gpu = gpus.get(uuid)
            place = f"GPU {gpu.index} ({gpu.model})" if gpu else f"GPU {uuid}"
            if event.eventType == pynvml.nvmlEventTypeXidCriticalError:
                yield xid_event(uuid, place, int(event.eventData))
            elif event.eventType == pynvml.nvmlEventTypeDoubleBitEccError:
                text = f"{place}: uncorrectable ECC error"
                yield DeviceEvent(kind="gpu.ecc", gpu_id=uuid, message=text, level="critical")

    def close(self) -> None:
        """End the subscription."""
        held, self._set = self._set, None
        if held is not None:
            try:
                pynvml.nvmlEventSetFree(held)
            except pynvml.NVMLError:
                return  # the driver that held it is gone


def xid_event(uuid: str, place: str, code: int) -> DeviceEvent:
    """Return the event for one XID."""
    meaning = describe(code)
    return DeviceEvent(
        kind="gpu.xid",
        gpu_id=uuid,
        message=f"{place}: XID {code}: {meaning.text}",
        level=meaning.level,
        data={"xid": code, "meaning": meaning.text},
    )
