"""``appliance serve``."""

from pathlib import Path

import click

from appliance.cli.options import global_options
from appliance.cli.session import Session
from appliance.generated_source import forget_generated_source


@click.command("serve")
@click.option(
    "--listen", "listen", multiple=True, metavar="HOST:PORT", help="Listen here instead; may be repeated. Port 0: any."
)
@global_options
@click.pass_obj
def serve(session: Session, listen: tuple[str, ...]) -> int:
    """Run the appliance on this host until SIGTERM or Ctrl-C.

    The first of them stops in order: requests in flight may finish within [server] drain_seconds, and the exit status
    is 0. The second does not wait and ends the process by that signal, which a shell shows as 143 or 130; whatever was
    acknowledged is on disk. Status 1: the start has failed; 2: the configuration has mistakes.
    """
    session.become_owner()
    from appliance.run import serve as run

    forget_generated_source()
    config: Path | None = session.config_file
    return run(data_dir=session.data_dir, config_file=config, listen=listen)
