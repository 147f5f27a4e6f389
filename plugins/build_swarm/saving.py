"""From memory to disk: the rows of what has changed, and what follows once they are there."""

from collections.abc import Iterator
from contextlib import contextmanager

from . import queue_rows
from .book import Unsaved
from .desk import Desk, Told
from .fleet import Fleet, UnsavedDrones
from .queue_rows import Row
from .queue_store import Batch


def is_saved(desk: Desk) -> bool:
    """Whether nothing has changed that is not taken."""
    told = desk.told
    return not (desk.book.unsaved or desk.fleet.unsaved or told.builds or told.clears_builds or told.notes)


def take(desk: Desk) -> Batch | None:
    """Return the rows of all that has changed, as they are now, and note nothing as changed."""
    if is_saved(desk):
        return None
    book, fleet = desk.book, desk.fleet
    unsaved, drones, told = book.unsaved, fleet.unsaved, desk.told
    book.unsaved, desk.told = Unsaved(), Told()
    fleet.unsaved = UnsavedDrones(heard=drones.heard)
    is_state = unsaved.is_state or bool(unsaved.new_packages)
    return Batch(
        new_packages=[queue_rows.new_package_row(package) for package in unsaved.new_packages.values()],
        packages=[queue_rows.package_row(package) for package in unsaved.packages.values()],
        sessions=[queue_rows.session_row(session) for session in unsaved.sessions.values()],
        deleted_drones=[(drone_id,) for drone_id in drones.deleted],
        drones=[queue_rows.drone_row(drone) for drone in drones.drones.values()],
        counted_drones=[
            queue_rows.counter_row(drone) for drone_id, drone in drones.counted.items() if drone_id not in drones.drones
        ],
        state=(book.paused, book.expected_timestamp, book.next_package_id) if is_state else None,
        told=told,
    )


def follow(desk: Desk, batch: Batch) -> Told:
    """Let history follow what is on disk now; return what is to be told."""
    told = batch.told
    if told.clears_builds:
        desk.history.clear()
    for build in told.builds:
        desk.history.add(build)
    return told


@contextmanager
def put_aside(fleet: Fleet) -> Iterator[list[Row]]:
    """Give the rows of the drones that were heard; they are noted again when they cannot be stored."""
    heard, fleet.unsaved.heard = fleet.unsaved.heard, {}
    try:
        yield [queue_rows.heard_row(drone) for drone in heard.values()]
    except BaseException:
        fleet.unsaved.heard = {**heard, **fleet.unsaved.heard}
        raise
