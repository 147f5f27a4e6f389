"""Which binary a build must leave here to count, where the operator asks for one.

The rules are those of the server that this replaces, but two: a binary must have come since the package was queued,
whatever lay here before; and both layouts are found for every version, revisions included.
"""

from collections.abc import Callable
from typing import Final

from .names import PackagePath, of_atom

EXEMPT: Final = ("clang-rtlib-config", "eselect-ruby", "openpgp-keys-", "-meta-")
"""Parts of names of packages that install nothing, or nothing that others need."""
EXEMPT_CATEGORY: Final = "virtual"

Newest = Callable[[str, str | None], int | None]
"""``newest(cp, cpv)``: when a package was last uploaded, in microseconds since the epoch."""


def missing(atom: str, queued_unix_us: int, newest: Newest) -> str | None:
    """Return why a success of ``atom`` counts as without its binary; ``None`` when it has it, or needs none."""
    found = of_atom(atom)
    if found is None:
        return None  # no package of this world: nothing could be uploaded for it
    category, name, pf = found
    if category == EXEMPT_CATEGORY or any(part in (pf or name) for part in EXEMPT):
        return None
    cp = f"{category}/{name}"
    uploaded = newest(cp, None if pf is None else f"{category}/{pf}")
    if uploaded is None:
        return f"no binary package of {cp if pf is None else f'{category}/{pf}'} was uploaded"
    if uploaded < queued_unix_us:
        return f"the binary package of {cp} that is here was uploaded before this build was asked for"
    return None


def is_meant(atom: str, path: PackagePath) -> bool:
    """Whether an atom names the package of a path."""
    found = of_atom(atom)
    return found is not None and found[:2] == (path.category, path.name) and found[2] in {None, path.pf}
