"""The machines: all in memory. What is acknowledged as a state is durable first; that they live is written behind."""

import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from attrs import define, evolve, field, frozen

from appliance.plugin import Conflict, Core, Forbidden, NotFound, TooLarge, new_id

from . import store
from .life import LATE_SECONDS, US, State, Status, deadline, is_listed, moved
from .models import Found, Inference, Machine, Metrics, Pool

MACHINES_MAX: Final = 20_000
WRITTEN_AT_ONCE: Final = 250
"""Machines whose beats are put into one transaction: a millisecond in which nobody else is served."""
FOUND_MAX: Final = 200
"""Findings that wait to be told, between two looks of the watch; further ones are left out."""
TURNS_SECONDS: Final = 600
"""Senders that take turns more slowly than this are one that moves."""

Key = tuple[str, str, str]
Within = Callable[[sqlite3.Connection], None]


def _nothing(connection: sqlite3.Connection) -> None:
    """Add nothing to a transaction."""


@frozen(kw_only=True)
class Registration:
    """What a machine says of itself, read and checked."""

    key: Key
    hostname: str
    cpu_millicores: int
    memory_mib: int
    gpu_count: int
    private_ip: str


@define  # not frozen: one is made for every keepalive
class Beat:
    """What a keepalive says, read and checked."""

    agent_version: str = ""
    metrics: Metrics | None = None
    inference: Inference | None = None
    sender: tuple[str, str] = ("", "")
    """Address and version of who sent it."""


