"""What clients send, field by field. Text that is only shown is cut rather than refused; names and atoms never are."""

from functools import lru_cache
from ipaddress import ip_address
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from appliance.plugin import BadInput

from ..models import NAME_CHARACTERS, is_name

TASK_CHARACTERS: Final = 256
VERSION_CHARACTERS: Final = 64
ERROR_CHARACTERS: Final = 8192
PACKAGES_MAX: Final = 20_000
"""In one request."""
ATOM_CHARACTERS: Final = 255
DURATION_MAX_SECONDS: Final = 31_536_000
"""A year: what takes longer was not measured."""
PRIORITY_MAX: Final = 1000

_Text = Annotated[str, Meta(max_length=4096)]
_Atom = Annotated[str, Meta(min_length=1, max_length=ATOM_CHARACTERS)]
_Label = Annotated[str, Meta(max_length=200)]
_NameText = Annotated[str, Meta(max_length=255)]
_Seconds = Annotated[float, Meta(ge=0, le=DURATION_MAX_SECONDS)]


class Register(msgspec.Struct):
    """A heartbeat. Drones of the generation before say ``node_name`` in place of ``id``."""

    id: _NameText | None = None
    node_name: _NameText | None = None
    name: _NameText | None = None
    ip: _Text | None = None
    tailscale_ip: _Text | None = None
    type: _NameText | None = None
    capabilities: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    metrics: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    current_task: _Text | None = None
    version: _Text | None = None


class Complete(msgspec.Struct):
    """A report; the second names are those of the generation before, and of ``/report``."""

    package: _Atom
    status: Annotated[str, Meta(min_length=1, max_length=32, pattern="^[A-Za-z][A-Za-z0-9_-]*$")]
    id: _NameText | None = None
    node: _NameText | None = None
    node_name: _NameText | None = None
    name: _NameText | None = None
    build_duration_s: _Seconds | None = None
    duration: _Seconds | None = None
    error_detail: str | None = None
    error: str | None = None

    @property
    def drone(self) -> str:
        """The id or name of the drone that reports; empty for none."""
        return self.id or self.node or self.node_name or self.name or ""

    @property
    def duration_s(self) -> float:
        """How long it took, in seconds; 0 where nothing is said."""
        return self.build_duration_s or self.duration or 0.0

    @property
    def error_text(self) -> str:
        """What went wrong, cut to what is kept."""
        text = self.error_detail or self.error or ""
        return text[:ERROR_CHARACTERS].replace("\0", "")


class Queue(msgspec.Struct):
    """Packages to build. What is not documented is ours: priority, needs and order."""

    packages: Annotated[list[_Atom], Meta(min_length=1, max_length=PACKAGES_MAX)]
    session_name: _Label | None = None
    session_id: _Label | None = None
    portage_timestamp: _Label | int | float | None = None
    """Of the tree that drones must have; they are told to sync until theirs is the same."""
    priority: Annotated[int, Meta(ge=-PRIORITY_MAX, le=PRIORITY_MAX)] = 0
    """Higher ones are built first."""
    cores: Annotated[int, Meta(ge=0, le=4096)] = 0
    """The least that a drone must have."""
    memory_mib: Annotated[int, Meta(ge=0, le=2**30)] = 0
    capabilities: Annotated[list[_Label], Meta(max_length=32)] = []
    """Names that must be true or present among a drone's capabilities."""
    waits_for: dict[_Atom, Annotated[list[_Atom], Meta(max_length=1000)]] = {}
    """By package: those that have to be built before it."""


class Control(msgspec.Struct):
    """A control action."""

    action: Annotated[str, Meta(min_length=1, max_length=64)]
    package: Annotated[str, Meta(max_length=ATOM_CHARACTERS)] | None = None
    drone: _NameText | None = None
    drone_id: _NameText | None = None


class Nothing(msgspec.Struct):
    """A body that says nothing; clients send ``{}`` or none."""


# ---------------------------------------------------------------- what decoding alone cannot decide


def name_of(text: str | None, field: str) -> str:
    """Return a drone's name or id; raise `BadInput` for what may not name one."""
    if not text:
        raise BadInput(f"Missing {field}", field=f"$.{field}", hint="name the drone")
    if not is_name(text):
        raise BadInput(
            f"{field}: not a name",
            field=f"$.{field}",
            hint=f"1 to {NAME_CHARACTERS} letters, digits, dots, dashes and underscores, a letter or digit first",
        )
    return text


def shown(text: str | None, characters: int) -> str:
    """Return what can be shown of a text, cut to so many characters."""
    if not text:
        return ""
    if len(text) <= characters and text.isprintable():
        return text
    return "".join(each for each in text[: 4 * characters] if each.isprintable())[:characters]


def address_of(text: str | None) -> str:
    """Return an address that a drone claims, for showing; empty for what is none."""
    return _address(text) if text else ""


@lru_cache(maxsize=4096)
def _address(text: str) -> str:
    try:
        return str(ip_address(text.strip()))
    except ValueError:
        return ""
