"""Versions of payloads: what is kept, what is refused, and what an end in the middle leaves."""

import hashlib
import sqlite3
from pathlib import Path

import pytest
import trio

from appliance.errors import BadInput, Busy, Conflict, NotFound, StorageFailed, TooLarge
from plugins.build_swarm.payloads.catalogue import UPLOADS_MAX
from plugins.build_swarm.payloads.contents import WRITE_BYTES, Contents
from plugins.build_swarm.payloads.models import CONTENT_BYTES_MAX, NewVersion
from tests.plugins.build_swarm.payloads.parts import BY, opened


def kept(folder: Path) -> dict[str, bytes]:
    """Return every file of payloads."""
    return {one.name: one.read_bytes() for one in sorted((folder / "payloads").iterdir())}


async def test_version_is_kept_with_its_hash_and_found_again_by_the_next_run(tmp_path: Path) -> None:
    async with opened(tmp_path) as box:
        made = await box.add("1.0", b"abc")
        digest = hashlib.sha256(b"abc").hexdigest()
        assert (made.payload_type, made.version, made.sha256, made.size_bytes) == ("drone_binary", "1.0", digest, 3)
        assert (made.created_unix_us, made.created_by) == (box.now(), "ana")
        assert kept(tmp_path) == {f"drone_binary-1.0.{digest[:16]}": b"abc"}
        box.restart()
        assert box.catalogue.get("drone_binary", "1.0") == made
        assert box.catalogue.content(made).read_bytes() == b"abc"
        assert box.catalogue.content(made).stat().st_mode & 0o777 == 0o600


async def test_same_version_with_same_content_is_the_one_that_is_there(tmp_path: Path) -> None:
    async with opened(tmp_path) as box:
        first = await box.add("1.0", b"abc")
        box.now.advance(60)
        assert await box.add("1.0", b"abc") == first
        assert len(await box.catalogue.all()) == len(kept(tmp_path)) == 1


async def test_same_version_with_other_content_is_refused_and_leaves_the_first_as_it_was(tmp_path: Path) -> None:
    async with opened(tmp_path) as box:
        first = await box.add("1.0", b"abc")
        with pytest.raises(Conflict, match="exists already with other content"):
            await box.add("1.0", b"abd")
        assert await box.catalogue.all() == [first]
        assert list(kept(tmp_path).values()) == [b"abc"]


async def test_simultaneous_uploads_of_one_version_leave_one_of_them_whole(tmp_path: Path) -> None:
    async with opened(tmp_path) as box:
        refused = []

        async def add(content: bytes) -> None:
            try:
                await box.add("1.0", content)
            except Conflict:
                refused.append(content)

        async with trio.open_nursery() as nursery:
            for content in (b"a", b"b", b"a"):
                nursery.start_soon(add, content)
        (made,) = await box.catalogue.all()
        assert box.catalogue.content(made).read_bytes() not in refused
        assert len(kept(tmp_path)) == 1
        assert len(refused) in (1, 2)


async def test_newest_is_the_one_that_was_made_last_also_within_one_moment(tmp_path: Path) -> None:
    async with opened(tmp_path) as box:
        for version in ("2.0", "10.0", "1.0"):
            await box.add(version)
        await box.add("5.0", type="config")
        assert [one.version for one in await box.catalogue.of_type("drone_binary")] == ["1.0", "10.0", "2.0"]
        matrix = await box.payloads.matrix()
        assert {name: one.version for name, one in matrix.newest.items()} == {"drone_binary": "1.0", "config": "5.0"}


@pytest.mark.parametrize(
    ("payload_type", "version", "place"),
    [
        ("", "1", "$.type"),
        ("Drone", "1", "$.type"),
        ("a-b", "1", "$.type"),
        ("../x", "1", "$.type"),
        ("a" * 33, "1", "$.type"),
        ("a\n", "1", "$.type"),
        ("a", "", "$.version"),
        ("a", "1/2", "$.version"),
        ("a", "1 2", "$.version"),
        ("a", "v" * 65, "$.version"),
        ("a", "1\n", "$.version"),
        ("a", "é", "$.version"),
    ],
)
async def test_types_and_versions_that_are_none_are_refused_by_name(
    tmp_path: Path, payload_type: str, version: str, place: str
) -> None:
    async with opened(tmp_path) as box:
        with pytest.raises(BadInput) as refused:
            await box.add(version, b"x", type=payload_type)
        assert refused.value.field == place
        assert kept(tmp_path) == {}


async def test_versions_that_look_like_paths_are_plain_files(tmp_path: Path) -> None:
    async with opened(tmp_path) as box:
        for version in ("..", ".", "-rf", "+", "a" * 64):
            made = await box.add(version, b"x", type="_")
            assert box.catalogue.content(made).parent == tmp_path / "payloads"
            assert box.catalogue.content(made).read_bytes() == b"x"
        assert len(kept(tmp_path)) == 5


