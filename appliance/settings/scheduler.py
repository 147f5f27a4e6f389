"""The table ``[scheduler]``: what jobs may have, how much of them is kept, and what the host keeps for itself."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, gt, le

from appliance.settings.declared import setting, text_rule

_MIB_MAX = 2**40
_BYTES_MAX = 2**60


def _whole(default: int, help: str, *, least: int = 0, most: int, reload: Any = "live") -> Any:
    return setting(default, help=help, reload=reload, validator=and_(ge(least), le(most)))


@frozen(kw_only=True)
class QuotaSettings:
    """What one person's tasks may have at the same time; 0 is no limit."""

    pending_max: int = field(default=0, validator=and_(ge(0), le(10_000_000)))
    """Tasks that wait."""
    running_max: int = field(default=0, validator=and_(ge(0), le(10_000_000)))
    cores_max: float = field(default=0.0, validator=and_(ge(0.0), le(1e9)))
    gpus_max: float = field(default=0.0, validator=and_(ge(0.0), le(1e6)))
    """Whole GPUs and parts of them, added up."""


@frozen(kw_only=True)
class VolumeSettings:
    """A folder of this host that jobs may ask for by name."""

    source: Path = field()
    read_only: bool = True

    @source.validator
    def _check_source(self, attribute: Any, value: Path) -> None:
        if not value.is_absolute() or ".." in value.parts:
            raise ValueError("source as an absolute path without ..")


def _check_names(instance: Any, attribute: Any, value: Mapping[str, Any]) -> None:
    for name in value:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", name):
            raise ValueError(f"names of letters, digits, _ . and - (not {name[:40]!r})")


def _check_capability(value: str) -> None:
    if not re.fullmatch(r"[A-Z][A-Z_]{1,40}", value) or value.startswith("CAP_"):
        raise ValueError("a capability without its CAP_, such as SYS_PTRACE")


def _check_folder(value: str) -> None:
    if value and (not value.startswith("/") or "\0" in value or ".." in value.split("/")):
        raise ValueError("an absolute path without .., or an empty text")


def _check_pattern(value: str) -> None:
    if not value or len(value) > 400:
        raise ValueError("a pattern such as registry.example.net/team/*")


@frozen(kw_only=True)
class SchedulerSettings:
    """Container tasks: what they may have, what is kept of them, and what the host keeps for itself."""

    memory_reserve_mib: int = _whole(1024, "Main memory of this host that no task is given.", most=_MIB_MAX)
    storage_reserve_mib: int = _whole(2048, "Disk space that no task is given.", most=_MIB_MAX)
    pids_max: int = _whole(4096, "How many processes and threads a task may have.", least=8, most=4_194_304)
    log_limit_bytes: int = _whole(
        64 * 2**20, "How much of a task's log is kept; what is cut is told.", least=65_536, most=_BYTES_MAX
    )
    input_bytes_max: int = _whole(10 * 2**30, "How much may be uploaded for one task, in bytes.", most=_BYTES_MAX)
    input_files_max: int = _whole(10_000, "How many files may be uploaded for one task.", most=1_000_000)
    output_bytes_max: int = _whole(10 * 2**30, "How much of a task's /output is kept, in bytes.", most=_BYTES_MAX)
    output_files_max: int = _whole(10_000, "How many files of a task's /output are kept.", most=1_000_000)
    keep_days: float = setting(
        30.0,
        help="How long an ended task is kept, with its log and files.",
        reload="live",
        validator=and_(gt(0.0), le(36_600.0)),
    )
    keep_jobs_max: int = _whole(
        10_000, "How many ended tasks are kept; the oldest go first, with their logs and files.", most=10_000_000
    )
    pending_max: int = _whole(100_000, "How many tasks may wait at once, of all people together.", most=1_000_000)
    start_seconds: float = setting(
        3600.0,
        help="How long fetching an image and starting a task may take.",
        reload="live",
        validator=and_(ge(1.0), le(86_400.0)),
    )
    everyone: QuotaSettings = setting(  # noqa: RUF009  a declaration, as all the others
        attrs.Factory(QuotaSettings),
        help="What each person's tasks may have at once: pending_max, running_max, cores_max, gpus_max;"
        " 0 is no limit. Also as a table [scheduler.everyone].",
        reload="live",
    )
    people: Mapping[str, QuotaSettings] = setting(
        attrs.Factory(dict),
        help="The same for one person by name, in place of it: [scheduler.people.NAME].",
        reload="live",
    )
    preemption: bool = setting(
        True, help="Whether a task marked preemptible is stopped for one of higher priority.", reload="live"
    )
    images: tuple[str, ...] = setting(
        (),
        help="Images that tasks may use, as patterns with * and ?; empty: all.",
        reload="live",
        validator=deep_iterable(text_rule(_check_pattern)),
    )
    networks: tuple[Literal["none", "bridge"], ...] = setting(
        ("none", "bridge"),
        help="Networks that tasks may ask for: none, bridge (outgoing connections); never the host's own.",
        reload="live",
    )
    privileges: tuple[str, ...] = setting(
        (),
        help="Capabilities that tasks may ask for, such as SYS_PTRACE; all others are always dropped.",
        reload="live",
        validator=deep_iterable(text_rule(_check_capability)),
    )
    link_local: bool = setting(
        False,
        help="Whether tasks on network bridge reach link-local addresses: a cloud's metadata at 169.254.169.254.",
        reload="live",
    )
    volumes: Mapping[str, VolumeSettings] = setting(
        attrs.Factory(dict),
        help="Folders of this host that tasks may mount by name: [scheduler.volumes.NAME] with source, and read_only ="
        " false to let them write.",
        reload="live",
        validator=_check_names,
    )
    files_folder: str = setting(
        "",
        help="Where logs and files of tasks are kept, as an absolute path; empty: files in the data directory.",
        environment=("CLOUDAI_FILES_DIR",),
        validator=text_rule(_check_folder),
    )
    unsafe_same_uid: bool = setting(
        False,
        help="Use engines that cannot keep tasks apart from the appliance's own user; nobody is trusted without a"
        " credential then.",
    )
