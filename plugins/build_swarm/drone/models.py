"""What a drone is told by a server, what it owes it, and how it is set up."""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

from attrs import field, frozen

ATOM: Final = re.compile(
    r"(?:[<>]?=|[<>~])?"
    r"[A-Za-z0-9_][A-Za-z0-9+_.-]{0,62}/[A-Za-z0-9_][A-Za-z0-9+_.-]{0,126}"
    r"(?::[A-Za-z0-9_][A-Za-z0-9+_./-]{0,62})?"
)
"""What may become an argument of a build command: a package of PMS 8.3, with an operator and a slot, no use flags.

It never begins with a dash, and holds nothing that any shell would look at.
"""
VERSIONED: Final = re.compile(r"-[0-9]+(?:\.[0-9]+)*[a-z]?(?:_(?:alpha|beta|pre|rc|p)[0-9]*)*(?:-r[0-9]+)?\Z")
"""The version at the end of a package's name (PMS 3.2)."""


def plain(atom: str) -> str:
    """Return an atom as two are compared: the server writes the ``=`` of a version that others leave out."""
    return atom.removeprefix("=")


def as_argument(atom: str) -> str:
    """Return an atom as Portage reads it: one with a version needs an operator."""
    name, _, _ = atom.partition(":")
    is_bare = atom[:1] not in "<>=~"
    return f"={atom}" if is_bare and VERSIONED.search(name.partition("/")[2]) else atom


class Outcome(StrEnum):
    """How a build ended, in the words of ``/complete``."""

    SUCCESS = "success"
    FAILED = "failed"
    RETURNED = "returned"
    """Not built, and no fault of the package."""
    MASKED = "masked"
    UPLOAD_FAILED = "upload_failed"


@frozen(kw_only=True)
class StopWork:
    """The server does not want a package of this drone any more."""

    package: str
    reason: str = ""


@frozen(kw_only=True)
class Orders:
    """What any answer of the server may say besides what was asked."""

    paused: bool | None = None
    """``None`` where the answer does not say."""
    revoked: tuple[str, ...] = ()
    stop: StopWork | None = None
    sync_to: str | None = None
    """The timestamp of the tree that is to be had before there is work; empty when the server does not name it."""


@frozen(kw_only=True)
class Assignment:
    """The answer to a request for work."""

    package: str | None = None
    session_id: str | None = None
    orders: Orders = field(factory=Orders)


@frozen(kw_only=True)
class Verdict:
    """The answer to a report."""

    accepted: bool | None = None
    """``None`` where the server does not say."""
    is_stale: bool = False
    reason: str = ""
    orders: Orders = field(factory=Orders)


class Unreachable(Exception):
    """No answer, or one that may be better later: a lost connection, a time-out, 429, a 5xx, no JSON."""

    def __init__(self, text: str, *, answered: bool = False) -> None:
        super().__init__(text)
        self.answered = answered
        """Whether there was an answer of some kind."""


class Refused(Exception):
    """An answer that will not get better by asking again."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status
        self.text = text


class Server(Protocol):
    """The server as a drone sees it; every method raises `Unreachable` or `Refused`, and nothing else."""

    async def register(self, beat: Mapping[str, Any]) -> Orders:
        """Say that we are here, and what we are."""
        ...

    async def work(self) -> Assignment:
        """Ask for a package."""
        ...

    async def complete(self, report: Mapping[str, Any]) -> Verdict:
        """Say how a package ended."""
        ...

    async def upload(self, path: str, file: Path, sha256: str) -> None:
        """Store a binary package; the same once more does no harm."""
        ...

    async def log(self, log_id: str, package: str, offset: int, data: bytes, outcome: str) -> int:
        """Store a part of a build's log, with its outcome when that was the last; return where to go on."""
        ...


@frozen(kw_only=True)
class Options:
    """How one drone works; times in seconds."""

    drone_id: str
    name: str
    kind: str = "drone"
    build_argv: tuple[str, ...]
    """``{atom}`` in a word is replaced by the package."""
    sync_argv: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(factory=dict)
    """Variables of the build besides our own few."""
    state_dir: Path
    pkgdir: Path
    tree: Path | None = None
    cores: int
    ram_gb: float
    auto_reboot: bool = False
    uploads: bool = True
    sends_logs: bool = True
    once: bool = False
    heartbeat_seconds: float = 30.0
    poll_seconds: float = 30.0
    """Longest wait between two requests for work."""
    retry_seconds: float = 60.0
    """Longest wait before what failed is tried again."""
    build_seconds: float = 86_400.0
    """A build that takes longer has failed."""
    stop_seconds: float = 10.0
    """How long a build has to end by itself when it is stopped, and how long a last report may take."""
