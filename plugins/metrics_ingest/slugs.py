"""What servers are called: slugs, their numbering, and the user an agent runs as."""

import re
import unicodedata
from typing import Final

SLUG_LIMIT: Final = 64
"""Characters of the longest slug."""

ENROLLED_LIMIT: Final = 60
"""Characters of a slug that enrolment derives from a host's name; the rest is kept for a number."""

USER_LIMIT: Final = 128
"""Characters of an agent's user."""

_READ_LIMIT: Final = 4096
_UNWANTED: Final = re.compile(r"[^\w\s-]")
_GAPS: Final = re.compile(r"[-\s]+")


def slugify(text: str, limit: int = SLUG_LIMIT) -> str:
    """Return the slug of a name, or "" where nothing of it can be one.

    As Django's: accents and other scripts are dropped (``Größe`` is ``groe``), blanks and hyphens become one hyphen,
    case is lowered. The cut comes last, so that a cut slug may end in a hyphen. Only 4,096 characters are looked at.
    """
    plain = unicodedata.normalize("NFKD", text[:_READ_LIMIT]).encode("ascii", "ignore").decode("ascii")
    return _GAPS.sub("-", _UNWANTED.sub("", plain.lower())).strip("-_")[:limit]


def numbered(slug: str, attempt: int) -> str:
    """Return what to try at the n-th attempt to find a free slug: itself, then ``slug-1``, ``slug-2`` and so on."""
    if attempt == 0:
        return slug
    suffix = f"-{attempt}"
    return slug[: SLUG_LIMIT - len(suffix)] + suffix


def user_shown(user: str) -> str:
    """Return the user an agent runs as, for people to read: root, in any case, is ``Administrator``."""
    user = user.strip()
    return "Administrator" if user.lower() == "root" else user[:USER_LIMIT]
