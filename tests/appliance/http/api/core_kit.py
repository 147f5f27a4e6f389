"""Core's people endpoints behind the real edge pipeline, asked without a socket."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, cast

from argon2 import PasswordHasher
from attrs import define, field, frozen

from appliance import audit
from appliance.audit import Audit
from appliance.credentials import store as credential_store
from appliance.credentials.kinds import Kind, Role
from appliance.credentials.rules import US
from appliance.credentials.store import Credentials
from appliance.database import Database
from appliance.http.api import audit as audit_api
from appliance.http.api import auth as auth_api
from appliance.http.api import people as people_api
from appliance.http.api import tokens as tokens_api
from appliance.http.api.state import CoreState
from appliance.http.auth import Access, ListenerRules
from appliance.http.pipeline import Edge
from appliance.http.routing import Table
from appliance.people import store as people_store
from appliance.people.passwords import Passwords
from appliance.people.sessions import CookieNames
from appliance.people.store import People
from appliance.surface import Head

START = 1_795_000_000 * US
GOOD = "correct horse battery"
OWN_UID = 1000
TABLES = {
    audit.OWNER: audit.MIGRATIONS,
    credential_store.OWNER: credential_store.MIGRATIONS,
    people_store.OWNER: people_store.MIGRATIONS,
}


@define
class Clock:
    unix_us: int = START

    def __call__(self) -> int:
        return self.unix_us


@frozen
class Got:
    """One answer."""

    status: int
    body: Any
    headers: list[tuple[str, str]]

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that it sets."""
        jar: SimpleCookie = SimpleCookie()
        for name, value in self.headers:
            if name == "set-cookie":
                jar.load(value)
        return {name: morsel.value for name, morsel in jar.items()}


@define
class Client:
    """Asks as one browser or program: it keeps its cookies."""

    kit: "Kit"
    listener: str = "wide"
    peer: tuple[str, int] | None = ("10.0.0.1", 50000)
    headers: list[tuple[str, str]] = field(factory=list)
    cookies: dict[str, str] = field(factory=dict)

    async def ask(self, method: str, path: str, body: Any = None, headers: Sequence[tuple[str, str]] = ()) -> Got:
        """Send one request."""
        plain, _, query = path.partition("?")
        sent = [("host", "gpu-box.lan"), *self.headers, *headers]
        if self.cookies:
            sent.append(("cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items())))
        match = self.kit.table.match(method, plain.encode())
        head = Head(
            method=method,
            path=plain,
            raw_query=query.encode(),
            headers=[(name.encode(), value.encode()) for name, value in sent],
            peer=self.peer,
            local=("10.0.0.2", 8080) if self.peer else "/run/control.sock",
            listener=self.listener,
            scheme="http",
            path_values=match.values,
            peer_uid=None if self.peer else OWN_UID,
        )
        exchange = self.kit.edge.open(match, head)
        payload = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        reply = await self.kit.edge.answer(exchange, payload)
        named = [(name.decode().lower(), value.decode()) for name, value in reply.headers]
        content = bytes(reply.body)
        got = Got(reply.status, json.loads(content) if content else None, named)
        for name, value in got.cookies.items():
            if value:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        return got


@define
class Kit:
    """The endpoints, their state, and the means to ask them."""

    state: CoreState
    edge: Edge
    table: Table
    clock: Clock
    registration: list[bool]

    def browser(self, **how: Any) -> Client:
        """Return somebody from afar without any credential."""
        return Client(self, **how)

    def control(self) -> Client:
        """Return the command line on the control socket."""
        return Client(self, listener="control", peer=None)

    async def logged_in(self, name: str, role: Role) -> Client:
        """Add a person and return their browser."""
        await self.state.people.add(name, role=role, password=GOOD)
        client = self.browser()
        got = await client.ask("POST", "/api/auth/login", {"username": name, "password": GOOD})
        assert got.status == 200, got
        return client

    async def bearer(self, name: str, *scopes: str) -> Client:
        """Return a program with a personal access token of ``name``."""
        person = self.state.people.named(name)
        made = await self.state.credentials.create(Kind.PAT, subject=person.person_id, scopes=frozenset(scopes))
        return self.browser(headers=[("authorization", f"Bearer {made.secret}")])

    async def actions(self) -> list[str]:
        """Return what the audit log has, oldest first."""
        return [entry.action for entry in await self.state.audit.newest(1000)]


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Kit]:
    """Open a database in ``folder`` and put the endpoints on it."""
    clock = Clock()
    async with Database.open(folder / "a.db", inline=True, migrations=TABLES) as database:
        credentials = await Credentials.load(database, now=clock)
        cheap = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1), inline=True)
        people = await People.load(database, credentials, now=clock, passwords=cheap)
        (folder / "keys").mkdir(mode=0o700)
        access = Access(
            credentials=credentials,
            people=people,
            cookies=CookieNames("i1"),
            listeners={"wide": ListenerRules(), "control": ListenerRules(control=True)},
            own_uid=OWN_UID,
            now=clock,
        )
        registration = [False]
        unused = cast("Any", None)  # these endpoints read no devices and no history
        state = CoreState(
            database=database,
            events=unused,
            series=unused,
            inventory=unused,
            ledger=unused,
            credentials=credentials,
            people=people,
            audit=Audit(database, folder / "keys", clock),
            licenses=unused,
            access=access,
            host_id="h",
            public_url=lambda: "http://gpu-box.lan:8080",
            now=clock,
            self_registration=lambda: registration[0],
        )
        edge = Edge(authenticate=access.authenticate, still_valid=access.still_valid)
        surfaces = [module.api.bind(state) for module in (auth_api, people_api, tokens_api, audit_api)]
        yield Kit(state, edge, edge.table(surfaces), clock, registration)
