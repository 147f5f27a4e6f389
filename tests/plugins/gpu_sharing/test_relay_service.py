"""The relay's life: what fails around it never ends it, and it ends in order."""

import gc
import os
import resource
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from appliance.testing import until
from plugins.gpu_sharing.relay import Access, Terms
from plugins.gpu_sharing.relay.access import IpAddress
from tests.plugins.gpu_sharing.relayed import HOST, bench, is_closed, is_reset, read, read_all, running, send, talk


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Let this process open so many files and no more."""
    gc.collect()  # what is freed later would be one more
    with open(os.devnull) as next_free, open(os.devnull) as second:
        first_free = next_free.fileno() if count == 0 else second.fileno()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_connection_that_no_descriptor_is_left_for_waits_and_is_served_later() -> None:
    async with bench() as it:
        kept, kept_worker = await it.join()
        late = trio.socket.socket()
        it.opened.append(late)
        with descriptors_left(0):
            await late.connect((HOST, it.port))
            await until(lambda: it.relay.accept_errors, seconds=30)
            # Those who are in notice nothing, and the processor is not spent on asking over and over.
            await send(kept, b"x")
            assert await read(kept_worker, 1) == b"x"
            errors = it.relay.accept_errors
            await until(lambda: it.relay.accept_errors > errors, seconds=30)
            assert it.relay.accept_errors < 20
        await it.accept()
        await until(lambda: it.report.connections_live == 2, seconds=30)


async def test_connection_whose_worker_no_descriptor_is_left_for_ends_cleanly_also_for_who_has_spoken() -> None:
    async with bench() as it:
        client = trio.socket.socket()
        it.opened.append(client)
        with descriptors_left(1), socket.socket(fileno=client.detach()) as spoken:
            # No await in between: what is said lies there, unread, when the relay accepts.
            spoken.setblocking(False)
            spoken.connect_ex((HOST, it.port))
            spoken.send(b"GET / HTTP/1.1")
            client = trio.socket.from_stdlib_socket(spoken)
            assert not await is_reset(client)
        await it.refused("overloaded")
        await it.join()


class Faulty:
    """A rule with a fault in it."""

    def admits(self, address: IpAddress, *, now_unix_us: int) -> bool:
        raise RuntimeError("broken rule")


async def test_fault_at_one_share_refuses_its_connections_and_nobody_elses() -> None:
    async with bench() as it:
        faulty: Access = Faulty()
        port = it.relay.put(Terms(share_id="faulty", target=it.target, access=faulty))
        assert port
        assert await it.is_turned_away(port=port)
        assert it.relay.report("faulty").refused == {"failed": 1}  # type: ignore[union-attr]
        await it.join()


async def test_port_that_stops_listening_is_opened_again() -> None:
    async with bench() as it:
        port = it.port
        # What the kernel does to a listening socket when its namespace's network goes away, done by hand.
        (door,) = [fd for fd in os.listdir("/proc/self/fd") if listens_on(int(fd), port)]
        with socket.socket(fileno=os.dup(int(door))) as same:
            same.shutdown(socket.SHUT_RDWR)
        await until(lambda: it.relay.accept_errors, seconds=30)
        assert it.port == port
        await it.join()


def listens_on(fd: int, port: int) -> bool:
    """Return whether a descriptor is a socket that listens on a port."""
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return False
    except OSError:
        return False  # that of the listing itself
    with socket.socket(fileno=os.dup(fd)) as one:
        listening = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        return bool(listening) and one.getsockname()[1] == port


async def test_shutdown_lets_what_is_in_motion_finish_and_takes_nobody_in() -> None:
    async with bench(drain_seconds=5.0) as it:
        port = it.port
        client, worker = await it.join()
        await send(worker, b"first half, ")
        assert await read(client, 12) == b"first half, "
        it.scope.cancel()
        await until(lambda: it.report.port is None, seconds=30)
        assert await is_closed(port)
        await send(worker, b"second half")
        worker.shutdown(socket.SHUT_WR)
        with trio.fail_after(30):
            assert await read_all(client) == b"second half"
        client.close()
        (end,) = await it.gone()
        assert end.reason == "finished"


async def test_shutdown_cuts_what_goes_on_and_on_when_its_time_is_over() -> None:
    async with bench(drain_seconds=0.3) as it:
        client, worker = await it.join()
        begun = trio.current_time()
        it.scope.cancel()
        with trio.fail_after(30):
            assert await talk(worker)
        assert trio.current_time() - begun > 0.25
        assert await is_reset(client)
        assert [end.reason for end in it.ended] == ["shutdown"]


async def test_shutdown_does_not_wait_for_sessions_that_say_nothing() -> None:
    async with bench(drain_seconds=60.0) as it:
        client, _ = await it.join()
        await until(lambda: it.report.connections_live == 1, seconds=30)
        it.clock.advance(1)
        it.scope.cancel()
        with trio.fail_after(30):
            assert await is_reset(client)
        assert it.report.ended == {"shutdown": 1}


async def test_expiry_cuts_a_session_also_while_the_relay_is_shutting_down() -> None:
    async with bench(drain_seconds=60.0) as it:
        it.relay.put(it.terms(expires_at_unix_us=it.clock() + 100_000))
        client, _ = await it.join()
        await until(lambda: it.report.connections_total == 1, seconds=30)
        it.scope.cancel()
        await until(lambda: it.report.port is None, seconds=30)
        it.clock.advance(0.1)
        with trio.fail_after(30):
            assert await is_reset(client)
        assert it.report.ended == {"expired": 1}


async def test_relay_that_is_started_again_serves_on_and_keeps_its_counts() -> None:
    async with bench() as it:
        port = it.port
        client, _ = await it.join()
        await until(lambda: it.report.connections_total == 1, seconds=30)
        it.scope.cancel()
        assert await is_reset(client)
        async with running(it.relay):
            assert it.port == port
            await it.join()
            await until(lambda: it.report.connections_total == 2, seconds=30)


async def test_nothing_is_left_open_when_the_relay_has_ended() -> None:
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    async with bench() as it:
        client, worker = await it.join()
        for _ in range(3):
            await it.join()
        await send(client, bytes(1 << 20))
        assert await read(worker, 1 << 20) == bytes(1 << 20)
    relay = it.relay
    assert len(set(os.listdir("/proc/self/fd")) - before) == 1, "the epoll of a next run"
    del it, relay
    gc.collect()
    assert set(os.listdir("/proc/self/fd")) <= before
