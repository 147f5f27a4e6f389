"""Types of files by their names, and when a file counts as unchanged."""

import os
from email.utils import formatdate
from pathlib import Path

import pytest

from appliance.http.files import content_type_of, plan_file
from appliance.surface import File, Head


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("index.html", "text/html; charset=utf-8"),
        ("APP.JS", "text/javascript; charset=utf-8"),
        ("site.webmanifest", "application/manifest+json"),
        ("app.js.map", "application/json"),
        ("photo.webp", "image/webp"),
        ("module.wasm", "application/wasm"),
        # Nothing is said to be packed for the way: what is on the disk is what is sent.
        ("payload.tar.gz", "application/gzip"),
        ("app.js.br", "application/br"),
        ("no-suffix", "application/octet-stream"),
    ],
)
def test_type_follows_the_name_and_browsers_are_told_the_charset(name: str, kind: str) -> None:
    assert content_type_of(Path("/x") / name) == kind


@pytest.mark.parametrize(
    ("adds", "later", "status"), [(0, -1, None), (0, 0, 304), (5, 0, None), (5, 4, None), (5, 5, 304), (5, 60, 304)]
)
async def test_file_is_unchanged_since_a_time_by_what_its_clients_add_to_it(
    tmp_path: Path, adds: int, later: int, status: int | None
) -> None:
    path = tmp_path / "index"
    path.write_bytes(b"x")
    os.utime(path, (1_000_000, 1_000_000))
    since = formatdate(1_000_000 + later, usegmt=True).encode()
    head = Head(
        method="GET",
        path="/",
        raw_query=b"",
        headers=[(b"if-modified-since", since)],
        peer=None,
        local="",
        listener="",
        scheme="http",
    )
    assert (await plan_file(File(path=path, since_seconds=adds), head)).status == status
