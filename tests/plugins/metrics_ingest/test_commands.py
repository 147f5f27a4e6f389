"""``appliance server``, beside a running appliance and without one: the same words."""

import json
from collections.abc import Callable

from tests.appliance.cli.conftest import Said, Terminal, alone, terminal

__all__ = ["alone", "terminal"]


async def test_server_is_registered_listed_disabled_enabled_rotated_and_deleted(terminal: Terminal) -> None:
    made = await terminal("server", "register", "gpu-box-01", "--name", "GPU Box 01", "--json")
    first = json.loads(made.out)
    assert first["slug"] == "gpu-box-01"
    assert len(first["token"]) == 43
    assert first["agent_command"].startswith("ai-dashboard-agent --host http://")
    assert (await terminal("server", "register", "gpu-box-01")).status == 1
    rotated = await terminal("server", "register", "gpu-box-01", "--rotate-token")
    assert rotated.out.splitlines()[0] != first["token"]
    assert (await terminal("server", "register", "gpu-box-01", "--disable")).out == "gpu-box-01 is disabled\n"
    listed = (await terminal("server", "list")).out.splitlines()
    assert [line.split()[0] for line in listed[1:]] == ["gpu-box-01", "local"]
    assert "disabled" in listed[1]
    assert (await terminal("server", "register", "gpu-box-01", "--enable")).out == "gpu-box-01 is enabled\n"
    assert (await terminal("server", "delete", "gpu-box-01")).status == 0
    gone = await terminal("server", "delete", "gpu-box-01")
    assert (gone.status, gone.err.splitlines()[0]) == (1, "error: no server 'gpu-box-01'")


def test_commands_say_the_same_with_nothing_running(alone: Callable[..., Said]) -> None:
    made = json.loads(alone("server", "register", "box", "--json").out)
    assert made["slug"] == "box"
    listed = json.loads(alone("server", "list", "--json").out)
    assert [(item["slug"], item["is_active"], item["snapshot_count"]) for item in listed["items"]] == [("box", True, 0)]
    assert alone("server", "register", "box", "--disable").out == "box is disabled\n"
    assert alone("server", "delete", "box").out == "box is deleted, its history too\n"


def test_wrong_use_is_told_with_the_usage_and_ends_with_two(alone: Callable[..., Said]) -> None:
    for words in ((), ("register",), ("register", "box", "--enable", "--disable"), ("fly",)):
        said = alone("server", *words)
        assert said.status == 2
        assert "usage: appliance server" in said.err
    said = alone("server", "register", "--help")
    assert said.status == 0
    assert "--rotate-token" in said.out
