"""As whom a command runs: never as ourselves or as root, unless that is written out."""

import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from plugins.gpu_sharing.runner import Identity, identity_of, may_use_own_uid
from plugins.gpu_sharing.runner.dwelling import closed_above, dwelling
from plugins.gpu_sharing.runner.identity import AS_ROOT, NO_USER, NOT_ROOT, SAME_UID
from plugins.gpu_sharing.runner.listening import free_port, listeners
from plugins.gpu_sharing.runner.wanted import Wanted
from plugins.gpu_sharing.settings import CommandSettings
from tests.plugins.gpu_sharing.runners import PYTHON, needs_root, open_folder

ASK: Final = """
import sys
from plugins.gpu_sharing.runner import identity_of
from plugins.gpu_sharing.settings import CommandSettings
asked = ("", False), ("daemon", False), ("nobody", False), ("nobody", True), ("root", True), ("", True)
for user, is_unsafe in asked:
    found = identity_of(CommandSettings(argv=("true",), user=user, unsafe_same_uid=is_unsafe))
    print(found if isinstance(found, str) else f"{found.uid} {found.is_own}")
"""

UNPRIVILEGED: Final = """
import os
import plugins.gpu_sharing.runner  # while its files can still be read
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
"""


def asked(user: str = "", *, is_unsafe: bool = False) -> Identity | str:
    return identity_of(CommandSettings(argv=("true",), user=user, unsafe_same_uid=is_unsafe))


@needs_root
def test_root_runs_commands_as_their_users_and_never_as_root_unless_told_to() -> None:
    person = pwd.getpwnam("nobody")
    found = asked("nobody")
    assert found == Identity(uid=person.pw_uid, gid=person.pw_gid, name="nobody", home=person.pw_dir)
    assert asked("nobody", is_unsafe=True) == found, "what is named wins"
    assert asked() == NO_USER
    assert asked("root") == SAME_UID
    own = asked(is_unsafe=True)
    assert isinstance(own, Identity)
    assert (own.uid, own.is_own) == (0, True)


@needs_root
def test_anybody_else_runs_commands_as_itself_and_only_when_told_to() -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED + ASK],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path.cwd(),
    )
    assert done.stdout.splitlines() == [NOT_ROOT, NOT_ROOT, SAME_UID, "65534 True", AS_ROOT, "65534 True"]


def test_trust_is_off_as_soon_as_one_command_may_run_as_ourselves() -> None:
    safe, unsafe = CommandSettings(argv=("a",), user="nobody"), CommandSettings(argv=("a",), unsafe_same_uid=True)
    assert not may_use_own_uid([])
    assert not may_use_own_uid([safe])
    assert may_use_own_uid([safe, unsafe])


@needs_root
def test_folder_of_a_worker_is_its_users_alone_and_another_user_gets_another_one() -> None:
    wanted = Wanted(worker_id="w", name="w", command=CommandSettings(argv=("a",)))
    one = Identity(uid=1, gid=1, name="daemon", home="/")
    two = Identity(uid=65534, gid=65534, name="nobody", home="/")
    with open_folder() as folder:
        before = os.umask(0o077)
        try:
            made = Path(dwelling(folder / "homes", wanted, one))
        finally:
            os.umask(before)
        assert (made.stat().st_uid, made.stat().st_mode & 0o777) == (1, 0o700)
        assert closed_above(made.parent) == "", "whatever the umask"
        (made / "kept").touch()
        assert dwelling(folder / "homes", wanted, one) == str(made)
        assert (made / "kept").exists()
        assert dwelling(folder / "homes", wanted, two) != str(made)


@needs_root
@pytest.mark.parametrize("what", ["link", "file", "strangers"])
def test_folder_that_is_something_else_is_refused(what: str) -> None:
    wanted = Wanted(worker_id="w", name="w", command=CommandSettings(argv=("a",)))
    with open_folder() as folder:
        place = folder / "w.1"
        if what == "link":
            place.symlink_to("/etc")
        elif what == "file":
            place.touch()
        else:
            place.mkdir()
        with pytest.raises(OSError, match="is no folder of its user"):
            dwelling(folder, wanted, Identity(uid=1, gid=1, name="daemon", home="/"))


@pytest.mark.parametrize(
    ("family", "address", "is_for_all"),
    [
        (socket.AF_INET, "127.0.0.1", False),
        (socket.AF_INET, "0.0.0.0", True),
        (socket.AF_INET6, "::", True),
    ],
)
def test_listener_is_found_with_its_owner(family: socket.AddressFamily, address: str, is_for_all: bool) -> None:
    with socket.socket(family) as listening:
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind((address, 0))
        port = listening.getsockname()[1]
        assert listeners(port) == [], "bound is not listening"
        listening.listen()
        (found,) = listeners(port)
        assert (found.address, found.uid, found.is_for_all) == (address, os.geteuid(), is_for_all)
    assert listeners(port) == []


def test_listener_that_a_connection_to_the_loopback_does_not_reach_is_none() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.2", 0))
        listening.listen()
        assert listeners(listening.getsockname()[1]) == []


@needs_root
def test_listener_of_another_user_is_that_users() -> None:
    script = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534); s = socket.create_server(('127.0.0.1', 0));"
        "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([PYTHON, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        (found,) = listeners(int(process.stdout.readline()))
        process.communicate()
    assert found.uid == 65534


def test_port_that_a_worker_has_is_given_to_no_other() -> None:
    first = free_port()
    assert first not in {free_port(frozenset({first})) for _ in range(20)}
