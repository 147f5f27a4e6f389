"""Long lists, in pieces: what thousands of agents are shown as is never in memory as a whole, and holds nobody up."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from itertools import islice
from typing import Final, TypeVar

import msgspec
import trio

from appliance.plugin import Stream

ItemT = TypeVar("ItemT")

WHOLE_MAX: Final = 64
"""Agents whose list is answered at once, with its length and compressed."""
PIECE_AGENTS: Final = 4
"""Agents whose items are made and encoded without a pause: some milliseconds, where each has 16 workers."""
_encode: Final = msgspec.json.Encoder().encode


def in_pieces(name: str, agents: Sequence[ItemT], items_of: Callable[[ItemT], Iterable[object]]) -> Stream:
    """Return an answer ``{name: [items]}`` that is made while it is sent.

    :param items_of: returns the items of an agent; each is encoded as msgspec does.
    """
    return Stream(chunks=_pieces(name, agents, items_of), content_type="application/json")


async def _pieces(
    name: str, agents: Sequence[ItemT], items_of: Callable[[ItemT], Iterable[object]]
) -> AsyncIterator[bytes]:
    waiting = b"{%s:[" % _encode(name)
    comma = b""
    left = iter(agents)
    while some := list(islice(left, PIECE_AGENTS)):
        items = _encode([item for agent in some for item in items_of(agent)])[1:-1]
        if items:
            yield waiting + comma + items
            waiting, comma = b"", b","
        await trio.lowlevel.checkpoint()
    yield waiting + b"]}"
