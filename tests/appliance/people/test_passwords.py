import threading

import pytest
import trio
from argon2 import PasswordHasher

from appliance.errors import Busy
from appliance.people.passwords import WAITING_MAX, Passwords

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Gated(PasswordHasher):
    """A hasher that holds every hash until it is let go, and counts how many were at it at once."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.gate = threading.Event()
        self.lock = threading.Lock()
        self.running = 0
        self.most = 0

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.gate.wait(30)
        with self.lock:
            self.running -= 1
        return super().hash(password, salt=salt)


async def test_password_matches_its_hash_and_no_other() -> None:
    passwords = Passwords(CHEAP)
    stored = await passwords.hash("correct horse")
    assert stored.startswith("$argon2id$")
    assert await passwords.matches(stored, "correct horse")
    assert not await passwords.matches(stored, "battery staple")


@pytest.mark.parametrize("stored", [None, "", "nonsense", "$argon2id$v=19$m=8,t=1,p=1$AAAA$AAAA"])
async def test_nobody_and_damaged_hashes_match_nothing(stored: str | None) -> None:
    assert not await Passwords(CHEAP).matches(stored, "anything at all")


async def test_nobody_costs_what_somebody_costs() -> None:
    # The stand-in hash must be of the form and cost of a real one, or an unknown name would be answered faster.
    passwords = Passwords(CHEAP)
    assert not passwords.needs_rehash(passwords._nobody)
    real = await passwords.hash("x" * 10)
    assert [len(part) for part in passwords._nobody.split("$")] == [len(part) for part in real.split("$")]


async def test_hash_of_another_cost_is_noticed() -> None:
    stored = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash("x")
    assert Passwords(CHEAP).needs_rehash(stored)


async def test_two_hash_at_once_and_the_third_is_turned_away_after_its_wait() -> None:
    hasher = Gated()
    passwords = Passwords(hasher, wait_seconds=0.05)
    refused = 0

    async def one() -> None:
        nonlocal refused
        try:
            await passwords.hash("password")
        except Busy:
            refused += 1
            if refused == 3:
                hasher.gate.set()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(one)
    assert refused == 3
    assert hasher.most <= 2


async def test_flood_is_turned_away_without_waiting() -> None:
    hasher = Gated()
    passwords = Passwords(hasher, wait_seconds=60)
    outcomes: list[str] = []

    async def one() -> None:
        try:
            await passwords.hash("password")
        except Busy:
            outcomes.append("busy")
            if outcomes.count("busy") == 7:
                hasher.gate.set()
        else:
            outcomes.append("done")

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(2 + WAITING_MAX + 7):
                nursery.start_soon(one)
    assert (outcomes.count("busy"), outcomes.count("done")) == (7, 2 + WAITING_MAX)
    assert hasher.most <= 2
