"""``appliance doctor``: looks at this host, changes nothing, and names a fix for whatever is not right."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from attrs import asdict, frozen

from appliance.cli.api import HttpApi, NotRunning, control_socket
from appliance.cli.format import size
from appliance.cli.options import global_options
from appliance.cli.session import Session
from appliance.errors import ApplianceError

PORTS = (8080, 8100, 8093, 1994)
LOW_DISK_BYTES = 2 * 1024**3
DOCKER_SOCKET = Path("/var/run/docker.sock")
EXIT_STATUS = {"ok": 0, "warn": 1, "error": 2}


@frozen
class Finding:
    """One line of the doctor's report."""

    level: str
    """``ok``, ``warn`` or ``error``."""
    text: str
    fix: str = ""


@click.command("doctor")
@global_options
@click.pass_obj
def doctor(session: Session) -> int:
    """Look at this host and say what is missing and how to mend it; changes nothing.

    Exits 0 when all is well, 1 with warnings, 2 with errors.
    """
    findings = [finding for check in CHECKS for finding in guarded(check, session)]
    worst = max(findings, key=lambda finding: EXIT_STATUS[finding.level]).level
    if session.as_json:
        click.echo(json.dumps({"ok": worst == "ok", "items": [asdict(finding) for finding in findings]}))
        return EXIT_STATUS[worst]
    for finding in findings:
        click.echo(f" {finding.level:<5} {finding.text}")
        if finding.fix:
            click.echo(f"       fix: {finding.fix}")
    counts = [sum(finding.level == level for finding in findings) for level in EXIT_STATUS]
    click.echo(f" {counts[0]} ok, {counts[1]} warnings, {counts[2]} errors   (appliance doctor --json for machines)")
    return EXIT_STATUS[worst]


def guarded(check: Callable[[Session], Iterator[Finding]], session: Session) -> Iterator[Finding]:
    """Run one check; one that fails itself is a warning and stops no other."""
    try:
        yield from check(session)
    except ApplianceError as error:
        yield Finding("error", error.message, error.hint)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        yield Finding("warn", f"{check.__name__.replace('_', ' ')}: could not look: {error}")


def runtime(session: Session) -> Iterator[Finding]:
    """Say which Python and SQLite this is."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding("ok", f"Python {version}, SQLite {sqlite3.sqlite_version}")


def accelerators(session: Session) -> Iterator[Finding]:
    """Say what each device backend finds, with one sample taken in this process."""
    from appliance.cli.offline import sample_backends

    for backend in sample_backends(session.data_dir, session.config_file):
        level = "ok" if backend.ok or not backend.present else "warn"
        yield Finding(level, f"{backend.name}: {backend.message}", "" if level == "ok" else backend.hint)


def containers(session: Session) -> Iterator[Finding]:
    """Say which engine runs container tasks and why, and how each is; without an appliance, what one would find."""
    try:
        answer = HttpApi(socket_path=control_socket(session.data_dir)).request("GET", "/api/appliance/engines").json
    except NotRunning:
        yield from _container_daemon()
        return
    yield Finding("ok" if answer["problem"] is None else "warn", answer["problem"] or answer["choice"])
    for engine in answer["items"]:
        level = "warn" if engine["state"] == "unavailable" else "ok"
        yield Finding(level, f"engine {engine['name']}: {engine['message']}", engine["hint"])


def _container_daemon() -> Iterator[Finding]:
    if not DOCKER_SOCKET.exists():
        yield Finding("ok", f"no container engine at {DOCKER_SOCKET}: container tasks are not available here")
        return
    if os.access(DOCKER_SOCKET, os.R_OK | os.W_OK):
        yield Finding("ok", f"container engine at {DOCKER_SOCKET} (you may use it)")
    else:
        yield Finding("warn", f"you may not use {DOCKER_SOCKET}", "sudo usermod -aG docker $USER, then log in again")
    if Path("/proc/driver/nvidia").exists() and not shutil.which("nvidia-ctk"):
        yield Finding(
            "warn",
            "NVIDIA container toolkit missing: tasks cannot use GPUs in containers",
            "sudo apt-get install nvidia-container-toolkit && sudo nvidia-ctk runtime configure"
            " && sudo systemctl restart docker",
        )


def ports(session: Session) -> Iterator[Finding]:
    """Say whether the documented ports are free on loopback, and whether we hold them ourselves."""
    try:
        HttpApi(socket_path=control_socket(session.data_dir)).request("GET", "/healthz")
    except NotRunning:
        pass
    else:
        yield Finding("ok", f"an appliance runs on {session.data_dir}")
        return
    busy = [port for port in PORTS if not _free(port)]
    free = " ".join(str(port) for port in PORTS if port not in busy)
    if free:
        yield Finding("ok", f"ports {free} free")
    for port in busy:
        yield Finding("warn", f"port {port} is in use", "appliance serve --listen 127.0.0.1:PORT with another port")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def clock(session: Session) -> Iterator[Finding]:
    """Say whether the clock is kept in time, where the system tells."""
    program = shutil.which("timedatectl")
    if program is None or not Path("/run/systemd/system").exists():
        yield Finding("ok", "clock: not checked, systemd does not run here")
        return
    answer = subprocess.run(
        [program, "show", "-p", "NTPSynchronized", "--value"], capture_output=True, text=True, timeout=1, check=False
    ).stdout.strip()
    if answer == "yes":
        yield Finding("ok", "clock in sync")
    else:
        yield Finding("warn", "the clock is not synchronised", "sudo timedatectl set-ntp true")


def disk(session: Session) -> Iterator[Finding]:
    """Say how much room the data directory has."""
    place = session.data_dir
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    text = f"{size(free)} free in {place}"
    if free < LOW_DISK_BYTES:
        yield Finding(
            "warn", f"only {text}", f"make room, or choose another place with --data-dir (now {session.data_dir})"
        )
    else:
        yield Finding("ok", text)


def data_directory(session: Session) -> Iterator[Finding]:
    """Say whether the data directory is ours alone."""
    folder = session.data_dir
    if not folder.exists():
        yield Finding("ok", f"data directory {folder} will be made at the first start")
        return
    state = folder.stat()
    if state.st_mode & 0o077:
        yield Finding("error", f"{folder} can be read by others", f"chmod 700 {folder}")
    elif state.st_uid != os.geteuid() and os.geteuid() != 0:
        yield Finding("error", f"{folder} belongs to uid {state.st_uid}", "use sudo, or --data-dir")
    else:
        yield Finding("ok", f"data directory {folder}")


def configuration(session: Session) -> Iterator[Finding]:
    """Say whether the configuration can be read."""
    from appliance.cli.offline import read_configuration

    loaded = read_configuration(session.data_dir, session.config_file)
    yield Finding("ok", f"configuration: {loaded.file or 'none (defaults)'}")


CHECKS: tuple[Callable[[Session], Iterator[Finding]], ...] = (
    runtime,
    accelerators,
    containers,
    ports,
    clock,
    disk,
    data_directory,
    configuration,
)
