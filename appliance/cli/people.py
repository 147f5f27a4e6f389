"""``appliance setup-link`` and ``appliance user``."""

import sys
from typing import Any

import click

from appliance.cli.api import CommandFailed, segment
from appliance.cli.format import table
from appliance.cli.options import global_options
from appliance.cli.session import Session

ROLES = ("viewer", "user", "operator", "admin")


@click.command("setup-link")
@global_options
@click.pass_obj
def setup_link(session: Session) -> None:
    """Print a one-time link that makes the first admin; valid until used."""
    reply = session.post("/api/appliance/setup-link")
    session.show(reply, reply.json["url"])


@click.group("user")
def user() -> None:
    """Add, list, reset and remove people."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="user", show_default=True, help="What the person may do.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input instead of asking.")
@global_options
@click.pass_obj
def add(session: Session, name: str, role: str, password_stdin: bool) -> None:
    """Add a person; NAME may be an address."""
    reply = session.post("/api/appliance/users", {"name": name, "role": role, "password": password(password_stdin)})
    session.show(reply, f"{name} may log in as {role}")


@user.command("list")
@global_options
@click.pass_obj
def people(session: Session) -> None:
    """List people, their roles and when they were last here."""
    reply = session.get("/api/appliance/users?limit=1000")
    rows = [(person["name"], person["role"], when(person.get("last_login_unix_s"))) for person in reply.json["items"]]
    session.show(reply, table(("NAME", "ROLE", "LAST LOGIN"), rows) if rows else "nobody yet: `appliance setup-link`")


@user.command("reset")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Set this password instead of printing a reset link.")
@global_options
@click.pass_obj
def reset(session: Session, name: str, password_stdin: bool) -> None:
    """Print a one-time link with which NAME sets a new password, and end all of NAME's sessions."""
    body: dict[str, Any] = {"password": password(True)} if password_stdin else {}
    reply = session.post(f"/api/appliance/users/{segment(name)}/reset", body)
    session.show(reply, reply.json.get("url") or f"{name} has a new password")


@user.command("remove")
@click.argument("name")
@global_options
@click.pass_obj
def remove(session: Session, name: str) -> None:
    """Remove a person with all sessions and tokens."""
    reply = session.delete(f"/api/appliance/users/{segment(name)}")
    session.show(reply, f"{name} is removed")


def password(from_stdin: bool) -> str:
    """Return a password, from standard input without its line end, or asked for twice on the terminal."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise CommandFailed("there is no terminal to ask for a password", hint="add --password-stdin")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


def when(unix_s: float | None) -> str:
    """Return a time in the reader's own zone, to the minute."""
    from datetime import datetime

    if unix_s is None:
        return "never"
    return datetime.fromtimestamp(unix_s).astimezone().strftime("%Y-%m-%d %H:%M %Z")
