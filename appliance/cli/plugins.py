"""``appliance plugins``."""

import shutil
import tempfile
from pathlib import Path

import click

from appliance.cli.api import CommandFailed, segment
from appliance.cli.format import table
from appliance.cli.options import global_options
from appliance.cli.session import Session

SKELETON = '''"""A plugin of the appliance: one route and one card on the overview."""

from appliance.plugin import PERSON, Call, Core, Panel, PanelContent, PanelRow, Parts, Surface, hookimpl

appliance_api = 1
api = Surface("{name}", prefixes=("/api/{name}",))


@api.get("/api/{name}/greeting", caller=PERSON)
async def greeting(call: Call[None]) -> dict[str, str]:
    """Say hello to whoever asks."""
    return {{"hello": call.caller.name or call.caller.kind}}


@hookimpl
def appliance_setup(core: Core) -> Parts:
    """Bind the route and put a card on the overview."""

    def card() -> PanelContent:
        return PanelContent(rows=[PanelRow(label="GPUs known here", value=str(len(core.inventory.gpus())))])

    return Parts(surfaces=[api.bind(core)], panels=[Panel(name="card", title="{name}", read=card)])
'''


@click.group("plugins")
def plugins() -> None:
    """List, restart and start writing plugins."""


@plugins.command("list")
@global_options
@click.pass_obj
def found(session: Session) -> None:
    """Show every plugin: name, version, origin, state and the reason of a failure."""
    reply = session.get("/api/appliance/plugins")
    rows = [
        (one["name"], one.get("version"), one["origin"], one["state"], one.get("reason") or "")
        for one in reply.json["items"]
    ]
    session.show(reply, table(("NAME", "VERSION", "ORIGIN", "STATE", "REASON"), rows))


@plugins.command("restart")
@click.argument("name")
@global_options
@click.pass_obj
def restart(session: Session, name: str) -> None:
    """Start a failed plugin's services again now, instead of at the next retry."""
    reply = session.post(f"/api/appliance/plugins/{segment(name)}/restart")
    session.show(reply, f"{name}: services start again")


@plugins.command("new")
@click.argument("name")
@click.option("--folder", type=click.Path(path_type=Path), default=Path(), help="Where to write NAME.py.")
def new(name: str, folder: Path) -> None:
    """Write the skeleton of a plugin, ready to be dropped into the plugins folder."""
    if not name.isidentifier() or not name.islower():
        raise CommandFailed(f"{name!r} is no plugin name", hint="lower-case letters, digits and underscores")
    path = folder / f"{name}.py"
    if path.exists():
        raise CommandFailed(f"{path} exists already")
    path.write_text(SKELETON.format(name=name), encoding="utf-8")
    click.echo(f"wrote {path}; try it with `appliance plugins run {path}`")


@plugins.command("run")
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--listen", default="127.0.0.1:0", show_default=True, metavar="HOST:PORT", help="Listen here.")
def run(source: Path, listen: str) -> int:
    """Try a plugin: serve with SOURCE (a file, or a package's folder) and an empty data directory that goes at the end.

    Start it again after a change; nothing of a real appliance is touched.
    """
    source = source.absolute()
    name = source.name if source.is_dir() else source.stem
    if not name.isidentifier() or (source.is_file() and source.suffix != ".py"):
        raise CommandFailed(f"{source.name} is no plugin", hint="give NAME.py, or a folder with an __init__.py")
    from appliance.run import serve

    with tempfile.TemporaryDirectory(prefix="appliance-try-") as folder:
        data = Path(folder, "data")
        dropped = data / "plugins" / source.name
        # A copy with our own rights: a checkout is often writable by a group, which a plugins folder must not be.
        dropped.parent.mkdir(mode=0o700, parents=True)
        data.chmod(0o700)
        if source.is_dir():
            shutil.copytree(source, dropped, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, dropped)
        for path in (dropped, *dropped.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)
        return serve(data_dir=data, config_file=None, listen=(listen,))
