"""How plugins are found, and what keeps one out."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import plugins
from appliance.loading import (
    PluginRefused,
    Plugins,
    RequiredPluginMissing,
    _check_version,
    load,
    settings_classes,
    why_unsafe,
)

GOOD = "from appliance.plugin import hookimpl\nappliance_api = 1\n"


@pytest.fixture
def loaded(request: pytest.FixtureRequest) -> Iterator[list[Plugins]]:
    """Plugins to take out of this process again."""
    made: list[Plugins] = []
    yield made
    for one in made:
        one.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to drop plugins in."""
    path = tmp_path / "plugins"
    path.mkdir(mode=0o700)
    return path


def drop(folder: Path, **sources: str) -> None:
    for name, source in sources.items():
        path = folder / f"{name}.py"
        path.write_text(source)
        path.chmod(0o600)


def states(found: Plugins) -> dict[str, tuple[str, str]]:
    return {one.name: (one.state, one.reason) for one in found.found if one.origin != "shipped"}


def package(site: Path, name: str, module: str, source: str, *, value: str = "") -> None:
    (site / f"{module}.py").write_text(source)
    info = site / f"{name}-2.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text(f"[appliance.plugins]\n{module} = {value or module}\n")


def test_shipped_plugins_come_first_then_dropped_then_installed(
    tmp_path: Path, folder: Path, loaded: list[Plugins]
) -> None:
    site = tmp_path / "site"
    site.mkdir(mode=0o755)
    package(site, "acme-fan", "acme_fan", GOOD)
    drop(folder, b_two=GOOD, a_one=GOOD)
    found = load(folder=folder, site=site)
    loaded.append(found)
    assert [one.name for one in found.running][-3:] == ["a_one", "b_two", "acme_fan"]
    assert all(one.origin == "shipped" for one in found.running[:-3])
    installed = found.get("acme_fan")
    assert installed is not None
    assert (installed.origin, installed.version) == ("package acme-fan", "2.5")


