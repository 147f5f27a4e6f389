"""``appliance server``: the monitored servers."""

import argparse
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from appliance.plugin import CommandApi, CommandReply

SERVERS = "/api/appliance/servers"


def server(api: CommandApi, arguments: Sequence[str]) -> int | None:
    """Run ``appliance server ...``; usage errors exit with 2."""
    asked = parser().parse_args(list(arguments))
    run: Any = asked.run
    run(api, asked)
    return None


def parser() -> argparse.ArgumentParser:
    """Return the command's own parser."""
    top = argparse.ArgumentParser(prog="appliance server", description="Register, list and delete monitored servers.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("register", help="register a server, or change one that is there")
    one.add_argument("slug", help="its name in addresses: lower-case letters, digits and hyphens")
    one.add_argument("--name", help="its name for people; the slug by default")
    what = one.add_mutually_exclusive_group()
    what.add_argument("--rotate-token", action="store_true", help="replace its token; the old one ends at once")
    what.add_argument("--disable", action="store_true", help="take it off the list and refuse its samples")
    what.add_argument("--enable", action="store_true", help="put it back")
    one.set_defaults(run=_register)
    commands.add_parser("list", help="list all servers").set_defaults(run=_list)
    gone = commands.add_parser("delete", help="delete a server with its token and its history")
    gone.add_argument("slug")
    gone.set_defaults(run=_delete)
    return top


def _register(api: CommandApi, asked: argparse.Namespace) -> None:
    path = f"{SERVERS}/{quote(asked.slug, safe='')}"
    if asked.rotate_token:
        _issued(api, api.post(f"{path}/rotate-token"))
    elif asked.disable or asked.enable:
        change: dict[str, Any] = {"is_active": bool(asked.enable)}
        if asked.name is not None:
            change["name"] = asked.name
        reply = api.patch(path, change)
        state = "enabled" if reply.json["is_active"] else "disabled"
        api.show(reply, f"{reply.json['slug']} is {state}")
    else:
        body = {"slug": asked.slug} | ({} if asked.name is None else {"name": asked.name})
        _issued(api, api.post(SERVERS, body))


def _issued(api: CommandApi, reply: CommandReply) -> None:
    made = reply.json
    api.show(
        reply,
        f"{made['token']}\n server {made['slug']}, id {made['id']}; the token is shown once, keep it safe\n"
        f" start its agent with: {made['agent_command']}",
    )


def _list(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.get(SERVERS)
    rows = [
        (
            item["slug"],
            item["name"],
            _state(item),
            _percent(item["cpu_percent"]),
            _percent(item["memory_percent"]),
            item["gpu_count"],
            _percent(item["gpu_top_utilization_percent"]),
            item["bottleneck"],
            item["snapshot_count"],
        )
        for item in reply.json["items"]
    ]
    heads = ("SLUG", "NAME", "STATE", "CPU", "MEMORY", "GPUS", "TOP GPU", "VERDICT", "SAMPLES")
    api.show(reply, api.table(heads, rows, right=(3, 4, 5, 6, 8)))


def _state(item: dict[str, Any]) -> str:
    if not item["is_active"]:
        return "disabled"
    if item["last_seen_unix_s"] is None:
        return "never reported"
    return "silent" if item["is_silent"] else "live"


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{value:.0f} %"


def _delete(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.delete(f"{SERVERS}/{quote(asked.slug, safe='')}")
    api.show(reply, f"{reply.json['deleted']} is deleted, its history too")
