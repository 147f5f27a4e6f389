"""Settings of what enters drones: where they get to, and what they refuse."""

from pathlib import Path
from typing import Any

import pytest

from plugins.build_swarm.ladder import US, LadderRules
from plugins.build_swarm.probing import Limits
from plugins.build_swarm.ssh_settings import SshSettings
from tests.plugins.build_swarm.ssh_kit import opened

NUMBERS = {
    "healing_failed_probes": 5,
    "healing_failed_seconds": 60.0,
    "healing_silence_seconds": 61.0,
    "healing_warn_seconds": 62.0,
    "healing_restart_wait_seconds": 63.0,
    "healing_reboot_wait_seconds": 64.0,
    "healing_disk_warn_percent": 80.0,
}
LIMITS = {"healing_load_max": 20.0, "healing_disk_max_percent": 81.0, "healing_memory_max_percent": 82.0}


async def test_numbers_of_the_ladder_are_those_of_the_configuration(tmp_path: Path) -> None:
    async with opened(tmp_path, inline=True, **NUMBERS, **LIMITS) as box:
        assert box.healing(box.prober, None).rules == LadderRules(
            failed_probes=5,
            failed_us=60 * US,
            silence_us=61 * US,
            warn_us=62 * US,
            restart_wait_us=63 * US,
            reboot_wait_us=64 * US,
            disk_warn_percent=80.0,
        )
        assert box.prober.limits == Limits(load_max=20.0, disk_max_percent=81.0, memory_max_percent=82.0)


async def test_shipped_numbers_are_those_of_the_server_that_this_replaces(tmp_path: Path) -> None:
    async with opened(tmp_path, inline=True) as box:
        assert box.healing(box.prober, None).rules == LadderRules()
        assert box.prober.limits == Limits()
    own = SshSettings()
    assert (own.healing_probe_seconds, own.ssh_connect_seconds, own.ssh_probe_seconds) == (30.0, 10, 15.0)
    assert own.healing_enabled
    assert not own.healing_dry_run


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("ssh_user", "-l"),
        ("ssh_user", "root;id"),
        ("ssh_connect_seconds", 0),
        ("ssh_probe_seconds", 0.0),
        ("ssh_command_seconds", 0.0),
        ("ssh_at_once", 0),
        ("ssh_drone_process", ""),
        ("ssh_drone_process", "a\nb"),
        ("ssh_drone_service", "swarm drone"),
        ("ssh_drone_service", "--now"),
        ("healing_probe_seconds", 0.1),
        ("healing_failed_probes", 0),
        ("healing_failed_seconds", -1.0),
        ("healing_silence_seconds", float("nan")),
        ("healing_warn_seconds", 0.0),
        ("healing_restart_wait_seconds", float("inf")),
        ("healing_reboot_wait_seconds", -1.0),
        ("healing_load_max", 0.0),
        ("healing_disk_warn_percent", 101.0),
        ("healing_disk_max_percent", 0.0),
        ("healing_memory_max_percent", 101.0),
        ("healing_protected", ("example.net",)),
        ("terminal_idle_seconds", 0.0),
        ("terminal_at_once", 0),
    ],
)
def test_setting_that_cannot_be_meant_is_refused(name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        SshSettings(**{name: wrong})
