"""The chain of audit entries: how an entry is hashed, how the head is sealed, and how a break is found.

Each entry's hash covers the hash before it, so a changed, removed or inserted entry breaks the chain at a place that
can be named. The end needs more: entries cut off the end leave a chain that is whole. Three things hold the end, each
against somebody stronger:

* the **head row**, written in the transaction of each entry and sealed with a key that is not in the database: stops
  whoever can write the database alone (a stray statement, a damaged file, a backup put back in parts);
* the **anchor file** beside the key, at most 5 s behind: stops a whole older database being put in the place of the
  newer one;
* the head in the **log**, once a day: whoever can write the whole data directory can rebuild everything in it, and is
  caught only by a copy that lies elsewhere (the journal, a log server).

What it cannot show: who of those with the key wrote an entry, entries younger than the last anchor when the database
was replaced by an older copy, and anything at all to a reader who takes both from the same attacker.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable
from typing import Any, Final

from attrs import asdict, frozen

GENESIS: Final = bytes(32)
"""What stands before the first entry."""


@frozen(kw_only=True)
class AuditEntry:
    """One thing that somebody did, or tried."""

    entry_id: int
    at_unix_us: int
    who_kind: str
    """Kind of credential: ``session``, ``pat``, ``local`` ..., or ``core`` for the appliance itself."""
    who_subject: str
    who_name: str
    action: str
    """Dotted, area first: ``token.create``, ``person.login_failed``."""
    object: str
    """Id or name of what it was done to."""
    detail: str
    """A JSON object, as text: hashed byte for byte."""
    request_id: str
    address: str


@frozen(kw_only=True)
class ChainedEntry:
    """An entry with its place in the chain."""

    entry: AuditEntry
    previous: bytes
    hash: bytes


@frozen(kw_only=True)
class Head:
    """The end of the chain: id and hash of the newest entry; 0 and `GENESIS` when there is none."""

    entry_id: int = 0
    hash: bytes = GENESIS


@frozen(kw_only=True)
class AuditProblem:
    """The first thing that is wrong with the log."""

    kind: str
    """``changed``, ``removed``, ``truncated`` or ``unsealed`` (the head or its key was tampered with or lost)."""
    entry_id: int
    """The entry at fault, or the first that is missing."""
    message: str

    def __str__(self) -> str:
        return self.message


def entry_hash(previous: bytes, entry: AuditEntry) -> bytes:
    """Return the SHA-256 over the hash before and the entry in canonical form (JSON, sorted keys, ASCII only)."""
    canonical = json.dumps(asdict(entry), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(previous + canonical.encode("ascii")).digest()


def seal(key: bytes, head: Head) -> bytes:
    """Return the HMAC-SHA-256 of the head."""
    return hmac.new(key, head.entry_id.to_bytes(8, "big") + head.hash, hashlib.sha256).digest()


class Walk:
    """Follows the chain entry by entry, so that a log of any length is verified in constant memory."""

    def __init__(self) -> None:
        self.head = Head()
        self.problem: AuditProblem | None = None

    def feed(self, entries: Iterable[ChainedEntry], *, expected_at: Head | None = None) -> None:
        """Check the next entries, up to the first problem; ``expected_at`` is a head that must lie on the way."""
        for chained in entries:
            if self.problem is not None:
                return
            self.problem = self._check(chained)
            if self.problem is None:
                self.head = Head(entry_id=chained.entry.entry_id, hash=chained.hash)
                if expected_at is not None and self.head.entry_id == expected_at.entry_id and self.head != expected_at:
                    self.problem = _changed(self.head.entry_id, "it is not the one that the anchor file names")

    def end(self, *, head: Head | None, anchor: Head | None) -> AuditProblem | None:
        """Return the first problem of the whole log, now that all entries have been fed."""
        if self.problem is not None:
            return self.problem
        for expected, where in ((head, "the head row"), (anchor, "the anchor file")):
            if expected is not None and self.head.entry_id < expected.entry_id:
                first = self.head.entry_id + 1
                return AuditProblem(
                    kind="truncated",
                    entry_id=first,
                    message=f"entries {first} to {expected.entry_id} are missing at the end: {where} names them"
                    " (after restoring a backup that is so: remove keys/audit.head to begin anew from there)",
                )
        if head is not None and self.head != head:
            return AuditProblem(
                kind="unsealed",
                entry_id=self.head.entry_id,
                message=f"the head row does not name the newest entry, {self.head.entry_id}",
            )
        return None

    def _check(self, chained: ChainedEntry) -> AuditProblem | None:
        entry_id, expected_id = chained.entry.entry_id, self.head.entry_id + 1
        if entry_id != expected_id:
            gap = (
                f"entry {expected_id} is"
                if entry_id == expected_id + 1
                else f"entries {expected_id} to {entry_id - 1} are"
            )
            return AuditProblem(kind="removed", entry_id=expected_id, message=f"{gap} missing")
        if chained.previous != self.head.hash:
            return _changed(entry_id, "it does not follow the one before")
        if chained.hash != entry_hash(chained.previous, chained.entry):
            return _changed(entry_id, "it does not match its hash")
        return None


def _changed(entry_id: int, why: str) -> AuditProblem:
    return AuditProblem(kind="changed", entry_id=entry_id, message=f"entry {entry_id} was changed: {why}")


def detail_text(detail: Any) -> str:
    """Return ``detail`` as the JSON text that is stored and hashed.

    :raises ValueError: it holds something that JSON has no word for (NaN, infinity).
    """
    return json.dumps(detail, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
