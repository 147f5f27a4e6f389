"""``appliance swarm release``: what Gentoo hosts install from us, as sets that do not change."""

import argparse
import time
from typing import Any, Final
from urllib.parse import quote, urlencode

from appliance.plugin import CommandApi

RELEASES: Final = "/api/appliance/swarm/releases"
_GB: Final = 1e9


def add_commands(commands: Any) -> None:
    """Add the commands of this file to ``appliance swarm``."""
    release = commands.add_parser("release", help="make releases of what was built, and choose the current one")
    actions = release.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="list releases, newest first").set_defaults(run=_list)
    made = actions.add_parser("create", help="make a release of what is staged")
    made.add_argument("version", metavar="VERSION", nargs="?", default="", help="of the date, if not given")
    made.add_argument("--notes", default="", help="what is new in it")
    made.add_argument("--promote", action="store_true", help="make it the current one at once")
    made.set_defaults(run=_create)
    for name, words, run in (
        ("promote", "make a release the current one", _promote),
        ("archive", "put a release aside; it is kept, and the first to go", _archive),
        ("delete", "delete a release and what only it has", _delete),
        ("packages", "list what a release has", _packages),
    ):
        one = actions.add_parser(name, help=words)
        one.add_argument("version", metavar="VERSION")
        one.set_defaults(run=run)
    back = actions.add_parser("rollback", help="go back to the release before, or to a certain one")
    back.add_argument("version", metavar="VERSION", nargs="?", default="")
    back.set_defaults(run=_rollback)
    diff = actions.add_parser("diff", help="say what sets two releases apart")
    diff.add_argument("before", metavar="VERSION")
    diff.add_argument("after", metavar="VERSION")
    diff.set_defaults(run=_diff)
    taken = actions.add_parser("import", help="stage the binary packages of a folder of the appliance's host")
    taken.add_argument("path", metavar="FOLDER")
    taken.set_defaults(run=_import)


def _one(version: str) -> str:
    return f"{RELEASES}/{quote(version, safe='')}"


def _list(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.get(RELEASES)
    rows = [
        (
            item["version"],
            item["state"],
            item["packages"],
            f"{item['size_bytes'] / _GB:.2f}",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(item["created_unix_s"])),
            item["created_by"],
            item["notes"] or None,
        )
        for item in reply.json["items"]
    ]
    heads = ("VERSION", "STATE", "PACKAGES", "GB", "CREATED", "BY", "NOTES")
    api.show(reply, api.table(heads, rows, right=(2, 3)))


def _create(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.post(RELEASES, {"version": asked.version, "notes": asked.notes, "promote": asked.promote})
    made = reply.json
    words = (
        "the current one" if made["state"] == "current" else f"next: appliance swarm release promote {made['version']}"
    )
    api.show(reply, f"release {made['version']}: {made['packages']} packages; {words}")


def _promote(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.post(f"{_one(asked.version)}/promote")
    api.show(reply, f"release {reply.json['version']} is the current one")


def _archive(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.post(f"{_one(asked.version)}/archive")
    api.show(reply, f"release {reply.json['version']} is archived")


def _delete(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.delete(_one(asked.version))
    api.show(reply, f"release {reply.json['version']} is deleted")


def _rollback(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.post(f"{RELEASES}/rollback", {"version": asked.version})
    api.show(reply, f"release {reply.json['version']} is the current one again")


def _packages(api: CommandApi, asked: argparse.Namespace) -> None:
    rows = []
    reply = api.get(f"{_one(asked.version)}/packages?limit=1000")
    while True:
        rows += [(one["cpv"], one["build_id"], one["size_bytes"], one["uploaded_by"]) for one in reply.json["items"]]
        if api.as_json or reply.json["next"] is None:
            break
        query = urlencode({"limit": 1000, "cursor": reply.json["next"]})
        reply = api.get(f"{_one(asked.version)}/packages?{query}")
    api.show(reply, api.table(("PACKAGE", "BUILD", "BYTES", "FROM"), rows, right=(1, 2)))


def _diff(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.get(f"{RELEASES}/diff?{urlencode({'before': asked.before, 'after': asked.after})}")
    found = reply.json
    lines = [
        *(f"+ {one}" for one in found["added"]),
        *(f"- {one}" for one in found["removed"]),
        *(f"~ {', '.join(one['before'])} -> {', '.join(one['after'])}" for one in found["changed"]),
        f"{len(found['added'])} added, {len(found['removed'])} removed, {len(found['changed'])} changed, "
        f"{found['unchanged_count']} unchanged",
    ]
    api.show(reply, "\n".join(lines))


def _import(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.post("/api/appliance/swarm/staging/import", {"path": asked.path})
    done = reply.json
    words = f"{done['taken_count']} packages taken, {done['known_count']} known, {done['skipped_count']} skipped"
    api.show(reply, "\n".join([*(f"{path}: {reason}" for path, reason in done["skipped"]), words]))
