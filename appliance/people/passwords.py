"""Passwords by Argon2id, at most two at once: each takes 64 MiB and a core, so a flood of logins is turned away."""

from base64 import b64encode
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

import trio
from attrs import define, field

from appliance.errors import Busy

if TYPE_CHECKING:
    from argon2 import PasswordHasher

AT_ONCE = 2
WAITING_MAX = 16
WAIT_SECONDS = 3.0

T = TypeVar("T")


@define(eq=False, slots=False)
class Passwords:
    """Hashes and checks passwords in threads.

    ``hasher`` has RFC 9106's low-memory cost where none is given (64 MiB, 3 passes); tests give a cheap one. ``inline``
    works in the calling thread, for tests under a mock clock.
    """

    hasher: "PasswordHasher | None" = None
    inline: bool = False
    wait_seconds: float = WAIT_SECONDS
    _limiter: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(AT_ONCE), init=False)

    @cached_property
    def _argon2(self) -> "PasswordHasher":
        from argon2 import PasswordHasher  # a megabyte that a start without anybody's login does without

        return self.hasher or PasswordHasher()

    @cached_property
    def _nobody(self) -> str:
        # Of the right form and cost, and of no password: checking against it takes what checking a real one takes.
        cost = f"m={self._argon2.memory_cost},t={self._argon2.time_cost},p={self._argon2.parallelism}"
        salt, digest = _base64(bytes(self._argon2.salt_len)), _base64(bytes(self._argon2.hash_len))
        return f"$argon2id$v=19${cost}${salt}${digest}"

    async def hash(self, password: str) -> str:
        """Return the text that is stored; raises `Busy` when two others have been at it for too long."""
        return await self._in_turn(lambda: self._argon2.hash(password))

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether ``password`` is the stored one; the same work is done for ``None``, a person who does not exist."""
        return await self._in_turn(partial(self._verify, stored, password))

    def needs_rehash(self, stored: str) -> bool:
        """Whether a stored text was made at another cost than today's."""
        return self._argon2.check_needs_rehash(stored)

    def _verify(self, stored: str | None, password: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError

        try:
            self._argon2.verify(stored or self._nobody, password)
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self.inline:
            await trio.lowlevel.checkpoint()
            return work()
        if self._limiter.statistics().tasks_waiting >= WAITING_MAX:
            raise self._busy()
        with trio.move_on_after(self.wait_seconds):
            # Cancellable only while it waits for its turn; a running hash is let finish, and its answer counts.
            return await trio.to_thread.run_sync(work, limiter=self._limiter)
        raise self._busy()

    def _busy(self) -> Busy:
        return Busy("too many people are logging in right now", hint="try again in a few seconds")


def _base64(value: bytes) -> str:
    return b64encode(value).decode().rstrip("=")
