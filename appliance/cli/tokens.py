"""``appliance token``: credentials for people, machines, workspaces and scrapers."""

from typing import Any

import click

from appliance.cli.api import segment
from appliance.cli.format import table
from appliance.cli.options import global_options
from appliance.cli.people import when
from appliance.cli.session import Session


@click.group("token")
def token() -> None:
    """Create, list, rotate and revoke credentials; the clear text is shown once."""


@token.group("create")
def create() -> None:
    """Create a credential of one kind."""


def _create(session: Session, kind: str, **fields: Any) -> None:
    """Ask for a credential and print its clear text, the only time it can be seen."""
    body = {"kind": kind} | {name: value for name, value in fields.items() if value is not None}
    reply = session.post("/api/appliance/tokens", body)
    made = reply.json
    session.show(reply, f"{made['token']}\n id {made['id']}; shown once, keep it safe")


_EXPIRES = click.option(
    "--expires-in-days", type=click.FloatRange(0, 36500, min_open=True), help="End by itself after so many days."
)


@create.command("pat")
@click.option("--user", "name", required=True, help="The person it acts as.")
@click.option("--scope", "scopes", multiple=True, help="Limit it: SURFACE or SURFACE:read; may be repeated.")
@click.option("--label", help="What it is for.")
@_EXPIRES
@global_options
@click.pass_obj
def pat(session: Session, name: str, scopes: tuple[str, ...], label: str | None, expires_in_days: float | None) -> None:
    """Create a personal access token."""
    _create(session, "pat", user=name, scopes=list(scopes), label=label, expires_in_days=expires_in_days)


@create.command("machine")
@click.option("--pool", required=True, help="The pool it may join.")
@click.option("--machine-id", help="Only for this machine.")
@_EXPIRES
@global_options
@click.pass_obj
def machine(session: Session, pool: str, machine_id: str | None, expires_in_days: float | None) -> None:
    """Create a machine token for one pool."""
    _create(session, "machine", pool=pool, machine_id=machine_id, expires_in_days=expires_in_days)


@create.command("worker")
@_EXPIRES
@global_options
@click.pass_obj
def worker(session: Session, expires_in_days: float | None) -> None:
    """Create a worker token, which serves all pools."""
    _create(session, "worker", expires_in_days=expires_in_days)


@create.command("workspace")
@click.option("--workspace", required=True, help="The workspace it reads.")
@_EXPIRES
@global_options
@click.pass_obj
def workspace(session: Session, workspace: str, expires_in_days: float | None) -> None:
    """Create a workspace token."""
    _create(session, "workspace", workspace=workspace, expires_in_days=expires_in_days)


@create.command("admin-key")
@_EXPIRES
@global_options
@click.pass_obj
def admin_key(session: Session, expires_in_days: float | None) -> None:
    """Create an operator's key for the X-Admin-Key header."""
    _create(session, "admin-key", expires_in_days=expires_in_days)


@create.command("drone")
@click.argument("name")
@_EXPIRES
@global_options
@click.pass_obj
def drone(session: Session, name: str, expires_in_days: float | None) -> None:
    """Create the token of one drone."""
    _create(session, "drone", name=name, expires_in_days=expires_in_days)


@create.command("scrape")
@_EXPIRES
@global_options
@click.pass_obj
def scrape(session: Session, expires_in_days: float | None) -> None:
    """Create a token that reads /metrics and nothing else."""
    _create(session, "scrape", expires_in_days=expires_in_days)


@token.command("list")
@global_options
@click.pass_obj
def tokens(session: Session) -> None:
    """List credentials without their clear text."""
    reply = session.get("/api/appliance/tokens?limit=1000")
    rows = [
        (
            one["id"],
            one["kind"],
            one.get("subject_name") or one.get("subject") or one.get("scope"),
            f"{one['prefix']}...",
            when(one.get("expires_unix_s")) if one.get("expires_unix_s") else "never",
            when(one.get("last_used_unix_s")),
            "revoked" if one.get("revoked_unix_s") else "",
        )
        for one in reply.json["items"]
    ]
    head = ("ID", "KIND", "FOR", "BEGINS", "EXPIRES", "LAST USED", "")
    session.show(reply, table(head, rows) if rows else "no tokens")


@token.command("revoke")
@click.argument("token_id", metavar="ID")
@global_options
@click.pass_obj
def revoke(session: Session, token_id: str) -> None:
    """End a credential at once."""
    reply = session.delete(f"/api/appliance/tokens/{segment(token_id)}")
    session.show(reply, f"{token_id} is revoked")


@token.command("rotate")
@click.argument("token_id", metavar="ID")
@global_options
@click.pass_obj
def rotate(session: Session, token_id: str) -> None:
    """Replace a credential by a new one of the same kind and rights; the old one ends."""
    reply = session.post(f"/api/appliance/tokens/{segment(token_id)}/rotate")
    made = reply.json
    session.show(reply, f"{made['token']}\n id {made['id']}; shown once, keep it safe")
