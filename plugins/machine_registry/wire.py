"""Documented JSON: what agents send, what they are answered, and this API's error shape.

Names, texts and status codes are the documented API's.
"""

from operator import attrgetter
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from attrs import field, fields, frozen
from attrs.validators import max_len, optional

from appliance.plugin import (
    Answer,
    ApplianceError,
    BadInput,
    Forbidden,
    Head,
    MethodNotAllowed,
    NotAuthenticated,
)

from .life import KEEPALIVE_SECONDS, Status
from .models import DEFAULT_PROVIDER, Inference, Machine, Metrics

KEEPALIVE: Final = "/api/v1/machine/keepalive"
NAME_CHARACTERS: Final = 64
TEXT_CHARACTERS: Final = 255
TOKEN_CHARACTERS: Final = 8192
MODELS_MAX: Final = 64
NUMBER_MAX: Final = 2**53
"""Beyond it a float is no exact integer any more, and no machine has so much of anything."""

INVALID_PAYLOAD: Final = "Invalid payload"
GONE: Final = "Machine state expired or never registered"
INVALID_TOKEN: Final = "Invalid token"  # noqa: S105 (the documented words)

_encode: Final = msgspec.json.encode
_METRICS: Final = tuple(attribute.name for attribute in fields(Metrics))
_figures: Final = attrgetter(*_METRICS)
_SIGNED: Final = frozenset(attribute.name for attribute in fields(Metrics) if attribute.type is float)


