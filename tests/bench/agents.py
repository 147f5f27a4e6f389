"""Many agents in one process: prebuilt bodies, one keep-alive connection each, as cheap as Python can be.

What it costs is told with the figures, since it shares the machine with what it measures.
"""

import json
import selectors
import socket
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import define, field, frozen

PLACE = "2026-11-21T08:00:00.123456+00:00"


def sample(number: int = 0) -> dict[str, Any]:
    """Return the sample of a host with 8 GPUs, 4 disks and 6 fans."""
    return {
        "collected_at": PLACE,
        "cpu_usage_percent": 32.1,
        "cpu_user_percent": 21.0,
        "cpu_system_percent": 8.4,
        "cpu_iowait_percent": 2.7,
        "cpu_load_1": 6.2,
        "cpu_load_5": 5.8,
        "cpu_load_15": 5.1,
        "cpu_frequency_mhz": 2880.0,
        "cpu_temperature_c": 61.5,
        "cpu_count_logical": 64,
        "cpu_count_physical": 32,
        "memory_total_bytes": 274877906944,
        "memory_used_bytes": 198642237440,
        "memory_available_bytes": 76235669504,
        "memory_percent": 72.3,
        "swap_total_bytes": 0,
        "swap_used_bytes": 0,
        "swap_percent": 0.0,
        "network_rx_bytes_total": 123456789012,
        "network_tx_bytes_total": 23456789012,
        "process_count": 412,
        "disks": [
            {
                "device": f"nvme{each}n1",
                "read_bytes_total": 111111111111,
                "write_bytes_total": 22222222222,
                "read_count_total": 1234567,
                "write_count_total": 456789,
                "busy_time_ms_total": 9876543,
            }
            for each in range(4)
        ],
        "gpus": [
            {
                "gpu_index": each,
                "name": "NVIDIA A100-SXM4-80GB",
                "uuid": f"GPU-{number:08x}-5fd4-f60b-c7a5-6f2a1b3c4d{each:02x}",
                "utilization_gpu_percent": 93.0,
                "utilization_memory_percent": 71.0,
                "memory_total_bytes": 85899345920,
                "memory_used_bytes": 68719476736,
                "memory_percent": 80.0,
                "temperature_c": 64.0,
                "fan_speed_percent": 45.0,
                "power_w": 311.0,
                "power_limit_w": 400.0,
            }
            for each in range(8)
        ],
        "fans": [{"label": f"fan{each}", "speed_rpm": 1200.0 + each} for each in range(6)],
    }


def agent() -> dict[str, Any]:
    """Return what an agent says of itself, of the usual size."""
    interfaces = [
        {"name": f"eno{each}", "ipv4": [f"192.0.2.{each}"], "ipv6": [f"2001:db8::{each}"]} for each in range(4)
    ]
    partition = {
        "device": "/dev/nvme0n1p2",
        "mountpoint": "/",
        "fstype": "ext4",
        "total_bytes": 10**12,
        "percent": 10.0,
    }
    return {
        "version": "0.2.0",
        "hostname": "train01",
        "user": "root",
        "platform": "Linux-6.8.0-47-generic-x86_64-with-glibc2.39",
        "python": "3.12.3",
        "pid": 4711,
        "labels": {"rack": "r1", "role": "trainer"},
        "disk_filters": {"include": [], "exclude": ["loop", "ram"]},
        "system_info": {
            "os_name": "Linux",
            "os_release": "6.8.0-47-generic",
            "machine": "x86_64",
            "cpu_model": "AMD EPYC 9354 32-Core Processor",
            "partitions": [partition, {**partition, "mountpoint": "/data"}, {**partition, "mountpoint": "/scratch"}],
            "interfaces": interfaces,
        },
    }


