"""What a person can meet is written down: settings, commands, failures, and all that a plugin author imports."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import click
import pytest

import appliance
import plugins
from appliance import plugin, settings
from appliance.cli import appliance as command_line
from appliance.config.document import default_document
from appliance.errors import ApplianceError

ROOT = Path(__file__).parent.parent
SENTENCE = re.compile(r"\S.*[.!?]$", re.DOTALL)


def read_tests() -> str:
    """Return every test of the product but the ones that only count names."""
    files = (path for path in ROOT.glob("tests/**/*.py") if path.parent != ROOT / "tests")
    return "\n".join(path.read_text() for path in files)


TESTS = read_tests()


def shipped_settings() -> dict[str, type[Any] | None]:
    """Return the settings class of every plugin in plugins/, None where it has none."""
    found: dict[str, type[Any] | None] = {}
    for child in pkgutil.iter_modules(plugins.__path__):
        declare = getattr(importlib.import_module(f"plugins.{child.name}"), "appliance_settings", None)
        found[child.name] = declare() if declare else None
    return found


def every_setting() -> Iterator[tuple[str, "attrs.Attribute[Any]"]]:
    """Yield every setting of core and of the shipped plugins under its full key."""
    yield from settings.every_setting()
    for name, declared in shipped_settings().items():
        for one in attrs.fields(declared) if declared else ():
            yield f"plugins.{name}.{one.name}", one


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with the words a person types to reach it."""
    context = click.Context(group, info_name="appliance")
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))


def every_error() -> set[type[ApplianceError]]:
    """Return every failure the product defines, those of plugins too."""
    for package in (appliance, plugins):
        for child in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not child.name.endswith("__main__"):
                importlib.import_module(child.name)
    found = set[type[ApplianceError]]()
    waiting = [ApplianceError]
    while waiting:
        waiting = [kind for parent in waiting for kind in parent.__subclasses__()]
        found.update(kind for kind in waiting if kind.__module__.partition(".")[0] in {"appliance", "plugins"})
    return {kind for kind in found if not kind.__name__.startswith("_")}  # the others never leave their package


def test_every_setting_says_in_a_sentence_what_it_does() -> None:
    keys = dict(every_setting())
    assert len(keys) > 20
    assert [key for key, one in keys.items() if not SENTENCE.match(one.metadata.get("help", ""))] == []


def test_configuration_file_in_the_repository_holds_every_setting_with_its_default() -> None:
    # To write it again: appliance config init
    assert (ROOT / "config/appliance.toml").read_text() == default_document(shipped_settings())


def test_every_setting_is_touched_by_a_test() -> None:
    assert [key for key, _ in every_setting() if not re.search(rf"\b{key.rpartition('.')[2]}\b", TESTS)] == []


def test_every_command_and_option_says_what_it_does() -> None:
    commands = list(every_command(command_line))
    assert len(commands) > 20
    silent = [
        " ".join(path)
        for path, command in commands
        if not SENTENCE.match((command.help or "").strip().partition("\n\n")[0])
    ]
    for path, command in commands:
        options = [one for one in command.params if isinstance(one, click.Option)]
        silent += [f"{' '.join(path)} {one.opts[0]}" for one in options if not one.help]
    assert silent == []


def test_every_command_is_run_by_a_test() -> None:
    def named(path: tuple[str, ...]) -> bool:
        # As an argument list ("user", "add") or as a line ("user add"); options may stand between.
        return bool(
            re.search(r"""["'\s,]+(?:-[^"']*["'\s,]+)*""".join(rf"\b{re.escape(word)}\b" for word in path), TESTS)
        )

    assert [" ".join(path) for path, _ in every_command(command_line) if not named(path)] == []


def test_every_failure_says_when_it_is_met() -> None:
    failures = every_error()
    assert len(failures) > 10
    assert (
        sorted(kind.__qualname__ for kind in failures if not SENTENCE.match(inspect.cleandoc(kind.__doc__ or ""))) == []
    )


def test_every_failure_is_met_by_a_test() -> None:
    assert sorted(kind.__name__ for kind in every_error() if not re.search(rf"\b{kind.__name__}\b", TESTS)) == []


@pytest.mark.parametrize("name", plugin.__all__)
def test_what_a_plugin_imports_is_documented(name: str) -> None:
    thing = getattr(plugin, name)
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return  # a constant or a type: the line under it in its module says what it is
    text = thing.__doc__ or ""
    assert text, f"{name} has no docstring"
    assert not text.startswith(f"{name}("), f"{name} has only the docstring that a dataclass writes"


def test_readme_names_every_top_level_folder_and_every_script() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in ("appliance/", "plugins/", "config/", "packaging/", "tests/", "zipapp.spec", "CHANGELOG.md"):
        assert name in readme, name
    for name in ("run.sh", "test.sh", "build.sh"):
        assert f"packaging/{name}" in readme, name
