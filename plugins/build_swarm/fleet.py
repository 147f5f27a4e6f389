"""The drones in memory, and what of them is not on disk yet."""

from attrs import define, field

from appliance.plugin import TooLarge

from .rules import Moment, cores_of, kind_of, ram_gb_of
from .states import Drone, DroneStatus, DroneType, Heartbeat

TASK_MAX_CHARS = 255
TAKEN_MAX = 64
"""How many atoms that were taken from a drone are remembered."""


@define(eq=False)
class UnsavedDrones:
    """What the disk does not have yet. What was only heard waits for the next round; all else is acknowledged."""

    drones: dict[str, Drone] = field(factory=dict)
    """New ones, and those of which more than counters has changed."""
    counted: dict[str, Drone] = field(factory=dict)
    """Those whose counters have changed."""
    heard: dict[str, Drone] = field(factory=dict)
    deleted: set[str] = field(factory=set)

    def __bool__(self) -> bool:
        return bool(self.drones or self.counted or self.deleted)


@define(eq=False)
class Fleet:
    """Every drone that is known, by id and by name."""

    most: int
    by_id: dict[str, Drone] = field(factory=dict)
    by_name: dict[str, Drone] = field(factory=dict)
    replaced: dict[str, str] = field(factory=dict)
    """By id of a drone whose name was taken over: the name. Should it come back, it gets another."""
    unsaved: UnsavedDrones = field(factory=UnsavedDrones)
    revision: int = 0

    def find(self, name_or_id: str) -> Drone | None:
        """Return a drone by its id, else by its name."""
        return self.by_id.get(name_or_id) or self.by_name.get(name_or_id)

    def name_of(self, drone_id: str | None) -> str:
        """Return the name of a drone, or its id when it is not known any more."""
        drone = self.by_id.get(drone_id or "")
        return drone_id or "" if drone is None else drone.name

    def adopt(self, drone: Drone) -> None:
        """Take a drone in, as it is."""
        self.by_id[drone.drone_id] = drone
        self.by_name[drone.name] = drone

    def forget(self, drone: Drone) -> None:
        """Let a drone go."""
        self.by_id.pop(drone.drone_id, None)
        if self.by_name.get(drone.name) is drone:
            del self.by_name[drone.name]

    def save(self, drone: Drone) -> None:
        """Note that a drone has changed."""
        self.changed(drone)
        self.unsaved.drones[drone.drone_id] = drone

    def save_counters(self, drone: Drone) -> None:
        """Note that counters of a drone have changed."""
        self.changed(drone)
        self.unsaved.counted[drone.drone_id] = drone

    def changed(self, drone: Drone) -> None:
        """Note that something of a drone that is shown has changed."""
        drone.revision += 1
        self.revision += 1

    def delete(self, drone: Drone) -> None:
        """Forget a drone, also on disk; nothing may be delegated to it any more."""
        self.forget(drone)
        self.unsaved.drones.pop(drone.drone_id, None)
        self.unsaved.counted.pop(drone.drone_id, None)
        self.unsaved.heard.pop(drone.drone_id, None)
        self.unsaved.deleted.add(drone.drone_id)
        self.revision += 1

    def add(self, beat: Heartbeat, at: Moment, before: Drone | None) -> Drone:
        """Make a drone of its first heartbeat.

        Where there are too many, one that nobody would miss gives way.

        :param before: one whose name, settings and counters it takes over; it is gone already.
        :raises TooLarge: there are too many.
        """
        if len(self.by_id) >= self.most and (least := self._least()) is not None:
            self.delete(least)
        if len(self.by_id) >= self.most:
            raise TooLarge(f"{self.most} drones are known, which is as many as may be", hint="delete some of them")
        drone = Drone(
            drone_id=beat.drone_id,
            name=self.free_name(beat),
            created_unix_us=at.unix_us,
            heard_us=at.us,
            asked_us=at.us,
            busy_us=at.us,
        )
        if before is not None:
            drone.name, drone.drone_type, drone.paused = before.name, before.drone_type, before.paused
            drone.builds_completed, drone.builds_failed = before.builds_completed, before.builds_failed
        self.unsaved.deleted.discard(drone.drone_id)
        self.adopt(drone)
        self.save(drone)
        return drone

    def _least(self) -> Drone | None:
        """Return, of the drones that are away, have built nothing and were never seen to, the one away longest."""
        away = [
            drone
            for drone in self.by_id.values()
            if not drone.is_online
            and not (drone.assigned or drone.paused or drone.builds_completed or drone.builds_failed)
            and drone.drone_type is DroneType.UNKNOWN
        ]
        return min(away, key=lambda drone: drone.last_seen_unix_us, default=None)

    def is_free(self, name: str, drone_id: str) -> bool:
        """Whether a drone may have a name: it is no other's, and no other's id, by which drones are found as well."""
        named = self.by_name.get(name)
        return (named is None or named.drone_id == drone_id) and (name not in self.by_id or name == drone_id)

    def free_name(self, beat: Heartbeat) -> str:
        """Return the name that a drone gets: its own, with a part of its id where another drone has that."""
        if self.is_free(beat.name, beat.drone_id):
            return beat.name
        marks = "".join(character for character in beat.drone_id if character.isascii() and character.isalnum())
        for length in (6, 12, 32):
            name = f"{beat.name[: 62 - length]}-{marks[:length]}"
            if self.is_free(name, beat.drone_id):
                return name
        raise TooLarge("too many drones have this name", hint="give each drone a name of its own")

    def rename(self, drone: Drone, name: str) -> None:
        """Give a drone another name, which is free."""
        self.forget(drone)
        drone.name = name
        self.adopt(drone)
        self.save(drone)

    def hear(self, drone: Drone, at: Moment) -> bool:
        """Note that a drone is alive; return whether it was away."""
        drone.heard_us = at.us
        drone.last_seen_unix_us = at.unix_us
        self.unsaved.heard[drone.drone_id] = drone
        self.changed(drone)
        if drone.status is DroneStatus.ONLINE:
            return False
        drone.status = DroneStatus.ONLINE
        drone.asked_us = at.us
        return True


def describe(drone: Drone, beat: Heartbeat) -> None:
    """Take over what a drone says of itself."""
    if drone.capabilities != beat.capabilities:
        drone.capabilities = beat.capabilities
        drone.cores, drone.ram_gb = cores_of(beat.capabilities), ram_gb_of(beat.capabilities)
    drone.metrics = beat.metrics
    drone.address = beat.address
    drone.claimed_ip = beat.claimed_ip
    drone.tailscale_ip = beat.tailscale_ip
    drone.kind = kind_of(drone.name, beat.kind)
    drone.current_task = beat.current_task[:TASK_MAX_CHARS]
    drone.version = beat.version
    drone.is_proven = drone.is_proven or beat.is_proven


def take_from(drone: Drone, atom: str, reason: str) -> None:
    """Remember that something was taken from a drone, to tell it so."""
    if atom not in drone.revoke:
        drone.revoke.append(atom)
        del drone.revoke[:-TAKEN_MAX]
    drone.taken[atom] = reason
    while len(drone.taken) > TAKEN_MAX:
        del drone.taken[next(iter(drone.taken))]
