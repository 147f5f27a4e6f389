"""Guests who were cut off are told of, and those who left by themselves are not."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from appliance.errors import StorageFailed
from plugins.gpu_sharing.cuts import ONE_BY_ONE, WHY, Cuts
from plugins.gpu_sharing.relay import SessionReport
from plugins.gpu_sharing.relay import session as ends
from tests.plugins.gpu_sharing.parts import LOCAL, Parts, opened


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with opened(tmp_path) as one:
        yield one


@pytest.fixture
def cuts(parts: Parts) -> Cuts:
    return Cuts(parts.core)


def ended(share_id: str, reason: str, *, sent: int = 0, got: int = 0) -> SessionReport:
    return SessionReport(
        share_id=share_id,
        address="192.0.2.1",
        port=4711,
        opened_at_unix_us=1,
        last_active_at_unix_us=2,
        ended_at_unix_us=3,
        reason=reason,
        bytes_from_peer=sent,
        bytes_to_peer=got,
    )


async def test_guests_cut_from_a_share_are_told_of_once_with_what_had_passed(parts: Parts, cuts: Cuts) -> None:
    cuts.note(ended("share_a", ends.EXPIRED, sent=10, got=1000))
    cuts.note(ended("share_a", ends.EXPIRED, sent=5, got=500))
    cuts.note(ended("share_b", ends.REVOKED))
    await cuts.tell()
    await cuts.tell()
    first, second = await parts.told()
    assert first.message == "2 connections were cut from the share share_a after 1515 bytes: it has expired"
    assert first.data == {
        "share_id": "share_a",
        "reason": "expired",
        "connections": 2,
        "bytes_from_guests": 15,
        "bytes_to_guests": 1500,
    }
    assert (first.kind, first.level, first.subject) == ("sharing.share.cut", "info", LOCAL)
    assert second.message == "1 connection was cut from the share share_b after 0 bytes: it was deleted"


@pytest.mark.parametrize("reason", [ends.FINISHED, ends.PEER_RESET, ends.WORKER_RESET, ends.SHUTDOWN, ends.FAILED])
async def test_guests_who_were_not_cut_by_us_are_not_told_of(parts: Parts, cuts: Cuts, reason: str) -> None:
    cuts.note(ended("share_a", reason))
    await cuts.tell()
    assert await parts.told() == []


async def test_guests_cut_from_many_shares_at_once_are_one_sentence(parts: Parts, cuts: Cuts) -> None:
    for number in range(ONE_BY_ONE + 1):
        for _ in range(2):
            cuts.note(ended(f"share_{number}", ends.ACCESS, got=10))
    await cuts.tell()
    (event,) = await parts.told()
    assert event.message == "22 connections were cut from 11 shares"
    assert event.data == {"connections": 22, "bytes_from_guests": 0, "bytes_to_guests": 220}


@define
class FullDisk:
    """A core whose first events cannot be stored; more guests are cut meanwhile."""

    parts: Parts
    cuts: Cuts = field(init=False)
    failures: int = 1
    host_id: str = LOCAL

    @property
    def events(self) -> Any:
        return self

    async def publish(self, kind: str, message: str, **facts: Any) -> None:
        if self.failures:
            self.failures -= 1
            self.cuts.note(ended("share_a", ends.LIMIT, got=7))
            raise StorageFailed("no room")
        await self.parts.events.publish(kind, message, **facts)


@pytest.mark.parametrize("shares", [1, ONE_BY_ONE + 1])
async def test_guests_whose_event_cannot_be_stored_are_told_of_later(parts: Parts, shares: int) -> None:
    core: Any = FullDisk(parts)
    cuts = core.cuts = Cuts(core)
    for number in range(shares):
        cuts.note(ended(f"share_{'abcdefghijk'[number]}", ends.LIMIT, got=3))
    with pytest.raises(StorageFailed):
        await cuts.tell()
    await cuts.tell()
    (event,) = await parts.told()
    assert (event.data["connections"], event.data["bytes_to_guests"]) == (shares + 1, 3 * shares + 7)


def test_every_end_that_is_our_doing_has_words() -> None:
    assert set(WHY) == {"expired", "revoked", "access", "limit"}
