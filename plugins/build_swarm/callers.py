"""Who calls, and as which drone they may act."""

from appliance.plugin import Caller, Forbidden, Head, Kind

from .states import Drone


def who(caller: Caller) -> str:
    """Return a caller as events and the audit log name it."""
    return caller.name or caller.subject or caller.kind.value


def check_may_be(caller: Caller, name: str, known: Drone | None) -> None:
    """Raise `Forbidden` for a drone's credential that is bound to another name, or none where the drone has one.

    :param name: what the request says the drone is called.
    :param known: the drone that is known by the id or name of the request, which may be called otherwise.
    """
    if caller.kind is Kind.OPEN and known is not None and known.is_proven:
        raise Forbidden(
            f"drone {known.name} has a credential of its own, and nobody is this drone without",
            hint="send its credential; a drone that is deleted can begin anew without one",
        )
    if caller.kind is not Kind.DRONE:
        return
    if name == caller.subject and (known is None or known.name == caller.subject):
        return
    if name == caller.subject and known is not None:
        raise Forbidden(
            f"this credential is that of drone {name}, and what has this id is known as drone {known.name}",
            hint=f"delete drone {known.name} (on its page, or DELETE /api/v1/nodes/{known.name}): it registers anew",
        )
    raise Forbidden(
        f"this credential is that of drone {caller.subject}",
        hint="send the credential of the drone that is named, or name the drone that it is for",
    )


def peer_address(head: Head) -> str:
    """Return the address that a request comes from; empty on a unix socket."""
    return head.peer[0].partition("%")[0] if head.peer is not None else ""
