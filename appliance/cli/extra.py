"""Commands that plugins bring: names and helps from a cache, code imported only when one is run."""

import importlib
import importlib.util
import json
import os
import stat
import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import click
from attrs import asdict, define

from appliance.cli.api import CommandFailed, HttpApi, NotRunning, Reply
from appliance.cli.format import table
from appliance.cli.options import global_options
from appliance.cli.session import Session
from appliance.commands import Command, CommandReply

CACHE = "commands.json"


@define
class SessionApi:
    """`appliance.commands.CommandApi` on this run of the command line."""

    _session: Session

    @property
    def as_json(self) -> bool:
        """Whether ``--json`` was given: print the API's own answer."""
        return self._session.as_json

    @property
    def server(self) -> str:
        """What ``--server`` or APPLIANCE_SERVER names; empty where the appliance of this host is meant."""
        return self._session.server or os.environ.get("APPLIANCE_SERVER", "")

    def get(self, path: str) -> Reply:
        """GET ``path``; raises with the API's own message and hint."""
        return self._session.get(path)

    def post(self, path: str, body: Any = None) -> Reply:
        """POST ``body`` as JSON."""
        return self._session.post(path, body)

    def patch(self, path: str, body: Any) -> Reply:
        """PATCH ``path`` with ``body`` as JSON."""
        return self._session.api().request("PATCH", path, body)

    def delete(self, path: str) -> Reply:
        """DELETE ``path``."""
        return self._session.delete(path)

    def upload(self, path: str, source: Path) -> Reply:
        """PUT a file as it is."""
        try:
            with source.open("rb") as opened:
                return self._running().upload(path, opened, os.fstat(opened.fileno()).st_size)
        except OSError as error:
            raise CommandFailed(f"{source} cannot be read: {error.strerror}") from error

    def download(self, path: str, target: Path) -> None:
        """GET ``path`` into a new file, which is not there when that fails."""
        api = self._running()
        try:
            with target.open("xb") as opened:
                try:
                    api.download(path, opened)
                except BaseException:
                    target.unlink()
                    raise
        except FileExistsError as error:
            raise CommandFailed(f"{target} is there already") from error
        except OSError as error:
            raise CommandFailed(f"{target} cannot be written: {error.strerror}") from error

    def say(self, text: str, *, end: str = "\n", to_stderr: bool = False) -> None:
        """Print at once, whatever is printed: for output that goes on."""
        click.echo(text + end, nl=False, err=to_stderr)

    def _running(self) -> HttpApi:
        api = self._session.api()
        if not isinstance(api, HttpApi):
            raise NotRunning("the appliance is not running", hint="start it with `appliance serve`")
        return api

    def show(self, reply: CommandReply, text: str) -> None:
        """Print the API's own answer with ``--json``, else ``text``."""
        click.echo(reply.text if self.as_json else text)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[int] = ()) -> str:
        """Return rows under their heads, columns aligned."""
        return table(head, rows, right)

    def fail(self, message: str, *, hint: str = "") -> CommandFailed:
        """Return a failure to raise: printed as message and hint, exit status 1."""
        return CommandFailed(message, hint=hint)


def cache_file(session: Session) -> Path | None:
    """Return where the list of commands is kept: with the data, else in our own cache; ``None`` when neither is ours.

    What the list names is imported when it is run, so it is read only from a folder that nobody else can write.
    """
    kept_with_data = session.data_dir / "cache"
    if os.geteuid() == 0:
        own = Path("/var/cache/appliance")
    else:
        own = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "appliance"
        with suppress(OSError):
            own.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder, name in ((kept_with_data, CACHE), (own, f"commands-{_short_hash(session.data_dir)}.json")):
        try:
            state = folder.lstat()
        except OSError:
            continue
        if stat.S_ISDIR(state.st_mode) and state.st_uid == os.geteuid() and not state.st_mode & 0o022:
            return folder / name
    return None


def _short_hash(path: Path) -> str:
    return f"{zlib.crc32(os.fsencode(path)):08x}"


def stamp(folders: list[Path]) -> list[list[Any]]:
    """Return path, modification time and size of every plugin file: what a cached list of commands is good for."""
    found = []
    for folder in folders:
        for path in [*sorted(folder.glob("*.py")), *sorted(folder.glob("*/__init__.py"))]:
            try:
                state = path.stat()
            except OSError:
                continue
            found.append([str(path), state.st_mtime_ns, state.st_size])
    return found


def plugin_commands(session: Session) -> dict[str, Command]:
    """Return the commands of all plugins by name, from the cache when no plugin file has changed."""
    import plugins

    folders = [Path(folder) for folder in plugins.__path__]
    dropped = session.data_dir / "plugins"
    if dropped not in folders:
        folders.append(dropped)
    cache, now = cache_file(session), stamp(folders)
    if session.config_file is not None:
        now.append([str(session.config_file), session.config_file.stat().st_mtime_ns])
    try:
        cached = json.loads(cache.read_text(encoding="utf-8")) if cache is not None else {}
        if cached["stamp"] == now:
            return {one["name"]: Command(**one) for one in cached["commands"]}
    except (OSError, ValueError, KeyError, TypeError):
        cached = None
    from appliance.cli.offline import declared_commands

    found = declared_commands(session.data_dir, session.config_file)
    if cache is not None:
        draft = cache.with_suffix(f".{os.getpid()}")
        with suppress(OSError):  # no room for a cache, no cache: plugins are asked again next time
            draft.write_text(json.dumps({"stamp": now, "commands": [asdict(one) for one in found]}), encoding="utf-8")
            draft.replace(cache)
    return {one.name: one for one in found}


def _importable(session: Session, module: str) -> AbstractContextManager[None]:
    """Make a plugin's module importable.

    A shipped one is: finding all plugins imports all of them and the server, in half a second.
    """
    with suppress(ImportError, ValueError):
        if importlib.util.find_spec(".".join(module.split(".")[:2])) is not None:
            return nullcontext()
    from appliance.cli.offline import importable

    return importable(session.data_dir, session.config_file)


def as_click(session: Session, command: Command) -> click.Command:
    """Wrap a plugin's command: everything after its name goes to its function as it stands."""

    def run(arguments: tuple[str, ...]) -> int | None:
        module, _, function = command.target.partition(":")
        with _importable(session, module):
            try:
                target = getattr(importlib.import_module(module), function)
            except (ImportError, AttributeError) as error:
                raise CommandFailed(f"the plugin's command {command.name!r} cannot be loaded: {error}") from error
            status = target(SessionApi(session), list(arguments))
        return status if isinstance(status, int) else None

    made = click.command(
        command.name,
        help=command.help,
        context_settings={
            "ignore_unknown_options": True,
            "help_option_names": [] if command.answers_help else ["--help"],
        },
    )
    return made(global_options(click.argument("arguments", nargs=-1, type=click.UNPROCESSED)(run)))


__all__ = ["SessionApi", "as_click", "plugin_commands", "stamp"]
