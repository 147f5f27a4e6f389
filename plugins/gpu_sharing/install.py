"""The line that a person pastes on a GPU host: it fetches the agent, checks it, installs it and registers the host.

What is fetched comes from the release mirror and is run only when it has the hash that stands in the line. The install
token goes to the agent in its environment: command lines can be read by every user of the host. Nothing is pasted
unquoted, and ``exit`` ends the parentheses, not the person's shell.
"""

import shlex
from collections.abc import Iterable
from typing import Final

from attrs import field, frozen
from attrs.validators import in_, matches_re

from .releases import ARCHES, FILES_PATH, Releases
from .state import SharingState

CLI: Final = "cli"
_MACHINES: Final = {"amd64": "x86_64|amd64", "arm64": "aarch64|arm64"}
"""What ``uname -m`` says, by the mirror's word for it."""

_FETCH: Final = (
    "f=$(mktemp) || exit 1; trap 'rm -f \"$f\"' EXIT; "
    'if command -v curl >/dev/null; then curl -fsSL -o "$f" "$u"; else wget -qO "$f" "$u"; fi'
    ' || { echo "cannot fetch $u" >&2; exit 1; }; '
    'printf \'%s  %s\\n\' "$h" "$f" | sha256sum -c - >/dev/null'
    ' || { echo "$u is not what this line was made for: nothing was run" >&2; exit 1; }; '
    'd=${GGO_INSTALL_DIR:-/usr/local/bin}; [ -w "$d" ] || [ -n "${GGO_INSTALL_DIR:-}" ] || d=$HOME/.local/bin; '
    'mkdir -p "$d" && install -m 0755 "$f" "$d/ggo" || exit 1; '
)


@frozen(kw_only=True)
class Build:
    """One build of the agent for Linux."""

    arch: str = field(validator=in_(ARCHES))
    url: str
    sha256: str = field(validator=matches_re(r"[0-9a-f]{64}"))


def install_line(builds: Iterable[Build], *, server: str, token: str) -> str:
    """Return one line for a POSIX shell.

    Where there are no builds it registers with an agent that is on the host already, and says so if none is.

    :param server: the base URL of this appliance as the host reaches it.
    :param token: the install token.
    """
    environment = f"GPU_GO_TOKEN={shlex.quote(token)} GPU_GO_ENDPOINT={shlex.quote(server)}"
    cases = "".join(
        f"Linux/{' | Linux/'.join(_MACHINES[build.arch].split('|'))}) u={shlex.quote(build.url)} h={build.sha256} ;; "
        for build in builds
    )
    if not cases:
        missing = "this host has no ggo, and the release mirror of the appliance has none for it"
        return (
            f'( command -v ggo >/dev/null || {{ echo "{missing}" >&2; exit 1; }}; '
            f'{environment} ggo agent register && echo "start it with: ggo agent start" )'
        )
    system = '"$(uname -s)/$(uname -m)"'
    other = f'*) echo "there is no agent for" {system} >&2; exit 1 ;; '
    return (
        f"( case {system} in {cases}{other}esac; {_FETCH}"
        f'{environment} "$d/ggo" agent register && echo "start it with: $d/ggo agent start" )'
    )


def builds_of(releases: Releases, server: str) -> list[Build]:
    """Return the newest agent of the mirror for each kind of machine.

    :param server: the base URL of this appliance.
    """
    found = [(arch, releases.newest(CLI, arch=arch)) for arch in ARCHES]
    return [
        Build(arch=arch, url=f"{server.rstrip('/')}{FILES_PATH}/{release.name}", sha256=release.sha256)
        for arch, release in found
        if release is not None
    ]


def install_command(state: SharingState, token: str) -> str:
    """Return the line for an install token of this appliance."""
    server = state.core.public_url()
    return install_line(builds_of(state.releases, server), server=server, token=token)
