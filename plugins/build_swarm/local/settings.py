"""Settings of this host as a drone."""

import shlex
from typing import Any, Final

from attrs import frozen

from appliance.plugin import setting

BUILD: Final = "emerge --oneshot --buildpkg --usepkg --ask=n --color=y --nospinner {atom}"


def _command(instance: Any, attribute: Any, value: str) -> None:
    if not shlex.split(value) or "\0" in value:
        raise ValueError("a program and its arguments")


@frozen(kw_only=True, slots=False)
class LocalSettings:
    """Whether this host is a drone, and builds."""

    local_drone: bool = setting(True, help="List this host as a drone where it has emerge.")
    local_builds: bool = setting(
        False,
        help="Let this host build what is queued. emerge runs as root, so the appliance must, and nobody is trusted"
        " without a credential then.",
    )
    local_build_command: str = setting(
        BUILD,
        help="What builds a package on this host, without a shell; {atom} is the package.",
        validator=_command,
    )
