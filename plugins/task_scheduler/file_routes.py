"""The documented endpoints about files: what tasks left in ``/output``."""

from typing import Any, Final

from attrs import field, frozen
from attrs.validators import max_len, optional

from appliance.plugin import BadInput, Call, Conflict, File, Forbidden, JobRecord, Role

from . import callers
from .listing import attachment, visible
from .routes import api
from .state import TaskState
from .wire import file_answers, render
from .wire.requests import NAME_CHARACTERS

TASKS_MAX: Final = 10_000
"""So many of the newest tasks are looked through for files."""


@frozen(kw_only=True)
class FileQuery:
    """Whose files, and who asks."""

    user_id: str | None = field(default=None, validator=optional(max_len(NAME_CHARACTERS)))
    """Required."""
    requesting_user: str | None = field(default=None, validator=optional(max_len(NAME_CHARACTERS)))
    """The caller, where it is not sent. Where nobody is logged in it has to be the same user."""


def _user(call: Call[Any]) -> str:
    user_id: str = call.query.user_id or ""
    if not user_id:
        raise BadInput("$.user_id: missing, and required", field="$.user_id")
    callers.check_user(call.caller, user_id, call.query.requesting_user)
    return user_id


@api.get("/api/files", access="open", query=FileQuery, answer=file_answers.UserFiles)
async def files(call: Call[None]) -> file_answers.UserFiles:
    """List the files of a user's tasks, newest task first: of people those of their own tasks, of admins anybody's."""
    state: TaskState = call.state
    user_id = _user(call)
    scheduler = state.core.scheduler
    found = []
    for record in await visible(scheduler, call.caller, limit=TASKS_MAX):
        if callers.is_user(record, user_id) and callers.may_have_files(call.caller, record, user_id):
            stored = await scheduler.files.list_outputs(record.job_id)
            if stored:
                found.append((record, stored))
    return render.user_files(user_id, found)


def _record(call: Call[Any]) -> JobRecord:
    """Return the task whose files are asked for, if the caller may have them."""
    state: TaskState = call.state
    user_id = _user(call)
    record = state.record(call.caller, call.path["task_id"])
    if not callers.may_have_files(call.caller, record, user_id):
        raise Forbidden(f"access denied: task {record.job_id} is not a task of {user_id}")
    return record


@api.get("/api/files/{task_id}", access="open", query=FileQuery, answer=file_answers.TaskFiles)
async def task_files(call: Call[None]) -> file_answers.TaskFiles:
    """List the files of one task."""
    state: TaskState = call.state
    record = _record(call)
    return render.task_files(record, call.query.user_id, await state.core.scheduler.files.list_outputs(record.job_id))


@api.get("/api/files/{task_id}/download/{file_path:path}", access="open", query=FileQuery, answer=File)
async def download(call: Call[None]) -> File:
    """Download one file, whole or by range."""
    state: TaskState = call.state
    record = _record(call)
    return attachment(*await state.core.scheduler.files.open(record.job_id, call.path["file_path"]))


@api.delete("/api/files/{task_id}", access="open", role=Role.USER, query=FileQuery, answer=file_answers.Deleted)
async def delete(call: Call[None]) -> file_answers.Deleted:
    """Delete all files of a task that has ended."""
    state: TaskState = call.state
    record = _record(call)
    if not record.state.is_final:
        raise Conflict(f"task {record.job_id} has not ended", hint="cancel it first")
    await state.core.scheduler.files.remove(record.job_id)
    return file_answers.Deleted(
        message=f"All files for task {record.job_id} deleted successfully", task_id=record.job_id
    )
