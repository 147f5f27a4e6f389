"""Slows down guessing: five free tries, then a pause that doubles up to five minutes, per name and address.

Nobody is locked out: the pause is bounded, belongs to the pair of name and address, and ends with a right password.
Pure but for its own memory; the time is given.
"""

import hashlib
from collections import OrderedDict

from attrs import define, field

from appliance.rate import network_of

FREE_TRIES = 5
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0
FORGET_SECONDS = 3_600.0
PAIRS_MAX = 20_000
US = 1_000_000


def pause_seconds(tries: int) -> float:
    """Return how long after ``tries`` wrong ones the next is taken: 0 for five, then 1, 2, 4 ... 300."""
    if tries < FREE_TRIES:
        return 0.0
    return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(tries - FREE_TRIES, 30))


@define
class _Tries:
    count: int = 0
    last_unix_us: int = 0


@define
class Throttle:
    """Remembers wrong tries; the longest untouched pair is forgotten first when 20,000 are known."""

    _tries: OrderedDict[bytes, _Tries] = field(factory=OrderedDict, init=False)

    def attempt(self, name_key: str, address: str, *, now_unix_us: int) -> float:
        """Count a try before its password is looked at; return 0, or in how many seconds to come again.

        Counted first, so that a hundred simultaneous tries are a hundred tries. A refused one is not counted.
        """
        key = _pair(name_key, address)
        tries = self._tries.get(key)
        if tries is None or now_unix_us - tries.last_unix_us > FORGET_SECONDS * US:
            tries = _Tries()
        # A clock that has been set back starts the pause again; it must not make it longer.
        tries.last_unix_us = min(tries.last_unix_us, now_unix_us)
        wait_seconds = pause_seconds(tries.count) - (now_unix_us - tries.last_unix_us) / US
        if tries.count and wait_seconds > 0:
            return wait_seconds
        tries.count, tries.last_unix_us = tries.count + 1, now_unix_us
        self._tries[key] = tries
        self._tries.move_to_end(key)
        while len(self._tries) > PAIRS_MAX:
            self._tries.popitem(last=False)
        return 0.0

    def succeeded(self, name_key: str, address: str) -> None:
        """Forget the tries of a pair: the password was right."""
        self._tries.pop(_pair(name_key, address), None)


def _pair(name_key: str, address: str) -> bytes:
    # A digest: names are as long as whoever makes them up likes, and 20,000 of them are kept.
    text = f"{network_of(address)}\0{name_key}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()