async def test_content_that_is_empty_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as box:
        async with box.catalogue.incoming() as written:
            with pytest.raises(BadInput) as refused:
                await box.catalogue.add(NewVersion(payload_type="a", version="1"), written)
        assert refused.value.field == "$.content"
        assert kept(tmp_path) == {}


async def test_content_goes_to_disk_in_pieces_and_nothing_of_it_stays_where_it_is_too_large(tmp_path: Path) -> None:
    contents = Contents(tmp_path / "payloads")
    async with contents.incoming(limit_bytes=3 * WRITE_BYTES) as written:
        for _ in range(3):
            await written.write(b"x" * WRITE_BYTES)
            assert len(written._held) < WRITE_BYTES
        assert written.path.stat().st_size == 3 * WRITE_BYTES
        with pytest.raises(TooLarge):
            await written.write(b"x")
    assert kept(tmp_path) == {}
    assert CONTENT_BYTES_MAX == 64 * 2**20


async def test_all_versions_together_are_bounded(tmp_path: Path) -> None:
    async with opened(tmp_path, payload_bytes_max=CONTENT_BYTES_MAX) as box:
        contents = box.catalogue.contents
        await box.add("1", b"x" * 10)

        def fill(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE build_swarm_payload SET size_bytes = :all", {"all": CONTENT_BYTES_MAX - 5})

        await box.database.write(fill)
        with pytest.raises(TooLarge, match="bytes already"):
            await box.add("2", b"x" * 6)
        await box.add("3", b"x" * 5)
        assert len(await box.catalogue.all()) == len(list(contents.folder.iterdir())) == 2


async def test_file_of_an_upload_that_fails_is_gone(tmp_path: Path) -> None:
    async with opened(tmp_path) as box:

        async def upload() -> None:
            async with box.catalogue.incoming() as written:
                await written.write(b"half")
                assert len(kept(tmp_path)) == 1
                raise NotFound("client", "it hung up")

        with pytest.raises(NotFound):
            await upload()
        assert kept(tmp_path) == {}


async def test_uploads_at_once_are_bounded(tmp_path: Path) -> None:
    async with opened(tmp_path) as box:
        begun, may_end = 0, trio.Event()

        async def upload() -> None:
            nonlocal begun
            async with box.catalogue.incoming():
                begun += 1
                await may_end.wait()

        async with trio.open_nursery() as nursery:
            for _ in range(UPLOADS_MAX):
                nursery.start_soon(upload)
            with trio.fail_after(30):
                while begun < UPLOADS_MAX:  # noqa: ASYNC110  a thread opens each file
                    await trio.sleep(0.01)
            with pytest.raises(Busy):
                async with box.catalogue.incoming():
                    pass
            may_end.set()
        await box.add("1")


async def test_start_clears_away_what_an_end_in_the_middle_has_left(tmp_path: Path) -> None:
    async with opened(tmp_path) as box:
        made = await box.add("1.0", b"abc")
        folder = tmp_path / "payloads"
        (folder / ".partial-123").write_bytes(b"half")
        (folder / "drone_binary-2.0.0123456789abcdef").write_bytes(b"never told of")
        (folder / "link").symlink_to(tmp_path / "appliance.db")
        box.restart()
        async with box.working():
            assert set(kept(tmp_path)) == {made.file}
            assert (tmp_path / "appliance.db").exists()
            (folder / ".partial-456").write_bytes(b"an upload of this run")
        async with box.working():  # started again after a failure: uploads may be under way
            assert ".partial-456" in kept(tmp_path)


async def test_disk_that_takes_nothing_is_named_as_the_reason(tmp_path: Path) -> None:
    async with opened(tmp_path) as box:
        (tmp_path / "payloads").write_text("no folder")
        with pytest.raises(StorageFailed, match="cannot be stored"):
            await box.add("1.0")


async def test_version_is_taken_away_unless_a_drone_has_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as box:
        await box.add("1.0")
        box.fleet.add("d1")
        async with box.working():
            await box.payloads.deploy("d1", "drone_binary", "1.0", verify=True, by=BY)
            with pytest.raises(Conflict, match="is on drone"):
                await box.payloads.remove("drone_binary", "1.0")
            await box.add("2.0")
            await box.payloads.deploy("d1", "drone_binary", "2.0", verify=True, by=BY)
        await box.payloads.remove("drone_binary", "1.0")
        assert [one.version for one in await box.catalogue.all()] == ["2.0"]
        assert len(kept(tmp_path)) == 1
        with pytest.raises(NotFound, match=r"drone_binary 1\.0"):
            box.catalogue.get("drone_binary", "1.0")


async def test_version_that_only_a_forgotten_drone_has_is_taken_away(tmp_path: Path) -> None:
    async with opened(tmp_path) as box:
        await box.add("1.0")
        box.fleet.add("d1")
        async with box.working():
            await box.payloads.deploy("d1", "drone_binary", "1.0", verify=True, by=BY)
        del box.fleet.known["d1"]
        await box.payloads.remove("drone_binary", "1.0")
        assert await box.catalogue.all() == []
