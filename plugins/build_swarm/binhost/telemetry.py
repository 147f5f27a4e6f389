"""The binary host in ``/metrics``."""

from collections.abc import Callable

from .binhost import Binhost


def section(binhost: Binhost) -> Callable[[], str]:
    """Return what writes the section; it reads what is known in memory, and two rows."""

    def write() -> str:
        staged = len(binhost.staging.published.files) if binhost.staging.published is not None else 0
        current = binhost.store.current()
        lines = [
            "# HELP appliance_swarm_binhost_packages Binary packages that clients are offered.",
            "# TYPE appliance_swarm_binhost_packages gauge",
            f'appliance_swarm_binhost_packages{{area="staging"}} {staged}',
            f'appliance_swarm_binhost_packages{{area="current"}} {0 if current is None else current.packages}',
            "# HELP appliance_swarm_binhost_used_bytes Bytes of all distinct binary packages, releases included.",
            "# TYPE appliance_swarm_binhost_used_bytes gauge",
            f"appliance_swarm_binhost_used_bytes {binhost.staging.used_bytes}",
            "# HELP appliance_swarm_binhost_index_timestamp_seconds When the index of the staging area was made.",
            "# TYPE appliance_swarm_binhost_index_timestamp_seconds gauge",
            f"appliance_swarm_binhost_index_timestamp_seconds {_timestamp(binhost)}",
        ]
        return "\n".join(lines) + "\n"

    return write


def _timestamp(binhost: Binhost) -> int:
    published = binhost.staging.published
    return 0 if published is None else published.index.timestamp
