"""AMD GPUs of a written-down host, with and without amdsmi."""

import ast
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType

import pytest

from appliance.plugin import DeviceAbsent, DeviceUnavailable, Host
from plugins.gpu_amd import smi
from plugins.gpu_amd.backend import Amd
from plugins.gpu_amd.fdinfo import Processes
from tests.amd import fake_amdsmi
from tests.amd.tree import lay

FIRST, SECOND = "0000:03:00.0", "0000:83:00.0"


def without_smi(host: Host) -> None:
    """Load no amdsmi."""
    return


def with_smi(host: Host) -> ModuleType:
    """Load the fake one."""
    return fake_amdsmi


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Give the host of the tree."""
    return Host(root=lay("two_gpus", tmp_path), environment={})


def device(host: Host, address: str) -> Path:
    """Return one GPU's folder."""
    return host.path(f"/sys/bus/pci/devices/{address}")


def test_reading_has_what_the_kernels_files_tell(host: Host) -> None:
    backend = Amd(host, load=without_smi)
    assert backend.open() == "amdgpu 6.8.5, read through sysfs (amdsmi does not load), 2 GPUs"
    reading = backend.read(17)
    card, sample = reading.gpus[0], reading.samples[0]
    assert (card.gpu_id, card.model, card.pci_address) == ("AMD-a1b2c3d4e5f60718", "AMD GPU (device 744c)", FIRST)
    assert (card.driver_version, card.vbios_version) == ("6.8.5", "113-D70401XT-P11")
    assert (card.power_limit_max_watts, card.clock_sm_max_mhz, card.clock_memory_max_mhz) == (348.0, 2526.0, 1249.0)
    assert (card.pcie_link_generation_max, card.pcie_link_width_max) == (4, 16)
    assert (sample.vram_total_bytes, sample.vram_used_bytes) == (25753026560, 8589934592)
    assert (sample.utilization_percent, sample.memory_bus_utilization_percent) == (73.0, 21.0)
    assert (sample.temperature_celsius, sample.memory_temperature_celsius) == (54.0, 72.0)
    assert (sample.power_watts, sample.power_limit_watts, sample.fan_percent) == (243.0, 303.0, 40.0)
    assert (sample.clock_sm_mhz, sample.clock_memory_mhz) == (2304.0, 1249.0)
    assert (sample.pcie_link_generation, sample.pcie_link_width) == (4, 16)
    assert sample.ecc_corrected_total is None
    assert sample.missing["ecc_corrected_total"]
    assert "amdsmi" in sample.missing["energy_millijoules_total"]
    second = reading.samples[1]
    assert reading.gpus[1].model == "AMD Instinct MI210"
    assert reading.gpus[1].serial == "692231000131"
    assert (second.ecc_corrected_total, second.ecc_uncorrected_total) == (6, 1)
    assert second.temperature_celsius == 41.0, "a GPU without an edge sensor shows its junction"
    assert second.fan_percent is None
    assert second.missing["fan_percent"]


def test_amdsmi_adds_what_the_files_lack_and_loses_nothing_they_have(host: Host) -> None:
    backend = Amd(host, load=with_smi)
    assert "amdsmi and sysfs" in backend.open()
    reading = backend.read(17)
    backend.close()
    card, sample = reading.gpus[0], reading.samples[0]
    assert (card.gpu_id, card.model, card.driver_version) == ("AMD-a1b2c3d4e5f60718", "Radeon RX 7900 XTX", "6.10.5")
    assert sample.energy_millijoules_total == 15_300
    assert sample.throttle_reasons == ("power cap",)
    assert (sample.utilization_percent, sample.memory_bus_utilization_percent) == (74.0, 21.0)
    assert (sample.power_watts, sample.temperature_celsius, sample.clock_sm_mhz) == (244.0, 69.0, 2400.0)
    assert sample.fan_percent == 40.0
    second = reading.samples[1]
    assert second.utilization_percent == 0.0, "what amdsmi refuses comes from the files"
    assert second.throttle_reasons is None
    assert reading.gpus[1].model == "AMD Instinct MI210"
    assert fake_amdsmi.calls[-1] == "shut_down"


def test_identity_is_the_same_with_and_without_amdsmi(host: Host) -> None:
    ids = []
    for load in (with_smi, without_smi):
        backend = Amd(host, load=load)
        backend.open()
        ids.append([card.gpu_id for card in backend.read(0).gpus])
        backend.close()
    assert ids[0] == ids[1]


def test_sleeping_gpu_is_not_touched(host: Host) -> None:
    backend = Amd(host, load=without_smi)
    backend.open()
    (device(host, SECOND) / "power/runtime_status").write_text("suspended\n")
    # A driver would have to wake the GPU to answer these.
    (device(host, SECOND) / "gpu_busy_percent").write_text("99\n")
    sample = backend.read(0).samples[1]
    assert sample.asleep
    assert sample.utilization_percent is None
    assert "asleep" in sample.missing["utilization_percent"]


def test_gpu_that_leaves_the_bus_is_left_out(host: Host) -> None:
    backend = Amd(host, load=without_smi)
    backend.open()
    (device(host, SECOND) / "vendor").write_text("0xffff\n")
    assert [card.pci_address for card in backend.read(0).gpus] == [FIRST]


