"""The audit log over our own API: who did what, and whether the log is whole. Admins only."""

from typing import Any

import msgspec
from attrs import field, frozen
from attrs.validators import and_, ge, le
from msgspec import Struct

from appliance.audit import AuditEntry
from appliance.clock import to_unix_s
from appliance.credentials.kinds import PERSON, Role
from appliance.http.api.state import CoreState
from appliance.surface import Call, Surface

api = Surface("core", prefixes=("/api/appliance/audit",), unknown_fields="refuse")


class AuditItem(Struct, frozen=True, kw_only=True):
    """One entry as the API shows it."""

    entry_id: int
    at_unix_s: float
    who_kind: str
    who_subject: str
    who_name: str
    action: str
    object: str
    detail: Any
    request_id: str
    address: str


class AuditPage(Struct, frozen=True, kw_only=True):
    """Entries, oldest first; ``next`` is the ``after`` of the page that follows."""

    items: list[AuditItem]
    next: int | None = None


@frozen(kw_only=True)
class AuditQuery:
    """The newest entries, or those with an id greater than ``after``."""

    limit: int = field(default=100, validator=and_(ge(1), le(1000)))
    after: int | None = None


class Verdict(Struct, frozen=True, kw_only=True):
    """Whether the chain is whole; if not, which entry is at fault and how."""

    ok: bool
    entries: int
    problem: str = ""
    kind: str = ""
    entry_id: int | None = None


@api.get("/api/appliance/audit", caller=PERSON, role=Role.ADMIN, query=AuditQuery, answer=AuditPage)
async def entries(call: Call[None]) -> AuditPage:
    """List the audit log: the newest entries, or a page after an entry."""
    state: CoreState = call.state
    limit, after = call.query.limit, call.query.after
    if after is None:
        return AuditPage(items=[_item(entry) for entry in await state.audit.newest(limit)])
    found = await state.audit.page(after=after, limit=limit)
    following = found[-1].entry_id if len(found) == limit and found[-1].entry_id < state.audit.head.entry_id else None
    return AuditPage(items=[_item(entry) for entry in found], next=following)


@api.get("/api/appliance/audit/verify", caller=PERSON, role=Role.ADMIN, answer=Verdict)
async def verify(call: Call[None]) -> Verdict:
    """Check the whole log: a changed, removed or truncated entry is named."""
    state: CoreState = call.state
    count = state.audit.head.entry_id
    problem = await state.audit.verify()
    if problem is None:
        return Verdict(ok=True, entries=count)
    return Verdict(ok=False, entries=count, problem=problem.message, kind=problem.kind, entry_id=problem.entry_id)


def _item(entry: AuditEntry) -> AuditItem:
    return AuditItem(
        entry_id=entry.entry_id,
        at_unix_s=to_unix_s(entry.at_unix_us),
        who_kind=entry.who_kind,
        who_subject=entry.who_subject,
        who_name=entry.who_name,
        action=entry.action,
        object=entry.object,
        detail=msgspec.json.decode(entry.detail),
        request_id=entry.request_id,
        address=entry.address,
    )
