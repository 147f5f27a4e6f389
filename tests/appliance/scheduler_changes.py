"""A change of each live setting of the scheduler: what to write, and what is seen of it then."""

from typing import Any

QUOTA = {"pending_max": 7, "running_max": 0, "cores_max": 0.0, "gpus_max": 0.0}
SCHEDULER: dict[str, tuple[str, Any]] = {
    "memory_reserve_mib": ("7", 7),
    "storage_reserve_mib": ("7", 7),
    "pids_max": ("77", 77),
    "log_limit_bytes": ("70_000", 70_000),
    "input_bytes_max": ("7", 7),
    "input_files_max": ("7", 7),
    "output_bytes_max": ("7", 7),
    "output_files_max": ("7", 7),
    "keep_days": ("7", 7.0),
    "keep_jobs_max": ("7", 7),
    "pending_max": ("7", 7),
    "start_seconds": ("7", 7.0),
    "everyone": ("{ pending_max = 7 }", QUOTA),
    "people": ("{ ana = { pending_max = 7 } }", {"ana": QUOTA}),
    "preemption": ("false", False),
    "images": ("['team/*']", ["team/*"]),
    "networks": ("['none']", ["none"]),
    "privileges": ("['SYS_PTRACE']", ["SYS_PTRACE"]),
    "link_local": ("true", True),
    "volumes": ("{ data = { source = '/srv' } }", {"data": {"source": "/srv", "read_only": True}}),
}
