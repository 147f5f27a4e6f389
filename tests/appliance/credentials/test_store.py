import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from attrs import define

from appliance.credentials.kinds import ANONYMOUS, Caller, Kind
from appliance.credentials.rules import US
from appliance.credentials.store import FLUSH_SECONDS, KEEP_DEAD_SECONDS, MIGRATIONS, OWNER, Credentials
from appliance.credentials.tickets import TICKETS_MAX, Tickets
from appliance.database import Database
from appliance.errors import BadInput, Busy, Conflict, NotAuthenticated, NotFound

START = 1_795_000_000 * US


@define
class Clock:
    unix_us: int = START

    def __call__(self) -> int:
        return self.unix_us

    def forward(self, seconds: float) -> None:
        self.unix_us += int(seconds * US)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "a.db", inline=True, migrations={OWNER: MIGRATIONS}) as opened:
        yield opened


@pytest.fixture
async def credentials(database: Database, clock: Clock) -> Credentials:
    return await Credentials.load(database, now=clock)


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("a.db*"))


async def test_secret_is_found_and_is_not_stored(credentials: Credentials, tmp_path: Path) -> None:
    made = await credentials.create(Kind.PAT, subject="person_1", label="laptop")
    found = credentials.find(made.secret)
    assert found is not None
    assert (found.credential_id, found.subject, found.label) == (made.credential.credential_id, "person_1", "laptop")
    stored = on_disk(tmp_path)
    assert made.secret.encode() not in stored
    assert made.secret_sha256 in stored


@pytest.mark.parametrize("wrong", ["", "x", "a" * 513, "a" * 10_000_000, "pat_\ud800", "é" * 100])
async def test_wrong_secret_is_nobody(credentials: Credentials, wrong: str) -> None:
    await credentials.create(Kind.PAT)
    assert credentials.find(wrong) is None


async def test_secret_counts_only_as_the_kinds_asked_for(credentials: Credentials) -> None:
    made = await credentials.create(Kind.MACHINE, scope="gpu")
    assert credentials.find(made.secret, frozenset({Kind.PAT})) is None
    assert credentials.find(made.secret, frozenset({Kind.MACHINE})) is not None


async def test_revocation_takes_effect_at_once_and_lasts(credentials: Credentials, database: Database) -> None:
    made = await credentials.create(Kind.PAT)
    await credentials.revoke(made.credential.credential_id)
    assert credentials.find(made.secret) is None
    assert credentials.live(made.credential.credential_id) is None
    await credentials.revoke(made.credential.credential_id)  # again is no error
    again = await Credentials.load(database, now=credentials.now)
    assert again.find(made.secret) is None
    with pytest.raises(NotFound):
        await credentials.revoke("cred_unknown")


async def test_everything_survives_a_restart(credentials: Credentials, database: Database) -> None:
    made = await credentials.create(Kind.PAT, subject="p", scopes=frozenset({"a", "b:read"}), label="l")
    again = await Credentials.load(database, now=credentials.now)
    found = again.find(made.secret)
    assert found is not None
    assert found.scopes == frozenset({"a", "b:read"})


async def test_expired_credential_does_not_count(credentials: Credentials, clock: Clock) -> None:
    made = await credentials.create(Kind.PAT, expires_unix_us=clock() + 10 * US)
    clock.forward(9)
    assert credentials.find(made.secret) is not None
    clock.forward(1)
    assert credentials.find(made.secret) is None


async def test_single_use_is_given_to_exactly_one_of_many(tmp_path: Path, clock: Clock) -> None:
    async with Database.open(tmp_path / "threads.db", migrations={OWNER: MIGRATIONS}) as database:
        credentials = await Credentials.load(database, now=clock)
        made = await credentials.create(Kind.JOIN)
        outcomes: list[bool] = []

        async def use() -> None:
            try:
                await credentials.consume(made.secret, Kind.JOIN)
            except NotAuthenticated:
                outcomes.append(False)
            else:
                outcomes.append(True)

        async with trio.open_nursery() as nursery:
            for _ in range(32):
                nursery.start_soon(use)
        assert sorted(outcomes) == [False] * 31 + [True]
        assert credentials.find(made.secret) is None


async def test_consuming_as_another_kind_uses_nothing_up(credentials: Credentials) -> None:
    made = await credentials.create(Kind.INSTALL)
    with pytest.raises(NotAuthenticated):
        await credentials.consume(made.secret, Kind.JOIN)
    assert (await credentials.consume(made.secret, Kind.INSTALL)).uses_left == 0


async def test_expired_join_token_cannot_be_used(credentials: Credentials, clock: Clock) -> None:
    made = await credentials.create(Kind.JOIN)
    clock.forward(30 * 60)
    with pytest.raises(NotAuthenticated):
        await credentials.consume(made.secret, Kind.JOIN)


async def test_rotation_ends_the_old_secret_at_once(credentials: Credentials) -> None:
    old = await credentials.create(Kind.WORKER, label="w")
    new = await credentials.rotate(old.credential.credential_id)
    assert credentials.find(old.secret) is None
    assert credentials.find(new.secret) is not None
    with pytest.raises(Conflict):
        await credentials.rotate(old.credential.credential_id)


async def test_rotation_with_overlap_lets_both_count_meanwhile(
    credentials: Credentials, clock: Clock, database: Database
) -> None:
    old = await credentials.create(Kind.WORKER)
    new = await credentials.rotate(old.credential.credential_id, overlap_seconds=60)
    assert credentials.find(old.secret) is not None
    again = await Credentials.load(database, now=clock)
    clock.forward(60)
    assert credentials.find(old.secret) is None
    assert again.find(old.secret) is None
    assert credentials.find(new.secret) is not None


