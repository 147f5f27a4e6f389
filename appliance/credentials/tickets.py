"""Tickets: what a page puts into the address of a WebSocket, where browsers cannot send a header.

They live in memory: 30 seconds and one use are over before anything could be read back from disk.
"""

from collections import OrderedDict

from attrs import define, field, frozen

from appliance import ids
from appliance.clock import Now
from appliance.credentials.kinds import Caller
from appliance.credentials.rules import TICKET_SECONDS, US
from appliance.errors import Busy

TICKETS_MAX = 10_000


@frozen
class _Ticket:
    caller: Caller
    expires_unix_us: int


@define
class Tickets:
    """Hands out tickets and takes each back once."""

    now: Now
    _tickets: OrderedDict[bytes, _Ticket] = field(factory=OrderedDict, init=False)

    def issue(self, caller: Caller) -> str:
        """Return a ticket that stands for ``caller`` for 30 seconds, once; raises `Busy` when 10,000 are out."""
        self._drop_expired()
        if len(self._tickets) >= TICKETS_MAX:
            raise Busy("too many connections are being opened", hint="try again in a few seconds")
        secret = ids.new_secret("ticket")
        self._tickets[ids.hash_secret(secret)] = _Ticket(caller, self.now() + TICKET_SECONDS * US)
        return secret

    def take(self, secret: str) -> Caller | None:
        """Return whom the ticket stands for and end it; ``None`` for a wrong, used or expired one."""
        if len(secret) > ids.SECRET_LIMIT_BYTES:
            return None
        ticket = self._tickets.pop(ids.hash_secret(secret), None)
        return ticket.caller if ticket is not None and self.now() < ticket.expires_unix_us else None

    def _drop_expired(self) -> None:
        # All live equally long, so the oldest is first.
        now = self.now()
        while self._tickets:
            oldest = next(iter(self._tickets))
            if self._tickets[oldest].expires_unix_us > now:
                return
            del self._tickets[oldest]
