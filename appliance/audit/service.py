"""Keeps the anchor file close behind the log, and tells the log of the process where the chain ends, once a day."""

import structlog
import trio
from attrs import define

from appliance.audit.store import Audit

log = structlog.get_logger(__name__)


@define
class AuditKeeper:
    """Writes the anchor every ``anchor_seconds``, logs the head every ``head_seconds``, and both once at the end."""

    audit: Audit
    anchor_seconds: float = 5.0
    head_seconds: float = 86_400.0
    grace_seconds: float = 2.0
    name: str = "audit-keeper"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep until cancelled."""
        self._log_head()
        logged_at = trio.current_time()
        task_status.started()
        try:
            while True:
                await trio.sleep(self.anchor_seconds)
                await trio.to_thread.run_sync(self.audit.write_anchor)
                if trio.current_time() - logged_at >= self.head_seconds:
                    self._log_head()
                    logged_at = trio.current_time()
        finally:
            with trio.move_on_after(self.grace_seconds, shield=True):
                await trio.to_thread.run_sync(self.audit.write_anchor)
            self._log_head()

    def _log_head(self) -> None:
        head = self.audit.head
        log.info("audit.head", entry_id=head.entry_id, hash=head.hash.hex())
