"""Tokens, sessions and tickets over our own API.

A person sees and ends their own; an admin everybody's. A secret is in the answer that makes it, and nowhere else.
"""

import secrets
from typing import Any

from attrs import field, frozen
from attrs.validators import and_, ge, gt, le, max_len, optional
from msgspec import Struct

from appliance.clock import to_unix_s
from appliance.credentials.kinds import PERSON, Kind, Role
from appliance.credentials.rules import TICKET_SECONDS, US, Credential, Minted
from appliance.errors import BadInput, Forbidden, NotAuthenticated, NotFound
from appliance.http.api.callers import person_of, record
from appliance.http.api.state import CoreState
from appliance.people.roles import parse_scopes, require_no_scopes, require_role
from appliance.surface import Call, Surface

TOKEN_KINDS = (
    Kind.PAT,
    Kind.AGENT,
    Kind.INSTALL,
    Kind.MACHINE,
    Kind.WORKER,
    Kind.WORKSPACE,
    Kind.INGEST,
    Kind.ADMIN_KEY,
    Kind.DRONE,
    Kind.SCRAPE,
    Kind.JOIN,
)
"""What the list shows; sessions have a list of their own, and one-time links none."""
MADE_HERE = {
    kind.value: kind
    for kind in (
        Kind.PAT,
        Kind.MACHINE,
        Kind.WORKER,
        Kind.WORKSPACE,
        Kind.ADMIN_KEY,
        Kind.DRONE,
        Kind.SCRAPE,
        Kind.JOIN,
    )
}
NAME_CHARACTERS = 128
LABEL_CHARACTERS = 200
PREFIXES = ("/api/appliance/tokens", "/api/appliance/sessions", "/api/appliance/tickets")

api = Surface("core", prefixes=PREFIXES, unknown_fields="refuse")


class TokenItem(Struct, frozen=True, kw_only=True):
    """One credential as the API shows it: never its secret."""

    id: str
    kind: str
    subject: str
    subject_name: str
    scope: str
    scopes: list[str]
    label: str
    prefix: str
    created_unix_s: float
    expires_unix_s: float | None
    last_used_unix_s: float | None
    revoked_unix_s: float | None
    uses_left: int | None


class MadeToken(Struct, frozen=True, kw_only=True):
    """A fresh credential with its clear text, the only time it is shown."""

    id: str
    token: str
    kind: str
    prefix: str
    expires_unix_s: float | None


class TokenPage(Struct, frozen=True, kw_only=True):
    """A page of credentials, newest first."""

    items: list[TokenItem]
    next: int | None = None


@frozen(kw_only=True)
class TokenQuery:
    """Which page; ``live=true`` leaves out what has ended."""

    limit: int = field(default=100, validator=and_(ge(1), le(1000)))
    before: int | None = None
    """``next`` of the page before."""
    live: bool = False


@frozen(kw_only=True)
class NewToken:
    """A credential to make; which fields it takes depends on its kind."""

    kind: str
    user: str | None = None
    scopes: list[str] = field(factory=list)
    label: str = field(default="", validator=max_len(LABEL_CHARACTERS))
    expires_in_days: float | None = field(default=None, validator=optional(and_(gt(0), le(36_500))))
    pool: str | None = None
    machine_id: str | None = None
    workspace: str | None = None
    name: str | None = None


@frozen(kw_only=True)
class Rotation:
    """How long the old secret goes on beside the new one."""

    overlap_seconds: float = field(default=0.0, validator=and_(ge(0), le(30 * 86_400)))


class SessionItem(Struct, frozen=True, kw_only=True):
    """One login."""

    id: str
    person_id: str
    name: str
    client: str
    """What the browser calls itself."""
    created_unix_s: float
    expires_unix_s: float | None
    last_used_unix_s: float | None
    current: bool


class SessionPage(Struct, frozen=True, kw_only=True):
    """A page of logins, newest first."""

    items: list[SessionItem]
    next: int | None = None


@frozen(kw_only=True)
class SessionQuery:
    """Which page, and of whom: ``all=true`` needs an admin."""

    limit: int = field(default=100, validator=and_(ge(1), le(1000)))
    before: int | None = None
    all: bool = False


class Ended(Struct, frozen=True, kw_only=True):
    """What has been ended."""

    id: str


class Ticket(Struct, frozen=True, kw_only=True):
    """What a page puts into the address of one WebSocket."""

    ticket: str
    expires_in_seconds: int = TICKET_SECONDS


