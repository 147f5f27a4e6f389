"""The TCP relay in front of this host's workers: each live share has its own port.

So counting, limits and cutting are exact per share and peer. `Relay` is the service; it is told what to serve by
`Relay.put` and `Relay.remove`, and can be read at any time. All its connections are served by one task (`pump`), which
asks the kernel through an epoll of its own: no task and no buffer per connection. Bytes pass unchanged both ways, and
so do a half-close, a reset and a reader that is slow.
"""

from .access import Access, Anyone, Networks, Redeemed, address_of
from .reports import PeerReport, SessionReport, ShareReport
from .service import Relay
from .terms import Terms

__all__ = [
    "Access",
    "Anyone",
    "Networks",
    "PeerReport",
    "Redeemed",
    "Relay",
    "SessionReport",
    "ShareReport",
    "Terms",
    "address_of",
]
