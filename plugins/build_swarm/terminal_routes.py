"""The documented terminal: a WebSocket of the admin surface, for whoever has the key."""

from typing import Any

from attrs import field, frozen
from attrs.validators import and_, ge, le

from appliance.plugin import Call, Kind, NotAuthenticated, Role, Socket

from .approval import Who
from .state import SwarmState
from .surfaces import KEYED, admin

_SIDE: Any = and_(ge(1), le(1000))


@frozen(kw_only=True)
class TerminalQuery:
    """How large the terminal is at first; ``resize`` changes it."""

    cols: int = field(default=80, validator=_SIDE)
    rows: int = field(default=24, validator=_SIDE)


def admit(call: Call[None]) -> None:
    """Refuse who has no key of their own, an unknown drone, and one that is not approved: before the upgrade.

    A shell on another machine is more than what a local process is trusted with.
    """
    if call.caller.kind is Kind.TRUST:
        raise NotAuthenticated("a credential is needed here")
    state: SwarmState = call.state
    state.approvals.of(state.swarm.drone(call.path["name"]))
    state.ssh_parts.keys.require_programs()
    state.ssh_parts.terminals.require_room()


@admin.websocket("/ws/ssh/{name}", caller=KEYED, role=Role.OPERATOR, query=TerminalQuery, admit=admit)
async def terminal(call: Call[None], socket: Socket) -> None:
    """Open a terminal on a drone: ``input``, ``resize`` and raw bytes in; ``connected``, ``output`` and errors out."""
    state: SwarmState = call.state
    approval = state.approvals.of(state.swarm.drone(call.path["name"]))
    await state.ssh_parts.terminals.serve(socket, approval, Who.of(call), columns=call.query.cols, rows=call.query.rows)
