"""Who calls, and whose things they may see: their own, and nobody else's."""

from typing import Any, Final

from appliance.plugin import PERSON, Call, Core, Forbidden, Kind, NotAuthenticated, NotFound, Role

from .book import Book
from .models import Agent

USERS: Final = PERSON | {Kind.AGENT}
"""Who may use what is documented for users: people, and on GPU hosts the agents of theirs, whose secret is all that the
command line finds there."""


def owner_of(call: Call[Any], core: Core, book: Book) -> str:
    """Return whose things a call is about: a person's id, empty for the appliance's own.

    :raises NotAuthenticated: the agent that calls, or its owner, is gone.
    :raises Forbidden: the owner may only look (role viewer), and the call changes something; or the agent has no owner,
        since it was installed with an administrator's key: a host's secret must not open what is the appliance's own.
    """
    caller = call.caller
    if caller.kind is not Kind.AGENT:
        return caller.subject if caller.kind in (Kind.SESSION, Kind.PAT) else ""
    owner = own_agent(call, book).owner
    if not owner:
        raise Forbidden("this agent belongs to no person, so it acts for none", hint="send a personal access token")
    person = core.people.get(owner)
    if person is None:
        raise NotAuthenticated("the person that this agent belongs to is gone", hint="register it anew")
    if call.head.method not in ("GET", "HEAD") and person.role < Role.USER:
        raise Forbidden("the person that this agent belongs to may only look", hint="ask for role user")
    return owner


def seen_by(call: Call[Any], core: Core, book: Book) -> tuple[str, ...]:
    """Return whose things a call may see and change: one's own, and as an operator those of the appliance itself.

    The latter are this host's workers and their shares, which belong to nobody else.
    """
    owner = owner_of(call, core, book)
    person = core.people.get(owner) if owner else None
    is_operator = call.caller.may(Role.OPERATOR) or (person is not None and person.role >= Role.OPERATOR)
    return (owner, "") if is_operator and owner else (owner,)


def own_agent(call: Call[Any], book: Book) -> Agent:
    """Return the agent whose secret a call carries; raises `NotAuthenticated` when it is gone."""
    try:
        return book.agent(call.caller.subject)
    except NotFound:
        raise NotAuthenticated("this agent is gone", hint="register it anew") from None


def address_of(call: Call[Any]) -> str:
    """Return the address that a call comes from; empty on a unix socket."""
    return call.head.peer[0].partition("%")[0] if call.head.peer else ""
