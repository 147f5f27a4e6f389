"""Our own endpoints for what the documented API lacks: what pages and commands show, usage, QR codes, the mirror."""

from pathlib import Path
from typing import Any, Final, Literal

import trio
from attrs import field, frozen
from attrs.validators import and_, ge, gt, in_, le, matches_re, max_len, optional
from msgspec import Struct

from appliance.plugin import (
    PERSON,
    Answer,
    Call,
    Forbidden,
    Kind,
    NotAvailable,
    Role,
    Surface,
    to_unix_s,
)

from . import mig_routes, push_told, qr, releases, share_routes, usage, usage_store
from .callers import owner_of, seen_by
from .models import SURFACE, Agent, Share, Worker
from .state import SharingState
from .token_routes import install_token
from .wire.render import short_link, url_of
from .wire.requests import CreateWorkerRequest, UpdateWorkerRequest, changes_of, isolation_of
from .wire.times import read_time

PREFIX: Final = "/api/appliance/sharing"
US: Final = 1_000_000
TIME_MAX_S: Final = 2**33
CSV_ROWS: Final = 100_000

api = Surface(SURFACE, prefixes=(PREFIX,), unknown_fields="refuse")
mig_routes.declare(api, PREFIX)


class Page(Struct, frozen=True, kw_only=True):
    """A whole list."""

    items: list[dict[str, Any]]
    next: None = None


@frozen(kw_only=True)
class Whose:
    """``all=true`` shows everybody's, to operators."""

    all: bool = False
    agent_id: str | None = field(default=None, validator=optional(max_len(128)))


@frozen(kw_only=True)
class NewShare:
    """A share to be made."""

    worker_id: str = field(validator=max_len(128))
    connection_ip: str = field(default="", validator=max_len(260))
    expires_in_seconds: float | None = field(default=None, validator=optional(and_(gt(0), le(10 * 365 * 86_400))))
    max_uses: int | None = field(default=None, validator=optional(and_(ge(1), le(2**31 - 1))))
    access: Literal["open", "cidr", "redeemed"] | None = None
    networks: list[str] = field(factory=list, validator=max_len(64))
    max_connections: int | None = field(default=None, validator=optional(and_(ge(1), le(65_535))))


@frozen(kw_only=True)
class NewRelease:
    """A file of this host that the mirror shall serve."""

    path: str = field(validator=max_len(4096))
    name: str | None = field(default=None, validator=optional(max_len(128)))
    vendor: str = field(validator=max_len(32))
    version: str = field(validator=max_len(96))
    type: str = field(validator=in_(releases.TYPES))
    os: str = field(default="linux", validator=in_(releases.OSES))
    arch: str = field(default="amd64", validator=in_(releases.ARCHES))


@frozen(kw_only=True)
class Span:
    """Which usage: by what, and when."""

    by: str = field(default="share", validator=matches_re("person|share|worker"))
    from_unix_s: float | None = field(default=None, validator=optional(and_(ge(0), le(TIME_MAX_S))))
    to_unix_s: float | None = field(default=None, validator=optional(and_(ge(0), le(TIME_MAX_S))))
    all: bool = False


def _owner(call: Call[Any]) -> tuple[str, ...] | None:
    """Return whose things are shown: one's own; everybody's where an operator asks for them."""
    state: SharingState = call.state
    if call.query is not None and getattr(call.query, "all", False):
        if not call.caller.may(Role.OPERATOR):
            raise Forbidden("only operators see everybody's", hint="leave ?all=true out")
        return None
    return seen_by(call, state.core, state.book)


def _changing(call: Call[Any]) -> tuple[str, ...] | None:
    """Return whose things may be changed: one's own, as an operator everybody's."""
    state: SharingState = call.state
    return None if call.caller.may(Role.OPERATOR) else seen_by(call, state.core, state.book)


# ---------------------------------------------------------------- agents


@api.get(f"{PREFIX}/agents", caller=PERSON, query=Whose, answer=Page)
async def agents(call: Call[None]) -> Page:
    """List agents with their GPUs."""
    state: SharingState = call.state
    return Page(items=[_agent(state, each) for each in state.book.agents(_owner(call))])


