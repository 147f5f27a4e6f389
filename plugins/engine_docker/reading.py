"""Reading what an attempt writes, from where the last reader stopped until its end."""

import math
import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing, suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

import trio
from attrs import define, field, frozen

from appliance.plugin import EngineLost, LogChunk

from .client import Client, Silent
from .frames import Frames, Garbled, Stream
from .link import Link
from .positions import Alignment, Position, best, load, save, since_ns
from .starting import inspect

AGAIN_SECONDS: Final = 0.02
"""Between the end of one stream and the next look: an engine may tell that a container runs a moment after its end."""
NOTE_SECONDS: Final = 1.0
"""How often a reader notes where it is."""
SILENT_SECONDS: Final = 600.0
"""After so long without output the connection is made anew: it may be dead without anybody noticing."""


@frozen(kw_only=True)
class Notes:
    """The positions of readers, in one small file for each attempt."""

    folder: Path

    def path(self, attempt_id: str) -> Path:
        """Return the file of an attempt."""
        plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}", attempt_id)
        return self.folder / (attempt_id if plain else sha256(attempt_id.encode()).hexdigest())

    def forget(self, attempt_id: str) -> None:
        """Remove the file of an attempt."""
        with suppress(OSError):
            self.path(attempt_id).unlink()

    def forget_all_but(self, attempt_ids: Iterable[str]) -> None:
        """Remove the files of attempts that are not there any more."""
        kept = {self.path(one).name for one in attempt_ids}
        with suppress(OSError):
            for one in self.folder.iterdir():
                if one.name not in kept:
                    one.unlink(missing_ok=True)


@define
class Reader:
    """Reads the log of one attempt."""

    link: Link
    name: str
    """Of its container."""
    notes: Path
    delivered: dict[Stream, int]
    """Bytes of each stream that are stored."""
    _kept: list[Position] = field(factory=list, init=False)
    _noted_at: float = field(default=-math.inf, init=False)

    async def chunks(self) -> AsyncGenerator[LogChunk]:
        """Yield what is not stored yet, until the attempt has ended and all was read."""
        self._kept = load(self.notes)
        while True:
            engine = await self.link.connected()
            container = await inspect(engine.client, self.name)
            if container is None:
                return
            # Asked before reading: what is read of a container that had ended by then is all of it.
            follow = container.state.running
            read = self._plain if container.config.tty else self._framed
            with suppress(Silent):
                async with aclosing(read(engine.client, follow=follow)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            if not follow:
                return
            await trio.sleep(AGAIN_SECONDS)

    async def _framed(self, client: Client, *, follow: bool) -> AsyncGenerator[LogChunk]:
        position = best(self._kept, self.delivered)
        since = since_ns(position)
        alignment = Alignment.at(position, self.delivered)
        frames = Frames()
        query: dict[str, str | int] = {"stdout": 1, "stderr": 1, "timestamps": 1}
        if since:
            query["since"] = f"{since // 10**9}.{since % 10**9:09d}"
        try:
            async with aclosing(self._bytes(client, query, follow=follow)) as pieces:
                async for data in pieces:
                    try:
                        taken = list(_joined(alignment, frames, data))
                    except Garbled as error:
                        raise EngineLost(f"the engine's log is not understood: {error}") from error
                    for stream, new in taken:
                        self.delivered[stream] += len(new)
                        yield LogChunk(stream=stream, data=new)
                    self._note(alignment.position)
        finally:
            self._note(alignment.position, at_once=True)

    async def _plain(self, client: Client, *, follow: bool) -> AsyncGenerator[LogChunk]:
        """Read what a terminal showed: without frames and times, so always from the start."""
        known, count = self.delivered["stdout"], 0
        async with aclosing(self._bytes(client, {"stdout": 1, "stderr": 1}, follow=follow)) as pieces:
            async for data in pieces:
                start, count = count, count + len(data)
                if count > known:
                    self.delivered["stdout"] = count
                    yield LogChunk(stream="stdout", data=data[max(0, known - start) :])

    async def _bytes(self, client: Client, query: dict[str, str | int], *, follow: bool) -> AsyncGenerator[bytes]:
        asked = query | ({"follow": 1} if follow else {})
        idle = SILENT_SECONDS if follow else None
        path = f"/containers/{self.name}/logs"
        # A container that writes nothing yet makes some engines wait with the head of their answer too.
        async with client.open("GET", path, query=asked, answer_seconds=idle, idle_seconds=idle) as answer:
            while data := await answer.receive():
                yield data

    def _note(self, position: Position, *, at_once: bool = False) -> None:
        now = trio.current_time()
        if not position or (now - self._noted_at < NOTE_SECONDS and not at_once):
            return
        if not self._kept or self._kept[-1] != position:
            self._kept.append(position)
            del self._kept[:-64]
            save(self.notes, self._kept)
        self._noted_at = now


def _joined(alignment: Alignment, frames: Frames, data: bytes) -> Iterator[tuple[Stream, bytes]]:
    """Yield what is new in some bytes, neighbours of one stream as one."""
    stream: Stream | None = None
    gathered = bytearray()
    for piece in frames.feed(data):
        for of, new in alignment.take(piece):
            if of != stream and gathered and stream is not None:
                yield stream, bytes(gathered)
                gathered.clear()
            stream = of
            gathered += new
    if gathered and stream is not None:
        yield stream, bytes(gathered)


def delivered_of(skip: Mapping[str, int]) -> dict[Stream, int]:
    """Return how much of each stream is stored, from what core says."""
    return {"stdout": max(0, skip.get("stdout", 0)), "stderr": max(0, skip.get("stderr", 0))}
