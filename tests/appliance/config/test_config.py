"""What the configuration accepts, and what it says about every mistake."""

import re
import tomllib
from pathlib import Path

import pytest
from attrs import frozen
from attrs.validators import in_
from hypothesis import given
from hypothesis import strategies as st

from appliance import loading
from appliance.config import core_settings, default_document, load, read_document
from appliance.config.lines import Lines
from appliance.errors import BadConfiguration
from appliance.settings import HELP, RELOAD, Settings, every_setting, setting

ROOT = Path(__file__).parents[3]


@frozen(kw_only=True)
class Pool:
    """A table inside a plugin's table."""

    gpu: str = setting("", help="Which GPU.")
    count: int = setting(1, help="How many.")


@frozen(kw_only=True)
class Own:
    """What a plugin declares."""

    limit_celsius: float = setting(88.0, help="When to tell.")
    mode: str = setting("a", help="How.", validator=in_(["a", "b"]))
    pools: dict[str, Pool] = setting(factory=dict, help="Pools by name.")  # noqa: RUF009
    history_max_minutes: int = setting(10, help="How far back.", environment=("MONITORING_MAX_HISTORY_MINUTES",))


def read(
    tmp_path: Path, text: str, *, environment: dict[str, str] | None = None, listen: tuple[str, ...] = ()
) -> Settings:
    path = tmp_path / "appliance.toml"
    path.write_text(text)
    return load(
        read_document(path),
        environment=environment or {},
        listen=listen,
        plugin_settings={"own": Own, "plain": None},
        unknown_plugins=["off"],
    ).settings


def problems(tmp_path: Path, text: str, **options: object) -> list[str]:
    with pytest.raises(BadConfiguration) as caught:
        read(tmp_path, text, **options)  # type: ignore[arg-type]
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in caught.value.problems]


def test_no_file_gives_the_defaults_and_one_loopback_listener() -> None:
    settings = load(read_document(None), environment={}, plugin_settings={}).settings
    assert settings.devices.sample_seconds == 2.0
    assert [one.address for one in settings.listeners] == ["127.0.0.1:8080"]
    assert settings.listeners[0].trust_in_force == "owner"


def test_every_mistake_is_told_at_once_with_file_line_key_found_and_expected(tmp_path: Path) -> None:
    text = """
[server]
drain_second = 5
hosts = [
  "a",
  "b/c",
]
[devices]
sample_seconds = "hot"
[[listeners]]
address = "127.0.0.1:80800"
[[listeners]]
adress = "x"
[servr]
x = 1
[plugins.onw]
x = 1
[plugins.own]
limit_celsius = "hot"
mode = "c"
pools.a.count = 1.5
pools.a.colour = "red"
[plugins.plain]
limit = 1
"""
    assert problems(tmp_path, text, environment={"HTTP_PORT": "x", "ADMIN_KEY": "short"}, listen=("q",)) == [
        "appliance.toml:3: [server] drain_second = 5: expected a known key: did you mean drain_seconds?",
        'appliance.toml:4: [server] hosts = ["a", "b/c"]: expected a host name or address, without scheme and port',
        'appliance.toml:9: [devices] sample_seconds = "hot": expected a number of seconds, at least 0.1, at most 3600',
        'appliance.toml:11: [[listeners]] address = "127.0.0.1:80800":'
        " expected a port from 0 to 65535 after the last colon",
        "appliance.toml:12: [[listeners]] address = nothing: expected a text",
        'appliance.toml:13: [[listeners]] adress = "x": expected a known key: did you mean address?',
        "appliance.toml:14: [servr] = {x = 1}: expected a known key: did you mean server?",
        "appliance.toml:16: [plugins] onw = {x = 1}: expected a known key: did you mean own?",
        'appliance.toml:19: [plugins.own] limit_celsius = "hot": expected a number of degrees C',
        'appliance.toml:20: [plugins.own] mode = "c": expected a text, one of "a", "b"',
        "appliance.toml:21: [plugins.own] pools.a.count = 1.5: expected a whole number",
        'appliance.toml:22: [plugins.own] pools.a.colour = "red": expected a known key: count, gpu',
        "appliance.toml:24: [plugins.plain] limit = 1: expected a known key: enabled, open_to",
        "environment: ADMIN_KEY = (set): expected 16 to 200 characters, or an empty text",
        'environment: HTTP_PORT = "x": expected a port, as 8080 or :8080',
        'command line: --listen = "q": expected HOST:PORT, [IPV6]:PORT or unix:/PATH',
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[devices]\nsample_seconds = nan", "expected a number"),
        ("[devices]\nsample_seconds = inf", "expected a number"),
        ("[devices]\nsample_seconds = true", "expected a number"),
        ("[server]\nconnections_per_address = 1.0", "expected a whole number"),
        (f"[server]\nconnections_per_address = {2**63}", "expected a whole number"),
        ("[server]\nconnections_per_address = 0", "at least 1"),
        ("[people]\nself_registration = 1", "expected true or false"),
        ("[log]\nlevel = 'loud'", 'expected one of "debug", "info", "warning", "error"'),
        ("server = 1", "expected a table"),
        ("listeners = 1", "expected an array of tables"),
        ("plugins = 1", "expected tables"),
        ("[plugins]\nown = 1", "expected a table"),
        ("[plugins.own]\nopen_to = ['10.0.0.1/8']", "expected a network"),
        ("[server]\npublic_url = 'ftp://x'", "expected http:// or https://"),
        ("[[listeners]]\naddress='0.0.0.0:1'\ntrust='owner'", 'expected trust = "none"'),
        ("[[listeners]]\naddress='127.0.0.1:1'\n[[listeners]]\naddress='127.0.0.1:1'", "that no other listener has"),
        ("[[listeners]]\naddress='127.0.0.1:1'\ntls=true\nkey='k'", "certificate and key together"),
        ("[[listeners]]\naddress='127.0.0.1:1'\ncertificate='c'\nkey='k'", "tls = true"),
        ("[[listeners]]\naddress='unix:/x'\ntls=true", "false on a unix socket"),
        ("[[listeners]]\naddress='unix:/x'\nmode='0999'", "an octal mode"),
        ("[[listeners]]\naddress='127.0.0.1:1'\nsite='/no/such/dist'", '[[listeners]] site = "/no/such/dist"'),
        ("[[listeners]]\naddress='127.0.0.1:1'\nsite='.'", "the absolute path of a folder"),
        (f"[[listeners]]\naddress='unix:/{'x' * 100}'", "at most 100 bytes"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert any(expected in problem for problem in problems(tmp_path, text))


def test_a_syntax_error_names_its_line_and_what_stands_there(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, "[server]\ndrain_seconds = = 5\n")
    assert problem.startswith('appliance.toml:2: file = "drain_seconds = = 5": expected TOML (')


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 1_100_000, b"a = " + b"[" * 100_000, b"[server\n"])
def test_a_file_that_is_no_configuration_is_one_problem_and_no_crash(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "appliance.toml"
    path.write_bytes(content)
    with pytest.raises(BadConfiguration) as caught:
        read_document(path)
    assert len(caught.value.problems) == 1


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match="No such file"):
        read_document(tmp_path / "nowhere.toml")


