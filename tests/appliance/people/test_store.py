from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from argon2 import PasswordHasher
from attrs import define

from appliance.credentials import store as credential_store
from appliance.credentials.kinds import Kind, Role
from appliance.credentials.rules import US
from appliance.credentials.store import Credentials
from appliance.database import Database
from appliance.errors import ApplianceError, BadInput, Conflict, NotAuthenticated, NotFound, TooManyRequests
from appliance.people import store as people_store
from appliance.people.passwords import Passwords
from appliance.people.store import SESSIONS_MAX, People

START = 1_795_000_000 * US
TABLES = {
    credential_store.OWNER: credential_store.MIGRATIONS,
    people_store.OWNER: people_store.MIGRATIONS,
}
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
GOOD = "correct horse battery"


@define
class Clock:
    unix_us: int = START

    def __call__(self) -> int:
        return self.unix_us


async def load(database: Database, clock: Clock) -> People:
    credentials = await Credentials.load(database, now=clock)
    return await People.load(database, credentials, now=clock, passwords=Passwords(CHEAP, inline=True))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "a.db", inline=True, migrations=TABLES) as opened:
        yield opened


@pytest.fixture
async def people(database: Database, clock: Clock) -> People:
    return await load(database, clock)


async def test_person_logs_in_by_name_or_address_in_any_case(people: People) -> None:
    await people.add("Ana", role=Role.USER, password=GOOD, address="ana@example.org")
    for number, name in enumerate(["Ana", "ANA", "ana@example.org", "Ana@Example.ORG", "\uff21na"], start=1):
        login = await people.log_in(name, GOOD, address="10.0.0.1")
        assert (login.person.name, login.person.visit_count) == ("Ana", number)
        assert people.credentials.find(login.session.secret) is not None


async def test_name_may_be_an_address(people: People) -> None:
    person = await people.add("bo@example.org", role=Role.USER, password=GOOD)
    assert person.address == "bo@example.org"
    assert people.find("BO@example.org") == person


async def test_wrong_name_and_wrong_password_get_the_same_answer(people: People) -> None:
    await people.add("ana", role=Role.USER, password=GOOD)
    await people.add("linked", role=Role.USER, password=None)
    said = set()
    for name, password in [
        ("ana", "wrong wrong"),
        ("nobody", GOOD),
        ("ana", ""),
        ("ana", "x" * 5000),
        ("linked", GOOD),
    ]:
        with pytest.raises(NotAuthenticated) as caught:
            await people.log_in(name, password, address="10.0.0.1")
        said.add((caught.value.message, caught.value.hint))
    assert len(said) == 1


async def test_sixth_try_is_throttled_for_known_and_unknown_names_alike(people: People, clock: Clock) -> None:
    await people.add("ana", role=Role.USER, password=GOOD)
    for name in ("ana", "nobody"):
        for _ in range(5):
            with pytest.raises(NotAuthenticated):
                await people.log_in(name, "wrong wrong", address="10.0.0.1")
        with pytest.raises(TooManyRequests) as caught:
            await people.log_in(name, GOOD, address="10.0.0.1")
        assert caught.value.retry_after_seconds == 1.0
    await people.log_in("ana", GOOD, address="10.0.0.2")  # somebody else's tries lock nobody out
    clock.unix_us += US
    await people.log_in("ana", GOOD, address="10.0.0.1")


async def test_password_is_checked_without_a_session_and_throttled_like_a_login(people: People) -> None:
    await people.add("ana", role=Role.USER, password=GOOD)
    assert (await people.check("ana", GOOD, address="a")).name == "ana"
    assert people.named("ana").visit_count == 0
    for _ in range(5):
        with pytest.raises(NotAuthenticated):
            await people.check("ana", "wrong wrong", address="10.0.0.1")
    with pytest.raises(TooManyRequests):
        await people.check("ana", GOOD, address="10.0.0.1")