@api.get("/api/appliance/tokens", caller=PERSON, query=TokenQuery, answer=TokenPage)
async def tokens(call: Call[None]) -> TokenPage:
    """List one's own tokens; admins see all."""
    state: CoreState = call.state
    kinds, subject = _visible(call)
    found, following = await state.credentials.page(
        kinds, subject=subject, live_only=call.query.live, before=call.query.before, limit=call.query.limit
    )
    return TokenPage(items=[_token(state, one) for one in found], next=following)


@api.post(
    "/api/appliance/tokens", caller=PERSON, role=Role.USER, body=NewToken, answer=MadeToken, status=201, audit=False
)
async def create_token(call: Call[NewToken]) -> MadeToken:
    """Make a token: a personal one for oneself, anything else as an admin."""
    state: CoreState = call.state
    body = call.body
    kind = MADE_HERE.get(body.kind)
    if kind is None:
        raise BadInput(f"no such kind: {body.kind[:32]!r}", hint=f"one of {', '.join(MADE_HERE)}", field="$.kind")
    require_no_scopes(call.caller)
    given = _personal(call) if kind is Kind.PAT else _impersonal(call, kind)
    if body.expires_in_days is not None:
        given["expires_unix_us"] = state.now() + int(body.expires_in_days * 86_400 * US)
    if kind is Kind.PAT:
        _refuse_longer_life(call, given.get("expires_unix_us"))
    minted = await state.credentials.create(kind, label=body.label, **given)
    detail = {"kind": kind.value, "subject": minted.credential.subject, "scope": minted.credential.scope}
    await record(call, "token.create", object=minted.credential.credential_id, detail=detail)
    return _made(minted)


@api.delete("/api/appliance/tokens/{token_id}", caller=PERSON, answer=Ended, audit=False)
async def revoke_token(call: Call[None]) -> Ended:
    """End a token at once."""
    state: CoreState = call.state
    credential = _own(call, call.path["token_id"])
    await state.credentials.revoke(credential.credential_id)
    await record(call, "token.revoke", object=credential.credential_id, detail={"kind": credential.kind.value})
    return Ended(id=credential.credential_id)


@api.post(
    "/api/appliance/tokens/{token_id}/rotate",
    caller=PERSON,
    role=Role.USER,
    body=Rotation,
    answer=MadeToken,
    audit=False,
)
async def rotate_token(call: Call[Rotation]) -> MadeToken:
    """Replace a token by a new one of the same rights."""
    state: CoreState = call.state
    old = _own(call, call.path["token_id"])
    require_no_scopes(call.caller)
    if old.kind in (Kind.INGEST, Kind.AGENT):
        raise BadInput(f"a token of kind {old.kind.value} is rotated with what it belongs to", field="$.id")
    overlap = call.body.overlap_seconds
    minted = await state.credentials.rotate(old.credential_id, overlap_seconds=overlap, secret=_fixed_form(old.kind))
    detail = {"kind": old.kind.value, "new": minted.credential.credential_id}
    await record(call, "token.rotate", object=old.credential_id, detail=detail)
    return _made(minted)


@api.get("/api/appliance/sessions", caller=PERSON, query=SessionQuery, answer=SessionPage)
async def sessions(call: Call[None]) -> SessionPage:
    """List one's own logins; an admin may ask for everybody's."""
    state: CoreState = call.state
    if call.query.all:
        require_role(call.caller, Role.ADMIN)
        subject = None
    else:
        subject = person_of(call).person_id
    found, following = await state.credentials.page(
        (Kind.SESSION,), subject=subject, live_only=True, before=call.query.before, limit=call.query.limit
    )
    return SessionPage(items=[_session(call, one) for one in found], next=following)


@api.delete("/api/appliance/sessions/{session_id}", caller=PERSON, answer=Ended, audit=False)
async def end_session(call: Call[None]) -> Ended:
    """End a login at once."""
    state: CoreState = call.state
    credential = _own(call, call.path["session_id"], kinds=(Kind.SESSION,))
    await state.credentials.revoke(credential.credential_id)
    await record(call, "session.end", object=credential.credential_id)
    return Ended(id=credential.credential_id)


@api.post("/api/appliance/tickets", caller=frozenset({Kind.SESSION, Kind.PAT}), answer=Ticket, status=201, audit=False)
async def create_ticket(call: Call[None]) -> Ticket:
    """Get a ticket that opens one WebSocket as oneself within 30 s: browsers cannot send it a header."""
    state: CoreState = call.state
    return Ticket(ticket=state.credentials.tickets.issue(call.caller))


def _visible(call: Call[Any]) -> tuple[tuple[Kind, ...], str | None]:
    """Return which credentials the caller sees: an admin all, a person their own, nobody else any."""
    if call.caller.may(Role.ADMIN):
        return TOKEN_KINDS, None
    return TOKEN_KINDS, person_of(call).person_id


