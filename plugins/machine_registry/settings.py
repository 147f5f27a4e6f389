"""What ``[plugins.machine_registry]`` can say."""

import re
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import field, frozen
from attrs.validators import and_, ge, le, matches_re

from appliance.plugin import setting

from .models import DEFAULT_PROVIDER, NAME_PATTERN


def _named(instance: Any, attribute: Any, value: Mapping[str, Any]) -> None:
    for name in value:
        if re.fullmatch(NAME_PATTERN, name) is None:
            raise ValueError(f"names of 1 to 64 letters, digits, dots, dashes and underscores, not {name[:64]!r}")


@frozen(kw_only=True)
class PoolSettings:
    """One pool: which GPUs its machines have, and from whom they come."""

    gpu: str = field(default="", validator=matches_re(rf"(?:{NAME_PATTERN})?"))
    """The GPUs' name as schedulers ask for it, such as ``A100-80``; empty for machines without."""
    provider: str = field(default=DEFAULT_PROVIDER, validator=matches_re(NAME_PATTERN))
    """Under which its machines are made."""


@frozen(kw_only=True)
class WorkspaceSettings:
    """One workspace: the pools whose GPUs it counts."""

    pools: tuple[str, ...] = ()


@frozen(kw_only=True)
class RegistrySettings:
    """Settings of the machine registry."""

    pools: Mapping[str, PoolSettings] = setting(
        attrs.Factory(dict),
        help='Pools of machines by name, each with gpu = "A100-80" and provider = "generic"; "default" always exists.',
        validator=_named,
    )
    workspaces: Mapping[str, WorkspaceSettings] = setting(
        attrs.Factory(dict),
        help="Workspaces by name, each with pools = [...]; one that is not named here counts all pools.",
        validator=_named,
    )
    revive_on_keepalive: bool = setting(
        False,
        help="Let a machine that has expired come back with its next keepalive: for agents that cannot register again.",
    )
    forget_hours: float = setting(
        168.0,
        help="For how long a machine that has expired is remembered, with its charts.",
        validator=and_(ge(0.1), le(87_600)),
    )
