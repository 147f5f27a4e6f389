"""The person behind a call to core's own endpoints, and what the audit log is told about them."""

from collections.abc import Mapping
from typing import Any

from appliance.audit import Audit
from appliance.credentials.kinds import Kind
from appliance.credentials.store import Credentials
from appliance.errors import NotAuthenticated
from appliance.http.api.state import CoreState
from appliance.people.sessions import CSRF_COOKIE, SESSION_COOKIE_SECONDS, CookieNames, csrf_token
from appliance.people.store import Login, Person
from appliance.surface import Call, Cookie


def person_of(call: Call[Any]) -> Person:
    """Return the person who calls; raises `NotAuthenticated` for callers that are no person (trust, keys, machines)."""
    state: CoreState = call.state
    person = state.people.get(call.caller.subject) if call.caller.kind in (Kind.SESSION, Kind.PAT) else None
    if person is None:
        raise NotAuthenticated("Authentication required.", hint="log in")
    return person


def address_of(call: Call[Any]) -> str:
    """Return the address a call came from; ``local`` on a unix socket."""
    return call.head.peer[0] if call.head.peer is not None else "local"


def agent_of(call: Call[Any]) -> str:
    """Return what the client calls itself, without anything unprintable."""
    agent = call.head.header(b"user-agent") or ""
    return "".join(character for character in agent[:200] if character.isprintable())


def login_cookies(call: Call[Any], login: Login) -> tuple[Cookie, ...]:
    """Return the session cookie and the readable token against forged requests."""
    state: CoreState = call.state
    secret = login.session.secret
    return (
        Cookie(name=state.access.cookies.session, value=secret, max_age_seconds=SESSION_COOKIE_SECONDS),
        Cookie(name=CSRF_COOKIE, value=csrf_token(secret), max_age_seconds=SESSION_COOKIE_SECONDS, http_only=False),
    )


async def end_session(
    credentials: Credentials, audit: Audit, cookies: CookieNames, call: Call[Any]
) -> tuple[Cookie, ...]:
    """End the session that a request carries, if it does; return what takes both cookies out of a browser."""
    if call.caller.kind is Kind.SESSION:
        await credentials.revoke(call.caller.credential_id)
        await _record(audit, call, "person.logout", object=call.caller.name)
    return (
        Cookie(name=cookies.session, value="", max_age_seconds=0),
        Cookie(name=CSRF_COOKIE, value="", max_age_seconds=0, http_only=False),
    )


async def record(
    call: Call[Any],
    action: str,
    *,
    object: str = "",
    detail: Mapping[str, Any] | None = None,
    person: Person | None = None,
) -> None:
    """Write what was done into the audit log; ``person`` where the caller became one only now."""
    state: CoreState = call.state
    await _record(state.audit, call, action, object=object, detail=detail, person=person)


async def _record(
    audit: Audit,
    call: Call[Any],
    action: str,
    *,
    object: str = "",
    detail: Mapping[str, Any] | None = None,
    person: Person | None = None,
) -> None:
    await audit.record(
        action,
        who_kind=call.caller.kind.value,
        who_subject=person.person_id if person is not None else call.caller.subject,
        who_name=person.name if person is not None else call.caller.name,
        object=object,
        detail=detail,
        request_id=call.request_id,
        address=address_of(call),
    )
