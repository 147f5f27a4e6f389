"""``appliance share``: shares of GPUs, their agents and workers, usage, and the release mirror."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from appliance.plugin import CommandApi, CommandReply

SHARING = "/api/appliance/sharing"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def share(api: CommandApi, arguments: Sequence[str]) -> int | None:
    """Run ``appliance share ...``; usage errors exit with 2."""
    asked = parser().parse_args(list(arguments))
    run: Any = asked.run
    run(api, asked)
    return None


def parser() -> argparse.ArgumentParser:
    """Return the command's own parser."""
    top = argparse.ArgumentParser(prog="appliance share", description="Share GPUs, and see what is shared.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    made = commands.add_parser("create", help="share a worker, and print the link")
    made.add_argument("--worker", required=True, metavar="ID", help="the worker; see `appliance share workers`")
    made.add_argument("--connection-ip", default="", help="where guests connect; the agent's first address by default")
    made.add_argument("--expires-in", type=seconds, metavar="TIME", help="such as 90m, 12h or 7d; never without")
    made.add_argument("--max-uses", type=int, help="how often the link can be followed; any number without")
    made.add_argument("--access", choices=("open", "cidr", "redeemed"), help="who may connect through the relay")
    made.add_argument("--network", action="append", default=[], help="one that may connect; may be repeated")
    made.add_argument("--max-connections", type=int, help="at once, through the relay")
    made.set_defaults(run=_create)
    for name, words, run in (
        ("list", "list shares", _list),
        ("agents", "list agents with their GPUs", _agents),
        ("workers", "list workers", _workers),
    ):
        shown = commands.add_parser(name, help=words)
        shown.add_argument("--all", action="store_true", help="everybody's, as an operator")
        shown.set_defaults(run=run)
    gone = commands.add_parser("revoke", help="end a share at once")
    gone.add_argument("share_id", metavar="ID")
    gone.set_defaults(run=_revoke)
    _mig_parser(commands)
    _usage_parser(commands)
    _release_parser(commands)
    return top


def _mig_parser(commands: Any) -> None:
    mig = commands.add_parser("mig", help="MIG instances for workers: a plan first, then its confirmation")
    actions = mig.add_subparsers(required=True, metavar="ACTION")
    plan = actions.add_parser("plan", help="say what would be done; nothing is")
    plan.add_argument("--gpu", required=True, metavar="ID", help="a GPU of this host")
    plan.add_argument("--vram-mb", type=int, help="memory that the instance needs")
    plan.add_argument("--compute-percent", type=int, help="part of the GPU's compute that it needs")
    plan.set_defaults(run=_mig_plan)
    confirm = actions.add_parser("confirm", help="do what a plan of the last ten minutes says")
    confirm.add_argument("plan_id", metavar="PLAN")
    confirm.set_defaults(run=_mig_confirm)


def _usage_parser(commands: Any) -> None:
    used = commands.add_parser("usage", help="what was used: GPU time, memory, energy, bytes")
    used.add_argument("--by", choices=("person", "share", "worker"), default="share")
    used.add_argument("--all", action="store_true", help="everybody's, as an operator")
    used.add_argument("--csv", action="store_true", help="every row, for spreadsheets")
    used.set_defaults(run=_usage)


def _release_parser(commands: Any) -> None:
    mirror = commands.add_parser("release", help="the files that agents and clients fetch from here")
    actions = mirror.add_subparsers(required=True, metavar="ACTION")
    add = actions.add_parser("add", help="copy a file of this host into the mirror")
    add.add_argument("file", type=Path)
    add.add_argument("--vendor", required=True, help="nvidia, amd ...")
    add.add_argument("--version", required=True, help="as semver.org has it: 1.2.3")
    add.add_argument("--type", required=True, choices=("vgpu-library", "remote-gpu-worker", "remote-gpu-client", "cli"))
    add.add_argument("--os", default="linux", choices=("linux", "darwin", "windows"))
    add.add_argument("--arch", default="amd64", choices=("amd64", "arm64"))
    add.add_argument("--name", help="under which it is served; the file's own by default")
    add.set_defaults(run=_release_add)
    actions.add_parser("list", help="list the mirror").set_defaults(run=_release_list)
    gone = actions.add_parser("remove", help="take a file out of the mirror")
    gone.add_argument("name")
    gone.set_defaults(run=_release_remove)


def seconds(text: str) -> float:
    """Return the seconds that 90s, 90m, 12h or 7d says."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError("a number with s, m, h or d, such as 12h")
    return float(int(match[1]) * _UNITS[match[2]])


def _create(api: CommandApi, asked: argparse.Namespace) -> None:
    body = {
        "worker_id": asked.worker,
        "connection_ip": asked.connection_ip,
        "expires_in_seconds": asked.expires_in,
        "max_uses": asked.max_uses,
        "access": asked.access,
        "networks": asked.network,
        "max_connections": asked.max_connections,
    }
    reply = api.post(f"{SHARING}/shares", {name: value for name, value in body.items() if value is not None})
    made = reply.json
    api.show(reply, f"{made['short_link']}\n share {made['share_id']}, connects to {made['connection_url']}")


def _list(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = _get(api, "shares", asked)
    rows = [
        (
            item["share_id"],
            item["short_link"],
            item["worker_name"],
            item["hostname"],
            item["state"],
            f"{item['used_count']}/{item['max_uses']}" if item["max_uses"] else str(item["used_count"]),
            item["connections_live"],
            item["access"] or "-",
        )
        for item in reply.json["items"]
    ]
    heads = ("ID", "LINK", "WORKER", "HOST", "STATE", "USES", "LIVE", "ACCESS")
    api.show(reply, api.table(heads, rows, right=(5, 6)))


def _agents(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = _get(api, "agents", asked)
    rows = [
        (item["agent_id"], item["hostname"], item["status"], item["os"], len(item["gpus"]), item["worker_count"])
        for item in reply.json["items"]
    ]
    api.show(reply, api.table(("ID", "HOST", "STATUS", "OS", "GPUS", "WORKERS"), rows, right=(4, 5)))


def _workers(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = _get(api, "workers", asked)
    rows = [
        (
            item["worker_id"],
            item["name"],
            item["hostname"],
            item["status"],
            item["listen_port"],
            item["vram_mb"],
            item["compute_percent"],
            item["limits"],
            item["why"],
        )
        for item in reply.json["items"]
    ]
    heads = ("ID", "NAME", "HOST", "STATUS", "PORT", "VRAM MB", "COMPUTE %", "LIMITS", "")
    api.show(reply, api.table(heads, rows, right=(4, 5, 6)))


def _get(api: CommandApi, what: str, asked: argparse.Namespace) -> CommandReply:
    return api.get(f"{SHARING}/{what}" + ("?all=true" if asked.all else ""))


def _revoke(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.delete(f"{SHARING}/shares/{quote(asked.share_id, safe='')}")
    api.show(reply, f"{reply.json['deleted']} is revoked")


def _mig_plan(api: CommandApi, asked: argparse.Namespace) -> None:
    body = {"gpu_id": asked.gpu, "vram_mb": asked.vram_mb, "compute_percent": asked.compute_percent}
    reply = api.post(f"{SHARING}/mig/plan", {name: value for name, value in body.items() if value is not None})
    plan = reply.json
    lines = [
        plan["words"],
        *(f"   {' '.join(words)}" for words in plan["commands"]),
        *(f" note: {words}" for words in plan["disturbs"]),
        *([f" {plan['problem']}"] if plan["problem"] else []),
        f" do it with: appliance share mig confirm {plan['plan_id']}",
    ]
    api.show(reply, "\n".join(lines))


def _mig_confirm(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.post(f"{SHARING}/mig/plan/{quote(asked.plan_id, safe='')}/confirm")
    made, proof = reply.json["instance"], reply.json["proof"]
    api.show(reply, f"{made['mig_id']} is made: {made['profile']}, {made['memory_mib']} MiB. {proof}")


def _usage(api: CommandApi, asked: argparse.Namespace) -> None:
    query = urlencode({"by": asked.by, "all": "true" if asked.all else "false"})
    if asked.csv:
        reply = api.get(f"{SHARING}/usage.csv?{query}")
        api.show(reply, reply.text.rstrip("\n"))
        return
    reply = api.get(f"{SHARING}/usage?{query}")
    rows = [
        (
            item["name"],
            f"{item['gpu_seconds'] / 3600:.2f}",
            f"{item['vram_gib_seconds'] / 3600:.2f}",
            f"{item['energy_joules'] / 3_600_000:.3f}",
            item["bytes"],
        )
        for item in reply.json["items"]
    ]
    heads = (asked.by.upper(), "GPU HOURS", "GIB HOURS", "KWH", "BYTES")
    api.show(reply, api.table(heads, rows, right=(1, 2, 3, 4)))


def _release_add(api: CommandApi, asked: argparse.Namespace) -> None:
    body = {
        "path": str(asked.file.resolve()),
        "vendor": asked.vendor,
        "version": asked.version,
        "type": asked.type,
        "os": asked.os,
        "arch": asked.arch,
    } | ({} if asked.name is None else {"name": asked.name})
    reply = api.post(f"{SHARING}/releases", body)
    made = reply.json
    api.show(reply, f"{made['name']} {made['version']}, {made['size_bytes']} bytes, sha256 {made['sha256']}")


def _release_list(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.get(f"{SHARING}/releases")
    rows = [
        (
            item["name"],
            item["version"],
            item["vendor"],
            item["type"],
            f"{item['os']}/{item['arch']}",
            item["size_bytes"],
        )
        for item in reply.json["items"]
    ]
    api.show(reply, api.table(("NAME", "VERSION", "VENDOR", "TYPE", "SYSTEM", "BYTES"), rows, right=(5,)))


def _release_remove(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.delete(f"{SHARING}/releases/{quote(asked.name, safe='')}")
    api.show(reply, f"{reply.json['deleted']} is removed")
