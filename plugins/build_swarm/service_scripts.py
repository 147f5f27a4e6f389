"""Shell scripts that restart a service of a drone, whatever it was begun with: OpenRC's or systemd's."""

from typing import Final

# What a service is started with it keeps: with our pipes the connection would not end before the service does.
QUIETLY: Final = """\
said=$(mktemp) || exit 74
quietly() {
    "$@" </dev/null >"$said" 2>&1
    status=$?
    tail -c 2000 "$said" >&2
    return "$status"
}
trap 'rm -f "$said"' EXIT
"""
RESTART: Final = f"""\
{QUIETLY}
if command -v rc-service >/dev/null 2>&1; then
    quietly rc-service "$1" restart
else
    quietly systemctl restart "$1"
fi
"""
"""Takes the name of the service, and ends with the status of its restart."""
