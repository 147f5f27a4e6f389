"""How a task's command gives up what is ours and becomes itself; and the space it is given to write in.

Runs in the keeper's processes only (see `keeper`), with the standard library alone.
"""

import ctypes
import os
import resource
import signal
import time
from contextlib import suppress
from typing import Any, Final, NoReturn

CLONE_NEWNS: Final = 0x0002_0000
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_BIND: Final = 0x1000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x4_0000
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
STAGE: Final = "/tmp"  # noqa: S108 (in a mount namespace of its own, under a file system of its own)
"""Where a task's folders are put within its user's reach; only the task's own processes see them there."""
SIGNALS: Final = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
LEND_TRIES: Final = 50
LEND_PAUSE_SECONDS: Final = 0.1
LIBC: Final = ctypes.CDLL(None, use_errno=True)


class CannotStart(Exception):
    """What shall be run cannot be; in words."""


def become(asked: dict[str, Any], told_fd: int, status_fd: int, out_fd: int, err_fd: int) -> NoReturn:
    """Give up what is ours and become the command; what goes wrong goes to ``told_fd`` in words."""
    step = "it cannot be put into its cgroup"
    try:
        for path in asked["cgroup_procs"]:
            write(path, "0")
        _spare_nobody()
        step = "its limits cannot be set"
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if asked["processes_max"]:
            _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
            most = asked["processes_max"] if hard < 0 else min(hard, asked["processes_max"])
            resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
        step = "its folders cannot be mounted"
        if asked["stage"]:
            _set_stage(asked["stage"])
        argv, inherited = list(asked["argv"]), []
        if asked["is_sandbox"]:
            place = _in_memory("\0".join(asked["options"]).encode("utf-8", "surrogateescape"))
            inherited = [place, status_fd]
            argv = [argv[0], "--args", str(place), "--json-status-fd", str(status_fd), *argv[1:]]
        step = "it cannot run as its user"
        if asked["uid"] is not None:
            os.setgroups(asked["groups"])
            os.setresgid(asked["uid"], asked["uid"], asked["uid"])
            os.setresuid(asked["uid"], asked["uid"], asked["uid"])
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        step = f"it cannot start in {asked['cwd']}"
        os.chdir(asked["cwd"])
        os.umask(0o022)
        os.setsid()
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        null = os.open(os.devnull, os.O_RDWR)
        for target, source in enumerate((out_fd if asked["tty"] else null, out_fd, err_fd)):
            os.dup2(source, target)
        for name in os.listdir("/proc/self/fd"):  # whatever was forgotten: no task gets what is open here
            with suppress(OSError):
                os.set_inheritable(int(name), int(name) in (0, 1, 2, *inherited))
        step = f"{argv[0]} cannot be started"
        os.execve(argv[0], argv, asked["variables"])  # noqa: S606 (no shell is what is wanted)
    except (OSError, ValueError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        where = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        os.write(told_fd, f"{step}: {reason}{where}".encode("utf-8", "replace"))
    finally:
        os._exit(127)


def _set_stage(binds: list[list[str]]) -> None:
    """Put folders and files where another user can reach them, in a mount namespace of our own."""
    _unshare_mounts()
    # Opened here, since nothing is mounted from another namespace; and before the stage hides what lies below it.
    sources = [(os.open(source, os.O_PATH | os.O_CLOEXEC), name) for source, name in binds]
    _mount("tasks", STAGE, "tmpfs", MS_NOSUID | MS_NODEV, b"mode=0711,size=1m")
    for source, name in sources:
        target = f"{STAGE}/{name}"
        if os.path.isdir(f"/proc/self/fd/{source}"):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
        _mount(f"/proc/self/fd/{source}", target, None, MS_BIND | MS_REC, None)


def make_space(space: dict[str, Any]) -> None:
    """Make a file system of a given size for all that the task writes, and mount it in a namespace of our own."""
    size, uid = int(space["mib"]) << 20, space["uid"]
    fd = os.open("space.img", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)  # so that the promise holds when the disk fills up
    finally:
        os.close(fd)
    _ran([*space["make"], "space.img"], "its space cannot be made")
    _unshare_mounts()
    os.mkdir("space", 0o711)
    _ran([space["mount"], "-o", "loop,nosuid,nodev", "space.img", "space"], "its space cannot be mounted")
    for name in space["folders"]:
        os.mkdir(f"space/{name}", 0o700)
        os.chown(f"space/{name}", uid, uid)


def lend_space(space: dict[str, Any]) -> int:
    """Return a descriptor of a folder in an ended task's file system; nothing stays mounted once that is closed."""
    _unshare_mounts()
    os.makedirs("space", 0o711, exist_ok=True)
    for number in range(LEND_TRIES):  # what the task had mounted goes a moment after its last process
        try:
            _ran([space["mount"], "-o", "loop,ro,nosuid,nodev,noexec", "space.img", "space"], "it cannot be mounted")
            break
        except CannotStart:
            if number == LEND_TRIES - 1:
                raise
            time.sleep(LEND_PAUSE_SECONDS)
    return os.open(f"space/{space['lend']}", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _ran(argv: list[str], problem: str) -> None:
    import subprocess  # with threads, locales and selectors: 1 MB, for tasks with a space of their own

    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise CannotStart(f"{problem}: {words[-1] if words else done.returncode}")


def _spare_nobody() -> None:
    """Take back what the service manager gave the appliance alone: to be the last that is killed for memory."""
    try:
        with open("/proc/self/oom_score_adj", encoding="ascii") as file:
            if int(file.read()) < 0:
                write("/proc/self/oom_score_adj", "0")
    except OSError:
        return


def write(path: str, text: str) -> None:
    """Write a short text in one go, as the kernel's files want it."""
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _in_memory(content: bytes) -> int:
    """Return a descriptor to read some content from; variables may be secret, and arguments are everybody's to see."""
    place = os.memfd_create("task")
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(place, rest) :]
    os.lseek(place, 0, os.SEEK_SET)
    return place


def prctl(option: int, value: int) -> None:
    """Call prctl(2) with one argument."""
    _checked(LIBC.prctl(ctypes.c_int(option), *(ctypes.c_ulong(each) for each in (value, 0, 0, 0))))


def sync_file_system(path: str) -> None:
    """Write all of a file system's changes down."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(LIBC.syncfs(ctypes.c_int(fd)), path)
    finally:
        os.close(fd)


def _unshare_mounts() -> None:
    _checked(LIBC.unshare(ctypes.c_int(CLONE_NEWNS)))
    _mount("none", "/", None, MS_REC | MS_PRIVATE, None)


def _mount(source: str, target: str, kind: str | None, flags: int, data: bytes | None) -> None:
    named = None if kind is None else kind.encode()
    _checked(LIBC.mount(os.fsencode(source), os.fsencode(target), named, ctypes.c_ulong(flags), data), target)


def _checked(answer: int, what: str | None = None) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
