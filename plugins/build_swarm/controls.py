"""What operators can do to the queue, action by action."""

from collections.abc import Callable, Iterable
from typing import Final

from attrs import frozen

from appliance.plugin import BadInput, NotFound

from . import atoms
from .book import BLOCKED, DELEGATED, FAILED, NEEDED
from .desk import Desk
from .fleet import take_from
from .handing import is_being_built
from .rules import Moment
from .states import Controlled, Drone, Package, PackageState


@frozen(kw_only=True)
class Order:
    """One action with what it is about."""

    action: str
    package: str
    drone: str
    at: Moment


def control(desk: Desk, order: Order) -> Controlled:
    """Do it.

    :raises BadInput: no such action, or it needs a package.
    :raises NotFound: there is no such package or drone.
    """
    act = CONTROLS.get(order.action)
    if act is None:
        raise BadInput(f"Unknown action: {order.action[:64]}", hint=f"one of: {', '.join(CONTROLS)}", field="action")
    done = act(desk, order)
    desk.close_session(order.at)
    return done


def _done(order: Order, changed: int, message: str, **counters: int) -> Controlled:
    return Controlled(action=order.action, affected=changed, message=message, counters=counters)


def _of_state(desk: Desk, *states: PackageState) -> list[Package]:
    return [package for package in desk.book.packages.values() if package.state in states]


def _named(desk: Desk, order: Order) -> Package:
    """Return the package that is meant: the newest of its atom."""
    if not order.package:
        raise BadInput(f"{order.action} needs a package", hint='{"package": "category/name-version"}', field="package")
    package = desk.book.newest.get(atoms.recognised(order.package))
    if package is None:
        raise NotFound("package", order.package[:80], hint="GET /api/v1/queue lists them")
    return package


# ------------------------------------------------------------------ the queue as a whole


def _pause(desk: Desk, order: Order) -> Controlled:
    return _set_paused(desk, order, True, "Queue paused")


def _resume(desk: Desk, order: Order) -> Controlled:
    return _set_paused(desk, order, False, "Queue resumed")


def _set_paused(desk: Desk, order: Order, paused: bool, message: str) -> Controlled:
    changed = int(desk.book.paused is not paused)
    desk.book.paused = paused
    desk.book.save_state()
    return _done(order, changed, message)


def _reset(desk: Desk, order: Order) -> Controlled:
    """Everything that is not received is needed again, and nothing has ever failed."""
    packages = _of_state(desk, NEEDED, DELEGATED, BLOCKED, FAILED)
    for package in packages:
        if package.state is DELEGATED:
            desk.free(package, reason="the queue was reset")
        package.returns = 0
        desk.renew(package, forget_drones=True)
    for drone in desk.fleet.by_id.values():
        _forgive(desk, drone)
    return _done(order, len(packages), f"Queue reset: {len(packages)} packages are needed", affected=len(packages))


def _rebalance(desk: Desk, order: Order) -> Controlled:
    """What is given out and not being compiled can be given out anew."""
    reclaimed = 0
    for drone in desk.fleet.by_id.values():
        for package in [each for each in drone.assigned if not is_being_built(each, drone)]:
            desk.free(package, reason="the queue was rebalanced")
            reclaimed += 1
    if reclaimed:
        desk.note("rebalance", f"{reclaimed} packages reclaimed", count=reclaimed)
    return _done(order, reclaimed, f"{reclaimed} packages reclaimed", reclaimed=reclaimed)


def _clear_history(desk: Desk, order: Order) -> Controlled:
    """Forget all builds, and with them estimates and which drone failed what."""
    count = desk.history.all_builds.timing.total_builds + desk.history.all_builds.returned
    desk.told.clears_builds = True
    desk.told.builds.clear()
    for package in _of_state(desk, NEEDED, DELEGATED, BLOCKED):
        desk.book.avoid_nobody(package)
    return _done(order, count, f"History cleared: {count} builds", cleared=count)


# ------------------------------------------------------------------ failures


