"""``appliance task`` and ``appliance run``: container tasks from the command line."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from appliance.plugin import CommandApi, CommandReply

from .command_options import add_task_options, body_of

TASKS = "/api/appliance/tasks"
WAIT_SECONDS = 20
ENDED = {"completed": 0, "failed": 1, "cancelled": 130}
"""Exit status of `run` where nobody knows that of the command itself."""


def task(api: CommandApi, arguments: Sequence[str]) -> int | None:
    """Run ``appliance task ...``; usage errors exit with 2."""
    asked = _task_parser().parse_args(list(arguments))
    run: Any = asked.run
    status: int | None = run(api, asked)
    return status


def run(api: CommandApi, arguments: Sequence[str]) -> int:
    """Run ``appliance run IMAGE ...``: submit a task, follow it, and end as it does. Ctrl-C cancels it."""
    parser = argparse.ArgumentParser(
        prog="appliance run", description="Run a task and follow its output; ends with its exit status, Ctrl-C cancels."
    )
    add_task_options(parser)
    asked = parser.parse_args(list(arguments))
    if asked.array is not None:
        parser.error("an array cannot be followed: use `appliance task submit --array`")
    made = submitted(api, asked).json["items"][0]
    api.say(f"task {made['id']}", to_stderr=True)
    try:
        return _follow(api, made["id"], 0)
    except KeyboardInterrupt:
        api.say("cancelling", to_stderr=True)
        api.post(f"{_path(made['id'])}/cancel")
        _follow(api, made["id"], 0, is_quiet=True)
        return 130


def _task_parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="appliance task", description="Submit container tasks, and see to them.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    new = commands.add_parser("submit", help="put a task into the queue")
    add_task_options(new)
    new.set_defaults(run=_submit)
    shown = commands.add_parser("list", help="list tasks, newest first")
    shown.add_argument("--state", action="append", default=[], help="only pending, running, failed ...; again for more")
    shown.add_argument("--limit", type=int, default=50, help="at most so many (50)")
    shown.set_defaults(run=_list)
    log = commands.add_parser("logs", help="print what a task has written")
    log.add_argument("task_id", metavar="ID")
    log.add_argument("-f", "--follow", action="store_true", help="go on until it has ended")
    log.set_defaults(run=_logs)
    for name, words, action in (
        ("cancel", "cancel a task that waits or runs", "cancel"),
        ("retry", "submit a task that has ended once more", "retry"),
        ("release", "let a held task go on", "release"),
    ):
        changed = commands.add_parser(name, help=words)
        changed.add_argument("task_id", metavar="ID")
        changed.set_defaults(run=_change, action=action)
    asked = commands.add_parser("why", help="say why a task waits, and when it will start")
    asked.add_argument("task_id", metavar="ID")
    asked.set_defaults(run=_why)
    gone = commands.add_parser("delete", help="delete a task that has ended, with its log and files")
    gone.add_argument("task_id", metavar="ID")
    gone.set_defaults(run=_delete)
    files = commands.add_parser("files", help="list or fetch what a task has left in /output")
    files.add_argument("task_id", metavar="ID")
    files.add_argument("--get", metavar="DIR", type=Path, help="download all of it into a folder")
    files.set_defaults(run=_files)
    return top


def submitted(api: CommandApi, asked: argparse.Namespace) -> CommandReply:
    """Submit what the options say, with its input files; a task whose inputs did not arrive is cancelled."""
    reply = api.post(TASKS, body_of(asked))
    if not asked.input:
        return reply
    ids = [item["id"] for item in reply.json["items"]]
    try:
        for task_id in ids:
            for source, name in asked.input:
                api.upload(f"{_path(task_id)}/inputs/{quote(name)}", source)
            api.post(f"{_path(task_id)}/release")
    except BaseException:
        for task_id in ids:
            api.post(f"{_path(task_id)}/cancel")
        raise
    return reply


def _submit(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = submitted(api, asked)
    api.show(reply, "\n".join(item["id"] for item in reply.json["items"]))


def _list(api: CommandApi, asked: argparse.Namespace) -> None:
    query = urlencode([("limit", asked.limit), *(("state", each) for each in asked.state)])
    reply = api.get(f"{TASKS}?{query}")
    rows = [
        (
            item["id"],
            item["state"],
            item["owner"],
            item["name"] or item["image"],
            f"{item['cpu_millicores'] / 1000:g}",
            f"{item['memory_mib'] / 1024:g} GiB",
            f"{item['milli_gpu'] / 1000:g}",
            _span(item),
            item["exit_code"],
            item["hostname"],
        )
        for item in reply.json["items"]
    ]
    heads = ("ID", "STATE", "OWNER", "WHAT", "CORES", "MEMORY", "GPUS", "TIME", "EXIT", "HOST")
    api.show(reply, api.table(heads, rows, right=(4, 5, 6, 7, 8)))


def _span(item: dict[str, Any]) -> str | None:
    started, ended = item["started_unix_s"], item["ended_unix_s"]
    if started is None:
        return None
    seconds = int((ended if ended is not None else time.time()) - started)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _logs(api: CommandApi, asked: argparse.Namespace) -> int | None:
    if asked.follow:
        _follow(api, asked.task_id, 0)
        return None
    offset = 0
    while True:
        tail = api.get(f"{_path(asked.task_id)}/log/tail?{urlencode({'offset': offset})}").json
        _print(api, tail)
        if tail["next_offset"] == offset:
            return None
        offset = tail["next_offset"]


def _follow(api: CommandApi, task_id: str, offset: int, *, is_quiet: bool = False) -> int:
    """Print a log until its task has ended; return the exit status that this means."""
    while True:
        query = urlencode({"offset": offset, "wait_seconds": WAIT_SECONDS})
        tail = api.get(f"{_path(task_id)}/log/tail?{query}").json
        if not is_quiet:
            _print(api, tail)
        offset = tail["next_offset"]
        if tail["is_over"]:
            break
    if tail["state"] != "completed":
        api.say(f"task {task_id} {tail['state']}" + (f": {tail['message']}" if tail["message"] else ""), to_stderr=True)
    known = tail["exit_code"]
    # A task that failed for another reason than its command (a time limit) must not look like a success.
    return int(known) if known is not None and (known or tail["state"] == "completed") else ENDED[tail["state"]]


def _print(api: CommandApi, tail: dict[str, Any]) -> None:
    if tail["missing_bytes"]:
        api.say(f"[{tail['missing_bytes']} bytes are not kept]", to_stderr=True)
    for part in tail["parts"]:
        api.say(part["text"], end="", to_stderr=part["stream"] == "stderr")


def _change(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.post(f"{_path(asked.task_id)}/{asked.action}")
    item = reply.json
    words = f"{item['id']} tries it again" if asked.action == "retry" else f"{item['id']} is {item['state']}"
    api.show(reply, words)


def _why(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.get(f"{_path(asked.task_id)}/why")
    found = reply.json
    lines = [found["sentence"]]
    if found["position"] is not None:
        lines.append(f" place {found['position']} in the queue")
    if found["estimated_start_unix_s"] is not None:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["estimated_start_unix_s"]))
        lines.append(f" expected to start at {at}")
    lines += [f" {each['hostname'] or 'hosts'}: {each['message']}" for each in found["reasons"]]
    api.show(reply, "\n".join(lines))


def _delete(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.delete(_path(asked.task_id))
    api.show(reply, f"{asked.task_id} is deleted")


def _files(api: CommandApi, asked: argparse.Namespace) -> None:
    reply = api.get(f"{_path(asked.task_id)}/files")
    items = reply.json["items"]
    if asked.get is None:
        rows = [(item["path"], item["size_bytes"], item["content_type"]) for item in items]
        lines = [api.table(("PATH", "BYTES", "TYPE"), rows, right=(1,))]
        lines += [f"not kept: {each['path']}: {each['reason']}" for each in reply.json["skipped"]]
        api.show(reply, "\n".join(lines))
        return
    for item in items:
        target = _below(api, asked.get, item["path"])
        target.parent.mkdir(parents=True, exist_ok=True)
        api.download(f"{_path(asked.task_id)}/files/{quote(item['path'])}", target)
    api.show(reply, f"{len(items)} files are in {asked.get}")


def _below(api: CommandApi, folder: Path, path: str) -> Path:
    """Return where a file of a task goes; the appliance has checked its path, and another server may not have."""
    parts = path.split("/")
    if any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise api.fail(f"not a path below a folder: {path!r}")
    return folder.joinpath(*parts)


def _path(task_id: str) -> str:
    return f"{TASKS}/{quote(task_id, safe='')}"
