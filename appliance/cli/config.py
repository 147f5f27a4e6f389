"""``appliance config``."""

import json

import click

from appliance.cli.api import CommandFailed
from appliance.cli.groups import global_options
from appliance.cli.session import Session


@click.group("config")
def config() -> None:
    """Make, check, show and reload the configuration."""


@config.command("init")
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@global_options
@click.pass_obj
def init(session: Session, force: bool) -> None:
    """Write a configuration file with every setting, its default and one comment, all commented out."""
    from appliance.config import default_document

    path = session.config_file if session.config_option else session.usual_config_file
    if path is None:
        path = session.usual_config_file
    if path.exists() and not force:
        raise CommandFailed(f"{path} exists already", hint="`appliance config check` reads it; --force replaces it")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(default_document(), encoding="utf-8")
    click.echo(f"wrote {path}")


@config.command("check")
@global_options
@click.pass_obj
def check(session: Session) -> None:
    """Read the configuration as a start would, and name every problem at once; exit 2 if there is one."""
    from appliance.cli.configuration import read

    loaded = read(session)
    if session.as_json:
        click.echo(json.dumps({"ok": True, "file": loaded.file}))
    else:
        click.echo(f"{loaded.file or 'no file: defaults'}: no problem found")


@config.command("show")
@global_options
@click.pass_obj
def show(session: Session) -> None:
    """Print every setting in force and where it comes from: file, environment or default."""
    from appliance.cli.configuration import lines, read

    loaded = read(session)
    if session.as_json:
        click.echo(json.dumps({"file": loaded.file, "items": loaded.items}))
    else:
        click.echo("\n".join(lines(loaded)))


@config.command("reload")
@global_options
@click.pass_obj
def reload(session: Session) -> None:
    """Let the running appliance read its configuration again; what needs a restart is listed."""
    reply = session.post("/api/appliance/config/reload")
    answer = reply.json
    text = [f"applied: {', '.join(answer['applied']) or 'nothing changed'}"]
    if answer["needs_restart"]:
        text.append(f"needs a restart: {', '.join(answer['needs_restart'])}")
    session.show(reply, "\n".join(text))
