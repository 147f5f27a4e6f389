"""What a credential is and when it counts: pure, with the time given."""

from attrs import evolve, field, frozen

from appliance import ids
from appliance.credentials.kinds import Kind

US = 1_000_000
SESSION_ABSOLUTE_SECONDS = 30 * 86_400
SESSION_IDLE_SECONDS = 7 * 86_400
TICKET_SECONDS = 30
JOIN_SECONDS = 30 * 60
INSTALL_SECONDS = 30 * 60
RESET_SECONDS = 24 * 3_600

LIFE_SECONDS: dict[Kind, int] = {
    Kind.SESSION: SESSION_ABSOLUTE_SECONDS,
    Kind.JOIN: JOIN_SECONDS,
    Kind.INSTALL: INSTALL_SECONDS,
    Kind.RESET: RESET_SECONDS,
}
"""How long a kind lives when its maker says nothing; kinds not named here have no end (a setup link is valid until
used)."""

USES: dict[Kind, int] = {Kind.JOIN: 1, Kind.INSTALL: 1, Kind.SETUP: 1, Kind.RESET: 1}
"""How often a kind can be consumed; kinds not named here are not consumed by use."""

IDLE_SECONDS: dict[Kind, int] = {Kind.SESSION: SESSION_IDLE_SECONDS}


@frozen(kw_only=True)
class Credential:
    """One row of the table of credentials; never the secret itself."""

    credential_id: str
    kind: Kind
    subject: str = ""
    """The person's id, or what it is bound to (agent id, machine id, server slug, drone name); may be empty."""
    scope: str = ""
    """For machine credentials the pool, for workspaces the workspace; else empty."""
    scopes: frozenset[str] = frozenset()
    """PAT scopes ``surface[:read]``; empty means the whole role."""
    label: str = ""
    """What it is for, in its maker's words; for sessions the browser's name."""
    prefix: str = ""
    created_unix_us: int
    expires_unix_us: int | None = None
    uses_left: int | None = None
    """``None``: as often as one likes."""
    last_used_unix_us: int | None = None
    revoked_unix_us: int | None = None


@frozen(kw_only=True)
class Minted:
    """A fresh credential and its secret: the only time the clear text exists."""

    credential: Credential
    secret: str = field(repr=False)

    @property
    def secret_sha256(self) -> bytes:
        """The hash under which the secret is stored."""
        return ids.hash_secret(self.secret)


def mint(
    kind: Kind,
    *,
    now_unix_us: int,
    subject: str = "",
    scope: str = "",
    scopes: frozenset[str] = frozenset(),
    label: str = "",
    expires_unix_us: int | None = None,
    uses: int | None = None,
    secret: str | None = None,
) -> Minted:
    """Make a credential; nothing knows it before it is stored.

    :param expires_unix_us: when it ends; by default as its kind says.
    :param uses: how often it can be consumed; by default as its kind says.
    :param secret: the clear text where a document fixes its form; random and of our own form by default.
    """
    clear = ids.new_secret(kind.value) if secret is None else secret
    if expires_unix_us is None and kind in LIFE_SECONDS:
        expires_unix_us = now_unix_us + LIFE_SECONDS[kind] * US
    return Minted(
        credential=Credential(
            credential_id=ids.new_id("cred"),
            kind=kind,
            subject=subject,
            scope=scope,
            scopes=scopes,
            label=label,
            prefix=ids.secret_prefix(clear),
            created_unix_us=now_unix_us,
            expires_unix_us=expires_unix_us,
            uses_left=USES.get(kind) if uses is None else uses,
        ),
        secret=clear,
    )


def successor(old: Credential, *, now_unix_us: int, secret: str | None = None) -> Minted:
    """Make a credential with the rights, the label and the length of life of ``old``."""
    life_us = None if old.expires_unix_us is None else old.expires_unix_us - old.created_unix_us
    return mint(
        old.kind,
        now_unix_us=now_unix_us,
        subject=old.subject,
        scope=old.scope,
        scopes=old.scopes,
        label=old.label,
        expires_unix_us=None if life_us is None else now_unix_us + life_us,
        uses=old.uses_left,
        secret=secret,
    )


def is_live(credential: Credential, *, now_unix_us: int) -> bool:
    """Whether the credential counts now: not revoked, not expired, not used up, not idle for too long."""
    if credential.revoked_unix_us is not None or credential.uses_left == 0:
        return False
    if credential.expires_unix_us is not None and now_unix_us >= credential.expires_unix_us:
        return False
    idle_seconds = IDLE_SECONDS.get(credential.kind)
    if idle_seconds is None:
        return True
    last_unix_us = max(credential.created_unix_us, credential.last_used_unix_us or 0)
    return now_unix_us < last_unix_us + idle_seconds * US


def used(credential: Credential, *, at_unix_us: int) -> Credential:
    """Return the credential with its newest use, to the second; the clock stepping back changes nothing."""
    if credential.last_used_unix_us is not None and credential.last_used_unix_us > at_unix_us - US:
        return credential
    return evolve(credential, last_used_unix_us=at_unix_us)
