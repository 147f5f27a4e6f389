"""Tar streams into containers and out of them, hostile ones included."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.engines import EngineLost
from appliance.host import Host
from plugins.engine_docker.archives import NothingYet, inputs_tar, unpack
from plugins.engine_docker.engine import DockerEngine
from plugins.engine_docker.settings import DockerSettings
from tests.plugins.engine_docker.attempts import Kept
from tests.plugins.engine_docker.scripted import ScriptedEngine
from tests.plugins.engine_docker.scripted import serving as scripted_engine
from tests.plugins.engine_docker.test_client import answer, answering, serving


def tar_of(*entries: tuple[str, bytes, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar of (name, type, content)."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as tar:
        for name, kind, content in entries:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content)
            info.linkname = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


async def unpacked(folder: Path, body: bytes) -> Kept:
    sink = Kept()
    served = serving(folder / "s", answering(answer("200 OK", body)))
    async with served as client, client.open("GET", "/archive") as found:
        await unpack(found, sink)
    return sink


FILE, FOLDER = tarfile.REGTYPE, tarfile.DIRTYPE


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
async def test_regular_files_are_kept_byte_by_byte_in_every_dialect(tmp_path: Path, form: int) -> None:
    big = os.urandom(1_000_000)
    body = tar_of(
        ("output", FOLDER, b""),
        ("output/a", FILE, b"1"),
        ("output/d/" + "n" * 60, FILE, big),
        ("output/refused", FILE, big),
        ("output/z", FILE, b""),
        form=form,
    )
    sink = await unpacked(tmp_path, body)
    assert sink.files == {"a": b"1", "d/" + "n" * 60: big, "z": b""}
    assert sink.sizes["refused"] == 1_000_000


async def test_what_is_no_regular_file_or_leaves_the_folder_is_told_and_not_kept(tmp_path: Path) -> None:
    body = tar_of(
        ("output/link", tarfile.SYMTYPE, b""),
        ("output/second", tarfile.LNKTYPE, b""),
        ("output/device", tarfile.CHRTYPE, b""),
        ("output/disk", tarfile.BLKTYPE, b""),
        ("output/fifo", tarfile.FIFOTYPE, b""),
        ("output/../../etc/passwd", FILE, b"root"),
        ("output/a/./b", FILE, b"x"),
        ("/output/a//b", FILE, b"x"),
        ("other", FILE, b"above the folder"),
        ("output/\udcff", FILE, b"x"),
        ("output/ok", FILE, b"kept"),
    )
    sink = await unpacked(tmp_path, body)
    assert sink.files == {"ok": b"kept"}
    assert set(sink.skipped) == {
        *("link", "second", "device", "disk", "fifo"),
        *("../../etc/passwd", "a/./b", "output/a//b", "?"),
    }


def cut(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + f"{len(body) * 2:x}\r\n".encode() + body


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: cut(body[:700]),
        lambda body: cut(body[:1_300]),
        cut,
        lambda body: answer("200 OK", b"<html>" * 200),
        lambda body: answer("200 OK", body[:100] + b"\xff" * 60 + body[160:]),
    ],
    ids=["cut in a head", "cut in a file", "cut after its end", "no tar", "wrong sum"],
)
async def test_archive_that_breaks_off_is_no_complete_one(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    body = tar_of(("output/a", FILE, b"x" * 1_000), ("output/b", FILE, b"y"))
    async with serving(tmp_path / "s", answering(spoil(body))) as client, client.open("GET", "/archive") as found:
        with pytest.raises(EngineLost):
            await unpack(found, Kept())


async def test_description_of_an_entry_cannot_fill_the_memory(tmp_path: Path) -> None:
    head = tarfile.TarInfo("output/a")
    head.type, head.size = tarfile.XHDTYPE, 2**33
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n" + head.tobuf(tarfile.GNU_FORMAT) + b"9" * 6_000_000
    async with serving(tmp_path / "s", answering(body)) as client, client.open("GET", "/archive") as found:
        with pytest.raises(EngineLost):
            await unpack(found, Kept())


async def test_archive_without_anything_is_never_taken_for_no_files(tmp_path: Path) -> None:
    served = serving(tmp_path / "s", answering(answer("200 OK", b"")))
    async with served as client, client.open("GET", "/archive") as found:
        with pytest.raises(NothingYet):
            await unpack(found, Kept())


async def test_archive_that_is_empty_at_first_is_asked_for_again(tmp_path: Path) -> None:
    answers = [b"", b"", tar_of(("output", FOLDER, b""), ("output/a", FILE, b"late"))]
    sink = Kept()
    async with scripted_engine(tmp_path / "s", ScriptedEngine(lambda *asked: (200, answers.pop(0)))) as url:
        engine = DockerEngine(DockerSettings(host=url), Host(environment={}), tmp_path, "id")
        await engine.collect("task-1.1", sink)
    assert sink.files == {"a": b"late"}


def test_inputs_are_regular_files_only_and_output_is_open_to_all(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "é").write_bytes(b"x" * 300_000)
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "run.sh").chmod(0o700)
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "folder-link").symlink_to("/etc")
    os.mkfifo(tmp_path / "fifo")
    with tarfile.open(fileobj=io.BytesIO(b"".join(inputs_tar(tmp_path)))) as tar:
        found = {one.name: (one.type, one.mode, one.size) for one in tar}
    assert found == {
        "output": (FOLDER, 0o1777, 0),
        "input": (FOLDER, 0o755, 0),
        "input/d": (FOLDER, 0o755, 0),
        "input/d/é": (FILE, 0o644, 300_000),
        "input/run.sh": (FILE, 0o755, 10),
    }


def test_input_that_shrinks_meanwhile_leaves_the_tar_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 600_000)
    made = bytearray()
    for chunk in inputs_tar(tmp_path):
        made += chunk
        if len(made) > 100_000:
            os.truncate(tmp_path / "a", 0)
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        assert tar.getmember("input/a").size == 600_000
        assert len(tar.getnames()) == 3


def test_without_inputs_there_is_output_alone() -> None:
    with tarfile.open(fileobj=io.BytesIO(b"".join(inputs_tar(None)))) as tar:
        assert tar.getnames() == ["output"]