@api.post(f"{PREFIX}/agents/install", caller=PERSON, role=Role.USER, status=201)
async def install(call: Call[None]) -> dict[str, Any]:
    """Make a token with which one agent can be installed within half an hour, and the line that does it."""
    state: SharingState = call.state
    made = await install_token(state, owner_of(call, state.core, state.book))
    expires = to_unix_s(read_time(made.expires_at, field="$"))
    return {
        "token_id": made.token_id,
        "token": made.token,
        "install_command": made.install_command,
        "expires_unix_s": expires,
    }


@api.delete(f"{PREFIX}/agents/{{agent_id}}", caller=PERSON, role=Role.USER)
async def delete_agent(call: Call[None]) -> dict[str, str]:
    """Delete an agent with its workers and their shares."""
    state: SharingState = call.state
    agent = state.book.agent(call.path["agent_id"], _changing(call))
    await state.forget(agent)
    return {"deleted": agent.agent_id}


def _agent(state: SharingState, agent: Agent) -> dict[str, Any]:
    users: dict[str, list[str]] = {}
    for worker in agent.workers.values():
        if worker.claim.holds:
            for gpu_id in worker.gpu_ids:
                users.setdefault(gpu_id, []).append(worker.name)
    return {
        "agent_id": agent.agent_id,
        "hostname": agent.hostname,
        "owner": _name(state, agent.owner),
        "status": state.status(agent).value,
        "os": agent.os,
        "arch": agent.arch,
        "network_ips": list(agent.network_ips),
        "is_local": agent.is_local,
        "host_id": agent.host_id,
        "config_version": agent.config_version,
        "last_seen_unix_s": _seconds(agent.last_seen_unix_us),
        "created_unix_s": to_unix_s(agent.created_unix_us),
        "gpus": [
            {
                "gpu_id": gpu.gpu_id,
                "gpu_index": gpu.gpu_index,
                "vendor": gpu.vendor,
                "model": gpu.model,
                "vram_mb": gpu.vram_mb,
                "used_by": users.get(gpu.gpu_id, []),
            }
            for gpu in agent.gpus
        ],
        "worker_count": len(agent.workers),
        "share_count": sum(1 for worker_id in agent.workers for _ in state.book.shares_of(worker_id)),
    }


# ---------------------------------------------------------------- workers


@api.get(f"{PREFIX}/workers", caller=PERSON, query=Whose, answer=Page)
async def workers(call: Call[None]) -> Page:
    """List workers: what they may use, whether anything holds them to it, and why one does not run."""
    state, wanted = call.state, call.query.agent_id
    found = [
        (worker, agent)
        for agent in state.book.agents(_owner(call))
        if wanted in (None, agent.agent_id)
        for worker in agent.workers.values()
    ]
    return Page(items=[_worker(state, *each) for each in found])


@api.post(f"{PREFIX}/workers", caller=PERSON, role=Role.USER, body=CreateWorkerRequest, status=201)
async def create_worker(call: Call[CreateWorkerRequest]) -> dict[str, Any]:
    """Make a worker where it fits."""
    state, body = call.state, call.body
    agent = state.book.agent(body.agent_id, _changing(call))
    made = await state.book.create_worker(
        agent,
        name=body.name,
        gpu_ids=tuple(body.gpu_ids or ()),
        listen_port=body.listen_port,
        enabled=body.enabled,
        vram_mb=body.vram_mb,
        compute_percent=body.compute_percent,
        isolation_mode=isolation_of(body.isolation_mode),
    )
    return _worker(state, made, agent)


@api.patch(f"{PREFIX}/workers/{{worker_id}}", caller=PERSON, role=Role.USER, body=UpdateWorkerRequest)
async def update_worker(call: Call[UpdateWorkerRequest]) -> dict[str, Any]:
    """Change a worker."""
    state: SharingState = call.state
    worker, agent = _found(call)
    return _worker(state, await state.book.update_worker(agent, worker, changes_of(call.body)), agent)


@api.delete(f"{PREFIX}/workers/{{worker_id}}", caller=PERSON, role=Role.USER)
async def delete_worker(call: Call[None]) -> dict[str, str]:
    """Delete a worker with its shares."""
    worker, agent = _found(call)
    await call.state.forget_worker(agent, worker)
    return {"deleted": worker.worker_id}


def _found(call: Call[Any]) -> tuple[Worker, Agent]:
    state: SharingState = call.state
    worker = state.book.worker(call.path["worker_id"], _changing(call))
    return worker, state.book.agent(worker.agent_id)


