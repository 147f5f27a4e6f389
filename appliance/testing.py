"""For tests, ours and plugin authors': a whole appliance on a free port, and parts that do as they are told.

::

    async def test_hello_says_hello(tmp_path: Path) -> None:
        async with running(tmp_path, plugins={"hello": SOURCE}) as appliance:
            answer = await appliance.get("/api/hello")
            assert answer.status == 200
"""

import http.client
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio
from argon2 import PasswordHasher
from attrs import define, field, frozen

from appliance.backends import DeviceBackend, DeviceEvent, DeviceReading
from appliance.clock import Now, unix_now_us
from appliance.credentials.kinds import Kind, Role
from appliance.devices import Gpu, GpuSample
from appliance.engines import TaskEngine
from appliance.host import Host
from appliance.people.passwords import Passwords
from appliance.run import Options, Running, run_appliance
from appliance.run.failures import leaves
from appliance.scripted_engine import ScriptedAttempt, ScriptedEngine
from appliance.systemd import Notifier

GIB = 2**30
WAIT_SECONDS = 30.0
PASSWORD = "correct horse battery"  # noqa: S105  everybody's, in tests


@frozen(kw_only=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; the last of a name."""
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body decoded."""
        return json.loads(self.body)


@define(eq=False)
class ScriptedBackend:
    """Devices that do as they are told: change the fields between samples."""

    gpus: list[Gpu] = field(factory=list)
    samples: dict[str, dict[str, Any]] = field(factory=dict)
    """Fields of each GPU's sample by id; what is not named is not reported."""
    events: list[DeviceEvent] = field(factory=list)
    """Told with the next reading, once."""
    problems: list[str] = field(factory=list)
    failure: Exception | None = None
    """Raised by `open` and `read` while it is set."""
    name: str = "scripted"
    is_open: bool = False
    reads: int = 0

    def open(self) -> str:
        """Connect, or fail as told."""
        self._fail()
        self.is_open = True
        return f"scripted driver, {len(self.gpus)} GPUs"

    def read(self, now_unix_us: int) -> DeviceReading:
        """Read every device once, or fail as told."""
        self._fail()
        self.reads += 1
        events, self.events = tuple(self.events), []
        samples = tuple(
            GpuSample(
                gpu_id=gpu.gpu_id,
                gpu_index=gpu.index,
                model=gpu.model,
                taken_at_unix_us=now_unix_us,
                vram_total_bytes=gpu.vram_total_bytes,
                **self.samples.get(gpu.gpu_id, {}),
            )
            for gpu in self.gpus
        )
        return DeviceReading(gpus=tuple(self.gpus), samples=samples, events=events, problems=tuple(self.problems))

    def close(self) -> None:
        """Let go."""
        self.is_open = False

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


def scripted_gpus(count: int = 1) -> ScriptedBackend:
    """Return a backend with so many GPUs of 80 GiB, all at work."""
    gpus = [
        Gpu(
            gpu_id=f"GPU-{number}",
            index=number,
            vendor="nvidia",
            model="Scripted 80G",
            vram_total_bytes=80 * GIB,
            driver_version="1.0",
        )
        for number in range(count)
    ]
    sample = {
        "utilization_percent": 42.0,
        "vram_used_bytes": 8 * GIB,
        "power_watts": 300.0,
        "temperature_celsius": 61.0,
    }
    return ScriptedBackend(gpus=gpus, samples={gpu.gpu_id: dict(sample) for gpu in gpus})


@define
class SteppingClock:
    """A clock that stands until it is moved; give it as ``now``."""

    unix_us: int = 1_795_000_000_000_000

    def __call__(self) -> int:
        """Return the time in microseconds since the epoch."""
        return self.unix_us

    def advance(self, seconds: float) -> None:
        """Move on."""
        self.unix_us += int(seconds * 1_000_000)


@frozen(kw_only=True)
class RunningAppliance:
    """An appliance under test: its parts, and ways to talk to it."""

    running: Running
    data_dir: Path
    port: int
    said: list[str]
    """The lines for the terminal."""

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def state(self) -> Any:
        """What core's handlers are given: every part of the appliance."""
        return self.running.state

    async def request(
        self, method: str, path: str, *, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send one request over TCP, from this process: trusted, unless ``headers`` carry a credential."""
        return await trio.to_thread.run_sync(
            partial(_exchange, partial(_tcp, self.port), method, path, body, headers or {})
        )

    async def get(self, path: str, **options: Any) -> Reply:
        """GET; the options are those of `request`."""
        return await self.request("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Reply:
        """POST ``body`` as JSON; the options are those of `request`."""
        return await self.request("POST", path, body={} if body is None else body, **options)

    async def control(self, method: str, path: str, body: Any = None) -> Reply:
        """Send one request over the control socket: as admin."""
        return await trio.to_thread.run_sync(
            partial(_exchange, partial(_unix, self.running.control), method, path, body, {})
        )

    async def bearer(self, name: str = "ana", role: Role = Role.ADMIN) -> dict[str, str]:
        """Return the headers of a personal access token of a person, who is made if need be."""
        people = self.state.people
        person = people.find(name) or await people.add(name, role=role, password=PASSWORD)
        minted = await self.state.credentials.create(Kind.PAT, subject=person.person_id)
        return {"Authorization": f"Bearer {minted.secret}"}


@asynccontextmanager
async def running(
    folder: Path,
    *,
    config: str = "",
    plugins: Mapping[str, str] | None = None,
    backends: Sequence[DeviceBackend] | None = (),
    engines: Sequence[TaskEngine] | None = (),
    environment: Mapping[str, str] | None = None,
    listen: tuple[str, ...] = ("127.0.0.1:0",),
    now: Now = unix_now_us,
    host: Host | None = None,
    inline: bool = False,
    notifier: Notifier | None = None,
) -> AsyncIterator[RunningAppliance]:
    """Run a whole appliance on a free port, its data in ``folder / "data"``; it stops in order in the end.

    :param config: the text of its configuration file; it can be changed and reloaded.
    :param plugins: source text by name, dropped into the plugins folder.
    :param backends: device backends; ``None`` asks the plugins for theirs, as a real start does.
    :param engines: task engines; ``None`` asks the plugins for theirs, as a real start does.
    :param listen: empty to let the configuration say where to listen.
    :param inline: run the database in the calling thread, for tests under a mock clock.
    """
    data_dir = folder / "data"
    dropped = data_dir / "plugins"
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    dropped.mkdir(mode=0o700, exist_ok=True)
    for name, source in (plugins or {}).items():
        path = dropped / f"{name}.py"
        path.write_text(source)
        path.chmod(0o600)
    config_file = folder / "appliance.toml"
    config_file.write_text(config)
    said: list[str] = []
    options = Options(
        data_dir=data_dir,
        config_file=config_file,
        listen=listen,
        environment=environment or {},
        host=host or Host(),
        now=now,
        say=said.append,
        notifier=notifier or Notifier(),
        inline_database=inline,
        passwords=Passwords(hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1), inline=inline),
        backends=backends,
        engines=engines,
    )
    try:
        async with trio.open_nursery() as nursery:
            made: Running = await nursery.start(run_appliance, options)
            port = next((one.address.port for one in made.bound if not one.address.is_unix), 0)
            try:
                yield RunningAppliance(running=made, data_dir=data_dir, port=port, said=said)
            finally:
                made.state.stop()
    except BaseExceptionGroup as group:
        # A test looks for the failure itself, not for the nurseries it came through.
        found = list(leaves(group))
        if len(found) > 1:
            raise
        raise found[0] from None


async def until(check: Callable[[], Any], *, seconds: float = WAIT_SECONDS) -> Any:
    """Wait until ``check`` returns something true, and return it; fail after ``seconds``."""
    with trio.fail_after(seconds):
        while not (found := check()):  # noqa: ASYNC110  what it looks at knows no events
            await trio.sleep(0.01)
    return found


def _exchange(
    connect: Callable[[], http.client.HTTPConnection], method: str, path: str, body: Any, headers: Mapping[str, str]
) -> Reply:
    connection = connect()
    try:
        payload = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {} if payload is None else {"Content-Type": "application/json"}
        connection.request(method, path, payload, {**kind, **headers})
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(status=answer.status, headers=found, body=answer.read())
    finally:
        connection.close()


def _tcp(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=10)


def _unix(path: Path) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(10)
    connection.sock.connect(str(path))
    return connection


__all__ = [
    "GIB",
    "PASSWORD",
    "Reply",
    "RunningAppliance",
    "ScriptedAttempt",
    "ScriptedBackend",
    "ScriptedEngine",
    "SteppingClock",
    "running",
    "scripted_gpus",
    "until",
]
