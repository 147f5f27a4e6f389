"""Settings of the Portage tree."""

from typing import Any, Final

from attrs import frozen
from attrs.validators import deep_iterable, matches_re

from appliance.plugin import setting

AUTO: Final = "auto"
OFF: Final = "off"


def _check_path(instance: Any, attribute: Any, value: str) -> None:
    if value not in (AUTO, OFF) and (not value.startswith("/") or "\0" in value or ".." in value.split("/")):
        raise ValueError(f'"{AUTO}", "{OFF}", or an absolute path without ..')


@frozen(kw_only=True, slots=False)
class TreeSettings:
    """Where versions and dependencies are looked up."""

    tree_path: str = setting(
        AUTO,
        help="A Portage tree with its metadata cache, for versions and dependencies of what is queued;"
        " auto: /var/db/repos/gentoo where that is, off: none.",
        validator=_check_path,
    )
    tree_keywords: tuple[str, ...] = setting(
        (),
        help="Keywords that the drones accept, such as amd64 or ~amd64; empty: this host's stable one.",
        validator=deep_iterable(matches_re(r"~?[a-z0-9-]{1,32}|~?\*|\*\*")),
    )
