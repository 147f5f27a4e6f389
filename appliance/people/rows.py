"""The tables of people, and the small writes that the store puts together into its transactions."""

import sqlite3
from typing import Any

from attrs import frozen

from appliance.credentials import store as credential_rows
from appliance.credentials.kinds import Kind, Role
from appliance.credentials.rules import Credential, Minted
from appliance.errors import Conflict, NotAuthenticated
from appliance.migrations import Migration
from appliance.people.names import login_key

OWNER = "people"

MIGRATIONS = (
    Migration(
        version=1,
        name="people",
        sql="""
CREATE TABLE people_person (
  person_id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  address TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('viewer', 'user', 'operator', 'admin')),
  password_hash TEXT,
  visit_count INTEGER NOT NULL DEFAULT 0,
  created_unix_us INTEGER NOT NULL,
  last_login_unix_us INTEGER
) STRICT;
CREATE TABLE people_login (
  login_key TEXT PRIMARY KEY,
  person_id TEXT NOT NULL REFERENCES people_person (person_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX people_login_person ON people_login (person_id);
""",
    ),
)

ALL = """
SELECT person_id, name, address, role, visit_count, created_unix_us, last_login_unix_us FROM people_person"""
INSERT = """
INSERT INTO people_person (person_id, name, address, role, password_hash, created_unix_us)
VALUES (:person_id, :name, :address, :role, :password_hash, :now)"""
CLAIM = "INSERT INTO people_login (login_key, person_id) VALUES (:key, :person_id) ON CONFLICT DO NOTHING"
HASH = "SELECT password_hash FROM people_person WHERE person_id = :id"
SET_HASH = "UPDATE people_person SET password_hash = :hash WHERE person_id = :id"
REHASH = "UPDATE people_person SET password_hash = :hash WHERE person_id = :id AND password_hash = :old"
SET_ROLE = "UPDATE people_person SET role = :role WHERE person_id = :id"
DELETE = "DELETE FROM people_person WHERE person_id = :id"
ADMINS = "SELECT COUNT(*) FROM people_person WHERE role = 'admin'"
LAST_ADMIN = """
SELECT 1 FROM people_person WHERE person_id = :id AND role = 'admin'
   AND NOT EXISTS (SELECT 1 FROM people_person WHERE role = 'admin' AND person_id <> :id)"""
VISIT = """
UPDATE people_person SET visit_count = visit_count + 1, last_login_unix_us = :now
 WHERE person_id = :id AND password_hash = :hash
RETURNING visit_count"""


@frozen(kw_only=True)
class Person:
    """One person with an account."""

    person_id: str
    name: str
    address: str = ""
    role: Role
    visit_count: int = 0
    created_unix_us: int
    last_login_unix_us: int | None = None


@frozen(kw_only=True)
class Login:
    """A person who has just proved who they are, and their new session."""

    person: Person
    session: Minted


def insert(connection: sqlite3.Connection, person: Person, password_hash: str | None) -> None:
    """Add a person; raises `Conflict` when the name or address is anybody's name or address."""
    values: dict[str, Any] = {
        "person_id": person.person_id,
        "name": person.name,
        "address": person.address,
        "role": person.role.word,
        "password_hash": password_hash,
        "now": person.created_unix_us,
    }
    connection.execute(INSERT, values)
    for key, message in claims(person).items():
        if connection.execute(CLAIM, {"key": key, "person_id": person.person_id}).rowcount != 1:
            raise Conflict(message, hint="choose another one")


def end_setup(connection: sqlite3.Connection, *, now_unix_us: int) -> list[str]:
    """End every setup link: there is an admin now."""
    return credential_rows.revoke_of(connection, now_unix_us=now_unix_us, kind=Kind.SETUP)


def claims(person: Person) -> dict[str, str]:
    """Return the keys a person logs in with, each with what to say when it is somebody else's."""
    claims = {login_key(person.name): "That username is already taken."}
    if person.address:
        claims.setdefault(login_key(person.address), "That email is already registered.")
    return claims


def consume(connection: sqlite3.Connection, secret: str, kind: Kind, *, now_unix_us: int) -> Credential:
    credential = credential_rows.consume(connection, secret, {kind}, now_unix_us=now_unix_us)
    if credential is None:
        raise NotAuthenticated("this link has been used, has expired or is wrong", hint="ask for a new one")
    return credential


def end_logins(
    connection: sqlite3.Connection, person_id: str, *, now_unix_us: int, keep: str | None = None
) -> list[str]:
    """End a person's sessions and reset links; tokens stay, which nobody typed in."""
    return [
        credential_id
        for kind in (Kind.SESSION, Kind.RESET)
        for credential_id in credential_rows.revoke_of(
            connection, now_unix_us=now_unix_us, subject=person_id, kind=kind, keep=keep
        )
    ]


def keep_an_admin(connection: sqlite3.Connection, person: Person) -> None:
    """Raise `Conflict` when ``person`` is the last admin: asked where it is changed, so two at once cannot slip by."""
    if connection.execute(LAST_ADMIN, {"id": person.person_id}).fetchone() is not None:
        raise Conflict(f"{person.name} is the last admin", hint="make somebody else an admin first")
