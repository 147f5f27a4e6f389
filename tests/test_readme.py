"""The README's example is a plugin, and its commands are there."""

import importlib
import importlib.util
import pkgutil
import re
from pathlib import Path

import pluggy

from appliance import hookspecs

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_plugin_of_the_readme_has_at_most_ten_lines_and_registers(tmp_path: Path) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in source.splitlines() if line]) <= 10
    (tmp_path / "hello.py").write_text(source)
    spec = importlib.util.spec_from_file_location("hello", tmp_path / "hello.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    manager = pluggy.PluginManager("appliance")
    manager.add_hookspecs(hookspecs)
    manager.register(module, "hello")
    manager.check_pending()
    assert module.appliance_api == hookspecs.API_VERSION
    assert [caller.name for caller in manager.get_hookcallers(module) or ()] == ["appliance_setup"]


def test_every_script_and_folder_the_readme_names_is_there() -> None:
    named = set(re.findall(r"(?<![\w/])(?:packaging|config|tests|appliance|plugins)/[\w./*-]*", README))
    assert sorted(name for name in named if not any(ROOT.glob(name.rstrip("./")))) == []


def test_every_command_the_readme_names_exists() -> None:
    from appliance.cli.groups import COMMANDS

    named = set(re.findall(r"`?(?:^|`)appliance ([a-z][a-z-]*)", README, re.MULTILINE))
    assert named
    assert named <= {*COMMANDS, *commands_of_plugins()}


def commands_of_plugins() -> set[str]:
    """Return the names of the commands that shipped plugins bring."""
    import plugins

    modules = [importlib.import_module(f"plugins.{each.name}") for each in pkgutil.iter_modules(plugins.__path__)]
    return {each.name for module in modules if (ask := getattr(module, "appliance_commands", None)) for each in ask()}