@define(eq=False)
class Sender:
    """One agent's connection and its request but for the time."""

    sock: socket.socket
    before: bytes
    after: bytes
    sent_at: float = 0.0
    is_waiting: bool = False
    due_at: float = 0.0
    acknowledged: int = 0
    refused: list[int] = field(factory=list)
    """Statuses that were not 200."""
    _received: bytes = field(default=b"", init=False)

    @classmethod
    def connect(cls, port: int, slug: str, token: str, number: int) -> "Sender":
        """Open the connection and build the request."""
        body = json.dumps({"sample": sample(number), "agent": agent()}).encode()
        head = (
            f"POST /api/ingest/servers/{slug}/metrics/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            "User-Agent: python-requests/2.32.3\r\nAccept-Encoding: gzip, deflate\r\nAccept: application/json\r\n"
            f"Connection: keep-alive\r\nContent-Type: application/json\r\nX-Monitoring-Token: {token}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        before, _, after = (head + body).partition(PLACE.encode())
        return cls(sock, before, after)

    def send(self) -> None:
        """Send one sample, taken now."""
        at = datetime.now(UTC).isoformat(timespec="microseconds").encode()
        self.sent_at, self.is_waiting = time.perf_counter(), True
        self.sock.sendall(self.before + at + self.after)

    def receive(self) -> int:
        """Take what has come; return the status of a whole answer, 0 until it is."""
        data = self.sock.recv(65_536)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return 0
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        if len(body) < int(length[15:]):
            return 0
        status, self._received, self.is_waiting = int(head[9:12]), b"", False
        if status == 200:
            self.acknowledged += 1
        else:
            self.refused.append(status)
        return status


@frozen(kw_only=True)
class Load:
    """How a load went."""

    per_s: float
    p50_ms: float
    p99_ms: float
    failed: int
    """Answers that were not 200."""
    own_percent: float
    """What the agents themselves took of one core."""


def hammer(senders: Sequence[Sender], count: int) -> Load:
    """Send ``count`` samples as fast as they are answered, each connection one at a time."""
    waiting = _watching(senders)
    latencies: list[float] = []
    failed = sent = 0
    start, own = time.perf_counter(), time.process_time()
    for sender in senders:
        sender.send()
        sent += 1
    while len(latencies) < count:
        for key, _ in waiting.select():
            sender = key.data
            status = sender.receive()
            if status:
                latencies.append(time.perf_counter() - sender.sent_at)
                failed += status != 200
                if sent < count:
                    sender.send()
                    sent += 1
    waiting.close()
    return _load(latencies, failed, time.perf_counter() - start, time.process_time() - own)


def fleet(senders: Sequence[Sender], seconds: float, interval_seconds: float = 2.0) -> tuple[Load, int]:
    """Let every agent report in its interval for a time; return how it went, and how many rounds came too late."""
    waiting = _watching(senders)
    latencies: list[float] = []
    failed = late = 0
    start, own = time.perf_counter(), time.process_time()
    for place, sender in enumerate(senders):
        sender.due_at = start + interval_seconds * place / len(senders)
    end = start + seconds
    while (now := time.perf_counter()) < end or any(sender.is_waiting for sender in senders):
        for sender in senders:
            if sender.due_at <= now < end:
                sender.due_at += interval_seconds
                late += sender.is_waiting
                if not sender.is_waiting:
                    sender.send()
        for key, _ in waiting.select(0.005):
            status = key.data.receive()
            if status:
                latencies.append(time.perf_counter() - key.data.sent_at)
                failed += status != 200
    waiting.close()
    return _load(latencies, failed, time.perf_counter() - start, time.process_time() - own), late


def _watching(senders: Sequence[Sender]) -> selectors.BaseSelector:
    made = selectors.DefaultSelector()
    for sender in senders:
        made.register(sender.sock, selectors.EVENT_READ, sender)
    return made


def _load(latencies: list[float], failed: int, seconds: float, own_seconds: float) -> Load:
    ordered = sorted(latencies)
    return Load(
        per_s=len(ordered) / seconds,
        p50_ms=ordered[len(ordered) // 2] * 1000,
        p99_ms=ordered[len(ordered) * 99 // 100] * 1000,
        failed=failed,
        own_percent=own_seconds / seconds * 100,
    )
