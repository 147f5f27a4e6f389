"""The audit log in the database: append, page, verify."""

import hmac
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import structlog
from attrs import asdict, evolve

from appliance.audit.chain import AuditEntry, AuditProblem, ChainedEntry, Head, Walk, detail_text, entry_hash, seal
from appliance.audit.keys import AuditKeys
from appliance.clock import Now
from appliance.database import Database
from appliance.errors import BadInput
from appliance.migrations import Migration

OWNER: Final = "audit"
NAME_MAX_CHARS: Final = 400
DETAIL_MAX_CHARS: Final = 8_192
BROKEN_SEAL: Final = bytes(32)

MIGRATIONS: Final = (
    Migration(
        version=1,
        name="entries and their head",
        sql="""
CREATE TABLE audit_entry (
    entry_id INTEGER PRIMARY KEY,
    at_unix_us INTEGER NOT NULL,
    who_kind TEXT NOT NULL,
    who_subject TEXT NOT NULL,
    who_name TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL,
    request_id TEXT NOT NULL,
    address TEXT NOT NULL,
    previous BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE TABLE audit_head (
    only INTEGER PRIMARY KEY CHECK (only = 1), entry_id INTEGER NOT NULL, hash BLOB NOT NULL, seal BLOB NOT NULL
) STRICT;
CREATE TRIGGER audit_entry_no_update BEFORE UPDATE ON audit_entry
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_entry_no_delete BEFORE DELETE ON audit_entry
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
-- INSERT OR REPLACE deletes without asking the trigger above.
CREATE TRIGGER audit_entry_append BEFORE INSERT ON audit_entry
WHEN NEW.entry_id <> (SELECT COALESCE(MAX(entry_id), 0) + 1 FROM audit_entry)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
""",
    ),
)

_HEAD = "SELECT entry_id, hash, seal FROM audit_head"
_LAST = "SELECT entry_id, hash FROM audit_entry ORDER BY entry_id DESC LIMIT 1"
_HASH_OF = "SELECT hash FROM audit_entry WHERE entry_id = :entry_id"
_INSERT = """
INSERT INTO audit_entry (entry_id, at_unix_us, who_kind, who_subject, who_name, action, object, detail, request_id,
                         address, previous, hash)
VALUES (:entry_id, :at_unix_us, :who_kind, :who_subject, :who_name, :action, :object, :detail, :request_id,
        :address, :previous, :hash)"""
_MOVE_HEAD = """
INSERT INTO audit_head (only, entry_id, hash, seal) VALUES (1, :entry_id, :hash, :seal)
ON CONFLICT (only) DO UPDATE SET entry_id = excluded.entry_id, hash = excluded.hash, seal = excluded.seal"""
_COLUMNS = "entry_id, at_unix_us, who_kind, who_subject, who_name, action, object, detail, request_id, address"
_PAGE = f"SELECT {_COLUMNS} FROM audit_entry WHERE entry_id > :after ORDER BY entry_id LIMIT :limit"  # noqa: S608  fixed
_NEWEST = f"SELECT {_COLUMNS} FROM audit_entry ORDER BY entry_id DESC LIMIT :limit"  # noqa: S608  fixed
_ALL = f"SELECT {_COLUMNS}, previous, hash FROM audit_entry ORDER BY entry_id"  # noqa: S608  fixed

log = structlog.get_logger(__name__)


class Audit:
    """The audit log; ``keys`` is the folder of the sealing key and the anchor file."""

    def __init__(self, database: Database, keys: Path, now: Now) -> None:
        self._database = database
        self._now = now
        self._keys = AuditKeys(keys)
        self._key = self._keys.make_key()
        self._keys_folder = keys
        self._anchored = self._keys.anchor() or Head()
        self._anchor_holds = database.read_now(lambda read: _has(read, self._anchored))
        if not self._anchor_holds:
            log.error("audit.anchor_broken", entry_id=self._anchored.entry_id, next="appliance audit verify")
        self.head = database.read_now(_last)
        """The end of the log, as of the last commit."""

    async def record(
        self,
        action: str,
        *,
        who_kind: str = "core",
        who_subject: str = "",
        who_name: str = "",
        object: str = "",
        detail: Mapping[str, Any] | None = None,
        request_id: str = "",
        address: str = "",
    ) -> AuditEntry:
        """Append an entry, durable when it returns; texts over 400 characters are cut, and say so.

        :param detail: what else matters, as JSON; never a secret.
        :raises BadInput: the detail is no JSON, or longer than 8,192 characters.
        """
        entry = self._entry(action, who_kind, who_subject, who_name, object, detail, request_id, address)
        return (await self._database.write(lambda write: _append(write, entry, self._key), on_commit=self._moved)).entry

    def record_soon(
        self,
        action: str,
        *,
        who_kind: str = "core",
        who_subject: str = "",
        who_name: str = "",
        object: str = "",
        detail: Mapping[str, Any] | None = None,
        request_id: str = "",
        address: str = "",
    ) -> None:
        """Append an entry without waiting for the disk: for what has been done already, by who cannot wait.

        :raises Busy: too many writes are waiting.
        """
        entry = self._entry(action, who_kind, who_subject, who_name, object, detail, request_id, address)
        self._database.write_soon(lambda write: _append(write, entry, self._key), on_commit=self._moved)

    def _entry(
        self,
        action: str,
        who_kind: str,
        who_subject: str,
        who_name: str,
        object: str,
        detail: Mapping[str, Any] | None,
        request_id: str,
        address: str,
    ) -> AuditEntry:
        return AuditEntry(
            entry_id=0,  # given inside the transaction
            at_unix_us=self._now(),
            who_kind=_cut(who_kind),
            who_subject=_cut(who_subject),
            who_name=_cut(who_name),
            action=_cut(action),
            object=_cut(object),
            detail=_encoded(detail or {}),
            request_id=_cut(request_id),
            address=_cut(address),
        )

    async def page(self, after: int = 0, limit: int = 100) -> list[AuditEntry]:
        """Return entries with a greater id, oldest first; ``limit`` is held to 1,000."""
        values = {"after": max(0, min(after, 2**63 - 1)), "limit": max(1, min(limit, 1000))}
        return await self._database.read(
            lambda read: [AuditEntry(**_named(row)) for row in read.execute(_PAGE, values)]
        )

    async def newest(self, limit: int = 100) -> list[AuditEntry]:
        """Return the newest entries, oldest of them first; ``limit`` is held to 1,000."""
        values = {"limit": max(1, min(limit, 1000))}
        rows = await self._database.read(lambda read: read.execute(_NEWEST, values).fetchall())
        return [AuditEntry(**_named(row)) for row in reversed(rows)]

    async def verify(self) -> AuditProblem | None:
        """Check the whole log against its chain, its sealed head and the anchor file."""
        return await self._database.read(lambda read: verify(read, keys=self._keys_folder))

    def write_anchor(self) -> None:
        """Bring the anchor file up to the head, if it is behind (a few milliseconds: call it in a thread).

        An anchor that names an entry which is not in the log is left as it is: it is the proof of that.
        """
        head = self.head
        if self._anchor_holds and head.entry_id > self._anchored.entry_id:
            self._keys.write_anchor(head)
            self._anchored = head

    def _moved(self, chained: ChainedEntry) -> None:
        self.head = Head(entry_id=chained.entry.entry_id, hash=chained.hash)


