"""The runner's life: what is wanted runs, what is not is gone, and nothing is left of either."""

import os
import signal
import sys
from functools import partial
from pathlib import Path

import httpx2 as httpx
import pytest
import trio

from appliance.testing import until
from plugins.gpu_sharing.runner.tended import FOR_ALL, LOG_BYTES, LOG_KEPT_BYTES
from plugins.gpu_sharing.settings import CommandSettings
from tests.plugins.gpu_sharing.runners import (
    HTTP,
    INSTANCE,
    PYTHON,
    QUICK,
    REPORT,
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
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(99)"
)
LEAVES_SESSION = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open("far", "w").write(str(os.getpid()))
        time.sleep(99)
time.sleep(99)
"""
CLEARS_MARK = """
import os, time
if os.fork() == 0:
    os.setsid()
    os.execve("/bin/sh", ["sh", "-c", "echo $$ > far; sleep 99"], {"PATH": "/usr/bin:/bin"})
time.sleep(99)
"""


async def test_command_answers_at_its_target_once_its_worker_is_running() -> None:
    async with bench() as it:
        it.want(command(*HTTP))
        state = await it.running()
        assert state.status == "running"
        assert state.why == state.warning == ""
        assert state.pid is not None
        assert is_alive(state.pid)
        assert state.target is not None
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://{state.target[0]}:{state.target[1]}/")
        assert answer.status_code == 200


async def test_worker_is_pending_while_nothing_answers_on_its_port() -> None:
    async with bench() as it:
        it.want(python("import time; print('up', flush=True); time.sleep(99)"))
        await until(lambda: it.state.pid and it.written() == "up\n")
        assert (it.state.status, it.state.target) == ("pending", None)
        assert "nothing answers" in it.state.why


@needs_root
async def test_command_has_nothing_of_ours_but_path_and_lang() -> None:
    async with bench() as it:
        it.want(python(REPORT, environment={"MODEL": "m"}), gpu_ids=("GPU-1",))
        state = await it.running()
        found = it.report()
        assert found["uids"] == [65534] * 3
        assert found["gids"] == [65534] * 3
        assert 0 not in found["groups"]
        assert found["no_new_privs"] == "1"
        assert int(found["capabilities"], 16) == 0
        assert found["session"] == found["pid"] == state.pid
        assert found["fds"] == [0, 1, 2]
        assert found["stdin"] == "/dev/null"
        assert (found["mode"], found["umask"]) == (0o700, "0077")
        assert int(found["blocked"], 16) == 0
        assert found["cwd"] == str(it.folder / "homes" / f"{WORKER}.65534")
        assert found["environ"] == {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": found["cwd"],
            "USER": "nobody",
            "LOGNAME": "nobody",
            "MODEL": "m",
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": "GPU-1",
            "ROCR_VISIBLE_DEVICES": "",
            "HIP_VISIBLE_DEVICES": "-1",
            "APPLIANCE_WORKER": f"{INSTANCE}:{WORKER}",
        } | {name: text for name, text in found["environ"].items() if name == "LC_CTYPE"}


async def test_command_ignores_no_signal_that_our_own_python_does() -> None:
    async with bench() as it:
        it.want(command("/bin/sh", "-c", "grep -E 'Sig(Ign|Blk)' /proc/self/status; exec sleep 99"))
        lines = await until(lambda: it.state.pid and it.written().splitlines()[1:] and it.written().splitlines())
        assert [int(line.split()[1], 16) for line in lines] == [0, 0]


async def test_crashed_command_is_started_again_and_counted_with_pauses_that_grow() -> None:
    async with bench() as it:
        it.want(python("import sys; print('run', flush=True); sys.exit(3)"))
        await until(lambda: it.state.restarts == 2, seconds=10)
        await until(lambda: it.state.status == "stopped")
        assert it.state.why == "its command ended (status 3); it is started again"
        assert it.written() == "run\nrun\n", "the second pause is 30 s long"


async def test_command_that_is_killed_is_started_again_at_another_pid() -> None:
    async with bench() as it:
        it.want(command(*HTTP))
        first = await it.running()
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        await until(lambda: it.state.restarts == 1)
        again = await it.running()
        assert again.pid != first.pid
        assert again.restarts == 1


async def test_worker_without_command_says_so() -> None:
    async with bench() as it:
        it.want(None)
        assert (it.state.status, it.state.why) == ("stopped", "no command configured")
        await trio.sleep(0.05)
        assert (it.state.status, it.state.why) == ("stopped", "no command configured")


async def test_program_that_is_not_there_is_named() -> None:
    async with bench() as it:
        it.want(command("/nowhere/server"))
        await until(lambda: it.state.status == "stopped")
        await until(lambda: "/nowhere/server: No such file" in it.state.why)


@needs_root
async def test_user_that_is_not_there_is_named() -> None:
    async with bench() as it:
        it.want(command(*HTTP, user="no-such-person"))
        await until(lambda: it.state.status == "stopped")
        assert it.state.why == "not available because there is no user 'no-such-person' on this host"
        assert it.state.restarts == 0


@needs_root
async def test_folder_that_keeps_the_user_out_is_named() -> None:
    async with bench() as it:
        it.folder.chmod(0o700)
        it.want(command(*HTTP))
        await until(lambda: it.state.status == "stopped")
        assert it.state.why == f"not available because {it.folder} keeps its user out: set folder for its command"


async def test_command_starts_in_the_folder_that_is_set() -> None:
    async with bench() as it:
        it.want(python("import os; print(os.getcwd(), flush=True); import time; time.sleep(99)", folder="/usr"))
        await until(lambda: it.state.pid and it.written() == "/usr\n")


async def test_removed_worker_is_asked_to_end_and_its_state_is_stopping_until_it_has() -> None:
    script = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("asked", flush=True), time.sleep(0.2), sys.exit(0)))
print("up", flush=True)
time.sleep(99)
"""
    async with bench() as it:
        it.want(python(script))
        await until(lambda: it.state.pid and it.written() == "up\n")
        pid = it.state.pid
        assert pid is not None
        it.runner.remove(WORKER, "disabled")
        await until(lambda: it.state.status == "stopping")
        assert (it.state.pid, it.state.why) == (pid, "disabled")
        await until(lambda: not it.runner.worker_ids)
        assert not is_alive(pid)
        assert it.written() == "up\nasked\n"


