"""What people and their programs send: the documented requests, and what the clients send beyond them.

A list may be null wherever it may be empty: Go writes null for a list that was never made. Unknown fields are ignored.
"""

from ipaddress import ip_network
from typing import Any, Final, Literal

import msgspec
from attrs import field, frozen
from attrs.validators import and_, ge, le, max_len, optional

from appliance.plugin import BadInput

from ..models import Gpu
from .rules import (
    ADDRESSES_MAX,
    GPU_ID,
    GPUS_MAX,
    IDENTITY,
    MEMORY_MB,
    PERCENT,
    PORT,
    POSITIVE,
    any_text,
    list_of,
    some_text,
)
from .times import check_time, read_time

PAT_DAYS_MAX: Final = 36_500
Isolation = Literal["soft", "hard", "shared", "partitioned"]
"""The document's words and the client's; see `isolation_of`."""


@frozen(kw_only=True)
class GenerateTokenRequest:
    """Ask for a token with which one agent can be installed."""

    type: Literal["agent_install"]


@frozen(kw_only=True)
class CreatePatRequest:
    """Ask for the personal access token; the one there was ends."""

    expires_in_days: int | None = field(validator=optional(and_(ge(1), le(PAT_DAYS_MAX))))
    """``null``: it does not expire."""


@frozen(kw_only=True)
class GpuInfo:
    """One GPU of an agent that registers."""

    gpu_id: str = field(validator=GPU_ID)
    vendor: str = field(validator=some_text(32))
    """In any case: agents write NVIDIA, AMD, Hygon."""
    model: str = field(validator=any_text(255))
    vram_mb: int = field(validator=MEMORY_MB)
    driver_version: str | None = field(default=None, validator=optional(any_text(64)))
    cuda_version: str | None = field(default=None, validator=optional(any_text(64)))
    gpu_index: int | None = field(default=None, validator=optional(and_(ge(0), le(65_535))))
    """Beyond the document; where it is left out, the place in the list."""


@frozen(kw_only=True)
class AgentRegisterRequest:
    """A host joins. No GPUs is a host that only uses those of others."""

    hostname: str = field(validator=some_text(255))
    os: str = field(validator=some_text(20))
    arch: str = field(validator=some_text(20))
    gpus: list[GpuInfo] | None = field(validator=optional(max_len(GPUS_MAX)))
    network_ips: list[str] | None = field(default=None, validator=list_of(any_text(64), longest=ADDRESSES_MAX))


@frozen(kw_only=True)
class CreateWorkerRequest:
    """Make a worker of an agent's GPUs."""

    agent_id: str = field(validator=IDENTITY)
    name: str = field(validator=some_text(100))
    gpu_ids: list[str] | None = field(default=None, validator=list_of(GPU_ID, shortest=1, longest=GPUS_MAX))
    """Left out or null: placement picks one. An empty list is refused, as documented."""
    listen_port: int = field(validator=PORT)
    enabled: bool = True
    vram_mb: int | None = field(default=None, validator=optional(MEMORY_MB))
    compute_percent: int | None = field(default=None, validator=optional(PERCENT))
    isolation_mode: Isolation | None = None


def _given(rule: Any) -> Any:
    """Let a rule look at values that are there: neither left out nor null."""

    def validate(instance: Any, attribute: Any, value: Any) -> None:
        if value is not msgspec.UNSET and value is not None:
            rule(instance, attribute, value)

    return validate


@frozen(kw_only=True)
class UpdateWorkerRequest:
    """Change a worker; what is left out stays. A limit that is null is taken away."""

    name: str | None = field(default=None, validator=optional(some_text(100)))
    gpu_ids: list[str] | None = field(default=None, validator=list_of(GPU_ID, shortest=1, longest=GPUS_MAX))
    listen_port: int | None = field(default=None, validator=optional(PORT))
    enabled: bool | None = None
    vram_mb: int | msgspec.UnsetType | None = field(default=msgspec.UNSET, validator=_given(MEMORY_MB))
    compute_percent: int | msgspec.UnsetType | None = field(default=msgspec.UNSET, validator=_given(PERCENT))
    isolation_mode: Isolation | msgspec.UnsetType | None = msgspec.UNSET


