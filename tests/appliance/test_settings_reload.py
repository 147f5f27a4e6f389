"""Every live setting, changed by a reload while the appliance runs, and what is seen of it."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.config.loaded import plain
from appliance.settings import RELOAD, every_setting
from appliance.testing import RunningAppliance, running, scripted_gpus, until

from .scheduler_changes import SCHEDULER

LIVE = {key for key, one in every_setting() if one.metadata[RELOAD] == "live"}


async def reload(appliance: RunningAppliance, folder: Path, config: str) -> Any:
    (folder / "appliance.toml").write_text(config)
    answer = await appliance.control("POST", "/api/appliance/config/reload", {})
    assert answer.status == 200, answer.text
    return answer.json


async def public_url(appliance: RunningAppliance) -> Any:
    return (await appliance.control("POST", "/api/appliance/setup-link", {})).json["url"].partition("/setup")[0]


async def hosts(appliance: RunningAppliance) -> Any:
    return (await appliance.get("/api/appliance/host", headers={"Host": "gpu-box-01"})).status


async def allowed_origins(appliance: RunningAppliance) -> Any:
    headers = {"Origin": "https://other.example.net", "Sec-Fetch-Site": "cross-site"}
    return (await appliance.get("/api/appliance/host", headers=headers)).status


async def sample_seconds(appliance: RunningAppliance) -> Any:
    return appliance.state.agent.sample_seconds()


async def self_registration(appliance: RunningAppliance) -> Any:
    body = {"username": "eve", "password": "correct horse battery"}
    return (await appliance.post("/api/auth/register", body)).status


async def admin_key(appliance: RunningAppliance) -> Any:
    return (await appliance.get("/api/appliance/host", headers={"X-Admin-Key": "k" * 20})).status


async def log_level(appliance: RunningAppliance) -> Any:
    return appliance.running.settings.current.log.level


async def log_requests(appliance: RunningAppliance) -> Any:
    return appliance.running.edge.access_log is not None


async def rotate_days(appliance: RunningAppliance) -> Any:
    licenses = appliance.state.licenses
    await until(lambda: licenses.active_kid)
    active = next(key for key in licenses.keys if key.kid == licenses.active_kid)
    return (licenses.takes_over_unix_us - active.activated_unix_us) / 86_400_000_000


async def vendor_license(appliance: RunningAppliance) -> Any:
    pair = appliance.state.licenses.vendor
    return pair and (pair.plain, pair.encrypted, pair.expires_unix_us)


def retention(name: str) -> Callable[[RunningAppliance], Awaitable[Any]]:
    async def probe(appliance: RunningAppliance) -> Any:
        return getattr(appliance.state.series.retention, name)

    return probe


def scheduler(name: str) -> Callable[[RunningAppliance], Awaitable[Any]]:
    """Look at what the scheduler goes by; what follows from each is tested in tests/appliance/scheduler."""

    async def probe(appliance: RunningAppliance) -> Any:
        return plain(getattr(appliance.state.scheduler.settings, name))

    return probe


PROBES: dict[str, tuple[str, Callable[[RunningAppliance], Awaitable[Any]], Any]] = {
    "server.public_url": ("'https://gpu.example.net'", public_url, "https://gpu.example.net"),
    "server.hosts": ("['gpu-box-01']", hosts, 200),
    "server.allowed_origins": ("['https://other.example.net']", allowed_origins, 200),
    "devices.sample_seconds": ("0.5", sample_seconds, 0.5),
    "people.self_registration": ("true", self_registration, 201),
    "people.admin_key": (f"'{'k' * 20}'", admin_key, 200),
    "licenses.rotate_days": ("3", rotate_days, 3),
    "licenses.vendor": (
        "{ plain = '|ee|1784709281000', encrypted = '3046' }",
        vendor_license,
        ("|ee|1784709281000", "3046", 1_784_709_281_000_000),
    ),
    "log.level": ("'warning'", log_level, "warning"),
    "log.requests": ("true", log_requests, True),
    "series.raw_hours": ("3", retention("raw_hours"), 3),
    "series.ten_seconds_days": ("3", retention("ten_seconds_days"), 3),
    "series.one_minute_days": ("3", retention("one_minute_days"), 3),
    "series.ten_minutes_days": ("3", retention("ten_minutes_days"), 3),
    "series.one_hour_days": ("3", retention("one_hour_days"), 3),
    "series.disk_budget_bytes": ("1_000_000_000", retention("disk_budget_bytes"), 1_000_000_000),
}
PROBES |= {f"scheduler.{name}": (value, scheduler(name), seen) for name, (value, seen) in SCHEDULER.items()}
"""By key: a value to set, what looks for its effect, and what it must see then (and not before)."""


def test_every_live_setting_has_a_probe_and_no_other() -> None:
    assert set(PROBES) == LIVE


@pytest.mark.parametrize("key", sorted(PROBES))
async def test_a_reload_makes_a_live_setting_take_effect(tmp_path: Path, key: str) -> None:
    value, probe, expected = PROBES[key]
    table, _, name = key.partition(".")
    async with running(tmp_path) as appliance:
        assert await probe(appliance) != expected
        change = await reload(appliance, tmp_path, f"[{table}]\n{name} = {value}\n")
        assert change == {"applied": [key], "needs_restart": []}
        assert await probe(appliance) == expected


async def test_a_new_sample_interval_is_kept_to_at_once(tmp_path: Path) -> None:
    backend = scripted_gpus(1)
    async with running(tmp_path, backends=[backend], config="[devices]\nsample_seconds = 600") as appliance:
        await reload(appliance, tmp_path, "[devices]\nsample_seconds = 0.1")
        before = backend.reads
        await until(lambda: backend.reads >= before + 4)


async def test_a_reload_lists_what_needs_a_restart_and_does_not_pretend(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        config = "[server]\ndrain_seconds = 1\nhosts = ['a']\n[plugins.dashboard]\nenabled = false\n"
        change = await reload(appliance, tmp_path, config)
        assert change["applied"] == ["server.hosts"]
        assert change["needs_restart"] == ["server.drain_seconds", "plugins.dashboard"]
        items = {item["key"]: item for item in (await appliance.control("GET", "/api/appliance/config")).json["items"]}
        assert (items["server.drain_seconds"]["value"], items["server.drain_seconds"]["origin"]) == (10.0, "default")
        assert (items["server.hosts"]["value"], items["server.hosts"]["origin"]) == (["a"], "file")


async def test_a_reload_with_a_mistake_changes_nothing_and_names_it(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        (tmp_path / "appliance.toml").write_text("[devices]\nsample_seconds = 1\n[log]\nlevel = 'loud'\n")
        answer = await appliance.control("POST", "/api/appliance/config/reload", {})
        assert answer.status == 400
        assert "appliance.toml:4: [log] level" in answer.json["error"]
        assert appliance.running.settings.current.devices.sample_seconds == 2.0


async def test_a_reload_is_written_down_as_an_event(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        await reload(appliance, tmp_path, "[devices]\nsample_seconds = 1\n")
        [event] = await appliance.state.events.history(kinds=("config.reloaded",))
        assert event.data["applied"] == ["devices.sample_seconds"]
