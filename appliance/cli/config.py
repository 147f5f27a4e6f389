"""``appliance config``."""

import json

import click
from attrs import asdict

from appliance.cli.api import CommandFailed
from appliance.cli.format import table
from appliance.cli.options import global_options
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
    from appliance.cli.offline import configured
    from appliance.config import default_document

    path = session.config_file or session.usual_config_file
    if path.exists() and not force:
        raise CommandFailed(f"{path} exists already", hint="`appliance config check` reads it; --force replaces it")
    with configured(session.data_dir, None) as found:
        document = default_document(found.classes)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document, encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}", hint="name another with --config") from error
    click.echo(json.dumps({"file": str(path)}) if session.as_json else f"wrote {path}")


@config.command("check")
@global_options
@click.pass_obj
def check(session: Session) -> None:
    """Read the configuration as a start would, and name every problem at once; exit 2 if there is one."""
    from appliance.cli.offline import read_configuration

    loaded = read_configuration(session.data_dir, session.config_file)
    if session.as_json:
        click.echo(json.dumps({"ok": True, "file": loaded.file}))
    else:
        click.echo(f"{loaded.file or 'no file, all defaults'}: no problem found")


@config.command("show")
@global_options
@click.pass_obj
def show(session: Session) -> None:
    """Print every setting in force and where it comes from: file, environment or default; secrets are not shown.

    Of a running appliance what it runs with, which a reload may not have changed yet.
    """
    if session.running():
        reply = session.get("/api/appliance/config")
        answer = reply.json
        if session.as_json:
            click.echo(reply.text)
            return
    else:
        from appliance.cli.offline import read_configuration

        loaded = read_configuration(session.data_dir, session.config_file)
        answer = {"file": loaded.file, "items": [asdict(item) for item in loaded.items], "next": None}
        if session.as_json:
            click.echo(json.dumps(answer))
            return
    rows = [(one["key"], json.dumps(one["value"], ensure_ascii=False), one["origin"]) for one in answer["items"]]
    click.echo(f"file: {answer['file'] or 'none (defaults)'}")
    click.echo(table(("SETTING", "VALUE", "FROM"), rows))


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
