"""The tables of the build swarm: each part keeps its own list, in the file that its SQL reads."""

from typing import Final

from attrs import evolve

from appliance.plugin import Migration

from . import approval_store, profile_store, queue_schema
from .binhost import schema as binhost_schema
from .build_logs import schema as logs_schema
from .payloads import schema as payloads_schema
from .records import schema as records_schema

_STEPS: Final[tuple[Migration, ...]] = (
    *queue_schema.MIGRATIONS,
    *records_schema.MIGRATIONS,
    *profile_store.MIGRATIONS,
    *logs_schema.MIGRATIONS,
    *payloads_schema.MIGRATIONS,
    *approval_store.MIGRATIONS,
    *binhost_schema.MIGRATIONS,
)
"""Released steps keep their places: what is new goes to the end."""

MIGRATIONS: Final = tuple(evolve(step, version=place) for place, step in enumerate(_STEPS, 1))
"""Numbered by their place, whatever number a part has given its own."""
