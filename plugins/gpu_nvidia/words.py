"""NVML's codes and bits in plain words."""

from typing import Any, Final

import pynvml

from appliance.plugin import DeviceAbsent, DeviceUnavailable

LIBRARY_HINT: Final = "install the NVIDIA driver of this distribution, then check with `nvidia-smi`"

NOT_SUPPORTED: Final = "this GPU or its driver does not report it"
NO_PERMISSION: Final = "the driver shows it to root only"
MIG_UTILIZATION: Final = "MIG: the driver has no utilisation figure for an instance"
MIG_PROCESS: Final = "MIG: the driver has no per-process figure"
MIG_PARENT: Final = "MIG is on: see the instances of this GPU"
MIG_SHARED: Final = "MIG: it belongs to the whole GPU, see there"
PCIE: Final = "this GPU has no byte counter, and measuring it would block the driver for 20 ms a direction"

THROTTLE: Final = (
    (pynvml.nvmlClocksEventReasonSwPowerCap, "power cap"),
    (pynvml.nvmlClocksEventReasonHwThermalSlowdown, "thermal, hardware"),
    (pynvml.nvmlClocksEventReasonSwThermalSlowdown, "thermal, software"),
    (pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown, "power brake"),
    (pynvml.nvmlClocksEventReasonHwSlowdown, "hardware slowdown"),
    (pynvml.nvmlClocksEventReasonSyncBoost, "sync boost"),
    (pynvml.nvmlClocksEventReasonApplicationsClocksSetting, "application clocks"),
    (pynvml.nvmlClocksEventReasonDisplayClockSetting, "display clocks"),
    (pynvml.nvmlClocksThrottleReasonBoardLimit, "board limit"),
    (pynvml.nvmlClocksThrottleReasonReliability, "reliability"),
)

WHOLE_DRIVER: Final = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    }
)
"""What any call answers once the driver as a whole has gone away."""

LOST: Final = frozenset(
    {pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_GPU_NOT_FOUND, pynvml.NVML_ERROR_RESET_REQUIRED}
)
"""What calls answer for one GPU that cannot be used any more, while others can."""


def throttle_reasons(bits: int) -> tuple[str, ...]:
    """Return why the clocks are held down, in words; being idle is no reason."""
    reasons = [text for bit, text in THROTTLE if bits & bit]
    # "Hardware slowdown" is also set with either of the two hardware reasons, and adds nothing then.
    if "hardware slowdown" in reasons and {"thermal, hardware", "power brake"} & set(reasons):
        reasons.remove("hardware slowdown")
    return tuple(reasons)


def reason(error: Any) -> str:
    """Return why one value could not be read."""
    if error.value in (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND):
        return NOT_SUPPORTED
    if error.value == pynvml.NVML_ERROR_NO_PERMISSION:
        return NO_PERMISSION
    return f"the driver answered: {error}"


def cannot_open(error: Any, *, has_hardware: bool) -> DeviceUnavailable:
    """Return what to tell people when NVML cannot be used, and what they can do."""
    if error.value in (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED) and not has_hardware:
        return DeviceAbsent("no NVIDIA GPU: no such PCI device and no NVIDIA driver on this host")
    texts = {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: (
            "there is an NVIDIA GPU, and the driver's library libnvidia-ml.so.1 is not installed",
            LIBRARY_HINT,
        ),
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: (
            "the NVIDIA driver is not loaded",
            "sudo modprobe nvidia; if that fails, look at `dmesg`",
        ),
        pynvml.NVML_ERROR_NO_PERMISSION: (
            "the NVIDIA driver refuses this user",
            "let this user open /dev/nvidia* (ls -l /dev/nvidia*), or run the appliance as root",
        ),
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
            "the NVIDIA driver was upgraded while its old kernel module is still loaded (version mismatch)",
            "reboot, or stop everything that uses a GPU and reload the nvidia modules",
        ),
        pynvml.NVML_ERROR_OPERATING_SYSTEM: (
            "the operating system blocks the NVIDIA driver (a container without access to the GPU, or a policy)",
            "give the container the GPU (--gpus all), or check the security policy",
        ),
        pynvml.NVML_ERROR_IRQ_ISSUE: (
            "the NVIDIA driver cannot get interrupts from a GPU",
            "look at `dmesg` and the BIOS settings of the slot",
        ),
    }
    message, hint = texts.get(error.value, (f"the NVIDIA driver answered: {error}", "check with `nvidia-smi`"))
    return DeviceUnavailable(message, hint=hint)
