"""The life of this host's workers: what is wanted runs, what is not is gone, and nothing is left of either."""

import os
import pwd
import signal
import sys
from pathlib import Path

import httpx2 as httpx
import pytest
import trio
from attrs import evolve

from appliance.testing import until
from plugins.gpu_sharing.settings import CommandSettings
from plugins.gpu_sharing.tended import FOR_ALL, INTRUDER, LOG_BYTES, LOG_KEPT_BYTES
from tests.plugins.gpu_sharing.runners import (
    HTTP,
    INSTANCE,
    PERSON,
    PYTHON,
    QUICK,
    REPORT,
    SECONDS,
    WORKER,
    Bench,
    bench,
    command,
    is_alive,
    needs_root,
    open_folder,
    owner,
    program,
    python,
    text,
)

IGNORES_TERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
LEAVES_SESSION = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open("far.tmp", "w").write(str(os.getpid()))
        os.rename("far.tmp", "far")
        time.sleep(600)
time.sleep(600)
"""
CLEARS_MARK = """
import os, time
if os.fork() == 0:
    os.setsid()
    os.execve("/bin/sh", ["sh", "-c", "echo $$ > far.tmp; mv far.tmp far; exec sleep 600"], {"PATH": "/usr/bin:/bin"})
time.sleep(600)
"""
SAYS_ITS_PORT = """
import os, sys, time
open("port.tmp", "w").write(sys.argv[1])
os.rename("port.tmp", "port")
time.sleep(600)
"""
LISTENS = "import socket, sys, time; held = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(600)"
CLOSES = """
import os, signal, socket, sys, time
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
open("port.tmp", "w").write(sys.argv[1])
os.rename("port.tmp", "port")
signal.signal(signal.SIGUSR1, lambda *_: listening.close())
while True:
    time.sleep(600)
"""


async def test_command_answers_at_its_target_once_its_worker_is_running() -> None:
    async with bench() as it:
        it.want(command(*HTTP))
        state = await it.up()
        assert (state.status, state.why) == ("running", "")
        assert state.pid is not None
        assert is_alive(state.pid)
        assert state.target is not None
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://{state.target[0]}:{state.target[1]}/")
        assert answer.status_code == 200


async def test_worker_is_pending_while_nothing_answers_on_its_port() -> None:
    async with bench() as it:
        it.want(python("import time; print('up', flush=True); time.sleep(600)"))
        await until(lambda: it.state.pid and it.written() == "up\n", seconds=SECONDS)
        assert (it.state.status, it.state.target) == ("pending", None)
        assert "nothing answers" in it.state.why


@needs_root
async def test_command_has_nothing_of_ours_but_path_and_lang_and_a_folder_that_is_its_users_alone() -> None:
    async with bench() as it:
        it.want(python(REPORT, environment={"MODEL": "m"}))
        state = await it.up()
        found = await it.report()
        assert found["uids"] == [pwd.getpwnam(PERSON).pw_uid] * 3
        assert found["gids"] == [pwd.getpwnam(PERSON).pw_gid] * 3
        assert 0 not in found["groups"]
        assert found["no_new_privs"] == "1"
        assert int(found["capabilities"], 16) == 0
        assert found["session"] == found["pid"] == state.pid
        assert found["fds"] == [0, 1, 2]
        assert found["stdin"] == "/dev/null"
        assert (found["mode"], found["umask"]) == (0o700, "0077")
        assert int(found["blocked"], 16) == 0
        assert found["cwd"] == str(it.folder / "homes" / f"{WORKER}.{found['uids'][0]}")
        given = {name: text for name, text in found["environ"].items() if name != "LC_CTYPE"}  # its Python's own
        assert given == {
            "PATH": os.environ["PATH"],
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            "HOME": found["cwd"],
            "MODEL": "m",
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": "GPU-1",
            "ROCR_VISIBLE_DEVICES": "",
            "APPLIANCE_WORKER": f"{INSTANCE}:{WORKER}",
        }


async def test_command_starts_in_the_folder_that_is_set_and_has_it_as_its_home() -> None:
    async with bench() as it:
        it.want(command("/bin/sh", "-c", 'echo "$PWD $HOME"; exec sleep 600', folder="/usr"))
        await until(lambda: it.written() == "/usr /usr\n", seconds=SECONDS)


@needs_root
async def test_folder_above_that_keeps_the_user_out_is_named_with_what_would_help() -> None:
    async with bench() as it:
        it.folder.chmod(0o700)
        it.want(command(*HTTP))
        await until(lambda: "Permission denied" in it.state.why, seconds=SECONDS)
        assert it.state.status == "stopped"
        assert f"cannot start in {it.folder}/homes/{WORKER}." in it.state.why
        assert "unless its command has a folder" in it.state.why


async def test_command_is_not_spared_when_memory_runs_out_though_the_appliance_is() -> None:
    own = trio.Path("/proc/self/oom_score_adj")
    before = await own.read_text()
    try:
        await own.write_text("-500")
    except OSError:
        pytest.skip("only who may spare itself can show that others are not")
    try:
        async with bench() as it:
            it.want(python(REPORT))
            await it.up()
            assert (await it.report())["oom"] == "0"
    finally:
        await own.write_text(before)


async def test_crashed_command_is_started_again_and_counted_with_pauses_that_grow() -> None:
    async with bench() as it:
        it.want(python("import sys; print('run', flush=True); sys.exit(3)"))
        await until(lambda: it.state.restarts == 2, seconds=SECONDS)
        await until(lambda: it.state.status == "stopped", seconds=SECONDS)
        assert it.state.why == "its command ended with status 3; it is started again"
        assert it.written() == "run\nrun\n", "the second pause is 30 s long"


async def test_command_that_is_killed_is_started_again_at_another_pid() -> None:
    async with bench() as it:
        it.want(command(*HTTP))
        first = await it.up()
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        await until(lambda: it.state.restarts == 1, seconds=SECONDS)
        again = await it.up()
        assert (again.pid != first.pid, again.restarts) == (True, 1)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (None, "no command configured"),
        (command("/nowhere/server"), "its command cannot be started: /nowhere/server: No such file or directory"),
        pytest.param(
            command(*HTTP, user="no-such-person"),
            "not available because there is no user 'no-such-person' on this host",
            marks=needs_root,
        ),
        pytest.param(
            command(*HTTP, user="root"),
            "not available because its command would run as the appliance's own user: unsafe_same_uid = true would"
            " allow it",
            marks=needs_root,
        ),
    ],
)
async def test_worker_that_cannot_run_says_why(wanted: CommandSettings | None, words: str) -> None:
    async with bench() as it:
        it.want(wanted)
        await until(lambda: it.state.why.startswith(words), seconds=SECONDS)
        await until(lambda: it.state.status == "stopped", seconds=SECONDS)
        assert it.state.target is None


async def test_worker_that_is_not_wanted_is_asked_to_end_and_is_stopping_until_it_has() -> None:
    script = """
