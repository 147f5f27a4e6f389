"""Drones, packages, sessions, builds and events as our own API shows them."""

from appliance.plugin import to_unix_s

from . import own_models as own
from .own_health import approval_item, escalation_item, ping_item
from .records.metrics import number_of
from .state import SwarmState
from .states import Build, Drone, Package, PackageState, Progress, Session, SwarmEvent


def unix_s(unix_us: int | None) -> float | None:
    """Return a moment as seconds; ``None`` for what has not happened."""
    return None if unix_us is None else to_unix_s(unix_us)


def session_item(state: SwarmState, session: Session) -> own.SessionItem:
    """Return a session, with when it is likely done."""
    left_s = state.swarm.eta_s(session) if session.is_active else None
    return own.SessionItem(
        session_id=session.session_id,
        name=session.name,
        status=session.status.value,
        total=session.total,
        completed=session.completed,
        failed=session.failed,
        started_unix_s=to_unix_s(session.started_unix_us),
        completed_unix_s=unix_s(session.completed_unix_us),
        eta_unix_s=None if left_s is None else round(to_unix_s(state.core.now()) + left_s, 3),
    )


def package_item(state: SwarmState, package: Package) -> own.PackageItem:
    """Return a package, with how far it is and why it waits."""
    swarm = state.swarm
    progress = swarm.progress(package)
    return own.PackageItem(
        package_id=package.package_id,
        atom=package.atom,
        session_id=package.session_id,
        state=package.state.value,
        priority=package.priority,
        needs=own.NeedsItem(
            cores=package.needs.cores,
            memory_mib=package.needs.memory_mib,
            capabilities=tuple(sorted(package.needs.capabilities)),
        ),
        waits_for=package.waits_for,
        drone=None if package.drone_id is None else name_of(state, package.drone_id),
        delegated_unix_s=unix_s(package.delegated_unix_us),
        building_since_unix_s=unix_s(package.building_since_unix_us),
        failures=package.failures,
        failed_drones=tuple(name_of(state, each) for each in package.failed_drones),
        error=package.error,
        queued_unix_s=to_unix_s(package.queued_unix_us),
        completed_unix_s=unix_s(package.completed_unix_us),
        elapsed_seconds=None if progress is None else _elapsed_s(progress),
        estimated_seconds=None if progress is None or progress.estimated_s is None else round(progress.estimated_s, 1),
        progress_percent=None if progress is None else progress.percent,
        why=(swarm.why(package) or None) if package.state is not PackageState.RECEIVED else None,
    )


def drone_item(state: SwarmState, drone: Drone) -> own.DroneItem:
    """Return a drone, with what it builds and how it may be entered."""
    progress = [found for each in drone.assigned if (found := state.swarm.progress(each)) is not None]
    return own.DroneItem(
        drone_id=drone.drone_id,
        name=drone.name,
        address=drone.address,
        claimed_ip=drone.claimed_ip,
        tailscale_ip=drone.tailscale_ip,
        kind=drone.kind.value,
        drone_type=drone.drone_type.value,
        cores=drone.cores,
        ram_gb=drone.ram_gb,
        cpu_percent=number_of(drone.metrics, "cpu_percent"),
        ram_percent=number_of(drone.metrics, "ram_percent"),
        load_1m=number_of(drone.metrics, "load_1m"),
        current_task=drone.current_task,
        version=drone.version,
        status=drone.status.value,
        is_paused=drone.paused,
        grounded_until_unix_s=unix_s(drone.grounded_until_unix_us),
        failures_in_row=drone.failures_in_row,
        last_seen_unix_s=to_unix_s(drone.last_seen_unix_us),
        created_unix_s=to_unix_s(drone.created_unix_us),
        builds_completed=drone.builds_completed,
        builds_failed=drone.builds_failed,
        assigned=tuple(drone.assigned_atoms),
        progress=tuple(
            own.ProgressItem(
                package=each.package,
                elapsed_seconds=_elapsed_s(each),
                estimated_seconds=None if each.estimated_s is None else round(each.estimated_s, 1),
                progress_percent=each.percent,
            )
            for each in progress
        ),
        capabilities=drone.capabilities,
        approval=approval_item(state.approvals.find(drone.name)),
        approve_command=f"appliance swarm approve {drone.name}",
        escalation=escalation_item(state.healing.trouble(drone.name)),
        last_ping=ping_item(state.prober.newest(drone.name)),
    )


def _elapsed_s(progress: Progress) -> float | None:
    # What is given out and not begun has no time behind it, which is another thing than none so far.
    return None if progress.building_since_unix_us is None else round(progress.elapsed_s, 1)


def build_item(build: Build, log_id: str | None) -> own.BuildItem:
    """Return a report that counted."""
    return own.BuildItem(
        build_id=build.build_id,
        atom=build.atom,
        drone_id=build.drone_id,
        drone=build.drone_name,
        status=build.outcome,
        duration_s=round(build.duration_s, 3),
        error=build.error,
        session_id=build.session_id,
        built_unix_s=to_unix_s(build.built_unix_us),
        log_id=log_id,
    )


def event_item(event: SwarmEvent) -> own.EventItem:
    """Return an event."""
    return own.EventItem(
        event_id=event.event_id,
        at_unix_s=to_unix_s(event.unix_us),
        type=event.type,
        message=event.message,
        details=event.details,
        drone=event.drone,
    )


def name_of(state: SwarmState, drone_id: str) -> str:
    """Return a drone's name; of one that is gone, its id."""
    found = state.swarm.find_drone(drone_id)
    return drone_id if found is None else found.name
