"""``appliance serve``."""

from pathlib import Path

import click

from appliance.cli.options import global_options
from appliance.cli.session import Session


@click.command("serve")
@click.option(
    "--listen", "listen", multiple=True, metavar="HOST:PORT", help="Listen here instead; may be repeated. Port 0: any."
)
@global_options
@click.pass_obj
def serve(session: Session, listen: tuple[str, ...]) -> int:
    """Run the appliance on this host until SIGTERM or Ctrl-C."""
    session.become_owner()
    from appliance.run import serve as run

    config: Path | None = session.config_file
    return run(data_dir=session.data_dir, config_file=config, listen=listen)
