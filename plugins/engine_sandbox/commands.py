"""``appliance image``: the root file systems that sandboxed tasks run in."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from appliance.plugin import CommandApi

IMAGES: Final = "/api/appliance/sandbox/images"


def image(api: CommandApi, arguments: Sequence[str]) -> int | None:
    """Run ``appliance image ...``; usage errors exit with 2."""
    asked = parser().parse_args(list(arguments))
    run: Any = asked.run
    run(api, asked)
    return None


def parser() -> argparse.ArgumentParser:
    """Return the command's own parser."""
    top = argparse.ArgumentParser(
        prog="appliance image", description="Root file systems that tasks of the engine sandbox run in."
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    add = commands.add_parser("import", help="take the tar archive of a root file system, as docker export writes it")
    add.add_argument("name", help="such as busybox or busybox:1.36")
    add.add_argument("file", help="the archive, compressed or not; - reads standard input")
    add.add_argument("--command", default="", help="what is run for tasks without a command")
    add.set_defaults(run=_import)
    commands.add_parser("list", help="list the images").set_defaults(run=_list)
    gone = commands.add_parser("remove", help="remove an image")
    gone.add_argument("name")
    gone.set_defaults(run=_remove)
    return top


def _import(api: CommandApi, asked: argparse.Namespace) -> None:
    query = f"?{urlencode({'command': asked.command})}" if asked.command else ""
    path = f"{IMAGES}/{quote(asked.name, safe='')}{query}"
    if asked.file != "-":
        reply = api.upload(path, Path(asked.file))
    else:
        with tempfile.NamedTemporaryFile() as spool:
            shutil.copyfileobj(sys.stdin.buffer, spool)
            spool.flush()
            reply = api.upload(path, Path(spool.name))
    made = reply.json
    api.show(reply, f"{made['name']}: {made['files']} files, {made['size_bytes']} bytes")


def _list(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.get(IMAGES)
    rows = [(item["name"], item["files"] or None, item["size_bytes"] or None) for item in reply.json["items"]]
    api.show(reply, api.table(("NAME", "FILES", "BYTES"), rows, right=(1, 2)))


def _remove(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.delete(f"{IMAGES}/{quote(asked.name, safe='')}")
    api.show(reply, f"{reply.json['deleted']} is removed")
