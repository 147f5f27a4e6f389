"""Agents: how they join, report and fetch their configuration, and how people see them."""

from typing import Any, Final

from appliance.plugin import Call, Caller, Kind, NotFound, Role, Stream, Surface

from .callers import USERS, address_of, own_agent, seen_by
from .listing import WHOLE_MAX, in_pieces
from .models import Agent
from .plans import require_metrics
from .repeats import Repeated
from .state import SharingState
from .wire.answers import (
    AgentConfigResponse,
    AgentItem,
    AgentRegisterResponse,
    Agents,
    License,
    StatusReportResponse,
    Success,
)
from .wire.render import agent_item, worker_config
from .wire.reports import AgentMetricsRequest, AgentStatusReportRequest, figures_of
from .wire.requests import AgentRegisterRequest, gpus_of
from .wire.times import read_time

AGENT: Final = frozenset({Kind.AGENT})
INSTALL: Final = frozenset({Kind.INSTALL})
REPORT_BYTES: Final = 4 * 2**20


def declare(api: Surface) -> None:
    """Declare the endpoints on the documented surface."""
    one = "/api/v1/agents/{agent_id}"
    api.post(
        "/api/v1/agents/register",
        caller=INSTALL,
        body=AgentRegisterRequest,
        answer=AgentRegisterResponse,
        status=201,
        audit=True,
    )(register)
    api.get("/api/v1/agents", caller=USERS, answer=Agents)(agents)
    api.get(one, caller=USERS, answer=AgentItem)(agent)
    api.delete(one, caller=USERS, role=Role.USER, answer=Success, audit=True)(delete)
    api.get(f"{one}/config", caller=AGENT, answer=AgentConfigResponse)(config)
    api.post(
        f"{one}/status",
        caller=AGENT,
        body=AgentStatusReportRequest,
        answer=StatusReportResponse,
        limit_bytes=REPORT_BYTES,
        hot=True,
        shortcut=_repeated,
    )(status)
    api.post(f"{one}/metrics", caller=AGENT, body=AgentMetricsRequest, answer=Success)(metrics)


async def register(call: Call[AgentRegisterRequest]) -> AgentRegisterResponse:
    """Register a host with its GPUs; the install token is used up by it. A host without GPUs only uses others'."""
    state, body = call.state, call.body
    token = (call.head.header(b"authorization") or "").partition(" ")[2].strip()
    made = state.book.new_agent(
        token,
        hostname=body.hostname,
        os=body.os,
        arch=body.arch,
        gpus=gpus_of(body, state.settings.vendors),
        network_ips=tuple(body.network_ips or ()),
        reported_from=address_of(call),
    )
    license_ = await state.licensing.issue(made)  # first: where none can be had, the token is not used up
    secret = await state.book.join(made, token)
    state.intake.gpus_changed(made)
    return AgentRegisterResponse(agent_id=made.agent_id, agent_secret=secret, license=License(**license_))


async def agents(call: Call[None]) -> Agents | Stream:
    """List one's agents, each with its GPUs and workers."""
    state: SharingState = call.state
    found = state.book.agents(seen_by(call, state.core, state.book))

    def items_of(each: Agent) -> list[AgentItem]:
        return [agent_item(each, state.status(each), limits=state.limits)]

    if len(found) > WHOLE_MAX:
        return in_pieces("agents", found, items_of)
    return Agents(agents=[item for each in found for item in items_of(each)])


async def agent(call: Call[None]) -> AgentItem:
    """Show one of one's agents."""
    state: SharingState = call.state
    found = _owned(call)
    return agent_item(found, state.status(found), limits=state.limits)


async def delete(call: Call[None]) -> Success:
    """Delete an agent with its workers and their shares; an agent may delete itself only, whatever its owner may."""
    state: SharingState = call.state
    await state.forget(_itself(call) if call.caller.kind is Kind.AGENT else _owned(call))
    return Success()


async def config(call: Call[None]) -> AgentConfigResponse:
    """Tell an agent what to run, with a fresh licence."""
    state: SharingState = call.state
    found = _itself(call)
    license_ = await state.licensing.issue(found)
    found.fetched_us = state.book.clock()
    return AgentConfigResponse(
        config_version=found.config_version,
        workers=[worker_config(worker, found, state.codes(worker)) for worker in found.workers.values()],
        license=License(**license_),
    )


def _repeated(raw: bytes, caller: Caller, state: SharingState) -> Repeated | None:
    """Return what is new in a report whose lists are those of the one before, which need not be read again."""
    found = state.book.find(caller.subject)
    return None if found is None else state.intake.repeats.read(found, raw)


async def status(call: Call[AgentStatusReportRequest | Repeated]) -> StatusReportResponse:
    """Take an agent's status in; answer with what has changed for it."""
    state, body = call.state, call.body
    found = _itself(call)
    at = read_time(body.timestamp, field="$.timestamp")
    await state.intake.take(found, body, raw=call.raw, reported_from=address_of(call))
    if body.metrics and state.book.plan_of(found.owner).metrics:
        await state.intake.lines(found, body.metrics, at)
    license_ = await state.licensing.renewed(found, body.license_expiration)
    return StatusReportResponse(
        config_version=found.config_version,
        license=None if license_ is None else License(**license_),
        worker_share_codes={worker.worker_id: state.codes(worker) for worker in found.workers.values()},
    )


async def metrics(call: Call[AgentMetricsRequest]) -> Success:
    """Take an agent's figures in, where its owner's plan keeps them."""
    state, body = call.state, call.body
    found = _itself(call)
    require_metrics(state.book.plan_of(found.owner))
    figures = figures_of(body, [gpu.gpu_id for gpu in found.gpus])
    await state.intake.keep(found, figures, read_time(body.timestamp, field="$.timestamp"))
    return Success()


def _owned(call: Call[Any]) -> Agent:
    state: SharingState = call.state
    found: Agent = state.book.agent(call.path["agent_id"], seen_by(call, state.core, state.book))
    return found


def _itself(call: Call[Any]) -> Agent:
    """Return the agent that a path names, which must be the one that calls; another one's is not there."""
    found = own_agent(call, call.state.book)
    if call.path["agent_id"] != found.agent_id:
        raise NotFound("agent", call.path["agent_id"][:64])
    return found