def test_the_file_wins_over_the_environment_and_the_environment_over_the_default(tmp_path: Path) -> None:
    environment = {"ADMIN_SECRET": "s" * 16, "MONITORING_MAX_HISTORY_MINUTES": "30"}
    settings = read(tmp_path, "", environment=environment)
    assert settings.people.admin_key == "s" * 16
    assert settings.plugin("own").own.history_max_minutes == 30
    settings = read(tmp_path, f"[people]\nadmin_key = '{'f' * 16}'", environment=environment | {"ADMIN_KEY": "k" * 16})
    assert settings.people.admin_key == "f" * 16


def test_two_variables_of_one_setting_must_not_say_different_things(tmp_path: Path) -> None:
    same = {"ADMIN_KEY": "k" * 16, "ADMIN_SECRET": "k" * 16}
    assert read(tmp_path, "", environment=same).people.admin_key == "k" * 16
    with pytest.raises(BadConfiguration) as caught:
        read(tmp_path, "", environment=same | {"ADMIN_SECRET": "s" * 16})
    (problem,) = caught.value.problems
    assert (problem.key, problem.found) == ("ADMIN_SECRET", "(set)")
    assert "ADMIN_KEY" in problem.expected


def test_http_port_adds_a_loopback_listener_once(tmp_path: Path) -> None:
    def addresses(port: str, text: str = "") -> list[str]:
        return [one.address for one in read(tmp_path, text, environment={"HTTP_PORT": port}).listeners]

    assert addresses(":9090") == ["127.0.0.1:8080", "127.0.0.1:9090"]
    assert addresses("8080") == ["127.0.0.1:8080"]
    assert addresses("9090", "[[listeners]]\naddress = '[::1]:1'") == ["[::1]:1", "127.0.0.1:9090"]


def test_listen_replaces_every_tcp_listener_and_keeps_unix_sockets(tmp_path: Path) -> None:
    text = "[[listeners]]\naddress = '127.0.0.1:1'\n[[listeners]]\naddress = 'unix:/run/a.sock'"
    settings = read(tmp_path, text, listen=("127.0.0.1:0",), environment={"HTTP_PORT": "9090"})
    assert [one.address for one in settings.listeners] == ["127.0.0.1:0", "unix:/run/a.sock"]


