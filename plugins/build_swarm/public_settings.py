"""Settings of the public surface."""

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen
from attrs.validators import max_len

from appliance.plugin import setting

from .models import ORCHESTRATOR

TEXT_CHARACTERS: Final = 65_536
ENTRIES_MAX: Final = 256


def _texts(instance: Any, attribute: Any, value: Mapping[str, str]) -> None:
    if len(value) > ENTRIES_MAX:
        raise ValueError(f"at most {ENTRIES_MAX} entries")
    for name, text in value.items():
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}", name) is None or len(text) > TEXT_CHARACTERS:
            raise ValueError(f"names of letters, digits and ._/-, and texts of at most {TEXT_CHARACTERS} characters")


@frozen(kw_only=True, slots=False)
class PublicSettings:
    """What drones and clients of the public surface are told."""

    orchestrator_name: str = setting(
        ORCHESTRATOR, help="How the server calls itself to drones.", validator=max_len(255)
    )
    portage_config: Mapping[str, str] = setting(
        factory=dict,
        help='What drones are given by GET /api/v1/portage-config: names and texts, such as "make.conf" = "...".',
        validator=_texts,
    )