def test_an_entry_point_may_name_an_object(tmp_path: Path, loaded: list[Plugins]) -> None:
    site = tmp_path / "site"
    site.mkdir(mode=0o755)
    source = GOOD + "class P:\n    @hookimpl\n    def appliance_migrations(self):\n        return []\nplugin = P()\n"
    package(site, "acme-object", "acme_object", source, value="acme_object:plugin")
    found = load(site=site)
    loaded.append(found)
    assert {one.name: answer for one, answer in found.ask("appliance_migrations")}["acme_object"] == []


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError"),
        ("raise ValueError('no')", "ValueError: no"),
        ("import sys; sys.exit(3)", "it called sys.exit(3)"),
        ("x = (", "SyntaxError"),
        ("x = 1", "it does not say appliance_api = 1"),
        ("appliance_api = 2", "version 2 of the plugin API"),
        (GOOD + "@hookimpl\ndef appliance_teatime(): ...", "appliance_teatime"),
        (GOOD + "@hookimpl\ndef appliance_setup(wrong): ...", "wrong"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_left_out_with_the_reason_and_others_run(
    folder: Path, loaded: list[Plugins], source: str, reason: str
) -> None:
    drop(folder, bad=source, fine=GOOD)
    found = load(folder=folder)
    loaded.append(found)
    state, why = states(found)["bad"]
    assert state == "failed"
    assert reason in why
    assert states(found)["fine"] == ("running", "")


def test_a_second_plugin_of_a_name_is_refused_and_never_imported(folder: Path, loaded: list[Plugins]) -> None:
    drop(folder, dashboard="raise RuntimeError('imported')", core=GOOD)
    found = load(folder=folder)
    loaded.append(found)
    assert states(found)["dashboard"] == ("failed", "a plugin of this name is there already, from shipped")
    assert states(found)["core"][0] == "failed"
    shipped = found.get("dashboard")
    assert shipped is not None
    assert shipped.origin == "shipped"


def test_a_disabled_plugin_is_not_imported_and_safe_mode_leaves_out_what_is_not_shipped(
    folder: Path, loaded: list[Plugins]
) -> None:
    drop(folder, loud="raise RuntimeError('imported')")
    found = load(folder=folder, disabled={"loud", "dashboard"})
    loaded.append(found)
    assert states(found)["loud"] == ("disabled", "[plugins.loud] enabled = false")
    assert "dashboard" not in [one.name for one in found.running]
    safe = load(folder=folder, shipped_only=True)
    loaded.append(safe)
    assert states(safe)["loud"][0] == "off"
    assert "dashboard" in [one.name for one in safe.running]


def test_one_plugin_that_raises_in_a_hook_costs_nobody_else_the_answer(folder: Path, loaded: list[Plugins]) -> None:
    answers = "@hookimpl\ndef appliance_migrations():\n    "
    drop(
        folder,
        a_raises=GOOD + answers + "raise ValueError('no')",
        b_answers=GOOD + answers + "return []",
        c_exits=GOOD + answers + "raise SystemExit(1)",
        d_async=GOOD + "@hookimpl\nasync def appliance_migrations():\n    return []",
        e_silent=GOOD,
    )
    found = load(folder=folder)
    loaded.append(found)
    told = {one.name: answer for one, answer in found.ask("appliance_migrations") if one.origin != "shipped"}
    assert list(told) == ["a_raises", "b_answers", "c_exits", "d_async"]
    assert isinstance(told["a_raises"], ValueError)
    assert told["b_answers"] == []
    assert isinstance(told["c_exits"], SystemExit)
    assert "hooks are plain functions" in str(told["d_async"])


def test_a_plugin_that_has_failed_is_not_asked_in_place_of_the_next(folder: Path, loaded: list[Plugins]) -> None:
    setup = "@hookimpl\ndef appliance_migrations():\n"
    drop(folder, a_bad=GOOD + setup + "    raise ValueError('no')\n", b_good=GOOD + setup + "    return ['mine']\n")
    found = load(folder=folder)
    loaded.append(found)
    asked = [one for one in found.running if one.origin != "shipped"]
    for one in [one for one in asked if found.implements(one, "appliance_migrations")]:
        try:
            answer = found.ask_one(one, "appliance_migrations")
        except ValueError as error:
            found.fail(one, error)
        else:
            assert (one.name, answer) == ("b_good", ["mine"])
    assert states(found) == {"a_bad": ("failed", "ValueError: no"), "b_good": ("running", "")}


def test_a_settings_class_that_breaks_the_rules_takes_its_plugin_out(folder: Path, loaded: list[Plugins]) -> None:
    head = GOOD + "from attrs import field, frozen\nfrom appliance.plugin import setting\n@frozen\nclass S:\n    "
    tail = "\n@hookimpl\ndef appliance_settings():\n    return S\n"
    drop(
        folder,
        fine=head + "x: int = setting(1, help='X.')" + tail,
        no_default=head + "x: int = setting(help='X.')" + tail,
        no_help=head + "x: int = 1" + tail,
        ours=head + "enabled: bool = setting(True, help='X.')" + tail,
        no_class=GOOD + "@hookimpl\ndef appliance_settings():\n    return 5\n",
    )
    found = load(folder=folder)
    loaded.append(found)
    classes = settings_classes(found)
    assert {name for name in classes if name in states(found)} == {"fine"}
    assert {name: why for name, (state, why) in states(found).items() if state == "failed"} == {
        "no_default": "the setting x has no default",
        "no_help": "the setting x has no help",
        "ours": "the setting enabled is core's own",
        "no_class": "appliance_settings must return an attrs class",
    }


def test_a_required_plugin_must_be_there_and_run(folder: Path, loaded: list[Plugins]) -> None:
    drop(folder, bad="raise ValueError('no')")
    found = load(folder=folder)
    loaded.append(found)
    found.check_required(["dashboard"])
    with pytest.raises(RequiredPluginMissing, match="ValueError: no"):
        found.check_required(["bad"])
    with pytest.raises(RequiredPluginMissing, match="no such plugin"):
        found.check_required(["dashbord"])


def test_closing_forgets_dropped_modules_so_that_others_of_their_name_can_be_loaded(tmp_path: Path) -> None:
    for number in (1, 2):
        place = tmp_path / str(number)
        place.mkdir(mode=0o700)
        drop(place, again=f"{GOOD}__version__ = '{number}'")
        found = load(folder=place)
        one = found.get("again")
        assert one is not None
        assert one.version == str(number)
        found.close()
    assert "plugins.again" not in sys.modules
    assert not [path for path in plugins.__path__ if path.startswith(str(tmp_path))]


def test_a_folder_that_others_can_write_is_refused_whole(folder: Path, loaded: list[Plugins]) -> None:
    drop(folder, spy="raise RuntimeError('imported')", fine=GOOD)
    (folder / "spy.py").chmod(0o666)
    found = load(folder=folder)
    loaded.append(found)
    assert states(found)["fine"][0] == "failed"
    assert "can be written by others" in states(found)["spy"][1]


def test_the_folder_itself_what_is_above_it_and_links_are_looked_at(tmp_path: Path) -> None:
    above = tmp_path / "above"
    folder = above / "plugins"
    folder.mkdir(mode=0o700, parents=True)
    assert why_unsafe(folder) is None
    folder.chmod(0o770)
    assert "can be written" in (why_unsafe(folder) or "")
    folder.chmod(0o700)
    above.chmod(0o777)
    assert str(above) in (why_unsafe(folder) or "")
    above.chmod(0o1777)
    assert why_unsafe(folder) is None
    (folder / "link.py").symlink_to("/etc/hostname")
    assert "is a link" in (why_unsafe(folder) or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(folder: Path) -> None:
    drop(folder, spy=GOOD)
    os.chown(folder / "spy.py", 12345, 12345)
    assert "belongs to user id 12345" in (why_unsafe(folder) or "")


def test_a_version_that_is_not_said_or_not_ours_is_a_refusal_with_a_reason() -> None:
    class Plugin:
        appliance_api = 99

    with pytest.raises(PluginRefused, match="99"):
        _check_version(Plugin, "plugins.acme")
    with pytest.raises(PluginRefused, match="does not say"):
        _check_version(object(), "plugins.acme")
