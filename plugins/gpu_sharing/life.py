"""How agents, workers, connections, tokens and shares live: pure rules over clocks that they are given.

An **agent** is pending until its first report, online for three minutes after each, then offline, and at once when it
says that it shuts down.

A **worker** is pending until its agent reports it, and what that says from then on. Disabled while it runs it is
stopping; agents drop a disabled worker from their reports and seldom say that it has stopped, so the server ends it.
What a report leaves out is not gone: the first report after an agent's start lists nothing.

A **configuration version** only rises. Agents fetch their configuration when they hear of a greater one than theirs,
so after a backup was put back, or a disk was rolled back, the next must be greater than any that was ever told. It
therefore follows the clock in milliseconds: what was told before is less unless it rose more than once a millisecond.
"""

from collections.abc import Hashable, Iterable, Mapping
from enum import StrEnum
from typing import Final, TypeVar

US: Final = 1_000_000
OFFLINE_SECONDS: Final = 180
STOPPING_SECONDS: Final = 120
"""Agents poll every 30 s, set their workers right every 30 s, and give a worker some seconds to end."""
INSTALL_SECONDS: Final = 30 * 60
LICENSE_SECONDS: Final = 120 * 60
RENEWAL_SECONDS: Final = 10 * 60
RENEWAL_PAUSE_SECONDS: Final = 60
"""Between two licences for one agent: an answer that was lost is made up for, one that is ignored costs little."""
VERSION_MAX: Final = 2**53 - 1
"""The greatest integer that every JSON reader keeps exact."""

KeyT = TypeVar("KeyT", bound=Hashable)


# ---------------------------------------------------------------- configuration versions