def test_variables_that_mean_nothing_here_are_named(tmp_path: Path) -> None:
    environment = {"MONGODB_URI": "x", "GRPC_PORT": "1", "PATH": "/bin"}
    loaded = load(read_document(None), environment=environment, plugin_settings={})
    assert loaded.ignored_environment == ("GRPC_PORT", "MONGODB_URI")


def test_a_plugin_that_is_off_may_have_any_keys(tmp_path: Path) -> None:
    settings = read(tmp_path, "[plugins.off]\nenabled = false\nanything = 1")
    assert not settings.plugin("off").enabled


def test_what_is_shown_names_each_origin_and_hides_secrets(tmp_path: Path) -> None:
    path = tmp_path / "appliance.toml"
    path.write_text("[devices]\nsample_seconds = 1\n[plugins.own]\nmode = 'b'")
    loaded = load(read_document(path), environment={"ADMIN_KEY": "k" * 16}, plugin_settings={"own": Own})
    items = {item.key: item for item in loaded.items}
    assert (items["devices.sample_seconds"].value, items["devices.sample_seconds"].origin) == (1.0, "file")
    assert (items["people.admin_key"].value, items["people.admin_key"].origin) == ("(set)", "environment ADMIN_KEY")
    assert (items["plugins.own.mode"].value, items["plugins.own.mode"].origin) == ("b", "file")
    assert items["server.drain_seconds"].origin == "default"
    assert "k" * 16 not in str(loaded.items)


def test_core_settings_can_be_read_before_plugins_are_known(tmp_path: Path) -> None:
    path = tmp_path / "appliance.toml"
    path.write_text("[loading]\nfolder = '/x'\n[devices]\nsample_seconds = 'hot'\n[plugins.any]\nx = 1")
    settings, found = core_settings(read_document(path), environment={})
    assert settings.loading.folder == "/x"
    assert settings.devices.sample_seconds == 2.0
    assert len(found) == 1


def test_the_generated_file_holds_every_setting_and_changes_nothing_when_uncommented(tmp_path: Path) -> None:
    text = default_document({"own": Own})
    assert read(tmp_path, text) == read(tmp_path, "")
    for key, _ in every_setting():
        assert re.search(rf"^# {key.partition('.')[2]} = ", text, re.MULTILINE), key
    values = re.sub(r"^# (\w+ = .*|\[\[\w+\]\])$", r"\1", text, flags=re.MULTILINE)
    assert read(tmp_path, values).devices == read(tmp_path, "").devices
    assert [one.address for one in read(tmp_path, values).listeners] == ["127.0.0.1:8080"]


def test_config_appliance_toml_is_what_the_settings_generate() -> None:
    classes = loading.settings_classes(loading.load())
    written = (ROOT / "config" / "appliance.toml").read_text()
    assert written == default_document(classes), "write it anew: python -m tests.appliance.config.write_document"


@pytest.mark.parametrize("path", sorted((ROOT / "config" / "examples").glob("*.toml")), ids=lambda path: path.stem)
def test_each_example_is_a_configuration_without_mistakes(path: Path) -> None:
    classes = loading.settings_classes(loading.load())
    assert load(read_document(path), environment={}, plugin_settings=classes).settings.listeners


def test_every_setting_has_one_sentence_of_help_and_says_what_applies_it() -> None:
    for key, one in every_setting():
        assert one.metadata[HELP].endswith("."), key
        assert one.metadata[RELOAD] in ("live", "restart"), key


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a",), 2),
        (("list",), 3),
        (("deep", "er", "x"), 8),
        (("many", 0, "y"), 10),
        (("many", 1, "y"), 12),
        (("many", 1, "text"), 13),
        (("last",), None),
        ((), None),
    ],
)
def test_the_line_of_a_value_is_where_it_begins(path: tuple[str | int, ...], line: int | None) -> None:
    text = (
        "# comment\na = 1\nlist = [\n 1,\n 2,\n]\n[deep]\ner.x = 1\n[[many]]\ny = 1\n[[many]]\ny = 2\n"
        'text = """\none\n[[many]]\n"""\n'
    )
    assert Lines(text).line_of(path) == line


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_no_value_of_any_kind_gets_past_the_types_or_crashes_them(value: object) -> None:
    from appliance.config.structure import structure
    from appliance.settings import DevicesSettings

    made, faults = structure(DevicesSettings, {"sample_seconds": value})
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0.1 <= value <= 3600
    assert bool(faults) != good
    assert made.sample_seconds == (value if good else 2.0)


@given(st.text(max_size=200))
def test_no_text_crashes_the_reader(text: str) -> None:
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError):
        return
    from appliance.config import Document

    try:
        load(Document(file="x", text=text, table=table), environment={}, plugin_settings={})
    except BadConfiguration as error:
        found = error.problems
    else:
        found = ()
    assert all(problem.line is None or problem.line >= 1 for problem in found)
