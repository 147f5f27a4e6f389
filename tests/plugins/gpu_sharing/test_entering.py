"""What a program that runs for somebody else has left of ours when it begins."""

import os
from pathlib import Path

import pytest

from appliance.testing import until
from plugins.gpu_sharing.entering import spare_nobody
from plugins.gpu_sharing.launching import Identity
from plugins.gpu_sharing.starting import Launched, Start, launch
from tests.plugins.gpu_sharing.runners import SECONDS, needs_root, open_folder

OWN = Identity(uid=os.geteuid(), gid=os.getegid(), home=Path("/"), is_own=True)
OTHER = Identity(uid=65_534, gid=65_534, home=Path("/"), is_own=False)
NAMELESS = Identity(uid=54_321, gid=54_322, home=Path("/"), is_own=False)


async def ended(identity: Identity, *argv: str, folder: str = "/", **variables: str) -> tuple[Launched, str]:
    """Run a program to its end; return it with what it wrote."""
    log_fd = os.memfd_create("log")
    try:
        start = Start(argv=argv, variables={"PATH": "/usr/bin:/bin"} | variables, identity=identity, folder=folder)
        launched = launch(start, log_fd)
        await until(launched.has_ended, seconds=SECONDS)
        launched.close()
        return launched, os.pread(log_fd, 10_000, 0).decode()
    finally:
        os.close(log_fd)


@needs_root
async def test_variables_of_a_command_reach_nothing_that_still_has_our_rights() -> None:
    with open_folder() as folder:
        folder.chmod(0o777)
        # The loader of every program that is given these writes a file as whoever it runs as: ld.so(8).
        launched, _ = await ended(OTHER, "true", LD_DEBUG="files", LD_DEBUG_OUTPUT=str(folder / "loader"))
        assert launched.status == 0
        (written,) = folder.iterdir()
        assert written.stat().st_uid == OTHER.uid


@needs_root
@pytest.mark.parametrize("identity", [OTHER, NAMELESS], ids=["account", "no account"])
async def test_program_of_another_user_has_that_users_rights_alone(identity: Identity) -> None:
    _, said = await ended(identity, "cat", "/proc/self/status")
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in said.splitlines())}
    assert fields["Uid"] == [str(identity.uid)] * 4
    assert fields["Gid"] == [str(identity.gid)] * 4
    assert "0" not in fields["Groups"]
    assert fields["NoNewPrivs"] == ["1"]
    assert {int(fields[name][0], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {0}
    assert [int(fields[name][0], 16) for name in ("SigIgn", "SigBlk")] == [0, 0]


async def test_program_that_cannot_be_started_says_in_words_why() -> None:
    launched, said = await ended(OWN, "/nowhere/program")
    assert (launched.status, launched.problem) == (
        127,
        "cannot be started: /nowhere/program: No such file or directory",
    )
    assert said == ""
    launched, _ = await ended(OWN, "true", folder="/nowhere")
    assert launched.problem == "cannot start in /nowhere: No such file or directory"
    launched, _ = await ended(OWN, "a\0b")
    assert launched.problem.startswith("cannot be started: a\0b: ")
    assert launched.problem.endswith("null character in path") or launched.problem.endswith("null byte")


@needs_root
async def test_program_that_its_user_may_not_run_is_not_run_with_our_rights() -> None:
    with open_folder() as folder:
        program = folder / "program"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o700)
        launched, _ = await ended(OTHER, str(program))
        assert launched.problem == f"cannot be started: {program}: Permission denied"


async def test_end_is_told_as_it_was() -> None:
    assert (await ended(OWN, "sh", "-c", "exit 7"))[0].status == 7
    assert (await ended(OWN, "sh", "-c", "kill -9 $$"))[0].status == -9


@pytest.mark.parametrize(("before", "after"), [("-500\n", "0"), ("0\n", "0\n"), ("300\n", "300\n")])
def test_only_who_was_spared_when_memory_runs_out_is_spared_no_more(tmp_path: Path, before: str, after: str) -> None:
    (tmp_path / "oom_score_adj").write_text(before)
    spare_nobody(str(tmp_path / "oom_score_adj"))
    assert (tmp_path / "oom_score_adj").read_text() == after
    spare_nobody(str(tmp_path / "none"))