import os, signal, sys, time
def asked(*_):
    print("asked", flush=True)
    while not os.path.exists("go"):
        time.sleep(0.01)
    sys.exit(0)
signal.signal(signal.SIGTERM, asked)
print("up", flush=True)
time.sleep(600)
"""
    async with bench() as it:
        it.running.pace = evolve(QUICK, grace_seconds=600.0)
        it.want(python(script))
        await until(lambda: it.state.pid and it.written() == "up\n", seconds=SECONDS)
        pid = it.state.pid
        assert pid is not None
        it.want(python(script), enabled=False)
        await until(lambda: it.written() == "up\nasked\n", seconds=SECONDS)
        assert (it.state.status, it.state.pid, it.state.why) == ("stopping", pid, "disabled")
        await trio.Path(f"/proc/{pid}/cwd/go").touch()
        await until(lambda: it.state.status == "stopped", seconds=SECONDS)
        assert (it.state.why, is_alive(pid)) == ("disabled", False)


@pytest.mark.parametrize("is_fenced", [True, False], ids=["cgroup", "session"])
async def test_command_that_will_not_end_is_ended(is_fenced: bool) -> None:
    async with bench(is_fenced=is_fenced) as it:
        it.want(python(IGNORES_TERM))
        await until(lambda: it.state.pid and it.written() == "up\n", seconds=SECONDS)
        pid = it.state.pid
        assert pid is not None
        began = trio.current_time()
        it.remove()
        await it.gone()
        assert not is_alive(pid)
        assert trio.current_time() - began >= QUICK.grace_seconds, "it was given its time"


@pytest.mark.parametrize("is_fenced", [True, False], ids=["cgroup", "mark"])
@pytest.mark.parametrize("how", ["removed", "killed", "cancelled"])
async def test_what_has_left_the_session_ends_with_its_command(how: str, is_fenced: bool) -> None:
    async with bench(is_fenced=is_fenced) as it:
        it.want(python(LEAVES_SESSION))
        pid = int(await it.written_to("far"))
        assert is_alive(pid)
        leader = it.state.pid
        assert leader is not None
        if how == "removed":
            it.remove()
            await it.gone()
        elif how == "killed":
            os.kill(leader, signal.SIGKILL)
            await until(lambda: not is_alive(pid), seconds=SECONDS)
    assert not is_alive(pid)


async def test_what_has_left_its_session_and_its_mark_ends_where_there_are_cgroups() -> None:
    async with bench() as it:
        it.want(python(CLEARS_MARK))
        pid = int(await it.written_to("far"))
        if "appliance-workers" not in text(f"/proc/{pid}/cgroup"):
            os.kill(pid, signal.SIGKILL)
            pytest.skip("no cgroup can be made here")
        it.remove()
        await it.gone()
        assert not is_alive(pid)
        assert it.running.cgroups is not None
        assert not (it.running.cgroups / WORKER).exists()


async def test_changed_command_is_started_anew_and_the_same_one_goes_on() -> None:
    async with bench() as it:
        it.want(command(*HTTP))
        first = await it.up()
        it.want(command(*HTTP), name="one")
        await trio.sleep(QUICK.look_seconds * 3)
        assert it.state.pid == first.pid
        it.want(command(*HTTP, environment={"A": "b"}))
        await until(lambda: it.state.pid not in (None, first.pid) and it.state.target, seconds=SECONDS)
        assert first.pid is not None
        assert not is_alive(first.pid)
        assert it.state.restarts == 0, "only ends by itself are counted"


async def test_workers_have_ports_of_their_own() -> None:
    async with bench() as it:
        for each in ("a", "b", "c"):
            it.want(command(*HTTP), worker_id=each)
        ports = {(await it.up(each)).target for each in ("a", "b", "c")}
        assert len(ports) == 3


@needs_root
async def test_no_guest_is_let_through_to_another_users_program_on_its_port() -> None:
    async with bench() as it:
        it.want(python(SAYS_ITS_PORT))
        port = await it.written_to("port")
        with program(PYTHON, "-c", LISTENS, port, user=1, group=1, extra_groups=[], cwd="/"):
            await until(lambda: it.state.why == INTRUDER, seconds=SECONDS)
            assert (it.state.status, it.state.target) == ("pending", None)
        await until(lambda: "nothing answers" in it.state.why, seconds=SECONDS)


@needs_root
async def test_guests_are_let_through_no_more_once_another_user_has_taken_the_port_over() -> None:
    async with bench() as it:
        it.want(python(CLOSES))
        port = await it.written_to("port")
        state = await it.up()
        assert state.pid is not None
        os.kill(state.pid, signal.SIGUSR1)
        await until(lambda: it.state.target is None, seconds=SECONDS)
        with program(PYTHON, "-c", LISTENS, port, user=1, group=1, extra_groups=[], cwd="/"):
            await until(lambda: it.state.why == INTRUDER, seconds=SECONDS)
            assert (it.state.pid, it.state.target) == (state.pid, None)


async def test_command_that_listens_for_everybody_runs_and_is_warned_of() -> None:
    async with bench() as it:
        it.want(python(REPORT, "{port}", "0.0.0.0"))
        assert (await it.up()).why == FOR_ALL


async def test_placeholders_are_filled_in() -> None:
    async with bench() as it:
        it.want(python(REPORT, "{port}", "127.0.0.1", "{worker_id}", "x{name}x", "{other}"))
        state = await it.up()
        assert state.target is not None
        assert (await it.report())["argv"] == [str(state.target[1]), "127.0.0.1", WORKER, "xonex", "{other}"]


async def test_what_a_command_writes_is_bounded_and_its_end_is_kept() -> None:
    async with bench() as it:
        log = it.folder / "own" / f"{WORKER}.log"
        await trio.Path(log).write_bytes(b"x" * LOG_BYTES + b"last\n")  # what it wrote before it was started again
        it.want(python("import time; print('next', flush=True); time.sleep(600)"))
        kept = log.with_suffix(".log.1")
        await until(lambda: kept.exists() and kept.stat().st_size == LOG_KEPT_BYTES, seconds=SECONDS)
        assert log.stat().st_size <= len("next\n")
        assert b"xlast\n" in kept.read_bytes()[-len("last\nnext\n") - 1 :]


async def test_what_a_command_writes_is_ours_alone_to_read() -> None:
    async with bench() as it:
        it.want(python("import time; print('up', flush=True); time.sleep(600)"))
        await until(lambda: it.written() == "up\n", seconds=SECONDS)
        log = (it.folder / "own" / f"{WORKER}.log").stat()
        assert (log.st_mode & 0o777, log.st_uid) == (0o600, os.geteuid())


async def test_command_as_ourselves_is_told_of() -> None:
    async with bench() as it:
        said = [it.running.uses_own_uid]
        it.want(CommandSettings(argv=HTTP, unsafe_same_uid=True))
        assert [*said, it.running.uses_own_uid] == [False, True]
        state = await it.up()
        assert owner(state.pid) == os.geteuid()
        assert os.readlink(f"/proc/{state.pid}/cwd") == f"{it.folder}/own/homes/{WORKER}.{os.geteuid()}"


PARENT = """
import sys, trio
from pathlib import Path
from tests.plugins.gpu_sharing.runners import Bench, python
it = Bench(Path(sys.argv[1]))
it.want(python(sys.argv[2]))
trio.run(it.running.run)
"""


@pytest.mark.parametrize("script", [IGNORES_TERM, LEAVES_SESSION], ids=["leader", "descendant"])
async def test_killed_appliance_leaves_nothing_once_it_has_started_again(script: str) -> None:
    script = f'import os; open("t", "w").write(str(os.getpid())); os.rename("t", "near")\n{script}'
    with open_folder() as folder:
        it = Bench(folder)
        with program(sys.executable, "-c", PARENT, str(folder), script, cwd=Path.cwd()):
            near = int(await it.written_to("near"))
            far = [int(await it.written_to("far"))] if "far" in script else []
        await until(lambda: not is_alive(near), seconds=SECONDS)  # at once: it ends with its parent
        assert all(map(is_alive, far)), "what it has left is ended by the next run"
        async with trio.open_nursery() as nursery:
            await nursery.start(it.running.run)
            assert not any(map(is_alive, far))
            nursery.cancel_scope.cancel()
