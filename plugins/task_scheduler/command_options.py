"""The options by which a task is described on the command line, and the request that they make."""

import argparse
import math
from pathlib import Path
from typing import Any

WORDS_UNITS = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}


def add_task_options(parser: argparse.ArgumentParser) -> None:
    """Add what a task can be given."""
    parser.add_argument("image", metavar="IMAGE", help="the image to run")
    parser.add_argument("words", metavar="COMMAND", nargs=argparse.REMAINDER, help="run by /bin/sh -c in the container")
    needs = parser.add_argument_group("what it needs")
    needs.add_argument("--cpus", type=float, default=1.0, help="cores, such as 0.5 (1)")
    needs.add_argument("--memory", type=_mib, default=1024, help="such as 512M or 8G (1G)")
    needs.add_argument("--storage", type=_mib, default=1024, help="writable space, such as 20G (1G)")
    needs.add_argument("--gpus", type=float, default=0.0, help="GPUs: 2, or a part of one such as 0.5 (0)")
    needs.add_argument("--gpu-memory", type=_mib, default=0, help="memory that each GPU must have, such as 40G")
    needs.add_argument("--gpu-model", action="append", default=[], help="a part of the model's name; again for others")
    needs.add_argument("--gpu-id", action="append", default=[], help="only this GPU, by uuid; again for others")
    needs.add_argument("--mig-profile", default="", help="MIG instances such as 1g.10gb in place of whole GPUs")
    order = parser.add_argument_group("when it runs")
    order.add_argument("--priority", type=int, default=None, help="0 to 100, larger first (50)")
    order.add_argument("--k", type=float, default=None, help="urgency: end within k times the expected runtime (2)")
    order.add_argument("--tag", default="", help="kind of work; runtimes are learned by it and the image")
    order.add_argument("--after", action="append", default=[], metavar="ID", help="wait until this task has completed")
    order.add_argument("--after-any", action="append", default=[], metavar="ID", help="... until it has ended, however")
    order.add_argument("--array", type=_array, default=None, metavar="N[%M]", help="N such tasks, M of them at once")
    order.add_argument("--timeout", type=_seconds, default=None, help="longest runtime, such as 90s, 30m or 12h")
    order.add_argument("--max-queue", type=_seconds, default=None, help="longest wait, such as 2h")
    order.add_argument("--idle-gpu-limit", type=_seconds, default=None, help="end it when its GPUs idle so long")
    order.add_argument("--attempts", type=int, default=None, help="tries in all (1)")
    order.add_argument("--preemptible", action="store_true", help="may be stopped for work of higher priority")
    how = parser.add_argument_group("how it runs")
    how.add_argument("--name", default="", help="for people")
    how.add_argument("-e", "--env", action="append", default=[], type=_variable, metavar="NAME=VALUE", help="again")
    how.add_argument("-v", "--volume", action="append", default=[], metavar="NAME[:ro]", help="a declared volume")
    how.add_argument(
        "--input", action="append", default=[], type=_input, metavar="FILE[=NAME]", help="a file to find below /input"
    )
    how.add_argument("--network", choices=("none", "bridge"), default=None)
    how.add_argument("--engine", default="", help="only this engine")
    how.add_argument("--privilege", action="append", default=[], metavar="CAPABILITY", help="such as SYS_PTRACE")
    how.add_argument("-t", "--tty", action="store_true", help="with a terminal")


def body_of(asked: argparse.Namespace) -> dict[str, Any]:
    """Return the request that submits the task."""
    words = asked.words[1:] if asked.words[:1] == ["--"] else asked.words
    body: dict[str, Any] = {
        "image": asked.image,
        "command": command_line(words),
        "environment": dict(asked.env),
        "name": asked.name,
        "cpu_millicores": _thousandths(asked.cpus),
        "memory_mib": asked.memory,
        "storage_mib": asked.storage,
        "milli_gpu": _thousandths(asked.gpus),
        "gpu_vram_mib": asked.gpu_memory,
        "gpu_models": asked.gpu_model,
        "gpu_ids": asked.gpu_id,
        "mig_profile": asked.mig_profile,
        "tag": asked.tag,
        "preemptible": asked.preemptible,
        "tty": asked.tty,
        "volumes": asked.volume,
        "engine": asked.engine,
        "privileges": asked.privilege,
        "dependencies": [{"task_id": each} for each in asked.after]
        + [{"task_id": each, "kind": "afterany"} for each in asked.after_any],
        "array": asked.array,
        "hold": bool(asked.input),
    }
    given = {
        "k": asked.k,
        "priority": asked.priority,
        "timeout_seconds": asked.timeout,
        "max_queue_seconds": asked.max_queue,
        "idle_gpu_seconds": asked.idle_gpu_limit,
        "attempts_max": asked.attempts,
        "network": asked.network,
    }
    return body | {name: value for name, value in given.items() if value is not None}


def _thousandths(value: float) -> int:
    """Return thousandths, never less than asked for: so little that it is none would be no limit at all."""
    return math.ceil(round(value * 1000, 6))


def command_line(words: list[str]) -> str:
    """Return words as one line for a shell: a single one as it stands, several each quoted where need be."""
    import shlex

    return words[0] if len(words) == 1 else shlex.join(words)


def _mib(text: str) -> int:
    unit = WORDS_UNITS.get(text[-1:].upper())
    value = float(text[:-1] if unit is not None else text) * (unit or 1.0)
    if not 0 <= value < 2**40:
        raise ValueError(text)
    return max(1, round(value)) if value else 0


def _seconds(text: str) -> float:
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86_400}.get(text[-1:])
    return float(text[:-1]) * unit if unit else float(text)


def _array(text: str) -> dict[str, int]:
    count, _, at_once = text.partition("%")
    return {"count": int(count), "running_max": int(at_once or 0)}


def _variable(text: str) -> tuple[str, str]:
    import os

    name, separator, value = text.partition("=")
    if not separator and name not in os.environ:
        raise ValueError(text)
    return name, value if separator else os.environ[name]


def _input(text: str) -> tuple[Path, str]:
    source, _, name = text.partition("=")
    path = Path(source)
    return path, name or path.name


for _reader, _name in ((_mib, "size"), (_seconds, "time"), (_array, "array"), (_variable, "variable")):
    # argparse says "invalid NAME value".
    _reader.__name__ = _name
