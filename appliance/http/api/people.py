"""People over our own API, the first admin's setup, and new passwords by one-time links.

``/api/appliance/users`` needs an admin. ``POST .../setup`` and ``POST .../reset`` are for whoever holds a link: they
take its secret from the body (the link has it in its fragment, which no server sees) and open a session.
"""

from typing import Any

from attrs import field, frozen
from attrs.validators import and_, ge, le, max_len
from msgspec import Struct

from appliance.clock import to_unix_s
from appliance.credentials.kinds import PERSON, Kind, Role
from appliance.http.api.callers import address_of, agent_of, login_cookies, person_of, record
from appliance.http.api.state import CoreState
from appliance.people.names import login_key
from appliance.people.roles import parse_role, require_no_scopes
from appliance.people.store import Login, Person
from appliance.surface import Answer, Call, Surface

ANYONE = frozenset(Kind)
BODY_BYTES = 16_384
PREFIXES = (
    "/api/appliance/users",
    "/api/appliance/setup",
    "/api/appliance/setup-link",
    "/api/appliance/reset",
    "/api/appliance/password",
)
SETUP_PAGE = "/setup#t="
RESET_PAGE = "/ui/reset#t="

api = Surface("core", prefixes=PREFIXES, unknown_fields="refuse")


class UserItem(Struct, frozen=True, kw_only=True):
    """One person as the API shows them."""

    id: str
    name: str
    email: str
    role: str
    visit_count: int
    created_unix_s: float
    last_login_unix_s: float | None


class UserPage(Struct, frozen=True, kw_only=True):
    """A page of people in order of their names."""

    items: list[UserItem]
    next: str | None = None


@frozen(kw_only=True)
class UserQuery:
    """Which page."""

    limit: int = field(default=100, validator=and_(ge(1), le(1000)))
    after: str = field(default="", validator=max_len(1024))
    """``next`` of the page before."""


@frozen(kw_only=True)
class NewUser:
    """A person to add; without a password they cannot log in until a reset link is used."""

    name: str
    role: str = "user"
    password: str | None = None
    email: str = ""


@frozen(kw_only=True)
class RoleChange:
    """Another role."""

    role: str


@frozen(kw_only=True)
class ResetRequest:
    """A new password, or none to get a one-time link."""

    password: str | None = None


@frozen(kw_only=True)
class OwnPassword:
    """A person's old and new password."""

    old_password: str
    new_password: str


class Link(Struct, frozen=True, kw_only=True):
    """A one-time link, shown once."""

    url: str
    expires_unix_s: float | None = None
    name: str = ""


@frozen(kw_only=True)
class Setup:
    """The first admin, and the secret from the setup link."""

    token: str
    name: str
    password: str
    email: str = ""


@frozen(kw_only=True)
class NewPassword:
    """A new password, and the secret from the reset link."""

    token: str
    password: str


class Entered(Struct, frozen=True, kw_only=True):
    """Who is logged in now."""

    user: UserItem


@api.get("/api/appliance/users", caller=PERSON, role=Role.ADMIN, query=UserQuery, answer=UserPage)
async def users(call: Call[None]) -> UserPage:
    """List people."""
    state: CoreState = call.state
    after = call.query.after
    found = [person for person in state.people.everyone() if _place(person) > after]
    page = found[: call.query.limit]
    return UserPage(items=[_item(person) for person in page], next=_place(page[-1]) if len(found) > len(page) else None)


@api.post(
    "/api/appliance/users",
    caller=PERSON,
    role=Role.ADMIN,
    body=NewUser,
    answer=UserItem,
    status=201,
    audit=False,
    limit_bytes=BODY_BYTES,
)
async def add_user(call: Call[NewUser]) -> UserItem:
    """Add a person."""
    state: CoreState = call.state
    require_no_scopes(call.caller)
    body = call.body
    person = await state.people.add(body.name, role=parse_role(body.role), password=body.password, address=body.email)
    await record(call, "person.add", object=person.name, detail={"role": person.role.word})
    return _item(person)


@api.patch("/api/appliance/users/{name}", caller=PERSON, role=Role.ADMIN, body=RoleChange, answer=UserItem, audit=False)
async def change_user(call: Call[RoleChange]) -> UserItem:
    """Give a person another role."""
    state: CoreState = call.state
    require_no_scopes(call.caller)
    before = state.people.named(call.path["name"])
    person = await state.people.set_role(before.person_id, parse_role(call.body.role))
    detail = {"role": person.role.word, "before": before.role.word}
    await record(call, "person.role", object=person.name, detail=detail)
    return _item(person)


