"""Making and starting the container of an attempt, at most once."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import trio
from attrs import frozen

from appliance.plugin import EndReason, EngineLost, Launch, LaunchFailed

from . import archives, fence, images
from .client import Client, Refused, Upload
from .containers import ATTEMPT, Container, decode, fence_of, name_of
from .creation import NETWORK_CAPABILITIES, container_body, fence_body
from .link import Connected, Link

FENCE_SECONDS: Final = 60.0
CLEAN_UP_SECONDS: Final = 30.0
START_AGAIN_SECONDS: Final = 0.2


@frozen(kw_only=True)
class Starter:
    """Starts attempts."""

    link: Link
    appliance_id: str

    async def start(self, launch: Launch, tell: Callable[[str], None]) -> None:
        """As `TaskEngine.start`."""
        engine = await self.link.connected()
        name = name_of(self.appliance_id, launch.attempt_id)
        there = await inspect(engine.client, name)
        if there is not None:
            self._check_ours(there, launch)
            if there.state.was_started:
                return
        async with self._cleared_on_failure(engine.client, name):
            await self._start(engine, name, launch, tell, is_made=there is not None)

    async def _start(
        self, engine: Connected, name: str, launch: Launch, tell: Callable[[str], None], *, is_made: bool
    ) -> None:
        network = await self._network(engine, name, launch, tell)
        if not is_made:
            await self._create(engine, name, launch, network, tell)
        await self._fill(engine.client, name, launch)
        await _start_made(engine.client, name)

    def _check_ours(self, container: Container, launch: Launch) -> None:
        if container.labels.get(ATTEMPT) != launch.attempt_id:
            raise LaunchFailed("a container of its name is there, and is not ours", reason=EndReason.REFUSED)

    @asynccontextmanager
    async def _cleared_on_failure(self, client: Client, name: str) -> AsyncIterator[None]:
        try:
            yield
        except (Refused, LaunchFailed) as error:
            with trio.move_on_after(CLEAN_UP_SECONDS, shield=True), suppress(EngineLost, Refused):
                await remove(client, name)
            raise launch_failure(error) if isinstance(error, Refused) else error from error.__cause__ or error

    async def _network(self, engine: Connected, name: str, launch: Launch, tell: Callable[[str], None]) -> str:
        if launch.network == "none":
            return "none"
        if launch.link_local:
            return self.link.settings.network
        if launch.privileges & NETWORK_CAPABILITIES:
            words = ", ".join(sorted(launch.privileges & NETWORK_CAPABILITIES))
            raise LaunchFailed(
                f"with {words} a task could reach link-local addresses on network bridge",
                reason=EndReason.REFUSED,
                hint="take the capability away, or set link_local = true",
            )
        if not engine.can_fence:
            raise LaunchFailed(
                "link-local addresses cannot be closed on this engine's processor, so network bridge is refused",
                reason=EndReason.REFUSED,
                hint="set link_local = true where nothing secret is served there",
            )
        await self._put_up_fence(engine, fence_of(name), launch)
        return f"container:{fence_of(name)}"

    async def _put_up_fence(self, engine: Connected, name: str, launch: Launch) -> None:
        client = engine.client
        there = await inspect(client, name)
        if there is not None and there.state.running:
            return
        if there is not None:
            await client.call("DELETE", f"/containers/{name}", query={"force": 1, "v": 1})
        image, archive = fence.image()
        body = fence_body(launch, self.appliance_id, self.link.settings, engine.around, image)
        try:
            await client.call("POST", "/containers/create", query={"name": name}, body=body)
        except Refused as error:
            if error.status != 404:
                raise
            upload = Upload(chunks=_once(archive))
            await client.call(
                "POST", "/images/create", query={"fromSrc": "-", "repo": image, "tag": "latest"}, body=upload
            )
            await client.call("POST", "/containers/create", query={"name": name}, body=body)
        await client.call("POST", f"/containers/{name}/start")
        await self._fence_stands(client, name)

    async def _fence_stands(self, client: Client, name: str) -> None:
        said = bytearray()
        query = {"follow": 1, "stdout": 1}
        async with client.open("GET", f"/containers/{name}/logs", query=query, idle_seconds=FENCE_SECONDS) as answer:
            while fence.READY not in said and len(said) < 1_000 and (piece := await answer.receive()):
                said += piece
        if fence.READY not in said:
            ended = await inspect(client, name)
            raise LaunchFailed(
                fence.refusal(ended.state.exit_code if ended else 0),
                reason=EndReason.REFUSED,
                hint="set link_local = true where nothing secret is served at link-local addresses",
            )

    async def _create(
        self, engine: Connected, name: str, launch: Launch, network: str, tell: Callable[[str], None]
    ) -> None:
        images.split(launch.image)  # a name that is none never reaches the engine
        body = container_body(launch, self.appliance_id, self.link.settings, engine.around, network)
        try:
            await self._create_once(engine.client, name, body)
        except Refused as error:
            if error.status != 404:
                raise
            if self.link.settings.pull == "never":
                raise LaunchFailed(
                    f"the engine has no image {launch.image}, and fetching is switched off",
                    reason=EndReason.IMAGE,
                    hint='load it there, or set pull = "missing" in [plugins.engine_docker]',
                ) from error
            await images.pull(engine.client, launch.image, tell)
            await self._create_once(engine.client, name, body)

    async def _create_once(self, client: Client, name: str, body: dict[str, Any]) -> None:
        try:
            await client.call("POST", "/containers/create", query={"name": name}, body=body)
        except Refused as error:
            host = body["HostConfig"]
            if "StorageOpt" in host and any(
                word in error.message.lower() for word in ("storage-opt", "pquota", "quota")
            ):
                self.link.without_storage_limit()
                bare = {key: value for key, value in host.items() if key != "StorageOpt"}
                await client.call("POST", "/containers/create", query={"name": name}, body=body | {"HostConfig": bare})
            elif error.status != 409:  # 409: made by a request whose answer we did not get
                raise

    async def _fill(self, client: Client, name: str, launch: Launch) -> None:
        upload = Upload(chunks=archives.in_thread(archives.inputs_tar(launch.inputs)))
        await client.call("PUT", f"/containers/{name}/archive", query={"path": "/"}, body=upload)


async def _start_made(client: Client, name: str) -> None:
    try:
        await client.call("POST", f"/containers/{name}/start")
    except Refused as error:
        if error.status < 500:
            raise
        # On a loaded host the engine's own runtime fails now and then ("runc start: exit status 1"): once more, unless
        # the command has begun all the same.
        await trio.sleep(START_AGAIN_SECONDS)
        there = await inspect(client, name)
        if there is None or not there.state.was_started:
            await client.call("POST", f"/containers/{name}/start")


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def inspect(client: Client, name: str) -> Container | None:
    """Return a container, ``None`` when it is not there."""
    try:
        return decode((await client.call("GET", f"/containers/{name}/json"))[1], Container)
    except Refused as error:
        if error.status == 404:
            return None
        raise


async def remove(client: Client, name: str) -> None:
    """Remove an attempt's container and its fence, running or not; nothing happens when they are not there."""
    for one in (name, fence_of(name)):
        try:
            await client.call("DELETE", f"/containers/{one}", query={"force": 1, "v": 1})
        except Refused as error:
            if error.status != 404 and not (error.status == 409 and "in progress" in error.message):
                raise


def launch_failure(error: Refused) -> LaunchFailed:
    """Return in our words that the engine refused a container."""
    words = error.message
    low = words.lower()
    if "no space left on device" in low:
        return LaunchFailed(words, reason=EndReason.DISK_FULL, hint="make room on the engine's disk")
    if error.status == 404 and "image" in low:
        return LaunchFailed(words, reason=EndReason.IMAGE)
    if "/bin/sh" in low or "executable file" in low or "exec format error" in low:
        return LaunchFailed(
            f"the image cannot run the command: {words}",
            reason=EndReason.IMAGE,
            hint="commands are run by /bin/sh -c: the image needs a shell, for this host's processor",
        )
    return LaunchFailed(f"the engine refused the container: {words}", reason=EndReason.REFUSED)
