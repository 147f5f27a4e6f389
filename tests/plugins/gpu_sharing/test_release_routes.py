"""The release mirror as clients read it, over whole requests."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.credentials.kinds import Role
from appliance.testing import RunningAppliance, running
from tests.plugins.gpu_sharing.kit import SHARING, person

RELEASES = "/api/ecosystem/releases"
CONTENT = bytes(range(256)) * 40


@pytest.fixture
async def appliance(tmp_path: Path) -> AsyncIterator[RunningAppliance]:
    async with running(tmp_path) as one:
        yield one


async def add(appliance: RunningAppliance, folder: Path, name: str = "libaccelerator.so", **changes: Any) -> Any:
    """Add a file to the mirror as whoever has the control socket does."""
    source = folder / "source"
    source.write_bytes(CONTENT + name.encode())
    body = {"path": str(source), "name": name, "vendor": "nvidia", "version": "1.2.3", "type": "vgpu-library"}
    reply = await appliance.control("POST", f"{SHARING}/releases", body | changes)
    assert reply.status == 201, reply.text
    return reply.json


def left(data_dir: Path) -> list[str]:
    """Return what unfinished copies are in the data folder."""
    return [one.name for one in data_dir.rglob("*.partial")]


async def test_empty_mirror_is_an_empty_list_to_everybody(appliance: RunningAppliance) -> None:
    reply = await appliance.get(f"{RELEASES}?size=500")
    assert (reply.status, reply.json) == (200, {"releases": [], "count": 0})
    assert reply.headers["content-type"].startswith("application/json")


async def test_release_is_listed_as_clients_read_it_and_its_file_has_the_hash(
    appliance: RunningAppliance, tmp_path: Path
) -> None:
    made = await add(appliance, tmp_path)
    (found,) = (await appliance.get(RELEASES)).json["releases"]
    (artifact,) = found["artifacts"]
    assert found["vendor"] == {"slug": "nvidia", "name": "NVIDIA"}
    assert (found["version"], found["releaseType"], found["isLatest"]) == ("1.2.3", "vgpu-library", True)
    assert found["releaseDate"].endswith("Z")
    assert found["requirements"] == {}
    assert (artifact["os"], artifact["cpuArch"]) == ("linux", "amd64")
    size = len(CONTENT) + len("libaccelerator.so")
    assert artifact["metadata"] == {"type": "vgpu-library", "size": str(size)}, "values of metadata are texts"
    assert artifact["url"].endswith("/libaccelerator.so"), "clients take the last segment for the name"
    path = f"/{artifact['url'].split('/', 3)[3]}"
    file = await appliance.get(path)
    assert (file.status, len(file.body)) == (200, size)
    assert hashlib.sha256(file.body).hexdigest() == artifact["sha256"] == made["sha256"]


async def test_file_is_served_in_ranges_and_on_conditions(appliance: RunningAppliance, tmp_path: Path) -> None:
    await add(appliance, tmp_path)
    path = f"{RELEASES}/files/libaccelerator.so"
    whole = await appliance.get(path)
    part = await appliance.get(path, headers={"Range": "bytes=100-199"})
    assert (part.status, part.body) == (206, whole.body[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.body)}"
    rest = await appliance.get(path, headers={"Range": f"bytes={len(CONTENT)}-"})
    assert (rest.status, rest.body) == (206, b"libaccelerator.so")
    beyond = await appliance.get(path, headers={"Range": f"bytes={len(whole.body)}-"})
    assert beyond.status == 416
    head = await appliance.request("HEAD", path)
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(whole.body)), b"")


async def test_list_can_be_narrowed_and_cut_and_newest_comes_first(appliance: RunningAppliance, tmp_path: Path) -> None:
    await add(appliance, tmp_path, "a", version="1.2.3")
    await add(appliance, tmp_path, "b", version="1.10.0")
    await add(appliance, tmp_path, "c", version="1.10.0-rc.1")
    await add(appliance, tmp_path, "d", vendor="amd", version="0.1.0", type="remote-gpu-worker", arch="arm64")

    async def listed(query: str) -> list[tuple[str, bool]]:
        answer = (await appliance.get(f"{RELEASES}{query}")).json
        assert answer["count"] == len(answer["releases"])
        return [(each["version"], each["isLatest"]) for each in answer["releases"]]

    assert await listed("?vendor=NVIDIA") == [("1.10.0", True), ("1.10.0-rc.1", False), ("1.2.3", False)]
    assert await listed("?vendor=amd&size=1") == [("0.1.0", True)]
    assert await listed("?size=2") == [("1.10.0", True), ("1.10.0-rc.1", False)]
    assert await listed("?vendor=intel") == []
    for query in ("?size=0", "?size=1001", "?size=x", "?size=1e3", f"?vendor={'x' * 65}"):
        assert (await appliance.get(f"{RELEASES}{query}")).status == 400, query


async def test_nothing_outside_the_mirror_is_served(appliance: RunningAppliance, tmp_path: Path) -> None:
    await add(appliance, tmp_path)
    for name in (
        "..%2f..%2fappliance.db",
        "%2e%2e/%2e%2e/appliance.db",
        "../../appliance.db",
        "libaccelerator.so.json",
        ".libaccelerator.so.partial",
        "%2fetc%2fpasswd",
        "libaccelerator.so%00",
        "nobody",
        "x" * 5000,
    ):
        reply = await appliance.get(f"{RELEASES}/files/{name}")
        assert reply.status in (400, 404, 414), name
        assert b"SQLite" not in reply.body


async def test_only_the_host_s_own_user_adds_and_only_admins_remove(
    appliance: RunningAppliance, tmp_path: Path
) -> None:
    made = await add(appliance, tmp_path)
    body = {"path": "/etc/passwd", "vendor": "nvidia", "version": "1.0.0", "type": "cli"}
    for role in (Role.USER, Role.OPERATOR, Role.ADMIN):
        caller = await person(appliance, role.word, role)
        assert (await caller.send("POST", f"{SHARING}/releases", body)).status in (401, 403)
        listed = await caller.read(f"{SHARING}/releases")
        assert [each["name"] for each in listed["items"]] == ["libaccelerator.so"]
    path = f"{SHARING}/releases/{made['name']}"
    assert (await (await person(appliance, "operator", Role.OPERATOR)).send("DELETE", path)).status == 403
    gone = await (await person(appliance, "admin", Role.ADMIN)).send("DELETE", path)
    assert (gone.status, gone.json) == (200, {"deleted": "libaccelerator.so"})
    assert (await appliance.get(RELEASES)).json["count"] == 0
    assert (await appliance.get(f"{RELEASES}/files/libaccelerator.so")).status == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "/nowhere/at/all"},
        {"path": "/etc"},
        {"path": "/dev/null"},
        {"path": "a\0b"},
        {"path": ""},
        {"name": "../x"},
        {"name": ".hidden"},
        {"name": "x.json"},
        {"name": "a/b"},
        {"vendor": "NVIDIA Corp"},
        {"version": "1.2"},
        {"version": "latest"},
        {"type": "virus"},
        {"os": "plan9"},
        {"arch": "x86_64"},
    ],
)
async def test_what_is_no_release_is_refused_and_leaves_nothing(
    appliance: RunningAppliance, tmp_path: Path, changes: dict[str, str]
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    body = {"path": str(source), "name": "x", "vendor": "nvidia", "version": "1.2.3", "type": "cli"} | changes
    reply = await appliance.control("POST", f"{SHARING}/releases", body)
    assert reply.status == 400, reply.text
    assert (await appliance.get(RELEASES)).json["count"] == 0
    assert left(appliance.data_dir) == []
