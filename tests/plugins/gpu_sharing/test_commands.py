"""``appliance share``, beside a running appliance and without one: the same words."""

import argparse
import csv
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from plugins.gpu_sharing.commands import seconds
from tests.appliance.cli.conftest import Said, Terminal, alone, terminal
from tests.plugins.gpu_sharing.kit import agent, person
from tests.plugins.gpu_sharing.smi_device import SmiDevice

__all__ = ["alone", "terminal"]


async def test_worker_is_shared_listed_and_revoked(terminal: Terminal) -> None:
    one = await agent(await person(terminal.appliance))
    made = await terminal(
        "share",
        "create",
        "--worker",
        one.default,
        "--expires-in",
        "2h",
        "--max-uses",
        "3",
        "--connection-ip",
        "10.0.0.4",
    )
    link, told = made.out.splitlines()
    share_id = told.split()[1].rstrip(",")
    assert (link.rpartition("/")[0][-2:], told) == ("/s", f" share {share_id}, connects to tcp://10.0.0.4:9001")
    heads, row, *more = (await terminal("share", "list")).out.splitlines()
    assert (heads.split()[:3], more) == (["ID", "LINK", "WORKER"], [])
    assert row.split() == [share_id, link, "default", "gpu-box", "live", "0/3", "0", "-"]
    found = json.loads((await terminal("share", "list", "--json")).out)["items"]
    assert found[0]["expires_unix_s"] == pytest.approx(found[0]["created_unix_s"] + 7200)
    assert (await terminal("share", "revoke", share_id)).out == f"{share_id} is revoked\n"
    again = await terminal("share", "revoke", share_id)
    assert (again.status, "no share" in again.err) == (1, True)


async def test_agents_workers_and_usage_are_listed(terminal: Terminal) -> None:
    one = await agent(await person(terminal.appliance))
    agents = (await terminal("share", "agents", "--all")).out.splitlines()
    assert any(line.split() == [one.agent_id, "gpu-box", "pending", "linux", "1", "1"] for line in agents)
    workers = (await terminal("share", "workers", "--all")).out.splitlines()
    assert any(line.split()[:5] == [one.default, "default", "gpu-box", "pending", "9001"] for line in workers)
    used = await terminal("share", "usage", "--by", "worker", "--all")
    assert used.out.split()[:5] == ["WORKER", "GPU", "HOURS", "GIB", "HOURS"]
    table = (await terminal("share", "usage", "--csv")).out
    (heads,) = csv.reader(io.StringIO(table))
    assert (heads[0], heads[-1]) == ("hour", "bytes_to_guests")


async def test_file_is_added_to_the_mirror_listed_and_removed(terminal: Terminal, tmp_path: Path) -> None:
    source = tmp_path / "ggo-linux-amd64"
    source.write_bytes(b"program")
    words = ("share", "release", "add", str(source), "--vendor", "stub", "--version", "1.2.3", "--type", "cli")
    added = await terminal(*words)
    digest = hashlib.sha256(b"program").hexdigest()
    assert added.out == f"ggo-linux-amd64 1.2.3, 7 bytes, sha256 {digest}\n"
    listed = (await terminal("share", "release", "list")).out.splitlines()
    assert listed[1].split() == ["ggo-linux-amd64", "1.2.3", "stub", "cli", "linux/amd64", "7"]
    served = await terminal.appliance.get("/api/ecosystem/releases/files/ggo-linux-amd64")
    assert served.body == b"program"
    gone = await terminal("share", "release", "remove", "ggo-linux-amd64")
    assert gone.out == "ggo-linux-amd64 is removed\n"
    refused = await terminal(*words[:3], str(tmp_path / "nothing"), *words[4:])
    assert (refused.status, "cannot be read" in refused.err) == (1, True)


def test_commands_say_the_same_with_nothing_running(alone: Callable[..., Said], tmp_path: Path) -> None:
    source = tmp_path / "ggo"
    source.write_bytes(b"program")
    added = alone("share", "release", "add", str(source), "--vendor", "stub", "--version", "1.2.3", "--type", "cli")
    assert added.out.startswith("ggo 1.2.3, 7 bytes, sha256 "), added.err
    assert json.loads(alone("share", "list", "--json").out) == {"items": [], "next": None}
    missing = alone("share", "create", "--worker", "worker_nobody")
    assert (missing.status, "no worker 'worker_nobody'" in missing.err) == (1, True)


def test_wrong_use_is_told_with_the_usage_and_ends_with_two(alone: Callable[..., Said]) -> None:
    for words in ((), ("create",), ("fly",), ("create", "--worker", "w", "--expires-in", "7 days"), ("release", "add")):
        said = alone("share", *words)
        assert said.status == 2, words
        assert "usage: appliance share" in said.err


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("90m", 5400), ("12h", 43_200), ("7d", 604_800)])
def test_time_is_a_number_with_its_unit(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "5", "h", "-1h", "1.5h", "1w", "1h30m", "٣h", "9" * 5000 + "s", " 1h", "inf"])
def test_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        seconds(text)


async def test_instance_is_planned_in_words_and_made_once_that_is_confirmed(terminal: Terminal, tmp_path: Path) -> None:
    device = SmiDevice.make(tmp_path / "device")
    device.switch_off()
    state = terminal.appliance.running.plugins.parts["gpu_sharing"].surfaces[0].state
    state.mig.program, state.mig.is_root = device.program, True
    planned = await terminal("share", "mig", "plan", "--gpu", "GPU-0", "--vram-mb", "12000")
    words, switch, make, *notes, how = planned.out.splitlines()
    assert words.startswith("switch MIG mode on for GPU-0 (NVIDIA H100 80GB HBM3), then make one GPU instance 1g.20gb")
    assert "unproven on this host" in words
    assert switch.strip() == "nvidia-smi -i GPU-0 -mig 1"
    assert make.strip() == "nvidia-smi mig -i GPU-0 -cgi 15 -C"
    assert any("resets GPU-0" in note for note in notes)
    assert device.changes() == []
    plan_id = how.split()[-1]
    assert how == f" do it with: appliance share mig confirm {plan_id}"
    done = await terminal("share", "mig", "confirm", plan_id)
    assert done.out.startswith("MIG-new-3 is made: 1g.20gb, 20096 MiB.")
    again = await terminal("share", "mig", "confirm", plan_id)
    assert (again.status, "no plan" in again.err) == (1, True)