def _own(call: Call[Any], credential_id: str, kinds: tuple[Kind, ...] = TOKEN_KINDS) -> Credential:
    """Return a credential that the caller may end; anybody else's is as if it did not exist."""
    state: CoreState = call.state
    credential = state.credentials.get(credential_id)
    if not call.caller.may(Role.ADMIN):
        own = person_of(call).person_id
        if credential is None or credential.subject != own:
            raise NotFound("token", credential_id[:64])
    if credential is None or credential.kind not in kinds:
        raise NotFound("token", credential_id[:64])
    return credential


def _refuse_longer_life(call: Call[Any], expires_unix_us: int | None) -> None:
    """A personal token that ends makes none that goes on after it: else whoever finds one keeps it for ever."""
    own = call.state.credentials.live(call.caller.credential_id) if call.caller.kind is Kind.PAT else None
    ends = own.expires_unix_us if own is not None else None
    if ends is not None and (expires_unix_us is None or expires_unix_us > ends):
        raise Forbidden("a token that ends makes none that lives longer", hint="log in to make one")


def _personal(call: Call[NewToken]) -> dict[str, Any]:
    state: CoreState = call.state
    caller = call.caller
    if call.body.user is None:
        owner = person_of(call)
    elif caller.may(Role.ADMIN):
        owner = state.people.named(call.body.user)
    elif caller.kind not in (Kind.SESSION, Kind.PAT):
        raise NotAuthenticated("a person is needed here", hint="log in")
    else:
        owner = person_of(call)
        if state.people.find(call.body.user) != owner:
            raise Forbidden("only an admin makes tokens for others", hint="leave out user to make one for yourself")
    return {"subject": owner.person_id, "scopes": parse_scopes(call.body.scopes)}


def _impersonal(call: Call[NewToken], kind: Kind) -> dict[str, Any]:
    require_role(call.caller, Role.ADMIN)
    body = call.body
    if body.scopes or body.user is not None:
        raise BadInput(f"a token of kind {kind.value} has no user and no scopes", field="$.kind")
    if kind is Kind.MACHINE:
        subject = "" if body.machine_id is None else _named(body.machine_id, "machine_id")
        return {"scope": _named(body.pool, "pool"), "subject": subject, "secret": _fixed_form(kind)}
    if kind is Kind.WORKSPACE:
        return {"scope": _named(body.workspace, "workspace"), "subject": body.workspace}
    if kind is Kind.DRONE:
        return {"subject": _named(body.name, "name")}
    return {"secret": _fixed_form(kind)}


def _named(value: str | None, what: str) -> str:
    if not value or len(value) > NAME_CHARACTERS or not value.isprintable():
        raise BadInput(f"{what} is needed: 1 to {NAME_CHARACTERS} printable characters", field=f"$.{what}")
    return value


def _fixed_form(kind: Kind) -> str | None:
    """Return a secret in the form documented for machines (88 URL-safe characters), ``None`` for other kinds."""
    return secrets.token_urlsafe(66) if kind in (Kind.MACHINE, Kind.WORKER) else None


def _made(minted: Minted) -> MadeToken:
    one = minted.credential
    return MadeToken(
        id=one.credential_id,
        token=minted.secret,
        kind=one.kind.value,
        prefix=one.prefix,
        expires_unix_s=_seconds(one.expires_unix_us),
    )


def _token(state: CoreState, one: Credential) -> TokenItem:
    person = state.people.get(one.subject)
    return TokenItem(
        id=one.credential_id,
        kind=one.kind.value,
        subject=one.subject,
        subject_name=person.name if person is not None else "",
        scope=one.scope,
        scopes=sorted(one.scopes),
        label=one.label,
        prefix=one.prefix,
        created_unix_s=to_unix_s(one.created_unix_us),
        expires_unix_s=_seconds(one.expires_unix_us),
        last_used_unix_s=_seconds(one.last_used_unix_us),
        revoked_unix_s=_seconds(one.revoked_unix_us),
        uses_left=one.uses_left,
    )


def _session(call: Call[Any], one: Credential) -> SessionItem:
    state: CoreState = call.state
    person = state.people.get(one.subject)
    return SessionItem(
        id=one.credential_id,
        person_id=one.subject,
        name=person.name if person is not None else "",
        client=one.label,
        created_unix_s=to_unix_s(one.created_unix_us),
        expires_unix_s=_seconds(one.expires_unix_us),
        last_used_unix_s=_seconds(one.last_used_unix_us),
        current=one.credential_id == call.caller.credential_id,
    )


def _seconds(unix_us: int | None) -> float | None:
    return None if unix_us is None else to_unix_s(unix_us)
