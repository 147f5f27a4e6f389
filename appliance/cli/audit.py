"""``appliance audit``."""

import click

from appliance.cli.api import CommandFailed
from appliance.cli.format import table
from appliance.cli.options import global_options
from appliance.cli.people import when
from appliance.cli.session import Session


@click.group("audit")
def audit() -> None:
    """Read and verify the audit log."""


@audit.command("list")
@click.option("--limit", default=50, type=click.IntRange(1, 1000), show_default=True, help="How many, newest last.")
@global_options
@click.pass_obj
def entries(session: Session, limit: int) -> None:
    """Show the newest entries."""
    reply = session.get(f"/api/appliance/audit?limit={limit}")
    rows = [
        (when(entry["at_unix_s"]), entry.get("who_name") or entry["who_kind"], entry["action"], entry.get("object"))
        for entry in reply.json["items"]
    ]
    session.show(reply, table(("WHEN", "WHO", "ACTION", "OBJECT"), rows) if rows else "the audit log is empty")


@audit.command("verify")
@global_options
@click.pass_obj
def verify(session: Session) -> None:
    """Check the hash chain: a changed, removed or truncated entry is named, and the exit status is 1."""
    reply = session.get("/api/appliance/audit/verify")
    answer = reply.json
    if answer["ok"]:
        session.show(reply, f"{answer['entries']} entries, the chain is whole")
        return
    if session.as_json:
        click.echo(reply.text)
    raise CommandFailed(answer["problem"], hint="compare with a backup or with the daily head in the log")
