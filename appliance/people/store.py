"""The people of this appliance: who they are, what role they have, and how they prove it.

All people are in memory too (they are few and every request asks); the copy follows each commit before the caller of
the write resumes, so a role that was taken away is gone at the next request.
"""

import sqlite3
from typing import Any

from attrs import define, evolve, field

from appliance import ids
from appliance.clock import Now
from appliance.credentials import store as credential_rows
from appliance.credentials.kinds import Kind, Role
from appliance.credentials.rules import Credential, Minted, mint
from appliance.credentials.store import Credentials
from appliance.database import Database
from appliance.errors import BadInput, Conflict, NotAuthenticated, NotFound, TooManyRequests
from appliance.people import rows
from appliance.people.failures import FailedLogins
from appliance.people.names import PASSWORD_MAX_CHARACTERS, clean_address, clean_name, clean_password, login_key
from appliance.people.passwords import Passwords
from appliance.people.rows import MIGRATIONS, OWNER, Login, Person
from appliance.people.throttle import Throttle

__all__ = ["MIGRATIONS", "OWNER", "Login", "People", "Person"]

AGENT_CHARACTERS = 200
SESSIONS_MAX = 100
"""Logins of one person at a time; one more ends the oldest, so a program that logs in for ever fills nothing."""


@define(eq=False)
class People:
    """Every person; made by `load`."""

    database: Database
    credentials: Credentials
    now: Now
    passwords: Passwords = field(factory=Passwords)
    throttle: Throttle = field(factory=Throttle)
    failures: FailedLogins = field(factory=FailedLogins)
    _people: dict[str, Person] = field(factory=dict, init=False)
    _keys: dict[str, str] = field(factory=dict, init=False)

    @classmethod
    async def load(
        cls, database: Database, credentials: Credentials, *, now: Now, passwords: Passwords | None = None
    ) -> "People":
        """Read everyone from a migrated database."""
        people = cls(database, credentials, now, passwords or Passwords())
        for row in await database.read(lambda connection: connection.execute(rows.ALL).fetchall()):
            people._keep(
                Person(
                    person_id=row[0],
                    name=row[1],
                    address=row[2],
                    role=Role[row[3].upper()],
                    visit_count=row[4],
                    created_unix_us=row[5],
                    last_login_unix_us=row[6],
                )
            )
        return people

    def get(self, person_id: str) -> Person | None:
        """Return the person with this id."""
        return self._people.get(person_id)

    def find(self, name: str) -> Person | None:
        """Return the person whose name or address this is, in any case."""
        return self._people.get(self._keys.get(login_key(name), ""))

    def named(self, name: str) -> Person:
        """Return the person whose name, address or id this is; raises `NotFound`."""
        person = self.find(name) or self.get(name)
        if person is None:
            raise NotFound("person", name[:128], hint="`appliance user list` shows everyone")
        return person

    def everyone(self) -> list[Person]:
        """Return all people in order of their names."""
        return sorted(self._people.values(), key=lambda person: (login_key(person.name), person.person_id))

    def has_admin(self) -> bool:
        """Whether anybody can administer this appliance; until then a setup link is valid."""
        return any(person.role is Role.ADMIN for person in self._people.values())

    async def add(self, name: str, *, role: Role, password: str | None, address: str = "") -> Person:
        """Add a person; without a password they cannot log in until a reset link is used.

        Raises `BadInput`, or `Conflict` when the name or address is anybody's name or address.
        """
        person = self._new(name, role=role, address=address)
        hashed = None if password is None else await self.passwords.hash(clean_password(password))

        def write(connection: sqlite3.Connection) -> list[str]:
            rows.insert(connection, person, hashed)
            return rows.end_setup(connection, now_unix_us=self.now()) if role is Role.ADMIN else []

        def follow(ended: list[str]) -> None:
            self._keep(person)
            self.credentials.forget(ended)

        await self.database.write(write, on_commit=follow)
        return person

    async def set_role(self, person_id: str, role: Role) -> Person:
        """Give a person another role; raises `Conflict` for the last admin."""
        person = self._known(person_id)

        def write(connection: sqlite3.Connection) -> list[str]:
            if role is not Role.ADMIN:
                rows.keep_an_admin(connection, person)
            if connection.execute(rows.SET_ROLE, {"id": person_id, "role": role.word}).rowcount != 1:
                raise NotFound("person", person.name)
            return rows.end_setup(connection, now_unix_us=self.now()) if role is Role.ADMIN else []

        def follow(ended: list[str]) -> None:
            self._change(person_id, role=role)
            self.credentials.forget(ended)

        await self.database.write(write, on_commit=follow)
        return self._known(person_id)

    async def remove(self, person_id: str) -> Person:
        """Remove a person and end their sessions and tokens; raises `Conflict` for the last admin."""
        person, now = self._known(person_id), self.now()

        def write(connection: sqlite3.Connection) -> list[str]:
            rows.keep_an_admin(connection, person)
            if connection.execute(rows.DELETE, {"id": person_id}).rowcount != 1:
                raise NotFound("person", person.name)
            return credential_rows.revoke_of(connection, now_unix_us=now, subject=person_id)

        def follow(ended: list[str]) -> None:
            self._drop(person_id)
            self.credentials.forget(ended)

        await self.database.write(write, on_commit=follow)
        return person

    async def set_password(self, person_id: str, password: str, *, keep_session: str | None = None) -> None:
        """Set a password and end the person's sessions (but for ``keep_session``) and reset links."""
        person, now = self._known(person_id), self.now()
        hashed = await self.passwords.hash(clean_password(password))

        def write(connection: sqlite3.Connection) -> list[str]:
            if connection.execute(rows.SET_HASH, {"id": person_id, "hash": hashed}).rowcount != 1:
                raise NotFound("person", person.name)
            return rows.end_logins(connection, person_id, now_unix_us=now, keep=keep_session)

        await self.database.write(write, on_commit=self.credentials.forget)

    async def log_in(self, name: str, password: str, *, address: str, agent: str = "", replaces: str = "") -> Login:
        """Check a password and open a session; ``replaces`` is the id of the session that it takes the place of.

        Raises as `check` does.

        :param address: where the request came from, for throttling.
        :param agent: what the browser calls itself, for the list of sessions.
        """
        person, stored = await self._checked(name, password, address=address)
        login = await self._visit(person, stored, agent=agent, replaces=replaces)
        self.throttle.succeeded(login_key(name), address)
        await self._strengthen(person.person_id, stored, password)
        return login

    async def check(self, name: str, password: str, *, address: str) -> Person:
        """Return whose name and password these are, without opening a session: for programs that enrol themselves.

        Raises `NotAuthenticated` with the same words and after the same work whether the name or the password is
        wrong, `TooManyRequests` after five wrong tries, and `Busy`.
        """
        person, _ = await self._checked(name, password, address=address)
        self.throttle.succeeded(login_key(name), address)
        return person

    async def _checked(self, name: str, password: str, *, address: str) -> tuple[Person, str]:
        key, now = login_key(name), self.now()
        wait_seconds = self.throttle.attempt(key, address, now_unix_us=now)
        if wait_seconds > 0:
            raise TooManyRequests("Too many wrong tries; wait a little.", retry_after_seconds=wait_seconds)
        person = self.find(name)
        row = self.database.read_now(
            lambda connection: connection.execute(rows.HASH, {"id": person.person_id if person else ""}).fetchone()
        )
        stored: str | None = row[0] if row is not None else None
        right = len(password) <= PASSWORD_MAX_CHARACTERS and await self.passwords.matches(stored, _typed(password))
        if person is None or stored is None or not right:
            raise NotAuthenticated("Invalid username or password.")
        return person, stored

    async def register(self, name: str, password: str, *, address: str = "", agent: str = "") -> Login:
        """Add a person who registers by themselves, as viewer, and log them in."""
        person = await self.add(name, role=Role.VIEWER, password=password, address=address)
        session = await self.credentials.create(Kind.SESSION, subject=person.person_id, label=agent[:AGENT_CHARACTERS])
        return Login(person=person, session=session)

    async def setup_link(self) -> Minted:
        """Mint a one-time setup secret; raises `Conflict` once there is an admin."""
        if self.has_admin():
            raise Conflict("this appliance has an admin already", hint="`appliance user reset NAME` lets one in again")
        return await self.credentials.create(Kind.SETUP)

    async def set_up(self, secret: str, name: str, password: str, *, address: str = "", agent: str = "") -> Login:
        """Make the first admin with a setup secret and log them in; every setup secret ends with it.

        Raises `NotAuthenticated` for a wrong secret, `Conflict` once there is an admin, `BadInput`.
        """
        self._check_once(secret, Kind.SETUP)
        person = self._new(name, role=Role.ADMIN, address=address)
        hashed = await self.passwords.hash(clean_password(password))
        now = self.now()
        session = mint(Kind.SESSION, now_unix_us=now, subject=person.person_id, label=agent[:AGENT_CHARACTERS])

        def write(connection: sqlite3.Connection) -> list[str]:
            if connection.execute(rows.ADMINS).fetchone()[0]:
                raise Conflict("this appliance has an admin already", hint="log in")
            rows.consume(connection, secret, Kind.SETUP, now_unix_us=now)
            rows.insert(connection, person, hashed)
            credential_rows.insert(connection, session)
            return rows.end_setup(connection, now_unix_us=self.now())

        def follow(ended: list[str]) -> None:
            self._keep(person)
            self.credentials.forget(ended)
            self.credentials.remember(session)

        await self.database.write(write, on_commit=follow)
        return Login(person=person, session=session)

    async def reset_link(self, person_id: str) -> Minted:
        """Mint a one-time secret with which the person sets a new password, and end all their sessions now."""
        person, now = self._known(person_id), self.now()
        minted = mint(Kind.RESET, now_unix_us=now, subject=person.person_id)

        def write(connection: sqlite3.Connection) -> list[str]:
            ended = rows.end_logins(connection, person_id, now_unix_us=now)
            credential_rows.insert(connection, minted)
            return ended

        def follow(ended: list[str]) -> None:
            self.credentials.forget(ended)
            self.credentials.remember(minted)

        await self.database.write(write, on_commit=follow)
        return minted

    async def reset(self, secret: str, password: str, *, agent: str = "") -> Login:
        """Set a new password with a reset secret and log the person in; raises `NotAuthenticated`, `BadInput`."""
        person = self.get(self._check_once(secret, Kind.RESET).subject)
        if person is None:
            raise NotAuthenticated("this link is for somebody who is gone")
        hashed = await self.passwords.hash(clean_password(password))
        now = self.now()
        session = mint(Kind.SESSION, now_unix_us=now, subject=person.person_id, label=agent[:AGENT_CHARACTERS])

        def write(connection: sqlite3.Connection) -> list[str]:
            used = rows.consume(connection, secret, Kind.RESET, now_unix_us=now)
            if connection.execute(rows.SET_HASH, {"id": person.person_id, "hash": hashed}).rowcount != 1:
                raise NotAuthenticated("this link is for somebody who is gone")
            ended = rows.end_logins(connection, person.person_id, now_unix_us=now)
            credential_rows.insert(connection, session)
            return [used.credential_id, *ended]

        def follow(ended: list[str]) -> None:
            self.credentials.forget(ended)
            self.credentials.remember(session)

        await self.database.write(write, on_commit=follow)
        return Login(person=person, session=session)

    async def _visit(self, person: Person, stored: str, *, agent: str, replaces: str) -> Login:
        """Count a login and store its session, unless the password was changed meanwhile."""
        now = self.now()
        session = mint(Kind.SESSION, now_unix_us=now, subject=person.person_id, label=agent[:AGENT_CHARACTERS])

        def write(connection: sqlite3.Connection) -> tuple[int, list[str]]:
            values = {"id": person.person_id, "now": now, "hash": stored}
            row = connection.execute(rows.VISIT, values).fetchone()
            if row is None:
                raise NotAuthenticated("Invalid username or password.")
            credential_rows.insert(connection, session)
            if replaces:
                credential_rows.revoke(connection, replaces, now_unix_us=now)
            ended = credential_rows.end_oldest(
                connection, now_unix_us=now, subject=person.person_id, kind=Kind.SESSION, keep=SESSIONS_MAX
            )
            return int(row[0]), [replaces, *ended]

        def follow(done: tuple[int, list[str]]) -> None:
            visit_count, ended = done
            self._change(person.person_id, visit_count=visit_count, last_login_unix_us=now)
            self.credentials.forget(ended)
            self.credentials.remember(session)

        await self.database.write(write, on_commit=follow)
        return Login(person=self._people.get(person.person_id, person), session=session)

    async def _strengthen(self, person_id: str, stored: str, password: str) -> None:
        if self.passwords.needs_rehash(stored):
            values = {"id": person_id, "old": stored, "hash": await self.passwords.hash(_typed(password))}
            await self.database.write(lambda connection: connection.execute(rows.REHASH, values) and None)

    def _new(self, name: str, *, role: Role, address: str) -> Person:
        name = clean_name(name)
        if address or "@" in name:
            address = clean_address(address or name)
        return Person(person_id=ids.new_id("person"), name=name, address=address, role=role, created_unix_us=self.now())

    def _check_once(self, secret: str, kind: Kind) -> Credential:
        """Refuse a wrong secret before any costly work; the write checks it again."""
        credential = self.credentials.find(secret, frozenset({kind}))
        if credential is None:
            raise NotAuthenticated("this link has been used, has expired or is wrong", hint="ask for a new one")
        return credential

    def _known(self, person_id: str) -> Person:
        person = self._people.get(person_id)
        if person is None:
            raise NotFound("person", person_id[:128])
        return person

    def _keep(self, person: Person) -> None:
        self._people[person.person_id] = person
        self._keys.update(dict.fromkeys(rows.claims(person), person.person_id))

    def _change(self, person_id: str, **changes: Any) -> None:
        if (person := self._people.get(person_id)) is not None:
            self._people[person_id] = evolve(person, **changes)

    def _drop(self, person_id: str) -> None:
        person = self._people.pop(person_id, None)
        for key in rows.claims(person) if person is not None else ():
            self._keys.pop(key, None)


def _typed(password: str) -> str:
    """Return a typed password as it would be hashed; one that no rule allows is compared as it is, and differs."""
    try:
        return clean_password(password)
    except BadInput:
        return "\0" + password.encode("utf-8", "replace").decode()
