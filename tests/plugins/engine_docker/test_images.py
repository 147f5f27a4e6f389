"""Names of images, and what the stream of a pull tells."""

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.engines import LaunchFailed
from appliance.jobs import EndReason
from plugins.engine_docker.images import Progress, pull, split
from tests.plugins.engine_docker.test_client import answer, answering, serving


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("busybox", ("busybox", "latest")),
        ("busybox:1.36", ("busybox", "1.36")),
        ("localhost:5000/a/b", ("localhost:5000/a/b", "latest")),
        ("localhost:5000/a/b:2", ("localhost:5000/a/b", "2")),
        ("a/b@sha256:" + "0" * 64, ("a/b@sha256:" + "0" * 64, "")),
    ],
)
def test_name_of_an_image_is_taken_apart(image: str, expected: tuple[str, str]) -> None:
    assert split(image) == expected


@pytest.mark.parametrize("image", ["", "-x", "a b", "a\nb", "a?b=c", "../x", "x" * 1_001, "http://a/b", "é"])
def test_what_is_no_name_of_an_image_never_reaches_the_engine(image: str) -> None:
    with pytest.raises(LaunchFailed) as caught:
        split(image)
    assert caught.value.reason is EndReason.IMAGE


def rows(*told: Any) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\r\n" for one in told)


def test_progress_adds_up_what_is_known_of_the_layers() -> None:
    progress = Progress()
    mib = 2**20
    for row in (
        {"status": "Pulling from library/x", "id": "latest"},
        {"status": "Downloading", "id": "a", "progressDetail": {"current": 3 * mib, "total": 10 * mib}},
        {"status": "Downloading", "id": "b", "progressDetail": {"current": 1 * mib, "total": 2 * mib}},
        {"status": "Download complete", "id": "b"},
        {"status": "Downloading", "id": "c", "progressDetail": {"current": -1, "total": 10**40}},
        {"status": "Downloading", "id": "c", "progressDetail": {"current": "x", "total": True}},
        [1],
        None,
    ):
        progress.take(json.dumps(row).encode())
    progress.take(b"[" * 50_000)
    assert progress.words == "5 of 12 MiB"
    assert progress.failure == ""


@pytest.mark.parametrize(
    "row",
    [
        {"errorDetail": {"message": "no such host"}},
        {"errorDetail": {"code": 1, "message": "no such host"}, "error": "no such host"},
        {"error": "no such host"},
    ],
)
async def test_pull_that_fails_after_its_200_fails(tmp_path: Path, row: dict[str, Any]) -> None:
    told: list[str] = []
    async with serving(tmp_path / "s", answering(answer("200 OK", rows({"status": "Trying"}, row)))) as client:
        with pytest.raises(LaunchFailed, match="no such host") as caught:
            await pull(client, "nowhere/x:1", told.append)
    assert caught.value.reason is EndReason.IMAGE
    assert told == ["fetching the image nowhere/x:1"]


async def test_pull_on_a_full_disk_says_so(tmp_path: Path) -> None:
    body = b'{"message":"write /var/lib/x: no space left on device"}'
    async with serving(tmp_path / "s", answering(answer("500 Internal Server Error", body))) as client:
        with pytest.raises(LaunchFailed) as caught:
            await pull(client, "x", lambda words: None)
    assert caught.value.reason is EndReason.DISK_FULL


async def test_pull_that_comes_to_its_end_is_done(tmp_path: Path) -> None:
    body = rows({"status": "Pulling"}, {"status": "Status: Downloaded newer image for x:latest"})
    async with serving(tmp_path / "s", answering(answer("200 OK", body[:-2]))) as client:
        await pull(client, "x", lambda words: None)
