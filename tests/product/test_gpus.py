"""NVIDIA GPUs seen by the running product through a scripted driver: eight, one changing, one lost, all hanging."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.nvml.scripted import VARIABLE, Script, build, compiler, gpu, uuid_of
from tests.product.served import Product, events, product, until

pytestmark = [pytest.mark.zipapp, pytest.mark.skipif(compiler() is None, reason="no C compiler on this machine")]
COUNT = 8


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the scripted library."""
    return build(tmp_path_factory.mktemp("nvml")).parent


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Eight GPUs at work."""
    script = Script(tmp_path / "nvml.script")
    script.write(*(gpu(index) for index in range(COUNT)))
    return script


@pytest.fixture
def watched(pyz: Path, tmp_path: Path, library: Path, script: Script) -> Iterator[Product]:
    """A product on a host of eight GPUs."""
    environment = {"LD_LIBRARY_PATH": str(library), VARIABLE: str(script.path)}
    with product(pyz, tmp_path, environment=environment) as one:
        one.config.write_text("[devices]\nsample_seconds = 0.2\n")
        one.start()
        yield one


def gpus(one: Product) -> dict[str, dict[str, Any]]:
    return {item["gpu_id"]: item for item in one.get("/api/appliance/devices").json()["items"]}


def test_eight_gpus_are_there_one_changes_live_one_is_lost_and_a_hang_leaves_the_server_answering(
    watched: Product, script: Script
) -> None:
    assert any("8 GPUs: NVIDIA H200" in line for line in watched.said)
    found = gpus(watched)
    assert list(found) == [uuid_of(index) for index in range(COUNT)]
    assert {item["state"] for item in found.values()} == {"present"}
    assert found[uuid_of(3)]["latest"]["power_watts"] == 512.3
    listed = watched.command("devices")
    assert listed.stdout.count("H200") >= COUNT, listed.stderr

    with httpx.stream("GET", f"{watched.base}/api/appliance/overview/stream", timeout=30) as stream:
        seen = events(stream.iter_lines())
        next(seen)
        script.write(*(gpu(index, temperature=83 if index == 3 else 61) for index in range(COUNT)))
        for name, document in seen:
            if name == "sample" and document["gpus"][3]["latest"]["temperature_celsius"] == 83.0:
                assert document["gpus"][2]["latest"]["temperature_celsius"] == 61.0
                break

    lost = uuid_of(5)
    script.write(*(gpu(index, *(["fault * gpu_is_lost"] if index == 5 else [])) for index in range(COUNT)))
    until(lambda: gpus(watched)[lost]["state"] == "lost")
    others = [item for name, item in gpus(watched).items() if name != lost]
    assert {item["state"] for item in others} == {"present"}
    before = others[0]["latest"]["taken_at_unix_s"]
    until(lambda: gpus(watched)[uuid_of(0)]["latest"]["taken_at_unix_s"] > before)
    told = watched.get("/api/appliance/events/history").json()["items"]
    assert any(lost in (event["subject"], event["message"]) or lost in event["message"] for event in told)

    script.write(*(gpu(index, "hang *") for index in range(COUNT)))

    def backend() -> dict[str, Any]:
        items: list[dict[str, Any]] = watched.get("/api/appliance/devices").json()["backends"]
        return next(item for item in items if item["name"] == "nvidia")

    until(lambda: backend()["state"] == "hung", seconds=30)
    host = watched.get("/api/appliance/host").json()["latest"]["taken_at_unix_s"]
    until(lambda: watched.get("/api/appliance/host").json()["latest"]["taken_at_unix_s"] > host)
    assert watched.get("/readyz").status_code == 200
    # A driver that never answers does not keep the product from stopping either.
    assert watched.stop() == 0
