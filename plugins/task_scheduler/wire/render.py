"""Documented answers from what we think in: tasks and their files."""

from collections.abc import Sequence
from typing import Any, Final

from appliance.plugin import Job, JobRecord, StoredFile

from . import answers, file_answers
from .numbers import MIB_PER_GB, MILLI
from .requests import status_of

MICRO: Final = 1_000_000


def seconds(unix_us: int | None) -> int:
    """Return a moment as the document writes it: whole Unix seconds, 0 for never."""
    return 0 if unix_us is None else unix_us // MICRO


def status(record: JobRecord) -> str:
    """Return a task's documented status."""
    return status_of(record.state)


def task(record: JobRecord, worker_id: str) -> answers.Task:
    """Return a task as lists show it.

    :param worker_id: of the worker that it was given to last; empty for none.
    """
    return answers.Task(**_shared(record, worker_id))


def _shared(record: JobRecord, worker_id: str) -> dict[str, Any]:
    job, needs = record.job, record.job.needs
    submitted = seconds(record.submitted_at_unix_us)
    return {
        "task_id": job.job_id,
        "docker_image": job.image,
        "status": status(record),
        "cpu_required": needs.millicores / MILLI,
        "memory_required": needs.memory_mib / MIB_PER_GB,
        "storage_required": needs.storage_mib / MIB_PER_GB,
        "gpu_required": needs.milli_gpu / MILLI,
        "user_id": job.label,
        "tag": job.tag,
        "k_value": job.k_milli / MILLI,
        "created_at": submitted,
        "submitted_at": submitted,
        "assigned_at": seconds(record.assigned_at_unix_us),
        "started_at": seconds(record.started_at_unix_us),
        "completed_at": seconds(record.ended_at_unix_us),
        "assigned_worker": worker_id,
        "message": record.message,
        "exit_code": record.exit_code,
        "retry_of": job.retry_of,
        "retried_by": record.retried_by,
    }


def task_detail(record: JobRecord, worker_id: str, *, with_secrets: bool, logs: str) -> answers.TaskDetail:
    """Return one task with both field sets that are known of this answer.

    :param with_secrets: whether its command is shown.
    :param logs: what it has written, or the first part of it; used once it has ended.
    """
    assignment = result = None
    if record.attempts:
        assignment = answers.Assignment(worker_id=worker_id, assigned_at=seconds(record.assigned_at_unix_us))
    if record.state.is_final:
        result = answers.Result(status=status(record), completed_at=seconds(record.ended_at_unix_us), logs=logs)
    return answers.TaskDetail(
        **_shared(record, worker_id),
        command=record.job.command if with_secrets else "",
        assignment=assignment,
        result=result,
    )


def submitted(record: JobRecord) -> answers.Submitted:
    """Return the answer to a submission: a task that is new is pending, whatever has become of it meanwhile."""
    job = record.job
    made = answers.SubmittedTask(
        task_id=job.job_id, docker_image=job.image, status="pending", tag=job.tag, k_value=job.k_milli / MILLI
    )
    return answers.Submitted(task_id=job.job_id, status="pending", task=made)


# ---------------------------------------------------------------- files


def file_id(job_id: str, path: str) -> str:
    """Return the id of a file: its task and its path, which together are unique for ever."""
    return f"{job_id}/{path}"


def file_item(job_id: str, stored: StoredFile) -> file_answers.FileItem:
    """Return a file of a task."""
    return file_answers.FileItem(
        file_id=file_id(job_id, stored.path),
        task_id=job_id,
        file_name=stored.path.rpartition("/")[2],
        file_path=stored.path,
        file_size=stored.size_bytes,
        content_type=stored.content_type,
        uploaded_at=seconds(stored.stored_at_unix_us),
        path=stored.path,
        size=stored.size_bytes,
    )


def task_name(job: Job) -> str:
    """Return what a task is called where its files are listed: its name, else its image."""
    return job.name or job.image


def task_with_files(record: JobRecord, files: Sequence[StoredFile]) -> file_answers.TaskWithFiles:
    """Return a task with its files as the upstream server lists them."""
    return file_answers.TaskWithFiles(
        task_id=record.job.job_id,
        task_name=task_name(record.job),
        timestamp=seconds(record.submitted_at_unix_us),
        files=tuple(file_answers.ShortFile(path=each.path, size=each.size_bytes) for each in files),
        total_size=sum(each.size_bytes for each in files),
    )


def user_files(user_id: str, found: Sequence[tuple[JobRecord, Sequence[StoredFile]]]) -> file_answers.UserFiles:
    """Return all files of a user, by task."""
    items = tuple(file_item(record.job.job_id, each) for record, files in found for each in files)
    tasks = tuple(task_with_files(record, files) for record, files in found)
    return file_answers.UserFiles(user_id=user_id, files=items, tasks=tasks, count=len(items))


def task_files(record: JobRecord, user_id: str, files: Sequence[StoredFile]) -> file_answers.TaskFiles:
    """Return the files of one task."""
    return file_answers.TaskFiles(
        task_id=record.job.job_id,
        user_id=user_id,
        files=tuple(file_item(record.job.job_id, each) for each in files),
        task_name=task_name(record.job),
        timestamp=seconds(record.submitted_at_unix_us),
        total_size=sum(each.size_bytes for each in files),
    )
