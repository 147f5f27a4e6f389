"""What the NVML backend reads, and what it makes of a driver that fails."""

import itertools
from pathlib import Path

import pytest
import trio

from appliance.local_agent.attribution import Attribution
from appliance.local_agent.host import HostReader
from appliance.local_agent.sampling import Sampler
from appliance.plugin import DeviceAbsent, DeviceUnavailable, Host
from plugins.gpu_nvidia.backend import LOOK_AGAIN_SECONDS, Nvml
from tests.nvml.scripted import Script, gpu, pci_of, uuid_of

serials = itertools.count(1)
SECOND_US = 1_000_000


def add_pci(host: Host, index: int, status: str = "active") -> None:
    """Put a GPU on the host's bus."""
    address = pci_of(index).lower()[4:]
    folder = host.root / "sys/bus/pci/devices" / address
    (folder / "power").mkdir(parents=True, exist_ok=True)
    (folder / "vendor").write_text("0x10de\n")
    (folder / "class").write_text("0x030200\n")
    (folder / "power/runtime_status").write_text(status + "\n")
    facts = host.root / "proc/driver/nvidia/gpus" / address
    facts.mkdir(parents=True, exist_ok=True)
    (facts / "information").write_text(f"Model: \t NVIDIA H200\nGPU UUID: \t {uuid_of(index)}\n")


def test_reading_has_everything_the_driver_reports(script: Script, backend: Nvml) -> None:
    script.write(gpu(0, f"process {1} compute 33501282304 87"))
    assert backend.open() == "driver 580.82.07, NVML 13.580.82.07, 1 GPU (NVIDIA H200)"
    backend.read(0)
    script.write(gpu(0, "process 1 compute 33501282304 87", pcie_rx=3_000_000, pcie_tx=2_500_000))
    reading = backend.read(2 * SECOND_US)
    assert reading.problems == ()
    known, sample = reading.gpus[0], reading.samples[0]
    assert (known.gpu_id, known.model, known.driver_version) == (uuid_of(0), "NVIDIA H200", "580.82.07")
    assert (known.pci_address, known.serial) == ("00000000:1B:00.0", "1654422001234")
    assert (known.vbios_version, known.compute_capability) == ("96.00.B7.00.01", "9.0")
    assert (known.power_limit_max_watts, known.clock_sm_max_mhz, known.clock_memory_max_mhz) == (700.0, 1980.0, 3201.0)
    assert (known.pcie_link_generation_max, known.pcie_link_width_max) == (5, 16)
    assert known.vram_total_bytes == sample.vram_total_bytes == 150754820096
    assert sample.vram_used_bytes == 33501282304  # without what the driver reserves, as nvidia-smi shows it
    assert (sample.utilization_percent, sample.memory_bus_utilization_percent) == (87.0, 41.0)
    assert (sample.encoder_percent, sample.decoder_percent) == (0.0, 0.0)
    assert (sample.temperature_celsius, sample.memory_temperature_celsius) == (61.0, 70.0)
    assert (sample.power_watts, sample.power_limit_watts) == (512.3, 700.0)
    assert sample.energy_millijoules_total == 123456789
    assert (sample.clock_sm_mhz, sample.clock_memory_mhz) == (1980.0, 3201.0)
    assert (sample.pcie_rx_bytes_per_s, sample.pcie_tx_bytes_per_s) == (1_000_000.0, 250_000.0)
    assert (sample.nvlink_rx_bytes_total, sample.nvlink_tx_bytes_total) == (10 * 1024, 20 * 1024)
    assert (sample.ecc_corrected_total, sample.ecc_uncorrected_total) == (0, 0)
    assert (sample.ecc_corrected_lifetime, sample.ecc_uncorrected_lifetime) == (3, 0)
    assert (sample.remap_pending, sample.remap_failed, sample.remapped_rows_corrected) == (False, False, 0)
    assert (sample.pcie_link_generation, sample.pcie_link_width) == (5, 16)
    assert sample.performance_state == "P0"
    assert sample.throttle_reasons == ("power cap",)
    assert sample.processes is not None
    process = sample.processes[0]
    assert (process.pid, process.kind, process.vram_used_bytes, process.sm_percent) == (1, "compute", 33501282304, 87.0)


def test_value_the_gpu_does_not_have_is_missing_with_its_reason(script: Script, backend: Nvml) -> None:
    script.write(gpu(0, ecc_corrected=None, pcie_rx=None, power=None))
    backend.open()
    sample = backend.read(0).samples[0]
    assert sample.fan_percent is None
    assert sample.missing["fan_percent"] == "this GPU has no fan of its own"
    assert sample.ecc_corrected_total is None
    assert "ECC" in sample.missing["ecc_corrected_total"]
    assert "20 ms" in sample.missing["pcie_rx_bytes_per_s"]
    assert sample.power_watts is None
    assert sample.missing["power_watts"] == "this GPU or its driver does not report it"
    assert "utilization_percent" not in sample.missing


