"""Writes requests that change something into the audit log, behind the answer."""

from typing import Any

import structlog
import trio

from appliance.audit import Audit
from appliance.errors import ApplianceError
from appliance.http.pipeline import Exchange
from appliance.http.requestlog import safe_path

log = structlog.get_logger(__name__)

WAITING_MAX = 10_000
GRACE_SECONDS = 2.0


class RequestAudit:
    """Takes finished requests without blocking, and writes them in order; a service."""

    name = "request-audit"

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._send, self._receive = trio.open_memory_channel[Exchange](WAITING_MAX)

    def __call__(self, exchange: Exchange) -> None:
        """Take one request; when too many are waiting, it goes to the log of the process instead."""
        try:
            self._send.send_nowait(exchange)
        except trio.WouldBlock:
            log.error("audit.overflow", **_entry(exchange))  # noqa: TRY400  a full queue has no traceback worth reading

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled, then what is left."""
        task_status.started()
        try:
            while True:
                await self._write(await self._receive.receive())
        finally:
            with trio.move_on_after(GRACE_SECONDS, shield=True):
                while self._receive.statistics().current_buffer_used:
                    await self._write(self._receive.receive_nowait())

    async def _write(self, exchange: Exchange) -> None:
        # Once taken it is written, also when a stop request comes in between.
        with trio.move_on_after(GRACE_SECONDS, shield=True):
            try:
                await self._audit.record(**_entry(exchange))
            except ApplianceError as error:
                log.exception("audit.not_stored", reason=error.message, **_entry(exchange))


def _entry(exchange: Exchange) -> dict[str, Any]:
    head, caller = exchange.head, exchange.caller
    route = exchange.route
    path = safe_path(head.path, head.path_values)
    return {
        "action": f"{head.method} {route.endpoint.path if route else path}",
        "who_kind": caller.kind.value,
        "who_subject": caller.subject,
        "who_name": caller.name,
        "object": path,
        "detail": {"status": exchange.status},
        "request_id": exchange.request_id,
        "address": head.peer[0] if head.peer is not None else "local",
    }