@frozen(kw_only=True)
class CreateShareRequest:
    """Let somebody use a worker."""

    worker_id: str = field(validator=IDENTITY)
    connection_ip: str = field(default="", validator=max_len(260))
    """Where guests connect; clients that were told nothing send an empty text, for the agent's first address."""
    expires_at: str | None = field(default=None, validator=optional(check_time))
    max_uses: int | None = field(default=None, validator=optional(POSITIVE))
    protocol: Literal["native", "rdma", "shmem"] = "native"
    access: Literal["open", "cidr", "redeemed"] | None = None
    """Beyond the document, as are the next two: who may connect through the relay of this host."""
    networks: list[str] | None = field(default=None, validator=list_of(any_text(64), longest=ADDRESSES_MAX))
    max_connections: int | None = field(default=None, validator=optional(and_(ge(1), le(65_535))))


@frozen(kw_only=True)
class WorkersQuery:
    """Which workers to list."""

    agent_id: str | None = field(default=None, validator=optional(any_text(255)))
    hostname: str | None = field(default=None, validator=optional(any_text(255)))


# ---------------------------------------------------------------- what hangs together


def gpus_of(body: AgentRegisterRequest, vendors: tuple[str, ...]) -> tuple[Gpu, ...]:
    """Return the GPUs that a host registers, vendors in lower case.

    :param vendors: those that may register.
    :raises BadInput: a vendor is not among them, or two GPUs have one id; case makes no difference.
    """
    found: list[Gpu] = []
    seen: set[str] = set()
    for place, gpu in enumerate(body.gpus or ()):
        vendor = gpu.vendor.lower()
        if vendor not in vendors:
            path = f"$.gpus[{place}].vendor"
            allowed = ", ".join(vendors) or "none"
            raise BadInput(
                f"{path}: the vendor {gpu.vendor!r} is not known here",
                field=path,
                hint=f"known are {allowed}; an operator can add it to vendors in [plugins.gpu_sharing]",
            )
        if gpu.gpu_id.lower() in seen:
            path = f"$.gpus[{place}].gpu_id"
            raise BadInput(f"{path}: {gpu.gpu_id!r} is there twice", field=path)
        seen.add(gpu.gpu_id.lower())
        found.append(
            Gpu(
                gpu_id=gpu.gpu_id,
                gpu_index=place if gpu.gpu_index is None else gpu.gpu_index,
                vendor=vendor,
                model=gpu.model,
                vram_mb=gpu.vram_mb,
                driver_version=gpu.driver_version or None,
                cuda_version=gpu.cuda_version or None,
            )
        )
    return tuple(found)


def isolation_of(word: str | None) -> str | None:
    """Return ``soft``, ``hard`` or ``None`` for the document's words and the client's.

    The client says shared where there is no isolation, and partitioned where the document says hard.
    """
    return {"soft": "soft", "hard": "hard", "partitioned": "hard"}.get(word or "")


def changes_of(body: UpdateWorkerRequest) -> dict[str, Any]:
    """Return what a PATCH changes, by the names of `models.Worker`."""
    changes: dict[str, Any] = {
        name: value for name in ("name", "listen_port", "enabled") if (value := getattr(body, name)) is not None
    }
    if body.gpu_ids is not None:
        changes["gpu_ids"] = tuple(body.gpu_ids)
    for name in ("vram_mb", "compute_percent"):
        if (value := getattr(body, name)) is not msgspec.UNSET:
            changes[name] = value
    if not isinstance(body.isolation_mode, msgspec.UnsetType):
        changes["isolation_mode"] = isolation_of(body.isolation_mode)
    return changes


def expiry_of(body: CreateShareRequest, *, now_unix_us: int) -> int | None:
    """Return when a share ends; raise `BadInput` for one that would have ended already."""
    if body.expires_at is None:
        return None
    expires_unix_us = read_time(body.expires_at, field="$.expires_at")
    if expires_unix_us <= now_unix_us:
        raise BadInput("$.expires_at: expected a time to come", field="$.expires_at")
    return expires_unix_us


def networks_of(body: CreateShareRequest) -> tuple[str, ...]:
    """Return the networks that may connect; raise `BadInput` for a text that is none."""
    found: list[str] = []
    for place, text in enumerate(body.networks or ()):
        try:
            found.append(str(ip_network(text)))
        except ValueError:
            path = f"$.networks[{place}]"
            raise BadInput(f"{path}: expected a network such as 10.1.0.0/16", field=path) from None
    return tuple(found)
