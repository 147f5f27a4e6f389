"""The one task that serves all sockets shares its time, among them and with the rest of the process."""

import select
import socket

import trio
from attrs import define

from appliance.testing import until
from plugins.gpu_sharing.relay.pump import Pump


@define(eq=False)
class Busy:
    """Always has more to do, for very many turns."""

    left: int = 100_000
    heard: int = 0

    def hear(self, fd: int, events: int) -> None:
        self.heard |= events

    def serve(self) -> bool:
        self.left -= 1
        return self.left > 0


async def test_work_without_an_end_leaves_turns_to_other_tasks_and_to_other_sockets() -> None:
    pump, first, second = Pump(), Busy(), Busy()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pump.watch(ours.fileno(), first, select.EPOLLOUT | select.EPOLLET)
        pump.watch(theirs.fileno(), second, select.EPOLLOUT | select.EPOLLET)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump.run)
            for _ in range(5):
                await trio.lowlevel.checkpoint()
            assert 0 < first.left < 100_000, "it works, and has not come to its end before anybody else had a turn"
            assert abs(first.left - second.left) <= 1
            nursery.cancel_scope.cancel()
        pump.close()


async def test_socket_that_is_forgotten_has_no_turn_although_the_kernel_had_news_of_it() -> None:
    pump, owner = Pump(), Busy()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pump.watch(ours.fileno(), owner, select.EPOLLOUT | select.EPOLLET)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump.run)
            await until(lambda: owner.heard)
            pump.forget(ours.fileno(), ours.fileno(), theirs.fileno())
            left = owner.left
            for _ in range(5):
                await trio.lowlevel.checkpoint()
            assert (owner.left, owner.heard) == (left, select.EPOLLOUT)
            nursery.cancel_scope.cancel()
        pump.close()
