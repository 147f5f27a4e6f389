"""``appliance completion``."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that teaches SHELL to complete appliance's commands and options.

    For bash, put what `appliance completion bash` prints into ~/.local/share/bash-completion/completions/appliance.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "appliance", "_APPLIANCE_COMPLETE").source())
