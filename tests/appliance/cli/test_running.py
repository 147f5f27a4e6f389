"""Commands beside a running appliance."""

import json
from pathlib import Path

from appliance.testing import running

from .conftest import Terminal

PASSWORD = "a long enough password\n"


async def test_devices_and_ps_and_top_show_what_the_appliance_sees(terminal: Terminal) -> None:
    devices = await terminal("devices")
    assert devices.status == 0
    assert "Scripted 80G" in devices.out
    assert "42 %" in devices.out
    assert "8.0 GiB of 80.0 GiB" in devices.out
    assert (await terminal("ps")).out == "no process uses a GPU\n"
    top = await terminal("top", "--count", "1")
    assert "memory" in top.out
    assert "Scripted 80G" in top.out


async def test_json_prints_exactly_what_the_api_answers(terminal: Terminal) -> None:
    said = await terminal("--json", "plugins", "list")
    answer = await terminal.appliance.control("GET", "/api/appliance/plugins")
    assert json.loads(said.out) == answer.json
    assert (await terminal("plugins", "list", "--json")).out == said.out


async def test_setup_link_leads_to_the_first_admin_and_dies_with_it(terminal: Terminal) -> None:
    link = (await terminal("setup-link")).out.strip()
    assert "/setup#t=setup_" in link
    assert (await terminal("user", "add", "ana", "--role", "admin", "--password-stdin", stdin=PASSWORD)).status == 0
    refused = await terminal("setup-link")
    assert refused.status == 1
    assert "has an admin already" in refused.err
    assert " hint: " in refused.err


async def test_people_are_added_listed_reset_and_removed(terminal: Terminal) -> None:
    for name, role in (("ana", "admin"), ("bo@example.net", "viewer")):
        added = await terminal("user", "add", name, "--role", role, "--password-stdin", stdin=PASSWORD)
        assert added.out == f"{name} may log in as {role}\n"
    listed = await terminal("user", "list")
    assert [line.split()[:2] for line in listed.out.splitlines()[1:]] == [
        ["ana", "admin"],
        ["bo@example.net", "viewer"],
    ]
    assert "#t=reset_" in (await terminal("user", "reset", "bo@example.net")).out
    assert (await terminal("user", "remove", "bo@example.net")).status == 0
    last = await terminal("user", "remove", "ana")
    assert last.status == 1
    assert "admin" in last.err


async def test_tokens_are_made_used_rotated_and_revoked(terminal: Terminal) -> None:
    await terminal("user", "add", "ana", "--role", "admin", "--password-stdin", stdin=PASSWORD)
    made = json.loads((await terminal("token", "create", "pat", "--user", "ana", "--label", "cli", "--json")).out)
    away = {"APPLIANCE_SERVER": terminal.appliance.url, "APPLIANCE_TOKEN": made["token"]}
    assert "Scripted 80G" in (await terminal("devices", **away)).out
    assert made["token"] not in (await terminal("token", "list")).out
    fresh = json.loads((await terminal("token", "rotate", made["id"], "--json")).out)
    assert (await terminal("devices", **away)).status == 1
    away["APPLIANCE_TOKEN"] = fresh["token"]
    assert (await terminal("devices", **away)).status == 0
    assert (await terminal("token", "revoke", fresh["id"])).status == 0
    ended = await terminal("devices", **away)
    assert ended.status == 1
    assert "error: " in ended.err


async def test_every_kind_of_token_can_be_made(terminal: Terminal) -> None:
    for words in (
        ("token", "create", "machine", "--pool", "default", "--machine-id", "m1"),
        ("token", "create", "worker"),
        ("token", "create", "workspace", "--workspace", "w"),
        ("token", "create", "admin-key", "--expires-in-days", "30"),
        ("token", "create", "drone", "d1"),
        ("token", "create", "scrape"),
    ):
        made = await terminal(*words)
        assert made.status == 0, made.err
        assert "shown once" in made.out
    kinds = {line.split()[1] for line in (await terminal("token", "list")).out.splitlines()[1:]}
    assert kinds == {"machine", "worker", "workspace", "admin-key", "drone", "scrape"}


