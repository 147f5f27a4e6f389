"""Where a job can run: the first engine that can, the GPUs by uuid, and the reasons where it cannot."""

from collections.abc import Iterable

from attrs import frozen

from appliance.jobs import Job, Needs, Placement
from appliance.scheduler.capacity import HostCapacity, Room


@frozen(kw_only=True)
class Request:
    """All of a job that decides where it can run; jobs with equal requests fit in the same places."""

    needs: Needs
    engine: str = ""
    """Only this one; empty takes any."""
    host_id: str = ""
    """Only this one; empty takes any."""
    network: str = "none"

    @classmethod
    def of(cls, job: Job) -> "Request":
        """Return the request of a job."""
        return cls(needs=job.needs, engine=job.engine, host_id=job.host_id, network=job.network)


@frozen(kw_only=True)
class Reason:
    """Why a job cannot run on one host."""

    host_id: str
    """Empty when there is no host at all."""
    code: str
    """``no_host``, ``other_host``, ``host_blocked``, ``engine``, ``cores``, ``memory``, ``storage``, ``gpus``."""
    message: str
    """In words, with figures."""
    is_for_good: bool = False
    """Whether it stays so when all that runs has ended."""


@frozen(kw_only=True)
class Refusal:
    """No host can take a job."""

    reasons: tuple[Reason, ...]
    """At least one per host, in the order of the hosts."""

    @property
    def is_for_good(self) -> bool:
        """Whether no host could take it when all that runs has ended."""
        raise NotImplementedError


def find(request: Request, room: Room) -> Placement | None:
    """Return where the request fits best in what is left of the room, ``None`` when it fits nowhere.

    The same room and request always give the same answer. Of several hosts, the one is taken that is left with the
    least; parts of GPUs go where the least of a GPU is left, whole GPUs where the least memory does.
    """
    raise NotImplementedError


def place(request: Request, hosts: Iterable[HostCapacity]) -> Placement | Refusal:
    """Return where the request fits now, or why nowhere."""
    raise NotImplementedError
