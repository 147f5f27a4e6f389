"""Source text that attrs keeps of the methods it has generated."""

import linecache
from typing import Final

_PREFIX: Final = "<attrs generated"


def forget_generated_source() -> None:
    """Let go of it: 3.5 kB for each class, so that debuggers can show lines that nobody has written.

    To be called while modules are imported, again and again: what comes later then takes its place.
    """
    for name in [each for each in linecache.cache if each.startswith(_PREFIX)]:
        del linecache.cache[name]
