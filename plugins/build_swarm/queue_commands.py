"""``appliance swarm queue|status|control|nodes|sessions``."""

import argparse
import time
from typing import Any, Final
from urllib.parse import urlencode

from appliance.plugin import CommandApi

SWARM: Final = "/api/appliance/swarm"
STATES: Final = ("needed", "delegated", "received", "blocked", "failed")
ACTIONS: Final = (
    "pause",
    "resume",
    "unblock",
    "unground",
    "reset",
    "rebalance",
    "clear_failures",
    "retry_failures",
    "block",
    "reclaim",
    "clear_history",
)


def add_commands(commands: Any) -> None:
    """Add the commands of this file to ``appliance swarm``."""
    queue = commands.add_parser("queue", help="put packages into the build queue, and see what is in it")
    actions = queue.add_subparsers(required=True, metavar="ACTION")
    _add_parser(actions)
    shown = actions.add_parser("list", help="list packages in the order in which they are built")
    shown.add_argument("--state", action="append", default=[], choices=STATES, help="only those; again for more")
    shown.add_argument("--session", default="", metavar="ID", help="only of this session")
    shown.add_argument("--search", default="", metavar="TEXT", help="only atoms with this text in them")
    shown.add_argument("--limit", type=int, default=100, help="at most so many (100)")
    shown.set_defaults(run=_list)
    commands.add_parser("status", help="say how the swarm is doing").set_defaults(run=_status)
    _control_parser(commands)
    nodes = commands.add_parser("nodes", help="list drones with what they build")
    nodes.add_argument("--online", action="store_true", help="without those that are offline")
    nodes.set_defaults(run=_nodes)
    sessions = commands.add_parser("sessions", help="list sessions, newest first")
    sessions.add_argument("--limit", type=int, default=20, help="at most so many (20)")
    sessions.set_defaults(run=_sessions)


def _add_parser(actions: Any) -> None:
    add = actions.add_parser("add", help="queue packages, in a session of their own or an open one")
    add.add_argument("packages", nargs="+", metavar="ATOM", help="such as dev-libs/openssl or =dev-libs/openssl-3.2.0")
    which = add.add_mutually_exclusive_group()
    which.add_argument("--session", default="", metavar="ID", help="an open session that they join")
    which.add_argument("--name", default="", help="the name of the session that is opened")
    add.add_argument("--priority", type=int, default=0, help="-100 to 100, larger first (0)")
    add.add_argument("--cores", type=int, default=0, help="only drones with so many cores")
    add.add_argument("--memory", type=int, default=0, metavar="MIB", help="only drones with so much memory")
    add.add_argument("--after", action="append", default=[], metavar="ATOM", help="built before these; again for more")
    add.set_defaults(run=_add)


def _control_parser(commands: Any) -> None:
    control = commands.add_parser("control", help="pause, resume, unblock, rebalance ... the queue")
    control.add_argument("action", choices=ACTIONS)
    control.add_argument("--package", default="", metavar="ATOM", help="only this one: block, unblock, reclaim")
    control.add_argument("--drone", default="", metavar="NAME", help="only this one: unground")
    control.set_defaults(run=_control)


def _add(api: CommandApi, asked: argparse.Namespace) -> None:
    body = {
        "packages": asked.packages,
        "session_id": asked.session,
        "session_name": asked.name,
        "priority": asked.priority,
        "cores": asked.cores,
        "memory_mib": asked.memory,
        "waits_for": asked.after,
    }
    reply = api.post(f"{SWARM}/packages", {name: value for name, value in body.items() if value})
    made = reply.json
    session = made["session"]
    lines = [*made["queued"], *(f"{each['atom']}: {each['reason']}" for each in made["skipped"])]
    lines.append(f"{len(made['queued'])} queued" + (f" in {session['session_id']}" if session else ""))
    api.show(reply, "\n".join(lines))


def _list(api: CommandApi, asked: argparse.Namespace) -> None:
    query = urlencode(
        [
            ("limit", asked.limit),
            *(("state", each) for each in asked.state),
            *((name, text) for name, text in (("session", asked.session), ("search", asked.search)) if text),
        ]
    )
    reply = api.get(f"{SWARM}/packages?{query}")
    rows = [
        (
            item["atom"],
            item["state"],
            item["priority"],
            item["drone"],
            percent(item["progress_percent"]),
            item["failures"] or None,
            item["error"] or item["why"],
        )
        for item in reply.json["items"]
    ]
    lines = [api.table(("PACKAGE", "STATE", "PRIORITY", "DRONE", "DONE", "FAILURES", "WHY"), rows, right=(2, 4, 5))]
    if reply.json["total"] > len(rows):
        lines.append(f"{len(rows)} of {reply.json['total']}")
    api.show(reply, "\n".join(lines))


def _status(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.get(f"{SWARM}/overview")
    found = reply.json
    counts, drones, builds, session = found["counts"], found["drones"], found["builds"], found["session"]
    lines = [
        "paused"
        if found["is_paused"]
        else "building"
        if counts["needed"] or counts["delegated"]
        else "nothing to build",
        " ".join(("packages:", *(f"{counts[state]} {state}" for state in STATES))),
        f"drones: {drones['online']} of {drones['total']} online, {drones['cores_online']} cores,"
        f" {drones['paused']} paused, {drones['grounded']} grounded",
        f"builds: {builds['total']}" + (f", {builds['success_rate']:g} % successful" if builds["total"] else ""),
    ]
    if session is not None:
        lines.append(f"session {session['session_id']} ({session['name']}): {session['completed']}/{session['total']}")
    if found["eta_unix_s"] is not None:
        lines.append(f"done by about {clock(found['eta_unix_s'])}")
    api.show(reply, "\n".join(lines))


def _control(api: CommandApi, asked: argparse.Namespace) -> None:
    body = {"action": asked.action, "package": asked.package, "drone": asked.drone}
    reply = api.post(f"{SWARM}/control", {name: value for name, value in body.items() if value})
    api.show(reply, reply.json["message"])


def _nodes(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.get(f"{SWARM}/drones" + ("?offline=false" if asked.online else ""))
    rows = [
        (
            item["name"],
            item["status"] + (" (paused)" if item["is_paused"] else ""),
            item["address"],
            item["drone_type"],
            item["cores"],
            item["current_task"] or None,
            item["builds_completed"],
            item["builds_failed"],
            "yes" if item["approval"] else "no",
        )
        for item in reply.json["items"]
    ]
    heads = ("DRONE", "STATUS", "ADDRESS", "TYPE", "CORES", "BUILDS", "DONE", "FAILED", "APPROVED")
    api.show(reply, api.table(heads, rows, right=(4, 6, 7)))


def _sessions(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.get(f"{SWARM}/sessions?{urlencode({'limit': asked.limit})}")
    rows = [
        (
            item["session_id"],
            item["name"],
            item["status"],
            f"{item['completed']}/{item['total']}",
            item["failed"],
            clock(item["started_unix_s"]),
            clock(item["completed_unix_s"] if item["completed_unix_s"] is not None else item["eta_unix_s"]),
        )
        for item in reply.json["items"]
    ]
    heads = ("SESSION", "NAME", "STATUS", "DONE", "FAILED", "STARTED", "ENDS")
    api.show(reply, api.table(heads, rows, right=(3, 4)))


def clock(unix_s: float | None) -> str | None:
    """Return a time as people here read it."""
    return None if unix_s is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_s))


def percent(value: float | None) -> str | None:
    """Return a part of a hundred as people read it."""
    return None if value is None else f"{value:g} %"
