"""``appliance machine``: the machines of the registry."""

import argparse
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from appliance.plugin import CommandApi, CommandReply

MACHINES = "/api/appliance/machines"


def machine(api: CommandApi, arguments: Sequence[str]) -> int | None:
    """Run ``appliance machine ...``; usage errors exit with 2."""
    asked = parser().parse_args(list(arguments))
    run: Any = asked.run
    run(api, asked)
    return None


def parser() -> argparse.ArgumentParser:
    """Return the command's own parser."""
    top = argparse.ArgumentParser(prog="appliance machine", description="Make, list, mark and delete machines.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    made = commands.add_parser("create", help="make a machine and its token, and say how its agent is started")
    made.add_argument("--pool", required=True, help="the pool that it joins")
    made.add_argument("--machine-id", help="8 hexadecimal digits; the token then serves this machine alone")
    made.add_argument("--expires-in-days", type=float, help="end the token by itself after so many days")
    made.add_argument("--machines", type=int, help="let so many machines register with the token; any number without")
    made.set_defaults(run=_create)
    shown = commands.add_parser("list", help="list machines, expired ones too")
    shown.add_argument("--pool", help="of one pool")
    shown.set_defaults(run=_list)
    gone = commands.add_parser("delete", help="delete a machine with its history")
    _which(gone)
    gone.add_argument("--revoke-token", action="store_true", help="end the token that it registered with, too")
    gone.set_defaults(run=_delete)
    for name, words in (
        ("cordon", "keep new work away from a machine"),
        ("drain", "keep new work away, and let what runs there end"),
        ("uncordon", "let new work come to a machine again"),
    ):
        marked = commands.add_parser(name, help=words)
        _which(marked)
        if name != "uncordon":
            marked.add_argument("--reason", default="", help="for those who wonder")
        marked.set_defaults(run=_mark, action=name)
    return top


def _which(command: argparse.ArgumentParser) -> None:
    command.add_argument("machine_id", metavar="ID")
    command.add_argument("--pool", help="where the id exists in several pools")
    command.add_argument("--provider", help="where it exists under several providers")


def _create(api: CommandApi, asked: argparse.Namespace) -> None:
    body = {
        "pool": asked.pool,
        "machine_id": asked.machine_id,
        "expires_in_days": asked.expires_in_days,
        "machines_max": asked.machines,
    }
    reply = api.post(MACHINES, {name: value for name, value in body.items() if value is not None})
    made = reply.json
    api.show(
        reply,
        f"{made['token']}\n machine {made['id']} in pool {made['pool']}; the token is shown once, keep it safe\n"
        f" Python agent: {made['commands']['python']}\n Go agent: {made['commands']['go']}\n {made['note']}",
    )


def _list(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.get(MACHINES + (f"?{urlencode({'pool': asked.pool})}" if asked.pool else ""))
    rows = [
        (
            item["id"],
            item["pool"],
            item["hostname"],
            _state(item),
            f"{item['cpu_millicores'] / 1000:g}",
            f"{item['memory_bytes'] / 2**30:.0f} GiB",
            item["gpu"],
            _gpus(item),
            _percent(item["cpu_percent"]),
            _percent(item["memory_percent"]),
            item["agent_version"],
        )
        for item in reply.json["items"]
    ]
    heads = ("ID", "POOL", "HOSTNAME", "STATE", "CORES", "MEMORY", "GPU", "FREE GPUS", "CPU", "MEM", "AGENT")
    api.show(reply, api.table(heads, rows, right=(4, 5, 7, 8, 9)))


def _state(item: dict[str, Any]) -> str:
    marks = [word for word in ("cordoned", "draining") if item[f"is_{word}"]]
    return ", ".join([item["state"], *marks])


def _gpus(item: dict[str, Any]) -> str:
    return str(item["gpu_count"]) if item["free_gpu_count"] is None else f"{item['free_gpu_count']}/{item['gpu_count']}"


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{value:.0f} %"


def _path(asked: argparse.Namespace, action: str = "", **more: str) -> str:
    given = {"pool": asked.pool, "provider": asked.provider} | more
    query = urlencode({name: value for name, value in given.items() if value})
    path = f"{MACHINES}/{quote(asked.machine_id, safe='')}{action}"
    return f"{path}?{query}" if query else path


def _delete(api: CommandApi, asked: argparse.Namespace) -> None:
    more = {"revoke_token": "true"} if asked.revoke_token else {}
    reply = api.delete(_path(asked, **more))
    ended = reply.json["revoked_tokens"]
    words = {0: "its token still counts" if not asked.revoke_token else "it had no token of its own"}
    api.show(reply, f"{reply.json['deleted']} is deleted; {words.get(ended, 'its token has ended')}")


def _mark(api: CommandApi, asked: argparse.Namespace) -> None:
    body = {"reason": asked.reason} if asked.action != "uncordon" and asked.reason else None
    reply: CommandReply = api.post(_path(asked, f"/{asked.action}"), body)
    api.show(reply, f"{reply.json['id']} is {_state(reply.json)}")