def test_unsupported_value_is_asked_for_once_only(script: Script, backend: Nvml) -> None:
    script.write(gpu(0, power=None))
    backend.open()
    backend.read(0)
    script.write(gpu(0, power=100_000))
    again = backend.read(SECOND_US).samples[0]
    assert again.power_watts is None
    assert again.missing["power_watts"]


def test_value_only_root_may_see_says_so_and_comes_once_it_is_allowed(script: Script, backend: Nvml) -> None:
    script.write(gpu(0, "fault nvmlDeviceGetPowerUsage no_permission"))
    backend.open()
    assert backend.read(0).samples[0].missing["power_watts"] == "the driver shows it to root only"
    script.write(gpu(0))
    assert backend.read(SECOND_US).samples[0].power_watts == 512.3


def test_gpu_that_is_lost_costs_only_itself(script: Script, backend: Nvml) -> None:
    script.write(gpu(0), gpu(1), gpu(2))
    backend.open()
    script.write(gpu(0), gpu(1, "fault * gpu_is_lost"), gpu(2))
    reading = backend.read(0)
    assert [known.index for known in reading.gpus] == [0, 2]
    assert [sample.gpu_index for sample in reading.samples] == [0, 2]
    assert reading.problems == ("GPU 1 (NVIDIA H200) is gone: GPU is lost",)


def test_gpu_that_comes_back_is_read_again(script: Script, host: Host) -> None:
    clock = [0.0]
    backend = Nvml(host, monotonic=lambda: clock[0])
    script.write(gpu(0), gpu(1, "fault * gpu_is_lost"))
    assert "1 GPU " in backend.open()
    script.write(gpu(0), gpu(1))
    assert len(backend.read(0).gpus) == 1
    clock[0] = LOOK_AGAIN_SECONDS + 1
    assert len(backend.read(SECOND_US).gpus) == 2
    backend.close()


def test_driver_reload_is_survived_within_one_reading(script: Script, backend: Nvml) -> None:
    script.write(gpu(0))
    backend.open()
    script.generation = 2
    script.head[0] = "driver 590.10.01"
    script.write(gpu(0, utilization=12))
    reading = backend.read(0)
    assert reading.samples[0].utilization_percent == 12.0
    assert reading.gpus[0].driver_version == "590.10.01"
    assert [event.kind for event in reading.events] == ["gpu.driver_reloaded"]
    assert backend.read(SECOND_US).events == ()


def test_driver_that_goes_away_is_unavailable_until_it_is_back(script: Script, backend: Nvml) -> None:
    script.write(gpu(0))
    backend.open()
    script.generation = 2
    script.write("fault nvmlInit driver_not_loaded")
    with pytest.raises(DeviceUnavailable) as caught:
        backend.read(0)
    assert "no NVIDIA GPU" in caught.value.message or "not loaded" in caught.value.message
    backend.close()
    script.write(gpu(0))
    backend.open()
    assert len(backend.read(0).samples) == 1


@pytest.mark.parametrize(
    ("code", "message", "hint"),
    [
        ("driver_not_loaded", "the NVIDIA driver is not loaded", "modprobe nvidia"),
        ("no_permission", "refuses this user", "/dev/nvidia"),
        ("version_mismatch", "version mismatch", "reboot"),
        ("operating_system", "operating system blocks", "--gpus all"),
        ("unknown", "Unknown Error", "nvidia-smi"),
    ],
)
def test_driver_that_cannot_be_opened_is_told_with_what_to_do(
    script: Script, backend: Nvml, host: Host, code: str, message: str, hint: str
) -> None:
    add_pci(host, 0)
    script.write(f"fault nvmlInit {code}")
    with pytest.raises(DeviceUnavailable, match=message) as caught:
        backend.open()
    assert not isinstance(caught.value, DeviceAbsent)
    assert hint in caught.value.hint


def test_host_without_a_gpu_is_absent_not_broken(script: Script, backend: Nvml) -> None:
    script.write("fault nvmlInit driver_not_loaded")
    with pytest.raises(DeviceAbsent, match="no NVIDIA GPU"):
        backend.open()


