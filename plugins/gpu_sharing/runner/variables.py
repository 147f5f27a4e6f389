"""A command's arguments and variables: pure. It is shown its own GPUs and no others, and nothing of our environment.

Variables bind those who mean well: a program can unset them. Who may use a GPU at all is decided by its device files.
"""

import re
from collections.abc import Mapping
from typing import Final

from ..settings import CommandSettings
from .wanted import Wanted

MARK: Final = "APPLIANCE_WORKER"
"""A variable by which processes of a worker are known again when they have left its session."""
INHERITED: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
"""All that a command gets of our environment, with what stands in where we have none."""
NO_DEVICE: Final = "-1"
"""HIP takes an empty list for none given."""


def arguments(command: CommandSettings, *, port: int, worker_id: str, name: str) -> list[str]:
    """Return the command with its placeholders filled in, each once: what is filled in is never looked at again."""
    filled = {"{port}": str(port), "{worker_id}": worker_id, "{name}": name.replace("\0", "")}
    pattern = re.compile("|".join(map(re.escape, filled)))
    return [pattern.sub(lambda match: filled[match[0]], one) for one in command.argv]


def variables(wanted: Wanted, *, ours: Mapping[str, str], home: str, user: str, mark: str) -> dict[str, str]:
    """Return the variables of a worker's command; the operator's come last and win, but for the mark.

    :param ours: the environment of the appliance, of which PATH and LANG are passed on.
    """
    inherited = {name: ours.get(name) or otherwise for name, otherwise in INHERITED.items()}
    person = {"HOME": home, **({"USER": user, "LOGNAME": user} if user else {})}
    own = dict(wanted.command.environment) if wanted.command else {}
    return {**inherited, **person, **visible(wanted), **limits(wanted), **own, MARK: mark}


def visible(wanted: Wanted) -> dict[str, str]:
    """Return the variables that show a worker its GPUs, and none of the other vendor's."""
    nvidia = ",".join(map(cuda_name, wanted.gpu_ids)) if wanted.vendor == "nvidia" else ""
    amd = rocr_names(wanted) if wanted.vendor == "amd" else []
    # HIP counts what ROCr has left over, from 0.
    hip = ",".join(map(str, range(len(amd)))) or NO_DEVICE
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": nvidia,
        "ROCR_VISIBLE_DEVICES": ",".join(amd),
        "HIP_VISIBLE_DEVICES": hip,
    }


def cuda_name(gpu_id: str) -> str:
    """Return an id as CUDA knows it: agents write their UUIDs in lower case, and CUDA compares exactly."""
    kind, separator, rest = gpu_id.partition("-")
    return f"{kind.upper()}-{rest}" if separator and kind.lower() in {"gpu", "mig"} else gpu_id


def rocr_names(wanted: Wanted) -> list[str]:
    """Return AMD GPUs as ROCr knows them: by unique id where they have one, else by place among their vendor's."""
    found = []
    for place, gpu_id in enumerate(wanted.gpu_ids):
        unique = re.fullmatch(r"(?:AMD|GPU)-(?:0x)?([0-9a-f]{16})", gpu_id, re.IGNORECASE)
        if unique:
            found.append(f"GPU-{unique[1].lower()}")
        elif place < len(wanted.gpu_indices):
            found.append(str(wanted.gpu_indices[place]))
    return found


def limits(wanted: Wanted) -> dict[str, str]:
    """Return the variables by which MPS holds each process of a worker to its part, where a daemon is there for it."""
    if wanted.mps is None or wanted.vendor != "nvidia":
        return {}
    found = {"CUDA_MPS_PIPE_DIRECTORY": str(wanted.mps.pipe_directory)}
    if wanted.compute_percent is not None:
        found["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] = str(wanted.compute_percent)
    if wanted.vram_mb is not None:
        each = (f"{place}={wanted.vram_mb}M" for place in range(len(wanted.gpu_ids)))
        found["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = ",".join(each)
    return found
