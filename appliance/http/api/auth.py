"""Logging in and out, for our pages and for the front ends of other systems: one handler each.

Bodies have ``email`` or ``username`` (either may be a person's name or address) and ``password``. A good answer is
``{"ok":true,"success":true,"message","visit_count","user":{...}}``, a failure has ``ok`` and ``success`` false and its
text as ``error`` and as ``message``.
"""

from typing import Any

from attrs import frozen
from msgspec import Struct

from appliance.clock import to_unix_s
from appliance.credentials.kinds import Kind
from appliance.errors import ApplianceError, BadInput, Forbidden, NotAuthenticated, TooManyRequests
from appliance.http.api.callers import (
    address_of,
    agent_of,
    end_session,
    login_cookies,
    person_of,
    record,
)
from appliance.http.api.state import CoreState
from appliance.people.names import clean_address, clean_name
from appliance.people.store import Login, Person
from appliance.surface import Answer, Call, Head, Surface

ANYONE = frozenset(Kind)
BODY_BYTES = 16_384
FORGOTTEN = "If an account exists for that address, a password reset is up to an admin of this appliance."


def render(error: ApplianceError, head: Head) -> Answer:
    """Render a failure so that the error readers of both front ends understand it."""
    model: dict[str, Any] = {
        "ok": False,
        "success": False,
        "error": error.message,
        "message": error.message,
        "hint": error.hint,
        "field": error.field,
    }
    return Answer(model=model, status=error.status, headers=error.headers)


api = Surface("core", prefixes=("/api/auth",), errors=render, slash="both", cors=True)


@frozen(kw_only=True)
class Credentials:
    """Who wants in; a front end sends ``email`` or ``username``, and ``name`` when it registers."""

    password: str | None = None
    username: str | None = None
    email: str | None = None
    name: str | None = None


class User(Struct, frozen=True, kw_only=True):
    """The person who is logged in."""

    username: str
    email: str
    name: str
    role: str
    visit_count: int
    created_at: float
    """Seconds since the epoch."""


class LoggedIn(Struct, frozen=True, kw_only=True):
    """A person and how often they have been here."""

    ok: bool = True
    success: bool = True
    message: str
    visit_count: int
    user: User


class Said(Struct, frozen=True, kw_only=True):
    """That it worked, in words."""

    ok: bool = True
    success: bool = True
    message: str


@api.post(
    "/api/auth/login",
    caller=ANYONE,
    access="public",
    body=Credentials,
    answer=LoggedIn,
    audit=False,
    limit_bytes=BODY_BYTES,
)
async def login(call: Call[Credentials]) -> Answer:
    """Check a password and open a session; an older session of this browser ends."""
    state: CoreState = call.state
    body = call.body
    by_username = body.username is not None
    name = (body.username or body.email or "").strip()
    if not name or not body.password:
        raise BadInput("Username and password are required." if by_username else "Email and password are required.")
    replaces = call.caller.credential_id if call.caller.kind is Kind.SESSION else ""
    try:
        opened = await state.people.log_in(
            name, body.password, address=address_of(call), agent=agent_of(call), replaces=replaces
        )
    except NotAuthenticated:
        untold = state.people.failures.tell(now_unix_us=state.now())
        if untold is not None:
            detail = {"not_recorded_before": untold} if untold else None
            await record(call, "person.login_failed", object=name[:128], detail=detail)
        words = "Invalid username or password." if by_username else "Invalid email or password."
        raise NotAuthenticated(words) from None
    except TooManyRequests as refused:
        raise TooManyRequests(refused.message, retry_after_seconds=refused.retry_after_seconds) from None
    await record(call, "person.login", object=opened.person.name, person=opened.person)
    return _welcome(call, opened, "Login successful")


@api.post(
    "/api/auth/register",
    caller=ANYONE,
    access="public",
    body=Credentials,
    answer=LoggedIn,
    status=201,
    audit=False,
    limit_bytes=BODY_BYTES,
)
async def register(call: Call[Credentials]) -> Answer:
    """Add oneself as viewer, where ``[people] self_registration`` allows it."""
    state: CoreState = call.state
    if not state.self_registration():
        raise Forbidden(
            "Registration is restricted to authorized accounts.", hint="ask an admin of this appliance for an account"
        )
    body = call.body
    name = clean_name(body.username or body.name or body.email or "", field="$.username")
    address = clean_address(body.email) if body.email else ""
    opened = await state.people.register(name, body.password or "", address=address, agent=agent_of(call))
    await record(call, "person.register", object=opened.person.name, person=opened.person)
    return _welcome(call, opened, "Registration successful", status=201)


@api.post("/api/auth/logout", caller=ANYONE, access="public", answer=Said, audit=False, limit_bytes=BODY_BYTES)
async def logout(call: Call[None]) -> Answer:
    """End this browser's session; without one there is nothing to end, and that is no error."""
    state: CoreState = call.state
    cookies = await end_session(state.credentials, state.audit, state.access.cookies, call)
    return Answer(model=Said(message="Logged out"), cookies=cookies)


@api.get("/api/auth/me", caller=ANYONE, access="public", answer=LoggedIn)
async def me(call: Call[None]) -> Answer:
    """Say who is logged in; 401 for nobody."""
    person = person_of(call)
    return Answer(model=_shown(person, "Authenticated"), headers=(("Cache-Control", "no-store"),))


@api.post(
    "/api/auth/forgot-password",
    caller=ANYONE,
    access="public",
    body=Credentials,
    answer=Said,
    audit=False,
    limit_bytes=BODY_BYTES,
)
async def forgot_password(call: Call[Credentials]) -> Said:
    """Answer one text, whoever is named: this appliance sends no mail, an admin gives out reset links."""
    return Said(message=FORGOTTEN)


def _welcome(call: Call[Any], opened: Login, message: str, status: int | None = None) -> Answer:
    return Answer(model=_shown(opened.person, message), status=status, cookies=login_cookies(call, opened))


def _shown(person: Person, message: str) -> LoggedIn:
    user = User(
        username=person.name,
        email=person.address,
        name=person.name,
        role=person.role.word,
        visit_count=person.visit_count,
        created_at=to_unix_s(person.created_unix_us),
    )
    return LoggedIn(message=message, visit_count=person.visit_count, user=user)
