"""``appliance swarm approve|unapprove|approved``: which drones may be entered over ssh."""

import argparse
import sys
from typing import Any, Final, TextIO
from urllib.parse import quote

from appliance.plugin import CommandApi

from .queue_commands import SWARM, clock

TYPES: Final = ("lxc", "qemu", "bare-metal", "unknown")


def add_commands(commands: Any) -> None:
    """Add the commands of this file to ``appliance swarm``."""
    new = commands.add_parser("approve", help="let the appliance enter a drone over ssh, as it is now")
    new.add_argument("name", metavar="NAME")
    new.add_argument("--address", default="", help="where its sshd is (where its heartbeats come from)")
    new.add_argument("--port", type=int, default=0, help="of its sshd (22)")
    new.add_argument("--user", default="", help="whom it is entered as (root)")
    new.add_argument("--type", default="", choices=TYPES, help="lxc and qemu may be rebooted, others never are")
    new.add_argument("--host-key", default="", metavar="KEY", help='"TYPE BASE64"; without, the one that it shows')
    sure = new.add_mutually_exclusive_group()
    sure.add_argument("--fingerprint", default="", metavar="SHA256:...", help="the host key must have this one")
    sure.add_argument("--yes", action="store_true", help="take the host key that it shows, without asking")
    new.set_defaults(run=_approve)
    old = commands.add_parser("unapprove", help="enter a drone no more")
    old.add_argument("name", metavar="NAME")
    old.set_defaults(run=_unapprove)
    shown = commands.add_parser("approved", help="list the drones that may be entered, and our public key")
    shown.set_defaults(run=_approved)


def _approve(api: CommandApi, asked: argparse.Namespace) -> int | None:
    body: dict[str, Any] = {
        "address": asked.address,
        "port": asked.port,
        "user": asked.user,
        "drone_type": asked.type,
        "host_key": asked.host_key,
        "fingerprint": asked.fingerprint,
    }
    body = {name: value for name, value in body.items() if value}
    path = _path(asked.name)
    if not asked.host_key and not asked.fingerprint:
        seen = api.post(f"{path}/scan", body).json
        if not seen["keys"]:
            raise api.fail(
                f"{seen['address']} port {seen['port']} shows no host key",
                hint="does sshd run there? Or give --host-key",
            )
        key = seen["keys"][0]
        where = f"{seen['user']}@{seen['address']} port {seen['port']}, type {seen['drone_type']}"
        api.say(f"drone {seen['name']}: {where}", to_stderr=True)
        api.say(f"its {key['type']} host key: {key['fingerprint']}", to_stderr=True)
        if not asked.yes and not confirmed(api, sys.stdin):
            raise api.fail("not approved", hint=f"with --fingerprint {key['fingerprint']} nobody is asked")
        # What was looked at is what is approved, whoever answers there by now.
        body = {**body, "host_key": key["host_key"], "fingerprint": key["fingerprint"]}
    reply = api.post(f"{path}/approve", body)
    made, ours = reply.json, api.get(f"{SWARM}/approvals").json
    lines = [
        f"{asked.name} is approved: {made['user']}@{made['address']} port {made['port']}, type {made['drone_type']}",
        f"its host key: {made['host_key_fingerprint']}",
        f"our public key: {ours['public_key']}",
        f"on the drone, in ~{made['user']}/.ssh/authorized_keys:",
        f"{ours['authorized_keys_line']}",
    ]
    api.show(reply, "\n".join(lines))
    return None


def confirmed(api: CommandApi, typed: TextIO) -> bool:
    """Ask whether a host key is the drone's; raises where nobody can be asked."""
    if not typed.isatty():
        raise api.fail(
            "nobody can be asked whether this is its host key", hint="give --fingerprint SHA256:..., or --yes"
        )
    api.say("Is that what `ssh-keygen -lf` says on the drone? [y/N] ", end="", to_stderr=True)
    return typed.readline().strip().lower() in ("y", "yes")


def _unapprove(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.post(f"{_path(asked.name)}/unapprove")
    api.show(reply, f"{asked.name} is entered no more")


def _approved(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.get(f"{SWARM}/approvals")
    found = reply.json
    rows = [
        (
            item["name"],
            item["address"],
            item["port"],
            item["user"],
            item["drone_type"],
            item["host_key_fingerprint"],
            item["approved_by"],
            clock(item["approved_unix_s"]),
        )
        for item in found["items"]
    ]
    heads = ("DRONE", "ADDRESS", "PORT", "USER", "TYPE", "HOST KEY", "BY", "AT")
    ours = found["reason"] or f"our public key: {found['public_key']}"
    api.show(reply, f"{api.table(heads, rows, right=(2,))}\n{ours}")


def _path(name: str) -> str:
    return f"{SWARM}/drones/{quote(name, safe='')}"
