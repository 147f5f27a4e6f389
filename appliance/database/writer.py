"""The one writer: a thread that groups callers' writes into transactions and wakes each after its commit.

How a group runs, cheapest way first:

1. all writes in one transaction, nothing between them;
2. if any of them failed, again with a savepoint each: the guilty ones fail alone;
3. if an error has ended the transaction (disk full, input/output, memory: savepoints do not survive it) or the commit
   failed, again with a transaction each.

So a write function may run up to three times, and must touch nothing but its connection.
"""

import math
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import outcome
import structlog
import trio
from attrs import define

from appliance.database.failures import is_storage_error
from appliance.errors import Busy, StorageFailed

GROUP_MAX = 256
PENDING_MAX = 4096
PATIENT_MAX = 16
"""So many writes are a group worth a commit: none of them waits for more, however patient."""

log = structlog.get_logger(__name__)


@define(eq=False)
class Job:
    """One caller's write, from its call to its answer."""

    fn: Callable[[sqlite3.Connection], Any]
    on_commit: Callable[[Any], None] | None = None
    alone: bool = False
    """Runs outside any transaction, with nothing else in the writer."""
    task: trio.lowlevel.Task | None = None
    patience_seconds: float = 0.0
    """How long it may wait for others to share its commit."""
    unattended: bool = False
    """Nobody waits for it: what goes wrong is logged."""
    dropped: bool = False
    """Its caller was cancelled before the writer took it: it never runs."""
    result: outcome.Outcome[Any] | None = None
    """Set by whoever runs it; stays ``None`` for one that never runs."""

    def finish(self) -> None:
        """Tell the caller, in the trio thread; ``on_commit`` runs also for a caller that has gone."""
        if self.on_commit is not None and isinstance(self.result, outcome.Value):
            try:
                self.on_commit(self.result.value)
            except Exception as error:
                # What is committed stays committed: the failure is the caller's, who handed us this function.
                if self.task is None and not self.unattended:
                    log.exception("database.on_commit_failed")
                self.result = outcome.Error(error)
        if self.unattended and isinstance(self.result, outcome.Error):
            log.error("database.write_failed", problem=str(self.result.error))
        if self.task is not None and self.result is not None:
            task, self.task = self.task, None
            trio.lowlevel.reschedule(task, self.result)


class Transactions:
    """Runs groups of jobs on the write connection, in whichever thread calls."""

    def __init__(self, connection: sqlite3.Connection, translate: Callable[[BaseException], BaseException]) -> None:
        self.connection = connection
        self.problem: str | None = None
        """Why the last commit failed, in plain words; ``None`` once one has succeeded since."""
        self.commits = 0
        self.rollbacks = 0
        """How often work has been undone: what a write function did may then never have happened."""
        self._translate = translate
        self._is_guarded = False
        connection.set_authorizer(self._judge)

    def run(self, jobs: Sequence[Job]) -> None:
        """Run jobs in order and set the result of each; after it, what is said to be done is on disk."""
        group: list[Job] = []
        for job in jobs:
            if job.alone:
                self._run_group(group)
                group = []
                self._run_alone(job)
            else:
                group.append(job)
        self._run_group(group)

    def _run_group(self, group: list[Job]) -> None:
        if not group:
            return
        try:
            self._begin()
        except BaseException as error:  # nobody can write now, and each of them waiting for the lock would take long
            for job in group:
                job.result = self._failed(error)
            return
        if len(group) == 1:
            self._by_itself(group[0])
        elif not (self._in_one(group) or self._with_savepoints(group)):
            for job in group:
                self._by_itself(job)

    def _in_one(self, group: list[Job]) -> bool:
        try:
            for job in group:
                job.result = outcome.Value(self._call(job))
            self._commit()
        except BaseException:  # whatever a write function raises, a later stage finds out whose it is
            self._roll_back()
            return False
        return True

    def _with_savepoints(self, group: list[Job]) -> bool:
        try:
            self._begin()
            for job in group:
                self.connection.execute("SAVEPOINT caller")
                try:
                    job.result = outcome.Value(self._call(job))
                except BaseException as error:
                    job.result = self._failed(error)
                    if not self.connection.in_transaction or is_storage_error(error):
                        self._roll_back()
                        return False
                    self.rollbacks += 1
                    self.connection.execute("ROLLBACK TO caller")
                self.connection.execute("RELEASE caller")
            self._commit()
        except sqlite3.Error:
            self._roll_back()
            return False
        return True

    def _by_itself(self, job: Job) -> None:
        try:
            if not self.connection.in_transaction:
                self._begin()
            value = self._call(job)
            self._commit()
        except BaseException as error:
            self._roll_back()
            job.result = self._failed(error)
        else:
            job.result = outcome.Value(value)

    def _run_alone(self, job: Job) -> None:
        try:
            job.result = outcome.Value(job.fn(self.connection))
        except BaseException as error:
            job.result = self._failed(error)
        self._roll_back()
        self.connection.set_authorizer(self._judge)  # a migration sets its own

    def _call(self, job: Job) -> Any:
        self._is_guarded = True
        try:
            return job.fn(self.connection)
        finally:
            self._is_guarded = False

    def _judge(self, action: int, *_: str | None) -> int:
        # A write that committed would make its neighbours' work durable, which is then done again.
        denied = self._is_guarded and action == sqlite3.SQLITE_TRANSACTION
        return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK

    # The comments keep these apart from the same words of a write function: a statement of ours that SQLite has
    # prepared before is not judged again.

    def _begin(self) -> None:
        self.connection.execute("BEGIN IMMEDIATE -- writer")

    def _commit(self) -> None:
        self.connection.execute("COMMIT -- writer")
        self.commits += 1
        self.problem = None

    def _roll_back(self) -> None:
        self.rollbacks += 1  # also where an error has ended the transaction already
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK -- writer")

    def _failed(self, error: BaseException) -> outcome.Error:
        told = self._translate(error)
        if is_storage_error(error):
            self.problem = str(told)
        if told is not error:
            told.__cause__ = error
        return outcome.Error(told)