@pytest.mark.parametrize("is_fenced", [True, False], ids=["cgroup", "session"])
async def test_command_that_will_not_end_is_ended(is_fenced: bool) -> None:
    async with bench(is_fenced=is_fenced) as it:
        it.want(python(IGNORES_TERM))
        await until(lambda: it.state.pid and it.written() == "up\n")
        pid = it.state.pid
        assert pid is not None
        began = trio.current_time()
        it.runner.remove(WORKER)
        await until(lambda: not it.runner.worker_ids, seconds=10)
        assert not is_alive(pid)
        assert trio.current_time() - began >= QUICK.grace_seconds, "it was given its time"


@pytest.mark.parametrize("is_fenced", [True, False], ids=["cgroup", "mark"])
@pytest.mark.parametrize("how", ["removed", "killed", "cancelled"])
async def test_what_has_left_the_session_ends_with_its_command(how: str, is_fenced: bool) -> None:
    async with bench(is_fenced=is_fenced) as it:
        it.want(python(LEAVES_SESSION))
        far = await until(lambda: next(it.folder.glob("homes/*/far"), None), seconds=10)
        pid = int(await until(far.read_text))
        assert is_alive(pid)
        leader = it.state.pid
        assert leader is not None
        if how == "removed":
            it.runner.remove(WORKER)
        elif how == "killed":
            os.kill(leader, signal.SIGKILL)
        if how != "cancelled":
            await until(lambda: not is_alive(pid), seconds=10)
    assert not is_alive(pid)


async def test_what_has_left_its_session_and_its_mark_ends_where_there_are_cgroups() -> None:
    async with bench() as it:
        it.want(python(CLEARS_MARK))
        far = await until(lambda: next(it.folder.glob("homes/*/far"), None), seconds=10)
        pid = int(await until(far.read_text))
        if "appliance-workers" not in text(f"/proc/{pid}/cgroup"):
            os.kill(pid, signal.SIGKILL)
            pytest.skip("no cgroup can be made here")
        it.runner.remove(WORKER)
        await until(lambda: not it.runner.worker_ids, seconds=10)
        assert not is_alive(pid)


async def test_changed_command_is_started_anew_and_the_same_one_goes_on() -> None:
    async with bench() as it:
        it.want(command(*HTTP))
        first = await it.running()
        it.want(command(*HTTP))
        await trio.sleep(0.1)
        assert it.state == first
        it.want(command(*HTTP), gpu_ids=("GPU-2",))
        await until(lambda: it.state.pid not in {first.pid, None})
        again = await it.running()
        assert again.restarts == 0, "nothing has crashed"
        assert first.pid is not None
        assert not is_alive(first.pid)


async def test_worker_that_is_wanted_again_while_it_ends_runs_again() -> None:
    async with bench() as it:
        it.want(python(IGNORES_TERM))
        await until(lambda: it.state.pid and it.written() == "up\n")
        it.runner.remove(WORKER)
        await until(lambda: it.state.status == "stopping")
        it.want(command(*HTTP))
        await it.running()


