"""The issuer as a whole: keys that take turns under load, across restarts, losses and emergencies."""

import subprocess
import sys
from pathlib import Path

import pytest
import trio
from attrs import evolve

from appliance import events, licenses
from appliance.database import Database
from appliance.errors import BadInput
from appliance.events import EventBus
from appliance.licenses import ClockWentBack, License, LicenseKeeper, LicenseKeyRefused, LicenseRefused, token
from appliance.licenses.jwks import read_key_set
from appliance.licenses.keys import LicenseKeys
from appliance.settings import LicensesSettings, VendorLicenseSettings
from appliance.testing import SteppingClock, running, until

from .kit import DAY, HOUR, VENDOR, Kit, issuer, load

ROOT = Path(__file__).parents[3]


def holds(kit: Kit, license: License) -> bool:
    """Whether anybody who fetches the key set now takes the licence."""
    keys = read_key_set(kit.licenses.key_set.body)
    try:
        token.verify(license.plain, license.encrypted, keys, now_unix_ms=kit.clock() // 1000)
    except LicenseRefused:
        return False
    return True


def expiry_of_vendors_pair(kit: Kit) -> int | None:
    pair = kit.licenses.vendor
    assert pair is not None
    return pair.expires_unix_us


async def told(kit: Kit, kind: str) -> list[events.Event]:
    return await kit.bus.history(kinds=(kind,))


async def test_the_first_keys_are_there_and_published_and_only_their_private_halves_are_files(tmp_path: Path) -> None:
    async with issuer(tmp_path) as kit:
        assert kit.states() == ["active", "next"]
        published = read_key_set(kit.licenses.key_set.body)
        assert set(published) == kit.files() == {key.kid for key in kit.licenses.keys}
        assert await told(kit, "license.") == []


async def test_a_licence_holds_for_two_hours_and_says_for_whom(tmp_path: Path) -> None:
    async with issuer(tmp_path) as kit:
        one = await kit.issue()
        assert one.expires_unix_us == kit.clock() + 7_200_000_000
        assert one.kid == kit.licenses.active_kid
        said = kit.licenses.verify(one.plain, one.encrypted, agent_id="agent-1")
        assert (said.plan, said.max_gpus, said.max_workers) == ("pro", 8, 16)
        with pytest.raises(LicenseRefused) as refused:
            kit.licenses.verify(one.plain, one.encrypted, agent_id="agent-2")
        assert refused.value.reason == "agent"
        kit.clock.advance(7_200)
        assert not holds(kit, one)


async def test_an_agent_id_that_would_break_the_text_gets_no_licence(tmp_path: Path) -> None:
    async with issuer(tmp_path) as kit:
        for agent_id in ("a|b", "", "a\n", "a" * 200):
            with pytest.raises(BadInput):
                await kit.issue(agent_id)


async def test_keys_outlive_a_restart_and_what_was_signed_before_still_holds(tmp_path: Path) -> None:
    async with issuer(tmp_path) as kit:
        one, before = await kit.issue(), kit.licenses.key_set
        await kit.again()
        await kit.licenses.keep()
        assert kit.licenses.key_set == before
        assert holds(kit, one)
        assert (await kit.issue()).kid == one.kid


async def test_the_schedule_makes_the_next_key_sign_and_removes_the_private_half_of_the_old_one(tmp_path: Path) -> None:
    async with issuer(tmp_path) as kit:
        coming = next(key.kid for key in kit.licenses.keys if key.state == "next")
        kit.clock.advance(30 * DAY - 1)
        last = await kit.issue()
        await kit.licenses.keep()
        assert kit.licenses.active_kid == last.kid
        kit.clock.advance(1)
        await kit.licenses.keep()
        assert kit.licenses.active_kid == coming
        assert last.kid not in kit.files()
        assert len(kit.files()) == 2
        assert holds(kit, last)
        assert [event.subject for event in await told(kit, "license.keys_rotated")] == [coming]
        kit.clock.advance(2 * HOUR + 60)
        await kit.licenses.keep()
        assert last.kid not in read_key_set(kit.licenses.key_set.body)


async def test_a_shorter_schedule_takes_effect_without_a_restart(tmp_path: Path) -> None:
    async with issuer(tmp_path) as kit:
        first = kit.licenses.active_kid
        kit.clock.advance(2 * DAY)
        await kit.licenses.keep()
        assert kit.licenses.active_kid == first
        kit.settings = LicensesSettings(rotate_days=2)
        await kit.licenses.keep()
        assert kit.licenses.active_kid != first


async def test_rotating_by_hand_waits_for_the_day_of_publication_and_not_longer(tmp_path: Path) -> None:
    async with issuer(tmp_path) as kit:
        first = kit.licenses.active_kid
        kit.clock.advance(HOUR)
        assert await kit.licenses.rotate() is False
        assert kit.licenses.takes_over_unix_us == kit.clock() + int(23 * HOUR) * 1_000_000
        await kit.again()  # the wish is on disk
        kit.clock.advance(23 * HOUR)
        await kit.licenses.keep()
        assert kit.licenses.active_kid != first
        kit.clock.advance(DAY)
        second = kit.licenses.active_kid
        assert await kit.licenses.rotate() is True
        assert kit.licenses.active_kid != second


async def test_every_licence_handed_out_while_keys_rotate_verifies_against_the_key_set_fetched_after_it(
    tmp_path: Path,
) -> None:
    clock, keys = SteppingClock(), tmp_path / "keys"
    keys.mkdir(mode=0o700)
    tables = {events.OWNER: events.MIGRATIONS, licenses.OWNER: licenses.MIGRATIONS}
    signed: set[str] = set()
    held = 0
    async with Database.open(tmp_path / "a.db", migrations=tables, now=clock) as database:  # with its writer's thread
        bus = EventBus(database, clock)
        kit = Kit(await load(database, keys, bus, clock, None), database, bus, clock, keys, LicensesSettings())

        async def ask() -> None:
            nonlocal held
            while True:
                one = await kit.issue()
                signed.add(one.kid)
                assert holds(kit, one)
                await trio.sleep(0.002)
                assert one.expires_unix_us is not None
                if clock() < one.expires_unix_us:
                    assert holds(kit, one)
                    held += 1

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(ask)
            for _ in range(12):
                await trio.sleep(0.01)
                clock.advance(DAY)
                assert await kit.licenses.rotate()
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    assert len(signed) > 6
    assert held > 50


async def test_an_emergency_ends_every_licence_at_once_and_tells(tmp_path: Path) -> None:
    async with issuer(tmp_path) as kit:
        one, before = await kit.issue(), {key.kid for key in kit.licenses.keys}
        with kit.bus.subscribe("license.key_revoked") as told:
            dropped = await kit.licenses.revoke_keys()
            event = await anext(aiter(told))
        assert set(dropped) == before == set(event.data["kids"])
        assert event.data["active_kid"] == kit.licenses.active_kid not in before
        assert event.level == "warning"
        assert not holds(kit, one)
        with pytest.raises(LicenseRefused, match="no longer"):
            kit.licenses.verify(one.plain, one.encrypted)
        assert before.isdisjoint(kit.files())
        assert before.isdisjoint(read_key_set(kit.licenses.key_set.body))
        assert holds(kit, await kit.issue())
        await kit.again()
        assert not holds(kit, one)


async def test_no_licence_is_issued_when_the_clock_went_back_by_more_than_a_minute(tmp_path: Path) -> None:
    async with issuer(tmp_path) as kit:
        await kit.issue()
        kit.clock.advance(-60)
        await kit.issue()
        kit.clock.advance(-0.001)
        with pytest.raises(ClockWentBack, match="behind the last licence") as refused:
            await kit.issue()
        assert refused.value.status == 503
        assert "rotate --emergency" in refused.value.hint
        await kit.again()
        with pytest.raises(ClockWentBack):
            await kit.issue()
        kit.clock.advance(0.001)
        await kit.issue()


async def test_the_time_of_the_last_licence_is_on_disk_at_most_five_seconds_behind(tmp_path: Path) -> None:
    async with issuer(tmp_path) as kit:
        for _ in range(100):
            await kit.issue()
            kit.clock.advance(1)
        last = kit.clock()
        await kit.again()
        kit.clock.unix_us = last - 67 * 1_000_000
        with pytest.raises(ClockWentBack):
            await kit.issue()


async def test_an_emergency_is_the_way_out_when_the_clock_was_in_the_future(tmp_path: Path) -> None:
    async with issuer(tmp_path) as kit:
        kit.clock.advance(4_000 * DAY)
        future = await kit.issue()
        kit.clock.advance(-4_000 * DAY)
        with pytest.raises(ClockWentBack):
            await kit.issue()
        await kit.licenses.revoke_keys()
        assert holds(kit, await kit.issue())
        await kit.again()
        assert holds(kit, await kit.issue())
        kit.clock.advance(4_000 * DAY)
        assert not holds(kit, future)


async def test_a_clock_that_jumps_ahead_and_back_leaves_one_key_that_signs(tmp_path: Path) -> None:
    async with issuer(tmp_path) as kit:
        for days in (400, -400, 5_000, -4_999, 1):
            kit.clock.advance(days * DAY)
            await kit.licenses.keep()
            states = [key.state for key in kit.licenses.keys]
            assert (states.count("active"), states.count("next")) == (1, 1)
        assert holds(kit, await kit.issue())


async def test_a_key_whose_file_is_lost_is_dropped_and_told_and_the_next_one_signs(tmp_path: Path) -> None:
    async with issuer(tmp_path) as kit:
        one = await kit.issue()
        (kit.keys / f"license-{one.kid}.pem").unlink()
        await kit.licenses.keep()
        assert not holds(kit, one)
        assert (await kit.issue()).kid != one.kid
        [event] = await told(kit, "license.key_revoked")
        assert event.data["kids"] == [one.kid]


async def test_a_key_that_the_database_does_not_know_is_published_until_its_licences_have_expired(
    tmp_path: Path,
) -> None:
    # As after an older copy of the database was put back: the key made since has signed what is out there.
    async with issuer(tmp_path) as kit:
        public = LicenseKeys(kit.keys).make()
        (stray,) = kit.files() - {key.kid for key in kit.licenses.keys}
        (kit.keys / "license-damaged.pem").write_text("no key")
        (kit.keys / "license-damaged.pem").chmod(0o600)
        await kit.again()
        assert read_key_set(kit.licenses.key_set.body)[stray] == public
        assert kit.files() == {key.kid for key in kit.licenses.keys if key.may_sign}
        kit.clock.advance(2 * HOUR + 60)
        await kit.licenses.keep()
        assert stray not in read_key_set(kit.licenses.key_set.body)


async def test_the_file_of_a_key_that_signs_no_more_is_removed_at_the_next_start(tmp_path: Path) -> None:
    async with issuer(tmp_path) as kit:
        first = kit.licenses.active_kid
        content = (kit.keys / f"license-{first}.pem").read_bytes()
        kit.clock.advance(30 * DAY)
        await kit.licenses.keep()
        left = kit.keys / f"license-{first}.pem"  # as if we had been killed before it was removed
        left.write_bytes(content)
        left.chmod(0o600)
        await kit.again()
        assert not left.exists()
        assert first in read_key_set(kit.licenses.key_set.body)


async def test_a_key_that_could_not_be_stored_leaves_no_file(tmp_path: Path) -> None:
    async with issuer(tmp_path) as kit:
        before = kit.files()
        refuse = "CREATE TRIGGER refuse BEFORE INSERT ON licenses_key BEGIN SELECT RAISE(ABORT, 'no'); END"
        await kit.database.write(lambda connection: connection.execute(refuse).close())
        kit.clock.advance(30 * DAY)
        with pytest.raises(Exception, match="no"):
            await kit.licenses.keep()
        assert kit.files() == before
        assert kit.states() == ["active", "next"]
        await kit.database.write(lambda connection: connection.execute("DROP TRIGGER refuse").close())
        await kit.licenses.keep()
        assert kit.states() == ["retiring", "active", "next"]


async def test_a_key_that_others_can_read_stops_the_start_and_the_keeper(tmp_path: Path) -> None:
    async with issuer(tmp_path) as kit:
        (kit.keys / f"license-{kit.licenses.active_kid}.pem").chmod(0o644)
        with pytest.raises(LicenseKeyRefused, match="others can get at"):
            await kit.again()
        with pytest.raises(LicenseKeyRefused):
            await LicenseKeeper(kit.licenses).run()


async def test_the_vendors_pair_is_handed_out_as_it_is(tmp_path: Path) -> None:
    async with issuer(tmp_path) as kit:
        assert kit.licenses.vendor is None
        kit.settings = evolve(kit.settings, vendor=VENDOR)
        assert kit.licenses.vendor == License(
            plain=VENDOR.plain, encrypted=VENDOR.encrypted, expires_unix_us=1_784_709_281_000_000
        )
        for plain in ("text", "a|b", "a|b|soon", "a|b|", "a|b|-1", "a|b|" + "9" * 30):
            kit.settings = evolve(kit.settings, vendor=VendorLicenseSettings(plain=plain, encrypted="s"))
            assert expiry_of_vendors_pair(kit) is None


@pytest.mark.parametrize(
    ("plain", "encrypted"),
    [("a", ""), ("", "b"), ("a\nLD_PRELOAD=x", "b"), ("a", "b\x00"), ("\u00e9", "b"), ("a" * 9_000, "b")],
)
def test_half_a_vendors_pair_and_one_that_breaks_an_environment_are_refused(plain: str, encrypted: str) -> None:
    with pytest.raises(ValueError, match=r"together|printable"):
        VendorLicenseSettings(plain=plain, encrypted=encrypted)


async def test_a_start_with_a_key_that_others_can_read_is_refused_in_words(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        await until(lambda: appliance.state.licenses.active_kid)
    for path in (tmp_path / "data" / "keys").glob("license-*"):
        path.chmod(0o640)
    with pytest.raises(LicenseKeyRefused, match="others can get at"):
        async with running(tmp_path):
            pass


WARM_START = """
import sys, trio
from pathlib import Path
from appliance.testing import running

async def main():
    async with running(Path(sys.argv[1])) as appliance:
        assert appliance.state.licenses.active_kid
        assert (await appliance.get("/.well-known/jwks.json")).status == 200
        print("loaded:", [name for name in sys.modules if name.partition(".")[0] == "cryptography"])

trio.run(main)
"""


async def test_a_start_that_has_its_keys_loads_no_cryptography_until_a_licence_is_issued(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        await until(lambda: appliance.state.licenses.active_kid)

    def start() -> str:
        arguments = [sys.executable, "-c", WARM_START, str(tmp_path)]
        done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
        return next(line for line in done.stdout.splitlines() if line.startswith("loaded:"))

    assert await trio.to_thread.run_sync(start) == "loaded: []"
