"""Each live setting, changed in the file and applied by a real SIGHUP to a real process, seen from outside."""

import http.client
import json
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from appliance.settings import RELOAD, every_setting

from ..scheduler_changes import SCHEDULER
from .test_serving import lines_until, process, wait_for_port

LIVE = {key for key, one in every_setting() if one.metadata[RELOAD] == "live"}


@frozen
class Served:
    """The process from outside: over TCP as a trusted program, over its control socket as admin."""

    port: int
    control: Path

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Send one request over TCP."""
        return self._send(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30), method, path, body, headers)

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request over the control socket."""
        connection = http.client.HTTPConnection("localhost", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.control))
        return self._send(connection, method, path, body, {})[1]

    def in_force(self, key: str) -> Any:
        """Return a setting as the process says it is in force."""
        items = self.admin("GET", "/api/appliance/config")["items"]
        return next(item["value"] for item in items if item["key"] == key)

    @staticmethod
    def _send(
        connection: http.client.HTTPConnection, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()


def setup_base(served: Served) -> Any:
    return served.admin("POST", "/api/appliance/setup-link", {})["url"].partition("/setup")[0]


def status_for_host(served: Served) -> Any:
    return served.ask("GET", "/api/appliance/host", Host="gpu-box-01")[0]


def status_for_origin(served: Served) -> Any:
    headers = {"Origin": "https://other.example.net", "Sec-Fetch-Site": "cross-site"}
    return served.ask("GET", "/api/appliance/host", **headers)[0]


def sample_seconds(served: Served) -> Any:
    return served.ask("GET", "/api/appliance/host")[1]["sample_seconds"]


def register(served: Served) -> Any:
    return served.ask("POST", "/api/auth/register", {"username": "eve", "password": "correct horse battery"})[0]


def key_status(served: Served) -> Any:
    return served.ask("GET", "/api/appliance/host", **{"X-Admin-Key": "k" * 20})[0]


def license_days(served: Served) -> Any:
    items = served.admin("GET", "/api/appliance/licenses/keys")["items"]
    times = {item["state"]: item["takes_over_unix_s"] or item["activated_unix_s"] for item in items}
    return round((times["next"] - times["active"]) / 86_400, 3)


def shown(key: str) -> Callable[[Served], Any]:
    """Look at the value in force: for settings whose effect shows only after hours, and is tested where it is made."""
    return lambda served: served.in_force(key)


SEEN: dict[str, tuple[str, Callable[[Served], Any], Any]] = {
    "server.public_url": ("'https://gpu.example.net'", setup_base, "https://gpu.example.net"),
    "server.hosts": ("['gpu-box-01']", status_for_host, 200),
    "server.allowed_origins": ("['https://other.example.net']", status_for_origin, 200),
    "devices.sample_seconds": ("0.5", sample_seconds, 0.5),
    "people.self_registration": ("true", register, 201),
    "people.admin_key": (f"'{'k' * 20}'", key_status, 200),
    "licenses.rotate_days": ("3", license_days, 3.0),
    "licenses.vendor": ("{ plain = 'a|ee|1', encrypted = '3046' }", shown("licenses.vendor"), "(set)"),
    "log.level": ("'warning'", shown("log.level"), "warning"),
}
SEEN |= {
    f"series.{name}": ("3", shown(f"series.{name}"), 3.0)
    for name in ("raw_hours", "ten_seconds_days", "one_minute_days", "ten_minutes_days", "one_hour_days")
}
SEEN |= {f"scheduler.{name}": (text, shown(f"scheduler.{name}"), seen) for name, (text, seen) in SCHEDULER.items()}
SEEN["series.disk_budget_bytes"] = ("1_000_000_000", shown("series.disk_budget_bytes"), 1_000_000_000)


def seen_within(seconds: float, look: Callable[[], Any], expected: Any) -> Any:
    """Look until what is expected is seen, or the time is up; return what was seen last."""
    until = time.monotonic() + seconds
    while (found := look()) != expected and time.monotonic() < until:
        pass  # each look is a request over a socket: it waits by itself
    return found


def test_sighup_makes_each_live_setting_take_effect(tmp_path: Path) -> None:
    others = {key for key in LIVE if key not in SEEN}
    assert others <= {"log.requests"}  # seen in the log: test_serving
    with process(tmp_path) as child:
        served = Served(wait_for_port(child), tmp_path / "data" / "run" / "control.sock")
        assert child.stderr is not None
        lines_until(child.stderr, "ready")
        for key, (value, look, expected) in SEEN.items():
            table, _, name = key.partition(".")
            assert look(served) != expected, key
            (tmp_path / "appliance.toml").write_text(f"[{table}]\n{name} = {value}\n")
            child.send_signal(signal.SIGHUP)
            assert seen_within(30, lambda look=look: look(served), expected) == expected, key
