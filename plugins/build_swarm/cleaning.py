"""Tokens between the two steps of cleaning a drone: what was shown and agreed to is what is then done, once."""

import secrets
from typing import Final

import trio
from attrs import define, field, frozen

from appliance.plugin import BadInput, Forbidden

from .drone_world import Difference

TOKEN_SECONDS: Final = 300.0
PLANS_MAX: Final = 100


@frozen(kw_only=True)
class Plan:
    """What cleaning a drone will do."""

    drone: str
    """Its name."""
    difference: Difference
    is_immutable: bool
    ends_at: float
    """By trio's clock."""


@define(eq=False)
class Plans:
    """Plans by their tokens; in memory, since they last five minutes."""

    _kept: dict[str, Plan] = field(factory=dict, init=False)

    def add(self, drone: str, difference: Difference, *, is_immutable: bool) -> str:
        """Keep a plan, and return the token by which it is done."""
        self._forget_old()
        while len(self._kept) >= PLANS_MAX:
            del self._kept[next(iter(self._kept))]
        token = secrets.token_hex(24)
        self._kept[token] = Plan(
            drone=drone,
            difference=difference,
            is_immutable=is_immutable,
            ends_at=trio.current_time() + TOKEN_SECONDS,
        )
        return token

    def take(self, token: str, drone: str, confirmed: str) -> Plan:
        """Return a plan, which counts no more then.

        :param confirmed: the drone's name, as somebody has typed it.
        :raises Forbidden: the token is none, has been used, is too old, or is another drone's.
        :raises BadInput: the name is not the drone's; the token still counts.
        """
        self._forget_old()
        plan = self._kept.get(token)
        if plan is None or plan.drone != drone:
            raise Forbidden("Invalid or expired preflight token", hint="POST clean/preflight again")
        if confirmed != drone:
            raise BadInput(f"confirm_name is not {drone!r}", field="confirm_name", hint="type the drone's exact name")
        return self._kept.pop(token)

    def _forget_old(self) -> None:
        now = trio.current_time()
        for token in [token for token, plan in self._kept.items() if plan.ends_at <= now]:
            del self._kept[token]
