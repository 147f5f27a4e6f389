"""Types of files by their names."""

from pathlib import Path

import pytest

from appliance.http.files import content_type_of


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
