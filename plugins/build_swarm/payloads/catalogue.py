"""The versions of payloads that are kept here: their content on disk, what is said of them in the database."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
import trio
from attrs import define, field

from appliance.plugin import BadInput, Busy, Conflict, Core

from . import store
from .contents import Contents, Partial
from .models import NewVersion, PayloadVersion, checked_type, checked_version, no_version
from .store import Added

log = structlog.get_logger(__name__)

UPLOADS_MAX = 4
"""At once; what each has sent lies on disk until it is known by its version."""


@define(eq=False)
class Catalogue:
    """Adds versions, finds them and takes them away."""

    core: Core
    contents: Contents
    bytes_max: int
    """How many bytes all versions together may have."""
    _uploads: int = field(default=0, init=False)
    _adding: trio.Lock = field(factory=trio.Lock, init=False)
    _is_clean: bool = field(default=False, init=False)

    @asynccontextmanager
    async def incoming(self) -> AsyncIterator[Partial]:
        """Lend a file for the content of a version to be; raises `Busy` where too many are being sent."""
        if self._uploads >= UPLOADS_MAX:
            raise Busy(f"{UPLOADS_MAX} payloads are being uploaded already", hint="try again in a moment")
        self._uploads += 1
        try:
            async with self.contents.incoming() as written:
                yield written
        finally:
            self._uploads -= 1

    async def add(self, new: NewVersion, written: Partial) -> Added:
        """Keep content as a version; the same content again is the version that is there.

        :raises BadInput: type, version or content are none.
        :raises Conflict: the version has other content.
        :raises TooLarge: there would be too much.
        """
        checked_type(new.payload_type)
        checked_version(new.version)
        if not written.size_bytes:
            raise BadInput("$.content: empty", field="$.content", hint="send the file as base64")
        await written.flush()
        # The content is in the name, so that no two uploads of one version ever write the same file.
        file = f"{new.payload_type}-{new.version}.{written.sha256[:16]}"
        async with self._adding:
            found = self.core.database.read_now(lambda read: store.version(read, new.payload_type, new.version))
            if found is None:
                await self.contents.keep(written, file)
            try:
                added = await self.core.database.write(
                    lambda write: store.add(
                        write,
                        new,
                        sha256=written.sha256,
                        size_bytes=written.size_bytes,
                        file=file,
                        now_unix_us=self.core.now(),
                        bytes_max=self.bytes_max,
                    )
                )
            except Exception:
                # Cancelled is not among these: then the row may be there, and the next start knows.
                if found is None:
                    await self.contents.remove(file)
                raise
        if added.is_new:
            log.info("payload.added", payload_type=new.payload_type, version=new.version, sha256=written.sha256)
        return added

    async def all(self) -> list[PayloadVersion]:
        """Return every version, newest first."""
        return await self.core.database.read(store.versions)

    async def of_type(self, payload_type: str) -> list[PayloadVersion]:
        """Return the versions of one type, newest first."""
        return [each for each in await self.all() if each.payload_type == payload_type]

    def find(self, payload_type: str, version: str) -> PayloadVersion | None:
        """Return a version, ``None`` where there is none."""
        return self.core.database.read_now(lambda read: store.version(read, payload_type, version))

    def get(self, payload_type: str, version: str) -> PayloadVersion:
        """Return a version; raises `NotFound`."""
        found = self.find(payload_type, version)
        if found is None:
            raise no_version(payload_type, f"{payload_type} {version}")
        return found

    def content(self, version: PayloadVersion) -> Path:
        """Return where a version's content lies."""
        return self.contents.path(version.file)

    async def remove(self, wanted: PayloadVersion, known: Collection[str]) -> None:
        """Delete a version and its content; raises `Conflict` where a drone has it.

        :param known: ids of the drones that there are: what a forgotten one had holds nothing up.
        """
        async with self._adding:
            for has in await self.core.database.read(store.drone_payloads):
                is_same = (has.payload_type, has.version) == (wanted.payload_type, wanted.version)
                if is_same and has.drone_id in known:
                    raise Conflict(
                        f"{wanted.label} is on drone {has.drone_id}", hint="deploy another version there first"
                    )
            await self.core.database.write(lambda write: store.remove(write, wanted))
            await self.contents.remove(wanted.file)

    async def clean(self) -> None:
        """Delete what an end in the middle of an upload has left; once, before any upload of this run."""
        if not self._is_clean:
            self._is_clean = True
            await self.contents.clean([each.file for each in await self.all()])
