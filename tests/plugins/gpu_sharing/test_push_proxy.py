"""The push proxy with real sockets, real TLS and real clients."""

import os
import re
import subprocess
import time
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from appliance.clock import unix_now_us
from appliance.testing import SteppingClock, until
from plugins.gpu_sharing.push_ca import KEY, STREAM_HOST, VALID_DAYS
from plugins.gpu_sharing.push_head import PushRefused
from plugins.gpu_sharing.push_proxy import CHECK_SECONDS, PushLimits, PushNotListening, agent_environment
from plugins.gpu_sharing.push_stream import Pace
from plugins.gpu_sharing.push_tunnel import Tunnels
from tests.plugins.gpu_sharing.pushed import (
    AGENT,
    OTHER,
    OTHER_SECRET,
    SECRET,
    Running,
    connect,
    get,
    prepared,
    pushing,
    read_all,
    read_head,
)


def anywhere(address: IPv4Address | IPv6Address, peer_is_local: bool) -> str | None:
    return None


async def ask_within(running: Running, request: bytes, *, secret: str = "") -> bytes:
    """Send a request within a tunnel to the stream host, and return the whole answer."""
    stream = await running.tunnelled(secret=secret)
    await stream.send_all(request)
    head = await read_head(stream)
    length = re.search(rb"\r\ncontent-length: ([0-9]+)\r\n", head)
    assert length is not None
    body = b""
    while len(body) < int(length[1]):
        body += await stream.receive_some()
    await trio.aclose_forcefully(stream)
    return head + body


async def test_change_arrives_without_being_asked_for(tmp_path: Path) -> None:
    async with pushing(tmp_path) as running:
        events = await (await running.events()).begun()
        assert events.answer is not None
        assert dict(events.answer.headers)[b"content-type"] == b"text/event-stream"
        await until(lambda: running.agents.following == 1)
        for _ in range(2):
            version = running.agents.change()
            with trio.fail_after(30):
                assert await events.next_frame() == [f'{{"config_version": {version}}}']
        await until(lambda: running.proxy.report().frames_total == 2)
        await events.close()


async def test_changes_of_another_agent_are_not_heard(tmp_path: Path) -> None:
    async with pushing(tmp_path) as running:
        events = await (await running.events()).begun()
        await until(lambda: running.agents.following == 1)
        running.agents.change(OTHER)
        version = running.agents.change()
        assert await events.next_frame() == [f'{{"config_version": {version}}}']
        await events.close()


async def test_burst_of_changes_is_two_frames_with_time_to_fetch_between(tmp_path: Path) -> None:
    async with pushing(tmp_path) as running:
        events = await (await running.events()).begun()
        await until(lambda: running.agents.following == 1)
        running.agents.change()
        await events.next_frame()
        first = trio.current_time()
        for _ in range(100):
            version = running.agents.change()
            await trio.lowlevel.checkpoint()
        assert await events.next_frame() == [f'{{"config_version": {version}}}']
        assert trio.current_time() - first > 0.5
        await events.close()


async def test_restarts_have_a_stream_of_their_own(tmp_path: Path) -> None:
    async with pushing(tmp_path) as running:
        events = await (await running.events(f"{AGENT}_vgpu_restart")).begun()
        await until(lambda: running.agents.following == 1)
        running.agents.change()
        running.agents.ask_restart("worker-1", "worker-2")
        with trio.fail_after(30):
            assert await events.next_frame() == ["worker-1", "worker-2"]
        await events.close()


async def test_agents_of_the_second_generation_hear_both_on_one_stream(tmp_path: Path) -> None:
    async with pushing(tmp_path) as running:
        events = await (await running.events(AGENT, f"{AGENT}_vgpu_restart")).begun()
        await until(lambda: running.agents.following == 2)
        running.agents.ask_restart("worker-1")
        assert await events.next_part() == f"event: {AGENT}_vgpu_restart\ndata: worker-1"
        version = running.agents.change()
        assert await events.next_frame() == [f'{{"config_version": {version}}}']
        await events.close()


async def test_agents_of_the_first_generation_find_their_path(tmp_path: Path) -> None:
    async with pushing(tmp_path) as running:
        events = await (await running.events(path="/stream")).begun()
        await events.close()


async def test_silent_stream_is_kept_alive(tmp_path: Path) -> None:
    async with pushing(tmp_path, pace=Pace(keep_alive_seconds=0.05)) as running:
        events = await (await running.events()).begun()
        assert [await events.next_part() for _ in range(3)] == [":", ":", ":"]
        await events.close()


