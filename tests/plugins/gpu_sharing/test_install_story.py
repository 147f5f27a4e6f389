"""The install line in real shells: what is pasted shows its token to nobody, joins once, and runs what it was made for.

What it fetches is a script in the agent's place: it registers as the agent does, with what the line gives it.
"""

import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import trio

from appliance.testing import RunningAppliance, running
from tests.plugins.gpu_sharing.kit import SHARING, Caller, person

NAME = "ggo-linux"
FILE = f"/api/ecosystem/releases/files/{NAME}"
AGENT = """#!/bin/sh
# Notes what other users of this host could read meanwhile, then registers.
for each in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <"$each" 2>/dev/null; echo; done >"$HOME/command-lines"
printf '%s\\n' "$0" "$@" >"$HOME/arguments"
[ "$1 $2" = "agent register" ] || exit 2
curl -fsS -X POST "$GPU_GO_ENDPOINT/api/v1/agents/register" -H @- -H "Content-Type: application/json" \\
  -d '{"hostname":"fresh","os":"linux","arch":"amd64","gpus":null}' >"$HOME/registered" <<END
Authorization: Bearer $GPU_GO_TOKEN
END
"""

pytestmark = pytest.mark.skipif(
    any(shutil.which(one) is None for one in ("curl", "sha256sum", "install")), reason="no curl or no coreutils here"
)


@pytest.fixture
async def appliance(tmp_path: Path) -> AsyncIterator[RunningAppliance]:
    async with running(tmp_path) as made:
        yield made


async def mirrored(appliance: RunningAppliance, text: str = AGENT, version: str = "1.0.0") -> None:
    """Put a script into the mirror as the agent of this machine, as ``appliance share release add`` does."""
    file = appliance.data_dir.parent / f"agent-{version}"
    await trio.Path(file).write_text(text)
    arch = "arm64" if os.uname().machine == "aarch64" else "amd64"
    release = {"path": str(file), "name": NAME, "vendor": "nvidia", "version": version, "type": "cli", "arch": arch}
    added = await appliance.control("POST", f"{SHARING}/releases", release)
    assert added.status == 201, added.text


async def line_of(owner: Caller) -> Any:
    """Return a fresh install token with its line."""
    return await owner.made("/api/v1/tokens/generate", {"type": "agent_install"})


def left_by(home: Path) -> Path:
    """Return where the shell of that home makes temporary files."""
    return home.with_name(f"{home.name}-temporary")


async def pasted(line: str, home: Path) -> "CompletedProcess[bytes]":
    """Paste a line into the shell of a person who has nothing; say whether that shell goes on after it."""
    for folder in (home, left_by(home)):
        await trio.Path(folder).mkdir(exist_ok=True)
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(left_by(home)),
        "GGO_INSTALL_DIR": str(home / "bin"),
    }
    typed = f"{line}\necho status $?\n".encode()
    with trio.fail_after(60):
        return await trio.run_process(["sh"], stdin=typed, env=variables, capture_stdout=True, capture_stderr=True)


async def agents(owner: Caller) -> list[Any]:
    found: list[Any] = (await owner.read("/api/v1/agents"))["agents"]
    return found


async def test_pasted_line_installs_and_registers_and_shows_its_token_on_no_command_line(
    appliance: RunningAppliance, tmp_path: Path
) -> None:
    await mirrored(appliance)
    ana, home = await person(appliance), tmp_path / "home"
    made = await line_of(ana)
    before = await ana.read(f"/api/v1/tokens/{made['token_id']}/status")
    assert before["status"] == "active"
    done = await pasted(made["install_command"], home)
    assert done.stdout.splitlines()[-1] == b"status 0", done.stderr
    (agent,) = await agents(ana)
    assert (agent["hostname"], agent["gpus"], agent["status"]) == ("fresh", [], "pending")
    after = await ana.read(f"/api/v1/tokens/{made['token_id']}/status")
    assert (after["status"], after["agent"]["agent_id"]) == ("used", agent["agent_id"])
    program = home / "bin" / "ggo"
    assert program.read_text() == AGENT
    assert (home / "arguments").read_text().split("\n") == [str(program), "agent", "register", ""]
    seen = (home / "command-lines").read_text()
    assert str(program) in seen
    assert made["token"] not in seen
    assert agent["agent_id"] in (home / "registered").read_text()
    assert list(left_by(home).iterdir()) == []


async def test_line_pasted_into_several_shells_at_once_joins_exactly_one(
    appliance: RunningAppliance, tmp_path: Path
) -> None:
    await mirrored(appliance)
    ana = await person(appliance)
    made = await line_of(ana)
    said: list[bytes] = []

    async def paste(number: int) -> None:
        said.append((await pasted(made["install_command"], tmp_path / f"home-{number}")).stdout.splitlines()[-1])

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(paste, number)
    assert len(await agents(ana)) == 1
    assert said.count(b"status 0") == 1
    assert len(said) == 4


@pytest.mark.parametrize("how", ["written over", "replaced by a release", "removed"])
async def test_line_runs_nothing_but_what_it_was_made_for(
    appliance: RunningAppliance, tmp_path: Path, how: str
) -> None:
    await mirrored(appliance)
    ana, home = await person(appliance), tmp_path / "home"
    made = await line_of(ana)
    if how == "written over":
        # Of the same size: only its hash tells.
        stored = appliance.data_dir / "plugin-data" / "gpu_sharing" / "releases" / NAME
        stored.write_text(AGENT.replace("exit 2", "exit 3"))
    elif how == "replaced by a release":
        await mirrored(appliance, AGENT + "# and more\n", "1.0.1")
    else:
        gone = await appliance.control("DELETE", f"{SHARING}/releases/{NAME}")
        assert gone.status == 200
    done = await pasted(made["install_command"], home)
    assert done.stdout.splitlines() == [b"status 1"]
    assert (b"cannot fetch" if how == "removed" else b"nothing was run") in done.stderr
    assert list(home.iterdir()) == list(left_by(home).iterdir()) == []
    assert await agents(ana) == []
    token = await ana.read(f"/api/v1/tokens/{made['token_id']}/status")
    assert token["status"] == "active"
    if how == "replaced by a release":
        again = await pasted((await line_of(ana))["install_command"], home)
        assert again.stdout.splitlines()[-1] == b"status 0", again.stderr


async def test_release_is_resumed_by_a_range_and_whole_it_has_the_listed_hash(
    appliance: RunningAppliance, tmp_path: Path
) -> None:
    await mirrored(appliance)
    (release,) = (await appliance.get("/api/ecosystem/releases")).json["releases"]
    (artifact,) = release["artifacts"]
    content, target = AGENT.encode(), tmp_path / "partial"
    assert artifact["url"] == f"{appliance.url}{FILE}"
    target.write_bytes(content[:100])
    await trio.run_process(["curl", "-fsS", "-C", "-", "-o", str(target), artifact["url"]], capture_stderr=True)
    assert hashlib.sha256(target.read_bytes()).hexdigest() == artifact["sha256"]
    part = await appliance.get(FILE, headers={"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(content)}"
    last = await appliance.get(FILE, headers={"Range": "bytes=-5"})
    assert (last.status, last.body) == (206, content[-5:])
    beyond = await appliance.get(FILE, headers={"Range": f"bytes={len(content)}-"})
    assert beyond.status == 416
