"""The table of commands, and click groups that import a command's file only when it is run."""

import importlib
from typing import Any

import click

from appliance.cli.options import places_named
from appliance.cli.session import Session

COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("appliance.cli.serve:serve", "Run the appliance on this host."),
    "config": ("appliance.cli.config:config", "Make, check, show and reload the configuration."),
    "doctor": ("appliance.cli.doctor:doctor", "Look at this host and say what is missing and how to mend it."),
    "plugins": ("appliance.cli.plugins:plugins", "List, restart and start writing plugins."),
    "devices": ("appliance.cli.devices:devices", "List the GPUs of this host."),
    "ps": ("appliance.cli.devices:ps", "Show who is using which GPU."),
    "top": ("appliance.cli.top:top", "Watch this host and its GPUs live."),
    "setup-link": ("appliance.cli.people:setup_link", "Print a one-time link that makes the first admin."),
    "user": ("appliance.cli.people:user", "Add, list, reset and remove people."),
    "token": ("appliance.cli.tokens:token", "Create, list, rotate and revoke credentials."),
    "audit": ("appliance.cli.audit:audit", "Read and verify the audit log."),
    "license": ("appliance.cli.licenses:license_group", "Verify licences, list and rotate the keys that sign them."),
    "login": ("appliance.cli.login:login", "Remember an appliance and a token for later commands."),
    "completion": ("appliance.cli.completion:completion", "Print the shell completion script."),
}
"""Name -> (``module:object``, one line of help). Kept here so that ``--help`` imports no command."""


class LazyGroup(click.Group):
    """The top group: core's commands from the table, plugins' from the cache."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look first for the places that are named, wherever they stand: plugins' commands depend on them."""
        session = ctx.ensure_object(Session)
        for name, value in places_named(args):
            setattr(session, name, value)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return core's commands in the table's order, then the plugins'."""
        return [*COMMANDS, *(name for name in self._plugin_commands(ctx) if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or ``None``."""
        if cmd_name in COMMANDS:
            module, _, attribute = COMMANDS[cmd_name][0].partition(":")
            command = getattr(importlib.import_module(module), attribute)
            assert isinstance(command, click.Command)
            return command
        found = self._plugin_commands(ctx).get(cmd_name)
        if found is None:
            return None
        from appliance.cli.extra import as_click

        return as_click(ctx.ensure_object(Session), found)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write names and helps without importing any command."""
        extra = {name: command.help for name, command in self._plugin_commands(ctx).items() if name not in COMMANDS}
        rows = [(name, text) for name, (_, text) in COMMANDS.items()] + sorted(extra.items())
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _plugin_commands(self, ctx: click.Context) -> dict[str, Any]:
        from appliance.cli.extra import plugin_commands

        return plugin_commands(ctx.ensure_object(Session))
