"""Style sheets, scripts and the icon: read once, named by their content, so that an upgrade never mixes versions."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from appliance.plugin import Answer, PathNotFound
from attrs import frozen

STATIC: Final = Path(__file__).parent / "static"
TYPES: Final = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
"""The kinds of file that are served; notes and licences beside them are not."""


@frozen(kw_only=True)
class Asset:
    """One file as it is sent."""

    body: bytes
    content_type: str
    etag: str

    def answer(self, if_none_match: str | None) -> Answer:
        """Return the file, or 304 where the browser has it already."""
        # Without no-cache, browsers guess how long a file is good and run old scripts against a new API.
        headers = (("ETag", self.etag), ("Cache-Control", "no-cache"))
        if if_none_match is not None and self.etag in {tag.strip() for tag in if_none_match.split(",")}:
            return Answer(status=304, headers=headers)
        return Answer(model=self.body, content_type=self.content_type, headers=headers)


def read_assets(folder: Path = STATIC) -> Mapping[str, Asset]:
    """Read every servable file below ``folder``, by its path inside it."""
    return {
        path.relative_to(folder).as_posix(): _read(path)
        for path in sorted(folder.rglob("*"))
        if path.suffix in TYPES and path.is_file()
    }


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    # Weak: what is compared is the file, not its encoding on the way (gzip or none).
    return Asset(body=body, content_type=TYPES[path.suffix], etag=f'W/"{sha256(body).hexdigest()[:20]}"')


def find(assets: Mapping[str, Asset], name: str) -> Asset:
    """Return an asset by its path below the static folder; raises `PathNotFound`."""
    try:
        return assets[name]
    except KeyError:
        raise PathNotFound from None
