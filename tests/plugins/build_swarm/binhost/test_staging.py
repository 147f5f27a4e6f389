import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from appliance.http.uploads import CutShort
from appliance.plugin import BadInput, Conflict, NotFound, TooLarge
from appliance.testing import SteppingClock, until
from plugins.build_swarm.binhost.staging import STRAY_SECONDS
from tests.plugins.build_swarm.binhost.packages import digest, gpkg, sha256
from tests.plugins.build_swarm.binhost.parts import OPERATOR, chunks, drone, opened, path_of

HELLO = "app-test/hello-1.0"
PATH = path_of(HELLO)


async def test_upload_is_in_the_index_and_served_as_it_was_sent(tmp_path: Path) -> None:
    data = gpkg(HELLO, RDEPEND="extra? ( a/b )")
    async with opened(tmp_path) as host:
        stored = await host.put(HELLO, RDEPEND="extra? ( a/b )")
        assert stored.is_new
        assert (stored.binary.sha256, stored.binary.uploaded_by) == (sha256(data), "drone-01")
        entry = host.staged()[PATH]
        file = host.binhost.staged_file(PATH)
        assert file.path.read_bytes() == data
        assert entry["MTIME"] == str(int(file.path.stat().st_mtime))
        assert (entry["SIZE"], entry["RDEPEND"]) == (str(len(data)), "a/b")
        assert (entry["MD5"], entry["SHA1"]) == (digest("md5", data), digest("sha1", data))


async def test_flat_layout_is_taken_too(tmp_path: Path) -> None:
    data = gpkg("app-test/hello-1.0-r2", BUILD_ID="")
    path = "app-test/hello-1.0-r2.gpkg.tar"
    async with opened(tmp_path) as host:
        stored = await host.binhost.upload(path, chunks(data), sha256=sha256(data), caller=drone("d"))
        assert stored.binary.build_id is None
        assert await host.binhost.staging.seen(within_seconds=30)
        assert list(host.staged()) == [path]


async def test_same_file_again_changes_nothing_but_when_it_was_uploaded(tmp_path: Path) -> None:
    now = SteppingClock()
    async with opened(tmp_path, now=now) as host:
        first = await host.put(HELLO)
        index = host.binhost.staged_file("Packages").path
        now.advance(60)
        again = await host.put(HELLO, by="drone-02")
        assert not again.is_new
        assert again.binary.uploaded_by == "drone-01"
        assert again.binary.uploaded_unix_us == first.binary.uploaded_unix_us + 60_000_000
        assert host.binhost.staged_file("Packages").path == index
        assert host.binhost.store.newest_upload("app-test/hello", HELLO) == now()


