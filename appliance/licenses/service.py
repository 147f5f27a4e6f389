"""The licence issuer: keys that take turns, and licences signed with the active one."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import structlog
import trio
from attrs import evolve, frozen

from appliance.clock import Now
from appliance.database import Database
from appliance.errors import ApplianceError, Busy, StorageFailed
from appliance.events import Events
from appliance.licenses import store
from appliance.licenses.claims import SKEW_MS, Claims, new_claims
from appliance.licenses.jwks import KeySet, key_set, thumbprint
from appliance.licenses.keys import LicenseKeys
from appliance.licenses.rotation import (
    KeyState,
    LicenseKey,
    advance,
    in_state,
    is_due,
    revoked,
    takes_over_unix_us,
)
from appliance.settings import LicensesSettings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

REMEMBERED_EVERY_MS: Final = 5_000
"""The time of the last licence is on disk at most so far behind."""
DAY_US: Final = 86_400_000_000

log = structlog.get_logger(__name__)


class ClockWentBack(ApplianceError):
    """The wall clock is behind the last licence: one issued now could be older than those that it follows."""

    status = 503


@frozen(kw_only=True)
class License:
    """A licence as it is handed out."""

    plain: str
    encrypted: str
    expires_unix_us: int | None
    """``None`` for a vendor's licence that does not say."""
    kid: str = ""
    """The key that signed it, as in the key set; empty for a vendor's licence."""


