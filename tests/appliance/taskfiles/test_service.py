"""Files of jobs: outputs appear at once, bounded, and nothing but regular files is kept."""

import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from appliance.errors import BadInput, Conflict, NotFound, TooLarge
from appliance.taskfiles import FileLimits, FileSink, TaskFiles


def files_in(folder: Path, *, files_max: int = 100, bytes_max: int = 1000, free_bytes_min: int = 0) -> TaskFiles:
    limits = FileLimits(files_max=files_max, bytes_max=bytes_max, free_bytes_min=free_bytes_min)
    return TaskFiles(folder, limits=lambda: limits, input_limits=lambda: limits)


async def chunks(*data: bytes) -> AsyncIterator[bytes]:
    for each in data:
        await trio.lowlevel.checkpoint()
        yield each


async def put(sink: FileSink, path: str, data: bytes) -> bool:
    return await sink.put(path, len(data), chunks(data))


async def test_outputs_appear_when_they_are_committed_and_not_before(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    sink = await files.sink("task-1", 1)
    assert await put(sink, "results/out.txt", b"hello")
    assert await put(sink, "model.bin", b"")
    assert await files.list_outputs("task-1") == []
    await sink.commit()
    listed = await files.list_outputs("task-1")
    assert [(file.path, file.size_bytes, file.content_type) for file in listed] == [
        ("model.bin", 0, "application/octet-stream"),
        ("results/out.txt", 5, "text/plain"),
    ]
    where, stored = await files.open("task-1", "results/out.txt")
    assert await trio.Path(where).read_bytes() == b"hello"
    assert stored in listed


async def test_outputs_of_a_later_attempt_replace_those_before(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    for attempt in (1, 2):
        sink = await files.sink("task-1", attempt)
        await put(sink, f"of-{attempt}", b"x")
        sink.skip("link", "a link")
        await sink.commit()
    assert [file.path for file in await files.list_outputs("task-1")] == ["of-2"]
    assert sorted(path.name for path in await trio.Path(tmp_path / "task-1").iterdir()) == [
        "output-2",
        "skipped-2.json",
    ]


async def test_collecting_again_after_a_crash_changes_nothing_that_was_committed(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    half = await files.sink("task-1", 1)
    await put(half, "half", b"x")
    first = await files.sink("task-1", 1)
    await put(first, "whole", b"x")
    await first.commit()
    again = await files.sink("task-1", 1)
    await again.commit()
    assert [file.path for file in await files.list_outputs("task-1")] == ["whole"]


async def test_caps_are_kept_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    files = files_in(tmp_path, files_max=3, bytes_max=10)
    sink = await files.sink("task-1", 1)
    assert await put(sink, "a", b"12345")
    assert not await put(sink, "too-large", b"123456")
    assert not await sink.put("liar", 1, chunks(b"123", b"456"))
    assert await put(sink, "b", b"12345")
    assert await put(sink, "c", b"")
    assert not await put(sink, "d", b"")
    assert not await put(sink, "../escape", b"")
    sink.skip("dev/null", "a device")
    await sink.commit()
    assert [file.path for file in await files.list_outputs("task-1")] == ["a", "b", "c"]
    told = {each.path: each.reason for each in await files.skipped("task-1")}
    assert set(told) == {"too-large", "liar", "d", "../escape", "dev/null"}
    assert "3 files" in told["d"]
    assert "10 bytes" in told["too-large"]


async def test_two_entries_of_one_name_or_a_file_as_folder_cost_only_the_second(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    sink = await files.sink("task-1", 1)
    assert await put(sink, "a", b"first")
    assert not await put(sink, "a", b"second")
    assert not await put(sink, "a/b", b"third")
    await sink.commit()
    where, _ = await files.open("task-1", "a")
    assert await trio.Path(where).read_bytes() == b"first"
    assert sink.skipped_count == 2


async def test_many_entries_left_out_are_counted_not_listed(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    sink = await files.sink("task-1", 1)
    for number in range(1000):
        sink.skip(f"link-{number}\udcff", "a link")
    await sink.commit()
    told = await files.skipped("task-1")
    assert len(told) == 101
    assert told[-1].reason == "900 more entries"
    assert told[0].path == "link-0\\udcff"


async def test_full_disk_keeps_what_fits_and_says_so(tmp_path: Path) -> None:
    files = files_in(tmp_path, free_bytes_min=2**62)
    sink = await files.sink("task-1", 1)
    assert not await put(sink, "a", b"1")
    await sink.commit()
    assert [each.reason for each in await files.skipped("task-1")] == ["the disk is full"]
    with pytest.raises(TooLarge, match="disk is full"):
        await files.put_input("task-1", "a", chunks(b"1"))


async def test_inputs_are_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    files = files_in(tmp_path, files_max=3, bytes_max=10)
    assert files.inputs("task-1") is None
    stored = await files.put_input("task-1", "data/a.csv", chunks(b"123", b"45"))
    assert (stored.path, stored.size_bytes, stored.content_type) == ("data/a.csv", 5, "text/csv")
    with pytest.raises(TooLarge):
        await files.put_input("task-1", "b", chunks(b"123", b"456"))
    with pytest.raises(Conflict):
        await files.put_input("task-1", "data/a.csv", chunks(b"9"))
    with pytest.raises(Conflict):
        await files.put_input("task-1", "data/a.csv/b", chunks(b"9"))
    with pytest.raises(BadInput):
        await files.put_input("task-1", "../b", chunks(b"9"))
    assert [file.path for file in await files.list_inputs("task-1")] == ["data/a.csv"]
    folder = files.inputs("task-1")
    assert folder is not None
    assert (folder / "data/a.csv").read_bytes() == b"12345"


async def test_inputs_are_readable_for_the_job_s_own_user_whatever_our_umask(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    before = os.umask(0o077)
    try:
        await files.put_input("task-1", "data/in.txt", chunks(b"hello"))
    finally:
        os.umask(before)
    folder = files.inputs("task-1")
    assert folder is not None
    modes = {path: stat.S_IMODE((folder / path).stat().st_mode) for path in (".", "data", "data/in.txt")}
    assert modes == {".": 0o755, "data": 0o755, "data/in.txt": 0o644}


async def test_inputs_of_one_job_are_another_s_too_until_each_is_removed(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    await files.put_input("task-1", "data/in.txt", chunks(b"hello"))
    async with files.shared_inputs("task-1", "task-2"):
        pass
    await files.remove("task-1")
    assert await files.list_inputs("task-1") == []
    folder = files.inputs("task-2")
    assert folder is not None
    assert await trio.Path(folder / "data/in.txt").read_bytes() == b"hello"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


async def test_inputs_given_to_a_job_that_is_not_taken_are_taken_back(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    await files.put_input("task-1", "in.txt", chunks(b"hello"))
    with pytest.raises(Conflict):
        async with files.shared_inputs("task-1", "task-2"):
            raise Conflict("no")
    assert not await trio.Path(tmp_path / "task-2").exists()
    assert [file.path for file in await files.list_inputs("task-1")] == ["in.txt"]


async def test_upload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    files = files_in(tmp_path)
    with pytest.raises(ConnectionResetError):
        await files.put_input("task-1", "a", broken())
    assert await files.list_inputs("task-1") == []
    await files.put_input("task-1", "a", chunks(b"whole"))


@pytest.mark.parametrize("path", ["absent", "results", "../task-2/output-1/secret"])
async def test_nothing_but_the_job_s_own_outputs_can_be_opened(tmp_path: Path, path: str) -> None:
    files = files_in(tmp_path)
    for job, name in (("task-1", "results/x"), ("task-2", "secret")):
        sink = await files.sink(job, 1)
        await put(sink, name, b"x")
        await sink.commit()
    with pytest.raises((NotFound, BadInput)):
        await files.open("task-1", path)


async def test_removed_files_are_gone_and_the_log_beside_them_stays(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    sink = await files.sink("task-1", 1)
    await put(sink, "a", b"x")
    await sink.commit()
    await files.put_input("task-1", "in", chunks(b"x"))
    log = trio.Path(tmp_path / "task-1" / "log")
    await log.mkdir()
    await files.remove("task-1")
    await files.remove("task-1")
    assert await files.list_outputs("task-1") == await files.list_inputs("task-1") == []
    assert await log.exists()
    await files.forget("task-1")
    assert not await log.exists()


@pytest.mark.parametrize("job_id", ["", "..", ".hidden", "a/b", "/etc", "a\0b"])
async def test_job_id_never_leads_out_of_the_folder(tmp_path: Path, job_id: str) -> None:
    files = files_in(tmp_path)
    for call in (files.list_outputs, files.remove, files.forget, files.skipped, files.list_inputs):
        with pytest.raises(NotFound):
            await call(job_id)
