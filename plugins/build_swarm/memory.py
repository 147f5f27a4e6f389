"""From disk to memory: all of it at a start, and what has not happened after a write that failed."""

import sqlite3
from typing import Any

from attrs import fields

from . import queue_store
from .book import Book, Unsaved
from .desk import Desk, Told
from .fleet import Fleet, UnsavedDrones
from .queue_settings import QueueSettings
from .queue_store import Batch
from .rules import MINUTE_US, US, Moment
from .states import Drone, Package, PackageState, Session, SessionStatus

_HEARD_ONLY = (
    *("metrics", "capabilities", "address", "claimed_ip", "tailscale_ip", "current_task", "version", "cores", "ram_gb"),
    *("kind", "last_seen_unix_us", "heard_us", "asked_us", "busy_us", "revoke", "taken", "told_stale", "assigned"),
    *("is_proven", "revision"),
)
"""Fields of a drone that a failed write does not take back: it was heard."""


def load(connection: sqlite3.Connection, settings: QueueSettings, at: Moment) -> Desk:
    """Read everything at a start. Whoever was online has time to be heard before it counts as silent."""
    desk = Desk(
        settings=settings,
        book=Book(),
        fleet=Fleet(settings.queue_drones_max),
        history=queue_store.history(connection),
    )
    for drone in queue_store.drones(connection, at):
        drone.heard_us = at.us + int(settings.queue_offline_seconds * US)
        _hold(drone, settings, at)
        desk.fleet.adopt(drone)
    _load_book(desk, connection, at)
    return desk


def reload(desk: Desk, connection: sqlite3.Connection, at: Moment) -> None:
    """Read everything again; what was decided and is not on disk has not happened."""
    fresh = load(connection, desk.settings, at)
    desk.book.revision += 1
    fresh.book.revision, fresh.fleet.revision = desk.book.revision, desk.fleet.revision + 1
    fresh.history.revision = desk.history.revision + 1
    desk.book, desk.fleet, desk.history, desk.told = fresh.book, fresh.fleet, fresh.history, Told()


def _load_book(desk: Desk, connection: sqlite3.Connection, at: Moment) -> None:
    revision = desk.book.revision
    book = desk.book = Book(revision=revision + 1)
    book.paused, book.expected_timestamp, book.next_package_id = queue_store.queue_state(connection)
    for session in queue_store.sessions(connection):
        book.sessions[session.session_id] = session
        if session.is_active:
            book.active = session
    shown = book.active or next(reversed(book.sessions.values()), None)
    for package in queue_store.packages(connection, shown.session_id if shown else "", at):
        book.adopt(package)
    reassign(desk)


def _hold(drone: Drone, settings: QueueSettings, at: Moment) -> None:
    """Hold moments that the last run noted to what they can be, whatever was done to the clock meanwhile."""
    drone.grounded_until_us = min(drone.grounded_until_us, at.us + int(settings.queue_grounded_minutes * MINUTE_US))
    drone.upload_failed_us = min(drone.upload_failed_us, at.us)


def reassign(desk: Desk) -> None:
    """Tell every drone what it holds."""
    for drone in desk.fleet.by_id.values():
        drone.assigned = []
    delegated = [each for each in desk.book.packages.values() if each.state is PackageState.DELEGATED]
    delegated.sort(key=lambda each: (each.delegated_unix_us or 0, each.package_id))
    for package in delegated:
        holder = desk.fleet.by_id.get(package.drone_id or "")
        if holder is None:
            desk.free(package)  # its drone is not known: nobody would ever report it
        else:
            holder.assigned.append(package)


def restore(desk: Desk, connection: sqlite3.Connection, batch: Batch, at: Moment) -> None:
    """Read back what a failed batch has changed, and what has changed since."""
    book, fleet = desk.book, desk.fleet
    package_ids = {row[0] for row in batch.new_packages} | {row[-1] for row in batch.packages}
    package_ids |= book.unsaved.new_packages.keys() | book.unsaved.packages.keys()
    session_ids = {row[0] for row in batch.sessions} | book.unsaved.sessions.keys()
    drone_ids = {row[0] for row in batch.drones} | {row[-1] for row in batch.counted_drones}
    drone_ids |= {row[0] for row in batch.deleted_drones} | fleet.unsaved.deleted
    drone_ids |= fleet.unsaved.drones.keys() | fleet.unsaved.counted.keys()
    book.unsaved, desk.told = Unsaved(), Told()
    heard, fleet.unsaved = fleet.unsaved.heard, UnsavedDrones()
    fleet.unsaved.heard = heard
    for drone_id in drone_ids:
        _restore_drone(desk, connection, drone_id, at)
    sessions = {number: queue_store.session(connection, number) for number in session_ids}
    if None in sessions.values():
        # A new session had let the packages of the last one go.
        _load_book(desk, connection, at)
        return
    for session_id, session in sessions.items():
        assert session is not None
        _copy(Session, session, book.sessions[session_id])
    book.active = next((each for each in book.sessions.values() if each.status is SessionStatus.ACTIVE), None)
    book.paused, book.expected_timestamp, book.next_package_id = queue_store.queue_state(connection)
    for package_id in sorted(package_ids):
        _restore_package(book, connection, package_id, at)
    book.revision += 1
    reassign(desk)


def _restore_package(book: Book, connection: sqlite3.Connection, package_id: int, at: Moment) -> None:
    known, stored = book.packages.get(package_id), queue_store.package(connection, package_id, at)
    if known is not None:
        book.forget(known)
    if stored is not None:
        if known is not None:
            _copy(Package, stored, known)
        book.adopt(known or stored)


def _restore_drone(desk: Desk, connection: sqlite3.Connection, drone_id: str, at: Moment) -> None:
    fleet = desk.fleet
    known, stored = fleet.by_id.get(drone_id), queue_store.drone(connection, drone_id, at)
    if known is not None:
        fleet.forget(known)
        fleet.unsaved.heard.pop(drone_id, None)
    if stored is None:
        return
    _hold(stored, desk.settings, at)
    if known is not None:
        heard = {name: getattr(known, name) for name in _HEARD_ONLY}
        _copy(Drone, stored, known)
        for name, value in heard.items():
            setattr(known, name, value)
        fleet.unsaved.heard[drone_id] = known
    fleet.adopt(known or stored)
    fleet.changed(known or stored)


def _copy(of: type[Any], source: Any, target: Any) -> None:
    """Bring an object to what another is; whoever holds it sees that."""
    for each in fields(of):
        setattr(target, each.name, getattr(source, each.name))
