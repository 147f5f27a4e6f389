"""What a drone has installed, and what it should have: read and written over ssh. Scripts, and what they answer. Pure.

A drone's *world* is what was asked for by name, in a file (``admin_world_file``); what nothing in it needs is removed
by ``emerge --depclean``. It may be locked against changes by the immutable flag of its file system.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from attrs import frozen

DEPCLEAN_LOG: Final = "swarm-depclean.log"
"""Beside the world file."""
PROTECTED: Final = frozenset(
    {
        "dev-lang/python",
        "net-misc/openssh",
        "sys-apps/openrc",
        "sys-apps/portage",
        "sys-devel/binutils",
        "sys-devel/gcc",
        "sys-libs/glibc",
    }
)
"""Without these a drone could neither build nor be reached: they are in every world that is written."""
_PART: Final = r"[A-Za-z0-9_][A-Za-z0-9+_.-]{0,99}"
_package: Final = re.compile(rf"{_PART}/{_PART}(?::[A-Za-z0-9_][A-Za-z0-9+_./-]{{0,63}})?|@[A-Za-z0-9_-]{{1,64}}")
_MARK: Final = "--- build swarm: "

READ: Final = f"""\
world=$1
if [ -r "$world" ]; then cat -- "$world"; fi
echo; echo "{_MARK}profile"
{{ eselect profile show 2>/dev/null | tail -n 1; }} || true
readlink /etc/portage/make.profile 2>/dev/null || true
echo "{_MARK}flags"
lsattr -d -- "$world" 2>/dev/null | cut -d " " -f 1
echo "{_MARK}installed"
cd /var/db/pkg 2>/dev/null && ls -d -- */*
exit 0
"""
"""``$1`` is the path of the world file."""
WRITE: Final = """\
set -eu
world=$1; lines=$2; immutable=$3
new=$(mktemp "$world.XXXXXX")
trap 'rm -f -- "$new"' EXIT
cat > "$new"
if [ "$(wc -l < "$new")" -ne "$lines" ]; then echo "not all lines have arrived" >&2; exit 65; fi
chmod 0644 "$new"
if [ "$immutable" = yes ]; then chattr -i -- "$world"; fi
mv -- "$new" "$world"
if [ "$immutable" = yes ]; then chattr +i -- "$world"; fi
"""
"""Replaces the world whole or not at all; its new content is the standard input."""
DEPCLEAN: Final = """\
command -v emerge >/dev/null 2>&1 || { echo "there is no emerge here" >&2; exit 127; }
nohup setsid emerge --depclean --ask=n </dev/null >"${1%/*}/swarm-depclean.log" 2>&1 &
"""
LOCK: Final = 'chattr "$1" -- "$2"'


@frozen(kw_only=True)
class DroneWorld:
    """What a drone says of what it has."""

    world: tuple[str, ...]
    profile: str
    is_immutable: bool
    installed: tuple[str, ...]

    @property
    def is_base_profile(self) -> bool:
        """Whether it is a profile for building alone, as far as its name tells."""
        return not any(word in self.profile for word in ("desktop", "gnome", "plasma"))


def is_package(text: str) -> bool:
    """Whether a text may stand in a world: category and name, perhaps a slot, or a set."""
    return _package.fullmatch(text) is not None


def command(script: str, *arguments: str) -> list[str]:
    """Return what runs a script on a drone, its arguments as they are."""
    return ["sh", "-c", script, "swarm", *arguments]


def read_world(output: str) -> DroneWorld:
    """Return what `READ` printed; a drone may print anything."""
    head, _, rest = output.partition(f"{_MARK}profile\n")
    profile, _, rest = rest.partition(f"{_MARK}flags\n")
    flags, _, installed = rest.partition(f"{_MARK}installed\n")
    lines = [line.strip() for line in profile.splitlines() if line.strip()]
    return DroneWorld(
        world=tuple(sorted({line.strip() for line in head.splitlines() if line.strip()})),
        profile=lines[0][:200] if lines else "unknown",
        is_immutable="i" in flags.strip()[:64],
        installed=tuple(sorted(line.strip() for line in installed.splitlines() if "/" in line)),
    )


@frozen(kw_only=True)
class Difference:
    """What a new world changes."""

    current: frozenset[str]
    proposed: frozenset[str]

    def shown(self) -> dict[str, Any]:
        """Return it as clients are shown it."""
        parts = {
            "removing": sorted(self.current - self.proposed),
            "adding": sorted(self.proposed - self.current),
            "keeping": sorted(self.current & self.proposed),
        }
        counts = {f"{name}_count": len(found) for name, found in parts.items()}
        return {"current_count": len(self.current), "proposed_count": len(self.proposed), **parts, **counts}


def proposed_world(allowed: Iterable[str]) -> frozenset[str]:
    """Return the world of what is allowed, with what no drone can be without."""
    return frozenset(allowed) | PROTECTED
