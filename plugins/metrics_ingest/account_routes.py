"""Enrolment of agents, registration by people, and the plain links of the clients' pages."""

import hashlib
import re
import shlex
from typing import Any, Final
from urllib.parse import urlencode

from attrs import frozen

from appliance.plugin import (
    PERSON,
    RAW,
    Answer,
    BadInput,
    Call,
    Forbidden,
    Kind,
    NotAuthenticated,
    Redirect,
    Role,
    Surface,
    TooManyRequests,
)

from . import wire
from .decode import read_object
from .models import Server
from .slugs import ENROLLED_LIMIT, numbered, slugify, user_shown
from .state import State

ANYONE: Final = frozenset(Kind)
BODY_BYTES: Final = 65_536
NAME_CHARACTERS: Final = 128
HOSTNAME_CHARACTERS: Final = 255
_MACHINE_ID: Final = re.compile(r"[a-zA-Z0-9-]{1,128}")


def declare(api: Surface) -> None:
    """Declare the endpoints on the documented surface."""
    api.post(
        "/api/agent/enroll",
        caller=ANYONE,
        access="public",
        body=RAW,
        limit_bytes=BODY_BYTES,
        audit=False,
    )(enroll)
    api.post("/api/servers/register", caller=PERSON, role=Role.USER, body=RAW, status=201, limit_bytes=BODY_BYTES)(
        register
    )
    api.get("/accounts/google/login", caller=ANYONE, access="public")(login_page)
    api.get("/accounts/logout", caller=ANYONE, access="public")(logout)


@frozen(kw_only=True)
class Enrolment:
    """What an agent says when it enrols."""

    username: str
    password: str
    machine_id: str
    hostname: str
    agent_user: str
    platform: str


async def enroll(call: Call[bytes]) -> Answer:
    """Make this machine a server of the person whose name and password it gives; its token is made anew each time."""
    state: State = call.state
    _limit(call, state.enrolments)
    said = _enrolment(read_object(call.body))
    try:
        person = await state.core.people.check(said.username, said.password, address=_address(call))
    except NotAuthenticated:
        await _record(call, "server.enrol_failed", said.username[:128])
        raise wire.Described(401, "Invalid credentials.") from None
    if person.role < Role.USER:
        raise Forbidden("Account not in allowlist.", hint="an account of role user or more enrols machines")
    base = slugify(said.hostname, ENROLLED_LIMIT) or "server"

    def may_take(server: Server) -> None:
        if server.owner != person.person_id and person.role < Role.OPERATOR:
            raise Forbidden("Account not in allowlist.", hint="this machine was enrolled by somebody else")

    server, token = await state.servers.enrol(
        machine_sha256=hashlib.sha256(said.machine_id.encode()).digest(),
        slugs=lambda attempt: numbered(base, attempt),
        name=said.hostname[:NAME_CHARACTERS],
        hostname=said.hostname[:HOSTNAME_CHARACTERS],
        agent_user=user_shown(said.agent_user),
        platform=said.platform,
        owner=person.person_id,
        may_take=may_take,
    )
    await _record(call, "server.enrolled", server.slug, who=(person.person_id, person.name))
    answer = {"ok": True, "server_slug": server.slug, "ingest_token": token}
    return Answer(model=answer | {"server": state.server_row(server, counted=False)})


def _enrolment(body: dict[str, Any]) -> Enrolment:
    username, password = _text(body, "username").strip(), _text(body, "password")
    if not username or not password:
        raise BadInput("username and password are required.", field="username")
    machine_id, hostname = _text(body, "machine_id").strip(), _text(body, "hostname").strip()
    if not machine_id:
        raise BadInput("machine_id is required.", field="machine_id")
    if not hostname:
        raise BadInput("hostname is required.", field="hostname")
    if _MACHINE_ID.fullmatch(machine_id) is None:
        raise BadInput("Invalid machine_id format.", field="machine_id")
    return Enrolment(
        username=username,
        password=password,
        machine_id=machine_id,
        hostname=hostname,
        agent_user=_text(body, "agent_user"),
        platform=_text(body, "platform")[:HOSTNAME_CHARACTERS],
    )


async def register(call: Call[bytes]) -> Answer:
    """Register a server by its name; its token is shown in this answer only."""
    state: State = call.state
    _limit(call, state.registrations)
    body = read_object(call.body)
    name, wanted = _text(body, "name").strip(), _text(body, "slug").strip()
    if not name and not wanted:
        raise BadInput("Name is required.", field="name")
    slug = slugify(wanted or name)
    if not slug:
        raise BadInput("Slug could not be derived from name.", field="slug" if wanted else "name")
    server, token = await state.servers.register(
        slug=slug,
        name=(name or slug)[:NAME_CHARACTERS],
        description=_text(body, "description"),
        hostname=_text(body, "hostname")[:HOSTNAME_CHARACTERS],
        owner=owner_of(call),
    )
    answer = {"ok": True, "server": state.server_row(server, counted=False), "ingest_token": token}
    return Answer(model=answer | {"agent_command": agent_command(state, server, token)})


def agent_command(state: State, server: Server, token: str) -> str:
    """Return the shell line that starts the agent for a server."""
    host, slug = shlex.quote(state.core.public_url()), shlex.quote(server.slug)
    # The clients' server always quotes the token, and people search for that.
    return f"ai-dashboard-agent --host {host} --server-slug {slug} --token '{token}' --interval 2"


async def login_page(call: Call[None]) -> Redirect:
    """Lead to our login page: there is no other way in than this appliance's own accounts."""
    return Redirect(location=_with_next("/login", wire.query(call.head).get("next", "")))


async def logout(call: Call[None]) -> Answer:
    """End the session and lead to the login page; a link on a foreign page ends nothing."""
    state: State = call.state
    if call.head.header(b"sec-fetch-site") in {"cross-site", "same-site"}:
        raise Forbidden("another site's page may not log you out", hint="open this address yourself")
    cookies = await state.core.end_session(call)
    target = wire.query(call.head).get("next", "")
    return Answer(status=302, headers=(("Location", target if is_own_path(target) else "/login"),), cookies=cookies)


def is_own_path(target: str) -> bool:
    """Whether a target is a path of ours: browsers read ``//host`` and ``/\\host`` as other hosts."""
    return (
        target.startswith("/")
        and not target.startswith(("//", "/\\"))
        and target.isascii()
        and target.isprintable()
        and len(target) <= 2048
    )


def _with_next(page: str, target: str) -> str:
    return f"{page}?{urlencode({'next': target})}" if is_own_path(target) else page


def owner_of(call: Call[Any]) -> str:
    """Return the id of the person who calls; empty for callers that are no person."""
    return call.caller.subject if call.caller.kind in (Kind.SESSION, Kind.PAT) else ""


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadInput(f"{name} must be a text.", field=name, hint="send a JSON string")
    return "".join(character for character in value if character.isprintable())


def _limit(call: Call[Any], rate: Any) -> None:
    wait_seconds = rate.take(_address(call), now_unix_us=call.state.core.now())
    if wait_seconds > 0:
        raise TooManyRequests("too many", retry_after_seconds=wait_seconds)


def _address(call: Call[Any]) -> str:
    return call.head.peer[0] if call.head.peer is not None else "local"


async def _record(call: Call[Any], action: str, object: str, *, who: tuple[str, str] = ("", "")) -> None:
    await call.state.core.audit.record(
        action,
        who_kind=call.caller.kind.value,
        who_subject=who[0],
        who_name=who[1],
        object=object,
        request_id=call.request_id,
        address=_address(call),
    )
