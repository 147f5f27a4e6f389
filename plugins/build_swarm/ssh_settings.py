"""Settings of what the swarm does over ssh: probing, healing, terminals."""

from ipaddress import ip_address
from typing import Any

from attrs import frozen
from attrs.validators import and_, ge, le, matches_re

from appliance.plugin import setting

USER_PATTERN = r"[A-Za-z_][A-Za-z0-9._-]{0,31}\$?"
SERVICE_PATTERN = r"[A-Za-z0-9][A-Za-z0-9@._-]{0,63}"


def _addresses(instance: Any, attribute: Any, value: tuple[str, ...]) -> None:
    for one in value:
        ip_address(one)


def _line(instance: Any, attribute: Any, value: str) -> None:
    if not value or any(ord(character) < 32 for character in value):
        raise ValueError("a line of text without control characters")


@frozen(kw_only=True, slots=False)
class SshSettings:
    """How drones are reached, watched and healed; only approved ones ever are."""

    ssh_user: str = setting(
        "root",
        help="Whom drones are entered as, where an approval names nobody else.",
        validator=matches_re(USER_PATTERN),
    )
    ssh_connect_seconds: int = setting(
        10, help="How long a drone may take to accept an ssh connection.", validator=and_(ge(1), le(120))
    )
    ssh_probe_seconds: float = setting(
        15.0, help="How long a probe may take in all.", validator=and_(ge(1.0), le(120.0))
    )
    ssh_command_seconds: float = setting(
        60.0, help="How long a command of the self-healing or a log may take.", validator=and_(ge(1.0), le(3600.0))
    )
    ssh_at_once: int = setting(
        64, help="How many ssh commands run at once; further ones wait.", validator=and_(ge(1), le(512))
    )
    ssh_drone_process: str = setting(
        "[s]warm-drone|[a]ppliance([.]pyz)? (.* )?drone( |$)",
        help="Extended regular expression of the drone program's command line; it must not match itself as text.",
        validator=_line,
    )
    ssh_drone_service: str = setting(
        "swarm-drone", help="Name of the drone's service, OpenRC's or systemd's.", validator=matches_re(SERVICE_PATTERN)
    )
    healing_enabled: bool = setting(True, help="Whether approved drones are probed, and healed where that is needed.")
    healing_dry_run: bool = setting(
        False, help="Only tell what self-healing would do: no drone is restarted or rebooted by it."
    )
    healing_probe_seconds: float = setting(
        30.0, help="How often all approved drones are probed.", validator=and_(ge(5.0), le(3600.0))
    )
    healing_failed_probes: int = setting(
        3, help="Failed probes in a row, at least, before self-healing acts.", validator=and_(ge(1), le(1000))
    )
    healing_failed_seconds: float = setting(
        180.0,
        help="How long a drone has to fail, at least, before self-healing acts.",
        validator=and_(ge(0.0), le(86400.0)),
    )
    healing_silence_seconds: float = setting(
        120.0,
        help="A drone that no probe reaches does not count as failing while its last heartbeat is younger than this.",
        validator=and_(ge(0.0), le(86400.0)),
    )
    healing_warn_seconds: float = setting(
        300.0, help="Warnings about one drone come at most this often.", validator=and_(ge(1.0), le(86400.0))
    )
    healing_restart_wait_seconds: float = setting(
        30.0,
        help="How long a drone is left alone after its service was restarted.",
        validator=and_(ge(0.0), le(3600.0)),
    )
    healing_reboot_wait_seconds: float = setting(
        120.0, help="How long a drone is left alone after a reboot.", validator=and_(ge(0.0), le(3600.0))
    )
    healing_load_max: float = setting(
        50.0,
        help="A load above this, and above twice the drone's cores, counts as failing.",
        validator=and_(ge(1.0), le(100_000.0)),
    )
    healing_disk_warn_percent: float = setting(
        90.0, help="A disk fuller than this is warned about.", validator=and_(ge(1.0), le(100.0))
    )
    healing_disk_max_percent: float = setting(
        95.0, help="A disk fuller than this counts as failing.", validator=and_(ge(1.0), le(100.0))
    )
    healing_memory_max_percent: float = setting(
        95.0, help="Memory used above this counts as failing.", validator=and_(ge(1.0), le(100.0))
    )
    healing_protected: tuple[str, ...] = setting(
        (), help="Addresses of hosts that are never rebooted, whatever their type.", validator=_addresses
    )
    terminal_idle_seconds: float = setting(
        1800.0,
        help="A terminal with neither input nor output for this long is closed.",
        validator=and_(ge(1.0), le(86400.0)),
    )
    terminal_at_once: int = setting(8, help="How many terminals may be open at once.", validator=and_(ge(1), le(256)))
