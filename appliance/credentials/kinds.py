"""The kinds of credential, the roles, and who a request turns out to be."""

from enum import IntEnum, StrEnum

from attrs import field, frozen


class Role(IntEnum):
    """What a person or credential may do; a higher role may do all that a lower one may."""

    VIEWER = 10
    """Reads."""
    USER = 20
    """Own tasks, files, agents, workers, shares and tokens."""
    OPERATOR = 30
    """Everything but people, keys and settings."""
    ADMIN = 40

    @property
    def word(self) -> str:
        """The role as it is written in TOML, JSON and on the command line."""
        return self.name.lower()


class Kind(StrEnum):
    """How a caller proved who it is."""

    SESSION = "session"
    PAT = "pat"
    AGENT = "agent"
    INSTALL = "install"
    MACHINE = "machine"
    WORKER = "worker"
    WORKSPACE = "workspace"
    INGEST = "ingest"
    ADMIN_KEY = "admin-key"
    DRONE = "drone"
    SCRAPE = "scrape"
    JOIN = "join"
    SETUP = "setup"
    RESET = "reset"
    TICKET = "ticket"
    CONTROL = "control"
    """The control socket: peer uid our own or root; always admin."""
    TRUST = "trust"
    """A trusted local request without a credential; acts as operator."""
    OPEN = "open"
    """A request without a credential from a surface's ``open_to``; acts as user."""
    ANONYMOUS = "anonymous"


PERSON: frozenset[Kind] = frozenset({Kind.SESSION, Kind.PAT, Kind.CONTROL, Kind.ADMIN_KEY})
"""The kinds that stand for a person (or act as one): what most endpoints accept."""


@frozen(kw_only=True)
class Caller:
    """Who a request is from, once the edge has decided."""

    kind: Kind
    role: Role | None = None
    """``None`` for callers that are no person and act for none (anonymous, machine, ingest, drone ...)."""
    subject: str = ""
    """The person's id, or what the credential is bound to (agent id, machine id, server slug, drone name)."""
    name: str = ""
    """For people: the person's name; shown in the audit log."""
    credential_id: str = ""
    scope: str = ""
    """For machine credentials the pool, for workspaces the workspace; else empty."""
    scopes: frozenset[str] = field(factory=frozenset)
    """PAT scopes ``surface[:read]``; empty means the whole role."""

    def may(self, role: Role) -> bool:
        """Whether this caller acts with ``role`` or more."""
        return self.role is not None and self.role >= role


ANONYMOUS = Caller(kind=Kind.ANONYMOUS)