@pytest.mark.parametrize("topic", [AGENT, f"{AGENT}_vgpu_restart", f"{AGENT},{AGENT}_vgpu_restart"])
async def test_stream_of_a_revoked_agent_ends_well_and_is_not_given_again(tmp_path: Path, topic: str) -> None:
    async with pushing(tmp_path) as running:
        events = await (await running.events(topic)).begun()
        await until(lambda: running.agents.following == 1 + ("," in topic))
        running.agents.revoke()
        with trio.fail_after(30):
            assert await events.next_frame() is None
        await until(lambda: running.proxy.report().connections == 0)
        assert running.agents.following == 0
        assert (await ask_within(running, get(topic))).startswith(b"HTTP/1.1 404 there is no such agent\r\n")
        await events.close()


async def test_agent_that_hangs_up_leaves_nothing_behind(tmp_path: Path) -> None:
    async with pushing(tmp_path) as running:
        events = await (await running.events()).begun()
        await until(lambda: running.agents.following == 1)
        assert running.proxy.report().streams == 1
        await events.close()
        await until(lambda: running.proxy.report().connections == 0)
        assert (running.agents.following, running.proxy.report().streams) == (0, 0)


async def test_agent_that_goes_on_talking_is_cut(tmp_path: Path) -> None:
    async with pushing(tmp_path) as running:
        events = await (await running.events()).begun()
        await events.stream.send_all(get(AGENT))
        await until(lambda: running.proxy.report().connections == 0)
        await events.close()


async def test_reader_that_is_too_slow_is_cut(tmp_path: Path) -> None:
    async with pushing(tmp_path, pace=Pace(send_seconds=0.3)) as running:
        await until(lambda: running.proxy.report().connections == 0)
        events = await (await running.events(f"{AGENT}_vgpu_restart")).begun()
        await until(lambda: running.agents.following == 1)
        for turn in range(10_000):
            running.agents.ask_restart(*(f"worker-{turn}-{number}-{'x' * 99}" for number in range(500)))
            await trio.sleep(0.005)
            if running.agents.following == 0:
                break
        await until(lambda: running.proxy.report().connections == 0)
        await events.close()


