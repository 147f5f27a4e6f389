"""Approvals, probes and self-healing as our own API has them."""

from appliance.plugin import to_unix_s

from .approval import Approval
from .ladder import Trouble
from .own_models import ApprovalItem, EscalationItem, PingItem
from .probing import Probe
from .wire import health


def approval_item(approval: Approval | None) -> ApprovalItem | None:
    """Return an approval as it is shown; ``None`` for none."""
    if approval is None:
        return None
    return ApprovalItem(
        address=approval.address,
        port=approval.port,
        user=approval.user,
        drone_type=approval.drone_type,
        host_key_fingerprint=approval.fingerprint,
        approved_by=approval.approved_by,
        approved_unix_s=to_unix_s(approval.approved_unix_us),
    )


def escalation_item(trouble: Trouble) -> EscalationItem | None:
    """Return where self-healing stands with a drone; ``None`` where nothing was done to it."""
    if not trouble.level and not trouble.attempts:
        return None
    return EscalationItem(
        level=trouble.level,
        attempts=trouble.attempts,
        last_action=trouble.last_action,
        last_unix_s=None if trouble.last_step_unix_us is None else to_unix_s(trouble.last_step_unix_us),
    )


def ping_item(probe: Probe | None) -> PingItem | None:
    """Return the last probe of a drone; ``None`` where it never was probed."""
    if probe is None:
        return None
    vitals = probe.vitals
    return PingItem(
        status=health.status(probe),
        latency_ms=probe.latency_ms,
        load=None if vitals is None else vitals.load,
        disk_percent=None if vitals is None else vitals.disk_percent,
        mem_percent=None if vitals is None else vitals.mem_percent,
        at_unix_s=to_unix_s(probe.probed_unix_us),
    )
