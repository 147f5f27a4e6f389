"""One question to NVML at a time: a value, or the reason why there is none."""

from collections.abc import Callable
from typing import Any

import pynvml
from attrs import define, field

from .words import LOST, WHOLE_DRIVER, reason

FOREVER = frozenset({pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND})


class GpuLost(Exception):
    """The driver cannot reach this one GPU any more."""


class DriverGone(Exception):
    """The driver as a whole does not answer any more: it was unloaded, reloaded or upgraded."""


@define
class Asker:
    """Asks about one device; what it does not support is asked once and remembered."""

    handle: Any
    missing: dict[str, str] = field(factory=dict)
    """Reasons of this pass, by field name."""
    _unsupported: dict[str, str] = field(factory=dict, init=False)

    def __call__(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return ``function(handle, *arguments)``, or ``None`` with the reason kept in `missing` under ``name``."""
        known = self._unsupported.get(name)
        if known is not None:
            self.missing[name] = known
            return None
        try:
            return function(self.handle, *arguments)
        except pynvml.NVMLError as error:
            self.refused(name, error)
        except UnicodeDecodeError:
            self.missing[name] = "the driver answered with text that cannot be read"
        return None

    def refused(self, name: str, error: Any) -> None:
        """Keep why a question was refused; raises when the device or the driver is gone."""
        if error.value in WHOLE_DRIVER:
            raise DriverGone(str(error)) from error
        if error.value in LOST:
            raise GpuLost(str(error)) from error
        self.missing[name] = reason(error)
        if error.value in FOREVER:
            self._unsupported[name] = self.missing[name]

    def code(self, name: str, value: int) -> None:
        """Keep why one of several values asked for together is missing."""
        if value != pynvml.NVML_SUCCESS:
            self.refused(name, pynvml.NVMLError(value))

    def supports(self, name: str) -> bool:
        """Whether it is still worth asking for ``name``."""
        if name in self._unsupported:
            self.missing[name] = self._unsupported[name]
            return False
        return True