@api.delete("/api/appliance/users/{name}", caller=PERSON, role=Role.ADMIN, answer=UserItem, audit=False)
async def remove_user(call: Call[None]) -> UserItem:
    """Remove a person with all sessions and tokens; the last admin stays."""
    state: CoreState = call.state
    person = await state.people.remove(state.people.named(call.path["name"]).person_id)
    await record(call, "person.remove", object=person.name)
    return _item(person)


@api.post(
    "/api/appliance/users/{name}/reset",
    caller=PERSON,
    role=Role.ADMIN,
    body=ResetRequest,
    answer=Link,
    audit=False,
    limit_bytes=BODY_BYTES,
)
async def reset_user(call: Call[ResetRequest]) -> Link:
    """End a person's sessions, and set a password or mint a one-time link to set one (``url`` is then not empty)."""
    state: CoreState = call.state
    require_no_scopes(call.caller)
    person = state.people.named(call.path["name"])
    if call.body.password is not None:
        await state.people.set_password(person.person_id, call.body.password)
        await record(call, "person.reset", object=person.name, detail={"by": "password"})
        return Link(url="", name=person.name)
    minted = await state.people.reset_link(person.person_id)
    await record(call, "person.reset", object=person.name, detail={"by": "link"})
    expires = minted.credential.expires_unix_us
    return Link(
        url=state.public_url() + RESET_PAGE + minted.secret,
        expires_unix_s=to_unix_s(expires) if expires is not None else None,
        name=person.name,
    )


@api.post("/api/appliance/password", caller=frozenset({Kind.SESSION}), body=OwnPassword, audit=False)
async def change_password(call: Call[OwnPassword]) -> Answer:
    """Change one's own password; every other session of oneself ends."""
    state: CoreState = call.state
    person = person_of(call)
    opened = await state.people.log_in(
        person.name,
        call.body.old_password,
        address=address_of(call),
        agent=agent_of(call),
        replaces=call.caller.credential_id,
    )
    keep = opened.session.credential.credential_id
    await state.people.set_password(person.person_id, call.body.new_password, keep_session=keep)
    await record(call, "person.password", object=person.name)
    return Answer(model=Entered(user=_item(opened.person)), cookies=login_cookies(call, opened))


@api.post("/api/appliance/setup-link", caller=PERSON, role=Role.ADMIN, answer=Link, audit=False)
async def setup_link(call: Call[None]) -> Link:
    """Mint a one-time link that makes the first admin; 409 once there is one."""
    state: CoreState = call.state
    require_no_scopes(call.caller)
    minted = await state.people.setup_link()
    await record(call, "setup.link")
    return Link(url=state.public_url() + SETUP_PAGE + minted.secret)


@api.post(
    "/api/appliance/setup",
    caller=ANYONE,
    access="public",
    body=Setup,
    answer=Entered,
    audit=False,
    limit_bytes=BODY_BYTES,
)
async def setup(call: Call[Setup]) -> Answer:
    """Make the first admin with the secret of a setup link, and log them in."""
    state: CoreState = call.state
    body = call.body
    entered = await state.people.set_up(body.token, body.name, body.password, address=body.email, agent=agent_of(call))
    await record(call, "setup.done", object=entered.person.name, person=entered.person)
    return _entered(call, entered)


@api.post(
    "/api/appliance/reset",
    caller=ANYONE,
    access="public",
    body=NewPassword,
    answer=Entered,
    audit=False,
    limit_bytes=BODY_BYTES,
)
async def reset(call: Call[NewPassword]) -> Answer:
    """Set a new password with the secret of a reset link, and log the person in."""
    state: CoreState = call.state
    entered = await state.people.reset(call.body.token, call.body.password, agent=agent_of(call))
    await record(call, "person.password", object=entered.person.name, person=entered.person)
    return _entered(call, entered)


def _entered(call: Call[Any], entered: Login) -> Answer:
    return Answer(model=Entered(user=_item(entered.person)), cookies=login_cookies(call, entered))


def _item(person: Person) -> UserItem:
    last = person.last_login_unix_us
    return UserItem(
        id=person.person_id,
        name=person.name,
        email=person.address,
        role=person.role.word,
        visit_count=person.visit_count,
        created_unix_s=to_unix_s(person.created_unix_us),
        last_login_unix_s=None if last is None else to_unix_s(last),
    )


def _place(person: Person) -> str:
    """Return where a person stands in the list: what ``after`` is compared with."""
    return login_key(person.name)
