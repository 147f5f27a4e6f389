"""Our own API: what is given to a task before it starts, and what it left."""

from collections.abc import AsyncIterator
from typing import Final

from appliance.plugin import PERSON, STREAMED, Call, Conflict, File, Role

from . import own_models as own
from .listing import attachment
from .own_render import file_item
from .own_surface import ONE, api, task_with_files
from .state import TaskState

UPLOAD_BYTES: Final = 2**40
"""Of one file, before what ``[scheduler] input_bytes_max`` allows for a task."""


@api.get(f"{ONE}/files", caller=PERSON, answer=own.FilePage)
async def files(call: Call[None]) -> own.FilePage:
    """List what a task left in ``/output``, and what of it was not kept."""
    state: TaskState = call.state
    record = task_with_files(call)
    stored = state.core.scheduler.files
    return own.FilePage(
        items=tuple(map(file_item, await stored.list_outputs(record.job_id))),
        skipped=tuple(
            own.SkippedItem(path=each.path, reason=each.reason) for each in await stored.skipped(record.job_id)
        ),
    )


@api.get(f"{ONE}/files/{{path:path}}", caller=PERSON, answer=File)
async def download(call: Call[None]) -> File:
    """Download one file, whole or by range."""
    state: TaskState = call.state
    record = task_with_files(call)
    return attachment(*await state.core.scheduler.files.open(record.job_id, call.path["path"]))


@api.delete(f"{ONE}/files", caller=PERSON, role=Role.USER)
async def delete(call: Call[None]) -> None:
    """Delete all files of a task that has ended, what was given to it included."""
    state: TaskState = call.state
    record = task_with_files(call)
    if not record.state.is_final:
        raise Conflict(f"task {record.job_id} has not ended", hint="cancel it first")
    await state.core.scheduler.files.remove(record.job_id)


@api.get(f"{ONE}/inputs", caller=PERSON, answer=own.FilePage)
async def inputs(call: Call[None]) -> own.FilePage:
    """List what was given to a task."""
    state: TaskState = call.state
    record = task_with_files(call)
    return own.FilePage(items=tuple(map(file_item, await state.core.scheduler.files.list_inputs(record.job_id))))


@api.put(
    f"{ONE}/inputs/{{path:path}}",
    caller=PERSON,
    role=Role.USER,
    body=STREAMED,
    answer=own.FileItem,
    status=201,
    limit_bytes=UPLOAD_BYTES,
)
async def upload(call: Call[AsyncIterator[bytes]]) -> own.FileItem:
    """Give a file to a task that is held: the body as it is, found below ``/input`` once the task runs."""
    state: TaskState = call.state
    record = task_with_files(call)
    if not record.is_held:
        raise Conflict(
            f"task {record.job_id} takes no input any more", hint='submit with "hold": true, and release it afterwards'
        )
    return file_item(await state.core.scheduler.files.put_input(record.job_id, call.path["path"], call.body))
