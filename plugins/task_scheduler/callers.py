"""Who calls, whose tasks they may see, and whose files they may have.

The document knows no people: it asks for a ``user_id``, which anybody may write. Here a task belongs to the person who
submitted it; ``user_id`` is a label that is kept and sent back, and decides only on trusted requests, which have no
person.
"""

from typing import Final

from appliance.plugin import Caller, Forbidden, JobRecord, Kind, NotFound, Role

OPEN_OWNER: Final = "/open"
"""Owner of what comes without a credential from a network that the configuration opens: no person has a slash."""


def owner_of(caller: Caller) -> str:
    """Return under whose name a caller submits; empty for the appliance's own."""
    if caller.kind in (Kind.SESSION, Kind.PAT):
        return caller.name
    return OPEN_OWNER if caller.kind is Kind.OPEN else ""


def shown(owner: str) -> str:
    """Return an owner as people read it."""
    return "(open)" if owner == OPEN_OWNER else owner


def who(caller: Caller) -> str:
    """Return a caller as the audit names it."""
    return caller.name or caller.kind.value


def sees_all(caller: Caller) -> bool:
    """Whether a caller sees others' tasks: operators and trusted requests do, without what may be secret in them."""
    return caller.may(Role.OPERATOR)


def sees(caller: Caller, record: JobRecord) -> bool:
    """Whether a caller sees a task."""
    return sees_all(caller) or record.job.owner == owner_of(caller)


def sees_secrets(caller: Caller, record: JobRecord) -> bool:
    """Whether a caller sees a task's command: its owner and administrators do."""
    return record.job.owner == owner_of(caller) or caller.may(Role.ADMIN)


def seen(caller: Caller, record: JobRecord) -> JobRecord:
    """Return the record if the caller may see it; raise `NotFound`, as for one that does not exist, if not."""
    if not sees(caller, record):
        raise NotFound("task", record.job.job_id)
    return record


def check_user(caller: Caller, user_id: str, requesting_user: str | None) -> None:
    """Raise `Forbidden` for a trusted request that asks for one user's files in another's name.

    ``admin`` is a user as any other: a name in a query proves nothing.
    """
    if requesting_user and requesting_user != user_id and not is_person(caller):
        raise Forbidden(f"access denied: {requesting_user} may not see files of {user_id}")


def may_have_files(caller: Caller, record: JobRecord, user_id: str | None) -> bool:
    """Whether a caller may have the files of a task.

    :param user_id: who the request says owns the task; ``None`` where our own API is asked, which knows no such thing.
    """
    if caller.may(Role.ADMIN):
        return True
    if record.job.owner == owner_of(caller) and is_person(caller):
        return user_id is None or is_user(record, user_id)
    # No person asks: on a trusted request, or from an opened network, the documented parameter has to suffice.
    if is_person(caller) or not sees(caller, record):
        return False
    return is_user(record, user_id) if user_id is not None else record.job.owner == owner_of(caller)


def is_user(record: JobRecord, user_id: str) -> bool:
    """Whether a task is that of a documented user: its label, or the name of its owner."""
    return bool(user_id) and user_id in (record.job.label, record.job.owner)


def is_person(caller: Caller) -> bool:
    """Whether a caller is known by name (an administrator's key and the control socket are not)."""
    return caller.kind in (Kind.SESSION, Kind.PAT)
