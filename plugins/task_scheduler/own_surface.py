"""The surface of our own API about tasks; its endpoints are declared in the modules beside this one."""

from typing import Any, Final

from appliance.plugin import Call, Forbidden, JobRecord, Surface

from . import callers
from .models import SURFACE
from .state import TaskState

PREFIX: Final = "/api/appliance/tasks"
ONE: Final = PREFIX + "/{task_id}"

api = Surface(SURFACE, prefixes=(PREFIX,), unknown_fields="refuse")


def task_of(call: Call[Any]) -> JobRecord:
    """Return the task that a path names, if the caller sees it; raise `NotFound`."""
    state: TaskState = call.state
    return state.record(call.caller, call.path["task_id"])


def task_with_files(call: Call[Any]) -> JobRecord:
    """Return the task that a path names, if the caller may have its files.

    :raises NotFound: the caller does not see it.
    :raises Forbidden: it is another's, whose files only administrators may have.
    """
    record = task_of(call)
    if not callers.may_have_files(call.caller, record, None):
        raise Forbidden("the files of a task are for its owner", hint="ask an admin of this appliance")
    return record
