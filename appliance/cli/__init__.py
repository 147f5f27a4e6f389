"""The command line: one command group, one file. Commands never import the server."""

import os
import sys
import traceback

import click

from appliance import __version__
from appliance.cli.api import CommandFailed
from appliance.cli.groups import LazyGroup
from appliance.cli.options import global_options
from appliance.cli.session import Session
from appliance.errors import ApplianceError, BadConfiguration

FAILED, USAGE, INTERRUPTED = 1, 2, 130


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="appliance", message="%(prog)s %(version)s")
@global_options
def appliance() -> None:
    """Show, share, schedule and keep alive the GPUs of this host."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit status. No failure reaches the person as a traceback."""
    try:
        status = appliance.main(argv, prog_name="appliance", standalone_mode=False, obj=Session())
    except click.ClickException as error:
        error.show()
        return USAGE if isinstance(error, click.UsageError) else FAILED
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # `appliance ... | head`: nobody reads on, which is no failure; Python must not try to flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BadConfiguration as error:
        _say(error)
        return USAGE
    except ApplianceError as error:
        _say(error)
        return FAILED
    except Exception as error:
        return _unexpected(error)
    return status if isinstance(status, int) else 0


def _say(error: ApplianceError) -> None:
    """Print message and hint on standard error."""
    click.echo(f"error: {error.message}", err=True)
    if error.hint:
        click.echo(f" hint: {error.hint}", err=True)


def _unexpected(error: Exception) -> int:
    """Name a failure nobody foresaw in one line; ``APPLIANCE_DEBUG=1`` shows where it was raised."""
    click.echo(f"error: unexpected failure: {type(error).__name__}: {error}", err=True)
    if os.environ.get("APPLIANCE_DEBUG"):
        traceback.print_exc()
    else:
        click.echo(" hint: run the command again with APPLIANCE_DEBUG=1 in the environment for the details", err=True)
    return FAILED


__all__ = ["CommandFailed", "appliance", "main"]
