"""What people may be called and what passwords may be: pure."""

import re
import unicodedata

from appliance.errors import BadInput

NAME_CHARACTERS = 128
ADDRESS_CHARACTERS = 254
PASSWORD_MIN_CHARACTERS = 8
PASSWORD_MAX_CHARACTERS = 1_024
_ADDRESS = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)*", re.ASCII)
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean_name(name: str, *, field: str = "$.name") -> str:
    """Return the name as it is kept: NFKC, without outer blanks; raises `BadInput` for what nobody can read or type.

    Look-alikes made of compatibility characters fold to one name, and nothing invisible can hide in one.
    """
    if len(name) > 4 * NAME_CHARACTERS:
        raise BadInput(f"a name has at most {NAME_CHARACTERS} characters", field=field)
    cleaned = unicodedata.normalize("NFKC", name).strip()
    if not cleaned:
        raise BadInput("a name is needed", field=field)
    if len(cleaned) > max(NAME_CHARACTERS, ADDRESS_CHARACTERS if "@" in cleaned else 0):
        raise BadInput(f"a name has at most {NAME_CHARACTERS} characters", field=field)
    if any(unicodedata.category(character) in _INVISIBLE for character in cleaned):
        raise BadInput("a name has only visible characters", field=field)
    if "/" in cleaned or "  " in cleaned:
        raise BadInput("a name has no slash and no double blank", field=field)
    if "@" in cleaned:
        return clean_address(cleaned, field=field)
    return cleaned


def clean_address(address: str, *, field: str = "$.email") -> str:
    """Return a mail address as it is kept; raises `BadInput`. Only its form is looked at: no mail is sent."""
    cleaned = address.strip()
    if len(cleaned) > ADDRESS_CHARACTERS or not _ADDRESS.fullmatch(cleaned):
        raise BadInput("Enter a valid email address.", field=field)
    return cleaned


def login_key(text: str) -> str:
    """Return what a name or address is looked up by: both match in any case and any Unicode form."""
    if len(text) > 4 * ADDRESS_CHARACTERS:
        return ""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()


def clean_password(password: str, *, field: str = "$.password") -> str:
    """Return the password as it is hashed (NFC: keyboards differ in how they compose); raises `BadInput`."""
    if len(password) > PASSWORD_MAX_CHARACTERS:
        raise BadInput(f"a password has at most {PASSWORD_MAX_CHARACTERS} characters", field=field)
    try:
        password.encode()
    except UnicodeEncodeError as error:
        raise BadInput("a password is valid Unicode text", field=field) from error
    cleaned = unicodedata.normalize("NFC", password)
    if len(cleaned) < PASSWORD_MIN_CHARACTERS:
        raise BadInput(
            f"a password has at least {PASSWORD_MIN_CHARACTERS} characters", hint="length helps most", field=field
        )
    return cleaned
