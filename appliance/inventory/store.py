"""The inventory: read from memory, written through to the database when something changes."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
from attrs import evolve

from appliance.database import Database
from appliance.devices import Gpu
from appliance.errors import Conflict, NotFound, TooLarge
from appliance.inventory.models import KnownGpu, KnownHost, Mark, MarkKind
from appliance.inventory.rules import check_id, gpu_changes, host_with_gpus, why_no_new_work
from appliance.migrations import Migration

OWNER: Final = "inventory"
TEXT_MAX_CHARS: Final = 400
HOSTS_MAX: Final = 25_000

MIGRATIONS: Final = (
    Migration(
        version=1,
        name="hosts, GPUs, aliases, marks",
        sql="""
CREATE TABLE inventory_host (
    host_id TEXT PRIMARY KEY,
    hostname TEXT NOT NULL,
    first_seen_unix_us INTEGER NOT NULL,
    last_seen_unix_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE inventory_gpu (
    gpu_id TEXT PRIMARY KEY,
    host_id TEXT NOT NULL REFERENCES inventory_host (host_id) ON DELETE CASCADE,
    present INTEGER NOT NULL,
    first_seen_unix_us INTEGER NOT NULL,
    changed_at_unix_us INTEGER NOT NULL,
    facts TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX inventory_gpu_by_host ON inventory_gpu (host_id);
CREATE TABLE inventory_alias (
    surface TEXT NOT NULL,
    foreign_id TEXT NOT NULL,
    host_id TEXT NOT NULL REFERENCES inventory_host (host_id) ON DELETE CASCADE,
    PRIMARY KEY (surface, foreign_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX inventory_alias_by_host ON inventory_alias (host_id);
CREATE TABLE inventory_mark (
    subject_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    who TEXT NOT NULL,
    set_at_unix_us INTEGER NOT NULL,
    PRIMARY KEY (subject_id, kind)
) STRICT, WITHOUT ROWID;
""",
    ),
)

_PUT_HOST = """
INSERT INTO inventory_host (host_id, hostname, first_seen_unix_us, last_seen_unix_us)
VALUES (:host_id, :hostname, :first_seen_unix_us, :last_seen_unix_us)
ON CONFLICT (host_id) DO UPDATE SET hostname = excluded.hostname, last_seen_unix_us = excluded.last_seen_unix_us"""
_PUT_GPU = """
INSERT INTO inventory_gpu (gpu_id, host_id, present, first_seen_unix_us, changed_at_unix_us, facts)
VALUES (:gpu_id, :host_id, :present, :first_seen_unix_us, :changed_at_unix_us, :facts)
ON CONFLICT (gpu_id) DO UPDATE SET host_id = excluded.host_id, present = excluded.present,
    changed_at_unix_us = excluded.changed_at_unix_us, facts = excluded.facts"""
_SEEN = "UPDATE inventory_host SET last_seen_unix_us = :at_unix_us WHERE host_id = :host_id"
_PUT_ALIAS = """
INSERT INTO inventory_alias (surface, foreign_id, host_id) VALUES (:surface, :foreign_id, :host_id)
ON CONFLICT (surface, foreign_id) DO UPDATE SET host_id = excluded.host_id"""
_PUT_MARK = """
INSERT INTO inventory_mark (subject_id, kind, reason, who, set_at_unix_us)
VALUES (:subject_id, :kind, :reason, :who, :set_at_unix_us)
ON CONFLICT (subject_id, kind) DO UPDATE SET reason = excluded.reason, who = excluded.who,
    set_at_unix_us = excluded.set_at_unix_us"""
_DROP_MARK = "DELETE FROM inventory_mark WHERE subject_id = :subject_id AND kind = :kind"
_DROP_MARKS = """
DELETE FROM inventory_mark WHERE subject_id = :host_id
    OR subject_id IN (SELECT gpu_id FROM inventory_gpu WHERE host_id = :host_id)"""
_DROP_HOST = "DELETE FROM inventory_host WHERE host_id = :host_id"
_HOSTS = "SELECT host_id, hostname, first_seen_unix_us, last_seen_unix_us FROM inventory_host ORDER BY host_id"
_GPUS = "SELECT facts, host_id, present, first_seen_unix_us, changed_at_unix_us FROM inventory_gpu ORDER BY gpu_id"
_ALIASES = "SELECT surface, foreign_id, host_id FROM inventory_alias ORDER BY surface, foreign_id"
_MARKS = "SELECT subject_id, kind, reason, who, set_at_unix_us FROM inventory_mark ORDER BY set_at_unix_us"


class Inventory:
    """Hosts and GPUs by uuid, with the surfaces that know them and their marks.

    Everything is read from memory, at once; changes are durable before they show. ``local_host_id`` is the host we run
    on: what its own drivers report overrides what anybody else has claimed.
    """

    def __init__(self, database: Database, *, local_host_id: str = "") -> None:
        self._database = database
        self._local_host_id = local_host_id
        self._unwritten: dict[str, int] = {}
        self._hosts: dict[str, KnownHost] = {}
        self._gpus: dict[str, KnownGpu] = {}
        self._aliases: dict[tuple[str, str], str] = {}
        self._watchers: list[Callable[[], None]] = []
        database.read_now(self._load)

    def watch(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` whenever GPUs come, go or change, or marks do; it must not block or raise."""
        self._watchers.append(tell)

    def hosts(self) -> list[KnownHost]:
        """Return every known host, ordered by id."""
        return [self._hosts[host_id] for host_id in sorted(self._hosts)]

    def host(self, host_id: str) -> KnownHost:
        """Return a host; raise `NotFound`."""
        try:
            return self._hosts[host_id]
        except KeyError:
            raise NotFound("host", host_id) from None

    def gpus(self, host_id: str | None = None) -> list[KnownGpu]:
        """Return every known GPU, or those of one host, in the driver's order; MIG instances follow their GPU."""
        found = [gpu for gpu in self._gpus.values() if host_id is None or gpu.host_id == host_id]
        return sorted(found, key=lambda gpu: (gpu.host_id, gpu.gpu.index, gpu.gpu.parent_gpu_id or "", gpu.gpu_id))

    def gpu(self, gpu_id: str) -> KnownGpu:
        """Return a GPU; raise `NotFound`."""
        try:
            return self._gpus[gpu_id]
        except KeyError:
            raise NotFound("gpu", gpu_id) from None

    def why_no_new_work(self, gpu_id: str) -> str | None:
        """Return in words why a GPU takes no new work, ``None`` when it does."""
        return why_no_new_work(self.gpu(gpu_id), self._gpus, self._hosts)

    def host_of(self, surface: str, foreign_id: str) -> str | None:
        """Return the host that ``surface`` knows as ``foreign_id``, if it is linked to one."""
        return self._aliases.get((surface, foreign_id))

    def host_with_gpus(self, gpu_ids: Iterable[str]) -> str | None:
        """Return the host that has exactly these GPUs, if there is one: then it is the same host."""
        return host_with_gpus(gpu_ids, self._gpus.values())

    async def saw_host(self, host_id: str, *, hostname: str, at_unix_us: int) -> KnownHost:
        """Note that a host is there; writes only when it is new or its name has changed.

        :param at_unix_us: by our own clock, never by the host's.
        """
        check_id("host_id", host_id)
        before = self._hosts.get(host_id)
        hostname = hostname[:TEXT_MAX_CHARS]
        if before is not None and before.hostname == hostname:
            self.saw(host_id, at_unix_us=at_unix_us)
            return self._hosts[host_id]
        if before is None and len(self._hosts) >= HOSTS_MAX:
            raise TooLarge(f"the inventory holds {HOSTS_MAX} hosts", hint="remove those that are gone")
        values = {
            "host_id": host_id,
            "hostname": hostname,
            "first_seen_unix_us": at_unix_us,
            "last_seen_unix_us": at_unix_us,
        }
        await self._database.write(
            lambda write: write.execute(_PUT_HOST, values).rowcount,
            on_commit=lambda _: self._put_host(host_id, hostname, at_unix_us),
        )
        return self.host(host_id)

    def saw(self, host_id: str, *, at_unix_us: int) -> None:
        """Note in memory that a known host was heard of; `LivenessWriter` writes it within 5 s."""
        host = self.host(host_id)
        if at_unix_us > host.last_seen_unix_us:
            self._hosts[host_id] = evolve(host, last_seen_unix_us=at_unix_us)
            self._unwritten[host_id] = at_unix_us

    async def saw_gpus(self, host_id: str, gpus: Sequence[Gpu], *, at_unix_us: int) -> frozenset[str]:
        """Note which GPUs a known host has now, all of them; writes only what changed.

        :return: ids that were not taken over, since another host that is alive reports them.
        """
        self.saw(host_id, at_unix_us=at_unix_us)
        authoritative = host_id == self._local_host_id
        changes = gpu_changes(
            host_id, gpus, self._gpus, self._hosts, at_unix_us=at_unix_us, authoritative=authoritative
        )
        if changes.changed:
            rows = [_row(gpu) for gpu in changes.changed]
            await self._write_about(
                host_id,
                lambda write: write.executemany(_PUT_GPU, rows).rowcount,
                lambda _: self._put_gpus(changes.changed),
            )
        return changes.refused

    async def link(self, surface: str, foreign_id: str, host_id: str) -> None:
        """Say that ``surface`` knows a host as ``foreign_id``; a later link replaces an earlier one."""
        check_id("surface", surface)
        check_id("foreign_id", foreign_id)
        self.host(host_id)
        key = (surface, foreign_id)
        if self._aliases.get(key) == host_id:
            return
        values = {"surface": surface, "foreign_id": foreign_id, "host_id": host_id}
        await self._write_about(
            host_id, lambda write: write.execute(_PUT_ALIAS, values).rowcount, lambda _: self._link(key, host_id)
        )

    async def set_mark(self, subject_id: str, kind: MarkKind, *, reason: str, who: str, at_unix_us: int) -> None:
        """Mark a host or GPU; setting a mark again replaces its reason."""
        self._subject(subject_id)
        mark = Mark(kind=kind, reason=reason[:TEXT_MAX_CHARS], who=who[:TEXT_MAX_CHARS], set_at_unix_us=at_unix_us)
        values = {
            "subject_id": subject_id,
            "kind": kind.value,
            "reason": mark.reason,
            "who": mark.who,
            "set_at_unix_us": at_unix_us,
        }
        await self._database.write(
            lambda write: write.execute(_PUT_MARK, values).rowcount,
            on_commit=lambda _: self._mark(subject_id, kind, mark),
        )

    async def clear_mark(self, subject_id: str, kind: MarkKind) -> None:
        """Remove a mark; nothing happens when it is not set."""
        if any(mark.kind == kind for mark in self._subject(subject_id).marks):
            values = {"subject_id": subject_id, "kind": kind.value}
            await self._database.write(
                lambda write: write.execute(_DROP_MARK, values).rowcount,
                on_commit=lambda _: self._mark(subject_id, kind, None),
            )

    async def forget(self, host_id: str) -> None:
        """Remove a host with its GPUs, links and marks; raise `Conflict` for the host we run on."""
        self.host(host_id)
        if host_id == self._local_host_id:
            raise Conflict("this is the host the appliance runs on")

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(_DROP_MARKS, {"host_id": host_id})
            connection.execute(_DROP_HOST, {"host_id": host_id})

        await self._database.write(write, on_commit=lambda _: self._drop(host_id))

    async def write_liveness(self) -> None:
        """Write what `saw` has noted since the last time."""
        batch, self._unwritten = self._unwritten, {}
        if not batch:
            return
        rows = [{"host_id": host_id, "at_unix_us": at_unix_us} for host_id, at_unix_us in batch.items()]
        try:
            await self._database.write(lambda write: write.executemany(_SEEN, rows).rowcount)
        except BaseException:
            self._unwritten = batch | self._unwritten
            raise

    async def _write_about(
        self, host_id: str, write: Callable[[sqlite3.Connection], int], on_commit: Callable[[int], None]
    ) -> None:
        try:
            await self._database.write(write, on_commit=on_commit)
        except sqlite3.IntegrityError:
            raise NotFound("host", host_id, hint="it was removed just now") from None

    def _subject(self, subject_id: str) -> KnownHost | KnownGpu:
        found = self._hosts.get(subject_id) or self._gpus.get(subject_id)
        if found is None:
            raise NotFound("host or GPU", subject_id)
        return found

    def _put_host(self, host_id: str, hostname: str, at_unix_us: int) -> None:
        before = self._hosts.get(host_id)
        self._hosts[host_id] = (
            evolve(before, hostname=hostname, last_seen_unix_us=max(before.last_seen_unix_us, at_unix_us))
            if before is not None
            else KnownHost(
                host_id=host_id, hostname=hostname, first_seen_unix_us=at_unix_us, last_seen_unix_us=at_unix_us
            )
        )

    def _put_gpus(self, gpus: Sequence[KnownGpu]) -> None:
        for gpu in gpus:
            before = self._gpus.get(gpu.gpu_id)
            self._gpus[gpu.gpu_id] = gpu if before is None else evolve(gpu, marks=before.marks)
        self._tell()

    def _link(self, key: tuple[str, str], host_id: str) -> None:
        before = self._hosts.get(self._aliases.get(key, ""))
        if before is not None:
            kept = tuple(alias for alias in before.aliases if alias != key)
            self._hosts[before.host_id] = evolve(before, aliases=kept)
        self._aliases[key] = host_id
        host = self._hosts.get(host_id)
        if host is not None:
            self._hosts[host_id] = evolve(host, aliases=tuple(sorted({*host.aliases, key})))

    def _mark(self, subject_id: str, kind: MarkKind, mark: Mark | None) -> None:
        def marked(before: tuple[Mark, ...]) -> tuple[Mark, ...]:
            kept = tuple(other for other in before if other.kind != kind)
            return kept if mark is None else (*kept, mark)

        if subject_id in self._hosts:
            host = self._hosts[subject_id]
            self._hosts[subject_id] = evolve(host, marks=marked(host.marks))
        if subject_id in self._gpus:
            gpu = self._gpus[subject_id]
            self._gpus[subject_id] = evolve(gpu, marks=marked(gpu.marks))
        self._tell()

    def _tell(self) -> None:
        for tell in self._watchers:
            tell()

    def _drop(self, host_id: str) -> None:
        host = self._hosts.pop(host_id, None)
        self._unwritten.pop(host_id, None)
        self._gpus = {gpu_id: gpu for gpu_id, gpu in self._gpus.items() if gpu.host_id != host_id}
        for alias in () if host is None else host.aliases:
            self._aliases.pop(alias, None)
        self._tell()

    def _load(self, connection: sqlite3.Connection) -> None:
        marks: dict[str, tuple[Mark, ...]] = {}
        for subject_id, kind, reason, who, set_at in connection.execute(_MARKS):
            mark = Mark(kind=MarkKind(kind), reason=reason, who=who, set_at_unix_us=set_at)
            marks[subject_id] = (*marks.get(subject_id, ()), mark)
        aliases: dict[str, tuple[tuple[str, str], ...]] = {}
        for surface, foreign_id, host_id in connection.execute(_ALIASES):  # in order, as a host has them
            self._aliases[surface, foreign_id] = host_id
            aliases[host_id] = (*aliases.get(host_id, ()), (surface, foreign_id))
        for host_id, hostname, first, last in connection.execute(_HOSTS):
            self._hosts[host_id] = KnownHost(
                host_id=host_id,
                hostname=hostname,
                first_seen_unix_us=first,
                last_seen_unix_us=last,
                marks=marks.get(host_id, ()),
                aliases=aliases.get(host_id, ()),
            )
        for facts, host_id, present, first, changed in connection.execute(_GPUS):
            gpu = msgspec.json.decode(facts, type=Gpu)
            self._gpus[gpu.gpu_id] = KnownGpu(
                gpu=gpu,
                host_id=host_id,
                present=bool(present),
                first_seen_unix_us=first,
                changed_at_unix_us=changed,
                marks=marks.get(gpu.gpu_id, ()),
            )


def _row(gpu: KnownGpu) -> dict[str, Any]:
    return {
        "gpu_id": gpu.gpu_id,
        "host_id": gpu.host_id,
        "present": gpu.present,
        "first_seen_unix_us": gpu.first_seen_unix_us,
        "changed_at_unix_us": gpu.changed_at_unix_us,
        "facts": msgspec.json.encode(gpu.gpu).decode(),
    }
