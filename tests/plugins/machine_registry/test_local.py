"""The host we run on as a machine."""

from pathlib import Path

import pytest

from appliance.testing import running, scripted_gpus
from plugins.machine_registry.local import gpu_name


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100-80"),
        ("NVIDIA A100 80GB PCIe", "A100-80"),
        ("NVIDIA A100-PCIE-40GB", "A100-40"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40", ""),
        ("Tesla T4", "T4"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA GeForce RTX 4090", "RTX4090"),
        ("NVIDIA RTX A6000", "A6000"),
        ("AMD Instinct MI300X", ""),
        ("", ""),
    ],
)
def test_gpu_is_called_what_schedulers_call_it(model: str, name: str) -> None:
    assert gpu_name(model) == name


async def test_host_is_a_ready_machine_of_the_default_pool_without_any_command(tmp_path: Path) -> None:
    async with running(tmp_path, backends=[scripted_gpus(2)]) as appliance:
        path = "/api/appliance/machines"

        async def items() -> list[dict[str, object]]:
            return list((await appliance.control("GET", path)).json["items"])

        (item,) = await items()
        assert (item["pool"], item["state"], item["is_local"], item["deadline_in_seconds"]) == (
            "default",
            "ready",
            True,
            None,
        )
        assert str(item["host_id"]) == appliance.state.host_id
        assert (item["gpu_count"], item["free_gpu_count"]) == (2, 2)
        refused = await appliance.control("DELETE", f"{path}/{item['id']}")
        assert refused.status == 409
        marked = await appliance.control("POST", f"{path}/{item['id']}/cordon", {"reason": "fans"})
        assert (marked.json["is_cordoned"], marked.json["mark_reason"]) == (True, "fans")
        assert (await appliance.control("POST", f"{path}/{item['id']}/uncordon")).json["is_cordoned"] is False
