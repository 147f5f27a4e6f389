"""Settings of the binary host."""

import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from attrs.validators import and_, ge, le

from appliance.plugin import setting

_COUNT_MAX = 1_000_000
_BYTES_MAX = 2**60


def _head(instance: Any, attribute: Any, value: Mapping[str, str]) -> None:
    for name, text in value.items():
        if name in {"PACKAGES", "TIMESTAMP", "VERSION"} or not re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", name):
            raise ValueError(f"names such as ARCH or PROFILE, not {name[:64]!r}")
        if not text.isprintable() or len(text) > 4096:
            raise ValueError(f"one printable line for {name}")


@frozen(kw_only=True, slots=False)
class BinhostSettings:
    """What the binary host takes, keeps and asks for."""

    require_binary: bool = setting(
        False,
        help="Count a success only once the package's .gpkg.tar has been uploaded since it was queued.",
    )
    binhost_package_bytes_max: int = setting(
        16 * 2**30, help="The largest binary package that is taken.", validator=and_(ge(1), le(2**36))
    )
    binhost_bytes_max: int = setting(
        0,
        help="How much all binary packages may take, releases included; 0: as much as the disk has.",
        validator=and_(ge(0), le(_BYTES_MAX)),
    )
    binhost_free_bytes_min: int = setting(
        2**30,
        help="No package is taken that would leave the disk with less than that.",
        validator=and_(ge(0), le(_BYTES_MAX)),
    )
    binhost_builds_kept: int = setting(
        0,
        help="How many builds of one version of a package stay staged, newest first; 0: all.",
        validator=and_(ge(0), le(_COUNT_MAX)),
    )
    binhost_releases_kept: int = setting(
        0,
        help="How many releases besides the current one are kept when another is promoted, archived ones go first;"
        " 0: all.",
        validator=and_(ge(0), le(_COUNT_MAX)),
    )
    binhost_header: Mapping[str, str] = setting(
        factory=dict,
        help="Further lines for the head of each Packages index, such as ARCH and PROFILE of the drones.",
        validator=_head,
    )
