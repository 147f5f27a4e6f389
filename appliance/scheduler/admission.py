"""What may be submitted at all: by the configuration's lists, and by each person's limits."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from appliance.engines import Volume
from appliance.errors import BadInput, Forbidden, TooLarge
from appliance.jobs import Job
from appliance.scheduler.quotas import Quota, Quotas
from appliance.settings import QuotaSettings, SchedulerSettings
from appliance.taskfiles import FileLimits

TOGETHER_MAX: Final = 10_000
"""Jobs in one submission."""
FREE_BYTES_MIN: Final = 512 * 2**20
"""Files of jobs leave so much of the disk to the database."""
ENVIRONMENT_MAX: Final = 1_000
ENVIRONMENT_MAX_CHARS: Final = 131_072
_JOB_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,179}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")


def check(job: Job, settings: SchedulerSettings) -> None:
    """Raise unless a job is one that this appliance takes.

    :raises BadInput: it has what no container can have; ``field`` names it.
    :raises Forbidden: the configuration does not allow what it asks for.
    """
    if not _JOB_ID.fullmatch(job.job_id):
        raise BadInput("a task id has up to 180 letters, digits, . _ and -", field="job_id")
    if "\0" in job.command or "\0" in job.image or not job.image.isprintable():
        raise BadInput("image and command have no control characters that end a text", field="image")
    _check_environment(job)
    if settings.images and not any(fnmatchcase(job.image, pattern) for pattern in settings.images):
        raise Forbidden(
            f"the image {job.image[:200]!r} is not among those that tasks may use here",
            hint=f"allowed: {', '.join(settings.images)[:400]}",
            field="image",
        )
    if job.network not in settings.networks:
        raise Forbidden(f"tasks may not use the network {job.network!r} here", field="network")
    refused = [name for name in job.privileges if name not in settings.privileges]
    if refused:
        raise Forbidden(
            f"tasks may not keep the capability {refused[0]}", hint="[scheduler] privileges", field="privileges"
        )
    volumes_of(job, settings)


def volumes_of(job: Job, settings: SchedulerSettings) -> tuple[Volume, ...]:
    """Return the volumes that a job asks for.

    :raises Forbidden: one is not declared.
    """
    found = []
    for wanted in job.volumes:
        name, _, mode = wanted.partition(":")
        declared = settings.volumes.get(name)
        if declared is None:
            raise Forbidden(f"there is no volume {name!r}", hint=f"[scheduler.volumes.{name}]", field="volumes")
        found.append(Volume(name=name, source=Path(declared.source), read_only=declared.read_only or mode == "ro"))
    return tuple(found)


def check_count(jobs: Iterable[Job]) -> None:
    """Raise `TooLarge` for too many jobs at once, `BadInput` for none or two of one id."""
    ids = [job.job_id for job in jobs]
    if not ids:
        raise BadInput("no task to submit")
    if len(ids) > TOGETHER_MAX:
        raise TooLarge(f"at most {TOGETHER_MAX} tasks can be submitted at once")
    if len(set(ids)) < len(ids):
        raise BadInput("two tasks of one id", field="job_id")


def output_limits(settings: SchedulerSettings) -> FileLimits:
    """Return how much of what a job leaves is kept."""
    return FileLimits(
        files_max=settings.output_files_max, bytes_max=settings.output_bytes_max, free_bytes_min=FREE_BYTES_MIN
    )


def input_limits(settings: SchedulerSettings) -> FileLimits:
    """Return how much may be given to a job."""
    return FileLimits(
        files_max=settings.input_files_max, bytes_max=settings.input_bytes_max, free_bytes_min=FREE_BYTES_MIN
    )


def quotas_of(settings: SchedulerSettings) -> Quotas:
    """Return everybody's limits."""
    people = {name: _quota(one) for name, one in settings.people.items()}
    return Quotas(default=_quota(settings.everyone), people=people)


def _quota(one: QuotaSettings) -> Quota:
    # A limit below a thousandth is still a limit: 0 would be none.
    return Quota(
        pending_max=one.pending_max,
        running_max=one.running_max,
        millicores_max=max(1, round(one.cores_max * 1000)) if one.cores_max else 0,
        milli_gpu_max=max(1, round(one.gpus_max * 1000)) if one.gpus_max else 0,
    )


def _check_environment(job: Job) -> None:
    if len(job.environment) > ENVIRONMENT_MAX:
        raise BadInput(f"at most {ENVIRONMENT_MAX} environment variables", field="environment")
    for name, value in job.environment.items():
        if not _VARIABLE.fullmatch(name):
            raise BadInput(f"no name of an environment variable: {name[:80]!r}", field="environment")
        if len(value) > ENVIRONMENT_MAX_CHARS or "\0" in value:
            raise BadInput(f"the environment variable {name[:80]} is too long or not a text", field="environment")