async def test_secret_in_the_proxys_url_counts(tmp_path: Path) -> None:
    async with pushing(tmp_path) as running:
        events = await (await running.events(secret=SECRET)).begun()
        await events.close()
        assert (await running.asked(connect(f"{STREAM_HOST}:443", secret="wrong"))).startswith(b"HTTP/1.1 407 ")
        answer = await ask_within(running, get(AGENT), secret=OTHER_SECRET)
        assert answer.startswith(b"HTTP/1.1 403 the topic is another agent's than the secret\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get(AGENT, path="/"), 404),
        (get(AGENT, path="/v1/stream/"), 404),
        (get(AGENT, host="example.net"), 421),
        (get(AGENT, method="POST"), 405),
        (get(AGENT).replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
        (get("nobody"), 404),
        (get("*"), 400),
        (get(f"{AGENT},{OTHER}"), 400),
        (get(AGENT).replace(b"X-Sse-Topic", b"X-Other"), 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (get(AGENT)[:-2] + b"a: " + b"b" * 20_000, 431),
    ],
)
async def test_request_that_is_not_for_a_stream_is_refused(tmp_path: Path, request_: bytes, status: int) -> None:
    async with pushing(tmp_path) as running:
        assert (await ask_within(running, request_)).startswith(b"HTTP/1.1 %d " % status)
        assert running.agents.following == 0


@pytest.mark.parametrize(
    "target", ["example.net:443", f"{STREAM_HOST}:80", f"{STREAM_HOST}:8443", "127.0.0.1:443", f"a.{STREAM_HOST}:443"]
)
async def test_connect_to_anything_else_is_refused_in_words(tmp_path: Path, target: str) -> None:
    async with pushing(tmp_path) as running:
        answer = await running.asked(connect(target))
        assert answer.startswith(b"HTTP/1.1 403 this proxy connects to sse.tensor-fusion.ai:443 alone\r\n")
        assert b"NO_PROXY" in answer
        assert running.proxy.report().refused_total == 1


async def test_request_to_be_fetched_by_the_proxy_is_refused(tmp_path: Path) -> None:
    async with pushing(tmp_path, forward=True) as running:
        answer = await running.asked(b"GET http://example.net/ HTTP/1.1\r\nHost: example.net\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 403 this proxy answers CONNECT alone\r\n")


async def echo(stream: trio.SocketStream) -> None:
    while chunk := await stream.receive_some():
        await stream.send_all(chunk)


async def test_tunnel_passes_bytes_untouched_where_it_is_allowed(tmp_path: Path) -> None:
    async with (
        pushing(tmp_path, forward=True, tunnels=Tunnels(why_refused=anywhere)) as running,
        trio.open_nursery() as nursery,
    ):
        listeners = await nursery.start(trio.serve_tcp, echo, 0)
        port = listeners[0].socket.getsockname()[1]
        data = os.urandom(1_000_000)
        async with await running.open() as stream:
            # The first bytes come with the CONNECT, as optimistic clients send them.
            await stream.send_all(connect(f"127.0.0.1:{port}") + data[:1000])
            nursery.start_soon(_send_rest, stream, data[1000:])
            assert await read_head(stream) == b"HTTP/1.1 200 Connection established\r\n\r\n"
            assert running.proxy.report().tunnels == 1
            assert await read_all(stream) == data
        await until(lambda: running.proxy.report().connections == 0)
        nursery.cancel_scope.cancel()


async def _send_rest(stream: trio.SocketStream, data: bytes) -> None:
    await stream.send_all(data)
    await stream.send_eof()


async def test_tunnel_never_leads_to_this_host(tmp_path: Path) -> None:
    async with pushing(tmp_path, forward=True) as running:
        for target in (
            f"127.0.0.1:{running.address[1]}",
            f"localhost:{running.address[1]}",
            "[::1]:22",
            "[::ffff:127.0.0.1]:22",
        ):
            answer = await running.asked(connect(target))
            assert answer.startswith(b"HTTP/1.1 403 this proxy passes nothing on to its own host or its links\r\n")


async def test_peer_elsewhere_is_passed_on_with_an_agents_secret_alone(tmp_path: Path) -> None:
    proxy = prepared(tmp_path, forward=True).proxy
    with pytest.raises(PushRefused) as refused:
        await proxy._far("192.0.2.1", 443, is_local=False, is_known=False)
    assert refused.value.status == 407
    with pytest.raises(PushRefused, match="public addresses alone"):
        await proxy._far("10.1.2.3", 443, is_local=False, is_known=True)


async def test_stream_host_is_answered_here_even_where_others_are_passed_on(tmp_path: Path) -> None:
    async with pushing(tmp_path, forward=True) as running:
        events = await (await running.events()).begun()
        await events.close()


HOSTILE: dict[str, tuple[bytes, bytes]] = {
    "noise": (b"\x00\xff" * 40 + b"\r\n\r\n", b"HTTP/1.1 400 "),
    "TLS at once": (b"\x16\x03\x01\x00\x05hello\r\n\r\n", b"HTTP/1.1 400 "),
    "an endless target": (b"CONNECT " + b"a" * 20_000, b"HTTP/1.1 431 "),
    "no port": (connect(STREAM_HOST), b"HTTP/1.1 400 "),
    "a body": (b"CONNECT a:1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"HTTP/1.1 400 "),
    "two credentials": (
        connect(f"{STREAM_HOST}:443", secret=SECRET)[:-2] + b"Proxy-Authorization: x\r\n\r\n",
        b"HTTP/1.1 400 ",
    ),
    "a tab in the line": (b"CONNECT\ta:1 HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
    "a URL": (b"CONNECT http://a/ HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
    "no TLS in the tunnel": (
        connect(f"{STREAM_HOST}:443") + get(AGENT),
        b"HTTP/1.1 200 Connection established\r\n\r\n",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_peer_is_refused_and_others_are_served(tmp_path: Path, name: str) -> None:
    request, wanted = HOSTILE[name]
    async with pushing(tmp_path) as running:
        with capture_logs() as said:
            assert (await running.asked(request)).startswith(wanted)
            await until(lambda: running.proxy.report().connections == 0)
        assert [line for line in said if line["log_level"] == "error"] == []
        events = await (await running.events()).begun()
        await events.close()


async def _half_a_connect(running: Running) -> trio.abc.Stream:
    stream = await running.open()
    await stream.send_all(b"CONNECT sse")
    return stream


async def _no_handshake(running: Running) -> trio.abc.Stream:
    stream = await running.open()
    await stream.send_all(connect(f"{STREAM_HOST}:443"))
    await read_head(stream)
    return stream


async def _half_a_request(running: Running) -> trio.abc.Stream:
    stream = await running.tunnelled()
    await stream.send_all(b"GET /v1/st")
    return stream


SLOW: dict[str, Callable[[Running], Awaitable[trio.abc.Stream]]] = {
    "says nothing": Running.open,
    "half a CONNECT": _half_a_connect,
    "no handshake": _no_handshake,
    "half a request": _half_a_request,
}


@pytest.mark.parametrize("name", SLOW)
async def test_peer_that_says_no_more_is_cut(tmp_path: Path, name: str) -> None:
    async with pushing(tmp_path, limits=PushLimits(head_seconds=0.3)) as running:
        stream = await SLOW[name](running)
        await read_all(stream)
        await until(lambda: running.proxy.report().connections == 0)
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("name", SLOW)
async def test_peer_that_leaves_early_is_forgotten(tmp_path: Path, name: str) -> None:
    async with pushing(tmp_path) as running:
        stream = await SLOW[name](running)
        await until(lambda: running.proxy.report().connections == 1)
        with capture_logs() as said:
            await trio.aclose_forcefully(stream)
            await until(lambda: running.proxy.report().connections == 0)
        assert said == []


@pytest.mark.parametrize("limits", [PushLimits(connections=2), PushLimits(connections_per_peer=2)], ids=["all", "peer"])
async def test_connections_above_the_limit_are_told_and_closed(tmp_path: Path, limits: PushLimits) -> None:
    async with pushing(tmp_path, limits=limits) as running:
        held = [await running.open() for _ in range(2)]
        await until(lambda: running.proxy.report().connections == 2)
        async with await running.open() as third:
            assert (await read_all(third)).startswith(b"HTTP/1.1 503 too many connections to this proxy\r\n")
        await held.pop().aclose()
        await until(lambda: running.proxy.report().connections == 1)
        events = await (await running.events()).begun()
        await events.close()
        await held.pop().aclose()


async def test_defect_of_the_caller_ends_one_stream_and_is_logged(tmp_path: Path) -> None:
    async with pushing(tmp_path) as running:
        events = await (await running.events()).begun()
        await until(lambda: running.agents.following == 1)
        with capture_logs() as said:
            running.agents.breaks = True
            running.agents.change()
            running.agents.revoke(OTHER)
            await until(lambda: running.proxy.report().connections == 0)
        running.agents.breaks = False
        assert [line["event"] for line in said] == ["a push connection failed"]
        again = await (await running.events()).begun()
        await again.close()
        await events.close()


async def test_new_connections_get_the_renewed_certificate(tmp_path: Path) -> None:
    # What the proxy takes for its first day is long past: the certificate made then holds for 29 days more.
    clock = SteppingClock(unix_now_us() - (VALID_DAYS - 29) * 86_400_000_000)
    async with pushing(tmp_path, now=clock) as running:
        old = await (await running.events()).begun()
        clock.unix_us = unix_now_us()
        await running.proxy.renew()
        new = await (await running.events()).begun()  # its client trusts the file that holds both
        assert old.stream.getpeercert(binary_form=True) != new.stream.getpeercert(binary_form=True)
        await until(lambda: running.agents.following == 2)
        running.agents.change()
        assert await old.next_frame() == await new.next_frame()


async def test_certificates_are_looked_at_every_hour_and_a_failure_ends_no_stream(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    proxy = prepared(tmp_path).proxy
    await proxy.renew()
    generation = next(path for path in (tmp_path / "push").iterdir() if path.is_dir())
    (generation / KEY).rename(tmp_path / "elsewhere")
    with capture_logs() as said:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proxy._keep_renewing)
            ends_at = time.monotonic() + 30  # by the real clock: the other one leaps while a thread reads
            while len(said) < 2 and time.monotonic() < ends_at:
                await trio.sleep(CHECK_SECONDS / 6)
                os.sched_yield()
            nursery.cancel_scope.cancel()
    assert {line["event"] for line in said} == {"the push certificate cannot be renewed"}
    assert {line["log_level"] for line in said} == {"warning"}
    assert trio.current_time() >= 2 * CHECK_SECONDS


async def test_address_that_is_taken_is_told_in_words(tmp_path: Path) -> None:
    async with pushing(tmp_path) as running:
        second = prepared(tmp_path / "second", listen=f"127.0.0.1:{running.address[1]}")
        with pytest.raises(PushNotListening, match="in use") as refused:
            await second.proxy.run()
        assert "push_proxy_listen" in refused.value.hint


@pytest.mark.parametrize("listen", ["192.0.2.1:0", "no.such.host.invalid:0"])
async def test_address_that_is_not_ours_is_told_in_words(tmp_path: Path, listen: str) -> None:
    with pytest.raises(PushNotListening, match="cannot listen on"):
        await prepared(tmp_path, listen=listen).proxy.run()


async def test_proxy_listens_on_ipv6(tmp_path: Path) -> None:
    async with pushing(tmp_path, listen="[::1]:0") as running:
        events = await (await running.events()).begun()
        await events.close()


async def test_proxy_stops_with_its_streams_and_starts_again_on_the_same_address(tmp_path: Path) -> None:
    running = prepared(tmp_path)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(running.proxy.run)
            address = running.address
            events = await (await running.events()).begun()
            nursery.cancel_scope.cancel()
        assert (running.proxy.addresses, running.proxy.report().connections) == ([], 0)
        assert await read_all(events.stream) == b""
        running.proxy.listen = f"127.0.0.1:{address[1]}"
        async with trio.open_nursery() as nursery:
            await nursery.start(running.proxy.run)
            assert running.address == address
            nursery.cancel_scope.cancel()
    await running.close()


async def run_program(*command: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    return await trio.run_process(
        list(command),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env={"PATH": os.environ["PATH"], **environment},
    )


async def _piped(command: list[str], *, task_status: "trio.TaskStatus[trio.Process]") -> None:
    environment = {"PATH": os.environ["PATH"]}
    await trio.run_process(command, stdout=subprocess.PIPE, env=environment, task_status=task_status)


async def test_curl_hears_of_a_change_through_the_proxy(tmp_path: Path) -> None:
    async with pushing(tmp_path) as running:
        command = ["curl", "--silent", "--no-buffer", "--include", "--max-time", "15", "--proxy", running.url]
        command += [
            "--cacert",
            running.authorities,
            "--header",
            f"x-sse-topic: {AGENT}",
            f"https://{STREAM_HOST}/v1/stream",
        ]
        async with trio.open_nursery() as nursery:
            curl = await nursery.start(_piped, command)
            await until(lambda: running.agents.following == 1)
            version = running.agents.change()
            heard = b""
            with trio.fail_after(30):
                while f'data: {{"config_version": {version}}}\n\n'.encode() not in heard:
                    heard += await curl.stdout.receive_some()
            assert b"HTTP/1.1 200 Connection established\r\n" in heard
            assert b"content-type: text/event-stream\r\n" in heard
            running.agents.revoke()  # and curl ends without a complaint, or run_process raises


async def test_curl_takes_the_variables_that_agents_are_given(tmp_path: Path) -> None:
    async with pushing(tmp_path) as running:
        port = running.address[1]
        variables = agent_environment(
            f"http://agent:{SECRET}@127.0.0.1:{port}", running.authorities, direct=["127.0.0.1", "gpu.example.net"]
        )
        assert variables["NO_PROXY"] == "127.0.0.1,gpu.example.net"
        found = await run_program(
            "curl",
            "--silent",
            "--max-time",
            "0.5",
            "--header",
            f"x-sse-topic: {AGENT}",
            f"https://{STREAM_HOST}/v1/stream",
            **variables,
        )
        assert found.stdout == b":\n\n"
        refused = await run_program("curl", "--silent", "--show-error", "https://example.net/", **variables)
        assert refused.returncode != 0
        assert b"403" in refused.stderr


async def test_curl_refuses_the_proxy_without_its_authority(tmp_path: Path) -> None:
    async with pushing(tmp_path) as running:
        found = await run_program("curl", "--silent", "--proxy", running.url, f"https://{STREAM_HOST}/v1/stream")
        assert found.returncode == 60  # "peer certificate cannot be authenticated with known CA certificates"


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_openssl_verifies_what_is_served(tmp_path: Path, version: str) -> None:
    async with pushing(tmp_path) as running:
        command = ["openssl", "s_client", "-proxy", f"127.0.0.1:{running.address[1]}", "-connect", f"{STREAM_HOST}:443"]
        command += ["-servername", STREAM_HOST, "-verify_hostname", STREAM_HOST, "-verify_return_error", version]
        found = await run_program(*command, "-CAfile", running.authorities, "-x509_strict", "-brief")
        assert b"CONNECTION ESTABLISHED" in found.stderr
        assert b"Verification: OK" in found.stderr
        assert f"Verified peername: {STREAM_HOST}".encode() in found.stderr


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
async def test_old_tls_is_refused(tmp_path: Path, version: str) -> None:
    async with pushing(tmp_path) as running:
        command = ["openssl", "s_client", "-proxy", f"127.0.0.1:{running.address[1]}", "-connect", f"{STREAM_HOST}:443"]
        found = await run_program(*command, version, "-cipher", "ALL:@SECLEVEL=0", "-brief")
        assert found.returncode != 0
        assert b"CONNECTION ESTABLISHED" not in found.stderr
