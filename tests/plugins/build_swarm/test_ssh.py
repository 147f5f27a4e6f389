"""Entering drones: commands and files over a real sshd."""

import hashlib
import os
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import evolve

from appliance.errors import NotAvailable
from plugins.build_swarm.approval import Approval, NotApproved
from plugins.build_swarm.ssh_command import SshFailed
from plugins.build_swarm.ssh_connections import SshConnections
from tests.plugins.build_swarm.ssh_kit import ANA, Box, opened
from tests.wire.sshd import Sshd, running_sshd

DEADLINE_S = 60.0


@pytest.fixture
def drone(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "drone") as one:
        yield one


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    async with opened(tmp_path) as made, made.serving():
        yield made


async def failure(box: Box, approval: Approval, *argv: str, deadline_s: float = DEADLINE_S) -> SshFailed:
    """Run what must fail for a reason of ssh's."""
    with pytest.raises(SshFailed) as caught:
        await box.ssh.run(approval, argv or ("true",), deadline_s=deadline_s)
    return caught.value


async def test_command_gets_its_arguments_input_and_status_across_as_they_are(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    odd = ["a b", "$HOME", "`id`", "'\"\\", "; reboot", "", "*", "ü\n-x"]
    script = 'printf "%s|" "$@"; cat >&2; exit 7'
    ran = await box.ssh.run(approval, ["sh", "-c", script, "x", *odd], stdin=b"typed", deadline_s=DEADLINE_S)
    assert (ran.status, ran.stdout, ran.stderr) == (7, "".join(f"{one}|" for one in odd), "typed")
    assert drone.calls == []


async def test_commands_share_one_connection(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    for _ in range(3):
        await box.ssh.run(approval, ["true"], deadline_s=DEADLINE_S)
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(lambda: box.ssh.run(approval, ["true"], deadline_s=DEADLINE_S))
    assert drone.connections == 1


async def test_output_beyond_the_limit_is_dropped_and_the_command_still_ends(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    loud = ["sh", "-c", "head -c 3000000 /dev/zero; echo done >&2"]
    ran = await box.ssh.run(approval, loud, deadline_s=DEADLINE_S, limit_bytes=1000)
    assert (len(ran.stdout), ran.stderr, ran.is_cut, ran.status) == (1000, "done\n", True, 0)


async def test_drone_with_another_host_key_is_never_entered(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    drone.change_host_key()
    found = await failure(box, approval, "reboot")
    assert found.kind == "host_key_changed"
    assert found.hint.startswith("if the drone was installed anew: appliance swarm approve drone-01")
    assert drone.calls == []


async def test_drone_that_has_not_our_key_is_refused_and_the_hint_says_what_to_do(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    (drone.folder / "authorized_keys").write_text("")
    found = await failure(box, approval)
    assert found.kind == "refused"
    assert "authorized_keys" in found.hint


async def test_drone_that_closes_at_once_is_unreachable(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    drone.down()
    assert (await failure(box, approval)).kind == "unreachable"


async def test_port_where_nobody_listens_is_unreachable(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    drone.close()
    assert (await failure(box, approval)).kind == "unreachable"


async def test_command_that_takes_too_long_is_given_up_and_the_next_one_connects_anew(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    found = await failure(box, approval, "sleep", "600", deadline_s=3.0)
    assert found.kind == "timeout"
    ran = await box.ssh.run(approval, ["echo", "well"], deadline_s=DEADLINE_S)
    assert ran.stdout == "well\n"


@pytest.mark.long
async def test_drone_that_has_to_wait_for_its_turn_has_its_whole_time_then(tmp_path: Path, drone: Sshd) -> None:
    async with opened(tmp_path, ssh_at_once=1) as box, box.serving():
        approval = await box.approve(drone)
        ran: list[str] = []

        async def run(*argv: str, deadline_s: float) -> None:
            ran.append((await box.ssh.run(approval, argv, deadline_s=deadline_s)).stdout)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run("sh", "-c", "sleep 6; echo first", deadline_s=DEADLINE_S))
            await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.start_soon(lambda: run("echo", "second", deadline_s=5.0))
        assert ran == ["first\n", "second\n"]


async def test_drone_that_answers_nothing_at_all_times_out(box: Box, drone: Sshd) -> None:
    # A listener whose connections nobody accepts: what a machine does that hangs.
    with trio.socket.socket() as silent:
        await silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        approval = await box.approve(drone, port=silent.getsockname()[1])
        assert (await failure(box, approval, deadline_s=1.0)).kind == "timeout"


async def test_cancelled_command_leaves_no_process_of_ours(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    await box.ssh.run(approval, ["true"], deadline_s=DEADLINE_S)
    mark = drone.folder / "begun"
    async with trio.open_nursery() as nursery:
        script = f"touch {mark}; exec sleep 600"
        nursery.start_soon(lambda: box.ssh.run(approval, ["sh", "-c", script], deadline_s=DEADLINE_S))
        with trio.fail_after(30):
            while not mark.exists():  # noqa: ASYNC110  another process makes it
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert not processes_with(str(mark))


def processes_with(text: str) -> list[int]:
    """Return the processes that have ``ssh`` as program and a text in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if os.path.basename(words[0]) == b"ssh" and any(text.encode() in word for word in words):
                found.append(int(folder.name))
    return found


async def test_approval_that_was_taken_back_ends_its_connection_and_connects_no_more(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    await box.ssh.run(approval, ["true"], deadline_s=DEADLINE_S)
    socket = box.connections.socket(approval)
    assert socket.exists()
    await box.approvals.unapprove("drone-01", who=ANA)
    with pytest.raises(NotApproved):
        await box.ssh.run(approval, ["true"], deadline_s=DEADLINE_S)
    with trio.fail_after(30):
        while socket.exists():  # noqa: ASYNC110  another process removes it
            await trio.sleep(0.01)
    assert drone.connections == 1


async def test_connections_end_with_the_appliance(tmp_path: Path, drone: Sshd) -> None:
    async with opened(tmp_path) as box:
        async with box.serving():
            approval = await box.approve(drone)
            await box.ssh.run(approval, ["true"], deadline_s=DEADLINE_S)
            socket = box.connections.socket(approval)
            assert socket.exists()
        assert not socket.exists()


async def test_sockets_go_elsewhere_where_the_folder_is_too_deep_for_one(tmp_path: Path, drone: Sshd) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    async with opened(deep) as box:
        async with box.serving():
            approval = await box.approve(drone)
            assert (await box.ssh.run(approval, ["echo", "in"], deadline_s=DEADLINE_S)).stdout == "in\n"
            folder = box.connections.socket(approval).parent
            assert not folder.is_relative_to(tmp_path)
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            # A run that is killed leaves its folder to the next one.
            assert SshConnections(box.approvals, box.folder).socket(approval).parent == folder
            folder.chmod(0o755)  # what others could have put sockets into is not used
            other = SshConnections(box.approvals, box.folder).socket(approval).parent
            assert other != folder
            other.rmdir()
        assert not folder.exists()


@pytest.mark.parametrize("name", ["with blank", "50%", 'quote"d', "back\\slash"])
async def test_folder_with_odd_characters_is_told_to_ssh_as_it_is(tmp_path: Path, drone: Sshd, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    async with opened(folder) as box, box.serving():
        approval = await box.approve(drone)
        assert (await box.ssh.run(approval, ["echo", "in"], deadline_s=DEADLINE_S)).stdout == "in\n"


# ------------------------------------------------------------------ files


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("as_file", [False, True])
async def test_file_is_stored_whole_with_its_mode(box: Box, drone: Sshd, tmp_path: Path, as_file: bool) -> None:
    approval = await box.approve(drone)
    content = os.urandom(300_000)
    source = tmp_path / "content"
    source.write_bytes(content)
    target = drone.folder / "new folder" / "$(id) it's"
    await box.ssh.put(approval, str(target), source if as_file else content, mode=0o750, sha256=sha256(content))
    assert target.read_bytes() == content
    assert stat.S_IMODE(target.stat().st_mode) == 0o750
    assert [one.name for one in target.parent.iterdir()] == [target.name]
    assert await box.ssh.sha256_of(approval, str(target)) == sha256(content)


async def test_file_that_arrives_otherwise_than_it_was_sent_leaves_the_old_one(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    target = drone.folder / "there" / "program"
    target.parent.mkdir()
    target.write_text("old")
    with pytest.raises(SshFailed, match="what arrived has sha256") as caught:
        await box.ssh.put(approval, str(target), b"new", mode=0o755, sha256=sha256(b"other"))
    assert caught.value.kind == "command"
    assert target.read_text() == "old"
    assert [one.name for one in target.parent.iterdir()] == ["program"]


async def test_file_takes_the_place_of_a_link_and_not_of_what_it_points_to(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    other, target = drone.folder / "other", drone.folder / "link"
    other.write_text("other")
    target.symlink_to(other)
    await box.ssh.put(approval, str(target), b"new", mode=0o644, sha256=sha256(b"new"))
    assert (other.read_text(), target.read_text(), target.is_symlink()) == ("other", "new", False)


async def test_file_is_not_stored_where_a_folder_is(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    with pytest.raises(SshFailed, match="is a folder"):
        await box.ssh.put(approval, str(drone.folder / "home"), b"new", mode=0o644, sha256=sha256(b"new"))


async def test_sha256_of_what_is_not_there_is_none(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    assert await box.ssh.sha256_of(approval, str(drone.folder / "nothing")) is None


# ------------------------------------------------------------------ keys


async def test_our_key_is_made_once_for_us_alone(box: Box) -> None:
    first = await box.keys.public_key()
    assert first.startswith("ssh-ed25519 ")
    assert stat.S_IMODE(box.keys.path.stat().st_mode) == 0o600
    box.restart()
    assert await box.keys.public_key() == first
    assert sorted(one.name for one in box.folder.iterdir() if "ed25519" in one.name or "key-" in one.name) == [
        "id_ed25519",
        "id_ed25519.pub",
    ]


async def test_key_that_others_can_read_is_not_used(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    box.keys.path.chmod(0o644)
    with pytest.raises(NotAvailable, match="can be read by others"):
        await box.ssh.run(approval, ["true"], deadline_s=DEADLINE_S)


async def test_ssh_is_not_available_where_it_is_not_installed(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    box.keys.which = lambda program: None if program == "ssh" else f"/usr/bin/{program}"
    with pytest.raises(NotAvailable, match="ssh is not available because ssh is not installed here"):
        await box.ssh.run(approval, ["true"], deadline_s=DEADLINE_S)
    with pytest.raises(NotAvailable, match="not available because"):
        await box.keys.scan(drone.address, drone.port)


async def test_host_key_is_scanned_as_the_host_shows_it(box: Box, drone: Sshd) -> None:
    found = await box.keys.scan(drone.address, drone.port)
    assert [key.text for key in found] == [drone.host_key]


async def test_host_that_shows_no_key_is_scanned_as_none(box: Box, drone: Sshd) -> None:
    drone.down()
    assert await box.keys.scan(drone.address, drone.port) == []


async def test_approval_changed_since_it_was_looked_up_is_not_used(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    await box.approvals.approve(evolve(approval, user="nobody"), who=ANA)
    with pytest.raises(NotApproved):
        await box.ssh.run(approval, ["true"], deadline_s=DEADLINE_S)
