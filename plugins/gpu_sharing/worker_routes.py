"""Workers: parts of an agent's GPUs that can be shared."""

from typing import Any

from appliance.plugin import Call, Role, Stream, Surface

from .callers import USERS, seen_by
from .listing import WHOLE_MAX, in_pieces
from .models import Agent, Worker
from .state import SharingState
from .wire.answers import Success, WorkerItem, Workers
from .wire.render import users, worker_item
from .wire.requests import CreateWorkerRequest, UpdateWorkerRequest, WorkersQuery, changes_of, isolation_of


def declare(api: Surface) -> None:
    """Declare the endpoints on the documented surface."""
    one = "/api/v1/workers/{worker_id}"
    api.get("/api/v1/workers", caller=USERS, query=WorkersQuery, answer=Workers)(workers)
    api.post(
        "/api/v1/workers",
        caller=USERS,
        role=Role.USER,
        body=CreateWorkerRequest,
        answer=WorkerItem,
        status=201,
        audit=True,
    )(create)
    api.get(one, caller=USERS, answer=WorkerItem)(worker)
    api.patch(one, caller=USERS, role=Role.USER, body=UpdateWorkerRequest, answer=WorkerItem, audit=True)(update)
    api.delete(one, caller=USERS, role=Role.USER, answer=Success, audit=True)(delete)


async def workers(call: Call[None]) -> Workers | Stream:
    """List the workers of one's agents."""
    state, wanted = call.state, call.query
    found = [
        agent
        for agent in state.book.agents(seen_by(call, state.core, state.book))
        if (not wanted.agent_id or wanted.agent_id == agent.agent_id)
        and (not wanted.hostname or wanted.hostname == agent.hostname)
    ]

    def items_of(agent: Agent) -> list[WorkerItem]:
        used = users(agent.workers.values())
        return [worker_item(each, agent, limits=state.limits, used=used) for each in agent.workers.values()]

    if len(found) > WHOLE_MAX:
        return in_pieces("workers", found, items_of)
    return Workers(workers=[item for agent in found for item in items_of(agent)])


async def create(call: Call[CreateWorkerRequest]) -> WorkerItem:
    """Make a worker where it fits; without ``gpu_ids`` one is picked."""
    state, body = call.state, call.body
    agent = state.book.agent(body.agent_id, seen_by(call, state.core, state.book))
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
    return worker_item(made, agent, limits=state.limits)


async def worker(call: Call[None]) -> WorkerItem:
    """Show one worker."""
    found, agent = _owned(call)
    return worker_item(found, agent, limits=call.state.limits)


async def update(call: Call[UpdateWorkerRequest]) -> WorkerItem:
    """Change a worker; one that is disabled while it runs is stopping until it has stopped."""
    found, agent = _owned(call)
    changed = await call.state.book.update_worker(agent, found, changes_of(call.body))
    return worker_item(changed, agent, limits=call.state.limits)


async def delete(call: Call[None]) -> Success:
    """Delete a worker with its shares."""
    found, agent = _owned(call)
    await call.state.forget_worker(agent, found)
    return Success()


def _owned(call: Call[Any]) -> tuple[Worker, Agent]:
    state: SharingState = call.state
    found = state.book.worker(call.path["worker_id"], seen_by(call, state.core, state.book))
    return found, state.book.agent(found.agent_id)
