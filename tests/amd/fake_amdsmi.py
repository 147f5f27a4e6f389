"""An amdsmi of two GPUs; a test holds its functions to the signatures of the real module."""

from enum import IntEnum
from typing import Any


class AmdSmiException(Exception):
    """What every failure is."""


class AmdSmiTemperatureType(IntEnum):
    """Sensors."""

    EDGE = 0
    HOTSPOT = 1
    VRAM = 2


class AmdSmiTemperatureMetric(IntEnum):
    """What of a sensor."""

    CURRENT = 0


class AmdSmiClkType(IntEnum):
    """Clocks."""

    GFX = 1
    MEM = 5


ADDRESSES = {"first": "0000:03:00.0", "second": "0000:83:00.0"}
calls: list[str] = []


def amdsmi_init(flag: Any = 2) -> None:
    calls.append("init")


def amdsmi_shut_down() -> None:
    calls.append("shut_down")


def amdsmi_get_processor_handles() -> list[str]:
    return list(ADDRESSES)


def amdsmi_get_gpu_device_bdf(processor_handle: str) -> str:
    return ADDRESSES[processor_handle]


def amdsmi_get_gpu_asic_info(processor_handle: str) -> dict[str, Any]:
    return {"market_name": "Radeon RX 7900 XTX" if processor_handle == "first" else "N/A", "asic_serial": "N/A"}


def amdsmi_get_gpu_board_info(processor_handle: str) -> dict[str, Any]:
    return {"product_serial": "N/A", "product_name": "N/A"}


def amdsmi_get_gpu_driver_info(processor_handle: str) -> dict[str, Any]:
    return {"driver_name": "amdgpu", "driver_version": "6.10.5", "driver_date": "2015/01/01"}


def amdsmi_get_gpu_activity(processor_handle: str) -> dict[str, Any]:
    if processor_handle == "second":
        raise AmdSmiException("not supported")
    return {"gfx_activity": 74, "umc_activity": "N/A", "mm_activity": 0}


def amdsmi_get_power_info(processor_handle: str) -> dict[str, Any]:
    return {"socket_power": 0, "current_socket_power": "N/A", "average_socket_power": 244, "power_limit": 303000000}


def amdsmi_get_gpu_total_ecc_count(processor_handle: str) -> dict[str, Any]:
    return {"correctable_count": 9, "uncorrectable_count": 0, "deferred_count": 0}


def amdsmi_get_energy_count(processor_handle: str) -> dict[str, Any]:
    return {"energy_accumulator": 1_000_000, "counter_resolution": 15.3, "timestamp": 1}


def amdsmi_get_temp_metric(processor_handle: str, sensor_type: Any, metric: Any) -> int:
    return 69 if sensor_type == AmdSmiTemperatureType.HOTSPOT else 73


def amdsmi_get_clock_info(processor_handle: str, clock_type: Any) -> dict[str, Any]:
    return {"clk": 2400 if clock_type == AmdSmiClkType.GFX else 1250, "max_clk": "N/A"}


def amdsmi_get_violation_status(processor_handle: str) -> dict[str, Any]:
    if processor_handle == "second":
        return {"active_ppt_pwr": "N/A", "active_hbm_thrm": "N/A"}
    return {"active_ppt_pwr": True, "active_hbm_thrm": False, "active_socket_thrm": False}
