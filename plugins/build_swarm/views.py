"""What many clients ask for again and again, encoded once: drones and the status; and the queue, encoded at once.

Each drone's part is made anew only after it has changed; the whole is kept for as long as nothing at all has changed,
at most a tenth of a second, since progress goes with time.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from attrs import define, field

from appliance.plugin import Now

from .models import VERSION
from .states import Drone, Package, PackageState, Session
from .swarm import Swarm
from .wire import nodes, records
from .wire.moments import SECOND_US, seconds

KEPT_US: Final = 100_000
NEEDED_SHOWN: Final = 10
_encode: Final = msgspec.json.encode
_Mark = tuple[int, int]


@define(eq=False)
class _Pieces:
    """Parts of drones by id, each with the revision it was made from."""

    make: Callable[[Drone], bytes]
    _kept: dict[str, tuple[int, bytes]] = field(factory=dict)

    def of(self, drone: Drone) -> bytes:
        found = self._kept.get(drone.drone_id)
        if found is None or found[0] != drone.revision:
            found = self._kept[drone.drone_id] = (drone.revision, self.make(drone))
        return found[1]

    def keep_only(self, drones: Iterable[Drone]) -> None:
        """Forget drones that are gone."""
        known = {drone.drone_id for drone in drones}
        for drone_id in self._kept.keys() - known:
            del self._kept[drone_id]


@define(eq=False)
class Views:
    """The encoded answers of one running swarm."""

    swarm: Swarm
    now: Now
    _nodes: _Pieces = field(factory=lambda: _Pieces(nodes.node_head), init=False)
    _short: _Pieces = field(factory=lambda: _Pieces(nodes.short_head), init=False)
    _wholes: dict[str, tuple[_Mark, bytes]] = field(factory=dict, init=False)

    def nodes(self, *, offline: bool) -> bytes:
        """Return the drones as a JSON array, offline ones only when asked for."""
        return self._whole("nodes, all" if offline else "nodes", lambda: self._make_nodes(offline))

    def status(self) -> bytes:
        """Return the swarm at a glance as JSON."""
        return self._whole("status", self._make_status)

    def queue(self) -> bytes:
        """Return the packages of the active session, or all that are kept, as a JSON array: too large to be kept."""
        return _encode([records.package(package, self._drone_name(package)) for package in self.swarm.packages()])

    def _whole(self, name: str, make: Callable[[], bytes]) -> bytes:
        mark = (self.swarm.revision, self.now() // KEPT_US)
        found = self._wholes.get(name)
        if found is None or found[0] != mark:
            found = self._wholes[name] = (mark, make())
        return found[1]

    # ------------------------------------------------------------ drones

    def _make_nodes(self, offline: bool) -> bytes:
        drones = self.swarm.drones(offline=offline)
        if offline:
            self._nodes.keep_only(drones)
        return records.joined(self._nodes.of(drone) + self._progress(drone) + b"}" for drone in drones)

    def _progress(self, drone: Drone) -> bytes:
        return nodes.progress_piece(drone.assigned, self.swarm.progress) if drone.assigned else b"[]"

    # ------------------------------------------------------------ the status

    def _make_status(self) -> bytes:
        drones = self.swarm.drones()
        self._short.keep_only(drones)
        each = b",".join(self._short.of(drone) + self._progress(drone) + b"}" for drone in drones)
        return b'%b,"drones":{%b}}' % (_encode(self._figures(drones))[:-1], each)

    def _figures(self, drones: list[Drone]) -> dict[str, Any]:
        found = self.swarm.status()
        return {
            "version": VERSION,
            "nodes": found.drones,
            "nodes_online": found.drones_online,
            "total_cores": found.total_cores,
            "queue_depth": found.queue_depth,
            "queue_received": found.received,
            "queue_blocked": found.blocked,
            "needed": found.needed,
            "delegated": found.delegated,
            "received": found.received,
            "blocked": found.blocked,
            "failed": found.failed,
            "total": found.needed + found.delegated + found.received + found.blocked + found.failed,
            "paused": found.paused,
            "session": None if found.session is None else self._session(found.session, found.eta_s),
            "timing": records.timing(found.timing),
            "eta_s": None if found.eta_s is None else round(found.eta_s, 1),
            "packages": self._named_packages(),
            "drone_health": {drone.name: nodes.health(drone) for drone in drones if nodes.is_in_trouble(drone)},
        }

    def _session(self, session: Session, eta_s: float | None) -> dict[str, Any]:
        """Return the active session, with what the public page shows of it: seconds since its start, and to its end."""
        elapsed_s = max(0.0, (self.now() - session.started_unix_us) / SECOND_US)
        return records.session(session) | {
            "elapsed": round(elapsed_s, 1),
            "eta": None if eta_s is None else round(eta_s, 1),
        }

    def _named_packages(self) -> dict[str, Any]:
        """Return what is next, what is being built by whom, and what is blocked."""
        # Of every session, as they are counted: blocked packages stay when a new session begins.
        held = self.swarm.packages(states={PackageState.DELEGATED}, session="*")
        blocked = self.swarm.packages(states={PackageState.BLOCKED}, session="*")
        return {
            "needed": [package.atom for package in self.swarm.next_packages(NEEDED_SHOWN)],
            "delegated": {
                package.atom: {
                    "drone": self._drone_name(package) or "",
                    "assigned_at": seconds(package.delegated_unix_us),
                }
                for package in held
            },
            "blocked": [package.atom for package in blocked],
        }

    def _drone_name(self, package: Package) -> str | None:
        if package.drone_id is None:
            return None
        drone = self.swarm.find_drone(package.drone_id)
        return package.drone_id if drone is None else drone.name