async def test_workers_have_ports_of_their_own() -> None:
    async with bench() as it:
        for each in ("a", "b", "c"):
            it.want(command(*HTTP), worker_id=each)
        ports = {(await it.running(each)).target for each in ("a", "b", "c")}
        assert len(ports) == 3


async def test_command_that_listens_for_everybody_is_warned_of() -> None:
    async with bench() as it:
        it.want(python(REPORT, "{port}", "0.0.0.0"))
        assert (await it.running()).warning == FOR_ALL


async def test_placeholders_are_filled_in() -> None:
    async with bench() as it:
        it.want(python(REPORT, "{port}", "127.0.0.1", "{worker_id}", "x{name}x", "{other}"))
        state = await it.running()
        assert state.target is not None
        assert it.report()["argv"] == [str(state.target[1]), "127.0.0.1", WORKER, "xonex", "{other}"]


async def test_what_a_command_writes_is_bounded_and_its_end_is_kept() -> None:
    script = f"print('x' * {LOG_BYTES + 1}); print('last', flush=True); import time; time.sleep(99)"
    async with bench() as it:
        it.want(python(script))
        log = it.folder / "own" / f"{WORKER}.log"
        kept = log.with_suffix(".log.1")
        await until(lambda: kept.exists() and kept.stat().st_size == LOG_KEPT_BYTES, seconds=10)
        await until(lambda: log.stat().st_size <= LOG_BYTES)
        assert kept.read_bytes().endswith(b"xx\nlast\n") or log.read_bytes().endswith(b"last\n")
        assert log.stat().st_mode & 0o777 == 0o600


async def test_command_as_ourselves_is_told_of_only_while_one_is_wanted() -> None:
    said = []
    async with bench() as it:
        said.append(it.runner.uses_own_uid)
        it.want(CommandSettings(argv=HTTP, unsafe_same_uid=True))
        said.append(it.runner.uses_own_uid)
        state = await it.running()
        assert owner(state.pid) == os.geteuid()
        it.runner.remove(WORKER)
        said.append(it.runner.uses_own_uid)
    assert said == [False, True, False]


PARENT = """
import sys, trio
from pathlib import Path
from plugins.gpu_sharing.runner import Runner, Wanted
from plugins.gpu_sharing.settings import CommandSettings
folder, user = Path(sys.argv[1]), sys.argv[2]
script = sys.argv[3]
command = CommandSettings(argv=(sys.argv[4], "-c", script), user=user, unsafe_same_uid=not user)
runner = Runner(folder / "own", folder / "homes", sys.argv[5])
runner.put(Wanted(worker_id="w-1", name="one", command=command))
trio.run(runner.run)
"""


def first(folder: Path, name: str) -> str:
    """Return what a command has written into a file; empty as long as it has not."""
    path = next(folder.glob(f"homes/*/{name}"), None)
    return "" if path is None else path.read_text()


@pytest.mark.parametrize("script", [IGNORES_TERM, LEAVES_SESSION], ids=["leader", "descendant"])
async def test_killed_appliance_leaves_nothing_once_it_has_started_again(script: str) -> None:
    script = 'import os; open("near", "w").write(str(os.getpid()))\n' + script
    with open_folder() as folder:
        user = "" if os.geteuid() else "nobody"
        with program(sys.executable, "-c", PARENT, str(folder), user, script, PYTHON, INSTANCE):
            names = ("near", "far") if "far" in script else ("near",)
            near, *far = [int(await until(partial(first, folder, name), seconds=10)) for name in names]
            assert (folder / "own" / f"{WORKER}.pid").exists()
        await until(lambda: not is_alive(near))  # at once: it ends with its parent
        assert all(map(is_alive, far)), "what it has left is ended by the next run"
        it = Bench(folder)
        async with trio.open_nursery() as nursery:
            await nursery.start(it.runner.run)
            assert not any(map(is_alive, far))
            assert not list((folder / "own").glob("*.pid"))
            nursery.cancel_scope.cancel()


async def test_note_of_a_pid_that_is_somebody_elses_now_harms_nobody() -> None:
    with open_folder() as folder:
        (folder / "own").mkdir()
        with program("/bin/sleep", "99", start_new_session=True) as stranger:
            boot = text("/proc/sys/kernel/random/boot_id").strip()
            note = f'{{"pid":{stranger.pid},"started_ticks":1,"boot_id":"{boot}"}}'
            (folder / "own" / f"{WORKER}.pid").write_text(note)
            (folder / "own" / "torn.pid").write_text('{"pid":')
            async with trio.open_nursery() as nursery:
                await nursery.start(Bench(folder).runner.run)
                nursery.cancel_scope.cancel()
            assert stranger.poll() is None
            assert not list((folder / "own").glob("*.pid"))
