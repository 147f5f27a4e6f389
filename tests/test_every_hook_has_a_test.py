"""Hooks are the contract: each is documented in full, called by core, implemented and tested."""

import importlib
import inspect
import pkgutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pluggy
import pytest

import plugins
from appliance import hookspecs

ROOT = Path(__file__).parent.parent
HOOKS: dict[str, Callable[..., Any]] = {
    name: hook
    for name, hook in inspect.getmembers(hookspecs, inspect.isfunction)
    if hook.__module__ == hookspecs.__name__
}
SHIPPED = [child.name for child in pkgutil.iter_modules(plugins.__path__)]


def mentions(pattern: str, name: str, *, but: tuple[str, ...] = ()) -> list[str]:
    """Return the files that name a hook."""
    files = (path for path in sorted(ROOT.glob(pattern)) if path.relative_to(ROOT).as_posix() not in but)
    return [path.relative_to(ROOT).as_posix() for path in files if name in path.read_text()]


def test_there_are_hooks_and_each_starts_with_the_products_name() -> None:
    assert HOOKS
    assert [name for name in HOOKS if not name.startswith("appliance_")] == []


@pytest.mark.parametrize("name", HOOKS)
def test_hook_says_when_it_is_called_and_what_a_raise_does(name: str) -> None:
    text = inspect.getdoc(HOOKS[name]) or ""
    assert "Called " in text, "when, and how often?"
    assert " raise" in text, "what does a raise do?"
    assert all(f":param {given}:" in text or given == "core" for given in inspect.signature(HOOKS[name]).parameters)


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_called_by_core(name: str) -> None:
    assert mentions("appliance/**/*.py", name, but=("appliance/hookspecs.py", "appliance/plugin.py"))


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_implemented_in_a_test(name: str) -> None:
    assert [file for file in mentions("tests/**/*.py", f"def {name}(") if file.count("/") > 1]


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_named_in_the_readme(name: str) -> None:
    assert f"`{name}`" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_plugin_implements_only_hooks_that_exist_and_speaks_this_version(name: str) -> None:
    module = importlib.import_module(f"plugins.{name}")
    assert module.appliance_api == hookspecs.API_VERSION
    manager = pluggy.PluginManager("appliance")
    manager.add_hookspecs(hookspecs)
    manager.register(module, name)
    manager.check_pending()
    assert manager.get_hookcallers(module), f"{name} implements no hook"


def test_shipped_plugins_are_listed_as_entry_points_like_anyones() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["appliance.plugins"] == {name: f"plugins.{name}" for name in SHIPPED}