def _worker(state: SharingState, worker: Worker, agent: Agent) -> dict[str, Any]:
    limits = state.limits(worker, agent)
    return {
        "worker_id": worker.worker_id,
        "agent_id": agent.agent_id,
        "hostname": agent.hostname,
        "name": worker.name,
        "gpu_ids": list(worker.gpu_ids),
        "listen_port": worker.listen_port,
        "enabled": worker.enabled,
        "is_default": worker.is_default,
        "is_local": agent.is_local,
        "status": str(worker.status),
        "why": state.why_not_running(worker, agent),
        "vram_mb": worker.vram_mb,
        "compute_percent": worker.compute_percent,
        "isolation_mode": worker.isolation_mode,
        "limits": limits.limits,
        "limits_reason": limits.reason,
        "connections": [
            {"client_ip": peer.client_ip, "connected_unix_s": to_unix_s(since)}
            for peer, since in worker.connections.items()
        ],
        "share_count": sum(1 for _ in state.book.shares_of(worker.worker_id)),
        "created_unix_s": to_unix_s(worker.created_unix_us),
    }


# ---------------------------------------------------------------- shares


@api.get(f"{PREFIX}/shares", caller=PERSON, query=Whose, answer=Page)
async def shares(call: Call[None]) -> Page:
    """List shares with their links and what passes through them."""
    state: SharingState = call.state
    return Page(items=[_share(state, each) for each in state.book.shares(_owner(call))])


@api.post(f"{PREFIX}/shares", caller=PERSON, role=Role.USER, body=NewShare, status=201)
async def create_share(call: Call[NewShare]) -> dict[str, Any]:
    """Share a worker."""
    state, body = call.state, call.body
    worker = state.book.worker(body.worker_id, _changing(call))
    now = state.core.now()
    share = await share_routes.make(
        state,
        worker,
        owner=owner_of(call, state.core, state.book),
        connection_ip=body.connection_ip,
        expires_unix_us=None if body.expires_in_seconds is None else now + int(body.expires_in_seconds * US),
        max_uses=body.max_uses,
        access=body.access,
        networks=share_routes.networks(body.networks),
        max_connections=body.max_connections,
    )
    return _share(state, share)


@api.delete(f"{PREFIX}/shares/{{share_id}}", caller=PERSON, role=Role.USER)
async def delete_share(call: Call[None]) -> dict[str, str]:
    """End a share at once."""
    state: SharingState = call.state
    share = state.book.share(call.path["share_id"], _changing(call))
    await state.forget_share(share)
    return {"deleted": share.share_id}


@api.get(f"{PREFIX}/shares/{{share_id}}/qr", caller=PERSON)
async def share_qr(call: Call[None]) -> Answer:
    """Draw a share's short link as a QR code."""
    state: SharingState = call.state
    share = state.book.share(call.path["share_id"], _changing(call))
    link = short_link(state.short_link_base(), share.short_code)
    return Answer(model=qr.svg(link), content_type="image/svg+xml", headers=(("Cache-Control", "private"),))


def _share(state: SharingState, share: Share) -> dict[str, Any]:
    worker, agent = state.book.worker(share.worker_id), state.book.agent(share.agent_id)
    passed = state.passed(share)
    is_over = share.is_over(state.core.now())
    return {
        "share_id": share.share_id,
        "short_code": share.short_code,
        "short_link": short_link(state.short_link_base(), share.short_code),
        "worker_id": worker.worker_id,
        "worker_name": worker.name,
        "hostname": agent.hostname,
        "owner": _name(state, share.owner),
        "connection_url": url_of(share, worker),
        "expires_unix_s": _seconds(share.expires_unix_us),
        "max_uses": share.max_uses,
        "used_count": share.used_count,
        "state": "expired" if is_over else "used_up" if share.is_used_up() else "live",
        "access": (share.access or state.settings.relay_access) if share.relay_port else None,
        "networks": list(share.networks),
        "max_connections": share.max_connections,
        "is_relayed": share.relay_port is not None,
        "relay_port": share.relay_port,
        "connections_live": passed.connections_live,
        "bytes_total": passed.bytes_total,
        "problem": passed.problem,
        "created_unix_s": to_unix_s(share.created_unix_us),
    }


# ---------------------------------------------------------------- push


