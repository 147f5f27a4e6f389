"""``appliance top``: this host and its GPUs, live on a terminal."""

import sys
import time

import click

from appliance.cli.devices import devices_text, processes_text
from appliance.cli.format import age, number, plain, size
from appliance.cli.options import global_options
from appliance.cli.session import Session

CLEAR = "\x1b[H\x1b[J"


@click.command("top")
@click.option(
    "--interval", "interval_seconds", default=2.0, type=click.FloatRange(0.2, 60), help="Seconds between looks."
)
@click.option("--count", default=0, type=click.IntRange(0), help="Stop after so many looks; 0 goes on until Ctrl-C.")
@global_options
@click.pass_obj
def top(session: Session, interval_seconds: float, count: int) -> None:
    """Watch this host and its GPUs live; once and plain when the output is no terminal."""
    live = sys.stdout.isatty() and not session.as_json
    looks = count or (0 if live else 1)
    done = 0
    while True:
        session.fresh()
        text = session.get("/api/appliance/overview").text if session.as_json else page(session)
        click.echo((CLEAR if live else "") + text)
        done += 1
        if done == looks:
            return
        time.sleep(interval_seconds)


def page(session: Session) -> str:
    """Return one look as text."""
    host = session.get("/api/appliance/host").json
    now = host.get("latest") or {}
    lines = [
        f"{plain(host.get('hostname'))}  up {age(now.get('uptime_seconds'))}"
        f"  load {number(now.get('cpu_load_1'), digits=2)} {number(now.get('cpu_load_5'), digits=2)}"
        f" {number(now.get('cpu_load_15'), digits=2)}  processes {number(now.get('process_count'))}",
        f"cpu {number(now.get('cpu_percent'), ' %')}  user {number(now.get('cpu_user_percent'), ' %')}"
        f"  system {number(now.get('cpu_system_percent'), ' %')}  iowait {number(now.get('cpu_iowait_percent'), ' %')}",
        f"memory {size(now.get('memory_used_bytes'))} of {size(now.get('memory_total_bytes'))}"
        f"  swap {size(now.get('swap_used_bytes'))} of {size(now.get('swap_total_bytes'))}",
        "",
        devices_text(session.get("/api/appliance/devices").json),
        "",
        processes_text(session.get("/api/appliance/processes").json),
    ]
    return "\n".join(lines)
