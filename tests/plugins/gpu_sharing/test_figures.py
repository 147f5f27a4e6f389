import pytest

from plugins.gpu_sharing.figures import (
    Figures,
    GpuFigures,
    HostFigures,
    WorkerFigures,
    gpu_figures,
    host_figures,
    of_points,
)
from plugins.gpu_sharing.lineprotocol import read_lines

REPORT = """\
gpu_metrics,agent_id=agent_1,gpu_id=GPU-AB,model=RTX\\ 4090,vendor=nvidia utilization=75.50,vram_used_mb=8192i,\
vram_total_mb=24576i,temperature=72.0,power_usage_w=250.0,pcie_rx_kb=1.0,pcie_tx_kb=2.5 1700000000123
system_metrics,agent_id=agent_1,hostname=box cpu_usage=45.20,memory_used_mb=8000i,memory_total_mb=16384i 1700000000123
worker_metrics,agent_id=agent_1,worker_id=worker_1 status=1i,connections=3i,restarts=2i 1700000000123"""


def read(text: str) -> Figures:
    lines = read_lines(text)
    assert lines.faults == ()
    return of_points(lines.points, agent_id="agent_1", gpu_ids=["gpu-ab", "gpu-cd"], worker_ids=["worker_1"])


def test_report_of_a_real_agent_is_understood_whatever_the_case_of_its_gpu_ids() -> None:
    assert read(REPORT) == Figures(
        taken_at_unix_ms=1700000000123,
        host=HostFigures(cpu_percent=45.2, memory_used_bytes=8000 * 2**20, memory_total_bytes=16384 * 2**20),
        gpus={
            "gpu-ab": GpuFigures(
                gpu_id="gpu-ab",
                utilization_percent=75.5,
                vram_used_bytes=8192 * 2**20,
                vram_total_bytes=24576 * 2**20,
                temperature_celsius=72.0,
                power_watts=250.0,
                pcie_rx_bytes_per_s=1024.0,
                pcie_tx_bytes_per_s=2560.0,
            )
        },
        workers={"worker_1": WorkerFigures(worker_id="worker_1", connections=3, restarts=2)},
    )


@pytest.mark.parametrize(
    "line",
    [
        "gpu_metrics,agent_id=agent_2,gpu_id=gpu-ab utilization=1 5",
        "system_metrics,agent_id=agent_2 cpu_usage=1 5",
        "worker_metrics,agent_id=agent_2,worker_id=worker_1 connections=1i 5",
        "gpu_metrics,agent_id=agent_1,gpu_id=gpu-zz utilization=1",
        "gpu_metrics,agent_id=agent_1 utilization=1",
        "worker_metrics,agent_id=agent_1,worker_id=worker_2 connections=1i",
        "worker_metrics,agent_id=agent_1 connections=1i",
        "disk_metrics,agent_id=agent_1 free=1",
    ],
)
def test_what_is_told_of_others_is_passed_over(line: str) -> None:
    assert read(line) == Figures()


def test_last_line_counts_and_the_latest_time() -> None:
    found = read("gpu_metrics,gpu_id=gpu-ab utilization=1 9\ngpu_metrics,gpu_id=GPU-AB utilization=2 7")
    assert found.gpus["gpu-ab"].utilization_percent == 2
    assert found.taken_at_unix_ms == 9


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("utilization", -0.1),
        ("utilization", 100.1),
        ("utilization", "50"),
        ("utilization", True),
        ("vram_used_mb", -1),
        ("vram_used_mb", 2**63 - 1),
        ("vram_total_mb", 0),
        ("temperature", 1e300),
        ("power_usage_w", -5.0),
        ("pcie_rx_kb", -1.0),
    ],
)
def test_impossible_figure_is_one_that_was_not_reported(name: str, value: float | str) -> None:
    assert gpu_figures("gpu-ab", {name: value}) == GpuFigures(gpu_id="gpu-ab")


@pytest.mark.parametrize(("name", "value"), [("cpu_usage", 101), ("memory_used_mb", -1), ("memory_total_mb", "x")])
def test_impossible_figure_of_a_host_is_one_that_was_not_reported(name: str, value: float | str) -> None:
    assert host_figures({name: value}) == HostFigures()


def test_whole_and_broken_numbers_are_figures_alike() -> None:
    assert gpu_figures("g", {"utilization": 50, "temperature": 61}) == GpuFigures(
        gpu_id="g", utilization_percent=50.0, temperature_celsius=61.0
    )
    assert gpu_figures("g", {"utilization": 50.0, "temperature": 61.5}).temperature_celsius == 61.5


def test_counts_that_are_no_counts_were_not_reported() -> None:
    found = read("worker_metrics,worker_id=worker_1 connections=1.5,restarts=-1i")
    assert found.workers == {"worker_1": WorkerFigures(worker_id="worker_1")}
