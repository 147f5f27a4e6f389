"""Text of strangers as it is given to pages that trust it.

The documented admin page puts texts into its HTML as they come: what a drone says of itself, errors of builds, paths of
requests. Whoever may send a heartbeat, or any request at all, could run a script there with the operator's key. So a
less-than sign leaves the documented surfaces as a single angle quotation mark, which begins nothing and reads alike.
"""

from typing import Any, Final

QUOTE: Final = "\u2039"
"""Single left-pointing angle quotation mark."""


def plain(text: str) -> str:
    """Return a text in which no tag begins."""
    return text.replace("<", QUOTE) if "<" in text else text


def plain_values(value: Any) -> Any:
    """Return JSON of any shape with every text, names too, made `plain`."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return {plain_values(name): plain_values(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(each) for each in value]
    return value
