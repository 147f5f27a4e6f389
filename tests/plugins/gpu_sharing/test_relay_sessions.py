"""Who gets in, who is cut and when, and what is counted of it."""

import gc
import select
import socket
import struct
import tracemalloc
from contextlib import ExitStack

import pytest
import trio

from appliance.testing import until
from plugins.gpu_sharing.relay import Anyone, Networks, Redeemed, SessionReport, Terms
from plugins.gpu_sharing.relay.flow import Side
from plugins.gpu_sharing.relay.pipes import Pipes
from plugins.gpu_sharing.relay.reports import PEERS_MAX, ShareCounts
from plugins.gpu_sharing.relay.session import CONNECT_SECONDS, Ended, Session
from plugins.gpu_sharing.relay.share import LiveShare
from tests.plugins.gpu_sharing.relayed import HOST, bench, bound, is_closed, is_reset, read, send, talk

HOUR_SECONDS = 3600.0
RESET = struct.pack("ii", 1, 0)
"""Of SO_LINGER: to close is to reset."""
CUT_SECONDS = 30.0
"""Within which a live session that must be cut is; nothing else would end it."""


async def test_refused_address_is_reset_and_the_worker_hears_nothing_of_it() -> None:
    async with bench(access=Networks(["127.0.0.2/32"])) as it:
        assert await it.is_turned_away()
        await it.refused("access")
        client, worker = await it.join(source="127.0.0.2")
        await send(client, b"x")
        assert await read(worker, 1) == b"x"
        assert (it.peer.address, it.report.connections_total) == ("127.0.0.2", 1)


async def test_redeemed_address_is_let_in_until_its_time_is_over_and_is_asked_at_each_connection() -> None:
    access = Redeemed()
    async with bench(access=access) as it:
        assert await it.is_turned_away()
        access.note(HOST, at_unix_us=it.clock())
        client, worker = await it.join()
        it.clock.advance(12 * HOUR_SECONDS)
        assert await it.is_turned_away()
        await it.refused("access", 2)
        # Who is in stays in: the question is who may connect.
        await send(client, b"x")
        assert await read(worker, 1) == b"x"


async def test_connection_over_the_limit_is_reset_and_one_is_let_in_when_another_has_left() -> None:
    async with bench() as it:
        it.relay.put(it.terms(connections_max=2))
        first, first_worker = await it.join()
        await it.join()
        assert await it.is_turned_away()
        await it.refused("limit")
        first.close()
        first_worker.close()
        await it.gone()
        await it.join()


async def test_connections_of_all_shares_together_are_limited() -> None:
    async with bench(sessions_max=1) as it:
        await it.join()
        assert await it.is_turned_away()
        await it.refused("full")


async def test_expiry_cuts_a_live_download_with_a_reset_at_once_and_closes_the_port() -> None:
    async with bench() as it:
        port = it.port
        it.relay.put(it.terms(expires_at_unix_us=it.clock() + 3_600_000_000))
        client, worker = await it.join()
        await send(worker, b"half of it")
        assert await read(client, 10) == b"half of it"
        it.clock.advance(3599.9)
        with trio.move_on_after(0.5) as waited:
            await client.recv(1)
        assert waited.cancelled_caught, "not before its time"
        it.clock.advance(0.1)
        with trio.fail_after(CUT_SECONDS):
            assert await is_reset(client)
            assert await is_reset(worker)
        (end,) = it.ended
        assert (end.reason, end.bytes_to_peer, end.ended_at_unix_us) == ("expired", 10, it.clock())
        assert (it.report.port, it.report.problem, it.report.ended) == (None, "", {"expired": 1})
        assert await is_closed(port)


def test_share_lets_nobody_in_from_the_moment_of_its_end_on() -> None:
    share = LiveShare(Terms(share_id="share", target=(HOST, 9), access=Anyone(), expires_at_unix_us=1000))
    assert share.refuse(HOST, now_unix_us=999) == ""
    assert share.refuse(HOST, now_unix_us=1000) == "expired"


async def test_share_that_is_renewed_after_its_end_listens_where_it_did() -> None:
    async with bench() as it:
        port = it.port
        it.relay.put(it.terms(expires_at_unix_us=it.clock()))
        assert it.report.port is None
        assert it.relay.put(it.terms(expires_at_unix_us=it.clock() + 1)) == port
        await it.join()


async def test_revocation_cuts_live_sessions_at_once_and_returns_the_last_report() -> None:
    async with bench() as it:
        port = it.port
        client, worker = await it.join()
        await send(client, b"12345")
        assert await read(worker, 5) == b"12345"
        report = it.relay.remove("share")
        assert report is not None
        assert (report.bytes_from_peer, report.ended, report.connections_live) == (5, {"revoked": 1}, 0)
        with trio.fail_after(CUT_SECONDS):
            assert await is_reset(client)
            assert await is_reset(worker)
        assert it.relay.report("share") is None
        assert it.relay.sessions("share") == []
        assert it.relay.remove("share") is None
        assert await is_closed(port)