class Licenses:
    """Issues licences, and keeps the keys that sign them.

    Private halves are files; everything else about a key is in the database, and read from memory. A licence is
    signed without touching the disk: the time of the last one is written behind.
    """

    def __init__(
        self, database: Database, files: LicenseKeys, events: Events, now: Now, settings: Callable[[], LicensesSettings]
    ) -> None:
        """To be made by `load`, which looks at the files."""
        self._database = database
        self._files = files
        self._events = events
        self._now = now
        self._settings = settings
        self._changing = trio.Lock()
        self._signer: tuple[str, Ed25519PrivateKey] | None = None
        self._usable = files.kids()
        self._last_unix_ms = self._remembered_unix_ms = database.read_now(store.last_issued)
        self._hold(database.read_now(store.load))

    @classmethod
    async def load(
        cls,
        database: Database,
        folder: Path,
        *,
        events: Events,
        now: Now,
        settings: Callable[[], LicensesSettings],
    ) -> Self:
        """Take over the keys that are there; `keep` makes the first ones.

        :param folder: of secret keys.
        :raises LicenseKeyRefused: others could have read a key.
        """
        made = cls(database, LicenseKeys(folder), events, now, settings)
        await made._tidy()
        return made

    @property
    def keys(self) -> tuple[LicenseKey, ...]:
        """Every key, those that are gone too, oldest first."""
        return self._keys

    @property
    def public_keys(self) -> Mapping[str, bytes]:
        """The keys by which a licence is judged: those that are published, by key id."""
        return self._public

    @property
    def key_set(self) -> KeySet:
        """The published keys as ``/.well-known/jwks.json``."""
        return self._key_set

    @property
    def active_kid(self) -> str:
        """The key that signs now; empty before the first one is made."""
        active = in_state(self._keys, KeyState.ACTIVE)
        return "" if active is None else active.kid

    @property
    def takes_over_unix_us(self) -> int | None:
        """When the next key becomes the active one; ``None`` when there is none."""
        return takes_over_unix_us(self._keys, rotate_us=self._rotate_us)

    @property
    def vendor(self) -> License | None:
        """The vendor's pair of ``[licenses.vendor]``, to be handed out as it is; ``None`` when there is none."""
        pair = self._settings().vendor
        if not pair:
            return None
        # Agents read the third field as the expiry, whoever wrote the text.
        written = pair.plain.split("|")[2:3]
        expires = int(written[0]) * 1000 if written and _is_time(written[0]) else None
        return License(plain=pair.plain, encrypted=pair.encrypted, expires_unix_us=expires)

    async def issue(self, *, agent_id: str, plan: str, max_gpus: int, max_workers: int) -> License:
        """Sign a licence that lasts 120 minutes from now.

        :raises BadInput: the agent's id or the plan has characters that no licence can carry.
        :raises ClockWentBack: the wall clock is more than 60 s behind the last licence.
        :raises LicenseKeyRefused: the active key cannot be used.
        """
        from appliance.licenses import token

        kid, key = await self._signing_key()
        now_unix_ms = self._now() // 1000
        behind_ms = self._last_unix_ms - now_unix_ms
        if behind_ms > SKEW_MS:
            raise ClockWentBack(
                f"no licence is issued: the clock is {behind_ms / 1000:.0f} s behind the last licence",
                hint="set the clock right; if it was wrong before: appliance license rotate --emergency",
            )
        claims = new_claims(
            agent_id=agent_id, plan=plan, max_gpus=max_gpus, max_workers=max_workers, issued_unix_ms=now_unix_ms
        )
        plain, encrypted = token.sign(claims, kid, key)
        self._remember(now_unix_ms)
        return License(plain=plain, encrypted=encrypted, expires_unix_us=claims.expires_unix_ms * 1000, kid=kid)

    def verify(self, plain: str, encrypted: str, *, agent_id: str | None = None) -> Claims:
        """Return what a licence of this appliance says, if it holds now.

        :param agent_id: whose it must be; ``None``: anybody's.
        :raises LicenseRefused: it does not hold, and why.
        """
        from appliance.licenses import token

        return token.verify(plain, encrypted, self._public, now_unix_ms=self._now() // 1000, agent_id=agent_id).claims

    async def keep(self) -> None:
        """Do what is due: make keys, let the next one take over, drop those that have retired."""
        async with self._changing:
            await self._advance()

    async def rotate(self) -> bool:
        """Let the next key take over as soon as it has been published for 24 h; return whether it has."""
        async with self._changing:
            await self._advance()
            coming, active_kid = in_state(self._keys, KeyState.NEXT), self.active_kid
            assert coming is not None
            await self._put((evolve(coming, wanted_unix_us=min(coming.wanted_unix_us or self._now(), self._now())),))
            await self._advance()
            return self.active_kid != active_kid

    async def revoke_keys(self) -> tuple[str, ...]:
        """Drop every key at once and go on with fresh ones; return the ids of those that were published.

        Whatever they signed is refused from now on. Subscribers are told by the event ``license.key_revoked``.
        """
        # Not half of it: who asked may hang up, but what is dropped must also be told.
        with trio.CancelScope(shield=True):
            async with self._changing:
                now = self._now()
                dropped = revoked(self._keys, now_unix_us=now)
                known = {key.kid: key for key in (*self._keys, *dropped)}
                await self._advance(tuple(known.values()), dropped, restart_at_unix_ms=now // 1000)
            kids = tuple(key.kid for key in dropped)
            log.warning("license.keys_revoked", kids=kids, active=self.active_kid)
            await self._tell_revoked(kids, "Every licence key was revoked: licences from before hold no more")
        return kids

    async def _signing_key(self) -> "tuple[str, Ed25519PrivateKey]":
        """Return the active key, read once from its file."""
        while True:
            kid = self.active_kid
            if not kid:
                await self.keep()
            elif self._signer is not None and self._signer[0] == kid:
                return self._signer
            else:
                self._signer = (kid, await trio.to_thread.run_sync(self._files.load, kid))

    def _remember(self, now_unix_ms: int) -> None:
        self._last_unix_ms = max(self._last_unix_ms, now_unix_ms)
        if self._last_unix_ms - self._remembered_unix_ms < REMEMBERED_EVERY_MS:
            return
        last = self._last_unix_ms
        try:
            self._database.write_soon(lambda connection: store.raise_last_issued(connection, last))
        except (Busy, StorageFailed):
            return  # the next licence tries again; meanwhile memory has it
        self._remembered_unix_ms = last

    async def _advance(
        self,
        keys: Sequence[LicenseKey] | None = None,
        changed: Sequence[LicenseKey] = (),
        *,
        restart_at_unix_ms: int | None = None,
    ) -> None:
        """Do what is due with ``keys`` (those in force), and store it together with what has ``changed`` in them."""
        keys = self._keys if keys is None else keys
        self._usable = self._files.kids()
        now_unix_us, rotate_us, usable = self._now(), self._rotate_us, self._usable
        if not is_due(keys, now_unix_us=now_unix_us, rotate_us=rotate_us, usable=usable):
            return
        made: list[str] = []

        def make() -> bytes:
            public = self._files.make()
            made.append(thumbprint(public))
            return public

        # Making a key waits for the disk, and for the library the first time.
        due = await trio.to_thread.run_sync(
            lambda: advance(keys, now_unix_us=now_unix_us, rotate_us=rotate_us, usable=usable, make=make)
        )
        self._usable |= frozenset(made)
        before = {key.kid: key for key in self._keys}
        stored = {key.kid: key for key in (*changed, *due)}
        try:
            await self._put(tuple(stored.values()), restart_at_unix_ms=restart_at_unix_ms)
        except (ApplianceError, sqlite3.Error):
            await self._remove_private(made)  # nobody will ever know of them
            raise
        await self._remove_private(key.kid for key in stored.values() if not key.may_sign)
        if not changed:
            await self._tell(before, stored)

    async def _put(self, keys: Sequence[LicenseKey], *, restart_at_unix_ms: int | None = None) -> None:
        def write(connection: sqlite3.Connection) -> tuple[LicenseKey, ...]:
            store.put(connection, keys)
            if restart_at_unix_ms is not None:
                store.reset_last_issued(connection, restart_at_unix_ms)
            return store.load(connection)

        def took(keys: tuple[LicenseKey, ...]) -> None:
            self._hold(keys)
            if restart_at_unix_ms is not None:
                self._last_unix_ms = self._remembered_unix_ms = restart_at_unix_ms

        await self._database.write(write, on_commit=took)

    def _hold(self, keys: tuple[LicenseKey, ...]) -> None:
        """Put keys in force: what is signed with and what is published change together."""
        self._keys = keys
        published = [key for key in keys if key.is_published]
        self._public = {key.kid: key.public for key in published}
        self._key_set = key_set(key.public for key in published)
        if self._signer is not None and self._signer[0] != self.active_kid:
            self._signer = None

    async def _remove_private(self, kids: Iterable[str]) -> None:
        gone = self._usable & frozenset(kids)
        for kid in gone:
            await trio.to_thread.run_sync(self._files.remove, kid)
        self._usable -= gone

    async def _tidy(self) -> None:
        """Bring files and database together after a crash, or after either was put back from a backup.

        A key that the database does not know may have signed what is still out there: it is published until that has
        expired, and signs no more.
        """
        known = {key.kid: key for key in self._keys}
        await self._remove_private(kid for kid in self._usable if kid in known and not known[kid].may_sign)
        strays = []
        for kid in self._usable - known.keys():
            public = await trio.to_thread.run_sync(self._files.public, kid)
            if public is not None:
                now = self._now()
                strays.append(
                    LicenseKey(
                        kid=kid, public=public, state=KeyState.RETIRING, published_unix_us=now, retired_unix_us=now
                    )
                )
        if strays:
            log.warning("license.unknown_keys_retired", kids=[key.kid for key in strays])
            await self._put(strays)
        await self._remove_private(self._usable - known.keys())

    async def _tell(self, before: Mapping[str, LicenseKey], changed: Mapping[str, LicenseKey]) -> None:
        """Tell of a key that took over, and of one that was lost."""
        lost = tuple(
            kid for kid, key in changed.items() if key.state is KeyState.GONE and kid in before and before[kid].may_sign
        )
        if lost:
            log.error("license.keys_lost", kids=lost, active=self.active_kid)
            await self._tell_revoked(lost, "The private half of a licence key is missing: its licences hold no more")
        elif any(key.state is KeyState.RETIRING for key in changed.values()):
            log.info("license.key_took_over", active=self.active_kid)
            await self._events.publish(
                "license.keys_rotated", "The next licence key took over", subject=self.active_kid
            )

    async def _tell_revoked(self, kids: tuple[str, ...], message: str) -> None:
        await self._events.publish(
            "license.key_revoked",
            message,
            level="warning",
            subject=self.active_kid,
            data={"kids": list(kids), "active_kid": self.active_kid},
        )

    @property
    def _rotate_us(self) -> int:
        return int(self._settings().rotate_days * DAY_US)


def _is_time(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 16


@frozen
class LicenseKeeper:
    """Does what is due with the keys, at the start and every ``every_seconds``."""

    licenses: Licenses
    every_seconds: float = 30.0
    name: str = "license-keys"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look until cancelled; a disk that cannot take it is a crash of this service, which is tried again."""
        task_status.started()  # the first keys ever cost a start nothing
        while True:
            await self.licenses.keep()
            await trio.sleep(self.every_seconds)
