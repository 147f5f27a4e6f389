"""How a build ended, by what its command said: plain functions."""

import os
import re
import signal
from typing import Final

from attrs import frozen

from .models import Outcome

RETURNED_STATUS: Final = os.EX_TEMPFAIL
"""Exit status 75 of sysexits(3): not now, and no fault of the package."""
MASKED: Final = re.compile(r"All ebuilds that could satisfy .{0,300} have been masked", re.DOTALL)
"""As emerge says it."""
ERROR_CHARACTERS: Final = 2_000
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)", re.DOTALL)


@frozen(kw_only=True)
class Ended:
    """What became of a build's command."""

    status: int | None
    """Its exit status, negative for a signal; ``None``: it could not be started, or took too long."""
    duration_s: float
    why: str = ""
    """In words, where there is no exit status."""


def judged(ended: Ended, tail: str) -> tuple[Outcome, str | None]:
    """Return the outcome to report, with the error to tell.

    :param tail: the end of what it wrote.
    """
    if ended.status == 0:
        return Outcome.SUCCESS, None
    text = readable(tail)
    if ended.status == RETURNED_STATUS:
        return Outcome.RETURNED, "the build command said: not now (exit status 75)"
    if ended.status is None:
        return Outcome.FAILED, ended.why
    outcome = Outcome.MASKED if MASKED.search(text) else Outcome.FAILED
    return outcome, f"{_said(ended.status)}\n{text[-ERROR_CHARACTERS:]}".strip()


def _said(status: int) -> str:
    if status > 0:
        return f"exit status {status}"
    try:
        return f"ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"ended by signal {-status}"


def readable(text: str) -> str:
    """Return output without what moves a cursor or colours: lines as a person reads them."""
    lines = (line.rpartition("\r")[2] for line in _ESCAPES.sub("", text).replace("\r\n", "\n").split("\n"))
    return "\n".join(
        "".join(one for one in line if one.isprintable() or one == "\t").rstrip() for line in lines
    ).strip()