def verify(connection: sqlite3.Connection, *, keys: Path | None = None) -> AuditProblem | None:
    """Return the first problem of the log, ``None`` when it is whole; to be given one snapshot.

    :param keys: folder of the key and the anchor; without it the seal and the end of the log cannot be judged fully:
        only the chain and the head row are.
    """
    key = AuditKeys(keys).key() if keys is not None else None
    anchor = AuditKeys(keys).anchor() if keys is not None else None
    row = connection.execute(_HEAD).fetchone()
    walk = Walk()
    walk.feed(_chained(connection), expected_at=anchor)
    problem = walk.end(head=Head(entry_id=row[0], hash=row[1]) if row else Head(), anchor=anchor)
    if problem is not None or keys is None or row is None:
        return problem
    if key is None:
        return AuditProblem(kind="unsealed", entry_id=row[0], message=f"the audit key is missing from {keys}")
    if row[2] != seal(key, walk.head):
        return AuditProblem(
            kind="unsealed", entry_id=row[0], message="the head row was at some time changed without the audit key"
        )
    return None


def _append(connection: sqlite3.Connection, entry: AuditEntry, key: bytes) -> ChainedEntry:
    last = _last(connection)
    whole = _is_sealed(connection, last, key)
    placed = evolve(entry, entry_id=last.entry_id + 1)
    digest = entry_hash(last.hash, placed)
    head = Head(entry_id=placed.entry_id, hash=digest)
    connection.execute(_INSERT, asdict(placed) | {"previous": last.hash, "hash": digest})
    # A seal that was broken stays broken: our next entry must not make good what somebody did to the one before.
    sealed = seal(key, head) if whole else BROKEN_SEAL
    connection.execute(_MOVE_HEAD, {"entry_id": head.entry_id, "hash": digest, "seal": sealed})
    return ChainedEntry(entry=placed, previous=last.hash, hash=digest)


def _last(connection: sqlite3.Connection) -> Head:
    row = connection.execute(_LAST).fetchone()
    return Head() if row is None else Head(entry_id=row[0], hash=row[1])


def _is_sealed(connection: sqlite3.Connection, last: Head, key: bytes) -> bool:
    row = connection.execute(_HEAD).fetchone()
    if row is None:
        return last == Head()
    return Head(entry_id=row[0], hash=row[1]) == last and hmac.compare_digest(row[2], seal(key, last))


def _has(connection: sqlite3.Connection, head: Head) -> bool:
    row = connection.execute(_HASH_OF, {"entry_id": head.entry_id}).fetchone()
    return head == Head() or (row is not None and row[0] == head.hash)


def _chained(connection: sqlite3.Connection) -> Iterator[ChainedEntry]:
    for *columns, previous, digest in connection.execute(_ALL):
        yield ChainedEntry(entry=AuditEntry(**_named(columns)), previous=previous, hash=digest)


def _named(row: Any) -> dict[str, Any]:
    return dict(zip(_COLUMNS.split(", "), row, strict=True))


def _cut(text: str) -> str:
    # Half a surrogate pair, as a hostile name may carry, must not keep the entry from being written.
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= NAME_MAX_CHARS else f"{text[: NAME_MAX_CHARS - 1]}…"


def _encoded(detail: Mapping[str, Any]) -> str:
    try:
        text = detail_text(dict(detail))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"the detail of an audit entry must be plain JSON: {error}", field="detail") from error
    if len(text) > DETAIL_MAX_CHARS:
        raise BadInput(f"the detail of an audit entry has at most {DETAIL_MAX_CHARS} characters", field="detail")
    return text