def next_version(version: int, *, now_unix_us: int) -> int:
    """Return the version after ``version``; 0 for an agent that has had none."""
    return min(max(version + 1, now_unix_us // 1000, 1), VERSION_MAX)


def version_after_start(version: int, *, now_unix_us: int) -> int:
    """Return what to begin with after a start, since nobody can tell whether what is stored is the newest.

    Every agent then fetches its configuration once, which changes nothing where nothing has changed.
    """
    return next_version(version, now_unix_us=now_unix_us)


# ---------------------------------------------------------------- agents


class AgentStatus(StrEnum):
    """What the document calls an agent."""

    PENDING = "pending"
    ONLINE = "online"
    OFFLINE = "offline"


def agent_status(
    last_seen_unix_us: int | None, *, now_unix_us: int, has_shut_down: bool = False, is_local: bool = False
) -> AgentStatus:
    """Return what an agent is.

    A moment in the future, which is left when the clock was set back, is as good as now.

    :param has_shut_down: it has said so, and nothing since.
    :param is_local: the host we run on, which is there whenever we are.
    """
    if is_local:
        return AgentStatus.ONLINE
    if last_seen_unix_us is None:
        return AgentStatus.PENDING
    if has_shut_down or now_unix_us - last_seen_unix_us >= OFFLINE_SECONDS * US:
        return AgentStatus.OFFLINE
    return AgentStatus.ONLINE


# ---------------------------------------------------------------- workers


class WorkerStatus(StrEnum):
    """What the document calls a worker."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


def new_worker_status(*, enabled: bool) -> WorkerStatus:
    """Return the status of a worker that is made."""
    return WorkerStatus.PENDING if enabled else WorkerStatus.STOPPED


def switched(status: str, *, was_enabled: bool, enabled: bool) -> WorkerStatus:
    """Return the status of a worker after it was enabled, disabled, or left as it was."""
    if enabled == was_enabled:
        return WorkerStatus(status)
    if enabled:
        return WorkerStatus.PENDING
    # Documented: "stopping" if disabling a running worker. One that never ran has nothing to stop.
    is_ending = status in (WorkerStatus.RUNNING, WorkerStatus.STOPPING)
    return WorkerStatus.STOPPING if is_ending else WorkerStatus.STOPPED


def reported(status: str, *, enabled: bool) -> WorkerStatus:
    """Return the status of a worker whose agent says ``status`` of it.

    An agent that has not yet heard that a worker is disabled goes on reporting it: it is stopping until it is gone.
    """
    said = WorkerStatus(status)
    return said if enabled or said is WorkerStatus.STOPPED else WorkerStatus.STOPPING


def has_stopped(
    *, stopping_since_us: int, listed_us: int | None, fetched_us: int | None, report_us: int | None, now_us: int
) -> bool:
    """Whether a worker that is stopping has stopped, though its agent never says so.

    It has when its agent, after fetching the configuration that disables it, reports without it; or when nothing was
    heard of it for `STOPPING_SECONDS`. All moments are those of one steady clock.

    :param stopping_since_us: when it was disabled.
    :param listed_us: when a report listed it last.
    :param fetched_us: when the agent fetched its configuration last.
    :param report_us: when the agent reported last.
    """
    if fetched_us is not None and report_us is not None and stopping_since_us <= fetched_us < report_us:
        return listed_us is None or listed_us < report_us or now_us - listed_us >= STOPPING_SECONDS * US
    return now_us - max(stopping_since_us, listed_us or stopping_since_us) >= STOPPING_SECONDS * US


# ---------------------------------------------------------------- connections


def first_seen(
    known: Mapping[KeyT, int], reported: Iterable[tuple[KeyT, int | None]], *, now_unix_us: int
) -> dict[KeyT, int]:
    """Return who is connected, each with the moment of the first report of it.

    Agents put the time of the report into ``connected_at`` of all their connections, each time anew, so only the
    first one says something: it is kept, or now where it is none or lies in the future.

    :param known: who was connected by the report before.
    :param reported: who is now, each with its ``connected_at``.
    """
    found: dict[KeyT, int] = {}
    for key, connected_unix_us in reported:
        if key not in found:
            since = known.get(key, now_unix_us if connected_unix_us is None else min(connected_unix_us, now_unix_us))
            found[key] = since if since > 0 else now_unix_us
    return found


# ---------------------------------------------------------------- licences, tokens, shares


def is_renewal_due(*, reported_unix_ms: int | None, issued_until_unix_us: int | None, now_unix_us: int) -> bool:
    """Whether an agent's status answer should carry a fresh licence.

    :param reported_unix_ms: when the licence that the agent has expires, as it says; ``None`` when it does not.
    :param issued_until_unix_us: when the one that it was given last expires; ``None`` (or 0) when it was given none.
    """
    if not issued_until_unix_us:
        return True
    threshold_us = now_unix_us + RENEWAL_SECONDS * US
    if issued_until_unix_us <= threshold_us:
        return True
    if reported_unix_ms is None or reported_unix_ms * 1000 > threshold_us:
        return False
    # It has an older one than it was given: the answer was lost. Ask the pause, lest an agent that never takes it
    # is sent a licence, and with it a new configuration, in every answer.
    return now_unix_us - (issued_until_unix_us - LICENSE_SECONDS * US) >= RENEWAL_PAUSE_SECONDS * US


class TokenStatus(StrEnum):
    """What the document calls an install token."""

    ACTIVE = "active"
    USED = "used"
    EXPIRED = "expired"


def token_status(*, used_unix_us: int | None, expires_unix_us: int, now_unix_us: int) -> TokenStatus:
    """Return what an install token is; one that was used stays so."""
    if used_unix_us is not None:
        return TokenStatus.USED
    return TokenStatus.EXPIRED if now_unix_us >= expires_unix_us else TokenStatus.ACTIVE


def why_gone(*, expires_unix_us: int | None, max_uses: int | None, used_count: int, now_unix_us: int) -> str:
    """Return in words why a short link answers 410; empty while it leads somewhere."""
    if expires_unix_us is not None and now_unix_us >= expires_unix_us:
        return "this share has expired"
    if max_uses is not None and used_count >= max_uses:
        return f"this share has been used {used_count} of {max_uses} times"
    return ""


def opens_its_worker(*, expires_unix_us: int | None, now_unix_us: int) -> bool:
    """Whether a share's code is sent to its agent: until it expires.

    One that is used up stays, for those who have followed its link and connect, or connect again, later.
    """
    return expires_unix_us is None or now_unix_us < expires_unix_us