class Writer:
    """The thread, its bounded queue, and the way back into trio."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._queue: queue.SimpleQueue[list[Job] | None] = queue.SimpleQueue()
        self._pending = 0  # only the trio thread touches it
        self._closing = False
        self._died: str | None = None
        # What follows is the trio thread's alone.
        self._gathered: list[Job] = []
        self._flush_at = math.inf  # by trio's clock, when the first of them must wait no more
        self._waiting: trio.lowlevel.Task | None = None
        self._token = trio.lowlevel.current_trio_token()
        trio.lowlevel.spawn_system_task(self._gather, name="database-gatherer")
        self._thread = threading.Thread(target=self._live, name="database-writer", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str | None:
        """Why writes fail now, or ``None``."""
        return self._died or self._transactions.problem

    @property
    def is_working(self) -> bool:
        """Whether the thread is still there, and with it the use of the connection."""
        return self._thread.is_alive()

    async def submit(self, job: Job) -> Any:
        """Run ``job`` with the next group; return its value when that is durable."""
        await trio.lowlevel.checkpoint_if_cancelled()
        job.task = trio.lowlevel.current_task()
        self.submit_soon(job)

        def abort(_: Any) -> trio.lowlevel.Abort:
            job.dropped = True  # only read before the job is taken; later it runs to its end without us
            job.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        return await trio.lowlevel.wait_task_rescheduled(abort)

    def submit_soon(self, job: Job) -> None:
        """Queue ``job``; raise when it cannot be."""
        if self._died is not None:
            raise StorageFailed(self._died, hint="restart the appliance")
        if self._closing:
            raise Busy("the database is closing")
        if self._pending >= PENDING_MAX:
            raise Busy(f"{PENDING_MAX} writes are waiting for the disk", hint="try again in a moment")
        self._pending += 1
        self._gathered.append(job)
        flush_at = trio.current_time() + job.patience_seconds
        if flush_at < self._flush_at or len(self._gathered) >= PATIENT_MAX:
            self._flush_at = min(flush_at, self._flush_at)
            self._wake_gatherer()

    def _wake_gatherer(self) -> None:
        if self._waiting is not None:
            task, self._waiting = self._waiting, None
            trio.lowlevel.reschedule(task)

    async def _gather(self) -> None:
        """Hand over all that the tasks of one pass of the loop submit, as one group; patient ones with a later one.

        Handed over one by one, the first of them would be committed alone, and the others would wait for its commit.
        """
        while not self._closing:
            if trio.current_time() >= self._flush_at or len(self._gathered) >= PATIENT_MAX:
                self._flush()
                continue
            with trio.CancelScope(deadline=self._flush_at):
                self._waiting = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._not_waiting)

    def _not_waiting(self, _: Any) -> trio.lowlevel.Abort:
        self._waiting = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _flush(self) -> None:
        gathered, self._gathered, self._flush_at = self._gathered, [], math.inf
        for start in range(0, len(gathered), GROUP_MAX):
            self._queue.put(gathered[start : start + GROUP_MAX])

    async def close(self) -> None:
        """Take no more, finish what waits, and end the thread."""
        self._closing = True
        self._flush()
        self._wake_gatherer()
        self._queue.put(None)
        await trio.to_thread.run_sync(self._thread.join, abandon_on_cancel=True)
        # Answers handed over just before the thread ended are still on their way through the loop.
        await trio.lowlevel.checkpoint()

    def _live(self) -> None:
        taken: list[Job] = []
        try:
            while self._take(taken):
                self._transactions.run(taken)
                done, taken = taken, []
                self._hand_over(done)
        except BaseException as error:  # nobody may wait for ever on a thread that is gone
            reason = f"the database writer has died: {error!r}"
            self._died = reason
            self._tell(lambda: self._fail_all(taken, reason))
            log.exception("database.writer_died")  # after the telling: a log that fails must keep nobody waiting

    def _take(self, taken: list[Job]) -> bool:
        """Fill ``taken`` with what waits, at least one job; return ``False`` at the end."""
        jobs = self._queue.get()
        while jobs is not None:
            dropped = [job for job in jobs if job.dropped]
            if dropped:
                self._hand_over(dropped)
            taken += [job for job in jobs if not job.dropped]
            if len(taken) >= GROUP_MAX:
                return True
            try:
                jobs = self._queue.get(block=not taken)
            except queue.Empty:
                return True
        if taken:
            self._queue.put(None)  # the end comes after this group
        return bool(taken)

    def _hand_over(self, jobs: list[Job]) -> None:
        self._tell(lambda: self._finish(jobs))

    def _tell(self, fn: Callable[[], None]) -> None:
        try:
            self._token.run_sync_soon(fn)
        except trio.RunFinishedError:
            log.warning("database.nobody_to_tell")

    def _finish(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._pending -= 1
            job.finish()

    def _fail_all(self, taken: list[Job], reason: str) -> None:
        jobs = list(taken)
        self._flush()
        while not self._queue.empty():
            jobs += self._queue.get_nowait() or []
        for job in jobs:
            job.result = outcome.Error(StorageFailed(reason, hint="restart the appliance"))
        self._finish(jobs)
