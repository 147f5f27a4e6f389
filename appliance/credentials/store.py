"""The one table of credentials, with every live one in memory too, so that a look-up is a dict hit.

The table is the truth. The memory copy follows each commit before the caller of the write resumes, so a revoked
credential is refused by the next request.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

import trio
from attrs import define, evolve, field

from appliance import ids
from appliance.clock import Now
from appliance.credentials import tables
from appliance.credentials.kinds import Kind
from appliance.credentials.rules import US, Credential, Minted, is_live, mint, successor, used
from appliance.credentials.tables import MIGRATIONS, OWNER
from appliance.credentials.tickets import Tickets
from appliance.database import Database
from appliance.errors import BadInput, Conflict, NotAuthenticated, NotFound

__all__ = [
    "MIGRATIONS",
    "OWNER",
    "Credentials",
    "consume",
    "end_oldest",
    "insert",
    "revoke",
    "revoke_of",
]

FLUSH_SECONDS = 5.0
PURGE_SECONDS = 3_600.0
KEEP_DEAD_SECONDS = 30 * 86_400
"""How long a revoked or expired credential stays in the list."""
GRACE_SECONDS = 2.0


def insert(connection: sqlite3.Connection, minted: Minted) -> None:
    """Store a fresh credential as part of a caller's own write; `Credentials.remember` it after the commit."""
    one = minted.credential
    values: dict[str, Any] = {
        "credential_id": one.credential_id,
        "kind": one.kind.value,
        "subject": one.subject,
        "scope": one.scope,
        "scopes": " ".join(sorted(one.scopes)),
        "label": one.label,
        "prefix": one.prefix,
        "created_unix_us": one.created_unix_us,
        "expires_unix_us": one.expires_unix_us,
        "uses_left": one.uses_left,
        "secret_sha256": minted.secret_sha256,
    }
    if connection.execute(tables.INSERT, values).rowcount != 1:
        raise Conflict("this secret is in use already", hint="give another one")


def consume(
    connection: sqlite3.Connection, secret: str, kinds: Iterable[Kind], *, now_unix_us: int
) -> Credential | None:
    """Use a counted credential up by one, as part of a caller's own write; ``None`` when it does not count.

    Exactly one of any number of simultaneous callers gets the last use: the count is changed where it is checked.
    """
    if len(secret) > ids.SECRET_LIMIT_BYTES:
        return None
    row = connection.execute(tables.CONSUME, {"hash": ids.hash_secret(secret), "now": now_unix_us}).fetchone()
    if row is None:
        return None
    credential = _credential(row)
    if credential.kind not in kinds:
        raise NotAuthenticated("this credential is for something else")  # undoes the use
    return credential


def revoke(connection: sqlite3.Connection, credential_id: str, *, now_unix_us: int) -> bool:
    """End a credential as part of a caller's own write; `Credentials.forget` it after the commit."""
    return connection.execute(tables.REVOKE, {"id": credential_id, "now": now_unix_us}).rowcount == 1


def revoke_of(
    connection: sqlite3.Connection,
    *,
    now_unix_us: int,
    subject: str | None = None,
    kind: Kind | None = None,
    keep: str | None = None,
) -> list[str]:
    """End every credential of a subject and/or kind, as part of a caller's own write; return their ids.

    `Credentials.forget` them after the commit. ``keep`` is the id of one that stays.
    """
    if subject is None and kind is None:
        raise ValueError("name a subject or a kind")
    values = {"now": now_unix_us, "subject": subject, "kind": kind and kind.value, "keep": keep}
    return [row[0] for row in connection.execute(tables.REVOKE_OF, values).fetchall()]


def end_oldest(connection: sqlite3.Connection, *, now_unix_us: int, subject: str, kind: Kind, keep: int) -> list[str]:
    """End all but the newest ``keep`` of a subject's credentials of one kind, as part of a caller's own write.

    Return the ids of those that ended; `Credentials.forget` them after the commit.
    """
    values = {"now": now_unix_us, "subject": subject, "kind": kind.value, "keep": keep}
    return [row[0] for row in connection.execute(tables.END_OLDEST, values).fetchall()]


