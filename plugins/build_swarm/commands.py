"""``appliance swarm``: the queue, drones and sessions, and what every part of the swarm adds to it."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any, Final

from appliance.plugin import CommandApi

from . import approval_commands, queue_commands
from .binhost import commands as release_commands
from .payloads import commands as payload_commands

AddCommands = Callable[[Any], None]
"""Adds commands to what ``add_subparsers`` returned; each sets ``run=`` to a function of (api, parsed arguments)."""

PARTS: Final[tuple[AddCommands, ...]] = (
    queue_commands.add_commands,
    approval_commands.add_commands,
    payload_commands.add_commands,
    release_commands.add_commands,
)
"""One for each part of the swarm that has commands, in the order in which the help shows them."""


def swarm(api: CommandApi, arguments: Sequence[str]) -> int | None:
    """Run ``appliance swarm ...``; usage errors exit with 2."""
    asked = parser().parse_args(list(arguments))
    run: Any = asked.run
    status: int | None = run(api, asked)
    return status


def parser() -> argparse.ArgumentParser:
    """Return the command's own parser."""
    top = argparse.ArgumentParser(prog="appliance swarm", description="See to the build swarm: its queue and drones.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for add_commands in PARTS:
        add_commands(commands)
    return top
