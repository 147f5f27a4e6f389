"""A command that a plugin adds to ``appliance``; light, because the command line reads it before anything else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen


@frozen(kw_only=True)
class Command:
    """A command of ``appliance``, imported only when run."""

    name: str
    """One word, not taken by core or another plugin."""
    help: str
    """One line, shown by ``appliance --help``."""
    target: str
    """``"module:function"``; the function gets ``(api, arguments)`` and returns an exit status or ``None``."""
    answers_help: bool = False
    """Whether the function answers ``--help`` itself, as one with arguments of its own does (argparse)."""


class CommandReply(Protocol):
    """A good answer of the appliance's API."""

    @property
    def status(self) -> int:
        """The HTTP status, below 400."""
        ...

    @property
    def text(self) -> str:
        """The body as it came."""
        ...

    @property
    def json(self) -> Any:
        """The body decoded; ``None`` when there is none."""
        ...


class CommandApi(Protocol):
    """What a plugin's command is given: the appliance's API, and the ways to print. Failures are raised and printed."""

    @property
    def as_json(self) -> bool:
        """Whether ``--json`` was given: print the API's own answer."""
        ...

    @property
    def server(self) -> str:
        """What ``--server`` or APPLIANCE_SERVER names; empty where the appliance of this host is meant."""
        ...

    def get(self, path: str) -> CommandReply:
        """GET ``path``; raises with the API's own message and hint."""
        ...

    def post(self, path: str, body: Any = None) -> CommandReply:
        """POST ``body`` as JSON."""
        ...

    def patch(self, path: str, body: Any) -> CommandReply:
        """PATCH ``path`` with ``body`` as JSON."""
        ...

    def delete(self, path: str) -> CommandReply:
        """DELETE ``path``."""
        ...

    def upload(self, path: str, source: Path) -> CommandReply:
        """PUT a file as it is, however large; the appliance has to run."""
        ...

    def download(self, path: str, target: Path) -> None:
        """GET ``path`` into a new file, however large, which is not there when that fails; the appliance has to run."""
        ...

    def say(self, text: str, *, end: str = "\n", to_stderr: bool = False) -> None:
        """Print at once, whatever is printed: for output that goes on."""
        ...

    def show(self, reply: CommandReply, text: str) -> None:
        """Print the API's own answer with ``--json``, else ``text``."""
        ...

    def table(self, head: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[int] = ()) -> str:
        """Return rows under their heads, safe for a terminal; columns in ``right`` flush right, ``None`` as ``-``."""
        ...

    def fail(self, message: str, *, hint: str = "") -> Exception:
        """Return a failure to raise: printed as message and hint, exit status 1."""
        ...