async def test_login_takes_the_place_of_the_old_session(people: People) -> None:
    await people.add("ana", role=Role.USER, password=GOOD)
    first = await people.log_in("ana", GOOD, address="a")
    old = first.session.credential.credential_id
    second = await people.log_in("ana", GOOD, address="a", replaces=old)
    assert people.credentials.find(first.session.secret) is None
    assert people.credentials.find(second.session.secret) is not None


async def test_login_beyond_a_hundred_ends_the_oldest(people: People) -> None:
    ana = await people.add("ana", role=Role.USER, password=GOOD)
    await people.add("bo", role=Role.USER, password=GOOD)
    token = await people.credentials.create(Kind.PAT, subject=ana.person_id)
    other = await people.log_in("bo", GOOD, address="a")
    opened = [(await people.log_in("ana", GOOD, address="a")).session.secret for _ in range(SESSIONS_MAX + 2)]
    assert [people.credentials.find(secret) is None for secret in opened] == [True] * 2 + [False] * SESSIONS_MAX
    assert people.credentials.find(other.session.secret) is not None
    assert people.credentials.find(token.secret) is not None


@pytest.mark.parametrize(("name", "address"), [("ANA", ""), ("ana@example.org", ""), ("bo", "ANA@example.org")])
async def test_name_or_address_of_somebody_cannot_be_taken(people: People, name: str, address: str) -> None:
    await people.add("ana", role=Role.USER, password=GOOD, address="ana@example.org")
    with pytest.raises(Conflict):
        await people.add(name, role=Role.USER, password=GOOD, address=address)
    assert len(people.everyone()) == 1


async def test_last_admin_is_neither_removed_nor_demoted(people: People) -> None:
    ana = await people.add("ana", role=Role.ADMIN, password=GOOD)
    with pytest.raises(Conflict):
        await people.remove(ana.person_id)
    with pytest.raises(Conflict):
        await people.set_role(ana.person_id, Role.USER)
    bo = await people.add("bo", role=Role.ADMIN, password=GOOD)
    assert (await people.set_role(ana.person_id, Role.USER)).role is Role.USER
    with pytest.raises(Conflict):
        await people.remove(bo.person_id)


async def test_two_admins_removing_each_other_at_once_leave_one(tmp_path: Path, clock: Clock) -> None:
    async with Database.open(tmp_path / "threads.db", migrations=TABLES) as database:
        people = await load(database, clock)
        pair = [await people.add(name, role=Role.ADMIN, password=GOOD) for name in ("ana", "bo")]
        refused: list[ApplianceError] = []

        async def remove(person_id: str) -> None:
            try:
                await people.remove(person_id)
            except Conflict as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            for person in pair:
                nursery.start_soon(remove, person.person_id)
        assert len(refused) == 1
        assert len(people.everyone()) == 1
        assert people.has_admin()


async def test_removing_a_person_ends_their_sessions_and_tokens(people: People) -> None:
    await people.add("root", role=Role.ADMIN, password=GOOD)
    ana = await people.add("ana", role=Role.USER, password=GOOD)
    session = (await people.log_in("ana", GOOD, address="a")).session
    token = await people.credentials.create(Kind.PAT, subject=ana.person_id)
    await people.remove(ana.person_id)
    assert people.credentials.find(session.secret) is None
    assert people.credentials.find(token.secret) is None
    assert people.find("ana") is None
    with pytest.raises(NotFound):
        await people.remove(ana.person_id)
    again = await people.add("ana", role=Role.VIEWER, password=GOOD)
    assert again.person_id != ana.person_id


async def test_everyone_is_there_after_a_restart(people: People, database: Database, clock: Clock) -> None:
    await people.add("ana", role=Role.OPERATOR, password=GOOD, address="ana@example.org")
    await people.log_in("ana", GOOD, address="a")
    again = await load(database, clock)
    assert again.everyone() == people.everyone()
    assert (await again.log_in("ANA@example.org", GOOD, address="a")).person.visit_count == 2


