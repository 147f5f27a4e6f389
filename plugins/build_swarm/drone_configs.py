"""What operators set for single drones, in memory and durable, and what follows from it for the swarm."""

from typing import Any, Final

import trio
from attrs import define, field

from appliance.plugin import Conflict, Core, TooLarge

from . import drone_config_store as store
from .drone_config import DroneConfig
from .states import Drone

CONFIGS_MAX: Final = 10_000


@define(eq=False)
class DroneConfigs:
    """One for each running appliance. Drones are named, so that what is set outlasts a new installation."""

    core: Core
    _kept: dict[str, DroneConfig] = field(factory=dict, init=False)
    _writing: trio.Lock = field(factory=trio.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self._kept = {each.drone: each for each in self.core.database.read_now(store.configs)}

    def find(self, drone: str) -> DroneConfig | None:
        """Return what is set for a drone; ``None`` for nothing."""
        return self._kept.get(drone)

    def all(self) -> list[DroneConfig]:
        """Return everything that is set, by drone."""
        return [self._kept[name] for name in sorted(self._kept)]

    async def set(self, drone: str, fields: dict[str, Any]) -> DroneConfig:
        """Set fields of a drone, durable when this returns; the others stay.

        :raises TooLarge: too many drones have something set.
        """
        async with self._writing:
            known = self._kept.get(drone)
            if known is None and len(self._kept) >= CONFIGS_MAX:
                raise TooLarge(f"{CONFIGS_MAX} drones have something set already", hint="delete what is not used")
            now = self.core.now()
            changed = DroneConfig(
                drone=drone,
                fields={**({} if known is None else known.fields), **fields},
                created_unix_us=now if known is None else known.created_unix_us,
                updated_unix_us=now,
            )
            await self.core.database.write(lambda connection: store.put_config(connection, changed))
            self._kept[drone] = changed
            return changed

    async def delete(self, drone: str) -> bool:
        """Forget what is set for a drone, durable when this returns; return whether anything was."""
        async with self._writing:
            was_there = await self.core.database.write(lambda connection: store.drop_config(connection, drone))
            self._kept.pop(drone, None)
            return was_there

    # ------------------------------------------------------------ what follows from it

    def cores_limit(self, drone: Drone) -> int | None:
        """Return how many cores of a drone may be used; ``None``: all."""
        return self._number(drone, "cores_limit")

    def max_failures(self, drone: Drone) -> int | None:
        """Return after how many failures in a row a drone is grounded; ``None``: as for all."""
        return self._number(drone, "max_failures")

    def _number(self, drone: Drone, name: str) -> int | None:
        config = self._kept.get(drone.name)
        found: int | None = None if config is None else config[name]
        return found

    def may_reboot(self, drone: str) -> bool:
        """Whether self-healing may ever reboot a drone, as far as operators have said."""
        config = self._kept.get(drone)
        return config is None or bool(config["auto_reboot"] and not config["protected"])

    def check_may_delete(self, drone: str) -> None:
        """Raise `Conflict` for a drone that is protected from being deleted."""
        config = self._kept.get(drone)
        if config is not None and config["protected"]:
            raise Conflict(f"drone {drone} is protected", hint="set protected = 0 in its configuration first")
