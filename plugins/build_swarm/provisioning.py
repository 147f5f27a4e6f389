"""The script that makes a Gentoo host a drone of this swarm: it fetches this file, checks it, and starts it.

What is fetched is run only when it has the hash that stands in the script. The drone's credential goes to it in a file
that only root reads: command lines can be read by every user of the host. Every value is quoted for the shell.
"""

import hashlib
import re
import shlex
import sys
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Final

from attrs import frozen

FILE_PATH: Final = "/api/v1/provision/appliance.pyz"
_FOLDER: Final = "/opt/appliance"
_SETTINGS: Final = "/etc/appliance-drone.env"

_SCRIPT: Final = """\
#!/bin/sh
# Makes this Gentoo host a drone of the build swarm at the server below. Run it as root:
#     sh bootstrap.sh [NAME]
# SWARM_TOKEN, if it is set, is the drone's credential (appliance token create drone NAME makes one).
# --cp-url URL, as the older scripts take it, names another server.
set -eu
umask 022
main() {
server=@SERVER@
name=@NAME@
sha256=@SHA256@
while [ $# -gt 0 ]; do
    case $1 in
        --cp-url) server=${2:?--cp-url needs a URL}; shift 2 ;;
        --name) name=${2:?--name needs a name}; shift 2 ;;
        -*) echo "unknown option $1" >&2; exit 2 ;;
        *) name=$1; shift ;;
    esac
done
[ -n "$name" ] || name=$(hostname 2>/dev/null || cat /proc/sys/kernel/hostname)
case $name in
    [!A-Za-z0-9]* | *[!A-Za-z0-9._-]*) echo "not a name: $name" >&2; exit 2 ;;
esac
case $server in
    http://* | https://*) ;;
    *) echo "not a URL: $server" >&2; exit 2 ;;
esac
case $server in
    *[!][A-Za-z0-9:/._~%-]*) echo "not a URL: $server" >&2; exit 2 ;;
esac
case ${SWARM_TOKEN:-} in
    *[!A-Za-z0-9_.-]*) echo "SWARM_TOKEN is no credential" >&2; exit 2 ;;
esac
fail() { echo "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "run this as root: it installs a service that runs emerge"
command -v emerge >/dev/null || fail "there is no emerge here: drones are Gentoo hosts"
python=
for one in python3.13 python3.12 python3.11; do
    if command -v "$one" >/dev/null; then python=$(command -v "$one"); break; fi
done
[ -n "$python" ] || fail "Python 3.11, 3.12 or 3.13 is needed: emerge dev-lang/python:3.12"

folder=@FOLDER@
mkdir -p "$folder"
new=$(mktemp "$folder/.appliance.XXXXXX")
trap 'rm -f "$new" "$new.headers" "$new.said"' EXIT
umask 077
: > "$new.headers"
[ -z "${SWARM_TOKEN:-}" ] || printf 'header = "Authorization: Bearer %s"\\n' "$SWARM_TOKEN" > "$new.headers"
umask 022
if command -v curl >/dev/null; then
    curl -fsSL -K "$new.headers" -o "$new" "$server@PATH@" || fail "cannot fetch $server@PATH@"
elif [ -z "${SWARM_TOKEN:-}" ]; then
    wget -qO "$new" "$server@PATH@" || fail "cannot fetch $server@PATH@"
else
    fail "curl is needed to send the credential: emerge net-misc/curl"
fi
printf '%s  %s\\n' "$sha256" "$new" | sha256sum -c - >/dev/null \\
    || fail "what was fetched has another hash: nothing was run"
chmod 755 "$new"
mv -f "$new" "$folder/appliance.pyz"

umask 077
{
    printf 'SWARM_SERVER=%s\\n' "$server"
    printf 'SWARM_NAME=%s\\n' "$name"
    printf 'APPLIANCE_TOKEN=%s\\n' "${SWARM_TOKEN:-}"
} > @SETTINGS@
umask 022

if [ -d /run/systemd/system ]; then
    cat > /etc/systemd/system/appliance-drone.service <<UNIT
[Unit]
Description=Build swarm drone
After=network-online.target
Wants=network-online.target

[Service]
EnvironmentFile=@SETTINGS@
ExecStart=$python $folder/appliance.pyz drone --server \\${SWARM_SERVER} --name \\${SWARM_NAME}
Restart=always
RestartSec=10

[Install]
WantedBy=multi-user.target
UNIT
    started systemctl daemon-reload
    started systemctl enable appliance-drone
    started systemctl restart appliance-drone
else
    cat > /etc/init.d/appliance-drone <<INIT
#!/sbin/openrc-run
description="Build swarm drone"
supervisor=supervise-daemon
respawn_delay=10
set -a
. @SETTINGS@
set +a
command="$python"
command_args="$folder/appliance.pyz drone --server \\$SWARM_SERVER --name \\$SWARM_NAME"
output_log=/var/log/appliance-drone.log
error_log=/var/log/appliance-drone.log

depend() {
    need net
}
INIT
    chmod 755 /etc/init.d/appliance-drone
    started rc-update add appliance-drone default
    started rc-service appliance-drone restart
fi
echo "drone $name works for $server"
}
# A service that keeps what it was started with must not keep the connection open over which this runs.
started() {
    "$@" > "$new.said" 2>&1 < /dev/null || { cat "$new.said" >&2; fail "$* has failed"; }
}
# Whole or not at all: nothing runs of a script that was cut, and nothing that runs reads the rest of it.
main "$@" < /dev/null
"""


@frozen
class Program:
    """The file that this process runs from, which drones run as well."""

    path: Path
    sha256: str


def program() -> Program | None:
    """Return the file that drones are given; ``None`` where this process does not run from one (a checkout)."""
    path = Path(sys.argv[0]).resolve()
    try:
        found = path.stat()
    except OSError:
        return None
    return _program(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=2)
def _program(path: Path, size: int, mtime_ns: int) -> Program | None:
    if path.suffix != ".pyz" or not zipfile.is_zipfile(path):
        return None
    with path.open("rb") as file:
        return Program(path, hashlib.file_digest(file, "sha256").hexdigest())


def bootstrap_script(*, server: str, sha256: str, name: str = "") -> str:
    """Return the script.

    :param server: the base URL of this appliance as the host reaches it.
    :param sha256: of the file that the host fetches from there, in hex.
    :param name: of the drone; empty: its host's name.
    """
    if re.fullmatch(r"[0-9a-f]{64}", sha256) is None:
        raise ValueError("a SHA-256 in hex")
    values = {
        "SERVER": shlex.quote(server.rstrip("/")),
        "NAME": shlex.quote(name),
        "SHA256": sha256,
        "PATH": FILE_PATH,
        "FOLDER": _FOLDER,
        "SETTINGS": _SETTINGS,
    }
    return re.sub(r"@([A-Z0-9]+)@", lambda found: values[found[1]], _SCRIPT)