@define(eq=False)
class Machines:
    """Every machine by provider, pool and id."""

    core: Core
    clock: Callable[[], int]
    """Microseconds of a clock that never jumps (`SteadyClock`)."""
    most: int = MACHINES_MAX
    forget: Callable[[Machine], Awaitable[object]] = field(init=False)
    """Deletes a machine with all that hangs on it; see `removal.remove`."""
    found: list[Found] = field(factory=list, init=False)
    """What people should hear of, oldest first; `Watch` takes it away."""
    unwritten: set[Key] = field(factory=set, init=False)
    new_hosts: set[Key] = field(factory=set, init=False)
    """Machines that the inventory has not heard of in this run."""
    _by_key: dict[Key, Machine] = field(factory=dict, init=False)
    _being_stored: Counter[Key] = field(factory=Counter, init=False)
    """Machines whose state is on its way to the disk: what is written behind would undo it."""
    _is_moved: bool = field(default=False, init=False)
    """Whether the deadlines on disk are those of this run's clock."""

    def __attrs_post_init__(self) -> None:
        self.forget = self.delete
        now = self.clock()
        written_us = self.core.database.read_now(store.written_at)
        for machine in self.core.database.read_now(store.machines):
            machine.heard_us = machine.sampled_us = now
            # Nothing was written behind yet: it has just registered.
            down_from_us = machine.deadline_us - 1 if written_us is None else written_us
            left = moved(machine.deadline_us, down_from_us, now)
            # One that had expired stays so, and stays expired for as long as it was.
            machine.deadline_us = now + machine.deadline_us - down_from_us if left is None else left
            self._by_key[machine.key] = machine
            self.new_hosts.add(machine.key)

    # ------------------------------------------------------------ reading

    def all(self) -> list[Machine]:
        """Return every machine that is not forgotten, expired ones too."""
        return list(self._by_key.values())

    def get(self, key: Key) -> Machine | None:
        """Return a machine by provider, pool and id, whatever its state."""
        return self._by_key.get(key)

    def state(self, machine: Machine) -> State:
        """Return what a machine is now."""
        return machine.state(self.clock())

    def listed(self) -> Iterator[Machine]:
        """Yield the machines that work may be given to."""
        now = self.clock()
        return (machine for machine in self._by_key.values() if is_listed(machine.state(now)))

    def counts(self) -> dict[str, int]:
        """Return how many machines each pool has, expired ones too."""
        counted: dict[str, int] = {}
        for machine in self._by_key.values():
            counted[machine.pool] = counted.get(machine.pool, 0) + 1
        return counted

    def one(self, machine_id: str, *, pool: str | None = None, provider: str | None = None) -> Machine:
        """Return the machine that people mean.

        :raises NotFound: there is none.
        :raises Conflict: there are several, in different pools.
        """
        named = [
            machine
            for machine in self._by_key.values()
            if machine.machine_id == machine_id
            and pool in (None, machine.pool)
            and provider in (None, machine.provider)
        ]
        if not named:
            raise NotFound("machine", machine_id[:64], hint="appliance machine list")
        if len(named) > 1:
            places = ", ".join(f"pool {each.pool} of provider {each.provider}" for each in named)
            raise Conflict(f"machine {machine_id[:64]!r} exists more than once: {places}", hint="name its pool")
        return named[0]

    # ------------------------------------------------------------ changing

    async def create(self, pool: Pool, machine_id: str, credential_id: str, within: Within) -> Machine:
        """Note a machine that is to register within the hour; one that is there already stays as it is.

        :param within: what else belongs into the transaction.
        """
        key = (pool.provider, pool.name, machine_id)
        await self._make_room(key)
        now = self.clock()
        made = self._by_key.get(key) or Machine(
            provider=pool.provider,
            pool=pool.name,
            machine_id=machine_id,
            host_id=new_id("machine"),
            status=Status.PENDING,
            deadline_us=deadline(Status.PENDING, now),
            heard_us=now,
            created_unix_us=self.core.now(),
            credential_id=credential_id,
        )

        def write(connection: sqlite3.Connection) -> None:
            store.put(connection, made)
            within(connection)

        def follow(_: None) -> None:
            self._by_key.setdefault(key, made)

        await self.core.database.write(write, on_commit=follow)
        return self._by_key.get(key, made)

    async def register(self, said: Registration, credential_id: str, machines_max: int | None) -> Machine:
        """Store what a machine says of itself; it is registered from now on, whatever it was before.

        :param machines_max: how many machines its token serves.
        :raises Forbidden: the token serves as many as it may already.
        :raises TooLarge: no further machine can be held.
        """
        await self._make_room(said.key)
        before = self._by_key.get(said.key)
        if before is not None and before.is_local:
            raise Conflict("this is the machine that the appliance itself runs on", hint="give it another machine_id")
        now, wall = self.clock(), self.core.now()
        provider, pool, machine_id = said.key
        made = before or Machine(
            provider=provider,
            pool=pool,
            machine_id=machine_id,
            host_id=new_id("machine"),
            status=Status.REGISTERED,
            deadline_us=0,
            heard_us=now,
            created_unix_us=wall,
        )
        made = evolve(
            made,
            status=Status.REGISTERED,
            deadline_us=deadline(Status.REGISTERED, now),
            heard_us=now,
            hostname=said.hostname,
            cpu_millicores=said.cpu_millicores,
            memory_mib=said.memory_mib,
            gpu_count=said.gpu_count,
            private_ip=said.private_ip,
            registered_unix_us=wall,
            credential_id=credential_id,
            inference=None,
            listed=None,
            listed_head=None,
            reply_head=None,
        )

        def write(connection: sqlite3.Connection) -> str:
            if machines_max is not None and not store.use(connection, credential_id, said.key, machines_max):
                raise Forbidden("this token serves as many machines as it may")
            return store.put(connection, made)

        def follow(host_id: str) -> None:
            made.host_id = host_id  # that of whoever was first, when two register the same machine at once
            self._by_key[said.key] = made
            self.new_hosts.add(said.key)
            if before is not None:
                self._compare(before, made, now)

        with self._storing(said.key):
            await self.core.database.write(write, on_commit=follow)
        return made

    def beat(self, machine: Machine, beat: Beat) -> None:
        """Take a beat of a machine that is ready: in memory, on disk within five seconds."""
        self._follow(machine, beat, self.clock(), self.core.now())

    async def become_ready(self, machine: Machine, beat: Beat) -> Machine | None:
        """Take a beat that changes what a machine is; durable when it returns. ``None``: it is gone meanwhile."""
        now, wall, key = self.clock(), self.core.now(), machine.key
        made = evolve(machine)
        self._apply(made, beat, now, wall)
        values = store.beat_values(made)

        def follow(stored: bool) -> None:
            current = self._by_key.get(key)
            if stored and current is not None:
                self._follow(current, beat, now, wall)

        def write(connection: sqlite3.Connection) -> bool:
            return store.beaten(connection, [values])

        with self._storing(key):
            stored = await self.core.database.write(write, on_commit=follow)
        return self._by_key.get(key) if stored else None

    @contextmanager
    def _storing(self, key: Key) -> Iterator[None]:
        self._being_stored[key] += 1
        try:
            yield
        finally:
            self._being_stored[key] -= 1
            if not self._being_stored[key]:
                del self._being_stored[key]

    def _follow(self, machine: Machine, beat: Beat, now: int, wall: int) -> None:
        self._apply(machine, beat, now, wall)
        self.unwritten.add(machine.key)
        if beat.sender != machine.sender:
            self._sent_by_another(machine, beat.sender, now)

    def _apply(self, machine: Machine, beat: Beat, now: int, wall: int) -> None:
        machine.status = Status.READY
        machine.deadline_us = deadline(Status.READY, now)
        machine.heard_us = now
        machine.last_keepalive_unix_us = wall
        if beat.agent_version != machine.agent_version:
            machine.agent_version = beat.agent_version
            machine.reply_head = None
        metrics = beat.metrics
        machine.metrics = metrics
        if metrics is not None and metrics.worker_count > 0:
            machine.last_worker_unix_us = wall
        machine.inference = beat.inference
        machine.listed = None

    async def delete(self, machine: Machine, within: Within = _nothing) -> None:
        """Delete a machine with its history.

        :param within: what else belongs into the transaction.
        :raises Conflict: it is the host we run on.
        """
        if machine.is_local:
            raise Conflict("this is the machine that the appliance itself runs on", hint="cordon it to keep work away")
        key = machine.key

        def write(connection: sqlite3.Connection) -> None:
            store.delete(connection, key)
            within(connection)

        def gone(_: None) -> None:
            self._by_key.pop(key, None)
            self.unwritten.discard(key)
            self.new_hosts.discard(key)

        await self.core.database.write(write, on_commit=gone)

    def put_local(self, machine: Machine) -> None:
        """Take in the host we run on; it is not stored."""
        self._by_key[machine.key] = machine

    async def write_behind(self) -> int:
        """Store what beats have changed since the last time, some machines at a time; return of how many.

        The first of a run moves what the last run left to this run's clock, before anything else.
        """
        if not self._is_moved:
            await self._write_moved()
        # What is complete until now when the last of them is stored.
        now, waiting, written, count = self.clock(), list(self.unwritten), 0, 0
        self.unwritten = set()
        try:
            for start in range(0, max(len(waiting), 1), WRITTEN_AT_ONCE):
                keys = waiting[start : start + WRITTEN_AT_ONCE]
                is_last = start + WRITTEN_AT_ONCE >= len(waiting)
                count += await self._write_some(keys, now if is_last else None)
                written += len(keys)
        except BaseException:
            self.unwritten.update(waiting[written:])
            raise
        return count

    async def _write_some(self, keys: Sequence[Key], complete_until_us: int | None) -> int:
        values = []
        for key in keys:
            machine = self._by_key.get(key)
            if key in self._being_stored:
                # Memory still has what it was, and this would be written after what it becomes.
                self.unwritten.add(key)
            elif machine is not None and not machine.is_local:
                values.append(store.beat_values(machine))

        def write(connection: sqlite3.Connection) -> None:
            store.beaten(connection, values)
            if complete_until_us is not None:
                store.written(connection, complete_until_us)

        await self.core.database.write(write)
        return len(values)

    async def _write_moved(self) -> None:
        """Store every deadline by this run's clock, all or none: until then the disk is what the last run left."""
        now = self.clock()
        remote = [machine for machine in self._by_key.values() if not machine.is_local]
        deadlines = [(each.deadline_us, *each.key) for each in remote if each.key not in self._being_stored]
        self.unwritten.update(self._being_stored)

        def write(connection: sqlite3.Connection) -> None:
            store.put_deadlines(connection, deadlines)
            store.written(connection, now)

        await self.core.database.write(write)
        self._is_moved = True

    # ------------------------------------------------------------ what people should hear of

    def _compare(self, before: Machine, after: Machine, now: int) -> None:
        if before.gpu_count != after.gpu_count and before.registered_unix_us is not None:
            words = (
                f"{after.gpu_count} GPUs (was {before.gpu_count}) on machine {after.machine_id} in pool {after.pool}"
            )
            self._find("gpu_count_changed", after, words, was=before.gpu_count, now=after.gpu_count)
        is_alive = before.status is Status.READY and now - before.heard_us < LATE_SECONDS * US
        if is_alive and (before.hostname, before.private_ip) != (after.hostname, after.private_ip):
            words = (
                f"machine {after.machine_id} in pool {after.pool} was registered by {after.hostname} while"
                f" {before.hostname} still used that id"
            )
            self._find("two_agents", after, words, senders=[before.hostname, after.hostname])

    def _sent_by_another(self, machine: Machine, sender: tuple[str, str], now: int) -> None:
        is_turn = sender == machine.sender_before and now - machine.turned_us < TURNS_SECONDS * US
        machine.turns = machine.turns + 1 if is_turn else 0
        machine.sender_before, machine.sender, machine.turned_us = machine.sender, sender, now
        if machine.turns >= 2:
            machine.turns = 0
            senders = [" ".join(filter(None, each)) for each in (machine.sender_before or sender, sender)]
            words = f"two agents use the id {machine.machine_id} in pool {machine.pool}: {senders[0]} and {senders[1]}"
            self._find("two_agents", machine, words, senders=senders)

    def _find(self, kind: str, machine: Machine, words: str, **data: object) -> None:
        # Each is told on its own: whoever holds a token must not keep the watch from telling of other machines.
        if len(self.found) < FOUND_MAX and not any(
            each.kind == kind and each.machine.key == machine.key for each in self.found
        ):
            self.found.append(Found(kind=kind, machine=machine, words=words, data=data))

    async def _make_room(self, key: Key) -> None:
        """Forget the machine that has been expired for longest, where a new one finds no room.

        So whoever registers ids without end keeps others away for minutes, until those expire, and not for days.
        """
        if len(self._by_key) < self.most or key in self._by_key:
            return
        now = self.clock()
        expired = [machine for machine in self._by_key.values() if machine.state(now) is State.EXPIRED]
        if not expired:
            raise TooLarge(f"{self.most} machines are known already", hint="delete those that are gone")
        await self.forget(min(expired, key=lambda machine: machine.deadline_us))
