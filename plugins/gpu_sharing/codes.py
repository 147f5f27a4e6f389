"""Codes and ids: how they are made, how a code that people typed is read, and which codes an agent lets in.

A **short-link code** is 16 characters of Crockford's base32 (https://www.crockford.com/base32.html): 80 random bits,
no I, L, O or U, read without regard to case, with I and L for 1, O for 0 and hyphens passed over.

An **agent's code list** is what its workers let in, and an empty list tells the agent nothing: it goes on with the
codes it had, so that the last share of a worker could not be revoked. Such a worker is therefore sent one code that no
share has ever had (`DeadCodes`).
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from typing import Final

from attrs import field, frozen

from appliance.plugin import new_id

CODE_CHARACTERS: Final = 16
CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
TYPED_CHARACTERS_MAX: Final = 64
"""More hyphens than anybody writes into 16 characters."""
KNOWN_MAX: Final = 65_536
"""Dead codes that are not worked out anew."""

_CODE: Final = re.compile(f"[{CROCKFORD}]{{{CODE_CHARACTERS}}}")
_MEANT: Final = str.maketrans({"I": "1", "L": "1", "O": "0", "-": None})


def new_code() -> str:
    """Return a fresh short-link code."""
    return "".join(secrets.choice(CROCKFORD) for _ in range(CODE_CHARACTERS))


def read_code(typed: str) -> str | None:
    """Return the code that somebody typed or a link carries; ``None`` when it cannot be one."""
    # Outside ASCII, upper() makes letters of what is none: a dotless i would become I, and then 1.
    if len(typed) > TYPED_CHARACTERS_MAX or not typed.isascii():
        return None
    code = typed.upper().translate(_MEANT)
    return code if _CODE.fullmatch(code) else None


@frozen
class DeadCodes:
    """One code for each worker that opens nothing: random to everybody else, and the same in every answer.

    It has to be secret, since a worker lets in whoever shows it, and it should stay, since an agent rewrites its
    workers' key files whenever their codes change.
    """

    _key: bytes = field(factory=lambda: secrets.token_bytes(32), repr=False)
    _known: dict[str, str] = field(factory=dict, init=False, repr=False, eq=False)
    """By worker: nearly all are sent theirs with every answer."""

    def code(self, worker_id: str) -> str:
        """Return the worker's dead code."""
        known = self._known.get(worker_id)
        if known is None:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            known = self._known[worker_id] = self._made(worker_id)
        return known

    def _made(self, worker_id: str) -> str:
        digest = hmac.digest(self._key, worker_id.encode("utf-8", "surrogatepass"), hashlib.sha256)
        bits = int.from_bytes(digest[: CODE_CHARACTERS * 5 // 8])
        return "".join(CROCKFORD[bits >> shift & 31] for shift in range(0, CODE_CHARACTERS * 5, 5))

    def listed(self, worker_id: str, live_codes: Iterable[str]) -> list[str]:
        """Return what to send an agent for one of its workers: the codes that open it, sorted, and never nothing."""
        return sorted(live_codes) or [self.code(worker_id)]


def new_agent_id() -> str:
    """Return a fresh agent id: ``agent_`` and 130 random bits.

    Clients cut its first 12 characters, put it into paths, and subscribe to changes under it as the only secret.
    """
    return new_id("agent")


def new_worker_id() -> str:
    """Return a fresh worker id; agents name files after it, so it holds letters, digits and ``_`` alone."""
    return new_id("worker")


def new_share_id() -> str:
    """Return a fresh share id."""
    return new_id("share")
