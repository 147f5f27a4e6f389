"""One log, as it is known besides its text."""

from typing import Final

from attrs import define

LOG_ID_PATTERN: Final = r"[0-9a-f]{32}"
"""Chosen by the drone, at random: nobody else can write to the log of a build."""


@define(eq=False, kw_only=True)
class BuildLog:
    """The log of one try at one package by one drone."""

    log_id: str
    drone_id: str
    drone_name: str
    package: str
    """Normalised, as in the queue."""
    session_id: str
    outcome: str = ""
    """In the drone's words; empty until it has ended."""
    size_bytes: int = 0
    """Length of the text, kept or not; of an open log what was known when the appliance started."""
    started_unix_us: int
    ended_unix_us: int | None = None
