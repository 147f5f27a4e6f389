"""``appliance license``: verdicts in words, with the appliance's keys or a key set in a file."""

import json
from collections.abc import Callable
from pathlib import Path

from .conftest import Said, Terminal


async def issued(terminal: Terminal) -> tuple[str, str]:
    """Issue a licence; the appliance beside the terminal goes by the real clock."""
    licenses = terminal.appliance.state.licenses
    one = await licenses.issue(agent_id="agent-1", plan="pro", max_gpus=8, max_workers=16)
    return one.plain, one.encrypted


async def test_a_licence_is_judged_in_each_form_in_which_it_is_handed_around(
    terminal: Terminal, tmp_path: Path
) -> None:
    plain, encrypted = await issued(terminal)
    pair = {"plain": plain, "encrypted": encrypted}
    file = tmp_path / "licence"
    for text in (
        f"{plain}\n{encrypted}\n",
        f"{plain}\r\n{encrypted}\r\n",
        f"PATH=/bin\nTF_LICENSE={plain}\nTF_LICENSE_SIGN={encrypted}\n",
        json.dumps(pair),
        json.dumps({"success": True, "license": pair}),
    ):
        file.write_text(text)
        said = await terminal("license", "verify", str(file))
        assert (said.status, said.err) == (0, "")
        assert "holds until" in said.out
        assert "agent agent-1, plan pro, 8 GPUs, 16 workers" in said.out
    assert (await terminal("license", "verify", "-", stdin=f"{plain}\n{encrypted}")).status == 0


async def test_a_refusal_says_why_and_exits_with_one(terminal: Terminal, tmp_path: Path) -> None:
    plain, encrypted = await issued(terminal)
    file = tmp_path / "licence"
    file.write_text(f"{plain}\n{encrypted}\n")
    expires_unix_s = str(int(plain.split("|")[2]) / 1000)
    for words, text, told in (
        ((), f"{plain.replace('pro', 'all')}\n{encrypted}\n", "the signature is not that of this text"),
        (("--agent", "agent-2"), None, "it is for the agent 'agent-1', not for 'agent-2'"),
        (("--at", expires_unix_s), None, "it expired 0 s ago"),
        (("--at", "0"), None, "in the future"),
        ((), f"{plain}\n{encrypted[:-1]}\n", "canonical base64url"),
        ((), "one line", "plain and encrypted are not in it"),
        ((), "{", "it is not JSON"),
        ((), '{"license": null}', "plain and encrypted are not in it"),
        ((), "\n" * 70_000, "more than 65536 bytes"),
    ):
        said = await terminal("license", "verify", "-", *words, stdin=file.read_text() if text is None else text)
        assert said.status == 1
        assert told in said.err
        assert said.out == ""
    assert (await terminal("license", "verify", "--at", "nan", str(file))).status == 2
    missing = await terminal("license", "verify", str(tmp_path / "nothing"))
    assert (missing.status, "cannot be read" in missing.err) == (1, True)
    file.write_bytes(b"\xff\xfe\x00")
    assert "it is not text" in (await terminal("license", "verify", str(file))).err


async def test_json_gives_the_verdict_to_programs(terminal: Terminal) -> None:
    plain, encrypted = await issued(terminal)
    good = json.loads((await terminal("license", "verify", "-", "--json", stdin=f"{plain}\n{encrypted}")).out)
    assert good["ok"] is True
    assert (good["agent_id"], good["plan"], good["max_gpus"], good["max_workers"]) == ("agent-1", "pro", 8, 16)
    assert good["expires_unix_s"] - good["issued_unix_s"] == 7_200
    bad = await terminal("license", "verify", "-", "--json", stdin=f"{plain}0\n{encrypted}")
    assert bad.status == 1
    assert json.loads(bad.out)["reason"] == "signature"


async def test_a_licence_is_judged_offline_by_a_key_set_in_a_file(
    terminal: Terminal, tmp_path: Path, alone: Callable[..., Said]
) -> None:
    plain, encrypted = await issued(terminal)
    keys = tmp_path / "keys.json"
    keys.write_bytes((await terminal.appliance.get("/.well-known/jwks.json")).body)
    nowhere = {"APPLIANCE_DATA_DIR": str(tmp_path / "nothing")}
    pair = f"{plain}\n{encrypted}"
    assert alone("license", "verify", "-", "--jwks", str(keys), stdin=pair, **nowhere).status == 0
    keys.write_text('{"keys": []}')
    foreign = alone("license", "verify", "-", "--jwks", str(keys), stdin=pair, **nowhere)
    assert (foreign.status, "not (or no longer) known" in foreign.err) == (1, True)
    keys.write_text("no keys")
    assert "not JSON" in alone("license", "verify", "-", "--jwks", str(keys), stdin=pair, **nowhere).err
    without = alone("license", "verify", "-", stdin=pair, **nowhere)
    assert (without.status, "there is no appliance" in without.err) == (1, True)
    assert not (tmp_path / "nothing").exists()


async def test_keys_are_listed_and_rotated(terminal: Terminal) -> None:
    plain, encrypted = await issued(terminal)
    listed = (await terminal("license", "keys")).out.splitlines()
    assert [line.split()[1] for line in listed[1:]] == ["next", "active"]
    waits = await terminal("license", "rotate")
    assert "it must be published for 24 hours first" in waits.out
    assert listed[1].split()[0] in waits.out
    dropped = await terminal("license", "rotate", "--emergency")
    assert dropped.out.startswith("2 keys are revoked")
    after = [line.split()[1] for line in (await terminal("license", "keys")).out.splitlines()[1:]]
    assert sorted(after) == ["active", "gone", "gone", "next"]
    refused = await terminal("license", "verify", "-", stdin=f"{plain}\n{encrypted}")
    assert (refused.status, "no longer" in refused.err) == (1, True)


def test_keys_are_kept_by_commands_where_no_appliance_runs(alone: Callable[..., Said], tmp_path: Path) -> None:
    assert "there is no appliance" in alone("license", "keys").err
    assert "signs from" in alone("license", "rotate").out
    assert [line.split()[1] for line in alone("license", "keys").out.splitlines()[1:]] == ["next", "active"]
    assert "2 keys are revoked" in alone("license", "rotate", "--emergency").out
    for path in (tmp_path / "data" / "keys").glob("license-*"):
        path.chmod(0o644)
    refused = alone("license", "keys")
    assert refused.status == 1
    assert "others can get at the licence key" in refused.err
    assert "chmod 600" in refused.err


def test_asking_for_help_loads_no_cryptography(alone: Callable[..., Said]) -> None:
    for words in (("--help",), ("license", "--help"), ("license", "verify", "--help")):
        said = alone(*words, PYTHONPROFILEIMPORTTIME="1")
        assert said.status == 0
        assert "appliance.cli" in said.err  # the list of what was imported is there
        assert "cryptography" not in said.err
