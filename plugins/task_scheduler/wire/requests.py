"""What clients send: tasks and workers, decoded and mapped to what core's scheduler thinks in."""

import re
from typing import Any, Final

from attrs import field, frozen
from attrs.validators import ge, max_len, optional

from appliance.plugin import BadInput, Job, JobState, Needs

from .numbers import CORES_MAX, GB_MAX, GPUS_MAX, MIB_PER_GB, MILLI, Sent, amount, k_value, scaled, wrong

IMAGE_CHARACTERS: Final = 1000
NAME_CHARACTERS: Final = 200
COMMAND_CHARACTERS: Final = 131_072
STORAGE_DEFAULT_GB: Final = 1.0
USER_DEFAULT: Final = "guest"
PORT_MAX: Final = 65_535
_IMAGE: Final = re.compile(r"[!-~]+")
_HOST: Final = re.compile(r"\[[0-9A-Fa-f:.%]{2,64}\]|[A-Za-z0-9][A-Za-z0-9._-]{0,252}")

STATES: Final[dict[str, frozenset[JobState]]] = {
    "pending": frozenset({JobState.PENDING, JobState.STARTING}),
    "running": frozenset({JobState.RUNNING, JobState.STOPPING}),
    "completed": frozenset({JobState.COMPLETED}),
    "failed": frozenset({JobState.FAILED}),
    "cancelled": frozenset({JobState.CANCELLED}),
}
"""The documented statuses, and the states of ours that each stands for."""
ALIASES: Final = {"queued": "pending"}
"""What clients of the upstream server may ask for: its answers say queued where its database says pending."""


@frozen(kw_only=True)
class NewTask:
    """A task to run. Numbers may be sent as text."""

    docker_image: str = field(validator=max_len(IMAGE_CHARACTERS))
    command: str | None = field(default=None, validator=optional(max_len(COMMAND_CHARACTERS)))
    """Run by ``/bin/sh -c``; without it the image's own."""
    cpu_required: Sent = None
    """Cores; required."""
    memory_required: Sent = None
    """GB; required."""
    storage_required: Sent = None
    """GB; 1.0 without."""
    gpu_required: Sent = None
    """GPUs: whole ones, and a part of one more in thousandths; 0.0 without."""
    user_id: str | None = field(default=None, validator=optional(max_len(NAME_CHARACTERS)))
    """A label: who owns the task is decided by who is logged in. ``guest`` without."""
    tag: str | None = field(default=None, validator=optional(max_len(NAME_CHARACTERS)))
    k_value: Sent = None
    """1.5 to 2.5; 2.0 without. The task should end within k times its expected runtime: smaller is more urgent."""


@frozen(kw_only=True)
class NewWorker:
    """A worker to register."""

    worker_id: str = ""
    worker_ip: str = ""
    """``host`` or ``host:port``."""
    worker_port: Sent = None
    """Put after ``worker_ip`` when that has no port."""


@frozen(kw_only=True)
class TaskQuery:
    """Which tasks; newest first."""

    status: str | None = None
    limit: int | None = None
    """Ours: at most so many."""


@frozen(kw_only=True)
class LogsQuery:
    """Which part of a log."""

    offset: int = field(default=0, validator=ge(0))
    """Ours: ``next_offset`` of the part before."""


def job_of(body: NewTask, *, job_id: str, owner: str, network: str) -> Job:
    """Return the job that a documented task is.

    :param owner: who submits it, as core knows them.
    :param network: which network its container gets; the document knows no such field.
    :raises BadInput: a field is missing, no number, or out of its bounds; it is named.
    """
    return Job(
        job_id=job_id,
        owner=owner,
        label=_label(body.user_id, "user_id") or USER_DEFAULT,
        image=image_of(body.docker_image, "docker_image"),
        command=command_of(body.command),
        needs=_needs(body),
        tag=_label(body.tag, "tag"),
        k_milli=k_value(body.k_value),
        network=network,
    )


def _needs(body: NewTask) -> Needs:
    cores = amount(body.cpu_required, "cpu_required", most=CORES_MAX, positive=True)
    memory = amount(body.memory_required, "memory_required", most=GB_MAX, positive=True)
    storage = amount(body.storage_required, "storage_required", most=GB_MAX, default=STORAGE_DEFAULT_GB)
    gpus = amount(body.gpu_required, "gpu_required", most=GPUS_MAX, default=0.0)
    return Needs(
        # No limit is set for 0, so the least of what was asked for is one unit.
        millicores=max(1, scaled(cores, MILLI)),
        memory_mib=max(1, scaled(memory, MIB_PER_GB)),
        storage_mib=scaled(storage, MIB_PER_GB),
        milli_gpu=scaled(gpus, MILLI),
    )


def image_of(text: str, name: str) -> str:
    """Return the name of an image; raises `BadInput` for what no image can be called."""
    image = text.strip()
    if not image:
        raise BadInput(f"$.{name}: missing, and required", field=f"$.{name}")
    if _IMAGE.fullmatch(image) is None or image.startswith("-"):
        raise wrong(name, "the name of an image, such as nginx:latest")
    return image


def command_of(text: str | None, name: str = "command") -> str:
    """Return a command line; raises `BadInput` for what cannot be an argument of a program."""
    if text and "\0" in text:
        raise wrong(name, "no NUL")
    if text and len(text.encode("utf-8", "replace")) >= COMMAND_CHARACTERS:
        raise wrong(name, f"fewer than {COMMAND_CHARACTERS} bytes")
    return text or ""


def _label(text: str | None, name: str) -> str:
    if text and not text.isprintable():
        raise wrong(name, "printable characters")
    return text or ""


def states_of(status: str | None) -> frozenset[JobState] | None:
    """Return the states that a documented status stands for; ``None`` for all, which an empty one asks for.

    :raises BadInput: there is no such status.
    """
    if not status:
        return None
    known = STATES.get(ALIASES.get(status, status))
    if known is None:
        raise wrong("status", "one of " + ", ".join(STATES))
    return known


def status_of(state: JobState) -> str:
    """Return the documented status of a state: what is starting still waits, what is stopping still runs."""
    return next(status for status, states in STATES.items() if state in states)


def worker_of(body: NewWorker) -> tuple[str, str]:
    """Return the id and the address (``host:port``, or ``host``) of a worker; raises `BadInput` naming the field."""
    worker_id = body.worker_id.strip()
    if not worker_id or len(worker_id) > NAME_CHARACTERS or not worker_id.isprintable():
        raise wrong("worker_id", f"1 to {NAME_CHARACTERS} printable characters")
    if "/" in worker_id or worker_id in {".", ".."}:
        raise wrong("worker_id", "no slash: it is a part of paths")
    return worker_id, _address(body.worker_ip.strip(), body.worker_port)


def _address(text: str, sent_port: Any) -> str:
    if not text:
        raise BadInput("$.worker_ip: missing, and required", field="$.worker_ip")
    host, separator, port = text.rpartition(":")
    if not separator or text.endswith("]"):
        host, port = text, ""
    if _HOST.fullmatch(host) is None:
        raise wrong("worker_ip", "host:port, such as 192.168.1.100:50052")
    if separator and not text.endswith("]") and not _is_port(port):
        raise wrong("worker_ip", f"a port of 1 to {PORT_MAX}")
    if not port and sent_port not in (None, ""):
        port = f"{sent_port:g}" if isinstance(sent_port, float) else str(sent_port).strip()
        if not _is_port(port):
            raise wrong("worker_port", f"1 to {PORT_MAX}")
    return f"{host}:{port}" if port else host


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= PORT_MAX
