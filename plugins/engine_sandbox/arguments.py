"""What bubblewrap is told, and what a task finds in its sandbox. Pure but for looking at what this host has.

A sandbox has no network but its loopback, no process, user or host name of the host, no capability and no way to get
any. Its root is read-only: an imported image, or this host's own system (`/usr` and what little of `/etc` programs
need). It can write to ``/output``, ``/tmp`` (its home), ``/var/tmp``, ``/run`` and ``/dev/shm``, the last two in memory
that counts as the task's.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from appliance.plugin import EndReason, Host, Launch, LaunchFailed

from .becoming import STAGE
from .gpus import GpuAccess

SANDBOX_UID: Final = 1000
"""Who a task is in its sandbox; outside, that is nobody."""
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ROOT_LINKS: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
ETC: Final = (
    *("alternatives", "ca-certificates", "fonts", "gai.conf", "ld.so.cache", "ld.so.conf", "ld.so.conf.d"),
    *("locale.alias", "locale.conf", "localtime", "magic", "magic.mime", "mime.types", "OpenCL", "os-release"),
    *("pki/ca-trust", "pki/tls/certs", "profile", "protocols", "python3", "python3.11", "python3.12", "python3.13"),
    *("services", "ssl/certs", "ssl/openssl.cnf", "terminfo", "timezone", "vulkan"),
)
"""What programs need of the host's ``/etc``, and nobody has secrets in."""
OWN_ETC: Final[Mapping[str, str]] = {
    "passwd": "root:x:0:0::/tmp:/bin/sh\ntask:x:1000:1000::/tmp:/bin/sh\nnobody:x:65534:65534::/tmp:/bin/false\n",
    "group": "root:x:0:\ntask:x:1000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
"""What a task in the image "host" finds there in their place."""
LIBRARIES: Final = "/run/nvidia/lib"
RUN_BYTES: Final = 16 << 20
VOLUMES_BYTES: Final = 1 << 16
VARIABLES_MAX: Final = 2000
"""bubblewrap takes 9,000 arguments, and a variable is three."""
_VARIABLE: Final = re.compile(r"[^=\0]{1,4096}")


@define
class Stage:
    """Where a task's folders are found by bubblewrap, which runs as the task's user."""

    is_used: bool
    """Whether that user is another one, who cannot go through our folders: they are mounted below `STAGE` then."""
    binds: list[tuple[str, str]] = field(factory=list, init=False)

    def place(self, path: Path | str, name: str) -> str:
        """Return where a folder or file is for the task's user."""
        if not self.is_used:
            return str(path)
        self.binds.append((str(path), name))
        return f"{STAGE}/{name}"


@frozen(kw_only=True)
class Surroundings:
    """What a sandbox is made from."""

    host: Host
    root: Path | None
    """Of the image; ``None`` for this host's own system."""
    own_etc: Path
    """A folder with `OWN_ETC`."""
    writable: Path
    """A folder with ``output``, ``tmp`` and ``vartmp``."""
    libraries: Mapping[str, str] = field(factory=dict)
    """The GPU driver's libraries, for images, which have none."""
    host_folders: tuple[str, ...] = ()
    hidden: tuple[Path, ...] = ()
    """Folders that are in nobody's sandbox, even where a folder is that they lie in."""
    shared_memory_bytes: int


def options(launch: Launch, around: Surroundings, gpus: GpuAccess, stage: Stage) -> list[str]:
    """Return all options for bubblewrap, the command included."""
    told = ["--unshare-all", "--unshare-user", "--uid", str(SANDBOX_UID), "--gid", str(SANDBOX_UID)]
    told += ["--disable-userns", "--cap-drop", "ALL", "--new-session", "--hostname", _host_name(launch.job_id)]
    told += _host_root(around, stage) if around.root is None else ["--ro-bind", stage.place(around.root, "root"), "/"]
    told += ["--proc", "/proc", "--dev", "/dev"]
    told += ["--perms", "1777", "--size", str(around.shared_memory_bytes), "--tmpfs", "/dev/shm"]  # noqa: S108
    told += ["--perms", "0755", "--size", str(RUN_BYTES), "--tmpfs", "/run"]
    for name, seen in (("output", "/output"), ("tmp", "/tmp"), ("vartmp", "/var/tmp")):  # noqa: S108
        told += ["--bind", stage.place(around.writable / name, name), seen]
    if launch.inputs is not None:
        told += ["--ro-bind", stage.place(launch.inputs, "input"), "/input"]
    told += _volumes(launch, stage)
    told += _devices(launch, around, gpus)
    if around.root is None:
        told += _host_folders(around, stage)
    if around.root is None:
        told += ["--remount-ro", "/"]
    told += ["--chdir", "/tmp", "--clearenv"]  # noqa: S108
    found = variables(launch, gpus, home="/tmp")  # noqa: S108
    if gpus.files and around.root is not None and around.libraries:
        found.setdefault("LD_LIBRARY_PATH", LIBRARIES)
    for name, value in found.items():
        told += ["--setenv", name, value]
    return told


def variables(launch: Launch, gpus: GpuAccess, *, home: str) -> dict[str, str]:
    """Return a task's variables; raises `LaunchFailed` where one cannot be."""
    for name, value in launch.environment.items():
        if not _VARIABLE.fullmatch(name) or "\0" in value:
            raise LaunchFailed(f"{name[:100]!r} cannot be a variable", reason=EndReason.REFUSED)
    if len(launch.environment) > VARIABLES_MAX:
        raise LaunchFailed(f"there are more than {VARIABLES_MAX} variables", reason=EndReason.REFUSED)
    usual = {"PATH": PATH, "HOME": home, "USER": "task", "LOGNAME": "task", "LANG": "C.UTF-8"}
    if launch.tty:
        usual["TERM"] = "xterm"
    return usual | dict(launch.environment) | gpus.variables  # what binds it to its GPUs wins


def command_of(launch: Launch, image_command: str) -> list[str]:
    """Return what is run; raises `LaunchFailed` when nothing is."""
    command = launch.command or image_command
    if not command:
        raise LaunchFailed(
            f"the image {launch.image!r} does not say what to run", reason=EndReason.REFUSED, hint="give a command"
        )
    if "\0" in command:
        raise LaunchFailed("the command holds a NUL", reason=EndReason.REFUSED)
    return ["/bin/sh", "-c", command]


def _host_root(around: Surroundings, stage: Stage) -> list[str]:
    told = ["--ro-bind", "/usr", "/usr"]
    for name in ROOT_LINKS:
        path = around.host.path(f"/{name}")
        if path.is_symlink():
            told += ["--symlink", str(path.readlink()), f"/{name}"]
        elif path.is_dir():
            told += ["--ro-bind", f"/{name}", f"/{name}"]
    for name in ETC:
        if around.host.path(f"/etc/{name}").exists():
            told += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for name in OWN_ETC:
        told += ["--ro-bind", stage.place(around.own_etc / name, f"etc-{name}"), f"/etc/{name}"]
    return told


def _host_folders(around: Surroundings, stage: Stage) -> list[str]:
    """Return what shows further folders of the host, and hides ours where it lies in one of them."""
    told = []
    for number, folder in enumerate(around.host_folders):
        if around.host.path(folder).is_dir():
            told += ["--ro-bind", stage.place(folder, f"host-{number}"), folder]
    for path in around.hidden:
        if any(path.is_relative_to(each) for each in ("/usr", *around.host_folders)):
            told += ["--perms", "0000", "--size", "4096", "--tmpfs", str(path)]
    return told


def _volumes(launch: Launch, stage: Stage) -> list[str]:
    if not launch.volumes:
        return []
    told = ["--perms", "0755", "--size", str(VOLUMES_BYTES), "--tmpfs", "/volumes"]
    for volume in launch.volumes:
        bind = "--ro-bind" if volume.read_only else "--bind"
        told += [bind, stage.place(volume.source, f"volume-{volume.name}"), f"/volumes/{volume.name}"]
    return [*told, "--remount-ro", "/volumes"]


def _devices(launch: Launch, around: Surroundings, gpus: GpuAccess) -> list[str]:
    if not gpus.files:
        told = ["--perms", "0755", "--size", str(VOLUMES_BYTES), "--tmpfs", "/sys"]
        cpus = "/sys/devices/system/cpu"  # how many there are, for those that count there
        return [*told, "--ro-bind-try", cpus, cpus, "--remount-ro", "/sys"]
    told = ["--ro-bind", "/sys", "/sys"]
    for path in gpus.files:
        told += ["--dev-bind", path, path]
    if around.root is not None:
        for name, path in around.libraries.items():
            told += ["--ro-bind", path, f"{LIBRARIES}/{name}"]
    return told


def _host_name(job_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", job_id)[:63].strip("-") or "task"
