"""The pages as they are sent: plain HTML without data, under a policy that lets nothing in from elsewhere."""

from functools import cache
from pathlib import Path
from typing import Final

from appliance.plugin import Answer

from .assets import PREFIX, read_assets

FOLDER: Final = Path(__file__).parent / "pages"

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""No inline script or style, no other origin, no frame around us (CSP level 3)."""

HEADERS: Final = (
    ("Content-Security-Policy", POLICY),
    ("X-Frame-Options", "DENY"),
    # The setup token stands in a fragment, which no Referer carries; the path is nobody else's business either.
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    # `/` is a page or JSON by Accept: no cache may mix them up. A page of 1 kB is cheap to send each time.
    ("Cache-Control", "no-store"),
    ("Vary", "Accept"),
)


@cache
def source(name: str) -> bytes:
    """Return the page's HTML with its links led to this edition of the assets."""
    written = (FOLDER / f"{name}.html").read_bytes()
    return written.replace(PREFIX.encode(), f"{PREFIX}{read_assets().edition}/".encode())


def page(name: str) -> Answer:
    """Return the page ``name``, one of the files in ``pages/``."""
    return Answer(model=source(name), content_type="text/html; charset=utf-8", headers=HEADERS)
