"""Our own endpoints for payloads beside the documented ones: the same reads and deeds, and an upload without base64.

The pages use them, since a listener may serve our own API and not the documented admin API.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

from attrs import field, frozen
from attrs.validators import max_len

from appliance.plugin import STREAMED, BadInput, Call, Role

from .. import callers
from ..state import SwarmState
from ..surfaces import KEYED, own
from . import routes, wire
from .models import CONTENT_BYTES_MAX, TEXT_CHARACTERS, NewVersion, checked_type, checked_version
from .own_routes import PAYLOADS

ONE: Final = f"{PAYLOADS}/{{type}}/{{version}}"


@frozen(kw_only=True)
class AboutQuery:
    """What is said of a version."""

    description: str = field(default="", validator=max_len(TEXT_CHARACTERS))
    notes: str = field(default="", validator=max_len(TEXT_CHARACTERS))


@own.put(
    ONE,
    caller=KEYED,
    role=Role.OPERATOR,
    body=STREAMED,
    query=AboutQuery,
    limit_bytes=CONTENT_BYTES_MAX,
    status=201,
    audit=False,
)
async def upload(call: Call[AsyncIterator[bytes]]) -> dict[str, Any]:
    """Add a version of a payload, whose content is the body; the same content again is the version that is there."""
    state: SwarmState = call.state
    kept = state.payloads.catalogue
    new = NewVersion(
        payload_type=checked_type(call.path["type"]),
        version=checked_version(call.path["version"]),
        description=call.query.description,
        notes=call.query.notes,
        created_by=callers.who(call.caller),
    )
    async with kept.incoming() as written:
        size_bytes = 0
        async for chunk in call.body:
            size_bytes += len(chunk)
            await written.write(chunk)
        if not size_bytes:
            raise BadInput("the file is empty", field="content", hint="send its bytes as the body")
        added = await kept.add(new, written)
    if added.is_new:
        detail = {"version": added.version.version, "sha256": added.version.sha256}
        state.core.audit.record_soon(
            "swarm.payload.add", object=added.version.payload_type, detail=detail, **routes.asked_by(call, "").who
        )
    return {"status": "ok", "version": wire.version(added.version, kept.content(added.version))}


own.get(PAYLOADS, caller=KEYED)(routes.versions)
own.get(f"{PAYLOADS}/status", caller=KEYED)(routes.status)
own.get(f"{PAYLOADS}/{{type}}/deploy-log", caller=KEYED, query=routes.LogQuery)(routes.deploy_log)
own.post(
    f"{ONE}/deploy",
    caller=KEYED,
    role=Role.OPERATOR,
    body=wire.Deploy,
    decode=wire.deploy_body,
    waits=True,
    audit=False,
)(routes.deploy)
own.post(
    f"{PAYLOADS}/{{type}}/verify",
    caller=KEYED,
    role=Role.OPERATOR,
    body=wire.Verify,
    decode=wire.verify_body,
    waits=True,
    audit=False,
)(routes.verify)