async def test_counted_and_unknown_credentials_are_not_rotated(credentials: Credentials) -> None:
    join = await credentials.create(Kind.JOIN)
    with pytest.raises(Conflict):
        await credentials.rotate(join.credential.credential_id)
    with pytest.raises(NotFound):
        await credentials.rotate("cred_unknown")


async def test_all_of_a_subject_end_but_for_the_one_kept(credentials: Credentials) -> None:
    made = [await credentials.create(Kind.SESSION, subject="p") for _ in range(3)]
    other = await credentials.create(Kind.SESSION, subject="q")
    assert await credentials.revoke_of(subject="p", kind=Kind.SESSION, keep=made[0].credential.credential_id) == 2
    assert [credentials.find(one.secret) is not None for one in [*made, other]] == [True, False, False, True]
    with pytest.raises(ValueError, match="subject or a kind"):
        await credentials.revoke_of()


async def test_fixed_secret_is_taken_once(credentials: Credentials) -> None:
    secret = secrets.token_urlsafe(66)
    made = await credentials.create(Kind.MACHINE, secret=secret)
    assert made.secret == secret
    with pytest.raises(Conflict):
        await credentials.create(Kind.MACHINE, secret=secret)
    with pytest.raises(BadInput):
        await credentials.create(Kind.MACHINE, secret="short")


async def test_last_use_is_written_behind(credentials: Credentials, clock: Clock, autojump_clock: object) -> None:
    made = await credentials.create(Kind.PAT)
    async with trio.open_nursery() as nursery:
        await nursery.start(credentials.run)
        clock.forward(100)
        credentials.find(made.secret)
        fresh = credentials.get(made.credential.credential_id)
        assert fresh is not None
        assert fresh.last_used_unix_us == clock()  # shown at once, also before it is on disk
        await trio.sleep(FLUSH_SECONDS + 1)
        nursery.cancel_scope.cancel()
    again = await Credentials.load(credentials.database, now=clock)
    stored = again.get(made.credential.credential_id)
    assert stored is not None
    assert stored.last_used_unix_us == START + 100 * US


async def test_last_use_is_written_when_stopped(credentials: Credentials, clock: Clock, autojump_clock: object) -> None:
    made = await credentials.create(Kind.PAT)
    async with trio.open_nursery() as nursery:
        await nursery.start(credentials.run)
        credentials.find(made.secret)
        nursery.cancel_scope.cancel()
    again = await Credentials.load(credentials.database, now=clock)
    stored = again.get(made.credential.credential_id)
    assert stored is not None
    assert stored.last_used_unix_us == START


async def test_long_dead_credentials_are_deleted_and_others_are_not(credentials: Credentials, clock: Clock) -> None:
    dead = await credentials.create(Kind.PAT)
    live = await credentials.create(Kind.PAT)
    await credentials.revoke(dead.credential.credential_id)
    clock.forward(KEEP_DEAD_SECONDS - 1)
    assert await credentials.purge() == 0
    clock.forward(2)
    assert await credentials.purge() == 1
    assert credentials.get(dead.credential.credential_id) is None
    assert credentials.find(live.secret) is not None


async def test_ended_sessions_are_deleted_at_once_and_live_ones_are_not(credentials: Credentials, clock: Clock) -> None:
    ended = await credentials.create(Kind.SESSION, subject="p")
    expired = await credentials.create(Kind.SESSION, subject="p", expires_unix_us=clock() + 1)
    live = await credentials.create(Kind.SESSION, subject="p")
    await credentials.revoke(ended.credential.credential_id)
    clock.forward(1)
    assert await credentials.purge() == 2
    assert credentials.get(ended.credential.credential_id) is None
    assert credentials.get(expired.credential.credential_id) is None
    assert credentials.find(live.secret) is not None


async def test_pages_are_newest_first_and_whole(credentials: Credentials) -> None:
    made = [await credentials.create(Kind.PAT, subject="p", label=str(number)) for number in range(5)]
    await credentials.create(Kind.SESSION, subject="p")
    await credentials.revoke(made[3].credential.credential_id)
    first, following = await credentials.page((Kind.PAT,), limit=3)
    assert [one.label for one in first] == ["4", "3", "2"]
    assert following is not None
    rest, end = await credentials.page((Kind.PAT,), limit=3, before=following)
    assert ([one.label for one in rest], end) == (["1", "0"], None)
    live, _ = await credentials.page((Kind.PAT,), live_only=True)
    assert [one.label for one in live] == ["4", "2", "1", "0"]


def test_ticket_stands_for_its_caller_once_and_for_30_seconds(clock: Clock) -> None:
    tickets = Tickets(clock)
    caller = Caller(kind=Kind.SESSION, subject="p")
    ticket, late = tickets.issue(caller), tickets.issue(caller)
    assert tickets.take(ticket) == caller
    assert tickets.take(ticket) is None
    clock.forward(30)
    assert tickets.take(late) is None
    assert tickets.take("t" * 1000) is None


def test_tickets_are_bounded_and_room_comes_back(clock: Clock) -> None:
    tickets = Tickets(clock)
    for _ in range(TICKETS_MAX):
        tickets.issue(ANONYMOUS)
    with pytest.raises(Busy):
        tickets.issue(ANONYMOUS)
    clock.forward(30)
    assert tickets.take(tickets.issue(ANONYMOUS)) is ANONYMOUS
