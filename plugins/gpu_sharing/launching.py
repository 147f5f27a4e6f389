"""What a worker's command is: run as whom, with which arguments and variables, and why not.

A command is never given our own rights: it runs as the configured user, without new privileges, in a session of its
own. Nothing of our environment reaches it but PATH and LANG.
"""

import os
import pwd
import re
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from .models import Agent, Worker
from .settings import CommandSettings

MARK: Final = "APPLIANCE_WORKER"
"""A variable by which processes of a worker are known again, whatever they have become."""
MPS_PIPE: Final = Path("/tmp/nvidia-mps")  # noqa: S108 (where NVIDIA's control daemon puts it)
NO_COMMAND: Final = "no command configured"
NO_USER: Final = (
    "not available because its command names no user, and a sandbox without our network cannot be reached by the relay:"
    " set user in [plugins.gpu_sharing.commands]"
)
NOT_ROOT: Final = "not available because the appliance does not run as root, so it cannot run a command as another user"
SAME_UID: Final = (
    "not available because its command would run as the appliance's own user: unsafe_same_uid = true would allow it"
)


@frozen(kw_only=True)
class Identity:
    """Who runs a command."""

    uid: int
    gid: int
    home: Path
    is_own: bool
    """Whether that is the appliance's own user."""


def identity_of(command: CommandSettings) -> Identity | str:
    """Return as whom a command runs, or in words why it does not."""
    own = os.geteuid()
    if not command.user:
        return _own() if command.unsafe_same_uid else NO_USER
    try:
        person = pwd.getpwnam(command.user)
    except KeyError:
        return f"not available because there is no user {command.user!r} on this host"
    if person.pw_uid == own:
        if not command.unsafe_same_uid:
            return SAME_UID
        return _own()
    if own != 0:
        return NOT_ROOT
    if person.pw_uid == 0:
        return "not available because a worker's command does not run as root"
    return Identity(uid=person.pw_uid, gid=person.pw_gid, home=_home(person.pw_dir), is_own=False)


def _own() -> Identity:
    return Identity(uid=os.geteuid(), gid=os.getegid(), home=_home(os.path.expanduser("~")), is_own=True)


def _home(path: str) -> Path:
    return Path(path) if Path(path).is_dir() else Path("/")


def arguments(command: CommandSettings, worker: Worker, port: int) -> list[str]:
    """Return the command with its placeholders filled in; no shell reads it."""
    filled = {"{port}": str(port), "{worker_id}": worker.worker_id, "{name}": worker.name}
    pattern = re.compile("|".join(map(re.escape, filled)))
    return [pattern.sub(lambda match: filled[match[0]], one) for one in command.argv]


def environment(
    command: CommandSettings,
    worker: Worker,
    agent: Agent,
    *,
    home: Path,
    mark: str,
    mps_pipe: Path | None = None,
) -> dict[str, str]:
    """Return the variables of a command: bound to its GPUs by their ids, with MPS limits where a daemon is there.

    :param home: the folder in which it starts.
    :param mps_pipe: the directory of our own control daemon, which wins over one of somebody else.
    """
    inherited = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "HOME": str(home),
    }
    bound = {MARK: mark, **visible(worker, agent)}
    if mps_pipe is not None:
        bound |= mps(worker, mps_pipe)
    elif has_foreign_mps(worker):
        bound |= mps(worker, MPS_PIPE)
    return inherited | dict(command.environment) | bound  # what binds it wins: limits are said to hold on its account


def visible(worker: Worker, agent: Agent) -> dict[str, str]:
    """Return the variables that show a worker its GPUs, and no others; a vendor without any is shown none."""
    vendors = {gpu.gpu_id: gpu.vendor for gpu in agent.gpus}
    nvidia = [gpu_id for gpu_id in worker.gpu_ids if vendors.get(gpu_id) == "nvidia"]
    amd = [gpu.gpu_id for gpu in agent.gpus if gpu.vendor == "amd"]
    places = ",".join(str(amd.index(gpu_id)) for gpu_id in worker.gpu_ids if gpu_id in amd)
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(nvidia),
        # ROCm numbers the GPUs of its own vendor alone.
        "ROCR_VISIBLE_DEVICES": places,
    }


def has_foreign_mps(worker: Worker) -> bool:
    """Whether a worker wants MPS limits and somebody else's control daemon seems to be where CUDA looks for one.

    Anybody can make that path, so nothing is promised on its account.
    """
    return worker.claim.is_fraction and worker.isolation_mode != "hard" and (MPS_PIPE / "control").exists()


def mps(worker: Worker, pipe: Path) -> dict[str, str]:
    """Return the variables by which MPS holds each process of a worker to its part."""
    found = {"CUDA_MPS_PIPE_DIRECTORY": str(pipe)}
    if worker.compute_percent is not None:
        found["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] = str(worker.compute_percent)
    if worker.vram_mb is not None:
        limits = (f"{place}={worker.vram_mb}M" for place in range(len(worker.gpu_ids)))
        found["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = ",".join(limits)
    return found


def as_user(identity: Identity) -> dict[str, Any]:
    """Return the options of `subprocess.Popen` that run a short program of somebody's, without any groups of ours."""
    return {} if identity.is_own else {"user": identity.uid, "group": identity.gid, "extra_groups": []}
