"""The registered servers: all in memory, written through."""

import secrets
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from attrs import define, field

from appliance.plugin import (
    Conflict,
    Core,
    Kind,
    Minted,
    NotFound,
    TooLarge,
    insert_credential,
    mint_credential,
    new_id,
    revoke_credentials_of,
)

from . import store
from .models import LOCAL_SLUG, Server

TOKEN_BYTES: Final = 32
"""As the documented server makes them: 43 characters of base64url."""
MAX_SERVERS: Final = 10_000
"""As many as the inventory holds hosts."""


@define(eq=False)
class Servers:
    """Every registered server. Read from memory at once; a change is durable before it shows."""

    core: Core
    most: int = MAX_SERVERS
    generation: int = field(default=0, init=False)
    """Changes whenever anything that is shown of any server does."""
    _by_slug: dict[str, Server] = field(factory=dict, init=False)
    _by_id: dict[int, Server] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._keep(self.core.database.read_now(store.servers))

    def _keep(self, found: Iterable[Server]) -> None:
        for server in found:
            self._by_slug[server.slug] = server
            self._by_id[server.server_id] = server
        self.generation += 1

    # ------------------------------------------------------------ reading

    def all(self) -> list[Server]:
        """Return every server, oldest first."""
        return list(self._by_id.values())

    def active(self) -> list[Server]:
        """Return the servers that are not disabled, those with the newest samples first."""
        return sorted((each for each in self._by_id.values() if each.is_active), key=_order)

    def named(self, slug: str) -> Server | None:
        """Return a server by its slug, as written."""
        return self._by_slug.get(slug)

    def by_id(self, server_id: int) -> Server | None:
        """Return a server by its number."""
        return self._by_id.get(server_id)

    def known(self, slug: str) -> Server:
        """Return a server by its slug; raises `NotFound`."""
        server = self._by_slug.get(slug)
        if server is None:
            raise NotFound("server", slug, hint="appliance server list")
        return server

    def select(self, text: str | None) -> Server | None:
        """Return the server that a client means: by number, by slug, else the first with samples, else the first.

        Digits are always a number, and a server that is unknown or disabled is as none named: clients keep the name of
        one that is gone, and must be shown something.
        """
        asked = (text or "").strip()
        found: Server | None = None
        if asked.isascii() and asked.isdigit():
            found = self._by_id.get(int(asked)) if len(asked) < 19 else None
        elif asked:
            found = self._by_slug.get(asked)
        if found is not None and found.is_active:
            return found
        active = self.active()
        return next((each for each in active if each.latest_unix_us is not None), active[0] if active else None)

    # ------------------------------------------------------------ changing

    async def register(
        self, *, slug: str, name: str, description: str = "", hostname: str = "", owner: str = ""
    ) -> tuple[Server, str]:
        """Register a server; return it and its token, which nobody can read again.

        :raises Conflict: the slug is taken.
        :raises TooLarge: no further server can be held.
        """
        taken = Conflict("Slug already exists. Choose another.")
        return await self._add(slug, taken, name=name, description=description, hostname=hostname, owner=owner)

    async def _add(self, slug: str, taken: Conflict, **fields: Any) -> tuple[Server, str]:
        """Store a new server with its token; ``taken`` is raised when there is one of that slug or machine."""
        if len(self._by_id) >= self.most:
            raise TooLarge(f"{self.most} servers are registered already", hint="delete those that are gone")
        minted = self._mint(slug)

        def write(connection: sqlite3.Connection) -> Server:
            now = self.core.now()
            made = store.insert(connection, slug=slug, series_id=new_id("server"), created_unix_us=now, **fields)
            if made is None:
                raise taken
            insert_credential(connection, minted)
            return made

        def follow(made: Server) -> None:
            self.core.credentials.remember(minted)
            self._keep([made])

        return await self.core.database.write(write, on_commit=follow), minted.secret

    async def enrol(
        self,
        *,
        machine_sha256: bytes,
        slugs: Callable[[int], str],
        name: str,
        hostname: str,
        agent_user: str,
        platform: str,
        owner: str,
        may_take: Callable[[Server], None],
    ) -> tuple[Server, str]:
        """Make the server of a machine, or take the one that it enrolled as before; its token is made anew.

        :param slugs: the slug to try at the n-th attempt.
        :param may_take: raises when the caller may not take an existing server; not called for a new one.
        """
        existing = self.core.database.read_now(lambda connection: store.server_of_machine(connection, machine_sha256))
        if existing is not None:
            server = self._by_id[existing]
            may_take(server)
            return server, await self._take(server, platform=platform, hostname=hostname, agent_user=agent_user)
        attempt = 0
        while slugs(attempt) in self._by_slug:
            attempt += 1
        return await self._add(
            slugs(attempt),
            Conflict("This machine is being enrolled already.", hint="try again"),
            name=name,
            hostname=hostname,
            agent_user=agent_user,
            agent_info=store.json_text({"platform": platform}),
            machine_sha256=machine_sha256,
            owner=owner,
        )

    async def _take(self, server: Server, *, platform: str, hostname: str, agent_user: str) -> str:
        minted = self._mint(server.slug)

        def write(connection: sqlite3.Connection) -> list[str]:
            store.enrolled_again(
                connection, server.server_id, platform=platform, hostname=hostname, agent_user=agent_user
            )
            return self._replace(connection, server, minted)

        def follow(ended: list[str]) -> None:
            self._replaced(minted, ended)
            server.is_active, server.hostname = True, hostname
            server.agent_user, server.agent_info = agent_user, {"platform": platform}
            self.changed(server)

        await self.core.database.write(write, on_commit=follow)
        return minted.secret

    async def rotate(self, server: Server) -> str:
        """Replace a server's token; the old one ends at once. Return the new one.

        :raises Conflict: the server is the host we run on, which has none.
        """
        if server.is_local:
            raise Conflict("the local server is sampled by the appliance itself and has no token")
        minted = self._mint(server.slug)
        await self.core.database.write(
            lambda connection: self._replace(connection, server, minted),
            on_commit=lambda ended: self._replaced(minted, ended),
        )
        return minted.secret

    def _replace(self, connection: sqlite3.Connection, server: Server, minted: Minted) -> list[str]:
        ended = revoke_credentials_of(
            connection, now_unix_us=self.core.now(), subject=server.slug, kind=Kind.INGEST, keep=None
        )
        insert_credential(connection, minted)
        return ended

    def _replaced(self, minted: Minted, ended: list[str]) -> None:
        self.core.credentials.forget(ended)
        self.core.credentials.remember(minted)

    async def change(
        self,
        server: Server,
        *,
        name: str | None = None,
        description: str | None = None,
        is_active: bool | None = None,
    ) -> Server:
        """Change what is given; raises `NotFound` when the server is gone."""
        wanted = (
            server.name if name is None else name,
            server.description if description is None else description,
            server.is_active if is_active is None else is_active,
        )

        def write(connection: sqlite3.Connection) -> None:
            found = store.change(
                connection, server.server_id, name=wanted[0], description=wanted[1], is_active=wanted[2]
            )
            if not found:
                raise NotFound("server", server.slug)

        def follow(_: None) -> None:
            server.name, server.description, server.is_active = wanted
            self.changed(server)

        await self.core.database.write(write, on_commit=follow)
        return server

    async def delete(self, server: Server) -> None:
        """Delete a server with its token and its history.

        :raises Conflict: the server is the host we run on.
        """
        if server.is_local:
            raise Conflict(
                "the local server is the host that the appliance runs on", hint="disable it to take it off the list"
            )

        def write(connection: sqlite3.Connection) -> list[str]:
            store.delete(connection, server.server_id)
            return revoke_credentials_of(
                connection, now_unix_us=self.core.now(), subject=server.slug, kind=Kind.INGEST, keep=None
            )

        def follow(ended: list[str]) -> None:
            self.core.credentials.forget(ended)
            self._by_slug.pop(server.slug, None)
            self._by_id.pop(server.server_id, None)
            self.generation += 1

        await self.core.database.write(write, on_commit=follow)
        await self.core.series.forget(server.series_id)
        with suppress(NotFound):  # it has never reported
            await self.core.inventory.forget(server.series_id)

    async def ensure_local(self, hostname: str) -> Server:
        """Return the server that is the host we run on, registering it at the first start."""
        found = next((each for each in self._by_id.values() if each.is_local), None)
        if found is not None:
            return found

        def write(connection: sqlite3.Connection) -> Server:
            for number in range(1, 1000):
                made = store.insert(
                    connection,
                    slug=LOCAL_SLUG if number == 1 else f"{LOCAL_SLUG}-{number}",
                    name=hostname,
                    hostname=hostname,
                    is_local=True,
                    series_id=self.core.host_id,
                    created_unix_us=self.core.now(),
                )
                if made is not None:
                    return made
            raise Conflict("every slug for the local server is taken")

        return await self.core.database.write(write, on_commit=lambda made: self._keep([made]))

    def changed(self, server: Server) -> None:
        """Note that what is shown of a server has changed."""
        server.revision += 1
        self.generation += 1

    def _mint(self, slug: str) -> Minted:
        return mint_credential(
            Kind.INGEST, now_unix_us=self.core.now(), subject=slug, secret=secrets.token_urlsafe(TOKEN_BYTES)
        )


def _order(server: Server) -> tuple[int, int, str, str]:
    # Those without come last.
    return -(server.latest_unix_us or 0), -(server.last_seen_unix_us or 0), server.name, server.slug
