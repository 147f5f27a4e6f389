"""``appliance swarm payload``: versions of payloads, and what drones have of them."""

import argparse
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from appliance.plugin import CommandApi

ADMIN: Final = "/admin/api/payloads"
OWN: Final = "/api/appliance/swarm/payloads"
ROLLS: Final = "/api/appliance/swarm/payload-rolls"
WAIT_SECONDS: Final = 20


def add_commands(commands: Any) -> None:
    """Add the commands of this file to ``appliance swarm``."""
    payload = commands.add_parser("payload", help="keep versions of what runs on drones, and bring them there")
    actions = payload.add_subparsers(required=True, metavar="ACTION")
    shown = actions.add_parser("list", help="list versions, newest first")
    shown.add_argument("payload_type", metavar="TYPE", nargs="?", default="")
    shown.set_defaults(run=_list)
    _add_parser(actions)
    actions.add_parser("status", help="say which drone has which version of what").set_defaults(run=_status)
    one = actions.add_parser("deploy", help="put a version on one drone")
    _version_arguments(one)
    one.add_argument("drone", metavar="DRONE")
    one.add_argument("--no-verify", action="store_true", help="do not compare what arrived with what was sent")
    one.set_defaults(run=_deploy)
    _rolling_parser(actions)
    compared = actions.add_parser("verify", help="compare what a drone has with what it should have")
    compared.add_argument("payload_type", metavar="TYPE")
    compared.add_argument("drone", metavar="DRONE")
    compared.set_defaults(run=_verify)
    log = actions.add_parser("log", help="list deploys and rollbacks, newest first")
    log.add_argument("payload_type", metavar="TYPE")
    log.add_argument("--drone", default="", metavar="NAME", help="only of this drone")
    log.add_argument("--limit", type=int, default=50, help="at most so many (50)")
    log.set_defaults(run=_log)
    gone = actions.add_parser("remove", help="take away a version that no drone has")
    _version_arguments(gone)
    gone.set_defaults(run=_remove)


def _version_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("payload_type", metavar="TYPE")
    parser.add_argument("version", metavar="VERSION")


def _add_parser(actions: Any) -> None:
    added = actions.add_parser("add", help="add a version from a file")
    _version_arguments(added)
    added.add_argument("file", metavar="FILE", type=Path)
    added.add_argument("--description", default="", help="what it is")
    added.add_argument("--notes", default="", help="what is new in it")
    added.set_defaults(run=_add)


def _rolling_parser(actions: Any) -> None:
    roll = actions.add_parser("rolling-deploy", help="put a version on drones, one after the other")
    _version_arguments(roll)
    roll.add_argument("drones", metavar="DRONE", nargs="*", help="which; none: every approved one that lacks it")
    roll.add_argument(
        "--no-health-check", action="store_true", help="neither restart drones nor look whether they work"
    )
    roll.add_argument("--no-rollback", action="store_true", help="go on after a failure, and leave what is there")
    roll.set_defaults(run=_rolling)