async def test_session_is_cut_although_a_slow_reader_holds_its_bytes_up() -> None:
    async with bench() as it:
        _, worker = await it.join()
        with trio.move_on_after(0.3):
            while True:
                await worker.send(bytes(1 << 20))
        it.relay.remove("share")
        with pytest.raises((ConnectionResetError, BrokenPipeError)), trio.fail_after(CUT_SECONDS):
            await worker.send(b"x")


async def test_lowered_limit_cuts_the_newest_sessions() -> None:
    async with bench() as it:
        joined = [await it.join() for _ in range(4)]
        it.relay.put(it.terms(connections_max=2))
        with trio.fail_after(CUT_SECONDS):
            for client, worker in joined[2:]:
                assert await is_reset(client)
                assert await is_reset(worker)
        for client, worker in joined[:2]:
            await send(client, b"x")
            assert await read(worker, 1) == b"x"
        assert it.report.ended == {"limit": 2}
        assert it.report.connections_live == 2


async def test_stricter_rule_cuts_whom_it_does_not_admit_and_the_same_rule_nobody() -> None:
    async with bench(access=Networks(["127.0.0.0/8"])) as it:
        kept, kept_worker = await it.join(source="127.0.0.2")
        cut, _ = await it.join(source="127.0.0.3")
        it.relay.put(it.terms(Networks(["127.0.0.0/8"]), connections_max=100))
        assert it.report.connections_live == 2
        it.relay.put(it.terms(Networks(["127.0.0.2/32"])))
        with trio.fail_after(CUT_SECONDS):
            assert await is_reset(cut)
        await send(kept, b"x")
        assert await read(kept_worker, 1) == b"x"
        assert it.report.ended == {"access": 1}


async def test_worker_that_is_down_is_a_clean_end_and_a_counted_reason_also_for_who_has_spoken() -> None:
    with bound() as down:
        async with bench() as it:
            it.relay.put(it.terms(target=down.getsockname()))
            client = await it.dial()
            await send(client, b"GET / HTTP/1.1\r\n\r\n" * 1000)
            assert not await is_reset(client)
            await it.refused("target_down")
            assert (it.report.connections_total, it.report.connections_live, it.ended) == (0, 0, [])


async def test_share_whose_worker_does_not_run_says_so_and_serves_once_it_does() -> None:
    async with bench() as it:
        it.relay.put(it.terms(target=None))
        assert not await it.is_turned_away()
        await it.refused("no_target")
        it.relay.put(it.terms())
        await it.join()


async def test_worker_that_never_answers_is_given_up_after_some_seconds() -> None:
    now = 0.0
    # A queue of one that is full: what comes then waits for an answer that does not come.
    with socket.socket() as full, socket.socket() as queued, socket.socket() as queued_too:
        full.bind((HOST, 0))
        full.listen(0)
        for one in (queued, queued_too):
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        async with bench(monotonic=lambda: now) as it:
            it.relay.put(it.terms(target=full.getsockname()))
            client = await it.dial()
            await until(lambda: it.report.connections_live == 1, seconds=30)
            assert it.relay.sessions("share") == []
            now = CONNECT_SECONDS
            assert not await is_reset(client)
            await it.refused("target_down")


async def test_client_that_resets_while_the_worker_is_being_reached_is_counted_as_refused() -> None:
    with socket.socket() as full, socket.socket() as queued, socket.socket() as queued_too:
        full.bind((HOST, 0))
        full.listen(0)
        for one in (queued, queued_too):
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        async with bench() as it:
            it.relay.put(it.terms(target=full.getsockname()))
            client = await it.dial()
            await until(lambda: it.report.connections_live == 1, seconds=30)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
            await it.refused("peer_reset")
            assert it.report.connections_live == 0


def session(client: socket.socket, worker: socket.socket) -> Session:
    """Return a session that is about to learn what became of its connection to the worker."""
    client.setblocking(False)
    worker.setblocking(False)
    one = Session("share", HOST, 1, Side(client), Side(worker), Pipes(), 0, 0, 0.0, Session.advance)
    one.hear(client.fileno(), select.EPOLLOUT)
    one.hear(worker.fileno(), select.EPOLLIN | select.EPOLLOUT)
    return one


def test_connection_that_has_met_itself_is_no_worker() -> None:
    with bound() as worker, socket.socket() as client:
        worker.connect(worker.getsockname())
        with pytest.raises(Ended) as ended:
            session(client, worker).advance()
        assert ended.value.reason == "target_down"


def test_worker_that_spoke_and_reset_before_the_relay_looked_is_heard_and_no_orderly_end() -> None:
    with socket.create_server((HOST, 0)) as listener, ExitStack() as stack:
        far, client, worker, served = (stack.enter_context(one) for _ in range(2) for one in pair(listener))
        served.send(b"go away")
        served.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        served.close()
        with pytest.raises(Ended) as ended:
            session(client, worker).advance()
        assert ended.value.reason == "worker_reset"
        far.settimeout(30)
        assert far.recv(100) == b"go away"
        far.setblocking(False)
        with pytest.raises(BlockingIOError):
            far.recv(1)  # the end comes with the session's close: a reset


