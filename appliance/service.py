"""What a long-running part of the appliance looks like."""

from typing import Protocol, runtime_checkable

import trio


@runtime_checkable
class Service(Protocol):
    """A task that outlives a request; core starts, supervises and cancels it.

    ``run`` calls ``task_status.started()`` once it is usable and then runs until cancelled. Returning means the work
    is done for good. A raise is a crash: core restarts it with back-off, at most 5 times in 10 minutes, then retries
    every 10 minutes and shows it as failed meanwhile; nothing else stops.
    """

    @property
    def name(self) -> str:
        """Short name, unique within its plugin, shown in ``/readyz`` and the log."""
        ...

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled."""
        ...
