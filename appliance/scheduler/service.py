"""The scheduler as everybody uses it: submit, look, cancel, try again; and the service that places and sees through."""

import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

import trio
from attrs import evolve

from appliance.clock import Now
from appliance.database import Database
from appliance.engines import EngineStatus, TaskEngine
from appliance.errors import BadInput, Busy, Conflict, Forbidden
from appliance.events import EventBus
from appliance.inventory.store import Inventory
from appliance.jobs import Job, JobState
from appliance.ledger.store import Ledger
from appliance.scheduler import admission, dependencies, learned, pages, rows, store
from appliance.scheduler.attempts import AttemptLife
from appliance.scheduler.board import Board
from appliance.scheduler.bookings import Bookings
from appliance.scheduler.capacity import HostCapacity
from appliance.scheduler.desk import Desk
from appliance.scheduler.explain import Explanation, explain
from appliance.scheduler.fair_share import FairShare
from appliance.scheduler.hosts import LocalHost, Machine, this_machine
from appliance.scheduler.placing import Placer
from appliance.scheduler.quotas import refuse_submission
from appliance.scheduler.records import JobRecord
from appliance.scheduler.runtimes import Runtime, Runtimes
from appliance.scheduler.schedules import Schedule, Schedules
from appliance.scheduler.telling import CHANGED, Subjects, choice_of, how_it_is
from appliance.scheduler.upkeep import Upkeep
from appliance.settings import SchedulerSettings
from appliance.taskfiles import TaskFiles
from appliance.tasklogs import TaskLogs

CHANGES_BACKLOG: Final = 4096
PAGE_MAX: Final = 1000