def _list(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.get(f"{ADMIN}/{_part(asked.payload_type)}/versions" if asked.payload_type else ADMIN)
    rows = [
        (
            one["payload_type"],
            one["version"],
            one["hash_hex"][:12],
            one["content_size"],
            _when(one["created_at"]),
            one["created_by"],
            one["description"],
        )
        for one in reply.json["versions"]
    ]
    api.show(reply, api.table(("TYPE", "VERSION", "SHA256", "BYTES", "ADDED", "BY", "WHAT"), rows, right=(3,)))


def _add(api: CommandApi, asked: argparse.Namespace) -> None:
    query = urlencode({"description": asked.description, "notes": asked.notes})
    reply = api.upload(f"{OWN}/{_part(asked.payload_type)}/{_part(asked.version)}?{query}", asked.file)
    made = reply.json["version"]
    api.show(reply, f"{made['payload_type']} v{made['version']} is kept: sha256 {made['hash_hex']}")


def _status(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.get(f"{ADMIN}/status")
    found = reply.json
    rows = [
        (drone, name, has["version"], has["status"], "yes" if has["is_current"] else "no", has["error_message"])
        for drone, payloads in found["drones"].items()
        for name, has in payloads.items()
    ]
    newest = [(name, one["version"], one["hash_hex"][:12]) for name, one in found["latest_versions"].items()]
    text = [
        api.table(("TYPE", "NEWEST", "SHA256"), newest),
        "",
        api.table(("DRONE", "TYPE", "VERSION", "STATUS", "CURRENT", "ERROR"), rows),
        f"{found['outdated_count']} of {len(found['drones'])} drones have something that is not the newest",
    ]
    api.show(reply, "\n".join(text))


def _deploy(api: CommandApi, asked: argparse.Namespace) -> int:
    wanted = {"drones": [asked.drone], "health_check": False, "verify": not asked.no_verify}
    return _roll(api, asked, wanted)


def _rolling(api: CommandApi, asked: argparse.Namespace) -> int:
    wanted = {
        "drones": asked.drones or None,
        "health_check": not asked.no_health_check,
        "rollback_on_fail": not asked.no_rollback,
    }
    return _roll(api, asked, wanted)


def _roll(api: CommandApi, asked: argparse.Namespace, wanted: dict[str, Any]) -> int:
    """Begin a roll and follow it to its end, however long that takes; 1 where a drone failed."""
    reply = api.post(ROLLS, {"payload_type": asked.payload_type, "version": asked.version, **wanted})
    at_work = ""
    while not reply.json["is_over"]:
        found = reply.json
        if found["current_drone"] != at_work and not api.as_json:
            at_work = found["current_drone"]
            api.say(f"{at_work} ({len(found['results']) + 1} of {found['drone_count']})", to_stderr=True)
        query = urlencode({"revision": found["revision"], "wait_seconds": WAIT_SECONDS})
        reply = api.get(f"{ROLLS}/{_part(found['id'])}?{query}")
    results = reply.json["results"]
    lines = [f"{'ok  ' if one['success'] else 'FAIL'} {one['drone']}: {one['message']}" for one in results]
    hints = sorted({one["hint"] for one in results if one["hint"]})
    lines += [f"hint: {one}" for one in hints]
    nothing = f"nothing to do: no approved drone lacks {asked.payload_type} v{asked.version} (appliance swarm approved)"
    api.show(reply, "\n".join(lines) or nothing)
    return 0 if all(one["success"] for one in results) else 1


def _verify(api: CommandApi, asked: argparse.Namespace) -> int:
    reply = api.post(f"{ADMIN}/{_part(asked.payload_type)}/verify", {"drone": asked.drone})
    found = reply.json
    api.show(reply, f"{found['drone']}: {found['message']} (expected: v{found['version']})")
    return 0 if found["matches"] else 1


def _log(api: CommandApi, asked: argparse.Namespace) -> None:
    query = urlencode({"limit": asked.limit, "drone": asked.drone})
    reply = api.get(f"{ADMIN}/{_part(asked.payload_type)}/deploy-log?{query}")
    rows = [
        (
            _when(one["deployed_at"]),
            one["drone_name"],
            one["action"],
            one["version"],
            one["status"],
            None if one["duration_ms"] is None else f"{one['duration_ms']:.0f} ms",
            one["deployed_by"],
            one["error_message"],
        )
        for one in reply.json["history"]
    ]
    heads = ("WHEN", "DRONE", "ACTION", "VERSION", "STATUS", "TOOK", "BY", "ERROR")
    api.show(reply, api.table(heads, rows, right=(5,)))


def _remove(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.delete(f"{OWN}/{_part(asked.payload_type)}/{_part(asked.version)}")
    api.show(reply, f"{reply.json['deleted']} is deleted")


def _part(text: str) -> str:
    return quote(text, safe="")


def _when(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(unix_s))
