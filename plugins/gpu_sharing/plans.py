"""Plans: how much each person may have, and the words in which somebody is told that it is used up."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal, Protocol

from attrs import fields, frozen

from appliance.plugin import Forbidden

UNLIMITED: Final = "unlimited"
Bound = int | Literal["unlimited"]
"""What a plan says in TOML: a number, 0 for none at all, or ``"unlimited"``."""


class Limit(StrEnum):
    """What a plan counts; the values are the keys in TOML."""

    GPUS_PER_AGENT = "gpus_per_agent"
    AGENTS = "agents"
    WORKERS = "workers"
    SHARES = "shares"


_NOUNS: Final = {
    Limit.GPUS_PER_AGENT: ("GPU per agent", "GPUs per agent"),
    Limit.AGENTS: ("agent", "agents"),
    Limit.WORKERS: ("worker", "workers"),
    Limit.SHARES: ("share", "shares"),
}


@frozen(kw_only=True)
class Plan:
    """One plan; ``None`` is no limit."""

    name: str
    gpus_per_agent: int | None = None
    agents: int | None = None
    workers: int | None = None
    shares: int | None = None
    metrics: bool = True
    """Whether figures that agents report are kept."""

    def bound(self, limit: Limit) -> int | None:
        """Return how many there may be; ``None`` for any number."""
        value: int | None = getattr(self, limit.value)
        return value


class Written(Protocol):
    """A plan as TOML has it; ``None`` where a key is not written."""

    @property
    def gpus_per_agent(self) -> Bound | None: ...
    @property
    def agents(self) -> Bound | None: ...
    @property
    def workers(self) -> Bound | None: ...
    @property
    def shares(self) -> Bound | None: ...
    @property
    def metrics(self) -> bool | None: ...


SHIPPED: Final[Mapping[str, Plan]] = MappingProxyType(
    {
        "free": Plan(name="free", gpus_per_agent=1, agents=1, workers=2, shares=2, metrics=False),
        "personal": Plan(name="personal", gpus_per_agent=4, agents=4, workers=16, shares=16, metrics=False),
        "pro": Plan(name="pro", gpus_per_agent=16, agents=100, workers=1000, shares=1000),
        "team": Plan(name="team"),
    }
)
"""The documented plans: limited, higher, the highest but for one, and no limits; the last two keep metrics."""


def plans_in_force(written: Mapping[str, Written]) -> dict[str, Plan]:
    """Return all plans by name.

    What is not written keeps the value of the shipped plan of that name; a plan of another name has no other limits.
    """
    made = dict(SHIPPED)
    for name, said in written.items():
        base = SHIPPED.get(name) or Plan(name=name)
        values = {one.name: getattr(base, one.name) for one in fields(Plan)}
        for key in (*(limit.value for limit in Limit), "metrics"):
            value = getattr(said, key)
            if value is not None:
                values[key] = None if value == UNLIMITED else value
        made[name] = Plan(**values)
    return made


def plan_of(person: str, *, plans: Mapping[str, Plan], people: Mapping[str, str], default_plan: str) -> Plan:
    """Return a person's plan: the one written beside the name, else the default one.

    :param people: names of people to names of plans; settings hold only names of plans that exist.
    """
    return plans[people.get(person, default_plan)]


def require_room(plan: Plan, limit: Limit, *, used: int, wanted: int = 1) -> None:
    """Raise `Forbidden`, naming limit and plan, unless ``wanted`` more fit beside those there are.

    :param used: how many the person has; 0 for `Limit.GPUS_PER_AGENT`, which counts one agent's own.
    """
    bound = plan.bound(limit)
    if bound is None or used + wanted <= bound:
        return
    one, many = _NOUNS[limit]
    allowed = f"at most {bound} {one if bound == 1 else many}" if bound else f"no {many}"
    has = (
        f"{wanted} are there"
        if limit is Limit.GPUS_PER_AGENT
        else f"{used} of them {'is' if used == 1 else 'are'} used"
    )
    raise Forbidden(
        f"the plan {plan.name!r} allows {allowed} ({limit.value}), and {has}",
        hint=f"ask an operator for another plan, or to raise {limit.value} of [plugins.gpu_sharing.plans.{plan.name}]",
    )


def require_metrics(plan: Plan) -> None:
    """Raise `Forbidden`, naming the plan, where figures are not kept for it."""
    if not plan.metrics:
        raise Forbidden(
            f"the plan {plan.name!r} keeps no metrics (metrics)",
            hint=f"ask an operator for another plan, or for metrics = true in [plugins.gpu_sharing.plans.{plan.name}]",
        )
