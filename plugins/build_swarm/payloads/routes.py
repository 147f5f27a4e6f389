"""The documented endpoints of payloads, on the admin surface."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from attrs import field, frozen
from attrs.validators import and_, ge, le, max_len

from appliance.plugin import STREAMED, Answer, Call, Role

from .. import callers
from ..state import SwarmState
from ..surfaces import KEYED, admin
from . import wire
from .contents import Partial
from .deploying import DeployFailed
from .incoming import Body
from .models import By, NewVersion, named_type, named_version
from .service import RollRequest

PREFIX: Final = "/admin/api/payloads"
UPLOAD_BYTES: Final = 96 * 2**20
"""Of a body: base64 of the largest content, in lines."""
WORK: Final[Mapping[str, Any]] = {"caller": KEYED, "role": Role.OPERATOR, "waits": True, "audit": False}
"""Of endpoints that work on drones: the deploy log and the audit log are told by who does the work."""


@frozen(kw_only=True)
class LogQuery:
    """How much of the deploy log, and of which drone."""

    limit: int = field(default=100, validator=and_(ge(1), le(10_000)))
    drone: str = field(default="", validator=max_len(wire.DRONE_CHARACTERS))


@admin.get(PREFIX, caller=KEYED)
async def versions(call: Call[None]) -> dict[str, Any]:
    """List every version of every payload, newest first."""
    state: SwarmState = call.state
    kept = state.payloads.catalogue
    return {"versions": [wire.version(one, kept.content(one)) for one in await kept.all()]}


@admin.post(PREFIX, caller=KEYED, role=Role.OPERATOR, body=STREAMED, limit_bytes=UPLOAD_BYTES, status=201, audit=False)
async def add(call: Call[AsyncIterator[bytes]]) -> dict[str, Any]:
    """Add a version of a payload, its content in base64; the same content again is the version that is there.

    The body may come in any order of fields and of any size up to 64 MiB of content, which goes to disk as it comes.
    """
    state: SwarmState = call.state
    body = Body("content")
    async with state.payloads.catalogue.incoming() as written:
        async for chunk in call.body:
            await written.write(body.feed(chunk))
        rest = body.finish()
        new = wire.read_new(rest, callers.who(call.caller))
        if not body.is_found:
            raise wire.no_content()
        return await added(call, new, written)


async def added(call: Call[Any], new: NewVersion, written: Partial) -> dict[str, Any]:
    """Keep an upload as a version, and render that."""
    state: SwarmState = call.state
    kept = state.payloads.catalogue
    made = await kept.add(new, written)
    if made.is_new:
        detail = {"version": made.version.version, "sha256": made.version.sha256}
        who = asked_by(call, None).who
        state.core.audit.record_soon("swarm.payload.add", object=made.version.payload_type, detail=detail, **who)
    return {"status": "ok", "version": wire.version(made.version, kept.content(made.version))}


@admin.get(f"{PREFIX}/status", caller=KEYED)
async def status(call: Call[None]) -> dict[str, Any]:
    """Say which drone has which version of what."""
    state: SwarmState = call.state
    return wire.matrix(await state.payloads.matrix(), state.settings)


@admin.get(f"{PREFIX}/{{type}}/versions", caller=KEYED)
async def versions_of_type(call: Call[None]) -> dict[str, Any]:
    """List the versions of one payload, newest first."""
    state: SwarmState = call.state
    kept = state.payloads.catalogue
    payload_type = named_type(call.path["type"])
    found = await kept.of_type(payload_type)
    return {
        "payload_type": payload_type,
        "versions": [wire.version(one, kept.content(one)) for one in found],
        "latest": wire.latest(found[0] if found else None),
    }


@admin.get(f"{PREFIX}/{{type}}/deploy-log", caller=KEYED, query=LogQuery)
async def deploy_log(call: Call[None]) -> dict[str, Any]:
    """List deploys and rollbacks of one payload, newest first."""
    state: SwarmState = call.state
    payload_type = named_type(call.path["type"])
    found = await state.payloads.log(payload_type, drone=call.query.drone, limit=call.query.limit)
    return {"payload_type": payload_type, "history": [wire.entry(one) for one in found]}


@admin.post(
    f"{PREFIX}/{{type}}/{{version}}/deploy",
    **WORK,
    body=wire.Deploy,
    decode=wire.deploy_body,
)
async def deploy(call: Call[wire.Deploy]) -> Any:
    """Put a version on one drone; a failure leaves what the drone had. It goes on when the caller hangs up."""
    state: SwarmState = call.state
    payload_type, version = _named(call)
    body = call.body
    try:
        made = await state.payloads.deploy(
            body.drone, payload_type, version, verify=body.verify is not False, by=asked_by(call, body.deployed_by)
        )
    except DeployFailed as error:
        return Answer(model=wire.not_deployed(error, body.drone, payload_type, version), status=error.status)
    return wire.deployed(made)


@admin.post(
    f"{PREFIX}/{{type}}/{{version}}/rolling-deploy",
    **WORK,
    body=wire.RollingDeploy,
    decode=wire.rolling_body,
)
async def rolling_deploy(call: Call[wire.RollingDeploy]) -> dict[str, Any]:
    """Put a version on many drones, one after the other: those named, else every approved one that lacks it.

    With ``health_check``, drones are restarted after a program or an init script and have to come back; with
    ``rollback_on_fail``, the first failure brings back what each drone of this roll had, and ends it.
    """
    state: SwarmState = call.state
    payload_type, version = _named(call)
    body = call.body
    results = await state.payloads.roll(
        RollRequest(
            payload_type=payload_type,
            version=version,
            drones=body.drones,
            health_check=body.health_check is not False,
            rollback_on_fail=body.rollback_on_fail is not False,
            by=asked_by(call, body.deployed_by),
        )
    )
    return wire.rolled(payload_type, version, results)


@admin.post(
    f"{PREFIX}/{{type}}/verify",
    **WORK,
    body=wire.Verify,
    decode=wire.verify_body,
)
async def verify(call: Call[wire.Verify]) -> dict[str, Any]:
    """Compare what a drone has of a payload with what was deployed to it last, else with the newest version."""
    state: SwarmState = call.state
    payload_type = named_type(call.path["type"])
    return wire.verified(await state.payloads.verify(payload_type, call.body.drone))


def asked_by(call: Call[Any], said: str | None) -> By:
    """Return who asks, as the deploy log and the audit log have it."""
    caller, peer = call.caller, call.head.peer
    who = {
        "who_kind": caller.kind.value,
        "who_subject": caller.subject,
        "who_name": caller.name,
        "request_id": call.request_id,
        "address": peer[0] if peer is not None else "local",
    }
    return By(name=said or callers.who(caller), who=who)


def _named(call: Call[Any]) -> tuple[str, str]:
    payload_type = named_type(call.path["type"])
    return payload_type, named_version(payload_type, call.path["version"])