async def test_setup_link_makes_one_admin_and_all_links_die_with_it(people: People) -> None:
    first, second = await people.setup_link(), await people.setup_link()
    login = await people.set_up(first.secret, "ana", GOOD)
    assert login.person.role is Role.ADMIN
    assert people.credentials.find(login.session.secret) is not None
    for link in (first, second):
        with pytest.raises(NotAuthenticated):
            await people.set_up(link.secret, "eve", GOOD)
    with pytest.raises(Conflict):
        await people.setup_link()


async def test_setup_links_die_when_the_first_admin_comes_another_way(people: People) -> None:
    link = await people.setup_link()
    await people.add("ana", role=Role.USER, password=GOOD)
    assert people.credentials.find(link.secret) is not None
    await people.set_role(people.named("ana").person_id, Role.ADMIN)
    with pytest.raises(NotAuthenticated):
        await people.set_up(link.secret, "eve", GOOD)


async def test_refused_setup_leaves_the_link_valid(people: People) -> None:
    link = await people.setup_link()
    for name, password in [("", GOOD), ("ana", "short")]:
        with pytest.raises(BadInput):
            await people.set_up(link.secret, name, password)
    await people.set_up(link.secret, "ana", GOOD)


async def test_two_setups_at_once_make_one_admin(tmp_path: Path, clock: Clock) -> None:
    async with Database.open(tmp_path / "threads.db", migrations=TABLES) as database:
        people = await load(database, clock)
        links = [await people.setup_link() for _ in range(4)]
        refused: list[ApplianceError] = []

        async def set_up(secret: str, name: str) -> None:
            try:
                await people.set_up(secret, name, GOOD)
            except (Conflict, NotAuthenticated) as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            for number, link in enumerate(links):
                nursery.start_soon(set_up, link.secret, f"admin{number}")
        assert len(refused) == 3
        assert len(people.everyone()) == 1


async def test_reset_link_ends_sessions_at_once_and_sets_a_password_once(people: People) -> None:
    ana = await people.add("ana", role=Role.USER, password=GOOD)
    session = (await people.log_in("ana", GOOD, address="a")).session
    first = await people.reset_link(ana.person_id)
    second = await people.reset_link(ana.person_id)
    assert people.credentials.find(session.secret) is None
    with pytest.raises(NotAuthenticated):
        await people.reset(first.secret, "another password")  # a newer link ends the older
    login = await people.reset(second.secret, "another password")
    assert login.person.name == "ana"
    with pytest.raises(NotAuthenticated):
        await people.reset(second.secret, "third password")
    with pytest.raises(NotAuthenticated):
        await people.log_in("ana", GOOD, address="b")
    await people.log_in("ana", "another password", address="c")


async def test_setup_secret_is_no_reset_secret(people: People) -> None:
    link = await people.setup_link()
    with pytest.raises(NotAuthenticated):
        await people.reset(link.secret, GOOD)


async def test_new_password_ends_all_sessions_but_the_one_kept(people: People) -> None:
    ana = await people.add("ana", role=Role.USER, password=GOOD)
    kept = (await people.log_in("ana", GOOD, address="a")).session
    other = (await people.log_in("ana", GOOD, address="a")).session
    await people.set_password(ana.person_id, "another password", keep_session=kept.credential.credential_id)
    assert people.credentials.find(kept.secret) is not None
    assert people.credentials.find(other.secret) is None


async def test_hash_of_an_old_cost_is_made_anew_at_login(database: Database, clock: Clock) -> None:
    people = await load(database, clock)
    await people.add("ana", role=Role.USER, password=GOOD)
    dearer = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)
    people.passwords = Passwords(dearer, inline=True)
    await people.log_in("ana", GOOD, address="a")
    stored = database.read_now(
        lambda connection: connection.execute("SELECT password_hash FROM people_person").fetchone()
    )
    assert not dearer.check_needs_rehash(stored[0])
    await people.log_in("ana", GOOD, address="a")
