"""What every command is given: the global options, the way to the API, and how to print."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from attrs import define, field

from appliance.cli.api import Api, CommandFailed, HttpApi, NotRunning, Reply, control_socket

SERVICE_DATA_DIR = Path("/var/lib/appliance")
LOGIN_FILE = "login.json"


def default_data_dir(environment: Mapping[str, str], uid: int) -> Path:
    """Return the data directory when none is named: the service's for root, else the person's own."""
    if uid == 0:
        return SERVICE_DATA_DIR
    base = environment.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(base) / "appliance"


def config_home(environment: Mapping[str, str], uid: int) -> Path:
    """Return the folder of ``appliance.toml``: ``/etc/appliance`` for root, else the person's own."""
    if uid == 0:
        return Path("/etc/appliance")
    return Path(environment.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")) / "appliance"


@define
class Session:
    """One run of the command line."""

    data_dir_option: str | None = None
    config_option: str | None = None
    server: str | None = None
    as_json: bool = False
    _api: Api | None = field(default=None, init=False)

    @property
    def data_dir(self) -> Path:
        """The data directory in force, absolute."""
        named = self.data_dir_option or os.environ.get("APPLIANCE_DATA_DIR")
        return Path(named).absolute() if named else default_data_dir(os.environ, os.geteuid())

    @property
    def config_file(self) -> Path | None:
        """The configuration file in force: the named one, else the usual one if it exists, else ``None``."""
        named = self.config_option or os.environ.get("APPLIANCE_CONFIG")
        if named:
            return Path(named).absolute()
        usual = self.usual_config_file
        return usual if usual.exists() else None

    @property
    def usual_config_file(self) -> Path:
        """Where the configuration lies when nobody names another place."""
        return config_home(os.environ, os.geteuid()) / "appliance.toml"

    @property
    def login_file(self) -> Path:
        """Where ``appliance login`` keeps the server's address and token."""
        return config_home(os.environ, os.geteuid()) / LOGIN_FILE

    def become_owner(self) -> None:
        """As root on a data directory of another uid, become that uid, so that no file there turns root's."""
        if os.geteuid() != 0:
            return
        try:
            owner = self.data_dir.stat()
        except OSError:
            return
        if owner.st_uid != 0:
            os.setgroups([owner.st_gid])
            os.setgid(owner.st_gid)
            os.setuid(owner.st_uid)
            if not os.access(os.__file__, os.R_OK):
                place = os.path.dirname(os.__file__)
                raise CommandFailed(
                    f"{self.data_dir} belongs to uid {owner.st_uid}, who cannot read the Python at {place}",
                    hint="use a Python that everybody may read, such as /usr/bin/python3",
                )

    def remote(self) -> HttpApi | None:
        """Return the API at ``--server`` (or the address of ``appliance login``), ``None`` for this host's own."""
        named = self.server or os.environ.get("APPLIANCE_SERVER")
        if named:
            return HttpApi(server=named, token=os.environ.get("APPLIANCE_TOKEN", ""))
        if self.data_dir_option or control_socket(self.data_dir).exists():
            return None
        try:
            saved = json.loads(self.login_file.read_text(encoding="utf-8"))
            return HttpApi(server=str(saved["server"]), token=str(saved["token"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def api(self) -> Api:
        """Return the way to the API: ``--server``, the control socket, or the database when nothing runs."""
        if self._api is None:
            self._api = self._choose()
        return self._api

    def running(self) -> bool:
        """Whether an appliance answers (a remote one counts)."""
        api = self.remote()
        if api is not None:
            return True
        try:
            HttpApi(socket_path=control_socket(self.data_dir)).request("GET", "/healthz")
        except NotRunning:
            return False
        return True

    def get(self, path: str) -> Reply:
        """GET ``path``."""
        return self.api().request("GET", path)

    def post(self, path: str, body: Any = None) -> Reply:
        """POST ``body`` as JSON."""
        return self.api().request("POST", path, {} if body is None else body)

    def delete(self, path: str) -> Reply:
        """DELETE ``path``."""
        return self.api().request("DELETE", path)

    def fresh(self) -> None:
        """Look again: with nothing running, the next answer comes of a new sample."""
        forget = getattr(self._api, "forget", None)
        if forget is not None:
            forget()

    def show(self, reply: Reply, text: str) -> None:
        """Print the API's own answer with ``--json``, else ``text``."""
        click.echo(reply.text if self.as_json else text)

    def _choose(self) -> Api:
        remote = self.remote()
        if remote is not None:
            return remote
        self._refuse_strangers()
        self.become_owner()
        if self.running():
            return HttpApi(socket_path=control_socket(self.data_dir))
        from appliance.cli.offline import OfflineApi

        return OfflineApi(self.data_dir, self.config_file)

    def _refuse_strangers(self) -> None:
        """Say what to do to a person who has no appliance of their own on a host where one is a service."""
        own = self.data_dir
        if own.exists() or self.data_dir_option or os.geteuid() == 0 or not SERVICE_DATA_DIR.exists():
            return
        raise CommandFailed("the appliance runs as a service here", hint="use sudo, or `appliance login`")
