"""One question to NVML: a value, a reason, or the end of a device or of the driver."""

from typing import Any

import pynvml
import pytest

from plugins.gpu_nvidia.asking import Asker, DriverGone, GpuLost


def failing(code: int) -> Any:
    """Return a function that NVML refuses."""

    def function(handle: Any) -> int:
        raise pynvml.NVMLError(code)

    return function


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED])
def test_answer_that_ends_a_device_is_gpu_lost(code: int) -> None:
    with pytest.raises(GpuLost):
        Asker(None)("power_watts", failing(code))


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_UNINITIALIZED, pynvml.NVML_ERROR_DRIVER_NOT_LOADED])
def test_answer_that_ends_the_driver_is_driver_gone(code: int) -> None:
    with pytest.raises(DriverGone):
        Asker(None)("power_watts", failing(code))


def test_any_other_refusal_is_a_reason() -> None:
    ask = Asker(None)
    assert ask("power_watts", failing(pynvml.NVML_ERROR_UNKNOWN)) is None
    assert ask.missing == {"power_watts": "the driver answered: Unknown Error"}
    assert ask.supports("power_watts")


def test_text_that_is_no_text_is_a_reason() -> None:
    ask = Asker(None)
    assert ask("model", lambda handle: b"\xff\xfe".decode()) is None
    assert "cannot be read" in ask.missing["model"]
