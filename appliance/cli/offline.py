"""Commands with nothing running: one sample in this process, or core's own endpoints straight on the database."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import trio
from attrs import define

from appliance import log
from appliance.backends import BackendStatus, DeviceBackend
from appliance.cli.api import CommandFailed, Reply, reply_or_raise
from appliance.commands import Command
from appliance.config import Loaded
from appliance.data_folder import DataFolder
from appliance.host import Host
from appliance.local_agent.service import Look, sample_now
from appliance.local_agent.view import View
from appliance.run.failures import told_in_words
from appliance.run.options import Options
from appliance.run.plugins import Configured, configure, device_backends

SAMPLED: dict[str, Callable[[View], dict[str, Any]]] = {
    "/api/appliance/devices": lambda view: {"items": view.devices(), "next": None, "backends": view.backend_items()},
    "/api/appliance/processes": lambda view: {"items": view.processes(), "next": None},
    "/api/appliance/host": View.host,
    "/api/appliance/overview": lambda view: view.overview() | {"panels": []},
}
"""What one look at this host answers, without a database, in the API's own shapes."""


@contextmanager
def configured(data_dir: Path, config_file: Path | None) -> Iterator[Configured]:
    """Read the configuration and load the plugins as a start would; a plugin that fails is told by who asks for it."""
    log.configure(level=lambda: "critical", form="text")
    options = Options(data_dir=data_dir, config_file=config_file)
    found = configure(options, DataFolder(data_dir), safe_mode=False)
    try:
        yield found
    finally:
        found.plugins.close()


def read_configuration(data_dir: Path, config_file: Path | None) -> Loaded:
    """Return the configuration in force; raises `BadConfiguration` with every problem at once."""
    with configured(data_dir, config_file) as found:
        return found.loaded


def declared_commands(data_dir: Path, config_file: Path | None) -> list[Command]:
    """Ask every plugin for its commands; one that fails has none, and a name that is taken stays whose it was."""
    from appliance.cli.groups import COMMANDS

    made: dict[str, Command] = {}
    with configured(data_dir, config_file) as found:
        for _, answer in found.plugins.ask("appliance_commands"):
            if isinstance(answer, list):
                for command in answer:
                    if isinstance(command, Command) and command.name not in COMMANDS:
                        made.setdefault(command.name, command)
    return list(made.values())


def look(data_dir: Path, config_file: Path | None) -> Look:
    """Take one sample of this host and its devices through the same backends that a running appliance uses."""
    with configured(data_dir, config_file) as found:
        host = Host()
        backends: Sequence[DeviceBackend] = device_backends(found.plugins, host)
        return sample_now(backends, host_id=_host_id(data_dir), host=host)


def sample_backends(data_dir: Path, config_file: Path | None) -> Sequence[BackendStatus]:
    """Say how every device backend of this host is doing."""
    return look(data_dir, config_file).last.backends


def _host_id(data_dir: Path) -> str:
    """Return this host's id if it has one; looking makes none."""
    try:
        return DataFolder(data_dir).instance.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


@define
class OfflineApi:
    """The API of an appliance that does not run."""

    data_dir: Path
    config_file: Path | None
    _look: Look | None = None

    def request(self, method: str, path: str, body: Any = None) -> Reply:
        """Answer from one sample of this host, or from the database."""
        sampled = SAMPLED.get(path.partition("?")[0]) if method == "GET" else None
        if sampled is not None:
            if self._look is None:
                self._look = look(self.data_dir, self.config_file)
            return Reply(200, msgspec.json.encode(sampled(self._look.view())).decode())
        if method == "GET" and path == "/api/appliance/plugins":
            return self._plugins()
        if method == "GET" and not self.data_dir.exists():
            raise CommandFailed(f"there is no appliance in {self.data_dir} yet", hint="start it with `appliance serve`")
        log.configure(level=lambda: "critical", form="text")
        try:
            return trio.run(self._ask, method, path, b"" if body is None else json.dumps(body).encode())
        except BaseExceptionGroup as group:
            told = told_in_words(group)
            if told is None:
                raise
            raise told from group

    def forget(self) -> None:
        """Take a fresh sample next time."""
        self._look = None

    async def _ask(self, method: str, path: str, body: bytes) -> Reply:
        from appliance.run.offline import offline

        async with offline(Options(data_dir=self.data_dir, config_file=self.config_file)) as appliance:
            answered = await appliance.ask(method, path, body)
        return reply_or_raise(answered.status, answered.body.decode("utf-8", "replace"))

    def _plugins(self) -> Reply:
        """List what a start would find; whether a plugin can set itself up shows only when it runs."""
        with configured(self.data_dir, self.config_file) as found:
            items: list[dict[str, Any]] = [
                {
                    "name": one.name,
                    "version": one.version,
                    "origin": one.origin,
                    "state": "found" if one.state == "running" else one.state,
                    "reason": one.reason,
                    "services": [],
                }
                for one in found.plugins.found
            ]
        return Reply(200, json.dumps({"items": items, "next": None}))


@contextmanager
def importable(data_dir: Path, config_file: Path | None) -> Iterator[None]:
    """Make plugins' own modules importable, as while they run."""
    with configured(data_dir, config_file):
        yield


__all__ = ["OfflineApi", "declared_commands", "importable", "look", "read_configuration", "sample_backends"]