def test_mig_instances_are_gpus_of_their_own_with_reasons_for_what_they_lack(script: Script, backend: Nvml) -> None:
    script.write(
        gpu(
            0,
            "instance MIG-1111",
            "name NVIDIA H200 MIG 1g.18gb",
            "memory_total 18000000000",
            "memory_used 5000000000",
            "process 77 compute 4000000000",
            mig_mode=1,
            utilization=None,
        )
    )
    backend.open()
    reading = backend.read(0)
    parent, instance = reading.gpus
    assert (instance.gpu_id, instance.parent_gpu_id, instance.mig_profile) == ("MIG-1111", parent.gpu_id, "1g.18gb")
    whole, part = reading.samples
    assert whole.processes is None
    assert "instances" in whole.missing["processes"]
    assert "MIG" in whole.missing["utilization_percent"]
    assert (part.vram_total_bytes, part.vram_used_bytes) == (18_000_000_000, 5_000_000_000)
    assert part.utilization_percent is None
    assert "MIG" in part.missing["utilization_percent"]
    assert part.processes is not None
    assert part.processes[0].sm_percent is None
    assert part.processes[0].missing["sm_percent"] == "MIG: the driver has no per-process figure"


def test_mig_instance_that_is_removed_is_no_longer_read(script: Script, backend: Nvml) -> None:
    script.write(gpu(0, "instance MIG-1", "name NVIDIA H200 MIG 1g.18gb", "memory_total 1", mig_mode=1))
    backend.open()
    assert len(backend.read(0).gpus) == 2
    script.write(gpu(0, mig_mode=0))
    assert len(backend.read(SECOND_US).gpus) == 1


def test_xid_is_an_event_with_its_meaning_once(script: Script, backend: Nvml) -> None:
    script.write(gpu(0), gpu(1))
    backend.open()
    script.write(gpu(0), gpu(1), f"event {next(serials)} 1 xid 79", f"event {next(serials)} 0 xid 31")
    lost, fault = backend.read(0).events
    assert (lost.kind, lost.gpu_id, lost.level) == ("gpu.xid", uuid_of(1), "critical")
    assert lost.message == "GPU 1 (NVIDIA H200): XID 79: the GPU has fallen off the bus"
    assert (fault.gpu_id, fault.level, fault.data["xid"]) == (uuid_of(0), "warning", 31)
    assert backend.read(SECOND_US).events == ()


def test_uncorrectable_ecc_error_and_row_remap_are_events(script: Script, backend: Nvml) -> None:
    script.write(gpu(0))
    backend.open()
    assert backend.read(0).events == ()
    script.write(gpu(0, remap_pending=1), f"event {next(serials)} 0 ecc")
    kinds = [(event.kind, event.level) for event in backend.read(SECOND_US).events]
    assert sorted(kinds) == [("gpu.ecc", "critical"), ("gpu.ecc", "warning")]
    assert backend.read(2 * SECOND_US).events == ()


def test_driver_without_events_still_gives_readings(script: Script, backend: Nvml) -> None:
    script.write("fault nvmlEventSetCreate not_supported", gpu(0))
    backend.open()
    reading = backend.read(0)
    assert len(reading.samples) == 1
    assert "no events" in reading.problems[0]


def test_sleeping_gpu_is_not_touched(script: Script, backend: Nvml, host: Host) -> None:
    add_pci(host, 0)
    add_pci(host, 1)
    script.write(gpu(0), gpu(1))
    backend.open()
    add_pci(host, 1, "suspended")
    # Any call for the sleeping one would show as lost.
    script.write(gpu(0), gpu(1, "fault * gpu_is_lost"))
    reading = backend.read(0)
    assert reading.problems == ()
    assert [sample.asleep for sample in reading.samples] == [False, True]
    assert reading.samples[1].missing["utilization_percent"].startswith("the GPU is asleep")


def test_gpu_asleep_since_before_the_start_is_known_by_its_files_and_read_once_awake(
    script: Script, backend: Nvml, host: Host
) -> None:
    add_pci(host, 0)
    add_pci(host, 1, "suspended")
    script.write(gpu(0), gpu(1, "fault * gpu_is_lost"))
    assert "2 GPUs" in backend.open()
    reading = backend.read(0)
    assert sorted(known.gpu_id for known in reading.gpus) == [uuid_of(0), uuid_of(1)]
    assert {sample.gpu_id: sample.asleep for sample in reading.samples} == {uuid_of(0): False, uuid_of(1): True}
    add_pci(host, 1)
    script.write(gpu(0), gpu(1))
    assert [sample.asleep for sample in backend.read(SECOND_US).samples] == [False, False]


def test_process_without_a_sample_has_a_reason_not_a_zero(script: Script, backend: Nvml) -> None:
    script.write(gpu(0, "process 5 compute - 10", "process 6 graphics 1000"))
    backend.open()
    processes = backend.read(0).samples[0].processes
    assert processes is not None
    compute, graphics = processes
    assert compute.vram_used_bytes is None
    assert "memory" in compute.missing["vram_used_bytes"]
    assert (graphics.kind, graphics.sm_percent) == ("graphics", None)
    assert "no sample" in graphics.missing["sm_percent"]


