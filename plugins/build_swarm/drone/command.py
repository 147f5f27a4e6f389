"""``appliance drone``: its options, and what a process needs around a drone."""

import argparse
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio
from attrs import evolve

from appliance.plugin import CommandApi

from ..models import NAME_PATTERN
from . import host
from .building import PATHS
from .drone import Drone
from .http_server import HttpServer, read_address
from .models import Options
from .portage import PKGDIR, packages_folder
from .spool import Spool, SpoolInUse

BUILD: Final = "emerge --oneshot --buildpkg --usepkg --ask=n --color=y --nospinner --verbose-conflicts {atom}"
TOKEN_BYTES_MAX: Final = 4_096
INTERRUPTED: Final = 130


def drone(api: CommandApi, arguments: Sequence[str]) -> int | None:
    """Run ``appliance drone ...``; usage errors exit with 2."""
    top = parser()
    asked = top.parse_args(list(arguments))
    if not api.server:
        top.error("--server URL is needed: the address of the swarm's server (port 8100 there)")
    try:
        options = options_of(asked)
        address = read_address(api.server)
    except ValueError as error:
        top.error(str(error))
    token = token_of(api, asked.token_file)
    if options.uploads and not token:
        # Portage installs what is uploaded as root: the server takes it from nobody whom it does not know.
        api.say("drone: without a token no binary packages are uploaded (--token-file)", to_stderr=True)
        options = evolve(options, uploads=False)
    check_commands(api, options)
    spool = Spool(options.state_dir)
    try:
        spool.open()
    except SpoolInUse as error:
        raise api.fail(str(error), hint="one drone for each --state-dir") from error
    except OSError as error:
        raise api.fail(f"{options.state_dir} cannot be used: {error.strerror}", hint="name a --state-dir") from error
    server = HttpServer(
        address=address,
        drone_id=options.drone_id,
        name=options.name,
        cores=options.cores,
        token=token,
        ca_file=asked.ca_file or os.environ.get("APPLIANCE_CA_FILE") or None,
    )
    one = Drone(
        options=options,
        server=server,
        spool=spool,
        figures=host.Figures(options.state_dir),
        tell=lambda line: api.say(f"drone {options.name}: {line}", to_stderr=True),
        claimed_ip=host.address_towards(address.host, address.port or (443 if address.scheme == "https" else 80)),
    )
    try:
        return trio.run(run, one)
    finally:
        spool.close()


async def run(one: Drone) -> int:
    """Run a drone until a signal stops it; a second one does not wait for the server."""
    status = INTERRUPTED
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
                ready.set()
                count = 0
                async for _ in signals:
                    count += 1
                    if count == 1:
                        one.stop()
                    else:
                        nursery.cancel_scope.cancel()

        ready = trio.Event()
        nursery.start_soon(listen)
        await ready.wait()
        status = await one.run()
        nursery.cancel_scope.cancel()
    return status


def parser() -> argparse.ArgumentParser:
    """Return the command's own parser."""
    top = argparse.ArgumentParser(
        prog="appliance drone",
        allow_abbrev=False,  # --token SECRET must not be taken for --token-file
        description="Build what a swarm's server assigns, on this Gentoo host: --server URL names the server. A token"
        " is read from --token-file or APPLIANCE_TOKEN, never from the command line, which everybody can read.",
    )
    add = top.add_argument
    add("--id", default="", help="what identifies this drone; default: /etc/machine-id, else one of its own")
    add("--name", default="", help="what people call it; default: the host's name")
    add("--type", default="drone", choices=("drone", "sweeper"), help="a sweeper takes only what is blocked")
    add("--cores", type=int, default=0, help="how many processors to say that there are; default: all that we may use")
    add("--auto-reboot", action="store_true", help="say that this host may be rebooted to heal it")
    add("--build-command", default=BUILD, metavar="COMMAND", help=f"run without a shell; default: {BUILD}")
    add("--sync-command", default="emerge --sync", metavar="COMMAND", help="brings the tree up to date; '' for none")
    add("--env", action="append", default=[], metavar="NAME=VALUE", help="a variable of those commands; repeatable")
    add("--build-hours", type=float, default=24.0, metavar="N", help="a build that takes longer has failed")
    add("--pkgdir", default="", metavar="DIR", help=f"where binary packages come to lie; default: PKGDIR, {PKGDIR}")
    add("--tree", default="", metavar="DIR", help=f"the Portage tree; default: {host.TREE}")
    add("--state-dir", default="", metavar="DIR", help="where the drone remembers what it owes the server")
    add("--token-file", default="", metavar="FILE", help="a drone's token, from `appliance token create drone NAME`")
    add("--ca-file", default="", metavar="FILE", help="certificates to trust in place of the system's (PEM)")
    add("--heartbeat-seconds", type=float, default=30.0, metavar="N", help="default 30; the server waits for 60")
    add("--poll-seconds", type=float, default=30.0, metavar="N", help="longest wait between requests for work")
    add("--stop-seconds", type=float, default=10.0, metavar="N", help="how long a stopped build may take to end")
    add("--no-upload", action="store_true", help="do not upload binary packages")
    add("--no-logs", action="store_true", help="do not send builds' output")
    add("--once", action="store_true", help="build at most one package, then end")
    return top