def pair(listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a connection: who connected, and who was connected to."""
    one = socket.create_connection(listener.getsockname())
    return one, listener.accept()[0]


async def test_client_of_a_worker_that_is_down_cannot_stay_by_going_on_talking() -> None:
    now = 0.0
    with bound() as down:
        async with bench(monotonic=lambda: now) as it:
            it.relay.put(it.terms(target=down.getsockname()))
            client = await it.dial()
            with trio.fail_after(30):
                assert await client.recv(1) == b""
            await send(client, b"and another thing")
            now = 2.0
            with trio.fail_after(30):
                assert await talk(client)


async def test_bytes_connections_and_times_are_counted_per_share_and_peer() -> None:
    async with bench() as it:
        begun = it.clock()
        one, one_worker = await it.join(source="127.0.0.2")
        two, _ = await it.join(source="127.0.0.3")
        await until(lambda: it.report.connections_total == 2, seconds=30)
        it.clock.advance(60)
        await send(one, b"x" * 1000)
        assert await read(one_worker, 1000) == b"x" * 1000
        await send(one_worker, b"y" * 30)
        assert await read(one, 30) == b"y" * 30
        report = await until(lambda: it.report if it.report.bytes_to_peer == 30 else None, seconds=30)
        assert (report.connections_live, report.connections_total) == (2, 2)
        assert (report.bytes_from_peer, report.bytes_to_peer) == (1000, 30)
        assert report.last_active_at_unix_us == it.clock()
        busy, quiet = report.peers
        assert (busy.address, busy.bytes_from_peer, busy.bytes_to_peer) == ("127.0.0.2", 1000, 30)
        assert (busy.first_seen_at_unix_us, busy.last_active_at_unix_us) == (begun, it.clock())
        assert (quiet.address, quiet.bytes_from_peer, quiet.last_active_at_unix_us) == ("127.0.0.3", 0, begun)
        assert [(live.address, live.port, live.opened_at_unix_us) for live in it.relay.sessions("share")] == [
            ("127.0.0.2", one.getsockname()[1], begun),
            ("127.0.0.3", two.getsockname()[1], begun),
        ]


async def test_peer_keeps_its_first_seen_time_and_sums_when_it_comes_back() -> None:
    async with bench() as it:
        begun = it.clock()
        for number in range(3):
            client, worker = await it.join()
            await send(client, b"x")
            assert await read(worker, 1) == b"x"
            client.close()
            worker.close()
            await it.gone(number + 1)
            it.clock.advance(10)
        assert (it.peer.first_seen_at_unix_us, it.peer.last_active_at_unix_us) == (begun, begun + 20_000_000)
        assert (it.peer.connections_live, it.peer.connections_total, it.peer.bytes_from_peer) == (0, 3, 3)
        assert it.report.ended == {"finished": 3}


def test_peers_that_are_remembered_are_bounded_and_a_live_one_is_never_forgotten() -> None:
    counts = ShareCounts()
    live = counts.admit("10.0.0.1", now_unix_us=1)
    for number in range(PEERS_MAX + 10):
        peer = counts.admit(f"2001:db8::{number:x}", now_unix_us=2)
        counts.carried(peer, from_peer=1, to_peer=0, now_unix_us=3)
        peer.connections_live -= 1
    assert len(counts.peers) == PEERS_MAX
    assert counts.peers["10.0.0.1"] is live
    assert counts.bytes_from_peer == counts.connections_total - 1 == PEERS_MAX + 10


async def test_listener_for_ends_that_fails_costs_nobody_a_connection() -> None:
    def fail(report: SessionReport) -> None:
        raise RuntimeError(report.reason)

    async with bench(on_ended=fail) as it:
        client, worker = await it.join()
        client.close()
        worker.close()
        await until(lambda: it.report.ended == {"finished": 1}, seconds=30)
        await it.join()


async def test_listener_for_ends_may_remove_the_share() -> None:
    async with bench() as it:
        it.relay.on_ended = lambda report: it.relay.remove(report.share_id)
        it.relay.put(it.terms(expires_at_unix_us=it.clock() + 1_000_000))
        clients = [await it.join() for _ in range(3)]
        it.clock.advance(1)
        with trio.fail_after(CUT_SECONDS):
            for client, _ in clients:
                assert await is_reset(client)
        assert it.relay.report("share") is None
        it.relay.put(it.terms())
        await it.join()


async def test_connections_add_no_task_each() -> None:
    async with bench() as it:
        before = trio.lowlevel.current_statistics().tasks_living
        for client, worker in [await it.join() for _ in range(50)]:
            await send(client, b"x")
            assert await read(worker, 1) == b"x"
        assert it.report.connections_live == 50
        assert trio.lowlevel.current_statistics().tasks_living == before


async def test_idle_connections_take_little_memory_each() -> None:
    async with bench() as it:
        await it.join()
        gc.collect()
        tracemalloc.start()
        try:
            joined = [await it.join() for _ in range(100)]
            for client, worker in joined:
                await send(client, b"x")
                assert await read(worker, 1) == b"x"
            gc.collect()
            added, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # The bar is 40 MB for 1,000; this counts the two ends that the test itself holds too.
        assert added < 100 * 10_000