def test_driver_counter_that_runs_over_gives_no_rate(script: Script, backend: Nvml) -> None:
    script.write(gpu(0, pcie_rx=5_000))
    backend.open()
    backend.read(0)
    script.write(gpu(0, pcie_rx=10))
    assert backend.read(SECOND_US).samples[0].pcie_rx_bytes_per_s is None


def test_throttle_reasons_are_words_and_being_idle_is_none(script: Script, backend: Nvml) -> None:
    script.write(gpu(0, throttle=0x48), gpu(1, throttle=0x1), gpu(2, throttle=0x24))
    backend.open()
    reasons = [sample.throttle_reasons for sample in backend.read(0).samples]
    assert reasons == [("thermal, hardware",), (), ("power cap", "thermal, software")]


def test_plugin_offers_the_backend_on_every_host(host: Host, library: Path) -> None:
    import plugins.gpu_nvidia as plugin

    assert [backend.name for backend in plugin.appliance_device_backends(host)] == ["nvidia"]


async def test_hung_driver_call_costs_this_backend_its_samples_until_it_answers(script: Script, host: Host) -> None:
    made = Sampler(
        host_id="h",
        backends=[Nvml(host)],
        host=HostReader(Host()),
        attribution=lambda: Attribution(Host()),
        deadline_seconds=1.0,
    )
    script.write(gpu(0), gpu(1))
    try:
        with trio.fail_after(30):
            while not (await made.sample_once()).sample.gpus:
                continue
        script.write(gpu(0), gpu(1, "hang nvmlDeviceGetPowerUsage"))
        seen = await made.sample_once()
        assert (seen.sample.gpus, seen.backends[0].state) == ((), "hung")
        assert seen.sample.memory_total_bytes, "the host is sampled all the same"
        script.write(gpu(0), gpu(1))
        with trio.fail_after(30):
            while not (seen := await made.sample_once()).backends[0].ok:
                continue
        assert len(seen.sample.gpus) == 2
    finally:
        script.write(gpu(0))
        made.close(2.0)


def test_older_driver_is_read_through_the_older_functions(script: Script, backend: Nvml) -> None:
    old = ("nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetCurrentClocksEventReasons")
    script.write(gpu(0, *(f"fault {name} function_not_found" for name in old)))
    backend.open()
    sample = backend.read(0).samples[0]
    assert sample.vram_used_bytes == 33501282304 + 630194176, "the first version counts what is reserved as used"
    assert "vram_used_bytes" not in sample.missing
    assert sample.throttle_reasons == ("power cap",)


def test_gpu_without_row_remapping_or_process_lists_says_so(script: Script, backend: Nvml) -> None:
    hidden = ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v3")
    script.write(gpu(0, *(f"fault {name} no_permission" for name in hidden), rows_corrected=None))
    backend.open()
    sample = backend.read(0).samples[0]
    assert sample.processes is None
    assert sample.missing["processes"] == "the driver shows it to root only"
    assert (sample.remap_pending, sample.remap_failed) == (None, None)
    assert sample.missing["remap_failed"]


def test_share_of_a_process_that_only_root_may_see_says_so(script: Script, backend: Nvml) -> None:
    script.write(gpu(0, "process 5 compute 10 20", "fault nvmlDeviceGetProcessUtilization no_permission"))
    backend.open()
    processes = backend.read(0).samples[0].processes
    assert processes is not None
    assert processes[0].sm_percent is None
    assert processes[0].missing["sm_percent"] == "the driver shows it to root only"


def test_field_values_that_fail_together_are_each_missing(script: Script, backend: Nvml) -> None:
    script.write(gpu(0, "fault nvmlDeviceGetFieldValues unknown"))
    backend.open()
    sample = backend.read(0).samples[0]
    assert (sample.memory_temperature_celsius, sample.nvlink_rx_bytes_total) == (None, None)
    assert sample.missing["memory_temperature_celsius"] == "the driver answered: Unknown Error"


def test_driver_that_fails_half_way_through_opening_is_told(script: Script, backend: Nvml) -> None:
    script.write("fault nvmlDeviceGetCount_v2 unknown", gpu(0))
    with pytest.raises(DeviceUnavailable, match="Unknown Error"):
        backend.open()
    backend.close()
    script.write(gpu(0))
    assert "1 GPU" in backend.open()


def test_failed_remap_is_critical(script: Script, backend: Nvml) -> None:
    script.write(gpu(0, remap_failed=1))
    backend.open()
    assert [(event.level, event.data["remap"]) for event in backend.read(0).events] == [("critical", "failed")]
