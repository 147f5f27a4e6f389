"""The engine ``docker``: attempts as containers of Docker or Podman."""

import json
import math
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Final

import trio

from appliance.plugin import (
    EndReason,
    EngineLost,
    EngineStatus,
    Exit,
    Found,
    Host,
    Launch,
    LogChunk,
    OutputSink,
    Usage,
)

from . import archives
from .client import Client, Refused, Silent
from .containers import APPLIANCE, Listed, Stats, decode, exit_of, found_of, name_of, usage_of
from .link import NAME, Link
from .reading import Notes, Reader, delivered_of
from .settings import DockerSettings
from .starting import Starter, inspect, remove

WAIT_SECONDS: Final = 60.0
"""After so long a wait is asked for anew, so that a connection that died unnoticed costs no more than that."""
STOP_SECONDS: Final = 60.0
"""How long an engine may take to end a container beyond the grace."""
POLL_SECONDS: Final = 0.05
COLLECT_AGAIN_SECONDS: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
GONE: Final = Exit(
    exit_code=None, reason=EndReason.ENGINE_LOST, message="its container is not there any more, and nobody saw its end"
)


class DockerEngine:
    """Runs attempts as containers, over the Docker Engine API."""

    def __init__(self, settings: DockerSettings, host: Host, folder: Path, appliance_id: str) -> None:
        """Take the settings; nothing is looked at yet.

        :param folder: where notes about the places of log readers are kept; losing them loses no output that the
            engine still has.
        """
        self._link = Link(settings, host)
        self._starter = Starter(link=self._link, appliance_id=appliance_id)
        self._notes = Notes(folder=folder / "logs")
        self._appliance_id = appliance_id
        self._stopped: set[str] = set()
        """Attempts that we asked to end."""
        self._interrupted: set[str] = set()
        """Attempts whose engine was away while somebody waited for their end."""

    @property
    def name(self) -> str:
        """``docker``, also for Podman: both speak its API."""
        return NAME

    @property
    def status(self) -> EngineStatus:
        """How it was at the last look."""
        return self._link.status

    def owns_image(self, image: str) -> bool:
        """None: what it has, others could fetch or import as well."""
        return False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look at the engine every few seconds until cancelled."""
        await self._link.watch(task_status)

    async def start(self, launch: Launch, tell: Callable[[str], None]) -> None:
        """Make and start the attempt's container, unless it is there already."""
        with self._told():
            await self._starter.start(launch, tell)

    async def wait(self, attempt_id: str) -> Exit:
        """Return how the attempt's container ended."""
        try:
            with self._told():
                return await self._end_of(attempt_id)
        except EngineLost:
            self._interrupted.add(attempt_id)
            raise

    async def _end_of(self, attempt_id: str) -> Exit:
        while True:
            engine = await self._link.connected()
            name = name_of(self._appliance_id, attempt_id)
            container = await inspect(engine.client, name)
            if container is None:
                return GONE
            if not container.state.running:
                return exit_of(
                    container,
                    is_podman=engine.around.is_podman,
                    was_stopped=attempt_id in self._stopped,
                    was_interrupted=attempt_id in self._interrupted,
                )
            await self._wait_once(engine.client, name)

    async def _wait_once(self, client: Client, name: str) -> None:
        query = {"condition": "not-running"}
        try:
            await client.call("POST", f"/containers/{name}/wait", query=query, answer_seconds=WAIT_SECONDS)
        except Silent:
            return
        except Refused as error:
            if error.status != 404:
                raise
        await trio.sleep(POLL_SECONDS)  # engines answer a moment before their own books say so

    async def logs(self, attempt_id: str, *, skip: Mapping[str, int]) -> AsyncGenerator[LogChunk]:
        """Yield what the attempt writes, see `reading`."""
        reader = Reader(
            self._link,
            name_of(self._appliance_id, attempt_id),
            self._notes.path(attempt_id),
            delivered_of(skip),
        )
        with self._told():
            async with aclosing(reader.chunks()) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def stop(self, attempt_id: str, *, grace_seconds: float) -> None:
        """End the attempt's container: its stop signal (SIGTERM unless its image says otherwise), then SIGKILL."""
        with self._told():
            client, name = await self._place(attempt_id)
            self._stopped.add(attempt_id)
            grace = math.ceil(grace_seconds)  # the API knows whole seconds
            try:
                await client.call(
                    "POST", f"/containers/{name}/stop", query={"t": grace}, answer_seconds=grace + STOP_SECONDS
                )
            except Refused as error:
                if error.status != 404:
                    raise
            while (container := await inspect(client, name)) is not None and container.state.running:
                await self._wait_once(client, name)

    async def found(self) -> list[Found]:
        """Return the attempts of this appliance that the engine has."""
        with self._told():
            client = (await self._link.connected()).client
            ours = json.dumps({"label": [f"{APPLIANCE}={self._appliance_id}"]})
            query: dict[str, str | int] = {"all": 1, "filters": ours}
            found = found_of(decode((await client.call("GET", "/containers/json", query=query))[1], list[Listed]))
        self._notes.forget_all_but(one.attempt_id for one in found)
        return found

    async def usage(self, attempt_id: str) -> Usage | None:
        """Return what the attempt's container uses now."""
        with self._told():
            client, name = await self._place(attempt_id)
            container = await inspect(client, name)
            if container is None or not container.state.running:
                return None
            query = {"stream": "false", "one-shot": "true"}
            try:
                return usage_of(decode((await client.call("GET", f"/containers/{name}/stats", query=query))[1], Stats))
            except Refused:  # it ended meanwhile
                return None

    async def collect(self, attempt_id: str, sink: OutputSink) -> None:
        """Put the files below ``/output`` into the sink."""
        with self._told():
            client, name = await self._place(attempt_id)
            for seconds in COLLECT_AGAIN_SECONDS:
                try:
                    await self._collect_once(client, name, sink)
                except archives.NothingYet:
                    await trio.sleep(seconds)
                else:
                    return
            await self._collect_once(client, name, sink)

    async def _collect_once(self, client: Client, name: str, sink: OutputSink) -> None:
        try:
            async with client.open("GET", f"/containers/{name}/archive", query={"path": "/output"}) as answer:
                await archives.unpack(answer, sink)
        except Refused as error:
            if error.status != 404:  # no such folder, no such container: nothing to collect
                raise

    async def remove(self, attempt_id: str) -> None:
        """Remove the attempt's container with its anonymous volumes, and what held its network."""
        with self._told():
            await remove(*await self._place(attempt_id))
        self._notes.forget(attempt_id)
        self._stopped.discard(attempt_id)
        self._interrupted.discard(attempt_id)

    async def _place(self, attempt_id: str) -> tuple[Client, str]:
        return (await self._link.connected()).client, name_of(self._appliance_id, attempt_id)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Have the link look again when the engine was lost, and turn a refusal that nobody expected into a loss."""
        try:
            yield
        except EngineLost:
            self._link.lost()
            raise
        except Refused as error:
            raise EngineLost(f"the engine refused ({error.status}): {error.message}") from error
