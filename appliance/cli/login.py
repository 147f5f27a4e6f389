"""``appliance login``."""

import json
import os
import sys

import click

from appliance.cli.api import CommandFailed, HttpApi
from appliance.cli.options import global_options
from appliance.cli.session import Session


@click.command("login")
@click.argument("url")
@click.option("--token-stdin", is_flag=True, help="Read the token from standard input instead of asking.")
@global_options
@click.pass_obj
def login(session: Session, url: str, token_stdin: bool) -> None:
    """Remember the appliance at URL and a personal access token for later commands.

    Make the token in the browser under People, or have an admin run `appliance token create pat --user NAME`.
    """
    given = sys.stdin.readline() if token_stdin else str(click.prompt("Token", hide_input=True))
    token = given.strip()
    if not token:
        raise CommandFailed("no token was given")
    me = HttpApi(server=url, token=token).request("GET", "/api/auth/me")
    path = session.login_file
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # A fresh file, so that an older one readable by others is not reused.
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump({"server": url, "token": token}, file)
    draft.replace(path)
    user = (me.json or {}).get("user") or {}
    session.show(me, f"commands now go to {url} as {user.get('name') or user.get('username')}; kept in {path}")
