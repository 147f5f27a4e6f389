"""How a machine leaves: with its tokens where asked, its history, and its place in the inventory."""

import sqlite3
from contextlib import suppress

from appliance.plugin import Core, NotFound, revoke_credential

from .machines import Machines
from .models import Machine


async def remove(core: Core, machines: Machines, machine: Machine, *, revoke_token: bool = False) -> int:
    """Delete a machine; return how many tokens have ended with it.

    The token that it was made or registered with ends only when asked: others of its pool may use the same one.

    :raises Conflict: it is the host we run on.
    """
    ended: list[str] = []

    def within(connection: sqlite3.Connection) -> None:
        ended.clear()
        if revoke_token and revoke_credential(connection, machine.credential_id, now_unix_us=core.now()):
            ended.append(machine.credential_id)

    await machines.delete(machine, within)
    core.credentials.forget(ended)
    await core.series.forget(machine.host_id)
    with suppress(NotFound):  # it has never registered
        await core.inventory.forget(machine.host_id)
    return len(ended)
