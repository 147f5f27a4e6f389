"""``appliance machine``, beside a running appliance and without one: the same words."""

import json
from collections.abc import Callable

from tests.appliance.cli.conftest import Said, Terminal, alone, terminal

__all__ = ["alone", "terminal"]


async def test_machine_is_made_listed_marked_and_deleted(terminal: Terminal) -> None:
    made = await terminal("machine", "create", "--pool", "default", "--machine-id", "1165a9b6", "--machines", "1")
    lines = made.out.splitlines()
    assert len(lines[0]) == 88
    assert lines[1] == " machine 1165a9b6 in pool default; the token is shown once, keep it safe"
    python = f" Python agent: BETA9_TOKEN={lines[0]} python3 -m beta9_agent --gateway-host 127.0.0.1 "
    assert lines[2].startswith(python)
    assert lines[3].startswith(" Go agent: b9agent init --gateway 127.0.0.1 ")
    assert "Restart=always" in lines[4]
    listed = (await terminal("machine", "list", "--pool", "default")).out.splitlines()
    assert any(line.split()[:3] == ["1165a9b6", "default", "pending"] for line in listed)
    pending = await terminal("machine", "cordon", "1165a9b6")
    assert (pending.status, "never registered" in pending.err) == (1, True)
    listing = json.loads((await terminal("machine", "list", "--json")).out)["items"]
    (local,) = [item["id"] for item in listing if item["is_local"]]
    assert (await terminal("machine", "drain", local, "--reason", "disk")).out == f"{local} is ready, draining\n"
    assert (await terminal("machine", "uncordon", local)).out == f"{local} is ready\n"
    gone = await terminal("machine", "delete", "1165a9b6", "--pool", "default", "--revoke-token")
    assert gone.out == "1165a9b6 is deleted; its token has ended\n"
    assert (await terminal("machine", "delete", "1165a9b6")).status == 1


def test_commands_say_the_same_with_nothing_running(alone: Callable[..., Said]) -> None:
    made = json.loads(alone("machine", "create", "--pool", "default", "--json").out)
    assert (made["pool"], made["provider"], len(made["token"])) == ("default", "generic", 88)
    listed = json.loads(alone("machine", "list", "--json").out)
    assert [(item["id"], item["state"]) for item in listed["items"]] == [(made["id"], "pending")]
    assert alone("machine", "delete", made["id"]).out == f"{made['id']} is deleted; its token still counts\n"


def test_wrong_use_is_told_with_the_usage_and_ends_with_two(alone: Callable[..., Said]) -> None:
    for words in ((), ("create",), ("fly",), ("create", "--pool", "default", "--machines", "many")):
        said = alone("machine", *words)
        assert said.status == 2
        assert "usage: appliance machine" in said.err
