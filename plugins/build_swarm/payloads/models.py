"""What this part thinks in: versions of payloads, what a drone has of them, and how each attempt went."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from attrs import field, frozen

from appliance.plugin import BadInput, NotFound

TYPE_PATTERN: Final = r"[a-z0-9_]{1,32}"
VERSION_PATTERN: Final = r"[A-Za-z0-9._+-]{1,64}"
CONTENT_BYTES_MAX: Final = 64 * 2**20
"""Of one version."""
VERSIONS_MAX: Final = 1000
"""Of all types together."""
LOG_ROWS_MAX: Final = 20_000
"""Of the deploy log; the oldest go."""
TEXT_CHARACTERS: Final = 2000
"""Of a description, a note and an error that are kept."""
WHO_CHARACTERS: Final = 255

_type: Final = re.compile(TYPE_PATTERN)
_version: Final = re.compile(VERSION_PATTERN)


class DeployStatus(StrEnum):
    """How it stands with a payload on a drone."""

    DEPLOYING = "deploying"
    DEPLOYED = "deployed"
    FAILED = "failed"


class Action(StrEnum):
    """What was done to a drone."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"


SUCCESS: Final = "success"
"""Status of an entry of the deploy log, as the document words it; the others are those of `DeployStatus`."""


@frozen(kw_only=True)
class By:
    """Who has something done."""

    name: str
    """As the deploy log has it: what the request said, else who called."""
    who: Mapping[str, str] = field(factory=dict)
    """As the audit log names the caller: ``who_kind``, ``who_subject``, ``who_name``, ``request_id``, ``address``."""


@frozen(kw_only=True)
class NewVersion:
    """A version to be."""

    payload_type: str
    version: str
    description: str = ""
    notes: str = ""
    created_by: str = ""


@frozen(kw_only=True)
class PayloadVersion:
    """One version of a payload; never changed once it is there."""

    version_id: int
    payload_type: str
    version: str
    sha256: str
    """64 hexadecimal digits."""
    size_bytes: int
    file: str
    """Name of its content in the folder of payloads."""
    description: str
    notes: str
    created_unix_us: int
    created_by: str

    @property
    def label(self) -> str:
        """How people call it."""
        return f"{self.payload_type} v{self.version}"


@frozen(kw_only=True)
class DronePayload:
    """What a drone has of one type."""

    drone_id: str
    payload_type: str
    version: str
    """What it has, or was to get last; empty where it had none before a deploy was undone."""
    sha256: str
    status: DeployStatus
    error: str
    changed_unix_us: int
    changed_by: str

    @property
    def is_deployed(self) -> bool:
        """Whether the version is known to be there."""
        return self.status is DeployStatus.DEPLOYED


@frozen(kw_only=True)
class LogEntry:
    """One attempt."""

    entry_id: int = 0
    drone_id: str
    drone_name: str
    payload_type: str
    version: str
    action: Action
    status: str
    """``deploying``, ``success`` or ``failed``."""
    duration_ms: float | None
    error: str
    at_unix_us: int
    by: str


def checked_type(text: str, field: str = "$.type") -> str:
    """Return a type of payloads as it was given; raises `BadInput`."""
    return _checked(_type, text, field)


def checked_version(text: str, field: str = "$.version") -> str:
    """Return a version as it was given; raises `BadInput`."""
    return _checked(_version, text, field)


def named_type(text: str) -> str:
    """Return the type that a path names; raises `NotFound` where there can be none of that name."""
    if _type.fullmatch(text) is None:
        raise NotFound("payload type", text[:64], hint=f"types match {TYPE_PATTERN}")
    return text


def named_version(payload_type: str, text: str) -> str:
    """Return the version that a path names; raises `NotFound` where there can be none of that name."""
    if _version.fullmatch(text) is None:
        raise no_version(payload_type, text[:64])
    return text


def no_version(payload_type: str, version: str) -> NotFound:
    """Return the failure of a version that is not there."""
    return NotFound(
        "version", version, hint=f"appliance swarm payload list shows those of {payload_type or 'every type'}"
    )


def _checked(pattern: re.Pattern[str], text: str, field: str) -> str:
    if pattern.fullmatch(text) is None:
        raise BadInput(f"{field}: {text[:64]!r} does not match {pattern.pattern}", field=field)
    return text
