"""Status reports that say of an agent's GPUs and workers what its report before said: nearly all of them.

Such a report need not be read to its end: where its text is that of one that was read, and everything that was taken
over from it is as it was left, reading it again would change nothing. Only the times at which workers' connections
were made differ, since agents write the time of the report there; who is connected is known by address, port and
process, so these times count only in that they are times.

Only a *yes* counts: whatever is not plainly the same is read by the strict reader, which decides. A test holds both
to the same outcome.
"""

import re
from hashlib import blake2b
from typing import Any, Final
from weakref import WeakKeyDictionary

import msgspec
from attrs import define, field, frozen

from appliance.plugin import BadInput

from .models import Agent, Gpu, Worker
from .wire.reports import AgentStatusReportRequest
from .wire.times import read_time

TEXT_BYTES_MAX: Final = 262_144
"""Longer reports are always read whole."""
INTEGER_LIMIT: Final = 2**63
_CONNECTED_AT: Final = re.compile(rb'"connected_at": ?"([^"\\]{1,64})"')

Left = tuple[str, Worker | None, bool, str, int | None, int, object]
"""A worker's id, the worker, and what a report has left of it: enabled, status, pid, restarts, connections."""


class _Sent(msgspec.Struct):
    """A report whose lists are not looked into."""

    timestamp: str
    gpus: msgspec.Raw
    workers: msgspec.Raw
    event: str | None = None
    license_expiration: int | None = None
    metrics: str | None = None


_DECODER: Final = msgspec.json.Decoder(_Sent)


@frozen
class Repeated:
    """What is new in a report that repeats the lists of the one before."""

    timestamp: str
    license_expiration: int | None
    metrics: str | None
    workers: tuple[Worker, ...]
    """The agent's, of those that it lists."""


@define(eq=False)
class _Known:
    """The lists that an agent has sent last, and what they have left."""

    gpus_text: bytes
    workers_text: bytes
    gpus: tuple[Gpu, ...]
    left: tuple[Left, ...]
    workers: tuple[Worker, ...]


@define(eq=False)
class Repeats:
    """Remembers of each agent what it has sent last: two digests, and where its workers' state was left."""

    _known: WeakKeyDictionary[Agent, _Known] = field(factory=WeakKeyDictionary, init=False)

    def read(self, agent: Agent, data: bytes) -> Repeated | None:
        """Return what is new in a body that repeats the one before; ``None`` for any other."""
        known = self._known.get(agent)
        return None if known is None else self._repeated(agent, known, data)

    @staticmethod
    def _repeated(agent: Agent, known: _Known, data: bytes) -> Repeated | None:
        sent = _sent(data)
        if sent is None or sent.event is not None or agent.has_shut_down:
            return None
        if agent.gpus is not known.gpus or _digest(bytes(sent.gpus)) != known.gpus_text:
            return None
        workers = agent.workers
        for worker_id, worker, enabled, status, pid, restarts, connections in known.left:
            if workers.get(worker_id) is not worker or (
                worker is not None
                and not (
                    worker.enabled is enabled
                    and worker.status == status
                    and worker.pid == pid
                    and worker.restarts == restarts
                    and worker.connections is connections
                )
            ):
                return None
        if _timeless(bytes(sent.workers)) != known.workers_text:
            return None
        return Repeated(sent.timestamp, sent.license_expiration, sent.metrics, known.workers)

    def taken(self, agent: Agent, report: AgentStatusReportRequest, data: bytes) -> None:
        """Remember a report whose lists have just been taken over, before anything else can change what they left."""
        sent = _sent(data)
        workers_text = None if sent is None else _timeless(bytes(sent.workers))
        listed = {each.worker_id: agent.workers.get(each.worker_id) for each in report.workers or ()}
        # A worker that is listed twice may go from one state to another and back by each such report.
        is_listed_twice = len(listed) != len(report.workers or ())
        if sent is None or workers_text is None or report.event is not None or is_listed_twice:
            self._known.pop(agent, None)
            return
        self._known[agent] = _Known(
            _digest(bytes(sent.gpus)),
            workers_text,
            agent.gpus,
            tuple(_left(worker_id, worker) for worker_id, worker in listed.items()),
            tuple(worker for worker in listed.values() if worker is not None),
        )


def _left(worker_id: str, worker: Worker | None) -> Left:
    if worker is None:
        return worker_id, None, False, "", None, 0, None
    return worker_id, worker, worker.enabled, worker.status, worker.pid, worker.restarts, worker.connections


def _sent(data: bytes) -> _Sent | None:
    """Return a report without its lists; ``None`` where that is not certain to be what the strict reader finds."""
    # The parser takes texts that are not UTF-8, and integers beyond 64 bits.
    if len(data) > TEXT_BYTES_MAX or not data.isascii():
        return None
    try:
        sent = _DECODER.decode(data)
        read_time(sent.timestamp, field="")
    except (msgspec.MsgspecError, ValueError, RecursionError, BadInput):
        return None
    if sent.license_expiration is not None and not -INTEGER_LIMIT <= sent.license_expiration < INTEGER_LIMIT:
        return None
    return sent


def _timeless(text: bytes) -> bytes | None:
    """Return the digest of a list of workers without the times of their connections; ``None`` if one is no time."""
    # A quote within a text is escaped, so what is found is always a field of that name, and JSON has no NUL.
    pieces: list[Any] = _CONNECTED_AT.split(text)
    try:
        for time in set(pieces[1::2]):
            read_time(time.decode(), field="")
    except BadInput:
        return None
    return _digest(b"\0".join(pieces[::2]))


def _digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=16).digest()
