"""Reads a server's answers: only what is well formed counts, whatever generation of server gave it."""

from typing import Any, Final

from .models import ATOM, Assignment, Orders, StopWork, Verdict

TEXT_MAX: Final = 500
REVOKED_MAX: Final = 10_000


def _text(value: Any) -> str:
    """Return a short text to show, without what a terminal would obey; empty for anything else."""
    return "".join(one for one in value[:TEXT_MAX] if one.isprintable()) if isinstance(value, str) else ""


def _atom(value: Any) -> str | None:
    return value if isinstance(value, str) and ATOM.fullmatch(value) else None


def orders(answer: dict[str, Any]) -> Orders:
    """Read what an answer orders besides."""
    paused, revoked, stop = answer.get("paused"), answer.get("revoke"), answer.get("stop_work")
    sync_to = None
    if answer.get("action") == "sync_portage":
        sync_to = _text(answer.get("expected_timestamp"))
    told = stop if isinstance(stop, dict) else {}
    stopped = _atom(told.get("package"))
    atoms = revoked[:REVOKED_MAX] if isinstance(revoked, list) else []
    return Orders(
        paused=paused if isinstance(paused, bool) else None,
        revoked=tuple(one for one in map(_atom, atoms) if one is not None),
        stop=None if stopped is None else StopWork(package=stopped, reason=_text(told.get("reason"))),
        sync_to=sync_to,
    )


def assignment(answer: dict[str, Any]) -> Assignment:
    """Read the answer to a request for work; the package is as it was sent, also when it is none."""
    package, session_id = answer.get("package"), answer.get("session_id")
    return Assignment(
        package=package[:TEXT_MAX] if isinstance(package, str) and package else None,
        session_id=_text(session_id) or None,
        orders=orders(answer),
    )


def verdict(answer: dict[str, Any]) -> Verdict:
    """Read the answer to a report."""
    accepted = answer.get("accepted")
    is_stale = answer.get("stale") is True or answer.get("action") == "stop_work"
    return Verdict(
        accepted=accepted if isinstance(accepted, bool) else None,
        is_stale=is_stale,
        reason=_text(answer.get("reason")),
        orders=orders(answer),
    )