async def test_file_that_another_drone_has_staged_stays(tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        first = await host.put(HELLO)
        with pytest.raises(Conflict, match="from drone-01, and differs"):
            await host.put(HELLO, by="drone-02", image=b"another")
        assert host.binhost.staged_file(PATH).path.name == first.binary.sha256


async def test_drone_replaces_its_own_file_and_who_is_given_the_package_replaces_any(tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        await host.put(HELLO)
        again = await host.put(HELLO, image=b"built again")
        assert again.is_new
        host.assigned["drone-02"] = ["=dev-libs/other-1", f"={HELLO}"]
        other = await host.put(HELLO, by="drone-02", image=b"built by another")
        assert host.staged()[PATH]["SIZE"] == str(other.binary.size_bytes)
        data = gpkg(HELLO, image=b"by hand")
        by_hand = await host.binhost.upload(PATH, chunks(data), sha256=sha256(data), caller=OPERATOR)
        assert by_hand.binary.uploaded_by == "operator:ana"
        # Of the four files, only the last is named by anything.
        await until(lambda: [path.name for path in host.files("objects")] == [by_hand.binary.sha256])
        await until(lambda: host.binhost.staging.used_bytes == by_hand.binary.size_bytes)


async def test_file_that_an_index_names_stays_until_the_next_index(tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        first = await host.put(HELLO)
        seen = host.binhost.staging.current()
        await host.put(HELLO, image=b"built again", seen=False)
        if host.binhost.staging.current() is seen:  # not published yet: what it names is there
            assert host.binhost.staged_file(PATH).path.read_bytes()
            assert host.binhost.staged_file(PATH).path.name == first.binary.sha256
        assert await host.binhost.staging.seen(within_seconds=30)
        assert host.binhost.staged_file(PATH).path.name != first.binary.sha256


async def test_upload_that_is_not_what_its_sender_says_leaves_nothing(tmp_path: Path) -> None:
    data = gpkg(HELLO)
    cases = [
        (PATH, data, "0" * 64, "has the SHA-256"),
        (PATH, b"junk" * 1000, sha256(b"junk" * 1000), "no intact binary package"),
        (path_of("app-test/world-1.0"), data, sha256(data), "does not belong at"),
        (path_of("app-test/hello-1.1"), data, sha256(data), "does not belong at"),
        (path_of(HELLO, 2), data, sha256(data), "this is build 1"),
        ("../../etc/passwd", data, sha256(data), "no path of a binary package"),
    ]
    async with opened(tmp_path) as host:
        for path, body, said, words in cases:
            with pytest.raises(BadInput, match=words):
                await host.binhost.upload(path, chunks(body), sha256=said, caller=drone("d"))
        with pytest.raises(BadInput, match="RDEPEND of this package is malformed"):
            await host.put(HELLO, RDEPEND="( a/b")
        assert list(host.files("incoming")) == list(host.files("objects")) == []
        assert host.staged() == {}


async def test_upload_whose_sender_goes_away_leaves_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    data = gpkg(HELLO, image=os.urandom(2_000_000))

    async def cut() -> AsyncIterator[bytes]:
        async for chunk in chunks(data[:1_500_000], 100_000):
            yield chunk
        raise CutShort("the body ended before its time")

    async with opened(tmp_path) as host:
        with pytest.raises(CutShort):
            await host.binhost.upload(PATH, cut(), sha256=sha256(data), caller=drone("d"))
        with trio.move_on_after(0):
            await host.binhost.upload(PATH, chunks(data), sha256=sha256(data), caller=drone("d"))
        assert list(host.files("incoming")) == []
        stored = await host.binhost.upload(PATH, chunks(data), sha256=sha256(data), caller=drone("d"))
        assert stored.is_new


async def test_upload_beyond_its_bounds_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path / "one", binhost_package_bytes_max=5000) as host:
        with pytest.raises(TooLarge, match="at most 5000 bytes"):
            await host.put(HELLO)
        assert list(host.files("incoming")) == []
    async with opened(tmp_path / "two", binhost_free_bytes_min=2**60) as host:
        with pytest.raises(TooLarge, match="disk of the binary host is full"):
            await host.put(HELLO)
    async with opened(tmp_path / "three", binhost_bytes_max=15_000) as host:
        await host.put(HELLO)
        with pytest.raises(TooLarge, match="used up its bytes"):
            await host.put("app-test/world-1.0")
        await host.binhost.staging.remove(PATH)


async def test_upload_that_says_it_will_be_too_large_is_refused_before_it_comes(tmp_path: Path) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("nothing is read of it")
        yield b""

    async with opened(tmp_path, binhost_package_bytes_max=5000, binhost_bytes_max=4000) as host:
        for expected, words in ((5001, "at most 5000 bytes"), (4001, "used up its bytes")):
            with pytest.raises(TooLarge, match=words):
                await host.binhost.upload(PATH, never(), sha256="0" * 64, caller=drone("d"), expected_bytes=expected)
        assert list(host.files("incoming")) == []


async def test_bytes_of_uploads_on_their_way_count_for_the_budget(tmp_path: Path) -> None:
    data = gpkg(HELLO, image=os.urandom(1_200_000))
    waiting = trio.Event()
    arrived = trio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield data[:1_100_000]
        yield b""
        arrived.set()
        await waiting.wait()
        yield data[1_100_000:]

    async with opened(tmp_path, binhost_bytes_max=2_000_000) as host, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: host.binhost.upload(PATH, slow(), sha256=sha256(data), caller=drone("d")))
        await arrived.wait()
        with pytest.raises(TooLarge, match="used up its bytes"):
            await host.put("app-test/world-1.0", image=os.urandom(1_200_000))
        waiting.set()


async def test_two_different_uploads_of_one_path_at_once_end_as_one(tmp_path: Path) -> None:
    outcomes: list[str] = []

    async with opened(tmp_path) as host:

        async def put(name: str) -> None:
            try:
                await host.put(HELLO, by=name, image=name.encode(), seen=False)
                outcomes.append(name)
            except Conflict:
                outcomes.append("")

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(put, f"drone-{number}")
        assert await host.binhost.staging.seen(within_seconds=30)
        winners = [name for name in outcomes if name]
        assert (len(winners), len(outcomes)) == (1, 6)
        staged = host.binhost.store.staged_at(PATH)
        assert staged is not None
        assert staged.uploaded_by == winners[0]
        assert host.binhost.staged_file(PATH).path.name == staged.sha256


async def test_many_uploads_at_once_are_all_in_the_index(tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(host.put, f"app-test/p{number}-1.0")
        assert len(host.staged()) == 40
        assert host.binhost.staged_file("Packages").path.read_text().startswith("PACKAGES: 40\n")


async def test_timestamp_of_the_index_rises_with_every_change_whatever_the_clock_does(tmp_path: Path) -> None:
    now = SteppingClock()
    seen = []
    async with opened(tmp_path, now=now) as host:
        for number in range(3):
            await host.put(f"app-test/p{number}-1.0")
            seen.append(host.binhost.staging.current().index.timestamp)
            now.advance(-3600)
    async with opened(tmp_path, now=now) as host:
        seen.append(host.binhost.staging.current().index.timestamp)
        await host.put("app-test/last-1.0")
        seen.append(host.binhost.staging.current().index.timestamp)
        file = host.binhost.staged_file("Packages").path
        assert f"TIMESTAMP: {seen[-1]}\n" in file.read_text()
        assert file.stat().st_mtime == seen[-1]
    assert seen[3] == seen[2], "nothing has changed, so nobody needs to read it again"
    assert len({*seen}) == 4
    assert seen == sorted(seen)


async def test_restart_serves_what_was_staged(tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        await host.put(HELLO)
        before = host.staged()
    async with opened(tmp_path) as host:
        assert host.staged() == before
        assert host.binhost.staged_file(PATH).path.read_bytes() == gpkg(HELLO)
        assert host.binhost.staging.used_bytes == len(gpkg(HELLO))


async def test_start_clears_what_was_arriving_and_what_nothing_names(tmp_path: Path) -> None:
    now = SteppingClock()
    async with opened(tmp_path, now=now) as host:
        await host.put(HELLO)
        folder = host.folder
    (folder / "incoming/x.partial").write_bytes(b"half")
    (folder / "index/.staging.partial").mkdir()
    (folder / "objects/ab").mkdir(exist_ok=True)
    stray = folder / "objects/ab" / ("ab" * 32)
    stray.write_bytes(b"whose row was never written")
    now.unix_us = int((stray.stat().st_ctime + STRAY_SECONDS / 2) * 1e6)
    async with opened(tmp_path, now=now) as host:
        assert list(host.files("incoming")) == []
        assert not (folder / "index/.staging.partial").exists()
        assert stray.exists(), "a backup of the database may have been put back: a newer one may follow"
    now.advance(STRAY_SECONDS)
    async with opened(tmp_path, now=now) as host:
        assert not stray.exists()
        assert host.binhost.staged_file(PATH).path.exists()


async def test_package_whose_file_is_lost_is_in_no_index(tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        await host.put(HELLO)
        await host.put("app-test/world-1.0")
        host.binhost.staged_file(PATH).path.unlink()
    async with opened(tmp_path) as host:
        assert list(host.staged()) == [path_of("app-test/world-1.0")]
        with pytest.raises(NotFound):
            host.binhost.staged_file(PATH)
        assert (await host.put(HELLO)).is_new


async def test_index_that_cannot_be_written_is_told_and_tried_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        host.binhost.staging.retry_seconds = 0.05
        index = host.folder / "index"
        index.rename(host.folder / "aside")
        index.write_text("in the way")
        await host.put(HELLO, seen=False)
        await until(lambda: host.binhost.staging.problem)
        assert not await host.binhost.staging.seen(within_seconds=0)
        assert host.binhost.staging.current().files == {}, "what is served stays what it was"
        index.unlink()
        (host.folder / "aside").rename(index)
        assert await host.binhost.staging.seen(within_seconds=30)
        assert list(host.staged()) == [PATH]
        await until(lambda: host.binhost.staging.problem is None)


async def test_builds_beyond_those_that_are_kept_go(tmp_path: Path) -> None:
    now = SteppingClock()
    async with opened(tmp_path, now=now, binhost_builds_kept=2) as host:
        for build in (1, 2, 3):
            now.advance(1)
            await host.put(HELLO, build=build, image=b"%d" % build)
        await host.put("app-test/world-1.0")
        kept = [path_of(HELLO, 2), path_of(HELLO, 3), path_of("app-test/world-1.0")]
        await until(lambda: sorted(host.staged()) == kept)
        await until(lambda: len(list(host.files("objects"))) == 3)


async def test_removed_package_is_in_no_index_and_its_file_goes(tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        await host.put(HELLO)
        assert (await host.binhost.staging.remove(PATH)).cpv == HELLO
        assert await host.binhost.staging.seen(within_seconds=30)
        assert host.staged() == {}
        await until(lambda: not list(host.files("objects")))
        with pytest.raises(NotFound):
            await host.binhost.staging.remove(PATH)
