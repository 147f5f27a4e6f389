"""Build commands: what they are given, and that nothing of them is left."""

import json
import os
import uuid
from pathlib import Path

import trio

from plugins.build_swarm.drone import leftovers
from plugins.build_swarm.drone.building import argv_of, build, environment_of
from plugins.build_swarm.drone.judging import Ended
from plugins.build_swarm.drone.output import LogFile
from tests.plugins.build_swarm.drone.kit import LOG_ID, left_running, script, until

DAEMON = """
import os, signal, time
begun, tell = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("daemon", flush=True)
        os.write(tell, b"x")
        time.sleep(600)
    os._exit(0)
os.read(begun, 1)
"""


async def run(folder: Path, text: str, *, grace_seconds: float = 5.0, **more: str) -> tuple[Ended, LogFile]:
    log = LogFile(folder / "log")
    ended = await build(
        script(text), environment=environment_of(more, LOG_ID), log=log, most_seconds=60.0, grace_seconds=grace_seconds
    )
    return ended, log


def test_package_stands_where_the_command_says_else_at_its_end() -> None:
    assert argv_of(("emerge", "{atom}", "--x={atom}"), "app/one-1.0") == ["emerge", "=app/one-1.0", "--x==app/one-1.0"]
    assert argv_of(("make",), "app/one") == ["make", "app/one"]
    assert argv_of(("make",), ">=app/one-1") == ["make", ">=app/one-1"]
    assert argv_of(("make",), "app/one-1.0-r2:0") == ["make", "=app/one-1.0-r2:0"]
    assert argv_of(("make",), "app/gtk+-3d") == ["make", "=app/gtk+-3d"]
    assert argv_of(("make",), "app/font-100dpi") == ["make", "app/font-100dpi"]


async def test_environment_is_its_own_and_has_nothing_of_ours(tmp_path: Path) -> None:
    _, log = await run(tmp_path, "import os, json; print(json.dumps(dict(os.environ)))", FEATURES="buildpkg -sandbox")
    seen = json.loads(log.read(0))
    assert seen["FEATURES"] == "buildpkg -sandbox"
    assert seen["BINPKG_FORMAT"] == "gpkg"
    assert seen[leftovers.MARK] == LOG_ID
    unknown = set(seen) - {"PATH", "HOME", "LANG", "TERM", "FEATURES", "BINPKG_FORMAT", "EMERGE_WARNING_DELAY"}
    assert unknown - {"CLEAN_DELAY", "LC_CTYPE", leftovers.MARK} == set()


async def test_status_and_both_streams_are_kept_in_order(tmp_path: Path) -> None:
    text = "import sys; print('out', flush=True); print('err', file=sys.stderr, flush=True); sys.exit(7)"
    ended, log = await run(tmp_path, text)
    assert ended.status == 7
    assert ended.duration_s >= 0
    assert log.read(0) == b"out\nerr\n"


async def test_daemon_that_a_build_leaves_is_ended_though_it_does_not_want_to(tmp_path: Path) -> None:
    ended, log = await run(tmp_path, DAEMON, grace_seconds=0.1)
    assert ended.status == 0
    assert log.read(0) == b"daemon\n"
    assert leftovers.found(LOG_ID) == set()


async def test_cancelled_build_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    text = DAEMON + "\nprint('parent', flush=True)\ntime.sleep(600)"
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run(tmp_path, text, grace_seconds=0.1))
            await until(lambda: b"daemon" in LogFile(tmp_path / "log").read(0))
            await until(lambda: len(leftovers.found(LOG_ID)) == 2)
            nursery.cancel_scope.cancel()
    assert leftovers.found(LOG_ID) == set()


async def test_process_of_another_build_is_left_alone(tmp_path: Path) -> None:
    other = uuid.uuid4().hex
    with left_running(other) as left:
        await run(tmp_path, "pass")
        assert leftovers.found(other) == {left.pid}
        assert left.poll() is None


async def test_output_beyond_the_bound_is_left_out_and_says_so(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log", most_bytes=100)
    await build(
        script("print('x' * 300, flush=True); print('y' * 300, flush=True)"),
        environment=environment_of({}, LOG_ID),
        log=log,
        most_seconds=60.0,
        grace_seconds=1.0,
    )
    assert log.read(0, 1000) == b"x" * 100 + b"\n(the rest of this build's output was left out)\n"


def test_own_process_is_no_leftover_of_itself() -> None:
    assert os.getpid() not in leftovers.found(LOG_ID)
