"""``appliance devices`` and ``appliance ps``: what GPUs there are, and who is using them."""

from typing import Any

import click

from appliance.cli.format import NONE, number, plain, size, table
from appliance.cli.options import global_options
from appliance.cli.session import Session


@click.command("devices")
@global_options
@click.pass_obj
def devices(session: Session) -> None:
    """List the GPUs of this host, with what the driver reports now.

    With nothing running, one sample is taken in this process.
    """
    reply = session.get("/api/appliance/devices")
    session.show(reply, devices_text(reply.json))


def devices_text(answer: dict[str, Any]) -> str:
    """Return the table of ``GET /api/appliance/devices``."""
    rows = []
    for gpu in answer["items"]:
        now = gpu.get("latest") or {}
        rows.append(
            (
                gpu["index"],
                gpu["model"] + (f" ({gpu['mig_profile']})" if gpu.get("mig_profile") else ""),
                number(now.get("utilization_percent"), " %"),
                f"{size(now.get('vram_used_bytes'))} of {size(now.get('vram_total_bytes') or gpu['vram_total_bytes'])}",
                f"{number(now.get('power_watts'))} of {number(now.get('power_limit_watts'), ' W')}",
                number(now.get("temperature_celsius"), " C"),
                gpu.get("health_text") or gpu.get("health") or NONE,
                gpu["gpu_id"],
            )
        )
    if rows:
        head = ("GPU", "MODEL", "UTIL", "MEMORY", "POWER", "TEMP", "HEALTH", "ID")
        return table(head, rows, right=(0, 2, 5))
    return "\n".join(["no GPU found", *backend_lines(answer.get("backends", []))])


def backend_lines(backends: list[dict[str, Any]]) -> list[str]:
    """Return what was looked for and what to do, one line a backend."""
    lines = []
    for backend in backends:
        lines.append(f" {plain(backend['name'])}: {plain(backend.get('message'))}")
        if backend.get("hint"):
            lines.append(f"   fix: {plain(backend['hint'])}")
    return lines


@click.command("ps")
@global_options
@click.pass_obj
def ps(session: Session) -> None:
    """Show who is using which GPU: process, user, container or task, memory, share of the SMs."""
    reply = session.get("/api/appliance/processes")
    session.show(reply, processes_text(reply.json))


def processes_text(answer: dict[str, Any]) -> str:
    """Return the table of ``GET /api/appliance/processes``; a missing figure is explained below the table."""
    rows, notes = [], dict[str, None]()
    for process in answer["items"]:
        share = process.get("sm_percent")
        for field, reason in (process.get("missing") or {}).items():
            notes[f"{field}: {reason}"] = None
        rows.append(
            (
                process.get("gpu_index"),
                process["pid"],
                process.get("user"),
                process.get("task") or process.get("container"),
                size(process.get("vram_used_bytes")),
                "n/a" if share is None else f"{share:.0f}",
                process.get("command"),
            )
        )
    if not rows:
        return "no process uses a GPU"
    text = table(("GPU", "PID", "USER", "CONTAINER/TASK", "VRAM", "SM%", "COMMAND"), rows, right=(0, 1, 4, 5))
    return "\n".join([text, *(f"n/a {note}" for note in notes)])
