"""The tables of the swarm as the SQL explorer shows them, under the names of the server that we stand in for.

A view says all that may be read: tables and columns that no view names are not there for a query. Times are Unix
seconds with their fraction.
"""

from typing import Final

from attrs import frozen


@frozen(kw_only=True)
class View:
    """One name that a query can ask for."""

    name: str
    table: str
    columns: tuple[tuple[str, str], ...]
    """Name, and the expression over the table's own columns."""

    @property
    def select(self) -> str:
        """The query that the view stands for."""
        shown = ", ".join(f"{expression} AS {name}" for name, expression in self.columns)
        return f"SELECT {shown} FROM main.{self.table}"  # noqa: S608  our own names


def _view(name: str, table: str, *columns: str | tuple[str, str]) -> View:
    return View(
        name=name, table=table, columns=tuple(each if isinstance(each, tuple) else (each, each) for each in columns)
    )


def _time(name: str, column: str) -> tuple[str, str]:
    return name, f"{column} / 1e6"


VIEWS: Final = (
    _view(
        "queue",
        "build_swarm_package",
        ("id", "package_id"),
        ("package", "atom"),
        ("status", "state"),
        ("assigned_to", "drone_id"),
        _time("assigned_at", "delegated_unix_us"),
        _time("building_since", "building_since_unix_us"),
        _time("completed_at", "completed_unix_us"),
        ("failure_count", "failures"),
        ("error_message", "error"),
        "session_id",
        "priority",
        "needs",
        "waits_for",
        "failed_drones",
        _time("created_at", "queued_unix_us"),
    ),
    _view(
        "nodes",
        "build_swarm_drone",
        ("id", "drone_id"),
        "name",
        ("ip", "address"),
        "claimed_ip",
        "tailscale_ip",
        ("type", "kind"),
        "drone_type",
        ("cores", "json_extract(capabilities, '$.cores')"),
        ("ram_gb", "json_extract(capabilities, '$.ram_gb')"),
        "status",
        "paused",
        _time("last_seen", "last_seen_unix_us"),
        ("capabilities_json", "capabilities"),
        ("metrics_json", "metrics"),
        "current_task",
        "version",
        _time("created_at", "created_unix_us"),
    ),
    _view(
        "drone_health",
        "build_swarm_drone",
        ("node_id", "drone_id"),
        ("node_name", "name"),
        ("failures", "failures_in_row"),
        _time("grounded_until", "grounded_until_unix_us"),
        "groundings",
        "upload_failures",
        "builds_completed",
        "builds_failed",
    ),
    _view(
        "sessions",
        "build_swarm_session",
        ("id", "session_id"),
        "name",
        "status",
        ("total_packages", "total"),
        ("completed_packages", "completed"),
        ("failed_packages", "blocked + ended_failed"),
        _time("started_at", "started_unix_us"),
        _time("completed_at", "completed_unix_us"),
    ),
    _view(
        "build_history",
        "build_swarm_build",
        ("id", "build_id"),
        ("package", "atom"),
        "drone_id",
        "drone_name",
        ("status", "outcome"),
        ("duration_seconds", "duration_s"),
        ("error_message", "error"),
        "session_id",
        _time("built_at", "built_unix_us"),
    ),
    _view(
        "events",
        "build_swarm_event",
        ("id", "event_id"),
        _time("timestamp", "unix_us"),
        ("event_type", "type"),
        "message",
        ("details_json", "details"),
        ("drone_id", "drone"),
        ("package", "json_extract(details, '$.package')"),
    ),
    _view(
        "metrics_log",
        "build_swarm_metric",
        _time("timestamp", "unix_us"),
        ("node_id", "nullif(drone_id, '')"),
        ("node_name", "nullif(drone, '')"),
        "status",
        "current_task",
        "cpu_percent",
        "ram_percent",
        "load_1m",
        ("queue_needed", "needed"),
        ("queue_delegated", "delegated"),
        ("queue_received", "received"),
        ("queue_blocked", "blocked"),
    ),
    _view(
        "protocol_log",
        "build_swarm_protocol",
        ("id", "entry_id"),
        _time("timestamp", "unix_us"),
        "source_ip",
        "source_node",
        "method",
        "path",
        "msg_type",
        "drone_id",
        "package",
        "session_id",
        "status_code",
        "request_summary",
        "response_summary",
        "request_body",
        "response_body",
        "latency_ms",
        "content_length",
    ),
    _view(
        "drone_config",
        "build_swarm_drone_config",
        ("node_name", "drone"),
        ("fields_json", "fields"),
        _time("created_at", "created_unix_us"),
        _time("updated_at", "updated_unix_us"),
    ),
    _view("config", "build_swarm_config", "key", "value", _time("updated_at", "updated_unix_us")),
    _view(
        "drone_allowlist",
        "build_swarm_allowlist",
        ("id", "entry_id"),
        ("drone_id", "drone"),
        "package",
        "reason",
        "protected",
        _time("added_at", "added_unix_us"),
        "added_by",
    ),
    _view(
        "payload_versions",
        "build_swarm_payload",
        ("id", "version_id"),
        "payload_type",
        "version",
        ("hash", "sha256"),
        "size_bytes",
        "description",
        "notes",
        _time("created_at", "created_unix_us"),
        "created_by",
    ),
    _view(
        "drone_payloads",
        "build_swarm_payload_drone",
        "drone_id",
        "payload_type",
        "version",
        ("hash", "sha256"),
        "status",
        ("error_message", "error"),
        _time("deployed_at", "changed_unix_us"),
        ("deployed_by", "changed_by"),
    ),
    _view(
        "payload_deploy_log",
        "build_swarm_payload_log",
        ("id", "entry_id"),
        "drone_id",
        "drone_name",
        "payload_type",
        "version",
        "action",
        "status",
        "duration_ms",
        ("error_message", "error"),
        _time("deployed_at", "at_unix_us"),
        ("deployed_by", "by"),
    ),
    _view(
        "releases",
        "build_swarm_release",
        "version",
        ("package_count", "packages"),
        "size_bytes",
        "notes",
        ("active", "is_current"),
        _time("created_at", "created_unix_us"),
        _time("promoted_at", "promoted_unix_us"),
        _time("archived_at", "archived_unix_us"),
        "created_by",
    ),
)