@define(eq=False)
class Credentials:
    """Every credential of the appliance; a service too, which writes last uses behind and drops the long dead."""

    database: Database
    now: Now
    name: str = "credentials"
    tickets: Tickets = field(init=False)
    _by_hash: dict[bytes, str] = field(factory=dict, init=False)
    _live: dict[str, tuple[bytes, Credential]] = field(factory=dict, init=False)
    _unwritten: set[str] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        self.tickets = Tickets(self.now)

    @classmethod
    async def load(cls, database: Database, *, now: Now) -> "Credentials":
        """Read every live credential of a migrated database."""
        credentials = cls(database, now)
        rows = await database.read(lambda connection: connection.execute(tables.LIVE).fetchall())
        for row in rows:
            credential = _credential(row)
            if is_live(credential, now_unix_us=now()):
                credentials._keep(row[12], credential)
        return credentials

    def find(self, secret: str, kinds: frozenset[Kind] | None = None) -> Credential | None:
        """Return the live credential that ``secret`` is, and note its use; ``None`` when there is none.

        Counted credentials (join, install, setup, reset) are found without being used up: `consume` does that.
        """
        if not secret or len(secret) > ids.SECRET_LIMIT_BYTES:
            return None
        digest = ids.hash_secret(secret)
        credential_id = self._by_hash.get(digest)
        if credential_id is None:
            return None
        stored, credential = self._live[credential_id]
        if not ids.same_secret(stored, digest) or not self._counts(credential):
            return None
        if kinds is not None and credential.kind not in kinds:
            return None
        now = self.now()
        newer = used(credential, at_unix_us=now)
        if newer is not credential:
            self._live[credential_id] = (stored, newer)
            self._unwritten.add(credential_id)
        return newer

    def live(self, credential_id: str) -> Credential | None:
        """Return the credential if it still counts: what long connections ask every 30 s."""
        entry = self._live.get(credential_id)
        return entry[1] if entry is not None and self._counts(entry[1]) else None

    async def create(self, kind: Kind, **given: Any) -> Minted:
        """Make and store a credential; the keywords are those of `mint`. Durable when it returns."""
        minted = mint(kind, now_unix_us=self.now(), **given)
        if not 16 <= len(minted.secret) <= ids.SECRET_LIMIT_BYTES:
            raise BadInput(f"a secret has 16 to {ids.SECRET_LIMIT_BYTES} characters")
        await self.database.write(
            lambda connection: insert(connection, minted), on_commit=lambda _: self.remember(minted)
        )
        return minted

    async def consume(self, secret: str, *kinds: Kind) -> Credential:
        """Use a counted credential up by one; raises `NotAuthenticated` when it does not count (any more)."""
        now = self.now()
        credential = await self.database.write(
            lambda connection: consume(connection, secret, kinds, now_unix_us=now), on_commit=self.consumed
        )
        if credential is None:
            raise NotAuthenticated("unknown, used or expired", hint="ask for a fresh one")
        return credential

    async def revoke(self, credential_id: str) -> None:
        """End a credential at once; raises `NotFound`. One that has ended already stays ended."""
        now = self.now()
        changed = await self.database.write(
            lambda connection: revoke(connection, credential_id, now_unix_us=now),
            on_commit=lambda _: self.forget([credential_id]),
        )
        if not changed and self.get(credential_id) is None:
            raise NotFound("credential", credential_id)

    async def revoke_of(self, *, subject: str | None = None, kind: Kind | None = None, keep: str | None = None) -> int:
        """End every credential of a subject and/or kind, but for ``keep``; return how many that were."""
        now = self.now()
        ended = await self.database.write(
            lambda connection: revoke_of(connection, now_unix_us=now, subject=subject, kind=kind, keep=keep),
            on_commit=self.forget,
        )
        return len(ended)

    async def rotate(self, credential_id: str, *, overlap_seconds: float = 0.0, secret: str | None = None) -> Minted:
        """Replace a credential by one of the same rights; the old one ends after ``overlap_seconds``.

        Raises `NotFound` for one that is unknown, and `Conflict` for one that has ended or is counted.
        """
        old = self.get(credential_id)
        if old is None:
            raise NotFound("credential", credential_id)
        if self.live(credential_id) is None:
            raise Conflict("this credential has ended", hint="create a new one")
        if old.uses_left is not None:
            raise Conflict(f"a {old.kind.value} credential is used once and is not rotated", hint="create a new one")
        now = self.now()
        minted, ends = successor(old, now_unix_us=now, secret=secret), now + int(overlap_seconds * US)

        def write(connection: sqlite3.Connection) -> None:
            if connection.execute(tables.UNREVOKED, {"id": credential_id}).fetchone() is None:
                raise Conflict("this credential has ended", hint="create a new one")
            insert(connection, minted)
            if overlap_seconds > 0:
                connection.execute(tables.END, {"id": credential_id, "ends": ends})
            else:
                connection.execute(tables.REVOKE, {"id": credential_id, "now": now})

        def follow(_: None) -> None:
            self.remember(minted)
            if overlap_seconds <= 0:
                self.forget([credential_id])
            elif (entry := self._live.get(credential_id)) is not None:
                before = entry[1].expires_unix_us
                shortened = ends if before is None else min(before, ends)
                self._live[credential_id] = (entry[0], evolve(entry[1], expires_unix_us=shortened))

        await self.database.write(write, on_commit=follow)
        return minted

    def get(self, credential_id: str) -> Credential | None:
        """Return a credential, live or ended, with its newest use; ``None`` when it is unknown."""
        row = self.database.read_now(
            lambda connection: connection.execute(tables.GET, {"id": credential_id}).fetchone()
        )
        return None if row is None else self._fresh(_credential(row))

    async def page(
        self,
        kinds: Iterable[Kind],
        *,
        subject: str | None = None,
        live_only: bool = False,
        before: int | None = None,
        limit: int = 100,
    ) -> tuple[list[Credential], int | None]:
        """Return credentials, newest first, and the ``before`` of the next page (``None`` on the last)."""
        values: Mapping[str, Any] = {
            "kinds": "[" + ",".join(f'"{kind.value}"' for kind in kinds) + "]",
            "subject": subject,
            "before": 2**63 - 1 if before is None else before,
            "live_only": int(live_only),
            "now": self.now(),
            "limit": limit + 1,
        }
        rows = await self.database.read(lambda connection: connection.execute(tables.LIST, values).fetchall())
        following = rows[limit - 1][13] if len(rows) > limit else None
        return [self._fresh(_credential(row)) for row in rows[:limit]], following

    def remember(self, minted: Minted) -> None:
        """Let a credential that has just been committed count."""
        self._keep(minted.secret_sha256, minted.credential)

    def consumed(self, credential: Credential | None) -> None:
        """Follow a use that has just been committed."""
        if credential is None or (entry := self._live.get(credential.credential_id)) is None:
            return
        if credential.uses_left == 0:
            self.forget([credential.credential_id])
        else:
            self._live[credential.credential_id] = (entry[0], credential)

    def forget(self, credential_ids: Iterable[str]) -> None:
        """Let credentials whose end has just been committed count no longer."""
        for credential_id in credential_ids:
            entry = self._live.pop(credential_id, None)
            if entry is not None:
                self._by_hash.pop(entry[0], None)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write last uses every 5 s and delete the long dead every hour, until cancelled; then write the rest."""
        task_status.started()
        next_purge = trio.current_time()
        try:
            while True:
                if trio.current_time() >= next_purge:
                    await self.purge()
                    next_purge = trio.current_time() + PURGE_SECONDS
                await trio.sleep(FLUSH_SECONDS)
                await self.flush()
        finally:
            with trio.move_on_after(GRACE_SECONDS, shield=True):
                await self.flush()

    async def flush(self) -> None:
        """Write the last uses that are not on disk yet."""
        batch, self._unwritten = self._unwritten, set()
        entries = (self._live.get(credential_id) for credential_id in batch)
        uses = [{"id": entry[1].credential_id, "at": entry[1].last_used_unix_us} for entry in entries if entry]
        if not uses:
            return
        try:
            await self.database.write(lambda connection: connection.executemany(tables.USED, uses) and None)
        except BaseException:
            self._unwritten |= batch
            raise

    async def purge(self) -> int:
        """Delete what ended more than 30 days ago, sessions as soon as they have; return how many rows that were."""
        now = self.now()
        values = {"now": now, "before": now - KEEP_DEAD_SECONDS * US}
        self.forget([key for key, (_, credential) in self._live.items() if not self._counts(credential)])
        return await self.database.write(lambda connection: connection.execute(tables.PURGE, values).rowcount)

    def _counts(self, credential: Credential) -> bool:
        return is_live(credential, now_unix_us=self.now())

    def _keep(self, secret_sha256: bytes, credential: Credential) -> None:
        self._by_hash[secret_sha256] = credential.credential_id
        self._live[credential.credential_id] = (secret_sha256, credential)

    def _fresh(self, credential: Credential) -> Credential:
        entry = self._live.get(credential.credential_id)
        if entry is None or entry[1].last_used_unix_us is None:
            return credential
        return used(credential, at_unix_us=entry[1].last_used_unix_us)


def _credential(row: sqlite3.Row | tuple[Any, ...]) -> Credential:
    return Credential(
        credential_id=row[0],
        kind=Kind(row[1]),
        subject=row[2],
        scope=row[3],
        scopes=frozenset(row[4].split()),
        label=row[5],
        prefix=row[6],
        created_unix_us=row[7],
        expires_unix_us=row[8],
        uses_left=row[9],
        last_used_unix_us=row[10],
        revoked_unix_us=row[11],
    )
