"""What a licence says, and the one way to write it: the ``plain`` text.

``AGENT_ID|PLAN|EXP_MS|1|IAT_MS|MAX_GPUS|MAX_WORKERS|NONCE``: eight fields, of which the first three are what the agents
of the GPU sharing API read. Times are milliseconds since the Unix epoch, and a licence lasts 120 minutes, no more and
no less. Names and the nonce are of ``[A-Za-z0-9_.:-]``, since the text goes into the environment of a program; numbers
are decimal without leading zeros. So every licence has one spelling.
"""

import re
import secrets
from typing import Final, Literal

from attrs import frozen

from appliance.errors import ApplianceError, BadInput

LIFETIME_MS: Final = 7_200_000
SKEW_MS: Final = 60_000
"""How far two clocks may be apart."""
AGENT_ID_MAX_CHARACTERS: Final = 128
PLAN_MAX_CHARACTERS: Final = 64
PLAIN_MAX_CHARACTERS: Final = 400
FIELD_COUNT: Final = 8
VERSION: Final = "1"
SHOWN_MAX_CHARACTERS: Final = 40

_NAME = r"[A-Za-z0-9_.:-]"
_NUMBER = r"(?:0|[1-9][0-9]{0,15})"
_FIELDS: Final = (
    ("agent id", rf"{_NAME}{{1,{AGENT_ID_MAX_CHARACTERS}}}"),
    ("plan", rf"{_NAME}{{1,{PLAN_MAX_CHARACTERS}}}"),
    ("expiry", _NUMBER),
    ("version", VERSION),
    ("time of issue", _NUMBER),
    ("number of GPUs", _NUMBER),
    ("number of workers", _NUMBER),
    ("nonce", rf"{_NAME}{{1,64}}"),
)
_PLAIN = re.compile(r"\|".join(f"({pattern})" for _, pattern in _FIELDS))

Reason = Literal["malformed", "header", "unknown_key", "signature", "lifetime", "expired", "not_yet", "agent"]


class LicenseRefused(ApplianceError):
    """A licence does not hold; ``reason`` is one word for programs, the message says it for people."""

    status = 403

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


@frozen(kw_only=True)
class Claims:
    """What a licence says."""

    agent_id: str
    plan: str
    issued_unix_ms: int
    expires_unix_ms: int
    max_gpus: int
    max_workers: int
    nonce: str
    """Random, so that no two licences are alike."""


def new_claims(*, agent_id: str, plan: str, max_gpus: int, max_workers: int, issued_unix_ms: int) -> Claims:
    """Return what a fresh licence says."""
    return Claims(
        agent_id=agent_id,
        plan=plan,
        issued_unix_ms=issued_unix_ms,
        expires_unix_ms=issued_unix_ms + LIFETIME_MS,
        max_gpus=max_gpus,
        max_workers=max_workers,
        nonce=secrets.token_urlsafe(16),
    )


def write_plain(claims: Claims) -> str:
    """Return the text of a licence.

    :raises BadInput: a name or a number does not fit its field, and ``field`` says which.
    """
    fields = (
        claims.agent_id,
        claims.plan,
        str(claims.expires_unix_ms),
        VERSION,
        str(claims.issued_unix_ms),
        str(claims.max_gpus),
        str(claims.max_workers),
        claims.nonce,
    )
    plain = "|".join(fields)
    if _PLAIN.fullmatch(plain) is None:
        name = next(name for (name, pattern), text in zip(_FIELDS, fields, strict=True) if not _fits(pattern, text))
        raise BadInput(f"this {name} does not go into a licence", hint=f"{name}: {_rule(name)}", field=name)
    return plain


def read_plain(plain: str) -> Claims:
    """Return what the text of a licence says.

    :raises LicenseRefused: it is not written as `write_plain` would write it.
    """
    match = _PLAIN.fullmatch(plain) if len(plain) <= PLAIN_MAX_CHARACTERS else None
    if match is None:
        raise LicenseRefused("malformed", _fault(plain))
    agent_id, plan, expires, _, issued, max_gpus, max_workers, nonce = match.groups()
    return Claims(
        agent_id=agent_id,
        plan=plan,
        issued_unix_ms=int(issued),
        expires_unix_ms=int(expires),
        max_gpus=int(max_gpus),
        max_workers=int(max_workers),
        nonce=nonce,
    )


def shown(text: object) -> str:
    """Show a piece of something hostile: on one line, escaped and short."""
    whole = ascii(text)
    return whole if len(whole) <= SHOWN_MAX_CHARACTERS else f"{whole[: SHOWN_MAX_CHARACTERS - 3]}..."


def _fault(plain: str) -> str:
    """Say what is wrong with a text that is no licence."""
    if len(plain) > PLAIN_MAX_CHARACTERS:
        return f"the text has {len(plain)} characters, and no licence has more than {PLAIN_MAX_CHARACTERS}"
    fields = plain.split("|")
    if len(fields) != FIELD_COUNT:
        return f"the text has {len(fields)} fields between '|', and a licence has {FIELD_COUNT}"
    for (name, pattern), text in zip(_FIELDS, fields, strict=True):
        if not _fits(pattern, text):
            return f"the {name} is {shown(text)}: it must be {_rule(name)}"
    raise AssertionError("every field fits, and the whole does not")


def _fits(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text) is not None


def _rule(name: str) -> str:
    pattern = dict(_FIELDS)[name]
    if pattern == _NUMBER:
        return "a whole number of at most 16 digits, without sign, spaces or leading zeros"
    return f"{VERSION}" if pattern == VERSION else "letters, digits and _ . : - alone, and not too many"
