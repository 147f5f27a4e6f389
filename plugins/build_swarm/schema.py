"""The tables of the build swarm: each part keeps its own list, in the file that its SQL reads."""

from typing import Final

from appliance.plugin import Migration

from . import queue_schema
from .records import schema as records_schema

MIGRATIONS: Final[tuple[Migration, ...]] = (
    *queue_schema.MIGRATIONS,
    *records_schema.MIGRATIONS,
)
"""Numbers: 1 queue, 2 records, 3 approvals and healing, 4 payloads, 5 binary host, 6 build logs, 7 profiles."""