def options_of(asked: argparse.Namespace) -> Options:
    """Return the options; raise `ValueError` for what cannot be."""
    name, state_dir = asked.name or host.host_name(), Path(asked.state_dir or _state_dir()).absolute()
    drone_id = asked.id or host.machine_id() or host.made_id(state_dir / "id")
    if not re.fullmatch(NAME_PATTERN, drone_id):
        raise ValueError("--id: letters, digits, dots, dashes and underscores, at most 63")
    if not re.fullmatch(NAME_PATTERN, name):
        raise ValueError("--name: letters, digits, dots, dashes and underscores, at most 63")
    for option, value, least in (
        ("--heartbeat-seconds", asked.heartbeat_seconds, 0.05),
        ("--poll-seconds", asked.poll_seconds, 0.05),
        ("--stop-seconds", asked.stop_seconds, 0.0),
        ("--build-hours", asked.build_hours, 1e-5),
    ):
        if not least <= value <= 1e5:
            raise ValueError(f"{option}: a number from {least:g} to 100000")
    environment = dict(_variable(one) for one in asked.env)
    return Options(
        drone_id=drone_id,
        name=name,
        kind=asked.type,
        build_argv=_argv("--build-command", asked.build_command, least=1),
        sync_argv=_argv("--sync-command", asked.sync_command, least=0),
        environment=environment,
        state_dir=state_dir,
        pkgdir=Path(asked.pkgdir or environment.get("PKGDIR") or packages_folder()).absolute(),
        tree=Path(asked.tree).absolute() if asked.tree else host.TREE,
        cores=asked.cores if asked.cores > 0 else len(os.sched_getaffinity(0)),
        ram_gb=host.ram_gb(),
        auto_reboot=asked.auto_reboot,
        uploads=not asked.no_upload,
        sends_logs=not asked.no_logs,
        once=asked.once,
        heartbeat_seconds=asked.heartbeat_seconds,
        poll_seconds=asked.poll_seconds,
        retry_seconds=max(asked.poll_seconds, 0.1) * 2,
        build_seconds=asked.build_hours * 3600,
        stop_seconds=asked.stop_seconds,
    )


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", name) or "\0" in value:
        raise ValueError(f"--env {name[:40]!r}: NAME=VALUE")
    return name, value


def _argv(option: str, text: str, *, least: int) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from error
    if len(words) < least or (words and not words[0]) or "\0" in text:
        raise ValueError(f"{option}: a program and its arguments")
    return words


def _state_dir() -> str:
    if os.geteuid() == 0:
        return "/var/lib/appliance-drone"
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(base, "appliance-drone")


def token_of(api: CommandApi, file: str) -> str:
    """Return the token, from a file (``-`` is standard input) or APPLIANCE_TOKEN; empty where there is none."""
    if not file:
        return os.environ.pop("APPLIANCE_TOKEN", "").strip()
    try:
        if file == "-":
            data = sys.stdin.buffer.read(TOKEN_BYTES_MAX)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(TOKEN_BYTES_MAX)
        token = data.decode("ascii").strip()
    except (OSError, ValueError) as error:
        raise api.fail(f"{file} cannot be read as a token: {error}") from error
    if not token or not token.isprintable():
        raise api.fail(f"{file} holds no token", hint="make one with `appliance token create drone NAME`")
    return token


def check_commands(api: CommandApi, options: Options) -> None:
    """Fail now where the first build would."""
    program = options.build_argv[0]
    path = options.environment.get("PATH", PATHS)
    if shutil.which(program, path=path) is None:
        raise api.fail(
            f"there is no {program!r} on this host ({path})",
            hint="a drone builds on Gentoo; --build-command names another program",
        )
