"""The list of plugins' commands is kept, and asked for again when a plugin's file changes."""

from collections.abc import Callable
from pathlib import Path

from .conftest import Said

SOURCE = """
from pathlib import Path
from appliance.plugin import Command, hookimpl
appliance_api = 1
with Path({marks!r}).open("a") as file:
    file.write("imported ")

@hookimpl
def appliance_commands():
    return [Command(name={name!r}, help="Do it.", target="plugins.acme:run")]
"""


def test_help_imports_plugins_once_and_again_only_when_a_file_changed(
    alone: Callable[..., Said], tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "plugins"
    folder.mkdir(mode=0o700, parents=True)
    (tmp_path / "data" / "cache").mkdir(mode=0o700)
    (tmp_path / "data").chmod(0o700)
    marks, plugin = tmp_path / "marks", folder / "acme.py"
    plugin.write_text(SOURCE.format(marks=str(marks), name="whirl"))
    plugin.chmod(0o600)
    assert "whirl" in alone("--help").out
    assert marks.read_text().split() == ["imported"]
    assert "whirl" in alone("--help").out
    assert marks.read_text().split() == ["imported"]
    plugin.write_text(SOURCE.format(marks=str(marks), name="another"))
    said = alone("--help")
    assert "another" in said.out
    assert "whirl" not in said.out
    assert marks.read_text().split() == ["imported", "imported"]


def test_a_list_in_a_folder_that_others_can_write_is_not_believed(alone: Callable[..., Said], tmp_path: Path) -> None:
    cache = tmp_path / "data" / "cache"
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    assert alone("--help").status == 0
    assert list(cache.iterdir()) == []


def test_a_plugin_cannot_take_a_command_of_ours(alone: Callable[..., Said], tmp_path: Path) -> None:
    folder = tmp_path / "data" / "plugins"
    folder.mkdir(mode=0o700, parents=True)
    (tmp_path / "data").chmod(0o700)
    plugin = folder / "acme.py"
    plugin.write_text(SOURCE.format(marks=str(tmp_path / "marks"), name="doctor"))
    plugin.chmod(0o600)
    assert "Do it." not in alone("--help").out


def test_a_command_whose_code_is_missing_says_so(alone: Callable[..., Said], tmp_path: Path) -> None:
    folder = tmp_path / "data" / "plugins"
    folder.mkdir(mode=0o700, parents=True)
    (tmp_path / "data").chmod(0o700)
    plugin = folder / "acme.py"
    plugin.write_text(SOURCE.format(marks=str(tmp_path / "marks"), name="spin"))
    plugin.chmod(0o600)
    said = alone("spin")
    assert said.status == 1
    assert "cannot be loaded" in said.err
