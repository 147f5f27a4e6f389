"""The pools: those of TOML, ``default``, and those made over the API."""

import re
from collections.abc import Callable, Mapping
from typing import Final

from attrs import define, field

from appliance.plugin import BadInput, Conflict, Core, NotFound, TooLarge

from . import store
from .models import DEFAULT_POOL, DEFAULT_PROVIDER, NAME_PATTERN, Pool
from .settings import RegistrySettings

POOLS_MAX: Final = 1000


@define(eq=False)
class Pools:
    """Every pool by name; a change is durable before it shows."""

    core: Core
    _by_name: dict[str, Pool] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._by_name = {pool.name: pool for pool in self.core.database.read_now(store.pools)}
        self._by_name.setdefault(DEFAULT_POOL, Pool(name=DEFAULT_POOL, is_configured=True))
        settings: RegistrySettings = self.core.settings
        for name, said in settings.pools.items():  # what is written down in TOML wins
            self._by_name[name] = Pool(name=name, gpu=said.gpu, provider=said.provider, is_configured=True)

    def all(self) -> list[Pool]:
        """Return every pool, by name."""
        return [self._by_name[name] for name in sorted(self._by_name)]

    def named(self, name: str) -> Pool | None:
        """Return a pool, ``None`` when there is none of that name; case counts."""
        return self._by_name.get(name)

    def gpu_of(self, name: str) -> str:
        """Return what the GPUs of a pool are called, empty when it has no name for them, or is gone."""
        pool = self._by_name.get(name)
        return "" if pool is None else pool.gpu

    async def create(self, *, name: str, gpu: str = "", provider: str = DEFAULT_PROVIDER) -> Pool:
        """Make a pool.

        :raises BadInput: a name that none of these can have.
        :raises Conflict: there is one of this name.
        """
        for said, text in {"name": name, "gpu": gpu, "provider": provider}.items():
            if not (said == "gpu" and text == "") and re.fullmatch(NAME_PATTERN, text) is None:
                words = "1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first"
                raise BadInput(f"$.{said}: expected {words}", field=f"$.{said}")
        if len(self._by_name) >= POOLS_MAX:
            raise TooLarge(f"there are {POOLS_MAX} pools already", hint="delete those that nobody uses")
        pool = Pool(name=name, gpu=gpu, provider=provider)
        if name in self._by_name:
            raise Conflict(f"there is a pool {name!r} already")
        if not await self.core.database.write(
            lambda connection: store.put_pool(connection, pool), on_commit=self._keep(pool)
        ):
            raise Conflict(f"there is a pool {name!r} already")
        return pool

    def _keep(self, pool: Pool) -> Callable[[bool], None]:
        def follow(made: bool) -> None:
            if made:
                self._by_name[pool.name] = pool

        return follow

    async def delete(self, name: str, machine_counts: Mapping[str, int]) -> None:
        """Delete a pool.

        :raises NotFound: there is none.
        :raises Conflict: it is written in TOML, or has machines.
        """
        pool = self._by_name.get(name)
        if pool is None:
            raise NotFound("pool", name[:64])
        if pool.is_configured:
            raise Conflict(f"pool {name!r} stands in the configuration", hint="take it out there, and restart")
        if machine_counts.get(name):
            raise Conflict(f"pool {name!r} has {machine_counts[name]} machines", hint="delete them first")

        def gone(_: bool) -> None:
            self._by_name.pop(name, None)

        await self.core.database.write(lambda connection: store.delete_pool(connection, name), on_commit=gone)
