"""The first steps of a program that runs for somebody else: it gives up what is ours, then becomes that program.

Run as a program itself by `starting`, with nothing but the standard library and next to nothing of an environment: the
variables of a command (``LD_PRELOAD``, ``PYTHONPATH``) must not steer what still has our rights, so they are applied
by the very call that starts the command, when all rights are gone. What shall be done comes as JSON on standard input;
what went wrong goes in plain words to the descriptor ``told_fd``, which the command never sees.
"""

import ctypes
import json
import os
import pwd
import signal
import sys
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
OOM = "/proc/self/oom_score_adj"


def main() -> NoReturn:
    """Do what standard input says; never return."""
    told: dict[str, Any] = json.load(sys.stdin)
    told_fd = int(told["told_fd"])
    step = "cannot be started"
    try:
        os.set_inheritable(told_fd, False)
        if told["cgroup"]:
            step = "cannot be put into its cgroup"
            _write(told["cgroup"] + "/cgroup.procs", "0")
        spare_nobody(OOM)
        step = "cannot run as its user"
        _become(int(told["uid"]), int(told["gid"]))
        step = "cannot be tied to the appliance"
        _tie(int(told["parent_pid"]))
        step = f"cannot start in {told['folder']}"
        os.chdir(told["folder"])
        os.umask(0o077)
        _like_new()
        argv = told["argv"]
        step = f"cannot be started: {argv[0]}"
        os.execvpe(argv[0], argv, told["variables"])  # noqa: S606 (no shell is what is wanted)
    except (OSError, ValueError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        os.write(told_fd, f"{step}: {reason}".encode("utf-8", "replace"))
    os._exit(127)


def spare_nobody(place: str) -> None:
    """Take back what the service manager gave the appliance alone: to be the last that is killed for memory."""
    try:
        with open(place, encoding="ascii") as file:
            if int(file.read()) < 0:
                _write(place, "0")
    except OSError:
        return  # without /proc: as it is


def _become(uid: int, gid: int) -> None:
    if os.getresuid() != (uid, uid, uid):
        try:
            os.initgroups(pwd.getpwuid(uid).pw_name, gid)
        except KeyError:  # a user without an account has no groups
            os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid):
        raise ValueError("its rights are not those of its user")


def _tie(parent_pid: int) -> None:
    # After the change of user, which takes the signal at the parent's death away again.
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before it could be noticed
        os._exit(127)


def _like_new() -> None:
    """Undo what a Python does to its signals, and what we block; leave nothing to read."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(ctypes.c_int(option), *(ctypes.c_ulong(each) for each in (value, 0, 0, 0))) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


if __name__ == "__main__":
    main()