@api.get(f"{PREFIX}/push", caller=PERSON)
async def push(call: Call[None]) -> dict[str, Any]:
    """Tell how an agent is started so that it hears of changes within a second.

    ``authorities_pem`` goes into a file on the agent's host, which ``SSL_CERT_FILE`` names.
    """
    state: SharingState = call.state
    if not state.settings.push_proxy:
        raise NotAvailable("not available because push_proxy is off in [plugins.gpu_sharing]: agents ask every 30 s")
    return await trio.to_thread.run_sync(push_told.told, state.core, state.settings)


# ---------------------------------------------------------------- usage


@api.get(f"{PREFIX}/usage", caller=PERSON, query=Span, answer=Page)
async def usage_totals(call: Call[None]) -> Page:
    """Sum up what was used, by person, worker or share; what nobody's share used is under an empty name."""
    state, wanted = call.state, call.query
    owners, (since, until) = _owner(call), _span(state, wanted)
    found = await state.core.database.read(
        lambda conn: usage_store.totals(conn, wanted.by, owners=owners, from_unix_us=since, to_unix_us=until)
    )
    return Page(
        items=[
            {
                "name": (_name(state, name) or name) if wanted.by == "person" else name,
                "gpu_seconds": used.gpu_ms / 1000,
                "vram_gib_seconds": used.vram_mib_ms / 1024 / 1000,
                "energy_joules": used.energy_mj / 1000,
                "bytes": used.bytes_from_guests + used.bytes_to_guests,
            }
            for name, used in found
        ]
    )


@api.get(f"{PREFIX}/usage.csv", caller=PERSON, query=Span)
async def usage_csv(call: Call[None]) -> Answer:
    """Give what was used by hour, worker and share as CSV (RFC 4180), at most 100,000 lines."""
    state: SharingState = call.state
    owners, (since, until) = _owner(call), _span(state, call.query)
    found = await state.core.database.read(
        lambda conn: usage_store.rows(conn, owners=owners, from_unix_us=since, to_unix_us=until, limit=CSV_ROWS)
    )
    names = {account.owner: _name(state, account.owner) for account, _ in found if _name(state, account.owner)}
    headers = (("Content-Disposition", 'attachment; filename="usage.csv"'), ("Cache-Control", "no-store"))
    text = "".join(usage.csv_lines(found, names))
    return Answer(model=text, content_type="text/csv; charset=utf-8", headers=headers)


def _span(state: SharingState, wanted: Span) -> tuple[int, int]:
    until = state.core.now() + 1 if wanted.to_unix_s is None else int(wanted.to_unix_s * US)
    return 0 if wanted.from_unix_s is None else int(wanted.from_unix_s * US), until


# ---------------------------------------------------------------- the mirror


@api.get(f"{PREFIX}/releases", caller=PERSON, answer=Page)
async def mirror(call: Call[None]) -> Page:
    """List the files of the mirror, newest version first."""
    return Page(items=[_release(each) for each in call.state.releases.all()])


@api.post(f"{PREFIX}/releases", caller=frozenset({Kind.CONTROL}), body=NewRelease, status=201, waits=True)
async def add_release(call: Call[NewRelease]) -> dict[str, Any]:
    """Copy a file of this host into the mirror: for whoever is on this host as the appliance's user, or root."""
    state, body = call.state, call.body
    path = Path(body.path)
    wanted = releases.described(
        name=body.name or path.name,
        vendor=body.vendor,
        version=body.version,
        type_=body.type,
        os_name=body.os,
        arch=body.arch,
        added_unix_us=state.core.now(),
    )
    return _release(await state.releases.add(path, wanted))


@api.delete(f"{PREFIX}/releases/{{name}}", caller=PERSON, role=Role.ADMIN)
async def remove_release(call: Call[None]) -> dict[str, str]:
    """Take a file out of the mirror."""
    call.state.releases.remove(call.path["name"])
    return {"deleted": call.path["name"]}


def _release(release: releases.Release) -> dict[str, Any]:
    return {
        "name": release.name,
        "vendor": release.vendor,
        "version": release.version,
        "type": release.type,
        "os": release.os,
        "arch": release.arch,
        "sha256": release.sha256,
        "size_bytes": release.size_bytes,
        "added_unix_s": to_unix_s(release.added_unix_us),
    }


def _name(state: SharingState, person_id: str) -> str:
    person = state.core.people.get(person_id) if person_id else None
    return "" if person is None else person.name


def _seconds(unix_us: int | None) -> float | None:
    return None if unix_us is None else to_unix_s(unix_us)
