"""The life of a key, decided by pure functions: next, active, retiring, gone.

* **next** is published before it is used, for at least 24 h, so that whoever keeps a copy of the key set has it then;
* **active** signs; there is one;
* **retiring** signs no more, and its private half is removed; it is published until the last licence it signed has
  expired by everybody's clock;
* **gone** is not published any more, and what it signed is refused.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Final

from attrs import evolve, frozen

from appliance.licenses.claims import LIFETIME_MS, SKEW_MS
from appliance.licenses.jwks import thumbprint

PUBLISHED_US: Final = 24 * 3600 * 1_000_000
"""How long a key is published before it signs."""
RETIRING_US: Final = (LIFETIME_MS + SKEW_MS) * 1000
"""How long a key is published after it has signed for the last time."""


class KeyState(StrEnum):
    """Where in its life a key is."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRING = "retiring"
    GONE = "gone"


@frozen(kw_only=True)
class LicenseKey:
    """The public half of a key and its life so far."""

    kid: str
    public: bytes
    state: KeyState
    published_unix_us: int
    wanted_unix_us: int | None = None
    """From when somebody wants it to take over; ``None``: by schedule."""
    activated_unix_us: int | None = None
    retired_unix_us: int | None = None
    gone_unix_us: int | None = None

    @property
    def is_published(self) -> bool:
        """Whether it is in the key set."""
        return self.state is not KeyState.GONE

    @property
    def may_sign(self) -> bool:
        """Whether its private half is needed."""
        return self.state in (KeyState.NEXT, KeyState.ACTIVE)


def in_state(keys: Iterable[LicenseKey], state: KeyState) -> LicenseKey | None:
    """Return the key that is next, or active, if there is one."""
    return next((key for key in keys if key.state is state), None)


def takes_over_unix_us(keys: Iterable[LicenseKey], *, rotate_us: int) -> int | None:
    """Return when the next key becomes the active one; ``None`` when there is no next or no active key."""
    keys = tuple(keys)
    active, coming = in_state(keys, KeyState.ACTIVE), in_state(keys, KeyState.NEXT)
    if active is None or coming is None or active.activated_unix_us is None:
        return None
    due = active.activated_unix_us + rotate_us
    if coming.wanted_unix_us is not None:
        due = min(due, coming.wanted_unix_us)
    return max(due, coming.published_unix_us + PUBLISHED_US)


def advance(
    keys: Iterable[LicenseKey],
    *,
    now_unix_us: int,
    rotate_us: int,
    usable: frozenset[str],
    make: Callable[[], bytes],
) -> tuple[LicenseKey, ...]:
    """Return the keys that change now, as they are then, new ones among them; none when nothing is due.

    Without an active key the next one takes over at once, published long enough or not: there is nothing better.

    :param usable: ids of the keys whose private half is there. One without it is gone at once: it was lost, or
        removed for a reason that an older copy of the database does not know.
    :param make: makes a key and returns its public half.
    """
    before = {key.kid: key for key in keys}
    after = dict(before)

    def put(key: LicenseKey) -> LicenseKey:
        after[key.kid] = key
        return key

    def fresh(state: KeyState) -> LicenseKey:
        public = make()
        key = LicenseKey(kid=thumbprint(public), public=public, state=state, published_unix_us=now_unix_us)
        return put(evolve(key, activated_unix_us=now_unix_us if state is KeyState.ACTIVE else None))

    def activate(key: LicenseKey) -> None:
        put(evolve(key, state=KeyState.ACTIVE, activated_unix_us=now_unix_us))

    for key in before.values():
        is_lost = key.may_sign and key.kid not in usable
        is_over = key.state is KeyState.RETIRING and now_unix_us >= (key.retired_unix_us or 0) + RETIRING_US
        if is_lost or is_over:
            put(evolve(key, state=KeyState.GONE, gone_unix_us=now_unix_us))
    active, coming = in_state(after.values(), KeyState.ACTIVE), in_state(after.values(), KeyState.NEXT)
    due = takes_over_unix_us(after.values(), rotate_us=rotate_us)
    if active is None and coming is None:
        fresh(KeyState.ACTIVE)
    elif active is None and coming is not None:
        activate(coming)
    elif active is not None and coming is not None and due is not None and now_unix_us >= due:
        put(evolve(active, state=KeyState.RETIRING, retired_unix_us=now_unix_us))
        activate(coming)
    if in_state(after.values(), KeyState.NEXT) is None:
        fresh(KeyState.NEXT)
    return tuple(key for kid, key in after.items() if key != before.get(kid))


def is_due(keys: Iterable[LicenseKey], *, now_unix_us: int, rotate_us: int, usable: frozenset[str]) -> bool:
    """Whether `advance` would change anything."""
    try:
        return bool(advance(keys, now_unix_us=now_unix_us, rotate_us=rotate_us, usable=usable, make=_refuse))
    except _KeyWanted:
        return True


def revoked(keys: Iterable[LicenseKey], *, now_unix_us: int) -> tuple[LicenseKey, ...]:
    """Return every key that is published, as gone: next ones too, for they lay beside the others."""
    return tuple(
        evolve(key, state=KeyState.GONE, gone_unix_us=now_unix_us) for key in keys if key.state is not KeyState.GONE
    )


class _KeyWanted(Exception):
    """A key would be made."""


def _refuse() -> bytes:
    raise _KeyWanted
