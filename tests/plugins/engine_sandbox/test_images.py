"""Images: imported, listed and removed over the API and by commands, by admins alone; and what tasks find in them."""

import grp
import io
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from appliance.clock import unix_now_us
from appliance.credentials.kinds import Role
from appliance.engines import LaunchFailed, Volume
from appliance.errors import BadInput, Conflict, NotFound, TooLarge
from plugins.engine_sandbox.extracting import Caps
from plugins.engine_sandbox.images import Images
from tests.appliance.cli.conftest import Terminal, terminal
from tests.plugins.engine_sandbox.sandboxes import launch, needs_sandbox, root_archive, run, sandboxes, silent
from tests.plugins.engine_sandbox.test_extracting import archive

__all__ = ["terminal"]

PATH = "/api/appliance/sandbox/images"
SMALL = archive(("bin/sh", b"x"), ("etc/motd", b"hello"))


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(tmp_path / "images", Caps(bytes_max=10_000), unix_now_us)


class Chunks:
    """A body as it arrives."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        chunk, self.rest = self.rest[:100_000], self.rest[100_000:]
        if not chunk:
            raise StopAsyncIteration
        return chunk


async def test_image_is_imported_whole_and_removed_whole(images: Images) -> None:
    made = await images.receive("small:1.0", Chunks(SMALL), command="cat /etc/motd")
    assert (made.name, made.files, made.size_bytes, made.command) == ("small:1.0", 2, 6, "cat /etc/motd")
    assert images.all() == [made]
    found, root = images.named("small:1.0")
    assert (found, (root or Path()).joinpath("etc/motd").read_text()) == (made, "hello")
    with pytest.raises(Conflict):
        await images.receive("small:1.0", Chunks(SMALL))
    await images.remove("small:1.0")
    assert list(images.folder.iterdir()) == []
    with pytest.raises(NotFound):
        await images.remove("small:1.0")


async def test_import_that_fails_leaves_nothing_and_what_a_killed_one_left_goes_with_the_next(images: Images) -> None:
    for data in (b"no archive", archive(("../x", b"")), archive(("x", b"y" * 10_001)), bytes(1 << 20) + bytes(20_001)):
        with pytest.raises((BadInput, TooLarge)):
            await images.receive("bad", Chunks(data))
        assert list(images.folder.iterdir()) == []
    left = images.folder / ".other.new"
    (left / "rootfs").mkdir(parents=True)
    await images.add("small", io.BytesIO(SMALL))
    assert [path.name for path in images.folder.iterdir()] == ["small"]


@pytest.mark.parametrize("name", ["host", "", "..", "a/b", ".a", "A", "a:", "a:b:c", "a\0", "a" * 64, "a@b"])
async def test_image_with_another_name_is_refused_and_never_found(images: Images, name: str) -> None:
    with pytest.raises(BadInput):
        await images.receive(name, Chunks(SMALL))
    if name != "host":
        with pytest.raises(LaunchFailed):
            images.named(name)


async def test_images_are_imported_listed_and_removed_by_commands(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "small.tar"
    file.write_bytes(SMALL)
    made = await terminal("image", "import", "small:1", str(file), "--command", "cat /etc/motd")
    assert made.out == "small:1: 2 files, 6 bytes\n"
    piped = await terminal("image", "import", "piped", "-", stdin=SMALL.decode("ascii"))
    assert piped.out == "piped: 2 files, 6 bytes\n"
    listed = (await terminal("image", "list")).out.splitlines()
    assert [line.split() for line in listed] == [
        ["NAME", "FILES", "BYTES"],
        ["host", "-", "-"],
        ["piped", "2", "6"],
        ["small:1", "2", "6"],
    ]
    items = json.loads((await terminal("image", "list", "--json")).out)["items"]
    assert items[2]["command"] == "cat /etc/motd"
    assert (await terminal("image", "remove", "small:1")).out == "small:1 is removed\n"
    again = await terminal("image", "remove", "small:1")
    assert (again.status, "no image" in again.err, "appliance image list" in again.err) == (1, True, True)
    bad = await terminal("image", "import", "bad", "-", stdin="no archive")
    assert (bad.status, "no tar archive" in bad.err) == (1, True)
    assert (await terminal("image", "import", "x", str(tmp_path / "none"))).status == 1
    assert (await terminal("image")).status == 2


async def test_only_admins_change_images(terminal: Terminal) -> None:
    appliance = terminal.appliance
    operator = await appliance.bearer("oda", Role.OPERATOR)
    assert (await appliance.request("PUT", f"{PATH}/a", headers=operator)).status == 403
    assert (await appliance.request("DELETE", f"{PATH}/a", headers=operator)).status == 403
    assert (await appliance.get(PATH, headers=operator)).status == 200


@needs_sandbox
async def test_task_without_a_command_runs_what_its_image_says(tmp_path: Path) -> None:
    async with sandboxes(tmp_path, image_bytes_max=8 << 20) as engine:
        await engine.images.add("says", io.BytesIO(root_archive()), command="echo said; exit 2")
        ended, stdout, _ = await run(engine, "", image="says")
        assert (ended.exit_code, stdout) == (2, b"said\n")
        await engine.images.add("empty", io.BytesIO(archive(("etc/motd", b"x"))))
        with pytest.raises(LaunchFailed, match="execvp /bin/sh"):
            await engine.start(launch("true", "task-2.1", image="empty"), silent)


@needs_sandbox
async def test_host_folders_are_read_and_nothing_else_beside_them(tmp_path: Path) -> None:
    lent = tmp_path / "lent"
    lent.mkdir()
    lent.chmod(0o755)
    (lent / "file").write_text("tool")
    (lent / "file").chmod(0o644)
    async with sandboxes(tmp_path, host_folders=(str(lent), str(tmp_path / "none"))) as engine:
        command = f"cat {lent}/file; touch {lent}/x; ls {tmp_path}"
        _, stdout, stderr = await run(engine, command, image="host")
        assert stdout == b"toollent\n"
        assert b"Read-only file system" in stderr
    (tmp_path / "data" / "secret").write_text("word")
    for folder in (tmp_path, tmp_path / "data"):
        folder.chmod(0o755)
    async with sandboxes(tmp_path, host_folders=(str(tmp_path),)) as engine:
        _, stdout, _ = await run(engine, f"cat {lent}/file; cat {tmp_path}/data/secret; ls {tmp_path}", image="host")
        assert stdout == b"tooldata\nlent\n"


@needs_sandbox
async def test_group_of_tasks_opens_volumes_that_are_given_to_it(tmp_path: Path) -> None:
    group = grp.getgrnam("games")
    lent = tmp_path / "lent"
    await trio.to_thread.run_sync(lent.mkdir)
    os.chown(lent, 0, group.gr_gid)
    lent.chmod(0o770)
    volumes = (Volume(name="lent", source=lent, read_only=False),)
    async with sandboxes(tmp_path, group="games") as engine:
        assert (await run(engine, "touch /volumes/lent/made", volumes=volumes))[0].exit_code == 0
        assert (lent / "made").exists()
    async with sandboxes(tmp_path / "without") as engine:
        assert (await run(engine, "touch /volumes/lent/again", volumes=volumes))[0].exit_code != 0
    async with sandboxes(tmp_path / "wrong", group="no-such-group") as engine:
        with pytest.raises(LaunchFailed, match="no-such-group"):
            await engine.start(launch("true"), silent)
