"""The global options, which may stand before or after a command's name."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from appliance.cli.session import Session

OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("--data-dir", "data_dir_option"), {"metavar": "DIR", "help": "Data directory (env APPLIANCE_DATA_DIR)."}),
    (("--config", "config_option"), {"metavar": "FILE", "help": "Configuration file (env APPLIANCE_CONFIG)."}),
    (("--server", "server"), {"metavar": "URL", "help": "Another appliance (env APPLIANCE_SERVER, APPLIANCE_TOKEN)."}),
    (("--json", "as_json"), {"is_flag": True, "default": None, "help": "Print the API's own JSON."}),
)


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is not None and parameter.name is not None:
        setattr(context.ensure_object(Session), parameter.name, value)


def global_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command take the global options too."""
    for names, attributes in reversed(OPTIONS):
        command = click.option(*names, expose_value=False, callback=_remember, **attributes)(command)
    return command


def places_named(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield what ``--data-dir`` and ``--config`` say anywhere on the command line, before ``--``."""
    waiting = ""
    for word in arguments:
        if waiting:
            yield waiting, word
            waiting = ""
        elif word == "--":
            return
        else:
            option, is_joined, value = word.partition("=")
            name = {"--data-dir": "data_dir_option", "--config": "config_option"}.get(option, "")
            if name and is_joined:
                yield name, value
            else:
                waiting = name
