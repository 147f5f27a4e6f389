"""Style sheets, scripts and the icon: read once, under a path that names their content.

Pages ask for ``/ui/static/<edition>/app.css``, and scripts find each other beside themselves. A browser keeps an
edition for ever and asks once, an upgrade is another path, and so scripts of two versions never meet.
"""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from attrs import frozen

from appliance.plugin import Answer, PathNotFound

STATIC: Final = Path(__file__).parent / "static"
PREFIX: Final = "/ui/static/"
TYPES: Final = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
"""The kinds of file that are served; notes and licences beside them are not."""

_KEPT: Final = (("Cache-Control", "public, max-age=31536000, immutable"),)
# Without no-cache, browsers guess how long a file is good and run old scripts against a new API.
_ASKED_AGAIN: Final = ("Cache-Control", "no-cache")


@frozen(kw_only=True)
class Asset:
    """One file as it is sent."""

    body: bytes
    content_type: str
    etag: str


@frozen(kw_only=True)
class Assets:
    """All files by their path below the folder, and the name of this edition of them."""

    files: Mapping[str, Asset]
    edition: str

    def answer(self, path: str, if_none_match: str | None) -> Answer:
        """Return the file at ``path``, with or without the edition before it; raises `PathNotFound`."""
        edition, _, rest = path.partition("/")
        kept = edition == self.edition
        asset = self.files.get(rest if kept else path)
        if asset is None:
            raise PathNotFound
        if kept:
            return Answer(model=asset.body, content_type=asset.content_type, headers=_KEPT)
        headers = (("ETag", asset.etag), _ASKED_AGAIN)
        if if_none_match is not None and asset.etag in {tag.strip() for tag in if_none_match.split(",")}:
            return Answer(status=304, headers=headers)
        return Answer(model=asset.body, content_type=asset.content_type, headers=headers)


@cache
def read_assets(folder: Path = STATIC) -> Assets:
    """Read every servable file below ``folder``."""
    files = {
        path.relative_to(folder).as_posix(): _read(path)
        for path in sorted(folder.rglob("*"))
        if path.suffix in TYPES and path.is_file()
    }
    listed = "\n".join(f"{name} {asset.etag}" for name, asset in files.items())
    return Assets(files=files, edition=f"e{sha256(listed.encode()).hexdigest()[:16]}")


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    # Weak: what is compared is the file, not its encoding on the way (gzip or none).
    return Asset(body=body, content_type=TYPES[path.suffix], etag=f'W/"{sha256(body).hexdigest()[:20]}"')
