"""What operators set for single drones: fields, what each may be, and what an unset one means. Pure.

The names are those of the server that we stand in for, whose page and command line edit them.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen

from appliance.plugin import BadInput

from .ssh_settings import USER_PATTERN

TEXT_CHARACTERS: Final = 255
NOTES_CHARACTERS: Final = 4096
DEFAULTS: Final[Mapping[str, Any]] = {
    "ssh_user": "root",
    "ssh_port": 22,
    "ssh_key_path": None,
    "ssh_password": None,
    "cores_limit": None,
    "emerge_jobs": 2,
    "ram_limit_gb": None,
    "auto_reboot": 1,
    "protected": 0,
    "max_failures": None,
    "binhost_upload_url": None,
    "display_name": None,
    "v2_name": None,
    "control_plane": "v3",
    "locked": 1,
    "notes": None,
}
"""The fields that can be set, each with what holds where nothing is set."""


@frozen(kw_only=True)
class DroneConfig:
    """What is set for one drone."""

    drone: str
    """Its name; it need not be known."""
    fields: Mapping[str, Any]
    """What was set, by field; see `DEFAULTS` for the rest."""
    created_unix_us: int
    updated_unix_us: int

    def __getitem__(self, name: str) -> Any:
        """Return what holds for a field."""
        return self.fields.get(name, DEFAULTS[name])


def read(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a request, each as it is kept; what is no field is passed over.

    :raises BadInput: there is none, or one cannot be that.
    """
    found = {name: _rules[name](name, body[name]) for name in DEFAULTS if name in body}
    if not found:
        raise BadInput("No valid fields provided", hint=f"one of: {', '.join(DEFAULTS)}")
    return found


def _wrong(name: str, words: str, hint: str = "") -> BadInput:
    return BadInput(f"{name}: {words}", field=name, hint=hint)


def _number(least: int, most: int) -> Callable[[str, Any], Any]:
    def check(name: str, value: Any) -> Any:
        if value is None or value == "":
            return DEFAULTS[name]
        whole = _whole(value)
        if whole is None or not least <= whole <= most:
            raise _wrong(name, f"a whole number from {least} to {most}")
        return whole

    return check


def _whole(value: Any) -> int | None:
    """Return a whole number, however a page's form sends it."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9:
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**31:
        return int(value)
    return value if isinstance(value, int) else None


def _gigabytes(name: str, value: Any) -> float | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1_048_576:
        raise _wrong(name, "gigabytes, up to 1048576")
    return float(value)


def _switch(name: str, value: Any) -> int:
    if value is None or value == "":
        return int(DEFAULTS[name])
    if isinstance(value, bool):
        return int(value)
    if _whole(value) not in (0, 1):
        raise _wrong(name, "0 or 1")
    return int(value)


def _text(most: int) -> Callable[[str, Any], str | None]:
    def check(name: str, value: Any) -> str | None:
        if value is None or value == "":
            return None
        if not isinstance(value, str) or len(value) > most or not value.replace("\n", "").isprintable():
            raise _wrong(name, f"text of at most {most} printable characters")
        return value

    return check


def _user(name: str, value: Any) -> str:
    if value is None or value == "":
        return str(DEFAULTS[name])
    if not isinstance(value, str) or re.fullmatch(USER_PATTERN, value) is None:
        raise _wrong(name, "the name of a user")
    return value


def _nothing(name: str, value: Any) -> None:
    if value is not None and value != "":
        hint = "appliance swarm approve NAME shows the key that a drone has to let in; no other and no password is used"
        raise _wrong(name, "is not kept here", hint)


def _generation(name: str, value: Any) -> str:
    if value not in (None, "", "v3"):
        raise _wrong(name, "only v3: there is no gateway of the generation before any more")
    return "v3"


_rules: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "ssh_user": _user,
    "ssh_port": _number(1, 65_535),
    "ssh_key_path": _nothing,
    "ssh_password": _nothing,
    "cores_limit": _number(1, 4096),
    "emerge_jobs": _number(1, 256),
    "ram_limit_gb": _gigabytes,
    "auto_reboot": _switch,
    "protected": _switch,
    "max_failures": _number(1, 10_000),
    "binhost_upload_url": _text(2048),
    "display_name": _text(TEXT_CHARACTERS),
    "v2_name": _text(TEXT_CHARACTERS),
    "control_plane": _generation,
    "locked": _switch,
    "notes": _text(NOTES_CHARACTERS),
}
