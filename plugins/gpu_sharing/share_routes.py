"""Shares, and the short links that lead to them."""

from typing import Any, Final

from appliance.plugin import Answer, BadInput, Call, Kind, NotFound, Role, Surface, TooManyRequests

from . import codes, hosts, life, share_page
from .callers import USERS, address_of, owner_of, seen_by
from .models import Agent, Share, Worker
from .state import SharingState
from .wire.answers import PublicShareInfo, ShareListItem, Shares, Success
from .wire.render import public_share, share_item
from .wire.requests import CreateShareRequest, expiry_of, networks_of

ANYONE: Final = frozenset(Kind)
NO_STORE: Final = (("Cache-Control", "no-store"), ("Vary", "Accept"), ("Referrer-Policy", "no-referrer"))


def declare(api: Surface) -> None:
    """Declare the endpoints on the documented surface."""
    api.get("/api/v1/shares", caller=USERS, answer=Shares)(shares)
    api.post(
        "/api/v1/shares",
        caller=USERS,
        role=Role.USER,
        body=CreateShareRequest,
        answer=ShareListItem,
        status=201,
        audit=True,
    )(create)
    api.delete("/api/v1/shares/{share_id}", caller=USERS, role=Role.USER, answer=Success, audit=True)(delete)
    api.get("/s/{code}", caller=ANYONE, access="public", answer=PublicShareInfo)(follow)


async def shares(call: Call[None]) -> Shares:
    """List one's shares."""
    state: SharingState = call.state
    found = state.book.shares(seen_by(call, state.core, state.book))
    return Shares(shares=[item(state, each) for each in found])


async def create(call: Call[CreateShareRequest]) -> ShareListItem:
    """Share a worker; whoever has the link can use it until it ends."""
    state, body = call.state, call.body
    worker = state.book.worker(body.worker_id, seen_by(call, state.core, state.book))
    expires = expiry_of(body, now_unix_us=state.core.now())
    share = await make(
        state,
        worker,
        owner=owner_of(call, state.core, state.book),
        connection_ip=body.connection_ip,
        protocol=body.protocol,
        expires_unix_us=expires,
        max_uses=body.max_uses,
        access=body.access,
        networks=networks_of(body),
        max_connections=body.max_connections,
    )
    return item(state, share)


async def make(state: SharingState, worker: Worker, *, owner: str, connection_ip: str = "", **terms: Any) -> Share:
    """Make a share of a worker; the relay of this host stands in front of it where it can."""
    agent = state.book.agent(worker.agent_id)
    if terms.get("access") == "cidr" and not (terms.get("networks") or state.settings.relay_networks):
        raise BadInput(
            "$.networks: access cidr needs the networks that may connect",
            field="$.networks",
            hint="name them here, or as relay_networks in [plugins.gpu_sharing]",
        )
    share = Share(
        share_id=codes.new_share_id(),
        short_code=codes.new_code(),
        worker_id=worker.worker_id,
        agent_id=agent.agent_id,
        owner=owner,
        connection_ip=hosts.connection_host(
            connection_ip, network_ips=agent.network_ips, reported_from=agent.reported_from
        ),
        created_unix_us=state.core.now(),
        **terms,
    )
    if agent.is_local:
        share.relay_port = state.serve(share)
    try:
        return await state.book.create_share(share)
    except BaseException:
        state.withdraw(share.share_id)
        raise


async def delete(call: Call[None]) -> Success:
    """End a share; whoever is connected through the relay of this host is cut off."""
    state: SharingState = call.state
    await state.forget_share(state.book.share(call.path["share_id"], seen_by(call, state.core, state.book)))
    return Success()


async def follow(call: Call[None]) -> Answer:
    """Tell what a short link leads to, which counts as one use; a browser is shown a page that asks first.

    HEAD never counts. Misses are limited by address, so that codes cannot be tried out.
    """
    state: SharingState = call.state
    is_used = call.head.method != "HEAD"
    is_browser = is_used and "text/html" in (call.head.header(b"accept") or "").lower()
    try:
        share = _behind(call)
    except NotFound:
        if is_browser:
            return _page(share_page.MISSING, status=404)
        raise
    if is_browser:
        return _page(share_page.PAGE)
    worker, agent = _parts(state, share)
    if is_used:
        address = address_of(call)
        await state.book.use(share.short_code, address)
        if address:
            state.redeemed(share, address)
    else:
        why = life.why_gone(
            expires_unix_us=share.expires_unix_us,
            max_uses=share.max_uses,
            used_count=share.used_count,
            now_unix_us=state.core.now(),
        )
        if why:
            return Answer(model={"error": why, "hint": ""}, status=410, headers=NO_STORE)
    return Answer(model=public_share(share, worker, agent), headers=NO_STORE)


def _page(text: str, status: int = 200) -> Answer:
    headers = share_page.HEADERS
    return Answer(model=text, status=status, content_type="text/html; charset=utf-8", headers=headers)


def networks(texts: list[str]) -> tuple[str, ...]:
    """Return networks as they are kept; raises `BadInput` for a text that is none."""
    return networks_of(CreateShareRequest(worker_id="", networks=texts))


def _behind(call: Call[Any]) -> Share:
    """Return the share of a link; a miss costs one of the address's tries."""
    state: SharingState = call.state
    code = codes.read_code(call.path["code"])
    share = None if code is None else state.book.by_code(code)
    if share is not None:
        return share
    wait_seconds = state.misses.take(address_of(call) or "local", now_unix_us=state.core.now())
    if wait_seconds > 0:
        raise TooManyRequests("too many links that lead nowhere", retry_after_seconds=wait_seconds)
    raise NotFound("share", call.path["code"][:64], hint="the link is mistyped, or was deleted")


def _parts(state: SharingState, share: Share) -> tuple[Worker, Agent]:
    return state.book.worker(share.worker_id), state.book.agent(share.agent_id)


def item(state: SharingState, share: Share) -> ShareListItem:
    """Return a share as its owner sees it."""
    worker, agent = _parts(state, share)
    return share_item(share, worker, agent, base=state.short_link_base(), access=state.settings.relay_access)