def test_host_without_amd_is_absent(tmp_path: Path) -> None:
    with pytest.raises(DeviceAbsent, match="no AMD GPU"):
        Amd(Host(root=tmp_path, environment={}), load=without_smi).open()


def test_gpu_without_its_driver_is_told_with_what_to_do(host: Host) -> None:
    for address in (FIRST, SECOND):
        (device(host, address) / "mem_info_vram_total").unlink()
    with pytest.raises(DeviceUnavailable, match="amdgpu driver is not loaded") as caught:
        Amd(host, load=without_smi).open()
    assert not isinstance(caught.value, DeviceAbsent)
    assert "modprobe amdgpu" in caught.value.hint


@pytest.mark.parametrize("rubbish", ["", "9" * 5000, "-", "1e9", "\x00\xff", "nan"])
def test_rubbish_in_a_file_is_not_reported_rather_than_fatal(host: Host, rubbish: str) -> None:
    for name in ("gpu_busy_percent", "mem_info_vram_used", "pp_dpm_sclk", "current_link_speed", "unique_id"):
        (device(host, FIRST) / name).write_text(rubbish)
    (device(host, FIRST) / "hwmon/hwmon3/temp1_input").write_text(rubbish)
    backend = Amd(host, load=without_smi)
    backend.open()
    reading = backend.read(0)
    sample = reading.samples[0]
    assert (sample.utilization_percent, sample.vram_used_bytes, sample.pcie_link_generation) == (None, None, None)
    assert reading.gpus[0].gpu_id == f"AMD-{FIRST}"
    assert sample.temperature_celsius == 68.0, "the junction stands in for an edge that cannot be read"


def test_processes_come_from_the_compute_driver_and_from_open_files(host: Host) -> None:
    clock = [100.0]
    processes = Processes(host, monotonic=lambda: clock[0])
    assert processes.kfd_ids() == {SECOND: 52764}
    first = processes.read(processes.kfd_ids())
    compute = first[SECOND][0]
    assert (compute.pid, compute.kind, compute.vram_used_bytes) == (4242, "compute", 9663676416)
    assert compute.sm_percent is None
    assert "compute queues" in compute.missing["sm_percent"]
    graphics = first[FIRST][0]
    assert (graphics.pid, graphics.kind) == (777, "graphics")
    assert graphics.vram_used_bytes == 2 * 2**30, "a duplicated descriptor is one client"
    assert graphics.sm_percent is None
    assert graphics.missing["sm_percent"]
    for name in ("12", "13"):
        path = host.path(f"/proc/777/fdinfo/{name}")
        path.write_text(path.read_text().replace("1000000000 ns", "1800000000 ns"))
    clock[0] += 2
    assert processes.read({})[FIRST][0].sm_percent == 40.0


def test_open_files_are_looked_through_every_ten_seconds_only(host: Host) -> None:
    clock = [0.0]
    processes = Processes(host, monotonic=lambda: clock[0])
    processes.read({})
    for name in ("12", "13", "14"):
        host.path(f"/proc/777/fd/{name}").unlink()
    clock[0] = 5
    assert FIRST in processes.read({})
    clock[0] = 11
    assert processes.read({}) == {}


def test_library_that_breaks_is_not_loaded_into_this_process(tmp_path: Path) -> None:
    broken = tmp_path / "opt/rocm/share/amd_smi/amdsmi"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("import os; os._exit(7)\n")
    assert not smi.probe(str(broken.parent))
    tried: list[str] = []

    def works(folder: str) -> bool:
        tried.append(folder)
        return False

    assert smi.load(Host(root=tmp_path, environment={}), works) is None
    assert tried == [str(broken.parent), ""], "the host's own copy comes first"


def test_library_that_works_is_taken_from_the_hosts_own_folder(tmp_path: Path) -> None:
    folder = tmp_path / "opt/rocm/share/amd_smi"
    (folder / "amdsmi").mkdir(parents=True)
    (folder / "amdsmi/__init__.py").write_text(
        "print('noise on standard output')\ndef amdsmi_init(): pass\ndef amdsmi_shut_down(): pass\n"
    )
    assert smi.probe(str(folder))
    before = sys.modules.pop("amdsmi", None)
    try:
        module = smi.load(Host(root=tmp_path, environment={}))
        assert module is not None
        assert module.__file__ == str(folder / "amdsmi/__init__.py")
        assert str(folder) not in sys.path
    finally:
        sys.modules.pop("amdsmi", None)
        if before is not None:
            sys.modules["amdsmi"] = before


def test_fake_amdsmi_has_the_signatures_of_the_real_one() -> None:
    found = importlib.util.find_spec("amdsmi")
    assert found is not None
    assert found.origin is not None
    # Read, not imported: without ROCm the real module does not import.
    source = (Path(found.origin).parent / "amdsmi_interface.py").read_text(encoding="utf-8")
    real = {
        node.name: [argument.arg for argument in node.args.args]
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
    }
    ours = {
        name: list(inspect.signature(value).parameters)
        for name, value in vars(fake_amdsmi).items()
        if name.startswith("amdsmi_")
    }
    assert ours
    assert {name: real.get(name) for name in ours} == ours


def test_every_function_the_plugin_calls_is_in_the_fake() -> None:
    source = Path(smi.__file__).read_text(encoding="utf-8")
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)]
    called = {node.attr for node in nodes if node.attr.startswith("amdsmi_")}
    assert called
    assert called <= set(vars(fake_amdsmi))