async def test_login_keeps_address_and_token_for_later_commands(terminal: Terminal, tmp_path: Path) -> None:
    await terminal("user", "add", "ana", "--role", "admin", "--password-stdin", stdin=PASSWORD)
    made = json.loads((await terminal("token", "create", "pat", "--user", "ana", "--json")).out)
    url = terminal.appliance.url
    elsewhere = {"APPLIANCE_DATA_DIR": str(tmp_path / "nothing")}
    said = await terminal("login", url, "--token-stdin", stdin=made["token"] + "\n", **elsewhere)
    assert said.status == 0, said.err
    kept = tmp_path / "config" / "appliance" / "login.json"
    assert "as ana" in said.out
    if not kept.exists():  # root keeps it beside the host's configuration
        kept = Path("/etc/appliance/login.json")
    try:
        assert kept.stat().st_mode & 0o777 == 0o600
        assert "Scripted 80G" in (await terminal("devices", **elsewhere)).out
    finally:
        kept.unlink()
    wrong = await terminal("login", url, "--token-stdin", stdin="pat_wrong\n", **elsewhere)
    assert wrong.status == 1
    assert not kept.exists()


async def test_audit_lists_what_people_did_and_verifies_the_chain(terminal: Terminal) -> None:
    await terminal("user", "add", "ana", "--role", "admin", "--password-stdin", stdin=PASSWORD)
    assert "person.add" in (await terminal("audit", "list", "--limit", "10")).out
    whole = await terminal("audit", "verify")
    assert whole.status == 0
    assert "the chain is whole" in whole.out


async def test_config_show_and_reload_speak_of_the_running_appliance(terminal: Terminal) -> None:
    file = terminal.appliance.data_dir.parent / "appliance.toml"
    file.write_text('[log]\nlevel = "warning"\n[loading]\nrequired = ["dashboard"]\n')
    assert '"info"' in (await terminal("config", "show")).out
    reloaded = await terminal("config", "reload")
    assert reloaded.out == "applied: log.level\nneeds a restart: loading.required\n"
    file.write_text("[log\n")
    refused = await terminal("config", "reload")
    assert refused.status == 1
    assert "appliance.toml:1" in refused.err


async def test_a_plugins_command_runs_and_its_services_can_be_restarted(tmp_path: Path) -> None:
    source = """
from appliance.plugin import Command, Core, Parts, hookimpl
import trio
appliance_api = 1

class Spin:
    name = "spin"
    async def run(self, *, task_status=trio.TASK_STATUS_IGNORED):
        task_status.started()
        await trio.sleep_forever()

@hookimpl
def appliance_commands():
    return [Command(name="fan", help="Say how the fans spin.", target="plugins.acme:fan")]

@hookimpl
def appliance_setup(core: Core) -> Parts:
    return Parts(services=[Spin()])

def fan(api, arguments):
    states = [one["state"] for one in api.get("/api/appliance/plugins").json["items"] if one["name"] == "acme"]
    print("fan", states, arguments)
    return 7
"""
    async with running(tmp_path, plugins={"acme": source}) as appliance:
        terminal = Terminal(appliance)
        assert "Say how the fans spin." in (await terminal("--help")).out
        said = await terminal("fan", "--fast", "2")
        assert (said.status, said.out) == (7, "fan ['running'] ['--fast', '2']\n")
        elsewhere = {"APPLIANCE_DATA_DIR": str(tmp_path / "nowhere")}
        for words in (("--data-dir", str(appliance.data_dir), "fan"), ("fan", f"--data-dir={appliance.data_dir}")):
            assert (await terminal(*words, **elsewhere)).out == "fan ['running'] []\n"
        assert (await terminal("plugins", "restart", "acme")).status == 0
        assert (await terminal("plugins", "restart", "nobody")).status == 1