class Scheduler:
    """Jobs of this appliance. Reads are from memory or the database; every change is durable before it shows.

    Works once `run` runs, with the engines that `use` gave it. Until then jobs wait.
    """

    name = "scheduler"

    def __init__(
        self,
        database: Database,
        *,
        events: EventBus,
        inventory: Inventory,
        ledger: Ledger,
        folder: Path,
        settings: Callable[[], SchedulerSettings],
        now: Now,
        host_id: str,
        machine: Callable[[], Machine] | None = None,
        monotonic: Callable[[], float] = trio.current_time,
    ) -> None:
        """Take over what is stored: all jobs that have not ended, and attempts that may still be at their engines.

        :param folder: where logs and files of jobs are kept.
        :param settings: those in force, asked for each time.
        :param machine: says what this host has; looks at it when not given.
        :param monotonic: seconds that never go back, for what lasts so many of them.
        """
        self._database, self._now, self._settings, self._events = database, now, settings, events
        self.logs = TaskLogs(folder, limit_bytes=lambda: settings().log_limit_bytes, now=now)
        """What jobs write."""
        self.files = TaskFiles(
            folder,
            limits=lambda: admission.output_limits(settings()),
            input_limits=lambda: admission.input_limits(settings()),
        )
        """What jobs are given and leave."""
        self._board = Board(
            state_of=lambda job_id: database.read_now(lambda read: store.state_of(read, job_id)),
            read=lambda job_id: database.read_now(lambda read: rows.record(read, job_id)),
        )
        self._desk = Desk(
            database=database,
            events=events,
            board=self._board,
            runtimes=Runtimes.restored(database.read_now(learned.runtimes)),
            used=FairShare.restored(database.read_now(learned.used)),
            now=now,
            ended=self.logs.changed,
        )
        self._engines: dict[str, TaskEngine] = {}
        look = machine or partial(this_machine, folder)
        self._host = LocalHost(host_id, inventory, ledger, settings, look, monotonic)
        bookings = Bookings(ledger, self._desk)
        life = AttemptLife(
            desk=self._desk,
            bookings=bookings,
            engine=self._engines.get,
            logs=self.logs,
            files=self.files,
            settings=settings,
        )
        self.schedules = Schedules(database=database, now=now, make=self._make_scheduled)
        """Jobs that come again by the clock."""
        self._placer = Placer(
            desk=self._desk,
            life=life,
            upkeep=Upkeep(
                desk=self._desk,
                bookings=bookings,
                inventory=inventory,
                engines=self._engines,
                schedules=self.schedules,
                settings=settings,
                forget=self.forget,
                monotonic=monotonic,
            ),
            hosts=self.hosts,
            settings=settings,
        )
        self._admitting: Counter[str] = Counter()
        self._last_id_ns = 0
        database.read_now(self._restore)
        inventory.watch(self._desk.wake)
        ledger.watch(self._desk.wake)

    def use(
        self,
        engines: Sequence[TaskEngine],
        *,
        gpu_utilization: Callable[[str], float | None] = lambda gpu_id: None,
    ) -> None:
        """Give it its engines, in order of preference, before `run`.

        :param gpu_utilization: returns how busy a GPU is, in percent; ``None`` where nobody knows.
        """
        self._engines.update({engine.name: engine for engine in engines})
        self._placer.upkeep.gpu_utilization = gpu_utilization

    def engine_with(self, image: str) -> str:
        """Return the first engine that alone has an image and is not absent here; empty when none does."""
        owners = (each for each in self._engines.values() if each.status.state != "absent" and each.owns_image(image))
        return next((each.name for each in owners), "")

    # ------------------------------------------------------------ jobs

    def new_job_id(self) -> str:
        """Return an id that no job has: ``task-`` and a number that rises with time."""
        self._last_id_ns = max(self._last_id_ns + 1, self._now() * 1000)
        return f"task-{self._last_id_ns}"

    async def submit(self, jobs: Sequence[Job], *, who: str, hold: bool = False, retry_of: str = "") -> list[JobRecord]:
        """Take jobs, all or none; one that is there already with the same content is answered as it is.

        A job may depend on jobs that are there and on those before it in ``jobs``.

        :param who: name of who submits them.
        :param hold: let them wait for `release`, so that inputs can be given to them.
        :param retry_of: the ended job that the first of them tries again.
        :raises BadInput: a job is none, or depends on one that is not there.
        :raises Conflict: there is another job of that id; or ``retry_of`` has not ended.
        :raises Forbidden: the configuration or the owner's limits do not allow it.
        :raises Busy: too many jobs wait.
        """
        admission.check_count(jobs)
        settings = self._settings()
        for job in jobs:
            admission.check(job, settings)
        self._check_limits(jobs, settings)
        at, by_owner = self._now(), _by_owner(jobs)
        new = [self._new(job, who, at, hold) for job in jobs]

        def before(connection: sqlite3.Connection) -> None:
            refusal = dependencies.refuse(jobs, lambda job_id: store.exists(connection, job_id))
            if refusal is not None:
                raise BadInput(refusal, field="dependencies")
            if retry_of:
                store.link_retry(connection, retry_of, jobs[0].job_id)

        self._admitting.update(by_owner)
        try:
            made = await self._desk.submit(new, who=who, before=before)
        finally:
            self._admitting -= by_owner
        return list(made.records)

    async def release(self, job_id: str) -> JobRecord:
        """Let a job that was submitted with ``hold`` go on; nothing happens when it does already.

        :raises NotFound: there is no such job.
        """
        return await self._desk.release(job_id)

    async def cancel(self, job_id: str, *, who: str) -> JobRecord:
        """Cancel a job: at once where it waits, else its attempt is asked to end and its state is ``stopping``.

        :raises NotFound: there is no such job.
        :raises Conflict: it has ended.
        """
        return await self._desk.cancel(job_id, f"cancelled by {who}" if who else "cancelled")

    async def retry(self, job_id: str, *, owner: str, who: str) -> JobRecord:
        """Submit an ended job again as a new one, with its inputs; each names the other. It waits for no other job.

        :raises NotFound: there is no such job.
        :raises Conflict: it has not ended.
        """
        before = self.get(job_id)
        if not before.state.is_final:
            raise Conflict(f"task {job_id!r} is {before.state}, only an ended one can be tried again")
        again = evolve(
            before.job,
            job_id=self.new_job_id(),
            owner=owner,
            retry_of=job_id,
            dependencies=(),
            not_before_unix_us=0,
            array_id="",
            array_index=None,
            array_running_max=0,
            schedule_id="",
        )
        async with self.files.shared_inputs(job_id, again.job_id):
            [made] = await self.submit([again], who=who, retry_of=job_id)
        return made

    async def forget(self, job_id: str) -> None:
        """Delete an ended job with its log and files.

        :raises NotFound: there is no such job.
        :raises Conflict: it has not ended, or is still being cleaned up.
        """
        await self._database.write(lambda connection: store.forget(connection, job_id))
        await self.logs.remove(job_id)
        await self.files.forget(job_id)
        self._events.announce(CHANGED, {"state": "forgotten"}, subject=job_id)

    def get(self, job_id: str) -> JobRecord:
        """Return a job as it stands; raise `NotFound`."""
        active = self._board.of_job(job_id)
        if active is not None and not active.record.state.is_final:
            return active.record
        return self._database.read_now(lambda connection: store.needed(connection, job_id))

    def progress(self, job_id: str) -> str:
        """Return what is being done to start a job, in words; empty when nothing is."""
        active = self._board.of_job(job_id)
        return active.progress if active is not None and active.record.state == JobState.STARTING else ""

    async def page(
        self,
        *,
        states: Sequence[JobState] | None = None,
        owner: str | None = None,
        tag: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[JobRecord]:
        """Return jobs, newest first, at most 1,000.

        :param states: of these only.
        :param owner: of this one only.
        :param tag: with this tag only.
        :param before: those with a smaller `JobRecord.number` only: the one of the last on the page before.
        """
        limit = max(1, min(limit, PAGE_MAX))
        found = partial(pages.page, states=states, owner=owner, tag=tag, before=before, limit=limit)
        return await self._database.read(found)

    async def tally(self, *, owner: str | None = None) -> dict[JobState, int]:
        """Return how many jobs are in each state, ended ones too, of one owner or of all."""
        return await self._database.read(partial(pages.tally, owner=owner))

    @contextmanager
    def changes(self) -> Iterator[AsyncIterator[str]]:
        """Subscribe to the ids of jobs about which anything is new, as `Events.subscribe` does; ends with `Lagged`."""
        with self._events.subscribe(CHANGED, backlog=CHANGES_BACKLOG) as events:
            yield Subjects(events)

    # ------------------------------------------------------------ looking

    @property
    def settings(self) -> SchedulerSettings:
        """The settings in force."""
        return self._settings()

    def counts(self) -> Mapping[JobState, int]:
        """Return how many jobs are in each state that is not final."""
        return self._board.counts()

    def hosts(self) -> list[HostCapacity]:
        """Return what every host has, and what is held of it."""
        held = self._board.holdings.on(self._host.host_id)
        return [self._host.capacity(self.engines(), held, self._board.active.values())]

    def engines(self) -> list[EngineStatus]:
        """Return how every engine is doing, in order of preference."""
        return [engine.status for engine in self._engines.values()]

    def running_on(self, host_id: str) -> list[JobRecord]:
        """Return the jobs that hold something of a host, oldest attempt first."""
        found = [one for one in self._board.active.values() if one.record.state.holds_resources]
        return [one.record for one in found if one.attempt.placement.host_id == host_id]

    def why(self, job_id: str) -> Explanation:
        """Return why a job does not run yet, or how it is.

        :raises NotFound: there is no such job.
        """
        record = self.get(job_id)
        if record.state != JobState.PENDING:
            return Explanation(code=record.state.value, sentence=how_it_is(record, self.progress(job_id)))
        if self._board.is_held(job_id):
            return Explanation(code="held", sentence="It waits to be released: its inputs are still being given.")
        missing = self._board.dependencies.missing(job_id)
        if missing:
            names = ", ".join(f"{one.job_id} ({one.kind})" for one in missing)
            return Explanation(code="dependency", sentence=f"It waits for other tasks: {names}.")
        if job_id not in self._board.queue:
            return Explanation(code="order", sentence="It is about to be looked at.")
        settings, at = self._settings(), self._now()
        return explain(
            job_id,
            self._board.queue,
            self._board.occupied(preemption=settings.preemption),
            self.hosts(),
            used=self._desk.used.now(at),
            quotas=admission.quotas_of(settings),
            now_unix_us=at,
            last=self._placer.last,
        )

    def runtimes(self) -> list[Runtime]:
        """Return what was learned of runtimes, the newest first."""
        return self._desk.runtimes.rows()

    def prometheus(self) -> str:
        """Return the section of ``/metrics``."""
        return self._desk.figures.prometheus(self.counts())

    @property
    def choice(self) -> str:
        """Which engine takes tasks that name none, and why, in words."""
        return choice_of(self.engines(), allow_unsafe=self._settings().unsafe_same_uid)

    @property
    def problem(self) -> str | None:
        """Why no task can start here though some wait, in words; ``None`` when all is well."""
        if self._placer.problem:
            return self._placer.problem
        if self._board.pending_count and all(one.state != "ok" for one in self.engines()):
            said = "; ".join(f"{one.name}: {one.message}" for one in self.engines()) or "there is no engine"
            return f"tasks wait and no engine can run them ({said})"
        return None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Place jobs and see attempts through until cancelled; what runs then goes on, and is taken up again."""
        await self._placer.run(task_status=task_status)

    # ------------------------------------------------------------ inside

    async def _make_scheduled(self, schedule: Schedule) -> str:
        job_id = f"{schedule.schedule_id}-{schedule.next_at_unix_us // 1_000_000}"
        job = evolve(schedule.job, job_id=job_id, schedule_id=schedule.schedule_id)
        [made] = await self.submit([job], who=f"schedule {schedule.name or schedule.schedule_id}")
        return made.job_id

    def _restore(self, connection: sqlite3.Connection) -> None:
        ended = (record for record in store.unclosed(connection) if record.state.is_final)
        self._board.restore(chain(ended, store.live(connection)), rows.open_attempts(connection))

    def _new(self, job: Job, who: str, at_unix_us: int, hold: bool) -> store.NewJob:
        expected = self._desk.runtimes.expected(job)
        return store.NewJob(
            job=job,
            submitted_by=who[:200],
            submitted_at_unix_us=at_unix_us,
            deadline_unix_us=expected.deadline_unix_us(job, submitted_at_unix_us=at_unix_us),
            expected_seconds=expected.end_after_seconds(job),
            is_held=hold,
        )

    def _check_limits(self, jobs: Sequence[Job], settings: SchedulerSettings) -> None:
        waiting = self._board.pending_count + sum(self._admitting.values())
        if waiting + len(jobs) > settings.pending_max:
            raise Busy(f"{waiting} tasks wait already", hint="try again when some have run: [scheduler] pending_max")
        quotas = admission.quotas_of(settings)
        for owner in _by_owner(jobs):
            pending = self._board.pending_of(owner) + self._admitting[owner]
            added = [job.needs for job in jobs if job.owner == owner]
            refusal = refuse_submission(quotas.of(owner), pending=pending, added=added)
            if refusal is not None:
                raise Forbidden(refusal, hint="[scheduler.everyone] pending_max")


def _by_owner(jobs: Sequence[Job]) -> Counter[str]:
    return Counter(job.owner for job in jobs)
