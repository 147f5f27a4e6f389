"""Settings of payloads."""

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen
from attrs.validators import and_, ge, le, matches_re

from appliance.plugin import setting

from .models import CONTENT_BYTES_MAX, TYPE_PATTERN

PATH_PATTERN: Final = r"/(?:[A-Za-z0-9@%+=:,._-]+/)*[A-Za-z0-9@%+=:,._-]+"
"""Of a file on a drone: absolute, without what a shell or ``sha256sum`` would write differently."""


def _path(instance: Any, attribute: Any, value: str) -> None:
    if value and (re.fullmatch(PATH_PATTERN, value) is None or {".", ".."} & set(value.split("/"))):
        raise ValueError("an absolute path of letters, digits and @%+=:,._- without . and ..")


@frozen(kw_only=True)
class PayloadDestination:
    """Where payloads of one type go on a drone. What is not written is as shipped for that type."""

    path: str = field(default="", validator=_path)
    mode: str = field(default="", validator=matches_re(r"(?:0?[0-7]{3})?"))
    """Octal, such as ``0755``."""
    restart: bool | None = None
    """Whether a rolling deploy with ``health_check`` restarts the drone's service after it."""


def _types(instance: Any, attribute: Any, value: Mapping[str, Any]) -> None:
    for name in value:
        if re.fullmatch(TYPE_PATTERN, name) is None:
            raise ValueError(f"names of types, which match {TYPE_PATTERN}, not {name[:64]!r}")


def _folder(instance: Any, attribute: Any, value: str) -> None:
    _path(instance, attribute, value)
    if not value:
        raise ValueError("a folder")


@frozen(kw_only=True, slots=False)
class PayloadSettings:
    """What payloads are kept here, and where they go on drones."""

    payload_bytes_max: int = setting(
        4 * 2**30,
        help="How many bytes all versions of payloads together may have here.",
        validator=and_(ge(CONTENT_BYTES_MAX), le(2**50)),
    )
    payload_folder: str = setting(
        "/var/lib/swarm-drone/payloads",
        help="Folder on drones for payloads of types without a path of their own; each is a file called as its type.",
        validator=_folder,
    )
    payload_destinations: Mapping[str, PayloadDestination] = setting(
        factory=dict,
        help='Where payloads of a type go on drones: path, mode such as "0755", and restart: whether a rolling deploy'
        " restarts the drone's service.",
        validator=_types,
    )
    payload_transfer_seconds: float = setting(
        600.0, help="How long it may take to copy a payload to a drone.", validator=and_(ge(1.0), le(86_400.0))
    )
    payload_health_seconds: float = setting(
        60.0,
        help="How long a drone has, after a rolling deploy restarted it, to send a heartbeat or to pass a probe.",
        validator=and_(ge(1.0), le(3600.0)),
    )