class Refused(ApplianceError):
    """A failure with the status and words that are documented for it."""

    def __init__(self, status: int, message: str, *, code: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code


@frozen(kw_only=True)
class Register:
    """What an agent says of its machine."""

    token: str = field(validator=max_len(TOKEN_CHARACTERS))
    """Of the agent's k3s, often empty: never looked at. Who calls is in the Authorization header."""
    machine_id: str = field(validator=max_len(NAME_CHARACTERS))
    hostname: str = field(validator=max_len(TEXT_CHARACTERS))
    provider_name: str | None = field(default=None, validator=optional(max_len(NAME_CHARACTERS)))
    pool_name: str = field(validator=max_len(NAME_CHARACTERS))
    cpu: str = field(validator=max_len(TEXT_CHARACTERS))
    """Millicores: "8000m" or "8000"."""
    memory: str = field(validator=max_len(TEXT_CHARACTERS))
    """"16Gi", "32768Mi", "33554432Ki", or MiB without a unit."""
    gpu_count: str = field(validator=max_len(TEXT_CHARACTERS))
    private_ip: str = field(validator=max_len(TEXT_CHARACTERS))


@frozen
class Keepalive:
    """A beat. Each figure is finite and no greater than 2^53; counts and sizes are not negative."""

    machine_id: str | None = None
    pool_name: str | None = None
    provider_name: str | None = None
    agent_version: str | None = None
    metrics: Metrics | None = None
    inference: Inference | None = None


def check_register(body: Register) -> None:
    """Raise `BadInput` for names that are empty or cannot be shown."""
    for name in ("machine_id", "pool_name", "hostname", "provider_name", "private_ip"):
        text = getattr(body, name)
        if text and not text.isprintable():
            raise BadInput(f"$.{name}: expected printable characters", field=f"$.{name}")
    for name in ("machine_id", "pool_name"):
        if not getattr(body, name):
            raise BadInput(f"$.{name}: expected a name, found nothing", field=f"$.{name}")


def names(body: Keepalive) -> tuple[str, str, str]:
    """Return provider, pool and id that a beat is for; raises `Refused`."""
    if not body.machine_id or not body.pool_name:
        raise Refused(400, "machine_id and pool_name are required")
    return body.provider_name or DEFAULT_PROVIDER, body.pool_name, body.machine_id


def check_metrics(metrics: Metrics) -> None:
    """Raise `BadInput` for a figure that no machine has."""
    values = _figures(metrics)
    if min(values) >= 0 and max(values) <= NUMBER_MAX:
        return
    for name, value in zip(_METRICS, values, strict=True):
        low = -NUMBER_MAX if name in _SIGNED else 0
        if not low <= value <= NUMBER_MAX:
            raise BadInput(f"$.metrics.{name}: expected {low} to {NUMBER_MAX}", field=f"$.metrics.{name}")


def printable(text: str | None, characters: int) -> str:
    """Return what of a text can be shown, cut to so many characters."""
    if not text:
        return ""
    if text.isprintable() and len(text) <= characters:
        return text
    return "".join(each for each in text[: 4 * characters] if each.isprintable())[:characters]


def inference_of(sent: Inference | None) -> Inference | None:
    """Return what a beat says of a model server, cut to what is kept; ``None`` unless one is running."""
    if sent is None or sent.status != "running" or not 0 <= sent.port <= 65535:
        return None
    models = [printable(each, TEXT_CHARACTERS) for each in (sent.models or ())[:MODELS_MAX]]
    return Inference("running", printable(sent.ip, TEXT_CHARACTERS), sent.port, [each for each in models if each])


def query(head: Head) -> dict[str, str]:
    """Return the query's parameters, the last of each name; nothing of a query with more than anybody sends."""
    try:
        return dict(parse_qsl(head.raw_query.decode("latin-1"), keep_blank_values=True, max_num_fields=64))
    except ValueError:
        return {}


# ---------------------------------------------------------------- answers


def seconds(unix_us: int | None) -> str:
    """Return a moment as the document writes it: whole Unix seconds in a string, empty for never."""
    return "" if unix_us is None else str(unix_us // 1_000_000)


def registered(machine: Machine) -> dict[str, Any]:
    """Return the answer to a registration."""
    return {
        "config": None,
        "machine_state": {
            "machine_id": machine.machine_id,
            "status": Status.REGISTERED.value,
            "pool_name": machine.pool,
            "ttl_seconds": KEEPALIVE_SECONDS,
        },
    }


def kept(machine: Machine) -> bytes:
    """Return the answer to a beat as JSON; what seldom changes is made once."""
    if machine.reply_head is None:
        fixed = {
            "machine_id": machine.machine_id,
            "status": Status.READY.value,
            "pool_name": machine.pool,
            "ttl_seconds": KEEPALIVE_SECONDS,
        }
        if machine.agent_version:
            fixed["agent_version"] = machine.agent_version
        machine.reply_head = b'{"status":"ok","machine_state":' + _encode(fixed)[:-1] + b',"last_keepalive":"'
    return b'%b%b","last_worker_seen":"%b"}}' % (
        machine.reply_head,
        seconds(machine.last_keepalive_unix_us).encode(),
        seconds(machine.last_worker_unix_us).encode(),
    )


def listed(machine: Machine, gpu: str) -> bytes:
    """Return a ready machine as JSON, made anew only after it has changed.

    Neither its k3s token (which is not kept) nor the token it registered with is ever shown.
    """
    if machine.listed is None:
        head = machine.listed_head
        if head is None or head[0] != gpu:
            machine.listed_head = head = gpu, _listed_head(machine, gpu)
        machine.listed = (
            b'%b,"last_worker_seen":"%b","last_keepalive":"%b","auto_consolidate":false,"agent_version":%b},"metrics":%b}'
            % (
                head[1],
                seconds(machine.last_worker_unix_us).encode(),
                seconds(machine.last_keepalive_unix_us).encode(),
                _encode(machine.agent_version),
                _encode(machine.metrics),
            )
        )
    return machine.listed


def _listed_head(machine: Machine, gpu: str) -> bytes:
    """Return the start of a machine in a list: what only a registration changes."""
    fixed = {
        "machine_id": machine.machine_id,
        "pool_name": machine.pool,
        "status": Status.READY.value,
        "hostname": machine.hostname,
        "cpu": machine.cpu_millicores,
        "memory": machine.memory_mib,
        "gpu": gpu,
        "gpu_count": machine.gpu_count,
        "private_ip": machine.private_ip,
        "created": seconds(machine.created_unix_us),
    }
    return b'{"state":' + _encode(fixed)[:-1]


# ---------------------------------------------------------------- errors


def render_error(error: ApplianceError, head: Head) -> Answer:
    """Render any failure in this API's shape: ``message``, and where they say more ``error_code``, ``suggestion``."""
    status, said = error.status, {"message": error.message}
    if isinstance(error, Refused):
        if error.code:
            said["error_code"] = error.code
    elif isinstance(error, BadInput):
        said = {"message": INVALID_PAYLOAD, "suggestion": error.message}
    elif isinstance(error, NotAuthenticated | Forbidden):
        status, said = 403, {"message": INVALID_TOKEN}
        if head.path.rstrip("/") == KEEPALIVE:
            said["error_code"] = "invalid_token"
        return Answer(model=said, status=status)
    elif isinstance(error, MethodNotAllowed):
        return Answer(model=said, status=status, headers=error.headers)
    if error.hint and "suggestion" not in said and status != 404:
        said["suggestion"] = error.hint
    return Answer(model=said, status=status, headers=error.headers)
