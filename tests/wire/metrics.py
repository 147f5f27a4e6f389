"""Agents and dashboards of the metrics API as its clients speak it: bodies, headers, one connection kept open."""

import http.client
import itertools
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2 as httpx
from attrs import define, field, frozen

from tests.product.served import Product

_NUMBERS = itertools.count(1)
DOCUMENTED: dict[str, Any] = {
    "collected_at": "2026-02-26T02:37:49.120000+00:00",
    "cpu_usage_percent": 32.1,
    "cpu_user_percent": 21.0,
    "cpu_system_percent": 8.4,
    "cpu_iowait_percent": 2.7,
    "cpu_load_1": 6.2,
    "cpu_load_5": 5.8,
    "cpu_load_15": 5.1,
    "cpu_frequency_mhz": 2880.0,
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
            "device": "nvme0n1",
            "read_bytes_total": 111111111111,
            "write_bytes_total": 22222222222,
            "read_count_total": 1234567,
            "write_count_total": 456789,
            "busy_time_ms_total": 9876543,
        }
    ],
    "gpus": [
        {
            "gpu_index": 0,
            "name": "NVIDIA A100-SXM4-80GB",
            "uuid": "GPU-xxxx",
            "utilization_gpu_percent": 98.0,
            "utilization_memory_percent": 71.0,
            "memory_total_bytes": 85899345920,
            "memory_used_bytes": 68719476736,
            "memory_percent": 80.0,
            "temperature_c": 64.0,
            "power_w": 311.0,
            "power_limit_w": 400.0,
        }
    ],
}
"""The sample of the API's own document."""
AGENT: dict[str, Any] = {
    "version": "0.1.0",
    "hostname": "train01",
    "platform": "Linux-...",
    "python": "3.13.1",
    "labels": {"rack": "r1", "role": "trainer"},
}


def now_iso(seconds: float = 0.0) -> str:
    """Return the time so many seconds from now as agents write it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="microseconds")


def sample(seconds: float = 0.0, **changes: Any) -> dict[str, Any]:
    """Return the documented sample, taken so many seconds from now."""
    return {**DOCUMENTED, "collected_at": now_iso(seconds), **changes}


@frozen(kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, as strict JSON."""

        def refuse(name: str) -> Any:
            raise ValueError(f"{name} is no JSON")

        return json.loads(self.body, parse_constant=refuse)


@define(eq=False)
class Server:
    """One registered server, and its agent's connection."""

    base: str
    slug: str
    token: str
    _connection: http.client.HTTPConnection | None = field(default=None, init=False)

    def post(
        self,
        body: Any,
        *,
        headers: Mapping[str, str] | None = None,
        path: str | None = None,
        method: str = "POST",
    ) -> Answer:
        """Send one request on the kept connection; bodies that are no bytes go as JSON."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self.base.removeprefix("http://"), timeout=30)
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"X-Monitoring-Token": self.token} if headers is None else dict(headers)
        where = f"/api/ingest/servers/{self.slug}/metrics/" if path is None else path
        try:
            self._connection.request(method, where, payload, sent)
            answer = self._connection.getresponse()
            return Answer(
                status=answer.status,
                headers={name.lower(): value for name, value in answer.getheaders()},
                body=answer.read(),
            )
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def send(self, seconds: float = 0.0, **changes: Any) -> Any:
        """Post one sample, which must be taken; return the answer's JSON."""
        answer = self.post({"sample": sample(seconds, **changes), "agent": AGENT})
        assert answer.status == 200, answer.body
        return answer.json

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def registered(one: Product, browser: httpx.Client, name: str) -> Server:
    """Register a server with a slug of its own.

    Through our own endpoint: the documented one lets an address register so many a minute and no more.
    """
    words = "".join(letter for letter in name if letter.isascii() and letter.isalnum())[:30].lower()
    answer = browser.post("/api/appliance/servers", json={"slug": f"{words}-{next(_NUMBERS)}"})
    assert answer.status_code == 201, answer.text
    return Server(one.base, answer.json()["slug"], answer.json()["token"])


def latest(browser: httpx.Client, box: Server) -> Any:
    """Return what ``latest`` shows of a server."""
    answer = browser.get("/api/metrics/latest/", params={"server": box.slug})
    assert answer.status_code == 200, answer.text
    return answer.json()


def history(browser: httpx.Client, box: Server, minutes: int = 60) -> Any:
    """Return what ``history`` shows of a server."""
    answer = browser.get("/api/metrics/history/", params={"server": box.slug, "minutes": minutes})
    assert answer.status_code == 200, answer.text
    return answer.json()