def _unblock(desk: Desk, order: Order) -> Controlled:
    if order.package:
        package = _named(desk, order)
        packages = [package] if package.state is BLOCKED else []
    else:
        packages = _of_state(desk, BLOCKED)
    _renew(desk, packages)
    if packages:
        desk.note("unblock", f"{len(packages)} packages unblocked", count=len(packages))
    return _done(order, len(packages), f"{len(packages)} packages unblocked", unblocked=len(packages))


def _retry_failures(desk: Desk, order: Order) -> Controlled:
    packages = _of_state(desk, BLOCKED, FAILED)
    _renew(desk, packages)
    return _done(order, len(packages), f"{len(packages)} failed packages queued again", requeued=len(packages))


def _clear_failures(desk: Desk, order: Order) -> Controlled:
    """Nothing has ever failed: packages, and the drones that failed them."""
    packages = _of_state(desk, BLOCKED, FAILED)
    waiting = [each for each in _of_state(desk, NEEDED, DELEGATED) if each.failures or each.avoided_drones]
    _renew(desk, packages, forget_drones=True)
    for package in waiting:
        package.failures, package.failed_drones, package.is_absolved = 0, (), False
        desk.book.avoid_nobody(package)
        desk.book.save(package)
    for drone in desk.fleet.by_id.values():
        _forgive(desk, drone)
    cleared = len(packages) + len(waiting)
    return _done(order, cleared, f"Failures of {cleared} packages cleared", cleared=cleared, requeued=len(packages))


def _renew(desk: Desk, packages: Iterable[Package], *, forget_drones: bool = False) -> None:
    for package in packages:
        package.returns = 0
        desk.renew(package, forget_drones=forget_drones)


def _unground(desk: Desk, order: Order) -> Controlled:
    if order.drone:
        found = desk.fleet.find(order.drone)
        if found is None:
            raise NotFound("drone", order.drone[:80], hint="GET /api/v1/nodes?all=true lists them")
        drones = [found]
    else:
        drones = list(desk.fleet.by_id.values())
    changed = sum(_forgive(desk, drone) for drone in drones)
    return _done(order, changed, f"{changed} drones ungrounded", ungrounded=changed)


def _forgive(desk: Desk, drone: Drone) -> bool:
    """Forget what a drone failed; return whether there was anything."""
    is_guilty = bool(drone.failures_in_row or drone.grounded_until_us or drone.upload_failures or drone.groundings)
    if is_guilty:
        drone.upload_failures = drone.groundings = 0
        desk.unground(drone)
    return is_guilty


# ------------------------------------------------------------------ one package


def _block(desk: Desk, order: Order) -> Controlled:
    package = _named(desk, order)
    if package.state not in (NEEDED, DELEGATED):
        return _done(order, 0, f"{atoms.spoken(package.atom)} is {package.state.value}: nothing to block", blocked=0)
    if package.state is DELEGATED:
        drone = desk.take_off(package)
        if drone is not None:
            take_from(drone, package.atom, "the package was blocked")
    package.returns = 0  # blocked by hand, it comes back as often as any other
    desk.block(package, "blocked by an operator", order.at)
    return _done(order, 1, f"{atoms.spoken(package.atom)} blocked", blocked=1)


def _reclaim(desk: Desk, order: Order) -> Controlled:
    package = _named(desk, order)
    if package.state is not DELEGATED:
        return _done(order, 0, f"{atoms.spoken(package.atom)} is not with a drone", reclaimed=0)
    drone = desk.free(package, reason="work was reclaimed")
    desk.note(
        "reclaim",
        f"{atoms.spoken(package.atom)} taken from {'' if drone is None else drone.name}",
        drone="" if drone is None else drone.name,
        package=package.atom,
    )
    return _done(order, 1, f"{atoms.spoken(package.atom)} reclaimed", reclaimed=1)


CONTROLS: Final[dict[str, Callable[[Desk, Order], Controlled]]] = {
    "pause": _pause,
    "resume": _resume,
    "unblock": _unblock,
    "unground": _unground,
    "reset": _reset,
    "rebalance": _rebalance,
    "clear_failures": _clear_failures,
    "retry_failures": _retry_failures,
    "block": _block,
    "reclaim": _reclaim,
    "optimize": _rebalance,
    "clear_history": _clear_history,
}
"""By name: the eight that are documented, and those that the older server's clients send."""
